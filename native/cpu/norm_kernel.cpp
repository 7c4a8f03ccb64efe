/*
layer_norm, CPU: z = dropout(x) + residual, y = (z - mean)·rstd·weight + bias, one pass over the rows (Ba et al. 2016)

z has the type of x, as if the three steps were written out.

backward, with n = (z - mean)·rstd and g = dy·weight:
    dz = rstd·(g - mean(g) - n·mean(g∘n)),  dresidual = dz,  dx = mask∘dz;  dweight = Σ dy∘n,  dbias = Σ dy
Frozen weight and bias (the usual case) cost nothing: their sums are made only where asked for, in partial sums of
kLayerNormRowsPerBlock rows that the caller adds in order.
*/
#include <ATen/Parallel.h>

#include <array>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

// f(column, count, sums) adds columns [column, column + count) to its sums, 0 in the lanes behind count. Four chains, so
// that one addition need not wait for the one before.
template <int Sums, class A, class F>
std::array<A, Sums> sum_columns(int64_t n, F f) {
  constexpr int W = Vec<A>::size();
  Vec<A> sums[4][Sums];
  for (auto& chain : sums) {
    std::fill(chain, chain + Sums, Vec<A>(A(0)));
  }
  int64_t c = 0;
  for (; c + 4 * W <= n; c += 4 * W) {
    for (int chain = 0; chain < 4; ++chain) {
      f(c + chain * W, W, sums[chain]);
    }
  }
  for (; c + W <= n; c += W) {
    f(c, W, sums[0]);
  }
  if (c < n) {
    f(c, static_cast<int>(n - c), sums[1]);
  }
  std::array<A, Sums> result;
  for (int i = 0; i < Sums; ++i) {
    result[i] = sum_of_lanes((sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]));
  }
  return result;
}

// f(column, count) for whole vectors and for the rest behind them
template <class A, class F>
void over_columns(int64_t n, F f) {
  constexpr int W = Vec<A>::size();
  int64_t c = 0;
  for (; c + W <= n; c += W) {
    f(c, W);
  }
  if (c < n) {
    f(c, static_cast<int>(n - c));
  }
}

// The first count lanes of v, 0 behind them.
template <class A>
Vec<A> only(const Vec<A>& v, int count) {
  return count == Vec<A>::size() ? v : Vec<A>::set(Vec<A>(A(0)), v, count);
}

// A row in the compute type: where it lies, or in the buffer.
template <class T, class A>
const A* row_of(const void* from, int64_t row, int64_t n, std::vector<A>& buffer) {
  const T* at = static_cast<const T*>(from) + row * n;
  if constexpr (std::is_same_v<T, A>) {
    return at;
  } else {
    load_row(buffer.data(), at, n);
    return buffer.data();
  }
}

template <class T, class A>
void forward(const LayerNormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight_buffer(n), bias_buffer(n);
  const A *weight = row_of<T>(p.weight, 0, n, weight_buffer), *bias = row_of<T>(p.bias, 0, n, bias_buffer);
  const bool changed = p.residual != nullptr || p.dropout.active();
  at::parallel_for(0, p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> buffer(n), other(n);
    std::vector<T> rounded(n);
    for (int64_t row = begin; row < end; ++row) {
      const A* z = row_of<T>(p.x, row, n, buffer);
      if (changed) {
        if (z != buffer.data()) {
          load_row(buffer.data(), z, n);
          z = buffer.data();
        }
        if (p.dropout.active()) {
          drop_row(buffer.data(), n, row, 0, p.dropout);
        }
        if (p.residual != nullptr) {
          add_row(buffer.data(), row_of<T>(p.residual, row, n, other), n);
        }
        // z has the type of x also here: backward reads it back, and means the z that was normed.
        T* kept = p.z != nullptr ? static_cast<T*>(p.z) + row * n : rounded.data();
        if (p.z != nullptr || !std::is_same_v<T, A>) {
          store_row(kept, z, n);
          load_row(buffer.data(), kept, n);
        }
      }
      const A mean =
          sum_columns<1, A>(n, [&](int64_t c, int w, Vec<A>* sum) { sum[0] = sum[0] + Vec<A>::loadu(z + c, w); })[0] /
          static_cast<A>(n);
      const A variance = sum_columns<1, A>(n,
                                           [&](int64_t c, int w, Vec<A>* sum) {
                                             const Vec<A> d = only(Vec<A>::loadu(z + c, w) - Vec<A>(mean), w);
                                             sum[0] = at::vec::fmadd(d, d, sum[0]);
                                           })[0] /
                         static_cast<A>(n);
      const A rstd = A(1) / std::sqrt(variance + static_cast<A>(p.eps));
      A* y = buffer.data();
      if constexpr (std::is_same_v<T, A>) {
        y = static_cast<A*>(p.y) + row * n;
      }
      over_columns<A>(n, [&](int64_t c, int w) {
        const Vec<A> normal = (Vec<A>::loadu(z + c, w) - Vec<A>(mean)) * Vec<A>(rstd);
        at::vec::fmadd(normal, Vec<A>::loadu(weight + c, w), Vec<A>::loadu(bias + c, w)).store(y + c, w);
      });
      if constexpr (!std::is_same_v<T, A>) {
        store_row(static_cast<T*>(p.y) + row * n, y, n);
      }
      static_cast<A*>(p.mean)[row] = mean;
      static_cast<A*>(p.rstd)[row] = rstd;
    }
  });
}

