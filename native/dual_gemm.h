#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "philox.h"

namespace peft4j {

// x [T, k] and w [k, N], which may be strided views: of [N, k] by .t(), or of [k, N]; in the latter's rows and in x's the columns
// of a row are contiguous.
struct Product {
  at::Tensor x, w;
  Dropout dropout = {};  // of x w: its row t and column n are the mask's
};

/*
bias + Σ mask∘(x w) over the products, [T, N]; bias [N] or undefined. w's are all of one kind.
own: by cuda/dual_gemm.cu where it is loaded and takes the type (16-bit numbers); else, and without it, by libtorch's products,
which have no masks.
*/
at::Tensor dual_gemm(const std::vector<Product>& products, const at::Tensor& bias, bool own);

// Whether it goes through our kernel: then operands need not lie side by side to be multiplied in one pass.
bool dual_gemm_takes(const at::Tensor& x);

}  // namespace peft4j
