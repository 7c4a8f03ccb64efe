/*
softmax_pool: self-attention pooling of packed sequences, the middle of prompt_generator            (IAPT, Zhu et al. 2024)

    s = z Wᵀ [T, P];   a = softmax of s over the rows of each sequence;   c[q] = aᵀ z over the rows of sequence q  [S, P, m]
    backward, of row t in sequence q, with da = z_t·dc_qp and δ_qp = Σ_t a da = dc_qp·c_qp:
        ds_tp = a_tp·(da_tp - δ_qp);   dz_t = Σ_p a_tp dc_qp + ds_tp W_p;   dW_p = Σ_t ds_tp z_t

z, dz are bfloat16, float16 or float32, all else float32. A sequence of one row has a = 1, one without rows c = 0.

Bytes: 2 reads of z forward, 2 reads and a write backward (16-bit: 4·T·m, 6·T·m), the second read from L2 as a rule; the products
have 4·T·P·m operations forward, a few for each byte: bound by memory, and small beside the down projection that made z
(T·d bytes read, d ≫ m).
Two kernels each way. Over rows: a warp for each row, lanes along its columns, four soft tokens at a time. Over columns: a block for
each sequence and 8 packs of columns, 32 threads along the rows, four soft tokens in registers; its sums over rows run in a
fixed order. dW is one partial sum for each block, then fixed_order_sum.
*/
#include <algorithm>

#include "device/numbers.h"
#include "device/warp.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_softmax_pool_params;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kTokens = 4;                              // of a pass
constexpr int kAcross = 8, kDown = kThreads / kAcross;  // threads of a block along packs of columns, and along rows
constexpr int64_t kRowsInSplit = 128, kMostSplits = 8;  // of backward
constexpr int64_t kMostRowBlocks = 1024;                // of a sequence

struct Aligned {
  bool z, floats;  // whether rows of z and dz, and of the float matrices, begin at 16 bytes
};

// V floats from `from` on, 0 behind `count`.
template <int V>
PEFT4J_DEVICE void load_floats(float (&to)[V], const float* from, int count, bool whole) {
#pragma unroll
  for (int i = 0; i < V; i += 4) {
    const Pack<float> pack = load_some(from + i, max(min(count - i, 4), 0), whole);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      to[i + j] = pack.v[j];
    }
  }
}

PEFT4J_DEVICE int columns_at(int64_t column, int64_t width, int most) {
  return width - column < most ? static_cast<int>(width - column) : most;
}

// scores[t, p] = z_t·W_p, or in backward ds.
template <class T, bool Backward>
__global__ void __launch_bounds__(kThreads) pool_rows(Params p, Aligned aligned) {
  constexpr int V = Pack<T>::kSize;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t s = blockIdx.x, end = p.begin[s + 1], of_sequence = s * p.tokens * p.width;
  const float* vectors = Backward ? p.dc + of_sequence : p.w;
  auto* delta = reinterpret_cast<float*>(shared_memory());  // [tokens]
  if constexpr (Backward) {
    for (int64_t token = warp; token < p.tokens; token += kWarps) {
      float sum = 0;  // in the order of the dots below: where one row is all of c, ds is 0 exactly
      for (int64_t column = lane * V; column < p.width; column += 32 * V) {
        const int count = columns_at(column, p.width, V);
        float c[V], dc[V];
        load_floats(c, p.c + of_sequence + token * p.width + column, count, aligned.floats);
        load_floats(dc, vectors + token * p.width + column, count, aligned.floats);
#pragma unroll
        for (int i = 0; i < V; ++i) {
          sum += c[i] * dc[i];
        }
      }
      sum = warp_sum(sum);
      if (lane == 0) {
        delta[token] = sum;
      }
    }
    __syncthreads();
  }
  for (int64_t row = p.begin[s] + static_cast<int64_t>(blockIdx.y) * kWarps + warp; row < end;
       row += static_cast<int64_t>(gridDim.y) * kWarps) {
    const T* z = static_cast<const T*>(p.z) + row * p.width;
    for (int64_t first = 0; first < p.tokens; first += kTokens) {
      float dot[kTokens] = {};
      for (int64_t column = lane * V; column < p.width; column += 32 * V) {
        const int count = columns_at(column, p.width, V);
        const Pack<T> pack = load_some(z + column, count, aligned.z);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
          if (first + t < p.tokens) {
            float v[V];
            load_floats(v, vectors + (first + t) * p.width + column, count, aligned.floats);
#pragma unroll
            for (int i = 0; i < V; ++i) {
              dot[t] += to_float(pack.v[i]) * v[i];
            }
          }
        }
      }
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const float sum = warp_sum(dot[t]);
        if (lane == t && first + t < p.tokens) {
          const int64_t at = row * p.tokens + first + t;
          p.scores[at] = Backward ? p.weights[at] * (sum - delta[first + t]) : sum;
        }
      }
    }
  }
}

