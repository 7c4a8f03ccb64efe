/*
libtorch's attention for CUDA, which its CPU library lacks: flash-attention of packed 16-bit rows and memory-efficient attention of
packed float32 rows, one sequence at a time by the formula. Only what native/attention_library.cpp asks for: packed, without
dropout, causal from the bottom right.
*/
#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "operations.h"

namespace peft4j::host_devices {
namespace {

using at::Tensor;

struct Mask {
  bool causal;
  int64_t left, right;  // keys seen behind and ahead of a row's own; -1: all
};

struct Packed {
  Tensor q, k, v;  // [T, H, D]
  at::Tensor cu_q, cu_k;
  double scale;
  Mask mask;
};

Tensor rows(const Tensor& t, const Tensor& cu, int64_t s) {
  const int64_t begin = cu[s].item<int64_t>();
  return t.narrow(0, begin, cu[s + 1].item<int64_t>() - begin);
}

// [H, n, D] in float32, a key's head for each query head
Tensor heads(const Tensor& t, int64_t query_heads) {
  return t.to(at::kFloat).repeat_interleave(query_heads / t.size(1), 1).transpose(0, 1);
}

// The sum over the query heads of each key head; [H, n, D] to [n, Hkv, D].
Tensor to_key_heads(const Tensor& t, int64_t key_heads) {
  return t.unflatten(0, {key_heads, t.size(0) / key_heads}).sum(1).transpose(0, 1);
}

Tensor hidden(int64_t n, int64_t m, const Mask& mask) {
  const Tensor behind = at::arange(n).unsqueeze(1) + (m - n) - at::arange(m).unsqueeze(0);
  Tensor answer = at::zeros({n, m}, at::kBool);
  if (mask.causal) {
    answer = answer.logical_or(behind < 0);
  }
  if (mask.left >= 0) {
    answer = answer.logical_or(behind > mask.left);
  }
  if (mask.right >= 0) {
    answer = answer.logical_or(behind < -mask.right);
  }
  return answer;
}

Tensor scores(const Tensor& q, const Tensor& k, const Packed& p) {
  const Tensor unseen = hidden(q.size(1), k.size(1), p.mask).to(q.device());
  return (at::matmul(q, k.transpose(1, 2)) * p.scale).masked_fill(unseen, -INFINITY);
}

// o and log-sum-exp [T, H]; +∞ for a row that sees no key.
std::pair<Tensor, Tensor> forward(const Packed& p) {
  const int64_t query_heads = p.q.size(1);
  const Tensor o = at::zeros(p.q.sizes(), p.q.options());
  const Tensor lse = at::full({p.q.size(0), query_heads}, INFINITY, p.q.options().dtype(at::kFloat));
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    const Tensor q = rows(p.q, p.cu_q, s), k = rows(p.k, p.cu_k, s), v = rows(p.v, p.cu_k, s);
    if (q.size(0) == 0 || k.size(0) == 0) {
      continue;
    }
    const Tensor all = scores(heads(q, query_heads), heads(k, query_heads), p);
    const Tensor sum = all.logsumexp(2), known = sum.masked_fill(sum == -INFINITY, INFINITY);
    rows(o, p.cu_q, s).copy_(at::matmul((all - known.unsqueeze(2)).exp(), heads(v, query_heads)).transpose(0, 1));
    rows(lse, p.cu_q, s).copy_(known.transpose(0, 1));
  }
  return {o, lse};
}

// lse [T, H], which may be that of more keys than these.
std::tuple<Tensor, Tensor, Tensor> backward(const Packed& p, const Tensor& dout, const Tensor& o, const Tensor& lse) {
  const int64_t query_heads = p.q.size(1), key_heads = p.k.size(1);
  const Tensor dq = at::zeros(p.q.sizes(), p.q.options()), dk = at::zeros(p.k.sizes(), p.k.options()),
               dv = at::zeros(p.v.sizes(), p.v.options());
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    if (rows(p.q, p.cu_q, s).size(0) == 0 || rows(p.k, p.cu_k, s).size(0) == 0) {
      continue;
    }
    const Tensor q = heads(rows(p.q, p.cu_q, s), query_heads), k = heads(rows(p.k, p.cu_k, s), query_heads),
                 v = heads(rows(p.v, p.cu_k, s), query_heads), d = heads(rows(dout, p.cu_q, s), query_heads);
    const Tensor probabilities = (scores(q, k, p) - rows(lse, p.cu_q, s).transpose(0, 1).unsqueeze(2)).exp();
    const Tensor inner = (d * heads(rows(o, p.cu_q, s), query_heads)).sum(2, true);
    const Tensor dscores = probabilities * (at::matmul(d, v.transpose(1, 2)) - inner) * p.scale;
    rows(dq, p.cu_q, s).copy_(at::matmul(dscores, k).transpose(0, 1));
    rows(dk, p.cu_k, s).copy_(to_key_heads(at::matmul(dscores.transpose(1, 2), q), key_heads));
    rows(dv, p.cu_k, s).copy_(to_key_heads(at::matmul(probabilities.transpose(1, 2), d), key_heads));
  }
  return {dq, dk, dv};
}

using MaybeTensor = std::optional<Tensor>;
using MaybeInt = std::optional<c10::SymInt>;

int64_t limit(const MaybeInt& window) {
  return window ? window->expect_int() : -1;
}

