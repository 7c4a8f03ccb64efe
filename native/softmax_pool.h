#pragma once
#include <ATen/core/Tensor.h>

namespace peft4j {

// What a device's grid and shared memory hold; the caller of softmax_pool checks it.
constexpr int64_t kMostPoolTokens = 8192;
constexpr int64_t kMostPoolWidth = int64_t{1} << 20;

/*
c [S, P, m] = softmax(z wᵀ over the rows of each sequence)ᵀ z by own kernels, 0 for a sequence without rows. Differentiable in z
and w. Its arguments were checked.

z         [rows, m]: of the compute type on a CPU, of any type on a device.
w         [P, m], of the compute type.
begin     [S + 1], the first row of each sequence, then the number of rows: int64 on a CPU, int32 on a device.
longest   the most rows of a sequence.
*/
at::Tensor softmax_pool(const at::Tensor& z, const at::Tensor& w, const at::Tensor& begin, int64_t longest);

}  // namespace peft4j
