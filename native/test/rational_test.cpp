/* rational: versions, degrees, groups, golden vectors, noise, large numbers; see check.h for the rule of comparison. */
#include <ATen/CPUGeneratorImpl.h>

#include "check.h"

namespace peft4j::test {
namespace {

constexpr int64_t kSeed = -0x123456789abcdef;

struct Case {
  char version;
  int64_t m, n;
  std::vector<int64_t> shape;
  int64_t groups;
  bool shared_numerator, shared_denominator;
};

int64_t channels_of(const Case& c) {
  return c.shape.empty() ? 1 : c.shape.back();
}

// sg(0) = 1, so that |t| has the slope 1 at 0.
at::Tensor magnitude(const at::Tensor& t) {
  return t * (t >= 0).to(t.scalar_type()).mul(2).sub(1);
}

// [elements, 16], by a Philox of the tests' own.
at::Tensor noise(int64_t elements) {
  at::Tensor result = at::empty({elements, 16}, at::kDouble);
  for (int64_t i = 0; i < elements * 16; ++i) {
    const int byte = static_cast<int>(mask_byte(1ull << 63, i, kSeed));
    result.data_ptr<double>()[i] = 1 + (2 * byte - 255) * 3277 / 8388608.0;
  }
  return result;
}

// Powers and sums as they are written; bfloat16 in float.
at::Tensor formula(const Case& c, const at::Tensor& x_in, const at::Tensor& numerator, const at::Tensor& denominator) {
  if (x_in.numel() == 0) {
    return x_in * (numerator.sum() + denominator.sum()).to(x_in.scalar_type());
  }
  const at::Tensor x =
      x_in.to(numerator.scalar_type()).reshape({x_in.numel() / channels_of(c), c.groups, channels_of(c) / c.groups});
  const at::Tensor nu = noise(c.version == 'D' ? x.numel() : 0).to(x.scalar_type());
  const auto coefficient = [&](const at::Tensor& all, int64_t column, int64_t k) {
    const at::Tensor one = all.select(1, column).reshape({-1, 1});
    return c.version == 'D' ? one * nu.select(1, k).reshape(x.sizes()) : one;
  };
  std::vector<at::Tensor> power{at::ones_like(x)};
  for (int i = 1; i <= 7; ++i) {
    power.push_back(power.back() * x);
  }
  at::Tensor p = at::zeros_like(x), u = at::zeros_like(x);
  for (int64_t i = 0; i <= c.m; ++i) {
    p = p + coefficient(numerator, i, i) * power[i];
  }
  const int64_t first = c.version == 'C' ? 0 : 1;
  for (int64_t j = first; j <= c.n; ++j) {
    const at::Tensor b = coefficient(denominator, j - first, 7 + j);
    u = u + (c.version == 'A' ? magnitude(b) * (j % 2 == 1 ? magnitude(power[j]) : power[j]) : b * power[j]);
  }
  const at::Tensor q = (c.version == 'A' ? u : magnitude(u)) + (c.version == 'C' ? 0.1 : 1.0);
  return (p / q).reshape(x_in.sizes()).to(x_in.scalar_type());
}

Operation operation_of(const Case& c, std::vector<bool> trained = {true, true, true}) {
  Operation o;
  const int64_t b0 = c.version == 'C' ? 1 : 0;
  o.what = text("rational ", c.version, " (", c.m, ", ", c.n, ") ", at::IntArrayRef(c.shape), " groups ", c.groups,
                " shared ", c.shared_numerator, c.shared_denominator);
  o.inputs = {random(c.shape, 1, 1.5), random({c.shared_numerator ? 1 : c.groups, c.m + 1}, 2),
              random({c.shared_denominator ? 1 : c.groups, c.n + b0}, 3)};
  o.trained = std::move(trained);
  o.wide = {false, true, true};
  o.run = [=](const Tensors& in, at::ScalarType) {
    return Tensors{rational(in[0], in[1], in[2], std::string(1, c.version), kSeed)};
  };
  o.plain = [=](const Tensors& in, at::ScalarType) { return Tensors{formula(c, in[0], in[1], in[2])}; };
  return o;
}

TEST(rationalFollowsItsFormulas) {
  const std::vector<std::vector<int64_t>> rows = {{}, {1}, {2}, {3, 5}, {33}};
  const std::vector<int64_t> groups = {1, 2, 3, 8};
  for (const std::vector<int>& i : pairwise({4, 7, 6, 5, static_cast<int>(kSizes.size()), 4, 2, 2, 8})) {
    std::vector<int64_t> shape = rows[i[3]];
    shape.push_back(std::min<int64_t>(kSizes[i[4]], 300) * groups[i[5]]);
    compare(operation_of({"ABCD"[i[0]], i[1] + 1, i[2] + 1, shape, groups[i[5]], i[6] == 1, i[7] == 1},
                         {i[8] % 2 == 0, i[8] / 2 % 2 == 0, i[8] / 4 == 0}));
  }
  compare(operation_of({'A', 5, 4, {}, 1, true, true}));
  compare(operation_of({'D', 5, 4, {3, 3000}, 3, true, false}));
}

// Through cuda/'s kernels; float16 is a type of devices only.
TEST(rationalFollowsItsFormulasOnADevice) {
  CudaOnTheHost library;
  for (const char version : {'A', 'B', 'C', 'D'}) {
    Operation o = operation_of({version, 5, 4, {7, 72}, 3, version == 'A', version == 'B'});
    o.types = {at::kFloat, at::kBFloat16};
    compare(o);
    const auto half = [&](at::ScalarType coefficients, const char* provider) {
      Kernels k(provider);
      const at::Tensor x = o.inputs[0].to(at::kHalf).to(coefficients == at::kDouble ? at::kDouble : at::kHalf);
      return rational(x, o.inputs[1].to(at::kFloat).to(coefficients), o.inputs[2].to(at::kFloat).to(coefficients),
                      std::string(1, version), kSeed);
    };
    const at::Tensor exact = half(at::kDouble, "reference");
    expect_close("float16", half(at::kFloat, "own").to(at::kFloat), exact, exact.abs().max().item<double>() * 0x1p-11);
  }
  Operation o = operation_of({'A', 5, 4, {0, 72}, 3, true, false});
  o.types = {at::kFloat};
  compare(o);
}

struct Golden {
  const char* version;
  std::vector<double> a, b, y, dx, da, db;
};

// x = -2, -0.5, 0.25, 1, 3, gradient 1: values that were computed apart from any of this code.
const std::vector<Golden> kGolden = {
    {"A",  // gelu
     {-0.00124235945, 0.5080497063, 0.4158636318, 0.1302271869, 0.0243559001, 0.002902839482},
     {-0.06675015696, 0.1792764622, 0.03746682605, 1.656161085e-10},
     {-0.045993, -0.153432, 0.149633, 0.841576, 2.995818},
     {-0.091414, 0.126077, 0.697658, 1.082887, 1.012307},
     {3.401357, 0.414627, 5.283660, 4.016733, 29.455891, 49.393569},
     {2.927892, -7.592159, -21.614198, -63.740348}},
    {"A",  // swish
     {3.054879741e-07, 0.5000007854, 0.2499978342, 0.05326628273, 0.005803034571, 0.0002751961022},
     {-4.111554956e-06, 0.1065289934, -1.26900074e-06, 0.0005502331264},
     {-0.238406, -0.188771, 0.140544, 0.731058, 2.857721},
     {-0.090783, 0.260040, 0.623709, 0.927671, 1.088087},
     {4.066732, 0.768291, 8.488858, 8.699136, 52.550080, 99.868419},
     {4.550385, -12.796602, 37.824609, -113.533747}},
    {"B",  // gelu
     {-0.0004221071457, 0.4999995552, 0.4027053545, 0.07366976895, -0.01295478805, -0.003741400258},
     {4.95853812e-05, 0.1472977408, 1.16458257e-05, -0.007483871515},
     {-0.045268, -0.154050, 0.149470, 0.841545, 2.996897},
     {-0.086687, 0.130990, 0.696932, 1.081784, 1.025315},
     {4.095155, 1.025546, 9.135633, 11.025361, 58.925741, 120.351619},
     {-6.138550, -16.269032, -48.051350, -141.373701}},
    {"C",  // relu
     {0.7865035432, 11.60159315, 38.75351995, 46.17884158, 21.84270198, 3.501924368},
     {23.10314093, 0.0004299501319, 92.35698797, 0.0003086763883, 7.003817417},
     {0.001166, 0.003370, 0.238572, 1.000819, 2.990310},
     {-0.014637, -0.043265, 1.032620, 0.975980, 0.949019},
     {0.066723, 0.004226, 0.029920, 0.009162, 0.098306, 0.115036},
     {-0.018569, -0.016491, -0.027637, -0.065055, -0.178605}},
};

void expect_golden() {
  const auto row = [](const std::vector<double>& v) { return at::tensor(at::ArrayRef<double>(v)).to(at::kFloat); };
  for (const Golden& g : kGolden) {
    const at::Tensor x = row({-2, -0.5, 0.25, 1, 3}).requires_grad_(true);
    const at::Tensor a = row(g.a).unsqueeze(0).requires_grad_(true), b = row(g.b).unsqueeze(0).requires_grad_(true);
    const at::Tensor y = rational(x, a, b, g.version, 1);
    y.sum().backward();
    const auto expect = [&](const char* what, const at::Tensor& found, const std::vector<double>& golden) {
      const at::Tensor exact = at::tensor(at::ArrayRef<double>(golden)), scale = exact.abs().clamp_min(1);
      expect_close(text(g.version, " ", what), (found.reshape(exact.sizes()) / scale).to(at::kFloat), exact / scale, 0);
    };
    expect("y", y, g.y);
    expect("dx", x.grad(), g.dx);
    expect("da", a.grad(), g.da);
    expect("db", b.grad(), g.db);
  }
}

TEST(rationalHasItsGoldenValues) {
  for (const char* provider : {"own", "reference"}) {
    Kernels k(provider);
    expect_golden();
  }
  CudaOnTheHost library;
  expect_golden();
}

TEST(rationalRepeatsItsBitsForAnyThreads) {
  for (const Case& c : {Case{'A', 5, 4, {70, 300}, 3, true, false}, Case{'D', 7, 6, {3, 7001}, 1, true, true},
                        Case{'C', 3, 3, {9, 5000}, 2, false, true}}) {
    const Operation o = operation_of(c);
    expect_same_bits_for_any_threads(o);
  }
}

TEST(rationalOfEqualGroupsIsThatOfOne) {
  const Operation one = operation_of({'A', 5, 4, {11, 96}, 1, true, true});
  Operation eight = one;
  eight.inputs[1] = one.inputs[1].repeat({8, 1});
  eight.inputs[2] = one.inputs[2].repeat({8, 1});
  const auto check = [&] {
    const Tensors a = results(one, one.run, at::kFloat, false), b = results(eight, eight.run, at::kFloat, false);
    expect_same_bits("y", a[0], b[0]);
    expect_same_bits("dx", a[1], b[1]);
    for (const int i : {2, 3}) {
      const at::Tensor sum = b[i].to(at::kDouble).sum(0, true);
      expect_close("sum over the groups", a[i], sum, 1e-6 * sum.abs().max().item<double>());
    }
  };
  check();
  CudaOnTheHost library;
  check();
}

TEST(rationalDenominatorHasItsLeastValue) {
  const auto check = [] {
    const at::Tensor x = at::rand({4000}, at::detail::createCPUGenerator(3), at::kFloat) * 2000 - 1000;
    for (const char* version : {"A", "B", "C", "D"}) {
      const bool c = *version == 'C';
      const at::Tensor one = at::tensor({1.0f, 0.0f}).unsqueeze(0), b = random({1, c ? 5 : 4}, 4).to(at::kFloat);
      const at::Tensor over_q = rational(x, one, b, version, 1);
      // Of D a_0 is noisy, too.
      const double most = c ? 10 : *version == 'D' ? 1.1 : 1;
      REQUIRE(over_q.max().item<float>() <= most * (1 + 1e-6) && over_q.min().item<float>() > 0);
    }
  };
  check();
  CudaOnTheHost library;
  check();
}

void expect_finite(at::ScalarType type) {
  const std::vector<double> large = {4096,  -4097,  1e4, -1e9, 1e20,     1e30,      -1e30, 3e38,
                                     65504, -60000, 3,   NAN,  INFINITY, -INFINITY, 0};
  const at::Tensor x = at::tensor(at::ArrayRef<double>(large)).to(type);
  for (const char* version : {"A", "B", "C", "D"}) {
    const int64_t b0 = *version == 'C' ? 1 : 0;
    at::Tensor identity = at::zeros({1, 6}), none = at::zeros({1, 4 + b0});
    identity.select(1, 1).fill_(1);
    none.select(1, 0).fill_(b0 == 1 ? 0.9f : 0.0f);
    for (const auto& [a, b] :
         {std::pair(identity, none), std::pair(random({1, 6}, 5).to(at::kFloat), random({1, 4 + b0}, 6).to(at::kFloat)),
          std::pair(random({1, 3}, 7).to(at::kFloat), random({1, 6 + b0}, 8).to(at::kFloat))}) {
      const auto slopes = [&](bool exact) {
        const auto wide = exact ? at::kDouble : at::kFloat;
        const at::Tensor at = x.to(exact ? at::kDouble : type).clone().requires_grad_(true);
        Kernels k(exact ? "reference" : "own");
        const at::Tensor y = rational(at, a.to(wide), b.to(wide), version, 9);
        y.sum().backward();
        return Tensors{y.detach().to(at::kDouble), at.grad().to(at::kDouble)};
      };
      const Tensors own = slopes(false), exact = slopes(true);
      for (int i = 0; i < 2; ++i) {
        const at::Tensor reference = exact[i].to(type).to(at::kDouble);  // infinite where it is no number of the type
        const at::Tensor same =
            at::logical_or(at::logical_or(at::logical_and(own[i].isnan(), reference.isnan()), own[i] == reference),
                           (own[i] - reference).abs() <= (type == at::kFloat ? 1e-5 : 1e-2) * reference.abs() + 1e-6);
        if (!same.all().item<bool>()) {
          fail(text(version, i == 0 ? " y " : " dx ", own[i], " should be ", reference));
        }
      }
      REQUIRE(own[0].narrow(0, 11, 3).isnan().all().item<bool>());
    }
  }
}

TEST(rationalOfLargeNumbersIsFinite) {
  expect_finite(at::kFloat);
  expect_finite(at::kBFloat16);
  CudaOnTheHost library;
  expect_finite(at::kFloat);
  expect_finite(at::kHalf);
}

TEST(rationalSlopeAtZeroIsThatOfThePositiveSide) {
  const auto check = [](const char* provider) {
    Kernels k(provider);
    const at::Tensor x = at::tensor({-2.0f, -0.0f, 0.0f, 3.0f}).requires_grad_(true);
    const at::Tensor a = at::tensor({0.5f, 1.0f}).unsqueeze(0), b = at::zeros({1, 2}).requires_grad_(true);
    rational(x, a, b, "A", 1).sum().backward();  // db_j = -Σ P·|x|ʲ, P = x + 0.5
    expect_close("db", b.grad(), at::tensor({-(-1.5 * 2 + 3.5 * 3), -(-1.5 * 4 + 3.5 * 9)}).unsqueeze(0), 0);
    x.mutable_grad().zero_();
    rational(x, a, at::tensor({0.25f, 0.0f}).unsqueeze(0), "A", 1).sum().backward();  // at 0: 1 - 0.5·0.25
    REQUIRE(x.grad()[1].item<float>() == 0.875f && x.grad()[2].item<float>() == 0.875f);
  };
  check("own");
  check("reference");
  CudaOnTheHost library;
  check("own");
}

TEST(rationalNoiseIsTheSameOnADevice) {
  const at::Tensor one = at::tensor({1.0f, 0.0f}).unsqueeze(0), none = at::zeros({1, 1});
  const auto a_0 = [&] { return rational(at::ones({300, 41}), one, none, "D", kSeed); };  // y is the noise of a_0
  const at::Tensor own = a_0(), golden = noise(300 * 41).select(1, 0).reshape({300, 41}).to(at::kFloat);
  expect_same_bits("own", own, golden);
  {
    Kernels k("reference");
    expect_same_bits("reference", a_0(), golden);
  }
  REQUIRE(own.min().item<float>() > 0.9f && own.max().item<float>() < 1.1f);
  REQUIRE(std::abs(own.mean().item<double>() - 1) < 5 * 0.0578 / std::sqrt(12300.0));
  REQUIRE(!at::equal(own, rational(at::ones({300, 41}), one, none, "D", kSeed + 1)));
  CudaOnTheHost library;
  expect_same_bits("device", a_0(), golden);
}

TEST(rationalTakesStridedInputs) {
  const at::Tensor wide = random({20, 100}, 1).to(at::kFloat), a = random({6, 3}, 2).to(at::kFloat).t(),
                   b = random({3, 8}, 3).to(at::kFloat).slice(1, 0, 8, 2), view = wide.narrow(1, 7, 48);
  expect_same_bits("view", rational(view, a, b, "A", 1),
                   rational(view.contiguous(), a.contiguous(), b.contiguous(), "A", 1));
}

TEST(rationalRefuses) {
  const at::Tensor x = random({4, 8}, 1).to(at::kFloat), a = random({2, 6}, 2).to(at::kFloat),
                   b = random({2, 4}, 3).to(at::kFloat), none, integers = x.to(at::kLong), wide = a.to(at::kDouble);
  const auto refused = [&](const char* what, const at::Tensor& x_in, const at::Tensor& numerator,
                           const at::Tensor& denominator, const std::string& version, std::vector<std::string> pieces) {
    pieces.push_back("rational");
    const int64_t before = live_bytes();
    reset_peak_bytes();
    expect_error(what, [&] { rational(x_in, numerator, denominator, version, 1); }, pieces);
    REQUIRE(peak_bytes() == before);
  };
  const at::Tensor long_a = at::ones({2, 9}), one_a = at::ones({2, 1}), flat = at::ones({6}), three = at::ones({3, 4}),
                   long_b = at::ones({2, 7}), no_b = at::ones({2, 0}), odd = at::ones({4, 7}), half = x.to(at::kHalf);
  refused("undefined", none, a, b, "A", {"x is undefined"});
  refused("integers", integers, a, b, "A", {"x", "float32", "Long"});
  refused("float16", half, a, b, "A", {"x", "Half", "cpu"});
  refused("version", x, a, b, "E", {"version", "[A, B, C, D]", "'E'"});
  refused("long version", x, a, b, "AB", {"version", "'AB'"});
  refused("no numerator", x, none, b, "A", {"numerator is undefined"});
  refused("m 8", x, long_a, b, "A", {"numerator", "[G or 1, 2 to 8]", "[2, 9]"});
  refused("m 0", x, one_a, b, "A", {"numerator", "[2, 1]"});
  refused("flat", x, flat, b, "A", {"numerator", "[6]"});
  refused("n 7", x, a, long_b, "A", {"denominator", "[G or 1, 1 to 6]", "[2, 7]"});
  refused("n 0", x, a, no_b, "B", {"denominator", "[2, 0]"});
  refused("C", x, a, one_a, "C", {"denominator", "[G or 1, 2 to 7]", "[2, 1]"});
  refused("groups differ", x, a, three, "A", {"numerator has 2 rows", "denominator 3"});
  refused("channels", odd, a, b, "A", {"7 channels", "2 groups"});
  refused("type", x, wide, b, "A", {"numerator", "Float", "Double"});
}

}  // namespace
}  // namespace peft4j::test
