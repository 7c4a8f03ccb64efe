/* token_losses: checks, chunks, autograd and the slow twin (products: loss_head.h, kernels: cuda/cross_entropy.cu, cpu/). */
#include "token_losses.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "checks.h"
#include "cross_entropy.h"
#include "library_product.h"
#include "lora_plan.h"
#include "loss_head.h"
#include "optional.h"
#include "providers.h"
#include "to_device.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kTokenLosses = "token_losses";
constexpr int64_t kIgnored = -100;

// The rows that carry a label.
struct Labelled {
  at::Tensor index;  // [n], where they are; undefined: all rows are
  at::Tensor labels;  // [n]

  int64_t size() const { return labels.size(0); }

  at::Tensor rows_of(const at::Tensor& t) const {
    return !t.defined() ? t : index.defined() ? t.index_select(0, index) : t.contiguous();
  }

  // The same rows among all `rows`, 0 in the others.
  at::Tensor put(const at::Tensor& t, int64_t rows) const {
    if (!index.defined()) {
      return t;
    }
    at::DimVector shape(t.sizes());
    shape[0] = rows;
    return at::zeros(shape, t.options()).index_copy_(0, index, t);
  }
};

// labels lie on the CPU: finding and checking them costs no wait for a device.
Labelled find_labelled(const at::Tensor& labels, at::Device device) {
  const at::Tensor carry = labels.ne(kIgnored).nonzero().squeeze(1);
  const bool all = carry.size(0) == labels.size(0);
  const auto there = [&](const at::Tensor& t) { return to_device(t, at::kLong, device); };
  return all ? Labelled{at::Tensor(), there(labels.contiguous())}
             : Labelled{there(carry), there(labels.index_select(0, carry))};
}

// Of the labelled rows.
struct Rows {
  at::Tensor hidden, low;  // [n, d], and [n, R] or undefined
  at::Tensor labels;  // [n]
};

// Undefined: not wanted. hidden and low as the rows are, set; the others as the head's, of the compute type, added to.
struct Gradients {
  at::Tensor hidden, low, w, bias, b;

  bool any() const { return hidden.defined() || low.defined() || w.defined() || bias.defined() || b.defined(); }
};

// sum += dzᵀ(weights∘rows) for as many columns as the rows have: 16-bit numbers go through a product of their own type.
void add_wide(const at::Tensor& sum, const at::Tensor& dz, const at::Tensor& rows, const at::Tensor& weights) {
  at::Tensor weighted = at::empty_like(rows);
  at::mul_out(weighted, rows, weights);
  if (sum.scalar_type() == dz.scalar_type()) {
    library::add_mm(sum, dz.t(), weighted);
  } else {
    sum.add_(library::mm(dz.t(), weighted));
  }
}

// The same for few columns, in the compute type: a copy in it of few rows at a time. rows undefined: ones.
void add_narrow(const at::Tensor& sum, const at::Tensor& dz, const at::Tensor& rows, const at::Tensor& weights) {
  const int64_t n = dz.size(0), slice = (n + 15) / 16;
  for (int64_t begin = 0; begin < n; begin += slice) {
    const auto part = [&](const at::Tensor& t) {
      return t.narrow(0, begin, std::min(slice, n - begin)).to(sum.scalar_type());
    };
    library::add_mm(sum, part(dz).t(), rows.defined() ? part(rows) * part(weights) : part(weights));
  }
}

// The losses [n] and, as far as they are wanted, gradients: of hidden and low for each row's own loss, of the head for the losses'
// sum weighted by weights [n, 1].
at::Tensor run(const HeadTensors& tensors, const Rows& rows, const LossSettings& settings, Provider provider,
               const Gradients& gradients, const at::Tensor& weights) {
  const int64_t n = rows.hidden.size(0);
  const at::Tensor losses = at::empty({n}, rows.hidden.options().dtype(compute_type(rows.hidden)));
  if (n == 0) {
    return losses;
  }
  const int64_t row_bytes = std::max<int64_t>(1, tensors.out() * rows.hidden.element_size());
  const int64_t most = std::max<int64_t>(1, settings.chunk_bytes / row_bytes), chunks = (n + most - 1) / most;
  const int64_t chunk = (n + chunks - 1) / chunks;  // all of one size, as far as it goes
  const LossHead head(tensors, rows.hidden, chunk);
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t count = std::min(chunk, n - begin);
    const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, begin, count) : t; };
    const at::Tensor hidden = part(rows.hidden), low = part(rows.low), z = head.logits(hidden, low);
    cross_entropy(z, part(rows.labels), part(losses), settings.softcap, settings.label_smoothing, gradients.any(),
                  provider);
    if (gradients.hidden.defined()) {
      head.to_rows(part(gradients.hidden), z);
    }
    if (gradients.low.defined()) {
      head.to_low(part(gradients.low), z);
    }
    if (gradients.w.defined()) {
      add_wide(gradients.w, z, hidden, part(weights));
    }
    if (gradients.b.defined()) {
      add_narrow(gradients.b, z, low, part(weights));
    }
    if (gradients.bias.defined()) {
      add_narrow(gradients.bias.unsqueeze(1), z, at::Tensor(), part(weights));
    }
  }
  return losses;
}

