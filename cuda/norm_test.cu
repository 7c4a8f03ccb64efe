#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  int64_t rows, columns;
  bool centred, residual, keeps_z, trained, dz_more;
  uint32_t threshold;
  int shift = 0;  // elements that the tensors begin behind a 16-byte boundary
  bool in_place = false;
  int64_t gap = 0;  // behind the rows of residual and y
  double eps = 1e-5, weight_offset = 0;

  std::string what() const {
    return text(rows, " x ", columns, centred ? " layer" : " rms", residual ? " residual" : "", keeps_z ? " z" : "",
                trained ? " trained" : "", dz_more ? " dz" : "", in_place ? " in place" : "", " threshold ", threshold,
                " shift ", shift, " gap ", gap);
  }
};

constexpr uint64_t kSeed = 0x123456789abcdefull;

struct Inputs {
  Doubles x, residual, weight, bias, dy, dz_more;
};

struct Results {
  Doubles y, z, dz, dx, dscale;
};

// The formula, row by row; each step rounded.
Results plain(const Case& c, const Inputs& in, const std::function<double(double)>& round) {
  const int64_t rows = c.rows, n = c.columns;
  Results r;
  r.y = r.z = r.dz = r.dx = Doubles(rows * n);
  r.dscale = Doubles(c.centred ? 2 * n : n);
  const Doubles factors = mask(rows, n, c.threshold, kSeed);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = row * n;
    double mean = 0, variance = 0, mean_g = 0, mean_gn = 0;
    for (int64_t i = begin; i < begin + n; ++i) {
      r.z[i] = round(round(in.x[i] * factors[i]) + (c.residual ? in.residual[i] : 0));
      mean += c.centred ? r.z[i] / n : 0;
    }
    for (int64_t i = begin; i < begin + n; ++i) {
      variance += (r.z[i] - mean) * (r.z[i] - mean) / n;
    }
    const double rstd = 1 / std::sqrt(variance + c.eps);
    const auto normal = [&](int64_t i) { return round((r.z[i] - mean) * rstd); };
    const auto weight = [&](int64_t i) { return in.weight[i - begin] + c.weight_offset; };
    for (int64_t i = begin; i < begin + n; ++i) {
      r.y[i] = round(round(normal(i) * weight(i)) + (c.centred ? in.bias[i - begin] : 0));
      const double g = round(in.dy[i] * weight(i));
      mean_g += c.centred ? g / n : 0;
      mean_gn += g * normal(i) / n;
      r.dscale[i - begin] += in.dy[i] * normal(i);
      if (c.centred) {
        r.dscale[n + i - begin] += in.dy[i];
      }
    }
    for (int64_t i = begin; i < begin + n; ++i) {
      const double own = round(rstd * (round(in.dy[i] * weight(i)) - mean_g - normal(i) * mean_gn));
      r.dz[i] = round(own + (c.dz_more ? in.dz_more[i] : 0));
      r.dx[i] = round(r.dz[i] * factors[i]);
    }
  }
  return r;
}

template <class T>
struct Tensor {  // begins `shift` elements behind a boundary
  Tensor(const Doubles& values, int shift, const std::string& name)
      : buffer(shifted(values, shift), name), shift(shift) {}
  Tensor(int64_t n, int shift, const std::string& name) : buffer(n + shift, name), shift(shift) {}
  static std::vector<T> shifted(Doubles values, int shift) {
    values.insert(values.begin(), shift, 0);
    return convert<T>(values);
  }
  T* data() const { return buffer.data() + shift; }
  std::vector<T> values() const {
    const std::vector<T> all = buffer.download();
    return {all.begin() + shift, all.end()};
  }
  DeviceBuffer<T> buffer;
  int shift;
};

// The rows with gaps behind them, and the rows without.
Doubles apart(const Doubles& values, int64_t columns, int64_t gap) {
  Doubles rows;
  for (size_t row = 0; row < values.size(); row += columns) {
    rows.insert(rows.end(), values.begin() + row, values.begin() + row + columns);
    rows.insert(rows.end(), gap, 1e4);
  }
  return rows;
}

