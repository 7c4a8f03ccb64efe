/* lm_loss, token_log_probs: checks, chunks, autograd and the slow twin (kernels: cuda/cross_entropy.cu, cpu/). */
#include "lm_loss.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <numeric>

#include "checks.h"
#include "cpu/kernels.h"
#include "library_product.h"
#include "providers.h"
#include "weight.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kIgnored = -100;
constexpr int64_t kSumColumns = 256;  // losses are added in so many columns first

int64_t divide_up(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}

// The rows that carry a label.
struct Labelled {
  at::Tensor index;   // [n], where they are; undefined: all rows are
  at::Tensor labels;  // [n]

  int64_t size() const { return labels.size(0); }

  at::Tensor rows_of(const at::Tensor& hidden) const {
    return index.defined() ? hidden.index_select(0, index) : hidden.contiguous();
  }
};

// labels lie on the CPU: finding and checking them costs no wait for a device.
Labelled find_labelled(const at::Tensor& labels, at::Device device) {
  const at::Tensor carry = labels.ne(kIgnored).nonzero().squeeze(1);
  const bool all = carry.size(0) == labels.size(0);
  const auto there = [&](const at::Tensor& t) { return t.to(device, at::kLong, /*non_blocking=*/true); };
  return all ? Labelled{at::Tensor(), there(labels.contiguous())}
             : Labelled{there(carry), there(labels.index_select(0, carry))};
}

// Products of chunks of rows with W [V, d].
class Head {
 public:
  Head(WeightImpl& weight, const at::Tensor& hidden, int64_t rows) : weight_(weight) {
    if (on_device(hidden)) {
      w_ = weight.dense().to(hidden.scalar_type());
      // A row begins at 16 bytes: products and kernels are fastest so, whatever V is.
      const int64_t pack = 16 / hidden.element_size();
      buffer_ = at::empty({rows, divide_up(weight.out(), pack) * pack}, hidden.options()).narrow(1, 0, weight.out());
    }
  }

  at::Tensor logits(const at::Tensor& rows) const {
    if (!w_.defined()) {
      return weight_.product(rows, at::Tensor());
    }
    const at::Tensor to = buffer_.narrow(0, 0, rows.size(0));
    library::mm_out(to, rows, w_.t());
    return to;
  }

  void gradient(at::Tensor drows, const at::Tensor& dlogits) const {
    if (w_.defined()) {
      library::mm_out(drows, dlogits, w_);
    } else {
      drows.copy_(weight_.transposed_product(dlogits));
    }
  }

 private:
  WeightImpl& weight_;
  at::Tensor w_, buffer_;  // on a device
};

void by_own_kernel(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses,
                   const LossSettings& settings, bool gradient) {
  if (const CudaKernels* cuda = cuda_kernels(logits)) {
    peft4j_cuda_cross_entropy_params p{};
    p.logits = logits.data_ptr();
    p.labels = labels.data_ptr<int64_t>();
    p.loss = losses.data_ptr<float>();
    p.rows = logits.size(0);
    p.columns = logits.size(1);
    p.row_stride = logits.stride(0);
    p.dtype = cuda_dtype(logits);
    p.gradient = gradient;
    p.softcap = static_cast<float>(settings.softcap);
    p.smoothing = static_cast<float>(settings.label_smoothing);
    check_cuda(cuda->cross_entropy(logits, &p), c10::str("cross_entropy of logits ", logits.sizes()));
    return;
  }
  CrossEntropyParams p{};
  p.dtype = logits.scalar_type();
  p.rows = logits.size(0);
  p.columns = logits.size(1);
  p.logits = logits.data_ptr();
  p.row_stride = logits.stride(0);
  p.labels = labels.data_ptr<int64_t>();
  p.softcap = settings.softcap;
  p.smoothing = settings.label_smoothing;
  p.gradient = gradient;
  p.loss = losses.data_ptr();
  cpu_kernels().cross_entropy(p);
}

