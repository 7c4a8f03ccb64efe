/* prompt_generator: formulas, gradients, what a prompt depends on, refusals; see check.h for the rule of comparison. */
#include <numeric>

#include "check.h"

namespace peft4j::test {
namespace {

struct Case {
  std::vector<int64_t> lengths, instruction;  // of each sequence: its rows, and how many of them are pooled
  int64_t d, m, tokens;
  char version = 'A';
  bool biases = true;
};

at::Tensor starts(const std::vector<int64_t>& lengths) {
  at::Tensor cu = at::zeros({static_cast<int64_t>(lengths.size()) + 1}, at::kLong);
  std::partial_sum(lengths.begin(), lengths.end(), cu.data_ptr<int64_t>() + 1);
  return cu;
}

// Every other row first, then the rest, so that other rows lie between those of an instruction.
at::Tensor mask_of(const Case& c) {
  at::Tensor mask = at::zeros({starts(c.lengths)[-1].item<int64_t>()}, at::kByte);
  int64_t first = 0;
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    int64_t left = c.instruction[s];
    for (const int64_t parity : {0, 1}) {
      for (int64_t i = parity; i < c.lengths[s] && left > 0; i += 2, --left) {
        mask[first + i] = 1;
      }
    }
    first += c.lengths[s];
  }
  return mask;
}

constexpr int64_t kSeed = 77;

// in: h, down weight and bias, pool weight, numerator, denominator, up weight and bias.
at::Tensor run(const Case& c, const Tensors& in, const at::Tensor& mask) {
  return prompt_generator(in[0], starts(c.lengths), mask, in[1], in[2], in[3], in[4], in[5], std::string(1, c.version),
                          kSeed, in[6], in[7]);
}

// The formulas in the type of the parameters, the down projection in z_type.
at::Tensor formula(const Case& c, const Tensors& in, const at::Tensor& mask, at::ScalarType z_type) {
  const at::ScalarType type = in[1].scalar_type();
  const at::Tensor cu = starts(c.lengths);
  Tensors pooled;
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    const at::Tensor rows = in[0].slice(0, cu[s].item<int64_t>(), cu[s + 1].item<int64_t>());
    const at::Tensor there = mask.slice(0, cu[s].item<int64_t>(), cu[s + 1].item<int64_t>());
    at::Tensor z = at::mm(rows.index_select(0, there.nonzero().squeeze(1)).to(z_type), in[1].to(z_type).t());
    z = (in[2].defined() ? z + in[2].to(z_type) : z).to(type);
    pooled.push_back(at::mm(at::softmax(at::mm(z, in[3].t()), 0).t(), z));
  }
  Kernels reference("rational=reference");
  const at::Tensor g = rational(at::stack(pooled), in[4], in[5], std::string(1, c.version), kSeed);
  const at::Tensor p = at::matmul(g, in[6].t());
  return (in[7].defined() ? p + in[7] : p).to(in[0].scalar_type());
}

Operation operation_of(const Case& c, std::vector<bool> trained = std::vector<bool>(8, true), bool device = false) {
  Operation o;
  o.what = text("prompt_generator ", c.version, " lengths ", at::IntArrayRef(c.lengths), " instruction ",
                at::IntArrayRef(c.instruction), " d ", c.d, " m ", c.m, " P ", c.tokens, " biases ", c.biases);
  const at::Tensor none, mask = mask_of(c);
  o.inputs = {random({mask.size(0), c.d}, 1),
              random({c.m, c.d}, 2, 1 / std::sqrt(static_cast<double>(c.d))),
              c.biases ? random({c.m}, 3) : none,
              random({c.tokens, c.m}, 4, 2 / std::sqrt(static_cast<double>(c.m))),
              random({1, 6}, 5),
              random({1, c.version == 'C' ? 5 : 4}, 6),
              random({c.d, c.m}, 7, 1 / std::sqrt(static_cast<double>(c.m))),
              c.biases ? random({c.d}, 8) : none};
  o.trained = std::move(trained);
  o.wide = {false, true, true, true, true, true, true, true};
  o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{run(c, in, mask)}; };
  o.plain = [=](const Tensors& in, at::ScalarType) {
    return Tensors{formula(c, in, mask, device ? in[0].scalar_type() : in[1].scalar_type())};
  };
  if (device) {
    o.types = {at::kFloat, at::kBFloat16};
  }
  return o;
}

