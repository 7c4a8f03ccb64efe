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

constexpr int64_t kAtOnce = 2048;

template <class A>
inline Vec<A> normal_cdf(const Vec<A>& x) {
  return (Vec<A>(A(1)) + (x * Vec<A>(A(M_SQRT1_2))).erf()) * Vec<A>(A(0.5));
}

template <class A>
inline Vec<A> gelu_slope(const Vec<A>& x) {
  const Vec<A> square = x * x * Vec<A>(A(-0.5));
  return at::vec::fmadd(x * Vec<A>(A(0.5 * M_SQRT1_2 * M_2_SQRTPI)), fast_exp(square), normal_cdf(x));
}

// out[i] = f(x[i], dy[i]) over all elements; dy may be null
template <class T, class A, class F>
void map(const ElementwiseParams& p, F f) {
  constexpr int W = Vec<A>::size();
  const int64_t n = p.rows * p.columns;
  at::parallel_for(0, (n + kAtOnce - 1) / kAtOnce, 8, [&](int64_t begin, int64_t end) {
    alignas(64) A x[kAtOnce], dy[kAtOnce];
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kAtOnce, count = std::min(kAtOnce, n - first);
      load_row(x, static_cast<const T*>(p.x) + first, count);
      if (p.dy != nullptr) {
        load_row(dy, static_cast<const T*>(p.dy) + first, count);
      }
      // Whole vectors: the buffers are longer than count, what lies behind it is not stored.
      std::fill(x + count, x + std::min(kAtOnce, (count + W - 1) / W * W), A(0));
      std::fill(dy + (p.dy != nullptr ? count : 0), dy + std::min(kAtOnce, (count + W - 1) / W * W), A(0));
      for (int64_t i = 0; i < count; i += W) {
        f(Vec<A>::loadu(x + i), Vec<A>::loadu(dy + i)).store(x + i);
      }
      store_row(static_cast<T*>(p.out) + first, x, count);
    }
  });
}

template <class T, class A>
void forward(const ElementwiseParams& p) {
  map<T, A>(p, [](const Vec<A>& x, const Vec<A>&) { return x * normal_cdf(x); });
}

template <class T, class A>
void backward(const ElementwiseParams& p) {
  map<T, A>(p, [](const Vec<A>& x, const Vec<A>& dy) { return dy * gelu_slope(x); });
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
    case at::kDouble: return forward<double, double>(p);
    case at::kFloat: return forward<float, float>(p);
    default: return forward<c10::BFloat16, float>(p);
  }
}

void gelu_backward(const ElementwiseParams& p) {
  switch (p.dtype) {
    case at::kDouble: return backward<double, double>(p);
    case at::kFloat: return backward<float, float>(p);
    default: return backward<c10::BFloat16, float>(p);
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