// write(token, column of the block, Σ of acc over the threads along the rows), in a fixed order.
// shared: kWarps · kAcross · kTokens · V floats, free again when this returns.
template <int V, class F>
PEFT4J_DEVICE void add_rows(float (&acc)[kTokens][V], float* shared, const F& write) {
  constexpr int kEach = kTokens * V, kAll = kAcross * kEach;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    float& sum = acc[i / V][i % V];
#pragma unroll
    for (int bits = kAcross; bits < 32; bits *= 2) {
      sum += __shfl_xor_sync(kAllLanes, sum, bits);
    }
    if (lane < kAcross) {
      shared[warp * kAll + lane * kEach + i] = sum;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kAll; i += kThreads) {
    float sum = shared[i];
    for (int w = 1; w < kWarps; ++w) {
      sum += shared[w * kAll + i];
    }
    write(i % kEach / V, i / kEach * V + i % V, sum);
  }
  __syncthreads();
}

// weights and c of a sequence, kAcross packs of columns and kTokens soft tokens.
template <class T>
__global__ void __launch_bounds__(kThreads) pool_columns(Params p, Aligned aligned) {
  constexpr int V = Pack<T>::kSize;
  auto* shared = reinterpret_cast<float*>(shared_memory());
  const int64_t s = blockIdx.x, begin = p.begin[s], end = p.begin[s + 1];
  const int64_t slice = static_cast<int64_t>(blockIdx.y) * kAcross * V,
                first = static_cast<int64_t>(blockIdx.z) * kTokens;
  const int64_t column = slice + threadIdx.x % kAcross * V;
  const int count = max(columns_at(column, p.width, V), 0);

  float most[kTokens], sum[kTokens];
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    most[t] = -INFINITY;
    sum[t] = 0;
    const float* scores = p.scores + first + t;
    const bool there = first + t < p.tokens;
    for (int64_t row = begin + threadIdx.x; there && row < end; row += kThreads) {
      most[t] = fmaxf(most[t], scores[row * p.tokens]);
    }
    most[t] = block_max(most[t], shared);
    for (int64_t row = begin + threadIdx.x; there && row < end; row += kThreads) {
      sum[t] += __expf(scores[row * p.tokens] - most[t]);
    }
    sum[t] = 1.0f / block_sum(sum[t], shared);  // not used where there are no rows
  }

  float acc[kTokens][V] = {};
  for (int64_t row = begin + threadIdx.x / kAcross; row < end; row += kDown) {
    const Pack<T> z = load_some(static_cast<const T*>(p.z) + row * p.width + column, count, aligned.z);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (first + t < p.tokens) {
        const int64_t at = row * p.tokens + first + t;
        const float weight = __expf(p.scores[at] - most[t]) * sum[t];
        if (blockIdx.y == 0 && threadIdx.x % kAcross == 0) {
          p.weights[at] = weight;
        }
#pragma unroll
        for (int i = 0; i < V; ++i) {
          acc[t][i] += weight * to_float(z.v[i]);
        }
      }
    }
  }
  add_rows<V>(acc, shared, [&](int t, int i, float value) {
    if (first + t < p.tokens && slice + i < p.width) {
      p.c[(s * p.tokens + first + t) * p.width + slice + i] = value;
    }
  });
}