template <class T>
std::vector<T> together(const std::vector<T>& rows, int64_t columns, int64_t gap) {
  std::vector<T> values;
  for (size_t row = 0; row < rows.size(); row += columns + gap) {
    values.insert(values.end(), rows.begin() + row, rows.begin() + row + columns);
  }
  return values;
}

template <class T>
void check(const Case& c) {
  const std::string what = text("dtype ", kDtype<T>, ' ', c.what());
  const int64_t n = c.rows * c.columns;
  const auto given = [](int64_t count, uint64_t seed) { return wide(convert<T>(random(count, seed))); };
  Inputs in{given(n, 1), given(n, 2), given(c.columns, 3), given(c.columns, 4), given(n, 5), given(n, 6)};
  const Results reference = plain(c, in, [](double x) { return x; });
  const Results rounded =
      plain(c, in, [](double x) { return static_cast<double>(static_cast<float>(T(static_cast<float>(x)))); });

  const Tensor<T> x(in.x, c.shift, "x"), residual(apart(in.residual, c.columns, c.gap), c.shift, "residual"),
      weight(in.weight, c.shift, "weight"), bias(in.bias, c.shift, "bias"), dy(in.dy, c.shift, "dy"),
      dz_more(in.dz_more, c.shift, "dz_more");
  const Tensor<T> y(n + c.rows * c.gap, c.shift, "y"), z(n, c.shift, "z"), dz(n, c.shift, "dz"), dx(n, c.shift, "dx");
  const DeviceBuffer<float> mean(c.rows, "mean"), rstd(c.rows, "rstd"), dscale(reference.dscale.size(), "dscale");
  peft4j_cuda_norm_params p{};
  p.dtype = kDtype<T>;
  p.centred = c.centred;
  p.rows = c.rows;
  p.columns = c.columns;
  p.weight = weight.data();
  p.bias = c.centred ? bias.data() : nullptr;
  p.eps = static_cast<float>(c.eps);
  p.weight_offset = static_cast<float>(c.weight_offset);
  p.seed = kSeed;
  p.threshold = c.threshold;
  p.mean = c.centred ? mean.data() : nullptr;
  p.rstd = rstd.data();
  p.x = x.data();
  p.residual = c.residual ? residual.data() : nullptr;
  p.y = y.data();
  p.residual_stride = p.y_stride = c.columns + c.gap;
  p.z = c.in_place ? x.data() : c.keeps_z ? z.data() : nullptr;
  expect_success(what, peft4j_cuda_norm_forward(&p, nullptr));
  expect_by_rule(what + " y", together(y.values(), c.columns, c.gap), reference.y, rounded.y);
  if (p.z != nullptr) {
    expect_by_rule(what + " z", (c.in_place ? x : z).values(), reference.z, rounded.z);
  }

  const Tensor<T> z_given(rounded.z, c.shift, "z");
  p.z = z_given.data();
  p.dy = dy.data();
  p.dz_more = c.dz_more ? dz_more.data() : nullptr;
  p.dx = c.threshold > 0 ? dx.data() : nullptr;
  p.dz = c.in_place ? dy.data() : c.residual || c.threshold == 0 ? dz.data() : nullptr;
  p.dscale = c.trained ? dscale.data() : nullptr;
  const DeviceBuffer<float> scratch(peft4j_cuda_norm_scratch(&p), "scratch");
  p.scratch = scratch.data();
  expect_success(what, peft4j_cuda_norm_backward(&p, nullptr));
  if (p.dz != nullptr) {
    expect_by_rule(what + " dz", (c.in_place ? dy : dz).values(), reference.dz, rounded.dz);
  }
  if (p.dx != nullptr) {
    expect_by_rule(what + " dx", dx.values(), reference.dx, rounded.dx);
  }
  if (c.trained) {
    const auto first = dscale.download();
    expect_by_rule(what + " dscale", first, reference.dscale, rounded.dscale);
    if (!c.in_place) {
      expect_success(what, peft4j_cuda_norm_backward(&p, nullptr));
      REQUIRE(dscale.download() == first);
    }
  }
}

