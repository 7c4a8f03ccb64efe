#pragma once
/*
Rows of float, bfloat16 or double seen as rows of the type we compute in (float for bfloat16), with dropout on the way.
*/
#include <ATen/OpMathType.h>
#include <c10/util/BFloat16.h>

#include <cstring>

#include "../philox.h"
#include "tile_gemm.h"

namespace peft4j {
namespace CPU_CAPABILITY {

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
  static Words counted(uint32_t x) { return {_mm512_add_epi64(_mm512_set1_epi64(x), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))}; }
  Words times(Words o) const { return {_mm512_mul_epu32(v, o.v)}; }
  Words high() const { return {_mm512_srli_epi64(v, 32)}; }
  Words mixed(Words a, Words b) const { return {_mm512_ternarylogic_epi64(v, a.v, b.v, 0x96)}; }  // xor of three
  static void store(uint8_t* to, Words c0, Words c1, Words c2, Words c3) {
    const __m512i first = _mm512_mask_blend_epi32(0xAAAA, c0.v, _mm512_slli_epi64(c1.v, 32));
    const __m512i second = _mm512_mask_blend_epi32(0xAAAA, c2.v, _mm512_slli_epi64(c3.v, 32));
    const __m512i lower = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), upper = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
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

// to[0 .. 16·G·Words::kBlocks): the mask's bytes of blocks `block` and following of a row.
template <int G>
inline __attribute__((always_inline)) void mask_bytes(uint8_t* to, uint32_t block, uint64_t row, uint64_t seed) {
  Words c0[G], c1[G], c2[G], c3[G];
  for (int g = 0; g < G; ++g) {
    c0[g] = Words::counted(block + g * Words::kBlocks);
    c1[g] = Words::all(static_cast<uint32_t>(row));
    c2[g] = Words::all(static_cast<uint32_t>(row >> 32));
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
    Words::store(to + 16 * Words::kBlocks * g, c0[g], c1[g], c2[g], c3[g]);
  }
}

// Multiplies columns [first, first + n) of a row by the dropout mask: 0 or mask.scale. first is a multiple of 16.
template <class A>
inline void drop_row(A* values, int64_t n, int64_t row, int64_t first, const Dropout& mask) {
  constexpr int64_t kGroup = 16 * Words::kBlocks, kGroups = 2;
  alignas(64) uint8_t bytes[kGroups * kGroup];
  const A scale = static_cast<A>(mask.scale());
  for (int64_t begin = 0; begin < n;) {
    const uint32_t block = static_cast<uint32_t>((first + begin) / 16);
    int64_t count = n - begin;
    if (count > kGroup) {
      count = std::min(count, kGroups * kGroup);
      mask_bytes<kGroups>(bytes, block, row, mask.seed);
    } else {
      mask_bytes<1>(bytes, block, row, mask.seed);
    }
    A* at = values + begin;
    int64_t i = 0;
#if defined(CPU_CAPABILITY_AVX512)
    if constexpr (std::is_same_v<A, float>) {
      const __m128i threshold = _mm_set1_epi8(static_cast<char>(mask.threshold));
      for (; i + 16 <= count; i += 16) {
        const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes + i));
        const __mmask16 kept = _mm_cmpge_epu8_mask(b, threshold);
        _mm512_storeu_ps(at + i, _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(at + i), _mm512_set1_ps(scale)));
      }
    }
#endif
    for (; i < count; ++i) {
      at[i] = bytes[i] < mask.threshold ? A(0) : at[i] * scale;
    }
    begin += count;
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
