/*
token_losses: rows that are left out, chunks, softcap, label smoothing; bias, low-rank updates, a trained head; see check.h for the
rule of comparison.
*/
#include "token_losses.h"

#include "check.h"

namespace peft4j::test {
namespace {

enum class Ignored { kNone, kSome, kAll };
enum class Head { kFrozen, kBias, kLowRank, kAll, kTrained, kTrainedBias };

constexpr int64_t kSeed = 5;

struct Case {
  int64_t rows, width, vocabulary;
  LossSettings settings;
  Ignored ignored = Ignored::kSome;
  Head head = Head::kFrozen;
  double dropout = 0;

  bool has_bias() const { return head == Head::kBias || head == Head::kAll || head == Head::kTrainedBias; }
  bool low_rank() const { return head == Head::kLowRank || head == Head::kAll; }
  bool trained() const { return head == Head::kTrained || head == Head::kTrainedBias; }
};

at::Tensor labels_of(const Case& c) {
  at::Tensor labels = at::empty({c.rows}, at::kLong);
  for (int64_t t = 0; t < c.rows; ++t) {
    const bool ignored = c.ignored == Ignored::kAll || (c.ignored == Ignored::kSome && t % 3 == 1);
    labels[t] = ignored ? -100 : (t * 7 + c.vocabulary - 1) % c.vocabulary;
  }
  return labels;
}

// A Weight has no float16: its numbers as float32.
Weight weight_of(const at::Tensor& w) {
  return Weight({w.scalar_type() == at::kHalf ? w.to(at::kFloat) : w});
}

// Two updates of overlapping rows: all but the last, and all but the first.
struct Update {
  int64_t begin, end;
  double scale, dropout;
};

std::vector<Update> updates_of(const Case& c) {
  if (!c.low_rank()) {
    return {};
  }
  return {{0, std::max<int64_t>(c.rows - 1, 0), 0.5, c.dropout}, {std::min<int64_t>(1, c.rows), c.rows, 2, 0}};
}

// inputs: hidden, weight, bias, and A and B of each update
enum { kHidden, kWeight, kBias, kFactors };

LowRankUpdates low_rank_of(const Case& c, const Tensors& in) {
  LowRankUpdates low;
  low.seed = kSeed;
  for (size_t j = 0; j < updates_of(c).size(); ++j) {
    const Update u = updates_of(c)[j];
    low.a.push_back(in[kFactors + 2 * j]);
    low.b.push_back(in[kFactors + 2 * j + 1]);
    low.place.insert(low.place.end(), {0, u.begin, u.end});
    low.scale.push_back(u.scale);
    low.dropout.push_back(u.dropout);
  }
  return low;
}

at::Tensor losses_of(const Case& c, const Tensors& in) {
  const at::Tensor labels = labels_of(c);
  return c.trained()
             ? token_losses(in[kHidden], in[kWeight], in[kBias], labels, c.settings)
             : token_losses(in[kHidden], weight_of(in[kWeight]), in[kBias], low_rank_of(c, in), labels, c.settings);
}

// The formula with all logits, in the inputs' type, float32 from 16-bit logits on.
at::Tensor plain_losses(const Case& c, const Tensors& in) {
  const at::Tensor labels = labels_of(c), &hidden = in[kHidden];
  const at::ScalarType type = hidden.scalar_type();
  at::Tensor z = at::mm(hidden, in[kWeight].to(type).t());
  z = in[kBias].defined() ? z + in[kBias] : z;
  for (size_t j = 0; j < updates_of(c).size(); ++j) {
    const Update u = updates_of(c)[j];
    const at::Tensor a = in[kFactors + 2 * j].to(type), b = in[kFactors + 2 * j + 1].to(type);
    const at::Tensor dropped = hidden * mask(c.rows, c.width, u.dropout, kSeed).to(type);
    const at::Tensor of =
        at::arange(c.rows).ge(u.begin).logical_and(at::arange(c.rows).lt(u.end)).to(type).unsqueeze(1);
    z = z + of * at::mm(u.scale * at::mm(dropped, a.t()), b.t());
  }
  z = type == at::kDouble ? z : z.to(at::kFloat);
  z = c.settings.softcap > 0 ? c.settings.softcap * (z / c.settings.softcap).tanh() : z;
  const at::Tensor log_p = at::log_softmax(z, 1), counts = labels.ne(-100);
  const at::Tensor chosen = log_p.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1);
  const double smoothing = c.settings.label_smoothing;
  return (-(1 - smoothing) * chosen - smoothing * log_p.mean(1)) * counts;
}

Operation operation_of(const Case& c) {
  Operation o;
  o.what = text("T ", c.rows, " d ", c.width, " V ", c.vocabulary, " softcap ", c.settings.softcap, " smoothing ",
                c.settings.label_smoothing, " chunk ", c.settings.chunk_bytes, " ignored ", static_cast<int>(c.ignored),
                " head ", static_cast<int>(c.head), " dropout ", c.dropout);
  const double by_width = 1 / std::sqrt(c.width);
  o.inputs = {random({c.rows, c.width}, 1), random({c.vocabulary, c.width}, 2, by_width),
              c.has_bias() ? random({c.vocabulary}, 3) : at::Tensor()};
  o.trained = {true, c.trained(), true};
  o.wide.assign(3, false);
  for (size_t j = 0; j < updates_of(c).size(); ++j) {
    const auto rank = static_cast<int64_t>(2 + j);
    o.inputs.push_back(random({rank, c.width}, 4 + 2 * j, by_width));
    o.inputs.push_back(random({c.vocabulary, rank}, 5 + 2 * j, 0.3));
    o.trained.insert(o.trained.end(), {true, true});
    o.wide.insert(o.wide.end(), {true, true});
  }
  o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{losses_of(c, in)}; };
  o.plain = [=](const Tensors& in, at::ScalarType) { return Tensors{plain_losses(c, in)}; };
  return o;
}

