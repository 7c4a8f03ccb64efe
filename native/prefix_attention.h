#pragma once
/*
A prefix and attention that was computed without it (formulas: cuda/prefix_attention.cu), on tensors of any device: our CUDA kernel
where the library is loaded, else at:: calls.

    join_prefix         o, L = join of o₁, L₁ and the prefix
    prefix_backward     what the prefix adds to dq, and dk, dv of the prefix
    add_gated_prefix    o₁ + gate·softmax(scale·q kᵀ) v over the prefix, differentiable (LLaMA-Adapter)
*/
#include <ATen/core/Tensor.h>

namespace peft4j {

// Query rows and the prefix that each sees. cu_q: int64 on the CPU, sequence s has rows cu_q[s] to cu_q[s + 1] - 1.
struct PrefixedRows {
  at::Tensor q;     // [T, Hq, D], heads of a row contiguous
  at::Tensor k, v;  // [P, Hkv, D] for all rows, or [S, P, Hkv, D] for each sequence; P > 0
  at::Tensor cu_q;
  int64_t max_q;
  double scale;

  bool shared() const { return k.dim() == 3; }
};

// o [T, Hq, D] and the log-sum-exp of its scores [T, Hq] in the compute type; any strides.
struct Attended {
  at::Tensor o, lse;
};

// part: of rows without keys lse is -∞ or +∞ and o is 0. May be overwritten.
Attended join_prefix(const Attended& part, const PrefixedRows& rows);

struct PrefixGradients {
  at::Tensor dk, dv;  // like the prefix; undefined unless wanted
};

// Adds to dq, if it is defined.
PrefixGradients prefix_backward(const at::Tensor& dq, const at::Tensor& dout, const Attended& joined,
                                const PrefixedRows& rows, bool wants_keys);

at::Tensor add_gated_prefix(const at::Tensor& o1, const PrefixedRows& rows, const at::Tensor& gate);

}  // namespace peft4j