// The same by at:: calls, for few rows at a time: they make copies in the compute type.
void by_library(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses,
                const LossSettings& settings, bool gradient) {
  const int64_t n = logits.size(0), slice = divide_up(n, 16);
  const double kept = 1 - settings.label_smoothing;
  for (int64_t begin = 0; begin < n; begin += slice) {
    const int64_t count = std::min(slice, n - begin);
    const at::Tensor x = logits.narrow(0, begin, count), label = labels.narrow(0, begin, count).unsqueeze(1);
    at::Tensor z = x.to(losses.scalar_type());
    if (settings.softcap > 0) {
      z = settings.softcap * (z / settings.softcap).tanh();
    }
    const at::Tensor log_sum = z.logsumexp(1, true);
    losses.narrow(0, begin, count)
        .copy_((log_sum - kept * z.gather(1, label) - settings.label_smoothing * z.mean(1, true)).squeeze(1));
    if (gradient) {
      at::Tensor dz = (z - log_sum).exp_();
      dz.sub_(settings.label_smoothing / static_cast<double>(z.size(1)));
      dz.scatter_add_(1, label, at::full(label.sizes(), -kept, dz.options()));
      x.copy_(settings.softcap > 0 ? dz * (1 - (z / settings.softcap).square()) : dz);
    }
  }
}

struct Losses {
  at::Tensor each;   // [n or more], 0 behind the last, compute type
  at::Tensor drows;  // [n, d]: their sum's gradient, if it was asked for
};

Losses run(WeightImpl& weight, const at::Tensor& rows, const at::Tensor& labels, const LossSettings& settings,
           Provider provider, bool gradient) {
  const int64_t n = rows.size(0);
  const Losses result{at::zeros({divide_up(n, kSumColumns) * kSumColumns}, rows.options().dtype(compute_type(rows))),
                      gradient ? at::empty_like(rows) : at::Tensor()};
  if (n == 0) {
    return result;
  }
  const int64_t row_bytes = weight.out() * rows.element_size();
  const int64_t chunks = divide_up(n, std::max<int64_t>(1, settings.chunk_bytes / row_bytes));
  const int64_t chunk = divide_up(n, chunks);  // all of one size, as far as it goes
  const Head head(weight, rows, chunk);
  const auto cross_entropy = provider == Provider::kOwn ? by_own_kernel : by_library;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t count = std::min(chunk, n - begin);
    const at::Tensor logits = head.logits(rows.narrow(0, begin, count));
    cross_entropy(logits, labels.narrow(0, begin, count), result.each.narrow(0, begin, count), settings, gradient);
    if (gradient) {
      head.gradient(result.drows.narrow(0, begin, count), logits);
    }
  }
  return result;
}

// In an order that the number of losses alone decides.
at::Tensor sum_of(const at::Tensor& losses) {
  if (const CudaKernels* cuda = cuda_kernels(losses)) {
    const at::Tensor columns = at::empty({kSumColumns}, losses.options()), sum = at::empty({}, losses.options());
    const auto add = [&](const at::Tensor& to, const at::Tensor& from) {
      check_cuda(cuda->fixed_order_sum(losses, to.data_ptr<float>(), from.data_ptr<float>(), to.numel(),
                                       from.numel() / to.numel(), 0),
                 "fixed_order_sum of losses");
    };
    add(columns, losses);
    add(sum, columns);
    return sum;
  }
  if (!losses.is_cpu()) {
    return losses.sum();
  }
  const at::Tensor wide = losses.to(at::kDouble);
  const double* from = wide.data_ptr<double>();
  return at::scalar_tensor(std::accumulate(from, from + wide.numel(), 0.0), losses.options());
}

struct LmLoss : torch::autograd::Function<LmLoss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const c10::intrusive_ptr<WeightImpl>& weight, const Labelled& labelled,
                            const LossSettings& settings, Provider provider, bool gradient) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const double factor = settings.mean ? 1.0 / static_cast<double>(labelled.size()) : 1.0;
    const Losses losses = run(*weight, labelled.rows_of(hidden), labelled.labels, settings, provider, gradient);
    ctx->save_for_backward({losses.drows, labelled.index});
    ctx->saved_data["rows"] = hidden.size(0);
    ctx->saved_data["factor"] = factor;
    return sum_of(losses.each) * factor;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(6);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &drows = kept[0], &index = kept[1];
    // [1, 1], not a scalar: those are rounded to drows' type before the product.
    const at::Tensor factor = (gradients[0] * ctx->saved_data["factor"].toDouble()).view({1, 1});
    at::Tensor scaled = at::empty_like(drows);
    at::mul_out(scaled, drows, factor);
    result[0] =
        index.defined()
            ? at::zeros({ctx->saved_data["rows"].toInt(), drows.size(1)}, drows.options()).index_copy_(0, index, scaled)
            : scaled;
    return result;
  }
};

