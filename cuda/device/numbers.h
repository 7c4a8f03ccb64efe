#pragma once
/*
Numbers in memory and in registers: float, __nv_bfloat16 and __half are read and written 16 bytes at a time, computing is in
float.
    Pack<T> p = load_pack(x);   p.v[i]   to_float(p.v[i])   store_pack(y, p)      x and y 16-byte aligned
    Pack<T, N> p = load_pack<N>(x), to_floats(p, f), from_floats<T>(f)            N numbers; float f[N]
    write_pack(y, p)                                                              to global memory
*/
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda.h"

namespace peft4j::cuda {

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

template <class T, int N = 16 / sizeof(T)>
struct alignas(N * sizeof(T)) Pack {
  static constexpr int kSize = N;
  T v[N];
};

// A 16-bit type's name among the types of products: ptx.h.
template <class T>
using MmaType = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, Bf16, Fp16>;

template <class T>
PEFT4J_DEVICE float to_float(T x) {
  return static_cast<float>(x);
}

template <class T>
PEFT4J_DEVICE T from_float(float x) {
  return static_cast<T>(x);
}

template <class T>
PEFT4J_DEVICE Pack<T> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T>*>(from);
}

template <int N, class T>
PEFT4J_DEVICE Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
PEFT4J_DEVICE void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// The same for global memory, with store_16.
template <class T, int N>
PEFT4J_DEVICE void write_pack(T* to, const Pack<T, N>& pack) {
  if constexpr (sizeof(Pack<T, N>) == 16) {
    store_16(to, __builtin_bit_cast(uint4, pack));
  } else {
    store_pack(to, pack);
  }
}

// bfloat16 by shifts and not by its conversion, for which the compiler gives each number of a pack a register.
template <class T, int N>
PEFT4J_DEVICE void to_floats(const Pack<T, N>& from, float (&to)[N]) {
  if constexpr (std::is_same_v<T, __nv_bfloat16> && N % 2 == 0) {
    struct Words {
      uint32_t v[N / 2];
    };
    const Words words = __builtin_bit_cast(Words, from);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      to[2 * i] = __uint_as_float(words.v[i] << 16);
      to[2 * i + 1] = __uint_as_float(words.v[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      to[i] = to_float(from.v[i]);
    }
  }
}

template <class T, int N>
PEFT4J_DEVICE Pack<T, N> from_floats(const float (&from)[N]) {
  Pack<T, N> to;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    to.v[i] = from_float<T>(from[i]);
  }
  return to;
}

// The first `count` numbers of a pack and 0 behind them. whole: 16-byte aligned, so a full pack is one access.
template <class T>
PEFT4J_DEVICE Pack<T> load_some(const T* from, int count, bool whole) {
  // In words until the end: else 16-bit numbers, which come from here or from there, would get a register each.
  uint4 words;
  if (whole && count == Pack<T>::kSize) {
    words = *reinterpret_cast<const uint4*>(from);
  } else {
    uint32_t w[4] = {};
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i < count) {
        const T number = from[i];
        uint32_t bits = 0;
        memcpy(&bits, &number, sizeof number);
        w[i * sizeof(T) / 4] |= bits << (i * sizeof(T) % 4 * 8);
      }
    }
    words = make_uint4(w[0], w[1], w[2], w[3]);
  }
  Pack<T> pack;
  memcpy(&pack, &words, sizeof pack);
  return pack;
}

// Rounds a pack of floats and stores its first `count`.
template <class T>
PEFT4J_DEVICE void store_some(T* to, const float (&x)[Pack<T>::kSize], int count, bool whole) {
  if (whole && count == Pack<T>::kSize) {
    store_pack(to, from_floats<T>(x));
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i < count) {
        to[i] = from_float<T>(x[i]);
      }
    }
  }
}

// Host: whether rows that begin at p and follow each other after `stride` elements can be read in packs.
template <class T>
bool packs(const T* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}

// Host: calls f(T()) with the type that a dtype of peft4j_cuda.h names.
template <class F>
int by_dtype(int dtype, const F& f) {
  switch (dtype) {
    case 0: return f(float());
    case 1: return f(__nv_bfloat16());
    case 2: return f(__half());
    default:
      last_error() = "dtype must be 0 (float32), 1 (bfloat16) or 2 (float16), got " + std::to_string(dtype);
      return 1;
  }
}

inline int64_t divide_up(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}

}  // namespace peft4j::cuda
