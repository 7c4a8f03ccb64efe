/* attention: checks, choice, autograd of the CPU's kernel and the slow twin (contract: peft4j.h; kernel: cpu/attention_kernel.cpp). */
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attention_cuda.h"
#include "attention_gradients.h"
#include "attention_library.h"
#include "checks.h"
#include "cpu/kernels.h"
#include "optional.h"
#include "peft4j.h"
#include "prefix_attention.h"
#include "providers.h"
#include "reference.h"
#include "relative_bias.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kAttention = "attention";

void check_heads(const char* name, const at::Tensor& t, const at::Tensor& q) {
  TORCH_CHECK(t.defined() && t.dim() == 3, kAttention, ": ", name, " must have shape [T, heads, D], got ",
              t.defined() ? t.sizes() : at::IntArrayRef());
  check_like(kAttention, name, t, "q", q);
  TORCH_CHECK(t.numel() == 0 || (t.stride(2) == 1 && t.stride(1) == t.size(2)), kAttention, ": heads of a row of ",
              name, " must be contiguous, got strides ", t.strides());
}

void check_prefix(const at::Tensor& prefix_k, const at::Tensor& prefix_v, const at::Tensor& k, int64_t sequences) {
  TORCH_CHECK(prefix_k.defined() == prefix_v.defined(), kAttention,
              ": prefix_k and prefix_v come together, got only one");
  if (!prefix_k.defined()) {
    return;
  }
  for (const at::Tensor& prefix : {prefix_k, prefix_v}) {
    const bool shared = prefix.dim() == 3, each = prefix.dim() == 4 && prefix.size(0) == sequences;
    TORCH_CHECK((shared || each) && prefix.size(-2) == k.size(1) && prefix.size(-1) == k.size(2), kAttention,
                ": a prefix must have shape [P, ", k.size(1), ", ", k.size(2), "] or [", sequences, ", P, ", k.size(1),
                ", ", k.size(2), "], got ", prefix.sizes());
    check_like(kAttention, "a prefix", prefix, "k", k);
  }
  check_shape(kAttention, "prefix_v", prefix_v, prefix_k.sizes(), "that of prefix_k");
}

void check_bias(const at::Tensor& table, bool bidirectional, int64_t max_distance, const at::Tensor& q) {
  if (!table.defined()) {
    return;
  }
  constexpr int64_t kMostDistance = 512;
  TORCH_CHECK(table.dim() == 2 && table.size(1) == q.size(1), kAttention, ": bias_table must have shape [buckets, ",
              q.size(1), "] (query heads), got ", table.sizes());
  TORCH_CHECK(table.scalar_type() == compute_type(q), kAttention, ": bias_table must be ", compute_type(q),
              " where q is ", q.scalar_type(), ", got ", table.scalar_type());
  TORCH_CHECK(table.device() == q.device(), kAttention, ": q is on ", q.device(), " but bias_table is on ",
              table.device());
  const int64_t buckets = table.size(0), exact = (bidirectional ? buckets / 2 : buckets) / 2;
  TORCH_CHECK(exact >= 1 && (!bidirectional || buckets % 2 == 0), kAttention, ": bias_table must have at least ",
              bidirectional ? "4 buckets, an even number," : "2 buckets", " got ", buckets);
  TORCH_CHECK(max_distance > exact && max_distance <= kMostDistance, kAttention, ": bias_max_distance must be in [",
              exact + 1, ", ", kMostDistance, "] for ", buckets, " buckets, got ", max_distance);
}

AttentionParams make_params(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                            const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                            const at::Tensor& bias, const at::Tensor& bucket_of, const AttentionSettings& settings,
                            const at::Tensor& out, const at::Tensor& lse) {
  AttentionParams p{};
  p.dtype = q.scalar_type();
  p.sequences = cu_q.numel() - 1;
  p.query_heads = q.size(1);
  p.key_heads = k.size(1);
  p.head_size = q.size(2);
  p.q = q.data_ptr();
  p.k = k.data_ptr();
  p.v = v.data_ptr();
  p.q_stride = q.stride(0);
  p.k_stride = k.stride(0);
  p.v_stride = v.stride(0);
  if (prefix_k.defined()) {
    p.prefix = prefix_k.size(-3);
    p.prefix_k = prefix_k.data_ptr();
    p.prefix_v = prefix_v.data_ptr();
    p.prefix_stride = prefix_k.dim() == 4 ? prefix_k.stride(0) : 0;
  }
  p.begin_q = cu_q.data_ptr<int64_t>();
  p.begin_k = cu_k.data_ptr<int64_t>();
  p.causal = settings.causal;
  p.window = settings.window;
  p.scale = settings.scale;
  p.softcap = settings.softcap;
  if (bias.defined()) {
    p.bias = bias.data_ptr();
    p.bucket_of = bucket_of.data_ptr<int32_t>();
    p.buckets = bias.size(0);
    p.max_distance = bucket_of.numel() / 2;
  }
  p.dropout = settings.dropout;
  p.out = out.data_ptr();
  p.lse = lse.data_ptr();
  return p;
}

