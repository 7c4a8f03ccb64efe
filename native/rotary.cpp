/*
rotary: checks, autograd and the slow twin (contract: peft4j.h; kernels: cpu/rotary_kernel.cpp, cuda/rotary.cu).

Kept for backward: positions and frequencies.
*/
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "peft4j.h"
#include "providers.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kRotary = "rotary";

struct RotarySettings {
  double scaling;
  bool interleaved, backward;
};

bool heads_contiguous(const at::Tensor& t) {
  return t.numel() == 0 || (t.stride(2) == 1 && t.stride(1) == t.size(2));
}

// What q or k is turned to, contiguous; either may be undefined.
variable_list turned(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& positions,
                     const at::Tensor& frequencies, const RotarySettings& settings) {
  const auto readable = [](const at::Tensor& t) { return !t.defined() || heads_contiguous(t) ? t : t.contiguous(); };
  const auto like = [](const at::Tensor& t) { return t.defined() ? at::empty(t.sizes(), t.options()) : t; };
  const at::Tensor q = readable(q_in), k = readable(k_in), any = q.defined() ? q : k, q_out = like(q), k_out = like(k);
  RotaryParams p{};
  p.dtype = any.scalar_type();
  p.interleaved = settings.interleaved;
  p.backward = settings.backward;
  p.rows = any.size(0);
  p.head_size = any.size(2);
  p.half = frequencies.numel();
  p.inverse_frequencies = frequencies.data_ptr();
  p.scaling = settings.scaling;
  if (q.defined()) {
    p.query_heads = q.size(1);
    p.q = q.data_ptr();
    p.q_stride = q.stride(0);
    p.q_out = q_out.data_ptr();
    p.q_out_stride = q_out.stride(0);
  }
  if (k.defined()) {
    p.key_heads = k.size(1);
    p.k = k.data_ptr();
    p.k_stride = k.stride(0);
    p.k_out = k_out.data_ptr();
    p.k_out_stride = k_out.stride(0);
  }
  if (const CudaKernels* cuda = cuda_kernels(any)) {
    peft4j_cuda_rotary_params c{};
    c.dtype = cuda_dtype(any);
    c.interleaved = p.interleaved;
    c.backward = p.backward;
    c.wide_positions = positions.scalar_type() == at::kLong;
    c.rows = p.rows;
    c.query_heads = p.query_heads;
    c.key_heads = p.key_heads;
    c.head_size = p.head_size;
    c.rotary = 2 * p.half;
    c.q = p.q;
    c.k = p.k;
    c.q_out = p.q_out;
    c.k_out = p.k_out;
    c.q_stride = p.q_stride;
    c.k_stride = p.k_stride;
    c.q_out_stride = p.q_out_stride;
    c.k_out_stride = p.k_out_stride;
    c.positions = positions.data_ptr();
    c.inverse_frequencies = frequencies.data_ptr<float>();
    c.scaling = static_cast<float>(p.scaling);
    check_cuda(cuda->rotary(any, &c), p.backward ? "backward of rotary" : "rotary", " of ", any.sizes());
  } else {
    const at::Tensor wide_positions = positions.to(at::kLong);
    p.positions = wide_positions.data_ptr<int64_t>();
    cpu_kernels().rotary(p);
  }
  return {q_out, k_out};
}

struct Rotary : torch::autograd::Function<Rotary> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& positions_in, const at::Tensor& frequencies_in, double scaling,
                               bool interleaved) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor positions = positions_in.contiguous(), frequencies = frequencies_in.contiguous();
    ctx->save_for_backward({positions, frequencies});
    ctx->saved_data["scaling"] = scaling;
    ctx->saved_data["interleaved"] = interleaved;
    return turned(q, k, positions, frequencies, {scaling, interleaved, false});
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(6);  // of q, k
    if (gradients[0].defined() || gradients[1].defined()) {
      const variable_list kept = ctx->get_saved_variables();
      const RotarySettings settings{ctx->saved_data["scaling"].toDouble(), ctx->saved_data["interleaved"].toBool(),
                                    true};
      const variable_list both = turned(gradients[0], gradients[1], kept[0], kept[1], settings);
      result[0] = both[0];
      result[1] = both[1];
    }
    return result;
  }
};

