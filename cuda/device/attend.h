#pragma once
/*
Query rows against a run of keys by an online softmax (online_softmax.h): what prefix_attention and attention_decode share.

    s = cap·tanh(scale·q·k / cap), without a cap scale·q·k

A block brings keys and values to shared memory in chunks of KeysAtOnce; one of the two is on its way while the other is
computed with. Its warps share the rows (16 each, all keys) or, where there are few rows, the keys of each chunk.
*/
#include "divisor.h"
#include "online_softmax.h"

namespace peft4j::cuda {

// See peft4j_cuda_heads.
template <class T>
struct Heads {
  T* data;
  int64_t row, head;
};

// The rows of a block (GQA packing): all query heads that share a key head, token by token. Row r is head r % group of token r / group.
struct PackedRows {
  int64_t first_token;
  uint32_t rows;
  Divisor group;
  int64_t first_head;

  template <class T>
  PEFT4J_DEVICE T* of(const Heads<T>& heads, uint32_t r) const {
    const uint32_t token = group.quotient(r);
    return heads.data + (first_token + token) * heads.row + (first_head + group.rest(r, token)) * heads.head;
  }
};

// One head's keys and values: key j lies at j·key, or (paged) in block table[j / block_size] of a pool.
template <class T>
struct Keys {
  const T *k, *v;
  int64_t key;  // stride from key to key
  const int32_t* table;  // null: not paged
  int64_t block;         // stride from block to block
  Divisor block_size;

  PEFT4J_DEVICE int64_t offset(uint32_t j) const {
    if (table == nullptr) {
      return j * key;
    }
    const uint32_t number = block_size.quotient(j);
    return table[number] * block + block_size.rest(j, number) * key;
  }
};

// How scores are made: scale·log2(e), or with a cap scale / cap and cap·log2(e).
struct Score {
  float scale, cap;

