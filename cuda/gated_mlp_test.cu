#include "peft4j_cuda.h"
#include "test/activation.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  int64_t rows, columns;
  int activation;
  bool in_place, again;  // again: backward makes y, too
  int64_t gap = 0;       // gate and up lie side by side, with so many numbers behind them

  std::string what() const {
    return text(rows, " x ", columns, " activation ", activation, in_place ? " in place" : "", again ? " y again" : "",
                " gap ", gap);
  }
};

struct Results {
  Doubles y, dgate, dup;
};

template <class Round>
Results plain(const Case& c, const Doubles& gate, const Doubles& up, const Doubles& dy, const Round& round) {
  Results r;
  for (size_t i = 0; i < gate.size(); ++i) {
    const double value = round(activation(c.activation, gate[i]));
    r.y.push_back(round(value * up[i]));
    r.dgate.push_back(round(round(dy[i] * up[i]) * activation_slope(c.activation, gate[i])));
    r.dup.push_back(round(dy[i] * value));
  }
  return r;
}

template <class T>
void check(const Case& c) {
  const std::string what = text(sizeof(T), " bytes, ", c.what());
  const int64_t n = c.columns, stride = 2 * n + c.gap;
  const Doubles dy = wide(convert<T>(random(c.rows * n, 3)));
  const auto both = convert<T>(random(c.rows * stride, 1, 2));  // gate and up, as one product makes them
  const auto part = [&](const std::vector<T>& all, int64_t first) {
    Doubles values;
    for (int64_t row = 0; row < c.rows; ++row) {
      for (int64_t i = 0; i < n; ++i) {
        values.push_back(static_cast<float>(all[row * stride + first + i]));
      }
    }
    return values;
  };
  const Doubles gate = part(both, 0), up = part(both, n);
  const Results reference = plain(c, gate, up, dy, [](double x) { return x; });
  const Results rounded = plain(
      c, gate, up, dy, [](double x) { return static_cast<double>(static_cast<float>(T(static_cast<float>(x)))); });

  const DeviceBuffer<T> given(both, "gate and up"), gradients(c.rows * stride, "dgate and dup"),
      dy_in(convert<T>(dy), "dy"), y(c.rows * n, "y"), y_again(c.rows * n, "y again");
  peft4j_cuda_gated_mlp_params p{};
  p.dtype = kDtype<T>;
  p.activation = c.activation;
  p.rows = c.rows;
  p.columns = n;
  p.gate = given.data();
  p.up = given.data() + n;
  p.y = y.data();
  p.gate_stride = p.up_stride = p.dgate_stride = p.dup_stride = stride;
  p.y_stride = p.dy_stride = n;
  expect_success(what, peft4j_cuda_gated_mlp_forward(&p, nullptr));
  const auto found = y.download();
  expect_by_rule(what + " y", found, reference.y, rounded.y);

  p.y = c.again ? y_again.data() : nullptr;
  p.dy = dy_in.data();
  const DeviceBuffer<T>& target = c.in_place ? given : gradients;
  p.dgate = target.data();
  p.dup = target.data() + n;
  expect_success(what, peft4j_cuda_gated_mlp_backward(&p, nullptr));
  const auto all = target.download();
  expect_by_rule(what + " dgate", convert<T>(part(all, 0)), reference.dgate, rounded.dgate);
  expect_by_rule(what + " dup", convert<T>(part(all, n)), reference.dup, rounded.dup);
  if (c.again) {
    REQUIRE(wide(y_again.download()) == wide(found));
  }
}

TEST(gatedMlpFollowsItsFormula) {
  const std::vector<int64_t> rows = {1, 2, 3, 7, 33, 0};
  std::vector<int64_t> columns = kSizes;
  columns.insert(columns.end(), {8, 16, 24, 2048, 2064, 3072});
  const std::vector<int64_t> gaps = {0, 8, 1};
  for (const std::vector<int>& k : pairwise({6, static_cast<int>(columns.size()), 4, 2, 2, 3, 3})) {
    const Case c{rows[k[0]], columns[k[1]], k[2], k[3] == 1, k[4] == 1, gaps[k[5]]};
    if (k[6] == 0) {
      check<float>(c);
    } else if (k[6] == 1) {
      check<__nv_bfloat16>(c);
    } else {
      check<__half>(c);
    }
  }
}

TEST(gatedMlpRunsInEveryInstance) {
  for (const int64_t gap : {0, 1}) {
    for (int activation = 0; activation < 4; ++activation) {
      const Case c{3, 264, activation, false, true, gap};
      check<float>(c);
      check<__nv_bfloat16>(c);
      check<__half>(c);
    }
  }
}

TEST(gatedMlpAtTheEnds) {
  const std::vector<float> gate = {-1e30f, -100, -20, -1e-20f, 0, 1e-20f, 20, 100, 1e30f, NAN};
  const int64_t n = static_cast<int64_t>(gate.size());
  const DeviceBuffer<float> given(gate, "gate"), one(std::vector<float>(n, 1), "up, dy"), y(n, "y"), dgate(n, "dgate"),
      dup(n, "dup");
  for (int a = 0; a < 4; ++a) {
    peft4j_cuda_gated_mlp_params p{};
    p.activation = a;
    p.rows = 1;
    p.columns = n;
    p.gate = given.data();
    p.up = p.dy = one.data();
    p.y = y.data();
    p.dgate = dgate.data();
    p.dup = dup.data();
    expect_success(text("activation ", a), peft4j_cuda_gated_mlp_backward(&p, nullptr));
    const auto values = y.download(), slopes = dgate.download();
    for (int64_t i = 0; i + 1 < n; ++i) {
      const double x = gate[i], value = std::abs(x) < 50 ? activation(a, x) : std::max(x, 0.0);
      const double slope = std::abs(x) < 50 ? activation_slope(a, x) : x > 0;
      REQUIRE(std::abs(values[i] - value) <= 2e-7 * std::max(1.0, std::abs(x)));
      REQUIRE(std::abs(slopes[i] - slope) <= 1e-6);
    }
    REQUIRE(std::isnan(values[n - 1]));
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