std::vector<Case> cases() {
  const std::vector<int64_t> rows = {1, 2, 7, 33}, widths = {1, 8, 31, 64}, vocabularies = {1, 2, 33, 257, 1000};
  std::vector<Case> all;
  for (const std::vector<int>& i : pairwise({4, 4, 5, 2, 2, 2, 2, 6, 2})) {
    all.push_back({rows[i[0]],
                   widths[i[1]],
                   vocabularies[i[2]],
                   {i[3] == 1 ? 2.0 : 0.0, i[4] == 1 ? 0.1 : 0.0, i[5] == 1 ? 3000 : 256 << 20},
                   i[6] == 1 ? Ignored::kSome : Ignored::kNone,
                   static_cast<Head>(i[7]),
                   i[8] == 1 ? 0.25 : 0.0});
  }
  for (const Head head : {Head::kFrozen, Head::kAll, Head::kTrainedBias}) {
    all.push_back({5, 8, 33, {0, 0, 1}, Ignored::kSome, head});  // a row each
    all.push_back({5, 8, 33, {0, 0}, Ignored::kAll, head});
    all.push_back({0, 8, 33, {0, 0}, Ignored::kNone, head});
  }
  return all;
}

TEST(tokenLossesFollowTheirFormula) {
  for (const Case& c : cases()) {
    compare(operation_of(c));
    compare(operation_of(c), "library");
  }
}

// `compare` holds own kernels to the slow twin; here both are held to the formula.
TEST(theSlowTwinOfTokenLossesFollowsTheFormula) {
  for (const char* provider : {"own", "library", "reference"}) {
    Kernels k(provider);
    for (const Case& c : cases()) {
      const Operation o = operation_of(c);
      const Tensors found = results(o, o.run, at::kDouble, false), right = results(o, o.plain, at::kDouble, false);
      for (size_t i = 0; i < right.size(); ++i) {
        expect_close(text(o.what, " ", provider, " ", i), found[i], right[i], 0);
      }
      REQUIRE(found[0].masked_select(labels_of(c).eq(-100)).eq(0).all().item<bool>());
    }
  }
}