void check_all(const Case& c) {
  check<float>(c);
  check<__nv_bfloat16>(c);
  check<__half>(c);
}

// With few columns the variance may be tiny, and then any precision is lost: eps keeps it away from 0.
double eps_of(int64_t columns) {
  return columns < 8 ? 0.1 : 1e-5;
}

TEST(normFollowsItsFormula) {
  const std::vector<int64_t> rows = {1, 2, 3, 5, 0};
  std::vector<int64_t> columns = kSizes;
  columns.pop_back();                                   // 0 columns have no mean
  columns.insert(columns.end(), {8, 16, 40, 264, 1032, 1064});  // whole vectors: 1 to 32 threads a row, and a block
  const std::vector<uint32_t> thresholds = {0, 26, 128};
  for (const std::vector<int>& k : pairwise({5, static_cast<int>(columns.size()), 2, 2, 2, 2, 2, 3, 3})) {
    Case c{rows[k[0]], columns[k[1]], k[2] == 1, k[3] == 1, k[4] == 1, k[5] == 1, k[6] == 1, thresholds[k[7]]};
    c.eps = eps_of(c.columns);
    c.weight_offset = k[4] == 1 ? 1 : 0;
    if (k[8] == 0) {
      check<float>(c);
    } else if (k[8] == 1) {
      check<__nv_bfloat16>(c);
    } else {
      check<__half>(c);
    }
  }
}

// By vectors and element by element, rows of lanes and of blocks, with and without sums over rows.
TEST(normRunsInEveryInstance) {
  for (const bool centred : {false, true}) {
    for (const bool trained : {false, true}) {
      for (const int shift : {0, 1}) {
        check_all({3, 48, centred, true, true, trained, true, 26, shift});
        check_all({2, 2080, centred, false, true, trained, false, 0, shift});
      }
    }
  }
}

TEST(normTakesRowsThatLieApart) {
  for (const bool centred : {false, true}) {
    for (const int64_t gap : {8, 3}) {  // by vectors and not
      Case c{3, 264, centred, true, true, true, true, 26};
      c.gap = gap;
      check_all(c);
    }
  }
}

TEST(normTakesWideRows) {
  check<__nv_bfloat16>({2, 32776, true, true, true, true, true, 26});  // one vector too many for registers
  check<float>({1, 16384, false, true, true, false, true, 26});       // as many as there is room for
}

TEST(normSumsManyRows) {
  for (const int shift : {0, 1}) {
    check<float>({1100, 8, true, false, false, true, false, 0, shift});
    check<__nv_bfloat16>({513, 24, false, false, false, true, false, 0, shift});
  }
}

TEST(normWorksInPlace) {
  for (const int shift : {0, 1}) {
    Case c{5, 264, true, true, true, true, true, 26, shift};
    c.in_place = true;
    check_all(c);
  }
}

// Σ dy∘n is wanted, dx is not: nothing below this norm is trained.
TEST(normSumsWithoutDx) {
  const Doubles values = random(4 * 64, 1);
  const DeviceBuffer<float> z(convert<float>(values), "z"), weight(convert<float>(random(64, 2)), "weight"),
      rstd(std::vector<float>{1, 2, 3, 4}, "rstd"), dscale(64, "dscale");
  peft4j_cuda_norm_params p{};
  p.rows = 4;
  p.columns = 64;
  p.weight = weight.data();
  p.rstd = rstd.data();
  p.z = z.data();
  p.dy = z.data();
  p.dscale = dscale.data();
  const DeviceBuffer<float> scratch(peft4j_cuda_norm_scratch(&p), "scratch");
  p.scratch = scratch.data();
  expect_success("no dx", peft4j_cuda_norm_backward(&p, nullptr));
  Doubles expected(64);
  for (int i = 0; i < 4 * 64; ++i) {
    expected[i % 64] += values[i] * values[i] * (i / 64 + 1);
  }
  expect_close("no dx", wide(dscale.download()), expected, 1e-5);
}

}  // namespace
}  // namespace peft4j::cuda::test
