/*
rational: y = P(x) / Q(x), a learned activation      (Molina et al. 2020; groups and the two-stage sum: KAT, Yang & Wang 2024,
                                                      FlashKAT, Raffel & Chen 2025)
    P(x) = Σ_{i=0..m} a_i xⁱ                              A   Q = 1 + Σ_{j=1..n} |b_j|·|x|ʲ
    with S = Q' and R = P':                               B   Q = 1 + |Σ_{j=1..n} b_j xʲ|
    dx   = dy·(R - P/Q·S) / Q                             C   Q = 0.1 + |Σ_{j=0..n} b_j xʲ|
    da_i = Σ dy·xⁱ / Q                                    D   B with coefficient k of element e multiplied by ν(e, k)
    db_j = -Σ dy·P/Q²·sg(u)·xʲ    u the sum inside |…|; of A sg(b_j)·|x|ʲ instead;  sg(0) = 1

Channels come in groups with coefficients of their own. x, y, dy, dx are bfloat16, float16 or float32; coefficients and all
computing are float32.

ν(e, k) = 1 + (2·byte - 255)·3277/2²³, uniform in 256 steps over (0.9, 1.1) with mean 1; each of these operations is exact in
float32, so it is the same number everywhere. byte: column 16·(e mod 2³²) + k of row 2⁶³ + ⌊e / 2³²⌋ of the dropout mask of the
seed (native/philox.h; no row of a dropout is as large); e counts the elements of x, k = i for a_i and 7 + j for b_j.
Backward makes it again.

Large x: powers up to |x| = 4096 stay far inside float32 (2⁸⁴). The rare element above is computed again in double, which holds
x⁷ times a coefficient for every float32, so a result is finite where the true value is. That costs one maximum an element;
1/x instead of x would not do, as the leading coefficients may be 0 (the identity). Infinities give NaN.

Bytes an element of 16 bits: 4 forward, 6 backward. Instructions an element at degrees (5, 4), bf16, sm_90a, counted in the
SASS when the reciprocal still had a Newton step (2 of them) and all packs were counted in 64 bits: 24 forward, where an H200 issues 31 in the
time of a copy; 56 backward (38 of them products and sums) where it issues 47. A thread stays in one group, with its coefficients and sums in registers, and walks 16-byte packs;
the next pack is on its way while this one is computed. P and R share a Horner chain (r = r·x + p before p = p·x + a), Q and S
another; one reciprocal, whose instruction is right to an ulp; the powers of x serve both sums. Where packs are whole, nearly always, they are
counted in 32 bits; else, or beyond 2³¹ packs, numbers in 64, by one instance of all degrees.
Backward's sums: in a thread, a warp, a block, always in the same order, to a row of partials for each block and group; then
fixed_order_sum.
*/
#include <algorithm>

#include "device/numbers.h"
#include "device/philox.h"
#include "device/warp.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_rational_params;

constexpr int kThreads = 256;
constexpr int kPacks = 8;                     // of a thread of forward, where there are that many
constexpr int64_t kElements = kThreads * 64;  // of a block of backward, where there are that many
constexpr int64_t kMostPartials = 1024;       // rows of partials, over all groups
constexpr float kLarge = 4096;

// The three ways to compute. Signed is B and C; what they differ in is b_0 and the constant.
struct Absolute {
  static constexpr bool kAbsolute = true, kNoisy = false;
};
struct Signed {
  static constexpr bool kAbsolute = false, kNoisy = false;
};
struct Noisy {
  static constexpr bool kAbsolute = false, kNoisy = true;
};

