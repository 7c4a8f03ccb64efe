/* adamw and clip_grad_norm against their formulas. */
#include "check.h"

namespace peft4j::test {
namespace {

TEST(adamwFollowsItsFormula) {
  const std::vector<std::vector<int64_t>> shapes = {{3, 5}, {7}, {1000}, {2, 3, 4}, {0}};
  const std::vector<double> rate = {0.1, 0.1, 0.01, 0.01, 0.1}, decay = {0.1, 0, 0, 0.5, 0};
  Tensors p, g, m, v, p_exact, m_exact, v_exact;
  for (size_t i = 0; i < shapes.size(); ++i) {
    p.push_back(random(shapes[i], i).to(at::kFloat).requires_grad_(true));
    m.push_back(at::zeros(shapes[i], at::kFloat));
    v.push_back(at::zeros(shapes[i], at::kFloat));
    p_exact.push_back(p[i].detach().to(at::kDouble));
    m_exact.push_back(at::zeros(shapes[i], at::kDouble));
    v_exact.push_back(at::zeros(shapes[i], at::kDouble));
  }
  for (int64_t step = 1; step <= 5; ++step) {
    g.clear();
    for (size_t i = 0; i < shapes.size(); ++i) {
      g.push_back(random(shapes[i], 100 * step + i).to(at::kFloat));
      if (i == 0) {
        g[0] = g[0].t().contiguous().t();  // as lora_linear or autograd may give it
      }
      const at::Tensor exact = g[i].to(at::kDouble);
      p_exact[i] = p_exact[i] * (1 - rate[i] * decay[i]);
      m_exact[i] = 0.9 * m_exact[i] + 0.1 * exact;
      v_exact[i] = 0.99 * v_exact[i] + 0.01 * exact * exact;
      const at::Tensor denominator = (v_exact[i] / (1 - std::pow(0.99, step))).sqrt() + 1e-8;
      p_exact[i] = p_exact[i] - rate[i] / (1 - std::pow(0.9, step)) * m_exact[i] / denominator;
    }
    adamw(p, g, m, v, rate, decay, 0.9, 0.99, 1e-8, step);
    for (size_t i = 0; i < shapes.size(); ++i) {
      expect_close(text("parameter ", i, " after step ", step), p[i], p_exact[i], 2e-6);
      expect_close(text("first moment ", i), m[i], m_exact[i], 1e-6);
      expect_close(text("second moment ", i), v[i], v_exact[i], 1e-6);
      REQUIRE(p[i].requires_grad());
    }
  }
  adamw({}, {}, {}, {}, {}, {}, 0.9, 0.99, 1e-8, 1);
}

TEST(adamwRefuses) {
  const at::Tensor p = random({4, 3}, 1).to(at::kFloat), before = p.clone();
  const at::Tensor flat = p.flatten(), wide = p.to(at::kDouble), turned = random({3, 4}, 1).to(at::kFloat).t(), none;
  const std::vector<double> one = {0.1}, nothing = {};
  const auto refused = [&](const char* what, const Tensors& g, const Tensors& m, const Tensors& v,
                           const std::vector<double>& rate, double beta1, int64_t step,
                           std::vector<std::string> pieces) {
    pieces.push_back("adamw");
    expect_error(what, [&] { adamw({p}, g, m, v, rate, one, beta1, 0.99, 1e-8, step); }, pieces);
    expect_same_bits("parameter", p, before);
  };
  const auto fresh = [&] { return at::zeros({4, 3}, at::kFloat); };
  refused("counts", {}, {fresh()}, {fresh()}, one, 0.9, 1, {"1 parameters", "gradients"});
  refused("rates", {fresh()}, {fresh()}, {fresh()}, nothing, 0.9, 1, {"1 parameters", "learning rates"});
  refused("step 0", {fresh()}, {fresh()}, {fresh()}, one, 0.9, 0, {"step", "got 0"});
  refused("undefined gradient", {none}, {fresh()}, {fresh()}, one, 0.9, 1, {"gradient 0", "[4, 3]"});
  refused("shape", {flat}, {fresh()}, {fresh()}, one, 0.9, 1, {"gradient 0", "[4, 3]", "[12]"});
  refused("type", {wide}, {fresh()}, {fresh()}, one, 0.9, 1, {"gradient 0", "Float", "Double"});
  refused("short moment", {fresh()}, {at::zeros({2, 3}, at::kFloat)}, {fresh()}, one, 0.9, 1,
          {"exp_avg 0", "[4, 3]", "[2, 3]"});
  refused("undefined moment", {fresh()}, {fresh()}, {none}, one, 0.9, 1, {"exp_avg_sq 0", "[4, 3]"});
  refused("turned moment", {fresh()}, {turned}, {fresh()}, one, 0.9, 1, {"exp_avg 0", "contiguous"});
  expect_error("turned parameter",
               [&] { adamw({turned}, {fresh()}, {fresh()}, {fresh()}, one, one, 0.9, 0.99, 1e-8, 1); },
               {"adamw", "parameter 0", "contiguous"});
}

TEST(clipGradNormScalesToTheNorm) {
  const Tensors exact = {random({3, 4}, 1), random({1000}, 2), random({0}, 3), random({2, 2}, 4)};
  const auto fresh = [&] {
    return Tensors{exact[0].to(at::kFloat), exact[1].to(at::kFloat), exact[2].to(at::kFloat), exact[3].to(at::kFloat)};
  };
  const double norm = at::cat({exact[0].flatten(), exact[1], exact[3].flatten()}).norm().item<double>();
  Tensors g = fresh();
  REQUIRE(std::abs(clip_grad_norm(g, 0) - norm) < 1e-5);
  expect_same_bits("measured only", g[1], fresh()[1]);
  REQUIRE(std::abs(clip_grad_norm(g, 2 * norm) - norm) < 1e-5);
  expect_same_bits("below the bound", g[1], fresh()[1]);
  REQUIRE(std::abs(clip_grad_norm(g, 1.5) - norm) < 1e-5);
  REQUIRE(std::abs(clip_grad_norm(g, 0) - 1.5) < 1e-5);
  expect_close("direction", g[1], exact[1] * (1.5 / norm), 1e-6);
  REQUIRE(clip_grad_norm({}, 1) == 0);
  REQUIRE(std::isnan(clip_grad_norm({at::full({2}, NAN)}, 1)));
  expect_error("negative", [&] { clip_grad_norm(g, -1); }, {"clip_grad_norm", "max_norm", "-1"});
  expect_error("NaN", [&] { clip_grad_norm(g, NAN); }, {"clip_grad_norm", "max_norm", "nan"});
  expect_error("undefined", [&] { clip_grad_norm({at::Tensor()}, 1); }, {"clip_grad_norm", "gradient 0", "undefined"});
}

}  // namespace
}  // namespace peft4j::test
