#pragma once
#include <ATen/core/Tensor.h>

#include "providers.h"

namespace peft4j {

// losses [n] of rows of logits [n, V] whose columns are contiguous (formula: cuda/cross_entropy.cu). With gradient that of each
// row's loss takes the logits' place. labels [n] int64 on the logits' device; losses of the compute type.
void cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses, double softcap,
                   double smoothing, bool gradient, Provider provider);

}  // namespace peft4j