at::Tensor like_if(bool wanted, const at::Tensor& t) {
  return wanted && t.defined() ? at::empty_like(t) : at::Tensor();
}

at::Tensor zeros_if(bool wanted, const at::Tensor& t) {
  return wanted && t.defined() ? at::zeros(t.sizes(), t.options().dtype(compute_type(t))) : at::Tensor();
}

struct HeldSettings : torch::CustomClassHolder {
  HeldSettings(const LossSettings& s, Provider p) : settings(s), provider(p) {}
  LossSettings settings;
  Provider provider;
};

// Which gradients are wanted, of hidden, w, bias, low and b.
struct WantedGradients {
  bool hidden, w, bias, low, b;

  bool of_head() const { return w || bias || b; }
};

struct TokenLosses : torch::autograd::Function<TokenLosses> {
  enum Kept { kDhidden, kDlow, kHidden, kLow, kW, kBias, kB, kIndex, kLabels };

  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden, const std::optional<at::Tensor>& w,
                            const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& low,
                            const std::optional<at::Tensor>& b, const c10::intrusive_ptr<WeightImpl>& frozen,
                            const Labelled& labelled, const LossSettings& settings, Provider provider,
                            const WantedGradients& wanted) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const auto value = [](const std::optional<at::Tensor>& t) { return t.value_or(at::Tensor()); };
    const HeadTensors head{frozen, value(w), value(bias), value(b)};
    const Rows rows{labelled.rows_of(hidden), labelled.rows_of(value(low)), labelled.labels};
    const bool later = wanted.of_head();  // the head's are sums weighted by what only backward knows
    const Gradients gradients{
        like_if(!later && wanted.hidden, rows.hidden), like_if(!later && wanted.low, rows.low), {}, {}, {}};
    const at::Tensor losses = run(head, rows, settings, provider, gradients, at::Tensor());

    variable_list kept(kLabels + 1);
    kept[kDhidden] = gradients.hidden;
    kept[kDlow] = gradients.low;
    kept[kIndex] = labelled.index;
    if (later) {
      kept[kHidden] = hidden;
      kept[kLow] = value(low);
      kept[kW] = head.w;
      kept[kBias] = head.bias;
      kept[kB] = head.b;
      kept[kLabels] = labelled.labels;
      if (frozen) {
        ctx->saved_data["frozen"] = c10::IValue::make_capsule(frozen);
      }
      ctx->saved_data["settings"] = c10::IValue::make_capsule(c10::make_intrusive<HeldSettings>(settings, provider));
    }
    ctx->save_for_backward(kept);
    ctx->saved_data["rows"] = hidden.size(0);
    ctx->saved_data["given"] = c10::List<bool>({w.has_value(), bias.has_value(), low.has_value(), b.has_value()});
    return labelled.put(losses, hidden.size(0));
  }

  static variable_list backward(AutogradContext* ctx, variable_list incoming) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(10);
    if (!incoming[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const Labelled labelled{kept[kIndex], kept[kLabels]};
    const at::Tensor weights = labelled.rows_of(incoming[0]).unsqueeze(1);
    const int64_t rows = ctx->saved_data["rows"].toInt();
    Gradients gradients{kept[kDhidden], kept[kDlow], {}, {}, {}};
    if (ctx->saved_data.count("settings") > 0) {
      gradients = again(ctx, kept, labelled, weights);
    }
    const auto weighted = [&](const at::Tensor& own) {
      if (!own.defined()) {
        return own;
      }
      at::Tensor product = at::empty_like(own);
      at::mul_out(product, own, weights);  // in float32, rounded once
      return labelled.put(product, rows);
    };
    result[0] = weighted(gradients.hidden);
    result[1] = gradients.w;
    result[2] = gradients.bias;
    result[3] = weighted(gradients.low);
    result[4] = gradients.b;
    return result;
  }

 private:
  // The logits once more, with every gradient that is asked for.
  static Gradients again(AutogradContext* ctx, const variable_list& kept, const Labelled& labelled,
                         const at::Tensor& weights) {
    const c10::List<bool> given = ctx->saved_data["given"].toBoolList();
    size_t edge = 0;  // only tensors that were given have one
    const bool of_hidden = ctx->needs_input_grad(edge++);
    const auto next = [&](int i) { return given[i] && ctx->needs_input_grad(edge++); };
    const bool of_w = next(0), of_bias = next(1), of_low = next(2), of_b = next(3);

    const auto frozen = ctx->saved_data.find("frozen");
    const HeadTensors head{frozen == ctx->saved_data.end()
                               ? c10::intrusive_ptr<WeightImpl>()
                               : c10::static_intrusive_pointer_cast<WeightImpl>(frozen->second.toCapsule()),
                           kept[kW], kept[kBias], kept[kB]};
    const auto held = c10::static_intrusive_pointer_cast<HeldSettings>(ctx->saved_data["settings"].toCapsule());
    const Rows rows{labelled.rows_of(kept[kHidden]), labelled.rows_of(kept[kLow]), labelled.labels};
    Gradients gradients{like_if(of_hidden, rows.hidden), like_if(of_low, rows.low), zeros_if(of_w, head.w),
                        zeros_if(of_bias, head.bias), zeros_if(of_b, head.b)};
    if (labelled.size() > 0) {
      // Weights of a mean over many rows are small: float16 products get them as parts of the largest.
      const auto [least, most] = at::aminmax(weights);
      const at::Tensor largest = at::maximum(most, least.neg()).clamp_min(std::numeric_limits<float>::min());
      run(head, rows, held->settings, held->provider, gradients, weights / largest);
      for (at::Tensor* sum : {&gradients.w, &gradients.bias, &gradients.b}) {
        if (sum->defined()) {
          sum->mul_(largest);
        }
      }
    }
    const auto typed = [](at::Tensor& sum, const at::Tensor& as) {
      sum = sum.defined() ? sum.to(as.scalar_type()) : sum;
    };
    typed(gradients.w, head.w);
    typed(gradients.bias, head.bias);
    return gradients;
  }
};

