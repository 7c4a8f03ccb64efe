/*
rotary, CPU: rotary position embedding of queries and keys (RoFormer, Su et al. 2021).

Pair j of the first 2·half numbers of each head, at the angle φ = position·inverse_frequencies[j]:
    a' = scaling·(a·cos φ - b·sin φ),  b' = scaling·(b·cos φ + a·sin φ)
    (a, b) = (x[j], x[j + half]), or interleaved (x[2j], x[2j + 1])
The rest of a head stays; backward turns by -φ. A row's cosines and sines are made once for all its heads.
*/
#include <ATen/Parallel.h>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

// One head in place. cosines, sines: [half]
template <bool Interleaved, class A>
void turn(A* x, const A* cosines, const A* sines, int64_t half) {
  constexpr int W = Vec<A>::size();
  int64_t j = 0;
  for (; j + W <= half; j += W) {
    const Vec<A> c = Vec<A>::loadu(cosines + j), s = Vec<A>::loadu(sines + j);
    A *first = Interleaved ? x + 2 * j : x + j, *second = Interleaved ? first + W : first + half;
    Vec<A> a = Vec<A>::loadu(first), b = Vec<A>::loadu(second);
    if constexpr (Interleaved) {
      std::tie(a, b) = at::vec::deinterleave2(a, b);
    }
    Vec<A> a_turned = a * c - b * s, b_turned = b * c + a * s;
    if constexpr (Interleaved) {
      std::tie(a_turned, b_turned) = at::vec::interleave2(a_turned, b_turned);
    }
    a_turned.store(first);
    b_turned.store(second);
  }
  for (; j < half; ++j) {
    A &first = x[Interleaved ? 2 * j : j], &second = x[Interleaved ? 2 * j + 1 : j + half];
    const A a = first, b = second;
    first = a * cosines[j] - b * sines[j];
    second = b * cosines[j] + a * sines[j];
  }
}

template <class T, class A, bool Interleaved>
void rotary_rows(const RotaryParams& p) {
  constexpr int W = Vec<A>::size();
  const A* frequencies = static_cast<const A*>(p.inverse_frequencies);
  const Vec<A> scaling(static_cast<A>(p.scaling)), sine_scaling(static_cast<A>(p.backward ? -p.scaling : p.scaling));
  at::parallel_for(0, p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> cosines(p.half), sines(p.half), buffer(std::max(p.query_heads, p.key_heads) * p.head_size);
    for (int64_t row = begin; row < end; ++row) {
      const Vec<A> position(static_cast<A>(p.positions[row]));
      for (int64_t j = 0; j < p.half; j += W) {
        const int count = static_cast<int>(std::min<int64_t>(W, p.half - j));
        const Vec<A> angle = position * Vec<A>::loadu(frequencies + j, count);
        (angle.cos() * scaling).store(cosines.data() + j, count);
        (angle.sin() * sine_scaling).store(sines.data() + j, count);
      }
      const auto heads = [&](const void* from, void* to, int64_t from_stride, int64_t to_stride, int64_t count) {
        load_row(buffer.data(), static_cast<const T*>(from) + row * from_stride, count * p.head_size);
        for (int64_t h = 0; h < count; ++h) {
          turn<Interleaved>(buffer.data() + h * p.head_size, cosines.data(), sines.data(), p.half);
        }
        store_row(static_cast<T*>(to) + row * to_stride, buffer.data(), count * p.head_size);
      };
      heads(p.q, p.q_out, p.q_stride, p.q_out_stride, p.query_heads);
      heads(p.k, p.k_out, p.k_stride, p.k_out_stride, p.key_heads);
    }
  });
}

}  // namespace

void rotary(const RotaryParams& p) {
  by_type(p.dtype,
          [&]<class T, class A>() { return p.interleaved ? rotary_rows<T, A, true>(p) : rotary_rows<T, A, false>(p); });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
