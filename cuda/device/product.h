#pragma once
/*
Products of tiles, added to a warp's accumulators: 16 rows by 8·N columns, d[n] the columns 8n to 8n + 7 as mma_m16n8k16 lays
them out (ptx.h). With g = lane / 4 and t = lane % 4 a lane holds (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1) of each d[n].

    add_nt<K>(d, a, i, b, j)     d += a[i…, 0…K) · b[j…, 0…K)ᵀ
    add_nn<K>(d, a, i, b, j)     d += a[i…, 0…K) · b[0…K, j…)
    add_tn<K>(d, a, i, b, j)     d += a[0…K, i…)ᵀ · b[0…K, j…)
    add_pn(d, p, b, k)           d += p · b[k…k+16, 0…), p 16 columns of accumulators, rounded to b's type

K is a multiple of 16, N is even. 16-bit numbers go through mma. float32 does not: there every lane computes the elements that
it holds by FMA, so that a kernel is written once for the three types.
*/
#include "tile.h"
#include "warp.h"

namespace peft4j::cuda {

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

template <bool TransposedA, bool TransposedB, int K, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_product(float (&d)[N][4], const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  static_assert(K % 16 == 0 && N % 2 == 0);
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int k = 0; k < K; k += 16) {
      uint32_t fa[4];
      if constexpr (TransposedA) {
        load_a_transposed(fa, a, k, i);
      } else {
        load_a(fa, a, i, k);
      }
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        uint32_t fb[2][2];
        if constexpr (TransposedB) {
          load_b_transposed(fb, b, k, j + 8 * n);
        } else {
          load_b(fb, b, j + 8 * n, k);
        }
        mma<T>(d[n], fa, fb[0]);
        mma<T>(d[n + 1], fa, fb[1]);
      }
    }
  } else {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1
    for (int k = 0; k < K; k += 4) {
      const Pack<T> low = four_along_k<TransposedA>(a, i + g, k), high = four_along_k<TransposedA>(a, i + g + 8, k);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const int column = j + 8 * n + 2 * t;
        Pack<T> even, odd;
        if constexpr (TransposedB) {
#pragma unroll
          for (int x = 0; x < 4; ++x) {
            const Pack<T, 2> pair = pair_at(b, k + x, column);
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
}

template <int K, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_nt(float (&d)[N][4], const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<false, false, K>(d, a, i, b, j);
}

template <int K, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_nn(float (&d)[N][4], const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<false, true, K>(d, a, i, b, j);
}

template <int K, int N, class T, int CA, int CB>
PEFT4J_DEVICE void add_tn(float (&d)[N][4], const Tile<T, CA>& a, int i, const Tile<T, CB>& b, int j) {
  add_product<true, true, K>(d, a, i, b, j);
}

template <int N, class T, int C>
PEFT4J_DEVICE void add_pn(float (&d)[N][4], const float (&p0)[4], const float (&p1)[4], const Tile<T, C>& b, int k) {
  if constexpr (sizeof(T) == 2) {
    const uint32_t a[4] = {pack_pair<T>(p0[0], p0[1]), pack_pair<T>(p0[2], p0[3]), pack_pair<T>(p1[0], p1[1]),
                           pack_pair<T>(p1[2], p1[3])};
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t fb[2][2];
      load_b_transposed(fb, b, k, 8 * n);
      mma<T>(d[n], a, fb[0]);
      mma<T>(d[n + 1], a, fb[1]);
    }
  } else {
    const int lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int holder = lane - t + i % 8 / 2;
      const float (&p)[4] = i < 8 ? p0 : p1;
      const float low = __shfl_sync(kAllLanes, p[i % 2], holder), high = __shfl_sync(kAllLanes, p[2 + i % 2], holder);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const Pack<T, 2> both = pair_at(b, k + i, 8 * n + 2 * t);
        d[n][0] += low * both.v[0];
        d[n][1] += low * both.v[1];
        d[n][2] += high * both.v[0];
        d[n][3] += high * both.v[1];
      }
    }
  }
}

}  // namespace peft4j::cuda
