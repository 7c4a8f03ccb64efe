/*
layer_norm, CPU: z = dropout(x) + residual, y = (z - mean)·rstd·weight + bias, one pass over the rows (Ba et al. 2016)

backward, with n = (z - mean)·rstd and g = dy·weight:
    dz = rstd·(g - mean(g) - n·mean(g∘n)),  dresidual = dz,  dx = mask∘dz;  dweight = Σ dy∘n,  dbias = Σ dy
Frozen weight and bias (the usual case) cost nothing: their sums are made only where asked for, in partial sums of
kLayerNormRowsPerBlock rows that the caller adds in order.
*/
#include <ATen/Parallel.h>

#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

// Calls f(vector index) over the columns; the rest behind the last whole vector is given to f's one-lane twin.
template <class A, class F>
inline void over(int64_t n, F f) {
  constexpr int W = Vec<A>::size();
  int64_t c = 0;
  for (; c + W <= n; c += W) {
    f(c, W);
  }
  if (c < n) {
    f(c, static_cast<int>(n - c));
  }
}

template <class T, class A>
void forward(const LayerNormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight(n), bias(n);
  load_row(weight.data(), static_cast<const T*>(p.weight), n);
  load_row(bias.data(), static_cast<const T*>(p.bias), n);
  at::parallel_for(0, p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> z(n), other(n);
    for (int64_t row = begin; row < end; ++row) {
      load_row(z.data(), static_cast<const T*>(p.x) + row * n, n);
      if (p.dropout.active()) {
        drop_row(z.data(), n, row, 0, p.dropout);
      }
      if (p.residual != nullptr) {
        load_row(other.data(), static_cast<const T*>(p.residual) + row * n, n);
        add_row(z.data(), other.data(), n);
      }
      if (p.z != nullptr) {
        store_row(static_cast<T*>(p.z) + row * n, z.data(), n);
      }
      Vec<A> total(A(0));
      over<A>(n, [&](int64_t c, int w) { total = total + Vec<A>::loadu(z.data() + c, w); });
      const A mean = sum_of_lanes(total) / static_cast<A>(n);
      Vec<A> squares(A(0));
      over<A>(n, [&](int64_t c, int w) {
        const Vec<A> d = Vec<A>::loadu(z.data() + c, w) - Vec<A>(mean);
        squares = squares + (w == Vec<A>::size() ? d * d : Vec<A>::set(Vec<A>(A(0)), d * d, w));
      });
      const A rstd = A(1) / std::sqrt(sum_of_lanes(squares) / static_cast<A>(n) + static_cast<A>(p.eps));
      over<A>(n, [&](int64_t c, int w) {
        const Vec<A> v = (Vec<A>::loadu(z.data() + c, w) - Vec<A>(mean)) * Vec<A>(rstd);
        at::vec::fmadd(v, Vec<A>::loadu(weight.data() + c, w), Vec<A>::loadu(bias.data() + c, w)).store(z.data() + c, w);
      });
      store_row(static_cast<T*>(p.y) + row * n, z.data(), n);
      static_cast<A*>(p.mean)[row] = mean;
      static_cast<A*>(p.rstd)[row] = rstd;
    }
  });
}

template <class T, class A>
void backward(const LayerNormParams& p) {
  const int64_t n = p.columns;
  std::vector<A> weight(n);
  load_row(weight.data(), static_cast<const T*>(p.weight), n);
  const int64_t blocks = (p.rows + kLayerNormRowsPerBlock - 1) / kLayerNormRowsPerBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> z(n), g(n);
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
        load_row(z.data(), static_cast<const T*>(p.z) + row * n, n);
        load_row(g.data(), static_cast<const T*>(p.dy) + row * n, n);
        const Vec<A> mean(static_cast<const A*>(p.mean)[row]), rstd(static_cast<const A*>(p.rstd)[row]);
        Vec<A> sum_g(A(0)), sum_gn(A(0));
        over<A>(n, [&](int64_t c, int w) {
          Vec<A> normal = (Vec<A>::loadu(z.data() + c, w) - mean) * rstd;
          const Vec<A> dy = Vec<A>::loadu(g.data() + c, w);
          if (w < Vec<A>::size()) {
            normal = Vec<A>::set(Vec<A>(A(0)), normal, w);
          }
          if (dweight != nullptr) {
            at::vec::fmadd(dy, normal, Vec<A>::loadu(dweight + c, w)).store(dweight + c, w);
          }
          if (dbias != nullptr) {
            (dy + Vec<A>::loadu(dbias + c, w)).store(dbias + c, w);
          }
          const Vec<A> scaled = dy * Vec<A>::loadu(weight.data() + c, w);
          scaled.store(g.data() + c, w);
          normal.store(z.data() + c, w);
          sum_g = sum_g + scaled;
          sum_gn = at::vec::fmadd(scaled, normal, sum_gn);
        });
        const Vec<A> mean_g(sum_of_lanes(sum_g) / static_cast<A>(n)), mean_gn(sum_of_lanes(sum_gn) / static_cast<A>(n));
        over<A>(n, [&](int64_t c, int w) {
          const Vec<A> normal = Vec<A>::loadu(z.data() + c, w);
          (rstd * (Vec<A>::loadu(g.data() + c, w) - mean_g - normal * mean_gn)).store(g.data() + c, w);
        });
        if (p.dresidual != nullptr) {
          store_row(static_cast<T*>(p.dresidual) + row * n, g.data(), n);
        }
        if (p.dx != p.dresidual) {
          if (p.dropout.active()) {
            drop_row(g.data(), n, row, 0, p.dropout);
          }
          store_row(static_cast<T*>(p.dx) + row * n, g.data(), n);
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
