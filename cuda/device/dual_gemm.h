#pragma once
/* What the paths of dual_gemm share (dual_gemm.cu has the contract): the order of tiles, the mask and the way out of registers. */
#include "../peft4j_cuda.h"
#include "philox.h"
#include "product.h"

namespace peft4j::cuda {

struct GemmProblem {
  peft4j_cuda_gemm of;  // without its empty pairs; masked 0 where nothing is dropped
  Dropout dropout;

  explicit GemmProblem(const peft4j_cuda_gemm& arguments)
      : of(arguments), dropout(Dropout::of(arguments.seed, arguments.threshold)) {
    of.count = of.masked = 0;
    for (int i = 0; i < arguments.count; ++i) {
      if (arguments.pairs[i].k > 0) {
        of.pairs[of.count++] = arguments.pairs[i];
        of.masked += i < arguments.masked && arguments.threshold > 0 ? 1 : 0;
      }
    }
  }
};

// By wgmma (dual_gemm_sm90a.cu): whether card and operands allow it, and the launch.
bool dual_gemm_sm90a_takes(const peft4j_cuda_gemm& of);
int launch_dual_gemm_sm90a(const GemmProblem& problem, cudaStream_t stream);

// Grouped rasterization: tiles of y in groups of kGroupRows rows of tiles, column by column: tiles that are computed at the same time share rows of x and of w.
struct TileOrder {
  static constexpr int kGroupRows = 16;
  int rows, columns;  // of tiles

  struct Place {
    int row, column;
  };
  PEFT4J_DEVICE Place place(int number) const {
    const int per_group = kGroupRows * columns, first = number / per_group * kGroupRows,
              height = min(kGroupRows, rows - first);
    return {first + number % per_group % height, number % per_group / height};
  }
};

// Which of sums[·][j] to sums[·][j + 3] the mask keeps: bit e of d at 4·(d of the four) + e. In a row four lanes hold the 16 columns
// of a Philox block, lane t those of byte 2t of words 0 and 1, and of words 2 and 3. Of two rows and two blocks each lane makes the
// words of one.
PEFT4J_DEVICE uint32_t kept(int row, int column, const Dropout& dropout) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const uint4 own = mask_words(static_cast<uint32_t>(column / 16 + t / 2), row + t % 2 * 8 + g, dropout.seed);
  uint32_t bits = 0;
#pragma unroll
  for (int from = 0; from < 4; ++from) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // columns 0 to 7 and 8 to 15 of the block
      const uint32_t low = __shfl_sync(kAllLanes, half == 0 ? own.x : own.z, from, 4),
                     high = __shfl_sync(kAllLanes, half == 0 ? own.y : own.w, from, 4);
      const uint32_t bytes = (t < 2 ? low : high) >> t % 2 * 16;
      const int first = 4 * (from / 2 * 2 + half) + from % 2 * 2;
      bits |= (bytes & 255u) >= dropout.threshold ? 1u << first : 0u;
      bits |= (bytes >> 8 & 255u) >= dropout.threshold ? 2u << first : 0u;
    }
  }
  return bits;
}

// sums ∘= mask; they begin at this row and column of y.
template <int M, int N>
PEFT4J_DEVICE void drop(float (&sums)[M][N][4], int row, int column, const Dropout& dropout) {
  constexpr int kStep = N < 8 ? N : 8;
  static_assert(N % 4 == 0 && N % kStep == 0);
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int j = 0; j < N; j += kStep) {
      uint32_t bits = 0;
#pragma unroll 1  // else the words of many blocks fill the registers
      for (int k = 0; k < kStep; k += 4) {
        bits |= kept(row + 16 * i, column + 8 * (j + k), dropout) << 4 * k;
      }
#pragma unroll
      for (int e = 0; e < 4 * kStep; ++e) {
        sums[i][j + e / 4][e % 4] *= (bits >> e & 1) != 0 ? dropout.scale : 0.0f;
      }
    }
  }
}

/*
y (+)= sums + bias, through shared memory of the warp's own, so that y is read and written in whole rows: of 128 bytes, a cache
line, for 64 columns at a time.
*/
template <class T, int M, int N>
struct WayOut {
  static constexpr int kColumns = N < 8 ? 8 * N : 64, kPack = Pack<T>::kSize, kPacks = kColumns / kPack;
  using Staging = Tile<T, kColumns>;
  static constexpr int kElements = Staging::kStride * 16 * M;  // of shared memory

  PEFT4J_DEVICE static void write(const float (&sums)[M][N][4], T* shared, const peft4j_cuda_gemm& of, int row,
                                  int column) {
#pragma unroll
    for (int j = 0; j < N; j += kColumns / 8) {
      if (row < of.t && column + 8 * j < of.n) {
        write_columns(sums, j, Staging{shared}, of, row, column + 8 * j);
      }
    }
  }

 private:
  // The columns from fragment `from` on, which is column `column` of y.
  PEFT4J_DEVICE static void write_columns(const float (&sums)[M][N][4], int from, const Staging& tile,
                                          const peft4j_cuda_gemm& of, int row, int column) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int rows = min(static_cast<int>(of.t) - row, 16 * M),
              columns = min(static_cast<int>(of.n) - column, kColumns);
    T* y = static_cast<T*>(of.y) + row * of.y_stride + column;
    if (of.accumulate != 0) {
      copy_tile<false>(tile, 16 * M, y, of.y_stride, rows, columns, lane, 32);
      __syncwarp();
    }
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
      const int c = 8 * j + 2 * t;
      float bias[2] = {0, 0};
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if (of.bias != nullptr && c + e < columns) {
          bias[e] = to_float(static_cast<const T*>(of.bias)[column + c + e]);
        }
      }
#pragma unroll
      for (int i = 0; i < 2 * M; ++i) {
        const float* d = &sums[i / 2][from + j][i % 2 * 2];
        float sum[2] = {d[0] + bias[0], d[1] + bias[1]};
        auto* pair = reinterpret_cast<Pack<T, 2>*>(tile.at(8 * i + g, c));
        if (of.accumulate != 0) {
          sum[0] += to_float(pair->v[0]);
          sum[1] += to_float(pair->v[1]);
        }
        *pair = {{from_float<T>(sum[0]), from_float<T>(sum[1])}};
      }
    }
    __syncwarp();
    const bool aligned = reinterpret_cast<uintptr_t>(of.y) % 16 == 0 && of.y_stride % kPack == 0;
    const int c = lane % kPacks * kPack, width = min(columns - c, kPack);
    for (int r = lane / kPacks; r < rows; r += 32 / kPacks) {
      const Pack<T> pack = load_pack(tile.at(r, c));
      T* to = y + r * of.y_stride + c;
      if (aligned && width == kPack) {
        write_pack(to, pack);
      } else {
#pragma unroll
        for (int e = 0; e < kPack; ++e) {
          if (e < width) {
            to[e] = pack.v[e];
          }
        }
      }
    }
    __syncwarp();
  }
};

}  // namespace peft4j::cuda
