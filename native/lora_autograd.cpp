#include "lora_autograd.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace peft4j {
namespace {

struct HeldPlan : torch::CustomClassHolder {
  explicit HeldPlan(std::shared_ptr<Plan> p) : plan(std::move(p)) {}
  std::shared_ptr<Plan> plan;
};

bool any(const std::vector<bool>& of) {
  return std::find(of.begin(), of.end(), true) != of.end();
}

}  // namespace

at::Tensor kept_x(const at::Tensor& x, at::TensorList factors) {
  const at::TensorList a = factors.slice(0, factors.size() / 2);
  return std::any_of(a.begin(), a.end(), [](const at::Tensor& t) { return t.requires_grad(); }) ? x : at::Tensor();
}

std::vector<at::Tensor> keep(torch::autograd::AutogradContext* ctx, std::vector<at::Tensor> own, at::TensorList factors,
                             const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan,
                             const at::Tensor& y) {
  own.insert(own.end(), factors.begin(), factors.end());
  ctx->save_for_backward(own);
  ctx->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<HeldPlan>(plan));
  ctx->saved_data["has_bias"] = bias.has_value();
  ctx->saved_data["rows"] = y.size(0);
  return parts_of(*plan, y);
}

Kept::Kept(torch::autograd::AutogradContext* ctx, const std::vector<at::Tensor>& dys)
    : plan(c10::static_intrusive_pointer_cast<HeldPlan>(ctx->saved_data["plan"].toCapsule())->plan),
      own(ctx->get_saved_variables()),
      dy(joined(*plan, dys, ctx->saved_data["rows"].toInt())),
      wants_x(ctx->needs_input_grad(0)) {
  const int64_t n = plan->adapters.size();
  b.assign(own.end() - n, own.end());
  a.assign(own.end() - 2 * n, own.end() - n);
  own.resize(own.size() - 2 * n);
  gradients.resize(1 + 2 * n + 2);
  if (!dy.defined()) {
    return;
  }
  if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(1 + 2 * n)) {
    gradients[1 + 2 * n] = dy.sum(0);
  }
  for (int64_t j = 0; j < n; ++j) {
    // An adapter that no row reached gets no gradient: with one of zeros the optimiser would decay and move it.
    const bool rows = plan->adapters[j].begin < plan->adapters[j].end;
    wants_a.push_back(rows && ctx->needs_input_grad(1 + j));
    wants_b.push_back(rows && ctx->needs_input_grad(1 + n + j));
  }
}

bool Kept::wants_any_a() const {
  return any(wants_a);
}

bool Kept::wants_any_factor() const {
  return any(wants_a) || any(wants_b);
}

}  // namespace peft4j
