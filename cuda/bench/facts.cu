/*
gpu-check's facts, as JSON: what the first card says of itself, and the rate at which it copies (bytes read + written a
second): by cudaMemcpy, and by a kernel of 16-byte accesses, which is what ours can reach.
*/
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "device/cuda.h"

namespace {

void require(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    std::exit(2);
  }
}

__global__ void copy(uint4* to, const uint4* from, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    to[i] = from[i];
  }
}

// Values that no compression makes smaller.
__global__ void scramble(uint4* to, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const auto a = static_cast<uint32_t>(i) * 2654435761u;
    to[i] = make_uint4(a, a * 2246822519u, a * 3266489917u, a * 668265263u);
  }
}

template <class F>
double median_seconds(const F& work) {
  constexpr int kWarmUp = 3, kRepeats = 20;
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin), "cudaEventCreate");
  require(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> milliseconds;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    require(cudaEventRecord(begin), "cudaEventRecord");
    work();
    require(cudaEventRecord(end), "cudaEventRecord");
    require(cudaEventSynchronize(end), "copying");
    float time = 0;
    require(cudaEventElapsedTime(&time, begin, end), "cudaEventElapsedTime");
    if (i >= kWarmUp) {
      milliseconds.push_back(time);
    }
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds[kRepeats / 2] / 1e3;
}

}  // namespace

int main() {
  cudaDeviceProp card;
  require(cudaGetDeviceProperties(&card, 0), "cudaGetDeviceProperties");
  const auto attribute = [](cudaDeviceAttr which) {
    int value = 0;
    require(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
    return value;
  };
  int driver = 0, runtime = 0;
  require(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  require(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  size_t free = 0, total = 0;
  require(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");

  const size_t bytes = std::min<size_t>(size_t{4} << 30, free / 4) / 1024 * 1024;
  const auto n = static_cast<int64_t>(bytes / sizeof(uint4));
  uint4 *from = nullptr, *to = nullptr;
  require(cudaMalloc(&from, bytes), "cudaMalloc");
  require(cudaMalloc(&to, bytes), "cudaMalloc");
  const int blocks = 8 * card.multiProcessorCount;
  scramble<<<blocks, 256>>>(from, n);
  const double by_memcpy = median_seconds([&] { cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice); });
  const double by_kernel = median_seconds([&] { copy<<<blocks, 256>>>(to, from, n); });
  require(cudaDeviceSynchronize(), "copying");

  std::printf(
      "{\"name\": \"%s\", \"capability\": \"%d.%d\", \"multiprocessors\": %d, \"clock_mhz\": %d, \"memory_clock_mhz\": "
      "%d,\n"
      " \"memory_bytes\": %zu, \"l2_bytes\": %d, \"shared_bytes_per_block\": %zu, \"driver_cuda\": %d, "
      "\"runtime_cuda\": %d,\n"
      " \"copy_bytes\": %zu, \"memcpy_rate\": %.4e, \"kernel_copy_rate\": %.4e}\n",
      card.name, card.major, card.minor, card.multiProcessorCount, attribute(cudaDevAttrClockRate) / 1000,
      attribute(cudaDevAttrMemoryClockRate) / 1000, total, card.l2CacheSize, card.sharedMemPerBlockOptin, driver,
      runtime, bytes, 2 * bytes / by_memcpy, 2 * bytes / by_kernel);
}
