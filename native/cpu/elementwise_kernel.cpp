/*
gelu and dropout, CPU: one pass over the bytes.
    gelu(x) = x·Φ(x), Φ(x) = (1 + erf(x/√2))/2;  gelu'(x) = Φ(x) + x·exp(-x²/2)/√(2π)     (Hendrycks & Gimpel 2016)
*/
#include <ATen/Parallel.h>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kAtOnce = 4096;  // elements of a task

// Φ(x) and exp(-x²/2), which the slope needs as well.
template <class A>
inline void normal_cdf(const Vec<A>& x, Vec<A>& cdf, Vec<A>& bell) {
  bell = fast_exp(x * x * Vec<A>(A(-0.5)));
  if constexpr (std::is_same_v<A, double>) {
    cdf = (Vec<A>(1.0) + (x * Vec<A>(M_SQRT1_2)).erf()) * Vec<A>(0.5);
  } else {
    // Abramowitz & Stegun 7.1.26, error of Φ below 1e-7: Φ(-|x|) = bell·t·(a1 + t·(a2 + …))/2, t = 1/(1 + 0.3275911·|x|/√2)
    using at::vec::fmadd;
    using V = Vec<float>;
    const V sign = x & V(-0.0f), t = V(1.0f) / fmadd(x ^ sign, V(0.3275911f * 0.70710678f), V(1.0f));
    V tail = fmadd(t, V(0.5f * 1.061405429f), V(0.5f * -1.453152027f));
    tail = fmadd(t, tail, V(0.5f * 1.421413741f));
    tail = fmadd(t, tail, V(0.5f * -0.284496736f));
    tail = fmadd(t, tail, V(0.5f * 0.254829592f)) * t * bell;
    cdf = V(0.5f) + ((V(0.5f) - tail) ^ sign);
  }
}

struct Gelu {
  template <class A>
  Vec<A> operator()(const Vec<A>& x, const Vec<A>&) const {
    Vec<A> cdf, bell;
    normal_cdf(x, cdf, bell);
    return x * cdf;
  }
};

struct GeluBackward {
  template <class A>
  Vec<A> operator()(const Vec<A>& x, const Vec<A>& dy) const {
    Vec<A> cdf, bell;
    normal_cdf(x, cdf, bell);
    return dy * at::vec::fmadd(x * Vec<A>(A(0.5 * M_SQRT1_2 * M_2_SQRTPI)), bell, cdf);
  }
};

// out[i] = f(x[i], dy[i]) over all elements; without dy f gets x twice
template <class T, class F>
void map(const ElementwiseParams& p, F f) {
  constexpr int W = Vec<T>::size();
  const int64_t n = p.rows * p.columns;
  const T *x = static_cast<const T*>(p.x), *dy = static_cast<const T*>(p.dy == nullptr ? p.x : p.dy);
  T* out = static_cast<T*>(p.out);
  const auto one = [&](int64_t i, int count) {
    const Vec<T> a = Vec<T>::loadu(x + i, count), b = Vec<T>::loadu(dy + i, count);
    if constexpr (std::is_same_v<T, c10::BFloat16>) {
      const auto [a_low, a_high] = at::vec::convert_bfloat16_float(a);
      const auto [b_low, b_high] = at::vec::convert_bfloat16_float(b);
      narrowed(f(a_low, b_low), f(a_high, b_high)).store(out + i, count);
    } else {
      f(a, b).store(out + i, count);
    }
  };
  at::parallel_for(0, (n + kAtOnce - 1) / kAtOnce, 4, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(n, end * kAtOnce);
    int64_t i = begin * kAtOnce;
    for (; i + W <= last; i += W) {
      one(i, W);
    }
    if (i < last) {
      one(i, static_cast<int>(last - i));
    }
  });
}

template <class T, class A>
void drop(const ElementwiseParams& p) {
  at::parallel_for(0, p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> values(p.columns);
    for (int64_t row = begin; row < end; ++row) {
      load_row(values.data(), static_cast<const T*>(p.x) + row * p.columns, p.columns);
      drop_row(values.data(), p.columns, row, 0, p.dropout);
      store_row(static_cast<T*>(p.out) + row * p.columns, values.data(), p.columns);
    }
  });
}

}  // namespace

void gelu_forward(const ElementwiseParams& p) {
  switch (p.dtype) {
    case at::kDouble: return map<double>(p, Gelu());
    case at::kFloat: return map<float>(p, Gelu());
    default: return map<c10::BFloat16>(p, Gelu());
  }
}

void gelu_backward(const ElementwiseParams& p) {
  switch (p.dtype) {
    case at::kDouble: return map<double>(p, GeluBackward());
    case at::kFloat: return map<float>(p, GeluBackward());
    default: return map<c10::BFloat16>(p, GeluBackward());
  }
}

void dropout(const ElementwiseParams& p) {
  switch (p.dtype) {
    case at::kDouble: return drop<double, double>(p);
    case at::kFloat: return drop<float, float>(p);
    default: return drop<c10::BFloat16, float>(p);
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
