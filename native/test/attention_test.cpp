/* attention: head sizes, grouped heads, packing, masks, prefixes, gate, dropout, views; see check.h for the comparison. */
#include <algorithm>
#include <iterator>
#include <numeric>

#include "check.h"
#include "product_operands.h"
#include "relative_bias.h"

namespace peft4j::test {
namespace {

enum class Prefix { kNone, kShared, kEach, kGated };

struct Heads {
  int64_t query, key, size;
};

struct Case {
  Heads heads;
  std::vector<int64_t> queries, keys;  // of each sequence
  bool causal = false;
  int64_t window = 0;
  Prefix prefix = Prefix::kNone;
  int64_t prefix_size = 0;
  double dropout = 0;
  bool together = false;  // q, k and v are views of one tensor
  double scale = 0.3;
  double softcap = 0;
  int64_t buckets = 0, max_distance = 20;  // of the bias; 0: none
  bool bidirectional = true;
};

std::string name_of(const Case& c) {
  return text("heads ", c.heads.query, "/", c.heads.key, "x", c.heads.size, " queries ", at::IntArrayRef(c.queries),
              " keys ", at::IntArrayRef(c.keys), " causal ", c.causal, " window ", c.window, " prefix ",
              static_cast<int>(c.prefix), "x", c.prefix_size, " p ", c.dropout, " together ", c.together, " softcap ",
              c.softcap, " buckets ", c.buckets, " bidirectional ", c.bidirectional);
}

at::Tensor cumulative(const std::vector<int64_t>& lengths) {
  at::Tensor cu = at::zeros({static_cast<int64_t>(lengths.size()) + 1}, at::kLong);
  std::partial_sum(lengths.begin(), lengths.end(), cu.data_ptr<int64_t>() + 1);
  return cu;
}

int64_t longest(const std::vector<int64_t>& lengths) {
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

int64_t total(const std::vector<int64_t>& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

// Inputs: q, k, v, or one tensor of the three; prefix_k, prefix_v; gate; bias table.
Tensors split(const Case& c, const Tensors& inputs) {
  if (!c.together) {
    return inputs;
  }
  const Heads& h = c.heads;
  const int64_t q = h.query * h.size, k = h.key * h.size;
  return {inputs[0].narrow(1, 0, q).unflatten(1, {h.query, h.size}),
          inputs[0].narrow(1, q, k).unflatten(1, {h.key, h.size}),
          inputs[0].narrow(1, q + k, k).unflatten(1, {h.key, h.size}),
          inputs[3],
          inputs[4],
          inputs[5],
          inputs[6]};
}

Tensors run(const Case& c, const Tensors& inputs) {
  const Tensors t = split(c, inputs);
  return {attention(t[0], t[1], t[2], cumulative(c.queries), cumulative(c.keys), longest(c.queries), longest(c.keys),
                    t[3], t[4], t[5], c.causal, c.scale, c.window, c.softcap, t[6], c.bidirectional, c.max_distance,
                    c.dropout, 5)};
}

// transformers' _relative_position_bucket of key position - query position.
at::Tensor buckets_of(const Case& c, const at::Tensor& relative) {
  const int64_t each = c.bidirectional ? c.buckets / 2 : c.buckets, exact = each / 2;
  const at::Tensor base = c.bidirectional ? (relative > 0).to(at::kLong) * each : at::zeros_like(relative);
  const at::Tensor distance = c.bidirectional ? relative.abs() : -at::minimum(relative, at::zeros_like(relative));
  const at::Tensor far =
      exact + (at::log(distance.to(at::kFloat) / static_cast<double>(exact)) /
               std::log(static_cast<double>(c.max_distance) / static_cast<double>(exact)) * (each - exact))
                  .to(at::kLong);
  return base + at::where(distance < exact, distance, far.clamp_max(each - 1));
}

TEST(relativeBucketsAreThoseOfTransformers) {
  // Golden: T5Attention._relative_position_bucket's formula by torch 2.13, distances -130, -64, -20, -9, -8, -7, -1, 0, 1, 7, 8, 9, 20, 64, 130
  const std::vector<int64_t> distances = {-130, -64, -20, -9, -8, -7, -1, 0, 1, 7, 8, 9, 20, 64, 130};
  const std::vector<int32_t> both = {15, 14, 10, 8, 8, 7, 1, 0, 17, 23, 24, 24, 26, 30, 31},
                             behind = {31, 26, 17, 9, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  for (const bool bidirectional : {true, false}) {
    const at::Tensor found = relative_buckets(32, bidirectional, 128);
    for (size_t i = 0; i < distances.size(); ++i) {
      const int64_t index = std::clamp<int64_t>(distances[i], -128, 128) + 128;
      REQUIRE(found[index].item<int32_t>() == (bidirectional ? both : behind)[i]);
    }
  }
  for (const auto& [buckets, max_distance] :
       std::vector<std::pair<int64_t, int64_t>>{{32, 128}, {8, 20}, {64, 500}, {4, 2}, {10, 33}}) {
    for (const bool bidirectional : {true, false}) {
      if (!bidirectional && max_distance <= buckets / 2) {
        continue;
      }
      Case c{};
      c.buckets = buckets;
      c.max_distance = max_distance;
      c.bidirectional = bidirectional;
      const at::Tensor expected = buckets_of(c, at::arange(-max_distance, max_distance + 1, at::kLong));
      expect_same_bits("buckets", relative_buckets(buckets, bidirectional, max_distance).to(at::kLong), expected);
    }
  }
}

// Softmax attention of one sequence, one query head after the other; a key j of the prefix has position -1.
at::Tensor one(const Case& c, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& table,
               int64_t prefix, int64_t first_row) {
  const int64_t n = q.size(0), m = k.size(0), group = c.heads.query / c.heads.key;
  at::Tensor hidden = at::zeros({n, m}, at::kBool);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = prefix; j < m; ++j) {
      const int64_t distance = i + (m - prefix - n) - (j - prefix);  // how far the key lies behind the row
      hidden.data_ptr<bool>()[i * m + j] =
          (c.causal && distance < 0) || (c.window > 0 && std::abs(distance) >= c.window);
    }
  }
  const at::Tensor blind = hidden.all(1, true);
  at::Tensor bias;
  if (table.defined()) {
    const at::Tensor relative =
        at::arange(m - prefix, at::kLong).unsqueeze(0) - at::arange(n, at::kLong).unsqueeze(1) - (m - prefix - n);
    bias =
        at::cat({at::zeros({n, prefix, c.heads.query}, table.options()), at::embedding(table, buckets_of(c, relative))},
                1)
            .to(q.scalar_type());
  }
  Tensors heads;
  for (int64_t h = 0; h < c.heads.query; ++h) {
    at::Tensor p = product_of_views(q.select(1, h), k.select(1, h / group).t()) * c.scale;
    p = c.softcap > 0 ? at::tanh(p / c.softcap) * c.softcap : p;
    p = bias.defined() ? p + bias.select(2, h) : p;
    p = at::softmax(p.masked_fill(hidden.logical_and(blind.logical_not()), -INFINITY), 1).masked_fill(blind, 0.0);
    if (c.dropout > 0) {
      p = p * mask(n, m, c.dropout, 5, first_row * c.heads.query + h, c.heads.query).to(p.scalar_type());
    }
    heads.push_back(product_of_views(p, v.select(1, h / group)));
  }
  return at::stack(heads, 1);
}

Tensors plain(const Case& c, const Tensors& inputs) {
  const Tensors t = split(c, inputs);
  Tensors out;
  int64_t q = 0, k = 0;
  for (size_t s = 0; s < c.queries.size(); ++s) {
    const at::Tensor rows = t[0].narrow(0, q, c.queries[s]);
    at::Tensor keys = t[1].narrow(0, k, c.keys[s]), values = t[2].narrow(0, k, c.keys[s]), added;
    if (c.prefix != Prefix::kNone) {
      const at::Tensor pk = t[3].dim() == 4 ? t[3][s] : t[3], pv = t[4].dim() == 4 ? t[4][s] : t[4];
      if (c.prefix == Prefix::kGated) {
        added = t[5] * one(c, rows, pk, pv, at::Tensor(), pk.size(0), q);
      } else {
        keys = at::cat({pk, keys});
        values = at::cat({pv, values});
      }
    }
    const int64_t prefix = keys.size(0) - c.keys[s];
    const at::Tensor text = keys.size(0) == 0 ? rows * 0 : one(c, rows, keys, values, t[6], prefix, q);
    out.push_back(added.defined() ? text + added : text);
    q += c.queries[s];
    k += c.keys[s];
  }
  return {out.empty() ? t[0] * 0 : at::cat(out)};
}

Operation operation_of(const Case& c) {
  const Heads& h = c.heads;
  const int64_t tq = total(c.queries), tk = total(c.keys), s = c.queries.size();
  Operation o;
  o.what = name_of(c);
  o.inputs.resize(7);
  if (c.together) {
    o.inputs[0] = random({tq, (h.query + 2 * h.key) * h.size}, 1);
  } else {
    o.inputs[0] = random({tq, h.query, h.size}, 1);
    o.inputs[1] = random({tk, h.key, h.size}, 2);
    o.inputs[2] = random({tk, h.key, h.size}, 3);
  }
  if (c.prefix != Prefix::kNone) {
    const bool each = c.prefix == Prefix::kEach || (c.prefix == Prefix::kGated && h.size % 2 == 0);
    const std::vector<int64_t> shape = each ? std::vector<int64_t>{s, c.prefix_size, h.key, h.size}
                                            : std::vector<int64_t>{c.prefix_size, h.key, h.size};
    o.inputs[3] = random(shape, 4);
    o.inputs[4] = random(shape, 5);
  }
  if (c.prefix == Prefix::kGated) {
    o.inputs[5] = random({}, 6);
  }
  if (c.buckets > 0) {
    o.inputs[6] = random({c.buckets, h.query}, 7);
  }
  o.trained.assign(7, true);
  o.wide.assign(7, false);
  o.wide[6] = true;
  const bool alone = c.prefix == Prefix::kNone || c.prefix == Prefix::kGated;
  if ((c.prefix == Prefix::kGated && c.prefix_size == 1) || (alone && c.window == 1)) {
    // A softmax over one key has gradient 0; dP - rowsum(dO∘O) leaves the rounding of both (flash-attention's does too):
    // 1.03e-5 for 588 rows of float32; with O kept in bfloat16 there is nothing to compare.
    o.absolute = 4e-5;
    o.types.pop_back();
  }
  o.run = [c](const Tensors& inputs, at::ScalarType) { return run(c, inputs); };
  o.plain = [c](const Tensors& inputs, at::ScalarType) { return plain(c, inputs); };
  return o;
}

TEST(attentionFollowsItsFormula) {
  const std::vector<int64_t> sizes = {1, 8, 32, 33, 64, 80, 128};
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {4, 4}, {4, 2}, {6, 1}};
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> lengths = {
      {{1, 2, 0, 47}, {1, 2, 0, 47}},  // as many keys as queries
      {{48, 49, 1}, {48, 49, 1}},
      {{127, 0}, {127, 0}},
      {{128, 2}, {128, 2}},
      {{129}, {129}},
      {{300}, {300}},
      {{1, 1, 1}, {300, 1, 0}},  // one row of queries
      {{50, 3, 7, 0}, {20, 129, 0, 4}},  // more queries than keys, and the other way
      {{}, {}},
      {{0, 0}, {0, 0}},
  };
  const std::vector<int64_t> windows = {0, 1, 5, 100}, prefixes = {1, 4, 64, 130};
  const std::vector<double> dropouts = {0, 0.1, 0.5};
  // head size, heads, lengths, causal, window, prefix, its size, dropout, together, softcap, bias
  for (const std::vector<int>& r : pairwise({7, 4, 10, 2, 4, 4, 4, 3, 2, 2, 3})) {
    Case c;
    c.heads = {heads[r[1]].first, heads[r[1]].second, sizes[r[0]]};
    c.queries = lengths[r[2]].first;
    c.keys = lengths[r[2]].second;
    c.causal = r[3] == 1;
    c.window = windows[r[4]];
    c.prefix = static_cast<Prefix>(r[5]);
    c.prefix_size = prefixes[r[6]];
    c.dropout = dropouts[r[7]];
    c.together = r[8] == 1 && c.queries == c.keys;
    c.scale = 1 / std::sqrt(static_cast<double>(c.heads.size));
    c.softcap = r[9] * 2;
    c.buckets = r[10] > 0 ? 8 : 0;
    c.bidirectional = r[10] == 1;
    compare(operation_of(c));
    if (c.dropout == 0 && c.softcap == 0 && c.buckets == 0) {  // else the library leaves it to the reference
      compare(operation_of(c), "library");
    }
  }
}

TEST(attentionOnCudaFollowsItsFormula) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> lengths = {
      {{1, 0, 20}, {1, 0, 20}}, {{30}, {30}}, {{7, 1}, {3, 40}}, {{}, {}}};
  const std::vector<Heads> heads = {{1, 1, 8}, {2, 1, 20}, {2, 2, 16}};
  CudaOnTheHost library;
  // heads, lengths, causal, window, prefix, dropout, softcap, bias, together
  for (const std::vector<int>& r : pairwise({3, 4, 2, 2, 4, 2, 2, 3, 2})) {
    Case c{heads[r[0]], lengths[r[1]].first, lengths[r[1]].second, r[2] == 1, r[3] * 5, static_cast<Prefix>(r[4]), 3};
    c.dropout = r[5] * 0.2;
    c.softcap = r[6] * 2;
    c.buckets = r[7] > 0 ? 8 : 0;
    c.bidirectional = r[7] == 1;
    c.together = r[8] == 1 && c.queries == c.keys;
    Operation o = operation_of(c);
    o.types = {at::kFloat, at::kBFloat16, at::kHalf};
    compare(o);
  }
}

TEST(attentionOnCudaDoesByItselfWhatTheLibraryCannot) {
  CudaOnTheHost library;
  Case c{{2, 1, 8}, {20}, {20}};
  c.dropout = 0.2;
  Operation o = operation_of(c);
  o.types = {at::kFloat};
  Tensors chosen, own;
  chosen = results(o, o.run, at::kFloat, false);
  {
    Kernels k("own");
    own = results(o, o.run, at::kFloat, false);
  }
  for (size_t i = 0; i < own.size(); ++i) {
    expect_same_bits(text("result ", i), chosen[i], own[i]);
  }
  c.heads.size = 257;  // no kernel is that wide
  o = operation_of(c);
  o.types = {at::kFloat};
  compare(o);
}

// cuda/attention_test.cu has all cases; this is the way to them.
TEST(attentionOnCudaRunsByWgmmaWhereItIsForced) {
  CudaOnTheHost library;
  Case c{{2, 1, 64}, {9, 2}, {9, 130}, true};
  c.prefix = Prefix::kEach;
  c.prefix_size = 3;
  Operation o = operation_of(c);
  o.types = {at::kBFloat16, at::kHalf};
  compare(o, "own,attention_forward=sm_90a,attention_backward=sm_90a");
  at::Tensor out;
  {
    Kernels k("own,attention_forward=sm_90a,attention_backward=sm_90a");
    const auto typed = [](const at::Tensor& t) { return t.defined() ? t.to(at::kHalf).requires_grad_(true) : t; };
    Tensors inputs;
    std::transform(o.inputs.begin(), o.inputs.end(), std::back_inserter(inputs), typed);
    out = o.run(inputs, at::kHalf)[0];
    REQUIRE(library.last_kernel().find("attention_forward_sm90a<") != std::string::npos);
  }
  out.sum().backward();  // as its forward was told
  REQUIRE(library.last_kernel().find("attention_backward_queries_sm90a<") != std::string::npos);
}

TEST(attentionOfLargeScoresStaysFinite) {
  Case c{{2, 1, 16}, {60}, {200}};
  c.scale = 25;
  Operation o = operation_of(c);
  o.types = {at::kDouble, at::kFloat};
  compare(o);
}

TEST(attentionRowsWithoutKeysGiveZero) {
  Case c{
      {2, 2, 8}, {5, 3, 4}, {2, 0, 4}, true};  // the first three rows lie before the first key; sequence 1 has no keys
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    Kernels own("own");
    const Operation o = operation_of(c);
    const Tensors found = results(o, o.run, type, false);
    REQUIRE(found[0].narrow(0, 0, 3).eq(0).all().item<bool>() && found[0].narrow(0, 5, 3).eq(0).all().item<bool>());
    REQUIRE(found[0].narrow(0, 3, 2).ne(0).all().item<bool>());
    REQUIRE(found[1].narrow(0, 0, 3).eq(0).all().item<bool>() && found[1].narrow(0, 5, 3).eq(0).all().item<bool>());
  }
}

