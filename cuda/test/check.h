#pragma once
/*
What the tests of the kernels share, on the host and on a card. A test is TEST(nameOfTheBehaviour) { … }; a failed check throws,
and the runner goes on with the next test.
*/
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "device/cuda.h"
#include "pairwise.h"

namespace peft4j::cuda::test {

int add(const char* name, void (*body)());

#define TEST(name)                                                    \
  static void name();                                                 \
  [[maybe_unused]] static const int name##_number = add(#name, name); \
  static void name()

[[noreturn]] void fail(const std::string& message);

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

#define REQUIRE(condition)                                                \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fail(text(__FILE__, ":", __LINE__, ": ", #condition, " is false")); \
    }                                                                     \
  } while (false)

// A call of peft4j_cuda.h must succeed.
void expect_success(const std::string& what, int status);

// |own - reference| <= 2·max|plain - reference| + absolute, the rule of native/test/check.h.
void expect_close(const std::string& what, const std::vector<double>& own, const std::vector<double>& reference,
                  double allowed, double absolute = 1e-5);
double distance(const std::vector<double>& a, const std::vector<double>& b);

// A type's number in peft4j_cuda.h.
template <class T>
constexpr int kDtype = std::is_same_v<T, float>           ? 0
                       : std::is_same_v<T, __nv_bfloat16> ? 1
                                                          : 2;

// Distance from the largest number, rounded to T, to the next larger one.
template <class T>
double ulp(const std::vector<double>& values) {
  double most = 0;
  for (const double x : values) {
    most = std::max(most, std::abs(x));
  }
  const int digits = sizeof(T) == 4 ? 24 : std::is_same_v<T, __nv_bfloat16> ? 8 : 11;
  return most == 0 ? 0 : std::ldexp(1.0, std::ilogb(most) + 1 - digits);
}

// Normal numbers; the same for the same seed.
std::vector<double> random(size_t n, uint64_t seed, double deviation = 1);

// A byte of the dropout mask, by a Philox of the tests' own.
uint32_t mask_byte(uint64_t row, uint64_t column, uint64_t seed);

// [rows, columns] of 0 and 256 / (256 - threshold).
std::vector<double> mask(int64_t rows, int64_t columns, uint32_t threshold, uint64_t seed, uint64_t first_row = 0);

template <class To, class From>
std::vector<To> convert(const std::vector<From>& from) {
  std::vector<To> to;
  to.reserve(from.size());
  for (const From& x : from) {
    to.push_back(static_cast<To>(static_cast<float>(x)));
  }
  return to;
}

// Behind so many zeros: data that begin off an aligned address.
template <class T>
std::vector<T> shifted(const std::vector<double>& values, int shift) {
  std::vector<double> with(shift, 0.0);
  with.insert(with.end(), values.begin(), values.end());
  return convert<T>(with);
}

template <class T>
std::vector<double> wide(const std::vector<T>& from) {
  std::vector<double> to;
  to.reserve(from.size());
  for (const T& x : from) {
    to.push_back(static_cast<float>(x));
  }
  return to;
}

// The whole rule; plain: the same formula in T's own precision, each step rounded.
template <class T>
void expect_by_rule(const std::string& what, const std::vector<T>& own, const std::vector<double>& reference,
                    const std::vector<double>& plain) {
  expect_close(what, wide(own), reference, distance(plain, reference), 1e-5 + ulp<T>(reference));
}

using peft4j::test_cases::pairwise;

extern const std::vector<int64_t> kSizes;

}  // namespace peft4j::cuda::test
