/*
lora_grad_a: the gradient of A, a product over all rows that leaves a small matrix

    dA[j, c] (+)= Σ_t g[t, j] mask(t, c) x[t, c]          x [T, K], g [T, r], dA [r, K] float32
(and the same without a mask for lora_grad_b's dB[c, j] (+)= Σ_t dy[t, c] h[t, j])

Bytes: 2 K a row (16-bit numbers), 2 r of g for every 64 columns from the L2 cache, and 8 r K for each split of the rows beyond
the first; operations: 2 r K. So at best the speed of reading x: T 4096, K 4096 are 34 MB, 11 µs at 3 TB/s.

A block has 64 columns (float32: 32) and a split of the rows; its 8 warps take turns, 16 rows each, the next ones on their way
meanwhile. The inner index of this product runs down the columns of x, where mma wants pairs: a lane reads the same 16 bytes
of four rows and pairs them in registers. The mask is made again (device/rank.h). The warps' sums are added in their order, then
those of the splits by fixed_order_sum; the splits depend on shapes alone, so the bits repeat, on every card.

float32 without tf32: plain multiplications; a lane adds over its own rows, 16 ranks at a time.
*/
#include "device/rank_sum.h"

namespace peft4j::cuda {
namespace {

template <class T>
struct Outer {
  const T *x, *h;
  int64_t x_stride, h_stride, rows_of_a_split;
  uint64_t seed;
  int columns;
  bool wide_x, transposed, add;
  Table table;
};

template <class T>
constexpr int kStripe = 8 * Words<T>::kSize;
template <class T>
constexpr int kPitch = kStripe<T> + 1;  // of a rank in shared memory: lanes of a fragment in different banks

// The sums [16 ranks, stripe] of a warp; a lane has its columns c of ranks 2g, 2g + 1.
template <class T>
struct TensorCores {
  static constexpr int N = Words<T>::kSize;
  float d[N][4] = {};

  PEFT4J_DEVICE void add(const Words<T> (&x)[4], const RankRows<T>& h) {
    const int g = threadIdx.x % 32 / 4;
    Words<T, 2> v[4];
    h.load(v, 2 * g);
    if constexpr (sizeof(T) == 2) {
      const uint32_t a[4] = {pair_of(v[0].word[0], v[1].word[0], 0), pair_of(v[0].word[0], v[1].word[0], 1),
                             pair_of(v[2].word[0], v[3].word[0], 0), pair_of(v[2].word[0], v[3].word[0], 1)};
#pragma unroll
      for (int c = 0; c < N; ++c) {
        const uint32_t b[2] = {pair_of(x[0].word[c / 2], x[1].word[c / 2], c % 2),
                               pair_of(x[2].word[c / 2], x[3].word[c / 2], c % 2)};
        mma_words<T>(d[c], a, b);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const uint32_t a[4] = {v[i].word[0], v[i].word[1], v[i + 1].word[0], v[i + 1].word[1]};
#pragma unroll
        for (int c = 0; c < N; ++c) {
          const uint32_t b[2] = {x[i].word[c], x[i + 1].word[c]};
          mma_words<T>(d[c], a, b);
        }
      }
    }
  }
  PEFT4J_DEVICE void put(float* to) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int c = 0; c < N; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        to[(2 * g + i / 2) * kPitch<T> + (2 * t + i % 2) * N + c] = d[c][i];
      }
    }
  }
};

struct Plain {
  float d[4][kRanks] = {};  // of four columns

  PEFT4J_DEVICE void add(const Words<float> (&x)[4], const RankRows<float>& h) {
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
            d[c][first + j] += v[i].number(j) * x[i].number(c);
          }
        }
      }
    }
  }
  PEFT4J_DEVICE void put(float* to) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      scatter_sum(d[c]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        to[(4 * t + j) * kPitch<float> + 4 * g + c] = d[c][j];
      }
    }
  }
};