at::Tensor eager(const at::Tensor& x_in, const at::Tensor& positions, const at::Tensor& frequencies, double scaling,
                 bool interleaved) {
  const at::Tensor x = x_in.to(at::kDouble);
  const int64_t half = frequencies.numel();
  const at::Tensor angle = (positions.to(at::kDouble).unsqueeze(1) * frequencies.to(at::kDouble)).unsqueeze(1);
  const at::Tensor cosine = angle.cos() * scaling, sine = angle.sin() * scaling;
  const at::Tensor head = x.narrow(2, 0, 2 * half), rest = x.narrow(2, 2 * half, x.size(2) - 2 * half);
  const at::Tensor a = interleaved ? head.slice(2, 0, 2 * half, 2) : head.narrow(2, 0, half);
  const at::Tensor b = interleaved ? head.slice(2, 1, 2 * half, 2) : head.narrow(2, half, half);
  const variable_list pair = {a * cosine - b * sine, b * cosine + a * sine};
  const at::Tensor turned = interleaved ? at::stack(pair, 3).flatten(2) : at::cat(pair, 2);
  return at::cat({turned, rest}, 2).to(x_in.scalar_type());
}

void check_heads(const char* name, const at::Tensor& t) {
  check_compute_type(kRotary, name, t);
  TORCH_CHECK(t.dim() == 3, kRotary, ": ", name, " must have shape [T, heads, D], got ", t.sizes());
  TORCH_CHECK(heads_contiguous(t), kRotary, ": heads of a row of ", name, " must be contiguous, got strides ",
              t.strides());
}

}  // namespace

std::vector<at::Tensor> rotary(const at::Tensor& q, const at::Tensor& k, const at::Tensor& positions,
                               const at::Tensor& inverse_frequencies, double scaling, bool interleaved) {
  check_heads("q", q);
  check_heads("k", k);
  TORCH_CHECK(k.size(0) == q.size(0) && k.size(2) == q.size(2), kRotary, ": k must have shape [", q.size(0),
              ", heads, ", q.size(2), "] as q has, got ", k.sizes());
  check_like(kRotary, "k", k, "q", q);
  TORCH_CHECK(positions.defined() && positions.dim() == 1 && positions.size(0) == q.size(0), kRotary,
              ": positions must have shape [", q.size(0), "] (rows of q), got ",
              positions.defined() ? positions.sizes() : at::IntArrayRef());
  TORCH_CHECK(positions.scalar_type() == at::kInt || positions.scalar_type() == at::kLong, kRotary,
              ": positions must be int32 or int64, got ", positions.scalar_type());
  TORCH_CHECK(
      inverse_frequencies.defined() && inverse_frequencies.dim() == 1 && 2 * inverse_frequencies.size(0) <= q.size(2),
      kRotary, ": inverse_frequencies must have shape [R/2] with R at most ", q.size(2), " (head size), got ",
      inverse_frequencies.defined() ? inverse_frequencies.sizes() : at::IntArrayRef());
  TORCH_CHECK(inverse_frequencies.scalar_type() == compute_type(q), kRotary, ": inverse_frequencies must be ",
              compute_type(q), " for q of ", q.scalar_type(), ", got ", inverse_frequencies.scalar_type());
  for (const auto& [name, t] :
       {std::pair("positions", positions), std::pair("inverse_frequencies", inverse_frequencies)}) {
    TORCH_CHECK(t.device() == q.device(), kRotary, ": q is on ", q.device(), " but ", name, " is on ", t.device());
  }
  TORCH_CHECK(std::isfinite(scaling), kRotary, ": scaling must be finite, got ", scaling);
  if (provider_of(Operation::kRotary, q) == Provider::kOwn) {
    return Rotary::apply(q, k, positions, inverse_frequencies, scaling, interleaved);
  }
  return {eager(q, positions, inverse_frequencies, scaling, interleaved),
          eager(k, positions, inverse_frequencies, scaling, interleaved)};
}

}  // namespace peft4j
