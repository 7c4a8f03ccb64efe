#include "reference.h"

#include <ATen/ATen.h>

namespace peft4j::reference {

at::Tensor dropout_mask(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask, int64_t first_row,
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

}  // namespace peft4j::reference
