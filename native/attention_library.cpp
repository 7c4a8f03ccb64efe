#include "attention_library.h"

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attention_cudnn.h"
#include "checks.h"
#include "deterministic.h"
#include "device_lengths.h"
#include "optional.h"
#include "prefix_attention.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// lse is -∞ or +∞ for a row without keys. state: what the library's backward asks back.
struct Part : Attended {
  variable_list state;
};

struct Packed {
  at::Tensor q, k, v, cu_q, cu_k;
};

at::Tensor sequence(const at::Tensor& rows, const at::Tensor& cu, int64_t s) {
  return rows.narrow(0, at_index(cu, s), at_index(cu, s + 1) - at_index(cu, s));
}

at::Tensor repeated(const at::Tensor& keys, int64_t query_heads) {
  const int64_t group = query_heads / keys.size(-2);
  return group == 1 ? keys : keys.repeat_interleave(group, -2);
}

// The sum over the query heads of each key head.
at::Tensor summed(const at::Tensor& by_query_head, int64_t key_heads) {
  const int64_t heads = by_query_head.size(-2);
  return heads == key_heads
             ? by_query_head
             : by_query_head.unflatten(by_query_head.dim() - 2, {key_heads, heads / key_heads}).sum(-2, false);
}

// ---- CPU: one sequence at a time

// [n, m], true where a row does not see a key.
at::Tensor hidden_keys(int64_t n, int64_t m, const AttentionSettings& settings) {
  const at::Tensor distance = at::arange(n, at::kLong).unsqueeze(1) + (m - n) - at::arange(m, at::kLong).unsqueeze(0);
  at::Tensor hidden = at::zeros({n, m}, at::kBool);
  if (settings.causal) {
    hidden = hidden.logical_or(distance < 0);
  }
  if (settings.window > 0) {
    hidden = hidden.logical_or(distance.abs() >= settings.window);
  }
  return hidden;
}

std::optional<at::Tensor> additive(const at::Tensor& hidden, at::ScalarType type) {
  if (!hidden.any().item<bool>()) {
    return std::nullopt;
  }
  return at::zeros(hidden.sizes(), type).masked_fill(hidden, -INFINITY);
}

// libtorch packs 16-bit operands where oneDNN finds AMX, but by a kernel that it has for AVX512 only: where ATEN_CPU_CAPABILITY
// chooses those of a lesser processor, it would end with an error of its own. There attention is computed in float32.
Packed computable(const Packed& p) {
  static const bool packs = at::get_cpu_capability() == "AVX512";
  const auto wide = [](const at::Tensor& t) {
    return packs || !at::isReducedFloatingType(t.scalar_type()) ? t : t.to(at::kFloat);
  };
  return {wide(p.q), wide(p.k), wide(p.v), p.cu_q, p.cu_k};
}

at::Tensor heads_first(const at::Tensor& rows) {  // [n, H, D] as [1, H, n, D]
  return rows.transpose(0, 1).unsqueeze(0);
}

at::Tensor rows_first(const at::Tensor& heads) {
  return heads.squeeze(0).transpose(0, 1);
}

Part cpu_forward(const Packed& given, const AttentionSettings& settings) {
  const int64_t heads = given.q.size(1);
  Part part{at::zeros(given.q.sizes(), given.q.options()),
            at::full({given.q.size(0), heads}, -INFINITY, given.q.options().dtype(compute_type(given.q))),
            {}};
  const Packed p = computable(given);
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    const at::Tensor q = sequence(p.q, p.cu_q, s), k = sequence(p.k, p.cu_k, s), v = sequence(p.v, p.cu_k, s);
    if (q.size(0) == 0 || k.size(0) == 0) {
      continue;
    }
    const at::Tensor hidden = hidden_keys(q.size(0), k.size(0), settings);
    const at::Tensor blind = hidden.all(1);  // the operation must see a key in each row
    const auto [o, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        heads_first(q), heads_first(repeated(k, heads)), heads_first(repeated(v, heads)), 0.0, false,
        additive(hidden.logical_and(blind.unsqueeze(1).logical_not()), q.scalar_type()), settings.scale);
    sequence(part.o, p.cu_q, s).copy_(rows_first(o).masked_fill(blind.unsqueeze(1).unsqueeze(2), 0));
    sequence(part.lse, p.cu_q, s).copy_(lse.reshape({heads, q.size(0)}).t().masked_fill(blind.unsqueeze(1), -INFINITY));
  }
  return part;
}

