/* adamw and clip_grad_norm, one call for all tensors (contract: peft4j.h; kernels: cuda/adamw.cu, clip_grad_norm.cu). */
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <map>

#include "checks.h"
#include "peft4j.h"
#include "providers.h"
#include "working_copies.h"

namespace peft4j {
namespace {

struct Hyper {
  double beta1, beta2, eps;
};

struct State {
  const std::vector<at::Tensor>& parameters;
  std::vector<at::Tensor> gradients;  // contiguous
  const std::vector<at::Tensor>& exp_avg;
  const std::vector<at::Tensor>& exp_avg_sq;
  at::ArrayRef<double> learning_rate, weight_decay;
  at::IntArrayRef step;
};

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

// The kernels for these tensors, which want float32 and one device; null: another provider's.
const CudaKernels* own_kernels(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& t : tensors) {
    if (t.scalar_type() != at::kFloat || t.device() != tensors[0].device()) {
      return nullptr;
    }
  }
  const bool own = !tensors.empty() && provider_of(Operation::kAdamW, tensors[0]) == Provider::kOwn;
  return own ? cuda_kernels(tensors[0]) : nullptr;
}

// What in-place operators do, but not libtorch's fused step: autograd, and copies of a parameter, see that t is another one.
void changed(const at::Tensor& t) {
  if (!t.is_inference()) {
    t.unsafeGetTensorImpl()->bump_version();
  }
}

void by_own_kernel(const CudaKernels& cuda, const State& s, const Hyper& hyper) {
  std::map<int64_t, std::vector<peft4j_cuda_adamw_tensor>> by_step;  // a launch has one: nearly always all tensors'
  std::vector<std::shared_ptr<WorkingCopy>> copies;
  for (size_t i = 0; i < s.parameters.size(); ++i) {
    copies.push_back(WorkingCopy::of(s.parameters[i]));
    peft4j_cuda_adamw_tensor t{};
    t.parameter = s.parameters[i].data_ptr<float>();
    t.gradient = s.gradients[i].data_ptr<float>();
    t.exp_avg = s.exp_avg[i].data_ptr<float>();
    t.exp_avg_sq = s.exp_avg_sq[i].data_ptr<float>();
    t.n = s.parameters[i].numel();
    t.learning_rate = s.learning_rate[i];
    t.weight_decay = s.weight_decay[i];
    if (copies[i] != nullptr) {
      const at::Tensor& values = copies[i]->values();
      t.copy = values.data_ptr();
      t.columns = values.size(1);
      t.copy_stride = values.stride(0);
      t.copy_dtype = cuda_dtype(values);
    }
    by_step[s.step[i]].push_back(t);
  }
  for (const auto& [step, tensors] : by_step) {
    const auto n = static_cast<int64_t>(tensors.size());
    check_cuda(cuda.adamw(s.parameters[0], tensors.data(), n, hyper.beta1, hyper.beta2, hyper.eps, step),
               c10::str("adamw of ", n, " tensors"));
  }
  for (const std::shared_ptr<WorkingCopy>& copy : copies) {
    if (copy != nullptr) {
      copy->was_written();
    }
  }
}

// Runs of tensors with the same settings go to the fused operator together: one call for each parameter group.
void by_library(const State& s, const Hyper& hyper) {
  for (size_t begin = 0; begin < s.parameters.size();) {
    size_t end = begin;
    std::vector<at::Tensor> p, g, m, v, step;
    for (; end < s.parameters.size() && s.learning_rate[end] == s.learning_rate[begin] &&
           s.weight_decay[end] == s.weight_decay[begin];
         ++end) {
      p.push_back(s.parameters[end]);
      g.push_back(s.gradients[end]);
      m.push_back(s.exp_avg[end]);
      v.push_back(s.exp_avg_sq[end]);
      const bool as_before = end > begin && s.step[end] == s.step[end - 1];
      step.push_back(as_before ? step.back()
                               : at::full({}, static_cast<double>(s.step[end]), p[0].options().dtype(at::kFloat)));
    }
    at::_fused_adamw_(p, g, m, v, {}, step, s.learning_rate[begin], hyper.beta1, hyper.beta2, s.weight_decay[begin],
                      hyper.eps, /*amsgrad=*/false, /*maximize=*/false);
    begin = end;
  }
}

void eager(const State& s, const Hyper& hyper) {
  for (size_t i = 0; i < s.parameters.size(); ++i) {
    const double bias1 = 1 - std::pow(hyper.beta1, s.step[i]), bias2 = 1 - std::pow(hyper.beta2, s.step[i]);
    at::Tensor p = s.parameters[i], m = s.exp_avg[i], v = s.exp_avg_sq[i];
    const at::Tensor& g = s.gradients[i];
    p.mul_(1 - s.learning_rate[i] * s.weight_decay[i]);
    m.lerp_(g, 1 - hyper.beta1);
    v.mul_(hyper.beta2).addcmul_(g, g, 1 - hyper.beta2);
    p.addcdiv_(m, (v / bias2).sqrt_().add_(hyper.eps), -s.learning_rate[i] / bias1);
  }
}

at::Tensor clip_by_own_kernel(const CudaKernels& cuda, const std::vector<at::Tensor>& gradients, double max_norm) {
  std::vector<at::Tensor> dense;
  std::vector<peft4j_cuda_gradient> list;
  for (const at::Tensor& g : gradients) {
    dense.push_back(g.is_non_overlapping_and_dense() ? g : g.contiguous());
    list.push_back({dense.back().data_ptr<float>(), g.numel()});
  }
  const auto n = static_cast<int64_t>(list.size());
  const auto options = gradients[0].options();
  const at::Tensor norm = at::empty({1}, options.dtype(at::kDouble)),
                   scratch = at::empty({cuda.clip_grad_norm_scratch(norm, list.data(), n)}, options);
  check_cuda(cuda.clip_grad_norm(norm, norm.data_ptr<double>(), list.data(), n, max_norm, scratch.data_ptr<float>()),
             c10::str("clip_grad_norm of ", n, " gradients"));
  for (size_t i = 0; i < gradients.size() && max_norm > 0; ++i) {
    if (dense[i].is_same(gradients[i])) {
      changed(gradients[i]);
    } else {
      at::Tensor(gradients[i]).copy_(dense[i]);
    }
  }
  return norm.squeeze(0);
}

// By libtorch's operations on a device: no number comes to the host.
at::Tensor clip_there(const std::vector<at::Tensor>& gradients, double max_norm) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& g : gradients) {
    norms.push_back(at::linalg_vector_norm(g, 2, std::nullopt, false, at::kDouble));
  }
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms), 2);
  if (max_norm > 0) {
    const at::Tensor factor = (max_norm / (norm + 1e-6)).clamp_max(1);
    for (const at::Tensor& g : gradients) {
      at::Tensor(g).mul_(factor.to(g.scalar_type()));
    }
  }
  return norm;
}

}  // namespace

