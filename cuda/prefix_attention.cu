/*
prefix_attention: what a prefix of P keys adds to attention that was computed without it, and the gradients of that.

Part 1 is anybody's attention over the sequence: o₁ [T, Hq, D] with its log-sum-exp L₁ [T, Hq]. Here, for each row and head:

    s_j = scale·q·k_j over the P prefix keys,   L = log(exp L₁ + Σ_j exp s_j),   o = exp(L₁ - L)·o₁ + Σ_j exp(s_j - L)·v_j
backward, given do and the joined o and L (part 1's own backward takes the same two and gives its share of dq):
    p_j = exp(s_j - L),   δ = do·o,   ds_j = scale·p_j·(do·v_j - δ)
    dq += Σ_j ds_j k_j,   dk_j = Σ ds_j q,   dv_j = Σ p_j do      sums over the rows, and the heads of a group, that saw j

With a gate γ (LLaMA-Adapter, Zhang et al. 2023) the prefix has a softmax of its own: L = log Σ_j exp s_j,
    o₂ = Σ_j exp(s_j - L)·v_j,   o = o₁ + γ·o₂;      δ = do·o₂,   ds_j = scale·γ·p_j·(do·v_j - δ),   dv_j = γ·Σ p_j do,   dγ = Σ δ

Memory bound for the prefixes that people train. A row and head in 16 bits moves 6·D bytes forward (q, o₁, o) and 10·D backward
(q, do, o, dq twice), and does 4·P·D operations forward, 10·P·D backward: at 4.3 TB/s and 400 TF both take as long as the memory
at P 140 forward and 93 backward.
D 128, Hq 32, T 8192: 201 MB forward, 47 µs; 336 MB and for P 64 another 34 MB of partial sums backward, 86 µs.

Forward   A block has one key head of one prefix in shared memory (or in chunks: attend.h) and walks tiles of 64 rows; the query
          heads of a group are rows like others. Every warp goes on alone with its 16 rows: o₁ comes into the place of q when the
          scores are made, is joined there and leaves in 16-byte stores. P 4 is computed as 16 keys: 24 mma for 16 rows of D 128
          are less than the 512 FMA and the shuffles that 4 keys would take.
Backward  A block keeps dk and dv of its keys in registers over the tiles of rows that it walks. P and dS go through shared
          memory, so that warps share out rows for the scores and dq, keys and columns for dk and dv. P > 64 (16-bit) takes several
          chunks of keys one after the other, and dq is added to once for each. Partial sums per block, then fixed_order_sum;
          with as many key heads and prefixes as kBackwardBlocks there is one block for each and no second step.
*/
#include "device/attend.h"
#include "device/numbers.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_prefix;
using Gradients = peft4j_cuda_prefix_gradients;

constexpr int kForwardRows = 64;  // of a tile
constexpr int kForwardWarps = kForwardRows / 16;
// Blocks that are aimed at: a few for each multiprocessor. The backward's partial sums grow with them.
constexpr int64_t kForwardBlocks = 1024, kBackwardBlocks = 256;

template <class T>
PEFT4J_DEVICE Heads<T> heads(const peft4j_cuda_heads& h) {
  return {static_cast<T*>(h.data), h.row, h.head};
}

// The share of a block: tiles first, first + step, … of the rows that see its prefix, and that prefix's key head.
struct Share {
  int64_t sequence, key_head;
  uint32_t first, step;
  PackedRows rows;

  PEFT4J_DEVICE static Share of(const Params& p, uint32_t splits, const Divisor& group) {
    Share share;
    const uint32_t run = blockIdx.x / splits;
    share.first = blockIdx.x % splits;
    share.step = splits;
    share.key_head = run % static_cast<uint32_t>(p.key_heads);
    share.sequence = run / static_cast<uint32_t>(p.key_heads);
    const int64_t begin = p.cu_seqlens == nullptr ? 0 : p.cu_seqlens[share.sequence];
    const int64_t end = p.cu_seqlens == nullptr ? p.rows : p.cu_seqlens[share.sequence + 1];
    share.rows = {begin, static_cast<uint32_t>(end - begin) * group.number, group, share.key_head * group.number};
    return share;
  }
};

// Key 0 of the block's prefix and head.
template <class T>
PEFT4J_DEVICE Keys<T> keys_of(const Params& p, const Share& share) {
  const int64_t at = (share.sequence * p.prefix * p.key_heads + share.key_head) * p.head_size;
  return {static_cast<const T*>(p.k) + at, static_cast<const T*>(p.v) + at, p.key_heads * p.head_size, nullptr, 0, {}};
}