PEFT4J_DEVICE float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
PEFT4J_DEVICE double multiply_add(double a, double b, double c) {
  return fma(a, b, c);
}
PEFT4J_DEVICE void add_product(float& sum, float a, float b) {
  sum = __fmaf_rn(a, b, sum);
}
PEFT4J_DEVICE void add_product(float& sum, double a, double b) {
  sum += static_cast<float>(a * b);
}
PEFT4J_DEVICE float magnitude(float x) {
  return fabsf(x);
}
PEFT4J_DEVICE double magnitude(double x) {
  return fabs(x);
}
PEFT4J_DEVICE float one_over(float q) {
  return reciprocal_approx(q);
}
PEFT4J_DEVICE double one_over(double q) {
  return 1.0 / q;
}

// What a coefficient of an element is multiplied by.
struct NoNoise {
  PEFT4J_DEVICE float a(int) const { return 1.0f; }
  PEFT4J_DEVICE float b(int) const { return 1.0f; }
};
struct Noise {
  uint4 words;

  PEFT4J_DEVICE Noise(uint64_t seed, int64_t element)
      : words(mask_words(static_cast<uint32_t>(element), 1ull << 63 | static_cast<uint64_t>(element) >> 32, seed)) {}
  PEFT4J_DEVICE static float factor(uint32_t word, int byte) {
    return 1.0f + static_cast<float>(2 * static_cast<int>(word >> (8 * byte) & 255u) - 255) * (3277.0f / 8388608.0f);
  }
  PEFT4J_DEVICE float a(int i) const { return factor(i < 4 ? words.x : words.y, i & 3); }
  PEFT4J_DEVICE float b(int j) const { return j == 0 ? 1.0f : factor(j < 5 ? words.z : words.w, (j - 1) & 3); }
};

template <class Form>
PEFT4J_DEVICE auto noise_of(const Params& p, int64_t element) {
  if constexpr (Form::kNoisy) {
    return Noise(p.seed, element);
  } else {
    return NoNoise();
  }
}

// A group's coefficients in memory. Q = constant + |Σ b_j xʲ|; of A b_0 is the 1, and the constant is not used.
template <class Form>
struct Stored {
  static constexpr int kUnroll = 1;
  const float *numerator, *denominator;
  int degree_m, degree_n, first;  // first: j of the first that is there
  float constant;

  PEFT4J_DEVICE Stored(const Params& p, int64_t group)
      : numerator(p.numerator + group * p.numerator_stride),
        denominator(p.denominator + group * p.denominator_stride),
        degree_m(p.m),
        degree_n(p.n),
        first(p.version == 'C' ? 0 : 1),
        constant(p.version == 'C' ? 0.1f : 1.0f) {}
  PEFT4J_DEVICE int m() const { return degree_m; }
  PEFT4J_DEVICE int n() const { return degree_n; }
  PEFT4J_DEVICE float a(int i) const { return numerator[i]; }
  PEFT4J_DEVICE float b(int j) const {
    const float value = j < first ? 0.0f : denominator[j - first];
    return !Form::kAbsolute ? value : j == 0 ? 1.0f : fabsf(value);
  }
};

// The same in registers, 0 beyond the degrees: coefficients that are 0 change no bit.
template <int M, int N, class Form>
struct Held {
  static constexpr int kUnroll = 8;
  float numerator[M + 1], denominator[N + 1], constant;

  PEFT4J_DEVICE explicit Held(const Stored<Form>& from) : constant(from.constant) {
#pragma unroll
    for (int i = 0; i <= M; ++i) {
      numerator[i] = i <= from.m() ? from.a(i) : 0.0f;
    }
#pragma unroll
    for (int j = 0; j <= N; ++j) {
      denominator[j] = j <= from.n() ? from.b(j) : 0.0f;
    }
  }
  PEFT4J_DEVICE static constexpr int m() { return M; }
  PEFT4J_DEVICE static constexpr int n() { return N; }
  PEFT4J_DEVICE float a(int i) const { return numerator[i]; }
  PEFT4J_DEVICE float b(int j) const { return denominator[j]; }
};

template <class A>
struct Point {
  A p, dp, q, dq;  // P, P', Q, Q'
  bool negative;   // x in A, u in the others: then Q' is -dq
};

