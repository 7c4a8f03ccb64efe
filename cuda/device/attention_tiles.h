#pragma once
/*
The attention kernels' work on tiles of 16-bit numbers, by sums as product.h has them.

"Queries are rows" is the layout of S = Q·Kᵀ, "keys are rows" that of Sᵀ = K·Qᵀ. In both P is the next product's operand as it
lies in the registers: O += P·V and dQ += dS·K in the first, dV += Pᵀ·dO and dK += dSᵀ·Q in the second.
*/
#include "attention.h"
#include "online_softmax.h"

namespace peft4j::cuda::attention {

enum class RowsAre { kQueries, kKeys };

// f(m, n, i, query, column), counted from the given ones.
template <RowsAre Layout, int M, int N, class F>
PEFT4J_DEVICE void each_pair(int query, int column, const F& f) {
  each<M, N>([&](int m, int n, int i, int r, int c) {
    if constexpr (Layout == RowsAre::kQueries) {
      f(m, n, i, query + r, column + c);
    } else {
      f(m, n, i, query + c, column + r);
    }
  });
}

// ---- scores

/*
Products q·k become logits to base 2, those that are hidden -∞. Returns what they are to be multiplied by: the scale where that is all
there is to do. slope(m, n, i, x): what the soft-cap multiplies a gradient by.
*/
template <RowsAre Layout, int M, int N, class Slope>
PEFT4J_DEVICE float make_logits(Sums<M, N>& sums, const Logits& logits, const Sequence& s, int query, int column,
                                const Slope& slope) {
  constexpr int kQueries = Layout == RowsAre::kQueries ? 16 * M : 8 * N,
                kColumns = Layout == RowsAre::kQueries ? 8 * N : 16 * M;
  if (logits.cap > 0) {
    each<M, N>([&](int m, int n, int i, int, int) {
      const Capped capped = logits.capped(sums[m][n][i]);
      sums[m][n][i] = capped.value;
      slope(m, n, i, capped.slope);
    });
  } else if (!logits.plain()) {
    each<M, N>([&](int m, int n, int i, int, int) { sums[m][n][i] *= logits.scale; });
  }
  if (logits.line != nullptr) {
    each_pair<Layout, M, N>(query, column,
                            [&](int m, int n, int i, int q, int c) { sums[m][n][i] += logits.bias(s, q, c); });
  }
  if (!s.sees_all(query, query + kQueries, column, column + kColumns)) {
    each_pair<Layout, M, N>(query, column, [&](int m, int n, int i, int q, int c) {
      sums[m][n][i] = s.sees(q, c) ? sums[m][n][i] : -INFINITY;
    });
  }
  return logits.plain() ? logits.scale : 1.0f;
}

// What follows from a softmax's maxima and sums: o, the sum of P·V, becomes the output; the log-sum-exp of these rows, from `query`
// on, is written.
template <int M, int N>
PEFT4J_DEVICE void finish(const OnlineSoftmax<M>& softmax, const Call& a, const Sequence& s, int head, int query,
                          Sums<M, N>& o) {
#pragma unroll
  for (int r = 0; r < 2 * M; ++r) {
    const float all = warp_sum<4>(softmax.sum[r]);
    multiply_row(o, r, all == 0 ? 0.0f : a.kept_scale / all);
    const int i = query + 8 * r + threadIdx.x % 32 / 4;
    if (threadIdx.x % 4 == 0 && i < s.queries) {
      a.lse[(s.first_q + i) * a.query_heads + head] = all == 0 ? -INFINITY : softmax.maximum[r] * kLn2 + logf(all);
    }
  }
}

// ---- memory

constexpr int kWarps = 4, kThreads = 32 * kWarps;  // of every block

/*
Rows row, … of `from` into the first `rows` rows of a tile, zeros from row `end` on. aligned: by cp.async, else by plain accesses. A thread
stays in its column of 16 bytes. Not unrolled: addresses of many rows, held through the products, cost more registers than the loop
costs time.
*/
template <class T, int D>
PEFT4J_DEVICE void copy_rows(const Call& a, const Tile<T, D>& tile, int rows, const T* from, int64_t stride, int row,
                             int end) {
  constexpr int kChunk = Pack<T>::kSize, kChunks = D / kChunk, kTogether = kThreads / kChunks;
  const int first = threadIdx.x / kChunks, column = threadIdx.x % kChunks * kChunk;
  if (first >= kTogether) {
    return;  // D 80 and 96: eight threads too many
  }
  const T* source = from + (row + first) * stride + column;
  const int whole = min(static_cast<int>(a.head_size) - column, kChunk);
#pragma unroll 1
  for (int i = first; i < rows; i += kTogether, source += kTogether * stride) {
    const int valid = row + i < end ? whole : 0;
    if (a.aligned) {
      cp_async<16>(tile.at(i, column), source, valid > 0 ? 16 : 0);
    } else {
      Pack<T> pack;
#pragma unroll
      for (int j = 0; j < kChunk; ++j) {
        pack.v[j] = j < valid ? source[j] : from_float<T>(0.0f);
      }
      store_pack(tile.at(i, column), pack);
    }
  }
}

// Rows of queries, or of their gradients, from row `query` of the sequence on.
template <class T, int D>
PEFT4J_DEVICE void copy_queries(const Call& a, const Tile<T, D>& tile, int rows, const void* from, int64_t stride,
                                const Sequence& s, int query, int head) {
  copy_rows(a, tile, rows, head_rows<const T>(a, from, s.first_q, stride, head), stride, query, s.queries);
}

// Columns of keys or values from `column` on.
template <class T, int D>
PEFT4J_DEVICE void copy_columns(const Call& a, const Tile<T, D>& tile, int count, const Columns<T>& from,
                                const Sequence& s, int column) {
  const int of_prefix = min(max(s.prefix - column, 0), count);
  if (of_prefix > 0) {
    copy_rows(a, tile, of_prefix, from.prefix, from.prefix_stride, column, s.prefix);
  }
  if (of_prefix < count) {
    copy_rows(a, Tile<T, D>{tile.at(of_prefix, 0)}, count - of_prefix, from.own, from.own_stride,
              column + of_prefix - s.prefix, s.columns - s.prefix);
  }
}

/*
Rows [begin, end) of a warp's sums to `to`, which is where row 0 and column 0 would go; columns from `column` on. On the way they
lie in the warp's own part of a tile, so that 16 bytes are written at once.
*/
template <int M, int N, class T, int D>
PEFT4J_DEVICE void write_rows(const Call& a, T* to, int64_t stride, int begin, int end, int column,
                              const Sums<M, N>& sums, const Tile<T, D>& tile, int row) {
  __syncwarp();
  each<M, N>([&](int m, int n, int i, int r, int c) {
    if (i % 2 == 0) {
      *reinterpret_cast<Pack<T, 2>*>(tile.at(row + r, column + c)) = {from_float<T>(sums[m][n][i]),
                                                                      from_float<T>(sums[m][n][i + 1])};
    }
  });
  __syncwarp();
  for (int i = threadIdx.x % 32; i < 16 * M * N; i += 32) {
    const int r = i / N, c = column + i % N * 8;
    if (r < begin || r >= end || c >= a.head_size) {
      continue;
    }
    const Pack<T> pack = load_pack(tile.at(row + r, c));
    T* target = to + r * stride + c;
    if (a.aligned) {
      store_pack(target, pack);
    } else {
#pragma unroll
      for (int j = 0; j < Pack<T>::kSize; ++j) {
        if (c + j < a.head_size) {
          target[j] = pack.v[j];
        }
      }
    }
  }
}

// ---- dropout

/*
The mask of a warp's queries × columns: lane i has those of query i (i + 32, …), a bit for each column that stays. So a block of 16
columns is made once, and a shuffle brings it to who needs it.
*/
template <int Queries, int Keys>
struct Kept {
  static constexpr int kLines = (Queries + 31) / 32, kWords = (Keys + 31) / 32;
  uint32_t bits[kLines][kWords] = {};

