/* adamw and clip_grad_norm against their formulas. */
#include <thread>

#include "check.h"

namespace peft4j::test {
namespace {

void adamw_follows_its_formula() {
  const std::vector<std::vector<int64_t>> shapes = {{3, 5}, {7}, {1000}, {2, 3, 4}, {0}};
  const std::vector<double> rate = {0.1, 0.1, 0.01, 0.01, 0.1}, decay = {0.1, 0, 0, 0.5, 0};
  const std::vector<int64_t> late = {0, 4, 0, 0, 0};  // one took part in more steps than those beside it
  Tensors p, g, m, v, p_exact, m_exact, v_exact;
  for (size_t i = 0; i < shapes.size(); ++i) {
    p.push_back(random(shapes[i], i).to(at::kFloat).requires_grad_(true));
    m.push_back(at::zeros(shapes[i], at::kFloat));
    v.push_back(at::zeros(shapes[i], at::kFloat));
    p_exact.push_back(p[i].detach().to(at::kDouble));
    m_exact.push_back(at::zeros(shapes[i], at::kDouble));
    v_exact.push_back(at::zeros(shapes[i], at::kDouble));
  }
  for (int64_t round = 1; round <= 5; ++round) {
    g.clear();
    std::vector<int64_t> steps;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const int64_t step = steps.emplace_back(round + late[i]);
      g.push_back(random(shapes[i], 100 * round + i).to(at::kFloat));
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
    adamw(p, g, m, v, rate, decay, steps, 0.9, 0.99, 1e-8);
    for (size_t i = 0; i < shapes.size(); ++i) {
      expect_close(text("parameter ", i, " after round ", round), p[i], p_exact[i], 2e-6);
      expect_close(text("first moment ", i), m[i], m_exact[i], 1e-6);
      expect_close(text("second moment ", i), v[i], v_exact[i], 1e-6);
      REQUIRE(p[i].requires_grad());
    }
  }
  adamw({}, {}, {}, {}, {}, {}, {}, 0.9, 0.99, 1e-8);
}

TEST(adamwFollowsItsFormula) {
  adamw_follows_its_formula();
  {
    const Kernels reference("reference");
    adamw_follows_its_formula();
  }
  CudaOnTheHost library;
  adamw_follows_its_formula();
}

// What an adapter's forward pass reads is the border of its weight: adamw's kernel writes it with A and B, and then nobody writes it
// again. Numbers put into A and B behind everybody's back show who reads them.
struct Adapter {
  at::Tensor a, b;

  Adapter(int64_t in, int64_t out, int64_t rank, uint64_t seed)
      : a(random({rank, in}, seed).to(at::kFloat).requires_grad_(true)),
        b(random({out, rank}, seed + 1).to(at::kFloat).requires_grad_(true)) {}

  void step(uint64_t seed) const {
    const auto like = [&](const at::Tensor& t, uint64_t s) { return random(t.sizes(), s).to(at::kFloat); };
    adamw({a, b}, {like(a, seed), like(b, seed + 1)}, {at::zeros_like(a), at::zeros_like(b)},
          {at::zeros_like(a), at::zeros_like(b)}, {0.1, 0.1}, {0.01, 0.01}, {1, 1}, 0.9, 0.999, 1e-8);
  }

  at::Tensor forward(const at::Tensor& x, const Weight& weight, int64_t part) const {
    const int64_t rows = x.size(0);
    return lora_linear(x, weight, at::Tensor(), {a}, {b}, {part, 0, rows}, {2.0}, {0.0}, 1)[part].detach();
  }