TEST(tokenLossesFollowTheirFormulaOnADevice) {
  CudaOnTheHost library;
  for (const Case& c : cases()) {
    if (c.rows > 2 && c.vocabulary > 300) {
      continue;  // the executor is slow
    }
    Operation o = operation_of(c);
    o.types = {at::kFloat, at::kBFloat16, at::kHalf};
    compare(o);
  }
}

TEST(tokenLossesRepeatTheirBits) {
  const auto twice = [&](Head head, at::ScalarType type) {
    const Operation o = operation_of({50, 16, 257, {0, 0.1, 30 << 10}, Ignored::kSome, head, 0.25});
    const Tensors one = results(o, o.run, type, false), two = results(o, o.run, type, false);
    for (size_t i = 0; i < one.size(); ++i) {
      expect_same_bits(text("result ", i), one[i], two[i]);
    }
  };
  for (const Head head : {Head::kFrozen, Head::kAll, Head::kTrainedBias}) {
    twice(head, at::kFloat);
    twice(head, at::kBFloat16);
    CudaOnTheHost library;
    twice(head, at::kBFloat16);
  }
}

// The weights of a mean over many rows are nothing to float16, their products with the rows even less.
TEST(smallWeightsOfRowsSurviveFloat16) {
  CudaOnTheHost library;
  const Case c{33, 16, 33, {0, 0}, Ignored::kSome, Head::kTrainedBias};
  const Operation o = operation_of(c);
  const auto gradients = [&](at::ScalarType type) {
    Tensors in;
    for (const at::Tensor& t : o.inputs) {
      in.push_back(t.to(at::kHalf).to(type).requires_grad_(true));
    }
    const at::Tensor losses = losses_of(c, in), weights = at::full_like(losses, 1e-6);
    return torch::autograd::grad({losses}, {in[kWeight]}, {weights})[0].to(at::kDouble);
  };
  const at::Tensor right = gradients(at::kDouble), found = gradients(at::kHalf);
  // Half of float16's smallest step, and the products' own roundings.
  REQUIRE((found - right).abs().max().item<double>() < 0x1p-25 + 1e-8);
  REQUIRE(right.abs().max().item<double>() > 1e-6);
}

TEST(tokenLossesHaveNoGradientWhereNoneIsWanted) {
  const Case c{7, 8, 33, {0, 0}, Ignored::kSome, Head::kAll};
  const Operation o = operation_of(c);
  Tensors in = o.inputs;
  REQUIRE(!losses_of(c, in).requires_grad());
  for (const size_t only : {0, 2, 3, 4, 5, 6}) {
    Tensors some = o.inputs, all = o.inputs;
    some[only] = some[only].clone().requires_grad_(true);
    for (const size_t i : {0, 2, 3, 4, 5, 6}) {
      all[i] = all[i].clone().requires_grad_(true);
    }
    const at::Tensor weights = random({c.rows}, 9);
    const at::Tensor one = torch::autograd::grad({losses_of(c, some)}, {some[only]}, {weights})[0];
    expect_close(text("gradient of input ", only), one,
                 torch::autograd::grad({losses_of(c, all)}, {all[only]}, {weights})[0], 0);
  }
  in[kHidden] = in[kHidden].clone().requires_grad_(true);
  at::NoGradGuard no_grad;
  REQUIRE(!losses_of(c, in).requires_grad());
}

TEST(anUpdateWithoutRowsGetsNoGradient) {
  const at::Tensor hidden = random({4, 8}, 1), a = random({2, 8}, 2).requires_grad_(true),
                   b = random({10, 2}, 3).requires_grad_(true);
  const at::Tensor labels = at::tensor({0, -100, 9, 3}, at::kLong);
  const Weight weight({random({10, 8}, 4)});
  const auto gradients = [&](int64_t begin, int64_t end) {
    const at::Tensor trained = hidden.clone().requires_grad_(true);
    const LowRankUpdates low{{a}, {b}, {0, begin, end}, {1}, {0}, 0};
    const at::Tensor losses = token_losses(trained, weight, at::Tensor(), low, labels, LossSettings{0, 0});
    return torch::autograd::grad({losses.sum()}, {a, b}, {}, std::nullopt, false, true);
  };
  REQUIRE(!gradients(2, 2)[0].defined() && !gradients(2, 2)[1].defined());
  REQUIRE(gradients(2, 3)[0].defined() && gradients(2, 3)[1].defined());
}

