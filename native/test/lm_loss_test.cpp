/* lm_loss and token_log_probs: ignored rows, chunks, softcap, label smoothing; see check.h for the rule of comparison. */
#include "lm_loss.h"

#include "check.h"

namespace peft4j::test {
namespace {

enum class Ignored { kNone, kSome, kAll };

struct Case {
  int64_t rows, width, vocabulary;
  LossSettings settings;
  Ignored ignored = Ignored::kSome;
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

// log softmax of the labelled rows and where they are, float32 from 16-bit logits on.
std::pair<at::Tensor, at::Tensor> log_softmax_of(const at::Tensor& hidden, const at::Tensor& w,
                                                 const at::Tensor& labels, double softcap) {
  const at::Tensor index = labels.ne(-100).nonzero().squeeze(1);
  at::Tensor z = at::mm(hidden.index_select(0, index), w.t());
  z = z.scalar_type() == at::kDouble ? z : z.to(at::kFloat);
  z = softcap > 0 ? softcap * (z / softcap).tanh() : z;
  return {at::log_softmax(z, 1), index};
}

// inputs: hidden, weight
Operation operation_of(const Case& c) {
  Operation o;
  const LossSettings s = c.settings;
  o.what =
      text("T ", c.rows, " d ", c.width, " V ", c.vocabulary, " softcap ", s.softcap, " smoothing ", s.label_smoothing,
           " mean ", s.mean, " chunk ", s.chunk_bytes, " ignored ", static_cast<int>(c.ignored));
  o.inputs = {random({c.rows, c.width}, 1), random({c.vocabulary, c.width}, 2, 1 / std::sqrt(c.width))};
  o.trained = {true, false};
  const at::Tensor labels = labels_of(c);
  o.run = [=](const Tensors& in, at::ScalarType) { return Tensors{lm_loss(in[0], weight_of(in[1]), labels, s)}; };
  o.plain = [=](const Tensors& in, at::ScalarType) {
    const auto [log_p, index] = log_softmax_of(in[0], in[1], labels, s.softcap);
    const at::Tensor label = labels.index_select(0, index).unsqueeze(1);
    const at::Tensor losses =
        -(1 - s.label_smoothing) * log_p.gather(1, label).squeeze(1) - s.label_smoothing * log_p.mean(1);
    return Tensors{s.mean ? losses.mean() : losses.sum()};
  };
  return o;
}

std::vector<Case> cases() {
  const std::vector<int64_t> rows = {1, 2, 7, 33}, widths = {1, 8, 31, 64}, vocabularies = {1, 2, 33, 257, 1000};
  std::vector<Case> all;
  for (const std::vector<int>& i : pairwise({4, 4, 5, 2, 2, 2, 2, 2})) {
    all.push_back({rows[i[0]],
                   widths[i[1]],
                   vocabularies[i[2]],
                   {i[3] == 1 ? 2.0 : 0.0, i[4] == 1 ? 0.1 : 0.0, i[5] == 1, i[6] == 1 ? 3000 : 256 << 20},
                   i[7] == 1 ? Ignored::kSome : Ignored::kNone});
  }
  all.push_back({5, 8, 33, {0, 0, false, 1}, Ignored::kSome});  // a row each
  all.push_back({5, 8, 33, {0, 0, false}, Ignored::kAll});
  all.push_back({0, 8, 33, {0, 0, false}, Ignored::kNone});
  return all;
}

TEST(lmLossFollowsItsFormula) {
  for (const Case& c : cases()) {
    compare(operation_of(c));
    compare(operation_of(c), "library");
  }
}

TEST(lmLossFollowsItsFormulaOnADevice) {
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

TEST(lmLossRepeatsItsBits) {
  const Operation o = operation_of({50, 16, 257, {0, 0.1, true, 30 << 10}, Ignored::kSome});
  const auto twice = [&](at::ScalarType type) {
    const Tensors one = results(o, o.run, type, false), two = results(o, o.run, type, false);
    for (size_t i = 0; i < one.size(); ++i) {
      expect_same_bits(text("result ", i), one[i], two[i]);
    }
  };
  twice(at::kFloat);
  twice(at::kBFloat16);
  CudaOnTheHost library;
  twice(at::kBFloat16);
}

TEST(tokenLogProbsFollowTheirFormula) {
  const auto check = [](const Case& c, at::ScalarType type, const char* provider) {
    const Kernels kernels(provider);
    const Operation o = operation_of(c);
    const at::Tensor hidden = o.inputs[0].to(type).requires_grad_(true), w = o.inputs[1].to(type),
                     labels = labels_of(c);
    const at::Tensor found = token_log_probs(hidden, weight_of(w), labels, c.settings.softcap);
    const auto in = [&](at::ScalarType t) {
      const auto [log_p, index] = log_softmax_of(hidden.detach().to(t), w.to(t), labels, c.settings.softcap);
      const at::Tensor label = labels.index_select(0, index).unsqueeze(1);
      return at::zeros({c.rows}, log_p.options()).index_copy(0, index, log_p.gather(1, label).squeeze(1));
    };
    const at::Tensor reference = in(at::kDouble);
    const double allowed = c.rows == 0 ? 0 : (in(type) - reference).abs().max().item<double>();
    expect_close(text(o.what, " ", type, " ", provider), found, reference, allowed);
    REQUIRE(found.scalar_type() == (type == at::kDouble ? at::kDouble : at::kFloat) && !found.requires_grad());
    REQUIRE(found.masked_select(labels.eq(-100)).eq(0).all().item<bool>());
  };
  const std::vector<Case> few = {{33, 16, 257, {2, 0, false}, Ignored::kSome},
                                 {7, 16, 33, {0, 0, false}, Ignored::kNone},
                                 {5, 8, 33, {0, 0, false}, Ignored::kAll},
                                 {0, 8, 33, {0, 0, false}, Ignored::kNone}};
  for (const Case& c : few) {
    for (const char* provider : {"own", "library", "reference"}) {
      for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
        check(c, type, provider);
      }
    }
  }
  CudaOnTheHost library;
  for (const Case& c : few) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      check(c, type, "own");
    }
  }
}

// No more than a chunk of logits, one product of it, and the rows' own size; nothing of the vocabulary's is kept.
TEST(lmLossNeedsAChunkOfMemory) {
  constexpr int64_t kRows = 100, kWidth = 32, kVocabulary = 2000, kChunk = 64 << 10, kSmall = 16 << 10;
  constexpr int64_t kRowsBytes = kRows * kWidth * 4;
  static_assert(kRows * kVocabulary * 4 > 9 * kChunk);
  const Weight weight({random({kVocabulary, kWidth}, 1).to(at::kFloat)});
  const at::Tensor hidden = random({kRows, kWidth}, 2).to(at::kFloat).requires_grad_(true);
  const at::Tensor labels = labels_of({kRows, kWidth, kVocabulary, {}, Ignored::kSome});
  const auto run = [&] { return lm_loss(hidden, weight, labels, LossSettings{0, 0, true, kChunk}); };
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
  };
  check();
  CudaOnTheHost library;
  check();
}

