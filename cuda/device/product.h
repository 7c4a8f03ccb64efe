#pragma once
/*
Products of tiles, added to a warp's sums: 16·M rows by 8·N columns as mma_m16n8k16 lays them out (ptx.h). With g = lane / 4 and t =
lane % 4 the lane's element (m, n, i) is

    row 16·m + 8·(i / 2) + g, column 8·n + 2·t + i % 2

    add_nt<K>(d, a, i, b, j)     d += a[i…, 0…K) · b[j…, 0…K)ᵀ
    add_nn<K>(d, a, i, b, j)     d += a[i…, 0…K) · b[0…K, j…)
    add_tn<K>(d, a, i, b, j)     d += a[0…K, i…)ᵀ · b[0…K, j…)
    add_pn(d, p, b, i, j)        d += p · b[i…, j…), p sums of other products, rounded to b's type

K is a multiple of 16, N is even. One fragment of b serves all M rows of fragments: with M = 2 shared memory is read half as often
as with 1. 16-bit numbers go through mma. float32 does not: there every lane computes the elements that it holds by FMA, so that a
kernel is written once for the three types.
*/
#include "tile.h"
#include "warp.h"

namespace peft4j::cuda {

template <int M, int N>
using Sums = float[M][N][4];

// f(m, n, i, row, column) for each element that the lane holds.
template <int M, int N, class F>
PEFT4J_DEVICE void each(const F& f) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        f(m, n, i, 16 * m + i / 2 * 8 + g, 8 * n + 2 * t + i % 2);
      }
    }
  }
}

// Two neighbouring numbers of a tile, the first in an even column.
template <class T, int Columns>
PEFT4J_DEVICE Pack<T, 2>& pair_at(const Tile<T, Columns>& tile, int row, int column) {
  return *reinterpret_cast<Pack<T, 2>*>(tile.at(row, column));
}

// Row i (transposed: column i) of a float32 tile from k on.
template <bool Transposed, int Columns>
PEFT4J_DEVICE Pack<float> four_along_k(const Tile<float, Columns>& tile, int i, int k) {
  if constexpr (Transposed) {
    return {*tile.at(k, i), *tile.at(k + 1, i), *tile.at(k + 2, i), *tile.at(k + 3, i)};
  } else {
    return load_pack(tile.at(i, k));
  }
}

// Of 16 rows, by FMA.
template <bool TransposedA, bool TransposedB, int K, int N, int CA, int CB>
PEFT4J_DEVICE void add_plain_product(float (&d)[N][4], const Tile<float, CA>& a, int i, const Tile<float, CB>& b,
                                     int j) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1
  for (int k = 0; k < K; k += 4) {
    const Pack<float> low = four_along_k<TransposedA>(a, i + g, k), high = four_along_k<TransposedA>(a, i + g + 8, k);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int column = j + 8 * n + 2 * t;
      Pack<float> even, odd;
      if constexpr (TransposedB) {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          const Pack<float, 2> pair = pair_at(b, k + x, column);
          even.v[x] = pair.v[0];
          odd.v[x] = pair.v[1];
        }
      } else {
        even = four_along_k<false>(b, column, k);
        odd = four_along_k<false>(b, column + 1, k);
      }
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        d[n][0] += low.v[x] * even.v[x];
        d[n][1] += low.v[x] * odd.v[x];
        d[n][2] += high.v[x] * even.v[x];
        d[n][3] += high.v[x] * odd.v[x];
      }
    }
  }
}

template <bool TransposedA, bool TransposedB, int K, int M, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_product(Sums<M, N>& d, const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  static_assert(K % 16 == 0 && N % 2 == 0);
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int k = 0; k < K; k += 16) {
      uint32_t fa[M][4];
#pragma unroll
      for (int m = 0; m < M; ++m) {
        if constexpr (TransposedA) {
          load_a_transposed(fa[m], a, k, i + 16 * m);
        } else {
          load_a(fa[m], a, i + 16 * m, k);
        }
      }
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        uint32_t fb[2][2];
        if constexpr (TransposedB) {
          load_b_transposed(fb, b, k, j + 8 * n);
        } else {
          load_b(fb, b, j + 8 * n, k);
        }
#pragma unroll
        for (int m = 0; m < M; ++m) {
          mma<T>(d[m][n], fa[m], fb[0]);
          mma<T>(d[m][n + 1], fa[m], fb[1]);
        }
      }
    }
  } else {
#pragma unroll
    for (int m = 0; m < M; ++m) {
      add_plain_product<TransposedA, TransposedB, K>(d[m], a, i + 16 * m, b, j);
    }
  }
}

template <int K, int M, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_nt(Sums<M, N>& d, const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<false, false, K>(d, a, i, b, j);
}

template <int K, int M, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_nn(Sums<M, N>& d, const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<false, true, K>(d, a, i, b, j);
}

template <int K, int M, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_tn(Sums<M, N>& d, const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<true, true, K>(d, a, i, b, j);
}

// p's 16 rows by 8 columns of k times b's rows from i on, by FMA.
template <int N, int CB>
PEFT4J_DEVICE void add_plain_pn(float (&d)[N][4], const float (&p)[4], const Tile<float, CB>& b, int i, int j) {
  const int lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const int holder = lane - t + k / 2;
    const float low = __shfl_sync(kAllLanes, p[k % 2], holder), high = __shfl_sync(kAllLanes, p[2 + k % 2], holder);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Pack<float, 2> both = pair_at(b, i + k, j + 8 * n + 2 * t);
      d[n][0] += low * both.v[0];
      d[n][1] += low * both.v[1];
      d[n][2] += high * both.v[0];
      d[n][3] += high * both.v[1];
    }
  }
}

template <int M, int K, int N, class T, int CB>
PEFT4J_DEVICE void add_pn(Sums<M, N>& d, const Sums<M, K>& p, const Tile<T, CB>& b, int i, int j) {
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int k = 0; k < K; k += 2) {
      uint32_t fa[M][4];
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          const float* pair = &p[m][k + x / 2][x % 2 * 2];
          fa[m][x] = pack_pair<T>(pair[0], pair[1]);
        }
      }
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        uint32_t fb[2][2];
        load_b_transposed(fb, b, i + 8 * k, j + 8 * n);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          mma<T>(d[m][n], fa[m], fb[0]);
          mma<T>(d[m][n + 1], fa[m], fb[1]);
        }
      }
    }
  } else {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        add_plain_pn(d[m], p[m][k], b, i + 8 * k, j);
      }
    }
  }
}

}  // namespace peft4j::cuda