// A weight of several parts is one head; an update belongs to one of them.
TEST(tokenLossesOfAHeadInParts) {
  const at::Tensor hidden = random({6, 8}, 1), w = random({11, 8}, 2), a = random({2, 8}, 3), b = random({7, 2}, 4);
  const at::Tensor labels = at::tensor({0, 10, 3, 4, -100, 7}, at::kLong);
  const Weight parts({w.narrow(0, 0, 4), w.narrow(0, 4, 7)}), whole({w});
  const LossSettings settings{0, 0};
  const at::Tensor found =
      token_losses(hidden, parts, at::Tensor(), {{a}, {b}, {1, 0, 6}, {0.5}, {0}, 0}, labels, settings);
  const at::Tensor padded = at::constant_pad_nd(b, {0, 0, 4, 0});
  expect_close("in parts", found,
               token_losses(hidden, whole, at::Tensor(), {{a}, {padded}, {0, 0, 6}, {0.5}, {0}, 0}, labels, settings),
               0);
  Kernels k("reference");
  expect_close("slow twin", found,
               token_losses(hidden, parts, at::Tensor(), {{a}, {b}, {1, 0, 6}, {0.5}, {0}, 0}, labels, settings), 0);
}

// No more than a chunk of logits, one product of it, and the rows' own size; nothing of the vocabulary's is kept.
TEST(tokenLossesNeedAChunkOfMemory) {
  constexpr int64_t kRows = 100, kWidth = 32, kVocabulary = 2000, kChunk = 64 << 10, kSmall = 16 << 10;
  constexpr int64_t kRowsBytes = kRows * kWidth * 4, kHeadBytes = kVocabulary * kWidth * 4;
  static_assert(kRows * kVocabulary * 4 > 9 * kChunk);
  const at::Tensor w = random({kVocabulary, kWidth}, 1).to(at::kFloat), none;
  const Weight weight({w});
  const at::Tensor hidden = random({kRows, kWidth}, 2).to(at::kFloat).requires_grad_(true);
  const at::Tensor labels = labels_of({kRows, kWidth, kVocabulary, {}, Ignored::kSome});
  const LossSettings settings{0, 0, kChunk};
  const auto run = [&] { return token_losses(hidden, weight, none, {}, labels, settings).sum(); };
  const auto check = [&] {
    torch::autograd::grad({run()}, {hidden});  // packs the weight
    const int64_t before = live_bytes();
    reset_peak_bytes();
    {
      const at::Tensor loss = run();
      REQUIRE(peak_bytes() - before < kChunk + 2 * kRowsBytes + kSmall);  // rows with labels and their gradient
      REQUIRE(live_bytes() - before < kRowsBytes + kSmall);  // the gradient
      torch::autograd::grad({loss}, {hidden});
    }
    REQUIRE(live_bytes() == before);
    reset_peak_bytes();
    {
      at::NoGradGuard no_grad;
      run();
    }
    REQUIRE(peak_bytes() - before < kChunk + kRowsBytes + kSmall);
    REQUIRE(live_bytes() == before);
    const at::Tensor trained = w.clone().requires_grad_(true);
    const int64_t with_head = live_bytes();
    reset_peak_bytes();
    {
      const at::Tensor loss = token_losses(hidden, trained, none, labels, settings).sum();
      REQUIRE(live_bytes() - with_head < kSmall);  // backward makes all of it again
      torch::autograd::grad({loss}, {hidden, trained});
      REQUIRE(peak_bytes() - with_head < kChunk + kHeadBytes + 4 * kRowsBytes + kSmall);
    }
    REQUIRE(live_bytes() == with_head);
  };
  check();
  CudaOnTheHost library;
  check();
}

