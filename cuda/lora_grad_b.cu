/*
lora_grad_b: what a LoRA adapter's B needs of dy, and the copy that lets g join the frozen product of dx

    g[t, j] = scale · Σ_c dy[t, c] B[c, j];   dB[c, j] (+)= Σ_t dy[t, c] h[t, j];   y = dy     dy [T, N], B [N, r], h and g [T, r]

g wants sums along a row and dB along a column, so one reading of dy leaves partial sums of at least one of them. Two forms:
    one pass   a block has 512 columns and a split of the rows: partial sums of g for each 512 columns, of dB for each split.
               Bytes: 4 N a row (dy read, y written), and the partial sums, 4 r/512 and 4 r/rows of a split for each element
    two        lora_shrink with B for A (no partial sums), then lora_grad_a's product over rows: 6 N a row
The one pass is taken where its partial sums are at most 15 % of dy (written and read again: 4.6 N a row or less). For r 16 they are
19 % at N 4096, T 4096; 8 % at N 14336, T 8192, where 0.47 GB and 38 MB of partial sums take 121 µs at 4.2 TB/s. It is for 16-bit
numbers and bands of one piece (rank 16 or less): twice the rank is twice the share. There are as many splits as make two blocks for each
multiprocessor, or half of them where two would have too many sums.

One pass: a warp has 64 columns and walks down the rows, 32 at a time. Its part of B and its sums of dB stay in registers. dy is
read as lora_shrink reads x, and turned for dB in the warp's own tile of shared memory. As soon as g's products have taken the rows
from the registers, these wait for the next rows, and h's for the next h: 32 KB a block are under way during the products of dB, the
barrier and the sums, where a multiprocessor needs 26 (lora_shrink.cu). Two sets of registers would leave room for one block.
*/
#include "device/rank_sum.h"

namespace peft4j::cuda {
namespace {

constexpr int kColumns = 64;  // of a warp
constexpr int kStripe = kWarps * kColumns;
constexpr int kRows = 32;

template <class T>
struct OnePass {
  const T *dy, *h;
  T* y;
  int64_t dy_stride, h_stride, y_stride, rows_of_a_split;
  float* partial_g;  // [stripes, rows, 16], row `first_row` first
  int64_t first_row, rows;
  int columns;
  bool wide_dy, wide_y, add;
  Table table;
};

constexpr size_t kSharedG = sizeof(float) * 2 * kWarps * kRows * kRanks;
template <class T>
constexpr size_t kSharedTile = Tile<T, kColumns>::bytes(kRows);

template <class T, class F>
__global__ void __launch_bounds__(kThreads, kBlocks<T, 1>) lora_grad_b(const __grid_constant__ OnePass<T> p) {
  const Group& group = group_of(p.table);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int64_t split = static_cast<int64_t>(blockIdx.x) - group.first_tile;
  const int64_t begin = group.begin + split * p.rows_of_a_split, end = min(group.end, begin + p.rows_of_a_split);
  const int base = static_cast<int>(blockIdx.y) * kStripe + warp * kColumns, column = base + 8 * t;
  const bool ranks = group.pieces > 0;
  const Piece& piece = p.table.piece[group.first_piece];
  auto* partial = reinterpret_cast<float*>(shared_memory());  // [2, warps, rows, ranks]
  const Tile<T, kColumns> tile{reinterpret_cast<T*>(shared_memory() + kSharedG + warp * kSharedTile<T>)};

  Words<T> b[2][2] = {};  // 32 columns, 8 ranks
#pragma unroll
  for (int half = 0; ranks && half < 2; ++half) {
    b[half][0] = load_factor<T, F>(piece, g, column + 32 * half, p.columns);
    b[half][1] = load_factor<T, F>(piece, g + 8, column + 32 * half, p.columns);
  }
  float db[kColumns / 8][4] = {};
  Words<T> dy[kRows / 8][2];     // rows g, g + 8, …, 32 columns
  uint32_t h[kRows / 16][4];     // ranks 2g and 2g + 1 of rows 2t, 2t + 1, 2t + 8, 2t + 9, then 16 further
  const auto load = [&](int64_t first) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int from = column + 32 * half;
      const bool wide = p.wide_dy && from + 8 <= p.columns;
#pragma unroll
      for (int i = 0; i < kRows / 8; ++i) {
        const int64_t row = first + g + 8 * i;
        dy[i][half] = load_words<T>(row < end ? p.dy + row * p.dy_stride : nullptr, 1, from, p.columns, wide);
      }
    }
#pragma unroll
    for (int i = 0; ranks && i < kRows / 4; ++i) {
      const int64_t row = first + 16 * (i / 4) + 8 * (i / 2 % 2) + 2 * t + i % 2;
      const T* from = row < end ? p.h + row * p.h_stride + piece.column : nullptr;
      h[i / 4][i % 4] = load_words<T, 2>(from, 1, 2 * g, piece.rank, piece.wide_ranks).word[0];
    }
  };
  load(begin);
  int buffer = 0;
  for (int64_t first = begin; first < end; first += kRows, buffer ^= 1) {
#pragma unroll
    for (int i = 0; i < kRows / 8; ++i) {
      const int64_t row = first + g + 8 * i;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (p.y != nullptr && row < end) {
          store_words(p.y + row * p.y_stride, column + 32 * half, p.columns, p.wide_y, dy[i][half]);
        }
        *reinterpret_cast<Words<T>*>(tile.at(g + 8 * i, 8 * t + 32 * half)) = dy[i][half];
      }
    }
    if (!ranks) {
      load(first + kRows);
      continue;
    }
    uint32_t a[kRows / 16][4];  // hᵀ, ranks 2g and 2g + 1 as rows g and g + 8
#pragma unroll
    for (int s = 0; s < kRows / 16; ++s) {
      float sums[2][4] = {};  // of g, over the warp's columns
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          multiply<T>(sums[n], dy[2 * s][half], dy[2 * s + 1][half], b[half][n]);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = 16 * s + g + i / 2 * 8, rank = 8 * n + 2 * t + i % 2;
          partial[((buffer * kWarps + warp) * kRows + row) * kRanks + rank] = sums[n][i];
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[s][i] = pair_of(h[s][i / 2 * 2], h[s][i / 2 * 2 + 1], i % 2);
      }
    }
    load(first + kRows);
    __syncwarp();
