#pragma once
/*
Part 1 of attention_library.h by cuDNN's packed operation in libtorch (CUDA, 16-bit), for sizes that come back.

cuDNN compiles a graph for each (rows, sequences, longest), which libtorch keeps for each thread and never frees. So the three are
rounded up: rows that belong to nobody and sequences of length 0 at the end, a longest that no sequence has. And sizes are left
to flash-attention until they were met ten times.
It is never bit-repeatable: not taken while deterministic() or libtorch's switch asks for that, nor where cuDNN attention is switched off
(at::globalContext()).
libtorch up to 2.13 compiles the graph in every call, about 42 ms (https://github.com/pytorch/pytorch/pull/191576): not taken there
either. Its successors' operator has an argument `block_table`, and log-sum-exps [H, T]. NOT RUN ON A CARD YET.
*/
#include "attention_library.h"
#include "peft4j.h"

namespace peft4j {

// Counts the sizes. lengths: cu_seqlens of queries and keys, on the CPU.
bool cudnn_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& cu_q, const at::Tensor& cu_k,
                 const AttentionSettings& settings);

// o, log-sum-exp [T, H], and three tensors for the backward.
std::vector<at::Tensor> cudnn_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const at::Tensor& cu_q, const AttentionSettings& settings);
// dq, dk, dv
std::vector<at::Tensor> cudnn_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       const at::Tensor& dout, const at::Tensor& o, const at::Tensor& lse,
                                       at::ArrayRef<at::Tensor> state, const AttentionSettings& settings);

// For tests: n rounded up to the next of eight sizes between two powers of 2, at most an eighth more; whether a key was given
// more than ten times; cu_seqlens with sequences of length 0 behind it, so that there are `sequences`.
PEFT4J_API int64_t cudnn_bucket(int64_t n);
PEFT4J_API bool cudnn_met_often(const std::vector<int64_t>& key);
PEFT4J_API at::Tensor cudnn_lengths(const at::Tensor& cu, int64_t sequences, int64_t rows);

}  // namespace peft4j