// low [T, R] = scale·dropout(hidden)Aᵀ of the adapters that have rows, side by side, 0 in the other rows, and the B's [V, R] that go
// with it: low bᵀ is what they add to the logits. By operations that are differentiable; undefined if no adapter has rows.
std::pair<at::Tensor, at::Tensor> low_rank(const at::Tensor& hidden, const LowRankUpdates& updates, const Plan& plan) {
  const int64_t rows = hidden.size(0), out = plan.weight->out();
  variable_list low, b;
  for (const RankGroup& group : plan.groups) {
    variable_list a, scales;
    for (const int64_t j : group.adapters) {
      const int64_t first = plan.first_column[plan.adapters[j].part];
      const at::Tensor &own_a = updates.a[j], &own_b = updates.b[j];
      a.push_back(own_a.to(hidden.scalar_type()));
      scales.push_back(at::full({own_a.size(0)}, plan.adapters[j].scale, hidden.options()));
      b.push_back(own_b.size(0) == out ? own_b
                                       : at::constant_pad_nd(own_b, {0, 0, first, out - first - own_b.size(0)}));
    }
    const double p = plan.adapters[group.adapters[0]].dropout;
    const at::Tensor x = (p > 0 ? peft4j::dropout(hidden, p, updates.seed) : hidden).slice(0, group.begin, group.end);
    const at::Tensor h = peft4j::linear(x, at::cat(a, 0), at::Tensor()) * at::cat(scales, 0);
    low.push_back(at::constant_pad_nd(h, {0, 0, group.begin, rows - group.end}));
  }
  return low.empty() ? std::pair<at::Tensor, at::Tensor>() : std::pair{at::cat(low, 1), at::cat(b, 1)};
}

// From logits of all rows, one at:: call after the other; autograd differentiates it.
at::Tensor eager(const at::Tensor& logits, const Labelled& labelled, const LossSettings& settings) {
  at::Tensor z = labelled.rows_of(logits).to(at::kDouble);
  if (settings.softcap > 0) {
    z = settings.softcap * at::tanh(z / settings.softcap);
  }
  const at::Tensor log_p = at::log_softmax(z, 1);
  const at::Tensor losses = -(1 - settings.label_smoothing) * log_p.gather(1, labelled.labels.unsqueeze(1)).squeeze(1) -
                            settings.label_smoothing * log_p.mean(1);
  const at::Tensor all = at::zeros({logits.size(0)}, losses.options());
  return (labelled.index.defined() ? all.index_copy(0, labelled.index, losses) : losses).to(compute_type(logits));
}

