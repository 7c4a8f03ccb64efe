/* linear: the formula and its gradients, operands that are views with gaps. */
#include "check.h"

namespace peft4j::test {
namespace {

Operation operation_of(int64_t rows, int64_t in, int64_t out, bool bias, bool trains_x) {
  Operation o;
  o.what = text("[", rows, ", ", in, "] to ", out, " bias ", bias, " x ", trains_x);
  o.inputs = {random({rows, in}, 1), random({out, in}, 2), bias ? random({out}, 3) : at::Tensor()};
  o.trained = {trains_x, true, true};
  o.run = [](const Tensors& t, at::ScalarType) { return Tensors{linear(t[0], t[1], t[2])}; };
  o.plain = [](const Tensors& t, at::ScalarType) {
    const at::Tensor y = at::mm(t[0], t[1].t());
    return Tensors{t[2].defined() ? y + t[2] : y};
  };
  return o;
}

TEST(linearFollowsItsFormula) {
  const std::vector<int64_t> rows = {1, 33, 70, 0}, ins = {1, 33, 64, 150}, outs = {1, 3, 33, 64, 150};
  for (const std::vector<int>& c : pairwise({4, 4, 5, 2, 2})) {
    compare(operation_of(rows[c[0]], ins[c[1]], outs[c[2]], c[3] == 1, c[4] == 1), "auto");
  }
}

// Other layers' results lie beside x, their gradients beside dy: nothing of them gets into the products.
void takes_views_with_gaps(at::ScalarType type, int64_t in, int64_t out) {
  const auto typed = [&](at::IntArrayRef shape, uint64_t seed) { return random(shape, seed).to(type); };
  const auto with_gaps = [](const at::Tensor& t) {
    const at::Tensor rows = at::full({t.size(0), t.size(1) + 7}, NAN, t.options()).narrow(1, 0, t.size(1));
    rows.copy_(t);
    return rows;
  };
  const at::Tensor w = typed({out, in}, 1).requires_grad_(true), x = typed({70, in}, 2), dy = typed({70, out}, 3);
  const auto run = [&](const at::Tensor& given, const at::Tensor& gradient) {
    const at::Tensor input = given.detach().requires_grad_(true), y = linear(input, w, at::Tensor());
    const Tensors all = torch::autograd::grad({y}, {input, w}, {gradient});
    return Tensors{y.detach(), all[0], all[1]};
  };
  const Tensors dense = run(x, dy), views = run(with_gaps(x), with_gaps(dy));
  for (size_t i = 0; i < dense.size(); ++i) {
    expect_same_bits(text("result ", i, " of ", in, " to ", out, " ", type), views[i], dense[i]);
  }
}

TEST(linearTakesViewsWithGaps) {
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    takes_views_with_gaps(type, 33, 50);
    takes_views_with_gaps(type, 50, 33);
    takes_views_with_gaps(type, 150, 141);
  }
}

TEST(linearLeavesItsOperands) {
  for (const int64_t rows : {1, 2}) {
    for (const auto& [in, out] : {std::pair{2, 40}, std::pair{40, 2}, std::pair{150, 140}}) {
      const Tensors given = {random({rows, in}, 1).to(at::kFloat), random({out, in}, 2).to(at::kFloat),
                             random({out}, 3).to(at::kFloat)};
      Tensors inputs;
      for (const at::Tensor& t : given) {
        inputs.push_back(t.clone().requires_grad_(true));
      }
      const at::Tensor y = linear(inputs[0], inputs[1], inputs[2]);
      torch::autograd::grad({y}, inputs, {at::ones_like(y)});
      for (size_t i = 0; i < given.size(); ++i) {
        expect_same_bits(text("operand ", i, " of ", in, " to ", out), inputs[i].detach(), given[i]);
      }
    }
  }
}

TEST(linearRefuses) {
  const auto f = [](at::IntArrayRef shape) { return random(shape, 1).to(at::kFloat); };
  const at::Tensor x = f({5, 3}), w = f({4, 3});
  expect_error("shape of x", [&] { linear(f({3}), w, at::Tensor()); }, {"linear", "x", "[T, in]"});
  expect_error("shape of w", [&] { linear(x, f({4, 2}), at::Tensor()); }, {"linear", "w", "[out, 3]", "[4, 2]"});
  expect_error("no w", [&] { linear(x, at::Tensor(), at::Tensor()); }, {"linear", "w"});
  expect_error("type", [&] { linear(x, w.to(at::kBFloat16), at::Tensor()); }, {"linear", "Float", "BFloat16"});
  expect_error("bias", [&] { linear(x, w, f({3})); }, {"linear", "bias", "[4]", "[3]"});
}

}  // namespace
}  // namespace peft4j::test
