/*
gelu: y = x·Φ(x) and dx = dy∘gelu'(x) of n elements (Gaussian Error Linear Units, Hendrycks & Gimpel 2016; the exact Φ).

Bytes for an element of 16 bits: forward 4, backward 6; 18 and 20 instructions, where 4.3 TB/s leave an H200 time for 27 and 40.
A thread has two 16-byte vectors of each tensor under way; at 40 registers an SM holds 1536 threads, with 48 KB forward, where
bandwidth and latency ask for 13.
*/
#include "device/activation.h"
#include "device/walk.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

// dy null: forward.
template <class T, int V>
__global__ void __launch_bounds__(kPlaneThreads) gelu(const T* x, const T* dy, T* out, int64_t n) {
  Pack<T, V> xs[kPlanePacks], dys[kPlanePacks];
  each_plane_pack<V>(n, [&](int i, int64_t c) {
    xs[i] = load_pack<V>(x + c);
    if (dy != nullptr) {
      dys[i] = load_pack<V>(dy + c);
    }
  });
  each_plane_pack<V>(n, [&](int i, int64_t c) {
    float a[V], d[V], slope;
    to_floats(xs[i], a);
    if (dy == nullptr) {
#pragma unroll
      for (float& value : a) {
        value = Gelu::at(value, slope);
      }
    } else {
      to_floats(dys[i], d);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        Gelu::at(a[j], slope);
        a[j] = d[j] * slope;
      }
    }
    write_pack(out + c, from_floats<T>(a));
  });
}

int run(int dtype, int64_t n, const void* x, const void* dy, void* out, cudaStream_t stream) {
  return by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = Pack<T>::kSize;
    const auto *from = static_cast<const T*>(x), *gradient = static_cast<const T*>(dy);
    auto* to = static_cast<T*>(out);
    const bool by_vectors = packs(from, n) && packs(gradient, n) && packs(to, n);
    const int64_t block_elements = kPlanePacks * kPlaneThreads * (by_vectors ? V : 1);
    const dim3 grid(static_cast<unsigned>(divide_up(n, block_elements)));
    return by_vectors ? PEFT4J_LAUNCH((gelu<T, V>), grid, dim3(kPlaneThreads), 0, stream, from, gradient, to, n)
                      : PEFT4J_LAUNCH((gelu<T, 1>), grid, dim3(kPlaneThreads), 0, stream, from, gradient, to, n);
  });
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_gelu_forward(int dtype, int64_t n, const void* x, void* y, void* stream) {
  return peft4j::cuda::run(dtype, n, x, nullptr, y, static_cast<cudaStream_t>(stream));
}

int peft4j_cuda_gelu_backward(int dtype, int64_t n, const void* x, const void* dy, void* dx, void* stream) {
  return peft4j::cuda::run(dtype, n, x, dy, dx, static_cast<cudaStream_t>(stream));
}
