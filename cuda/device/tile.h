#pragma once
/*
Tiles of numbers in shared memory and, for 16-bit ones, the fragments of mma_m16n8k16 that are read from them.

    Tile<T, Columns> tile{pointer};        Columns a multiple of 16; tile.bytes(rows) of shared memory
    copy_tile(tile, rows, from, …)         global to shared; cp.async where the rows are 16-byte aligned, see below
    load_a / load_a_transposed             a[16, 16] from tile[row + i, column + k], or from tile[row + k, column + i]
    load_b / load_b_transposed             b[16, 16], two neighbouring b's of mma, from tile[n, k], or from tile[k, n]
    mma<T>(d, a, b)

Rows follow each other after Columns numbers and 16 bytes: an odd number of 16-byte chunks, so the 8 rows that a matrix of
ldmatrix reads lie in different banks, for every allowed width. (A swizzle would save the 6 to 33 % and forbid widths like 80
and 96.)
All lanes of a warp take part, in everything but copy_tile.
*/
#include <type_traits>

#include "numbers.h"

#ifdef __CUDACC__
#define PEFT4J_PASS_SITE
#else
#define PEFT4J_PASS_SITE , site
#endif

namespace peft4j::cuda {

template <class T, int Columns>
struct Tile {
  static_assert(Columns % 16 == 0);
  static constexpr int kChunk = 16 / sizeof(T);  // numbers that are copied at once
  static constexpr int kStride = Columns + kChunk;
  T* data;

  static constexpr size_t bytes(int rows) { return sizeof(T) * kStride * rows; }
  PEFT4J_DEVICE T* at(int row, int column) const { return data + row * kStride + column; }
};

template <class T>
PEFT4J_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PEFT4J_SITE) {
  static_assert(sizeof(T) == 2);
  mma_m16n8k16<MmaType<T>>(d, a, b PEFT4J_PASS_SITE);
}

// Two numbers in a register, low in the low half.
template <class T>
PEFT4J_DEVICE uint32_t pack_pair(float low, float high) {
  struct alignas(4) Pair {
    T low, high;
  };
  union {
    Pair pair;
    uint32_t bits;
  } both = {{from_float<T>(low), from_float<T>(high)}};
  return both.bits;
}

template <class T, int Columns>
PEFT4J_DEVICE void load_a(uint32_t (&a)[4], const Tile<T, Columns>& tile, int row, int column PEFT4J_SITE) {
  const int lane = threadIdx.x % 32;
  ldmatrix<4, false>(a, tile.at(row + lane % 16, column + lane / 16 * 8) PEFT4J_PASS_SITE);
}

template <class T, int Columns>
PEFT4J_DEVICE void load_a_transposed(uint32_t (&a)[4], const Tile<T, Columns>& tile, int row, int column PEFT4J_SITE) {
  const int lane = threadIdx.x % 32;
  ldmatrix<4, true>(a, tile.at(row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2 * 8) PEFT4J_PASS_SITE);
}

// b[0] is for columns n to n + 7 of d, b[1] for n + 8 to n + 15.
template <class T, int Columns>
PEFT4J_DEVICE void load_b(uint32_t (&b)[2][2], const Tile<T, Columns>& tile, int n, int k PEFT4J_SITE) {
  const int lane = threadIdx.x % 32;
  uint32_t r[4];
  ldmatrix<4, false>(r, tile.at(n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8) PEFT4J_PASS_SITE);
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}

template <class T, int Columns>
PEFT4J_DEVICE void load_b_transposed(uint32_t (&b)[2][2], const Tile<T, Columns>& tile, int k, int n PEFT4J_SITE) {
  const int lane = threadIdx.x % 32;
  uint32_t r[4];
  ldmatrix<4, true>(r, tile.at(k + lane % 16, n + lane / 16 * 8) PEFT4J_PASS_SITE);
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}

/*
Rows [0, rows_there) and columns [0, columns_there) of a matrix into the tile's first `rows` rows, 0 elsewhere; row i begins at
from + i·stride. By threads 0 to `threads` - 1, of which the caller is number `thread`; at least as many as a row has packs.
Aligned: every row begins at a multiple of 16 bytes. Then by cp.async (the caller commits and waits), and what lies behind
columns_there in a row's last 16 bytes is not read. Else by plain loads and stores: a barrier is enough.
A thread stays in its column of packs, so that a pack costs an addition and a comparison, and no branch, where rows and threads
are constants. What is not read at all need be no valid address.
*/
template <bool Aligned, class T, int Columns>
PEFT4J_DEVICE void copy_tile(const Tile<T, Columns>& tile, int rows, const T* from, int64_t stride, int64_t rows_there,
                             int64_t columns_there, int thread, int threads PEFT4J_SITE) {
  constexpr int kPack = Pack<T>::kSize, kPacks = Columns / kPack;
  const int together = threads / kPacks, first = thread / kPacks, column = thread % kPacks * kPack;
  const int there = static_cast<int>(min(rows_there, static_cast<int64_t>(rows)));
  const int wide = static_cast<int>(max(min(columns_there - column, static_cast<int64_t>(kPack)), int64_t{0}));
  const T* source = from + first * stride + column;
#pragma unroll
  for (int i = 0; i < rows; i += together, source += together * stride) {
    const int row = first + i, valid = row < there ? wide : 0;
    if ((threads % kPacks != 0 && first >= together) || (rows % together != 0 && row >= rows)) {
      break;  // for no thread where everything divides
    }
    if constexpr (Aligned) {
      cp_async<16>(tile.at(row, column), source, valid * static_cast<int>(sizeof(T)) PEFT4J_PASS_SITE);
    } else {
      Pack<T> pack;
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        pack.v[j] = j < valid ? source[j] : from_float<T>(0.0f);
      }
      store_pack(tile.at(row, column), pack);
    }
  }
}

}  // namespace peft4j::cuda
