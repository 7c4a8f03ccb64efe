/* prefix_attention: the join and the gate, forward and backward, against the formulas in double. */
#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/cuda.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  int64_t head_size, query_heads, key_heads, prefix;
  std::vector<int64_t> lengths;  // of the sequences that have a prefix each
  bool shared, gated, in_place, padded;  // padded: rows and heads lie apart
  bool wants_queries = true, wants_keys = true;

  int64_t rows() const { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }
  int64_t prefixes() const { return shared ? 1 : static_cast<int64_t>(lengths.size()); }
  std::string name() const {
    std::string all;
    for (const int64_t n : lengths) {
      all += (all.empty() ? "" : " ") + std::to_string(n);
    }
    return text("D ", head_size, ", heads ", query_heads, "/", key_heads, ", P ", prefix, ", rows ",
                all.size() < 60 ? all : text(rows()), ", shared ", shared, ", gated ", gated, ", in place ", in_place,
                ", padded ", padded, ", wants ", wants_queries, wants_keys);
  }
};

using Numbers = std::vector<double>;

struct Inputs {
  Numbers q, k, v, o1, lse1, dout, dq;
  double gate, scale;
};

struct Results {
  Numbers o, lse, o2, dq, dk, dv, dgate;
  std::vector<std::pair<const char*, const Numbers*>> all() const {
    return {{"o", &o}, {"o2", &o2}, {"dq", &dq}, {"dk", &dk}, {"dv", &dv}, {"dgate", &dgate}, {"lse", &lse}};
  }
};

// Row by row and head by head. round: after each step, as separate operations on T would.
template <class Round>
Results formulas(const Case& c, const Inputs& in, const Round& round) {
  const int64_t D = c.head_size, H = c.query_heads, rows = c.rows(), group = H / c.key_heads;
  Results r;
  r.o = r.o2 = Numbers(rows * H * D);
  r.dq = in.dq;
  r.lse = Numbers(rows * H);
  r.dk = r.dv = Numbers(in.k.size());
  r.dgate = {0};
  int64_t sequence = 0, left = c.lengths.empty() ? 0 : c.lengths[0];
  for (int64_t t = 0; t < rows; ++t, --left) {
    while (left == 0) {
      left = c.lengths[++sequence];
    }
    for (int64_t h = 0; h < H; ++h) {
      const auto key = [&](int64_t j) {
        return (((c.shared ? 0 : sequence) * c.prefix + j) * c.key_heads + h / group) * D;
      };
      const int64_t at = (t * H + h) * D;
      const auto dot = [&](const Numbers& a, int64_t i, const Numbers& b, int64_t j) {
        double sum = 0;
        for (int64_t x = 0; x < D; ++x) {
          sum += a[i + x] * b[j + x];
        }
        return sum;
      };
      Numbers p(c.prefix);
      const double lse1 = c.gated || std::isinf(in.lse1[t * H + h]) ? -INFINITY : in.lse1[t * H + h];
      double most = lse1;
      for (int64_t j = 0; j < c.prefix; ++j) {
        p[j] = round(in.scale * dot(in.q, at, in.k, key(j)));
        most = std::max(most, p[j]);
      }
      double sum = std::exp(lse1 - most);
      for (const double s : p) {
        sum += std::exp(s - most);
      }
      const double lse = r.lse[t * H + h] = most + std::log(sum);
      for (int64_t j = 0; j < c.prefix; ++j) {
        p[j] = round(std::exp(p[j] - lse));
        for (int64_t x = 0; x < D; ++x) {
          r.o2[at + x] += p[j] * in.v[key(j) + x];
        }
      }
      for (int64_t x = 0; x < D; ++x) {
        r.o2[at + x] = round(r.o2[at + x]);
        r.o[at + x] = round(c.gated ? in.o1[at + x] + round(in.gate * r.o2[at + x])
                                    : round(std::exp(lse1 - lse) * in.o1[at + x]) + r.o2[at + x]);
      }
      const double delta = round(dot(in.dout, at, c.gated ? r.o2 : r.o, at)), gate = c.gated ? in.gate : 1;
      r.dgate[0] += delta;
      for (int64_t j = 0; j < c.prefix; ++j) {
        const double ds = round(in.scale * gate * p[j] * (round(dot(in.dout, at, in.v, key(j))) - delta));
        for (int64_t x = 0; x < D; ++x) {
          r.dq[at + x] += ds * in.k[key(j) + x];
          r.dk[key(j) + x] += ds * in.q[at + x];
          r.dv[key(j) + x] += gate * p[j] * in.dout[at + x];
        }
      }
      for (int64_t x = 0; x < D; ++x) {
        r.dq[at + x] = round(r.dq[at + x]);
      }
    }
  }
  return r;
}

