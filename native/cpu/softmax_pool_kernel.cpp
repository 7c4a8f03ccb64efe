/*
softmax_pool, CPU: c = softmax(z wᵀ over the rows of each sequence)ᵀ z. Formulas: cuda/softmax_pool.cu.

Everything is a dot product of two rows, or a sum of weighted rows whose columns stay in registers. A task owns what it writes
and adds in row order: the same bits for any number of threads, and no partial sums.
*/
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels.h"
#include "vec_math.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int kVectors = 4;  // of a stripe of columns

template <class A>
constexpr int64_t kStripe = kVectors * Vec<A>::size();

// Tasks of so many multiplications each that are worth a thread.
int64_t grain(int64_t multiplications) {
  return 16384 / std::max<int64_t>(multiplications, 1) + 1;
}

int64_t divide_up(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}

template <class A>
int lanes(int64_t left) {
  return static_cast<int>(std::min<int64_t>(Vec<A>::size(), left));
}

template <class A>
A dot(const A* x, const A* y, int64_t n) {
  constexpr int W = Vec<A>::size();
  Vec<A> even(A(0)), odd(A(0));  // two chains: an addition need not wait for the one before
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    even = at::vec::fmadd(Vec<A>::loadu(x + i), Vec<A>::loadu(y + i), even);
    odd = at::vec::fmadd(Vec<A>::loadu(x + i + W), Vec<A>::loadu(y + i + W), odd);
  }
  for (; i < n; i += W) {
    const int w = lanes<A>(n - i);  // 0 behind them
    even = at::vec::fmadd(Vec<A>::loadu(x + i, w), Vec<A>::loadu(y + i, w), even);
  }
  return sum_of_lanes(even + odd);
}

// Rows of `width` numbers from `at` on, each with a weight; weights are `step` apart.
template <class A>
struct WeightedRows {
  const A* weights;
  int64_t step;
  const A* at;
  int64_t width, count;

  // to += Σ weight·row of N vectors of columns; `last` lanes of the last one.
  template <int N>
  void add_vectors(A* to, int64_t column, int last) const {
    constexpr int W = Vec<A>::size();
    Vec<A> sums[N];
    std::fill(sums, sums + N, Vec<A>(A(0)));
    for (int64_t i = 0; i < count; ++i) {
      const Vec<A> weight(weights[i * step]);
      const A* row = at + i * width + column;
      for (int v = 0; v < N; ++v) {
        sums[v] = at::vec::fmadd(weight, Vec<A>::loadu(row + v * W, v + 1 < N ? W : last), sums[v]);
      }
    }
    for (int v = 0; v < N; ++v) {
      const int w = v + 1 < N ? W : last;
      (Vec<A>::loadu(to + column + v * W, w) + sums[v]).store(to + column + v * W, w);
    }
  }

  // to[column] += Σ weight·row[column] for columns [begin, end).
  void add(A* to, int64_t begin, int64_t end) const {
    constexpr int W = Vec<A>::size();
    for (; begin + kStripe<A> <= end; begin += kStripe<A>) {
      add_vectors<kVectors>(to, begin, W);
    }
    for (; begin < end; begin += W) {
      add_vectors<1>(to, begin, lanes<A>(end - begin));
    }
  }
};

template <class A>
void softmax(A* x, int64_t n) {
  constexpr int W = Vec<A>::size();
  Vec<A> most(-std::numeric_limits<A>::infinity()), sum(A(0));
  for (int64_t i = 0; i < n; i += W) {
    const int w = lanes<A>(n - i);
    most = Vec<A>::set(most, larger(most, Vec<A>::loadu(x + i, w)), w);
  }
  most = Vec<A>(largest_lane(most));
  for (int64_t i = 0; i < n; i += W) {
    const int w = lanes<A>(n - i);
    const Vec<A> e = fast_exp(Vec<A>::loadu(x + i, w) - most);
    e.store(x + i, w);
    sum = Vec<A>::set(sum, sum + e, w);
  }
  const Vec<A> factor(1 / sum_of_lanes(sum));
  for (int64_t i = 0; i < n; i += W) {
    const int w = lanes<A>(n - i);
    (Vec<A>::loadu(x + i, w) * factor).store(x + i, w);
  }
}

