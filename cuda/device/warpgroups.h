#pragma once
/*
What kernels of sm_90a have in common (warp specialization): three warpgroups are a block. The first is the producer, which keeps buffers full; the other
two are consumers, which multiply.
*/
#include "ptx_sm90.h"

namespace peft4j::cuda {

constexpr int kWarpgroup = 128, kConsumers = 2,
              kBlock = (1 + kConsumers) * kWarpgroup;  // kConsumers in groups, else threads
constexpr int kPattern = 1024;  // bytes after which the swizzle begins anew: eight rows

// What a consumer's threads, with so many, leave to the producer's: __launch_bounds__ gives the three groups' threads 168 each.
template <int OfConsumer>
constexpr int kProducerRegisters = 3 * 168 - kConsumers * OfConsumer;

// Which of `Stages` buffers is next, and the parity of the phase in which it is filled.
template <int Stages>
struct Ring {
  int stage = 0, parity = 0;

  PEFT4J_DEVICE void advance() {
    stage = stage + 1 == Stages ? 0 : stage + 1;
    parity ^= stage == 0 ? 1 : 0;
  }
};

// One arrival of each warp that calls it.
PEFT4J_DEVICE void arrive_once_a_warp(uint64_t* barrier) {
  if (threadIdx.x % 32 == 0) {
    mbarrier_arrive(barrier);
  }
}

}  // namespace peft4j::cuda
