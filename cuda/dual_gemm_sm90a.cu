/*
dual_gemm's tile of 128 × 256 for cards of compute capability 9.0 (Hopper); dual_gemm.cu has the contract. No card has run it yet,
so it is off: peft4j_cuda_gemm::sm90a.

What limits mma.sync there is that each warp loads its fragments through registers; it reaches about 0.62 of the matrix rate.
wgmma reads both operands from shared memory, 64 × 256 × 16 in 128 cycles.

Schedule. A block for each multiprocessor goes over tiles of y of 128 × 256, in dual_gemm.cu's order. Its first warpgroup is the
producer: one thread keeps 4 buffers full, of 64 columns of k of x's and w's tiles, 48 KB each, by bulk copies (TMA) through all
pairs and on into the next tile without a stop. They swizzle as wgmma reads, count their bytes at the buffer's barrier, and put
zeros where a matrix ends: no tails anywhere else. The other two warpgroups take 64 rows each, 128 accumulators a thread. They
keep one buffer's products in flight while they wait for the next buffer, and then give the one before back. The producer's
registers are theirs: 40 and 232 a thread.

For 64 columns of k 2·128·256·64 operations take 1,024 cycles of the tensor cores at their full rate, and 48 KB come from L2: 48
bytes a cycle and multiprocessor, of which L2 gives about 39. So the copies limit it, at 0.8 of the rate; the card's power, with
random numbers, at about the same. (Two blocks that shared w's tile by a multicast copy would need 32.) HBM sees a tenth of that,
because the tiles that run together share rows of x and of w.
The four buffers are 4,000 cycles ahead, several times what a copy takes to arrive. The tensor cores wait for the way out of
registers only, some 3,000 cycles, 4 % for K = 4096; the next tile's buffers are filled meanwhile. An adapter's pair of 16 columns
costs as much as one of 64: 1.2 % for K = 4096.
Expected 0.6 of the dense rate of 989 TF: 600 TF on an H100 or H200.

The order of addition is wgmma's, so the bits are not those of the other tiles; they are the same in each run and on each card of
this kind.
*/
#include "device/card.h"
#include "device/dual_gemm.h"
#include "device/tensor_map.h"
#include "device/warpgroups.h"

namespace peft4j::cuda {
namespace {

constexpr int kRows = 128, kColumns = 256;  // of a tile of y
constexpr int kDepth = 64;                  // columns of k in a buffer: rows of 128 bytes, as wide as the swizzle
constexpr int kStages = 4;
constexpr int kGroupRows = kRows / kConsumers;
constexpr int kXBytes = kRows * kDepth * 2, kWBytes = kColumns * kDepth * 2;
constexpr int kConsumerWarps = kConsumers * kWarpgroup / 32;
constexpr int kRegisters = 232;  // of a consumer's thread
static_assert(kGroupRows == 64 && kColumns == 256 && kPattern == 8 * kDepth * 2, "what a product of a warpgroup takes");
static_assert(kProducerRegisters<kRegisters> >= 24, "the least there can be");

struct Problem : GemmProblem {
  TileOrder order;
  int tiles, masked_tiles;  // of k, through all pairs
  TensorMap x[PEFT4J_CUDA_GEMM_PAIRS], w[PEFT4J_CUDA_GEMM_PAIRS];
};

template <class T>
using Out = WayOut<T, 1, kColumns / 8>;

// Shared memory: the buffers, then a warp's way out for each consumer, then two barriers for each buffer.
template <class T>
constexpr int kOutBytes = Out<T>::kElements * sizeof(T);
template <class T>
constexpr int kBarriersAt = kStages * (kXBytes + kWBytes) + kConsumerWarps * kOutBytes<T>;
template <class T>
constexpr size_t kSharedBytes = kBarriersAt<T> + 2 * kStages * sizeof(uint64_t);

template <class T>
struct Stage {
  char *x, *w;
  uint64_t *full, *empty;

