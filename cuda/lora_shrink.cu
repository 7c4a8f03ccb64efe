/*
lora_shrink: the small product on the way into a LoRA adapter (Hu et al. 2021), and the copy that lets it join the frozen one

    h[t, j] = scale · Σ_c mask(t, c) x[t, c] A[j, c];   y = x        x [T, K], A [r, K]: [x | h] · [W | B]ᵀ is then one product

Bytes: 2 K a row without the copy, 4 K with it (16-bit numbers), and 2 r of h; operations: 2 r K, nothing. So at best a copy's speed:
T 4096, K 4096 are 67 MB, 16 µs at 4.2 TB/s. A comes from the L2 cache: r·K for each block's 32 rows, half of x's bytes for rank 16.

A block has 32 rows; its 8 warps take turns along K, 64 bytes of each row at a time, the next ones on their way meanwhile:
16 KB in flight on a multiprocessor for each of its blocks, where 4.2 TB/s and 0.8 µs of latency ask for 26 (H200). Operands go from memory into the lanes as mma wants them
(device/rank.h), so nothing but the warps' sums passes through shared memory. The mask is put on x's registers once, for all
adapters that read x. Sums of the warps are added in their order: the same bits in each run.

Split K (few rows). A turn of the warps waits for memory once, about 0.8 µs. K 4096 are 16 turns: 13 µs for the one block of a step of
generation, whose frozen product [4096, 4096] takes 8 µs. So where rows leave multiprocessors idle, blocks share out the columns, and
leave float32 sums that a second kernel adds in their order: for K 4096 one turn each, and 3 µs for the second kernel.

float32 without tf32: plain multiplications; a lane adds over its own columns, 16 ranks at a time.
*/
#include "device/rank.h"

namespace peft4j::cuda {
namespace {

constexpr int kRows = 32;
constexpr int kSums = kRows * kRanks;  // of a piece in a block
constexpr int kSeveral = 4;            // pieces at once, where tensor cores multiply
template <class T>
constexpr int kTurn = kWarps * 4 * Words<T>::kSize;  // columns

template <class T>
struct Shrink {
  const T* x;
  T* y;
  T* h;
  int64_t x_stride, y_stride, h_stride;
  uint64_t seed;
  int columns, columns_of_a_split;
  bool wide_x, wide_y;
  float* partial;  // [tiles, splits, pieces, kRows, kRanks]; null: a block has all columns
  Table table;
};

// Writes h of the piece for the block's rows, from `parts` sums [kRows, kRanks] that lie `apart`.
template <class T>
PEFT4J_DEVICE void write_ranks(const Shrink<T>& p, const Group& group, const Piece& piece, const float* sums, int parts,
                               int apart) {
  const int64_t first = group.begin + (static_cast<int64_t>(blockIdx.x) - group.first_tile) * kRows;
  const float scale = piece.scale * dropout_scale(group.threshold);
  const int width = piece.to - piece.from;
  for (int k = threadIdx.x; k < kRows * width; k += kThreads) {
    const int row = k / width, column = piece.from + k % width, rank = column - piece.column;
    float sum = 0;
    for (int i = 0; i < parts && 0 <= rank && rank < piece.rank; ++i) {
      sum += sums[i * apart + row * kRanks + rank];
    }
    if (first + row < group.end) {
      p.h[(first + row) * p.h_stride + column] = from_float<T>(sum * scale);
    }
  }
}

// h[32, 16] of a warp.
template <class T>
struct TensorCores {
  float d[2][2][4] = {};  // 16 rows, 8 ranks

