/* rms_norm: with and without residual, dropout and trained weight; see check.h for the rule of comparison. */
#include "check.h"

namespace peft4j::test {
namespace {

// inputs: x, residual, weight; results y, z
Operation operation_of(int64_t rows, int64_t columns, bool residual, double p, double offset, bool trains_weight,
                       bool trains_x) {
  Operation o;
  o.what = text("[", rows, ", ", columns, "] residual ", residual, " p ", p, " offset ", offset, " trains ", trains_x,
                trains_weight);
  o.inputs = {random({rows, columns}, 1) + 0.5, residual ? random({rows, columns}, 2) : at::Tensor(),
              random({columns}, 3)};
  o.trained = {trains_x, trains_x, trains_weight};
  const double eps = columns < 8 ? 0.1 : 1e-5;  // z may be tiny
  o.run = [=](const Tensors& in, at::ScalarType) { return rms_norm(in[0], in[1], in[2], eps, offset, p, 9); };
  o.plain = [=](const Tensors& in, at::ScalarType type) {
    at::Tensor z = p > 0 ? in[0] * mask(rows, columns, p, 9).to(type) : in[0];
    z = in[1].defined() ? z + in[1] : z;
    return Tensors{z * at::rsqrt((z * z).mean(1, true) + eps) * (in[2] + offset), z};
  };
  return o;
}

TEST(rmsNormFollowsItsFormula) {
  const std::vector<int64_t> rows = {0, 1, 2, 127, 129, 256, 257};
  const std::vector<double> dropouts = {0, 0.1, 0.5};
  for (const std::vector<int>& c : pairwise({7, 13, 2, 3, 2, 2, 2})) {
    compare(operation_of(rows[c[0]], kSizes[c[1]], c[2] == 1, dropouts[c[3]], c[4], c[5] == 1, c[6] == 1));
  }
}

TEST(rmsNormThroughCudasKernels) {
  CudaOnTheHost library;
  for (const std::vector<int>& c : pairwise({2, 3, 2, 2, 2, 2})) {
    Operation o = operation_of(c[0] == 1 ? 3 : 130, std::vector<int64_t>{7, 48, 136}[c[1]], c[2] == 1,
                               c[3] == 1 ? 0.1 : 0, c[4], c[5] == 1, true);
    o.types = {at::kFloat, at::kBFloat16};
    compare(o);
  }
  const Operation o = operation_of(5, 48, true, 0.1, 0, true, true);
  const Tensors half = results(o, o.run, at::kHalf, false), single = results(o, o.run, at::kFloat, false);
  for (size_t i = 0; i < half.size(); ++i) {
    expect_close(text("float16, result ", i), half[i].to(at::kFloat), single[i], 1e-2);
  }
}

// LlamaRMSNorm, by build-scripts/fixtures/norm_rotary.py
TEST(rmsNormEqualsTransformers) {
  const at::Tensor x = at::tensor({1.0f, -2.0f, 0.5f, 3.0f, 0.25f, 0.125f, -0.75f, 4.0f}).view({2, 4});
  const at::Tensor w = at::tensor({0.5f, 1.0f, -1.5f, 2.0f});
  const at::Tensor expected = at::tensor({0.264906079f, -1.05962431f, -0.397359133f, 3.17887306f, 0.0612850673f,
                                          0.0612850673f, 0.551565647f, 3.92224431f})
                                  .view({2, 4});
  expect_close("y", rms_norm(x, at::Tensor(), w, 1e-5, 0, 0, 1)[0], expected, 0, 1e-6);
  // GemmaRMSNorm adds 1 to its weight.
  expect_close("Gemma", rms_norm(x, at::Tensor(), w - 1, 1e-5, 1, 0, 1)[0], expected, 0, 1e-6);
}

TEST(rmsNormHandsOnTheResidualStream) {
  const at::Tensor x = random({20, 40}, 1).to(at::kFloat).requires_grad_(true), w = random({40}, 2).to(at::kFloat);
  const at::Tensor stream = random({20, 40}, 3).to(at::kFloat).requires_grad_(true);
  REQUIRE(rms_norm(x, at::Tensor(), w, 1e-5, 0, 0, 1)[1].is_same(x));
  for (const double p : {0.0, 0.3}) {
    for (const bool uses_y : {true, false}) {
      Tensors fused = rms_norm(x, stream, w, 1e-5, 0, p, 7);
      const at::Tensor z = peft4j::dropout(x, p, 7) + stream;
      const at::Tensor y = rms_norm(z, at::Tensor(), w, 1e-5, 0, 0, 1)[0];
      const at::Tensor given = random({20, 40}, 5).to(at::kFloat);
      const auto gradients = [&](const at::Tensor& y_of, const at::Tensor& z_of) {
        const Tensors outputs = uses_y ? Tensors{y_of, z_of} : Tensors{z_of};
        return torch::autograd::grad(outputs, {x, stream}, Tensors(outputs.size(), given));
      };
      const Tensors own = gradients(fused[0], fused[1]), apart = gradients(y, z);
      expect_close("dx", own[0], apart[0], 1e-6);
      expect_close("dresidual", own[1], apart[1], 1e-6);
    }
  }
  // A stream that nothing trained leads to needs no gradient, whatever the weight does.
  const Tensors still = rms_norm(x.detach(), stream.detach(), w.clone().requires_grad_(true), 1e-5, 0, 0, 1);
  REQUIRE(still[0].requires_grad() && !still[1].requires_grad());
}

TEST(rmsNormRepeatsItsBitsForAnyThreads) {
  const Operation o = operation_of(700, 257, true, 0.1, 1, true, true);
  expect_same_bits_for_any_threads(o);
}

TEST(rmsNormRefuses) {
  const at::Tensor x = random({4, 8}, 1).to(at::kFloat), w = random({8}, 2).to(at::kFloat), none;
  const at::Tensor short_w = w.narrow(0, 0, 7), wide = w.to(at::kDouble), other = random({3, 8}, 1).to(at::kFloat);
  const auto refused = [&](const char* what, const at::Tensor& x_in, const at::Tensor& r, const at::Tensor& weight,
                           double eps, double offset, double p, std::vector<std::string> pieces) {
    pieces.push_back("rms_norm");
    expect_error(what, [&] { rms_norm(x_in, r, weight, eps, offset, p, 1); }, pieces);
  };
  refused("undefined", none, none, w, 1e-5, 0, 0, {"x is undefined"});
  refused("integers", x.to(at::kLong), none, w, 1e-5, 0, 0, {"x", "float32", "Long"});
  refused("float16 on the CPU", x.to(at::kHalf), none, w.to(at::kHalf), 1e-5, 0, 0, {"x", "Half", "cpu"});
  refused("flat", w, none, w, 1e-5, 0, 0, {"x", "[T, C]", "[8]"});
  refused("residual", x, other, w, 1e-5, 0, 0, {"residual", "[4, 8]", "[3, 8]"});
  refused("weight", x, none, short_w, 1e-5, 0, 0, {"weight", "[8]", "[7]"});
  refused("weight type", x, none, wide, 1e-5, 0, 0, {"weight", "Float", "Double"});
  refused("eps", x, none, w, -1, 0, 0, {"eps", "-1"});
  refused("offset", x, none, w, 1e-5, NAN, 0, {"weight_offset", "finite"});
  refused("dropout", x, none, w, 1e-5, 0, 1, {"dropout", "[0, 1)", "1"});
}

}  // namespace
}  // namespace peft4j::test