// [rows, heads, columns] that lies in a larger buffer.
template <class T>
struct Laid {
  int64_t rows, heads, columns, row, head;
  DeviceBuffer<T> buffer;

  static size_t size(int64_t rows, int64_t row) { return rows * row; }
  Laid(const std::string& name, int64_t r, int64_t h, int64_t c, int64_t head_stride, int64_t row_stride)
      : rows(r), heads(h), columns(c), row(row_stride), head(head_stride), buffer(size(r, row_stride), name) {}
  Laid(const std::string& name, int64_t r, int64_t h, int64_t c, int64_t head_stride, int64_t row_stride,
       const Numbers& values)
      : rows(r),
        heads(h),
        columns(c),
        row(row_stride),
        head(head_stride),
        buffer(spread(values, r, h, c, head_stride, row_stride), name) {}

  static std::vector<T> spread(const Numbers& values, int64_t r, int64_t h, int64_t c, int64_t head, int64_t row) {
    std::vector<T> all(size(r, row), static_cast<T>(777.0f));
    for (int64_t i = 0; i < r * h * c; ++i) {
      all[i / (h * c) * row + i / c % h * head + i % c] = static_cast<T>(static_cast<float>(values[i]));
    }
    return all;
  }
  peft4j_cuda_heads view() const { return {buffer.data(), row, head}; }
  Numbers values() const {
    const auto all = buffer.download();
    Numbers found;
    for (int64_t i = 0; i < rows * heads * columns; ++i) {
      found.push_back(static_cast<float>(all[i / (heads * columns) * row + i / columns % heads * head + i % columns]));
    }
    return found;
  }
};

template <class T>
Results kernel(const Case& c, const Inputs& in) {
  const int64_t D = c.head_size, H = c.query_heads, rows = c.rows();
  const int64_t head = D + (c.padded ? 16 : 0), row = H * head + (c.padded ? 32 : 0);
  std::vector<int32_t> lengths{0};
  for (const int64_t n : c.lengths) {
    lengths.push_back(lengths.back() + static_cast<int32_t>(n));
  }
  const DeviceBuffer<int32_t> cu(lengths, "cu_seqlens");
  const Laid<T> q("q", rows, H, D, D, H * D + (c.padded ? 16 : 0), in.q), o1("o1", rows, H, D, head, row, in.o1),
      dout("dout", rows, H, D, D, H * D, in.dout), dq("dq", rows, H, D, head, row, in.dq);
  const Laid<T> fresh_o("o", rows, H, D, D, H * D), o2("o2", rows, H, D, head, row);
  const DeviceBuffer<T> k(convert<T>(in.k), "k"), v(convert<T>(in.v), "v");
  // lse1 head-major, as flash-attention has it; lse row-major.
  Numbers by_head(rows * H);
  for (int64_t i = 0; i < rows * H; ++i) {
    by_head[i % H * rows + i / H] = in.lse1[i];
  }
  const DeviceBuffer<float> lse1(convert<float>(by_head), "lse1"), fresh_lse(rows * H, "lse"),
      gate(std::vector<float>{static_cast<float>(in.gate)}, "gate");
  const peft4j_cuda_heads lse1_view{lse1.data(), 1, rows};
  const Laid<T>& o = c.in_place ? o1 : fresh_o;
  peft4j_cuda_prefix p{};
  p.dtype = kDtype<T>;
  p.scale = static_cast<float>(in.scale);
  p.rows = rows;
  p.query_heads = H;
  p.key_heads = c.key_heads;
  p.head_size = D;
  p.prefix = c.prefix;
  p.sequences = c.prefixes();
  p.longest = c.shared ? rows : c.lengths.empty() ? 0 : *std::max_element(c.lengths.begin(), c.lengths.end());
  p.cu_seqlens = c.shared ? nullptr : cu.data();
  p.k = k.data();
  p.v = v.data();
  p.gate = c.gated ? gate.data() : nullptr;
  p.q = q.view();
  p.o1 = o1.view();
  p.lse1 = c.gated ? peft4j_cuda_heads{} : lse1_view;
  p.o = o.view();
  p.lse = c.in_place ? lse1_view : peft4j_cuda_heads{fresh_lse.data(), H, 1};
  p.o2 = c.gated ? o2.view() : peft4j_cuda_heads{};
  expect_success(c.name(), peft4j_cuda_prefix_attention(&p, nullptr));

  Results r;
  r.o = o.values();
  const auto lse = (c.in_place ? lse1 : fresh_lse).download();
  for (int64_t i = 0; i < rows * H; ++i) {
    r.lse.push_back(lse[c.in_place ? i % H * rows + i / H : i]);
  }
  r.o2 = c.gated ? o2.values() : r.o;
  const DeviceBuffer<float> dk(in.k.size(), "dk"), dv(in.k.size(), "dv"), dgate(1, "dgate"),
      scratch(peft4j_cuda_prefix_attention_scratch(&p), "scratch");
  peft4j_cuda_prefix_gradients g{};
  g.dout = dout.view();
  g.dq = c.wants_queries ? dq.view() : peft4j_cuda_heads{};
  g.prefix_dk = c.wants_keys ? dk.data() : nullptr;
  g.prefix_dv = c.wants_keys ? dv.data() : nullptr;
  g.dgate = c.gated ? dgate.data() : nullptr;
  g.scratch = scratch.data();
  expect_success(c.name() + ", backward", peft4j_cuda_prefix_attention_backward(&p, &g, nullptr));
  r.dq = dq.values();
  if (c.wants_keys) {
    r.dk = wide(dk.download());
    r.dv = wide(dv.download());
  }
  if (c.gated) {
    r.dgate = wide(dgate.download());
  }
  return r;
}

