#pragma once
/* attention by the kernels of cuda/attention_forward.cu and attention_backward.cu. */
#include <ATen/core/Tensor.h>

#include "attention_library.h"

namespace peft4j {

// Whether the kernels are there and take such heads.
bool cuda_has_attention(const at::Tensor& q);

// Arguments as attention's (peft4j.h), checked; cu_seqlens on the CPU; prefix and bias may be undefined.
at::Tensor attention_by_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                             const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                             const at::Tensor& bias_table, const AttentionSettings& settings);

}  // namespace peft4j
