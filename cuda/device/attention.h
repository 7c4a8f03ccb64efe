#pragma once
/*
What the attention kernels agree on: which rows and keys a block has, who sees whom, and how a product q·k becomes a logit.

The keys of a sequence are counted by column: its prefix first, then its own. They are one row of columns, never one in memory; a
tile of columns may hold the end of the prefix and the begin of the sequence, so a prefix of 4 keys costs 4 columns. The dropout
mask has the same columns.
*/
#include <type_traits>

#include "../peft4j_cuda.h"
#include "numbers.h"
#include "philox.h"
#include "warp.h"

namespace peft4j::cuda::attention {

constexpr int kMostHeadSize = 256;

// A call, and what follows from it: kernels find it among their arguments, where it costs no registers.
struct Call : peft4j_cuda_attention {
  float product_scale, cap;  // see Logits
  float kept_scale;          // of what dropout keeps
  int back, ahead;           // see Sequence
  bool aligned;              // every row of every head begins at a multiple of 16 bytes and has whole packs

  explicit Call(const peft4j_cuda_attention& a) : peft4j_cuda_attention(a) {
    constexpr int64_t kFar = 1 << 29;  // farther than any two rows are apart
    const int64_t distance = window > 0 && window < kFar ? window : kFar, pack = dtype == 0 ? 4 : 8;
    const auto good = [&](const void* p, int64_t stride) {
      return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride % pack == 0;
    };
    product_scale = (softcap > 0 ? 2 * kLog2E / softcap : kLog2E) * scale;
    cap = softcap * kLog2E;
    kept_scale = Dropout::of(seed, threshold).scale;
    back = static_cast<int>(distance) - 1;
    ahead = causal != 0 ? 1 : static_cast<int>(distance);
    aligned = head_size % pack == 0 && good(q, q_stride) && good(k, k_stride) && good(v, v_stride) &&
              good(prefix_k, prefix_stride) && good(prefix_v, prefix_stride) && good(out, 0) && good(dout, 0) &&
              good(dq, dq_stride) && good(dk, dk_stride) && good(dv, dv_stride);
  }
};

// ---- tiles of rows

/*
Tiles of `size` rows (or columns) of all sequences are numbered without knowing any length on the host: those of sequence s begin
at number (rows before s) / size + s, which leaves room for its last one. At most S numbers stay unused.
*/
inline int64_t tile_numbers(int64_t rows, int64_t sequences, int size) {
  return rows / size + sequences;
}

struct Place {
  int sequence, tile;
};

// Each sequence has `more` rows that cu does not count.
PEFT4J_DEVICE Place place_of(int64_t number, const int32_t* cu, int64_t sequences, int64_t more, int size) {
  const auto begin = [&](int s) { return (cu[s] + s * more) / size + s; };
  int low = 0, high = static_cast<int>(sequences);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (begin(middle) <= number ? low : high) = middle;
  }
  return {low, static_cast<int>(number - begin(low))};
}

// ---- who sees whom

struct Sequence {
  int number, first_q, queries, first_k, prefix, columns;
  int stand;        // query i stands at column stand + i: the last at the last (causal is aligned bottom right)
  int back, ahead;  // and sees, behind the prefix, the columns from that one - back to below that one + ahead

  // None of the two falls from one query to the next.
  PEFT4J_DEVICE int first(int query) const { return min(max(stand + query - back, prefix), columns); }
  PEFT4J_DEVICE int last(int query) const { return min(max(stand + query + ahead, prefix), columns); }

  PEFT4J_DEVICE bool sees(int query, int column) const {
    return (column < prefix) | ((column >= first(query)) & (column < last(query)));  // no branches
  }
  // Whether any of the queries [query, query_end) sees any of the columns [column, column_end).
  PEFT4J_DEVICE bool sees_any(int query, int query_end, int column, int column_end) const {
    return query < queries && column < columns &&
           (column < prefix || (column < last(min(query_end, queries) - 1) && column_end > first(query)));
  }
  // Whether each of the queries [query, query_end) sees each of the columns [column, column_end).
  PEFT4J_DEVICE bool sees_all(int query, int query_end, int column, int column_end) const {
    return column_end <= prefix ||
           (column_end <= last(query) && max(column, prefix) >= first(min(query_end, queries) - 1));
  }
};

PEFT4J_DEVICE Sequence sequence_of(const Call& a, int number) {
  Sequence s;
  s.number = number;
  s.first_q = a.cu_q[number];
  s.queries = a.cu_q[number + 1] - s.first_q;
  s.first_k = a.cu_k[number];
  s.prefix = static_cast<int>(a.prefix);
  s.columns = s.prefix + a.cu_k[number + 1] - s.first_k;
  s.stand = s.columns - s.queries;
  s.back = a.back;
  s.ahead = a.ahead;
  return s;
}

struct Range {
  int begin, end;
};

