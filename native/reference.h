#pragma once
/* Pieces that the slow twins share. */
#include <ATen/core/Tensor.h>

#include "philox.h"

namespace peft4j::reference {

// [rows, columns] of 0 and mask.scale(), element (i, c) from the mask's row first_row + i·row_step and column first + c.
at::Tensor dropout_mask(const at::Tensor& like, int64_t rows, int64_t columns, const Dropout& mask,
                        int64_t first_row = 0, int64_t row_step = 1);

}  // namespace peft4j::reference