Tensors floats(const Case& c) {
  Tensors all;
  for (const at::Tensor& t : operation_of(c).inputs) {
    all.push_back(t.defined() ? t.to(at::kFloat) : t);
  }
  return all;
}

TEST(promptGeneratorFollowsItsFormulas) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> packings = {
      {{9}, {9}},           {{9}, {4}},       {{1}, {1}}, {{3}, {0}}, {{5, 0, 20, 7}, {2, 0, 13, 7}},
      {{40, 33}, {40, 33}}, {{12, 6}, {0, 1}}};
  const std::vector<int64_t> widths = {1, 7, 16, 34, 70, 130}, dimensions = {1, 24, 65}, tokens = {1, 4, 6};
  for (const std::vector<int>& i : pairwise({static_cast<int>(packings.size()), 6, 3, 3, 4, 2, 3})) {
    const Case c{packings[i[0]].first, packings[i[0]].second, dimensions[i[2]], widths[i[1]],
                 tokens[i[3]],         "ABCD"[i[4]],          i[5] == 1};
    std::vector<bool> trained(8, i[6] != 1);  // all, the pooling alone, all but h
    trained[0] = i[6] == 0;
    trained[3] = true;
    compare(operation_of(c, trained));
  }
}

// Through cuda/'s kernels; float16 is a type of devices only.
TEST(promptGeneratorFollowsItsFormulasOnADevice) {
  CudaOnTheHost library;
  for (const Case& c : {Case{{5, 0, 20, 7}, {2, 0, 13, 7}, 24, 16, 4}, Case{{9, 4}, {9, 4}, 17, 10, 5, 'B', false},
                        Case{{3, 3}, {0, 1}, 8, 8, 2, 'C'}}) {
    compare(operation_of(c, std::vector<bool>(8, true), true));
    Tensors in = floats(c), wide;
    in[0] = in[0].to(at::kHalf);
    for (const at::Tensor& t : in) {
      wide.push_back(t.defined() ? t.to(at::kDouble) : t);
    }
    const at::Tensor mask = mask_of(c), exact = formula(c, wide, mask, at::kDouble);
    expect_close("float16", run(c, in, mask), exact,
                 (formula(c, in, mask, at::kHalf) - exact).abs().max().item<double>());
  }
  const Case none{{2, 3}, {0, 0}, 8, 8, 2};
  compare(operation_of(none, std::vector<bool>(8, true), true));
}

// The other rows may be anything, be in any order, or be missing.
TEST(promptsDependOnTheirInstructionAlone) {
  const auto check = [] {
    const Case c{{12, 9, 5}, {7, 4, 0}, 24, 16, 4};
    const at::Tensor mask = mask_of(c), others = mask.eq(0).nonzero().squeeze(1), its = mask.nonzero().squeeze(1);
    Tensors in = floats(c);
    const at::Tensor h = in[0], p = run(c, in, mask);
    in[0] = h.clone().requires_grad_(true);
    run(c, in, mask).sum().backward();
    REQUIRE(in[0].grad().index_select(0, others).eq(0).all().item<bool>());
    REQUIRE(in[0].grad().index_select(0, its).ne(0).any(1).all().item<bool>());
    in[0] = h.index_fill(0, others, NAN);
    expect_same_bits("other rows changed", run(c, in, mask), p);
    in[0] = h.index_copy(0, others, h.index_select(0, others.flip(0)));
    expect_same_bits("other rows in another order", run(c, in, mask), p);
    in[0] = h.index_select(0, its);
    const Case bare{c.instruction, c.instruction, c.d, c.m, c.tokens};
    expect_same_bits("no other rows", run(bare, in, mask_of(bare)), p);
    in[0] = h.clone();
    in[0][0].add_(1);
    const at::Tensor moved = run(c, in, mask);
    REQUIRE(!at::equal(moved[0], p[0]));
    expect_same_bits("other sequences", moved.narrow(0, 1, 2), p.narrow(0, 1, 2));
    in[0] = h;
    expect_same_bits("bool mask", run(c, in, mask.to(at::kBool)), p);
    expect_same_bits("strided rows",
                     run(c, {h.t().contiguous().t(), in[1], in[2], in[3], in[4], in[5], in[6], in[7]}, mask), p);
  };
  check();
  CudaOnTheHost library;
  check();
}

