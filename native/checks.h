#pragma once
/* What several operations check at their boundary, in one wording: operation, argument, expected, received. */
#include <ATen/core/Tensor.h>

#include "cuda_library.h"

namespace peft4j {

inline void check_compute_type(const char* operation, const char* name, const at::Tensor& t) {
  TORCH_CHECK(t.defined(), operation, ": ", name, " is undefined");
  const at::ScalarType type = t.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kDouble || (type == at::kHalf && on_device(t)),
              operation, ": ", name, " must be float32, bfloat16 or float64 (on CUDA also float16), got ", type, " on ",
              t.device());
}

inline void check_like(const char* operation, const char* name, const at::Tensor& t, const char* other_name,
                       const at::Tensor& other) {
  TORCH_CHECK(t.scalar_type() == other.scalar_type(), operation, ": ", other_name, " is ", other.scalar_type(), " but ",
              name, " is ", t.scalar_type());
  TORCH_CHECK(t.device() == other.device(), operation, ": ", other_name, " is on ", other.device(), " but ", name,
              " is on ", t.device());
}

inline void check_shape(const char* operation, const char* name, const at::Tensor& t, at::IntArrayRef shape,
                        const char* letters) {
  TORCH_CHECK(t.sizes() == shape, operation, ": ", name, " must have shape ", letters, " = ", shape, ", got ",
              t.sizes());
}

inline void check_probability(const char* operation, double p) {
  TORCH_CHECK(p >= 0 && p < 1, operation, ": dropout must be in [0, 1), got ", p);
}

// The type that kernels compute in: float for 16-bit numbers.
inline at::ScalarType compute_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace peft4j
