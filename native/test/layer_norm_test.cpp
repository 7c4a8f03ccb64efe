/* layer_norm: with and without residual, dropout and trained weight; see check.h for the rule of comparison. */
#include "check.h"

namespace peft4j::test {
namespace {

// inputs: x, residual, weight, bias
Operation operation_of(int64_t rows, int64_t columns, bool residual, double p, bool trains_weight, bool trains_bias,
                       bool trains_x) {
  Operation o;
  o.what = text("[", rows, ", ", columns, "] residual ", residual, " p ", p, " trains ", trains_x, trains_weight,
                trains_bias);
  o.inputs = {random({rows, columns}, 1) + 0.5, residual ? random({rows, columns}, 2) : at::Tensor(),
              random({columns}, 3), random({columns}, 4)};
  o.trained = {trains_x, trains_x, trains_weight, trains_bias};
  // With one or two columns the variance may be tiny, and then any precision is lost: eps keeps it away from 0.
  const double eps = columns < 8 ? 0.1 : 1e-5;
  o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{layer_norm(in[0], in[1], in[2], in[3], eps, p, 9)}; };
  o.plain = [=](const Tensors& in, at::ScalarType type) {
    at::Tensor z = in[0] * mask(rows, columns, p, 9).to(type);
    z = in[1].defined() ? z + in[1] : z;
    const at::Tensor d = z - z.mean(1, true);
    return Tensors{d * at::rsqrt((d * d).mean(1, true) + eps) * in[2] + in[3]};
  };
  return o;
}

TEST(layerNormFollowsItsFormula) {
  const std::vector<int64_t> rows = {0, 1, 2, 127, 128, 129, 255, 256, 257};
  const std::vector<double> dropouts = {0, 0.1, 0.5};
  for (const std::vector<int>& c : pairwise({9, 13, 2, 3, 2, 2, 2})) {
    compare(operation_of(rows[c[0]], kSizes[c[1]], c[2] == 1, dropouts[c[3]], c[4] == 1, c[5] == 1, c[6] == 1));
  }
}

TEST(layerNormThroughCudasKernels) {
  CudaOnTheHost library;
  for (const std::vector<int>& c : pairwise({2, 3, 2, 2, 2, 2})) {
    Operation o = operation_of(c[0] == 1 ? 3 : 130, std::vector<int64_t>{7, 48, 136}[c[1]], c[2] == 1,
                               c[3] == 1 ? 0.1 : 0, c[4] == 1, c[5] == 1, true);
    o.types = {at::kFloat, at::kBFloat16};
    compare(o);
  }
  const Operation o = operation_of(5, 48, true, 0.1, true, true, true);
  const Tensors half = results(o, o.run, at::kHalf, false), single = results(o, o.run, at::kFloat, false);
  for (size_t i = 0; i < half.size(); ++i) {
    expect_close(text("float16, result ", i), half[i].to(at::kFloat), single[i], 1e-2);
  }
}

TEST(layerNormRepeatsItsBitsForAnyThreads) {
  const Operation o = operation_of(700, 257, true, 0.1, true, true, true);
  expect_same_bits_for_any_threads(o);
}

TEST(layerNormTakesStridedInputs) {
  const at::Tensor wide = random({20, 100}, 1).to(at::kFloat), w = random({80}, 2).to(at::kFloat);
  const at::Tensor view = wide.narrow(1, 7, 40), doubled = w.slice(0, 0, 80, 2);
  expect_same_bits(
      "view", layer_norm(view, view, doubled, doubled, 1e-5, 0, 1),
      layer_norm(view.contiguous(), view.contiguous(), doubled.contiguous(), doubled.contiguous(), 1e-5, 0, 1));
}

TEST(layerNormOfLargeMeanKeepsItsVariance) {
  const at::Tensor x = random({4, 384}, 1) + 1000, one = at::ones({384}), none = at::zeros({384});
  const at::Tensor y = layer_norm(x.to(at::kFloat), at::Tensor(), one, none, 1e-5, 0, 1);
  const at::Tensor reference =
      layer_norm(x.to(at::kFloat).to(at::kDouble), at::Tensor(), one.to(at::kDouble), none.to(at::kDouble), 1e-5, 0, 1);
  expect_close("y", y, reference, 2e-4);  // the mean itself has an ulp of 6e-5
}

TEST(layerNormRefuses) {
  const at::Tensor x = random({4, 8}, 1).to(at::kFloat), w = random({8}, 2).to(at::kFloat), none;
  const at::Tensor short_w = w.narrow(0, 0, 7), wide = w.to(at::kDouble), flat = w, no_columns = at::empty({4, 0}),
                   other = random({3, 8}, 1).to(at::kFloat), wide_x = x.to(at::kDouble), integers = x.to(at::kLong);
  const auto refused = [&](const char* what, const at::Tensor& x_in, const at::Tensor& r, const at::Tensor& weight,
                           const at::Tensor& bias, double eps, double p, std::vector<std::string> pieces) {
    pieces.push_back("layer_norm");
    const int64_t before = live_bytes();
    reset_peak_bytes();
    expect_error(what, [&] { layer_norm(x_in, r, weight, bias, eps, p, 1); }, pieces);
    REQUIRE(peak_bytes() == before);
  };
  refused("undefined", none, none, w, w, 1e-5, 0, {"x is undefined"});
  refused("integers", integers, none, w, w, 1e-5, 0, {"x", "float32", "Long"});
  refused("flat", flat, none, w, w, 1e-5, 0, {"x", "[T, C]", "[8]"});
  refused("no columns", no_columns, none, w, w, 1e-5, 0, {"x", "[T, C]", "[4, 0]"});
  refused("residual", x, other, w, w, 1e-5, 0, {"residual", "[4, 8]", "[3, 8]"});
  refused("residual type", x, wide_x, w, w, 1e-5, 0, {"residual", "Float", "Double"});
  refused("weight", x, none, short_w, w, 1e-5, 0, {"weight", "[8]", "[7]"});
  refused("no weight", x, none, none, w, 1e-5, 0, {"weight", "[8]"});
  refused("bias", x, none, w, short_w, 1e-5, 0, {"bias", "[8]", "[7]"});
  refused("weight type", x, none, wide, w, 1e-5, 0, {"weight", "Float", "Double"});
  refused("eps", x, none, w, w, -1, 0, {"eps", "negative", "-1"});
  refused("eps NaN", x, none, w, w, NAN, 0, {"eps"});
  refused("dropout", x, none, w, w, 1e-5, 1.5, {"dropout", "[0, 1)", "1.5"});
}

}  // namespace
}  // namespace peft4j::test
