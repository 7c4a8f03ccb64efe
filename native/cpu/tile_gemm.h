#pragma once
/*
tile_gemm: C[M,N] = A[M,K] · B[K,N]  (or C += …), the inner product of every CPU kernel here

A is read one element at a time with free strides, so a transposed A costs nothing; rows of B and C are contiguous.
Made for operands that lie in the cache (attention blocks, rank-r factors): no packing, no threads. Large frozen
products go through oneDNN (weight.h).

Registers: MR × NV accumulators, NV vectors of B, one broadcast of A. The pairs below fill 32 registers under AVX512
and 16 under AVX2.
*/
#include <cstdint>

#include "vec_math.h"

namespace peft4j {
namespace CPU_CAPABILITY {

#if defined(CPU_CAPABILITY_AVX512)
constexpr int kVectorsWide = 4;
#else
constexpr int kVectorsWide = 2;
#endif

// Rows of a tile that has nv vectors in each row.
constexpr int tile_rows(int nv) {
  return nv * 6 <= 6 * (kVectorsWide / 2) ? 12 : 6;
}

// C is added at the end: a long sum over K is made of short ones, one for each call. last: columns of the last vector.
template <class T, int MR, int NV, bool Whole>
inline __attribute__((always_inline)) void tile(int64_t k_size, const T* a, int64_t a_row, int64_t a_col, const T* b,
                                                int64_t b_row, T* c, int64_t c_row, bool accumulate, int last) {
  constexpr int W = Vec<T>::size();
  const auto load = [&](const T* from, int j) {
    return Whole || j < NV - 1 ? Vec<T>::loadu(from + j * W) : Vec<T>::loadu(from + j * W, last);
  };
  Vec<T> acc[MR][NV];
  for (int i = 0; i < MR; ++i) {
    for (int j = 0; j < NV; ++j) {
      acc[i][j] = Vec<T>(T(0));
    }
  }
  for (int64_t k = 0; k < k_size; ++k) {
    Vec<T> row[NV];
    for (int j = 0; j < NV; ++j) {
      row[j] = load(b + k * b_row, j);
    }
    for (int i = 0; i < MR; ++i) {
      const Vec<T> value(a[i * a_row + k * a_col]);
      for (int j = 0; j < NV; ++j) {
        acc[i][j] = at::vec::fmadd(value, row[j], acc[i][j]);
      }
    }
  }
  for (int i = 0; i < MR; ++i) {
    for (int j = 0; j < NV; ++j) {
      T* to = c + i * c_row;
      const Vec<T> sum = accumulate ? acc[i][j] + load(to, j) : acc[i][j];
      if (Whole || j < NV - 1) {
        sum.store(to + j * W);
      } else {
        sum.store(to + j * W, last);
      }
    }
  }
}

template <class T, int NV, bool Whole>
void tile_column(int64_t m_size, int64_t k_size, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                 T* c, int64_t c_row, bool accumulate, int last) {
  constexpr int MR = tile_rows(NV);
  int64_t m = 0;
  for (; m + MR <= m_size; m += MR) {
    tile<T, MR, NV, Whole>(k_size, a + m * a_row, a_row, a_col, b, b_row, c + m * c_row, c_row, accumulate, last);
  }
  for (; m + 4 <= m_size; m += 4) {
    tile<T, 4, NV, Whole>(k_size, a + m * a_row, a_row, a_col, b, b_row, c + m * c_row, c_row, accumulate, last);
  }
  for (; m + 2 <= m_size; m += 2) {
    tile<T, 2, NV, Whole>(k_size, a + m * a_row, a_row, a_col, b, b_row, c + m * c_row, c_row, accumulate, last);
  }
  if (m < m_size) {
    tile<T, 1, NV, Whole>(k_size, a + m * a_row, a_row, a_col, b, b_row, c + m * c_row, c_row, accumulate, last);
  }
}

template <class T>
void tile_gemm(int64_t m_size, int64_t n_size, int64_t k_size, const T* a, int64_t a_row, int64_t a_col, const T* b,
               int64_t b_row, T* c, int64_t c_row, bool accumulate) {
  constexpr int W = Vec<T>::size();
  for (int64_t n = 0; n < n_size; n += kVectorsWide * W) {
    const int64_t rest = n_size - n;
    const int vectors = rest >= kVectorsWide * W ? kVectorsWide : static_cast<int>((rest + W - 1) / W);
    const int last = rest >= vectors * W ? W : static_cast<int>(rest - (vectors - 1) * W);
    const auto column = [&](auto count) {
      if (last == W) {
        tile_column<T, count(), true>(m_size, k_size, a, a_row, a_col, b + n, b_row, c + n, c_row, accumulate, last);
      } else {
        tile_column<T, count(), false>(m_size, k_size, a, a_row, a_col, b + n, b_row, c + n, c_row, accumulate, last);
      }
    };
    switch (vectors) {
      case 1: column(std::integral_constant<int, 1>()); break;
      case 2: column(std::integral_constant<int, 2>()); break;
#if defined(CPU_CAPABILITY_AVX512)
      case 3: column(std::integral_constant<int, 3>()); break;
      case 4: column(std::integral_constant<int, 4>()); break;
#endif
    }
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