struct Attention : torch::autograd::Function<Attention> {
  // The prefix is optional: Function cannot take an undefined tensor.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_q, const at::Tensor& cu_k,
                            const std::optional<at::Tensor>& prefix_k_in, const std::optional<at::Tensor>& prefix_v_in,
                            const std::optional<at::Tensor>& bias_in, const AttentionSettings& settings) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor prefix_k = prefix_k_in ? prefix_k_in->contiguous() : at::Tensor();
    const at::Tensor prefix_v = prefix_v_in ? prefix_v_in->contiguous() : at::Tensor();
    at::Tensor bias, bucket_of;
    if (bias_in) {
      bias = bias_in->contiguous();
      bucket_of = relative_buckets(bias.size(0), settings.bias_bidirectional, settings.bias_max_distance);
    }
    at::Tensor out = at::empty(q.sizes(), q.options());
    at::Tensor lse = at::empty({q.size(0), q.size(1)}, q.options().dtype(compute_type(q)));
    cpu_kernels().attention_forward(
        make_params(q, k, v, cu_q, cu_k, prefix_k, prefix_v, bias, bucket_of, settings, out, lse));
    ctx->save_for_backward({q, k, v, prefix_k, prefix_v, cu_q, cu_k, out, lse, bias, bucket_of});
    save(settings, ctx->saved_data);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &q = kept[0], &k = kept[1], &v = kept[2], &prefix_k = kept[3], &prefix_v = kept[4];
    const at::Tensor &cu_q = kept[5], &cu_k = kept[6], &out = kept[7], &lse = kept[8], &bias = kept[9];
    variable_list result(9);
    if (!gradients[0].defined()) {
      return result;
    }
    const at::Tensor dout = gradients[0].contiguous();
    const AttentionSettings settings = saved_settings(ctx->saved_data);
    AttentionParams p = make_params(q, k, v, cu_q, cu_k, prefix_k, prefix_v, bias, kept[10], settings, out, lse);
    p.dout = dout.data_ptr();
    p.dout_stride = q.size(1) * q.size(2);
    make_gradients(q, k, result, p);
    at::Tensor prefix_dk, prefix_dv;
    if (prefix_k.defined() && (ctx->needs_input_grad(5) || ctx->needs_input_grad(6))) {
      prefix_dk = at::empty({p.sequences, p.prefix, k.size(1), q.size(2)}, lse.options());
      prefix_dv = at::empty_like(prefix_dk);
      p.prefix_dk = prefix_dk.data_ptr();
      p.prefix_dv = prefix_dv.data_ptr();
    }
    at::Tensor dbias;
    if (bias.defined() && ctx->needs_input_grad(prefix_k.defined() ? 7 : 5)) {
      dbias = at::zeros({p.sequences, bias.size(0), bias.size(1)}, bias.options());
      p.dbias = dbias.data_ptr();
    }
    cpu_kernels().attention_backward(p);
    if (dbias.defined()) {
      result[7] = dbias.sum(0);
    }
    if (prefix_dk.defined()) {
      const bool shared = prefix_k.dim() == 3;
      result[5] = (shared ? prefix_dk.sum(0) : prefix_dk).to(prefix_k.scalar_type());
      result[6] = (shared ? prefix_dv.sum(0) : prefix_dv).to(prefix_v.scalar_type());
    }
    return result;
  }
};