variable_list cpu_backward(const Packed& given, const at::Tensor& dout_in, const Part& joined,
                           const AttentionSettings& settings) {
  const int64_t heads = given.q.size(1), key_heads = given.k.size(1);
  variable_list gradients{at::zeros_like(given.q), at::zeros_like(given.k), at::zeros_like(given.v)};
  const Packed p = computable(given);
  const at::Tensor dout = dout_in.to(p.q.scalar_type()), o = joined.o.to(p.q.scalar_type());
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    const at::Tensor q = sequence(p.q, p.cu_q, s), k = sequence(p.k, p.cu_k, s), v = sequence(p.v, p.cu_k, s);
    if (q.size(0) == 0 || k.size(0) == 0) {
      continue;
    }
    const at::Tensor lse = sequence(joined.lse, p.cu_q, s);
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        heads_first(sequence(dout, p.cu_q, s)), heads_first(q), heads_first(repeated(k, heads)),
        heads_first(repeated(v, heads)), heads_first(sequence(o, p.cu_q, s)),
        lse.masked_fill(lse == -INFINITY, INFINITY).t().unsqueeze(0), 0.0, false,
        additive(hidden_keys(q.size(0), k.size(0), settings), q.scalar_type()), settings.scale);
    sequence(gradients[0], p.cu_q, s).copy_(rows_first(dq));
    sequence(gradients[1], p.cu_k, s).copy_(summed(rows_first(dk), key_heads));
    sequence(gradients[2], p.cu_k, s).copy_(summed(rows_first(dv), key_heads));
  }
  return gradients;
}

// ---- CUDA, 16-bit: flash-attention

constexpr int64_t kFlashAlignment = 8;  // of head sizes

at::Tensor padded(const at::Tensor& t) {
  const int64_t rest = t.size(2) % kFlashAlignment;
  return rest == 0 ? t : at::constant_pad_nd(t, {0, kFlashAlignment - rest});
}

std::optional<c10::SymInt> window_of(const AttentionSettings& settings, bool left) {
  if (settings.window == 0) {
    return std::nullopt;
  }
  return c10::SymInt(!left && settings.causal ? 0 : settings.window - 1);
}

Part flash_forward(const Packed& p, const AttentionSettings& settings) {
  const auto [o, lse, rng, unused, mask] = at::_flash_attention_forward_symint(
      padded(p.q), padded(p.k), padded(p.v), device_lengths(p.cu_q, p.q.device()), device_lengths(p.cu_k, p.q.device()),
      settings.max_q, settings.max_k, 0.0, settings.causal, false, settings.scale, window_of(settings, true),
      window_of(settings, false));
  return {o.narrow(2, 0, p.q.size(2)), lse.t(), {rng, unused}};  // [H, T]; +∞ for a row without keys
}

variable_list flash_backward(const Packed& p, const at::Tensor& dout, const Part& joined,
                             const AttentionSettings& settings) {
  const DeterministicLibrary guard;
  const auto [dq, dk, dv] = at::_flash_attention_backward_symint(
      padded(dout), padded(p.q), padded(p.k), padded(p.v), padded(joined.o), joined.lse.t().contiguous(),
      device_lengths(p.cu_q, p.q.device()), device_lengths(p.cu_k, p.q.device()), settings.max_q, settings.max_k, 0.0,
      settings.causal, joined.state[0], joined.state[1], settings.scale, window_of(settings, true),
      window_of(settings, false));
  const int64_t d = p.q.size(2);
  return {dq.narrow(2, 0, d), dk.narrow(2, 0, d), dv.narrow(2, 0, d)};
}

// ---- CUDA, float32: memory-efficient attention

constexpr int64_t kNoMask = 0, kCausalFromBottomRight = 2;

// [S, H, rows of the longest, rounded up] and back.
at::Tensor lse_by_row(const at::Tensor& lse, const at::Tensor& cu) {
  variable_list rows;
  for (int64_t s = 0; s + 1 < cu.numel(); ++s) {
    rows.push_back(lse[s].narrow(1, 0, at_index(cu, s + 1) - at_index(cu, s)).t());
  }
  return at::cat(rows);
}

at::Tensor lse_by_sequence(const at::Tensor& lse, const at::Tensor& cu, at::IntArrayRef shape) {
  const at::Tensor all = at::full(shape, INFINITY, lse.options());
  for (int64_t s = 0; s + 1 < cu.numel(); ++s) {
    all[s].narrow(1, 0, at_index(cu, s + 1) - at_index(cu, s)).copy_(sequence(lse, cu, s).t());
  }
  return all;
}

std::optional<int64_t> efficient_window(const AttentionSettings& settings) {
  return settings.window == 0 ? std::nullopt : std::optional(settings.window);
}

Part efficient_forward(const Packed& p, const AttentionSettings& settings) {
  const int64_t heads = p.q.size(1);
  const auto [o, lse, seed, offset, max_q, max_k] = at::_efficient_attention_forward(
      p.q.unsqueeze(0), repeated(p.k, heads).unsqueeze(0), repeated(p.v, heads).unsqueeze(0), std::nullopt,
      device_lengths(p.cu_q, p.q.device()), device_lengths(p.cu_k, p.q.device()), settings.max_q, settings.max_k, 0.0,
      settings.causal ? kCausalFromBottomRight : kNoMask, true, settings.scale, std::nullopt,
      efficient_window(settings));
  return {o.squeeze(0), lse_by_row(lse, p.cu_q), {seed, offset, lse}};
}

