/*
attention against the formula in double, one pair of query and key after the other. The same formula with every intermediate rounded to
the kernel's type gives the tolerance.
*/
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "device/attention.h"
#include "device/cuda.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"
#include "test/needs.h"

namespace peft4j::cuda::test {
namespace {

enum class Prefix { kNone, kShared, kEach };

struct Case {
  int64_t query_heads, key_heads, head_size;
  std::vector<int64_t> queries, keys;  // of each sequence
  bool causal = false;
  int64_t window = 0;
  float softcap = 0;
  int64_t buckets = 0, max_distance = 0;  // of the bias, 0: none
  Prefix prefix = Prefix::kNone;
  int64_t prefix_size = 0;
  uint32_t threshold = 0;
  int64_t shift = 0;  // elements by which data begin behind an aligned address; rows are as much longer
  float scale = 0.3f;
  bool sm90a = false;  // by wgmma

  int64_t sequences() const { return queries.size(); }
  int64_t query_rows() const { return std::accumulate(queries.begin(), queries.end(), int64_t{0}); }
  int64_t key_rows() const { return std::accumulate(keys.begin(), keys.end(), int64_t{0}); }
  int64_t prefixes() const { return prefix == Prefix::kNone ? 0 : prefix == Prefix::kShared ? 1 : sequences(); }
  int64_t own_prefix() const { return prefix == Prefix::kNone ? 0 : prefix_size; }
};

std::string list(const std::vector<int64_t>& values) {
  std::string all;
  for (const int64_t v : values) {
    all += (all.empty() ? "" : ",") + std::to_string(v);
  }
  return "{" + all + "}";
}

std::string name_of(const Case& c, const char* type) {
  return text(type, ", heads ", c.query_heads, "/", c.key_heads, "x", c.head_size, ", queries ", list(c.queries),
              ", keys ", list(c.keys), ", causal ", c.causal, ", window ", c.window, ", softcap ", c.softcap,
              ", buckets ", c.buckets, "/", c.max_distance, ", prefix ", c.prefixes(), "x", c.prefix_size,
              ", threshold ", c.threshold, ", shift ", c.shift, ", sm90a ", c.sm90a);
}

constexpr uint64_t kSeed = 0x0123456789abcdef;

// Any map from distances to buckets will do: the kernel reads it from a table.
std::vector<int32_t> buckets_of(const Case& c) {
  std::vector<int32_t> buckets;
  for (int64_t d = -c.max_distance; c.buckets > 0 && d <= c.max_distance; ++d) {
    buckets.push_back(static_cast<int32_t>((std::abs(d) + (d > 0 ? c.buckets / 2 : 0)) % c.buckets));
  }
  return buckets;
}

struct Tensors {
  std::vector<double> q, k, v, prefix_k, prefix_v, bias, dout;
};

struct Results {
  std::vector<double> out, lse, dq, dk, dv, prefix_dk, prefix_dv, dbias;
};
constexpr std::array kMembers{&Results::out, &Results::lse,       &Results::dq,        &Results::dk,
                              &Results::dv,  &Results::prefix_dk, &Results::prefix_dv, &Results::dbias};
constexpr const char* kNames[] = {"out", "log-sum-exp", "dq", "dk", "dv", "prefix_dk", "prefix_dv", "dbias"};
constexpr bool kOfType[] = {true, false, true, true, true, false, false, false};  // else float32

template <class T>
std::vector<double> rounded(const std::vector<double>& values) {
  return wide(convert<T>(values));
}

template <class T>
Tensors tensors_of(const Case& c) {
  const int64_t q = c.query_rows() * c.query_heads * c.head_size, k = c.key_rows() * c.key_heads * c.head_size,
                prefix = c.prefixes() * c.prefix_size * c.key_heads * c.head_size;
  return {rounded<T>(random(q, 1)),      rounded<T>(random(k, 2)),
          rounded<T>(random(k, 3)),      rounded<T>(random(prefix, 4)),
          rounded<T>(random(prefix, 5)), rounded<float>(random(c.buckets * c.query_heads, 6)),
          rounded<T>(random(q, 7))};
}

// The formula; round is applied to what the kernel keeps in its type.
template <class Round>
Results formula(const Case& c, const Tensors& t, const Round& round) {
  const int64_t H = c.query_heads, D = c.head_size, P = c.own_prefix(), group = H / c.key_heads;
  Results r;
  r.out.resize(t.q.size());
  r.lse.resize(c.query_rows() * H);
  r.dq.resize(t.q.size());
  r.dk.resize(t.k.size());
  r.dv.resize(t.v.size());
  r.prefix_dk.resize(t.prefix_k.size());
  r.prefix_dv.resize(t.prefix_v.size());
  r.dbias.resize(t.bias.size());
  const auto buckets = buckets_of(c);
  int64_t first_q = 0, first_k = 0;
  for (int64_t s = 0; s < c.sequences(); first_q += c.queries[s], first_k += c.keys[s], ++s) {
    const int64_t columns = P + c.keys[s];
    for (int64_t i = 0; i < c.queries[s]; ++i) {
      for (int64_t h = 0; h < H; ++h) {
        const int64_t row = first_q + i, at_q = (row * H + h) * D, position = i + c.keys[s] - c.queries[s];
        const auto place = [&](int64_t column) {  // of a key in its tensor
          const int64_t before = column < P ? (c.prefix == Prefix::kEach ? s * P : 0) + column : first_k + column - P;
          return (before * c.key_heads + h / group) * D;
        };
        const auto dot = [&](const std::vector<double>& a, int64_t at_a, const std::vector<double>& b, int64_t at_b) {
          return std::inner_product(a.begin() + at_a, a.begin() + at_a + D, b.begin() + at_b, 0.0);
        };
        const auto factors = mask(1, columns, c.threshold, kSeed, row * H + h);
        std::vector<double> p(columns), slope(columns, 1.0), dlogit(columns);
        std::vector<int64_t> bucket(columns, -1);
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < columns; ++j) {
          double x = round(round(dot(t.q, at_q, j < P ? t.prefix_k : t.k, place(j))) * c.scale);
          const int64_t distance = j - P - position;
          if (c.softcap > 0) {
            const double tanh = std::tanh(x / c.softcap);
            x = c.softcap * tanh;
            slope[j] = 1 - tanh * tanh;
          }
          if (c.buckets > 0 && j >= P) {
            bucket[j] = buckets[std::clamp(distance, -c.max_distance, c.max_distance) + c.max_distance];
            x += t.bias[bucket[j] * H + h];
          }
          const bool hidden =
              j >= P && ((c.causal && distance > 0) || (c.window > 0 && std::abs(distance) >= c.window));
          p[j] = hidden ? -INFINITY : x;
          most = std::max(most, p[j]);
        }
        for (double& x : p) {
          x = most == -INFINITY ? 0 : std::exp(x - most);
          sum += x;
        }
        r.lse[row * H + h] = most + std::log(sum);
        double delta = 0;
        for (int64_t j = 0; j < columns; ++j) {
          p[j] = sum == 0 ? 0 : round(p[j] / sum);
          for (int64_t d = 0; d < D; ++d) {
            r.out[at_q + d] += p[j] * factors[j] * (j < P ? t.prefix_v : t.v)[place(j) + d];
          }
        }
        for (int64_t d = 0; d < D; ++d) {
          r.out[at_q + d] = round(r.out[at_q + d]);
          delta += r.out[at_q + d] * t.dout[at_q + d];
        }
        for (int64_t j = 0; j < columns; ++j) {
          const double dp = round(dot(t.dout, at_q, j < P ? t.prefix_v : t.v, place(j))) * factors[j];
          dlogit[j] = round(p[j] * (dp - delta));
          const double ds = round(dlogit[j] * slope[j]) * c.scale;
          for (int64_t d = 0; d < D; ++d) {
            r.dq[at_q + d] += ds * (j < P ? t.prefix_k : t.k)[place(j) + d];
            (j < P ? r.prefix_dk : r.dk)[place(j) + d] += ds * t.q[at_q + d];
            (j < P ? r.prefix_dv : r.dv)[place(j) + d] += p[j] * factors[j] * t.dout[at_q + d];
          }
          if (bucket[j] >= 0) {
            r.dbias[bucket[j] * H + h] += dlogit[j];
          }
        }
      }
    }
  }
  for (auto* all : {&r.dq, &r.dk, &r.dv}) {
    for (double& x : *all) {
      x = round(x);
    }
  }
  return r;
}

// [rows, width] with `shift` elements before the first row and behind each.
template <class T>
class Matrix {
 public:
  Matrix(const char* name, int64_t rows, int64_t width, int64_t shift, const std::vector<double>* values = nullptr)
      : rows_(rows), width_(width), shift_(shift), buffer_(contents(values), name) {}
  T* data() const { return buffer_.data() + shift_; }
  int64_t stride() const { return width_ + shift_; }
  std::vector<double> values() const {
    const auto all = wide(buffer_.download());
    std::vector<double> inside;
    for (int64_t i = 0; i < rows_; ++i) {
      const auto from = all.begin() + shift_ + i * stride();
      inside.insert(inside.end(), from, from + width_);
    }
    return inside;
  }