// Softmax(q kᵀ) v of one sequence, the scores of a prefix in front; q [n, H, D], k and v [m, H, D] (heads repeated).
at::Tensor one_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& bias,
                        int64_t prefix, int64_t first_row, const AttentionSettings& settings) {
  const int64_t n = q.size(0), m = k.size(0), heads = q.size(1);
  at::Tensor scores = at::einsum("nhd,mhd->hnm", {q, k}) * settings.scale;
  const at::Tensor row = at::arange(n, at::kLong).unsqueeze(1) + (m - prefix - n);
  const at::Tensor column = at::arange(m, at::kLong).unsqueeze(0) - prefix;
  if (settings.softcap > 0) {
    scores = at::tanh(scores / settings.softcap) * settings.softcap;
  }
  if (bias.defined()) {
    const int64_t reach = settings.bias_max_distance;
    const at::Tensor bucket = relative_buckets(bias.size(0), settings.bias_bidirectional, reach)
                                  .to(at::kLong)
                                  .index_select(0, ((column - row).clamp(-reach, reach) + reach).flatten());
    const at::Tensor by_pair = bias.index_select(0, bucket.to(q.device())).reshape({n, m, heads}).permute({2, 0, 1});
    scores = scores + by_pair.masked_fill((column < 0).to(q.device()), 0.0);
  }
  at::Tensor hidden = at::zeros({n, m}, at::kBool);
  if (settings.causal) {
    hidden = hidden.logical_or(column > row);
  }
  if (settings.window > 0) {
    hidden = hidden.logical_or((column - row).abs() >= settings.window);
  }
  hidden = hidden.logical_and(column >= 0).to(q.device());
  const at::Tensor blind = hidden.all(1, true);  // such rows give 0; a softmax over nothing would be NaN
  scores = scores.masked_fill(hidden.logical_and(blind.logical_not()), -INFINITY);
  at::Tensor p = at::softmax(scores, -1).masked_fill(blind, 0.0);
  if (settings.dropout.active()) {
    std::vector<at::Tensor> masks;
    for (int64_t h = 0; h < heads; ++h) {
      masks.push_back(reference::dropout_mask(q, n, m, settings.dropout, first_row * heads + h, heads));
    }
    p = p * at::stack(masks);
  }
  return at::einsum("hnm,mhd->nhd", {p, v});
}

at::Tensor eager(const at::Tensor& q_in, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                 const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                 const at::Tensor& bias_table, const AttentionSettings& settings) {
  const at::Tensor bias = bias_table.defined() ? bias_table.to(at::kDouble) : bias_table;
  const int64_t group = q_in.size(1) / k.size(1);
  const auto prepared = [&](const at::Tensor& t) { return t.to(at::kDouble).repeat_interleave(group, t.dim() - 2); };
  const at::Tensor q = q_in.to(at::kDouble);
  const int64_t *begin_q = cu_q.data_ptr<int64_t>(), *begin_k = cu_k.data_ptr<int64_t>();
  variable_list outputs;
  for (int64_t s = 0; s + 1 < cu_q.numel(); ++s) {
    at::Tensor keys = prepared(k.narrow(0, begin_k[s], begin_k[s + 1] - begin_k[s]));
    at::Tensor values = prepared(v.narrow(0, begin_k[s], begin_k[s + 1] - begin_k[s]));
    int64_t prefix = 0;
    if (prefix_k.defined()) {
      prefix = prefix_k.size(-3);
      keys = at::cat({prepared(prefix_k.dim() == 4 ? prefix_k[s] : prefix_k), keys});
      values = at::cat({prepared(prefix_v.dim() == 4 ? prefix_v[s] : prefix_v), values});
    }
    const at::Tensor rows = q.narrow(0, begin_q[s], begin_q[s + 1] - begin_q[s]);
    outputs.push_back(keys.size(0) == 0 ? rows * 0.0
                                        : one_sequence(rows, keys, values, bias, prefix, begin_q[s], settings));
  }
  return outputs.empty() ? q_in * 0.0 : at::cat(outputs).to(q_in.scalar_type());
}

