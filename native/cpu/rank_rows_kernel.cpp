/*
LoRA's updates of few rows, as a step of generation has them: each row with the adapters that act on it,
    y[t, first + o] += scale · Σ_r b[o,r] Σ_c a[r,c] x[t,c]
The matrices are read as they are, once for each row; nothing is laid out anew, and no call goes out for an adapter by itself.
Rows are dealt to threads: the same bits for any number of them.
*/
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
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
  A sum = sum_of_lanes(sums[0] + sums[1]);
  for (; i < n; ++i) {
    sum += x[i] * w[i];
  }
  return sum;
}

// Sums of eight vectors of eight numbers: the eight numbers of the result.
using Eight = float __attribute__((vector_size(32)));
using Indices = int __attribute__((vector_size(32)));

inline Eight load_eight(const float* from) {
  Eight v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

inline Eight sums_of(const Eight (&v)[8]) {
  const auto low = [](Eight a, Eight b) { return __builtin_shuffle(a, b, Indices{0, 8, 2, 10, 4, 12, 6, 14}); };
  const auto high = [](Eight a, Eight b) { return __builtin_shuffle(a, b, Indices{1, 9, 3, 11, 5, 13, 7, 15}); };
  Eight pairs[4], fours[2];
  for (int i = 0; i < 4; ++i) {
    pairs[i] = low(v[2 * i], v[2 * i + 1]) + high(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const Eight a = pairs[2 * i], b = pairs[2 * i + 1];
    fours[i] = __builtin_shuffle(a, b, Indices{0, 1, 8, 9, 4, 5, 12, 13}) +
               __builtin_shuffle(a, b, Indices{2, 3, 10, 11, 6, 7, 14, 15});
  }
  return __builtin_shuffle(fours[0], fours[1], Indices{0, 1, 2, 3, 8, 9, 10, 11}) +
         __builtin_shuffle(fours[0], fours[1], Indices{4, 5, 6, 7, 12, 13, 14, 15});
}

// to[i] = Σ_c x[c] w[i, c] for eight rows of w, n a multiple of eight.
inline void eight_dots(const float* x, const float* w, int64_t n, float* to) {
  Eight sums[8] = {};
  for (int64_t c = 0; c < n; c += 8) {
    const Eight value = load_eight(x + c);
    for (int i = 0; i < 8; ++i) {
      sums[i] += value * load_eight(w + i * n + c);
    }
  }
  const Eight all = sums_of(sums);
  std::memcpy(to, &all, sizeof(all));
}

// to = w x, w [rows, n]
template <class A>
void dots(const A* x, const A* w, int64_t rows, int64_t n, A* to) {
  int64_t i = 0;
  if constexpr (std::is_same_v<A, float>) {
    for (; n % 8 == 0 && i + 8 <= rows; i += 8) {
      eight_dots(x, w + i * n, n, to + i);
    }
  }
  for (; i < rows; ++i) {
    to[i] = dot(x, w + i * n, n);
  }
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
        dots(x.data(), static_cast<const A*>(u.a), u.rank, p.columns, h.data());
        if (u.h != nullptr) {
          std::copy_n(h.data(), u.rank, static_cast<A*>(u.h) + (t - u.begin) * u.h_stride);
        }
        for (int64_t r = 0; r < u.rank; ++r) {
          h[r] *= static_cast<A>(u.scale);
        }
        dots(h.data(), static_cast<const A*>(u.b), u.out, u.rank, added.data());
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
