/*
layer_norm and rms_norm: checks, autograd and the slow twin (contract: peft4j.h; kernels: cpu/norm_kernel.cpp, cuda/norm.cu).

Kept for backward: z (x itself where nothing is dropped or added), one or two numbers a row, the weight.
*/
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "elementwise.h"
#include "optional.h"
#include "peft4j.h"
#include "providers.h"
#include "reference.h"
#include "rows.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct NormSettings {
  bool centred;  // layer_norm
  double eps, weight_offset;
  Dropout dropout;

  const char* name() const { return centred ? "layer_norm" : "rms_norm"; }
};

NormParams make_params(const at::Tensor& z, const at::Tensor& weight, const at::Tensor& mean, const at::Tensor& rstd,
                       const NormSettings& settings) {
  NormParams p{};
  p.dtype = z.scalar_type();
  p.centred = settings.centred;
  p.rows = z.size(0);
  p.columns = z.size(1);
  p.weight = weight.data_ptr();
  p.eps = settings.eps;
  p.weight_offset = settings.weight_offset;
  p.dropout = settings.dropout;
  p.mean = settings.centred ? mean.data_ptr() : nullptr;
  p.rstd = rstd.data_ptr();
  return p;
}

peft4j_cuda_norm_params for_cuda(const NormParams& p, const at::Tensor& z) {
  peft4j_cuda_norm_params c{};
  c.dtype = cuda_dtype(z);
  c.centred = p.centred;
  c.rows = p.rows;
  c.columns = p.columns;
  c.weight = p.weight;
  c.bias = p.bias;
  c.eps = static_cast<float>(p.eps);
  c.weight_offset = static_cast<float>(p.weight_offset);
  c.seed = p.dropout.seed;
  c.threshold = p.dropout.threshold;
  c.mean = static_cast<float*>(p.mean);
  c.rstd = static_cast<float*>(p.rstd);
  c.x = p.x;
  c.residual = p.residual;
  c.y = p.y;
  c.z = p.z;
  c.dy = p.dy;
  c.dz_more = p.dz_more;
  c.dz = p.dz;
  c.dx = p.dx;
  return c;
}

// Of weight and bias; undefined where not wanted.
struct ScaleGradients {
  at::Tensor weight, bias;
};

// dz and dx of p, and the sums over rows.
ScaleGradients run_backward(NormParams p, const at::Tensor& z, bool wants_weight, bool wants_bias) {
  const auto options = z.options().dtype(compute_type(z));
  if (const CudaKernels* cuda = cuda_kernels(z)) {
    peft4j_cuda_norm_params c = for_cuda(p, z);
    at::Tensor sums, scratch;
    if (wants_weight || wants_bias) {
      sums = at::empty({p.centred ? 2 : 1, p.columns}, options);
      c.dscale = sums.data_ptr<float>();
      scratch = at::empty({cuda->norm_scratch(z, &c)}, options);
      c.scratch = scratch.data_ptr<float>();
    }
    check_cuda(cuda->norm_backward(z, &c), "backward of ", p.centred ? "layer_norm" : "rms_norm", " of x ", z.sizes());
    return {wants_weight ? sums[0] : at::Tensor(), wants_bias ? sums[1] : at::Tensor()};
  }
  const int64_t blocks = (p.rows + kNormRowsPerBlock - 1) / kNormRowsPerBlock;
  const auto partial = [&](bool wanted) { return wanted ? at::empty({blocks, p.columns}, options) : at::Tensor(); };
  const at::Tensor weight = partial(wants_weight), bias = partial(wants_bias);
  p.dweight = wants_weight ? weight.data_ptr() : nullptr;
  p.dbias = wants_bias ? bias.data_ptr() : nullptr;
  cpu_kernels().norm_backward(p);
  return {wants_weight ? weight.sum(0) : weight, wants_bias ? bias.sum(0) : bias};
}

