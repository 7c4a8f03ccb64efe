#include "rank_ops.h"

#include <ATen/ATen.h>

#include "checks.h"
#include "reference.h"

namespace peft4j {
namespace {

at::Tensor rows_of(const at::Tensor& t, const RankRows& rows) {
  return t.narrow(0, rows.begin, rows.end - rows.begin);
}

at::Tensor masked(const at::Tensor& x, const RankRows& rows) {
  return rows.dropout.active() ? x * reference::dropout_mask(x, x.size(0), x.size(1), rows.dropout, rows.begin) : x;
}

// out = product, scaled by column, for the rows; 0 for the others.
void put(const at::Tensor& out, const RankRows& rows, const at::Tensor& product, const std::vector<double>& scale) {
  out.narrow(0, 0, rows.begin).zero_();
  out.narrow(0, rows.end, out.size(0) - rows.end).zero_();
  const at::Tensor factors = at::tensor(at::ArrayRef<double>(scale)).to(product.options());
  rows_of(out, rows).copy_(product * factors);
}

}  // namespace

void lora_shrink(const at::Tensor& x, const at::Tensor& a, const std::vector<double>& scale, const RankRows& rows,
                 const at::Tensor& copy, const at::Tensor& h) {
  if (copy.defined()) {
    copy.copy_(x);
  }
  put(h, rows, at::mm(masked(rows_of(x, rows), rows), a.t()), scale);
}

at::Tensor lora_grad_b(const at::Tensor& dy, const at::Tensor& b, const std::vector<double>& scale,
                       const RankRows& rows, const at::Tensor& h, const at::Tensor& copy, const at::Tensor& g,
                       bool wants_db) {
  if (copy.defined()) {
    copy.copy_(dy);
  }
  const at::Tensor part = rows_of(dy, rows);
  put(g, rows, at::mm(part, b), scale);
  return wants_db ? at::mm(part.t().to(compute_type(dy)), rows_of(h, rows).to(compute_type(dy))) : at::Tensor();
}

at::Tensor lora_grad_a(const at::Tensor& x, const at::Tensor& g, const RankRows& rows) {
  const at::ScalarType type = compute_type(x);
  return at::mm(rows_of(g, rows).t().to(type), masked(rows_of(x, rows).to(type), rows));
}

void lora_expand(const at::Tensor& y, const at::Tensor& h, const at::Tensor& m, const RankRows& rows) {
  rows_of(y, rows).add_(masked(at::mm(rows_of(h, rows), m), rows));
}

}  // namespace peft4j