TEST(tokenLossesRefuse) {
  const at::Tensor hidden = random({4, 8}, 1).to(at::kFloat), w = random({10, 8}, 2).to(at::kFloat), none;
  const at::Tensor labels = at::tensor({0, -100, 9, 3}, at::kLong);
  const Weight weight({w});
  const auto refused = [&](const char* what, const at::Tensor& h, const at::Tensor& bias, const at::Tensor& l,
                           double softcap, double smoothing, std::vector<std::string> pieces) {
    const int64_t before = live_bytes();
    pieces.push_back("token_losses");
    expect_error(what, [&] { token_losses(h, weight, bias, {}, l, {softcap, smoothing}); }, pieces);
    expect_error(what, [&] { token_losses(h, w, bias, l, softcap, smoothing); },
                 {pieces.begin() + 1, pieces.end()});  // the first names what only a Weight has
    REQUIRE(live_bytes() == before && weight.layout() == "dense");
  };
  refused("undefined", none, none, labels, 0, 0, {"hidden", "hidden is undefined"});
  refused("integers", hidden.to(at::kLong), none, labels, 0, 0, {"", "hidden", "float32", "Long"});
  refused("flat", hidden[0], none, labels, 0, 0, {"[T, 8]", "hidden", "[8]"});
  refused("width", w.narrow(0, 0, 4).narrow(1, 0, 7), none, labels, 0, 0, {"[4, 7]", "hidden"});
  refused("bias", hidden, w[0], labels, 0, 0, {"", "bias", "[out] = [10]", "[8]"});
  refused("bias type", hidden, at::zeros({10}, at::kDouble), labels, 0, 0, {"", "bias is Double", "hidden is Float"});
  refused("no labels", hidden, none, none, 0, 0, {"", "labels is undefined"});
  refused("few labels", hidden, none, labels.narrow(0, 0, 3), 0, 0, {"", "labels", "[T] = [4]", "[3]"});
  refused("narrow labels", hidden, none, labels.to(at::kInt), 0, 0, {"", "labels", "int64", "Int"});
  refused("label V", hidden, none, labels + 1, 0, 0, {"", "label 1", "[0, 10)", "-100", "-99"});
  refused("label V", hidden, none, labels.where(labels != 9, 10), 0, 0, {"", "label 2", "[0, 10)", "got 10"});
  refused("softcap", hidden, none, labels, -1, 0, {"", "softcap", "-1"});
  refused("softcap NaN", hidden, none, labels, NAN, 0, {"", "softcap", "nan"});
  refused("smoothing", hidden, none, labels, 0, 1, {"", "label_smoothing", "[0, 1)", "1"});
  const at::Tensor a = random({2, 8}, 3).to(at::kFloat), b = random({10, 2}, 4).to(at::kFloat);
  const auto update = [&](const at::Tensor& own_a, const at::Tensor& own_b, int64_t end, double p) {
    return [=] {
      token_losses(hidden, weight, none, {{own_a}, {own_b}, {0, 0, end}, {1}, {p}, 0}, labels, LossSettings{0, 0});
    };
  };
  expect_error("A", update(b, b, 4, 0), {"token_losses: A of adapter 0", "[r, 8]", "[10, 2]"});
  expect_error("B", update(a, a, 4, 0), {"token_losses: B", "[out, r] = [10, 2]", "[2, 8]"});
  expect_error("rows", update(a, b, 5, 0), {"token_losses: adapter 0", "rows [0, 5) of 4"});
  expect_error("type", update(a.to(at::kDouble), b, 4, 0), {"token_losses: A and B", "hidden", "Double"});
  expect_error("dropout", update(a, b, 4, 1), {"token_losses: dropout", "[0, 1)"});
  expect_error("w", [&] { token_losses(hidden, none, none, labels, 0, 0); }, {"token_losses: w"});
  expect_error("type of w", [&] { token_losses(hidden, w.to(at::kDouble), none, labels, 0, 0); },
               {"token_losses: hidden is Float but w is Double"});
}

}  // namespace
}  // namespace peft4j::test
