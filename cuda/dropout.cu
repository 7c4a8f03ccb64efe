/*
dropout: y = mask∘x, [rows, columns]. The mask is device/philox.h's; the gradient is the same call with dy.

Bytes for an element of 16 bits: 4; 16 instructions, where 4.3 TB/s leave an H200 time for 27. (Eight elements use half of the
16 bytes that a Philox block makes; lanes that shared a block would save 6 instructions an element, and nothing in time.)
*/
#include "device/philox.h"
#include "device/walk.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(kPlaneThreads)
    dropout(const T* x, T* y, int64_t rows, int64_t columns, Dropout mask) {
  each_plane_row(rows, [&](int64_t row) {
    Pack<T, V> xs[kPlanePacks];
    each_plane_pack<V>(columns, [&](int i, int64_t c) { xs[i] = load_pack<V>(x + row * columns + c); });
    each_plane_pack<V>(columns, [&](int i, int64_t c) {
      float a[V];
      to_floats(xs[i], a);
      drop(a, row, c, mask);
      write_pack(y + row * columns + c, from_floats<T>(a));
    });
  });
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_dropout(int dtype, int64_t rows, int64_t columns, const void* x, void* y, uint64_t seed,
                        uint32_t threshold, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = Pack<T>::kSize;
    const auto* from = static_cast<const T*>(x);
    auto* to = static_cast<T*>(y);
    const auto s = static_cast<cudaStream_t>(stream);
    const Dropout mask = Dropout::of(seed, threshold);
    const bool by_vectors = packs(from, columns) && packs(to, columns);
    const Plane blocks = plane(rows, columns, by_vectors ? V : 1);
    return by_vectors ? PEFT4J_LAUNCH((dropout<T, V>), blocks.grid, blocks.block, 0, s, from, to, rows, columns, mask)
                      : PEFT4J_LAUNCH((dropout<T, 1>), blocks.grid, blocks.block, 0, s, from, to, rows, columns, mask);
  });
}
