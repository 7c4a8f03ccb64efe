#include "reference.h"

#include <ATen/ATen.h>

namespace peft4j::reference {

at::Tensor dropout_mask(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask, int64_t first_row,
                        int64_t row_step) {
  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  double* to = result.data_ptr<double>();
  uint8_t bytes[16 * kPhiloxLanes];
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < columns; ++c) {
      if (c % 16 == 0) {
        philox_bytes(bytes, 1, static_cast<uint32_t>(c / 16), first_row + i * row_step, mask.seed);
      }
      to[i * columns + c] = bytes[c % 16] < mask.threshold ? 0.0 : mask.scale();
    }
  }
  return result.to(like.options());
}

}  // namespace peft4j::reference
