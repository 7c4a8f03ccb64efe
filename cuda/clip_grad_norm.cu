/*
clip_grad_norm: the 2-norm of all gradients together, and where it is above max_norm their scaling to it

    norm = √(Σ g²),   g = g·max_norm / (norm + 1e-6) if norm > max_norm            (torch.nn.utils.clip_grad_norm_)

Three kernels, none of which waits for the host: a partial sum for each share; one block that adds them in double, in order; and
the scaling, whose blocks leave at once where there is nothing to do. float32; bytes a number: 4, and 8 where it scales.
*/
#include "device/many_tensors.h"
#include "device/warp.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

constexpr int kThreads = 256;

using Tensor = peft4j_cuda_gradient;

__global__ __launch_bounds__(kThreads) void sum_of_squares(Many<Tensor> some, float* partials) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  const Share share = some.share(blockIdx.x);
  const Tensor& t = some.tensor[share.tensor];
  float sum = 0;
  over(share, at_16_bytes(t.values), [&](int64_t i, auto width) {
    constexpr int N = decltype(width)::value;
    const Pack<float, N> g = pack_at<N>(t.values + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sum += g.v[j] * g.v[j];
    }
  });
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = sum;
  }
}

__global__ __launch_bounds__(kThreads) void norm_and_factor(double* norm, float* factor, const float* partials,
                                                            int64_t n, double max_norm) {
  auto* sums = reinterpret_cast<double*>(shared_memory());
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    sum += partials[i];
  }
  sums[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      sums[threadIdx.x] += sums[threadIdx.x + half];
    }
  }
  if (threadIdx.x == 0) {
    *norm = sqrt(sums[0]);
    *factor = *norm > max_norm ? static_cast<float>(max_norm / (*norm + 1e-6)) : 1.0f;  // of NaN: 1
  }
}

__global__ __launch_bounds__(kThreads) void scale(Many<Tensor> some, const float* factor) {
  const float by = *factor;
  if (by == 1.0f) {
    return;
  }
  const Share share = some.share(blockIdx.x);
  const Tensor& t = some.tensor[share.tensor];
  over(share, at_16_bytes(t.values), [&](int64_t i, auto width) {
    constexpr int N = decltype(width)::value;
    Pack<float, N> g = pack_at<N>(t.values + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      g.v[j] *= by;
    }
    pack_at<N>(t.values + i) = g;
  });
}

}  // namespace
}  // namespace peft4j::cuda

int64_t peft4j_cuda_clip_grad_norm_scratch(const peft4j_cuda_gradient* gradients, int64_t count) {
  int64_t shares = 0;
  for (int64_t i = 0; i < count; ++i) {
    shares += peft4j::cuda::divide_up(gradients[i].n, peft4j::cuda::kShare);
  }
  return shares + 1;
}

int peft4j_cuda_clip_grad_norm(double* norm, const peft4j_cuda_gradient* gradients, int64_t count, double max_norm,
                               float* scratch, void* stream) {
  using namespace peft4j::cuda;
  const auto s = static_cast<cudaStream_t>(stream);
  const dim3 block(kThreads);
  float *factor = scratch, *partials = scratch + 1;
  int status = launch_many(gradients, count, [&](const Many<Tensor>& some, int64_t shares_before) {
    return PEFT4J_LAUNCH(sum_of_squares, dim3(some.shares()), block, 32 * sizeof(float), s, some,
                         partials + shares_before);
  });
  if (status == 0) {
    const int64_t shares = peft4j_cuda_clip_grad_norm_scratch(gradients, count) - 1;
    status = PEFT4J_LAUNCH(norm_and_factor, dim3(1), block, kThreads * sizeof(double), s, norm, factor, partials,
                           shares, max_norm);
  }
  if (status != 0 || max_norm == 0) {
    return status;
  }
  return launch_many(gradients, count, [&](const Many<Tensor>& some, int64_t) {
    return PEFT4J_LAUNCH(scale, dim3(some.shares()), block, 0, s, some, factor);
  });
}
