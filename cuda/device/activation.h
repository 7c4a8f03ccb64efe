#pragma once
/*
Activations and their slopes, in float:  y = A::at(x, slope)  gives the value, and the slope by reference.

    Silu       x·σ(x)                                                        σ(x) = 1/(1 + exp(-x))
    Gelu       x·Φ(x), Φ(x) = (1 + erf(x/√2))/2, to 1e-7 of |x|              (Hendrycks & Gimpel 2016)
    GeluTanh   x·σ(2u), u = √(2/π)·(x + 0.044715·x³), which is x·(1 + tanh u)/2
    Relu       max(x, 0), slope 0 at 0
Errors are absolute ones of float: σ and Φ far below 0 have fewer digits. A slope that nobody reads is not computed.
*/
#include "cuda.h"
#include "numbers.h"

namespace peft4j::cuda {

PEFT4J_DEVICE float sigmoid(float x) {
  return reciprocal_approx(1.0f + exp2_approx(-kLog2E * x));
}

struct Silu {
  PEFT4J_DEVICE static float at(float x, float& slope) {
    const float s = sigmoid(x);
    slope = s * (1.0f + x * (1.0f - s));
    return x * s;
  }
};

struct Gelu {
  PEFT4J_DEVICE static float at(float x, float& slope) {
    // Φ(-|x|) by Abramowitz & Stegun 7.1.26: bell·t·(a1 + t·(a2 + …))/2, t = 1/(1 + 0.3275911·|x|/√2)
    const float bell = exp2_approx(-0.5f * kLog2E * x * x);
    const float t = reciprocal_approx(1.0f + 0.3275911f * 0.70710678f * fabsf(x));
    float tail = 0.5f * 1.061405429f * t - 0.5f * 1.453152027f;
    tail = tail * t + 0.5f * 1.421413741f;
    tail = tail * t - 0.5f * 0.284496736f;
    tail = tail * t + 0.5f * 0.254829592f;
    tail = tail * t * bell;
    const float cdf = x < 0 ? tail : 1.0f - tail;
    slope = cdf + 0.39894228f * x * bell;
    return x * cdf;
  }
};

struct GeluTanh {
  PEFT4J_DEVICE static float at(float x, float& slope) {
    constexpr float kTwice = 2 * 0.79788456f, kCubic = 0.044715f;
    const float near = fminf(fmaxf(x, -15.0f), 15.0f);  // beyond σ is 0 or 1, and x³ may be infinite
    const float s = sigmoid(kTwice * near * (1.0f + kCubic * near * near));
    slope = s + near * s * (1.0f - s) * kTwice * (1.0f + 3 * kCubic * near * near);
    return x * s;
  }
};

struct Relu {
  PEFT4J_DEVICE static float at(float x, float& slope) {
    slope = x <= 0 ? 0.0f : 1.0f;
    return x <= 0 ? 0.0f : x;  // NaN stays
  }
};

// Calls f(A()) for the activation of a number of peft4j_cuda.h.
template <class F>
PEFT4J_DEVICE void by_activation(int activation, const F& f) {
  switch (activation) {
    case 0: return f(Silu());
    case 1: return f(Gelu());
    case 2: return f(GeluTanh());
    default: return f(Relu());
  }
}

}  // namespace peft4j::cuda