// A is float or double. What is not used (the slopes in forward) costs nothing.
template <class Form, class A, class Coefficients, class Factors>
PEFT4J_DEVICE Point<A> evaluate(A x, const Coefficients& c, const Factors& noise) {
  Point<A> at;
  at.p = c.a(c.m()) * noise.a(c.m());
  at.dp = 0;
#pragma unroll Coefficients::kUnroll
  for (int i = c.m() - 1; i >= 0; --i) {
    at.dp = i == c.m() - 1 ? at.p : multiply_add(at.dp, x, at.p);
    at.p = multiply_add(at.p, x, static_cast<A>(c.a(i) * noise.a(i)));
  }
  const A z = Form::kAbsolute ? magnitude(x) : x;
  A u = c.b(c.n()) * noise.b(c.n()), du = 0;
#pragma unroll Coefficients::kUnroll
  for (int j = c.n() - 1; j >= 0; --j) {
    du = j == c.n() - 1 ? u : multiply_add(du, z, u);
    u = multiply_add(u, z, static_cast<A>(c.b(j) * noise.b(j)));
  }
  at.negative = (Form::kAbsolute ? x : u) < 0;
  at.q = Form::kAbsolute ? u : c.constant + magnitude(u);
  at.dq = du;
  return at;
}

template <int M, int N>
struct CoefficientSums {
  float a[M + 1] = {}, b[N + 1] = {};  // of A without sg(b_j)
};

// Adds an element's share of the coefficients' gradients; gives its dx.
template <class Form, class A, int M, int N, class Coefficients, class Factors>
PEFT4J_DEVICE A add_gradients(CoefficientSums<M, N>& sums, A x, A dy, const Coefficients& c, const Factors& noise) {
  const Point<A> at = evaluate<Form>(x, c, noise);
  const A r = one_over(at.q), y = at.p * r, w = dy * r, v = -w * y;
  const A odd = at.negative ? -v : v, even = Form::kAbsolute ? v : odd;
  A power = 1;
#pragma unroll
  for (int i = 0; i <= (M > N ? M : N); ++i) {
    if (i <= M) {
      add_product(sums.a[i], w * noise.a(i), power);
    }
    if (i <= N) {
      add_product(sums.b[i], (i % 2 == 1 ? odd : even) * noise.b(i), power);
    }
    power *= x;
  }
  return multiply_add(odd, at.dq, w * at.dp);
}

// How the packs of a group lie in x, and how far it is to the pack that is gridDim.x · kThreads later. A row of the group
// has `columns`. Whole: of packs that are 16-byte aligned, which all is counted in; else of numbers, the last pack maybe not full.
template <class T, bool Whole>
struct Layout {
  using Count = std::conditional_t<Whole, int32_t, int64_t>;
  static constexpr bool kWhole = Whole;
  static constexpr int kUnit = Whole ? Pack<T>::kSize : 1, kPack = Pack<T>::kSize / kUnit;
  Count columns, row_stride, step, column_step;
  Count packs, row_packs, stride;  // these are packs
};

template <class T, bool Whole>
struct PackWalk {
  using Of = Layout<T, Whole>;
  using Count = typename Of::Count;
  static constexpr int V = Pack<T>::kSize;
  Count left;    // packs from here to the end of the group
  Count column;  // in the row of the group
  Count place;   // in x

