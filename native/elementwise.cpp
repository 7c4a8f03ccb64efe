/*
gelu and dropout: checks, autograd and the slow twins (contract: peft4j.h; kernels: cpu/elementwise_kernel.cpp, cuda/gelu.cu,
cuda/dropout.cu).
*/
#include "elementwise.h"

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

ElementwiseParams make_params(const at::Tensor& x, const at::Tensor& out) {
  ElementwiseParams p{};
  p.dtype = x.scalar_type();
  p.columns = x.dim() == 0 ? 1 : x.size(-1);
  p.rows = p.columns == 0 ? 0 : x.numel() / p.columns;
  p.x = x.data_ptr();
  p.out = out.data_ptr();
  return p;
}

struct Gelu : torch::autograd::Function<Gelu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_in) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = x_in.contiguous(), y = at::empty_like(x);
    if (const CudaKernels* cuda = cuda_kernels(x)) {
      check_cuda(cuda->gelu_forward(x, cuda_dtype(x), x.numel(), x.data_ptr(), y.data_ptr()), "gelu of x ", x.sizes());
    } else {
      cpu_kernels().gelu_forward(make_params(x, y));
    }
    ctx->save_for_backward({x});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    if (!gradients[0].defined()) {
      return {at::Tensor()};
    }
    const at::Tensor x = ctx->get_saved_variables()[0], dy = gradients[0].contiguous(), dx = at::empty_like(x);
    if (const CudaKernels* cuda = cuda_kernels(x)) {
      check_cuda(cuda->gelu_backward(x, cuda_dtype(x), x.numel(), x.data_ptr(), dy.data_ptr(), dx.data_ptr()),
                 "backward of gelu of x ", x.sizes());
    } else {
      ElementwiseParams p = make_params(x, dx);
      p.dy = dy.data_ptr();
      cpu_kernels().gelu_backward(p);
    }
    return {dx};
  }
};

struct DropoutOf : torch::autograd::Function<DropoutOf> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Dropout& mask) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    ctx->saved_data["threshold"] = static_cast<int64_t>(mask.threshold);
    ctx->saved_data["seed"] = static_cast<int64_t>(mask.seed);
    return dropped(x.contiguous(), mask);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Dropout mask{static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                       static_cast<uint32_t>(ctx->saved_data["threshold"].toInt())};
    return {gradients[0].defined() ? dropped(gradients[0].contiguous(), mask) : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor dropped(const at::Tensor& x, const Dropout& mask) {
  const at::Tensor y = at::empty_like(x);
  if (const CudaKernels* cuda = cuda_kernels(x)) {
    check_cuda(
        cuda->dropout(x, cuda_dtype(x), x.size(0), x.size(1), x.data_ptr(), y.data_ptr(), mask.seed, mask.threshold),
        "dropout of x ", x.sizes());
  } else {
    ElementwiseParams p = make_params(x, y);
    p.dropout = mask;
    cpu_kernels().dropout(p);
  }
  return y;
}

at::Tensor gelu(const at::Tensor& x) {
  check_compute_type("gelu", "x", x);
  switch (provider_of(Operation::kGelu, x)) {
    case Provider::kOwn: return Gelu::apply(x);
    case Provider::kLibrary: return at::gelu(x);
    default: {
      const at::Tensor wide = x.to(at::kDouble);
      return (wide * 0.5 * (1 + at::erf(wide * M_SQRT1_2))).to(x.scalar_type());
    }
  }
}

at::Tensor dropout(const at::Tensor& x, double p, int64_t seed) {
  check_compute_type("dropout", "x", x);
  TORCH_CHECK(x.dim() == 2, "dropout: x must have shape [T, C], got ", x.sizes());
  check_probability("dropout", p);
  const Dropout mask = Dropout::of(p, seed);
  if (!mask.active()) {
    return x;
  }
  if (provider_of(Operation::kDropout, x) == Provider::kOwn) {
    return DropoutOf::apply(x, mask);
  }
  const at::Tensor wide = x.to(at::kDouble);
  return (wide * reference::dropout_mask(wide, x.size(0), x.size(1), mask)).to(x.scalar_type());
}

}  // namespace peft4j
