/*
rational, CPU: y = P(x) / Q(x). Formulas, versions, noise and large x: cuda/rational.cu.

Four vectors go through the Horner chains together; degrees are loop bounds, coefficients come from the first-level cache.
Sums run over fixed chunks of about kChunk elements and then over the chunks in order: the same bits for any number of threads.
*/
#include <ATen/Parallel.h>

#include <array>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int kVectors = 4;
constexpr int64_t kChunk = 4096;
constexpr int kMost = 8;  // coefficients of P, and of Q with b_0
constexpr float kLarge = 4096;

template <class A>
constexpr int kBlock = kVectors * Vec<A>::size();

template <class A>
using Vectors = std::array<Vec<A>, kVectors>;

// Signed is B and C; what they differ in is b_0 and the constant.
struct Absolute {
  static constexpr bool kAbsolute = true, kNoisy = false;
};
struct Signed {
  static constexpr bool kAbsolute = false, kNoisy = false;
};
struct Noisy {
  static constexpr bool kAbsolute = false, kNoisy = true;
};

// A group's coefficients: Q = constant + |Σ b_j xʲ|; of A b_0 is the 1, and the constant is not used. With the noise of a block.
template <class A, class Form>
class Coefficients {
 public:
  const int m, n;
  const A constant;

  Coefficients(const RationalParams& p, int64_t group) : m(p.m), n(p.n), constant(A(p.version == 'C' ? 0.1 : 1)) {
    const auto number = [&](const void* from, int64_t i) {
      return p.dtype == at::kDouble ? A(static_cast<const double*>(from)[i]) : A(static_cast<const float*>(from)[i]);
    };
    const int first = p.version == 'C' ? 0 : 1;
    for (int i = 0; i <= m; ++i) {
      a_[i] = number(p.numerator, group * p.numerator_stride + i);
    }
    for (int j = first; j <= n; ++j) {
      b_[j] = number(p.denominator, group * p.denominator_stride + j - first);
      b_[j] = Form::kAbsolute ? std::abs(b_[j]) : b_[j];
    }
    if (Form::kAbsolute) {
      b_[0] = 1;
    }
  }

  Vec<A> a(int i, int vector) const { return a_noise(Vec<A>(a_[i]), i, vector); }
  Vec<A> b(int j, int vector) const { return b_noise(Vec<A>(b_[j]), j, vector); }
  Vec<A> a_noise(const Vec<A>& x, int i, int vector) const { return noise(x, i, vector); }
  Vec<A> b_noise(const Vec<A>& x, int j, int vector) const { return noise(x, kMost - 1 + j, vector); }  // D has no b_0

  void make_noise(uint64_t seed, int64_t element) {
    if constexpr (Form::kNoisy) {
      alignas(64) uint8_t bytes[16 * kBlock<A> + kGroup];
      for (int done = 0; done < kBlock<A>;) {
        const int64_t at = element + done, low = at & 0xffffffff;
        const int64_t count = std::min<int64_t>(kBlock<A> - done, (int64_t{1} << 32) - low);
        const uint64_t row = uint64_t{1} << 63 | static_cast<uint64_t>(at) >> 32;
        mask_block(bytes + 16 * done, 16 * kBlock<A>, 1, 16 * count, row, 0, 16 * low, seed);
        done += static_cast<int>(count);
      }
      for (int k = 0; k < 2 * kMost; ++k) {
        for (int e = 0; e < kBlock<A>; ++e) {
          factors_[k][e] = A(1) + A(2 * bytes[16 * e + k] - 255) * A(3277.0 / 8388608.0);
        }
      }
    }
  }

 private:
  Vec<A> noise(const Vec<A>& x, int k, int vector) const {
    return Form::kNoisy ? x * Vec<A>::loadu(&factors_[k][vector * Vec<A>::size()]) : x;
  }

  A a_[kMost] = {}, b_[kMost] = {};
  A factors_[Form::kNoisy ? 2 * kMost : 1][Form::kNoisy ? kBlock<A> : 1];
};

