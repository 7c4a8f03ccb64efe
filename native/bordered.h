#pragma once
/*
lora_linear over the bordered weight, by libtorch's products; for any device. With h = s·drop(x)Aᵀ [T, R] and g = s·dy·B [T, R]:

    y  = [ x | h ] · [ W | B ]ᵀ                                         K      R
    dx = [ dy | g ] · [ W ; A ]      where nothing is dropped        ┌───────┬─────┐  N
    dx = dy·W + mask∘(g·A)           else                        M = │   W   │  B  │
    dB = dyᵀ h,   dA = gᵀ drop(x)                                    ├───────┼─────┤
                                                                     │   A   │  0  │  R
so a frozen product and its updates are one product each way.        └───────┴─────┘
R is rounded up to 8, and rows of M, [x | h] and [dy | g] begin at multiples of 128 bytes.
Rows of x, and of dy, whose memory has room behind them take h and g there (rows.h); others are copied by who computes h and g.
Our own product (dual_gemm.h) takes the pairs (x, W), (h, B) and (dy, W), (g, A) where they lie, and masks g·A on its way.
h and g are 0 for the rows that an adapter does not apply to: a batch may hold the rows of many, until R is more than K/4
(lora_segments.h).
*/
#include <ATen/core/Tensor.h>

#include <memory>
#include <mutex>
#include <vector>

#include "working_copies.h"

namespace peft4j {

struct Plan;

/*
M and what its border holds. Each pair (A, B) that was seen lately has columns of its own, found again by the identity of the
tensors and written anew when one of them has changed, unless the optimiser did (working_copies.h); a pair that is gone gives its columns to the next. A pair that a call names twice (for other rows) has columns twice. When there are too few,
M is made anew with more, and whoever still computes with the old one keeps it.
Safe to use from several threads as long as nobody changes an adapter that another one computes with.
*/
class Border {
 public:
  struct Pair {
    at::Tensor a, b;      // masters
    int64_t first_output;  // row of W where the part that B belongs to begins
  };
  struct Place {
    at::Tensor m;                // [N + R, K + R], rows farther apart
    std::vector<int64_t> first;  // column (and row) of each pair, counted from K (from N)
  };

  // w: the dense matrices. M has x's type and is where x is; on a device one matrix that is so already, without pairs, is M itself.
  Place find(const std::vector<at::Tensor>& w, const at::Tensor& x, const std::vector<Pair>& pairs);

 private:
  struct Slot {
    std::shared_ptr<WorkingCopy> a, b;
    int64_t first, rank, first_output;
  };
  Slot make_slot(const Pair& pair, int64_t first) const;
  Slot* slot_of(const Pair& pair, const std::vector<int64_t>& taken);
  int64_t free_columns(int64_t rank) const;
  std::vector<int64_t> grow(const std::vector<at::Tensor>& w, const at::Tensor& x, const std::vector<Pair>& pairs);

  std::mutex mutex_;
  at::Tensor m_;
  int64_t outputs_ = 0, inputs_ = 0;
  std::vector<Slot> slots_;
};

std::vector<at::Tensor> lora_linear_bordered(const at::Tensor& x, const at::Tensor& bias,
                                             const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                             const std::shared_ptr<Plan>& plan);

}  // namespace peft4j
