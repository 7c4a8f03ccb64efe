#pragma once
/* Sums and maxima over the lanes of a warp and over a block, in a fixed order: the same bits in each run. */
#include "cuda.h"

namespace peft4j::cuda {

constexpr uint32_t kAllLanes = 0xffffffffu;

// Over groups of `width` neighbouring lanes (a power of two); every lane gets the result.
template <int Width = 32>
PEFT4J_DEVICE float warp_sum(float x) {
#pragma unroll
  for (int bits = Width / 2; bits > 0; bits /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, bits);
  }
  return x;
}

template <int Width = 32>
PEFT4J_DEVICE float warp_max(float x) {
#pragma unroll
  for (int bits = Width / 2; bits > 0; bits /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}

// Over the block; every thread gets the result. scratch: 32 floats of shared memory, free again when this returns.
// blockDim.x is a multiple of 32, the block is one-dimensional.
PEFT4J_DEVICE float block_sum(float x, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_sum(x);
  if (lane == 0) {
    scratch[warp] = x;
  }
  __syncthreads();
  x = warp_sum(lane < warps ? scratch[lane] : 0.0f);
  __syncthreads();
  return x;
}

PEFT4J_DEVICE float block_max(float x, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_max(x);
  if (lane == 0) {
    scratch[warp] = x;
  }
  __syncthreads();
  x = warp_max(lane < warps ? scratch[lane] : -INFINITY);
  __syncthreads();
  return x;
}

}  // namespace peft4j::cuda
