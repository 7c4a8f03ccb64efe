#include "prefix_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "device_lengths.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kWidestPrefixedHead = 256;

// The kernels, if they can.
const CudaKernels* kernels_for(const PrefixedRows& rows) {
  const at::Tensor& q = rows.q;
  return q.size(2) <= kWidestPrefixedHead && q.size(0) * q.size(1) <= INT32_MAX ? cuda_kernels(q) : nullptr;
}

// ---- own kernels

peft4j_cuda_heads heads(const at::Tensor& t) {
  return {t.data_ptr(), t.stride(0), t.stride(1)};
}

struct PrefixCall {
  peft4j_cuda_prefix params{};
  at::Tensor k, v, cu;  // what params points to
  std::string what;

  explicit PrefixCall(const PrefixedRows& rows) : k(rows.k.contiguous()), v(rows.v.contiguous()) {
    const at::Tensor& q = rows.q;
    what = c10::str("prefix_attention of q ", q.sizes(), " and prefix ", k.sizes());
    params.dtype = cuda_dtype(q);
    params.scale = static_cast<float>(rows.scale);
    params.rows = q.size(0);
    params.query_heads = q.size(1);
    params.key_heads = k.size(-2);
    params.head_size = q.size(2);
    params.prefix = k.size(-3);
    params.sequences = rows.shared() ? 1 : k.size(0);
    params.longest = rows.shared() ? q.size(0) : rows.max_q;
    if (!rows.shared()) {
      cu = device_lengths(rows.cu_q, q.device());
      params.cu_seqlens = cu.data_ptr<int32_t>();
    }
    params.k = k.data_ptr();
    params.v = v.data_ptr();
    params.q = heads(q);
  }
};

PrefixGradients run_backward(const CudaKernels& kernels, PrefixCall& call, const at::Tensor& dq, const at::Tensor& dout,
                             const at::Tensor& dgate, bool wants_keys) {
  PrefixGradients result;
  peft4j_cuda_prefix_gradients gradients{};
  const auto floats = dout.options().dtype(at::kFloat);
  gradients.dout = heads(dout);
  if (dq.defined()) {
    gradients.dq = heads(dq);
  }
  if (wants_keys) {
    result = {at::empty(call.k.sizes(), floats), at::empty(call.k.sizes(), floats)};
    gradients.prefix_dk = result.dk.data_ptr<float>();
    gradients.prefix_dv = result.dv.data_ptr<float>();
  }
  gradients.dgate = dgate.defined() ? dgate.data_ptr<float>() : nullptr;
  const at::Tensor scratch = at::empty({kernels.prefix_attention_scratch(dout, &call.params)}, floats);
  gradients.scratch = scratch.data_ptr<float>();
  check_cuda(kernels.prefix_attention_backward(dout, &call.params, &gradients), "backward of " + call.what);
  if (wants_keys) {
    result = {result.dk.to(call.k.scalar_type()), result.dv.to(call.k.scalar_type())};
  }
  return result;
}

// ---- the same by at:: calls

// f(rows, keys, values) for the runs of rows that share a prefix, all or each sequence's: rows(t) are t's, keys and values have
// a head for each query head and the compute type; s counts the runs.
template <class F>
void for_each_prefix(const PrefixedRows& rows, const F& f) {
  const at::ScalarType type = compute_type(rows.q);
  const int64_t sequences = rows.cu_q.numel() - 1, group = rows.q.size(1) / rows.k.size(-2);
  for (int64_t s = 0; s < (rows.shared() ? 1 : sequences); ++s) {
    const int64_t begin = at_index(rows.cu_q, s), end = at_index(rows.cu_q, rows.shared() ? sequences : s + 1);
    const auto of_run = [begin, end](const at::Tensor& t) { return t.narrow(0, begin, end - begin); };
    const auto of_prefix = [&](const at::Tensor& t) {
      return (rows.shared() ? t : t[s]).to(type).repeat_interleave(group, -2);
    };
    f(of_run, of_prefix(rows.k), of_prefix(rows.v), s);
  }
}

// [n, H, P]
at::Tensor scores(const at::Tensor& q, const at::Tensor& k, double scale) {
  return at::einsum("nhd,phd->nhp", {q.to(k.scalar_type()), k}) * scale;
}

Attended join_by_at(const Attended& part, const PrefixedRows& rows) {
  Attended joined{at::empty(rows.q.sizes(), rows.q.options()), at::empty_like(part.lse)};
  for_each_prefix(rows, [&](const auto& of_run, const at::Tensor& k, const at::Tensor& v, int64_t) {
    const at::Tensor score = scores(of_run(rows.q), k, rows.scale), given = of_run(part.lse);
    const at::Tensor lse_1 = given.masked_fill(given == INFINITY, -INFINITY);
    const at::Tensor lse = at::logaddexp(lse_1, score.logsumexp({-1}));
    const at::Tensor p = (score - lse.unsqueeze(-1)).exp();
    of_run(joined.o).copy_(of_run(part.o).to(k.scalar_type()) * (lse_1 - lse).exp().unsqueeze(-1) +
                           at::einsum("nhp,phd->nhd", {p, v}));
    of_run(joined.lse).copy_(lse);
  });
  return joined;
}

