/*
cross_entropy: the loss of each row of logits, and its gradient in their place. For a row x of V logits and its label y

    z_v = x_v, or c·tanh(x_v / c) with a softcap c                                            (Gemma 2)
    loss = L - (1-ε)·z_y - ε·mean(z),      L = log Σ_v exp z_v                                 ε: label smoothing
    dx_v = (exp(z_v - L) - (1-ε)·[v = y] - ε/V) · (1 - (z_v / c)²)

dx is not multiplied by a mean's 1/T, which float16's small probabilities would not survive: who multiplies dx by W scales the
short result instead.

A block has a row and walks over it twice. On the first walk each thread keeps a maximum and a sum that belongs to it (Milakov
& Gimelshein 2018: one read instead of two), the second one writes. It goes backwards, from what was read last: a row of 128k
16-bit logits has 256 KB, and the rows that an H100 works on at a time (two on each of 132 multiprocessors) 68 MB, of which L2
holds 50. So 2·V to 3·V numbers a row move to and from memory: V 128k, T 8192, bfloat16: 4.2 to 6.3 GB, 1.0 to 1.6 ms at 4 TB/s,
beside 24 ms of the two products at d 4096. Exponentials are powers of 2, z·log2(e) - origin one instruction: a walk needs about 8
instructions an element; 14 and 29 fit under its bytes.
*/
#include "device/numbers.h"
#include "device/warp.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kAtOnce = 2;  // packs that a thread has in flight

using Params = peft4j_cuda_cross_entropy_params;

// f(pack) for the whole row, one number a thread where its ends are not aligned; with Write what f left in the pack goes back.
template <bool Write, class T, class F>
PEFT4J_DEVICE void walk(T* row, int64_t columns, F f) {
  constexpr int N = Pack<T>::kSize;
  const auto misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % sizeof(Pack<T>) / sizeof(T));
  const int64_t head = min(columns, (N - misaligned) % N), packs = (columns - head) / N;
  const auto place = [&](int64_t i) { return row + head + (Write ? packs - 1 - i : i) * N; };
  for (int64_t first = threadIdx.x; first < packs; first += kAtOnce * kThreads) {
    Pack<T> pack[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      if (first + j * kThreads < packs) {
        pack[j] = load_pack(place(first + j * kThreads));
      }
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      if (first + j * kThreads < packs) {
        f(pack[j]);
        if (Write) {
          store_pack(place(first + j * kThreads), pack[j]);
        }
      }
    }
  }
  if (threadIdx.x < columns - packs * N) {
    T* at = row + (threadIdx.x < head ? threadIdx.x : threadIdx.x + packs * N);
    Pack<T, 1> one = {{*at}};
    f(one);
    if (Write) {
      *at = one.v[0];
    }
  }
}

template <bool Capped>
PEFT4J_DEVICE float capped(float x, float softcap) {
  return Capped ? softcap * tanhf(x / softcap) : x;
}

template <bool Capped>
PEFT4J_DEVICE float slope(float z, float softcap) {
  return Capped ? 1.0f - (z / softcap) * (z / softcap) : 1.0f;
}

// Σ exp z as sum·2^origin(), and Σ z.
struct RunningSum {
  float largest = -INFINITY, sum = 0, total = 0;

  // Numbers may all be -∞.
  PEFT4J_DEVICE float top() const { return largest == -INFINITY ? 0.0f : largest; }
  PEFT4J_DEVICE float origin() const { return top() * kLog2E; }
  // log Σ exp z. The origin was rounded, by as much as 0.01 where logits are 10⁵: what it lacks is added again.
  PEFT4J_DEVICE float log_sum() const { return top() + kLn2 * (log2f(sum) - __fmaf_rn(top(), kLog2E, -origin())); }
};

// exp z / 2^origin
PEFT4J_DEVICE float power(float z, float origin) {
  return exp2_approx(__fmaf_rn(z, kLog2E, -origin));
}

template <class T, bool Capped>
__global__ __launch_bounds__(kThreads) void cross_entropy(Params p) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  T* row = static_cast<T*>(p.logits) + static_cast<int64_t>(blockIdx.x) * p.row_stride;
  const int64_t label = p.labels[blockIdx.x];
  const float z_label = capped<Capped>(to_float(row[label]), p.softcap);
  const bool smooth = p.smoothing > 0;

  RunningSum mine;
  walk<false>(row, p.columns, [&](const auto& pack) {
    float z[pack.kSize];
    const float before = mine.largest;
#pragma unroll
    for (int i = 0; i < pack.kSize; ++i) {
      z[i] = capped<Capped>(to_float(pack.v[i]), p.softcap);
      mine.largest = fmaxf(mine.largest, z[i]);
      mine.total += smooth ? z[i] : 0.0f;
    }
    const float origin = mine.origin();
    mine.sum *= exp2_approx(before * kLog2E - origin);
#pragma unroll
    for (int i = 0; i < pack.kSize; ++i) {
      mine.sum += power(z[i], origin);
    }
  });
  RunningSum all;
  all.largest = block_max(mine.largest, scratch);
  const float origin = all.origin();
  all.sum = block_sum(mine.sum * exp2_approx(mine.origin() - origin), scratch);
  all.total = smooth ? block_sum(mine.total, scratch) : 0.0f;

  const float kept = 1.0f - p.smoothing, even = p.smoothing / static_cast<float>(p.columns);
  if (threadIdx.x == 0) {
    p.loss[blockIdx.x] = all.log_sum() - kept * z_label - (smooth ? even * all.total : 0.0f);
  }
  if (!p.gradient) {
    return;
  }
  const float share = 1.0f / all.sum;
  const auto gradient = [&](float z) { return power(z, origin) * share - even; };
  walk<true>(row, p.columns, [&](auto& pack) {
#pragma unroll
    for (int i = 0; i < pack.kSize; ++i) {
      const float z = capped<Capped>(to_float(pack.v[i]), p.softcap);
      pack.v[i] = from_float<T>(gradient(z) * slope<Capped>(z, p.softcap));
    }
  });
  __syncthreads();
  if (threadIdx.x == 0) {
    row[label] = from_float<T>((gradient(z_label) - kept) * slope<Capped>(z_label, p.softcap));
  }
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_cross_entropy(const peft4j_cuda_cross_entropy_params* p, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(p->dtype, [&](auto type) {
    using T = decltype(type);
    const dim3 grid(static_cast<unsigned>(p->rows));
    const auto s = static_cast<cudaStream_t>(stream);
    return p->softcap > 0 ? PEFT4J_LAUNCH((cross_entropy<T, true>), grid, dim3(kThreads), 32 * sizeof(float), s, *p)
                          : PEFT4J_LAUNCH((cross_entropy<T, false>), grid, dim3(kThreads), 32 * sizeof(float), s, *p);
  });
}
