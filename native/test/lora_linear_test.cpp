/* lora_linear: groups, ranks, row segments, dropout, types, views; see check.h for the rule of comparison. */
#include "check.h"

namespace peft4j::test {
namespace {

struct Adapter {
  int64_t part, begin, end, rank;
  double scale, dropout;
};

struct Layer {
  int64_t rows, in;
  std::vector<int64_t> out;  // of each part
  std::vector<Adapter> adapters;
  int bias = 0;              // 0 none, 1 frozen, 2 trained
  bool trains_x = true;
  at::ScalarType weight_type = at::kDouble;  // Double: the type of x
  uint64_t seed = 11;
};

std::string name_of(const Layer& l) {
  std::string all = text("[", l.rows, ", ", l.in, "] -> [", at::IntArrayRef(l.out), "] bias ", l.bias, " x ",
                         l.trains_x, " weight ", l.weight_type);
  for (const Adapter& a : l.adapters) {
    all += text(" {part ", a.part, " rows ", a.begin, "-", a.end, " r ", a.rank, " p ", a.dropout, "}");
  }
  return all;
}

Tensors weights_of(const Layer& l, at::ScalarType type) {
  Tensors parts;
  for (size_t i = 0; i < l.out.size(); ++i) {
    parts.push_back(
        random({l.out[i], l.in}, 100 + i, 1 / std::sqrt(l.in)).to(l.weight_type == at::kDouble ? type : l.weight_type));
  }
  return parts;
}

// inputs: x, bias, A's, B's
Tensors run(const Layer& l, const Tensors& inputs, at::ScalarType type) {
  const Weight weight(weights_of(l, type));
  std::vector<int64_t> place;
  std::vector<double> scale, dropout;
  for (const Adapter& a : l.adapters) {
    place.insert(place.end(), {a.part, a.begin, a.end});
    scale.push_back(a.scale);
    dropout.push_back(a.dropout);
  }
  const auto middle = inputs.begin() + 2 + l.adapters.size();
  return lora_linear(inputs[0], weight, inputs[1], Tensors(inputs.begin() + 2, middle), Tensors(middle, inputs.end()),
                     place, scale, dropout, l.seed);
}

Tensors plain(const Layer& l, const Tensors& inputs, at::ScalarType type) {
  const Tensors weights = weights_of(l, type);
  Tensors y;
  int64_t first = 0;
  for (size_t i = 0; i < l.out.size(); ++i) {
    at::Tensor part = at::mm(inputs[0], weights[i].to(type).t());
    if (inputs[1].defined()) {
      part = part + inputs[1].narrow(0, first, l.out[i]);
    }
    first += l.out[i];
    for (size_t j = 0; j < l.adapters.size(); ++j) {
      const Adapter& a = l.adapters[j];
      if (a.part != static_cast<int64_t>(i)) {
        continue;
      }
      at::Tensor x = inputs[0].narrow(0, a.begin, a.end - a.begin);
      x = x * mask(x.size(0), x.size(1), a.dropout, l.seed, a.begin).to(type);
      const at::Tensor update =
          at::mm(at::mm(x, inputs[2 + j].to(type).t()), inputs[2 + l.adapters.size() + j].to(type).t()) * a.scale;
      part = part + at::constant_pad_nd(update, {0, 0, a.begin, l.rows - a.end});
    }
    y.push_back(part);
  }
  return y;
}

Operation operation_of(const Layer& l) {
  Operation o;
  o.what = name_of(l);
  int64_t out = 0;
  for (const int64_t n : l.out) {
    out += n;
  }
  o.inputs = {random({l.rows, l.in}, 1), l.bias > 0 ? random({out}, 2) : at::Tensor()};
  o.trained = {l.trains_x, l.bias == 2};
  o.wide = {false, false};
  for (const bool b : {false, true}) {
    for (size_t j = 0; j < l.adapters.size(); ++j) {
      const Adapter& a = l.adapters[j];
      o.inputs.push_back(b ? random({l.out[a.part], a.rank}, 300 + j, 1 / std::sqrt(a.rank))
                           : random({a.rank, l.in}, 200 + j, 1 / std::sqrt(l.in)));
      o.trained.push_back(true);
      o.wide.push_back(true);
    }
  }
  o.run = [l](const Tensors& inputs, at::ScalarType type) { return run(l, inputs, type); };
  o.plain = [l](const Tensors& inputs, at::ScalarType type) { return plain(l, inputs, type); };
  return o;
}

// Adapters of a kind, on rows [0, n).
std::vector<Adapter> adapters_of(int kind, int64_t n, int64_t rank, int64_t parts, double p) {
  const int64_t last = parts - 1, third = n / 3;
  switch (kind) {
    case 0: return {};
    case 1: return {{last, 0, n, rank, 2, p}};
    case 2: return {{0, 0, n, rank, 2, p}, {last, 0, n, rank + 1, 0.5, p}};      // a rank group
    case 3: return {{0, 0, n, rank, 2, p}, {last, 0, n, 3, 0.5, p == 0 ? 0.5 : 0}};  // the same rows, other masks
    case 4:
      return {
          {0, 0, third, rank, 2, p}, {0, third, third, 5, 1, p}, {last, third, n, 2, 1, 0.1}, {0, third, n, 1, 3, p}};
    default: return {{0, third, n, 4, -1, p}, {0, 0, n - third, rank, 1, p}};  // rows overlap
  }
}

TEST(loraLinearFollowsItsFormula) {
  const std::vector<int64_t> ranks = {1, 2, 3, 8, 16, 33, 64, 256};
  const std::vector<double> dropouts = {0, 0.1, 0.5};
  const std::vector<std::vector<int64_t>> outs = {{1}, {33, 7}, {64}, {48, 16, 16}, {257}, {2, 3, 31}};
  const std::vector<at::ScalarType> types = {at::kDouble, at::kFloat, at::kBFloat16};
  // rows, in, out, rank, adapters, dropout, bias, weight type, x trained
  for (const std::vector<int>& c : pairwise({14, 13, 6, 8, 6, 3, 3, 3, 2})) {
    Layer l;
    l.rows = kSizes[c[0]];
    l.in = kSizes[c[1]];
    l.out = outs[c[2]];
    l.adapters = adapters_of(c[4], l.rows, ranks[c[3]], l.out.size(), dropouts[c[5]]);
    l.bias = c[6];
    l.weight_type = types[c[7]];
    l.trains_x = c[8] == 1;
    compare(operation_of(l));
    compare(operation_of(l), "library");
  }
}

TEST(loraLinearSegmentsOfDifferentAdaptersAndRanks) {
  Layer l{100, 64, {32, 16}, {}, 2};
  const int64_t begins[] = {0, 0, 1, 48, 49, 49, 96, 100};
  for (int j = 0; j + 1 < 8; ++j) {
    l.adapters.push_back({j % 2, begins[j], begins[j + 1], 1 + 5 * j, 1.0 / (j + 1), j % 3 * 0.1});
  }
  compare(operation_of(l));
  compare(operation_of(l), "library");
}

// The bordered weight: adapters come, change, go, and share it.
TEST(borderFollowsItsAdapters) {
  Kernels library("library");
  constexpr int64_t kIn = 40;  // a quarter is more than the ranks of a call: no segments
  const at::Tensor w = random({12, kIn}, 1), x = random({6, kIn}, 2);
  const Weight weight({w.narrow(0, 0, 8), w.narrow(0, 8, 4)});
  const auto with = [&](const Tensors& a, const Tensors& b, const std::vector<int64_t>& place) {
    const std::vector<double> scale(a.size(), 2), dropout(a.size(), 0);
    const Tensors y = lora_linear(x, weight, at::Tensor(), a, b, place, scale, dropout, 0);
    at::Tensor expected = at::mm(x, w.t());
    for (size_t j = 0; j < a.size(); ++j) {
      const int64_t first = place[3 * j] * 8, begin = place[3 * j + 1], rows = place[3 * j + 2] - begin;
      expected.narrow(0, begin, rows)
          .narrow(1, first, b[j].size(0))
          .add_(at::mm(at::mm(x.narrow(0, begin, rows), a[j].t()), b[j].t()) * 2);
    }
    const double worst = (at::cat(y, 1) - expected).abs().max().item<double>();
    if (!(worst < 1e-12)) {
      fail(text(a.size(), " adapters, place ", at::IntArrayRef(place), ": off by ", worst));
    }
  };
  const auto a_of = [](int64_t r, uint64_t seed) { return random({r, kIn}, seed); };
  at::Tensor a = a_of(3, 3), b = random({8, 3}, 4);
  with({a}, {b}, {0, 0, 6});
  REQUIRE(weight.layout() == "bordered");
  a.mul_(2);  // an optimiser's step
  with({a}, {b}, {0, 0, 6});
  b.add_(1);
  with({a}, {b}, {0, 0, 6});
  const at::Tensor a2 = a_of(5, 5), b2 = random({4, 5}, 6);
  with({a2}, {b2}, {1, 0, 6});                          // the first one stays, its columns see h = 0
  with({a, a2}, {b, b2}, {0, 0, 6, 1, 2, 5});
  with({a2, a}, {b2, b}, {1, 0, 6, 0, 0, 3});
  with({a, a}, {b, b}, {0, 0, 2, 0, 3, 6});             // one adapter, two runs of rows
  with({}, {}, {});
  for (int i = 0; i < 20; ++i) {                        // those that are gone leave their columns
    const at::Tensor once = a_of(8, 100 + i), once_b = random({8, 8}, 200 + i);
    with({once}, {once_b}, {0, 0, 6});
  }
  with({a, a2}, {b, b2}, {0, 0, 6, 1, 0, 6});
  const at::Tensor other_part = random({4, 3}, 9);
  with({a}, {other_part}, {1, 1, 4});
}

// Tenants of every size, rows without one, rows with several; ranks 94 in all.
std::vector<Adapter> tenants(int64_t parts, double p) {
  return {{0, 0, 7, 64, 2, p},   {0, 7, 8, 8, 1, p},           {parts - 1, 8, 29, 17, 1, p},
          {0, 8, 29, 1, 0.5, p}, {parts - 1, 33, 41, 3, 1, p}, {0, 35, 45, 1, 1, p}};
}

// cuda/'s kernels around libtorch's products: one adapter and many, over the border and by segments.
TEST(loraLinearOnADevice) {
  CudaOnTheHost library;
  const std::vector<Layer> layers = {
      {45, 70, {24, 9}, {{0, 0, 45, 8, 2, 0.1}, {1, 0, 45, 8, 2, 0.1}}, 2},
      {45, 80, {24, 8, 40}, {{2, 0, 45, 3, 2, 0}, {0, 0, 45, 17, 0.5, 0}}, 1},
      {33, 300, {64}, {{0, 0, 33, 64, 1, 0}}},
      {45, 400, {24, 9}, tenants(2, 0.1), 2},
      {45, 72, {24, 9}, tenants(2, 0.1), 2},
      {45, 72, {40}, tenants(1, 0), 0, true, at::kFloat},
      {45, 65, {24, 9, 1}, {{0, 0, 30, 40, 2, 0.1}, {2, 15, 45, 3, 2, 0}, {2, 0, 30, 5, 1, 0.5}}},
      {20, 33, {7}, {{0, 3, 9, 5, 1, 0.1}, {0, 9, 20, 4, 1, 0.1}}, 0, false},
  };
  for (const Layer& l : layers) {
    Operation o = operation_of(l);
    o.types = {at::kFloat, at::kBFloat16, at::kHalf};
    compare(o, "library");
  }
}

TEST(loraLinearOnADeviceRepeatsItsBits) {
  CudaOnTheHost library;
  Kernels k("library");
  for (const int64_t in : {400, 72}) {  // border, segments
    const Operation o = operation_of({300, in, {24, 9}, tenants(2, 0.1), 2});
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const Tensors first = results(o, o.run, type, false), again = results(o, o.run, type, false);
      for (size_t i = 0; i < first.size(); ++i) {
        expect_same_bits(text("result ", i, " of the second run"), first[i], again[i]);
      }
    }
  }
}

// The border is not made wider for tenants that go by segments.
TEST(loraLinearSegmentsLeaveTheBorder) {
  CudaOnTheHost library;
  Kernels k("library");
  const at::Tensor w = random({16, 64}, 1).to(at::kHalf), x = random({8, 64}, 2).to(at::kHalf);
  const Weight weight({w});
  Tensors a, b;
  std::vector<int64_t> place;
  for (int64_t j = 0; j < 8; ++j) {
    a.push_back(random({16, 64}, 10 + j).to(at::kFloat));
    b.push_back(random({16, 16}, 20 + j).to(at::kFloat));
    place.insert(place.end(), {0, j, j + 1});
  }
  const std::vector<double> scale(8, 1), dropout(8, 0);
  const int64_t before = live_bytes();
  const at::Tensor y = lora_linear(x, weight, at::Tensor(), a, b, place, scale, dropout, 0)[0];
  REQUIRE(live_bytes() - before < 3 * 16 * 64 * 2);  // W once more, and y
  at::Tensor expected = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
  for (int64_t j = 0; j < 8; ++j) {
    expected[j] +=
        at::mm(at::mm(x.narrow(0, j, 1).to(at::kDouble), a[j].to(at::kDouble).t()), b[j].to(at::kDouble).t())[0];
  }
  expect_close("y", y, expected, 0.1);
}

// cuda/dual_gemm_test.cu compares the two kernels; this is the way to them.
TEST(loraLinearMultipliesByWgmmaWhereItIsForced) {
  CudaOnTheHost library;
  const int64_t rows = 64 * 128;  // enough for large tiles
  const at::Tensor w = random({8, 16}, 1).to(at::kBFloat16), x = random({rows, 16}, 2).to(at::kBFloat16),
                   a = random({8, 16}, 3).to(at::kFloat), b = random({8, 8}, 4).to(at::kFloat);
  const Weight weight({w});
  const auto forward = [&](const char* setting) {
    Kernels k(setting);
    return lora_linear(x, weight, at::Tensor(), {a}, {b}, {0, 0, rows}, {1.0}, {0.0}, 0)[0];
  };
  const at::Tensor plain = forward("lora_linear=own");
  REQUIRE(library.last_kernel().find("dual_gemm<") != std::string::npos);
  const at::Tensor y = forward("lora_linear=own,dual_gemm=sm_90a");
  REQUIRE(library.last_kernel().find("dual_gemm_sm90a<") != std::string::npos);
  expect_close("y", y, plain.to(at::kDouble), 0.1);
}

TEST(loraLinearWithoutGradientsKeepsNoGraph) {
  Layer l{5, 7, {3}, {{0, 0, 5, 2, 1, 0}}};
  Operation o = operation_of(l);
  o.trained.assign(o.trained.size(), false);
  compare(o);
}

// Two projections of one x meet in attention: dy comes back as views of one tensor, or as separate strided ones, or not at all.
TEST(loraLinearTakesAnyGradients) {
  Layer l{37, 40, {24, 8, 8}, {{0, 0, 37, 4, 2, 0.1}, {2, 5, 30, 3, 1, 0.1}}, 2};
  const Operation o = operation_of(l);
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::Tensor given = random({37, 40}, 5).to(type);
    const auto gradients = [&](int way) {
      Tensors leaves, trained;
      for (size_t i = 0; i < o.inputs.size(); ++i) {
        leaves.push_back(
            o.inputs[i].to(o.wide[i] && type == at::kBFloat16 ? at::kFloat : type).clone().requires_grad_(true));
      }
      const Tensors y = run(l, leaves, type);
      Tensors dy = {given.narrow(1, 0, 24), given.narrow(1, 24, 8), given.narrow(1, 32, 8)};  // adjacent views
      if (way == 1) {
        dy = {dy[0].contiguous(), dy[1].t().contiguous().t(), dy[2].clone()};
      }
      if (way == 2) {
        at::Tensor wide = at::zeros({37, 50}, given.options());
        wide.narrow(1, 3, 40).copy_(given);
        dy = {wide.narrow(1, 3, 24), wide.narrow(1, 27, 8), wide.narrow(1, 35, 8)};
      }
      if (way == 3) {
        return torch::autograd::grad({y[0]}, leaves, {dy[0]}, std::nullopt, false, true);
      }
      if (way == 4) {
        dy[1] = at::zeros({37, 8}, given.options());
        dy[2] = at::zeros({1, 1}, given.options()).expand({37, 8});
      }
      return torch::autograd::grad(y, leaves, dy, std::nullopt, false, true);
    };
    const Tensors views = gradients(0), copies = gradients(1), strided = gradients(2), one = gradients(3),
                  zeros = gradients(4);
    for (size_t i = 0; i < views.size(); ++i) {
      expect_same_bits(text("gradient ", i, " of copies"), views[i], copies[i]);
      expect_same_bits(text("gradient ", i, " of strided"), views[i], strided[i]);
      expect_same_bits(text("gradient ", i, " of one part"), one[i], zeros[i]);
    }
  }
}

