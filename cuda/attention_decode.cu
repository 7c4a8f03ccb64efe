/*
attention_decode: a few query rows per sequence against a cache of keys and values, contiguous or paged; forward only.

    o = Σ_j softmax_j(s) v_j,   s_j = scale·q·k_j (or cap·tanh(s_j / cap)) over the prefix and the keys that the row sees

Memory bound: 2·n·Hkv·D numbers of keys and values for a sequence of n keys; the 4·n·Hq·D operations are 2·Hq/Hkv for each of
these numbers. S 64, n 4096, 8 key heads, D 128 in 16 bits: 1.07 GB, 0.25 ms at 4.3 TB/s.

Split over the keys (flash-decoding, Dao et al. 2023): a block takes a stretch of one sequence's keys for one key head and
leaves an o in float32 and a log-sum-exp; a second kernel joins the stretches in order. The query heads that share a key head
are the rows of one tile (GQA packing), so keys are read once for all of them. Up to 16 rows: the four warps of a block take 16 keys each of a
chunk of 64 and are joined in shared memory. More rows: 16 a warp.
A prefix that all sequences share is read once for all (cascade, Ye et al. 2024): there the rows of all sequences are the rows
of the tiles, and its stretches are joined with those of the cache.
How many stretches there are follows from shapes and the longest sequence: enough for kBlocks blocks, none below kShortest keys.
*/
#include "device/attend.h"
#include "device/numbers.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_decode;

constexpr int64_t kBlocks = 512, kShortest = 256;

// One of the two: all runs of rows against the keys of their cache, or against their prefix.
struct Part {
  bool prefix;
  int64_t runs, tokens;          // runs of rows that see the same keys, tokens of each
  uint32_t tiles, splits;        // of a run's rows, of its keys
  uint32_t first_split;          // of this part among all
  Divisor group, block_size;     // query heads of a key head; of a paged cache
};

// [splits, tokens, heads, D] and [splits, tokens, heads]; the latter are logarithms to base 2.
struct Partials {
  float *o, *lse;
  int64_t heads, columns;  // tokens·heads

  static Partials of(const Params& p, int64_t splits) {
    const int64_t heads = p.sequences * p.queries * p.query_heads;
    return {p.scratch, p.scratch + splits * heads * p.head_size, heads, p.head_size};
  }
  PEFT4J_DEVICE float* o_of(uint32_t split, int64_t head) const { return o + (split * heads + head) * columns; }
  PEFT4J_DEVICE float& lse_of(uint32_t split, int64_t head) const { return lse[split * heads + head]; }
};

template <class T, int Columns, int RowWarps, int KeyWarps, int KeysAtOnce>
size_t shared_bytes() {
  constexpr int kWarps = RowWarps * KeyWarps;
  return std::max(Tile<T, Columns>::bytes(16 * RowWarps + 2 * KeysAtOnce),
                  Tile<float, Columns>::bytes(16 * kWarps) + 2 * 16 * kWarps * sizeof(float));
}

