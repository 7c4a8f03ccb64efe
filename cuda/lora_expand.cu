/*
lora_expand: what a LoRA adapter adds, on top of a result that is there

    y[t, c] += mask(t, c) Σ_j h[t, j] M[j, c]        y [T, C], h [T, r]; M = A with h = g: dx under dropout; M = Bᵀ: y by segments

Bytes: 4 C a row (y read and written, 16-bit numbers) and 2 r of h for every 256 columns, from the L2 cache; operations: 2 r C.
So at best a copy's speed. More than 256 ranks (y of float32: 64, plain: 16) take another pass over y.

A warp has 32 columns (float32: 16) and walks down its block's rows, 32 at a time, the next ones on their way meanwhile. Its
part of M stays in registers all the way, so it is read once, element by element, whatever its strides; columns are dealt out so
that a lane's sums belong to the 16 bytes of y that it reads and writes. Nothing passes through shared memory.

float32 without tf32: plain multiplications, M's 16 ranks of a lane's four columns in registers.
*/
#include "device/rank.h"

namespace peft4j::cuda {
namespace {

constexpr int kRows = 256;  // of a block

template <class T, class Y>
struct Expand {
  Y* y;
  const T* h;
  int64_t y_stride, h_stride;
  uint64_t seed;
  int columns;
  bool wide_y, wide_factor_type;  // the factor is float32
  Table table;
};

// 4 ranks of M from `rank` on, at one column.
template <class T, class F>
PEFT4J_DEVICE Words<T, 4> factor_column(const Piece& piece, int rank, int column, int columns) {
  const F* at = column < columns ? static_cast<const F*>(piece.factor) + column * piece.column_stride : nullptr;
  return load_words<T, 4>(at, piece.rank_stride, rank, piece.rank, false);
}

// d[i / 2][n][i % 2 * 2 + e]: column 2n + e of the lane's N in its row i.
template <class T>
struct TensorCores {
  static constexpr int kPairs = Words<T>::kSize / 2;
  Words<T, 4> m[kPairs];

  PEFT4J_DEVICE void load(const Piece& piece, int base, int columns, bool wide_type) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      const int column = base + g / 2 * Words<T>::kSize + 2 * n + g % 2;
      m[n] = wide_type ? factor_column<T, float>(piece, 4 * t, column, columns)
                       : factor_column<T, T>(piece, 4 * t, column, columns);
    }
  }
  PEFT4J_DEVICE void add_to(float (&d)[2][kPairs][4], const RankRows<T>& h) const {
    Words<T, 4> v[4];
    h.load(v, threadIdx.x % 4 * 4);
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      multiply<T>(d[0][n], v[0], v[1], m[n]);
      multiply<T>(d[1][n], v[2], v[3], m[n]);
    }
  }
};

struct Plain {
  Words<float> m[kRanks];

  PEFT4J_DEVICE void load(const Piece& piece, int base, int columns, bool) {
#pragma unroll
    for (int j = 0; j < kRanks; ++j) {
      m[j] = load_factor<float, float>(piece, j, base + threadIdx.x % 4 * 4, columns);
    }
  }
  PEFT4J_DEVICE void add_to(float (&d)[2][2][4], const RankRows<float>& h) const {
#pragma unroll
    for (int first = 0; first < kRanks; first += 4) {
      Words<float> v[4];
      h.load(v, first);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            d[i / 2][c / 2][i % 2 * 2 + c % 2] += v[i].number(j) * m[first + j].number(c);
          }
        }
      }
    }
  }
};