TEST(loraLinearRepeatsItsBits) {
  Layer l{515, 200, {96, 130}, {{0, 0, 515, 8, 2, 0.1}, {1, 0, 515, 16, 2, 0.1}, {1, 100, 300, 3, 1, 0}}, 2};
  const Operation o = operation_of(l);
  Kernels own("own");
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const Tensors first = results(o, o.run, type, false), again = results(o, o.run, type, false);
    for (size_t i = 0; i < first.size(); ++i) {
      expect_same_bits(text("result ", i, " of the second run"), first[i], again[i]);
    }
  }
  // Backward twice over one graph.
  Tensors leaves;
  for (size_t i = 0; i < o.inputs.size(); ++i) {
    leaves.push_back(o.inputs[i].to(at::kFloat).clone().requires_grad_(true));
  }
  const Tensors y = run(l, leaves, at::kFloat);
  const Tensors dy = {random({515, 96}, 1).to(at::kFloat), random({515, 130}, 2).to(at::kFloat)};
  const Tensors first = torch::autograd::grad(y, leaves, dy, true), again = torch::autograd::grad(y, leaves, dy);
  for (size_t i = 0; i < first.size(); ++i) {
    expect_same_bits(text("gradient ", i, " of the second backward"), first[i], again[i]);
  }
}

