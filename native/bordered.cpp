#include "bordered.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lora_plan.h"
#include "rank_ops.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kAlignment = 8;  // columns: rows of 16-bit numbers stay 16-byte aligned

uint32_t version_of(const at::Tensor& t) {
  return t.is_inference() ? 0 : static_cast<uint32_t>(t._version());
}

template <class Weak>
bool is(const Weak& weak, const at::Tensor& t) {
  return weak.lock().get() == t.unsafeGetTensorImpl();
}

}  // namespace

// The pair's slot, if it has one whose columns are not taken.
Border::Slot* Border::slot_of(const Pair& pair, const std::vector<int64_t>& taken) {
  for (Slot& slot : slots_) {
    const bool free = std::find(taken.begin(), taken.end(), slot.first) == taken.end();
    if (free && slot.first_output == pair.first_output && is(slot.a, pair.a) && is(slot.b, pair.b)) {
      return &slot;
    }
  }
  return nullptr;
}

void Border::write(Slot& slot, const Pair& pair) {
  m_.narrow(0, outputs_ + slot.first, slot.rank).narrow(1, 0, inputs_).copy_(pair.a);
  const at::Tensor columns = m_.narrow(0, 0, outputs_).narrow(1, inputs_ + slot.first, slot.rank);
  columns.zero_();  // B of another part may have been there
  columns.narrow(0, slot.first_output, pair.b.size(0)).copy_(pair.b);
  slot.a_version = version_of(pair.a);
  slot.b_version = version_of(pair.b);
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
  std::erase_if(slots_, [](const Slot& slot) { return slot.a.expired() || slot.b.expired(); });
  const auto add = [&](const Pair& pair, int64_t first) {
    Slot slot{Identity(pair.a.getIntrusivePtr()),
              Identity(pair.b.getIntrusivePtr()),
              0,
              0,
              first,
              pair.a.size(0),
              pair.first_output};
    write(slot, pair);
    const auto behind = [&](const Slot& other) { return other.first > first; };
    slots_.insert(std::find_if(slots_.begin(), slots_.end(), behind), slot);
  };
  std::vector<int64_t> taken;  // first columns of the pairs so far
  bool fits = m_.defined() && m_.scalar_type() == type;
  for (size_t i = 0; fits && i < pairs.size(); ++i) {
    const Pair& pair = pairs[i];
    if (Slot* slot = slot_of(pair, taken)) {
      if (slot->a_version != version_of(pair.a) || slot->b_version != version_of(pair.b)) {
        write(*slot, pair);
      }
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
    const auto a = slot.a.lock(), b = slot.b.lock();
    if (a && b && std::find(named.begin(), named.end(), slot.first) == named.end()) {
      all.push_back({at::Tensor(a), at::Tensor(b), slot.first_output});
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
    slots_.push_back({Identity(pair.a.getIntrusivePtr()), Identity(pair.b.getIntrusivePtr()), 0, 0, column,
                      pair.a.size(0), pair.first_output});
    write(slots_.back(), pair);
    if (first.size() < pairs.size()) {
      first.push_back(column);
    }
    column += pair.a.size(0);
  }
  return first;
}

namespace {

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
    at::Tensor xh = x, h;
    if (!plan->groups.empty()) {
      xh = at::empty({rows, in + rank}, x.options());
      h = xh.narrow(1, in, rank);
      const RankSegments segments = segments_of(*plan, place.first, -1, [&](int64_t j) {
        return m.narrow(0, out + place.first[j], factors[j].size(0)).narrow(1, 0, in);
      });
      lora_shrink(x, segments, xh.narrow(1, 0, in), h, true);
    }
    const at::Tensor w = m.narrow(0, 0, out).narrow(1, 0, xh.size(1)).t();
    const at::Tensor y = bias ? at::addmm(*bias, xh, w) : at::mm(xh, w);
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
    bool drops = false, wants_a = false, wants_factors = false;
    for (const RankGroup& group : plan.groups) {
      drops |= group.dropout.active();
      for (const int64_t j : group.adapters) {
        wants_a |= ctx->needs_input_grad(1 + j);
        wants_factors |= ctx->needs_input_grad(1 + j) || ctx->needs_input_grad(1 + n + j);
      }
    }
    if (!wants_x && !wants_factors) {
      return gradients;
    }
    const auto new_gradient = [&](int64_t input) {
      if (ctx->needs_input_grad(input)) {
        gradients[input] = at::empty(a[input - 1].sizes(), a[input - 1].options());  // of A, or behind them of B
      }
      return gradients[input];
    };
    const auto a_of = [&](int64_t j) { return m.narrow(0, out + first[j], a[j].size(0)).narrow(1, 0, in); };
    // Without dropout dx is one product with [dy | g]: who computes g copies dy on its way.
    const bool one_product = wants_x && !drops && !plan.groups.empty();
    at::Tensor dyg = dy, g;
    if (!plan.groups.empty()) {
      const at::Tensor all = at::empty({rows, (one_product ? out : 0) + rank}, dy.options());
      g = all.narrow(1, one_product ? out : 0, rank);
      dyg = one_product ? all : dy;
      for (int64_t part = 0; part + 1 < static_cast<int64_t>(plan.first_column.size()); ++part) {
        const int64_t column = plan.first_column[part], width = plan.first_column[part + 1] - column;
        const auto b_of = [&](int64_t j) {
          return m.narrow(0, column, width).narrow(1, in + first[j], a[j].size(0)).t();
        };
        lora_grad_b(dy.narrow(1, column, width),
                    segments_of(plan, first, part, b_of, [&](int64_t j) { return new_gradient(1 + n + j); }), h,
                    one_product ? dyg.narrow(1, column, width) : at::Tensor(), g, part == 0);
      }
    }
    if (wants_a) {
      lora_grad_a(x, g, segments_of(plan, first, -1, a_of, [&](int64_t j) { return new_gradient(1 + j); }));
    }
    if (wants_x) {
      const at::Tensor dx = at::mm(dyg, m.narrow(0, 0, dyg.size(1)).narrow(1, 0, in));
      if (drops) {
        lora_expand(dx, g, segments_of(plan, first, -1, a_of));
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