template <class T, class Y, class Factor, int P>
__global__ void __launch_bounds__(kThreads, kBlocks<Y, P>) lora_expand(const __grid_constant__ Expand<T, Y> p) {
  constexpr int N = Words<T>::kSize, kColumns = 4 * N, kChunks = N / Words<Y>::kSize;
  const Group& group = group_of(p.table);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int base = (static_cast<int>(blockIdx.y) * kWarps + warp) * kColumns, column = base + lane % 4 * N;
  const int64_t begin = group.begin + (static_cast<int64_t>(blockIdx.x) - group.first_tile) * kRows + lane / 4;
  const int64_t end = min(group.end, begin - lane / 4 + kRows);
  Factor factor[P];
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i < group.pieces) {
      factor[i].load(p.table.piece[group.first_piece + i], base, p.columns, p.wide_factor_type);
    }
  }
  Words<Y> y[kChunks][4], next[kChunks][4];
  const auto load = [&](Words<Y>(&to)[kChunks][4], int64_t first) {
    const LaneRows<const Y> rows(p.y, p.y_stride, first, 8, end);
#pragma unroll
    for (int k = 0; k < kChunks; ++k) {
      load_rows(to[k], rows, column + k * Words<Y>::kSize, p.columns, p.wide_y);
    }
  };
  load(y, begin);
  for (int64_t first = begin; first - lane / 4 < end; first += 32) {
    load(next, first + 32);
    float d[2][N / 2][4] = {};
    const LaneRows<const T> ranks(p.h, p.h_stride, first, 8, end);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      if (i < group.pieces) {
        factor[i].add_to(d, RankRows<T>{ranks, p.table.piece[group.first_piece + i]});
      }
    }
    Kept<T> kept[4];
    if (group.threshold > 0) {
      mask_of<T, 1>(kept, column, first, 8, p.seed, group.threshold);
    }
    const float scale = dropout_scale(group.threshold);
    const LaneRows<Y> rows(p.y, p.y_stride, first, 8, end);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int c = 0; c < N; c += 2) {
        Words<Y>& chunk = y[c / Words<Y>::kSize][i];
        const int at = c % Words<Y>::kSize;
        float pair[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const bool stays = group.threshold == 0 || kept[i].number(c + e);
          pair[e] = chunk.number(at + e) + (stays ? d[i / 2][c / 2][i % 2 * 2 + e] * scale : 0.0f);
        }
        set_pair<Y>(chunk.word + at * sizeof(Y) / 4, pair[0], pair[1]);
      }
    }
#pragma unroll
    for (int k = 0; k < kChunks; ++k) {
      store_rows(rows, column + k * Words<Y>::kSize, p.columns, p.wide_y, y[k]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        y[k][i] = next[k][i];
      }
    }
  }
}

template <class T, class Y, class Factor, int Most>
int launch(const peft4j_cuda_lora& p, cudaStream_t stream) {
  auto* y = static_cast<Y*>(p.y);
  const auto* h = static_cast<const T*>(p.h);
  Expand<T, Y> arguments{
      y, h, p.y_stride, p.h_stride, p.seed, static_cast<int>(p.columns), packs(y, p.y_stride), p.factor_dtype == 0, {}};
  const auto bands = with_ranks(bands_of(p, {h, p.h_stride, 0}, piece_of));
  return for_groups(bands, kRows, Most, [&](const Table& table, int) {
    arguments.table = table;
    constexpr int kColumns = kWarps * 4 * Words<T>::kSize;
    const dim3 grid(table.tiles, static_cast<unsigned>(divide_up(p.columns, kColumns)));
    const int most = table.most_pieces();
    if (most <= 1) {
      return PEFT4J_LAUNCH((lora_expand<T, Y, Factor, 1>), grid, dim3(kThreads), 0, stream, arguments);
    }
    if (most <= 4) {
      return PEFT4J_LAUNCH((lora_expand<T, Y, Factor, std::min(4, Most)>), grid, dim3(kThreads), 0, stream, arguments);
    }
    return PEFT4J_LAUNCH((lora_expand<T, Y, Factor, Most>), grid, dim3(kThreads), 0, stream, arguments);
  });
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_lora_expand(const peft4j_cuda_lora* p, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  return by_dtype(p->dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      return p->tf32 != 0 ? launch<float, float, TensorCores<float>, 4>(*p, s) : launch<float, float, Plain, 1>(*p, s);
    } else {
      return p->y_dtype == 0 ? launch<T, float, TensorCores<T>, 4>(*p, s) : launch<T, T, TensorCores<T>, 16>(*p, s);
    }
  });
}
