#pragma once
/* dropout without checks and autograd, for backwards of other operations. */
#include <ATen/core/Tensor.h>

#include "philox.h"

namespace peft4j {

// mask∘x by our kernels; x [T, C], contiguous.
at::Tensor dropped(const at::Tensor& x, const Dropout& mask);

}  // namespace peft4j