  at::Tensor forward_with_other_numbers(const at::Tensor& x, const Weight& weight, int64_t part) const {
    const at::Tensor a_before = a.detach().clone(), b_before = b.detach().clone();
    std::fill_n(a.data_ptr<float>(), a.numel(), NAN);
    std::fill_n(b.data_ptr<float>(), b.numel(), NAN);
    const at::Tensor y = forward(x, weight, part);
    std::copy_n(a_before.data_ptr<float>(), a.numel(), a.data_ptr<float>());
    std::copy_n(b_before.data_ptr<float>(), b.numel(), b.data_ptr<float>());
    return y;
  }
};

TEST(adamwWritesTheBorder) {
  CudaOnTheHost library;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{24, 16, 4}, {10, 7, 3}}) {
      const int64_t in = shape[0], out = shape[1];
      const Tensors parts = {random({3, in}, 1).to(at::kFloat), random({out, in}, 2).to(at::kFloat)};
      const Weight weight(parts);
      const at::Tensor x = random({5, in}, 3).to(type);
      const Adapter adapter(in, out, shape[2], 4);
      const auto fresh = [&] { return adapter.forward(x, Weight(parts), 1); };
      const std::string what = text(type, " ", shape);
      adapter.forward(x, weight, 1);
      for (int i = 0; i < 2; ++i) {
        adapter.step(5 + i);
        const at::Tensor y = adapter.forward_with_other_numbers(x, weight, 1);
        expect_same_bits(what + ", written by adamw", y, fresh());
      }
      {
        const Kernels other("adamw=library");
        adapter.step(7);
        REQUIRE(adapter.forward_with_other_numbers(x, weight, 1).isnan().any().item<bool>());  // who looks sees them
        adapter.step(8);
        expect_same_bits(what + ", written by forward", adapter.forward(x, weight, 1), fresh());
      }
      at::NoGradGuard no_grad;
      adapter.step(9);
      adapter.a.add_(1);
      expect_same_bits(what + ", changed behind adamw", adapter.forward(x, weight, 1), fresh());
    }
  }
}

// A master may have copies in several weights, and outlive them.
TEST(adamwWritesTheLastCopy) {
  CudaOnTheHost library;
  const at::Tensor w = random({8, 16}, 1).to(at::kFloat), x = random({5, 16}, 2).to(at::kFloat);
  const Adapter adapter(16, 8, 4, 3);
  const Weight first({w});
  {
    const Weight second({w});
    adapter.forward(x, first, 0);
    adapter.forward(x, second, 0);
    adapter.step(5);
    expect_same_bits("first", adapter.forward(x, first, 0), adapter.forward(x, Weight({w}), 0));
    expect_same_bits("second", adapter.forward(x, second, 0), adapter.forward(x, Weight({w}), 0));
  }
  adapter.step(7);
  expect_same_bits("the second is gone", adapter.forward(x, first, 0), adapter.forward(x, Weight({w}), 0));
}

// Adapters come and go in every thread: M grows, columns are taken over, copies are made and forgotten.
TEST(threadsShareABorder) {
  const Kernels library("lora_linear=library");
  const at::Tensor w = random({8, 16}, 1).to(at::kFloat), x = random({5, 16}, 2).to(at::kFloat);
  const Weight shared({w});
  std::vector<std::thread> threads;
  std::array<double, 4> worst{};
  for (size_t i = 0; i < worst.size(); ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t round = 0; round < 10; ++round) {
        const Adapter adapter(16, 8, 4, 100 * i + round);
        const at::Tensor difference = adapter.forward(x, shared, 0) - adapter.forward(x, Weight({w}), 0);
        worst[i] = std::max(worst[i], difference.abs().max().item<double>());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const double difference : worst) {
    REQUIRE(difference < 1e-4);
  }
}

