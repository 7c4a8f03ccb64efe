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

// Who multiplies: libtorch's products, which have no masks; cuda/dual_gemm.cu, for which operands need not lie side by side to be
// multiplied in one pass; or, where card and operands allow it, its form for Hopper cards.
enum class Gemm { kLibrary, kOwn, kOwnByWgmma };

// bias + Σ mask∘(x w) over the products, [T, N]; bias [N] or undefined. w's are all of one kind.
at::Tensor dual_gemm(const std::vector<Product>& products, const at::Tensor& bias, Gemm by);

// Own kernels where they are loaded and take x's type (16-bit numbers), in the form that is chosen now (providers.h).
Gemm own_gemm(const at::Tensor& x);

}  // namespace peft4j
