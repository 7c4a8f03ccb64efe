/*
norm: RMSNorm (Zhang & Sennrich 2019) and LayerNorm (Ba et al. 2016) of the residual stream.

    z = dropout(x) + residual,  rounded to the type of x: backward reads it, and the next block adds to it
    y = n·w + bias,  n = (z - mean)·rstd,  w = weight + weight_offset             not centred (rms): mean = 0
backward, with g = dy·w, and dz_more the gradient that z has from elsewhere (the residual stream):
    dz = rstd·(g - mean(g) - n·mean(g∘n)) + dz_more,  dx = mask∘dz                not centred: without mean(g)
    dweight = Σ dy∘n,  dbias = Σ dy over the rows, where asked for: with a frozen scale backward is one pass, without sums over rows

Bytes for an element of 16 bits: forward 2 for each of x, residual, y, z that is there (8 in a pre-norm block, 4 for x alone);
backward 2 for each of z, dy, dz_more, dz, dx (8 in a pre-norm block, 10 with dropout, 6 for x alone). 18 and 25 instructions
(20 more for a dropped element), where copying those bytes at 4.3 TB/s leaves an H200 time for 53 (27 where only 4 move): memory
bound. Backward keeps z and 4 bytes a row (8 with mean); z is the residual stream, a recomputed block's input anyway. Sums over
rows write and read kGroups rows of float32 besides.

A row belongs to W threads, 1 to 32 lanes of a warp or a block, so many that none has more than kPacks 16-byte vectors of it.
Those stay in registers from the first pass to the last, so everything is read once; and a thread issues all its loads before
it waits for the first: 64 bytes of each tensor. At 64 registers forward and 112 backward an SM holds 1024 and 512 threads, with
128 and 96 KB under way, where 4.3 TB/s and 800 ns of latency ask for 13 KB of reads. Rows that are not aligned or have more
vectors than a block (4096 forward, 2048 backward; 16-bit: 32768 and 16384 columns) go element by element and are read again in
each pass, from the caches.

Sums over rows: W threads are a group, which takes the rows g, g + kGroups, …, keeps its columns' sums in registers (half as
many vectors a thread, for their sake) and writes them at the end; fixed_order_sum adds the groups.
*/
#include "device/philox.h"
#include "device/walk.h"
#include "device/warp.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_norm_params;

constexpr int kShortRowsBlock = 128;              // threads of a block in which a row has 32 of them or fewer
constexpr int64_t kGroups = 512;                  // a constant: bits must not depend on the card
constexpr int kPacks = 4, kPacksTrained = 2;      // 16-byte vectors of a row in a thread
constexpr int kForwardThreads = 1024, kBackwardThreads = 512;  // at most, in a block: 64 and 128 registers for each
constexpr size_t kScratch = 32 * sizeof(float);                // of block_sum

// The sum over the threads of a row, for each of them.
PEFT4J_DEVICE float row_sum(float x) {
  if (blockDim.x > 32) {
    return block_sum(x, reinterpret_cast<float*>(shared_memory()));
  }
  for (int bits = blockDim.x / 2; bits > 0; bits /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, bits);
  }
  return x;
}

template <int V, int Packs, class F>
PEFT4J_DEVICE void each_of_row(int columns, F f) {
  each_pack<V, Packs>(static_cast<int>(threadIdx.x) * V, static_cast<int>(blockDim.x) * V, columns, f);
}

// What a thread has of a row of a tensor (null: there is none): in registers, or (Packs 0) in memory.
template <class T, int V, int Packs>
struct Row {
  const T* from;
  Pack<T, V> kept[Packs > 0 ? Packs : 1];

  PEFT4J_DEVICE Row(const void* tensor, int64_t begin)
      : from(tensor == nullptr ? nullptr : static_cast<const T*>(tensor) + begin) {}

  PEFT4J_DEVICE void load(int columns) {
    if constexpr (Packs > 0) {
      each_of_row<V, Packs>(from != nullptr ? columns : 0, [&](int i, int c) { kept[i] = load_pack<V>(from + c); });
    }
  }

  PEFT4J_DEVICE void get(int i, int c, float (&to)[V]) const {
    to_floats(Packs > 0 ? kept[i] : load_pack<V>(from + c), to);
  }

  PEFT4J_DEVICE void add_to(float (&sum)[V], int i, int c) const {
    if (from != nullptr) {
      float x[V];
      get(i, c, x);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sum[j] += x[j];
      }
    }
  }
};

template <class T, int V>
PEFT4J_DEVICE void load_scale(const Params& p, int c, float (&to)[V]) {
  to_floats(load_pack<V>(static_cast<const T*>(p.weight) + c), to);
#pragma unroll
  for (float& w : to) {
    w += p.weight_offset;
  }
}

