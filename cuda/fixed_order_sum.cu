/*
fixed_order_sum: the second stage of every reduction over rows, so that trained gradients are the same bits in each run.

    out[i] (+)= Σ_s partials[s, i]        float32; bytes: 4·n·(splits + 1, or 2 where it adds)

A block owns a stripe of columns; its thread rows take every kRows-th split each, in order, and the first row adds what they
found, in order. With few splits one thread row does it all.
*/
#include "device/cuda.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

constexpr int kColumns = 32;  // threads along the columns
constexpr int kRows = 8;      // thread rows
constexpr int kFew = 16;      // splits that one thread row adds

template <int N>
struct alignas(4 * N) Floats {
  float v[N];
};

template <int N>
__device__ void add_to(Floats<N>& sum, const Floats<N>& more) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    sum.v[j] += more.v[j];
  }
}

// N columns a thread.
template <int N>
__global__ void fixed_order_sum(float* out, const float* partials, int64_t n, int64_t splits, bool add) {
  auto* shared = reinterpret_cast<Floats<N>*>(shared_memory());
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  const bool inside = column < n;
  Floats<N> sum = {};
  for (int64_t s = threadIdx.y; inside && s < splits; s += blockDim.y) {
    add_to(sum, *reinterpret_cast<const Floats<N>*>(partials + s * n + column));
  }
  if (blockDim.y > 1) {
    shared[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();
    for (unsigned row = 1; threadIdx.y == 0 && row < blockDim.y; ++row) {
      add_to(sum, shared[row * blockDim.x + threadIdx.x]);
    }
  }
  if (inside && threadIdx.y == 0) {
    auto* to = reinterpret_cast<Floats<N>*>(out + column);
    if (add) {
      add_to(sum, *to);
    }
    *to = sum;
  }
}

template <int N>
int launch_sum(float* out, const float* partials, int64_t n, int64_t splits, bool add, cudaStream_t stream) {
  const bool few = splits <= kFew;
  const dim3 block = few ? dim3(kColumns * kRows) : dim3(kColumns, kRows);
  const int64_t stripe = static_cast<int64_t>(block.x) * N;
  const size_t shared_bytes = few ? 0 : block.x * block.y * sizeof(Floats<N>);
  return PEFT4J_LAUNCH(fixed_order_sum<N>, dim3(static_cast<unsigned>((n + stripe - 1) / stripe)), block, shared_bytes,
                       stream, out, partials, n, splits, add);
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_fixed_order_sum(float* out, const float* partials, int64_t n, int64_t splits, int add, void* stream) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  const bool wide = n % 4 == 0 && aligned(out) && aligned(partials);
  const auto s = static_cast<cudaStream_t>(stream);
  return wide ? peft4j::cuda::launch_sum<4>(out, partials, n, splits, add != 0, s)
              : peft4j::cuda::launch_sum<1>(out, partials, n, splits, add != 0, s);
}