template <class A>
struct Points {
  Vectors<A> p, dp, q, dq;  // P, P', Q, Q'
  Vectors<A> sign;  // -0 where x (A), u (the others) is negative: then Q' is -dq
};

template <bool Slopes, class A, class Form>
inline void evaluate(Points<A>& at, const Vectors<A>& x, const Coefficients<A, Form>& c) {
  using at::vec::fmadd;
  const Vec<A> zero(A(0)), minus_zero(A(-0.0));
  for (int v = 0; v < kVectors; ++v) {
    at.p[v] = c.a(c.m, v);
    at.dp[v] = zero;
  }
  for (int i = c.m - 1; i >= 0; --i) {
    for (int v = 0; v < kVectors; ++v) {
      if (Slopes) {
        at.dp[v] = fmadd(at.dp[v], x[v], at.p[v]);
      }
      at.p[v] = fmadd(at.p[v], x[v], c.a(i, v));
    }
  }
  Vectors<A> z, u;
  for (int v = 0; v < kVectors; ++v) {
    z[v] = Form::kAbsolute ? x[v].abs() : x[v];
    u[v] = c.b(c.n, v);
    at.dq[v] = zero;
  }
  for (int j = c.n - 1; j >= 0; --j) {
    for (int v = 0; v < kVectors; ++v) {
      if (Slopes) {
        at.dq[v] = fmadd(at.dq[v], z[v], u[v]);
      }
      u[v] = fmadd(u[v], z[v], c.b(j, v));
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    at.q[v] = Form::kAbsolute ? u[v] : Vec<A>(c.constant) + u[v].abs();
    at.sign[v] = ((Form::kAbsolute ? x[v] : u[v]) < zero) & minus_zero;
  }
}

template <class A>
Vectors<A> load(const A* from) {
  Vectors<A> x;
  for (int v = 0; v < kVectors; ++v) {
    x[v] = Vec<A>::loadu(from + v * Vec<A>::size());
  }
  return x;
}

template <class A, class Form>
void forward_block(A* y, const A* x, const Coefficients<A, Form>& c) {
  Points<A> at;
  evaluate<false>(at, load(x), c);
  for (int v = 0; v < kVectors; ++v) {
    (at.p[v] / at.q[v]).store(y + v * Vec<A>::size());
  }
}

// Of A without sg(b_j).
template <class A>
struct Sums {
  std::array<Vec<A>, kMost> a, b;

  Sums() {
    a.fill(Vec<A>(A(0)));
    b.fill(Vec<A>(A(0)));
  }
  void add_to(double* partials) const {
    for (int k = 0; k < kMost; ++k) {
      partials[k] += sum_of_lanes(a[k]);
      partials[kMost + k] += sum_of_lanes(b[k]);
    }
  }
};

template <class A, class Form>
void backward_block(A* dx, Sums<A>& sums, const A* x_at, const A* dy_at, const Coefficients<A, Form>& c) {
  using at::vec::fmadd;
  const Vectors<A> x = load(x_at), dy = load(dy_at);
  Points<A> at;
  evaluate<true>(at, x, c);
  Vectors<A> w, odd, even, power;
  for (int v = 0; v < kVectors; ++v) {
    const Vec<A> r = Vec<A>(A(1)) / at.q[v];
    w[v] = dy[v] * r;
    even[v] = w[v] * at.p[v] * r ^ Vec<A>(A(-0.0));
    odd[v] = even[v] ^ at.sign[v];
    even[v] = Form::kAbsolute ? even[v] : odd[v];
    power[v] = Vec<A>(A(1));
    fmadd(odd[v], at.dq[v], w[v] * at.dp[v]).store(dx + v * Vec<A>::size());
  }
  for (int k = 0; k <= std::max(c.m, c.n); ++k) {
    const Vectors<A>& by_parity = k % 2 == 1 ? odd : even;
    for (int v = 0; v < kVectors; ++v) {
      if (k <= c.m) {
        sums.a[k] = fmadd(c.a_noise(w[v], k, v), power[v], sums.a[k]);
      }
      if (k <= c.n) {
        sums.b[k] = fmadd(c.b_noise(by_parity[v], k, v), power[v], sums.b[k]);
      }
      power[v] = power[v] * x[v];
    }
  }
}

// A block in the compute type, 0 behind its elements.
template <class A>
struct alignas(64) Block {
  A v[kBlock<A>];

  template <class T>
  void load(const void* from, int64_t at, int count) {
    load_row(v, static_cast<const T*>(from) + at, count);
    std::fill(v + count, v + kBlock<A>, A(0));
  }
};

template <class A>
bool is_large(A x) {
  return !std::is_same_v<A, double> && std::abs(x) > kLarge;
}

template <class A>
bool any_large(const Block<A>& x) {
  bool any = false;
  for (const A value : x.v) {
    any |= is_large(value);
  }
  return any;
}

// How the elements lie: `rows` rows, of which each group has `columns` neighbours. One group is cut into rows of a chunk.
struct Layout {
  int64_t rows, columns, row_stride, last_columns, rows_in_chunk, chunks;

  explicit Layout(const RationalParams& p) {
    const int64_t n = p.rows * p.channels;
    const bool flat = p.groups == 1;
    row_stride = flat ? kChunk : p.channels;
    columns = flat ? kChunk : p.channels / p.groups;
    rows = flat ? (n + kChunk - 1) / kChunk : p.rows;
    last_columns = flat ? n - (rows - 1) * kChunk : columns;
    rows_in_chunk = flat ? 1 : std::max<int64_t>(kChunk / p.channels, 1);
    chunks = (rows + rows_in_chunk - 1) / rows_in_chunk;
  }
};

// f(first element, how many) over the blocks of a group in a chunk.
template <class A, class F>
void for_each_block(const Layout& l, int64_t chunk, int64_t group, const F& f) {
  for (int64_t row = chunk * l.rows_in_chunk; row < std::min(l.rows, (chunk + 1) * l.rows_in_chunk); ++row) {
    const int64_t first = row * l.row_stride + group * l.columns,
                  columns = row == l.rows - 1 ? l.last_columns : l.columns;
    for (int64_t c = 0; c < columns; c += kBlock<A>) {
      f(first + c, static_cast<int>(std::min<int64_t>(kBlock<A>, columns - c)));
    }
  }
}

// A large element, in double.
template <class Form>
double forward_large(const RationalParams& p, int64_t group, int64_t element, double x) {
  const Block<double> wide_x{{x}};
  Block<double> y;
  Coefficients<double, Form> c(p, group);
  c.make_noise(p.seed, element);
  forward_block(y.v, wide_x.v, c);
  return y.v[0];
}

template <class Form>
double backward_large(const RationalParams& p, int64_t group, int64_t element, double x, double dy, double* partial) {
  const Block<double> wide_x{{x}}, wide_dy{{dy}};
  Block<double> dx;
  Coefficients<double, Form> c(p, group);
  c.make_noise(p.seed, element);
  Sums<double> sums;
  backward_block(dx.v, sums, wide_x.v, wide_dy.v, c);
  sums.add_to(partial);
  return dx.v[0];
}

template <class T, class A, class Form>
void forward(const RationalParams& p) {
  const Layout l(p);
  at::parallel_for(0, l.chunks, 1, [&](int64_t begin, int64_t end) {
    Block<A> x, y;
    for (int64_t group = 0; group < p.groups; ++group) {
      Coefficients<A, Form> c(p, group);
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        for_each_block<A>(l, chunk, group, [&](int64_t at, int count) {
          x.template load<T>(p.x, at, count);
          c.make_noise(p.seed, at);
          forward_block(y.v, x.v, c);
          const bool large = any_large(x);
          for (int i = 0; large && i < count; ++i) {
            if (is_large(x.v[i])) {
              y.v[i] = static_cast<A>(forward_large<Form>(p, group, at + i, x.v[i]));
            }
          }
          store_row(static_cast<T*>(p.y) + at, y.v, count);
        });
      }
    }
  });
}

