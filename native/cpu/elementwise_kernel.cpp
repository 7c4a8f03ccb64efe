/* gelu and dropout, CPU: one pass over the bytes (gelu: activation.h). */
#include <ATen/Parallel.h>

#include "activation.h"
#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kAtOnce = 4096;  // elements of a task

// out[i] = f(in[0][i], …) over all elements
template <class T, size_t In, class F>
void map(const ElementwiseParams& p, const std::array<const void*, In>& in, const F& f) {
  const int64_t n = p.rows * p.columns;
  at::parallel_for(0, (n + kAtOnce - 1) / kAtOnce, 4, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kAtOnce;
    std::array<const T*, In> from;
    for (size_t k = 0; k < In; ++k) {
      from[k] = static_cast<const T*>(in[k]) + first;
    }
    map_row<T, In, 1>(std::min(n, end * kAtOnce) - first, from, {static_cast<T*>(p.out) + first}, f);
  });
}

template <class T, class A>
void drop(const ElementwiseParams& p) {
  at::parallel_for(0, p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> values(p.columns);
    for (int64_t row = begin; row < end; ++row) {
      load_row(values.data(), static_cast<const T*>(p.x) + row * p.columns, p.columns);
      drop_row(values.data(), p.columns, row, 0, p.dropout);
      store_row(static_cast<T*>(p.out) + row * p.columns, values.data(), p.columns);
    }
  });
}

}  // namespace

void gelu_forward(const ElementwiseParams& p) {
  by_type(p.dtype, [&]<class T, class A>() {
    map<T, 1>(p, {p.x}, [](const std::array<Vec<A>, 1>& in) {
      Vec<A> slope;
      return std::array<Vec<A>, 1>{Gelu::at(in[0], slope)};
    });
  });
}

void gelu_backward(const ElementwiseParams& p) {
  by_type(p.dtype, [&]<class T, class A>() {
    map<T, 2>(p, {p.x, p.dy}, [](const std::array<Vec<A>, 2>& in) {
      Vec<A> slope;
      Gelu::at(in[0], slope);
      return std::array<Vec<A>, 1>{in[1] * slope};
    });
  });
}

void dropout(const ElementwiseParams& p) {
  by_type(p.dtype, [&]<class T, class A>() { drop<T, A>(p); });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
