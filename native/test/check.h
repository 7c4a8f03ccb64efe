#pragma once
/*
What the native tests share. A test is TEST(nameOfTheBehaviour) { … }; a failed check throws, and the runner goes on with
the next test.

compare() runs an operation by one provider (its own kernels, unless named) and by `reference` (in double) and compares
outputs and every gradient:
    double     to 1e-10 of the largest value: this checks the formulas; and central differences along one direction
    float, 16 bit max|own - reference| <= 2·max|plain - reference| + 1e-5 + 1 ulp at max|reference|, where plain is the same
               formula by at:: functions in the kernel's own precision (flash-attention's rule: no tuned constants).
               Few numbers decide some results (one row, rank 1), and plain may hit them by luck. So what is larger counts
               as plain's error: its largest relative error in any result of the operation, for a result of less than
               100 numbers; and what the reference moves by when each given number changes by 32 ulps of float (for a
               result of less than 100 numbers by half an ulp of its type, if that is more), as roundings do to a sum that
               cancels.
*/
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <vector>

#include "../../cuda/test/pairwise.h"
#include "peft4j.h"

namespace peft4j::test {

using Tensors = std::vector<at::Tensor>;

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

// Forces a provider while it lives.
struct Kernels {
  explicit Kernels(const std::string& setting) { set_kernels(setting); }
  ~Kernels() { set_kernels("auto"); }
};

// While it lives CPU tensors go through cuda/'s kernels, in the host executor (build-scripts/native-tests.sh says where the
// library is).
struct CudaOnTheHost {
  CudaOnTheHost();
  ~CudaOnTheHost() { load_cuda(""); }
  // The kernel that the library started last.
  std::string last_kernel() const;
};

struct Threads {
  explicit Threads(int n);
  ~Threads();
  int before;
};

// body must throw an error whose message has all of these pieces.
void expect_error(const std::string& what, const std::function<void()>& body, const std::vector<std::string>& pieces);

void expect_same_bits(const std::string& what, const at::Tensor& a, const at::Tensor& b);

// |own - reference| against the tolerance above; allowed: max|plain - reference|.
void expect_close(const std::string& what, const at::Tensor& own, const at::Tensor& reference, double allowed,
                  double absolute = 1e-5);

// Normal numbers from a generator of its own; the same for the same seed.
at::Tensor random(at::IntArrayRef shape, uint64_t seed, double deviation = 1);

struct Operation {
  std::string what;
  // In double; undefined ones are passed on. They are rounded to the tested type, or to its compute type where wide.
  Tensors inputs;
  std::vector<bool> trained, wide;
  // From typed inputs to outputs. type is the tested type, also when the inputs are the reference's (double).
  std::function<Tensors(const Tensors&, at::ScalarType type)> run, plain;
  std::vector<at::ScalarType> types = {at::kDouble, at::kFloat, at::kBFloat16};
  double absolute = 1e-5;  // the rule's; a larger one carries the measured error
};

void compare(const Operation& operation, const char* provider = "own");

// Outputs, then gradients of the trained inputs for fixed random gradients of the outputs. change: what is given is
// first changed by this share of itself, up or down at random.
Tensors results(const Operation& operation, const std::function<Tensors(const Tensors&, at::ScalarType)>& run,
                at::ScalarType type, bool in_double, double change = 0);

// Own kernels give the same bits by one thread, by two, and once more.
void expect_same_bits_for_any_threads(const Operation& operation);

// A byte of the dropout mask, by a Philox of the tests' own.
uint32_t mask_byte(uint64_t row, uint64_t column, uint64_t seed);

// [rows, columns] of 0 and 256 / (256 - round(256 p)) in double; element (i, c) belongs to row
// first_row + i·row_step of the mask.
at::Tensor mask(int64_t rows, int64_t columns, double p, uint64_t seed, int64_t first_row = 0, int64_t row_step = 1);

using peft4j::test_cases::pairwise;

extern const std::vector<int64_t> kSizes;  // style.md's

}  // namespace peft4j::test
