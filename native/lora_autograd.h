#pragma once
/*
What the ways of lora_linear have in common as autograd Functions: forward's arguments are x, the A's and B's (factors), bias
and plan, in this order.
*/
#include <torch/csrc/autograd/custom_function.h>

#include "lora_plan.h"

namespace peft4j {

// What backward needs of x: x if an A is trained, else nothing.
at::Tensor kept_x(const at::Tensor& x, at::TensorList factors);

// Keeps `own` tensors of the way, the factors and the plan. Result: of forward, views of y [T, out].
std::vector<at::Tensor> keep(torch::autograd::AutogradContext* ctx, std::vector<at::Tensor> own, at::TensorList factors,
                             const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan,
                             const at::Tensor& y);

// Found again in backward.
struct Kept {
  std::shared_ptr<const Plan> plan;
  std::vector<at::Tensor> own, a, b;
  at::Tensor dy;  // [T, out]; undefined: no gradient came, and none is to be made
  bool wants_x;
  std::vector<bool> wants_a, wants_b;  // of each adapter with rows
  std::vector<at::Tensor> gradients;  // the result, in which those of bias and of adapters without rows stand already

  Kept(torch::autograd::AutogradContext* ctx, const std::vector<at::Tensor>& dys);

  at::Tensor& dx() { return gradients[0]; }
  at::Tensor& da(int64_t j) { return gradients[1 + j]; }
  at::Tensor& db(int64_t j) { return gradients[1 + a.size() + j]; }

  bool wants_any_a() const;
  bool wants_any_factor() const;

  // Of j's A or B, made empty if it is wanted, else undefined.
  at::Tensor new_da(int64_t j) { return wants_a[j] ? da(j) = at::empty(a[j].sizes(), a[j].options()) : at::Tensor(); }
  at::Tensor new_db(int64_t j) { return wants_b[j] ? db(j) = at::empty(b[j].sizes(), b[j].options()) : at::Tensor(); }
};

}  // namespace peft4j