// A device keeps where the instruction rows are; the mask may change in place.
TEST(promptsFollowAMaskThatChanges) {
  const auto check = [] {
    const Case c{{6, 3}, {2, 3}, 8, 8, 2};
    const Tensors in = floats(c);
    const at::Tensor mask = mask_of(c), cu = starts(c.lengths);
    const auto prompts = [&](const at::Tensor& rows) {
      return prompt_generator(in[0], cu, rows, in[1], in[2], in[3], in[4], in[5], "A", kSeed, in[6], in[7]);
    };
    const at::Tensor before = prompts(mask);
    expect_same_bits("the same mask", prompts(mask), before);
    mask[1] = 1;
    const at::Tensor after = prompts(mask);
    REQUIRE(!at::equal(after[0], before[0]));
    expect_same_bits("a copy", prompts(mask.clone()), after);
  };
  check();
  CudaOnTheHost library;
  check();
}

// Seen through projections and a rational that are the identity; z's first column is 1.
TEST(poolingWeightsOfASequenceAddUpToOne) {
  const auto check = [] {
    const int64_t m = 6;
    const Case c{{30, 1, 8}, {19, 1, 5}, m, m, 4};
    Tensors in = floats(c);
    in[0].select(1, 0).fill_(1);
    in[1] = in[6] = at::eye(m);
    in[2].zero_();
    in[4] = at::tensor({0.0f, 1.0f}).unsqueeze(0);
    in[5] = at::zeros({1, 1});
    in[7].zero_();
    const at::Tensor p = run(c, in, mask_of(c));
    expect_close("sums", p.select(2, 0), at::ones({3, 4}, at::kDouble), 0, 1e-6);
    expect_same_bits("one row is pooled to itself", p[1], in[0][30].expand({4, m}));
  };
  check();
  CudaOnTheHost library;
  check();
}

// c = 0, whatever the weights.
TEST(promptOfNoInstructionIsThatOfZero) {
  const auto check = [] {
    const Case c{{4, 0, 3}, {2, 0, 0}, 6, 5, 3};
    const Tensors in = floats(c);
    const at::Tensor g = rational(at::zeros({3, 5}), in[4], in[5], "A", kSeed),
                     expected = at::addmm(in[7], g, in[6].t());
    const at::Tensor p = run(c, in, mask_of(c));
    expect_close("empty sequence", p[1], expected.to(at::kDouble), 0, 1e-6);
    expect_close("no instruction", p[2], expected.to(at::kDouble), 0, 1e-6);
  };
  check();
  CudaOnTheHost library;
  check();
}

TEST(promptGeneratorRepeatsItsBitsForAnyThreads) {
  expect_same_bits_for_any_threads(operation_of({{200, 0, 77}, {150, 0, 77}, 24, 130, 4}));
  CudaOnTheHost library;
  Operation o = operation_of({{20, 0, 7}, {15, 0, 7}, 24, 16, 4});
  o.types = {at::kBFloat16};
  expect_same_bits_for_any_threads(o);
}

TEST(promptGeneratorOfNoSequences) {
  const auto check = [](const char* provider) {
    Kernels k(provider);
    const Case c{{}, {}, 6, 5, 3};
    Tensors in = floats(c);
    in[3].requires_grad_(true);
    const at::Tensor p = run(c, in, mask_of(c));
    REQUIRE((p.sizes() == at::IntArrayRef{0, 3, 6}));
    p.sum().backward();
    REQUIRE(in[3].grad().eq(0).all().item<bool>());
  };
  check("own");
  check("reference");
  CudaOnTheHost library;
  check("own");
}