template <class T, class Sums, int P>
__global__ void __launch_bounds__(kThreads, kBlocks<T, P>) lora_grad_a(const __grid_constant__ Outer<T> p) {
  const Group& group = group_of(p.table);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t split = static_cast<int64_t>(blockIdx.x) - group.first_tile;
  const int first_column = static_cast<int>(blockIdx.y) * kStripe<T>;
  const int column = first_column + lane / 4 * Words<T>::kSize;
  const int64_t begin = group.begin + split * p.rows_of_a_split, end = min(group.end, begin + p.rows_of_a_split);
  Sums sums[P];
  Words<T> x[4], next[4];
  const auto load = [&](Words<T>(&to)[4], int64_t row) {
    load_rows(to, {p.x, p.x_stride, row + lane % 4, 4, end}, column, p.columns, p.wide_x);
  };
  load(x, begin + 16 * warp);
  for (int64_t row = begin + 16 * warp; row < end; row += 16 * kWarps) {
    load(next, row + 16 * kWarps);
    if (group.threshold > 0) {
      drop<T, 4>(x, column, row + lane % 4, 4, p.seed, group.threshold);
    }
    const LaneRows<const T> ranks(p.h, p.h_stride, row + lane % 4, 4, end);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      if (i < group.pieces) {
        sums[i].add(x, RankRows<T>{ranks, p.table.piece[group.first_piece + i]});
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[i] = next[i];
    }
  }

  auto* partial = reinterpret_cast<float*>(shared_memory());  // [warps, ranks, pitch]
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i >= group.pieces) {
      break;
    }
    __syncthreads();
    sums[i].put(partial + warp * kRanks * kPitch<T>);
    __syncthreads();
    const Piece& piece = p.table.piece[group.first_piece + i];
    for (int k = threadIdx.x; k < kRanks * kStripe<T>; k += kThreads) {
      // neighbouring threads write neighbouring numbers
      const int rank = p.transposed ? k % kRanks : k / kStripe<T>, c = p.transposed ? k / kRanks : k % kStripe<T>;
      float sum = 0;
      for (int w = 0; w < kWarps; ++w) {
        sum += partial[(w * kRanks + rank) * kPitch<T> + c];
      }
      if (rank < piece.rank && first_column + c < p.columns) {
        put_gradient(piece, split, rank, first_column + c, p.add, sum * dropout_scale(group.threshold));
      }
    }
  }
}

template <class T, class Sums, int Most>
int launch(const RankSum& all, const RankColumns& ranks, cudaStream_t stream) {
  const peft4j_cuda_lora& p = all.p;
  const auto* x = static_cast<const T*>(p.x);
  Outer<T> arguments{
      x,      static_cast<const T*>(ranks.data), p.x_stride,           ranks.stride,   all.rows_of_a_split,
      p.seed, static_cast<int>(p.columns),       packs(x, p.x_stride), all.transposed, p.add != 0,
      {}};
  float* next = p.scratch;
  const auto bands = with_ranks(bands_of(
      p, ranks, [&](const peft4j_cuda_segment& s) { return s.gradient == nullptr ? Piece{} : all.piece(s, next); }));
  const int status = for_groups(bands, all.rows_of_a_split, Most, [&](const Table& table, int) {
    arguments.table = table;
    constexpr size_t kShared = sizeof(float) * kWarps * kRanks * kPitch<T>;
    const dim3 grid(table.tiles, static_cast<unsigned>(divide_up(p.columns, kStripe<T>)));
    switch (table.most_pieces()) {
      case 1: return PEFT4J_LAUNCH((lora_grad_a<T, Sums, 1>), grid, dim3(kThreads), kShared, stream, arguments);
      case 2:
        return PEFT4J_LAUNCH((lora_grad_a<T, Sums, std::min(2, Most)>), grid, dim3(kThreads), kShared, stream,
                             arguments);
      default: return PEFT4J_LAUNCH((lora_grad_a<T, Sums, Most>), grid, dim3(kThreads), kShared, stream, arguments);
    }
  });
  return status != 0 ? status : all.add_partials(stream);
}

// As many blocks as keep a large card busy, no more than one for every 128 rows: partial sums are bytes, too.
RankSum sum_of(const peft4j_cuda_lora& p, bool transposed) {
  constexpr int64_t kWanted = 256, kFewest = 16 * kWarps;
  const int64_t stripes = divide_up(p.columns, p.dtype == 0 ? kStripe<float> : kStripe<__half>);
  const int64_t rows = divide_up(rows_of(p) * stripes, kWanted);
  return {p, transposed, divide_up(std::max<int64_t>(rows, 1), kFewest) * kFewest};
}

}  // namespace

int64_t rank_sum_scratch(const peft4j_cuda_lora& p, bool transposed) {
  return sum_of(p, transposed).scratch();
}

int rank_sum(const peft4j_cuda_lora& p, const void* h, int64_t h_stride, bool transposed, cudaStream_t stream) {
  const RankSum all = sum_of(p, transposed);
  const RankColumns ranks{h, h_stride, 0};
  return by_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      return p.tf32 != 0 ? launch<float, TensorCores<float>, 4>(all, ranks, stream)
                         : launch<float, Plain, 1>(all, ranks, stream);
    } else {
      return launch<T, TensorCores<T>, 4>(all, ranks, stream);
    }
  });
}

}  // namespace peft4j::cuda

int64_t peft4j_cuda_lora_grad_a_scratch(const peft4j_cuda_lora* p) {
  return peft4j::cuda::rank_sum_scratch(*p, false);
}

int peft4j_cuda_lora_grad_a(const peft4j_cuda_lora* p, void* stream) {
  return peft4j::cuda::rank_sum(*p, p->g, p->g_stride, false, static_cast<cudaStream_t>(stream));
}
