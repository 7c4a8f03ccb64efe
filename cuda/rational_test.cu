#include <algorithm>
#include <cmath>

#include "device/numbers.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  char version;
  int m, n;
  int64_t rows, channels, groups;
  bool shared_numerator, shared_denominator;
  int shift = 0;  // of x, dy, y and dx in memory, in elements

  int64_t elements() const { return rows * channels; }
  int64_t n_stored() const { return version == 'C' ? n + 1 : n; }
  std::string what() const {
    return text(version, " (", m, ", ", n, ") [", rows, ", ", channels, "] groups ", groups, ", shared ",
                shared_numerator, shared_denominator, ", shift ", shift);
  }
};

constexpr uint64_t kSeed = 0x9876543210abcdefull;

double noise(int64_t element, int coefficient) {
  const int byte =
      static_cast<int>(mask_byte((1ull << 63) + (element >> 32), 16 * (element & 0xffffffff) + coefficient, kSeed));
  return 1 + (2 * byte - 255) * 3277 / 8388608.0;
}

struct Results {
  std::vector<double> y, dx, da, db;
};

// The formulas as they are written, in double, or in float for the error that float makes.
template <class R>
Results formulas(const Case& c, const std::vector<double>& x, const std::vector<double>& dy,
                 const std::vector<double>& a_all, const std::vector<double>& b_all) {
  Results results;
  std::vector<R> da(a_all.size()), db(b_all.size());
  const auto sg = [](R u) { return u >= 0 ? R(1) : R(-1); };
  const int first = c.version == 'C' ? 0 : 1;
  for (int64_t e = 0; e < c.elements(); ++e) {
    const int64_t group = e % c.channels / (c.channels / c.groups);
    const int64_t a_at = c.shared_numerator ? 0 : group * (c.m + 1),
                  b_at = c.shared_denominator ? 0 : group * c.n_stored();
    const auto nu = [&](int k) { return c.version == 'D' ? static_cast<R>(noise(e, k)) : R(1); };
    const auto a = [&](int i) { return static_cast<R>(a_all[a_at + i]) * nu(i); };
    const auto b = [&](int j) { return static_cast<R>(b_all[b_at + j - first]) * nu(7 + j); };
    std::vector<R> power{1};
    for (int i = 1; i <= 8; ++i) {
      power.push_back(power.back() * static_cast<R>(x[e]));
    }
    R p = a(0), dp = 0, u = 0, du = 0;
    for (int i = 1; i <= c.m; ++i) {
      p += a(i) * power[i];
      dp += static_cast<R>(i) * a(i) * power[i - 1];
    }
    for (int j = first; j <= c.n; ++j) {
      if (c.version == 'A') {
        u += std::abs(b(j)) * std::abs(power[j]);
        du += sg(static_cast<R>(x[e])) * static_cast<R>(j) * std::abs(b(j)) * std::abs(power[j - 1]);
      } else {
        u += b(j) * power[j];
        du += j == 0 ? R(0) : static_cast<R>(j) * b(j) * power[j - 1];
      }
    }
    const R q = (c.version == 'C' ? R(0.1) : R(1)) + std::abs(u), s = (c.version == 'A' ? R(1) : sg(u)) * du;
    const R up = static_cast<R>(dy[e]);
    results.y.push_back(p / q);
    results.dx.push_back(up * (dp / q - p / q * s / q));
    for (int i = 0; i <= c.m; ++i) {
      da[a_at + i] += up * power[i] / q * nu(i);
    }
    for (int j = first; j <= c.n; ++j) {
      const R slope =
          c.version == 'A' ? sg(static_cast<R>(b_all[b_at + j - first])) * std::abs(power[j]) : sg(u) * power[j];
      db[b_at + j - first] -= up * p / (q * q) * slope * nu(7 + j);
    }
  }
  results.da.assign(da.begin(), da.end());
  results.db.assign(db.begin(), db.end());
  return results;
}

struct Inputs {
  std::vector<double> x, dy, a, b;
};

template <class T>
std::vector<double> rounded(const std::vector<double>& values) {
  return wide(convert<T>(values));
}