// The rank's own kernels promise it; the frozen product (oneDNN, BLAS) does not, so W is 0 here.
TEST(loraLinearRankPartDoesNotDependOnThreads) {
  Layer l{515, 200, {96, 130}, {{0, 0, 515, 8, 2, 0.1}, {1, 0, 515, 16, 2, 0.1}, {1, 100, 300, 3, 1, 0}}};
  Operation o = operation_of(l);
  o.run = [&](const Tensors& inputs, at::ScalarType type) {
    const Weight weight({at::zeros({96, 200}, type), at::zeros({130, 200}, type)});
    return lora_linear(inputs[0], weight, at::Tensor(), Tensors(inputs.begin() + 2, inputs.begin() + 5),
                       Tensors(inputs.begin() + 5, inputs.end()), {0, 0, 515, 1, 0, 515, 1, 100, 300},
                       std::vector<double>{2, 2, 1}, std::vector<double>{0.1, 0.1, 0}, 11);
  };
  expect_same_bits_for_any_threads(o);
}

TEST(loraLinearComputesOnlyWantedGradients) {
  at::Tensor x = random({6, 8}, 1).to(at::kFloat), w = random({4, 8}, 2).to(at::kFloat);
  at::Tensor a = random({2, 8}, 3).to(at::kFloat).requires_grad_(true), b = random({4, 2}, 4).to(at::kFloat);
  const std::vector<double> one = {1}, zero = {0};
  auto weight = std::make_unique<Weight>(Tensors{w});
  REQUIRE(weight->layout() == "dense");
  const at::Tensor y = lora_linear(x, *weight, at::Tensor(), {a}, {b}, {0, 0, 6}, one, zero, 1)[0];
  REQUIRE(weight->layout() == "packed");
  weight.reset();  // the graph keeps what it needs
  const int64_t before = live_bytes();
  reset_peak_bytes();
  y.sum().backward();
  REQUIRE(a.grad().defined() && !x.grad().defined() && !b.grad().defined() && !w.grad().defined());
  // Nothing as large as a packed Wᵀ and a dx was made: 6·8 + 8·4 floats would be.
  REQUIRE(peak_bytes() - before < 6 * 8 * 4 * 4);
  at::Tensor trained = random({6, 8}, 1).to(at::kFloat).requires_grad_(true);
  const at::Tensor frozen_y = lora_linear(trained, Weight({w}), at::Tensor(), {}, {}, {}, {}, {}, 1)[0];
  frozen_y.sum().backward();
  REQUIRE(trained.grad().defined() && !w.grad().defined());
  expect_close("dx", trained.grad(), at::ones({6, 4}, at::kDouble).mm(w.to(at::kDouble)), 1e-6);
}

