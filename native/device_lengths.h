#pragma once
#include <ATen/core/Tensor.h>

namespace peft4j {

// cu_seqlens (int64, CPU) as int32 on the device. All layers of a model ask with the same tensor: the last answer is kept for each
// thread.
at::Tensor device_lengths(const at::Tensor& cu, at::Device device);

}  // namespace peft4j