template <class T, int Columns, int RowWarps, int KeyWarps, int KeysAtOnce>
__global__ void __launch_bounds__(32 * RowWarps * KeyWarps)
    decode_part(Params p, Part part, Partials to, bool aligned) {
  static_assert(RowWarps == 1 || KeyWarps == 1);
  constexpr int kWarps = RowWarps * KeyWarps, kRows = 16 * RowWarps;
  const Tile<T, Columns> q{reinterpret_cast<T*>(shared_memory())}, k{q.at(kRows, 0)}, v{k.at(KeysAtOnce, 0)};
  const int warp = threadIdx.x / 32, row = warp / KeyWarps * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const uint32_t split = blockIdx.x % part.splits, tile = blockIdx.x / part.splits % part.tiles;
  const uint32_t run_head = blockIdx.x / part.splits / part.tiles, run = run_head / static_cast<uint32_t>(p.key_heads);
  const int64_t key_head = run_head % static_cast<uint32_t>(p.key_heads);
  const int columns = static_cast<int>(p.head_size), queries = static_cast<int>(p.queries);
  const PackedRows rows{run * part.tokens, static_cast<uint32_t>(part.tokens) * part.group.number, part.group,
                        key_head * part.group.number};
  const uint32_t first = tile * kRows;

  Keys<T> keys;
  int n, window = 0;
  if (part.prefix) {
    const int64_t at = (run * p.prefix * p.key_heads + key_head) * columns;
    n = static_cast<int>(p.prefix);
    keys = {static_cast<const T*>(p.prefix_k) + at,
            static_cast<const T*>(p.prefix_v) + at,
            p.key_heads * columns,
            nullptr,
            0,
            {}};
  } else {
    const int32_t begin = p.cu_seqlens_k[run];
    const int64_t at = key_head * p.head + (p.block_table == nullptr ? begin * p.key : 0);
    n = p.cu_seqlens_k[run + 1] - begin;
    window = static_cast<int>(p.window);
    keys = {static_cast<const T*>(p.k) + at,
            static_cast<const T*>(p.v) + at,
            p.key,
            p.block_table == nullptr ? nullptr : p.block_table + run * p.max_blocks,
            p.block,
            part.block_size};
  }
  // The stretch of this block, and what of it the lane's rows see.
  const int oldest = window > 0 ? max(0, n - queries - window + 1) : 0;
  const int stretch = ((n - oldest + part.splits - 1) / part.splits + KeysAtOnce - 1) / KeysAtOnce * KeysAtOnce;
  const KeyRange range{min(n, oldest + static_cast<int>(split) * stretch),
                       min(n, oldest + static_cast<int>(split + 1) * stretch)};
  KeyRange seen[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int position = n - queries + static_cast<int>(part.group.quotient(first + row + g + 8 * h));
    seen[h] = part.prefix
                  ? range
                  : KeyRange{max(range.begin, window > 0 ? position - window + 1 : 0), min(range.end, position + 1)};
  }

  const auto row_at = [&](int i) {
    return first + i < rows.rows
               ? rows.of(Heads<const T>{static_cast<const T*>(p.q.data), p.q.row, p.q.head}, first + i)
               : nullptr;
  };
  gather_tile(q, 0, kRows, row_at, columns, aligned, threadIdx.x, 32 * kWarps);
  Attended<Columns> found;
  attend<kWarps, KeyWarps, KeysAtOnce>(found, q, row, k, v, keys, range, seen, Score::of(p.scale, p.softcap), columns,
                                       aligned, false, [] {});

  // The warps of the same rows are joined, and leave with a whole row of 16-byte stores.
  __syncthreads();
  const Tile<float, Columns> o_of{reinterpret_cast<float*>(shared_memory())};
  float* const max_of = o_of.at(16 * kWarps, 0);
  float* const sum_of = max_of + 16 * kWarps;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int at = warp * 16 + g + 8 * h;
    if (t == 0) {
      max_of[at] = found.softmax.maximum[h];
      sum_of[at] = found.softmax.sum[h];
    }
#pragma unroll
    for (int i = 0; i < Columns / 8; ++i) {
      pair_at(o_of, at, 8 * i + 2 * t) = {found.o[0][i][2 * h], found.o[0][i][2 * h + 1]};
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kRows * Columns / 4; i += 32 * kWarps) {
    const int r = i / (Columns / 4), column = i % (Columns / 4) * 4;
    if (column >= columns || first + r >= rows.rows) {
      continue;
    }
    float most = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int w = 0; w < KeyWarps; ++w) {
      most = fmaxf(most, max_of[r + 16 * w]);
    }
    Pack<float> o = {};
#pragma unroll
    for (int w = 0; w < KeyWarps; ++w) {
      const float share = most == -INFINITY ? 0.0f : exp2_approx(max_of[r + 16 * w] - most);
      const Pack<float> own = load_pack(o_of.at(r + 16 * w, column));
      sum += share * sum_of[r + 16 * w];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        o.v[j] += share * own.v[j];
      }
    }
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      o.v[j] *= inverse;
    }
    const uint32_t token = part.group.quotient(first + r);
    const int64_t head =
        (rows.first_token + token) * p.query_heads + rows.first_head + part.group.rest(first + r, token);
    store_columns(to.o_of(part.first_split + split, head), column, o, columns, columns % 4 == 0);
    if (column == 0) {
      to.lse_of(part.first_split + split, head) = sum == 0.0f ? -INFINITY : most + log2f(sum);
    }
  }
}

constexpr int kJoinWarps = 4;

// A warp for each head of each row; four columns a lane, and four again 128 further.
template <class T>
__global__ void __launch_bounds__(32 * kJoinWarps) decode_join(Params p, Partials from, uint32_t splits, bool aligned) {
  const int64_t head = static_cast<int64_t>(blockIdx.x) * kJoinWarps + threadIdx.x / 32;
  if (head >= from.heads) {
    return;
  }
  const int columns = static_cast<int>(from.columns), first = threadIdx.x % 32 * 4;
  float most = -INFINITY, sum = 0.0f;
  for (uint32_t s = 0; s < splits; ++s) {
    most = fmaxf(most, from.lse_of(s, head));
  }
  Pack<float> o[2] = {};
  for (uint32_t s = 0; s < splits && most > -INFINITY; ++s) {
    const float share = exp2_approx(from.lse_of(s, head) - most);
    sum += share;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto part = load_columns<float, 4>(from.o_of(s, head), first + 128 * i, columns, columns % 4 == 0);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        o[i].v[j] += share * part.v[j];
      }
    }
  }
  T* const to = static_cast<T*>(p.o.data) + head / p.query_heads * p.o.row + head % p.query_heads * p.o.head;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    Pack<T, 4> joined;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      joined.v[j] = from_float<T>(sum == 0.0f ? 0.0f : o[i].v[j] / sum);
    }
    store_columns(to, first + 128 * i, joined, columns, aligned);
  }
}

// Rows of a run that a warp of few rows takes alone.
bool few_rows(const Params& p, const Part& part) {
  return part.tokens * (p.query_heads / p.key_heads) <= 16;
}

