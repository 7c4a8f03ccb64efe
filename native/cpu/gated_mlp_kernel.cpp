/*
gated_mlp, CPU: y = act(gate)∘up, one pass over the rows (GLU Variants Improve Transformer, Shazeer 2020).
backward: dgate = dy∘up∘act'(gate),  dup = dy∘act(gate)
*/
#include <ATen/Parallel.h>

#include "activation.h"
#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kAtOnce = 4096;  // elements of a task, at least

// f(row) for all rows
template <class F>
void each_row(const GatedMlpParams& p, const F& f) {
  at::parallel_for(0, p.rows, kAtOnce / (p.columns + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      f(row);
    }
  });
}

}  // namespace

void gated_mlp_forward(const GatedMlpParams& p) {
  by_type(p.dtype, [&]<class T, class A>() {
    by_activation(p.activation, [&](auto activation) {
      each_row(p, [&](int64_t row) {
        map_row<T, 2, 1>(
            p.columns,
            {static_cast<const T*>(p.gate) + row * p.gate_stride, static_cast<const T*>(p.up) + row * p.up_stride},
            {static_cast<T*>(p.y) + row * p.y_stride}, [&](const std::array<Vec<A>, 2>& in) {
              Vec<A> slope;
              return std::array<Vec<A>, 1>{activation.at(in[0], slope) * in[1]};
            });
      });
    });
  });
}

void gated_mlp_backward(const GatedMlpParams& p) {
  by_type(p.dtype, [&]<class T, class A>() {
    by_activation(p.activation, [&](auto activation) {
      each_row(p, [&](int64_t row) {
        map_row<T, 3, 2>(
            p.columns,
            {static_cast<const T*>(p.gate) + row * p.gate_stride, static_cast<const T*>(p.up) + row * p.up_stride,
             static_cast<const T*>(p.dy) + row * p.dy_stride},
            {static_cast<T*>(p.dgate) + row * p.dgate_stride, static_cast<T*>(p.dup) + row * p.dup_stride},
            [&](const std::array<Vec<A>, 3>& in) {
              Vec<A> slope;
              const Vec<A> value = activation.at(in[0], slope);
              return std::array<Vec<A>, 2>{in[2] * in[1] * slope, in[2] * value};
            });
      });
    });
  });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
