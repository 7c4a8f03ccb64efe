#pragma once
/* Vectors: the exponential that our kernels share, and reductions over lanes. */
#include <ATen/cpu/vec/vec.h>
#include <c10/util/BFloat16.h>

#include <type_traits>

namespace peft4j {
namespace CPU_CAPABILITY {

template <class T>
using Vec = at::vec::Vectorized<T>;

// exp(x) for x up to about 80, 2 ulp; 0 below -86 (-110 under AVX512); NaN stays NaN, which libtorch's exp_u20 loses.
// exp(x) = 2ⁿ·exp(r), r = x - n·ln 2; the polynomial is the minimax of relative error 2e-9 on |r| <= ln 2 / 2.
template <class T>
inline Vec<T> fast_exp(const Vec<T>& x) {
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<T, float>) {
    const auto polynomial = [](const Vec<float>& r) {
      using at::vec::fmadd;
      using V = Vec<float>;
      V p = fmadd(r, V(0.0013843646f), V(0.0083741639f));
      p = fmadd(r, p, V(0.0416680016f));
      p = fmadd(r, p, V(0.1666643173f));
      p = fmadd(r, p, V(0.4999999404f));
      p = fmadd(r, p, V(1.0f));
      return fmadd(r, p, V(1.0f));
    };
#if defined(CPU_CAPABILITY_AVX512)
    const __m512 v = _mm512_max_ps(_mm512_set1_ps(-110.0f), x);  // of NaN and a number max_ps gives the second operand
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(v, _mm512_set1_ps(1.44269504f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(polynomial(_mm512_fnmadd_ps(n, _mm512_set1_ps(0.693147182f), v)), n);
#else
    const __m256 least = _mm256_set1_ps(-86.0f), v = _mm256_max_ps(least, x);
    const __m256 n =
        _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 p = polynomial(_mm256_fnmadd_ps(n, _mm256_set1_ps(0.693147182f), v));
    const __m256i scaled = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), _mm256_castsi256_ps(scaled));
#endif
  }
#endif
  return x.exp();
}

// Two vectors as one of bfloat16, rounded to nearest even (the instruction takes denormals for 0).
inline Vec<c10::BFloat16> narrowed(const Vec<float>& low, const Vec<float>& high) {
#if defined(__AVX512BF16__)
  return Vec<c10::BFloat16>((__m512i)_mm512_cvtne2ps_pbh(high, low));
#else
  return at::vec::convert_float_bfloat16(low, high);
#endif
}

// The larger; of NaN and a number either one.
template <class T>
inline Vec<T> larger(const Vec<T>& a, const Vec<T>& b) {
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_max_ps(a, b);
  }
#elif defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<T, float>) {
    return _mm256_max_ps(a, b);
  }
#endif
  return at::vec::maximum(a, b);
}

template <class T>
inline T largest_lane(const Vec<T>& v) {
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_reduce_max_ps(v);
  }
#endif
  alignas(64) T lanes[Vec<T>::size()];
  v.store(lanes);
  for (int half = Vec<T>::size() / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      lanes[i] = std::max(lanes[i], lanes[i + half]);
    }
  }
  return lanes[0];
}

template <class T>
inline T sum_of_lanes(const Vec<T>& v) {
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_reduce_add_ps(v);
  }
#endif
  alignas(64) T lanes[Vec<T>::size()];
  v.store(lanes);
  for (int half = Vec<T>::size() / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      lanes[i] += lanes[i + half];
    }
  }
  return lanes[0];
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