 private:
  std::vector<T> contents(const std::vector<double>* values) const {
    std::vector<T> all(shift_ + rows_ * (width_ + shift_), static_cast<T>(NAN));
    for (int64_t i = 0; values != nullptr && i < rows_ * width_; ++i) {
      all[shift_ + i / width_ * (width_ + shift_) + i % width_] = static_cast<T>(static_cast<float>((*values)[i]));
    }
    return all;
  }
  int64_t rows_, width_, shift_;
  DeviceBuffer<T> buffer_;
};

std::vector<int32_t> cumulative(const std::vector<int64_t>& lengths) {
  std::vector<int32_t> sums(1, 0);
  for (const int64_t n : lengths) {
    sums.push_back(sums.back() + static_cast<int32_t>(n));
  }
  return sums;
}

template <class T>
Results kernels(const Case& c, const Tensors& t, const std::string& what) {
  const int64_t wide_q = c.query_heads * c.head_size, wide_k = c.key_heads * c.head_size, s = c.shift;
  const Matrix<T> q("q", c.query_rows(), wide_q, s, &t.q), k("k", c.key_rows(), wide_k, s, &t.k),
      v("v", c.key_rows(), wide_k, 2 * s, &t.v);
  const Matrix<T> dq("dq", c.query_rows(), wide_q, s), dk("dk", c.key_rows(), wide_k, s),
      dv("dv", c.key_rows(), wide_k, s);
  const DeviceBuffer<T> prefix_k(convert<T>(t.prefix_k), "prefix_k"), prefix_v(convert<T>(t.prefix_v), "prefix_v"),
      dout(convert<T>(t.dout), "dout"), out(t.q.size(), "out");
  const DeviceBuffer<float> lse(c.query_rows() * c.query_heads, "lse"), bias(convert<float>(t.bias), "bias"),
      prefix_dk(t.prefix_k.size(), "prefix_dk"), prefix_dv(t.prefix_v.size(), "prefix_dv"),
      dbias(t.bias.size(), "dbias");
  const DeviceBuffer<int32_t> cu_q(cumulative(c.queries), "cu_q"), cu_k(cumulative(c.keys), "cu_k"),
      bucket_of(buckets_of(c), "bucket_of");
  peft4j_cuda_attention a = {};
  a.dtype = kDtype<T>;
  a.causal = c.causal;
  a.sequences = c.sequences();
  a.query_rows = c.query_rows();
  a.key_rows = c.key_rows();
  a.query_heads = c.query_heads;
  a.key_heads = c.key_heads;
  a.head_size = c.head_size;
  a.prefix = c.own_prefix();
  a.q = q.data();
  a.k = k.data();
  a.v = v.data();
  a.q_stride = q.stride();
  a.k_stride = k.stride();
  a.v_stride = v.stride();
  if (c.prefix != Prefix::kNone) {
    a.prefix_k = prefix_k.data();
    a.prefix_v = prefix_v.data();
    a.prefix_stride = c.prefix == Prefix::kEach ? c.prefix_size * wide_k : 0;
    a.prefix_dk = prefix_dk.data();
    a.prefix_dv = prefix_dv.data();
  }
  a.cu_q = cu_q.data();
  a.cu_k = cu_k.data();
  a.window = c.window;
  a.scale = c.scale;
  a.softcap = c.softcap;
  if (c.buckets > 0) {
    a.bias = bias.data();
    a.bucket_of = bucket_of.data();
    a.buckets = c.buckets;
    a.max_distance = c.max_distance;
    a.dbias = dbias.data();
  }
  a.seed = kSeed;
  a.threshold = c.threshold;
  a.out = out.data();
  a.lse = lse.data();
  a.sm90a = c.sm90a;
  REQUIRE(!c.sm90a || c.query_rows() == 0 || c.key_rows() == 0 || attention::sm90a_takes(attention::Call(a)));
  expect_success(what + ", forward", peft4j_cuda_attention_forward(&a, nullptr));
  a.dout = dout.data();
  a.dq = dq.data();
  a.dk = dk.data();
  a.dv = dv.data();
  a.dq_stride = dq.stride();
  a.dk_stride = dk.stride();
  a.dv_stride = dv.stride();
  const DeviceBuffer<float> scratch(peft4j_cuda_attention_scratch(&a), "scratch");
  a.scratch = scratch.size() == 0 ? nullptr : scratch.data();  // as a caller's empty tensor has none
  expect_success(what + ", backward", peft4j_cuda_attention_backward(&a, nullptr));
  return {wide(out.download()),       wide(lse.download()),       dq.values(),           dk.values(), dv.values(),
          wide(prefix_dk.download()), wide(prefix_dv.download()), wide(dbias.download())};
}

template <class T>
const char* type_name() {
  return sizeof(T) == 4 ? "float32" : std::is_same_v<T, __nv_bfloat16> ? "bfloat16" : "float16";
}

template <class T>
void check(const Case& c) {
  const std::string what = name_of(c, type_name<T>());
  const Tensors t = tensors_of<T>(c);
  const Results reference = formula(c, t, [](double x) { return x; });
  const Results plain =
      formula(c, t, [](double x) { return double{static_cast<float>(static_cast<T>(static_cast<float>(x)))}; });
  const Results found = kernels<T>(c, t, what);
  // ∞ - ∞ is no difference: rows without keys are compared, then left out.
  Results all[] = {found, reference, plain};
  for (size_t i = 0; i < found.lse.size(); ++i) {
    if (reference.lse[i] == -INFINITY) {
      REQUIRE(found.lse[i] == -INFINITY);
      all[0].lse[i] = all[1].lse[i] = all[2].lse[i] = 0;
    }
  }
  // Few numbers may be right in the plain formula by luck: they are allowed the largest relative error of all.
  const auto largest = [](const std::vector<double>& values) {
    return distance(values, std::vector<double>(values.size()));
  };
  double relative = 0;
  for (const auto member : kMembers) {
    relative = std::max(relative, distance(all[2].*member, all[1].*member) / std::max(largest(all[1].*member), 1e-30));
  }
  for (size_t i = 0; i < std::size(kMembers); ++i) {
    const auto &own = all[0].*kMembers[i], &exact = all[1].*kMembers[i];
    const double most = largest(exact), error = distance(all[2].*kMembers[i], exact);
    expect_close(what + ", " + kNames[i], own, exact, own.size() < 100 ? std::max(error, relative * most) : error,
                 1e-5 + (kOfType[i] ? ulp<T>(exact) : ulp<float>(exact)));
  }
}

// Instances of the kernels, and sizes between them; columns cross the tiles of all.
TEST(attentionHasEveryHeadSize) {
  for (const int64_t size : {32, 64, 80, 96, 128, 256, 8, 20, 100, 200}) {
    Case c{1, 1, size, {40, 1}, {70, 1}, true};
    c.scale = 1 / std::sqrt(static_cast<float>(size));
    check<__nv_bfloat16>(c);
    check<__half>(c);
    check<float>(c);
  }
}

// With one key more than queries, the last row of a warp sees just one column of a tile.
TEST(attentionSeesTheFirstKeyOfATile) {
  for (const int64_t size : {64, 128, 256}) {
    Case c{1, 1, size, {130}, {131}, true};
    c.scale = 1 / std::sqrt(static_cast<float>(size));
    check<__nv_bfloat16>(c);
  }
}

// From a row of pairwise: causal, (window,) soft-cap, bias, prefix, (its size,) dropout at 3 to 9.
void vary(Case& c, const std::vector<int>& r) {
  c.causal = r[3] == 1;
  c.softcap = r[5] == 1 ? 2.0f : 0.0f;
  c.buckets = std::vector<int64_t>{0, 8, 6}[r[6]];
  c.max_distance = std::vector<int64_t>{0, 4, 70}[r[6]];
  c.prefix = static_cast<Prefix>(r[7]);
  c.threshold = std::vector<uint32_t>{0, 26, 128}[r[9]];
}

TEST(attentionFollowsItsFormula) {
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {2, 1}, {3, 3}};
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> lengths = {
      {{1, 2, 0, 33}, {1, 2, 0, 33}},
      {{65}, {65}},
      {{130}, {97}},           // more queries than keys: the first see none under a causal mask
      {{1, 1, 5}, {140, 0, 1}},  // one row, no keys, one key
      {{0, 0}, {0, 3}},
      {{}, {}},
  };
  const std::vector<int64_t> windows = {0, 1, 20}, prefixes = {1, 4, 50};
  // type, heads, lengths, causal, window, softcap, bias, prefix, its size, dropout, shift, head size
  for (const std::vector<int>& r : pairwise({3, 3, 6, 2, 3, 2, 3, 3, 3, 3, 3, 2})) {
    Case c{heads[r[1]].first, heads[r[1]].second, r[11] == 0 ? 32 : 24, lengths[r[2]].first, lengths[r[2]].second};
    vary(c, r);
    c.window = windows[r[4]];
    c.prefix_size = prefixes[r[8]];
    c.shift = std::vector<int64_t>{0, 8, 3}[r[10]];
    if (r[0] == 0) {
      check<__nv_bfloat16>(c);
    } else if (r[0] == 1) {
      check<__half>(c);
    } else {
      check<float>(c);
    }
  }
}

