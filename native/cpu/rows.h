#pragma once
/*
Rows of float, bfloat16 or double seen as rows of the type we compute in (float for bfloat16), with dropout on the way.
*/
#include <ATen/OpMathType.h>
#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>

#include <array>
#include <cstring>
#include <tuple>

#include "../philox.h"
#include "tile_gemm.h"

namespace peft4j {
namespace CPU_CAPABILITY {

// Calls f<T, A>() with the type of numbers and the type they are computed in.
template <class F>
void by_type(c10::ScalarType dtype, const F& f) {
  switch (dtype) {
    case c10::ScalarType::Double: return f.template operator()<double, double>();
    case c10::ScalarType::Float: return f.template operator()<float, float>();
    default: return f.template operator()<c10::BFloat16, float>();
  }
}

// Asks for the cache lines of n elements: rows of one head lie far apart, where no hardware looks ahead.
template <class T>
inline void prefetch_row(const T* from, int64_t n) {
  for (int64_t byte = 0; byte < n * static_cast<int64_t>(sizeof(T)); byte += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(from) + byte);
  }
}

// to[i] = from[i]
template <class T>
inline void load_row(T* to, const T* from, int64_t n) {
  constexpr int W = Vec<T>::size();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    Vec<T>::loadu(from + i).store(to + i);
  }
  if (i < n) {
    std::memcpy(to + i, from + i, (n - i) * sizeof(T));
  }
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
  load_row(to, from, n);
}

inline void store_row(c10::BFloat16* to, const float* from, int64_t n) {
  constexpr int W = Vec<c10::BFloat16>::size();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    narrowed(Vec<float>::loadu(from + i), Vec<float>::loadu(from + i + W / 2)).store(to + i);
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
      narrowed(low + Vec<float>::loadu(from + i), high + Vec<float>::loadu(from + i + W / 2)).store(to + i);
    }
  }
  for (; i < n; ++i) {
    to[i] = static_cast<T>(static_cast<A>(to[i]) + from[i]);
  }
}

// out[o][i] = f(in[0][i], in[1][i], …)[o] for i below n; f takes and gives arrays of vectors of the compute type.
template <class T, size_t In, size_t Out, class F>
inline void map_row(int64_t n, const std::array<const T*, In>& in, const std::array<T*, Out>& out, const F& f) {
  constexpr int W = Vec<T>::size();
  const auto some = [&](int64_t i, int count) {
    if constexpr (std::is_same_v<T, c10::BFloat16>) {
      std::array<Vec<float>, In> low, high;
      for (size_t k = 0; k < In; ++k) {
        std::tie(low[k], high[k]) = at::vec::convert_bfloat16_float(Vec<T>::loadu(in[k] + i, count));
      }
      const std::array<Vec<float>, Out> low_out = f(low), high_out = f(high);
      for (size_t k = 0; k < Out; ++k) {
        narrowed(low_out[k], high_out[k]).store(out[k] + i, count);
      }
    } else {
      std::array<Vec<T>, In> values;
      for (size_t k = 0; k < In; ++k) {
        values[k] = Vec<T>::loadu(in[k] + i, count);
      }
      const std::array<Vec<T>, Out> results = f(values);
      for (size_t k = 0; k < Out; ++k) {
        results[k].store(out[k] + i, count);
      }
    }
  };
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    some(i, W);
  }
  if (i < n) {
    some(i, static_cast<int>(n - i));
  }
}

/*
Philox for several blocks at once. A 32-bit word lives in the lower half of a 64-bit lane: the multiplication reads only
that half and gives both halves of the product, so a round is two products, two shifts and four xors, without shuffles;
the upper halves hold rubbish until the end.
*/
#if defined(CPU_CAPABILITY_AVX512)
struct Words {
  static constexpr int kBlocks = 8;
  __m512i v;
  static Words all(uint32_t x) { return {_mm512_set1_epi64(x)}; }
  static Words counted(uint32_t x) {
    return {_mm512_add_epi64(_mm512_set1_epi64(x), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))};
  }
  Words times(Words o) const { return {_mm512_mul_epu32(v, o.v)}; }
  Words high() const { return {_mm512_srli_epi64(v, 32)}; }
  Words mixed(Words a, Words b) const { return {_mm512_ternarylogic_epi64(v, a.v, b.v, 0x96)}; }  // xor of three
  static void store(uint8_t* to, Words c0, Words c1, Words c2, Words c3) {
    const __m512i first = _mm512_mask_blend_epi32(0xAAAA, c0.v, _mm512_slli_epi64(c1.v, 32));
    const __m512i second = _mm512_mask_blend_epi32(0xAAAA, c2.v, _mm512_slli_epi64(c3.v, 32));
    const __m512i lower = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
                  upper = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi64(first, lower, second));
    _mm512_storeu_si512(to + 64, _mm512_permutex2var_epi64(first, upper, second));
  }
};
#elif defined(CPU_CAPABILITY_AVX2)
struct Words {
  static constexpr int kBlocks = 4;
  __m256i v;
  static Words all(uint32_t x) { return {_mm256_set1_epi64x(x)}; }
  static Words counted(uint32_t x) { return {_mm256_add_epi64(_mm256_set1_epi64x(x), _mm256_setr_epi64x(0, 1, 2, 3))}; }
  Words times(Words o) const { return {_mm256_mul_epu32(v, o.v)}; }
  Words high() const { return {_mm256_srli_epi64(v, 32)}; }
  Words mixed(Words a, Words b) const { return {_mm256_xor_si256(v, _mm256_xor_si256(a.v, b.v))}; }
  static void store(uint8_t* to, Words c0, Words c1, Words c2, Words c3) {
    const __m256i first = _mm256_blend_epi32(c0.v, _mm256_slli_epi64(c1.v, 32), 0xAA);
    const __m256i second = _mm256_blend_epi32(c2.v, _mm256_slli_epi64(c3.v, 32), 0xAA);
    const __m256i even = _mm256_unpacklo_epi64(first, second), odd = _mm256_unpackhi_epi64(first, second);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), _mm256_permute2x128_si256(even, odd, 0x31));
  }
};
#else
struct Words {  // one block
  static constexpr int kBlocks = 1;
  uint64_t v;
  static Words all(uint32_t x) { return {x}; }
  static Words counted(uint32_t x) { return {x}; }
  Words times(Words o) const { return {(v & 0xFFFFFFFFu) * o.v}; }
  Words high() const { return {v >> 32}; }
  Words mixed(Words a, Words b) const { return {v ^ a.v ^ b.v}; }
  static void store(uint8_t* to, Words c0, Words c1, Words c2, Words c3) {
    const uint32_t words[4] = {static_cast<uint32_t>(c0.v), static_cast<uint32_t>(c1.v), static_cast<uint32_t>(c2.v),
                               static_cast<uint32_t>(c3.v)};
    std::memcpy(to, words, sizeof(words));
  }
};
#endif

