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

// x wᵀ + bias for a w that is no Weight; x goes by `name`.
inline void check_linear(const char* operation, const char* name, const at::Tensor& x, const at::Tensor& w,
                         const at::Tensor& bias) {
  check_compute_type(operation, name, x);
  TORCH_CHECK(x.dim() == 2, operation, ": ", name, " must have shape [T, in], got ", x.sizes());
  TORCH_CHECK(w.defined() && w.dim() == 2 && w.size(1) == x.size(1), operation, ": w must have shape [out, ", x.size(1),
              "] (in of ", name, "), got ", w.defined() ? w.sizes() : at::IntArrayRef());
  check_like(operation, "w", w, name, x);
  if (bias.defined()) {
    check_shape(operation, "bias", bias, {w.size(0)}, "[out]");
    check_like(operation, "bias", bias, name, x);
  }
}

inline void check_probability(const char* operation, double p) {
  TORCH_CHECK(p >= 0 && p < 1, operation, ": dropout must be in [0, 1), got ", p);
}

// Where packed sequences begin. end: the rows of `of`, where the last must end; -1: they are not known. longest: the most rows that
// a sequence may have.
inline void check_cu_seqlens(const char* operation, const char* name, const at::Tensor& cu, int64_t end, const char* of,
                             int64_t longest = INT64_MAX) {
  TORCH_CHECK(cu.defined(), operation, ": ", name, " is undefined");
  TORCH_CHECK(cu.dim() == 1 && cu.numel() >= 1 && cu.scalar_type() == at::kLong && cu.is_cpu() && cu.is_contiguous(),
              operation, ": ", name, " must be a contiguous int64 vector [S + 1] on the CPU, got ", cu.scalar_type(),
              " ", cu.sizes(), " on ", cu.device());
  const int64_t* at = cu.data_ptr<int64_t>();
  const int64_t s = cu.numel() - 1;
  TORCH_CHECK(at[0] == 0, operation, ": ", name, " must begin at 0, got ", at[0]);
  for (int64_t i = 0; i < s; ++i) {
    TORCH_CHECK(at[i] <= at[i + 1], operation, ": ", name, " must not fall, but goes from ", at[i], " to ", at[i + 1],
                " at ", i);
    TORCH_CHECK(at[i + 1] - at[i] <= longest, operation, ": sequence ", i, " of ", name, " has ", at[i + 1] - at[i],
                " rows, more than the stated longest ", longest);
  }
  TORCH_CHECK(end < 0 || at[s] == end, operation, ": ", name, " must end at ", end, " (the rows of ", of, "), got ",
              at[s]);
}

// The type that kernels compute in: float for 16-bit numbers.
inline at::ScalarType compute_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace peft4j