variable_list efficient_backward(const Packed& p, const at::Tensor& dout, const Part& joined,
                                 const AttentionSettings& settings) {
  const int64_t heads = p.q.size(1), key_heads = p.k.size(1);
  const DeterministicLibrary guard;
  const at::Tensor lse =
      lse_by_sequence(joined.lse.masked_fill(joined.lse == -INFINITY, INFINITY), p.cu_q, joined.state[2].sizes());
  const auto [dq, dk, dv, none] = at::_efficient_attention_backward(
      dout.unsqueeze(0), p.q.unsqueeze(0), repeated(p.k, heads).unsqueeze(0), repeated(p.v, heads).unsqueeze(0),
      std::nullopt, joined.o.unsqueeze(0), device_lengths(p.cu_q, p.q.device()), device_lengths(p.cu_k, p.q.device()),
      settings.max_q, settings.max_k, lse, 0.0, joined.state[0], joined.state[1],
      settings.causal ? kCausalFromBottomRight : kNoMask, false, settings.scale, std::nullopt,
      efficient_window(settings));
  return {dq.squeeze(0), summed(dk.squeeze(0), key_heads), summed(dv.squeeze(0), key_heads)};
}

// ---- CUDA, 16-bit, sizes that come back: cuDNN

constexpr size_t kCudnnState = 3;  // tensors; flash-attention keeps two

Part cudnn_part(const Packed& p, const AttentionSettings& settings) {
  const variable_list all = cudnn_forward(p.q, p.k, p.v, p.cu_q, settings);
  return {all[0], all[1], {all.begin() + 2, all.end()}};
}

Part part_1(const Packed& p, const AttentionSettings& settings) {
  if (p.k.size(0) == 0 || p.q.size(0) == 0) {
    return {at::zeros(p.q.sizes(), p.q.options()),
            at::full({p.q.size(0), p.q.size(1)}, -INFINITY, p.q.options().dtype(compute_type(p.q))),
            {}};
  }
  return p.q.is_cpu()                                      ? cpu_forward(p, settings)
         : p.q.scalar_type() == at::kFloat                 ? efficient_forward(p, settings)
         : cudnn_takes(p.q, p.k, p.cu_q, p.cu_k, settings) ? cudnn_part(p, settings)
                                                           : flash_forward(p, settings);
}

variable_list part_1_backward(const Packed& p, const at::Tensor& dout, const Part& joined,
                              const AttentionSettings& settings) {
  if (p.k.size(0) == 0 || p.q.size(0) == 0) {
    return {at::zeros_like(p.q), at::zeros_like(p.k), at::zeros_like(p.v)};
  }
  return p.q.is_cpu()                      ? cpu_backward(p, dout, joined, settings)
         : p.q.scalar_type() == at::kFloat ? efficient_backward(p, dout, joined, settings)
         : joined.state.size() == kCudnnState
             ? cudnn_backward(p.q, p.k, p.v, dout, joined.o, joined.lse, joined.state, settings)
             : flash_backward(p, dout, joined, settings);
}

struct LibraryAttention : torch::autograd::Function<LibraryAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_q, const at::Tensor& cu_k, const std::optional<at::Tensor>& prefix_k,
                            const std::optional<at::Tensor>& prefix_v, const AttentionSettings& settings) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    Part part = part_1({q, k, v, cu_q, cu_k}, settings);
    if (prefix_k && prefix_k->size(-3) > 0) {
      static_cast<Attended&>(part) = join_prefix(part, {q, *prefix_k, *prefix_v, cu_q, settings.max_q, settings.scale});
    }
    variable_list kept{q,      k,       v, cu_q, cu_k, prefix_k.value_or(at::Tensor()), prefix_v.value_or(at::Tensor()),
                       part.o, part.lse};
    kept.insert(kept.end(), part.state.begin(), part.state.end());
    ctx->save_for_backward(kept);
    save(settings, ctx->saved_data);
    return part.o;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(8);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const AttentionSettings settings = saved_settings(ctx->saved_data);
    const at::Tensor dout = gradients[0].contiguous();
    const Packed packed{kept[0], kept[1], kept[2], kept[3], kept[4]};
    const Part joined{kept[7], kept[8], {kept.begin() + 9, kept.end()}};
    const variable_list own = part_1_backward(packed, dout, joined, settings);
    std::copy(own.begin(), own.end(), result.begin());
    if (kept[5].defined() && kept[5].size(-3) > 0) {
      const PrefixGradients prefix = prefix_backward(
          result[0], dout, joined, {packed.q, kept[5], kept[6], packed.cu_q, settings.max_q, settings.scale},
          ctx->needs_input_grad(5) || ctx->needs_input_grad(6));
      result[5] = prefix.dk;
      result[6] = prefix.dv;
    }
    return result;
  }
};

}  // namespace

bool library_has_attention(const at::Tensor& q, const AttentionSettings& settings) {
  return !settings.dropout.active() && (q.is_cpu() || q.scalar_type() != at::kDouble);
}

at::Tensor attention_by_library(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_q,
                                const at::Tensor& cu_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                                const AttentionSettings& settings) {
  return LibraryAttention::apply(q, k, v, cu_q, cu_k, optional(prefix_k), optional(prefix_v), settings);
}

}  // namespace peft4j
