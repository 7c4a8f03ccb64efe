#pragma once
/*
The rank-r products of lora_linear around libtorch's products, on tensors of any device: own CUDA kernels where the library
is loaded, else at:: calls. Matrices may be strided views; the columns of a row are contiguous. Segments may come in any order,
and a row may be in several, each with columns of its own in h and g; all adapters of a call are one launch as long as two of
them have either the same rows and the same mask or no row in common.

float32 on CUDA is multiplied in float32; in tf32 where libtorch's own products may be (at::globalContext().allowTF32CuBLAS()).
*/
#include <ATen/core/Tensor.h>

#include <vector>

#include "philox.h"

namespace peft4j {

constexpr int64_t kMostRankColumns = 65535 * 32;  // C of the kernels: of a grid's y

// Rows that an adapter applies to.
struct RankSegment {
  int64_t begin, end;
  int64_t column;       // of h and g: where its ranks begin
  at::Tensor factor;    // [r, C], any strides: A, or Bᵀ; of x's type or of its compute type
  double scale;
  Dropout dropout;      // of x and dx; row t of the mask is row t of x
  at::Tensor gradient;  // dA [r, C] or dB [C, r], contiguous, of the compute type, is set; undefined: not wanted
};
using RankSegments = std::vector<RankSegment>;

// h[t, column + j] = scale · Σ_c drop(x)[t, c] factor[j, c]; copy = x if it is defined. fill: 0 where h has nothing else.
void lora_shrink(const at::Tensor& x, const RankSegments& segments, const at::Tensor& copy, const at::Tensor& h,
                 bool fill);

// g[t, column + j] = scale · Σ_c dy[t, c] factor[j, c], copy and fill as above; gradient = dyᵀ h.
void lora_grad_b(const at::Tensor& dy, const RankSegments& segments, const at::Tensor& h, const at::Tensor& copy,
                 const at::Tensor& g, bool fill);

// gradient = gᵀ drop(x).
void lora_grad_a(const at::Tensor& x, const at::Tensor& g, const RankSegments& segments);

// y[t] += mask∘(h factor)[t], in place.
void lora_expand(const at::Tensor& y, const at::Tensor& h, const RankSegments& segments);

}  // namespace peft4j