struct Norm : torch::autograd::Function<Norm> {
  // Bias and residual are optional: Function cannot take undefined tensors. Results: y, and z where it is wanted.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_in, const at::Tensor& weight_in,
                               const std::optional<at::Tensor>& bias_in, const std::optional<at::Tensor>& residual_in,
                               const NormSettings& settings, bool wants_z) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const auto trained = [](const std::optional<at::Tensor>& t) { return t && t->requires_grad(); };
    const bool through = x_in.requires_grad() || trained(residual_in);
    const bool kept = through || weight_in.requires_grad() || trained(bias_in);
    const at::Tensor x = x_in.contiguous(), weight = weight_in.contiguous();
    const CudaKernels* const cuda = cuda_kernels(x);
    const at::Tensor residual = !residual_in      ? at::Tensor()
                                : cuda != nullptr ? with_contiguous_rows(*residual_in)
                                                  : residual_in->contiguous();
    const at::Tensor bias = bias_in ? bias_in->contiguous() : at::Tensor();
    const at::Tensor y = rows_with_room(x.size(0), x.size(1), x);
    const at::Tensor rstd = at::empty({x.size(0)}, x.options().dtype(compute_type(x)));
    const at::Tensor mean = settings.centred ? at::empty_like(rstd) : at::Tensor();
    // Without residual and dropout z is x.
    const bool changed = residual.defined() || settings.dropout.active();
    const at::Tensor z = !changed ? x : kept || wants_z ? at::empty_like(x) : at::Tensor();
    NormParams p = make_params(x, weight, mean, rstd, settings);
    p.x = x.data_ptr();
    p.residual = residual.defined() ? residual.data_ptr() : nullptr;
    p.bias = bias.defined() ? bias.data_ptr() : nullptr;
    p.y = y.data_ptr();
    p.z = changed && z.defined() ? z.data_ptr() : nullptr;
    if (cuda != nullptr) {
      peft4j_cuda_norm_params c = for_cuda(p, x);
      c.y_stride = y.stride(0);
      c.residual_stride = residual.defined() ? residual.stride(0) : 0;
      check_cuda(cuda->norm_forward(x, &c), settings.name(), " of x ", x.sizes());
    } else {
      cpu_kernels().norm_forward(p);
    }
    if (kept) {
      ctx->save_for_backward({z, weight, mean, rstd});
      ctx->saved_data["centred"] = settings.centred;
      ctx->saved_data["weight_offset"] = settings.weight_offset;
      ctx->saved_data["threshold"] = static_cast<int64_t>(settings.dropout.threshold);
      ctx->saved_data["seed"] = static_cast<int64_t>(settings.dropout.seed);
      ctx->saved_data["has_bias"] = bias.defined();
      ctx->saved_data["has_residual"] = residual.defined();
    }
    if (!wants_z) {
      return {y};
    }
    if (!through) {
      ctx->mark_non_differentiable({z});
    }
    return {y, z};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(6);  // of x, weight, bias, residual
    const at::Tensor dy = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
    const at::Tensor dz_more =
        gradients.size() > 1 && gradients[1].defined() ? gradients[1].contiguous() : at::Tensor();
    if (!dy.defined() && !dz_more.defined()) {
      return result;
    }
    const NormSettings settings{ctx->saved_data["centred"].toBool(), 0, ctx->saved_data["weight_offset"].toDouble(),
                                Dropout{static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                                        static_cast<uint32_t>(ctx->saved_data["threshold"].toInt())}};
    const bool drops = settings.dropout.active(), has_bias = ctx->saved_data["has_bias"].toBool();
    const bool wants_x = ctx->needs_input_grad(0);
    const bool has_residual = ctx->saved_data["has_residual"].toBool();
    const bool wants_residual = has_residual && ctx->needs_input_grad(has_bias ? 3 : 2);
    if (!dy.defined()) {
      result[0] = wants_x && drops ? dropped(dz_more, settings.dropout) : dz_more;
      result[3] = has_residual ? dz_more : at::Tensor();
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &z = kept[0], &weight = kept[1], &mean = kept[2], &rstd = kept[3];
    // Without dropout one tensor is the gradient of both.
    const at::Tensor dz = wants_residual || (wants_x && !drops) ? at::empty_like(z) : at::Tensor();
    const at::Tensor dx = wants_x && drops ? at::empty_like(z) : at::Tensor();
    NormParams p = make_params(z, weight, mean, rstd, settings);
    p.z = z.data_ptr();
    p.dy = dy.data_ptr();
    p.dz_more = dz_more.defined() ? dz_more.data_ptr() : nullptr;
    p.dz = dz.defined() ? dz.data_ptr() : nullptr;
    p.dx = dx.defined() ? dx.data_ptr() : nullptr;
    const ScaleGradients sums = run_backward(p, z, ctx->needs_input_grad(1), has_bias && ctx->needs_input_grad(2));
    result[0] = drops ? dx : dz;
    result[1] = sums.weight.defined() ? sums.weight.to(weight.scalar_type()) : at::Tensor();
    result[2] = sums.bias.defined() ? sums.bias.to(weight.scalar_type()) : at::Tensor();
    result[3] = has_residual ? dz : at::Tensor();
    return result;
  }
};

