#include "bordered.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>

#include "dual_gemm.h"
#include "lora_plan.h"
#include "rank_ops.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kAlignment = 8;  // columns: rows of 16-bit numbers stay 16-byte aligned

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

Border::Place Border::find(const std::vector<at::Tensor>& w, at::ScalarType type, const std::vector<Pair>& pairs) {
  at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(slots_, [](const Slot& slot) { return !slot.a->master().defined() || !slot.b->master().defined(); });
  const auto add = [&](const Pair& pair, int64_t first) {
    const auto behind = [&](const Slot& other) { return other.first > first; };
    slots_.insert(std::find_if(slots_.begin(), slots_.end(), behind), make_slot(pair, first));
  };
  std::vector<int64_t> taken;  // first columns of the pairs so far
  bool fits = m_.defined() && m_.scalar_type() == type;
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
    taken = grow(w, type, pairs);
  }
  return {m_, taken};
}

// M anew, with columns for these pairs, then for the others that are alive. Returns the first columns of the former.
std::vector<int64_t> Border::grow(const std::vector<at::Tensor>& w, at::ScalarType type,
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
  rank = (rank + kAlignment - 1) / kAlignment * kAlignment;
  inputs_ = w[0].size(1);
  outputs_ = 0;
  for (const at::Tensor& part : w) {
    outputs_ += part.size(0);
  }
  const at::Tensor next = at::zeros({outputs_ + rank, inputs_ + rank}, w[0].options().dtype(type));
  int64_t row = 0;
  for (const at::Tensor& part : w) {
    next.narrow(0, row, part.size(0)).narrow(1, 0, inputs_).copy_(part);
    row += part.size(0);
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

// Adapters of one rank group whose columns lie side by side: one pass over x serves them.
struct Run {
  const RankGroup* group;
  std::vector<int64_t> adapters;
  int64_t first = 0, rank = 0;
  std::vector<double> scale;

  RankRows rows() const { return {group->begin, group->end, group->dropout}; }
};

std::vector<Run> runs_of(const Plan& plan, const std::vector<int64_t>& first, const at::Tensor* a) {
  std::vector<Run> runs;
  for (const RankGroup& group : plan.groups) {
    for (size_t i = 0; i < group.adapters.size(); ++i) {
      const int64_t j = group.adapters[i], rank = a[j].size(0);
      if (i == 0 || runs.back().first + runs.back().rank != first[j]) {
        runs.push_back({&group, {}, first[j], 0, {}});
      }
      Run& run = runs.back();
      run.adapters.push_back(j);
      run.rank += rank;
      run.scale.insert(run.scale.end(), rank, plan.adapters[j].scale);
    }
  }
  return runs;
}

// The products mask∘(g A) of dx, one for each mask; g holds the columns of all runs.
void add_masked(std::vector<Product>& products, const std::vector<Run>& runs, const at::Tensor& g,
                const at::Tensor& a) {
  std::map<uint32_t, std::vector<const Run*>> by_mask;
  for (const Run& run : runs) {
    by_mask[run.group->dropout.threshold].push_back(&run);
  }
  for (const auto& [threshold, of_mask] : by_mask) {
    at::Tensor own_g = g;
    if (by_mask.size() > 1) {  // all columns, so that rows stay aligned; those of other masks are 0
      own_g = at::zeros_like(g);
      for (const Run* run : of_mask) {
        own_g.narrow(1, run->first, run->rank).copy_(g.narrow(1, run->first, run->rank));
      }
    }
    products.push_back({own_g, a, of_mask[0]->group->dropout});
  }
}

struct BorderedLinear : torch::autograd::Function<BorderedLinear> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_in, at::TensorList factors,
                               const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = x_in.contiguous();
    const int64_t n = plan->adapters.size(), rows = x.size(0), in = x.size(1), out = plan->weight->out();
    std::vector<Border::Pair> pairs;
    bool trains_a = false;
    for (int64_t j = 0; j < n; ++j) {
      pairs.push_back({factors[j], factors[n + j], plan->first_column[plan->adapters[j].part]});
      trains_a |= factors[j].requires_grad();
    }
    const Border::Place place = plan->weight->bordered(x.scalar_type(), pairs);
    const at::Tensor& m = place.m;
    const int64_t rank = m.size(1) - in;
    const bool own = plan->own_products;  // then x and h need not lie side by side
    at::Tensor xh = x, h;
    if (!plan->groups.empty()) {
      const at::Tensor all = at::empty({rows, (own ? 0 : in) + rank}, x.options());
      xh = own ? x : all;
      h = all.narrow(1, all.size(1) - rank, rank);
      h.zero_();  // columns of adapters that are not in this call
      bool first = true;
      for (const Run& run : runs_of(*plan, place.first, factors.data())) {
        lora_shrink(x, m.narrow(0, out + run.first, run.rank).narrow(1, 0, in), run.scale, run.rows(),
                    first && !own ? xh.narrow(1, 0, in) : at::Tensor(), h.narrow(1, run.first, run.rank));
        first = false;
      }
    }
    const at::Tensor w = m.narrow(0, 0, out);
    std::vector<Product> products = {{xh, w.narrow(1, 0, xh.size(1)).t()}};
    if (own && h.defined()) {
      products.push_back({h, w.narrow(1, in, rank).t()});
    }
    const at::Tensor y = dual_gemm(products, bias.value_or(at::Tensor()), own);
    variable_list kept{trains_a ? x : at::Tensor(), m, h.defined() ? h.contiguous() : h};
    kept.insert(kept.end(), factors.begin(), factors.end());
    ctx->save_for_backward(kept);
    ctx->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<HeldPlan>(plan));
    ctx->saved_data["first"] = place.first;
    ctx->saved_data["has_bias"] = bias.has_value();
    ctx->saved_data["rows"] = rows;
    return parts_of(*plan, y);
  }

  static variable_list backward(AutogradContext* ctx, variable_list dys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto held = c10::static_intrusive_pointer_cast<HeldPlan>(ctx->saved_data["plan"].toCapsule());
    const Plan& plan = *held->plan;
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &x = kept[0], &m = kept[1], &h = kept[2];
    const int64_t n = plan.adapters.size(), rows = ctx->saved_data["rows"].toInt(), out = plan.weight->out(),
                  in = plan.weight->in(), rank = m.size(1) - in;
    const at::Tensor *a = kept.data() + 3, *b = a + n;
    variable_list gradients(1 + 2 * n + 2);  // of x, A's, B's, bias, plan
    at::Tensor like;
    for (const at::Tensor& dy : dys) {
      like = dy.defined() ? dy : like;
    }
    if (!like.defined()) {
      return gradients;
    }
    const at::Tensor dy = joined(plan, dys, like, rows);
    const bool wants_x = ctx->needs_input_grad(0);
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(1 + 2 * n)) {
      gradients[1 + 2 * n] = dy.sum(0);
    }
    for (int64_t j = 0; j < n; ++j) {  // adapters of no rows
      if (plan.adapters[j].begin == plan.adapters[j].end) {
        gradients[1 + j] = at::zeros_like(a[j]);
        gradients[1 + n + j] = at::zeros_like(b[j]);
      }
    }
    const std::vector<int64_t> first = ctx->saved_data["first"].toIntVector();
    const std::vector<Run> runs = runs_of(plan, first, a);
    bool drops = false, wants_factors = false;
    for (const Run& run : runs) {
      drops |= run.group->dropout.active();
      for (const int64_t j : run.adapters) {
        wants_factors |= ctx->needs_input_grad(1 + j) || ctx->needs_input_grad(1 + n + j);
      }
    }
    if (!wants_x && !wants_factors) {
      return gradients;
    }
    // Without dropout dx is one product with [dy | g]: who computes g copies dy on its way.
    const bool one_product = wants_x && !drops && !runs.empty() && !plan.own_products;
    at::Tensor dyg = dy, g;
    if (!runs.empty()) {
      at::Tensor all = at::empty({rows, (one_product ? out : 0) + rank}, dy.options());
      g = all.narrow(1, one_product ? out : 0, rank);
      g.zero_();
      dyg = one_product ? all : dy;
    }
    std::vector<bool> copied(plan.first_column.size() - 1, !one_product);
    for (const Run& run : runs) {
      for (const int64_t j : run.adapters) {
        const Adapter& adapter = plan.adapters[j];
        const int64_t column = plan.first_column[adapter.part], width = b[j].size(0), r = a[j].size(0);
        const at::Tensor part = dy.narrow(1, column, width);
        const at::Tensor copy = copied[adapter.part] ? at::Tensor() : dyg.narrow(1, column, width);
        copied[adapter.part] = true;
        const bool wants_b = ctx->needs_input_grad(1 + n + j);
        const at::Tensor db =
            lora_grad_b(part, m.narrow(0, column, width).narrow(1, in + first[j], r),
                        std::vector<double>(r, adapter.scale), {run.group->begin, run.group->end, Dropout()},
                        h.narrow(1, first[j], r), copy, g.narrow(1, first[j], r), wants_b);
        if (wants_b) {
          gradients[1 + n + j] = db;
        }
      }
      bool wants_a = false;
      for (const int64_t j : run.adapters) {
        wants_a |= ctx->needs_input_grad(1 + j);
      }
      if (wants_a) {
        const at::Tensor da = lora_grad_a(x, g.narrow(1, run.first, run.rank), run.rows());
        for (const int64_t j : run.adapters) {
          // A copy where several share da: a gradient that is kept must not keep its neighbours.
          gradients[1 + j] = run.adapters.size() == 1 ? da : da.narrow(0, first[j] - run.first, a[j].size(0)).clone();
        }
      }
    }
    if (wants_x) {
      for (size_t i = 0; i < copied.size(); ++i) {
        if (!copied[i]) {
          const int64_t column = plan.first_column[i], width = plan.first_column[i + 1] - column;
          dyg.narrow(1, column, width).copy_(dy.narrow(1, column, width));
        }
      }
      const at::Tensor w = m.narrow(1, 0, in);
      std::vector<Product> products = {{dyg, w.narrow(0, 0, dyg.size(1))}};
      if (plan.own_products && !runs.empty()) {
        add_masked(products, runs, g, w.narrow(0, out, rank));
      }
      const at::Tensor dx = dual_gemm(products, at::Tensor(), plan.own_products);
      for (const Run& run : runs) {
        if (drops && !plan.own_products) {
          lora_expand(dx, g.narrow(1, run.first, run.rank), m.narrow(0, out + run.first, run.rank).narrow(1, 0, in),
                      run.rows());
        }
      }
      gradients[0] = dx;
    }
    return gradients;
  }
};

}  // namespace

variable_list lora_linear_bordered(const at::Tensor& x, const at::Tensor& bias, const variable_list& a,
                                   const variable_list& b, const std::shared_ptr<Plan>& plan) {
  variable_list factors = a;
  factors.insert(factors.end(), b.begin(), b.end());
  return BorderedLinear::apply(x, at::TensorList(factors), bias.defined() ? std::optional(bias) : std::nullopt, plan);
}

}  // namespace peft4j
