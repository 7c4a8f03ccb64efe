/*
cross_entropy, CPU: the loss of each row of logits, and its gradient in their place (formula: cuda/cross_entropy.cu)

A row is walked over in pieces that stay in the first cache: once for its maximum and sum (a larger maximum rescales it), and
once for the gradient. The exponential is taken twice: beside the products before and after it is next to nothing.
*/
#include <ATen/Parallel.h>

#include <limits>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kPiece = 1024;  // columns

template <class T, class A>
class Row {
 public:
  Row(const CrossEntropyParams& p, int64_t row)
      : p_(p), x_(static_cast<T*>(p.logits) + row * p.row_stride), cap_(static_cast<A>(p.softcap)) {}

  // The loss, for one label.
  A loss(int64_t label) {
    A total = 0;
    over_pieces([&](int64_t first, int64_t n) {
      Vec<A> largest(largest_), sums(A(0)), totals(A(0));
      for (int64_t i = 0; i < n; i += W) {
        largest = larger(largest, Vec<A>::loadu(z_ + i));
      }
      const A before = largest_;
      largest_ = largest_lane(largest);
      const Vec<A> origin(this->origin());
      for (int64_t i = 0; i < n; i += W) {
        sums = sums + fast_exp(Vec<A>::loadu(z_ + i) - origin);
      }
      sum_ = sum_ * std::exp(before - this->origin()) + sum_of_lanes(sums);
      if (p_.smoothing > 0) {
        for (int64_t i = 0; i < n; i += W) {
          totals = totals + Vec<A>::loadu(z_ + i, std::min<int64_t>(W, n - i));
        }
        total += sum_of_lanes(totals);
      }
      if (label >= first && label < first + n) {
        z_label_ = z_[label - first];
      }
    });
    const A smoothing = static_cast<A>(p_.smoothing);
    const A smooth = smoothing > 0 ? smoothing * total / static_cast<A>(p_.columns) : 0;
    return origin() + std::log(sum_) - (1 - smoothing) * z_label_ - smooth;
  }

  // After loss(): the gradient takes the logits' place.
  void to_gradient(int64_t label) {
    const Vec<A> origin(this->origin()), share(1 / sum_), one(A(1)), cap(cap_),
        even(static_cast<A>(p_.smoothing / static_cast<double>(p_.columns)));
    over_pieces([&](int64_t first, int64_t n) {
      for (int64_t i = 0; i < n; i += W) {
        const Vec<A> z = Vec<A>::loadu(z_ + i), slope = cap_ > 0 ? one - z / cap * (z / cap) : one;
        ((fast_exp(z - origin) * share - even) * slope).store(z_ + i);
      }
      if (label >= first && label < first + n) {
        const A r = cap_ > 0 ? z_label_ / cap_ : 0;
        z_[label - first] -= static_cast<A>(1 - p_.smoothing) * (1 - r * r);
      }
      store_row(x_ + first, z_, n);
    });
  }

 private:
  static constexpr int64_t W = Vec<A>::size();

  A origin() const { return largest_ == -std::numeric_limits<A>::infinity() ? A(0) : largest_; }

  // f(first, n) with z of columns [first, first + n) in z_, and -∞ behind them up to a whole vector.
  template <class F>
  void over_pieces(F f) {
    for (int64_t first = 0; first < p_.columns; first += kPiece) {
      const int64_t n = std::min(kPiece, p_.columns - first);
      load_row(z_, x_ + first, n);
      if (cap_ > 0) {
        const Vec<A> cap(cap_);
        for (int64_t i = 0; i < n; i += W) {
          (cap * (Vec<A>::loadu(z_ + i) / cap).tanh()).store(z_ + i);
        }
      }
      std::fill(z_ + n, z_ + (n + W - 1) / W * W, -std::numeric_limits<A>::infinity());
      f(first, n);
    }
  }

  const CrossEntropyParams& p_;
  T* x_;
  A cap_;
  A largest_ = -std::numeric_limits<A>::infinity(), sum_ = 0, z_label_ = 0;
  alignas(64) A z_[kPiece] = {};
};

template <class T, class A>
void run(const CrossEntropyParams& p) {
  at::parallel_for(0, p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Row<T, A> row(p, i);
      static_cast<A*>(p.loss)[i] = row.loss(p.labels[i]);
      if (p.gradient) {
        row.to_gradient(p.labels[i]);
      }
    }
  });
}

}  // namespace

void cross_entropy(const CrossEntropyParams& p) {
  switch (p.dtype) {
    case at::kDouble: return run<double, double>(p);
    case at::kFloat: return run<float, float>(p);
    default: return run<c10::BFloat16, float>(p);
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
