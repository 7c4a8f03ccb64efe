/*
dual_gemm: one product over a list of operand pairs, for a frozen weight and what an adapter adds to it

    y[t, n] (+)= bias[n] + mask[t, n] · Σ_{p masked} Σ_k x_p[t, k] w_p[n, k] + Σ_{p other} Σ_k x_p[t, k] w_p[n, k]

or w_p[k, n]. LoRA's forward is the pairs (x, W), (h, B); its backward (g, A) under the dropout mask and (dy, W), down the rows of W.
The accumulators start with the masked pairs, are masked in registers, and go on over the others: no pass over y for the mask.

2·T·N·ΣK operations, 2·(T·ΣK + N·ΣK + T·N) bytes: with T, N, K in the thousands the matrix units decide, by 8 to 1.

Schedule. A block computes a tile of y. x's and w's tiles of 32 columns of k come through 3 buffers by cp.async, through all pairs
without a stop between them. Fragments of the next 16 columns are loaded while the present ones are multiplied, across the
barrier too; behind it nobody needs the tile that is in everyone's registers, so its buffer is filled again at once, and has the
time of two tiles, some 1,600 cycles, to arrive. The filling has no branches, so that the compiler strews it among the mma's.
Tiles of y are taken in groups of 16 rows of tiles, column by column: blocks that run together read about as many rows of x as of
w, and find them in L2.

Why 128 × 256 by 8 warps of 64 × 64. What limits mma.sync is the shared memory that feeds it, 128 bytes a cycle and multiprocessor.
For 16 columns of k a warp reads (64 + 64)·32 bytes for its 32 mma, and the block writes (128 + 256)·32 bytes for its 256: 128 + 48
bytes each, 1.4 cycles. The mma itself takes an A100 2 cycles and Hopper 1.6 (mma.sync reaches about 0.62 of what wgmma does).
128 × 128 (warps of 64 × 32) needs 192 + 64 bytes, 2 cycles: as long as the A100's mma and longer than Hopper's.
The price is 128 accumulators a thread, so a multiprocessor holds one block, and the schedule hides what other blocks would. A
warp issues 200 instructions for 64 mma, two warps 400 in the 1,024 or 820 cycles that those take.
Expected 0.80 to 0.85 of the rate of mma.sync for K = 4096: 250 TF on an A100, 480 TF on an H100. Lost are the filling of the first
buffers and the writing of y (3 % each), and the last wave of blocks.
3 buffers are 92,160 bytes: every card since sm_80 has them.

64 × 64 by 4 warps, four blocks a multiprocessor, needs 256 + 128 bytes, 3 cycles: half as fast, but there are eight times as many
tiles. It is taken where the large ones would leave half of a card idle. Both add in the same order and give the same bits.
Rows that do not begin at multiples of 16 bytes are copied number by number into the small tile's buffers: correct, and slow.

The mask: in a row 16 columns are one Philox block, held by four lanes; each makes the words of one block of four, and they exchange
them. About 1,600 instructions a thread of the large tile, 2.5 % of the time for K = 4096.

The third way, on cards of compute capability 9.0 and where it is allowed, is dual_gemm_sm90a.cu instead of the large tile.
*/
#include "device/dual_gemm.h"

namespace peft4j::cuda {
namespace {

constexpr int kDepth = 32;       // columns of k in a buffer
constexpr int kStep = 16;        // of an mma
constexpr int kStages = 3;       // buffers
constexpr int64_t kEnough = 64;  // large tiles: half of a card

template <int Rows, int Columns, int RowWarps, int ColumnWarps, int Blocks>
struct Shape {
  static constexpr int kRows = Rows, kColumns = Columns;
  static constexpr int kThreads = 32 * RowWarps * ColumnWarps, kBlocks = Blocks;  // blocks of a multiprocessor
  static constexpr int kWarpRows = Rows / RowWarps, kWarpColumns = Columns / ColumnWarps;

  using Part = Sums<kWarpRows / 16, kWarpColumns / 8>;