TEST(adamwRefuses) {
  const at::Tensor p = random({4, 3}, 1).to(at::kFloat), before = p.clone();
  const at::Tensor flat = p.flatten(), wide = p.to(at::kDouble), turned = random({3, 4}, 1).to(at::kFloat).t(), none;
  const std::vector<double> one = {0.1}, nothing = {};
  const std::vector<int64_t> first = {1};
  const auto refused = [&](const char* what, const Tensors& g, const Tensors& m, const Tensors& v,
                           const std::vector<double>& rate, double beta1, const std::vector<int64_t>& step,
                           std::vector<std::string> pieces) {
    pieces.push_back("adamw");
    expect_error(what, [&] { adamw({p}, g, m, v, rate, one, step, beta1, 0.99, 1e-8); }, pieces);
    expect_same_bits("parameter", p, before);
  };
  const auto fresh = [&] { return at::zeros({4, 3}, at::kFloat); };
  refused("counts", {}, {fresh()}, {fresh()}, one, 0.9, first, {"1 parameters", "gradients"});
  refused("rates", {fresh()}, {fresh()}, {fresh()}, nothing, 0.9, first, {"1 parameters", "learning rates"});
  refused("steps", {fresh()}, {fresh()}, {fresh()}, one, 0.9, {1, 2}, {"1 parameters", "steps"});
  refused("step 0", {fresh()}, {fresh()}, {fresh()}, one, 0.9, {0}, {"step", "got 0"});
  refused("undefined gradient", {none}, {fresh()}, {fresh()}, one, 0.9, first, {"gradient 0", "[4, 3]"});
  refused("shape", {flat}, {fresh()}, {fresh()}, one, 0.9, first, {"gradient 0", "[4, 3]", "[12]"});
  refused("type", {wide}, {fresh()}, {fresh()}, one, 0.9, first, {"gradient 0", "Float", "Double"});
  refused("short moment", {fresh()}, {at::zeros({2, 3}, at::kFloat)}, {fresh()}, one, 0.9, first,
          {"exp_avg 0", "[4, 3]", "[2, 3]"});
  refused("undefined moment", {fresh()}, {fresh()}, {none}, one, 0.9, first, {"exp_avg_sq 0", "[4, 3]"});
  refused("turned moment", {fresh()}, {turned}, {fresh()}, one, 0.9, first, {"exp_avg 0", "contiguous"});
  expect_error("turned parameter",
               [&] { adamw({turned}, {fresh()}, {fresh()}, {fresh()}, one, one, first, 0.9, 0.99, 1e-8); },
               {"adamw", "parameter 0", "contiguous"});
}

void clip_grad_norm_scales_to_the_norm() {
  const Tensors exact = {random({3, 4}, 1), random({1000}, 2), random({0}, 3), random({2, 2}, 4)};
  const auto fresh = [&] {
    const at::Tensor holes = at::zeros({2, 4}, at::kFloat).slice(1, 0, 4, 2);
    holes.copy_(exact[3]);
    return Tensors{exact[0].to(at::kFloat).t().contiguous().t(), exact[1].to(at::kFloat), exact[2].to(at::kFloat),
                   holes};
  };
  const double norm = at::cat({exact[0].flatten(), exact[1], exact[3].flatten()}).norm().item<double>();
  Tensors g = fresh();
  REQUIRE(std::abs(clip_grad_norm(g, 0) - norm) < 1e-5);
  expect_same_bits("measured only", g[1], fresh()[1]);
  REQUIRE(std::abs(clip_grad_norm(g, 2 * norm) - norm) < 1e-5);
  expect_same_bits("below the bound", g[1], fresh()[1]);
  REQUIRE(std::abs(clip_grad_norm(g, 1.5) - norm) < 1e-5);
  REQUIRE(std::abs(clip_grad_norm(g, 0) - 1.5) < 1e-5);
  for (size_t i = 0; i < g.size(); ++i) {
    expect_close(text("direction ", i), g[i], exact[i] * (1.5 / norm), 1e-6);
  }
  REQUIRE(clip_grad_norm({}, 1) == 0);
  REQUIRE(std::isnan(clip_grad_norm({at::full({2}, NAN)}, 1)));
}

TEST(clipGradNormScalesToTheNorm) {
  clip_grad_norm_scales_to_the_norm();
  CudaOnTheHost library;
  clip_grad_norm_scales_to_the_norm();
}

TEST(clipGradNormRefuses) {
  const Tensors g = {at::ones({2})};
  expect_error("negative", [&] { clip_grad_norm(g, -1); }, {"clip_grad_norm", "max_norm", "-1"});
  expect_error("NaN", [&] { clip_grad_norm(g, NAN); }, {"clip_grad_norm", "max_norm", "nan"});
  expect_error("undefined", [&] { clip_grad_norm({at::Tensor()}, 1); }, {"clip_grad_norm", "gradient 0", "undefined"});
}

}  // namespace
}  // namespace peft4j::test