  PEFT4J_DEVICE explicit PackWalk(const Of& l) {
    const Count first = static_cast<Count>(blockIdx.x) * kThreads + static_cast<Count>(threadIdx.x),
                row = first / l.row_packs;
    left = l.packs - first;
    column = (first - row * l.row_packs) * Of::kPack;
    place = row * l.row_stride + static_cast<Count>(blockIdx.y) * l.columns + column;
  }
  PEFT4J_DEVICE bool inside() const { return left > 0; }
  PEFT4J_DEVICE void advance(const Of& l) {
    left -= l.stride;
    column += l.column_step;
    place += l.step;
    if (column >= l.columns) {
      column -= l.row_packs * Of::kPack;
      place += l.row_stride - l.row_packs * Of::kPack;
    }
  }
  PEFT4J_DEVICE int64_t element() const { return static_cast<int64_t>(place) * Of::kUnit; }
  PEFT4J_DEVICE int count(const Of& l) const {
    return Whole || l.columns - column >= V ? V : static_cast<int>(l.columns - column);
  }
  PEFT4J_DEVICE Pack<T> load(const void* from, const Of& l) const {
    const T* at = static_cast<const T*>(from) + element();
    if constexpr (Whole) {
      return load_pack(at);
    } else {
      return load_some(at, count(l), false);
    }
  }
  PEFT4J_DEVICE void store(void* to, const float (&numbers)[V], const Of& l) const {
    T* at = static_cast<T*>(to) + element();
    if constexpr (Whole) {
      store_pack(at, from_floats<T>(numbers));
    } else {
      store_some(at, numbers, count(l), false);
    }
  }
};

// f(element, its x) for the large elements of this thread.
template <class T, bool Whole, class F>
PEFT4J_DEVICE void for_each_large(const Params& p, const Layout<T, Whole>& l, const F& f) {
#pragma unroll 1
  for (PackWalk<T, Whole> here(l); here.inside(); here.advance(l)) {
#pragma unroll 1
    for (int64_t e = here.element(); e < here.element() + here.count(l); ++e) {
      const float x = to_float(static_cast<const T*>(p.x)[e]);
      if (fabsf(x) > kLarge) {
        f(e, x);
      }
    }
  }
}

template <class T, bool Whole, int M, int N, class Form>
__global__ void __launch_bounds__(kThreads, Form::kNoisy ? 3 : 4) rational_forward(Params p, Layout<T, Whole> l) {
  constexpr int V = Pack<T>::kSize;
  const Stored<Form> stored(p, blockIdx.y);
  const Held<M, N, Form> held(stored);
  PackWalk<T, Whole> next(l);
  Pack<T> next_x = next.inside() ? next.load(p.x, l) : Pack<T>();
  float most = 0;
  while (next.inside()) {
    const PackWalk<T, Whole> here = next;
    const Pack<T> x = next_x;
    next.advance(l);
    if (next.inside()) {
      next_x = next.load(p.x, l);
    }
    float y[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float v = to_float(x.v[i]);
      most = fmaxf(most, fabsf(v));
      const auto at = evaluate<Form>(v, held, noise_of<Form>(p, here.element() + i));
      y[i] = at.p * one_over(at.q);
    }
    here.store(p.y, y, l);
  }
  if (most > kLarge) {
    for_each_large(p, l, [&](int64_t e, double v) {
      const auto at = evaluate<Form>(v, stored, noise_of<Form>(p, e));
      static_cast<T*>(p.y)[e] = from_float<T>(static_cast<float>(at.p * one_over(at.q)));
    });
  }
}