  // Where the warp's part of the tile begins.
  PEFT4J_DEVICE static int warp_row() { return threadIdx.x / 32 / ColumnWarps * kWarpRows; }
  PEFT4J_DEVICE static int warp_column() { return threadIdx.x / 32 % ColumnWarps * kWarpColumns; }
};
using Large = Shape<128, 256, 2, 4, 1>;
using Small = Shape<64, 64, 2, 2, 4>;

struct Problem : GemmProblem {
  TileOrder order;
  int tiles, masked_tiles;  // of k, through all pairs
};

// A buffer: x's tile and w's.
template <class T, bool ByK, class S>
struct Stage {
  using X = Tile<T, kDepth>;
  using W = Tile<T, ByK ? S::kColumns : kDepth>;
  static constexpr int kWRows = ByK ? kDepth : S::kColumns;
  static constexpr size_t kBytes = X::bytes(S::kRows) + W::bytes(kWRows);
  X x;
  W w;

  PEFT4J_DEVICE static Stage number(int i) {
    T* data = reinterpret_cast<T*>(shared_memory() + i * kBytes);
    return {{data}, {data + X::kStride * S::kRows}};
  }
};

// Where along k the next tile begins; in the end behind the last pair's last one, where tiles are zeros.
struct Cursor {
  int pair = 0, k = 0;

  PEFT4J_DEVICE void advance(const peft4j_cuda_gemm& of) {
    const bool over = k + kDepth >= of.pairs[pair].k && pair + 1 < of.count;
    k = over ? 0 : k + kDepth;
    pair += over ? 1 : 0;
  }
};

template <bool Aligned, class T, bool ByK, class S>
PEFT4J_DEVICE void fill(const Stage<T, ByK, S>& stage, const peft4j_cuda_gemm& of, const Cursor& at, int row,
                        int column) {
  const peft4j_cuda_gemm_pair& pair = of.pairs[at.pair];
  const int rows = static_cast<int>(of.t) - row, columns = static_cast<int>(of.n) - column,
            depth = static_cast<int>(pair.k) - at.k;
  const T* x = static_cast<const T*>(pair.x) + row * pair.x_stride + at.k;
  copy_tile<Aligned>(stage.x, S::kRows, x, pair.x_stride, rows, depth, threadIdx.x, S::kThreads);
  const T* w = static_cast<const T*>(pair.w);
  if constexpr (ByK) {
    w += at.k * pair.w_stride + column;
    copy_tile<Aligned>(stage.w, kDepth, w, pair.w_stride, depth, columns, threadIdx.x, S::kThreads);
  } else {
    w += column * pair.w_stride + at.k;
    copy_tile<Aligned>(stage.w, S::kColumns, w, pair.w_stride, columns, depth, threadIdx.x, S::kThreads);
  }
}

// What a warp multiplies in a step.
template <class S>
struct Fragments {
  uint32_t x[S::kWarpRows / 16][4], w[S::kWarpColumns / 16][2][2];

  template <class T, bool ByK>
  PEFT4J_DEVICE void load(const Stage<T, ByK, S>& stage, int k) {
    const int row = S::warp_row(), column = S::warp_column();
#pragma unroll
    for (int i = 0; i < S::kWarpRows / 16; ++i) {
      load_a(x[i], stage.x, row + 16 * i, k);
    }
#pragma unroll
    for (int i = 0; i < S::kWarpColumns / 16; ++i) {
      if constexpr (ByK) {
        load_b_transposed(w[i], stage.w, k, column + 16 * i);
      } else {
        load_b(w[i], stage.w, column + 16 * i, k);
      }
    }
  }
};

template <class T, class S>
PEFT4J_DEVICE void multiply(typename S::Part& sums, const Fragments<S>& by) {
#pragma unroll
  for (int i = 0; i < S::kWarpRows / 16; ++i) {
#pragma unroll
    for (int j = 0; j < S::kWarpColumns / 8; ++j) {
      mma<T>(sums[i][j], by.x[i], by.w[j / 2][j % 2]);
    }
  }
}

template <class T, bool ByK, class S, bool Aligned>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) dual_gemm(const Problem problem) {
  using Buffer = Stage<T, ByK, S>;
  const peft4j_cuda_gemm& of = problem.of;
  const TileOrder::Place place = problem.order.place(blockIdx.x);
  const int row = place.row * S::kRows, column = place.column * S::kColumns;

  Cursor next;
  const auto fill_next = [&](int stage) {
    fill<Aligned>(Buffer::number(stage), of, next, row, column);
    next.advance(of);
    cp_async_commit();
  };
#pragma unroll
  for (int stage = 0; stage < kStages; ++stage) {
    fill_next(stage);
  }
  cp_async_wait<kStages - 1>();
  __syncthreads();

  typename S::Part sums = {};
  Fragments<S> fragments[2];
  constexpr int kSteps = kDepth / kStep;
  static_assert(kSteps % 2 == 0);
  fragments[0].load(Buffer::number(0), 0);
  int stage = 0, tile = 0;
  const auto multiply_until = [&](int end) {
    for (; tile < end; ++tile) {
      const int following = stage + 1 < kStages ? stage + 1 : 0;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step + 1 < kSteps) {
          fragments[(step + 1) % 2].load(Buffer::number(stage), (step + 1) * kStep);
        } else {
          cp_async_wait<kStages - 2>();  // the following tile is there, and this one is in everyone's registers
          __syncthreads();
          fragments[(step + 1) % 2].load(Buffer::number(following), 0);
          fill_next(stage);
        }
        multiply<T, S>(sums, fragments[step % 2]);
      }
      stage = following;
    }
  };
  if (problem.masked_tiles > 0) {
    multiply_until(problem.masked_tiles);
    drop(sums, row + S::warp_row(), column + S::warp_column(), problem.dropout);
    fragments[0].load(Buffer::number(stage), 0);  // once more: they need no registers meanwhile
  }
  multiply_until(problem.tiles);
  cp_async_wait<0>();
  __syncthreads();
  using Out = WayOut<T, S::kWarpRows / 16, S::kWarpColumns / 8>;
  T* shared = reinterpret_cast<T*>(shared_memory()) + threadIdx.x / 32 * Out::kElements;
  Out::write(sums, shared, of, row + S::warp_row(), column + S::warp_column());
}

