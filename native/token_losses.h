#pragma once
/*
token_losses with a chunk size of the caller's (contract: peft4j.h). Of the logits [T, V] only a chunk of rows exists at a time, in
hidden's type; the gradient of a row's loss, dz, takes their place. What the incoming number g of each row multiplies:

    dhidden = g∘(dz W), dlow = g∘(dz B)                         row by row: made in forward, where the logits are, without g
    dW = dzᵀ(g∘hidden), dbias = dzᵀ g, dB = dzᵀ(g∘low)          sums over rows: only once g is known

So as long as nothing of the head is trained, backward only multiplies what forward kept, [labelled rows, d]. Else forward keeps
nothing and backward makes the logits a second time, chunk by chunk.
*/
#include <ATen/core/Tensor.h>

#include <vector>

#include "peft4j.h"

namespace peft4j {

struct LossSettings {
  double softcap, label_smoothing;
  int64_t chunk_bytes = 256 << 20;  // products are at their full speed long before
};

// What lora_linear takes beside x, weight and bias.
struct LowRankUpdates {
  std::vector<at::Tensor> a, b;
  std::vector<int64_t> place;
  std::vector<double> scale, dropout;
  int64_t seed = 0;
};

PEFT4J_API at::Tensor token_losses(const at::Tensor& hidden, const Weight& weight, const at::Tensor& bias,
                                   const LowRankUpdates& updates, const at::Tensor& labels,
                                   const LossSettings& settings);
PEFT4J_API at::Tensor token_losses(const at::Tensor& hidden, const at::Tensor& w, const at::Tensor& bias,
                                   const at::Tensor& labels, const LossSettings& settings);

}  // namespace peft4j
