#pragma once
/*
One launch for many tensors (multi-tensor apply): a model trains hundreds, most of them small. Block b of the grid has the b-th share, counted
through all tensors. What a kernel knows of each tensor travels in its arguments, 4 KB on every card and driver: nothing has to
be copied to the device first and kept alive there. More tensors than fit take more launches.

    struct Tensor { …; int64_t n; };
    __global__ void kernel(Many<Tensor> some, …) { const Share c = some.share(blockIdx.x); … some.tensor[c.tensor] … }
    launch_many(tensors, count, [&](const Many<Tensor>& some, int64_t shares_before) {
      return PEFT4J_LAUNCH(kernel, dim3(some.shares()), …, some, …);
    });
*/
#include <cstdint>

#include "cuda.h"
#include "numbers.h"

namespace peft4j::cuda {

constexpr int64_t kShare = 8192;  // numbers

struct Share {
  int tensor;
  int64_t begin, end;  // in it
};

template <class Tensor>
struct Many {
  static constexpr int kMost = (3968 - 8) / (sizeof(Tensor) + sizeof(unsigned));

  Tensor tensor[kMost];
  unsigned first[kMost + 1];  // share of each tensor, and their number
  int count;

  unsigned shares() const { return first[count]; }

  PEFT4J_DEVICE Share share(unsigned index) const {
    int low = 0, high = count;
    while (high - low > 1) {  // first[low] <= index < first[high]
      const int middle = (low + high) / 2;
      (first[middle] <= index ? low : high) = middle;
    }
    const int64_t begin = static_cast<int64_t>(index - first[low]) * kShare, end = begin + kShare;
    return {low, begin, end < tensor[low].n ? end : tensor[low].n};
  }
};

// launch(Many, shares of the launches before) until it does not give 0.
template <class Tensor, class F>
int launch_many(const Tensor* tensors, int64_t count, const F& launch) {
  int64_t before = 0;
  for (int64_t i = 0; i < count;) {
    Many<Tensor> some = {};
    for (; i < count && some.count < some.kMost; ++i) {
      some.tensor[some.count] = tensors[i];
      some.first[some.count + 1] = some.first[some.count] + static_cast<unsigned>(divide_up(tensors[i].n, kShare));
      ++some.count;
    }
    if (const int status = launch(some, before); status != 0) {
      return status;
    }
    before += some.shares();
  }
  return 0;
}

// f(i, std::integral_constant<int, N>) for numbers [i, i + N) of a share by a block's threads, N 4 or 1; `aligned`: number 0 of
// all that f touches lies at 16 bytes.
template <class F>
PEFT4J_DEVICE void over(const Share& share, bool aligned, const F& f) {
  const int64_t wide = aligned ? share.end - (share.end - share.begin) % 4 : share.begin;
  for (int64_t i = share.begin + 4 * threadIdx.x; i < wide; i += 4 * blockDim.x) {
    f(i, std::integral_constant<int, 4>());
  }
  for (int64_t i = wide + threadIdx.x; i < share.end; i += blockDim.x) {
    f(i, std::integral_constant<int, 1>());
  }
}

// N numbers that lie at p, aligned to their size together.
template <int N, class T>
PEFT4J_DEVICE Pack<T, N>& pack_at(T* p) {
  return *reinterpret_cast<Pack<T, N>*>(p);
}
template <int N, class T>
PEFT4J_DEVICE const Pack<T, N>& pack_at(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}

template <class... P>
PEFT4J_DEVICE bool at_16_bytes(const P*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) % 16) == 0;
}

}  // namespace peft4j::cuda
