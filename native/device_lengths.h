#pragma once
#include <ATen/core/Tensor.h>

#include "peft4j.h"

namespace peft4j {

/*
cu_seqlens (int64, CPU) as int32 on the device. All layers of a model ask with the same tensor, and backward, in autograd's thread, with
the one that forward had: the answer is kept for as long as the tensor lives and is not changed, and for all threads. Another
stream, which would have to wait for the copy, gets one of its own.
*/
PEFT4J_API at::Tensor device_lengths(const at::Tensor& cu, at::Device device);

// Where packed sequence i begins; cu is on the CPU.
inline int64_t at_index(const at::Tensor& cu, int64_t i) {
  return cu.data_ptr<int64_t>()[i];
}

}  // namespace peft4j