template <class T, bool Whole, int M, int N, class Form>
__global__ void __launch_bounds__(kThreads, Form::kNoisy ? 2 : 3) rational_backward(Params p, Layout<T, Whole> l) {
  constexpr int V = Pack<T>::kSize, kSums = M + N + 2, kWarps = kThreads / 32;
  const Stored<Form> stored(p, blockIdx.y);
  const Held<M, N, Form> held(stored);
  CoefficientSums<M, N> sums;
  PackWalk<T, Whole> next(l);
  Pack<T> next_x{}, next_dy{};
  if (next.inside()) {
    next_x = next.load(p.x, l);
    next_dy = next.load(p.dy, l);
  }
  float most = 0;
  while (next.inside()) {
    const PackWalk<T, Whole> here = next;
    float x[V], dy[V], dx[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      x[i] = to_float(next_x.v[i]);
      dy[i] = to_float(next_dy.v[i]);
      most = fmaxf(most, fabsf(x[i]));
    }
    next.advance(l);
    if (next.inside()) {
      next_x = next.load(p.x, l);
      next_dy = next.load(p.dy, l);
    }
    if (most > kLarge) {  // large elements get their turn below
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const bool large = fabsf(x[i]) > kLarge;
        x[i] = large ? 0.0f : x[i];
        dy[i] = large ? 0.0f : dy[i];
      }
    }
#pragma unroll
    for (int i = 0; i < V; ++i) {
      dx[i] = add_gradients<Form>(sums, x[i], dy[i], held, noise_of<Form>(p, here.element() + i));
    }
    if (p.dx != nullptr) {
      here.store(p.dx, dx, l);
    }
  }
  if (most > kLarge) {
    for_each_large(p, l, [&](int64_t e, double v) {
      const double dy = to_float(static_cast<const T*>(p.dy)[e]);
      const double dx = add_gradients<Form>(sums, v, dy, stored, noise_of<Form>(p, e));
      if (p.dx != nullptr) {
        static_cast<T*>(p.dx)[e] = from_float<T>(static_cast<float>(dx));
      }
    });
  }

  // one row of partials: lanes, then warps in order
  auto* by_warp = reinterpret_cast<float*>(shared_memory());  // [kWarps, kSums]
#pragma unroll
  for (int k = 0; k < kSums; ++k) {
    const float sum = warp_sum(k <= M ? sums.a[k <= M ? k : 0] : sums.b[k <= M ? 0 : k - M - 1]);
    if (threadIdx.x % 32 == 0) {
      by_warp[threadIdx.x / 32 * kSums + k] = sum;
    }
  }
  __syncthreads();
  const int k = threadIdx.x;
  if (k < kSums) {
    float sum = by_warp[k];
    for (int warp = 1; warp < kWarps; ++warp) {
      sum += by_warp[warp * kSums + k];
    }
    const int64_t row = static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y;
    const int j = k - M - 1;
    if (k <= M) {
      if (p.numerator_partials != nullptr && k <= p.m) {
        p.numerator_partials[row * (p.m + 1) + k] = sum;
      }
    } else if (p.denominator_partials != nullptr && j >= stored.first && j <= p.n) {
      const bool negative = Form::kAbsolute && stored.denominator[j - 1] < 0;
      p.denominator_partials[row * (p.n + 1 - stored.first) + j - stored.first] = negative ? -sum : sum;
    }
  }
}

// A single group is one long row.
int64_t columns_of(const Params& p) {
  return p.groups == 1 ? p.rows * p.channels : p.channels / p.groups;
}

template <class T, bool Whole>
Layout<T, Whole> layout_of(const Params& p, int64_t blocks) {
  using Of = Layout<T, Whole>;
  using Count = typename Of::Count;
  const int64_t columns = columns_of(p), row_packs = divide_up(columns, Pack<T>::kSize), stride = blocks * kThreads,
                row_stride = (p.groups == 1 ? columns : p.channels) / Of::kUnit,
                column_step = stride % row_packs * Of::kPack;
  return {static_cast<Count>(columns / Of::kUnit),
          static_cast<Count>(row_stride),
          static_cast<Count>(stride / row_packs * row_stride + column_step),
          static_cast<Count>(column_step),
          static_cast<Count>((p.groups == 1 ? 1 : p.rows) * row_packs),
          static_cast<Count>(row_packs),
          static_cast<Count>(stride)};
}

// Whether the packs are whole, and 32 bits count them and a step beyond the last.
template <class T>
bool whole(const Params& p, int64_t blocks, std::initializer_list<const void*> pointers) {
  const int64_t numbers = p.rows * p.channels + (blocks * kThreads + 1) * Pack<T>::kSize * p.groups + p.channels;
  return columns_of(p) % Pack<T>::kSize == 0 && numbers / Pack<T>::kSize < int64_t{1} << 31 &&
         std::all_of(
             pointers.begin(), pointers.end(),
             [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; });
}

