#pragma once
/*
The rank-r products of lora_linear around libtorch's products, on tensors of any device: own CUDA kernels where the library
is loaded, else at:: calls. Matrices may be strided views; the columns of a row are contiguous.
*/
#include <ATen/core/Tensor.h>

#include <vector>

#include "philox.h"

namespace peft4j {

// The rows of x that an adapter applies to, and the mask of x there (its row t is x's row t).
struct RankRows {
  int64_t begin, end;
  Dropout dropout;
};

// h[t, j] = scale[j] · Σ_c drop(x)[t, c] a[j, c] for the rows, 0 for the others; and copy = x if it is defined.
void lora_shrink(const at::Tensor& x, const at::Tensor& a, const std::vector<double>& scale, const RankRows& rows,
                 const at::Tensor& copy, const at::Tensor& h);

// g[t, j] = scale[j] · Σ_c dy[t, c] b[c, j] for the rows, 0 for the others; copy = dy if it is defined. Returns
// dB = dyᵀ h in the compute type if `wants_db`, else nothing.
at::Tensor lora_grad_b(const at::Tensor& dy, const at::Tensor& b, const std::vector<double>& scale,
                       const RankRows& rows, const at::Tensor& h, const at::Tensor& copy, const at::Tensor& g,
                       bool wants_db);

// dA = gᵀ drop(x) over the rows, in the compute type.
at::Tensor lora_grad_a(const at::Tensor& x, const at::Tensor& g, const RankRows& rows);

// y[t] += mask∘(h m)[t] for the rows; m [r, C] with any strides.
void lora_expand(const at::Tensor& y, const at::Tensor& h, const at::Tensor& m, const RankRows& rows);

}  // namespace peft4j