Packed flash(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k, bool causal,
             std::optional<double> scale, const MaybeInt& left, const MaybeInt& right) {
  TORCH_CHECK(q.element_size() == 2 && q.size(2) % 8 == 0, "flash-attention takes 16-bit rows of heads of 8 n numbers");
  TORCH_CHECK(cu_q.is_cuda() && cu_k.is_cuda() && cu_q.scalar_type() == at::kInt && cu_k.scalar_type() == at::kInt,
              "flash-attention wants lengths on the device, int32");
  return {q, k, v, cu_q.cpu(), cu_k.cpu(), scale.value(), {causal, limit(left), limit(right)}};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> flash_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                                 const MaybeTensor& cu_q, const MaybeTensor& cu_k,
                                                                 c10::SymInt, c10::SymInt, double dropout, bool causal,
                                                                 bool, std::optional<double> scale, MaybeInt left,
                                                                 MaybeInt right, const MaybeTensor&, const MaybeTensor&,
                                                                 const MaybeTensor&, std::optional<int64_t>) {
  const OnTheCard quiet;
  TORCH_CHECK(dropout == 0, "the cards that the host plays have no flash-attention with dropout");
  const auto [o, lse] = forward(flash(q, k, v, cu_q.value(), cu_k.value(), causal, scale, left, right));
  const Tensor none = at::zeros({2}, q.options().dtype(at::kLong));
  return {o, lse.t().contiguous(), none, none, Tensor()};
}

std::tuple<Tensor, Tensor, Tensor> flash_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                                  const Tensor& o, const Tensor& lse, const Tensor& cu_q,
                                                  const Tensor& cu_k, c10::SymInt, c10::SymInt, double, bool causal,
                                                  const Tensor&, const Tensor&, std::optional<double> scale,
                                                  MaybeInt left, MaybeInt right) {
  const OnTheCard quiet;
  TORCH_CHECK(lse.is_contiguous(), "flash-attention wants contiguous log-sum-exps");
  return backward(flash(q, k, v, cu_q, cu_k, causal, scale, left, right), dout, o, lse.t());
}

constexpr int64_t kCausalFromBottomRight = 2, kLseRows = 32;  // of memory-efficient attention

Packed efficient(const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& cu_q, const MaybeTensor& cu_k,
                 int64_t mask, std::optional<double> scale, std::optional<int64_t> window) {
  TORCH_CHECK(k.size(2) == q.size(2), "memory-efficient attention wants a key's head for each query's");
  const bool causal = mask == kCausalFromBottomRight;
  const int64_t left = window && *window > 0 ? *window - 1 : -1;
  return {q.squeeze(0),
          k.squeeze(0),
          v.squeeze(0),
          cu_q->cpu(),
          cu_k->cpu(),
          scale.value(),
          {causal, left, causal ? -1 : left}};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt> efficient_forward(
    const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor&, const MaybeTensor& cu_q,
    const MaybeTensor& cu_k, MaybeInt max_q, MaybeInt max_k, double dropout, int64_t mask, bool,
    std::optional<double> scale, const MaybeTensor&, std::optional<int64_t> window) {
  const OnTheCard quiet;
  TORCH_CHECK(dropout == 0, "the cards that the host plays have no memory-efficient attention with dropout");
  const Packed p = efficient(q, k, v, cu_q, cu_k, mask, scale, window);
  const auto [o, lse] = forward(p);
  const int64_t longest = (max_q->expect_int() + kLseRows - 1) / kLseRows * kLseRows;
  const Tensor by_sequence = at::full({p.cu_q.numel() - 1, p.q.size(1), longest}, INFINITY, lse.options());
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    const Tensor own = rows(lse, p.cu_q, s).t();
    by_sequence[s].narrow(1, 0, own.size(1)).copy_(own);
  }
  const Tensor none = at::zeros({}, q.options().dtype(at::kLong));
  return {o.unsqueeze(0), by_sequence, none, none, *max_q, *max_k};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_backward(const Tensor& dout, const Tensor& q, const Tensor& k,
                                                              const Tensor& v, const MaybeTensor&, const Tensor& o,
                                                              const MaybeTensor& cu_q, const MaybeTensor& cu_k,
                                                              c10::SymInt, c10::SymInt, const Tensor& lse, double,
                                                              const Tensor&, const Tensor&, int64_t mask, bool,
                                                              std::optional<double> scale, std::optional<int64_t>,
                                                              std::optional<int64_t> window, bool) {
  const OnTheCard quiet;
  const Packed p = efficient(q, k, v, cu_q, cu_k, mask, scale, window);
  std::vector<Tensor> by_row;
  for (int64_t s = 0; s + 1 < p.cu_q.numel(); ++s) {
    by_row.push_back(lse[s].narrow(1, 0, rows(p.q, p.cu_q, s).size(0)).t());
  }
  const auto [dq, dk, dv] = backward(p, dout.squeeze(0), o.squeeze(0), at::cat(by_row));
  return {dq.unsqueeze(0), dk.unsqueeze(0), dv.unsqueeze(0), Tensor()};
}

TORCH_LIBRARY_IMPL(aten, CUDA, operations) {
  operations.impl("_flash_attention_forward", &flash_forward);
  operations.impl("_flash_attention_backward", &flash_backward);
  operations.impl("_efficient_attention_forward", &efficient_forward);
  operations.impl("_efficient_attention_backward", &efficient_backward);
}

}  // namespace
}  // namespace peft4j::host_devices