  PEFT4J_DEVICE static Stage number(int i) {
    char* buffer = shared_memory() + i * (kXBytes + kWBytes);
    auto* barrier = reinterpret_cast<uint64_t*>(shared_memory() + kBarriersAt<T>) + 2 * i;
    return {buffer, buffer + kXBytes, barrier, barrier + 1};
  }
};

// Calls f(row, column) for each of the block's tiles of y.
template <class F>
PEFT4J_DEVICE void for_tiles(const TileOrder& order, const F& f) {
  for (int number = blockIdx.x; number < order.rows * order.columns; number += gridDim.x) {
    const TileOrder::Place place = order.place(number);
    f(place.row * kRows, place.column * kColumns);
  }
}

// By one thread.
template <class T, bool ByK>
PEFT4J_DEVICE void produce(const Problem& problem) {
  Ring<kStages> ring;
  for_tiles(problem.order, [&](int row, int column) {
    for (int pair = 0; pair < problem.of.count; ++pair) {
      for (int64_t at = 0; at < problem.of.pairs[pair].k; at += kDepth) {
        const int k = static_cast<int>(at);
        const Stage<T> stage = Stage<T>::number(ring.stage);
        mbarrier_wait(stage.empty, ring.parity ^ 1);
        mbarrier_arrive_expecting(stage.full, kXBytes + kWBytes);
        tma_load(stage.x, problem.x[pair], k, row, stage.full);
        if constexpr (ByK) {
#pragma unroll
          for (int n = 0; n < kColumns; n += 64) {
            tma_load(stage.w + n * kDepth * 2, problem.w[pair], column + n, k, stage.full);
          }
        } else {
          tma_load(stage.w, problem.w[pair], k, column, stage.full);
        }
        ring.advance();
      }
    }
  });
}

// d += the products of the next buffers, of a warpgroup's 64 rows.
template <class T, bool ByK>
PEFT4J_DEVICE void multiply(float (&d)[kColumns / 8][4], Ring<kStages>& ring, int buffers, int group) {
  uint64_t* before = nullptr;  // the barrier of the buffer whose products are in flight
  const auto give_back = [&] {
    if (before != nullptr) {
      arrive_once_a_warp(before);
    }
  };
  for (; buffers > 0; --buffers) {
    const Stage<T> stage = Stage<T>::number(ring.stage);
    mbarrier_wait(stage.full, ring.parity);
    uint64_t x = wgmma_operand(stage.x + group * kGroupRows * kDepth * 2, kPattern),
             w = ByK ? wgmma_operand(stage.w, kPattern, kDepth * 128) : wgmma_operand(stage.w, kPattern);
    wgmma_fence(d);
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      wgmma_m64k16<MmaType<T>, ByK>(d, x, w, true);
      x += wgmma_bytes(32);
      w += wgmma_bytes(ByK ? 2 * kPattern : 32);
    }
    wgmma_commit();
    wgmma_wait<1>(d);
    give_back();
    before = stage.empty;
    ring.advance();
  }
  wgmma_wait<0>(d);
  give_back();
}

template <class T, bool ByK>
PEFT4J_DEVICE void consume(const Problem& problem) {
  const int warp = (threadIdx.x - kWarpgroup) / 32, group = warp / 4;
  T* const out = reinterpret_cast<T*>(shared_memory() + kBarriersAt<T> - (warp + 1) * kOutBytes<T>);
  Ring<kStages> ring;
  for_tiles(problem.order, [&](int row, int column) {
    row += 16 * warp;
    Sums<1, kColumns / 8> sums = {};
    if (problem.masked_tiles > 0) {
      multiply<T, ByK>(sums[0], ring, problem.masked_tiles, group);
      drop(sums, row, column, problem.dropout);
    }
    multiply<T, ByK>(sums[0], ring, problem.tiles - problem.masked_tiles, group);
    Out<T>::write(sums, out, problem.of, row, column);
  });
}

template <class T, bool ByK>
__global__ void __launch_bounds__(kBlock, 1) dual_gemm_sm90a(const __grid_constant__ Problem problem) {
#ifdef PEFT4J_HAS_SM90
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      const Stage<T> stage = Stage<T>::number(i);
      mbarrier_init(stage.full, 1);
      mbarrier_init(stage.empty, kConsumerWarps);
    }
    mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    set_max_registers<kProducerRegisters<kRegisters>, false>();
    if (threadIdx.x == 0) {
      produce<T, ByK>(problem);
    }
  } else {
    set_max_registers<kRegisters, true>();
    consume<T, ByK>(problem);
  }
#endif
}

template <class T, bool ByK>
int launch_gemm(const GemmProblem& from, cudaStream_t stream) {
  const peft4j_cuda_gemm& of = from.of;
  const TileOrder order{static_cast<int>(divide_up(of.t, kRows)), static_cast<int>(divide_up(of.n, kColumns))};
  Problem problem{from, order, 0, 0, {}, {}};
  for (int i = 0; i < of.count; ++i) {
    const peft4j_cuda_gemm_pair& pair = of.pairs[i];
    problem.tiles += static_cast<int>(divide_up(pair.k, kDepth));
    problem.masked_tiles = i < of.masked ? problem.tiles : problem.masked_tiles;
    const TensorMapOf x{&problem.x[i], pair.x, of.t, pair.k, pair.x_stride, kRows};
    const TensorMapOf w = ByK ? TensorMapOf{&problem.w[i], pair.w, pair.k, of.n, pair.w_stride, kDepth}
                              : TensorMapOf{&problem.w[i], pair.w, of.n, pair.k, pair.w_stride, kColumns};
    const int error = make_tensor_maps({x, w});
    if (error != 0) {
      return error;
    }
  }
  const int blocks = std::min(problem.order.rows * problem.order.columns, current_card().multiprocessors);
  return PEFT4J_LAUNCH((dual_gemm_sm90a<T, ByK>), dim3(static_cast<unsigned>(blocks)), dim3(kBlock), kSharedBytes<T>,
                       stream, problem);
}

}  // namespace

bool dual_gemm_sm90a_takes(const peft4j_cuda_gemm& of) {
  bool takes = of.t > 0 && of.n > 0 && of.count > 0 && current_card().has_sm90a();
  for (int i = 0; i < of.count; ++i) {
    const peft4j_cuda_gemm_pair& pair = of.pairs[i];
    const auto matrix = [](const void* data, int64_t columns, int64_t stride) {
      return packs(static_cast<const __half*>(data), stride) && stride >= columns;
    };
    takes &= matrix(pair.x, pair.k, pair.x_stride) && matrix(pair.w, of.w_by_k != 0 ? of.n : pair.k, pair.w_stride);
  }
  return takes;
}

int launch_dual_gemm_sm90a(const GemmProblem& problem, cudaStream_t stream) {
  const auto with = [&](auto number) {
    using T = decltype(number);
    return problem.of.w_by_k != 0 ? launch_gemm<T, true>(problem, stream) : launch_gemm<T, false>(problem, stream);
  };
  return problem.of.dtype == 1 ? with(__nv_bfloat16()) : with(__half());
}

}  // namespace peft4j::cuda