  // column: a multiple of 16.
  PEFT4J_DEVICE void make(const Call& a, const Sequence& s, int head, int query, int column) {
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      const int own = line * 32 + threadIdx.x % (Queries < 32 ? Queries : 32);
      const uint64_t row = static_cast<uint64_t>(s.first_q + query + own) * a.query_heads + head;
#pragma unroll
      for (int block = 0; block < Keys / 16; ++block) {
        const uint4 words = mask_words(column / 16 + block, row, a.seed);
        uint32_t kept = 0;
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          const uint32_t word = i < 8 ? (i < 4 ? words.x : words.y) : (i < 12 ? words.z : words.w);
          kept |= ((word >> (8 * (i % 4)) & 255u) >= a.threshold ? 1u : 0u) << i;
        }
        uint32_t& to = bits[line][block / 2];
        to = block % 2 == 0 ? kept : to | kept << 16;
      }
    }
  }

  PEFT4J_DEVICE uint32_t of(int line, int word, int query) const {
    return __shfl_sync(kAllLanes, bits[line][word], query % 32);
  }
};

// sums·scale where the mask keeps, 0 elsewhere.
template <RowsAre Layout, int M, int N, int Queries, int Keys>
PEFT4J_DEVICE void drop(Sums<M, N>& sums, const Kept<Queries, Keys>& kept, float scale) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const auto apply = [&](float& x, uint32_t bits, int key) { x = (bits >> key % 32 & 1) != 0 ? x * scale : 0.0f; };
  if constexpr (Layout == RowsAre::kQueries) {
    static_assert(Queries == 16 * M && Keys == 8 * N && Kept<Queries, Keys>::kLines == 1);
#pragma unroll
    for (int h = 0; h < 2 * M; ++h) {
#pragma unroll
      for (int word = 0; word < Kept<Queries, Keys>::kWords; ++word) {
        const uint32_t bits = kept.of(0, word, 8 * h + g);
#pragma unroll
        for (int n = 4 * word; n < N && n < 4 * word + 4; ++n) {
          apply(sums[h / 2][n][h % 2 * 2], bits, 8 * n + 2 * t);
          apply(sums[h / 2][n][h % 2 * 2 + 1], bits, 8 * n + 2 * t + 1);
        }
      }
    }
  } else {
    static_assert(Queries == 8 * N && Keys == 16 * M && Kept<Queries, Keys>::kWords == 1);
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        const uint32_t bits = kept.of(n / 4, 0, 8 * n + 2 * t + b);
#pragma unroll
        for (int h = 0; h < 2 * M; ++h) {
          apply(sums[h / 2][n][h % 2 * 2 + b], bits, 8 * h + g);
        }
      }
    }
  }
}

}  // namespace peft4j::cuda::attention
