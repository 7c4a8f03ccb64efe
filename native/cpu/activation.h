#pragma once
/*
Activations and their slopes, as vectors:  y = A::at(x, slope)  gives the value, and the slope by reference.

    Silu       x·σ(x)                                                        σ(x) = 1/(1 + exp(-x))
    Gelu       x·Φ(x), Φ(x) = (1 + erf(x/√2))/2                              (Hendrycks & Gimpel 2016)
    GeluTanh   x·σ(2u), u = √(2/π)·(x + 0.044715·x³), which is x·(1 + tanh u)/2
    Relu       max(x, 0), slope 0 at 0
*/
#include "kernels.h"
#include "vec_math.h"

namespace peft4j {
namespace CPU_CAPABILITY {

// 1/(1 + exp(-x)) by the exponential of -|x|, which is never large.
template <class A>
inline Vec<A> sigmoid(const Vec<A>& x) {
  const Vec<A> one(A(1)), e = fast_exp(x.abs().neg()), positive = one / (one + e);
  return Vec<A>::blendv(positive, e * positive, x < Vec<A>(A(0)));
}

struct Silu {
  template <class A>
  static Vec<A> at(const Vec<A>& x, Vec<A>& slope) {
    const Vec<A> one(A(1)), s = sigmoid(x);
    slope = s * at::vec::fmadd(x, one - s, one);
    return x * s;
  }
};

struct Gelu {
  template <class A>
  static Vec<A> at(const Vec<A>& x, Vec<A>& slope) {
    const Vec<A> bell = fast_exp(x * x * Vec<A>(A(-0.5)));
    Vec<A> cdf;
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
    slope = at::vec::fmadd(x * Vec<A>(A(0.5 * M_SQRT1_2 * M_2_SQRTPI)), bell, cdf);
    return x * cdf;
  }
};

struct GeluTanh {
  template <class A>
  static Vec<A> at(const Vec<A>& x, Vec<A>& slope) {
    const Vec<A> one(A(1)), twice(A(2 * M_SQRT1_2 * M_2_SQRTPI)), cubic(A(0.044715));
    const Vec<A> near = at::vec::clamp(x, Vec<A>(A(-15)), Vec<A>(A(15)));  // beyond σ is 0 or 1, and x³ may be infinite
    const Vec<A> square = cubic * near * near, s = sigmoid(twice * near * (one + square));
    slope = at::vec::fmadd(near * twice * (one + Vec<A>(A(3)) * square), s * (one - s), s);
    return x * s;
  }
};

struct Relu {
  template <class A>
  static Vec<A> at(const Vec<A>& x, Vec<A>& slope) {
    const Vec<A> zero(A(0)), one(A(1));
    slope = Vec<A>::blendv(one, zero, x <= zero);  // NaN stays, and lets the gradient through
    return Vec<A>::blendv(x, zero, x <= zero);
  }
};

// Calls f(A()).
template <class F>
void by_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kSilu: return f(Silu());
    case Activation::kGelu: return f(Gelu());
    case Activation::kGeluTanh: return f(GeluTanh());
    case Activation::kRelu: return f(Relu());
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