// [n] losses of the labelled rows, one at:: call after the other; autograd differentiates it.
at::Tensor eager(const at::Tensor& hidden, const WeightImpl& weight, const Labelled& labelled,
                 const LossSettings& settings) {
  at::Tensor z = at::mm(labelled.rows_of(hidden).to(at::kDouble), weight.dense().to(at::kDouble).t());
  if (settings.softcap > 0) {
    z = settings.softcap * at::tanh(z / settings.softcap);
  }
  const at::Tensor log_p = at::log_softmax(z, 1);
  return -(1 - settings.label_smoothing) * log_p.gather(1, labelled.labels.unsqueeze(1)).squeeze(1) -
         settings.label_smoothing * log_p.mean(1);
}

void check(const char* name, const at::Tensor& hidden, const Weight& weight, const at::Tensor& labels, double softcap) {
  check_compute_type(name, "hidden", hidden);
  TORCH_CHECK(hidden.dim() == 2 && hidden.size(1) == weight.in(), name, ": hidden must have shape [T, ", weight.in(),
              "] (in of the weight), got ", hidden.sizes());
  TORCH_CHECK(hidden.device() == weight.impl()->parts()[0].device(), name, ": hidden is on ", hidden.device(),
              " but the weight on ", weight.impl()->parts()[0].device());
  TORCH_CHECK(labels.defined(), name, ": labels is undefined");
  check_shape(name, "labels", labels, {hidden.size(0)}, "[T]");
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.is_cpu(), name, ": labels must be int64 on the CPU, got ",
              labels.scalar_type(), " on ", labels.device());
  TORCH_CHECK(softcap >= 0 && std::isfinite(softcap), name, ": softcap must be 0 (none) or positive, got ", softcap);
  const at::Tensor dense = labels.contiguous();
  const int64_t* label = dense.data_ptr<int64_t>();
  for (int64_t t = 0; t < dense.numel(); ++t) {
    TORCH_CHECK(label[t] == kIgnored || (label[t] >= 0 && label[t] < weight.out()), name, ": label ", t,
                " must be in [0, ", weight.out(), ") or ", kIgnored, " (ignored), got ", label[t]);
  }
}

}  // namespace

at::Tensor lm_loss(const at::Tensor& hidden, const Weight& weight, const at::Tensor& labels,
                   const LossSettings& settings) {
  check("lm_loss", hidden, weight, labels, settings.softcap);
  TORCH_CHECK(settings.label_smoothing >= 0 && settings.label_smoothing < 1,
              "lm_loss: label_smoothing must be in [0, 1), got ", settings.label_smoothing);
  const Labelled labelled = find_labelled(labels, hidden.device());
  TORCH_CHECK(!settings.mean || labelled.size() > 0, "lm_loss: a mean needs at least one label, all ", labels.size(0),
              " rows are ignored");
  const Provider provider = provider_of(Operation::kLmLoss, hidden);
  if (provider == Provider::kReference) {
    const at::Tensor losses = eager(hidden, *weight.impl(), labelled, settings);
    return (settings.mean ? losses.mean() : losses.sum()).to(compute_type(hidden));
  }
  const bool gradient = hidden.requires_grad() && c10::GradMode::is_enabled();
  return LmLoss::apply(hidden, weight.impl(), labelled, settings, provider, gradient);
}

at::Tensor lm_loss(const at::Tensor& hidden, const Weight& weight, const at::Tensor& labels, double softcap,
                   double label_smoothing, bool mean) {
  return lm_loss(hidden, weight, labels, LossSettings{softcap, label_smoothing, mean});
}

at::Tensor token_log_probs(const at::Tensor& hidden, const Weight& weight, const at::Tensor& labels, double softcap) {
  check("token_log_probs", hidden, weight, labels, softcap);
  c10::NoGradGuard no_grad;
  const Labelled labelled = find_labelled(labels, hidden.device());
  const Provider provider = provider_of(Operation::kLmLoss, hidden);
  const LossSettings settings{softcap, 0, false};
  const at::Tensor losses = provider == Provider::kReference
                                ? eager(hidden, *weight.impl(), labelled, settings).to(compute_type(hidden))
                                : run(*weight.impl(), labelled.rows_of(hidden), labelled.labels, settings, provider,
                                      /*gradient=*/false)
                                      .each.narrow(0, 0, labelled.size());
  return labelled.index.defined()
             ? at::zeros({hidden.size(0)}, losses.options()).index_copy_(0, labelled.index, losses.neg())
             : losses.neg();
}

}  // namespace peft4j