#pragma unroll
    for (int s = 0; s < kRows / 16; ++s) {  // dBᵀ[16, 64] += hᵀ dy
#pragma unroll
      for (int c = 0; c < kColumns / 8; c += 2) {
        uint32_t turned[2][2];
        load_b_transposed(turned, tile, 16 * s, 8 * c);
        mma<T>(db[c], a[s], turned[0]);
        mma<T>(db[c + 1], a[s], turned[1]);
      }
    }
    __syncthreads();  // one is enough: the next rows go to the other buffer, the tile is the warp's own
    for (int k = threadIdx.x; k < kRows * kRanks; k += kThreads) {
      float sum = 0;
      for (int w = 0; w < kWarps; ++w) {
        sum += partial[(buffer * kWarps + w) * kRows * kRanks + k];
      }
      if (const int64_t row = first + k / kRanks; row < end) {
        p.partial_g[(blockIdx.y * p.rows + row - p.first_row) * kRanks + k % kRanks] = sum;
      }
    }
  }
  if (ranks && piece.out != nullptr) {
#pragma unroll
    for (int c = 0; c < kColumns / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int rank = 2 * g + i / 2;
        const int at = base + 8 * c + 2 * t + i % 2;
        if (rank < piece.rank && at < p.columns) {
          put_gradient(piece, split, rank, at, p.add, db[c][i]);
        }
      }
    }
  }
}

// g = scale · the sums of all stripes, in their order. A block has 32 rows.
template <class T>
struct Finish {
  T* g;
  int64_t g_stride;
  const float* partial_g;
  int64_t stripes, first_row, rows;
  Table table;
};

constexpr int kFinishRows = 32;

template <class T>
__global__ void __launch_bounds__(kThreads) lora_grad_b_finish(const __grid_constant__ Finish<T> p) {
  const Group& group = group_of(p.table);
  const Piece& piece = p.table.piece[group.first_piece];
  const int64_t first = group.begin + (static_cast<int64_t>(blockIdx.x) - group.first_tile) * kFinishRows;
  const int width = group.pieces == 0 ? 0 : piece.to - piece.from;
  for (int k = threadIdx.x; k < kFinishRows * width; k += kThreads) {
    const int64_t row = first + k / width;
    const int column = piece.from + k % width, rank = column - piece.column;
    if (row >= group.end) {
      break;
    }
    float sum = 0;
    for (int64_t s = 0; s < p.stripes && 0 <= rank && rank < piece.rank; ++s) {
      sum += p.partial_g[(s * p.rows + row - p.first_row) * kRanks + rank];
    }
    p.g[row * p.g_stride + column] = from_float<T>(sum * piece.scale);
  }
}

// ---- which form

struct Plan {
  RankSum sums;
  int64_t stripes, first_row, rows;  // of partial_g
  bool one_pass;

  int64_t scratch_g() const { return stripes * rows * kRanks; }
};

bool wants_gradients(const peft4j_cuda_lora& p) {
  return std::any_of(p.segments, p.segments + p.n_segments, [](const auto& s) { return s.gradient != nullptr; });
}

