#include <algorithm>
#include <cmath>
#include <deque>

#include "device/cuda.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"
#include "test/needs.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  int64_t t, n;
  std::vector<int64_t> k;  // of each pair
  int masked = 0;
  uint32_t threshold = 128;
  bool by_k = false, accumulate = false, bias = false, aligned = true;
  int tile = 0;
  bool sm90a = false;
};

std::string name_of(const Case& c, int dtype) {
  std::string all = text("[", c.t, ", k] x [k, ", c.n, "], k");
  for (const int64_t k : c.k) {
    all += text(" ", k);
  }
  return all + text(", masked ", c.masked, " (", c.threshold, "), by k ", c.by_k, ", accumulate ", c.accumulate,
                    ", bias ", c.bias, ", aligned ", c.aligned, ", tile ", c.tile, ", sm90a ", c.sm90a, ", dtype ",
                    dtype);
}

constexpr uint64_t kSeed = 0x123456789abcdef;

// Rows of a stride that is longer than they are: what lies between them is NaN, and must stay unread and unwritten.
struct Matrix {
  int64_t rows, columns, stride;
  std::vector<double> values;

  Matrix(int64_t r, int64_t c, bool aligned, const std::vector<double>& from)
      : rows(r), columns(c), stride(aligned ? (c + 7) / 8 * 8 + 8 : c + 3), values(r * stride, NAN) {
    for (int64_t i = 0; i < r; ++i) {
      std::copy_n(from.data() + i * c, c, values.data() + i * stride);
    }
  }
  double at(int64_t row, int64_t column) const { return values[row * stride + column]; }
};

template <class T>
std::vector<double> rounded(const std::vector<double>& numbers) {
  return wide(convert<T>(numbers));
}

// From -1, 0 and 1: every product and sum below is exact, in every format and order.
std::vector<double> whole_numbers(int64_t n, uint64_t seed) {
  std::vector<double> numbers = random(n, seed);
  for (double& x : numbers) {
    x = x < -0.5 ? -1 : x > 0.5 ? 1 : 0;
  }
  return numbers;
}

struct Results {
  std::vector<double> own, reference;  // of y with its stride, NaN between the rows
};

template <class T>
Results run(const Case& c, int dtype, std::vector<double> (*numbers)(int64_t, uint64_t)) {
  peft4j_cuda_gemm of{};
  std::vector<Matrix> x, w;
  std::deque<DeviceBuffer<T>> buffers;
  for (size_t p = 0; p < c.k.size(); ++p) {
    const int64_t k = c.k[p];
    x.emplace_back(c.t, k, c.aligned, rounded<T>(numbers(c.t * k, 10 + p)));
    w.emplace_back(c.by_k ? k : c.n, c.by_k ? c.n : k, c.aligned, rounded<T>(numbers(c.n * k, 20 + p)));
    const T* on_x = buffers.emplace_back(convert<T>(x[p].values), text("x ", p)).data();
    const T* on_w = buffers.emplace_back(convert<T>(w[p].values), text("w ", p)).data();
    of.pairs[p] = {on_x, on_w, k, x[p].stride, w[p].stride};
  }
  const Matrix before(c.t, c.n, c.aligned,
                      c.accumulate ? rounded<T>(numbers(c.t * c.n, 1)) : std::vector<double>(c.t * c.n, NAN));
  const std::vector<double> bias = rounded<T>(numbers(c.n, 2));
  const DeviceBuffer<T> on_y(convert<T>(before.values), "y"), on_bias(convert<T>(bias), "bias");
  of.count = static_cast<int32_t>(c.k.size());
  of.masked = c.masked;
  of.seed = kSeed;
  of.threshold = c.threshold;
  of.w_by_k = c.by_k;
  of.accumulate = c.accumulate;
  of.dtype = dtype;
  of.tile = c.tile;
  of.sm90a = c.sm90a;
  of.bias = c.bias ? on_bias.data() : nullptr;
  of.y = on_y.data();
  of.t = c.t;
  of.n = c.n;
  of.y_stride = before.stride;
  expect_success(name_of(c, dtype), peft4j_cuda_dual_gemm(&of, nullptr));

  Results results{wide(on_y.download()), before.values};
  const std::vector<double> factors = c.masked > 0 ? mask(c.t, c.n, c.threshold, kSeed) : std::vector<double>();
  for (int64_t t = 0; t < c.t; ++t) {
    for (int64_t n = 0; n < c.n; ++n) {
      double sum = (c.bias ? bias[n] : 0) + (c.accumulate ? before.at(t, n) : 0);
      for (size_t p = 0; p < c.k.size(); ++p) {
        const double *from_x = x[p].values.data() + t * x[p].stride, *from_w = w[p].values.data();
        const int64_t row = c.by_k ? 1 : w[p].stride, step = c.by_k ? w[p].stride : 1;
        double product = 0;
        for (int64_t k = 0; k < c.k[p]; ++k) {
          product += from_x[k] * from_w[n * row + k * step];
        }
        sum += product * (static_cast<int>(p) < c.masked ? factors[t * c.n + n] : 1);
      }
      results.reference[t * before.stride + n] = sum;
    }
  }
  return results;
}

