/* softmax_pool, the middle of prompt_generator: autograd over cpu/softmax_pool_kernel.cpp and cuda/softmax_pool.cu. */
#include "softmax_pool.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "cpu/kernels.h"
#include "cuda_library.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the parameters of the CPU's and of the CUDA kernels have in common.
template <class Params>
Params make_params(const at::Tensor& z, const at::Tensor& w, const at::Tensor& begin) {
  Params p{};
  p.rows = z.size(0);
  p.sequences = begin.numel() - 1;
  p.tokens = w.size(0);
  p.width = w.size(1);
  p.z = z.data_ptr();
  return p;
}

SoftmaxPoolParams cpu_params(const at::Tensor& z, const at::Tensor& w, const at::Tensor& begin,
                             const at::Tensor& weights, const at::Tensor& c) {
  auto p = make_params<SoftmaxPoolParams>(z, w, begin);
  p.dtype = z.scalar_type();
  p.begin = begin.data_ptr<int64_t>();
  p.w = w.data_ptr();
  p.weights = weights.data_ptr();
  p.c = c.data_ptr();
  return p;
}

peft4j_cuda_softmax_pool_params cuda_params(const at::Tensor& z, const at::Tensor& w, const at::Tensor& begin,
                                            const at::Tensor& weights, const at::Tensor& c, int64_t longest) {
  auto p = make_params<peft4j_cuda_softmax_pool_params>(z, w, begin);
  p.dtype = cuda_dtype(z);
  p.longest = longest;
  p.begin = begin.data_ptr<int32_t>();
  p.w = w.data_ptr<float>();
  p.weights = weights.data_ptr<float>();
  p.c = c.data_ptr<float>();
  return p;
}

struct SoftmaxPool : torch::autograd::Function<SoftmaxPool> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& z_in, const at::Tensor& w_in,
                            const at::Tensor& begin, int64_t longest) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor z = z_in.contiguous(), w = w_in.contiguous();
    const at::Tensor weights = at::empty({z.size(0) * w.size(0)}, w.options());
    const at::Tensor c = at::empty({begin.numel() - 1, w.size(0), w.size(1)}, w.options());
    if (const CudaKernels* cuda = cuda_kernels(z)) {
      const at::Tensor scores = at::empty_like(weights);
      auto p = cuda_params(z, w, begin, weights, c, longest);
      p.scores = scores.data_ptr<float>();
      check_cuda(cuda->softmax_pool_forward(z, &p), "softmax_pool of z ", z.sizes(), " to ", c.sizes());
    } else {
      cpu_kernels().softmax_pool_forward(cpu_params(z, w, begin, weights, c));
    }
    ctx->save_for_backward({z, w, begin, weights, c});
    ctx->saved_data["longest"] = longest;
    return c;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(4);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &z = kept[0], &w = kept[1], &begin = kept[2], &weights = kept[3], &c = kept[4];
    const at::Tensor dc = gradients[0].contiguous(), dz = at::empty_like(z);
    const at::Tensor dw = ctx->needs_input_grad(1) ? at::empty_like(w) : at::Tensor();
    if (const CudaKernels* cuda = cuda_kernels(z)) {
      auto p = cuda_params(z, w, begin, weights, c, ctx->saved_data["longest"].toInt());
      const int64_t parts = p.sequences * cuda->softmax_pool_splits(z, p.longest);
      const at::Tensor scores = at::empty_like(weights),
                       partials = dw.defined() ? at::empty({parts, p.tokens, p.width}, w.options()) : at::Tensor();
      p.scores = scores.data_ptr<float>();
      p.dc = dc.data_ptr<float>();
      p.dz = dz.data_ptr();
      p.dw_partials = dw.defined() ? partials.data_ptr<float>() : nullptr;
      check_cuda(cuda->softmax_pool_backward(z, &p), "backward of softmax_pool of z ", z.sizes(), " to ", c.sizes());
      if (dw.defined()) {
        check_cuda(cuda->fixed_order_sum(z, dw.data_ptr<float>(), partials.data_ptr<float>(), dw.numel(), parts, 0),
                   "fixed_order_sum of dw ", partials.sizes());
      }
    } else {
      auto p = cpu_params(z, w, begin, weights, c);
      p.dc = dc.data_ptr();
      p.dz = dz.data_ptr();
      p.dw = dw.defined() ? dw.data_ptr() : nullptr;
      cpu_kernels().softmax_pool_backward(p);
    }
    result[0] = dz;
    result[1] = dw;
    return result;
  }
};

}  // namespace

at::Tensor softmax_pool(const at::Tensor& z, const at::Tensor& w, const at::Tensor& begin, int64_t longest) {
  return SoftmaxPool::apply(z, w, begin, longest);
}

}  // namespace peft4j