template <int M_, int N_>
struct Degrees {
  static constexpr int M = M_, N = N_;
};

// Calls f with the least compiled degrees that have room for m and n; a coefficient too many costs backward 3 instructions.
template <class F>
int by_degrees(const Params& p, const F& f) {
  const auto fits = [&](int m, int n) { return p.m <= m && p.n <= n; };
  return fits(3, 3)   ? f(Degrees<3, 3>())
         : fits(4, 4) ? f(Degrees<4, 4>())
         : fits(5, 4) ? f(Degrees<5, 4>())
         : fits(5, 5) ? f(Degrees<5, 5>())
         : fits(6, 5) ? f(Degrees<6, 5>())
         : fits(6, 6) ? f(Degrees<6, 6>())
                      : f(Degrees<7, 6>());
}

// Calls f(degrees, form). Philox costs D more than unused coefficients do: it has one instance. So has what is not whole.
template <bool Whole, class F>
int by_form(const Params& p, const F& f) {
  using Most = Degrees<7, 6>;
  if (p.version == 'D') {
    return f(Most(), Noisy());
  }
  const auto with = [&](auto degrees) { return p.version == 'A' ? f(degrees, Absolute()) : f(degrees, Signed()); };
  if constexpr (Whole) {
    return by_degrees(p, with);
  } else {
    return with(Most());
  }
}

// Calls launch(layout, degrees, form); pointers: to all that the packs lie in.
template <class T, class F>
int by_instance(const Params& p, int64_t blocks, std::initializer_list<const void*> pointers, const F& launch) {
  const auto with = [&]<bool Whole>(std::bool_constant<Whole>) {
    const auto layout = layout_of<T, Whole>(p, blocks);
    return by_form<Whole>(p, [&](auto degrees, auto form) { return launch(layout, degrees, form); });
  };
  return whole<T>(p, blocks, pointers) ? with(std::true_type()) : with(std::false_type());
}

}  // namespace
}  // namespace peft4j::cuda

using namespace peft4j::cuda;

int64_t peft4j_cuda_rational_blocks(int64_t rows, int64_t channels, int64_t groups) {
  return std::min(divide_up(rows * (channels / groups), kElements), std::max<int64_t>(kMostPartials / groups, 1));
}

int peft4j_cuda_rational_forward(const peft4j_cuda_rational_params* params, void* stream) {
  const Params& p = *params;
  if (p.rows * p.channels == 0) {
    return 0;
  }
  return by_dtype(p.dtype, [&]<class T>(T) {
    const int64_t blocks = divide_up(divide_up(p.rows * (p.channels / p.groups), Pack<T>::kSize), kThreads * kPacks);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(p.groups));
    return by_instance<T>(p, blocks, {p.x, p.y}, [&]<class L, class D, class Form>(const L& layout, D, Form) {
      return PEFT4J_LAUNCH((rational_forward<T, L::kWhole, D::M, D::N, Form>), grid, dim3(kThreads), 0,
                           static_cast<cudaStream_t>(stream), p, layout);
    });
  });
}

int peft4j_cuda_rational_backward(const peft4j_cuda_rational_params* params, void* stream) {
  const Params& p = *params;
  if (p.rows * p.channels == 0) {
    return 0;
  }
  return by_dtype(p.dtype, [&]<class T>(T) {
    const int64_t blocks = peft4j_cuda_rational_blocks(p.rows, p.channels, p.groups);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(p.groups));
    return by_instance<T>(p, blocks, {p.x, p.dy, p.dx}, [&]<class L, class D, class Form>(const L& layout, D, Form) {
      const size_t shared_bytes = kThreads / 32 * (D::M + D::N + 2) * sizeof(float);
      return PEFT4J_LAUNCH((rational_backward<T, L::kWhole, D::M, D::N, Form>), grid, dim3(kThreads), shared_bytes,
                           static_cast<cudaStream_t>(stream), p, layout);
    });
  });
}
