/*
lora_linear: frozen product + rank-r updates, one autograd node (contract: peft4j.h)

Adapters that apply to the same rows with the same dropout form a rank group: their A's are stacked, so x is read once
for all of them (query and value of one attention block, for example). With M = stacked A's [R, in]:
    forward   y = xWᵀ + bias;   h = dropout(x) Mᵀ [rows, R];   y_i += scale·h_j B_jᵀ
    backward  g_j = scale·dy_i B_j;   dB_j = scale·dy_iᵀ h_j;   dM = gᵀ dropout(x);   dx = dy W + mask∘(g M)
Kept for backward: x (only if an A is trained), h, the factors. Neither the mask nor dropout(x).
*/
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "bordered.h"
#include "cpu/kernels.h"
#include "cuda_library.h"
#include "dual_gemm.h"
#include "lora_autograd.h"
#include "lora_plan.h"
#include "lora_segments.h"
#include "optional.h"
#include "peft4j.h"
#include "providers.h"
#include "reference.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The A's of a group, stacked; a single one is taken as it is.
at::Tensor stacked(const RankGroup& group, const at::Tensor* a) {
  if (group.adapters.size() == 1) {
    return a[group.adapters[0]].contiguous();
  }
  variable_list all;
  for (const int64_t j : group.adapters) {
    all.push_back(a[j]);
  }
  return at::cat(all, 0);
}

RankParams rank_params(const RankGroup& group, const at::Tensor& x, int64_t first_column, int64_t columns,
                       const at::Tensor& m, const at::Tensor& h, int64_t first_rank) {
  RankParams p{};
  p.dtype = x.scalar_type();
  p.rows = group.end - group.begin;
  p.columns = columns;
  p.rank = m.defined() ? m.size(0) : 0;
  p.row_stride = x.stride(0);
  const int64_t at = (group.begin * x.stride(0) + first_column) * x.element_size();
  p.x = p.y = static_cast<char*>(x.data_ptr()) + at;
  p.m = m.defined() ? m.data_ptr() : nullptr;
  p.h = static_cast<char*>(h.data_ptr()) + first_rank * h.element_size();
  p.h_stride = h.stride(0);
  p.scale = 1;
  p.first_row = group.begin;
  return p;
}

// Rows of each adapter up to which they are computed one by one.
constexpr int64_t kRowsOneByOne = 8;

// Whether each adapter acts on few rows, as in a step of generation. Gradients do not ask for another way: what is recomputed
// for them is the same bits.
bool one_by_one(const Plan& plan) {
  return !plan.groups.empty() && std::all_of(plan.groups.begin(), plan.groups.end(), [](const RankGroup& group) {
    return group.end - group.begin <= kRowsOneByOne && !group.dropout.active();
  });
}

// h of a group, or nothing where nothing is kept for backward.
at::Tensor kept_h(const RankGroup& group, at::TensorList factors, bool keeps) {
  return keeps ? at::empty({group.end - group.begin, group.rank}, factors[group.adapters[0]].options()) : at::Tensor();
}

// Adds the updates to y; h of each group is written where it is defined.
void add_one_by_one(const at::Tensor& y, const at::Tensor& x, const Plan& plan, at::TensorList factors,
                    at::TensorList h) {
  const size_t n = factors.size() / 2;
  std::vector<RankRows> updates;
  updates.reserve(n);
  variable_list copies;
  const auto data_of = [&](const at::Tensor& factor) {
    if (factor.is_contiguous()) {
      return factor.const_data_ptr();
    }
    copies.push_back(factor.contiguous());
    return copies.back().const_data_ptr();
  };
  for (size_t k = 0; k < plan.groups.size(); ++k) {
    const RankGroup& group = plan.groups[k];
    for (size_t i = 0; i < group.adapters.size(); ++i) {
      const int64_t j = group.adapters[i];
      const at::Tensor &a = factors[j], &b = factors[n + j];
      char* to = h[k].defined() ? static_cast<char*>(h[k].data_ptr()) + group.first[i] * h[k].element_size() : nullptr;
      updates.push_back({group.begin, group.end, a.size(0), plan.first_column[plan.adapters[j].part], b.size(0),
                         data_of(a), data_of(b), plan.adapters[j].scale, to, group.rank});
    }
  }
  cpu_kernels().lora_rows({x.scalar_type(), x.size(0), x.size(1), x.stride(0), y.stride(0), x.data_ptr(), y.data_ptr(),
                           updates.data(), static_cast<int64_t>(updates.size())});
}

