#pragma once
/*
The products of a linear layer that is thin: few inputs or few outputs, as bottlenecks, heads and projections of prompts
have. On a CPU they go to the kernels of LoRA's ranks, which read the wide operand once.
*/
#include <ATen/core/Tensor.h>

namespace peft4j::thin {

constexpr int64_t kMost = 128;  // inputs or outputs, whichever are fewer

// Whether x wᵀ, x [T, in], w [out, in], is such a product.
bool takes(const at::Tensor& x, const at::Tensor& w);

// x wᵀ + bias, [T, out]; the bias may be undefined.
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);

// dy w, [T, in].
at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& w);

// dyᵀ x, [out, in].
at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x);

}  // namespace peft4j::thin