// The CUDA way with our matrix kernel (one product of float32 and double stays the library's).
TEST(loraLinearByDualGemmFollowsItsFormula) {
  CudaOnTheHost library;
  const std::vector<int64_t> rows = {1, 33, 70, 0}, inputs = {8, 33, 72}, ranks = {2, 8, 17};
  const std::vector<double> dropouts = {0, 0.1, 0.5};
  const std::vector<std::vector<int64_t>> outs = {{1}, {33, 7}, {64}, {48, 16, 16}};
  // rows, in, out, rank, adapters, dropout, bias, weight type, x trained
  for (const std::vector<int>& c : pairwise({4, 3, 4, 3, 6, 3, 3, 2, 2})) {
    Layer l;
    l.rows = rows[c[0]];
    l.in = inputs[c[1]];
    l.out = outs[c[2]];
    l.adapters = adapters_of(c[4], l.rows, ranks[c[3]], l.out.size(), dropouts[c[5]]);
    l.bias = c[6];
    l.weight_type = c[7] == 0 ? at::kDouble : at::kBFloat16;
    l.trains_x = c[8] == 1;
    Operation o = operation_of(l);
    o.types = {at::kBFloat16, at::kHalf};
    compare(o);
  }
  Layer l{9, 16, {8}, {{0, 0, 9, 2, 1, 0.1}}, 2};
  compare(operation_of(l));  // double and float32
}

