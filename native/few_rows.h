#pragma once
/*
Products of few rows with a frozen matrix on a CPU: generation. They are limited by how fast the matrix is read, once for all rows;
oneDNN's, made for many rows, read it at a third of that speed. A packed weight is read as oneDNN has laid it out, so that it is
there once: for AVX2 and AVX512 that is panels of 16 to 64 outputs, which panels_of() checks number by number.
*/
#include <ATen/core/Tensor.h>

#include <optional>

#include "peft4j.h"

namespace peft4j {

// Rows up to which these products are taken (with AVX2, beside libtorch's linear: 2.4 times its speed at 8 rows, 1.4 at 64).
constexpr int64_t kFewRows = 64;

// Where a packed matrix has its numbers: input k and output n at ((n / width)·padded_in + k)·width + n % width.
struct Panels {
  const float* data;
  int64_t width, padded_in;
};

// How `packed`, made by onednn::pack from w [out, in], has w; none where it is laid out otherwise.
PEFT4J_API std::optional<Panels> panels_of(const at::Tensor& packed, const at::Tensor& w);

// x wᵀ + bias; x [T, in] float32; bias may be undefined.
at::Tensor few_rows_product(const at::Tensor& x, const Panels& w, int64_t out, const at::Tensor& bias);

// The same for a w [out, in] of bfloat16 that is widened on its way.
at::Tensor few_rows_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);

}  // namespace peft4j
