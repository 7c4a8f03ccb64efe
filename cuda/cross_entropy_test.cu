#include <algorithm>
#include <cmath>

#include "device/numbers.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  int64_t rows, columns, offset,
      gap;  // the first row begins `offset` numbers behind an aligned address, `gap` are between rows
  double softcap, smoothing, deviation;
};

std::string describe(const Case& c) {
  return text("[", c.rows, ", ", c.columns, "] offset ", c.offset, " gap ", c.gap, " softcap ", c.softcap,
              " smoothing ", c.smoothing, " deviation ", c.deviation);
}

// The formula in A, one row after the other: losses and gradients.
template <class A>
void formula(const Case& c, const std::vector<double>& logits, const std::vector<int64_t>& labels,
             std::vector<double>& loss, std::vector<double>& gradient) {
  const A cap = c.softcap, smoothing = c.smoothing;
  loss.clear();
  gradient.clear();
  for (int64_t row = 0; row < c.rows; ++row) {
    std::vector<A> z;
    for (int64_t v = 0; v < c.columns; ++v) {
      const A x = logits[row * c.columns + v];
      z.push_back(cap > 0 ? cap * std::tanh(x / cap) : x);
    }
    const A largest = *std::max_element(z.begin(), z.end());
    A sum = 0, total = 0;
    for (const A x : z) {
      sum += std::exp(x - largest);
      total += x;
    }
    const A log_sum = largest + std::log(sum);
    loss.push_back(log_sum - (1 - smoothing) * z[labels[row]] - smoothing * total / c.columns);
    for (int64_t v = 0; v < c.columns; ++v) {
      const A wanted = (v == labels[row] ? 1 - smoothing : 0) + smoothing / c.columns;
      gradient.push_back((std::exp(z[v] - log_sum) - wanted) * (cap > 0 ? 1 - z[v] / cap * (z[v] / cap) : 1));
    }
  }
}

template <class T>
struct Found {
  std::vector<T> all;  // with what lies between rows
  std::vector<float> loss;
};

template <class T>
Found<T> run(const Case& c, const std::vector<T>& all, const std::vector<int64_t>& labels, bool gradient) {
  const DeviceBuffer<T> logits(all, "logits");
  const DeviceBuffer<int64_t> device_labels(labels, "labels");
  const DeviceBuffer<float> loss(c.rows, "loss");
  peft4j_cuda_cross_entropy_params p = {};
  p.logits = logits.data() + c.offset;
  p.labels = device_labels.data();
  p.loss = loss.data();
  p.rows = c.rows;
  p.columns = c.columns;
  p.row_stride = c.columns + c.gap;
  p.dtype = kDtype<T>;
  p.gradient = gradient;
  p.softcap = static_cast<float>(c.softcap);
  p.smoothing = static_cast<float>(c.smoothing);
  expect_success(describe(c), peft4j_cuda_cross_entropy(&p, nullptr));
  return {logits.download(), loss.download()};
}

template <class T>
std::vector<double> rows_of(const Case& c, const std::vector<T>& all) {
  std::vector<double> rows;
  for (int64_t row = 0; row < c.rows; ++row) {
    for (int64_t v = 0; v < c.columns; ++v) {
      rows.push_back(static_cast<float>(all[c.offset + row * (c.columns + c.gap) + v]));
    }
  }
  return rows;
}

template <class T>
void check(const Case& c) {
  const std::string what = text(describe(c), ", ", sizeof(T), " bytes");
  const std::vector<T> all =
      convert<T>(random(c.offset + c.rows * (c.columns + c.gap), c.columns + 10 * c.rows, c.deviation));
  std::vector<int64_t> labels;
  for (int64_t row = 0; row < c.rows; ++row) {
    labels.push_back(row == 0 ? c.columns - 1 : (row - 1) * 31 % c.columns);
  }
  std::vector<double> loss, gradient, plain_loss, plain_gradient;
  formula<double>(c, rows_of(c, all), labels, loss, gradient);
  formula<float>(c, rows_of(c, all), labels, plain_loss, plain_gradient);

  const Found<T> with = run(c, all, labels, true), again = run(c, all, labels, true),
                 without = run(c, all, labels, false);
  const double allowed = distance(plain_loss, loss);
  expect_close(what + ", loss", wide(with.loss), loss, allowed);
  expect_close(what + ", gradient", rows_of(c, with.all), gradient,
               distance(wide(convert<T>(plain_gradient)), gradient));
  REQUIRE(without.loss == with.loss && again.loss == with.loss);
  REQUIRE(wide(again.all) == wide(with.all));
  REQUIRE(wide(without.all) == wide(all));
  std::vector<T> rest = with.all, before = all;  // what is not of a row
  for (int64_t row = 0; row < c.rows; ++row) {
    const int64_t first = c.offset + row * (c.columns + c.gap);
    std::copy_n(before.begin() + first, c.columns, rest.begin() + first);
  }
  REQUIRE(wide(rest) == wide(before));
}

void check_all(const Case& c) {
  check<float>(c);
  check<__nv_bfloat16>(c);
  check<__half>(c);
}

TEST(crossEntropyFollowsItsFormula) {
  const std::vector<int64_t> rows = {1, 3}, offsets = {0, 1, 3}, gaps = {0, 1, 8};
  const std::vector<double> caps = {0, 3}, smoothing = {0, 0.1};
  for (const std::vector<int>& i : pairwise({static_cast<int>(kSizes.size()) - 1, 2, 3, 3, 2, 2})) {
    check_all({rows[i[1]], kSizes[i[0]], offsets[i[2]], gaps[i[3]], caps[i[4]], smoothing[i[5]], 2});
  }
  check_all({0, 33, 0, 0, 0, 0, 2});
}

// More packs than the block has threads: each takes several, and the last round is not full.
TEST(crossEntropyWalksLongRows) {
  for (const int64_t columns : {4096, 8191, 8200, 20011}) {
    check_all({1, columns, 0, 0, 0, 0.1, 2});
    check_all({2, columns, 5, 3, 2, 0, 2});
  }
}

// exp of no logit may overflow, nor the sum vanish; logits of -∞ have no probability, and only they none.
TEST(crossEntropyStandsLargeLogits) {
  check<float>({2, 1000, 0, 0, 0, 0, 3e4});
  check<__nv_bfloat16>({2, 1000, 0, 0, 0, 0, 3e4});
  check<__half>({2, 1000, 0, 0, 0, 0, 1e4});
  const Case c = {1, 100, 0, 0, 0, 0, 1};
  std::vector<float> logits(100, -INFINITY);
  logits[7] = 2;
  logits[99] = 2;
  const Found<float> found = run(c, logits, {99}, true);
  REQUIRE(std::abs(found.loss[0] - std::log(2.0)) < 1e-6);
  for (int64_t v = 0; v < 100; ++v) {
    REQUIRE(found.all[v] == (v == 7 ? 0.5f : v == 99 ? -0.5f : 0.0f));
  }
  logits[3] = NAN;
  REQUIRE(std::isnan(run(c, logits, {99}, true).loss[0]));
}

}  // namespace
}  // namespace peft4j::cuda::test