TEST(promptGeneratorRefuses) {
  const Case c{{4, 3}, {2, 3}, 6, 5, 3};
  const Tensors good = floats(c);
  const at::Tensor mask = mask_of(c), cu = starts(c.lengths), none;
  const auto refuse = [&](const char* what, const Tensors& in, const at::Tensor& lengths, const at::Tensor& rows,
                          std::vector<std::string> pieces) {
    pieces.push_back("prompt_generator: ");
    const int64_t before = live_bytes();
    reset_peak_bytes();
    expect_error(
        what, [&] { prompt_generator(in[0], lengths, rows, in[1], in[2], in[3], in[4], in[5], "A", 1, in[6], in[7]); },
        pieces);
    REQUIRE(peak_bytes() == before);
  };
  const auto refused = [&](const char* what, size_t at, const at::Tensor& bad, const std::vector<std::string>& pieces) {
    Tensors in = good;
    in[at] = bad;
    refuse(what, in, cu, mask, pieces);
  };
  const at::Tensor meta = at::ones({3, 5}, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  refused("h", 0, at::ones({6}), {"h must", "[T, d]", "[6]"});
  refused("no h", 0, none, {"h is undefined"});
  refused("h of integers", 0, good[0].to(at::kLong), {"h must be float32", "Long"});
  refused("float16", 0, good[0].to(at::kHalf), {"h must be", "Half", "cpu"});
  refused("down", 1, at::ones({5, 7}), {"down_weight", "[m, d] = [5, 6]", "[5, 7]"});
  refused("no down", 1, none, {"down_weight", "[m, d]", "nothing"});
  refused("down type", 1, good[1].to(at::kDouble), {"down_weight", "Float", "Double"});
  refused("down bias", 2, at::ones({4}), {"down_bias", "[m] = [5]", "[4]"});
  refused("pool", 3, at::ones({3, 4}), {"pool_weight", "[P, m] = [3, 5]", "[3, 4]"});
  refused("no soft tokens", 3, at::ones({0, 5}), {"pool_weight", "1 to 8192 rows", "[0, 5]"});
  refused("too many", 3, at::ones({8193, 5}), {"pool_weight", "1 to 8192 rows", "[8193, 5]"});
  refused("elsewhere", 3, meta, {"h is on cpu", "pool_weight is on meta"});
  refused("groups", 4, at::ones({2, 6}), {"5 channels", "2 groups"});
  refused("numerator type", 4, good[4].to(at::kDouble), {"numerator", "Float for h of Float", "Double"});
  refused("no denominator", 5, none, {"denominator is undefined"});
  refused("up", 6, at::ones({5, 6}), {"up_weight", "[d, m] = [6, 5]", "[5, 6]"});
  refused("no up", 6, none, {"up_weight is undefined"});
  refused("up bias", 7, at::ones({4}), {"up_bias", "[d] = [6]", "[4]"});
  refuse("end", good, starts({4, 4}), mask, {"cu_seqlens", "end at 7", "8"});
  refuse("falling", good, at::tensor({0, 5, 3, 7}, at::kLong), mask, {"cu_seqlens", "fall", "5 to 3 at 1"});
  refuse("cu type", good, cu.to(at::kInt), mask, {"cu_seqlens", "int64", "Int [3]"});
  refuse("no cu", good, none, mask, {"cu_seqlens", "undefined"});
  refuse("mask", good, cu, mask.narrow(0, 0, 6), {"instruction", "[7]", "[6]"});
  refuse("mask type", good, cu, mask.to(at::kFloat), {"instruction", "bool or uint8", "Float"});
  refuse("no mask", good, cu, none, {"instruction", "nothing"});
}

}  // namespace
}  // namespace peft4j::test
