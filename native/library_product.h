#pragma once
/*
Products x·w of matrices by libtorch: every one of ours that may be of 16-bit numbers goes through here, because of what the
library does to them on a CPU.

On processors with AMX, oneDNN (3.12, in libtorch 2.13) reads bfloat16 rows of x in steps of 32 numbers. Where K is no multiple
of 32 and rows have a gap behind them, it reads on into the gap and multiplies what lies there by 0: NaN or infinity in the gap
is NaN in the product. So such an x is made contiguous here, on every processor.

Tried and right as they are, with NaN in every gap: one row; w in any layout; x that is transposed or has gaps between its numbers;
products of batches; libtorch's attention, forward and backward; float16 (no processor of ours had AMX for it, so it is taken
for bfloat16 here). oneDNN's product with a packed w (onednn.h) gets x contiguous anyway.
*/
#include <ATen/core/Tensor.h>

#include "peft4j.h"

namespace peft4j::library {

// x as it is handed over: itself, or without its gaps.
PEFT4J_API at::Tensor left_operand(const at::Tensor& x);

at::Tensor mm(const at::Tensor& x, const at::Tensor& w);  // x w; oneDNN's where that is faster
void mm_out(at::Tensor y, const at::Tensor& x, const at::Tensor& w);  // y = x w
at::Tensor addmm(const at::Tensor& bias, const at::Tensor& x, const at::Tensor& w);  // bias + x w
void add_mm(at::Tensor y, const at::Tensor& x, const at::Tensor& w);  // y += x w

}  // namespace peft4j::library