Part part_of(const Params& p, bool prefix, int64_t first_split) {
  Part part{prefix,
            prefix && p.prefix_shared ? 1 : p.sequences,
            0,
            0,
            0,
            static_cast<uint32_t>(first_split),
            Divisor(static_cast<uint32_t>(p.query_heads / p.key_heads)),
            Divisor(static_cast<uint32_t>(std::max<int64_t>(p.block_size, 1)))};
  part.tokens = part.runs == 1 ? p.sequences * p.queries : p.queries;
  const int64_t rows = part.tokens * (p.query_heads / p.key_heads);
  const int64_t longest = prefix ? p.prefix : p.window > 0 ? std::min(p.longest, p.window + p.queries - 1) : p.longest;
  const int64_t tiles = divide_up(rows, few_rows(p, part) ? 16 : 64), blocks = part.runs * p.key_heads * tiles;
  part.tiles = static_cast<uint32_t>(tiles);
  part.splits = static_cast<uint32_t>(
      std::max<int64_t>(1, std::min(divide_up(kBlocks, std::max<int64_t>(1, blocks)), divide_up(longest, kShortest))));
  return part;
}

template <class T, int Columns, int RowWarps, int KeyWarps, int KeysAtOnce>
int launch_part(const Params& p, const Part& part, const Partials& to, bool aligned, cudaStream_t stream) {
  const int64_t blocks = part.runs * p.key_heads * part.tiles * part.splits;
  return PEFT4J_LAUNCH((decode_part<T, Columns, RowWarps, KeyWarps, KeysAtOnce>), dim3(static_cast<unsigned>(blocks)),
                       dim3(32 * RowWarps * KeyWarps), (shared_bytes<T, Columns, RowWarps, KeyWarps, KeysAtOnce>()),
                       stream, p, part, to, aligned);
}

template <class T, int Columns>
int launch_part(const Params& p, const Part& part, const Partials& to, bool aligned, cudaStream_t stream) {
  if constexpr (sizeof(T) == 4) {
    return few_rows(p, part) ? launch_part<T, Columns, 1, 1, 16>(p, part, to, aligned, stream)
                             : launch_part<T, Columns, 4, 1, 16>(p, part, to, aligned, stream);
  } else {
    return few_rows(p, part) ? launch_part<T, Columns, 1, 4, 64>(p, part, to, aligned, stream)
                             : launch_part<T, Columns, 4, 1, Columns == 256 ? 32 : 64>(p, part, to, aligned, stream);
  }
}

template <class T>
int launch(const Params& p, const Part& cache, const Part& prefix, cudaStream_t stream) {
  const int64_t splits = cache.splits + prefix.splits;
  const Partials partials = Partials::of(p, splits);
  const auto rows_pack = [&](const void* data, int64_t row, int64_t head) {
    return packs(static_cast<const T*>(data), row) && head % Pack<T>::kSize == 0 && p.head_size % Pack<T>::kSize == 0;
  };
  const auto run = [&](const Part& part, bool aligned) {
    return p.head_size <= 64    ? launch_part<T, 64>(p, part, partials, aligned, stream)
           : p.head_size <= 128 ? launch_part<T, 128>(p, part, partials, aligned, stream)
                                : launch_part<T, 256>(p, part, partials, aligned, stream);
  };
  const bool q_packs = rows_pack(p.q.data, p.q.row, p.q.head);
  int status = run(cache, q_packs && rows_pack(p.k, p.key, p.head) && rows_pack(p.v, p.block, p.head));
  if (status == 0 && prefix.splits > 0) {
    status = run(prefix, q_packs && rows_pack(p.prefix_k, 0, 0) && rows_pack(p.prefix_v, 0, 0));
  }
  if (status == 0) {
    status =
        PEFT4J_LAUNCH(decode_join<T>, dim3(static_cast<unsigned>(divide_up(partials.heads, kJoinWarps))),
                      dim3(32 * kJoinWarps), 0, stream, p, partials, splits, rows_pack(p.o.data, p.o.row, p.o.head));
  }
  return status;
}

}  // namespace
}  // namespace peft4j::cuda

int64_t peft4j_cuda_attention_decode_scratch(const peft4j_cuda_decode* decode) {
  using namespace peft4j::cuda;
  const Params& p = *decode;
  const int64_t splits = part_of(p, false, 0).splits + (p.prefix > 0 ? part_of(p, true, 0).splits : 0);
  return splits * p.sequences * p.queries * p.query_heads * (p.head_size + 1);
}

int peft4j_cuda_attention_decode(const peft4j_cuda_decode* decode, void* stream) {
  using namespace peft4j::cuda;
  const Params& p = *decode;
  if (p.sequences == 0 || p.queries == 0) {
    return 0;
  }
  const Part cache = part_of(p, false, 0), prefix = p.prefix > 0 ? part_of(p, true, cache.splits) : Part{};
  return by_dtype(p.dtype, [&](auto number) {
    return launch<decltype(number)>(p, cache, prefix, static_cast<cudaStream_t>(stream));
  });
}
