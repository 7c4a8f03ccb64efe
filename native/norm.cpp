/* layer_norm: checks, autograd and the slow twin (contract: peft4j.h; kernel: cpu/layer_norm_kernel.cpp). */
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "peft4j.h"
#include "providers.h"
#include "reference.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kName = "layer_norm";

LayerNormParams make_params(const at::Tensor& z, const at::Tensor& weight, const at::Tensor& mean,
                            const at::Tensor& rstd, const Dropout& dropout) {
  LayerNormParams p{};
  p.dtype = z.scalar_type();
  p.rows = z.size(0);
  p.columns = z.size(1);
  p.weight = weight.data_ptr();
  p.mean = mean.data_ptr();
  p.rstd = rstd.data_ptr();
  p.dropout = dropout;
  return p;
}

struct LayerNorm : torch::autograd::Function<LayerNorm> {
  // The residual is optional: Function cannot take an undefined tensor.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_in, const at::Tensor& weight,
                            const at::Tensor& bias, const std::optional<at::Tensor>& residual_in, double eps,
                            const Dropout& dropout) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = x_in.contiguous();
    const at::Tensor residual = residual_in ? residual_in->contiguous() : at::Tensor();
    const bool kept = x_in.requires_grad() || (residual_in && residual_in->requires_grad()) || weight.requires_grad() ||
                      bias.requires_grad();
    const at::Tensor y = at::empty_like(x);
    const at::Tensor mean = at::empty({x.size(0)}, x.options().dtype(compute_type(x))), rstd = at::empty_like(mean);
    // Without residual and dropout z is x.
    const bool changed = residual.defined() || dropout.active();
    const at::Tensor z = !kept ? at::Tensor() : changed ? at::empty_like(x) : x;
    const at::Tensor w = weight.contiguous(), b = bias.contiguous();
    LayerNormParams p = make_params(x, w, mean, rstd, dropout);
    p.x = x.data_ptr();
    p.residual = residual.defined() ? residual.data_ptr() : nullptr;
    p.bias = b.data_ptr();
    p.eps = eps;
    p.y = y.data_ptr();
    p.z = kept && changed ? z.data_ptr() : nullptr;
    cpu_kernels().layer_norm_forward(p);
    if (kept) {
      ctx->save_for_backward({z, w, mean, rstd});
      ctx->saved_data["has_residual"] = residual.defined();
      ctx->saved_data["threshold"] = static_cast<int64_t>(dropout.threshold);
      ctx->saved_data["seed"] = static_cast<int64_t>(dropout.seed);
    }
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(6);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &z = kept[0], &weight = kept[1], &mean = kept[2], &rstd = kept[3];
    const at::Tensor dy = gradients[0].contiguous();
    const Dropout dropout{static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                          static_cast<uint32_t>(ctx->saved_data["threshold"].toInt())};
    LayerNormParams p = make_params(z, weight, mean, rstd, dropout);
    p.z = z.data_ptr();
    p.dy = dy.data_ptr();
    const at::Tensor dz = at::empty_like(z);
    // Without dropout one tensor is the gradient of both.
    const at::Tensor dx = dropout.active() ? at::empty_like(z) : dz;
    p.dresidual = dz.data_ptr();
    p.dx = dx.data_ptr();
    const int64_t blocks = (p.rows + kLayerNormRowsPerBlock - 1) / kLayerNormRowsPerBlock;
    at::Tensor dweight, dbias;
    if (ctx->needs_input_grad(1)) {
      dweight = at::empty({blocks, p.columns}, mean.options());
      p.dweight = dweight.data_ptr();
    }
    if (ctx->needs_input_grad(2)) {
      dbias = at::empty({blocks, p.columns}, mean.options());
      p.dbias = dbias.data_ptr();
    }
    cpu_kernels().layer_norm_backward(p);
    result[0] = dx;
    result[1] = dweight.defined() ? dweight.sum(0).to(weight.scalar_type()) : dweight;
    result[2] = dbias.defined() ? dbias.sum(0).to(weight.scalar_type()) : dbias;
    result[3] = ctx->saved_data["has_residual"].toBool() ? dz : at::Tensor();
    return result;
  }
};

at::Tensor eager(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
                 double eps, const Dropout& dropout) {
  at::Tensor z = x.to(at::kDouble);
  if (dropout.active()) {
    z = z * reference::dropout_mask(z, x.size(0), x.size(1), dropout);
  }
  if (residual.defined()) {
    z = z + residual.to(at::kDouble);
  }
  const at::Tensor centred = z - z.mean(1, true);
  const at::Tensor normal = centred * at::rsqrt((centred * centred).mean(1, true) + eps);
  return (normal * weight.to(at::kDouble) + bias.to(at::kDouble)).to(x.scalar_type());
}

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
                      double eps, double dropout_p, int64_t seed) {
  check_compute_type(kName, "x", x);
  TORCH_CHECK(x.dim() == 2 && x.size(1) > 0, kName, ": x must have shape [T, C], got ", x.sizes());
  if (residual.defined()) {
    check_shape(kName, "residual", residual, x.sizes(), "that of x");
    check_like(kName, "residual", residual, "x", x);
  }
  check_shape(kName, "weight", weight, {x.size(1)}, "[C]");
  check_shape(kName, "bias", bias, {x.size(1)}, "[C]");
  check_like(kName, "weight", weight, "x", x);
  check_like(kName, "bias", bias, "x", x);
  TORCH_CHECK(eps >= 0, kName, ": eps must not be negative, got ", eps);
  check_probability(kName, dropout_p);
  const Dropout dropout = Dropout::of(dropout_p, seed);
  return provider_of(Operation::kLayerNorm, x) == Provider::kOwn
             ? LayerNorm::apply(x, weight, bias, residual.defined() ? std::optional(residual) : std::nullopt, eps,
                                dropout)
             : eager(x, residual, weight, bias, eps, dropout);
}

}  // namespace peft4j
