#include "bordered.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <map>

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

constexpr int64_t kBorderColumns = 8;  // columns: rows of 16-bit numbers stay 16-byte aligned

}  // namespace

// The pair's slot, if it has one whose columns are not taken.
Border::Slot* Border::slot_of(const Pair& pair, const std::vector<int64_t>& taken) {
  for (Slot& slot : slots_) {
    const bool free = std::find(taken.begin(), taken.end(), slot.first) == taken.end();
    if (free && slot.first_output == pair.first_output && slot.a->is_of(pair.a) && slot.b->is_of(pair.b)) {
      return &slot;
    }
  }
  return nullptr;
}

// The pair's place in the border from column `first` of it on, written.
Border::Slot Border::make_slot(const Pair& pair, int64_t first) const {
  const int64_t rank = pair.a.size(0);
  const at::Tensor rows = m_.narrow(0, outputs_ + first, rank).narrow(1, 0, inputs_);
  const at::Tensor columns = m_.narrow(0, 0, outputs_).narrow(1, inputs_ + first, rank);
  columns.zero_();  // B of another part may have been there
  Slot slot{WorkingCopy::make(pair.a, rows),
            WorkingCopy::make(pair.b, columns.narrow(0, pair.first_output, pair.b.size(0))), first, rank,
            pair.first_output};
  slot.a->write_if_changed();
  slot.b->write_if_changed();
  return slot;
}

// The first run of `rank` columns that no slot has, or -1.
int64_t Border::free_columns(int64_t rank) const {
  int64_t first = 0;
  for (const Slot& slot : slots_) {  // sorted by their columns
    if (slot.first - first >= rank) {
      return first;
    }
    first = slot.first + slot.rank;
  }
  return m_.defined() && m_.size(1) - inputs_ - first >= rank ? first : -1;
}

Border::Place Border::find(const std::vector<at::Tensor>& w, const at::Tensor& x, const std::vector<Pair>& pairs) {
  at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(slots_, [](const Slot& slot) { return !slot.a->master().defined() || !slot.b->master().defined(); });
  const auto add = [&](const Pair& pair, int64_t first) {
    const auto behind = [&](const Slot& other) { return other.first > first; };
    slots_.insert(std::find_if(slots_.begin(), slots_.end(), behind), make_slot(pair, first));
  };
  std::vector<int64_t> taken;  // first columns of the pairs so far
  bool fits = m_.defined() && m_.scalar_type() == x.scalar_type();
  for (size_t i = 0; fits && i < pairs.size(); ++i) {
    const Pair& pair = pairs[i];
    if (Slot* slot = slot_of(pair, taken)) {
      slot->a->write_if_changed();
      slot->b->write_if_changed();
      taken.push_back(slot->first);
    } else if (const int64_t first = free_columns(pair.a.size(0)); first >= 0) {
      add(pair, first);
      taken.push_back(first);
    } else {
      fits = false;
    }
  }
  if (!fits) {
    taken = grow(w, x, pairs);
  }
  return {m_, taken};
}

// M anew, with columns for these pairs, then for the others that are alive. Returns the first columns of the former.
std::vector<int64_t> Border::grow(const std::vector<at::Tensor>& w, const at::Tensor& x,
                                  const std::vector<Pair>& pairs) {
  std::vector<Pair> all = pairs;
  std::vector<int64_t> named;
  for (const Pair& pair : pairs) {
    if (const Slot* slot = slot_of(pair, named)) {
      named.push_back(slot->first);
    }
  }
  for (const Slot& slot : slots_) {
    const at::Tensor a = slot.a->master(), b = slot.b->master();
    if (a.defined() && b.defined() && std::find(named.begin(), named.end(), slot.first) == named.end()) {
      all.push_back({a, b, slot.first_output});
    }
  }
  int64_t rank = 0;
  for (const Pair& pair : all) {
    rank += pair.a.size(0);
  }
  rank = (rank + kBorderColumns - 1) / kBorderColumns * kBorderColumns;
  inputs_ = w[0].size(1);
  outputs_ = 0;
  for (const at::Tensor& part : w) {
    outputs_ += part.size(0);
  }
  const bool is_w = rank == 0 && w.size() == 1 && !x.is_cpu() && w[0].device() == x.device() &&
                    w[0].scalar_type() == x.scalar_type() && w[0].is_contiguous();
  at::Tensor next = w[0];
  if (!is_w) {
    next = zero_rows(outputs_ + rank, inputs_ + rank, x);
    int64_t row = 0;
    for (const at::Tensor& part : w) {
      next.narrow(0, row, part.size(0)).narrow(1, 0, inputs_).copy_(part);
      row += part.size(0);
    }
  }
  m_ = next;
  slots_.clear();
  std::vector<int64_t> first;
  int64_t column = 0;
  for (const Pair& pair : all) {
    slots_.push_back(make_slot(pair, column));
    if (first.size() < pairs.size()) {
      first.push_back(column);
    }
    column += pair.a.size(0);
  }
  return first;
}