TEST(attentionOnHopperHasItsHeadSizes) {
  if (!has_sm90a(__func__)) {
    return;
  }
  for (const int64_t size : {64, 96, 128, 256}) {
    Case c{2, 2, size, {10, 1}, {135, 1}, true};  // whole tiles and their rest
    c.scale = 1 / std::sqrt(static_cast<float>(size));
    c.threshold = 26;
    c.sm90a = true;
    check<__nv_bfloat16>(c);
    REQUIRE(std::string(peft4j_cuda_last_kernel()).find("attention_backward_queries_sm90a") != std::string::npos);
    c.prefix = Prefix::kEach;
    c.prefix_size = 3;
    c.buckets = 8;
    c.max_distance = 20;
    check<__half>(c);
  }
}

// The same by wgmma: tiles of 64 to 128 queries and columns, as many as fill each buffer three times.
TEST(attentionOnHopperFollowsItsFormula) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {2, 1}, {2, 2}};
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> lengths = {
      {{1, 2, 0, 33}, {1, 2, 0, 33}}, {{129}, {129}},
      {{200, 7}, {97, 128}},      // more queries than keys: the first see none under a causal mask
      {{1, 1, 65}, {520, 0, 1}},  // one row, no keys, one key
      {{0, 63, 1}, {3, 257, 1}},
  };
  const std::vector<int64_t> windows = {0, 1, 140}, prefixes = {1, 4, 150};
  // type, heads, lengths, causal, window, softcap, bias, prefix, its size, dropout, shift, head size
  for (const std::vector<int>& r : pairwise({2, 3, 5, 2, 3, 2, 3, 3, 3, 3, 2, 2})) {
    Case c{heads[r[1]].first, heads[r[1]].second, r[11] == 0 ? 64 : 128, lengths[r[2]].first, lengths[r[2]].second};
    vary(c, r);
    c.window = windows[r[4]];
    c.prefix_size = prefixes[r[8]];
    c.shift = std::vector<int64_t>{0, 8}[r[10]];
    c.scale = 0.15f;
    c.sm90a = true;
    if (r[0] == 0) {
      check<__nv_bfloat16>(c);
    } else {
      check<__half>(c);
    }
  }
}

