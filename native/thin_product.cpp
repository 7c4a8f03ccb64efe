#include "thin_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "cpu/kernels.h"
#include "cuda_library.h"
#include "rows.h"

namespace peft4j::thin {
namespace {

// The kernels' names: h [T, rank] is thin, x [T, columns] wide, m and sum [rank, columns].
RankParams params(const at::Tensor& x, const at::Tensor& h, const at::Tensor& m) {
  RankParams p{};
  p.dtype = x.scalar_type();
  p.rows = x.size(0);
  p.columns = x.size(1);
  p.rank = h.size(1);
  p.x = p.y = x.data_ptr();
  p.row_stride = x.stride(0);
  p.m = m.defined() ? m.data_ptr() : nullptr;
  p.h = h.data_ptr();
  p.h_stride = h.stride(0);
  p.scale = 1;
  return p;
}

at::Tensor rank_shrink(const at::Tensor& x, const at::Tensor& m) {
  at::Tensor h = at::empty({x.size(0), m.size(0)}, x.options());
  cpu_kernels().lora_shrink(params(x, h, m));
  return h;
}

at::Tensor rank_expand(const at::Tensor& h, const at::Tensor& m, const at::Tensor& bias) {
  at::Tensor y = at::empty({h.size(0), m.size(1)}, h.options());
  if (bias.defined()) {
    y.copy_(bias);  // of one row bias.expand() would be the bias itself
  } else {
    y.zero_();
  }
  cpu_kernels().lora_expand(params(y, h, m));
  return y;
}

at::Tensor rank_outer(const at::Tensor& h, const at::Tensor& x) {
  at::Tensor sum = at::empty({h.size(1), x.size(1)}, x.options());
  RankParams p = params(x, h, at::Tensor());
  p.sum = sum.data_ptr();
  cpu_kernels().lora_outer(p);
  return sum;
}

bool few_outputs(const at::Tensor& w) {
  return w.size(0) <= w.size(1);
}

}  // namespace

bool takes(const at::Tensor& x, const at::Tensor& w) {
  const int64_t fewer = std::min(w.size(0), w.size(1));
  return !on_device(x) && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) && 0 < fewer &&
         fewer <= kMost;
}

at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  if (!few_outputs(w)) {
    return rank_expand(with_contiguous_rows(x), w.t().contiguous(), bias);
  }
  const at::Tensor y = rank_shrink(with_contiguous_rows(x), w.contiguous());
  return bias.defined() ? y.add_(bias) : y;
}

at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& w) {
  return few_outputs(w) ? rank_expand(with_contiguous_rows(dy), w.contiguous(), at::Tensor())
                        : rank_shrink(with_contiguous_rows(dy), w.t().contiguous());
}

at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x) {
  return dy.size(1) <= x.size(1) ? rank_outer(with_contiguous_rows(dy), with_contiguous_rows(x))
                                 : rank_outer(with_contiguous_rows(x), with_contiguous_rows(dy)).t().contiguous();
}

}  // namespace peft4j::thin