// y and z
variable_list eager(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
                    const NormSettings& settings) {
  at::Tensor z = x.to(at::kDouble);
  if (settings.dropout.active()) {
    z = z * reference::dropout_mask(z, x.size(0), x.size(1), settings.dropout);
  }
  if (residual.defined()) {
    z = z + residual.to(at::kDouble);
  }
  const at::Tensor centred = settings.centred ? z - z.mean(1, true) : z;
  const at::Tensor normal = centred * at::rsqrt((centred * centred).mean(1, true) + settings.eps);
  at::Tensor y = normal * (weight.to(at::kDouble) + settings.weight_offset);
  if (bias.defined()) {
    y = y + bias.to(at::kDouble);
  }
  return {y.to(x.scalar_type()), z.to(x.scalar_type())};
}

void check(const NormSettings& settings, const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
           double dropout_p) {
  const char* name = settings.name();
  check_compute_type(name, "x", x);
  TORCH_CHECK(x.dim() == 2 && x.size(1) > 0, name, ": x must have shape [T, C], got ", x.sizes());
  if (residual.defined()) {
    check_shape(name, "residual", residual, x.sizes(), "that of x");
    check_like(name, "residual", residual, "x", x);
  }
  check_shape(name, "weight", weight, {x.size(1)}, "[C]");
  check_like(name, "weight", weight, "x", x);
  TORCH_CHECK(settings.eps >= 0, name, ": eps must not be negative, got ", settings.eps);
  check_probability(name, dropout_p);
}

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
                      double eps, double dropout_p, int64_t seed) {
  const NormSettings settings{true, eps, 0, Dropout::of(dropout_p, seed)};
  check(settings, x, residual, weight, dropout_p);
  check_shape(settings.name(), "bias", bias, {x.size(1)}, "[C]");
  check_like(settings.name(), "bias", bias, "x", x);
  return provider_of(Operation::kLayerNorm, x) == Provider::kOwn
             ? Norm::apply(x, weight, optional(bias), optional(residual), settings, false)[0]
             : eager(x, residual, weight, bias, settings)[0];
}

std::vector<at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, double eps,
                                 double weight_offset, double dropout_p, int64_t seed) {
  const NormSettings settings{false, eps, weight_offset, Dropout::of(dropout_p, seed)};
  check(settings, x, residual, weight, dropout_p);
  TORCH_CHECK(std::isfinite(weight_offset), "rms_norm: weight_offset must be finite, got ", weight_offset);
  const bool changed = residual.defined() || settings.dropout.active();
  const bool own = provider_of(Operation::kRmsNorm, x) == Provider::kOwn;
  const variable_list results =
      own ? Norm::apply(x, weight, optional(at::Tensor()), optional(residual), settings, changed)
          : eager(x, residual, weight, at::Tensor(), settings);
  return {results[0], changed ? results[1] : x};
}

}  // namespace peft4j
