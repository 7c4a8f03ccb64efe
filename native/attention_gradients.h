#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

namespace peft4j {

// Room for the gradients of q, k and v. Where there are as many queries as keys they are views of one tensor: the linear group that
// made q, k and v takes it as it is.
std::vector<at::Tensor> gradients_in_one(const at::Tensor& q, const at::Tensor& k);

// The same as results 0 to 2 of a backward, and for the kernel that writes them.
template <class Params>
void make_gradients(const at::Tensor& q, const at::Tensor& k, std::vector<at::Tensor>& results, Params& p) {
  const std::vector<at::Tensor> made = gradients_in_one(q, k);
  std::copy(made.begin(), made.end(), results.begin());
  p.dq = made[0].data_ptr();
  p.dk = made[1].data_ptr();
  p.dv = made[2].data_ptr();
  p.dq_stride = made[0].stride(0);
  p.dk_stride = made[1].stride(0);
  p.dv_stride = made[2].stride(0);
}

}  // namespace peft4j
