/* gelu, dropout and the mask's bits. */
#include "check.h"
#include "philox.h"

namespace peft4j::test {
namespace {

TEST(geluFollowsItsFormula) {
  const std::vector<std::vector<int64_t>> shapes = {{0},       {1},          {2},     {3},       {7},
                                                    {31, 33},  {32},         {33, 1}, {123, 41}, {255, 3},
                                                    {257, 17}, {1000, 3, 2}, {2048},  {2049, 0}, {}};
  for (const std::vector<int64_t>& shape : shapes) {
    Operation o;
    o.what = text("gelu ", at::IntArrayRef(shape));
    o.inputs = {random(shape, 1, 2)};
    o.trained = {true};
    o.run = [](const Tensors& in, at::ScalarType) { return Tensors{peft4j::gelu(in[0])}; };
    o.plain = [](const Tensors& in, at::ScalarType) { return Tensors{in[0] * 0.5 * (1 + at::erf(in[0] * M_SQRT1_2))}; };
    compare(o);
  }
}

TEST(geluAtTheEnds) {
  const at::Tensor x =
      at::tensor({-100.0, -14.0, -6.0, -1e-20, 0.0, 1e-20, 6.0, 14.0, 100.0, 1e30, -1e30}, at::kDouble);
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    at::Tensor own = x.to(type).clone().requires_grad_(true),
               exact = x.to(type).to(at::kDouble).clone().requires_grad_(true);
    const at::Tensor y = peft4j::gelu(own), reference = at::gelu(exact);
    y.sum().backward();
    reference.sum().backward();
    const at::Tensor scale = exact.detach().abs().clamp_min(1);
    expect_close("gelu / |x|", (y.detach().to(at::kDouble) / scale).to(at::kFloat), reference.detach() / scale,
                 type == at::kBFloat16 ? 4e-3 : 1e-7);
    expect_close("slope", own.grad().to(at::kFloat), exact.grad(), type == at::kBFloat16 ? 4e-3 : 1e-6);
  }
  const at::Tensor odd = peft4j::gelu(at::tensor({NAN, INFINITY}, at::kFloat));
  REQUIRE(odd[0].isnan().item<bool>() && odd[1].isinf().item<bool>());
}

TEST(geluOnTheWholeLine) {
  const at::Tensor x = at::linspace(-12, 12, 200001, at::kFloat);
  const at::Tensor exact = at::gelu(x.to(at::kDouble));
  const double worst = (peft4j::gelu(x).to(at::kDouble) - exact).abs().max().item<double>();
  if (!(worst < 1e-6)) {
    fail(text("largest error ", worst));
  }
}

TEST(dropoutFollowsItsMask) {
  for (const int64_t rows : {0, 1, 3, 33}) {
    for (const int64_t columns : kSizes) {
      for (const double p : {0.0, 0.1, 0.5, 0.999}) {
        Operation o;
        o.what = text("dropout [", rows, ", ", columns, "] p ", p);
        o.inputs = {random({rows, columns}, 1)};
        o.trained = {true};
        o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{peft4j::dropout(in[0], p, -3)}; };
        o.plain = [=](const Tensors& in, at::ScalarType type) {
          return Tensors{in[0] * mask(rows, columns, p, -3).to(type)};
        };
        compare(o);
      }
    }
  }
}

TEST(geluAndDropoutThroughCudasKernels) {
  CudaOnTheHost library;
  for (const int64_t columns : {41, 48}) {
    for (const bool drops : {false, true}) {
      Operation o;
      o.what = text(drops ? "dropout" : "gelu", " [5, ", columns, "]");
      o.inputs = {random({5, columns}, 1, 2)};
      o.trained = {true};
      o.run = [=](const Tensors& in, at::ScalarType) {
        return Tensors{drops ? peft4j::dropout(in[0], 0.3, 5) : peft4j::gelu(in[0])};
      };
      o.plain = [=](const Tensors& in, at::ScalarType type) {
        return Tensors{drops ? in[0] * mask(5, columns, 0.3, 5).to(type)
                             : in[0] * 0.5 * (1 + at::erf(in[0] * M_SQRT1_2))};
      };
      o.types = {at::kFloat, at::kBFloat16};
      compare(o);
      Kernels own("own");
      const Tensors half = results(o, o.run, at::kHalf, false), single = results(o, o.run, at::kFloat, false);
      for (size_t i = 0; i < half.size(); ++i) {
        expect_close(text(o.what, " float16, result ", i), half[i].to(at::kFloat), single[i], 1e-2);
      }
    }
  }
}

