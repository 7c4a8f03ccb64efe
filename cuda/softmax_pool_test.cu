#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/numbers.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  std::vector<int64_t> lengths;
  int64_t tokens, width;
  int shift = 0;  // of z and dz in memory, in elements

  int64_t rows() const { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }
  int64_t sequences() const { return static_cast<int64_t>(lengths.size()); }
  int64_t longest() const { return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()); }
  std::string what() const {
    std::string all = text("tokens ", tokens, ", width ", width, ", shift ", shift, ", lengths");
    for (const int64_t length : lengths) {
      all += text(" ", length);
    }
    return all;
  }
};

struct Inputs {
  std::vector<double> z, w, dc;
};

struct Results {
  std::vector<double> weights, c, dz, dw;
};

// The formulas as they are written, in double, or in float for the error that float makes.
template <class R>
Results formulas(const Case& c, const Inputs& in) {
  const int64_t m = c.width, tokens = c.tokens;
  const auto z = [&](int64_t row, int64_t i) { return static_cast<R>(in.z[row * m + i]); };
  const auto w = [&](int64_t p, int64_t i) { return static_cast<R>(in.w[p * m + i]); };
  std::vector<R> weights(c.rows() * tokens), pooled(c.sequences() * tokens * m), dz(c.rows() * m), dw(tokens * m);
  int64_t begin = 0;
  for (int64_t s = 0; s < c.sequences(); ++s) {
    const int64_t end = begin + c.lengths[s];
    for (int64_t p = 0; p < tokens; ++p) {
      const auto dc = [&](int64_t i) { return static_cast<R>(in.dc[(s * tokens + p) * m + i]); };
      R most = -INFINITY, sum = 0;
      for (int64_t row = begin; row < end; ++row) {
        R& score = weights[row * tokens + p];
        for (int64_t i = 0; i < m; ++i) {
          score += z(row, i) * w(p, i);
        }
        most = std::max(most, score);
      }
      for (int64_t row = begin; row < end; ++row) {
        sum += weights[row * tokens + p] = std::exp(weights[row * tokens + p] - most);
      }
      R delta = 0;
      std::vector<R> da(end - begin);
      for (int64_t row = begin; row < end; ++row) {
        R& a = weights[row * tokens + p];
        a /= sum;
        for (int64_t i = 0; i < m; ++i) {
          pooled[(s * tokens + p) * m + i] += a * z(row, i);
          da[row - begin] += dc(i) * z(row, i);
        }
        delta += a * da[row - begin];
      }
      for (int64_t row = begin; row < end; ++row) {
        const R a = weights[row * tokens + p], ds = a * (da[row - begin] - delta);
        for (int64_t i = 0; i < m; ++i) {
          dz[row * m + i] += a * dc(i) + ds * w(p, i);
          dw[p * m + i] += ds * z(row, i);
        }
      }
    }
    begin = end;
  }
  return {
      {weights.begin(), weights.end()}, {pooled.begin(), pooled.end()}, {dz.begin(), dz.end()}, {dw.begin(), dw.end()}};
}

template <class T>
Inputs inputs_of(const Case& c) {
  return {wide(convert<T>(random(c.rows() * c.width, 1))), wide(convert<float>(random(c.tokens * c.width, 2, 0.3))),
          wide(convert<float>(random(c.sequences() * c.tokens * c.width, 3)))};
}

template <class T>
Results run(const Case& c, const Inputs& in, bool wants_dw = true) {
  std::vector<int32_t> starts{0};
  for (const int64_t length : c.lengths) {
    starts.push_back(starts.back() + static_cast<int32_t>(length));
  }
  const int64_t splits = peft4j_cuda_softmax_pool_splits(c.longest());
  const DeviceBuffer<T> z(shifted<T>(in.z, c.shift), "z"), dz(z.size(), "dz");
  const DeviceBuffer<int32_t> begin(starts, "begin");
  const DeviceBuffer<float> w(convert<float>(in.w), "w"), dc(convert<float>(in.dc), "dc"),
      weights(c.rows() * c.tokens, "weights"), scores(c.rows() * c.tokens, "scores"), pooled(in.dc.size(), "c"),
      dscores(c.rows() * c.tokens, "dscores"), partials(c.sequences() * splits * c.tokens * c.width, "partials"),
      dw(in.w.size(), "dw");
  peft4j_cuda_softmax_pool_params p{};
  p.dtype = kDtype<T>;
  p.rows = c.rows();
  p.sequences = c.sequences();
  p.longest = c.longest();
  p.tokens = c.tokens;
  p.width = c.width;
  p.z = z.data() + c.shift;
  p.begin = begin.data();
  p.w = w.data();
  p.weights = weights.data();
  p.scores = scores.data();
  p.c = pooled.data();
  expect_success(c.what(), peft4j_cuda_softmax_pool_forward(&p, nullptr));
  p.scores = dscores.data();
  p.dc = dc.data();
  p.dz = dz.data() + c.shift;
  p.dw_partials = wants_dw ? partials.data() : nullptr;
  expect_success(c.what(), peft4j_cuda_softmax_pool_backward(&p, nullptr));
  if (wants_dw) {
    expect_success(c.what(), peft4j_cuda_fixed_order_sum(dw.data(), partials.data(), c.tokens * c.width,
                                                         c.sequences() * splits, 0, nullptr));
  }
  const auto all = wide(dz.download());
  return {wide(weights.download()), wide(pooled.download()), std::vector<double>(all.begin() + c.shift, all.end()),
          wants_dw ? wide(dw.download()) : std::vector<double>()};
}