template <class T, int V, int Packs, bool Centred>
__global__ void __launch_bounds__(kForwardThreads) norm_forward(Params p, Dropout dropout) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y, begin = row * p.columns;
  const int columns = row < p.rows ? static_cast<int>(p.columns) : 0;  // lanes without a row take part in sums
  T *y = static_cast<T*>(p.y) + row * p.y_stride, *kept_z = p.z != nullptr ? static_cast<T*>(p.z) + begin : y;
  Row<T, V, Packs> x(p.x, begin), residual(p.residual, row * p.residual_stride), z(kept_z, 0);
  const Row<T, V, 0> bias(p.bias, 0);
  x.load(columns);
  residual.load(columns);

  float sum = 0;  // of z, or of its squares
  each_of_row<V, Packs>(columns, [&](int i, int c) {
    float a[V];
    x.get(i, c, a);
    if (dropout.threshold > 0) {
      drop(a, row, c, dropout);
    }
    residual.add_to(a, i, c);
    z.kept[i] = from_floats<T>(a);
    if (Packs == 0) {
      write_pack(kept_z + c, z.kept[i]);
    }
    to_floats(z.kept[i], a);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      sum += Centred ? a[j] : a[j] * a[j];
    }
  });
  const float share = 1.0f / static_cast<float>(p.columns);
  float mean = 0, variance = row_sum(sum) * share;
  if (Centred) {
    mean = variance;
    sum = 0;
    each_of_row<V, Packs>(columns, [&](int i, int c) {
      float a[V];
      z.get(i, c, a);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sum += (a[j] - mean) * (a[j] - mean);
      }
    });
    variance = row_sum(sum) * share;
  }
  const float rstd = rsqrtf(variance + p.eps);
  each_of_row<V, Packs>(columns, [&](int i, int c) {
    float a[V], w[V];
    z.get(i, c, a);
    if (Packs > 0 && p.z != nullptr) {
      write_pack(static_cast<T*>(p.z) + begin + c, from_floats<T>(a));
    }
    load_scale<T>(p, c, w);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      a[j] = (a[j] - mean) * rstd * w[j];
    }
    bias.add_to(a, 0, c);
    write_pack(y + c, from_floats<T>(a));
  });
  if (columns > 0 && threadIdx.x == 0) {
    p.rstd[row] = rstd;
    if (Centred) {
      p.mean[row] = mean;
    }
  }
}

// Group g takes the rows g, g + groups, …
template <class T, int V, int Packs, bool Centred, bool Trained>
__global__ void __launch_bounds__(kBackwardThreads) norm_backward(Params p, Dropout dropout, int64_t groups) {
  constexpr int kSums = Trained && Packs > 0 ? Packs : 1;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const float share = 1.0f / static_cast<float>(p.columns);
  float* const group_sums = p.scratch + group * p.columns * (Centred ? 2 : 1);  // of dweight, then of dbias
  float dweight[kSums][V] = {}, dbias[kSums][V] = {};
  const auto write_sums = [&](int i, int c) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      group_sums[c + j] = dweight[i][j];
      if (Centred) {
        group_sums[p.columns + c + j] = dbias[i][j];
      }
    }
  };

  for (int64_t first = 0; first < p.rows; first += groups) {
    const int64_t row = first + group, begin = row * p.columns;
    const int columns =
        group < groups && row < p.rows ? static_cast<int>(p.columns) : 0;  // lanes without a row take part in sums
    Row<T, V, Packs> z(p.z, begin), dy(p.dy, begin), dz_more(p.dz_more, begin);
    z.load(columns);
    dy.load(columns);
    dz_more.load(columns);
    const float rstd = columns > 0 ? p.rstd[row] : 0.0f, mean = Centred && columns > 0 ? p.mean[row] : 0.0f;
    const auto get = [&](int i, int c, float (&d)[V], float (&n)[V], float (&w)[V]) {
      dy.get(i, c, d);
      z.get(i, c, n);
#pragma unroll
      for (float& x : n) {
        x = (x - mean) * rstd;
      }
      load_scale<T>(p, c, w);
    };

    float sum_g = 0, sum_gn = 0;
    each_of_row<V, Packs>(columns, [&](int i, int c) {
      float d[V], n[V], w[V];
      get(i, c, d, n, w);
      if (Trained && Packs == 0) {  // one column: its sums stay where they end up
        dweight[0][0] = first > 0 ? group_sums[c] : 0.0f;
        dbias[0][0] = Centred && first > 0 ? group_sums[p.columns + c] : 0.0f;
      }
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sum_g += d[j] * w[j];
        sum_gn += d[j] * w[j] * n[j];
        if (Trained) {
          dweight[i][j] += d[j] * n[j];
          dbias[i][j] += d[j];
        }
      }
      if (Trained && Packs == 0) {
        write_sums(0, c);
      }
    });
    if (p.dz == nullptr && p.dx == nullptr) {
      continue;
    }
    const float mean_g = Centred ? row_sum(sum_g) * share : 0.0f, mean_gn = row_sum(sum_gn) * share;
    each_of_row<V, Packs>(columns, [&](int i, int c) {
      float d[V], n[V], w[V];
      get(i, c, d, n, w);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        d[j] = rstd * (d[j] * w[j] - mean_g - n[j] * mean_gn);
      }
      dz_more.add_to(d, i, c);
      if (p.dz != nullptr) {
        write_pack(static_cast<T*>(p.dz) + begin + c, from_floats<T>(d));
      }
      if (p.dx != nullptr) {
        drop(d, row, c, dropout);
        write_pack(static_cast<T*>(p.dx) + begin + c, from_floats<T>(d));
      }
    });
  }
  if (Trained && Packs > 0) {
    each_of_row<V, Packs>(group < groups ? static_cast<int>(p.columns) : 0, write_sums);
  }
}