// The queries that see any of the columns [column, column_end).
PEFT4J_DEVICE Range queries_of(const Sequence& s, int column, int column_end) {
  if (column < s.prefix) {
    return {0, s.queries};
  }
  const int begin = min(max(column - s.stand - s.ahead + 1, 0), s.queries);
  return {begin, min(max(min(column_end, s.columns) - s.stand + s.back, begin), s.queries)};
}

// The tiles of columns that queries see: those of the prefix, then from `first` on.
struct ColumnTiles {
  int prefix_end, first, end;

  PEFT4J_DEVICE int begin() const { return prefix_end > 0 ? 0 : first; }
  PEFT4J_DEVICE int after(int tile) const { return tile + 1 < prefix_end ? tile + 1 : max(tile + 1, first); }
};

PEFT4J_DEVICE ColumnTiles column_tiles(const Sequence& s, int query, int query_end, int size) {
  const int first = s.first(query), last = s.last(min(query_end, s.queries) - 1);
  const int prefix_end = (s.prefix + size - 1) / size;
  return first < last ? ColumnTiles{prefix_end, first / size, (last + size - 1) / size}
                      : ColumnTiles{prefix_end, prefix_end, prefix_end};
}

// ---- what a block has

// Queries of one head, `size` of them from `first` on. Late tiles of a sequence come first: under a causal mask they see most.
struct QueryBlock {
  int64_t number;
  int head, key_head, first;
  Sequence s;

  PEFT4J_DEVICE QueryBlock(const Call& a, int size) {
    const unsigned heads = static_cast<unsigned>(a.query_heads), index = gridDim.x - 1 - blockIdx.x;
    number = index / heads;
    head = static_cast<int>(index % heads);
    key_head = head / static_cast<int>(heads / static_cast<unsigned>(a.key_heads));
    const Place place = place_of(number, a.cu_q, a.sequences, 0, size);
    s = sequence_of(a, place.sequence);
    first = place.tile * size;
  }
  PEFT4J_DEVICE bool there() const { return first < s.queries; }
};

inline dim3 query_blocks(const Call& a, int size) {
  return dim3(static_cast<unsigned>(tile_numbers(a.query_rows, a.sequences, size) * a.query_heads));
}

// Columns of one key head, `size` of them from `first` on, and the query heads [head, head + group) that share it.
struct ColumnBlock {
  int key_head, head, group, first;
  Sequence s;

  PEFT4J_DEVICE ColumnBlock(const Call& a, int size) {
    const unsigned heads = static_cast<unsigned>(a.key_heads);
    key_head = static_cast<int>(blockIdx.x % heads);
    group = static_cast<int>(static_cast<unsigned>(a.query_heads) / heads);
    head = key_head * group;
    const Place place = place_of(blockIdx.x / heads, a.cu_k, a.sequences, a.prefix, size);
    s = sequence_of(a, place.sequence);
    first = place.tile * size;
  }
  PEFT4J_DEVICE bool there() const { return first < s.columns; }
};

inline dim3 column_blocks(const Call& a, int size) {
  const int64_t columns = a.key_rows + a.sequences * a.prefix;
  return dim3(static_cast<unsigned>(tile_numbers(columns, a.sequences, size) * a.key_heads));
}

// ---- data

// A head in a row of q, k, dout, …
template <class T, class P>
PEFT4J_DEVICE T* head_rows(const Call& a, P* rows, int64_t row, int64_t stride, int head) {
  return static_cast<T*>(rows) + row * stride + head * a.head_size;
}

// Keys or values of one head of one sequence.
template <class T>
struct Columns {
  const T *prefix, *own;
  int64_t prefix_stride, own_stride;

  PEFT4J_DEVICE Columns(const Call& a, const Sequence& s, int head, const void* prefix_rows, const void* rows,
                        int64_t stride)
      : prefix(a.prefix == 0 ? nullptr
                             : static_cast<const T*>(prefix_rows) + s.number * a.prefix_stride + head * a.head_size),
        own(head_rows<const T>(a, rows, s.first_k, stride, head)),
        prefix_stride(a.key_heads * a.head_size),
        own_stride(stride) {}

  PEFT4J_DEVICE const T* row(const Sequence& s, int column) const {
    return column < s.prefix ? prefix + column * prefix_stride : own + (column - s.prefix) * own_stride;
  }
};

template <class T>
PEFT4J_DEVICE Columns<T> keys_of(const Call& a, const Sequence& s, int head) {
  return {a, s, head, a.prefix_k, a.k, a.k_stride};
}

template <class T>
PEFT4J_DEVICE Columns<T> values_of(const Call& a, const Sequence& s, int head) {
  return {a, s, head, a.prefix_v, a.v, a.v_stride};
}

// ---- logits

struct Capped {
  float value, slope;  // softcap·tanh(x / softcap), and what that changes with x
};