Results run(const Case& c, int dtype, std::vector<double> (*numbers)(int64_t, uint64_t)) {
  return dtype == 1 ? run<__nv_bfloat16>(c, dtype, numbers) : run<__half>(c, dtype, numbers);
}

void expect_exact(const Case& c, int dtype) {
  const Results results = run(c, dtype, whole_numbers);
  for (size_t i = 0; i < results.own.size(); ++i) {
    const double own = results.own[i], reference = results.reference[i];
    if (own != reference && !(std::isnan(own) && std::isnan(reference))) {
      fail(text(name_of(c, dtype), ": own ", own, ", reference ", reference, " at ", i));
    }
  }
}

// kernels: with tile 0 (rows that are not aligned), 1, 2, and 2 by wgmma.
void expect_exact_on_all_sizes(const std::vector<int>& kernels) {
  const std::vector<int64_t> rows = {1, 3, 31, 33, 64, 65, 129, 0}, columns = {1, 7, 32, 64, 65, 127, 257, 0},
                             depths = {1, 2, 7, 31, 32, 33, 63, 64, 129, 0};
  const std::vector<std::vector<int64_t>> ranks = {{}, {8}, {3, 32}, {0, 40, 1}};  // pairs before the long one
  // t, n, k, ranks, masked, flags, kernel
  for (const std::vector<int>& row : pairwise({8, 8, 10, 4, 3, 16, static_cast<int>(kernels.size())})) {
    Case c{rows[row[0]], columns[row[1]], ranks[row[3]]};
    const int kernel = kernels[row[6]];
    c.k.push_back(depths[row[2]]);
    c.masked = std::min<int>(row[4], c.k.size());
    c.by_k = (row[5] & 1) != 0;
    c.accumulate = (row[5] & 2) != 0;
    c.bias = (row[5] & 4) != 0;
    c.aligned = kernel != 0;
    c.tile = std::min(kernel, 2);
    c.sm90a = kernel == 3;
    expect_exact(c, (row[5] & 8) != 0 ? 1 : 2);
  }
}

TEST(dualGemmIsExactOnWholeNumbers) {
  expect_exact_on_all_sizes({0, 1, 2});
}

TEST(dualGemmByWgmmaIsExactOnWholeNumbers) {
  if (has_sm90a(__func__)) {
    expect_exact_on_all_sizes({3});
  }
}

bool by_wgmma() {
  return std::string(peft4j_cuda_last_kernel()).find("dual_gemm_sm90a") != std::string::npos;
}

TEST(dualGemmGoesThroughAllTiles) {
  expect_exact({.t = 5, .n = 70, .k = {16, 1000, 255}}, 1);
  expect_exact({.t = 1100, .n = 200, .k = {8}, .tile = 1}, 1);     // a second group of tiles
  expect_exact({.t = 64 * 128 - 1, .n = 8, .k = {8}}, 1);          // the large tile, chosen by the shape
  REQUIRE(!by_wgmma());                                            // which is off
  expect_exact({.t = 3, .n = 5, .k = {}, .bias = true}, 1);        // no pair
  expect_exact({.t = 3, .n = 5, .k = {0, 0}, .masked = 1}, 2);
}

