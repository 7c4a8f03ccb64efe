/*
lora_shrink: the small product on the way into a LoRA adapter (Hu et al. 2021), and the copy that lets it join the frozen one

    h[t, j] = scale · Σ_c mask(t, c) x[t, c] A[j, c];   y = x        x [T, K], A [r, K]: [x | h] · [W | B]ᵀ is then one product

Bytes: 2 K a row without the copy, 4 K with it (16-bit numbers), and 2 r of h; operations: 2 r K, nothing. So at best a copy's speed:
T 4096, K 4096 are 67 MB, 16 µs at 4.2 TB/s. A comes from the L2 cache: r·K for each block's 32 rows, half of x's bytes for rank 16.

A block has 32 rows; its 8 warps take turns along K, 64 bytes of each row at a time, the next ones on their way meanwhile:
16 KB in flight on a multiprocessor for each of its blocks. Operands go from memory into the lanes as mma wants them
(device/rank.h), so nothing but the warps' sums passes through shared memory. The mask is put on x's registers once, for all
adapters that read x. Sums of the warps are added in their order: the same bits in each run.

float32 without tf32: plain multiplications; a lane adds over its own columns, 16 ranks at a time.
*/
#include "device/rank.h"

namespace peft4j::cuda {
namespace {

constexpr int kRows = 32;

template <class T>
struct Shrink {
  const T* x;
  T* y;
  T* h;
  int64_t x_stride, y_stride, h_stride;
  uint64_t seed;
  int columns;
  bool wide_x, wide_y;
  Table table;
};

// h[32, 16] of a warp.
template <class T>
struct TensorCores {
  float d[2][2][4] = {};  // 16 rows, 8 ranks

  template <class Load>
  PEFT4J_DEVICE void add(const Chunk<T> (&x)[4], const Load& factor) {
    const int g = threadIdx.x % 32 / 4;
    const Chunk<T> a[2] = {factor(g), factor(g + 8)};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      multiply<T>(d[0][n], x[0], x[1], a[n]);
      multiply<T>(d[1][n], x[2], x[3], a[n]);
    }
  }
  PEFT4J_DEVICE void put(float* to) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        to[(g + i / 2 * 8) * kRanks + 8 * n + 2 * t + i % 2] = d[0][n][i];
        to[(g + i / 2 * 8 + 16) * kRanks + 8 * n + 2 * t + i % 2] = d[1][n][i];
      }
    }
  }
};

struct Plain {
  float d[4][kRanks] = {};

  template <class Load>
  PEFT4J_DEVICE void add(const Chunk<float> (&x)[4], const Load& factor) {
#pragma unroll
    for (int j = 0; j < kRanks; ++j) {
      const Chunk<float> a = factor(j);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          d[i][j] += x[i].number(c) * a.number(c);
        }
      }
    }
  }
  PEFT4J_DEVICE void put(float* to) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scatter_sum(d[i]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        to[(g + 8 * i) * kRanks + 4 * t + j] = d[i][j];
      }
    }
  }
};

// F: the factor's type; P: pieces at once.
template <class T, class F, class Sums, int P>
__global__ void __launch_bounds__(kThreads, kBlocks<T, P>) lora_shrink(const __grid_constant__ Shrink<T> p) {
  constexpr int N = Chunk<T>::kSize, kStep = 4 * N;  // columns of a warp
  const Group& group = group_of(p.table);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first = group.begin + (static_cast<int64_t>(blockIdx.x) - group.first_tile) * kRows;
  const Rows<const T> rows(p.x, p.x_stride, first + lane / 4, 8, group.end);
  const Rows<T> copies(p.y, p.y_stride, first + lane / 4, 8, p.y == nullptr ? 0 : group.end);
  Sums sums[P];
  Chunk<T> x[4], next[4];
  load_rows(x, rows, warp * kStep + lane % 4 * N, p.columns, p.wide_x);
  for (int base = warp * kStep; base < p.columns; base += kWarps * kStep) {
    const int column = base + lane % 4 * N;
    load_rows(next, rows, column + kWarps * kStep, p.columns, p.wide_x);
    store_rows(copies, column, p.columns, p.wide_y, x);
    if (group.threshold > 0) {
      drop<T, 1>(x, column, first + lane / 4, 8, p.seed, group.threshold);
    }
#pragma unroll
    for (int i = 0; i < P; ++i) {
      if (i < group.pieces) {
        const Piece& piece = p.table.piece[group.first_piece + i];
        sums[i].add(x, [&](int rank) { return load_factor<T, F>(piece, rank, column, p.columns); });
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[i] = next[i];
    }
  }

  auto* partial = reinterpret_cast<float*>(shared_memory());  // [warps, rows, ranks]
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i >= group.pieces) {
      break;
    }
    __syncthreads();
    sums[i].put(partial + warp * kRows * kRanks);
    __syncthreads();
    const Piece& piece = p.table.piece[group.first_piece + i];
    const float scale = piece.scale * dropout_scale(group.threshold);
    const int width = piece.to - piece.from;
    for (int k = threadIdx.x; k < kRows * width; k += kThreads) {
      const int row = k / width, column = piece.from + k % width, rank = column - piece.column;
      float sum = 0;
      for (int w = 0; w < kWarps && 0 <= rank && rank < piece.rank; ++w) {
        sum += partial[(w * kRows + row) * kRanks + rank];
      }
      if (first + row < group.end) {
        p.h[(first + row) * p.h_stride + column] = from_float<T>(sum * scale);
      }
    }
  }
}

template <class T, class F, class Sums, int Most>
int launch(const peft4j_cuda_lora& p, cudaStream_t stream) {
  const auto* x = static_cast<const T*>(p.x);
  auto *y = static_cast<T*>(p.y), *h = static_cast<T*>(p.h);
  Shrink<T> arguments{x,
                      y,
                      h,
                      p.x_stride,
                      p.y_stride,
                      p.h_stride,
                      p.seed,
                      static_cast<int>(p.columns),
                      packs(x, p.x_stride),
                      packs(y, p.y_stride),
                      {}};
  const auto bands = bands_of(p, {h, p.h_stride, p.h_columns}, piece_of);
  return for_groups(bands, kRows, Most, [&](const Table& table, int pass) {
    arguments.table = table;
    arguments.y = pass == 0 ? y : nullptr;
    constexpr size_t kShared = sizeof(float) * kWarps * kRows * kRanks;
    const dim3 grid(table.tiles);
    return table.most_pieces() <= 1
               ? PEFT4J_LAUNCH((lora_shrink<T, F, Sums, 1>), grid, dim3(kThreads), kShared, stream, arguments)
               : PEFT4J_LAUNCH((lora_shrink<T, F, Sums, Most>), grid, dim3(kThreads), kShared, stream, arguments);
  });
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_lora_shrink(const peft4j_cuda_lora* p, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  return by_dtype(p->dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      return p->tf32 != 0 ? launch<float, float, TensorCores<float>, 4>(*p, s) : launch<float, float, Plain, 1>(*p, s);
    } else {
      return p->factor_dtype == 0 ? launch<T, float, TensorCores<T>, 4>(*p, s) : launch<T, T, TensorCores<T>, 4>(*p, s);
    }
  });
}