// gate: undefined, or the prefix has a softmax of its own, whose output `joined` then is; dgate is added to.
PrefixGradients backward_by_at(const at::Tensor& dq, const at::Tensor& dout, const Attended& joined,
                               const PrefixedRows& rows, const at::Tensor& gate, const at::Tensor& dgate,
                               bool wants_keys) {
  PrefixGradients result;
  if (wants_keys) {
    result = {at::empty_like(rows.k, at::MemoryFormat::Contiguous),
              at::empty_like(rows.k, at::MemoryFormat::Contiguous)};
  }
  for_each_prefix(rows, [&](const auto& of_run, const at::Tensor& k, const at::Tensor& v, int64_t s) {
    const at::ScalarType type = k.scalar_type();
    const at::Tensor d = of_run(dout).to(type);
    at::Tensor p = (scores(of_run(rows.q), k, rows.scale) - of_run(joined.lse).unsqueeze(-1)).exp();
    const at::Tensor delta = (d * of_run(joined.o).to(type)).sum(-1, true);
    if (gate.defined()) {
      p = p * gate;
      dgate.add_(delta.sum());
    }
    const at::Tensor ds = p * (at::einsum("nhd,phd->nhp", {d, v}) - delta) * rows.scale;
    if (dq.defined()) {
      of_run(dq).add_(at::einsum("nhp,phd->nhd", {ds, k}));
    }
    if (wants_keys) {
      const int64_t key_heads = rows.k.size(-2), group = rows.q.size(1) / key_heads;
      const auto put = [&](const at::Tensor& to, const at::Tensor& by_query_head) {  // [P, H, D]
        (rows.shared() ? to : to[s]).copy_(by_query_head.unflatten(1, {key_heads, group}).sum(2));
      };
      put(result.dk, at::einsum("nhp,nhd->phd", {ds, of_run(rows.q).to(type)}));
      put(result.dv, at::einsum("nhp,nhd->phd", {p, d}));
    }
  });
  return result;
}

}  // namespace

Attended join_prefix(const Attended& part, const PrefixedRows& rows) {
  const CudaKernels* kernels = kernels_for(rows);
  if (kernels == nullptr) {
    return join_by_at(part, rows);
  }
  const Attended joined{part.o.is_contiguous() ? part.o : at::empty(part.o.sizes(), part.o.options()), part.lse};
  PrefixCall call(rows);
  call.params.o1 = heads(part.o);
  call.params.lse1 = heads(part.lse);
  call.params.o = heads(joined.o);
  call.params.lse = heads(joined.lse);
  check_cuda(kernels->prefix_attention(rows.q, &call.params), call.what);
  return joined;
}

PrefixGradients prefix_backward(const at::Tensor& dq, const at::Tensor& dout, const Attended& joined,
                                const PrefixedRows& rows, bool wants_keys) {
  const CudaKernels* kernels = kernels_for(rows);
  if (kernels == nullptr) {
    return backward_by_at(dq, dout, joined, rows, at::Tensor(), at::Tensor(), wants_keys);
  }
  PrefixCall call(rows);
  call.params.o = heads(joined.o);
  call.params.lse = heads(joined.lse);
  return run_backward(*kernels, call, dq, dout, at::Tensor(), wants_keys);
}

namespace {

struct GatedPrefix : torch::autograd::Function<GatedPrefix> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& o1, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const at::Tensor& gate, const at::Tensor& cu_q, int64_t max_q,
                            double scale) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const PrefixedRows rows{q, k, v, cu_q, max_q, scale};
    const at::Tensor factor = gate.reshape({}).to(q.options().dtype(compute_type(q)));
    Attended own{at::empty(q.sizes(), q.options()), at::empty({q.size(0), q.size(1)}, factor.options())};
    at::Tensor o;
    if (const CudaKernels* kernels = kernels_for(rows)) {
      o = at::empty_like(own.o);
      PrefixCall call(rows);
      call.params.gate = factor.data_ptr<float>();
      call.params.o1 = heads(o1);
      call.params.o = heads(o);
      call.params.o2 = heads(own.o);
      call.params.lse = heads(own.lse);
      check_cuda(kernels->prefix_attention(q, &call.params), call.what);
    } else {
      own = join_by_at({own.o.zero_(), own.lse.fill_(-INFINITY)}, rows);
      o = o1 + (factor * own.o).to(o1.scalar_type());
    }
    ctx->save_for_backward({q, k, v, gate, cu_q, own.o, own.lse});
    ctx->saved_data["max_q"] = max_q;
    ctx->saved_data["scale"] = scale;
    return o;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(8);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const PrefixedRows rows{
        kept[0], kept[1], kept[2], kept[4], ctx->saved_data["max_q"].toInt(), ctx->saved_data["scale"].toDouble()};
    const Attended own{kept[5], kept[6]};
    const at::Tensor dout = gradients[0].contiguous();
    const at::Tensor factor = kept[3].reshape({}).to(own.lse.options()), dgate = at::zeros_like(factor);
    const at::Tensor dq = ctx->needs_input_grad(1) ? at::zeros(rows.q.sizes(), rows.q.options()) : at::Tensor();
    const bool wants_keys = ctx->needs_input_grad(2) || ctx->needs_input_grad(3);
    PrefixGradients prefix;
    if (const CudaKernels* kernels = kernels_for(rows)) {
      PrefixCall call(rows);
      call.params.gate = factor.data_ptr<float>();
      call.params.o2 = heads(own.o);
      call.params.lse = heads(own.lse);
      prefix = run_backward(*kernels, call, dq, dout, dgate, wants_keys);
    } else {
      prefix = backward_by_at(dq, dout, own, rows, factor, dgate, wants_keys);
    }
    result[0] = gradients[0];
    result[1] = dq;
    result[2] = prefix.dk;
    result[3] = prefix.dv;
    result[4] = dgate.reshape(kept[3].sizes()).to(kept[3].options());
    return result;
  }
};

}  // namespace

at::Tensor add_gated_prefix(const at::Tensor& o1, const PrefixedRows& rows, const at::Tensor& gate) {
  return GatedPrefix::apply(o1, rows.q, rows.k, rows.v, gate, rows.cu_q, rows.max_q, rows.scale);
}

}  // namespace peft4j
