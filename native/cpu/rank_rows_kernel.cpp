/*
LoRA's updates of few rows, as a step of generation has them: each row with the adapters that act on it,
    y[t, first + o] += scale · Σ_r b[o,r] Σ_c a[r,c] x[t,c]
The matrices are read as they are, once for each row; nothing is laid out anew, and no call goes out for an adapter by itself.
Rows are dealt to threads: the same bits for any number of them.
*/
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

template <class A>
A dot(const A* x, const A* w, int64_t n) {
  constexpr int W = Vec<A>::size();
  Vec<A> sums[2] = {Vec<A>(A(0)), Vec<A>(A(0))};
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    sums[0] = at::vec::fmadd(Vec<A>::loadu(x + i), Vec<A>::loadu(w + i), sums[0]);
    sums[1] = at::vec::fmadd(Vec<A>::loadu(x + i + W), Vec<A>::loadu(w + i + W), sums[1]);
  }
  for (; i + W <= n; i += W) {
    sums[0] = at::vec::fmadd(Vec<A>::loadu(x + i), Vec<A>::loadu(w + i), sums[0]);
  }
  A lanes[W];
  (sums[0] + sums[1]).store(lanes);
  for (int half = W / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) {
      lanes[lane] += lanes[lane + half];
    }
  }
  A sum = lanes[0];
  for (; i < n; ++i) {
    sum += x[i] * w[i];
  }
  return sum;
}

template <class T, class A>
void update(const RankRowsParams& p) {
  int64_t rank = 0, out = 0;
  for (int64_t i = 0; i < p.n; ++i) {
    rank = std::max(rank, p.updates[i].rank);
    out = std::max(out, p.updates[i].out);
  }
  at::parallel_for(0, p.rows, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> x(p.columns), h(rank), added(out);
    for (int64_t t = begin; t < end; ++t) {
      load_row(x.data(), static_cast<const T*>(p.x) + t * p.x_stride, p.columns);
      for (int64_t i = 0; i < p.n; ++i) {
        const RankRows& u = p.updates[i];
        if (t < u.begin || t >= u.end) {
          continue;
        }
        const A *a = static_cast<const A*>(u.a), *b = static_cast<const A*>(u.b);
        for (int64_t r = 0; r < u.rank; ++r) {
          h[r] = dot(x.data(), a + r * p.columns, p.columns);
        }
        if (u.h != nullptr) {
          std::copy_n(h.data(), u.rank, static_cast<A*>(u.h) + (t - u.begin) * u.h_stride);
        }
        for (int64_t r = 0; r < u.rank; ++r) {
          h[r] *= static_cast<A>(u.scale);
        }
        for (int64_t o = 0; o < u.out; ++o) {
          added[o] = dot(h.data(), b + o * u.rank, u.rank);
        }
        add_row(static_cast<T*>(p.y) + t * p.y_stride + u.first, added.data(), u.out);
      }
    }
  });
}

}  // namespace

void lora_rows(const RankRowsParams& p) {
  by_type(p.dtype, [&]<class T, class A>() { update<T, A>(p); });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