// With splits for about so many blocks.
Plan plan_of(const peft4j_cuda_lora& p, int64_t blocks) {
  constexpr double kMost = 0.15;
  const int64_t stripes = divide_up(p.columns, kStripe), rows = rows_of(p);
  const int64_t split = std::max<int64_t>(divide_up(rows * stripes, blocks), 1);
  Plan plan{{p, true, divide_up(split, kRows) * kRows}, stripes, 0, 0, false};
  if (p.dtype == 0 || p.g == nullptr || rows == 0 || !wants_gradients(p)) {
    return plan;
  }
  float* next = p.scratch;
  const auto bands = bands_of(p, {}, [&](const peft4j_cuda_segment& s) { return plan.sums.piece(s, next); });
  int64_t end = 0, rank = 0;
  bool one_piece = true;
  plan.first_row = bands[0].begin;
  for (const Band& band : bands) {
    plan.first_row = std::min(plan.first_row, band.begin);
    end = std::max(end, band.end);
    one_piece = one_piece && band.pieces.size() <= 1;
    rank = std::max<int64_t>(rank, band.pieces.empty() ? 0 : band.pieces[0].rank);
  }
  plan.rows = end - plan.first_row;
  const int64_t bytes = 4 * (plan.sums.scratch() + stripes * rows * rank);
  plan.one_pass = one_piece && static_cast<double>(bytes) <= kMost * 2 * static_cast<double>(rows * p.columns);
  return plan;
}

// One or two for each multiprocessor of an H200; no card's own number: the bits are the same on all.
Plan plan_of(const peft4j_cuda_lora& p) {
  const Plan two = plan_of(p, 256);
  return two.one_pass ? two : plan_of(p, 128);
}

template <class T>
int one_pass(const Plan& plan, cudaStream_t stream) {
  const peft4j_cuda_lora& p = plan.sums.p;
  const auto *dy = static_cast<const T*>(p.x), *h = static_cast<const T*>(p.h);
  auto *y = static_cast<T*>(p.y), *g = static_cast<T*>(p.g);
  float *partial_g = p.scratch + plan.sums.scratch(), *next = p.scratch;
  OnePass<T> arguments{dy,
                       h,
                       y,
                       p.x_stride,
                       p.h_stride,
                       p.y_stride,
                       plan.sums.rows_of_a_split,
                       partial_g,
                       plan.first_row,
                       plan.rows,
                       static_cast<int>(p.columns),
                       packs(dy, p.x_stride),
                       packs(y, p.y_stride),
                       p.add != 0,
                       {}};
  const auto make = [&](const peft4j_cuda_segment& s) { return plan.sums.piece(s, next); };
  const auto bands = bands_of(p, {h, p.h_stride, 0}, make);
  int status = for_groups(bands, plan.sums.rows_of_a_split, 1, [&](const Table& table, int) {
    arguments.table = table;
    constexpr size_t kShared = kSharedG + kWarps * kSharedTile<T>;
    const dim3 grid(table.tiles, static_cast<unsigned>(plan.stripes));
    return p.factor_dtype == 0
               ? PEFT4J_LAUNCH((lora_grad_b<T, float>), grid, dim3(kThreads), kShared, stream, arguments)
               : PEFT4J_LAUNCH((lora_grad_b<T, T>), grid, dim3(kThreads), kShared, stream, arguments);
  });
  if (status != 0) {
    return status;
  }
  Finish<T> finish{g, p.g_stride, partial_g, plan.stripes, plan.first_row, plan.rows, {}};
  status =
      for_groups(bands_of(p, {g, p.g_stride, p.h_columns}, piece_of), kFinishRows, 1, [&](const Table& table, int) {
        finish.table = table;
        return PEFT4J_LAUNCH(lora_grad_b_finish<T>, dim3(table.tiles), dim3(kThreads), 0, stream, finish);
      });
  return status != 0 ? status : plan.sums.add_partials(stream);
}

// g as lora_shrink makes h.
peft4j_cuda_lora shrink_of(const peft4j_cuda_lora& p) {
  peft4j_cuda_lora shrink = p;
  shrink.h = p.g;
  shrink.h_stride = p.g_stride;
  return shrink;
}

// The two use the same scratch memory, one after the other.
int64_t two_passes_scratch(const peft4j_cuda_lora& p) {
  const peft4j_cuda_lora shrink = shrink_of(p);
  return std::max(p.g == nullptr ? 0 : peft4j_cuda_lora_shrink_scratch(&shrink), rank_sum_scratch(p, true));
}

int two_passes(const peft4j_cuda_lora& p, cudaStream_t stream) {
  if (p.g != nullptr) {
    const peft4j_cuda_lora shrink = shrink_of(p);
    if (const int status = peft4j_cuda_lora_shrink(&shrink, stream)) {
      return status;
    }
  }
  return wants_gradients(p) ? rank_sum(p, p.h, p.h_stride, true, stream) : 0;
}

}  // namespace
}  // namespace peft4j::cuda

int64_t peft4j_cuda_lora_grad_b_scratch(const peft4j_cuda_lora* p) {
  using namespace peft4j::cuda;
  const Plan plan = plan_of(*p);
  return plan.one_pass ? plan.sums.scratch() + plan.scratch_g() : two_passes_scratch(*p);
}

int peft4j_cuda_lora_grad_b(const peft4j_cuda_lora* p, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  const Plan plan = plan_of(*p);
  if (!plan.one_pass) {
    return two_passes(*p, s);
  }
  return p->dtype == 1 ? one_pass<__nv_bfloat16>(plan, s) : one_pass<__half>(plan, s);
}