template <class T>
Inputs inputs_of(const Case& c, uint64_t seed) {
  Inputs in;
  in.x = rounded<T>(random(c.elements(), seed, 2));
  in.dy = rounded<T>(random(c.elements(), seed + 1));
  in.a = rounded<float>(random((c.shared_numerator ? 1 : c.groups) * (c.m + 1), seed + 2));
  in.b = rounded<float>(random((c.shared_denominator ? 1 : c.groups) * c.n_stored(), seed + 3));
  for (size_t i = 0; i < in.b.size(); i += 3) {
    in.b[i] = 0;  // sg(0) = 1
  }
  for (size_t i = 0; i < in.x.size(); i += 50) {
    in.x[i] = i % 100 == 0 ? 0.0 : -0.0;
  }
  return in;
}

template <class T>
Results run(const Case& c, const Inputs& in, bool wants_dx = true, bool wants_da = true, bool wants_db = true) {
  const DeviceBuffer<T> x(shifted<T>(in.x, c.shift), "x"), dy(shifted<T>(in.dy, c.shift), "dy");
  const DeviceBuffer<T> y(x.size(), "y"), dx(x.size(), "dx");
  const DeviceBuffer<float> a(convert<float>(in.a), "numerator"), b(convert<float>(in.b), "denominator");
  const int64_t blocks = peft4j_cuda_rational_blocks(c.rows, c.channels, c.groups);
  const DeviceBuffer<float> a_partials(blocks * c.groups * (c.m + 1), "numerator_partials"),
      b_partials(blocks * c.groups * c.n_stored(), "denominator_partials");
  const DeviceBuffer<float> da(in.a.size(), "da"), db(in.b.size(), "db");
  peft4j_cuda_rational_params p{};
  p.dtype = kDtype<T>;
  p.version = c.version;
  p.m = c.m;
  p.n = c.n;
  p.rows = c.rows;
  p.channels = c.channels;
  p.groups = c.groups;
  p.x = x.data() + c.shift;
  p.numerator = a.data();
  p.denominator = b.data();
  p.numerator_stride = c.shared_numerator ? 0 : c.m + 1;
  p.denominator_stride = c.shared_denominator ? 0 : c.n_stored();
  p.seed = kSeed;
  p.y = y.data() + c.shift;
  expect_success(c.what(), peft4j_cuda_rational_forward(&p, nullptr));
  p.dy = dy.data() + c.shift;
  p.dx = wants_dx ? dx.data() + c.shift : nullptr;
  p.numerator_partials = wants_da ? a_partials.data() : nullptr;
  p.denominator_partials = wants_db ? b_partials.data() : nullptr;
  expect_success(c.what(), peft4j_cuda_rational_backward(&p, nullptr));
  const auto sum = [&](const DeviceBuffer<float>& partials, const DeviceBuffer<float>& out, bool shared) {
    const int64_t n = static_cast<int64_t>(out.size());
    expect_success(c.what(), peft4j_cuda_fixed_order_sum(out.data(), partials.data(), n,
                                                         blocks * (shared ? c.groups : 1), 0, nullptr));
    return wide(out.download());
  };
  const auto back = [&](const DeviceBuffer<T>& from) {
    const auto all = wide(from.download());
    return std::vector<double>(all.begin() + c.shift, all.end());
  };
  return {back(y), wants_dx ? back(dx) : std::vector<double>(),
          wants_da ? sum(a_partials, da, c.shared_numerator) : std::vector<double>(),
          wants_db ? sum(b_partials, db, c.shared_denominator) : std::vector<double>()};
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) {
    most = std::max(most, std::abs(v));
  }
  return most;
}

// An ulp of T at the largest value.
template <class T>
double ulp(const std::vector<double>& values) {
  const int digits = std::is_same_v<T, float> ? 24 : std::is_same_v<T, __nv_bfloat16> ? 8 : 11;
  const double most = largest(values);
  return most == 0 ? 0 : std::ldexp(1.0, std::ilogb(most) + 1 - digits);
}