template <class T>
void expect_formulas(const Case& c) {
  const Inputs in = inputs_of<T>(c);
  const Results found = run<T>(c, in), exact = formulas<double>(c, in), plain = formulas<float>(c, in);
  const auto expect = [&](const char* name, std::vector<double> Results::* of, double more) {
    expect_close(c.what() + name, found.*of, exact.*of, distance(plain.*of, exact.*of), 1e-5 + more);
  };
  double most = 0;
  for (const double v : exact.dz) {
    most = std::max(most, std::abs(v));
  }
  const double digits = std::is_same_v<T, float> ? 23 : std::is_same_v<T, __nv_bfloat16> ? 7 : 10;
  expect(" weights", &Results::weights, 0);
  expect(" c", &Results::c, 0);
  expect(" dz", &Results::dz, most * std::exp2(-digits));
  expect(" dw", &Results::dw, 0);
}

const std::vector<std::vector<int64_t>> kLengths = {{1}, {0}, {3, 0, 1, 40}, {33, 64}, {31, 32, 0}, {}};

TEST(softmaxPoolFollowsItsFormulas) {
  const std::vector<int64_t> tokens = {1, 3, 4, 5, 9}, widths = {1, 7, 8, 33, 34, 64, 72, 130};
  for (const std::vector<int>& i : pairwise({static_cast<int>(kLengths.size()), 5, 8, 3, 2})) {
    const Case c{kLengths[i[0]], tokens[i[1]], widths[i[2]], i[4]};
    i[3] == 0 ? expect_formulas<float>(c) : i[3] == 1 ? expect_formulas<__nv_bfloat16>(c) : expect_formulas<__half>(c);
  }
}

// More rows than one pass of any loop has, and several splits.
TEST(softmaxPoolOfLongSequences) {
  REQUIRE(peft4j_cuda_softmax_pool_splits(0) == 1 && peft4j_cuda_softmax_pool_splits(129) == 2 &&
          peft4j_cuda_softmax_pool_splits(100000) == 8);
  expect_formulas<float>({{700, 3}, 4, 24});
  expect_formulas<__nv_bfloat16>({{300}, 5, 40});
}

TEST(softmaxPoolWeightsAddUpToOne) {
  const Case c{{1, 40, 3}, 4, 32};
  const Results found = run<float>(c, inputs_of<float>(c));
  int64_t row = 0;
  for (const int64_t length : c.lengths) {
    for (int64_t p = 0; p < c.tokens; ++p) {
      double sum = 0;
      for (int64_t i = 0; i < length; ++i) {
        sum += found.weights[(row + i) * c.tokens + p];
      }
      REQUIRE(length == 1 ? sum == 1 : std::abs(sum - 1) < 1e-6);
    }
    row += length;
  }
}

TEST(softmaxPoolOfOneRowIsThatRow) {
  const Case c{{1}, 5, 34};
  const Inputs in = inputs_of<__nv_bfloat16>(c);
  const Results found = run<__nv_bfloat16>(c, in);
  for (int64_t i = 0; i < c.tokens * c.width; ++i) {
    REQUIRE(found.c[i] == in.z[i % c.width]);
    REQUIRE(found.dw[i] == 0);
  }
}

TEST(softmaxPoolOfLargeScoresIsFinite) {
  const Case c{{20, 1}, 4, 32};
  Inputs in = inputs_of<float>(c);
  for (double& w : in.w) {
    w *= 1000;
  }
  in.w = wide(convert<float>(in.w));
  const Results found = run<float>(c, in), exact = formulas<double>(c, in);
  expect_close("weights", found.weights, exact.weights, 1e-3);  // scores of 3000 have an ulp of 2e-4
  expect_close("c", found.c, exact.c, 1e-2);
}

TEST(softmaxPoolRepeatsItsBits) {
  const Case c{{140, 1, 0, 37}, 5, 40};
  const Inputs in = inputs_of<__nv_bfloat16>(c);
  const Results one = run<__nv_bfloat16>(c, in), two = run<__nv_bfloat16>(c, in);
  REQUIRE(one.weights == two.weights && one.c == two.c && one.dz == two.dz && one.dw == two.dw);
  REQUIRE(run<__nv_bfloat16>(c, in, false).dz == one.dz);
}

}  // namespace
}  // namespace peft4j::cuda::test