// Rows and columns of which a tile sees one alone, the first or the last.
TEST(attentionOnHopperSeesTheEdgesOfItsTiles) {
  if (!has_sm90a(__func__)) {
    return;
  }
  for (const int64_t size : {64, 128, 256}) {
    Case c{1, 1, size, {130}, {131}, true};
    c.scale = 1 / std::sqrt(static_cast<float>(size));
    c.sm90a = true;
    check<__nv_bfloat16>(c);
    c.queries = c.keys = {195};
    c.causal = false;
    c.window = 2;
    check<__nv_bfloat16>(c);
  }
}

// What stands in other sequences must not matter, not even to the last bit.
TEST(attentionOnHopperKeepsSequencesApart) {
  if (!has_sm90a(__func__)) {
    return;
  }
  Case c{2, 1, 64, {95, 40, 129}, {383, 130, 70}};  // the first row of the next sequence would fill the last tiles
  c.sm90a = true;
  Tensors t = tensors_of<__half>(c);
  const Results before = kernels<__half>(c, t, "finite neighbours");
  const auto spoil = [](std::vector<double>& rows, int64_t width, int64_t from, int64_t to, double by) {
    std::fill(rows.begin() + from * width, rows.begin() + to * width, by);
  };
  spoil(t.q, 128, 95, 135, NAN);
  spoil(t.k, 64, 383, 513, NAN);
  spoil(t.v, 64, 383, 513, INFINITY);
  spoil(t.dout, 128, 95, 135, NAN);
  const Results after = kernels<__half>(c, t, "infinite neighbours");
  const auto same = [](const std::vector<double>& a, const std::vector<double>& b, int64_t width, int64_t from,
                       int64_t to) {
    return std::equal(a.begin() + from * width, a.begin() + to * width, b.begin() + from * width);
  };
  for (const auto& [from, to] : {std::pair{0, 95}, std::pair{135, 264}}) {
    REQUIRE(same(before.out, after.out, 128, from, to));
    REQUIRE(same(before.lse, after.lse, 2, from, to));
    REQUIRE(same(before.dq, after.dq, 128, from, to));
  }
  for (const auto& [from, to] : {std::pair{0, 383}, std::pair{513, 583}}) {
    REQUIRE(same(before.dk, after.dk, 64, from, to));
    REQUIRE(same(before.dv, after.dv, 64, from, to));
  }
}

