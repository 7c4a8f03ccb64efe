#include "lora_plan.h"

#include <ATen/ATen.h>

#include "checks.h"
#include "rows.h"

namespace peft4j {

std::shared_ptr<Plan> make_plan(const char* operation, const char* name, const at::Tensor& x, const Weight& weight,
                                const at::Tensor& bias, const std::vector<at::Tensor>& a,
                                const std::vector<at::Tensor>& b, at::IntArrayRef place, at::ArrayRef<double> scale,
                                at::ArrayRef<double> dropout, int64_t seed) {
  auto plan = std::make_shared<Plan>();
  plan->weight = weight.impl();
  check_compute_type(operation, name, x);
  TORCH_CHECK(x.dim() == 2 && x.size(1) == weight.in(), operation, ": ", name, " must have shape [T, ", weight.in(),
              "] (in of the weight), got ", x.sizes());
  const at::Device of_weight = plan->weight->device();  // one on the CPU goes where it is used first
  TORCH_CHECK(of_weight.is_cpu() || of_weight == x.device(), operation, ": ", name, " is on ", x.device(),
              " but the weight on ", of_weight);
  const int64_t widest = std::max(weight.in(), weight.out());
  TORCH_CHECK(!on_device(x) || widest <= kMostRankColumns, operation, ": on ", x.device(), " a layer has at most ",
              kMostRankColumns, " inputs and outputs, got ", widest);
  if (bias.defined()) {
    check_shape(operation, "bias", bias, {weight.out()}, "[out]");
    check_like(operation, "bias", bias, name, x);
  }
  const size_t n = a.size();
  TORCH_CHECK(b.size() == n && scale.size() == n && dropout.size() == n && place.size() == 3 * n, operation, ": ", n,
              " A's need as many B's, scales and dropouts and 3 numbers of place each, got ", b.size(), ", ",
              scale.size(), ", ", dropout.size(), " and ", place.size());
  plan->first_column.push_back(0);
  for (const at::Tensor& part : plan->weight->parts()) {
    plan->first_column.push_back(plan->first_column.back() + part.size(0));
  }
  for (size_t j = 0; j < n; ++j) {
    const Adapter adapter{place[3 * j], place[3 * j + 1], place[3 * j + 2], scale[j], dropout[j]};
    const int64_t parts = plan->weight->parts().size();
    TORCH_CHECK(adapter.part >= 0 && adapter.part < parts, operation, ": adapter ", j, " belongs to part ",
                adapter.part, " of a weight with ", parts);
    TORCH_CHECK(0 <= adapter.begin && adapter.begin <= adapter.end && adapter.end <= x.size(0), operation, ": adapter ",
                j, " applies to rows [", adapter.begin, ", ", adapter.end, ") of ", x.size(0));
    const int64_t out = plan->weight->parts()[adapter.part].size(0), rank = a[j].dim() == 2 ? a[j].size(0) : -1;
    TORCH_CHECK(a[j].dim() == 2 && a[j].size(1) == weight.in() && rank > 0, operation, ": A of adapter ", j,
                " must have shape [r, ", weight.in(), "], got ", a[j].sizes());
    check_shape(operation, "B", b[j], {out, rank}, "[out, r]");
    for (const at::Tensor& factor : {a[j], b[j]}) {
      TORCH_CHECK(factor.scalar_type() == compute_type(x), operation, ": A and B must be ", compute_type(x), " for ",
                  name, " of ", x.scalar_type(), ", got ", factor.scalar_type());
      TORCH_CHECK(factor.device() == x.device(), operation, ": ", name, " is on ", x.device(), " but adapter ", j,
                  " is on ", factor.device());
    }
    check_probability(operation, adapter.dropout);
    plan->adapters.push_back(adapter);
    if (adapter.begin == adapter.end) {
      continue;
    }
    const Dropout mask = Dropout::of(adapter.dropout, seed);
    RankGroup* group = nullptr;
    for (RankGroup& g : plan->groups) {
      if (g.begin == adapter.begin && g.end == adapter.end && g.dropout.threshold == mask.threshold) {
        group = &g;
      }
    }
    if (group == nullptr) {
      group = &plan->groups.emplace_back(RankGroup{adapter.begin, adapter.end, mask, {}, {}, 0});
    }
    group->adapters.push_back(j);
    group->first.push_back(group->rank);
    group->rank += rank;
  }
  return plan;
}

at::Tensor joined(const Plan& plan, const std::vector<at::Tensor>& dy, int64_t rows) {
  at::Tensor like;
  for (const at::Tensor& part : dy) {
    like = part.defined() ? part : like;
  }
  if (!like.defined()) {
    return like;
  }
  const size_t parts = dy.size();
  bool adjacent = true;
  for (size_t i = 0; i < parts && adjacent; ++i) {
    adjacent = dy[i].defined() && dy[i].dim() == 2 && dy[i].stride(1) == 1 && dy[i].stride(0) == dy[0].stride(0) &&
               dy[i].storage().is_alias_of(dy[0].storage()) &&
               dy[i].storage_offset() == dy[0].storage_offset() + plan.first_column[i];
  }
  const int64_t out = plan.weight->out();
  if (adjacent && (dy[0].stride(0) == out || (on_device(like) && dy[0].stride(0) > out))) {
    return dy[0].as_strided({rows, out}, {dy[0].stride(0), 1});
  }
  std::vector<at::Tensor> all;
  for (size_t i = 0; i < parts; ++i) {
    all.push_back(dy[i].defined() ? dy[i]
                                  : at::zeros({rows, plan.first_column[i + 1] - plan.first_column[i]}, like.options()));
  }
  if (parts == 1) {
    return all[0].contiguous();
  }
  at::Tensor whole = rows_with_room(rows, out, like);
  at::cat_out(whole, all, 1);
  return whole;
}

std::vector<at::Tensor> parts_of(const Plan& plan, const at::Tensor& y) {
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i + 1 < plan.first_column.size(); ++i) {
    parts.push_back(y.narrow(1, plan.first_column[i], plan.first_column[i + 1] - plan.first_column[i]));
  }
  return parts;
}

}  // namespace peft4j