  template <class Load>
  PEFT4J_DEVICE void add(const Words<T> (&x)[4], const Load& factor) {
    const int g = threadIdx.x % 32 / 4;
    const Words<T> a[2] = {factor(g), factor(g + 8)};
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
  PEFT4J_DEVICE void add(const Words<float> (&x)[4], const Load& factor) {
#pragma unroll
    for (int j = 0; j < kRanks; ++j) {
      const Words<float> a = factor(j);
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
  constexpr int N = Words<T>::kSize, kStep = 4 * N;  // columns of a warp in a turn
  const Group& group = group_of(p.table);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first = group.begin + (static_cast<int64_t>(blockIdx.x) - group.first_tile) * kRows;
  const LaneRows<const T> rows(p.x, p.x_stride, first + lane / 4, 8, group.end);
  const LaneRows<T> copies(p.y, p.y_stride, first + lane / 4, 8, p.y == nullptr ? 0 : group.end);
  const int begin = static_cast<int>(blockIdx.y) * p.columns_of_a_split,
            end = min(p.columns, begin + p.columns_of_a_split);
  Sums sums[P];
  Words<T> x[4], next[4];
  load_rows(x, rows, begin + warp * kStep + lane % 4 * N, end, p.wide_x);
  for (int base = begin + warp * kStep; base < end; base += kTurn<T>) {
    const int column = base + lane % 4 * N;
    load_rows(next, rows, column + kTurn<T>, end, p.wide_x);
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

  auto* by_warp = reinterpret_cast<float*>(shared_memory());  // [warps, rows, ranks]
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i >= group.pieces) {
      break;
    }
    __syncthreads();
    sums[i].put(by_warp + warp * kSums);
    __syncthreads();
    if (p.partial == nullptr) {
      write_ranks(p, group, p.table.piece[group.first_piece + i], by_warp, kWarps, kSums);
      continue;
    }
    float* to = p.partial + ((static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y) * P + i) * kSums;
    for (int k = threadIdx.x; k < kSums; k += kThreads) {
      float sum = 0;
      for (int w = 0; w < kWarps; ++w) {
        sum += by_warp[w * kSums + k];
      }
      to[k] = sum;
    }
  }
}

// The second kernel, a block for each tile of rows. pieces: that partial has room for.
template <class T>
__global__ void __launch_bounds__(kThreads)
    lora_shrink_finish(const __grid_constant__ Shrink<T> p, int splits, int pieces) {
  const Group& group = group_of(p.table);
  const float* sums = p.partial + static_cast<int64_t>(blockIdx.x) * splits * pieces * kSums;
  for (int i = 0; i < group.pieces; ++i) {
    write_ranks(p, group, p.table.piece[group.first_piece + i], sums + i * kSums, splits, pieces * kSums);
  }
}

// ---- host

// How the blocks of a launch share out the columns: a function of shapes alone.
struct Splits {
  int columns, number;

  Splits(const Table& table, int64_t all_columns, int turn) {
    constexpr int64_t kBlocksWanted = 256;  // two for each multiprocessor of an H200
    constexpr int64_t kTurnsToSave = 4;     // in the time of the second kernel
    const int64_t turns = std::max<int64_t>(divide_up(all_columns, turn), 1);
    const int64_t wanted = std::clamp<int64_t>(kBlocksWanted / std::max(table.tiles, 1), 1, turns);
    const int64_t own = turns - divide_up(turns, wanted) < kTurnsToSave ? turns : divide_up(turns, wanted);
    columns = static_cast<int>(own * turn);
    number = static_cast<int>(divide_up(turns, own));
  }
};

// Of a block: one, or as many as the kernel takes.
int pieces_of(const Table& table, int most) {
  return table.most_pieces() <= 1 ? 1 : most;
}

int64_t partials_of(const Table& table, const Splits& splits, int most) {
  return splits.number == 1 ? 0 : static_cast<int64_t>(table.tiles) * splits.number * pieces_of(table, most) * kSums;
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
                      0,
                      packs(x, p.x_stride),
                      packs(y, p.y_stride),
                      nullptr,
                      {}};
  const auto bands = bands_of(p, {h, p.h_stride, p.h_columns}, piece_of);
  return for_groups(bands, kRows, Most, [&](const Table& table, int pass) {
    const Splits splits(table, p.columns, kTurn<T>);
    const int pieces = pieces_of(table, Most);
    arguments.table = table;
    arguments.y = pass == 0 ? y : nullptr;
    arguments.columns_of_a_split = splits.columns;
    arguments.partial = splits.number == 1 ? nullptr : p.scratch;
    constexpr size_t kShared = sizeof(float) * kWarps * kSums;
    const dim3 grid(table.tiles, splits.number), block(kThreads);
    const int status = pieces == 1
                           ? PEFT4J_LAUNCH((lora_shrink<T, F, Sums, 1>), grid, block, kShared, stream, arguments)
                           : PEFT4J_LAUNCH((lora_shrink<T, F, Sums, Most>), grid, block, kShared, stream, arguments);
    return status != 0 || splits.number == 1 ? status
                                             : PEFT4J_LAUNCH(lora_shrink_finish<T>, dim3(table.tiles), block, 0, stream,
                                                             arguments, splits.number, pieces);
  });
}

}  // namespace
}  // namespace peft4j::cuda

int64_t peft4j_cuda_lora_shrink_scratch(const peft4j_cuda_lora* p) {
  using namespace peft4j::cuda;
  const int most = p->dtype == 0 && p->tf32 == 0 ? 1 : kSeveral;
  const int turn = p->dtype == 0 ? kTurn<float> : kTurn<__half>;
  int64_t floats = 0;
  for_groups(bands_of(*p, {p->h, p->h_stride, p->h_columns}, piece_of), kRows, most, [&](const Table& table, int) {
    floats = std::max(floats, partials_of(table, Splits(table, p->columns, turn), most));
    return 0;
  });
  return floats;
}

int peft4j_cuda_lora_shrink(const peft4j_cuda_lora* p, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  return by_dtype(p->dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      return p->tf32 != 0 ? launch<float, float, TensorCores<float>, kSeveral>(*p, s)
                          : launch<float, float, Plain, 1>(*p, s);
    } else {
      return p->factor_dtype == 0 ? launch<T, float, TensorCores<T>, kSeveral>(*p, s)
                                  : launch<T, T, TensorCores<T>, kSeveral>(*p, s);
    }
  });
}