// Each number up or down by 16 ulps of float32.
std::vector<double> moved(const std::vector<double>& values, uint64_t seed) {
  const auto direction = random(values.size(), seed);
  std::vector<double> result;
  for (size_t i = 0; i < values.size(); ++i) {
    result.push_back(values[i] * (direction[i] < 0 ? 1 - 0x1p-20 : 1 + 0x1p-20));
  }
  return result;
}

template <class T>
void expect_formulas(const Case& c, uint64_t seed = 1) {
  const Inputs in = inputs_of<T>(c, seed);
  const Results found = run<T>(c, in), exact = formulas<double>(c, in.x, in.dy, in.a, in.b);
  // One number decides many results (an x of 7, a Q near 0.1), and plain may hit them by luck: what they move by when
  // the given numbers change a little is plain's error, too.
  std::vector<Results> rough{formulas<float>(c, in.x, in.dy, in.a, in.b)};
  for (const uint64_t draw : {100, 200, 300}) {
    rough.push_back(
        formulas<double>(c, moved(in.x, draw), moved(in.dy, draw + 1), moved(in.a, draw + 2), moved(in.b, draw + 3)));
  }
  const auto expect = [&](const char* name, auto type, std::vector<double> Results::* of) {
    using To = decltype(type);
    double allowed = 0;
    for (const Results& r : rough) {
      allowed = std::max(allowed, distance(rounded<To>(r.*of), exact.*of));
    }
    expect_close(c.what() + name, found.*of, exact.*of, allowed, 1e-5 + ulp<To>(exact.*of));
  };
  expect(" y", T(), &Results::y);
  expect(" dx", T(), &Results::dx);
  expect(" da", 0.0f, &Results::da);
  expect(" db", 0.0f, &Results::db);
}

TEST(rationalFollowsItsFormulasInEachInstance) {
  // Each compiled pair of degrees and what runs in its place.
  const std::vector<std::pair<int, int>> degrees = {{3, 3}, {4, 4}, {5, 4}, {5, 5}, {6, 5}, {6, 6}, {7, 6},
                                                    {1, 1}, {2, 3}, {3, 4}, {2, 5}, {6, 1}, {7, 2}, {1, 6}};
  for (const char version : {'A', 'B', 'C', 'D'}) {
    for (const auto& [m, n] : degrees) {
      const Case c{version, m, n, 3, 48, 2, false, false};
      expect_formulas<float>(c);
      expect_formulas<__nv_bfloat16>(c);
      expect_formulas<__half>(c);
    }
  }
}

TEST(rationalTakesAnySize) {
  const std::vector<int64_t> rows = {1, 2, 3, 7, 33, 0}, groups = {1, 2, 3, 8};
  for (const std::vector<int>& i : pairwise({6, static_cast<int>(kSizes.size()), 4, 2, 2, 3, 4, 3})) {
    Case c{"ABCD"[i[6]], 5, 4, rows[i[0]], kSizes[i[1]] * groups[i[2]], groups[i[2]], i[3] == 1, i[4] == 1, i[5] / 2};
    c.rows = std::min<int64_t>(c.rows, std::max<int64_t>(6000 / (c.channels + 1), 1));
    if (c.channels > 2100) {
      c.channels = 2048 + c.groups;
      c.channels -= c.channels % c.groups;
    }
    i[7] == 0 ? expect_formulas<float>(c) : i[7] == 1 ? expect_formulas<__nv_bfloat16>(c) : expect_formulas<__half>(c);
  }
}

// Several blocks, and threads that walk over several rows of their group.
TEST(rationalWalksOverManyPacks) {
  expect_formulas<__nv_bfloat16>({'A', 5, 4, 67, 24 * 41, 3, true, false});
  expect_formulas<float>({'A', 5, 4, 1, 40001, 1, true, true});
  REQUIRE(peft4j_cuda_rational_blocks(1, 40001, 1) == 3);
  REQUIRE(peft4j_cuda_rational_blocks(8192, 14336, 8) == 128);
  REQUIRE(peft4j_cuda_rational_blocks(1, 1, 1) == 1);
}

