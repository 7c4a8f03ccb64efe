#include <cmath>

#include "device/numbers.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;

enum class Copy { kNone = -1, kFloat, kBfloat16, kHalf };

struct Case {
  int64_t rows, columns;
  int64_t offset = 0;  // of all tensors, behind an aligned address
  Copy copy = Copy::kNone;
  int64_t copy_offset = 0, copy_gap = 0;
  double rate = 0.1, decay = 0.01;

  int64_t n() const { return rows * columns; }
};

// A step in A: parameter, first and second moment change.
template <class A>
void step_of(const Case& c, int64_t step, std::vector<double>& p, const std::vector<double>& g, std::vector<double>& m,
             std::vector<double>& v) {
  const A bias1 = 1 - std::pow(kBeta1, step), bias2 = std::sqrt(1 - std::pow(kBeta2, step)), rate = c.rate;
  for (size_t i = 0; i < p.size(); ++i) {
    const A gradient = g[i], m1 = static_cast<A>(m[i]) + static_cast<A>(1 - kBeta1) * (gradient - static_cast<A>(m[i]));
    const A v1 = static_cast<A>(kBeta2) * static_cast<A>(v[i]) + static_cast<A>(1 - kBeta2) * gradient * gradient;
    const A kept = static_cast<A>(p[i]) - static_cast<A>(c.rate * c.decay) * static_cast<A>(p[i]);
    p[i] = kept - rate / bias1 * m1 / (std::sqrt(v1) / bias2 + static_cast<A>(kEps));
    m[i] = m1;
    v[i] = v1;
  }
}

struct OnDevice {
  DeviceBuffer<float> p, g, m, v;
  DeviceBuffer<float> copy_float;
  DeviceBuffer<__nv_bfloat16> copy_bfloat16;
  DeviceBuffer<__half> copy_half;
};

std::vector<float> moved(const std::vector<double>& values, int64_t offset) {
  std::vector<float> all(offset, 0.0f);
  const std::vector<float> numbers = convert<float>(values);
  all.insert(all.end(), numbers.begin(), numbers.end());
  return all;
}

std::vector<double> numbers_of(const DeviceBuffer<float>& buffer, int64_t offset) {
  const std::vector<double> all = wide(buffer.download());
  return {all.begin() + offset, all.end()};
}

// The parameter, rounded, where it belongs, and nothing between.
template <class T>
void expect_copy(const std::string& what, const Case& c, const std::vector<T>& copy, const std::vector<double>& p) {
  const int64_t stride = c.columns + c.copy_gap;
  for (int64_t i = 0; i < static_cast<int64_t>(copy.size()); ++i) {
    const int64_t at = i - c.copy_offset, row = at < 0 ? 0 : at / stride, column = at < 0 ? stride : at % stride;
    const float found = static_cast<float>(copy[i]);
    if (column >= c.columns ? !std::isnan(found)
                            : found != static_cast<float>(T(static_cast<float>(p[row * c.columns + column])))) {
      fail(text(what, ": copy has ", found, " at ", i));
    }
  }
}