TEST(attentionOnHopperTakesWhatItCan) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const DeviceBuffer<__half> numbers(64, "numbers");
  peft4j_cuda_attention a = {};
  a.dtype = 2;
  a.sequences = a.query_rows = a.key_rows = a.query_heads = a.key_heads = 1;
  a.head_size = a.q_stride = a.k_stride = a.v_stride = 64;
  a.q = a.k = a.v = a.out = numbers.data();
  const auto takes = [](const peft4j_cuda_attention& of) { return attention::sm90a_takes(attention::Call(of)); };
  REQUIRE(takes(a));
  const auto refused = [&](const auto& change) {
    peft4j_cuda_attention other = a;
    change(other);
    REQUIRE(!takes(other));
  };
  refused([](auto& of) { of.dtype = 0; });
  refused([](auto& of) { of.head_size = 32; });
  refused([](auto& of) { of.key_rows = 0; });
  refused([](auto& of) { of.query_rows = 0; });
  refused([](auto& of) { of.q_stride = 68; });
  refused([](auto& of) { of.k_stride = 0; });
  refused([](auto& of) { of.v = static_cast<const __half*>(of.v) + 4; });
}

template <class T>
void check_bits(bool sm90a = false) {
  Case c{2, 1, sm90a ? 64 : 32, {70, 3}, {70, 3}, true};
  c.sm90a = sm90a;
  c.prefix = Prefix::kShared;
  c.prefix_size = 5;
  c.buckets = 8;
  c.max_distance = 16;
  c.threshold = 26;
  const Tensors t = tensors_of<T>(c);
  const Results one = kernels<T>(c, t, "first"), two = kernels<T>(c, t, "second");
  for (const auto member : kMembers) {
    REQUIRE(one.*member == two.*member);
  }
}

