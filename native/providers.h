#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace peft4j {

enum class Operation {
  kLoraLinear,
  kAttention,
  kAttentionDecode,
  kLayerNorm,
  kGelu,
  kDropout,
  kTokenLosses,
  kAdamW,
  kRational,
  kPromptGenerator,
  kRmsNorm,
  kRotary,
  kGatedMlp
};
enum class Provider { kOwn, kLibrary, kReference };

/*
Which implementation of an operation runs on x's device: `own` kernels, the `library` (libtorch), or the slow `reference`
that tests compare with. Forced by set_kernels("reference") for all operations that have that provider, or for single ones
by set_kernels("attention=reference,gelu=library"); else chosen by the one table in providers.cpp. "auto" forgets what was
forced. The setting is the process's; it is read at each forward, and backward follows its forward.

On a CUDA device own kernels need libpeft4j_cuda.so. Without it the next best runs, which is logged once; forced "own" is
an error then.
*/
Provider provider_of(Operation operation, const at::Tensor& x);

// Kernels of own operations that have a second form by wgmma, for cards of compute capability 9.0: whether it may run, which is read when
// providers are. Off until a card has run it: set_kernels("dual_gemm=sm_90a,attention_forward=sm_90a,attention_backward=sm_90a").
bool dual_gemm_by_wgmma();  // the products of lora_linear
bool attention_forward_by_wgmma();
bool attention_backward_by_wgmma();

}  // namespace peft4j