TEST(attentionShowsNotANumber) {
  const Case c{{2, 1, 8}, {70, 20}, {150, 20}};
  Kernels own("own");
  for (const int input : {0, 1, 2}) {
    Operation o = operation_of(c);
    o.trained.assign(7, false);
    o.inputs[input][50] = NAN;
    for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      const at::Tensor out = results(o, o.run, type, false)[0];
      const at::Tensor spoilt = input == 0 ? out[50] : out.narrow(0, 0, 70), whole = out.narrow(0, 70, 20);
      REQUIRE(spoilt.isnan().all().item<bool>());
      REQUIRE(!whole.isnan().any().item<bool>());
    }
  }
}

TEST(attentionRepeatsItsBitsForAnyThreads) {
  for (const Prefix prefix : {Prefix::kShared, Prefix::kEach, Prefix::kGated}) {
    Case c{{4, 2, 32}, {100, 3, 77, 50}, {100, 3, 77, 50}, true, 0, prefix, 5, 0.1, true};
    const Operation o = operation_of(c);
    expect_same_bits_for_any_threads(o);
  }
}

TEST(attentionBackwardTwice) {
  Case c{{2, 2, 16}, {30}, {30}, true, 0, Prefix::kEach, 3, 0.1};
  Tensors leaves = operation_of(c).inputs;
  leaves.resize(5);
  for (at::Tensor& t : leaves) {
    t = t.to(at::kFloat).requires_grad_(true);
  }
  leaves.resize(7);  // neither gate nor bias
  const Tensors y = run(c, leaves);
  leaves.resize(5);
  const Tensors dy = {random(y[0].sizes(), 1).to(at::kFloat)};
  const Tensors first = torch::autograd::grad(y, leaves, dy, true), again = torch::autograd::grad(y, leaves, dy);
  for (size_t i = 0; i < first.size(); ++i) {
    expect_same_bits(text("gradient ", i), first[i], again[i]);
  }
  // q, k and v of as many rows get one tensor's views: lora_linear takes them without a copy.
  REQUIRE(first[0].storage().is_alias_of(first[1].storage()) && first[1].storage_offset() == 2 * 16);
}