// Blocks of a multiprocessor that the compiler leaves registers for; 0: it decides.
template <class T, int Columns>
constexpr int kForwardOccupancy = Columns == 256   ? 0
                                  : sizeof(T) == 2 ? 4
                                                   : 2;

template <class T, int Columns, int KeysAtOnce>
size_t forward_bytes() {
  return Tile<T, Columns>::bytes(kForwardRows + 2 * KeysAtOnce);
}

template <class T, int Columns, int KeysAtOnce>
__global__ void __launch_bounds__(32 * kForwardWarps, kForwardOccupancy<T, Columns>)
    prefix_forward(Params p, uint32_t splits, Divisor group, bool aligned) {
  const Tile<T, Columns> q{reinterpret_cast<T*>(shared_memory())}, k{q.at(kForwardRows, 0)}, v{k.at(KeysAtOnce, 0)};
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16, g = lane / 4, t = lane % 4;
  const Share share = Share::of(p, splits, group);
  const int columns = static_cast<int>(p.head_size), prefix = static_cast<int>(p.prefix);
  const Score score = Score::of(p.scale, 0.0f);
  const float gate = p.gate == nullptr ? 1.0f : *p.gate;
  const KeyRange all{0, prefix}, seen[2] = {all, all};
  bool resident = false;
  for (uint32_t tile = share.first; tile * kForwardRows < share.rows.rows; tile += share.step) {
    const uint32_t first = tile * kForwardRows + row;
    gather_rows(q, row, heads<const T>(p.q), share.rows, first, columns, aligned);
    Attended<Columns> part;
    attend<kForwardWarps, 1, KeysAtOnce>(
        part, q, row, k, v, keys_of<T>(p, share), all, seen, score, columns, aligned, resident,
        [&] { gather_rows(q, row, heads<const T>(p.o1), share.rows, first, columns, aligned); });
    resident = prefix <= KeysAtOnce;
    float of_o1[2], of_o2[2], lse[2];  // factors
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint32_t r = first + g + 8 * h;
      lse[h] = part.softmax.maximum[h] + log2f(part.softmax.sum[h]);
      of_o1[h] = 1.0f;
      if (p.gate == nullptr) {
        const float given = r < share.rows.rows ? *share.rows.of(heads<const float>(p.lse1), r) : -INFINITY;
        const float lse1 = given == INFINITY ? -INFINITY : given * kLog2E;
        const float most = fmaxf(lse1, lse[h]);
        lse[h] = most + log2f(exp2_approx(lse1 - most) + exp2_approx(lse[h] - most));
        of_o1[h] = exp2_approx(lse1 - lse[h]);
      }
      of_o2[h] = exp2_approx(part.softmax.maximum[h] - lse[h]);
    }
    cp_async_wait<0>();
    __syncwarp();  // o₁ is there; all have read lse1
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint32_t r = first + g + 8 * h;
      if (r < share.rows.rows && t == 0) {
        *share.rows.of(heads<float>(p.lse), r) = lse[h] * kLn2;
      }
#pragma unroll
      for (int n = 0; n < Columns / 8; ++n) {
        Pack<T, 2> joined = pair_at(q, row + g + 8 * h, 8 * n + 2 * t), second;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float own = of_o2[h] * part.o[0][n][2 * h + i];
          second.v[i] = from_float<T>(own);
          joined.v[i] = from_float<T>(of_o1[h] * to_float(joined.v[i]) + gate * own);
        }
        pair_at(q, row + g + 8 * h, 8 * n + 2 * t) = joined;
        if (p.o2.data != nullptr && r < share.rows.rows) {
          store_columns(share.rows.of(heads<T>(p.o2), r), 8 * n + 2 * t, second, columns, aligned);
        }
      }
    }
    __syncwarp();
    // The chunks of the next q that a lane brings are those that it reads here.
    scatter_rows(q, row, heads<T>(p.o), share.rows, first, columns, aligned);
  }
}

