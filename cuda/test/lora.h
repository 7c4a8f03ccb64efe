#pragma once
/* What the tests of lora_shrink, lora_expand, lora_grad_a and lora_grad_b share: matrices, segments, types. */
#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/cuda.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {

// Rows of numbers with others between them: NaN, never to be read or written.
template <class T>
struct Matrix {
  int64_t rows, columns, stride, shift;
  std::vector<T> values;  // all that lies in memory
  DeviceBuffer<T> memory;

  // shift: how far it begins behind a multiple of 16 bytes, and its rows follow each other unaligned; 0: aligned. empty: not
  // written yet.
  Matrix(int64_t rows_, int64_t columns_, int64_t shift_, uint64_t seed, bool empty = false, double deviation = 1)
      : rows(rows_),
        columns(columns_),
        stride(shift_ == 0 ? (columns_ + 15) / 8 * 8 : columns_ + (columns_ % 2 == 0 ? 3 : 2)),
        shift(shift_),
        values(make(seed, deviation)),
        memory(empty ? DeviceBuffer<T>(values.size(), "matrix") : DeviceBuffer<T>(values, "matrix")) {}

  std::vector<T> make(uint64_t seed, double deviation) const {
    std::vector<T> all(shift + rows * stride, static_cast<T>(NAN));
    const auto numbers = random(rows * columns, seed, deviation);
    for (int64_t i = 0; i < rows * columns; ++i) {
      all[shift + i / columns * stride + i % columns] = static_cast<T>(static_cast<float>(numbers[i]));
    }
    return all;
  }
  T* data() const { return memory.data() + shift; }
  float at(int64_t row, int64_t column) const { return static_cast<float>(values[shift + row * stride + column]); }
  // What is there now; every number between the rows must still be NaN.
  std::vector<double> download(const std::string& what) const {
    const std::vector<T> all = memory.download();
    std::vector<double> found;
    for (int64_t i = 0; i < static_cast<int64_t>(all.size()); ++i) {
      const float x = static_cast<float>(all[i]);
      if (i >= shift && (i - shift) % stride < columns) {
        found.push_back(x);
      } else if (!std::isnan(x)) {
        fail(text(what, ": wrote ", x, " beside the matrix, at number ", i));
      }
    }
    return found;
  }
};

struct Tenant {
  int64_t begin, end;
  int rank, column, factor_row;  // of h; of the stacked factors
  double scale;
  uint32_t threshold;
};

struct Tenants {
  std::vector<Tenant> all;
  int64_t h_columns = 0, factor_rows = 0;
};

constexpr int kLayouts = 5, kManyTenants = 5;

// border: every adapter has columns of its own in h, and of these gaps; else those of different rows share columns.
inline Tenants tenants_of(int layout, int64_t rows, int rank, uint32_t threshold, bool border) {
  struct Part {
    int64_t begin, end;
    int rank;
    double scale;
  };
  const int64_t third = rows / 3;
  std::vector<Part> parts;
  switch (layout) {
    case 0: parts = {{0, rows, rank, 2}}; break;
    case 1: parts = {{0, rows, rank, 2}, {0, rows, 5, 2}}; break;                 // side by side: one product
    case 2: parts = {{0, rows, rank, 2}, {0, rows, 3, 0.5}, {0, rows, 9, 2}}; break;
    case 3:                                                                        // rows without an adapter
      parts = {{0, third, rank, 2}, {third, third, 4, 1}, {third, rows - third, 0, 0}, {rows - third, rows, 7, 1}};
      break;
    case 4: parts = {{0, third, 0, 0}, {third, rows, rank, 2}, {third, rows, 17, 1}}; break;
    default:  // kManyTenants: more than a launch takes
      for (int64_t i = 0; i < 40; ++i) {
        parts.push_back(
            {rows * i / 40, rows * (i + 1) / 40, i == 20 ? rank : 1 + static_cast<int>(i * 5 % 16), 1.0 + i % 2});
      }
  }
  Tenants tenants;
  int column = border ? 2 : 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const bool same_rows = i > 0 && parts[i - 1].begin == part.begin && parts[i - 1].end == part.end;
    if (!border && !same_rows) {
      column = 0;
    }
    if (i > 0 && layout != 1) {
      tenants.factor_rows += 1 + i % 2;
    }
    tenants.all.push_back(
        {part.begin, part.end, part.rank, column, static_cast<int>(tenants.factor_rows), part.scale, threshold});
    column += part.rank;
    tenants.factor_rows += part.rank;
    tenants.h_columns = std::max<int64_t>(tenants.h_columns, column + (border ? 3 : 1));
  }
  return tenants;
}

