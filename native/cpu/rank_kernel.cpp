/*
The rank-r products of LoRA, CPU (cuda/ has the same three):
    lora_shrink   h[t,r]  = scale · Σ_c dropout(x)[t,c] m[r,c]     h of forward (m = A), g of backward (x = dy, m = Bᵀ)
    lora_expand   y[t,c] += dropout(scale · Σ_r h[t,r] m[r,c])     B's part of y (m = Bᵀ), A's part of dx (m = A)
    lora_outer    s[r,c]  = scale · Σ_t h[t,r] dropout(x)[t,c]     dA, and dBᵀ
Each reads x or y once. x is converted and masked in blocks that stay in the first-level cache. Sums over rows run in
row order within a stripe of columns that one thread owns: no partial sums, the same bits for any number of threads.
*/
#include <ATen/Parallel.h>

#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kRows = 48;     // of a block of shrink and expand
constexpr int64_t kStripe = 64;   // columns that one task of outer owns
constexpr int64_t kRowsOuter = 256;
constexpr int64_t kTerms = 128;   // of a sum that one accumulator of shrink takes: rounding grows with its length

// block[i, :] = dropout(x[row + i, first : first + columns])
template <class T, class A>
void load_block(const RankParams& p, A* block, int64_t row, int64_t rows, int64_t first, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    A* to = block + i * columns;
    load_row(to, static_cast<const T*>(p.x) + (row + i) * p.row_stride + first, columns);
    if (p.dropout.active()) {
      drop_row(to, columns, p.first_row + row + i, first, p.dropout);
    }
  }
}

template <class T, class A>
void shrink(const RankParams& p) {
  // mᵀ, rows padded to whole vectors: the inner product wants columns of m as rows.
  constexpr int W = Vec<A>::size();
  const int64_t width = (p.rank + W - 1) / W * W;
  std::vector<A> columns(p.columns * width, A(0));
  const A* m = static_cast<const A*>(p.m);
  for (int64_t r = 0; r < p.rank; ++r) {
    for (int64_t c = 0; c < p.columns; ++c) {
      columns[c * width + r] = m[r * p.columns + c] * static_cast<A>(p.scale);
    }
  }
  const bool in_place = std::is_same_v<T, A> && !p.dropout.active();
  at::parallel_for(0, (p.rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> block(in_place ? 0 : kRows * p.columns), result(kRows * width);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t row = b * kRows, rows = std::min(kRows, p.rows - row);
      const A* x = block.data();
      int64_t stride = p.columns;
      if (in_place) {
        x = static_cast<const A*>(p.x) + row * p.row_stride;
        stride = p.row_stride;
      } else {
        load_block<T>(p, block.data(), row, rows, 0, p.columns);
      }
      for (int64_t c = 0; c < p.columns; c += kTerms) {
        tile_gemm<A>(rows, width, std::min(kTerms, p.columns - c), x + c, stride, 1, columns.data() + c * width, width,
                     result.data(), width, c > 0);
      }
      for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(static_cast<A*>(p.h) + (row + i) * p.h_stride, result.data() + i * width, p.rank * sizeof(A));
      }
    }
  });
}

template <class T, class A>
void expand(const RankParams& p) {
  const A* m = static_cast<const A*>(p.m);
  const bool in_place = std::is_same_v<T, A> && !p.dropout.active();
  at::parallel_for(0, (p.rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> h(kRows * p.rank), block(in_place ? 0 : kRows * p.columns);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t row = b * kRows, rows = std::min(kRows, p.rows - row);
      for (int64_t i = 0; i < rows; ++i) {
        const A* from = static_cast<const A*>(p.h) + (row + i) * p.h_stride;
        for (int64_t r = 0; r < p.rank; ++r) {
          h[i * p.rank + r] = from[r] * static_cast<A>(p.scale);
        }
      }
      T* y = static_cast<T*>(p.y) + row * p.row_stride;
      if (in_place) {
        tile_gemm<A>(rows, p.columns, p.rank, h.data(), p.rank, 1, m, p.columns, reinterpret_cast<A*>(y), p.row_stride,
                     true);
        continue;
      }
      tile_gemm<A>(rows, p.columns, p.rank, h.data(), p.rank, 1, m, p.columns, block.data(), p.columns, false);
      for (int64_t i = 0; i < rows; ++i) {
        A* added = block.data() + i * p.columns;
        if (p.dropout.active()) {
          drop_row(added, p.columns, p.first_row + row + i, 0, p.dropout);
        }
        add_row(y + i * p.row_stride, added, p.columns);
      }
    }
  });
}

template <class T, class A>
void outer(const RankParams& p) {
  at::parallel_for(0, (p.columns + kStripe - 1) / kStripe, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> block(kRowsOuter * kStripe);
    for (int64_t stripe = begin; stripe < end; ++stripe) {
      const int64_t first = stripe * kStripe, columns = std::min(kStripe, p.columns - first);
      A* sum = static_cast<A*>(p.sum) + first;
      for (int64_t r = 0; r < p.rank; ++r) {
        std::fill(sum + r * p.columns, sum + r * p.columns + columns, A(0));
      }
      for (int64_t row = 0; row < p.rows; row += kRowsOuter) {
        const int64_t rows = std::min(kRowsOuter, p.rows - row);
        load_block<T>(p, block.data(), row, rows, first, columns);
        const A* h = static_cast<const A*>(p.h) + row * p.h_stride;
        tile_gemm<A>(p.rank, columns, rows, h, 1, p.h_stride, block.data(), columns, sum, p.columns, true);
      }
      for (int64_t r = 0; r < p.rank; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          sum[r * p.columns + c] *= static_cast<A>(p.scale);
        }
      }
    }
  });
}

}  // namespace

#define PEFT4J_BY_DTYPE(function)                         \
  switch (p.dtype) {                                      \
    case at::kDouble: return function<double, double>(p); \
    case at::kFloat: return function<float, float>(p);    \
    default: return function<c10::BFloat16, float>(p);    \
  }

void lora_shrink(const RankParams& p) {
  PEFT4J_BY_DTYPE(shrink)
}

void lora_expand(const RankParams& p) {
  PEFT4J_BY_DTYPE(expand)
}

void lora_outer(const RankParams& p) {
  PEFT4J_BY_DTYPE(outer)
}

#undef PEFT4J_BY_DTYPE

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