// How a block of the backward shares its work: 16 rows or 16 keys a warp, and what of the other axis.
template <class T, int Columns, int KeysAtOnce>
struct Shape {
  static constexpr int kRows = KeysAtOnce > 16 ? 32 : sizeof(T) == 2 ? 64 : Columns == 256 ? 16 : 32;  // of a tile
  static constexpr int kWarps = KeysAtOnce > 16 ? 8 : 4;
  static constexpr int kRowGroups = kRows / 16, kKeyGroups = KeysAtOnce / 16;
  static constexpr int kScoreSlices = std::min(kWarps / kRowGroups, kKeyGroups), kScoreKeys = KeysAtOnce / kScoreSlices;
  static constexpr int kQuerySlices = kWarps / kRowGroups, kQueryColumns = Columns / kQuerySlices;
  static constexpr int kQueryStep = std::min(kQueryColumns, 64);  // columns of dq that are in registers at once
  static constexpr int kKeySlices = std::min(kWarps / kKeyGroups, Columns / 16), kKeyColumns = Columns / kKeySlices;

  static constexpr size_t bytes() {
    return Tile<T, Columns>::bytes(2 * kRows + 2 * KeysAtOnce) + Tile<T, KeysAtOnce>::bytes(2 * kRows) +
           (2 * kRows + 32) * sizeof(float);
  }
};