TEST(dropoutKeepsItsShare) {
  const at::Tensor x = at::ones({1000, 1000}, at::kFloat);
  for (const double p : {0.01, 0.1, 0.5, 0.9}) {
    const double share = std::lround(256 * p) / 256.0, deviation = std::sqrt(share * (1 - share) / 1e6);
    const at::Tensor y = peft4j::dropout(x, p, 1234567890123);
    REQUIRE(std::abs(y.eq(0).to(at::kDouble).mean().item<double>() - share) < 5 * deviation);
    REQUIRE(std::abs(y.to(at::kDouble).mean().item<double>() - 1) < 5 * deviation / (1 - share));
    // Neighbours in a row and in a column are independent.
    const at::Tensor dropped = y.eq(0).to(at::kDouble);
    REQUIRE(std::abs((dropped.narrow(1, 0, 999) * dropped.narrow(1, 1, 999)).mean().item<double>() - share * share) <
            6 * deviation);
    REQUIRE(std::abs((dropped.narrow(0, 0, 999) * dropped.narrow(0, 1, 999)).mean().item<double>() - share * share) <
            6 * deviation);
  }
  REQUIRE(!at::equal(peft4j::dropout(x, 0.5, 1), peft4j::dropout(x, 0.5, 2)));
  REQUIRE(at::equal(peft4j::dropout(x, 0.5, 1), peft4j::dropout(x, 0.5, 1)));
}

TEST(dropoutRefuses) {
  const at::Tensor x = random({4, 8}, 1).to(at::kFloat), flat = x.flatten(), integers = x.to(at::kLong);
  expect_error("flat", [&] { peft4j::dropout(flat, 0.1, 1); }, {"dropout", "x", "[T, C]", "[32]"});
  expect_error("integers", [&] { peft4j::dropout(integers, 0.1, 1); }, {"dropout", "x", "float32", "Long"});
  expect_error("undefined", [&] { peft4j::dropout(at::Tensor(), 0.1, 1); }, {"dropout", "x is undefined"});
  expect_error("p", [&] { peft4j::dropout(x, -0.1, 1); }, {"dropout", "[0, 1)", "-0.1"});
  expect_error("gelu of integers", [&] { peft4j::gelu(integers); }, {"gelu", "x", "float32", "Long"});
  expect_error("gelu of nothing", [&] { peft4j::gelu(at::Tensor()); }, {"gelu", "x is undefined"});
}

// Known answers of the authors: Random123, tests/kat_vectors, philox4x32 10.
TEST(philoxGivesTheKnownAnswers) {
  using Four = std::array<uint32_t, 4>;
  REQUIRE((philox({0, 0, 0, 0}, {0, 0}) == Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  REQUIRE((philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  REQUIRE((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
           Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// The layout of the mask, for other devices to copy: seed 0x0123456789abcdef, row 5, columns 0 to 31, p 0.5.
TEST(maskHasItsGoldenLayout) {
  const char* const golden = "00020222222200022202020000000000";
  const at::Tensor y = peft4j::dropout(at::ones({6, 40}, at::kFloat), 0.5, 0x0123456789abcdef)[5];
  std::string found;
  for (int64_t c = 0; c < 32; ++c) {
    found += y[c].item<float>() == 0 ? '0' : '2';
  }
  if (found != golden) {
    fail("expected " + std::string(golden) + ", got " + found);
  }
}

// Rows beyond 2^32 and blocks of every remainder: kernels make blocks in groups, the reference one by one.
TEST(maskIsTheSameForAnyWidth) {
  const at::Tensor wide = peft4j::dropout(at::ones({3, 1000}, at::kFloat), 0.3, 77);
  for (const int64_t columns : {1, 15, 16, 17, 64, 65, 127, 128, 129, 130, 255, 256, 257, 300, 512, 513}) {
    expect_same_bits(text(columns, " columns"), peft4j::dropout(at::ones({3, columns}, at::kFloat), 0.3, 77),
                     wide.narrow(1, 0, columns));
  }
  Kernels reference("reference");
  expect_same_bits("reference", peft4j::dropout(at::ones({3, 1000}, at::kFloat), 0.3, 77), wide);
}

}  // namespace
}  // namespace peft4j::test