int64_t groups_of(const Params& p) {
  return p.dscale != nullptr ? std::min(p.rows, kGroups) : p.rows;
}

struct Blocks {
  bool in_registers;
  dim3 grid, block;
};

// Threads for rows of which each has up to `packs` 16-byte vectors, where that is possible; V numbers each.
Blocks blocks_of(int64_t groups, int columns, int v, int packs, bool aligned, int most_threads) {
  const bool in_registers = aligned && divide_up(columns, v * packs) <= most_threads;
  const int64_t wanted = divide_up(columns, in_registers ? v * packs : packs);
  unsigned x = 1;
  while (x < 32 && x < wanted) {
    x *= 2;
  }
  if (wanted > 32) {
    x = static_cast<unsigned>(std::min<int64_t>(divide_up(wanted, 32) * 32, most_threads));
  }
  const unsigned y = x <= 32 ? kShortRowsBlock / x : 1;
  return {in_registers, dim3(static_cast<unsigned>(divide_up(groups, y))), dim3(x, y)};
}

template <class T, bool Centred>
int forward(const Params& p, cudaStream_t stream) {
  const Dropout dropout = Dropout::of(p.seed, p.threshold);
  constexpr int V = Pack<T>::kSize;
  bool aligned = true;
  for (const void* tensor : {p.x, p.weight, p.bias, static_cast<const void*>(p.z)}) {
    aligned &= packs(static_cast<const T*>(tensor), p.columns);
  }
  aligned &=
      packs(static_cast<const T*>(p.residual), p.residual_stride) && packs(static_cast<const T*>(p.y), p.y_stride);
  const Blocks blocks = blocks_of(p.rows, p.columns, V, kPacks, aligned, kForwardThreads);
  return blocks.in_registers
             ? PEFT4J_LAUNCH((norm_forward<T, V, kPacks, Centred>), blocks.grid, blocks.block, kScratch, stream, p,
                             dropout)
             : PEFT4J_LAUNCH((norm_forward<T, 1, 0, Centred>), blocks.grid, blocks.block, kScratch, stream, p, dropout);
}

template <class T, bool Centred, bool Trained>
int backward(const Params& p, cudaStream_t stream) {
  const Dropout dropout = Dropout::of(p.seed, p.threshold);
  constexpr int V = Pack<T>::kSize, kVectors = Trained ? kPacksTrained : kPacks;
  bool aligned = true;
  for (const void* tensor : {static_cast<const void*>(p.z), p.weight, p.dy, p.dz_more, static_cast<const void*>(p.dz),
                             static_cast<const void*>(p.dx)}) {
    aligned &= packs(static_cast<const T*>(tensor), p.columns);
  }
  const int64_t groups = groups_of(p);
  const Blocks blocks = blocks_of(groups, p.columns, V, kVectors, aligned, kBackwardThreads);
  return blocks.in_registers ? PEFT4J_LAUNCH((norm_backward<T, V, kVectors, Centred, Trained>), blocks.grid,
                                             blocks.block, kScratch, stream, p, dropout, groups)
                             : PEFT4J_LAUNCH((norm_backward<T, 1, 0, Centred, Trained>), blocks.grid, blocks.block,
                                             kScratch, stream, p, dropout, groups);
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_norm_forward(const peft4j_cuda_norm_params* p, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(p->dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto s = static_cast<cudaStream_t>(stream);
    return p->centred ? forward<T, true>(*p, s) : forward<T, false>(*p, s);
  });
}

int64_t peft4j_cuda_norm_scratch(const peft4j_cuda_norm_params* p) {
  return p->dscale == nullptr ? 0 : peft4j::cuda::groups_of(*p) * p->columns * (p->centred ? 2 : 1);
}

int peft4j_cuda_norm_backward(const peft4j_cuda_norm_params* p, void* stream) {
  using namespace peft4j::cuda;
  const int status = by_dtype(p->dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto s = static_cast<cudaStream_t>(stream);
    if (p->dscale == nullptr) {
      return p->centred ? backward<T, true, false>(*p, s) : backward<T, false, false>(*p, s);
    }
    return p->centred ? backward<T, true, true>(*p, s) : backward<T, false, true>(*p, s);
  });
  if (status != 0 || p->dscale == nullptr) {
    return status;
  }
  const int64_t sums = p->columns * (p->centred ? 2 : 1);
  return peft4j_cuda_fixed_order_sum(p->dscale, p->scratch, sums, groups_of(*p), 0, stream);
}
