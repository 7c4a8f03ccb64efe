#pragma once
/* CUDA's words for kernels, as the host executor understands them. What is not here a kernel must not use. */
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "executor.h"
#include "launch_bounds.h"
#include "memory.h"
#include "types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __grid_constant__
#define __align__(n) alignas(n)
#define __constant__ static const

#define threadIdx (::peft4j::host::thread_index())
#define blockIdx (::peft4j::host::block_index())
#define blockDim (::peft4j::host::block_size())
#define gridDim (::peft4j::host::grid_size())

// These write memory behind the checks.
#pragma GCC poison memset memmove

inline void __syncthreads(peft4j::host::Site site = peft4j::host::Site::current()) {
  peft4j::host::sync_threads(site);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, peft4j::host::Site site = peft4j::host::Site::current()) {
  peft4j::host::warp_collective("__syncwarp", mask, nullptr, nullptr, nullptr, true, site);
}
inline void __threadfence() {}

namespace peft4j::host {

// The executor's own accesses are none of the kernel's.
#define PEFT4J_UNSEEN __attribute__((no_sanitize_thread))

template <class T>
T shuffle(const char* name, uint32_t mask, T value, int source, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t> bits = std::bit_cast<decltype(bits)>(value);
  bits = static_cast<decltype(bits)>(shuffle_bits(name, mask, bits, source, site));
  return std::bit_cast<T>(bits);
}

// next is unseen, too: a thread that fell asleep in it would not be atomic.
template <class T, class F>
PEFT4J_UNSEEN T atomic(T* address, F next, Site site) {
  check_atomic(address, sizeof(T), site);
  const T old = *address;
  *address = next(old);
  return old;
}

}  // namespace peft4j::host

#define PEFT4J_HOST_SITE peft4j::host::Site site = peft4j::host::Site::current()

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, PEFT4J_HOST_SITE) {
  const int lane = peft4j::host::lane(), first = lane / width * width;
  return peft4j::host::shuffle("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, PEFT4J_HOST_SITE) {
  const int lane = peft4j::host::lane(), other = lane ^ bits;
  return peft4j::host::shuffle("__shfl_xor_sync", mask, value, other / width > lane / width ? -1 : other, site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, PEFT4J_HOST_SITE) {
  const int lane = peft4j::host::lane(), other = lane - static_cast<int>(delta);
  return peft4j::host::shuffle("__shfl_up_sync", mask, value, other < lane / width * width ? -1 : other, site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, PEFT4J_HOST_SITE) {
  const int lane = peft4j::host::lane(), other = lane + static_cast<int>(delta);
  return peft4j::host::shuffle("__shfl_down_sync", mask, value, other >= (lane / width + 1) * width ? -1 : other, site);
}
inline uint32_t __ballot_sync(uint32_t mask, bool predicate, PEFT4J_HOST_SITE) {
  return peft4j::host::vote("__ballot_sync", mask, predicate, site);
}
inline bool __any_sync(uint32_t mask, bool predicate, PEFT4J_HOST_SITE) {
  return peft4j::host::vote("__any_sync", mask, predicate, site) != 0;
}
inline bool __all_sync(uint32_t mask, bool predicate, PEFT4J_HOST_SITE) {
  return peft4j::host::vote("__all_sync", mask, predicate, site) == mask;
}

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value, PEFT4J_HOST_SITE) {
  return peft4j::host::atomic(address, [=](T old) PEFT4J_UNSEEN { return static_cast<T>(old + value); }, site);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value, PEFT4J_HOST_SITE) {
  return peft4j::host::atomic(address, [=](T old) PEFT4J_UNSEEN { return old < value ? value : old; }, site);
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value, PEFT4J_HOST_SITE) {
  return peft4j::host::atomic(address, [=](T old) PEFT4J_UNSEEN { return old == expected ? value : old; }, site);
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __frcp_rn(float a) {
  return 1.0f / a;
}
inline float __expf(float a) {
  return std::exp(a);
}
inline float __logf(float a) {
  return std::log(a);
}
inline float rsqrtf(float a) {
  return 1.0f / std::sqrt(a);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline unsigned __float_as_uint(float a) {
  return std::bit_cast<unsigned>(a);
}
inline float __uint_as_float(unsigned a) {
  return std::bit_cast<float>(a);
}
// Bytes 0 to 3 are x's, 4 to 7 are y's; nibble i of the selector names the byte i of the result.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 255) << (8 * i);
  }
  return result;
}
// For each byte: 0xff where a's is at least b's, else 0.
inline unsigned __vcmpgeu4(unsigned a, unsigned b) {
  unsigned result = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    result |= (a >> shift & 255) >= (b >> shift & 255) ? 255u << shift : 0u;
  }
  return result;
}
inline int __popc(unsigned a) {
  return std::popcount(a);
}
using std::max;
using std::min;