template <class T>
Numbers rounded(size_t n, uint64_t seed, double deviation = 1) {
  return wide(convert<T>(random(n, seed, deviation)));
}

double largest(const Numbers& x) {
  double most = 0;
  for (const double value : x) {
    most = std::max(most, std::abs(value));
  }
  return most;
}

template <class T>
Inputs inputs_of(const Case& c) {
  const size_t n = c.rows() * c.query_heads * c.head_size, keys = c.prefixes() * c.prefix * c.key_heads * c.head_size;
  Inputs in{rounded<T>(n, 1),
            rounded<T>(keys, 2),
            rounded<T>(keys, 3),
            rounded<T>(n, 4),
            rounded<float>(c.rows() * c.query_heads, 5),
            rounded<T>(n, 6),
            rounded<T>(n, 7),
            0,
            0};
  in.gate = rounded<float>(1, 8)[0];
  in.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_size)));
  for (size_t i = 0; i < in.lse1.size(); i += 3) {  // rows whose sequence has no keys
    in.lse1[i] = i % 2 == 0 ? INFINITY : -INFINITY;
    std::fill_n(in.o1.begin() + i * c.head_size, c.head_size, 0.0);
  }
  return in;
}

template <class T>
void check(const Case& c) {
  const Inputs in = inputs_of<T>(c);
  Results reference = formulas(c, in, [](double x) { return x; });
  Results plain =
      formulas(c, in, [](double x) { return double{static_cast<float>(static_cast<T>(static_cast<float>(x)))}; });
  const Results found = kernel<T>(c, in);
  for (Results* r : {&reference, &plain}) {
    r->lse = found.lse.empty() ? Numbers() : r->lse;
    r->o2 = c.gated ? r->o2 : r->o;
    r->dq = c.wants_queries ? r->dq : in.dq;
    r->dk = c.wants_keys ? r->dk : Numbers();
    r->dv = c.wants_keys ? r->dv : Numbers();
    r->dgate = c.gated ? r->dgate : Numbers();
  }
  const auto own = found.all(), exact = reference.all(), eager = plain.all();
  double relative = 0;
  for (size_t i = 0; i < own.size(); ++i) {
    relative =
        std::max(relative, distance(*eager[i].second, *exact[i].second) / std::max(1.0, largest(*exact[i].second)));
  }
  constexpr double kUlp[] = {0x1p-23, 0x1p-7, 0x1p-10};
  for (size_t i = 0; i < own.size(); ++i) {
    const std::string what = c.name() + ", " + own[i].first;
    const double size = largest(*exact[i].second);
    if (exact[i].second == &reference.lse) {
      expect_close(what, *own[i].second, *exact[i].second, 0, 2e-6 * (1 + size));
      continue;
    }
    // Few numbers may be hit by luck, and a sum of many keeps what its terms have: see native/test/check.h.
    const double allowed = std::max(distance(*eager[i].second, *exact[i].second), relative * size);
    expect_close(what, *own[i].second, *exact[i].second, allowed,
                 1e-5 + size * kUlp[sizeof(T) == 4              ? 0
                                    : std::is_same_v<T, __half> ? 2
                                                                : 1]);
  }
}

