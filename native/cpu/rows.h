#pragma once
/*
Rows of float, bfloat16 or double seen as rows of the type we compute in (float for bfloat16), with dropout on the way.
*/
#include <ATen/OpMathType.h>
#include <ATen/cpu/vec/vec.h>
#include <c10/util/BFloat16.h>

#include "../philox.h"
#include "tile_gemm.h"

namespace peft4j {
namespace CPU_CAPABILITY {

// to[i] = from[i]
template <class T>
inline void load_row(T* to, const T* from, int64_t n) {
  std::memcpy(to, from, n * sizeof(T));
}

inline void load_row(float* to, const c10::BFloat16* from, int64_t n) {
  constexpr int W = Vec<c10::BFloat16>::size();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    auto [low, high] = at::vec::convert_bfloat16_float(Vec<c10::BFloat16>::loadu(from + i));
    low.store(to + i);
    high.store(to + i + W / 2);
  }
  for (; i < n; ++i) {
    to[i] = static_cast<float>(from[i]);
  }
}

template <class T>
inline void store_row(T* to, const T* from, int64_t n) {
  std::memcpy(to, from, n * sizeof(T));
}

inline void store_row(c10::BFloat16* to, const float* from, int64_t n) {
  constexpr int W = Vec<c10::BFloat16>::size();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    at::vec::convert_float_bfloat16(Vec<float>::loadu(from + i), Vec<float>::loadu(from + i + W / 2)).store(to + i);
  }
  for (; i < n; ++i) {
    to[i] = static_cast<c10::BFloat16>(from[i]);
  }
}

// to[i] += from[i]
template <class T, class A>
inline void add_row(T* to, const A* from, int64_t n) {
  int64_t i = 0;
  if constexpr (std::is_same_v<T, A>) {
    constexpr int W = Vec<T>::size();
    for (; i + W <= n; i += W) {
      (Vec<T>::loadu(to + i) + Vec<T>::loadu(from + i)).store(to + i);
    }
  } else {
    constexpr int W = Vec<T>::size();
    for (; i + W <= n; i += W) {
      auto [low, high] = at::vec::convert_bfloat16_float(Vec<T>::loadu(to + i));
      at::vec::convert_float_bfloat16(low + Vec<float>::loadu(from + i), high + Vec<float>::loadu(from + i + W / 2))
          .store(to + i);
    }
  }
  for (; i < n; ++i) {
    to[i] = static_cast<T>(static_cast<A>(to[i]) + from[i]);
  }
}

// Multiplies columns [first, first + n) of a row by the dropout mask: 0 or mask.scale. first is a multiple of 16.
template <class A>
inline void drop_row(A* values, int64_t n, int64_t row, int64_t first, const Dropout& mask) {
  constexpr int64_t kAtOnce = 16 * kPhiloxLanes;
  alignas(64) uint8_t bytes[kAtOnce];
  const A scale = static_cast<A>(mask.scale());
  for (int64_t begin = 0; begin < n; begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - begin);
    philox_bytes(bytes, (count + 15) / 16, static_cast<uint32_t>((first + begin) / 16), row, mask.seed);
    A* at = values + begin;
    for (int64_t i = 0; i < count; ++i) {
      at[i] *= bytes[i] < mask.threshold ? A(0) : scale;
    }
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