// The result [T, out]; h of each group is added to `kept` if `keeps`.
at::Tensor compute(const at::Tensor& x, at::TensorList factors, const at::Tensor& bias, const Plan& plan, bool keeps,
                   variable_list& kept) {
  at::Tensor y = plan.weight->product(x, bias);
  const size_t n = factors.size() / 2;
  if (one_by_one(plan)) {
    variable_list h;
    for (const RankGroup& group : plan.groups) {
      h.push_back(kept_h(group, factors, keeps));
    }
    add_one_by_one(y, x, plan, factors, h);
    kept.insert(kept.end(), h.begin(), h.end());
    return y;
  }
  for (const RankGroup& group : plan.groups) {
    const at::Tensor m = stacked(group, factors.data());
    at::Tensor h = kept_h(group, factors, true);
    RankParams p = rank_params(group, x, 0, x.size(1), m, h, 0);
    p.dropout = group.dropout;
    cpu_kernels().lora_shrink(p);
    for (size_t i = 0; i < group.adapters.size(); ++i) {
      const Adapter& adapter = plan.adapters[group.adapters[i]];
      const at::Tensor bt = factors[n + group.adapters[i]].t().contiguous();
      RankParams e = rank_params(group, y, plan.first_column[adapter.part], bt.size(1), bt, h, group.first[i]);
      e.scale = adapter.scale;
      cpu_kernels().lora_expand(e);
    }
    kept.push_back(h);
  }
  return y;
}

struct LoraLinear : torch::autograd::Function<LoraLinear> {
  // Function takes lists only as TensorList and undefined tensors only as optional: else they are no variables to it.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_in, at::TensorList factors,
                               const std::optional<at::Tensor>& bias, const std::shared_ptr<Plan>& plan) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = x_in.contiguous();
    variable_list own{kept_x(x, factors)};  // and h of each group
    const at::Tensor y = compute(x, factors, bias.value_or(at::Tensor()), *plan, true, own);
    return keep(ctx, own, factors, bias, plan, y);
  }

  static variable_list backward(AutogradContext* ctx, variable_list dys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Kept kept(ctx, dys);
    if (!kept.dy.defined()) {
      return kept.gradients;
    }
    const Plan& plan = *kept.plan;
    const at::Tensor &x = kept.own[0], *h = kept.own.data() + 1, &dy = kept.dy;
    if (kept.wants_x) {
      kept.dx() = plan.weight->transposed_product(dy);
    }
    for (size_t k = 0; k < plan.groups.size(); ++k) {
      const RankGroup& group = plan.groups[k];
      at::Tensor g = at::empty_like(h[k]);
      bool wants_a = false;
      for (size_t i = 0; i < group.adapters.size(); ++i) {
        const int64_t j = group.adapters[i];
        const Adapter& adapter = plan.adapters[j];
        const int64_t first = plan.first_column[adapter.part], rank = kept.a[j].size(0);
        const at::Tensor bt = kept.b[j].t().contiguous();
        RankParams p = rank_params(group, dy, first, bt.size(1), bt, g, group.first[i]);
        p.scale = adapter.scale;
        cpu_kernels().lora_shrink(p);
        if (kept.wants_b[j]) {
          at::Tensor dbt = at::empty({rank, bt.size(1)}, bt.options());
          RankParams o = rank_params(group, dy, first, bt.size(1), bt, h[k], group.first[i]);
          o.sum = dbt.data_ptr();
          o.scale = adapter.scale;
          cpu_kernels().lora_outer(o);
          kept.db(j) = dbt.t().contiguous();
        }
        wants_a |= kept.wants_a[j];
      }
      const at::Tensor m = wants_a || kept.wants_x ? stacked(group, kept.a.data()) : at::Tensor();
      if (wants_a) {
        at::Tensor dm = at::empty_like(m);
        RankParams o = rank_params(group, x, 0, x.size(1), m, g, 0);
        o.dropout = group.dropout;
        o.sum = dm.data_ptr();
        cpu_kernels().lora_outer(o);
        for (size_t i = 0; i < group.adapters.size(); ++i) {
          const int64_t j = group.adapters[i];
          // A copy where several share dm: a gradient that is kept must not keep its neighbours.
          kept.da(j) = group.adapters.size() == 1 ? dm : dm.narrow(0, group.first[i], kept.a[j].size(0)).clone();
        }
      }
      if (kept.wants_x) {
        RankParams e = rank_params(group, kept.dx(), 0, kept.dx().size(1), m, g, 0);
        e.dropout = group.dropout;
        cpu_kernels().lora_expand(e);
      }
    }
    return kept.gradients;
  }
};