// More masks than a launch takes: 1, 3 and 2 products.
TEST(loraLinearByDualGemmTakesManyMasks) {
  CudaOnTheHost library;
  Layer l{40, 24, {16, 8}, {}};
  for (int j = 0; j < 6; ++j) {
    l.adapters.push_back({j % 2, 0, 40, 3, 1.0 / (j + 1), j * 0.1});
  }
  Operation o = operation_of(l);
  o.types = {at::kBFloat16, at::kHalf};
  compare(o);
}

TEST(loraLinearLastsLongerThanItsWeight) {
  Layer l{9, 16, {8}, {{0, 0, 9, 2, 1, 0}}, 2};
  const Operation o = operation_of(l);  // run() makes the Weight and deletes it before backward
  compare(o);
}

TEST(loraLinearRefuses) {
  const auto f = [](at::IntArrayRef shape) { return random(shape, 1).to(at::kFloat); };
  const Weight w({f({4, 8}), f({2, 8})});
  const std::vector<double> one = {1}, zero = {0};
  const at::Tensor x = f({6, 8}), a = f({2, 8}), b = f({4, 2});
  const auto call = [&](const at::Tensor& x_in, const at::Tensor& bias, const Tensors& as, const Tensors& bs,
                        std::vector<int64_t> place, std::vector<double> scale, std::vector<double> p) {
    const int64_t before = live_bytes();
    reset_peak_bytes();
    try {
      lora_linear(x_in, w, bias, as, bs, place, scale, p, 1);
    } catch (const c10::Error&) {
      REQUIRE(peak_bytes() == before);  // raised before anything was allocated
      throw;
    }
  };
  const at::Tensor none;
  const Tensors as = {a}, bs = {b};
  const std::vector<int64_t> all = {0, 0, 6};
  const auto refused = [&](const char* what, const std::function<void()>& body, std::vector<std::string> pieces) {
    pieces.push_back("lora_linear");
    expect_error(what, body, pieces);
  };
  refused("undefined x", [&] { call(none, none, {}, {}, {}, {}, {}); }, {"x", "undefined"});
  const at::Tensor integers = at::ones({6, 8}, at::kLong), flat = f({8}), narrow = f({6, 7});
  refused("integer x", [&] { call(integers, none, {}, {}, {}, {}, {}); }, {"x", "float32", "Long"});
  refused("flat x", [&] { call(flat, none, {}, {}, {}, {}, {}); }, {"x", "[T, 8]", "[8]"});
  refused("narrow x", [&] { call(narrow, none, {}, {}, {}, {}, {}); }, {"x", "[T, 8]", "[6, 7]"});
  const at::Tensor short_bias = f({4}), wide_bias = random({6}, 1), a_narrow = f({2, 7}), b_other = f({2, 2}),
                   a_wide = random({2, 8}, 1);
  refused("bias", [&] { call(x, short_bias, {}, {}, {}, {}, {}); }, {"bias", "[6]", "[4]"});
  refused("bias type", [&] { call(x, wide_bias, {}, {}, {}, {}, {}); }, {"bias", "Float", "Double"});
  refused("counts", [&] { call(x, none, as, {}, all, one, zero); }, {"1 A's", "got 0"});
  refused("place", [&] { call(x, none, as, bs, {0, 0}, one, zero); }, {"3 numbers", "and 2"});
  refused("part", [&] { call(x, none, as, bs, {2, 0, 6}, one, zero); }, {"part 2", "with 2"});
  refused("negative part", [&] { call(x, none, as, bs, {-1, 0, 6}, one, zero); }, {"part -1"});
  refused("rows", [&] { call(x, none, as, bs, {0, 0, 7}, one, zero); }, {"[0, 7)", "of 6"});
  refused("rows fall", [&] { call(x, none, as, bs, {0, 3, 2}, one, zero); }, {"[3, 2)"});
  refused("A", [&] { call(x, none, {a_narrow}, bs, all, one, zero); }, {"A of adapter 0", "[r, 8]", "[2, 7]"});
  refused("B", [&] { call(x, none, as, {b_other}, all, one, zero); }, {"B", "[4, 2]", "[2, 2]"});
  refused("undefined A", [&] { call(x, none, {none}, bs, all, one, zero); }, {"A of adapter 0"});
  refused("undefined B", [&] { call(x, none, as, {none}, all, one, zero); }, {"B"});
  refused("A type", [&] { call(x, none, {a_wide}, bs, all, one, zero); }, {"Float", "Double"});
  refused("dropout 1", [&] { call(x, none, as, bs, all, one, one); }, {"dropout", "[0, 1)", "got 1"});
  refused("dropout NaN", [&] { call(x, none, as, bs, all, one, {NAN}); }, {"dropout"});
  {
    CudaOnTheHost library;
    const at::Tensor wide = at::zeros({1, 65535 * 32 + 1});
    refused("too wide", [&] { lora_linear(wide, Weight({wide}), none, {}, {}, {}, {}, {}, 1); },
            {"2097120", "2097121"});
    const at::Tensor half = x.to(at::kHalf), half_a = a.to(at::kHalf);
    refused("16-bit A", [&] { lora_linear(half, w, none, {half_a}, bs, all, one, zero, 1); }, {"Half", "Float"});
  }
  const at::Tensor half_x = x.to(at::kHalf);
  refused("float16", [&] { call(half_x, none, {}, {}, {}, {}, {}); }, {"x", "float32", "Half"});
  const at::Tensor trained_matrix = f({2, 8}).requires_grad_(true), one_row = f({8});
  expect_error("no matrix", [] { Weight({}); }, {"Weight", "at least one", "none"});
  expect_error("matrices", [&] { Weight({f({4, 8}), f({4, 7})}); }, {"Weight", "[out, 8]", "[4, 7]"});
  expect_error("integer matrix", [&] { Weight({at::ones({4, 8}, at::kLong)}); }, {"Weight", "float32", "Long"});
  expect_error("trained matrix", [&] { Weight({trained_matrix}); }, {"Weight", "frozen"});
  expect_error("vector", [&] { Weight({one_row}); }, {"Weight", "[8]"});
  expect_error("undefined matrix", [&] { Weight({at::Tensor()}); }, {"Weight", "undefined"});
}