void adamw(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients,
           const std::vector<at::Tensor>& exp_avg, const std::vector<at::Tensor>& exp_avg_sq,
           at::ArrayRef<double> learning_rate, at::ArrayRef<double> weight_decay, at::IntArrayRef step, double beta1,
           double beta2, double eps) {
  const size_t n = parameters.size();
  TORCH_CHECK(gradients.size() == n && exp_avg.size() == n && exp_avg_sq.size() == n && learning_rate.size() == n &&
                  weight_decay.size() == n && step.size() == n,
              "adamw: ", n, " parameters need as many gradients, moments, learning rates, decays and steps");
  for (size_t i = 0; i < n; ++i) {
    TORCH_CHECK(step[i] >= 1, "adamw: step counts from 1, got ", step[i], " for parameter ", i);
    TORCH_CHECK(parameters[i].defined(), "adamw: parameter ", i, " is undefined");
    check_contiguous("parameter", i, parameters[i]);
    check_state("gradient", i, gradients[i], parameters[i]);
    check_state("exp_avg", i, exp_avg[i], parameters[i]);
    check_contiguous("exp_avg", i, exp_avg[i]);
    check_state("exp_avg_sq", i, exp_avg_sq[i], parameters[i]);
    check_contiguous("exp_avg_sq", i, exp_avg_sq[i]);
  }
  if (n == 0) {
    return;
  }
  c10::NoGradGuard no_grad;
  State state{parameters, {}, exp_avg, exp_avg_sq, learning_rate, weight_decay, step};
  for (const at::Tensor& g : gradients) {
    state.gradients.push_back(g.contiguous());
  }
  for (size_t i = 0; i < n; ++i) {
    changed(parameters[i]);
    changed(exp_avg[i]);
    changed(exp_avg_sq[i]);
  }
  const Hyper hyper{beta1, beta2, eps};
  if (const CudaKernels* cuda = own_kernels(parameters)) {
    by_own_kernel(*cuda, state, hyper);
  } else if (provider_of(Operation::kAdamW, parameters[0]) == Provider::kReference) {
    eager(state, hyper);
  } else {
    by_library(state, hyper);
  }
}

at::Tensor clip_grad_norm_unread(const std::vector<at::Tensor>& gradients, double max_norm) {
  TORCH_CHECK(max_norm >= 0, "clip_grad_norm: max_norm must be 0 (only measure) or positive, got ", max_norm);
  for (size_t i = 0; i < gradients.size(); ++i) {
    TORCH_CHECK(gradients[i].defined(), "clip_grad_norm: gradient ", i, " is undefined");
  }
  c10::NoGradGuard no_grad;
  if (const CudaKernels* cuda = own_kernels(gradients)) {
    return clip_by_own_kernel(*cuda, gradients, max_norm);
  }
  if (!gradients.empty() && !gradients[0].is_cpu()) {
    return clip_there(gradients, max_norm);
  }
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
  return at::scalar_tensor(norm, at::kDouble);
}

double clip_grad_norm(const std::vector<at::Tensor>& gradients, double max_norm) {
  return clip_grad_norm_unread(gradients, max_norm).item<double>();
}

}  // namespace peft4j