// The formula, one at:: call after the other; autograd differentiates it.
variable_list eager(const at::Tensor& x_in, const at::Tensor& bias, const variable_list& a, const variable_list& b,
                    const Plan& plan) {
  constexpr at::ScalarType type = at::kDouble;
  const at::Tensor x = x_in.to(type);
  at::Tensor y = at::mm(x, plan.weight->dense_for(x_in).to(type).t());
  if (bias.defined()) {
    y = y + bias.to(type);
  }
  variable_list parts;
  for (size_t i = 0; i + 1 < plan.first_column.size(); ++i) {
    at::Tensor part = y.narrow(1, plan.first_column[i], plan.first_column[i + 1] - plan.first_column[i]);
    for (const RankGroup& group : plan.groups) {
      for (const int64_t j : group.adapters) {
        const Adapter& adapter = plan.adapters[j];
        if (adapter.part != static_cast<int64_t>(i) || adapter.begin == adapter.end) {
          continue;
        }
        at::Tensor rows = x.narrow(0, adapter.begin, adapter.end - adapter.begin);
        if (group.dropout.active()) {
          rows = rows * reference::dropout_mask(rows, rows.size(0), rows.size(1), group.dropout, adapter.begin);
        }
        const at::Tensor update = at::mm(at::mm(rows, a[j].to(type).t()), b[j].to(type).t()) * adapter.scale;
        part = part + at::constant_pad_nd(update, {0, 0, adapter.begin, x.size(0) - adapter.end});
      }
    }
    parts.push_back(part.to(x_in.scalar_type()));
  }
  return parts;
}

}  // namespace

std::vector<at::Tensor> lora_linear(const at::Tensor& x, const Weight& weight, const at::Tensor& bias,
                                    const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                    at::IntArrayRef place, at::ArrayRef<double> scale, at::ArrayRef<double> dropout,
                                    int64_t seed) {
  const std::shared_ptr<Plan> plan = make_plan("lora_linear", "x", x, weight, bias, a, b, place, scale, dropout, seed);
  switch (provider_of(Operation::kLoraLinear, x)) {
    case Provider::kReference: return eager(x, bias, a, b, *plan);
    case Provider::kOwn:
      if (!on_device(x)) {
        break;
      }
      plan->gemm = own_gemm(x);
      [[fallthrough]];
    case Provider::kLibrary:
      return prefers_segments(*plan, a) ? lora_linear_segments(x, bias, a, b, plan)
                                        : lora_linear_bordered(x, bias, a, b, plan);
  }
  variable_list factors = a;
  factors.insert(factors.end(), b.begin(), b.end());
  if (!at::GradMode::is_enabled()) {  // generation: a node of many tensors would cost as much as the updates
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list nothing;
    return parts_of(*plan, compute(x.contiguous(), factors, bias, *plan, false, nothing));
  }
  return LoraLinear::apply(x, at::TensorList(factors), optional(bias), plan);
}

}  // namespace peft4j
