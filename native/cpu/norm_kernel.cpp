/*
norm, CPU: z = dropout(x) + residual, y = (z - mean)·rstd·w + bias, w = weight + weight_offset, one pass over the rows.
LayerNorm (Ba et al. 2016), and not centred, with mean = 0, RMSNorm (Zhang & Sennrich 2019).

z has the type of x, as if the steps were written out.

backward, with n = (z - mean)·rstd and g = dy·w:
    dz = rstd·(g - mean(g) - n·mean(g∘n)) + dz_more,  dx = mask∘dz;  dweight = Σ dy∘n,  dbias = Σ dy
    not centred: without mean(g)
Frozen weight and bias (the usual case) cost nothing: their sums are made only where asked for, in partial sums of
kNormRowsPerBlock rows that the caller adds in order.
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

// weight + weight_offset
template <class T, class A>
const A* scale_of(const NormParams& p, std::vector<A>& buffer) {
  const A* weight = row_of<T>(p.weight, 0, p.columns, buffer);
  if (p.weight_offset == 0) {
    return weight;
  }
  over_columns<A>(p.columns, [&](int64_t c, int w) {
    (Vec<A>::loadu(weight + c, w) + Vec<A>(static_cast<A>(p.weight_offset))).store(buffer.data() + c, w);
  });
  return buffer.data();
}

template <class T, class A, bool Centred>
void forward(const NormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight_buffer(n), bias_buffer(n);
  const A *weight = scale_of<T>(p, weight_buffer),
          *bias = p.bias == nullptr ? bias_buffer.data() : row_of<T>(p.bias, 0, n, bias_buffer);
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
      A mean = 0;
      if constexpr (Centred) {
        mean =
            sum_columns<1, A>(n, [&](int64_t c, int w, Vec<A>* sum) { sum[0] = sum[0] + Vec<A>::loadu(z + c, w); })[0] /
            static_cast<A>(n);
      }
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
      static_cast<A*>(p.rstd)[row] = rstd;
      if constexpr (Centred) {
        static_cast<A*>(p.mean)[row] = mean;
      }
    }
  });
}

template <class T, class A, bool Centred>
void backward(const NormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight_buffer(n);
  const A* weight = scale_of<T>(p, weight_buffer);
  const int64_t blocks = (p.rows + kNormRowsPerBlock - 1) / kNormRowsPerBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> z_buffer(n), dy_buffer(n), more_buffer(n), dz(n);
    for (int64_t block = begin; block < end; ++block) {
      A* dweight = p.dweight == nullptr ? nullptr : static_cast<A*>(p.dweight) + block * n;
      A* dbias = p.dbias == nullptr ? nullptr : static_cast<A*>(p.dbias) + block * n;
      for (A* sum : {dweight, dbias}) {
        if (sum != nullptr) {
          std::fill(sum, sum + n, A(0));
        }
      }
      const int64_t first = block * kNormRowsPerBlock;
      for (int64_t row = first; row < std::min(p.rows, first + kNormRowsPerBlock); ++row) {
        const A *z = row_of<T>(p.z, row, n, z_buffer), *dy = row_of<T>(p.dy, row, n, dy_buffer);
        const Vec<A> rstd(static_cast<const A*>(p.rstd)[row]);
        const Vec<A> mean(Centred ? static_cast<const A*>(p.mean)[row] : A(0));
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
        if (p.dz == nullptr && p.dx == nullptr) {
          continue;
        }
        const auto [sum_g, sum_gn] = sum_columns<2, A>(n, [&](int64_t c, int w, Vec<A>* sum) {
          const Vec<A> g = Vec<A>::loadu(dy + c, w) * Vec<A>::loadu(weight + c, w);  // 0 behind w
          sum[0] = sum[0] + g;
          sum[1] = at::vec::fmadd(g, normal_at(c, w), sum[1]);
        });
        const Vec<A> mean_g(Centred ? sum_g / static_cast<A>(n) : A(0)), mean_gn(sum_gn / static_cast<A>(n));
        A* to = dz.data();
        if constexpr (std::is_same_v<T, A>) {
          to = p.dz != nullptr ? static_cast<A*>(p.dz) + row * n : to;
        }
        over_columns<A>(n, [&](int64_t c, int w) {
          const Vec<A> g = Vec<A>::loadu(dy + c, w) * Vec<A>::loadu(weight + c, w);
          (rstd * (g - mean_g - normal_at(c, w) * mean_gn)).store(to + c, w);
        });
        if (p.dz_more != nullptr) {
          add_row(to, row_of<T>(p.dz_more, row, n, more_buffer), n);
        }
        if (p.dz != nullptr && !std::is_same_v<T, A>) {
          store_row(static_cast<T*>(p.dz) + row * n, to, n);
        }
        if (p.dx != nullptr) {
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

void norm_forward(const NormParams& p) {
  by_type(p.dtype, [&]<class T, class A>() { return p.centred ? forward<T, A, true>(p) : forward<T, A, false>(p); });
}

void norm_backward(const NormParams& p) {
  by_type(p.dtype, [&]<class T, class A>() { return p.centred ? backward<T, A, true>(p) : backward<T, A, false>(p); });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