  PEFT4J_DEVICE static Score of(float scale, float cap) {
    return cap > 0 ? Score{scale / cap, cap * kLog2E} : Score{scale * kLog2E, 0.0f};
  }
  PEFT4J_DEVICE float operator()(float product) const {
    return cap > 0 ? cap * tanhf(product * scale) : product * scale;
  }
};

// Columns `column`, … of a row, as far as it has them. aligned: the pack is aligned, and lies in the row or behind it.
template <class T, int N>
PEFT4J_DEVICE Pack<T, N> load_columns(const T* row, int column, int columns, bool aligned) {
  Pack<T, N> pack;
  if (aligned && column < columns) {
    return *reinterpret_cast<const Pack<T, N>*>(row + column);
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    pack.v[j] = column + j < columns ? row[column + j] : from_float<T>(0.0f);
  }
  return pack;
}

template <class T, int N>
PEFT4J_DEVICE void store_columns(T* row, int column, const Pack<T, N>& pack, int columns, bool aligned) {
  if (aligned && column < columns) {
    *reinterpret_cast<Pack<T, N>*>(row + column) = pack;
    return;
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (column + j < columns) {
      row[column + j] = pack.v[j];
    }
  }
}

/*
row_at(i), null for a row that is not there, into rows first to first + rows - 1 of the tile; zeros behind column `columns`.
aligned: rows and columns are whole chunks of 16 bytes; then by cp.async. Threads 0 to `threads` - 1 take part.
*/
template <class T, int Columns, class RowAt>
PEFT4J_DEVICE void gather_tile(const Tile<T, Columns>& tile, int first, int rows, const RowAt& row_at, int columns,
                               bool aligned, int thread, int threads) {
  constexpr int kChunk = Tile<T, Columns>::kChunk, kChunks = Columns / kChunk;
  for (int i = thread; i < rows * kChunks; i += threads) {
    const int row = i / kChunks, column = i % kChunks * kChunk;
    const T* from = column < columns ? row_at(row) : nullptr;
    T* to = tile.at(first + row, column);
    if (from != nullptr && aligned) {
      cp_async<16>(to, from + column);
    } else {
      store_pack(to, load_columns<T, kChunk>(from, column, from != nullptr ? columns : 0, aligned));
    }
  }
}

// By a warp: rows first_row to first_row + 15, as far as they are there, into the tile's rows from `first` on, and back.
template <class T, int Columns>
PEFT4J_DEVICE void gather_rows(const Tile<T, Columns>& tile, int first, const Heads<const T>& from,
                               const PackedRows& rows, uint32_t first_row, int columns, bool aligned) {
  const auto row_at = [&](int i) { return first_row + i < rows.rows ? rows.of(from, first_row + i) : nullptr; };
  gather_tile(tile, first, 16, row_at, columns, aligned, threadIdx.x % 32, 32);
}

template <class T, int Columns>
PEFT4J_DEVICE void scatter_rows(const Tile<T, Columns>& tile, int first, const Heads<T>& to, const PackedRows& rows,
                                uint32_t first_row, int columns, bool aligned) {
  constexpr int kChunk = Tile<T, Columns>::kChunk, kChunks = Columns / kChunk;
  for (int i = threadIdx.x % 32; i < 16 * kChunks; i += 32) {
    const int row = i / kChunks, column = i % kChunks * kChunk;
    if (column < columns && first_row + row < rows.rows) {
      store_columns(rows.of(to, first_row + row), column, load_pack(tile.at(first + row, column)), columns, aligned);
    }
  }
}

// What a lane holds of its warp's 16 rows; in the end the sums are the rows'.
template <int Columns>
struct Attended {
  Sums<1, Columns / 8> o = {};
  OnlineSoftmax<1> softmax;
};

struct KeyRange {
  int begin, end;
};

/*
Adds keys [range.begin, range.end) to `to`; row h of the lane sees those in seen[h], which lies within the range. Called by all
threads of the block; each may have copies of q's rows open. `resident`: the keys are one chunk that lies in k and v already.
When its warp has read q for the last time q_is_free is called; copies that it starts are the caller's to wait for.
*/
template <int Warps, int KeyWarps, int KeysAtOnce, class T, int Columns, class F>
PEFT4J_DEVICE void attend(Attended<Columns>& to, const Tile<T, Columns>& q, int q_row, const Tile<T, Columns>& k,
                          const Tile<T, Columns>& v, const Keys<T>& keys, KeyRange range, const KeyRange (&seen)[2],
                          const Score& score, int columns, bool aligned, bool resident, const F& q_is_free) {
  constexpr int kOwn = KeysAtOnce / KeyWarps, N = kOwn / 8;  // keys of a warp
  static_assert(kOwn % 16 == 0);
  const int t = threadIdx.x % 4, own = threadIdx.x / 32 % KeyWarps * kOwn;
  const auto copy = [&](const Tile<T, Columns>& tile, const T* from, int begin) {
    const auto row_at = [&](int i) { return begin + i < range.end ? from + keys.offset(begin + i) : nullptr; };
    gather_tile(tile, 0, KeysAtOnce, row_at, columns, aligned, threadIdx.x, 32 * Warps);
  };
  if (range.begin >= range.end) {
    cp_async_commit();
    cp_async_wait<0>();
    return;
  }
  if (!resident) {
    __syncthreads();
    copy(k, keys.k, range.begin);
  }
  cp_async_commit();
  if (!resident) {
    copy(v, keys.v, range.begin);
  }
  cp_async_commit();
  for (int begin = range.begin;; begin += KeysAtOnce) {
    const bool last = range.end - begin <= KeysAtOnce;
    cp_async_wait<1>();
    __syncthreads();  // q and k are there
    Sums<1, N> s = {};
    add_nt<Columns>(s, q, q_row, k, own);
    if (last) {
      __syncwarp();
      q_is_free();
    } else {
      __syncthreads();
      copy(k, keys.k, begin + KeysAtOnce);
    }
    cp_async_commit();
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 2 * N; ++i) {
        float& x = s[0][i / 2][2 * h + i % 2];
        const int key = begin + own + i / 2 * 8 + 2 * t + i % 2;
        x = key >= seen[h].begin && key < seen[h].end ? score(x) : -INFINITY;
      }
    }
    to.softmax.step(s, 1.0f, [&](int h, float shrink) { multiply_row(to.o, h, shrink); });
    cp_async_wait<1>();
    __syncthreads();  // v is there
    add_pn(to.o, s, v, own, 0);
    if (last) {
      break;
    }
    __syncthreads();
    copy(v, keys.v, begin + KeysAtOnce);
    cp_async_commit();
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    to.softmax.sum[h] = warp_sum<4>(to.softmax.sum[h]);
  }
}

}  // namespace peft4j::cuda