// What both kinds of head have in common; V of it.
void check_rows(const at::Tensor& hidden, int64_t classes, const at::Tensor& labels, const LossSettings& settings) {
  TORCH_CHECK(labels.defined(), kTokenLosses, ": labels is undefined");
  check_shape(kTokenLosses, "labels", labels, {hidden.size(0)}, "[T]");
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.is_cpu(), kTokenLosses,
              ": labels must be int64 on the CPU, got ", labels.scalar_type(), " on ", labels.device());
  TORCH_CHECK(settings.softcap >= 0 && std::isfinite(settings.softcap), kTokenLosses,
              ": softcap must be 0 (none) or positive, got ", settings.softcap);
  TORCH_CHECK(settings.label_smoothing >= 0 && settings.label_smoothing < 1, kTokenLosses,
              ": label_smoothing must be in [0, 1), got ", settings.label_smoothing);
  const at::Tensor dense = labels.contiguous();
  const int64_t* label = dense.data_ptr<int64_t>();
  for (int64_t t = 0; t < dense.numel(); ++t) {
    TORCH_CHECK(label[t] == kIgnored || (label[t] >= 0 && label[t] < classes), kTokenLosses, ": label ", t,
                " must be in [0, ", classes, ") or ", kIgnored, " (ignored), got ", label[t]);
  }
}

at::Tensor apply(const at::Tensor& hidden, const HeadTensors& head, const at::Tensor& low, const Labelled& labelled,
                 const LossSettings& settings, Provider provider) {
  const auto trained = [](const at::Tensor& t) {
    return c10::GradMode::is_enabled() && t.defined() && t.requires_grad();
  };
  const WantedGradients wanted{trained(hidden), trained(head.w), trained(head.bias), trained(low), trained(head.b)};
  return TokenLosses::apply(hidden, optional(head.w), optional(head.bias), optional(low), optional(head.b), head.frozen,
                            labelled, settings, provider, wanted);
}

}  // namespace

at::Tensor token_losses(const at::Tensor& hidden, const Weight& weight, const at::Tensor& bias,
                        const LowRankUpdates& updates, const at::Tensor& labels, const LossSettings& settings) {
  check_compute_type(kTokenLosses, "hidden", hidden);
  const auto plan = make_plan(kTokenLosses, "hidden", hidden, weight, bias, updates.a, updates.b, updates.place,
                              updates.scale, updates.dropout, updates.seed);
  check_rows(hidden, weight.out(), labels, settings);
  const Labelled labelled = find_labelled(labels, hidden.device());
  const Provider provider = provider_of(Operation::kTokenLosses, hidden);
  if (provider == Provider::kReference) {
    const variable_list parts = lora_linear(hidden, weight, bias, updates.a, updates.b, updates.place, updates.scale,
                                            updates.dropout, updates.seed);
    return eager(parts.size() == 1 ? parts[0] : at::cat(parts, 1), labelled, settings);
  }
  const auto [low, b] = low_rank(hidden, updates, *plan);
  return apply(hidden, {weight.impl(), at::Tensor(), bias, b}, low, labelled, settings, provider);
}

at::Tensor token_losses(const at::Tensor& hidden, const at::Tensor& w, const at::Tensor& bias, const at::Tensor& labels,
                        const LossSettings& settings) {
  check_linear(kTokenLosses, "hidden", hidden, w, bias);
  check_rows(hidden, w.size(0), labels, settings);
  const Labelled labelled = find_labelled(labels, hidden.device());
  const Provider provider = provider_of(Operation::kTokenLosses, hidden);
  if (provider == Provider::kReference) {
    return eager(peft4j::linear(hidden, w, bias), labelled, settings);
  }
  return apply(hidden, {{}, w, bias, at::Tensor()}, at::Tensor(), labelled, settings, provider);
}

at::Tensor token_losses(const at::Tensor& hidden, const Weight& weight, const at::Tensor& bias,
                        const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, at::IntArrayRef place,
                        at::ArrayRef<double> scale, at::ArrayRef<double> dropout, int64_t seed,
                        const at::Tensor& labels, double softcap, double label_smoothing) {
  return token_losses(hidden, weight, bias, {a, b, place.vec(), scale.vec(), dropout.vec(), seed}, labels,
                      {softcap, label_smoothing});
}

at::Tensor token_losses(const at::Tensor& hidden, const at::Tensor& w, const at::Tensor& bias, const at::Tensor& labels,
                        double softcap, double label_smoothing) {
  return token_losses(hidden, w, bias, labels, {softcap, label_smoothing});
}

}  // namespace peft4j