template <class T, int Columns, int KeysAtOnce>
__global__ void __launch_bounds__(32 * Shape<T, Columns, KeysAtOnce>::kWarps)
    prefix_backward(Params p, Gradients gradients, float* dk_out, float* dv_out, float* dgate_out, uint32_t splits,
                    Divisor group, bool aligned) {
  using S = Shape<T, Columns, KeysAtOnce>;
  constexpr int kRows = S::kRows, kThreads = 32 * S::kWarps, kChunk = Tile<T, Columns>::kChunk;
  const Tile<T, Columns> q{reinterpret_cast<T*>(shared_memory())}, dout{q.at(kRows, 0)}, k{dout.at(kRows, 0)},
      v{k.at(KeysAtOnce, 0)};
  const Tile<T, KeysAtOnce> prob{v.at(KeysAtOnce, 0)}, ds{prob.at(kRows, 0)};
  auto* const lse = reinterpret_cast<float*>(ds.at(kRows, 0));  // to base 2
  float* const delta = lse + kRows;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int row_group = warp % S::kRowGroups * 16, row_slice = warp / S::kRowGroups;
  const int key_group = warp % S::kKeyGroups * 16, key_slice = warp / S::kKeyGroups;
  const Share share = Share::of(p, splits, group);
  const Keys<T> keys = keys_of<T>(p, share);
  const int columns = static_cast<int>(p.head_size), prefix = static_cast<int>(p.prefix);
  const Score score = Score::of(p.scale, 0.0f);
  const float gate = p.gate == nullptr ? 1.0f : *p.gate;
  const Heads<const T> dout_rows = heads<const T>(gradients.dout),
                       o_rows = heads<const T>(p.gate == nullptr ? p.o : p.o2);
  const bool works = share.first * kRows < share.rows.rows;
  float dgate = 0.0f;
  for (int begin = 0; begin < prefix; begin += KeysAtOnce) {
    const auto copy_keys = [&](const Tile<T, Columns>& tile, const T* from) {
      const auto row_at = [&](int i) { return begin + i < prefix ? from + keys.offset(begin + i) : nullptr; };
      gather_tile(tile, 0, KeysAtOnce, row_at, columns, aligned, threadIdx.x, kThreads);
    };
    if (works) {
      copy_keys(k, keys.k);
      copy_keys(v, keys.v);
    }
    Sums<1, S::kKeyColumns / 8> dk = {}, dv = {};
    for (uint32_t tile = share.first; tile * kRows < share.rows.rows; tile += share.step) {
      const uint32_t first = tile * kRows;
      for (int row = warp * 16; row < kRows; row += S::kWarps * 16) {
        gather_rows(q, row, heads<const T>(p.q), share.rows, first + row, columns, aligned);
        gather_rows(dout, row, dout_rows, share.rows, first + row, columns, aligned);
      }
      cp_async_commit();
      // Meanwhile δ and L, eight lanes a row.
#pragma unroll 1
      for (int row = threadIdx.x / 8; row < kRows; row += kThreads / 8) {
        const uint32_t r = first + row;
        const bool there = r < share.rows.rows;
        float sum = 0.0f;
        for (int column = lane % 8 * kChunk; there && column < columns; column += 8 * kChunk) {
          const auto a = load_columns<T, kChunk>(share.rows.of(dout_rows, r), column, columns, aligned),
                     b = load_columns<T, kChunk>(share.rows.of(o_rows, r), column, columns, aligned);
#pragma unroll
          for (int j = 0; j < kChunk; ++j) {
            sum += to_float(a.v[j]) * to_float(b.v[j]);
          }
        }
        sum = warp_sum<8>(sum);
        if (lane % 8 == 0) {
          delta[row] = sum;
          lse[row] = there ? *share.rows.of(heads<const float>(p.lse), r) * kLog2E : INFINITY;  // then P is 0
          dgate += begin == 0 ? sum : 0.0f;
        }
      }
      cp_async_wait<0>();
      __syncthreads();
      if (row_slice < S::kScoreSlices) {
        constexpr int N = S::kScoreKeys / 8;
        const int first_key = row_slice * S::kScoreKeys;
        Sums<1, N> s = {}, dp = {};
        add_nt<Columns>(s, q, row_group, k, first_key);
        add_nt<Columns>(dp, dout, row_group, v, first_key);
#pragma unroll
        for (int i = 0; i < 2 * N; ++i) {
          const int row = row_group + g + i % 2 * 8, column = first_key + i / 2 * 8 + 2 * t;
          Pack<T, 2> probabilities, derivatives;
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            const int at = i % 2 * 2 + j;
            const float x = begin + column + j < prefix ? gate * exp2_approx(score(s[0][i / 2][at]) - lse[row]) : 0.0f;
            probabilities.v[j] = from_float<T>(x);
            derivatives.v[j] = from_float<T>(p.scale * x * (dp[0][i / 2][at] - delta[row]));
          }
          pair_at(prob, row, column) = probabilities;
          pair_at(ds, row, column) = derivatives;
        }
      }
      __syncthreads();
      if (gradients.dq.data != nullptr) {
#pragma unroll
        for (int step = 0; step < S::kQueryColumns; step += S::kQueryStep) {
          const int column = row_slice * S::kQueryColumns + step;
          Sums<1, S::kQueryStep / 8> dq = {};
          add_nn<KeysAtOnce>(dq, ds, row_group, k, column);
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const uint32_t r = first + row_group + g + 8 * h;
            if (r < share.rows.rows) {
              T* const to = share.rows.of(heads<T>(gradients.dq), r);
#pragma unroll
              for (int n = 0; n < S::kQueryStep / 8; ++n) {
                const int c = column + 8 * n + 2 * t;
                Pack<T, 2> pair = load_columns<T, 2>(to, c, columns, aligned);
                pair.v[0] = from_float<T>(to_float(pair.v[0]) + dq[0][n][2 * h]);
                pair.v[1] = from_float<T>(to_float(pair.v[1]) + dq[0][n][2 * h + 1]);
                store_columns(to, c, pair, columns, aligned);
              }
            }
          }
        }
      }
      if (dk_out != nullptr && key_slice < S::kKeySlices) {
        add_tn<kRows>(dk, ds, key_group, q, key_slice * S::kKeyColumns);
        add_tn<kRows>(dv, prob, key_group, dout, key_slice * S::kKeyColumns);
      }
      __syncthreads();  // before the next rows, or keys
    }
    if (dk_out != nullptr && key_slice < S::kKeySlices) {
      // [splits, sequences, prefix, key heads, D]
      const int64_t from = (share.first * p.sequences + share.sequence) * prefix;
#pragma unroll
      for (int i = 0; i < S::kKeyColumns / 2; ++i) {
        const int key = begin + key_group + g + i % 4 / 2 * 8,
                  c = key_slice * S::kKeyColumns + i / 4 * 8 + 2 * t + i % 2;
        if (key < prefix && c < columns) {
          const int64_t at = ((from + key) * p.key_heads + share.key_head) * columns + c;
          dk_out[at] = dk[0][i / 4][i % 4];
          dv_out[at] = dv[0][i / 4][i % 4];
        }
      }
    }
  }
  if (dgate_out != nullptr) {
    dgate = block_sum(dgate, delta + kRows);
    if (threadIdx.x == 0) {
      dgate_out[blockIdx.x] = dgate;
    }
  }
}

// Whether all rows of heads, and those of the prefix, begin and end with a pack.
template <class T>
bool aligned(const Params& p, std::initializer_list<peft4j_cuda_heads> more) {
  bool all = packs(static_cast<const T*>(p.k), p.head_size) && packs(static_cast<const T*>(p.v), p.head_size);
  for (const peft4j_cuda_heads& h : more) {
    all &= packs(static_cast<const T*>(h.data), h.row) && h.head % Pack<T>::kSize == 0;
  }
  return all;
}