// out [groups, count] = the chunks' partials from `first` on, in order; shared: out [1, count], of all groups. Negative where
// signs (of out's shape, or null) are.
template <class A>
void add_up(void* out, const std::vector<double>& partials, int64_t groups, bool shared, int first, int count,
            const void* signs) {
  if (out == nullptr) {
    return;
  }
  const int64_t rows = shared ? 1 : groups;
  std::vector<double> sums(rows * count, 0.0);
  for (size_t row = 0; row < partials.size() / (2 * kMost); ++row) {
    double* to = sums.data() + (shared ? 0 : static_cast<int64_t>(row) % groups * count);
    for (int k = 0; k < count; ++k) {
      to[k] += partials[row * 2 * kMost + first + k];
    }
  }
  for (int64_t i = 0; i < rows * count; ++i) {
    const bool negative = signs != nullptr && static_cast<const A*>(signs)[i] < 0;
    static_cast<A*>(out)[i] = static_cast<A>(negative ? -sums[i] : sums[i]);
  }
}

template <class T, class A, class Form>
void backward(const RationalParams& p) {
  const Layout l(p);
  std::vector<double> partials(l.chunks * p.groups * 2 * kMost, 0.0);
  at::parallel_for(0, l.chunks, 1, [&](int64_t begin, int64_t end) {
    Block<A> x, dy, dx;
    for (int64_t group = 0; group < p.groups; ++group) {
      Coefficients<A, Form> c(p, group);
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        double* partial = partials.data() + (chunk * p.groups + group) * 2 * kMost;
        Sums<A> sums;
        for_each_block<A>(l, chunk, group, [&](int64_t at, int count) {
          x.template load<T>(p.x, at, count);
          dy.template load<T>(p.dy, at, count);
          c.make_noise(p.seed, at);
          const bool large = any_large(x);
          const Block<A> all_x = x, all_dy = dy;
          for (int i = 0; large && i < count; ++i) {
            if (is_large(x.v[i])) {
              x.v[i] = dy.v[i] = 0;
            }
          }
          backward_block(dx.v, sums, x.v, dy.v, c);
          for (int i = 0; large && i < count; ++i) {
            if (is_large(all_x.v[i])) {
              dx.v[i] = static_cast<A>(backward_large<Form>(p, group, at + i, all_x.v[i], all_dy.v[i], partial));
            }
          }
          if (p.dx != nullptr) {
            store_row(static_cast<T*>(p.dx) + at, dx.v, count);
          }
        });
        sums.add_to(partial);
      }
    }
  });
  const bool with_b0 = p.version == 'C';
  add_up<A>(p.dnumerator, partials, p.groups, p.numerator_stride == 0, 0, p.m + 1, nullptr);
  add_up<A>(p.ddenominator, partials, p.groups, p.denominator_stride == 0, kMost + (with_b0 ? 0 : 1),
            p.n + (with_b0 ? 1 : 0), Form::kAbsolute ? p.denominator : nullptr);
}

}  // namespace

// function<type of x, compute type, form>
#define PEFT4J_BY_VERSION(function, T, A)                 \
  return p.version == 'A'   ? function<T, A, Absolute>(p) \
         : p.version == 'D' ? function<T, A, Noisy>(p)    \
                            : function<T, A, Signed>(p);
#define PEFT4J_BY_DTYPE(function)                                 \
  switch (p.dtype) {                                              \
    case at::kDouble: PEFT4J_BY_VERSION(function, double, double) \
    case at::kFloat: PEFT4J_BY_VERSION(function, float, float)    \
    default: PEFT4J_BY_VERSION(function, c10::BFloat16, float)    \
  }

void rational_forward(const RationalParams& p) {
  PEFT4J_BY_DTYPE(forward)
}

void rational_backward(const RationalParams& p) {
  PEFT4J_BY_DTYPE(backward)
}

#undef PEFT4J_BY_DTYPE
#undef PEFT4J_BY_VERSION

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
