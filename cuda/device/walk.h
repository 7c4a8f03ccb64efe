#pragma once
/*
How kernels walk a row [columns] in packs of V numbers: a thread begins at column `first` and takes packs that are `step`
columns apart, Packs of them at most (0: as many as there are).

    Pack<T, V> x[Packs];
    each_pack<V, Packs>(first, step, columns, [&](int i, int64_t c) { x[i] = load_pack<V>(row + c); });
    each_pack<V, Packs>(first, step, columns, [&](int i, int64_t c) { …compute with x[i], store… });

Two walks, because then all loads of a thread are under way before the first is waited for: the compiler may not move a load
over a store that might write there.

Elementwise kernels over [rows, columns] have a Plane of blocks:
    each_plane_row(rows, [&](int64_t row) { each_plane_pack<V>(columns, …); … });
*/
#include <algorithm>
#include <cstdint>

#include "numbers.h"

namespace peft4j::cuda {

template <int V, int Packs, class Index, class F>
PEFT4J_DEVICE void each_pack(Index first, Index step, Index columns, F f) {
  if constexpr (Packs > 0) {
#pragma unroll
    for (int i = 0; i < Packs; ++i) {
      const Index column = first + i * step;
      if (column < columns) {
        f(i, column);
      }
    }
  } else {
    for (Index column = first; column < columns; column += step) {
      f(0, column);
    }
  }
}

constexpr int kPlanePacks = 2, kPlaneThreads = 128;

struct Plane {
  dim3 grid, block;
};

// Host: threads along the columns, as many as there is work for, the rest of a block along the rows.
inline Plane plane(int64_t rows, int64_t columns, int v) {
  const int64_t packs = divide_up(columns, v);
  unsigned x = 1;
  while (x < kPlaneThreads && x * kPlanePacks < packs) {
    x *= 2;
  }
  constexpr int64_t kMostBlocks = 65535;  // along y
  const unsigned y = kPlaneThreads / x;
  return {dim3(static_cast<unsigned>(divide_up(packs, x * kPlanePacks)),
               static_cast<unsigned>(std::min(divide_up(rows, y), kMostBlocks))),
          dim3(x, y)};
}

// Calls f(row) for each row of the thread.
template <class F>
PEFT4J_DEVICE void each_plane_row(int64_t rows, F f) {
  const int64_t first = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y;
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.y;
  for (int64_t row = first; row < rows; row += step) {
    f(row);
  }
}

// Calls f(i, column) for each pack of the thread.
template <int V, class F>
PEFT4J_DEVICE void each_plane_pack(int64_t columns, F f) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kPlanePacks * blockDim.x + threadIdx.x) * V;
  each_pack<V, kPlanePacks>(first, static_cast<int64_t>(blockDim.x) * V, columns, f);
}

}  // namespace peft4j::cuda
