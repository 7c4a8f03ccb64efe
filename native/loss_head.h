#pragma once
/*
The products of token_losses for chunks of rows, none of them larger than a chunk of logits or the head itself:

    z = rows Wᵀ + bias + low Bᵀ          and from dz, which has taken the place of z,          drows = dz W, dlow = dz B
*/
#include <ATen/core/Tensor.h>

#include "weight.h"

namespace peft4j {

// What z is made of besides the rows.
struct HeadTensors {
  c10::intrusive_ptr<WeightImpl> frozen;  // W, or null: it is w
  at::Tensor w;                           // [V, d], of the rows' type
  at::Tensor bias;                        // [V], of the rows' type, or undefined
  at::Tensor b;                           // [V, R], of their compute type, or undefined as low is

  int64_t out() const { return frozen ? frozen->out() : w.size(0); }
};

class LossHead {
 public:
  // rows: the most of a chunk; like: of their type, on their device.
  LossHead(const HeadTensors& head, const at::Tensor& like, int64_t rows);

  at::Tensor logits(const at::Tensor& rows, const at::Tensor& low) const;  // until the next call
  void to_rows(at::Tensor drows, const at::Tensor& dz) const;
  void to_low(const at::Tensor& dlow, const at::Tensor& dz) const;

 private:
  c10::intrusive_ptr<WeightImpl> frozen_;  // on a CPU, where it has products of its own
  at::Tensor w_, buffer_;                  // else
  at::Tensor bias_, b_;
};

}  // namespace peft4j