// The provider, or for what it cannot do the next one: of the library own kernels, where there are none the reference.
Provider able(Provider provider, const at::Tensor& q, const at::Tensor& bias_table, const AttentionSettings& settings) {
  if (provider == Provider::kLibrary &&
      (settings.softcap > 0 || bias_table.defined() || !library_has_attention(q, settings))) {
    provider = on_device(q) && cuda_kernels(q) != nullptr ? Provider::kOwn : Provider::kReference;
  }
  return provider == Provider::kOwn && on_device(q) && !cuda_has_attention(q) ? Provider::kReference : provider;
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens_q,
                     const at::Tensor& cu_seqlens_k, int64_t max_q, int64_t max_k, const at::Tensor& prefix_k,
                     const at::Tensor& prefix_v, const at::Tensor& gate, bool causal, double scale, int64_t window,
                     double softcap, const at::Tensor& bias_table, bool bias_bidirectional, int64_t bias_max_distance,
                     double dropout_p, int64_t seed) {
  check_compute_type(kAttention, "q", q);
  check_heads("q", q, q);
  check_heads("k", k, q);
  check_heads("v", v, q);
  check_shape(kAttention, "v", v, k.sizes(), "that of k");
  TORCH_CHECK(k.size(2) == q.size(2), kAttention, ": q has head size ", q.size(2), " but k ", k.size(2));
  TORCH_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, kAttention, ": ", q.size(1),
              " query heads are no multiple of the ", k.size(1), " key heads");
  check_cu_seqlens(kAttention, "cu_seqlens_q", cu_seqlens_q, q.size(0), "q", max_q);
  check_cu_seqlens(kAttention, "cu_seqlens_k", cu_seqlens_k, k.size(0), "k", max_k);
  TORCH_CHECK(cu_seqlens_q.numel() == cu_seqlens_k.numel(), kAttention, ": cu_seqlens_q has ", cu_seqlens_q.numel() - 1,
              " sequences but cu_seqlens_k ", cu_seqlens_k.numel() - 1);
  check_prefix(prefix_k, prefix_v, k, cu_seqlens_q.numel() - 1);
  TORCH_CHECK(!gate.defined() || (gate.numel() == 1 && prefix_k.defined()), kAttention,
              ": gate must be one number and needs a prefix");
  TORCH_CHECK(std::isfinite(scale), kAttention, ": scale must be finite, got ", scale);
  TORCH_CHECK(window >= 0, kAttention, ": window must be 0 (none) or positive, got ", window);
  TORCH_CHECK(softcap >= 0 && std::isfinite(softcap), kAttention, ": softcap must be 0 (none) or positive, got ",
              softcap);
  check_bias(bias_table, bias_bidirectional, bias_max_distance, q);
  check_probability(kAttention, dropout_p);
  const Provider provider = provider_of(Operation::kAttention, q);
  const auto run = [&](const at::Tensor& keys, const at::Tensor& values, const at::Tensor& cu_k, const at::Tensor& pk,
                       const at::Tensor& pv, int64_t mask_seed) {
    const AttentionSettings settings{
        causal,           scale, window, max_q, max_k, Dropout::of(dropout_p, mask_seed), softcap, bias_bidirectional,
        bias_max_distance};
    switch (able(provider, q, bias_table, settings)) {
      case Provider::kLibrary: return attention_by_library(q, keys, values, cu_seqlens_q, cu_k, pk, pv, settings);
      case Provider::kOwn:
        return on_device(q) ? attention_by_cuda(q, keys, values, cu_seqlens_q, cu_k, pk, pv, bias_table, settings)
                            : Attention::apply(q, keys, values, cu_seqlens_q, cu_k, optional(pk), optional(pv),
                                               optional(bias_table), settings);
      default: return eager(q, keys, values, cu_seqlens_q, cu_k, pk, pv, bias_table, settings);
    }
  };
  if (!gate.defined()) {
    return run(k, v, cu_seqlens_k, prefix_k, prefix_v, seed);
  }
  // Two softmaxes: the sequence alone, and the prefix alone (no keys of a sequence).
  const at::Tensor none = at::empty({0, k.size(1), k.size(2)}, k.options());
  const at::Tensor text = run(k, v, cu_seqlens_k, at::Tensor(), at::Tensor(), seed);
  if (on_device(q) && provider != Provider::kReference && !Dropout::of(dropout_p, seed).active() && softcap == 0 &&
      prefix_k.size(-3) > 0) {
    return add_gated_prefix(text, {q, prefix_k, prefix_v, cu_seqlens_q, max_q, scale}, gate);
  }
  const auto prefix_seed = static_cast<int64_t>(static_cast<uint64_t>(seed) + 1);  // may wrap
  const at::Tensor prefix = run(none, none, at::zeros_like(cu_seqlens_k), prefix_k, prefix_v, prefix_seed);
  return text + gate.reshape({}).to(q.scalar_type()) * prefix;
}

}  // namespace peft4j