// dz and a partial dW of every gridDim.z-th run of kDown rows of a sequence, and kAcross packs of columns.
template <class T>
__global__ void __launch_bounds__(kThreads) pool_columns_backward(Params p, Aligned aligned) {
  constexpr int V = Pack<T>::kSize;
  auto* shared = reinterpret_cast<float*>(shared_memory());
  const int64_t s = blockIdx.x, end = p.begin[s + 1];
  const int64_t begin = p.begin[s] + static_cast<int64_t>(blockIdx.z) * kDown + threadIdx.x / kAcross;
  const int64_t slice = static_cast<int64_t>(blockIdx.y) * kAcross * V, column = slice + threadIdx.x % kAcross * V;
  const int64_t step = static_cast<int64_t>(gridDim.z) * kDown;
  const int count = max(columns_at(column, p.width, V), 0);

  for (int64_t row = begin; row < end && count > 0; row += step) {
    float dz[V] = {};
    for (int64_t token = 0; token < p.tokens; ++token) {
      float w[V], dc[V];
      load_floats(w, p.w + token * p.width + column, count, aligned.floats);
      load_floats(dc, p.dc + (s * p.tokens + token) * p.width + column, count, aligned.floats);
      const float weight = p.weights[row * p.tokens + token], ds = p.scores[row * p.tokens + token];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        dz[i] += weight * dc[i] + ds * w[i];
      }
    }
    store_some(static_cast<T*>(p.dz) + row * p.width + column, dz, count, aligned.z);
  }

  const int64_t partial = s * gridDim.z + blockIdx.z;
  for (int64_t first = 0; p.dw_partials != nullptr && first < p.tokens; first += kTokens) {
    float acc[kTokens][V] = {};
    for (int64_t row = begin; row < end; row += step) {
      const Pack<T> z = load_some(static_cast<const T*>(p.z) + row * p.width + column, count, aligned.z);
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const float ds = first + t < p.tokens ? p.scores[row * p.tokens + first + t] : 0.0f;
#pragma unroll
        for (int i = 0; i < V; ++i) {
          acc[t][i] += ds * to_float(z.v[i]);
        }
      }
    }
    add_rows<V>(acc, shared, [&](int t, int i, float value) {
      if (first + t < p.tokens && slice + i < p.width) {
        p.dw_partials[(partial * p.tokens + first + t) * p.width + slice + i] = value;
      }
    });
  }
}

template <class T>
Aligned aligned_of(const Params& p) {
  return {packs(static_cast<const T*>(p.z), p.width) && packs(static_cast<const T*>(p.dz), p.width),
          packs(p.w, p.width) && packs(p.dc, p.width) && packs(p.c, p.width)};
}

template <class T>
constexpr size_t kSharedBytes = sizeof(float) * kWarps * kAcross * kTokens * Pack<T>::kSize;

template <class T>
unsigned slices_of(const Params& p) {
  return static_cast<unsigned>(divide_up(p.width, kAcross * Pack<T>::kSize));
}

dim3 row_grid(const Params& p) {
  const int64_t blocks = std::clamp<int64_t>(divide_up(p.longest, kWarps), 1, kMostRowBlocks);
  return dim3(static_cast<unsigned>(p.sequences), static_cast<unsigned>(blocks));
}

}  // namespace
}  // namespace peft4j::cuda

using namespace peft4j::cuda;

int64_t peft4j_cuda_softmax_pool_splits(int64_t longest) {
  return std::clamp<int64_t>(divide_up(longest, kRowsInSplit), 1, kMostSplits);
}

int peft4j_cuda_softmax_pool_forward(const peft4j_cuda_softmax_pool_params* params, void* stream) {
  const Params& p = *params;
  return by_dtype(p.dtype, [&](auto type) {
    using T = decltype(type);
    const auto on = static_cast<cudaStream_t>(stream);
    const int status = PEFT4J_LAUNCH((pool_rows<T, false>), row_grid(p), dim3(kThreads), 0, on, p, aligned_of<T>(p));
    if (status != 0) {
      return status;
    }
    const dim3 grid(static_cast<unsigned>(p.sequences), slices_of<T>(p),
                    static_cast<unsigned>(divide_up(p.tokens, kTokens)));
    return PEFT4J_LAUNCH(pool_columns<T>, grid, dim3(kThreads), kSharedBytes<T>, on, p, aligned_of<T>(p));
  });
}

int peft4j_cuda_softmax_pool_backward(const peft4j_cuda_softmax_pool_params* params, void* stream) {
  const Params& p = *params;
  return by_dtype(p.dtype, [&](auto type) {
    using T = decltype(type);
    const auto on = static_cast<cudaStream_t>(stream);
    const int status = PEFT4J_LAUNCH((pool_rows<T, true>), row_grid(p), dim3(kThreads), p.tokens * sizeof(float), on, p,
                                     aligned_of<T>(p));
    if (status != 0) {
      return status;
    }
    const dim3 grid(static_cast<unsigned>(p.sequences), slices_of<T>(p),
                    static_cast<unsigned>(peft4j_cuda_softmax_pool_splits(p.longest)));
    return PEFT4J_LAUNCH(pool_columns_backward<T>, grid, dim3(kThreads), kSharedBytes<T>, on, p, aligned_of<T>(p));
  });
}
