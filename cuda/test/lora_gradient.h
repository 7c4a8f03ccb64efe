#pragma once
/* What the tests of lora_grad_a and lora_grad_b share. */
#include "test/lora.h"

namespace peft4j::cuda::test {

// dA [rank, columns] or, transposed, dB [columns, rank] of a tenant, added to `before` if there is one.
template <class T, class Sum>
std::vector<double> gradient_of(const Tenant& t, const Matrix<T>& x, const Matrix<T>& h, Numbers numbers,
                                bool transposed, uint64_t seed, const std::vector<float>& before) {
  const auto keep = mask(t.end - t.begin, x.columns, t.threshold, seed, t.begin);
  std::vector<double> all(t.rank * x.columns);
  for (int j = 0; j < t.rank; ++j) {
    for (int64_t k = 0; k < x.columns; ++k) {
      Sum sum = 0;
      for (int64_t row = t.begin; row < t.end; ++row) {
        const double factor = keep[(row - t.begin) * x.columns + k];
        const float a = h.at(row, t.column + j), b = x.at(row, k);
        sum += std::is_same_v<Sum, double> ? static_cast<Sum>(factor * a * b)
                                           : static_cast<Sum>(static_cast<float>(factor) *
                                                              (as_operand<T>(a, numbers) * as_operand<T>(b, numbers)));
      }
      const int64_t at = transposed ? k * t.rank + j : j * x.columns + k;
      all[at] = sum + (before.empty() ? 0 : static_cast<Sum>(before[at]));
    }
  }
  return all;
}

// One buffer for each tenant that wants its gradient, or null.
inline std::vector<std::unique_ptr<DeviceBuffer<float>>> gradient_buffers(const Tenants& tenants, int64_t columns,
                                                                          bool add, bool all,
                                                                          std::vector<std::vector<float>>& before) {
  std::vector<std::unique_ptr<DeviceBuffer<float>>> buffers;
  before.clear();
  for (size_t i = 0; i < tenants.all.size(); ++i) {
    const size_t n = tenants.all[i].rank * columns;
    before.push_back(add ? convert<float>(random(n, 500 + i)) : std::vector<float>());
    buffers.push_back(!all && i % 3 == 1 ? nullptr
                      : add              ? std::make_unique<DeviceBuffer<float>>(before.back(), "gradient")
                                         : std::make_unique<DeviceBuffer<float>>(n, "gradient"));
  }
  return buffers;
}

}  // namespace peft4j::cuda::test