template <class T, class A>
void backward(const LayerNormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight_buffer(n);
  const A* weight = row_of<T>(p.weight, 0, n, weight_buffer);
  const int64_t blocks = (p.rows + kLayerNormRowsPerBlock - 1) / kLayerNormRowsPerBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> z_buffer(n), dy_buffer(n), dz(n);
    for (int64_t block = begin; block < end; ++block) {
      A* dweight = p.dweight == nullptr ? nullptr : static_cast<A*>(p.dweight) + block * n;
      A* dbias = p.dbias == nullptr ? nullptr : static_cast<A*>(p.dbias) + block * n;
      for (A* sum : {dweight, dbias}) {
        if (sum != nullptr) {
          std::fill(sum, sum + n, A(0));
        }
      }
      const int64_t first = block * kLayerNormRowsPerBlock;
      for (int64_t row = first; row < std::min(p.rows, first + kLayerNormRowsPerBlock); ++row) {
        const A *z = row_of<T>(p.z, row, n, z_buffer), *dy = row_of<T>(p.dy, row, n, dy_buffer);
        const Vec<A> mean(static_cast<const A*>(p.mean)[row]), rstd(static_cast<const A*>(p.rstd)[row]);
        const auto normal_at = [&](int64_t c, int w) { return (Vec<A>::loadu(z + c, w) - mean) * rstd; };
        if (dweight != nullptr) {
          over_columns<A>(n, [&](int64_t c, int w) {
            at::vec::fmadd(Vec<A>::loadu(dy + c, w), normal_at(c, w), Vec<A>::loadu(dweight + c, w))
                .store(dweight + c, w);
          });
        }
        if (dbias != nullptr) {
          add_row(dbias, dy, n);
        }
        const auto [sum_g, sum_gn] = sum_columns<2, A>(n, [&](int64_t c, int w, Vec<A>* sum) {
          const Vec<A> g = Vec<A>::loadu(dy + c, w) * Vec<A>::loadu(weight + c, w);  // 0 behind w
          sum[0] = sum[0] + g;
          sum[1] = at::vec::fmadd(g, normal_at(c, w), sum[1]);
        });
        const Vec<A> mean_g(sum_g / static_cast<A>(n)), mean_gn(sum_gn / static_cast<A>(n));
        A* to = dz.data();
        if constexpr (std::is_same_v<T, A>) {
          to = static_cast<A*>(p.dresidual) + row * n;
        }
        over_columns<A>(n, [&](int64_t c, int w) {
          const Vec<A> g = Vec<A>::loadu(dy + c, w) * Vec<A>::loadu(weight + c, w);
          (rstd * (g - mean_g - normal_at(c, w) * mean_gn)).store(to + c, w);
        });
        if constexpr (!std::is_same_v<T, A>) {
          store_row(static_cast<T*>(p.dresidual) + row * n, to, n);
        }
        if (p.dx != p.dresidual) {
          if (to != dz.data()) {
            load_row(dz.data(), to, n);
          }
          drop_row(dz.data(), n, row, 0, p.dropout);
          store_row(static_cast<T*>(p.dx) + row * n, dz.data(), n);
        }
      }
    }
  });
}

}  // namespace

void layer_norm_forward(const LayerNormParams& p) {
  switch (p.dtype) {
    case at::kDouble: return forward<double, double>(p);
    case at::kFloat: return forward<float, float>(p);
    default: return forward<c10::BFloat16, float>(p);
  }
}

void layer_norm_backward(const LayerNormParams& p) {
  switch (p.dtype) {
    case at::kDouble: return backward<double, double>(p);
    case at::kFloat: return backward<float, float>(p);
    default: return backward<c10::BFloat16, float>(p);
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