constexpr int kShapes = 17;

// Every size once as rows and once as columns.
inline std::pair<int64_t, int64_t> shape_of(int i) {
  return {kSizes[i], kSizes[(3 * i + 8) % kShapes]};
}

// The number types of a call: of x, of the factors, of tensor cores or plain multiplications.
enum class Numbers { kBf16, kBf16Masters, kFp16, kFp16Masters, kFloat, kTf32 };
constexpr int kNumbers = 6;

template <class F>
void by_numbers(Numbers numbers, const F& f) {
  switch (numbers) {
    case Numbers::kBf16: return f(__nv_bfloat16(), __nv_bfloat16());
    case Numbers::kBf16Masters: return f(__nv_bfloat16(), float());
    case Numbers::kFp16: return f(__half(), __half());
    case Numbers::kFp16Masters: return f(__half(), float());
    default: return f(float(), float());
  }
}

// The number as a product of the call takes it.
template <class T>
float as_operand(float x, Numbers numbers) {
  if (numbers != Numbers::kTf32) {
    return static_cast<float>(static_cast<T>(x));
  }
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

// A step of T at the largest number, and what a sum of few numbers may be off by.
template <class T>
double tolerance(const std::vector<double>& reference) {
  double most = 0;
  for (const double x : reference) {
    most = std::max(most, std::isnan(x) ? 0 : std::abs(x));
  }
  const int digits = std::is_same_v<T, float> ? 24 : std::is_same_v<T, __nv_bfloat16> ? 8 : 11;
  return 1e-5 + (most == 0 ? 0 : std::ldexp(1.0, std::ilogb(most) + 1 - digits));
}

// expect_close where the reference is a number, unchanged NaN elsewhere.
inline void expect_numbers(const std::string& what, std::vector<double> own, std::vector<double> plain,
                           std::vector<double> reference, double absolute) {
  REQUIRE(own.size() == reference.size() && plain.size() == reference.size());
  for (size_t i = 0; i < own.size(); ++i) {
    if (std::isnan(reference[i])) {
      if (!std::isnan(own[i])) {
        fail(text(what, ": number ", i, " is none of this call's, but was written: ", own[i]));
      }
      own[i] = plain[i] = reference[i] = 0;
    }
  }
  expect_close(what, own, reference, distance(plain, reference), absolute);
}

// The same bits; NaN is as good as NaN.
inline void expect_same(const std::string& what, const std::vector<double>& first, const std::vector<double>& second) {
  REQUIRE(first.size() == second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    if (first[i] != second[i] && !(std::isnan(first[i]) && std::isnan(second[i]))) {
      fail(text(what, ": number ", i, " is ", first[i], " in the first run and ", second[i], " in the second"));
    }
  }
}

// The caller's segments: factor(tenant) gives the address and the two strides, gradient(i) where tenant i's goes.
template <class Factor, class Gradient>
std::vector<peft4j_cuda_segment> segments_of(const Tenants& tenants, const Factor& factor, const Gradient& gradient) {
  std::vector<peft4j_cuda_segment> all;
  for (size_t i = 0; i < tenants.all.size(); ++i) {
    const Tenant& t = tenants.all[i];
    peft4j_cuda_segment s{};
    s.begin = t.begin;
    s.end = t.end;
    s.rank = t.rank;
    s.column = t.column;
    factor(t, s);
    s.gradient = gradient(i);
    s.scale = static_cast<float>(t.scale);
    s.threshold = t.threshold;
    all.push_back(s);
  }
  return all;
}

}  // namespace peft4j::cuda::test
