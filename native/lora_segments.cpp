#include "lora_segments.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "dual_gemm.h"
#include "lora_autograd.h"
#include "lora_plan.h"
#include "optional.h"
#include "rank_ops.h"
#include "rows.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRankColumns = 8;  // columns of h: ranks of a row are read several at a time

struct Columns {
  std::vector<int64_t> first;  // of each adapter
  int64_t width = 0;
};

// The first columns that no adapter of a common row has, adapter by adapter.
Columns columns_of(const Plan& plan, const at::Tensor* a) {
  struct Taken {
    int64_t begin, end, first, behind;
  };
  std::vector<Taken> taken;  // sorted by their columns
  Columns columns;
  columns.first.assign(plan.adapters.size(), 0);
  for (const RankGroup& group : plan.groups) {
    std::vector<Taken> common;
    for (const Taken& other : taken) {
      if (other.begin < group.end && group.begin < other.end) {
        common.push_back(other);
      }
    }
    std::sort(common.begin(), common.end(), [](const Taken& s, const Taken& t) { return s.first < t.first; });
    for (const int64_t j : group.adapters) {
      const int64_t rank = (a[j].size(0) + kRankColumns - 1) / kRankColumns * kRankColumns;
      int64_t first = 0;
      auto at = common.begin();
      for (; at != common.end() && at->first < first + rank; ++at) {
        first = std::max(first, at->behind);
      }
      const Taken own{group.begin, group.end, first, first + rank};
      common.insert(at, own);
      taken.push_back(own);
      columns.first[j] = first;
      columns.width = std::max(columns.width, own.behind);
    }
  }
  return columns;
}

struct SegmentLinear : torch::autograd::Function<SegmentLinear> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_in, at::TensorList factors,
                               const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = with_contiguous_rows(x_in);
    const int64_t n = plan->adapters.size(), in = x.size(1), out = plan->weight->out();
    const at::Tensor *a = factors.data(), *b = a + n;
    const at::Tensor w = plan->weight->bordered(x, {}).m.narrow(0, 0, out).narrow(1, 0, in);
    const at::Tensor y = dual_gemm({{x, w.t()}}, bias.value_or(at::Tensor()), plan->gemm);
    const Columns columns = columns_of(*plan, a);
    const at::Tensor h = at::empty({x.size(0), columns.width}, x.options());
    lora_shrink(x, segments_of(*plan, columns.first, -1, [&](int64_t j) { return a[j]; }), at::Tensor(), h, false);
    for (int64_t part = 0; part + 1 < static_cast<int64_t>(plan->first_column.size()); ++part) {
      const int64_t column = plan->first_column[part], width = plan->first_column[part + 1] - column;
      RankSegments segments = segments_of(*plan, columns.first, part, [&](int64_t j) { return b[j].t(); });
      for (RankSegment& s : segments) {
        s.dropout = Dropout();  // x's alone
      }
      lora_expand(y.narrow(1, column, width), h, segments);
    }
    ctx->saved_data["columns"] = columns.first;
    return keep(ctx, {kept_x(x, factors), w, h}, factors, bias, plan, y);
  }

  static variable_list backward(AutogradContext* ctx, variable_list dys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Kept kept(ctx, dys);
    if (!kept.dy.defined() || (!kept.wants_x && !kept.wants_any_factor())) {
      return kept.gradients;
    }
    const Plan& plan = *kept.plan;
    const at::Tensor &x = kept.own[0], &w = kept.own[1], &h = kept.own[2], &dy = kept.dy;
    const std::vector<int64_t> columns = ctx->saved_data["columns"].toIntVector();
    const auto a_of = [&](int64_t j) { return kept.a[j]; };
    const at::Tensor g = at::empty_like(h);
    for (int64_t part = 0; part + 1 < static_cast<int64_t>(plan.first_column.size()); ++part) {
      const int64_t column = plan.first_column[part], width = plan.first_column[part + 1] - column;
      lora_grad_b(
          dy.narrow(1, column, width),
          segments_of(
              plan, columns, part, [&](int64_t j) { return kept.b[j].t(); }, [&](int64_t j) { return kept.new_db(j); }),
          h, at::Tensor(), g, false);
    }
    if (kept.wants_any_a()) {
      lora_grad_a(x, g, segments_of(plan, columns, -1, a_of, [&](int64_t j) { return kept.new_da(j); }));
    }
    if (kept.wants_x) {
      kept.dx() = dual_gemm({{dy, w}}, at::Tensor(), plan.gemm);
      lora_expand(kept.dx(), g, segments_of(plan, columns, -1, a_of));
    }
    return kept.gradients;
  }
};

}  // namespace

bool prefers_segments(const Plan& plan, const variable_list& a) {
  int64_t ranks = 0;
  for (const RankGroup& group : plan.groups) {
    ranks += group.rank;
  }
  return 4 * ranks > plan.weight->in() && plan.groups.size() > 1 && ranks > columns_of(plan, a.data()).width;
}

variable_list lora_linear_segments(const at::Tensor& x, const at::Tensor& bias, const variable_list& a,
                                   const variable_list& b, const std::shared_ptr<Plan>& plan) {
  variable_list factors = a;
  factors.insert(factors.end(), b.begin(), b.end());
  return SegmentLinear::apply(x, at::TensorList(factors), optional(bias), plan);
}

}  // namespace peft4j
