#pragma once
/*
attention by libtorch's own operations: flash-attention (CUDA 16-bit; or cuDNN, attention_cudnn.h), memory-efficient attention
(CUDA float32), its flash operation for CPUs (one sequence at a time: there for tests of the algebra), and the prefix joined by
its log-sum-exp (prefix_attention.h).

Attention over (prefix ∪ sequence) is two attentions:
    part 1  o₁, L₁: the sequence, by the library, which gives the log-sum-exp L₁
    part 2  s_j = scale·q·k_j over the P prefix keys, L₂ = log Σ exp s_j
    join    L = log(exp L₁ + exp L₂),   o = exp(L₁-L)·o₁ + Σ_j exp(s_j-L)·v_j
backward: the library's own backward of part 1, called with the joined o and L, gives its share of dq and the whole dk and dv; with
    δ = rowsum(do∘o),  p_j = exp(s_j-L),  ds_j = scale·p_j·(do·v_j - δ):   dq += Σ ds_j k_j,  dk_j = Σ ds_j q,  dv_j = Σ p_j do
*/
#include <ATen/core/Tensor.h>

#include "attention_settings.h"

namespace peft4j {

// Whether the library can: not with dropout (its masks are not ours), nor with numbers that the device's operation lacks.
bool library_has_attention(const at::Tensor& q, const AttentionSettings& settings);

// Arguments as attention's (peft4j.h), checked; cu_seqlens on the CPU; the prefix may be undefined.
at::Tensor attention_by_library(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                                const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                                const AttentionSettings& settings);

}  // namespace peft4j
