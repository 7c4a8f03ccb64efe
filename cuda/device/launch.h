#pragma once
/*
How a kernel is started and gets its shared memory, the same text for a card and for the host executor.

    PEFT4J_LAUNCH(my_kernel<float>, grid, block, shared_bytes, stream, arguments…)

gives 0, or an error's number and a message (last_error) with the kernel's name, grid, block and shared bytes. A grid of no
blocks is no error and does nothing. Inside the kernel shared_memory() is the block's shared_bytes, aligned to 1024.
*/
#include <cstdint>
#include <cstdio>
#include <string>

namespace peft4j::cuda {

inline std::string& last_error() {
  thread_local std::string message;
  return message;
}

inline const char*& last_kernel() {
  thread_local const char* name = "";
  return name;
}

inline std::string describe(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  char text[256];
  std::snprintf(text, sizeof text, "kernel %s, grid (%u, %u, %u), block (%u, %u, %u), %zu bytes of shared memory",
                kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
  return text;
}

#ifdef __CUDACC__

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(1024) char peft4j_shared[];
  return peft4j_shared;
}

template <class... P, class... A>
int launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
           A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
    return 0;
  }
  last_kernel() = name;
  constexpr size_t kWithoutAsking = 48 * 1024;
  cudaError_t error = cudaSuccess;
  if (shared_bytes > kWithoutAsking) {
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes));
  }
  if (error == cudaSuccess) {
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(arguments)...);
    error = cudaGetLastError();
  }
  if (error != cudaSuccess) {
    last_error() = describe(name, grid, block, shared_bytes) + ": " + cudaGetErrorString(error);
  }
  return static_cast<int>(error);
}

#else

inline char* shared_memory() {
  return host::shared_memory();
}

template <class... P, class... A>
int launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
           A... arguments) {
  last_kernel() = name;
  // The arguments lie on the host's stack, which a kernel may not read: not instrumented.
  const auto call = [&]() PEFT4J_UNSEEN { kernel(static_cast<P>(arguments)...); };
  const auto start = [](const void* c) PEFT4J_UNSEEN { (*static_cast<const decltype(call)*>(c))(); };
  const std::string error =
      host::run_grid(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, start, &call);
  if (!error.empty()) {
    last_error() = describe(name, grid, block, shared_bytes) + ": " + error;
  }
  return error.empty() ? 0 : 1;
}

#endif

}  // namespace peft4j::cuda

#define PEFT4J_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::peft4j::cuda::launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