TEST(attentionRepeatsItsBits) {
  check_bits<__nv_bfloat16>();
  check_bits<float>();
  if (has_sm90a(__func__)) {
    check_bits<__half>(true);
  }
}

// Logits of hundreds: their last bit is an error of 1e-4 in a probability, so only the size of the error is looked at.
template <class T>
void check_large(bool sm90a = false) {
  Case c{1, 1, sm90a ? 64 : 32, {20}, {60}};
  c.sm90a = sm90a;
  for (const auto& [keys, scale] :
       std::vector<std::pair<int64_t, float>>{{60, 25.0f}, {60, -25.0f}, {1, 100.0f}, {1, -100.0f}}) {
    c.keys = {keys};  // with one alone half the rows have a log-sum-exp far below 0
    c.scale = scale;
    const Tensors t = tensors_of<T>(c);
    const Results found = kernels<T>(c, t, "large scores"), reference = formula(c, t, [](double x) { return x; });
    expect_close("out of large scores", found.out, reference.out, 0, sizeof(T) == 4 ? 1e-3 : 3e-2);
    expect_close("log-sum-exp of large scores", found.lse, reference.lse, 0, 1e-3);
    for (const auto member : kMembers) {
      for (const double x : found.*member) {
        REQUIRE(std::isfinite(x));
      }
    }
  }
}

TEST(attentionOfLargeScoresStaysFinite) {
  check_large<float>();
  check_large<__nv_bfloat16>();
  if (has_sm90a(__func__)) {
    check_large<__nv_bfloat16>(true);
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