TEST(rationalRepeatsItsBits) {
  const Case c{'A', 5, 4, 70, 24 * 41, 3, true, false};
  const Inputs in = inputs_of<__nv_bfloat16>(c, 5);
  const Results one = run<__nv_bfloat16>(c, in), two = run<__nv_bfloat16>(c, in);
  REQUIRE(one.y == two.y && one.dx == two.dx && one.da == two.da && one.db == two.db);
}

TEST(rationalMakesOnlyTheGradientsThatAreWanted) {
  const Case c{'B', 5, 4, 3, 40, 2, false, true};
  const Inputs in = inputs_of<float>(c, 6);
  const Results all = run<float>(c, in);
  REQUIRE(run<float>(c, in, false).da == all.da);
  REQUIRE(run<float>(c, in, true, false).db == all.db);
  REQUIRE(run<float>(c, in, true, true, false).dx == all.dx);
}

void expect_relative(const std::string& what, const std::vector<double>& found, const std::vector<double>& exact) {
  REQUIRE(found.size() == exact.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const float e = static_cast<float>(exact[i]);
    const bool same = std::isnan(e)   ? std::isnan(found[i])
                      : std::isinf(e) ? found[i] == e
                                      : std::abs(found[i] - e) <= 1e-5 * std::abs(e) + 1e-6;
    if (!same) {
      fail(text(what, ": element ", i, " is ", found[i], ", should be ", e));
    }
  }
}

TEST(rationalOfLargeNumbersIsFinite) {
  const std::vector<double> gelu_a = {-0.00124235945, 0.5080497063, 0.4158636318,
                                      0.1302271869,   0.0243559001, 0.002902839482},
                            gelu_b = {-0.06675015696, 0.1792764622, 0.03746682605, 1.656161085e-10};
  const std::vector<double> identity_a = {0, 1, 0, 0, 0, 0}, identity_b(4, 0.0);
  for (const char version : {'A', 'B', 'D'}) {
    for (const bool identity : {false, true}) {
      Case c{version, 5, 4, 1, 20, 1, true, true};
      Inputs in;
      in.x = rounded<float>({4095, 4096,  4097, -4096, -4097,    1e4,       -1e6, 1e9, -1e12, 1e20,
                             1e30, -1e30, 3e38, -3e38, INFINITY, -INFINITY, NAN,  1,   1e-30, -1e-40});
      in.dy = std::vector<double>(20, 1.0);
      in.a = rounded<float>(identity ? identity_a : gelu_a);
      in.b = rounded<float>(identity ? identity_b : gelu_b);
      const Results found = run<float>(c, in), exact = formulas<double>(c, in.x, in.dy, in.a, in.b);
      expect_relative(c.what() + " y", found.y, exact.y);
      expect_relative(c.what() + " dx", found.dx, exact.dx);
      // Sums: of those whose powers are numbers of float32.
      in.x.resize(10);
      in.dy.resize(10);
      in.x[8] = in.x[9] = 2;
      c.channels = 10;
      const Results sums = formulas<double>(c, in.x, in.dy, in.a, in.b), again = run<float>(c, in);
      expect_relative(c.what() + " da", again.da, sums.da);
      expect_relative(c.what() + " db", again.db, sums.db);
    }
  }
}

// Its definition (rational.cu): the mean is 1, a byte of the mask for each coefficient of each element.
TEST(rationalNoiseHasItsGoldenValues) {
  double sum = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const float factor = 1.0f + static_cast<float>(2 * byte - 255) * (3277.0f / 8388608.0f);
    REQUIRE(factor == 1 + (2 * byte - 255) * 3277 / 8388608.0);
    REQUIRE(factor > 0.9f && factor < 1.1f);
    sum += factor;
  }
  REQUIRE(sum == 256);
  // P = a_0, Q = 1: y is the noise of a_0.
  const Case c{'D', 1, 1, 5, 9, 1, true, true};
  Inputs in = inputs_of<float>(c, 1);
  in.a = {1, 0};
  in.b = {0};
  const Results found = run<float>(c, in);
  for (int64_t e = 0; e < c.elements(); ++e) {
    REQUIRE(found.y[e] == noise(e, 0));
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