// Calls f(T(), columns of the tiles, keys of a chunk), the latter as std::integral_constant.
template <class F>
int by_shape(const Params& p, const F& f) {
  return by_dtype(p.dtype, [&](auto number) {
    const auto with = [&](auto columns) {
      constexpr int kMany = sizeof number == 4 ? 16 : columns == 256 ? 32 : 64;
      return p.prefix <= 16 ? f(number, columns, std::integral_constant<int, 16>())
                            : f(number, columns, std::integral_constant<int, kMany>());
    };
    return p.head_size <= 64    ? with(std::integral_constant<int, 64>())
           : p.head_size <= 128 ? with(std::integral_constant<int, 128>())
                                : with(std::integral_constant<int, 256>());
  });
}

Divisor group_of(const Params& p) {
  return Divisor(static_cast<uint32_t>(p.query_heads / p.key_heads));
}

// Blocks that share the rows of a prefix and key head.
int64_t splits_of(const Params& p, int64_t blocks) {
  const int64_t tiles = divide_up(p.longest * (p.query_heads / p.key_heads), 64), runs = p.sequences * p.key_heads;
  return std::max<int64_t>(1, std::min(tiles, divide_up(blocks, std::max<int64_t>(1, runs))));
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_prefix_attention(const peft4j_cuda_prefix* prefix, void* stream) {
  using namespace peft4j::cuda;
  const peft4j_cuda_prefix& p = *prefix;
  const int64_t splits = splits_of(p, kForwardBlocks), blocks = splits * p.sequences * p.key_heads;
  return by_shape(p, [&](auto number, auto columns, auto keys) {
    using T = decltype(number);
    return PEFT4J_LAUNCH((prefix_forward<T, columns, keys>), dim3(static_cast<unsigned>(blocks)),
                         dim3(32 * kForwardWarps), (forward_bytes<T, columns, keys>()),
                         static_cast<cudaStream_t>(stream), p, splits, group_of(p),
                         aligned<T>(p, {p.q, p.o1, p.o, p.o2}));
  });
}

int64_t peft4j_cuda_prefix_attention_scratch(const peft4j_cuda_prefix* prefix) {
  using namespace peft4j::cuda;
  const peft4j_cuda_prefix& p = *prefix;
  const int64_t splits = splits_of(p, kBackwardBlocks), runs = p.sequences * p.key_heads;
  return splits * runs * ((splits > 1 ? 2 * p.prefix * p.head_size : 0) + 1);
}

int peft4j_cuda_prefix_attention_backward(const peft4j_cuda_prefix* prefix,
                                          const peft4j_cuda_prefix_gradients* gradients, void* stream) {
  using namespace peft4j::cuda;
  const peft4j_cuda_prefix& p = *prefix;
  const peft4j_cuda_prefix_gradients& g = *gradients;
  const int64_t splits = splits_of(p, kBackwardBlocks), blocks = splits * p.sequences * p.key_heads;
  const int64_t n = p.sequences * p.prefix * p.key_heads * p.head_size;
  const bool wants_keys = g.prefix_dk != nullptr, adds = wants_keys && splits > 1;
  float* const dk = adds ? g.scratch : g.prefix_dk;
  float* const dv = adds ? dk + splits * n : g.prefix_dv;
  float* const dgate = g.dgate == nullptr ? nullptr : splits > 1 ? g.scratch + 2 * splits * n : g.scratch;
  int status = by_shape(p, [&](auto number, auto columns, auto keys) {
    using T = decltype(number);
    using S = Shape<T, columns, keys>;
    return PEFT4J_LAUNCH((prefix_backward<T, columns, keys>), dim3(static_cast<unsigned>(blocks)), dim3(32 * S::kWarps),
                         S::bytes(), static_cast<cudaStream_t>(stream), p, g, dk, dv, dgate, splits, group_of(p),
                         aligned<T>(p, {p.q, p.gate == nullptr ? p.o : p.o2, g.dout, g.dq}));
  });
  if (status == 0 && adds) {
    status = peft4j_cuda_fixed_order_sum(g.prefix_dk, dk, n, splits, 0, stream);
  }
  if (status == 0 && adds) {
    status = peft4j_cuda_fixed_order_sum(g.prefix_dv, dv, n, splits, 0, stream);
  }
  if (status == 0 && dgate != nullptr) {
    status = peft4j_cuda_fixed_order_sum(g.dgate, dgate, 1, blocks, 0, stream);
  }
  return status;
}