template <class T, bool ByK, class S, bool Aligned>
int launch_shape(Problem problem, cudaStream_t stream) {
  problem.order = {static_cast<int>(divide_up(problem.of.t, S::kRows)),
                   static_cast<int>(divide_up(problem.of.n, S::kColumns))};
  const int64_t blocks = static_cast<int64_t>(problem.order.rows) * problem.order.columns;
  constexpr size_t kSharedBytes = kStages * Stage<T, ByK, S>::kBytes;
  static_assert(WayOut<T, S::kWarpRows / 16, S::kWarpColumns / 8>::kElements * sizeof(T) * (S::kThreads / 32) <=
                kSharedBytes);
  return PEFT4J_LAUNCH((dual_gemm<T, ByK, S, Aligned>), dim3(static_cast<unsigned>(blocks)), dim3(S::kThreads),
                       kSharedBytes, stream, problem);
}

template <class T, bool ByK>
int launch_gemm(const peft4j_cuda_gemm& arguments, cudaStream_t stream) {
  Problem problem{GemmProblem(arguments), {0, 0}, 0, 0};
  bool aligned = true;
  for (int i = 0; i < problem.of.count; ++i) {
    const peft4j_cuda_gemm_pair& pair = problem.of.pairs[i];
    problem.tiles += divide_up(pair.k, kDepth);
    problem.masked_tiles = i < problem.of.masked ? problem.tiles : problem.masked_tiles;
    aligned &=
        packs(static_cast<const T*>(pair.x), pair.x_stride) && packs(static_cast<const T*>(pair.w), pair.w_stride);
  }
  if (problem.of.count == 0) {
    problem.of.pairs[0] = {arguments.y, arguments.y, 0, 0, 0};
  }
  if (!aligned) {
    return launch_shape<T, ByK, Small, false>(problem, stream);
  }
  const int64_t large_tiles = divide_up(arguments.t, Large::kRows) * divide_up(arguments.n, Large::kColumns);
  const bool large = arguments.tile == 0 ? large_tiles >= kEnough : arguments.tile == 2;
  if (large && arguments.sm90a != 0 && dual_gemm_sm90a_takes(problem.of)) {
    return launch_dual_gemm_sm90a(problem, stream);
  }
  return large ? launch_shape<T, ByK, Large, true>(problem, stream)
               : launch_shape<T, ByK, Small, true>(problem, stream);
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_dual_gemm(const peft4j_cuda_gemm* arguments, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  const peft4j_cuda_gemm& a = *arguments;
  const auto with = [&](auto number) {
    using T = decltype(number);
    return a.w_by_k != 0 ? launch_gemm<T, true>(a, s) : launch_gemm<T, false>(a, s);
  };
  return a.dtype == 1 ? with(__nv_bfloat16()) : with(__half());
}
