/*
gated_mlp: y = act(gate)∘up, the middle of a gated MLP (GLU Variants Improve Transformer, Shazeer 2020), [rows, columns].

backward: dgate = dy∘up∘act'(gate),  dup = dy∘act(gate), and y once more where it is wanted: gate and up are all that has to be
kept, what a layer behind needs of y comes from the same pass. dgate and dup may take the place of gate and up.

Bytes for an element of 16 bits: forward 6, backward 10, and 2 for y. 20 to 40 instructions, where 4.3 TB/s leave an H200 time
for 40 and 67: memory bound, so what counts is that enough loads are under way. A thread has two 16-byte vectors of each tensor,
64 bytes forward and 96 backward; at 40 and 66 registers an SM holds 1536 and 896 threads, with 96 and 84 KB under way, where
bandwidth and latency ask for 13. gate and up may be halves of one product: rows are strided.
*/
#include "device/activation.h"
#include "device/walk.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_gated_mlp_params;

template <class T, int V>
__global__ void __launch_bounds__(kPlaneThreads) gated_mlp_forward(Params p) {
  by_activation(p.activation, [&](auto activation) {
    each_plane_row(p.rows, [&](int64_t row) {
      const T *gate = static_cast<const T*>(p.gate) + row * p.gate_stride,
              *up = static_cast<const T*>(p.up) + row * p.up_stride;
      T* y = static_cast<T*>(p.y) + row * p.y_stride;
      Pack<T, V> gates[kPlanePacks], ups[kPlanePacks];
      each_plane_pack<V>(p.columns, [&](int i, int64_t c) {
        gates[i] = load_pack<V>(gate + c);
        ups[i] = load_pack<V>(up + c);
      });
      each_plane_pack<V>(p.columns, [&](int i, int64_t c) {
        float a[V], b[V], slope;
        to_floats(gates[i], a);
        to_floats(ups[i], b);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          a[j] = activation.at(a[j], slope) * b[j];
        }
        write_pack(y + c, from_floats<T>(a));
      });
    });
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kPlaneThreads) gated_mlp_backward(Params p) {
  by_activation(p.activation, [&](auto activation) {
    each_plane_row(p.rows, [&](int64_t row) {
      const T *gate = static_cast<const T*>(p.gate) + row * p.gate_stride,
              *up = static_cast<const T*>(p.up) + row * p.up_stride;
      const T* dy = static_cast<const T*>(p.dy) + row * p.dy_stride;
      T *dgate = static_cast<T*>(p.dgate) + row * p.dgate_stride, *dup = static_cast<T*>(p.dup) + row * p.dup_stride;
      Pack<T, V> gates[kPlanePacks], ups[kPlanePacks], dys[kPlanePacks];
      each_plane_pack<V>(p.columns, [&](int i, int64_t c) {
        gates[i] = load_pack<V>(gate + c);
        ups[i] = load_pack<V>(up + c);
        dys[i] = load_pack<V>(dy + c);
      });
      each_plane_pack<V>(p.columns, [&](int i, int64_t c) {
        float a[V], b[V], d[V], y[V];
        to_floats(gates[i], a);
        to_floats(ups[i], b);
        to_floats(dys[i], d);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          float slope;
          const float value = activation.at(a[j], slope);
          y[j] = value * b[j];
          a[j] = d[j] * b[j] * slope;
          b[j] = d[j] * value;
        }
        write_pack(dgate + c, from_floats<T>(a));
        write_pack(dup + c, from_floats<T>(b));
        if (p.y != nullptr) {
          write_pack(static_cast<T*>(p.y) + row * p.y_stride + c, from_floats<T>(y));
        }
      });
    });
  });
}

template <class T>
bool aligned(const void* tensor, int64_t stride) {
  return packs(static_cast<const T*>(tensor), stride);
}

template <class T>
int forward(const Params& p, cudaStream_t stream) {
  constexpr int V = Pack<T>::kSize;
  const bool by_vectors = p.columns % V == 0 && aligned<T>(p.gate, p.gate_stride) && aligned<T>(p.up, p.up_stride) &&
                          aligned<T>(p.y, p.y_stride);
  const Plane blocks = plane(p.rows, p.columns, by_vectors ? V : 1);
  return by_vectors ? PEFT4J_LAUNCH((gated_mlp_forward<T, V>), blocks.grid, blocks.block, 0, stream, p)
                    : PEFT4J_LAUNCH((gated_mlp_forward<T, 1>), blocks.grid, blocks.block, 0, stream, p);
}

template <class T>
int backward(const Params& p, cudaStream_t stream) {
  constexpr int V = Pack<T>::kSize;
  const bool by_vectors = p.columns % V == 0 && aligned<T>(p.gate, p.gate_stride) && aligned<T>(p.up, p.up_stride) &&
                          aligned<T>(p.y, p.y_stride) && aligned<T>(p.dy, p.dy_stride) &&
                          aligned<T>(p.dgate, p.dgate_stride) && aligned<T>(p.dup, p.dup_stride);
  const Plane blocks = plane(p.rows, p.columns, by_vectors ? V : 1);
  return by_vectors ? PEFT4J_LAUNCH((gated_mlp_backward<T, V>), blocks.grid, blocks.block, 0, stream, p)
                    : PEFT4J_LAUNCH((gated_mlp_backward<T, 1>), blocks.grid, blocks.block, 0, stream, p);
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_gated_mlp_forward(const peft4j_cuda_gated_mlp_params* p, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(p->dtype, [&](auto zero) { return forward<decltype(zero)>(*p, static_cast<cudaStream_t>(stream)); });
}

int peft4j_cuda_gated_mlp_backward(const peft4j_cuda_gated_mlp_params* p, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(p->dtype, [&](auto zero) { return backward<decltype(zero)>(*p, static_cast<cudaStream_t>(stream)); });
}