TEST(lmLossRefuses) {
  const at::Tensor hidden = random({4, 8}, 1).to(at::kFloat), w = random({10, 8}, 2).to(at::kFloat), none;
  const at::Tensor labels = at::tensor({0, -100, 9, 3}, at::kLong), all = at::full({4}, -100, at::kLong);
  const Weight weight({w});
  const auto refused = [&](const char* what, const at::Tensor& h, const at::Tensor& l, double softcap, double smoothing,
                           std::vector<std::string> pieces) {
    const int64_t before = live_bytes();
    pieces.push_back("lm_loss");
    expect_error(what, [&] { lm_loss(h, weight, l, softcap, smoothing, true); }, pieces);
    REQUIRE(live_bytes() == before && weight.layout() == "dense");
  };
  refused("undefined", none, labels, 0, 0, {"hidden is undefined"});
  refused("integers", hidden.to(at::kLong), labels, 0, 0, {"hidden", "float32", "Long"});
  refused("flat", hidden[0], labels, 0, 0, {"hidden", "[T, 8]", "[8]"});
  refused("width", w.narrow(0, 0, 4).narrow(1, 0, 7), labels, 0, 0, {"hidden", "[T, 8]", "[4, 7]"});
  refused("no labels", hidden, none, 0, 0, {"labels is undefined"});
  refused("few labels", hidden, labels.narrow(0, 0, 3), 0, 0, {"labels", "[T] = [4]", "[3]"});
  refused("narrow labels", hidden, labels.to(at::kInt), 0, 0, {"labels", "int64", "Int"});
  refused("label V", hidden, labels + 1, 0, 0, {"label 1", "[0, 10)", "-100", "-99"});
  refused("label V", hidden, labels.where(labels != 9, 10), 0, 0, {"label 2", "[0, 10)", "got 10"});
  refused("all ignored", hidden, all, 0, 0, {"mean", "4 rows"});
  refused("softcap", hidden, labels, -1, 0, {"softcap", "-1"});
  refused("softcap NaN", hidden, labels, NAN, 0, {"softcap", "nan"});
  refused("smoothing", hidden, labels, 0, 1, {"label_smoothing", "[0, 1)", "1"});
  expect_error("other operation", [&] { token_log_probs(hidden, weight, labels + 1, 0); },
               {"token_log_probs: label 1"});
}

}  // namespace
}  // namespace peft4j::test