template <class A>
void forward(const SoftmaxPoolParams& p) {
  const int64_t m = p.width, tokens = p.tokens, rows_each = p.rows / std::max<int64_t>(p.sequences, 1);
  const A *z = static_cast<const A*>(p.z), *w = static_cast<const A*>(p.w);
  A *weights = static_cast<A*>(p.weights), *c = static_cast<A*>(p.c);
  at::parallel_for(0, p.rows, grain(tokens * m), [&](int64_t begin, int64_t end) {  // scores
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t token = 0; token < tokens; ++token) {
        weights[token * p.rows + row] = dot(z + row * m, w + token * m, m);
      }
    }
  });
  at::parallel_for(0, p.sequences * tokens, grain(8 * rows_each), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t s = i / tokens, token = i % tokens;
      softmax(weights + token * p.rows + p.begin[s], p.begin[s + 1] - p.begin[s]);
    }
  });
  const int64_t stripes = divide_up(m, kStripe<A>);
  at::parallel_for(
      0, p.sequences * stripes, grain(rows_each * tokens * kStripe<A>), [&](int64_t begin, int64_t end) {  // c
        for (int64_t i = begin; i < end; ++i) {
          const int64_t s = i / stripes, first = i % stripes * kStripe<A>, last = std::min(m, first + kStripe<A>);
          for (int64_t token = 0; token < tokens; ++token) {
            A* to = c + (s * tokens + token) * m;
            std::fill(to + first, to + last, A(0));
            const int64_t row = p.begin[s], count = p.begin[s + 1] - row;
            WeightedRows<A>{weights + token * p.rows + row, 1, z + row * m, m, count}.add(to, first, last);
          }
        }
      });
}

template <class A>
void backward(const SoftmaxPoolParams& p) {
  const int64_t m = p.width, tokens = p.tokens;
  const A *z = static_cast<const A*>(p.z), *w = static_cast<const A*>(p.w), *weights = static_cast<const A*>(p.weights),
          *c = static_cast<const A*>(p.c), *dc = static_cast<const A*>(p.dc);
  A *dz = static_cast<A*>(p.dz), *dw = static_cast<A*>(p.dw);
  std::vector<A> delta(p.sequences * tokens), ds(tokens * p.rows);
  for (int64_t i = 0; i < p.sequences * tokens; ++i) {
    delta[i] = dot(c + i * m, dc + i * m, m);
  }
  at::parallel_for(0, p.rows, grain(3 * tokens * m), [&](int64_t begin, int64_t end) {  // ds, dz
    int64_t s = std::upper_bound(p.begin, p.begin + p.sequences, begin) - p.begin - 1;
    for (int64_t row = begin; row < end; ++row) {
      while (row >= p.begin[s + 1]) {
        ++s;
      }
      const A* dc_s = dc + s * tokens * m;
      for (int64_t token = 0; token < tokens; ++token) {
        const A da = dot(z + row * m, dc_s + token * m, m);
        ds[token * p.rows + row] = weights[token * p.rows + row] * (da - delta[s * tokens + token]);
      }
      A* to = dz + row * m;
      std::fill(to, to + m, A(0));
      WeightedRows<A>{weights + row, p.rows, dc_s, m, tokens}.add(to, 0, m);
      WeightedRows<A>{ds.data() + row, p.rows, w, m, tokens}.add(to, 0, m);
    }
  });
  if (dw == nullptr) {
    return;
  }
  const int64_t stripes = divide_up(m, kStripe<A>);
  at::parallel_for(0, tokens * stripes, grain(p.rows * kStripe<A>), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = i / stripes, first = i % stripes * kStripe<A>, last = std::min(m, first + kStripe<A>);
      A* to = dw + token * m;
      std::fill(to + first, to + last, A(0));
      for (int64_t s = 0; s < p.sequences; ++s) {  // each by itself: fewer numbers in one long sum
        const int64_t row = p.begin[s], count = p.begin[s + 1] - row;
        WeightedRows<A>{ds.data() + token * p.rows + row, 1, z + row * m, m, count}.add(to, first, last);
      }
    }
  });
}

}  // namespace

void softmax_pool_forward(const SoftmaxPoolParams& p) {
  p.dtype == at::kDouble ? forward<double>(p) : forward<float>(p);
}

void softmax_pool_backward(const SoftmaxPoolParams& p) {
  p.dtype == at::kDouble ? backward<double>(p) : backward<float>(p);
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