void check(const std::vector<Case>& cases, int64_t step) {
  std::vector<std::unique_ptr<OnDevice>> buffers;
  std::vector<peft4j_cuda_adamw_tensor> tensors;
  std::vector<std::vector<double>> p, g, m, v;
  for (size_t k = 0; k < cases.size(); ++k) {
    const Case& c = cases[k];
    const auto given = [&](uint64_t seed) { return wide(convert<float>(random(c.n(), 10 * k + seed))); };
    p.push_back(given(1));
    g.push_back(given(2));
    m.push_back(given(3));
    v.push_back(given(4));
    for (double& x : v[k]) {
      x = step == 1 ? 0 : x * x;
    }
    v[k] = wide(convert<float>(v[k]));
    if (step == 1) {
      m[k].assign(m[k].size(), 0);
    }
    const size_t copy = c.copy_offset + c.rows * (c.columns + c.copy_gap);
    buffers.push_back(std::unique_ptr<OnDevice>(new OnDevice{
        DeviceBuffer<float>(moved(p[k], c.offset), "parameter"), DeviceBuffer<float>(moved(g[k], c.offset), "gradient"),
        DeviceBuffer<float>(moved(m[k], c.offset), "exp_avg"), DeviceBuffer<float>(moved(v[k], c.offset), "exp_avg_sq"),
        DeviceBuffer<float>(c.copy == Copy::kFloat ? copy : 0, "copy"),
        DeviceBuffer<__nv_bfloat16>(c.copy == Copy::kBfloat16 ? copy : 0, "copy"),
        DeviceBuffer<__half>(c.copy == Copy::kHalf ? copy : 0, "copy")}));
    const OnDevice& b = *buffers[k];
    peft4j_cuda_adamw_tensor t = {};
    t.parameter = b.p.data() + c.offset;
    t.gradient = b.g.data() + c.offset;
    t.exp_avg = b.m.data() + c.offset;
    t.exp_avg_sq = b.v.data() + c.offset;
    switch (c.copy) {
      case Copy::kNone: break;
      case Copy::kFloat: t.copy = b.copy_float.data() + c.copy_offset; break;
      case Copy::kBfloat16: t.copy = b.copy_bfloat16.data() + c.copy_offset; break;
      case Copy::kHalf: t.copy = b.copy_half.data() + c.copy_offset; break;
    }
    t.copy_dtype = static_cast<int>(c.copy);
    t.n = c.n();
    t.columns = c.columns;
    t.copy_stride = c.columns + c.copy_gap;
    t.learning_rate = c.rate;
    t.weight_decay = c.decay;
    tensors.push_back(t);
  }
  expect_success("adamw", peft4j_cuda_adamw(tensors.data(), tensors.size(), kBeta1, kBeta2, kEps, step, nullptr));
  for (size_t k = 0; k < cases.size(); ++k) {
    const Case& c = cases[k];
    const OnDevice& b = *buffers[k];
    const std::string what = text("tensor ", k, " [", c.rows, ", ", c.columns, "] offset ", c.offset, " copy ",
                                  static_cast<int>(c.copy), " offset ", c.copy_offset, " gap ", c.copy_gap);
    std::vector<double> plain_p = p[k], plain_m = m[k], plain_v = v[k];
    step_of<float>(c, step, plain_p, g[k], plain_m, plain_v);
    step_of<double>(c, step, p[k], g[k], m[k], v[k]);
    const std::vector<double> found = numbers_of(b.p, c.offset);
    expect_close(what + ", parameter", found, p[k], distance(plain_p, p[k]), 1e-6);
    expect_close(what + ", exp_avg", numbers_of(b.m, c.offset), m[k], distance(plain_m, m[k]), 1e-6);
    expect_close(what + ", exp_avg_sq", numbers_of(b.v, c.offset), v[k], distance(plain_v, v[k]), 1e-6);
    expect_copy(what, c, b.copy_float.download(), found);
    expect_copy(what, c, b.copy_bfloat16.download(), found);
    expect_copy(what, c, b.copy_half.download(), found);
  }
}

// Also more tensors than one launch takes, and some of several chunks.
TEST(adamwFollowsItsFormula) {
  std::vector<Case> cases;
  const std::vector<int64_t> rows = {1, 2, 7, 33};
  const std::vector<Copy> copies = {Copy::kNone, Copy::kFloat, Copy::kBfloat16, Copy::kHalf};
  for (const std::vector<int>& i : pairwise({4, static_cast<int>(kSizes.size()), 2, 4, 2, 3})) {
    Case c = {rows[i[0]], kSizes[i[1]], i[2], copies[i[3]], i[4] * 3, i[5] == 2 ? 8 : i[5]};
    c.columns = c.rows == 33 ? std::min<int64_t>(c.columns, 257) : c.columns;
    c.rate = 0.1 + 0.01 * i[5];
    c.decay = i[4] * 0.1;
    cases.push_back(c);
  }
  cases.push_back({2, 8192, 0, Copy::kBfloat16, 0, 16});
  cases.push_back({8192, 2, 0, Copy::kBfloat16, 0, 16});
  cases.push_back({3, 5001, 0, Copy::kFloat, 0, 0});
  for (size_t i = 0; cases.size() <= 43; ++i) {
    cases.push_back(cases[i]);
  }
  check(cases, 1);
  check(cases, 100);
  check({}, 1);
}

}  // namespace
}  // namespace peft4j::cuda::test