namespace {

// The products mask∘(g A) of dx, one for each mask; g and A have the ranks of all adapters.
void add_masked(std::vector<Product>& products, const Plan& plan, const std::vector<int64_t>& first,
                const at::Tensor* ranks_of, const at::Tensor& g, const at::Tensor& a) {
  std::map<uint32_t, std::vector<const RankGroup*>> by_mask;
  for (const RankGroup& group : plan.groups) {
    by_mask[group.dropout.threshold].push_back(&group);
  }
  for (const auto& [threshold, of_mask] : by_mask) {
    at::Tensor own_g = g;
    if (by_mask.size() > 1) {  // all columns, so that rows stay aligned; those of other masks are 0
      own_g = at::zeros_like(g);
      for (const RankGroup* group : of_mask) {
        for (const int64_t j : group->adapters) {
          own_g.narrow(1, first[j], ranks_of[j].size(0)).copy_(g.narrow(1, first[j], ranks_of[j].size(0)));
        }
      }
    }
    products.push_back({own_g, a, of_mask[0]->dropout});
  }
}

struct BorderedLinear : torch::autograd::Function<BorderedLinear> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_in, at::TensorList factors,
                               const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = with_contiguous_rows(x_in);
    const int64_t n = plan->adapters.size(), rows = x.size(0), in = x.size(1), out = plan->weight->out();
    std::vector<Border::Pair> pairs;
    for (int64_t j = 0; j < n; ++j) {
      pairs.push_back({factors[j], factors[n + j], plan->first_column[plan->adapters[j].part]});
    }
    const Border::Place place = plan->weight->bordered(x, pairs);
    const at::Tensor& m = place.m;
    const int64_t rank = m.size(1) - in;
    const bool own = plan->gemm != Gemm::kLibrary;  // then x and h need not lie side by side
    at::Tensor xh = x, h;
    bool beside = false;  // h's memory is x's
    if (!plan->groups.empty()) {
      at::Tensor copy;
      if (own) {
        h = at::empty({rows, rank}, x.options());
      } else {
        const Joined both = join(x, rank);
        xh = both.all;
        h = xh.narrow(1, in, rank);
        beside = both.in_place;
        copy = beside ? copy : xh.narrow(1, 0, in);
      }
      const RankSegments segments = segments_of(*plan, place.first, -1, [&](int64_t j) {
        return m.narrow(0, out + place.first[j], factors[j].size(0)).narrow(1, 0, in);
      });
      lora_shrink(x, segments, copy, h, true);
    }
    const at::Tensor w = m.narrow(0, 0, out);
    std::vector<Product> products = {{xh, w.narrow(1, 0, xh.size(1)).t()}};
    if (own && h.defined()) {
      products.push_back({h, w.narrow(1, in, rank).t()});
    }
    const at::Tensor y = dual_gemm(products, bias.value_or(at::Tensor()), plan->gemm);
    ctx->saved_data["first"] = place.first;
    const at::Tensor of_backward = kept_x(x, factors);
    const bool alone = h.defined() && !(beside && of_backward.defined());  // then [x | h] may go
    return keep(ctx, {of_backward, m, alone ? h.contiguous() : h}, factors, bias, plan, y);
  }

  static variable_list backward(AutogradContext* ctx, variable_list dys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Kept kept(ctx, dys);
    if (!kept.dy.defined() || (!kept.wants_x && !kept.wants_any_factor())) {
      return kept.gradients;
    }
    const Plan& plan = *kept.plan;
    const at::Tensor &x = kept.own[0], &m = kept.own[1], &h = kept.own[2], &dy = kept.dy;
    const int64_t rows = dy.size(0), out = plan.weight->out(), in = plan.weight->in(), rank = m.size(1) - in;
    const std::vector<int64_t> first = ctx->saved_data["first"].toIntVector();
    const bool drops = std::any_of(plan.groups.begin(), plan.groups.end(),
                                   [](const RankGroup& group) { return group.dropout.active(); });
    const auto a_of = [&](int64_t j) { return m.narrow(0, out + first[j], kept.a[j].size(0)).narrow(1, 0, in); };
    // Without dropout dx is one product with [dy | g]: who computes g copies dy on its way.
    const bool own = plan.gemm != Gemm::kLibrary, one_product = kept.wants_x && !drops && !plan.groups.empty() && !own;
    at::Tensor dyg = dy, g;
    if (!plan.groups.empty()) {
      at::Tensor copy;
      if (one_product) {
        const Joined both = join(dy, rank);
        dyg = both.all;
        g = dyg.narrow(1, out, rank);
        copy = both.in_place ? copy : dyg.narrow(1, 0, out);
      } else {
        g = at::empty({rows, rank}, dy.options());
      }
      for (int64_t part = 0; part + 1 < static_cast<int64_t>(plan.first_column.size()); ++part) {
        const int64_t column = plan.first_column[part], width = plan.first_column[part + 1] - column;
        const auto b_of = [&](int64_t j) {
          return m.narrow(0, column, width).narrow(1, in + first[j], kept.a[j].size(0)).t();
        };
        lora_grad_b(dy.narrow(1, column, width),
                    segments_of(plan, first, part, b_of, [&](int64_t j) { return kept.new_db(j); }), h,
                    copy.defined() ? copy.narrow(1, column, width) : copy, g, part == 0);
      }
    }
    if (kept.wants_any_a()) {
      lora_grad_a(x, g, segments_of(plan, first, -1, a_of, [&](int64_t j) { return kept.new_da(j); }));
    }
    if (kept.wants_x) {
      const at::Tensor w = m.narrow(1, 0, in);
      std::vector<Product> products = {{dyg, w.narrow(0, 0, dyg.size(1))}};
      if (own && !plan.groups.empty()) {
        add_masked(products, plan, first, kept.a.data(), g, w.narrow(0, out, rank));
      }
      const at::Tensor dx = dual_gemm(products, at::Tensor(), plan.gemm);
      if (drops && !own) {
        lora_expand(dx, g, segments_of(plan, first, -1, a_of));
      }
      kept.dx() = dx;
    }
    return kept.gradients;
  }
};

}  // namespace

variable_list lora_linear_bordered(const at::Tensor& x, const at::Tensor& bias, const variable_list& a,
                                   const variable_list& b, const std::shared_ptr<Plan>& plan) {
  variable_list factors = a;
  factors.insert(factors.end(), b.begin(), b.end());
  return BorderedLinear::apply(x, at::TensorList(factors), optional(bias), plan);
}

}  // namespace peft4j