// What makes a logit, to base 2, of a product q·k: the scale or the soft-cap, then the bias of the distance.
struct Logits {
  float scale, cap;
  const float* line;  // bias by distance, in shared memory, times log2(e); null: none
  int reach;          // distances beyond it have its bias

  PEFT4J_DEVICE Logits(const Call& a, const float* bias_line)
      : scale(a.product_scale),
        cap(a.cap),
        line(a.bias == nullptr ? nullptr : bias_line),
        reach(static_cast<int>(a.max_distance)) {}

  // Whether it is the product times a positive scale: then a softmax can take the scale into its exponent.
  PEFT4J_DEVICE bool plain() const { return cap == 0 && line == nullptr && scale > 0; }

  PEFT4J_DEVICE Capped capped(float product) const {  // tanh x = 1 - 2r with r = 1 / (1 + exp 2x)
    const float r = __fdividef(1.0f, 1.0f + exp2_approx(product * scale));
    return {cap - 2 * cap * r, 4 * r * (1 - r)};
  }
  PEFT4J_DEVICE float bias(const Sequence& s, int query, int column) const {
    const float there = line[min(max(column - s.stand - query, -reach), reach) + reach];
    return column < s.prefix ? 0.0f : there;
  }
};

__host__ __device__ inline int64_t bias_numbers(const Call& a) {
  return a.bias == nullptr ? 0 : 2 * a.max_distance + 1;
}

// One head's bias by distance, by the whole block or so many of its threads; the caller's next barrier makes it known.
PEFT4J_DEVICE void load_bias(float* line, const Call& a, int head, int thread, int threads) {
  if (a.bias == nullptr) {
    return;
  }
  for (int i = thread; i < 2 * a.max_distance + 1; i += threads) {
    line[i] = a.bias[a.bucket_of[i] * a.query_heads + head] * kLog2E;
  }
}
PEFT4J_DEVICE void load_bias(float* line, const Call& a, int head) {
  load_bias(line, a, head, threadIdx.x, blockDim.x);
}

// ---- backward

/* Of each row, [Hq, Tq] in scratch: δ = rowsum(dO∘O), and the log-sum-exp to base 2, +∞ for a row without keys (so P is 0). */
PEFT4J_DEVICE const float* delta_of(const Call& a, const Sequence& s, int head) {
  return a.scratch + head * a.query_rows + s.first_q;
}
PEFT4J_DEVICE const float* lse_of(const Call& a, const Sequence& s, int head) {
  return delta_of(a, s, head) + a.query_heads * a.query_rows;
}

__host__ __device__ inline int64_t row_numbers(const Call& a) {  // of both
  return 2 * a.query_heads * a.query_rows;
}

// The prefix's gradients, [P, Hkv, D] by sequence; where it is shared they are parts, in scratch, that are summed afterwards.
struct PrefixGradients {
  float *dk, *dv;
};
__host__ __device__ inline int64_t prefix_numbers(const Call& a) {
  return a.prefix * a.key_heads * a.head_size;
}
PEFT4J_DEVICE PrefixGradients prefix_gradients(const Call& a) {
  float* parts = a.scratch + row_numbers(a);
  return a.prefix_stride == 0 ? PrefixGradients{parts, parts + a.sequences * prefix_numbers(a)}
                              : PrefixGradients{a.prefix_dk, a.prefix_dv};
}
PEFT4J_DEVICE int64_t prefix_index(const Call& a, const Sequence& s, int column, int key_head) {
  return ((s.number * a.prefix + column) * a.key_heads + key_head) * a.head_size;
}

// Host: calls f with the smallest width of tiles that holds a head.
template <class F>
int by_head_size(const Call& a, const F& f) {
  const int64_t d = a.head_size;
  return d <= 32    ? f(std::integral_constant<int, 32>())
         : d <= 64  ? f(std::integral_constant<int, 64>())
         : d <= 80  ? f(std::integral_constant<int, 80>())
         : d <= 96  ? f(std::integral_constant<int, 96>())
         : d <= 128 ? f(std::integral_constant<int, 128>())
                    : f(std::integral_constant<int, 256>());
}

// ---- attention_forward_sm90a.cu, attention_backward_sm90a.cu: whether card and tensors allow wgmma, and the launches

bool sm90a_takes(const Call& a);
int forward_sm90a(const Call& a, cudaStream_t stream);
int backward_sm90a(const Call& a, cudaStream_t stream);  // after attention_delta

// ---- attention_plain.cu: float32, and the table's gradient for all types

// partials: [bias_splits, buckets, Hq], or null
int forward_plain(const Call& a, cudaStream_t stream);
int backward_plain(const Call& a, float* partials, cudaStream_t stream);
int bias_gradient(const Call& a, float* partials, cudaStream_t stream);
int64_t bias_splits(const Call& a);

}  // namespace peft4j::cuda::attention
