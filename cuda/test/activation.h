#pragma once
/* The activations of peft4j_cuda.h in double. */
#include <cmath>

namespace peft4j::cuda::test {

inline double activation(int number, double x) {
  switch (number) {
    case 0: return x / (1 + std::exp(-x));
    case 1: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case 2: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default: return std::max(x, 0.0);
  }
}

inline double activation_slope(int number, double x) {
  constexpr double step = 1e-6;
  return number == 3 ? x > 0 : (activation(number, x + step) - activation(number, x - step)) / (2 * step);
}

}  // namespace peft4j::cuda::test
