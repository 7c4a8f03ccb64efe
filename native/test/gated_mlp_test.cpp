/* gated_mlp: every activation, strided rows, the ends of the line. */
#include "check.h"

namespace peft4j::test {
namespace {

const std::vector<std::string> kActivations = {"silu", "gelu", "gelu_tanh", "relu"};

at::Tensor activated(const at::Tensor& x, const std::string& activation) {
  if (activation == "relu") {
    return at::relu(x);
  }
  return activation == "silu" ? at::silu(x) : at::gelu(x, activation == "gelu" ? "none" : "tanh");
}

Operation operation_of(int64_t rows, int64_t columns, const std::string& activation, bool trains_gate, bool trains_up) {
  Operation o;
  o.what = text("[", rows, ", ", columns, "] ", activation, " trains ", trains_gate, trains_up);
  o.inputs = {random({rows, columns}, 1, 2), random({rows, columns}, 2)};
  o.trained = {trains_gate, trains_up};
  o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{gated_mlp(in[0], in[1], activation)}; };
  o.plain = [=](const Tensors& in, at::ScalarType) { return Tensors{activated(in[0], activation) * in[1]}; };
  return o;
}

TEST(gatedMlpFollowsItsFormula) {
  const std::vector<int64_t> rows = {0, 1, 2, 33};
  for (const std::vector<int>& c : pairwise({4, static_cast<int>(kSizes.size()), 4, 3})) {
    compare(operation_of(rows[c[0]], kSizes[c[1]], kActivations[c[2]], c[3] != 1, c[3] != 2));
  }
}

TEST(gatedMlpThroughCudasKernels) {
  CudaOnTheHost library;
  for (const std::string& activation : kActivations) {
    for (const int64_t columns : {41, 48}) {
      Operation o = operation_of(3, columns, activation, true, true);
      o.types = {at::kFloat, at::kBFloat16};
      compare(o);
      const Tensors half = results(o, o.run, at::kHalf, false), single = results(o, o.run, at::kFloat, false);
      for (size_t i = 0; i < half.size(); ++i) {
        expect_close(text("float16, result ", i), half[i].to(at::kFloat), single[i], 1e-2);
      }
    }
  }
}

TEST(gatedMlpAtTheEnds) {
  const at::Tensor x =
      at::tensor({-1e30, -100.0, -20.0, -1e-20, 0.0, 1e-20, 20.0, 100.0, 1e30}, at::kDouble).unsqueeze(0);
  for (const std::string& activation : kActivations) {
    for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      const at::Tensor gate = x.to(type).clone().requires_grad_(true), one = at::ones_like(x).to(type);
      const at::Tensor exact = gate.detach().to(at::kDouble), scale = exact.abs().clamp_min(1);
      const at::Tensor y = gated_mlp(gate, one, activation);
      y.sum().backward();
      // gelu_tanh of at:: overflows at 1e30 in its slope: 0 and 1 there.
      const at::Tensor near = exact.clamp(-30, 30).requires_grad_(true), at_near = activated(near, activation);
      at_near.sum().backward();
      const at::Tensor reference = at::where(exact.abs() > 30, at::relu(exact), at_near.detach());
      const double allowed = type == at::kBFloat16 ? 4e-3 : 1e-7;
      expect_close(activation + " / |x|", (y.detach().to(at::kDouble) / scale).to(at::kFloat), reference / scale,
                   allowed);
      expect_close(activation + " slope", gate.grad().to(at::kFloat), near.grad(), allowed);
    }
    REQUIRE(gated_mlp(at::full({1, 1}, NAN), at::ones({1, 1}), activation).isnan().all().item<bool>());
  }
}

TEST(gatedMlpGivesALinearGroupOneGradient) {
  const at::Tensor product = random({5, 2 * 40}, 1).to(at::kFloat);
  const at::Tensor gate = product.narrow(1, 0, 40).requires_grad_(true),
                   up = product.narrow(1, 40, 40).requires_grad_(true);
  const at::Tensor y = gated_mlp(gate, up, "silu");
  expect_same_bits("views", y, gated_mlp(gate.contiguous(), up.contiguous(), "silu"));
  const Tensors gradients = torch::autograd::grad({y}, {gate, up}, {random({5, 40}, 2).to(at::kFloat)});
  REQUIRE(gradients[0].storage().is_alias_of(gradients[1].storage()));
  REQUIRE(gradients[0].stride(0) == 80 && gradients[1].storage_offset() == gradients[0].storage_offset() + 40);
}

TEST(gatedMlpRefuses) {
  const at::Tensor gate = random({4, 8}, 1).to(at::kFloat), up = random({4, 8}, 2).to(at::kFloat);
  const auto refused = [&](const char* what, const at::Tensor& g, const at::Tensor& u, const char* activation,
                           std::vector<std::string> pieces) {
    pieces.push_back("gated_mlp");
    expect_error(what, [&] { gated_mlp(g, u, activation); }, pieces);
  };
  refused("undefined", at::Tensor(), up, "silu", {"gate is undefined"});
  refused("flat", gate.flatten(), up, "silu", {"gate", "[T, N]", "[32]"});
  refused("up", gate, up.narrow(0, 0, 3), "silu", {"up", "[4, 8]", "[3, 8]"});
  refused("type", gate, up.to(at::kDouble), "silu", {"Float", "Double"});
  refused("activation", gate, up, "swish", {"activation", "silu, gelu, gelu_tanh, relu", "'swish'"});
}

}  // namespace
}  // namespace peft4j::test
