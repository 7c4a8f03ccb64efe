#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

#include "peft4j.h"

/*
oneDNN's matrix product with a prepacked operand, through libtorch's own operators (mkldnn::_linear_pointwise and
mkldnn::_reorder_linear_weight): on a CPU the fastest product there is in the preset, see README, "Speed".
*/
namespace peft4j::onednn {

// Whether linear() can take x: float32, or bfloat16 where this CPU has products of it; at least one element.
bool usable(const at::Tensor& x);

// w [out, in] in the layout that this processor wants; an opaque tensor that only linear() understands.
PEFT4J_API at::Tensor pack(const at::Tensor& w);

// The bytes of a packed matrix.
std::pair<const void*, int64_t> data_of(const at::Tensor& packed);

// x wᵀ + bias; w packed or plain, of x's type; bias may be undefined.
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);

}  // namespace peft4j::onednn