TEST(dualGemmByWgmmaGoesThroughAllTiles) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const Case several{
      .t = 300, .n = 600, .k = {16, 8, 500}, .masked = 1, .tile = 2, .sm90a = true};  // tiles for a block
  expect_exact(several, 1);
  REQUIRE(by_wgmma());
  Case by_k = several;
  by_k.by_k = true;
  expect_exact(by_k, 2);
  expect_exact({.t = 64 * 128 - 1, .n = 8, .k = {8}, .sm90a = true},
               1);  // chosen by the shape; a second group of tiles
  REQUIRE(by_wgmma());
}

TEST(dualGemmByWgmmaLeavesOtherCasesToTheOtherTiles) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const Case one{.t = 3, .n = 5, .k = {7}, .tile = 2, .sm90a = true};
  Case small = one, unaligned = one, none = one, empty = one;
  small.tile = 0;
  unaligned.aligned = false;
  none.k = {};
  empty.t = 0;
  for (const Case& c : {small, unaligned, none, empty}) {
    expect_exact(c, 1);
    REQUIRE(!by_wgmma());
  }
  expect_exact(one, 1);
  REQUIRE(by_wgmma());
}

std::vector<double> normal_numbers(int64_t n, uint64_t seed) {
  return random(n, seed, seed < 20 ? 1 : 0.1);
}

void expect_rounded_once(bool sm90a) {
  for (const int dtype : {1, 2}) {
    for (const bool by_k : {false, true}) {
      const Case c{.t = 70,
                   .n = 130,
                   .k = {16, 200},
                   .masked = 1,
                   .threshold = 26,
                   .by_k = by_k,
                   .accumulate = true,
                   .bias = true,
                   .tile = sm90a ? 2 : 0,
                   .sm90a = sm90a};
      const Results small = run(c, dtype, normal_numbers);
      std::vector<double> own, reference;
      double largest = 0;
      for (size_t i = 0; i < small.own.size(); ++i) {
        if (!std::isnan(small.reference[i])) {
          own.push_back(small.own[i]);
          reference.push_back(small.reference[i]);
          largest = std::max(largest, std::abs(small.reference[i]));
        }
      }
      REQUIRE(own.size() == static_cast<size_t>(c.t * c.n));
      const double ulp = std::ldexp(1.0, std::ilogb(largest) - (dtype == 1 ? 7 : 10));
      expect_close(name_of(c, dtype), own, reference, 0, 0.5 * ulp + 0.02 * ulp);
    }
  }
}

TEST(dualGemmRoundsOnce) {
  expect_rounded_once(false);
}

TEST(dualGemmByWgmmaRoundsOnce) {
  if (has_sm90a(__func__)) {
    expect_rounded_once(true);
  }
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

TEST(dualGemmRepeatsItsBits) {
  for (const bool by_k : {false, true}) {
    Case c{.t = 70, .n = 130, .k = {16, 8, 200}, .masked = 2, .threshold = 26, .by_k = by_k, .bias = true};
    const std::vector<double> first = run(c, 1, normal_numbers).own;
    REQUIRE(same_bits(first, run(c, 1, normal_numbers).own));
    c.tile = 2;
    REQUIRE(same_bits(first, run(c, 1, normal_numbers).own));
    c.aligned = false;  // another stride
    const std::vector<double> slow = run(c, 1, normal_numbers).own;
    for (int64_t t = 0; t < c.t; ++t) {
      REQUIRE(std::equal(&first[t * 144], &first[t * 144 + c.n], &slow[t * 133]));
    }
  }
}

TEST(dualGemmByWgmmaRepeatsItsBits) {
  if (has_sm90a(__func__)) {
    const Case c{.t = 140, .n = 300, .k = {16, 200}, .masked = 1, .threshold = 26, .tile = 2, .sm90a = true};
    REQUIRE(same_bits(run(c, 1, normal_numbers).own, run(c, 1, normal_numbers).own));
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
