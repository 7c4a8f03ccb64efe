/*
libpeft4j_bench.so: what build-scripts/gpu/speed.py needs of a card where there is no PyTorch: memory, random numbers, a copy
to compare with, and the time of what was started between two events. Times of our kernels then come from the same
script, with the same shapes. A function gives null, a negative number or CUDA's error number where it fails.
*/
#include <cmath>

#include "device/cuda.h"
#include "device/numbers.h"
#include "device/philox.h"

#define PEFT4J_BENCH_API extern "C" __attribute__((visibility("default")))

namespace peft4j::cuda {
namespace {

// Normal numbers (Box and Muller), two from each pair of words.
template <class T>
__global__ void fill_normal(T* to, int64_t n, uint64_t seed, float deviation) {
  const int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
  const uint4 words = mask_words(0, static_cast<uint64_t>(i / 4), seed);
  const uint32_t word[4] = {words.x, words.y, words.z, words.w};
  for (int j = 0; j < 4 && i + j < n; ++j) {
    const float uniform = (static_cast<float>(word[j & 2] >> 8) + 1) * 0x1p-24f,
                angle = word[j | 1] * 0x1p-31f * 3.14159265f;
    to[i + j] = from_float<T>(deviation * sqrtf(-2 * logf(uniform)) * (j & 1 ? sinf(angle) : cosf(angle)));
  }
}

__global__ void write_words(uint4* to, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) {
    to[i] = make_uint4(1, 2, 3, 4);
  }
}

dim3 blocks(int64_t n, int64_t threads) {
  return dim3(static_cast<unsigned>(divide_up(n, threads)));
}

}  // namespace
}  // namespace peft4j::cuda

using namespace peft4j::cuda;

PEFT4J_BENCH_API void* peft4j_bench_malloc(int64_t bytes) {
  void* p = nullptr;
  return cudaMalloc(&p, static_cast<size_t>(bytes)) == cudaSuccess ? p : nullptr;
}

PEFT4J_BENCH_API int peft4j_bench_free(void* p) {
  return cudaFree(p);
}

PEFT4J_BENCH_API int peft4j_bench_upload(void* to, const void* from, int64_t bytes) {
  return cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice);
}

// dtype as in peft4j_cuda.h.
PEFT4J_BENCH_API int peft4j_bench_normal(void* to, int64_t n, int dtype, uint64_t seed, float deviation) {
  return by_dtype(dtype, [&](auto t) {
    using T = decltype(t);
    return PEFT4J_LAUNCH(fill_normal<T>, blocks(n, 4 * 256), dim3(256), 0, nullptr, static_cast<T*>(to), n, seed,
                         deviation);
  });
}

PEFT4J_BENCH_API int peft4j_bench_copy(void* to, const void* from, int64_t bytes) {
  return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice);
}

// Writes a buffer larger than L2: what is read next comes from memory.
PEFT4J_BENCH_API int peft4j_bench_flush(void* buffer, int64_t bytes) {
  return PEFT4J_LAUNCH(write_words, blocks(bytes / 16, 256), dim3(256), 0, nullptr, static_cast<uint4*>(buffer),
                       bytes / 16);
}

PEFT4J_BENCH_API void* peft4j_bench_event(void) {
  cudaEvent_t event = nullptr;
  return cudaEventCreate(&event) == cudaSuccess ? event : nullptr;
}

PEFT4J_BENCH_API int peft4j_bench_record(void* event) {
  return cudaEventRecord(static_cast<cudaEvent_t>(event));
}

// Waits for both. Negative where a kernel between them failed.
PEFT4J_BENCH_API double peft4j_bench_milliseconds(void* begin, void* end) {
  float time = -1;
  return cudaEventSynchronize(static_cast<cudaEvent_t>(end)) == cudaSuccess &&
                 cudaEventElapsedTime(&time, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)) ==
                     cudaSuccess
             ? time
             : -1;
}
