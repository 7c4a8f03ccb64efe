#pragma once
/*
lm_loss with a chunk size of the caller's (contract: peft4j.h). Of the logits [T, V] only a chunk of rows exists at a time, in
hidden's type:

    rows of hidden with a label → z = rows·Wᵀ → losses, and dz in z's place → drows = dz·W, kept for backward

so backward multiplies drows [labelled rows, d] by the incoming number and puts its rows where they belong.
*/
#include <ATen/core/Tensor.h>

#include "peft4j.h"

namespace peft4j {

struct LossSettings {
  double softcap, label_smoothing;
  bool mean;
  int64_t chunk_bytes = 256 << 20;  // products are at their full speed long before
};

PEFT4J_API at::Tensor lm_loss(const at::Tensor& hidden, const Weight& weight, const at::Tensor& labels,
                              const LossSettings& settings);

}  // namespace peft4j
