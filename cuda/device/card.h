#pragma once
/* What a launcher asks about the current card. The host executor is a small one of every kind. */
#include "cuda.h"

namespace peft4j::cuda {

struct Card {
  int capability;  // 90: 9.0
  int multiprocessors;

  bool has_sm90a() const { return capability == 90; }
};

inline Card current_card() {
#ifdef __CUDACC__
  int device = 0;
  cudaGetDevice(&device);
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, device);
    return value;
  };
  return {10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor),
          attribute(cudaDevAttrMultiProcessorCount)};
#else
  return {90, 3};
#endif
}

}  // namespace peft4j::cuda
