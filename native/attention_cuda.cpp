#include "attention_cuda.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attention_gradients.h"
#include "checks.h"
#include "device_lengths.h"
#include "optional.h"
#include "providers.h"
#include "relative_bias.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostHeadSize = 256, kMostRows = int64_t{1} << 29;

const void* pointer(const at::Tensor& t) {
  return t.defined() ? t.data_ptr() : nullptr;
}

struct CudaAttention : torch::autograd::Function<CudaAttention> {
  static peft4j_cuda_attention arguments(const variable_list& kept, const AttentionSettings& settings) {
    const at::Tensor &q = kept[0], &k = kept[1], &v = kept[2], &prefix_k = kept[3], &prefix_v = kept[4];
    const at::Tensor &bias = kept[9], &bucket_of = kept[10];
    peft4j_cuda_attention a{};
    a.dtype = cuda_dtype(q);
    a.causal = settings.causal ? 1 : 0;
    a.sequences = kept[5].numel() - 1;
    a.query_rows = q.size(0);
    a.key_rows = k.size(0);
    a.query_heads = q.size(1);
    a.key_heads = k.size(1);
    a.head_size = q.size(2);
    a.q = pointer(q);
    a.k = pointer(k);
    a.v = pointer(v);
    a.q_stride = q.stride(0);
    a.k_stride = k.stride(0);
    a.v_stride = v.stride(0);
    if (prefix_k.defined() && prefix_k.size(-3) > 0) {
      a.prefix = prefix_k.size(-3);
      a.prefix_k = pointer(prefix_k);
      a.prefix_v = pointer(prefix_v);
      a.prefix_stride = prefix_k.dim() == 4 ? prefix_k.stride(0) : 0;
    }
    a.cu_q = kept[5].data_ptr<int32_t>();
    a.cu_k = kept[6].data_ptr<int32_t>();
    a.window = settings.window;
    a.scale = static_cast<float>(settings.scale);
    a.softcap = static_cast<float>(settings.softcap);
    if (bias.defined()) {
      a.bias = bias.data_ptr<float>();
      a.bucket_of = bucket_of.data_ptr<int32_t>();
      a.buckets = bias.size(0);
      a.max_distance = bucket_of.numel() / 2;
    }
    a.seed = settings.dropout.seed;
    a.threshold = settings.dropout.threshold;
    a.out = kept[7].data_ptr();
    a.lse = kept[8].data_ptr<float>();
    return a;
  }

  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_q, const at::Tensor& cu_k, const std::optional<at::Tensor>& prefix_k,
                            const std::optional<at::Tensor>& prefix_v, const std::optional<at::Tensor>& bias,
                            const AttentionSettings& settings) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const auto contiguous = [](const std::optional<at::Tensor>& t) { return t ? t->contiguous() : at::Tensor(); };
    const at::Tensor bucket_of =
        bias ? relative_buckets_on(q.device(), bias->size(0), settings.bias_bidirectional, settings.bias_max_distance)
             : at::Tensor();
    const at::Tensor out = at::empty(q.sizes(), q.options());
    const variable_list kept{q,
                             k,
                             v,
                             contiguous(prefix_k),
                             contiguous(prefix_v),
                             device_lengths(cu_q, q.device()),
                             device_lengths(cu_k, q.device()),
                             out,
                             at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat)),
                             contiguous(bias),
                             bucket_of};
    peft4j_cuda_attention a = arguments(kept, settings);
    a.sm90a = attention_forward_by_wgmma();
    check_cuda(cuda_kernels(q)->attention_forward(q, &a), "attention of q ", q.sizes(), " and k ", k.sizes(), " ",
               q.scalar_type());
    ctx->save_for_backward(kept);
    save(settings, ctx->saved_data);
    ctx->saved_data["by_wgmma"] = attention_backward_by_wgmma();
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(9);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &q = kept[0], &k = kept[1], &prefix_k = kept[3], &bias = kept[9];
    const AttentionSettings settings = saved_settings(ctx->saved_data);
    peft4j_cuda_attention a = arguments(kept, settings);
    a.sm90a = ctx->saved_data["by_wgmma"].toBool();
    const at::Tensor dout = gradients[0].contiguous();
    a.dout = pointer(dout);
    make_gradients(q, k, result, a);
    at::Tensor prefix_dk, prefix_dv;
    const auto floats = q.options().dtype(at::kFloat);
    if (prefix_k.defined() && (ctx->needs_input_grad(5) || ctx->needs_input_grad(6))) {
      prefix_dk = at::empty(prefix_k.sizes(), floats);
      prefix_dv = at::empty(prefix_k.sizes(), floats);
      if (a.prefix > 0) {
        a.prefix_dk = prefix_dk.data_ptr<float>();
        a.prefix_dv = prefix_dv.data_ptr<float>();
      }
    }
    if (bias.defined() && ctx->needs_input_grad(prefix_k.defined() ? 7 : 5)) {
      result[7] = at::empty(bias.sizes(), floats);
      a.dbias = result[7].data_ptr<float>();
    }
    const CudaKernels* kernels = cuda_kernels(q);
    const at::Tensor scratch = at::empty({kernels->attention_scratch(q, &a)}, floats);
    a.scratch = scratch.data_ptr<float>();
    check_cuda(kernels->attention_backward(q, &a), "attention of q ", q.sizes(), " and k ", k.sizes(), " ",
               q.scalar_type(), ", backward");
    if (prefix_dk.defined()) {
      result[5] = prefix_dk.to(prefix_k.scalar_type());
      result[6] = prefix_dv.to(prefix_k.scalar_type());
    }
    return result;
  }
};

}  // namespace

bool cuda_has_attention(const at::Tensor& q) {
  return cuda_kernels(q) != nullptr && q.size(2) <= kMostHeadSize;
}

at::Tensor attention_by_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                             const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                             const at::Tensor& bias_table, const AttentionSettings& settings) {
  const int64_t prefix = prefix_k.defined() ? prefix_k.size(-3) : 0;
  TORCH_CHECK(q.size(0) <= kMostRows && prefix + k.size(0) <= kMostRows,
              "attention: own kernels take at most 2^29 rows of queries and of keys, got ", q.size(0), " and ",
              prefix + k.size(0));
  return CudaAttention::apply(q, k, v, cu_q, cu_k, optional(prefix_k), optional(prefix_v), optional(bias_table),
                              settings);
}

}  // namespace peft4j
