/* adamw and clip_grad_norm: libtorch's fused and foreach operators, one call from Java for all tensors. */
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "peft4j.h"

namespace peft4j {
namespace {

// The fused operator trusts that all four have the same layout.
void check_state(const char* name, size_t i, const at::Tensor& t, const at::Tensor& parameter) {
  TORCH_CHECK(t.defined() && t.sizes() == parameter.sizes(), "adamw: ", name, " ", i, " must have shape ",
              parameter.sizes(), ", got ", t.defined() ? t.sizes() : at::IntArrayRef(),
              t.defined() ? "" : " (undefined)");
  TORCH_CHECK(t.scalar_type() == parameter.scalar_type(), "adamw: parameter ", i, " is ", parameter.scalar_type(),
              " but ", name, " ", i, " is ", t.scalar_type());
  TORCH_CHECK(t.device() == parameter.device(), "adamw: parameter ", i, " is on ", parameter.device(), " but ", name,
              " ", i, " is on ", t.device());
}

void check_contiguous(const char* name, size_t i, const at::Tensor& t) {
  TORCH_CHECK(t.is_contiguous(), "adamw: ", name, " ", i, " must be contiguous, got strides ", t.strides());
}

}  // namespace

void adamw(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients,
           const std::vector<at::Tensor>& exp_avg, const std::vector<at::Tensor>& exp_avg_sq,
           at::ArrayRef<double> learning_rate, at::ArrayRef<double> weight_decay, double beta1, double beta2,
           double eps, int64_t step) {
  const size_t n = parameters.size();
  TORCH_CHECK(gradients.size() == n && exp_avg.size() == n && exp_avg_sq.size() == n && learning_rate.size() == n &&
                  weight_decay.size() == n,
              "adamw: ", n, " parameters need as many gradients, moments, learning rates and decays");
  TORCH_CHECK(step >= 1, "adamw: step counts from 1, got ", step);
  for (size_t i = 0; i < n; ++i) {
    TORCH_CHECK(parameters[i].defined(), "adamw: parameter ", i, " is undefined");
    check_contiguous("parameter", i, parameters[i]);
    check_state("gradient", i, gradients[i], parameters[i]);
    check_state("exp_avg", i, exp_avg[i], parameters[i]);
    check_contiguous("exp_avg", i, exp_avg[i]);
    check_state("exp_avg_sq", i, exp_avg_sq[i], parameters[i]);
    check_contiguous("exp_avg_sq", i, exp_avg_sq[i]);
  }
  c10::NoGradGuard no_grad;
  // Runs of tensors with the same settings go to the fused operator together: one call for each parameter group.
  for (size_t begin = 0; begin < n;) {
    size_t end = begin;
    std::vector<at::Tensor> p, g, m, v, steps;
    for (; end < n && learning_rate[end] == learning_rate[begin] && weight_decay[end] == weight_decay[begin]; ++end) {
      p.push_back(parameters[end]);
      g.push_back(gradients[end].contiguous());
      m.push_back(exp_avg[end]);
      v.push_back(exp_avg_sq[end]);
      steps.push_back(at::full({}, static_cast<double>(step), at::kFloat));
    }
    at::_fused_adamw_(p, g, m, v, {}, steps, learning_rate[begin], beta1, beta2, weight_decay[begin], eps,
                      /*amsgrad=*/false, /*maximize=*/false);
    begin = end;
  }
}

double clip_grad_norm(const std::vector<at::Tensor>& gradients, double max_norm) {
  TORCH_CHECK(max_norm >= 0, "clip_grad_norm: max_norm must be 0 (only measure) or positive, got ", max_norm);
  for (size_t i = 0; i < gradients.size(); ++i) {
    TORCH_CHECK(gradients[i].defined(), "clip_grad_norm: gradient ", i, " is undefined");
  }
  c10::NoGradGuard no_grad;
  double squares = 0;
  for (const at::Tensor& g : gradients) {
    const double norm = at::linalg_vector_norm(g, 2, std::nullopt, false, at::kDouble).item<double>();
    squares += norm * norm;
  }
  const double norm = std::sqrt(squares);
  if (max_norm > 0 && norm > max_norm) {
    for (const at::Tensor& g : gradients) {
      at::Tensor(g).mul_(max_norm / (norm + 1e-6));  // as torch.nn.utils.clip_grad_norm_
    }
  }
  return norm;
}

}  // namespace peft4j