constexpr int64_t kGroup = 16 * Words::kBlocks;  // columns whose bytes are made together
#if defined(CPU_CAPABILITY_AVX512)
constexpr int kGroups = 4;  // chains of rounds that hide each other's latency, as many as the registers hold
#else
constexpr int kGroups = 2;
#endif

// to[g][0 .. kGroup): the mask's bytes of row row[g] from block block[g] on.
template <int G>
inline void mask_groups(uint8_t* const* to, const uint32_t* block, const uint64_t* row, uint64_t seed) {
  Words c0[G], c1[G], c2[G], c3[G];
  for (int g = 0; g < G; ++g) {
    c0[g] = Words::counted(block[g]);
    c1[g] = Words::all(static_cast<uint32_t>(row[g]));
    c2[g] = Words::all(static_cast<uint32_t>(row[g] >> 32));
    c3[g] = Words::all(0);
  }
  const Words m0 = Words::all(kPhiloxMultiplier[0]), m1 = Words::all(kPhiloxMultiplier[1]);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += kPhiloxKeyStep[0], k1 += kPhiloxKeyStep[1]) {
    const Words key0 = Words::all(k0), key1 = Words::all(k1);
    for (int g = 0; g < G; ++g) {
      const Words p0 = c0[g].times(m0), p1 = c2[g].times(m1);
      c0[g] = p1.high().mixed(c1[g], key0);
      c1[g] = p1;
      c2[g] = p0.high().mixed(c3[g], key1);
      c3[g] = p0;
    }
  }
  for (int g = 0; g < G; ++g) {
    Words::store(to[g], c0[g], c1[g], c2[g], c3[g]);
  }
}

// The mask's bytes of `rows` rows first_row, first_row + row_step, … and columns [first, first + n), first a multiple of 16.
// Rows of `to` are `stride` apart, a multiple of kGroup; whole groups are written.
inline void mask_block(uint8_t* to, int64_t stride, int64_t rows, int64_t n, uint64_t first_row, uint64_t row_step,
                       int64_t first, uint64_t seed) {
  const int64_t in_row = (n + kGroup - 1) / kGroup, groups = rows * in_row;
  for (int64_t begin = 0; begin < groups; begin += kGroups) {
    uint8_t* target[kGroups];
    uint32_t block[kGroups];
    uint64_t row[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      const int64_t group = std::min(begin + g, groups - 1), i = group / in_row, column = group % in_row * kGroup;
      target[g] = to + i * stride + column;
      block[g] = static_cast<uint32_t>((first + column) / 16);
      row[g] = first_row + static_cast<uint64_t>(i) * row_step;
    }
    if (groups - begin == 1) {
      mask_groups<1>(target, block, row, seed);
    } else {
      mask_groups<kGroups>(target, block, row, seed);
    }
  }
}

// values[i] becomes 0 where the mask's byte says so, and values[i]·scale elsewhere.
template <class A>
inline void apply_mask(A* values, const uint8_t* bytes, int64_t n, const Dropout& mask) {
  const A scale = static_cast<A>(mask.scale());
  int64_t i = 0;
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<A, float>) {
    const __m128i threshold = _mm_set1_epi8(static_cast<char>(mask.threshold));
    for (; i + 16 <= n; i += 16) {
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
      const __mmask16 kept = _mm_cmpge_epu8_mask(b, threshold);
      _mm512_storeu_ps(values + i, _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(values + i), _mm512_set1_ps(scale)));
    }
  }
#endif
  for (; i < n; ++i) {
    values[i] = bytes[i] < mask.threshold ? A(0) : values[i] * scale;
  }
}

// Drops elements of columns [first, first + n) of a row; first is a multiple of 16.
template <class A>
inline void drop_row(A* values, int64_t n, int64_t row, int64_t first, const Dropout& mask) {
  constexpr int64_t kAtOnce = kGroups * kGroup;
  alignas(64) uint8_t bytes[kAtOnce];
  for (int64_t begin = 0; begin < n; begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - begin);
    mask_block(bytes, kAtOnce, 1, count, row, 0, first + begin, mask.seed);
    apply_mask(values + begin, bytes, count, mask);
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