TEST(attentionRefuses) {
  const auto f = [](at::IntArrayRef shape) { return random(shape, 1).to(at::kFloat); };
  struct Arguments {
    at::Tensor q, k, v, cu_q, cu_k;
    int64_t max_q = 3, max_k = 4;
    at::Tensor prefix_k{}, prefix_v{}, gate{};
    double scale = 1;
    int64_t window = 0;
    double softcap = 0;
    at::Tensor bias_table{};
    bool bidirectional = true;
    int64_t max_distance = 20;
    double dropout = 0;
  };
  const auto refused = [&](const char* what, const std::function<void(Arguments&)>& change,
                           std::vector<std::string> pieces) {
    Arguments a{f({5, 4, 8}), f({6, 2, 8}), f({6, 2, 8}), cumulative({2, 3}), cumulative({2, 4})};
    change(a);
    pieces.push_back("attention");
    const int64_t before = live_bytes();
    reset_peak_bytes();
    expect_error(
        what,
        [&] {
          attention(a.q, a.k, a.v, a.cu_q, a.cu_k, a.max_q, a.max_k, a.prefix_k, a.prefix_v, a.gate, false, a.scale,
                    a.window, a.softcap, a.bias_table, a.bidirectional, a.max_distance, a.dropout, 1);
        },
        pieces);
    REQUIRE(peak_bytes() == before);
  };
  refused("undefined q", [](Arguments& a) { a.q = at::Tensor(); }, {"q is undefined"});
  refused("integer q", [](Arguments& a) { a.q = a.q.to(at::kLong); }, {"q", "float32", "Long"});
  refused("flat q", [](Arguments& a) { a.q = a.q.flatten(1); }, {"q", "[T, heads, D]", "[5, 32]"});
  refused("undefined k", [](Arguments& a) { a.k = at::Tensor(); }, {"k", "[T, heads, D]"});
  refused("k of another type", [](Arguments& a) { a.k = a.k.to(at::kDouble); }, {"q is Float", "k is Double"});
  refused("scattered heads", [](Arguments& a) { a.q = a.q.transpose(1, 2).contiguous().transpose(1, 2); },
          {"q", "contiguous"});
  refused("v", [&](Arguments& a) { a.v = f({5, 2, 8}); }, {"v", "[6, 2, 8]", "[5, 2, 8]"});
  refused("head size", [&](Arguments& a) { a.k = a.v = f({6, 2, 4}); }, {"head size 8", "4"});
  refused("head counts", [&](Arguments& a) { a.k = a.v = f({6, 3, 8}); }, {"4 query heads", "3 key heads"});
  refused("cu type", [](Arguments& a) { a.cu_q = a.cu_q.to(at::kInt); }, {"cu_seqlens_q", "int64"});
  refused("cu end", [](Arguments& a) { a.cu_q = cumulative({2, 2}); }, {"cu_seqlens_q", "end at 5", "got 4"});
  refused("cu begin",
          [](Arguments& a) {
            a.cu_k = a.cu_k.clone();
            a.cu_k[0] = 1;
          },
          {"cu_seqlens_k", "begin at 0", "got 1"});
  refused("cu falls",
          [](Arguments& a) {
            a.cu_k = cumulative({7, -1});
            a.max_k = 9;
          },
          {"cu_seqlens_k", "fall", "from 7 to 6"});
  refused("max_q", [](Arguments& a) { a.max_q = 2; }, {"sequence 1", "cu_seqlens_q", "3 rows", "longest 2"});
  refused("sequences", [](Arguments& a) { a.cu_k = cumulative({2, 4, 0}); }, {"cu_seqlens_q has 2", "cu_seqlens_k 3"});
  refused("only one prefix", [&](Arguments& a) { a.prefix_k = f({3, 2, 8}); }, {"prefix_k and prefix_v"});
  refused("prefix", [&](Arguments& a) { a.prefix_k = a.prefix_v = f({3, 4, 8}); },
          {"prefix", "[P, 2, 8]", "[3, 4, 8]"});
  refused("prefixes", [&](Arguments& a) { a.prefix_k = a.prefix_v = f({3, 3, 2, 8}); },
          {"[2, P, 2, 8]", "[3, 3, 2, 8]"});
  refused("flat prefix", [&](Arguments& a) { a.prefix_k = a.prefix_v = f({3}); }, {"prefix", "[3]"});
  refused("prefix type", [&](Arguments& a) { a.prefix_k = a.prefix_v = random({3, 2, 8}, 1); }, {"Float", "Double"});
  refused("two prefixes",
          [&](Arguments& a) {
            a.prefix_k = f({3, 2, 8});
            a.prefix_v = f({2, 2, 8});
          },
          {"prefix_v", "[3, 2, 8]", "[2, 2, 8]"});
  refused("gate alone", [&](Arguments& a) { a.gate = f({}); }, {"gate", "prefix"});
  refused("gates",
          [&](Arguments& a) {
            a.gate = f({2});
            a.prefix_k = a.prefix_v = f({3, 2, 8});
          },
          {"gate", "one number"});
  refused("scale", [](Arguments& a) { a.scale = NAN; }, {"scale", "finite", "nan"});
  refused("window", [](Arguments& a) { a.window = -1; }, {"window", "positive", "-1"});
  refused("softcap", [](Arguments& a) { a.softcap = -30; }, {"softcap", "positive", "-30"});
  refused("bias heads", [&](Arguments& a) { a.bias_table = f({8, 2}); }, {"bias_table", "[buckets, 4]", "[8, 2]"});
  refused("bias type", [&](Arguments& a) { a.bias_table = random({8, 4}, 1); }, {"bias_table", "Float", "Double"});
  refused("odd buckets", [&](Arguments& a) { a.bias_table = f({7, 4}); }, {"bias_table", "even", "got 7"});
  refused("one bucket",
          [&](Arguments& a) {
            a.bias_table = f({1, 4});
            a.bidirectional = false;
          },
          {"bias_table", "2 buckets", "got 1"});
  refused("far bias",
          [&](Arguments& a) {
            a.bias_table = f({8, 4});
            a.max_distance = 513;
          },
          {"bias_max_distance", "[3, 512]", "513"});
  refused("dropout", [](Arguments& a) { a.dropout = 1; }, {"dropout", "[0, 1)", "got 1"});
}

}  // namespace
}  // namespace peft4j::test