// Each adapter on few rows: the way of a step of generation.
TEST(loraLinearOfFewRowsFollowsItsFormula) {
  const std::vector<Adapter> some = {{0, 0, 3, 8, 2, 0},  {1, 0, 3, 8, 2, 0},  {1, 3, 11, 3, -0.5, 0},
                                     {0, 5, 7, 17, 1, 0}, {2, 9, 10, 1, 4, 0}, {0, 0, 1, 16, 3, 0}};
  for (const int bias : {0, 2}) {
    compare(operation_of({12, 70, {40, 33, 8}, some, bias}));
    compare(operation_of({8, 33, {16}, {{0, 0, 8, 4, 2, 0}}, bias}));
  }
}

TEST(loraLinearOfFewRowsHasTheSameBitsWithoutGradients) {
  const Layer l{6, 70, {40, 33}, {{0, 0, 3, 8, 2, 0}, {1, 1, 6, 3, -0.5, 0}}, 1};
  Tensors inputs;
  for (const at::Tensor& t : operation_of(l).inputs) {
    inputs.push_back(t.to(at::kFloat).requires_grad_(true));
  }
  const Tensors trained = run(l, inputs, at::kFloat);
  const at::NoGradGuard inference;
  const Tensors plain = run(l, inputs, at::kFloat);
  for (size_t part = 0; part < plain.size(); ++part) {
    expect_same_bits(text("part ", part), trained[part].detach(), plain[part]);
  }
}

}  // namespace
}  // namespace peft4j::test