TEST(prefixAttentionFollowsItsFormula) {
  const std::vector<int64_t> sizes = {64, 8, 40, 33, 80, 250, 1}, prefixes = {1, 4, 15, 16, 17, 64, 70};
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {4, 2}, {3, 1}};
  const std::vector<std::vector<int64_t>> lengths = {{1, 0, 5, 33}, {66}, {}, {0, 0}, {16, 17, 1}};
  // head size, heads, prefix, lengths, shared, gated, in place, padded, wanted, type
  for (const std::vector<int>& r : pairwise({7, 3, 7, 5, 2, 2, 2, 2, 3, 2})) {
    Case c{sizes[r[0]], heads[r[1]].first, heads[r[1]].second, prefixes[r[2]], lengths[r[3]],
           r[4] == 1,   r[5] == 1,         r[6] == 1,          r[7] == 1};
    c.wants_queries = r[8] != 1;
    c.wants_keys = r[8] != 2;
    r[9] == 0 ? check<__nv_bfloat16>(c) : check<__half>(c);
  }
}

TEST(prefixAttentionInFloat32FollowsItsFormula) {
  const std::vector<int64_t> sizes = {64, 5, 32, 80}, prefixes = {1, 4, 16, 17};
  // head size, prefix, shared, gated, in place, padded
  for (const std::vector<int>& r : pairwise({4, 4, 2, 2, 2, 2})) {
    check<float>({sizes[r[0]], 2, 1, prefixes[r[1]], {1, 0, 40}, r[2] == 1, r[3] == 1, r[4] == 1, r[5] == 1});
  }
}

TEST(prefixAttentionOfEachWidth) {
  for (const int64_t size : {64, 128, 256}) {
    for (const int64_t prefix : {16, 66}) {
      check<__nv_bfloat16>({size, 1, 1, prefix, {20}, true, false, true, false});
      check<__half>({size, 1, 1, prefix, {20}, true, false, true, false});
    }
    check<float>({size, 1, 1, 17, {20}, true, false, true, false});
  }
}

// Blocks with several tiles of rows: with so many prefixes few blocks share one.
TEST(prefixAttentionWalksOverManyTiles) {
  std::vector<int64_t> lengths(520);
  lengths[7] = 70;
  lengths[9] = 1;
  lengths[519] = 100;
  check<__nv_bfloat16>({24, 2, 1, 3, lengths, false, true, true, false});
  check<__nv_bfloat16>({8, 2, 1, 65, lengths, false, false, true, false});
  check<float>({8, 2, 1, 3, lengths, false, true, true, false});
}

TEST(prefixAttentionTakesAnyNumberOfRowsAndKeys) {
  for (size_t i = 0; i < kSizes.size(); ++i) {
    const int64_t rows = kSizes[i], prefix = std::max<int64_t>(1, kSizes[kSizes.size() - 1 - i]);
    check<__half>({16, 1, 1, prefix, {rows}, true, i % 2 == 0, true, false});
  }
}

TEST(prefixAttentionRepeatsItsBits) {
  const Case c{72, 2, 1, 70, {50, 3, 40}, true, true, false, false};
  const Inputs in = inputs_of<__nv_bfloat16>(c);
  const Results one = kernel<__nv_bfloat16>(c, in), two = kernel<__nv_bfloat16>(c, in);
  for (size_t i = 0; i < one.all().size(); ++i) {
    REQUIRE(*one.all()[i].second == *two.all()[i].second);
  }
}

// Keys that fill up a chunk have score 0: next to scores like these they would be infinitely probable.
TEST(prefixAttentionOfScoresFarBelowZero) {
  const Case c{16, 1, 1, 3, {5}, true, false, false, false};
  Inputs in = inputs_of<__nv_bfloat16>(c);
  std::fill(in.q.begin(), in.q.end(), 8.0);
  std::fill(in.k.begin(), in.k.end(), -8.0);
  std::fill(in.lse1.begin(), in.lse1.end(), -INFINITY);
  const Results found = kernel<__nv_bfloat16>(c, in);
  for (const Numbers* numbers : {&found.o, &found.dq, &found.dk, &found.dv}) {
    REQUIRE(std::all_of(numbers->begin(), numbers->end(), [](double x) { return std::isfinite(x); }));
  }
}

// As NaN of one row, and of no other; and so do scores that are infinite.
TEST(prefixAttentionShowsNotANumber) {
  const Case c{16, 1, 1, 4, {9}, true, false, false, false};
  for (const double spoilt : std::vector<double>{NAN, 1e38}) {
    Inputs in = inputs_of<float>(c);
    std::fill_n(in.q.begin() + 4 * c.head_size, c.head_size, spoilt);
    std::fill(in.k.begin(), in.k.end(), 1e3);
    const Results found = kernel<float>(c, in);
    for (int64_t i = 0; i < 9 * c.head_size; ++i) {
      REQUIRE(std::isnan(found.o[i]) == (i / c.head_size == 4));
    }
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
