#include "reference.h"

#include <ATen/ATen.h>

#include "cuda_library.h"

namespace peft4j::reference {

namespace {

at::Tensor cpu_mask(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask, int64_t first_row,
                    int64_t row_step) {
  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  double* to = result.data_ptr<double>();
  std::array<uint32_t, 4> words{};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < columns; ++c) {
      if (c % 16 == 0) {
        words = mask_words(static_cast<uint32_t>(c / 16), first_row + i * row_step, mask.seed);
      }
      const uint32_t byte = words[c % 16 / 4] >> (8 * (c % 4)) & 255;
      to[i * columns + c] = byte < mask.threshold ? 0.0 : mask.scale();
    }
  }
  return result.to(like.options());
}

// The same words by at:: calls, for devices. 32-bit words in int64: products wrap, and the high word is
// masked out of an arithmetic shift.
std::array<at::Tensor, 4> mask_words(const at::Tensor& block, const at::Tensor& row, uint64_t seed) {
  constexpr int64_t kLow = 0xffffffff;
  const auto high = [](const at::Tensor& t) { return t.bitwise_right_shift(32).bitwise_and(kLow); };
  std::array<at::Tensor, 4> c = {block, row.bitwise_and(kLow), high(row), at::zeros_like(block)};
  int64_t key[2] = {static_cast<int64_t>(seed & kLow), static_cast<int64_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const at::Tensor p0 = c[0] * int64_t{kPhiloxMultiplier[0]}, p1 = c[2] * int64_t{kPhiloxMultiplier[1]};
    c = {high(p1).bitwise_xor(c[1]).bitwise_xor(key[0]), p1.bitwise_and(kLow),
         high(p0).bitwise_xor(c[3]).bitwise_xor(key[1]), p0.bitwise_and(kLow)};
    key[0] = (key[0] + kPhiloxKeyStep[0]) & kLow;
    key[1] = (key[1] + kPhiloxKeyStep[1]) & kLow;
  }
  return c;
}

at::Tensor mask_by_at(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask, int64_t first_row,
                      int64_t row_step) {
  const auto options = like.options().dtype(at::kLong);
  const int64_t blocks = (columns + 15) / 16;
  const at::Tensor row = (at::arange(rows, options) * row_step + first_row).unsqueeze(1).expand({rows, blocks});
  const at::Tensor block = at::arange(blocks, options).unsqueeze(0).expand({rows, blocks});
  std::vector<at::Tensor> bytes;
  for (const at::Tensor& word : mask_words(block, row, mask.seed)) {
    for (int i = 0; i < 4; ++i) {
      bytes.push_back(word.bitwise_right_shift(8 * i).bitwise_and(255));
    }
  }
  const at::Tensor all = at::stack(bytes, -1).reshape({rows, blocks * 16}).narrow(1, 0, columns);
  return (all >= static_cast<int64_t>(mask.threshold)).to(like.scalar_type()) * mask.scale();
}

}  // namespace

at::Tensor dropout_mask(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask, int64_t first_row,
                        int64_t row_step) {
  return !on_device(like) ? cpu_mask(like, rows, columns, mask, first_row, row_step)
                          : mask_by_at(like, rows, columns, mask, first_row, row_step);
}

}  // namespace peft4j::reference
