/* attention with a prefix on the way of CUDA tensors: the join, the gate, and their kernels in the host executor. */
#include <numeric>

#include "check.h"
#include "product_operands.h"

namespace peft4j::test {
namespace {

struct Case {
  int64_t query_heads, key_heads, head_size, prefix;
  std::vector<int64_t> lengths;
  bool each, gated;
};

at::Tensor cumulative(const std::vector<int64_t>& lengths) {
  at::Tensor cu = at::zeros({static_cast<int64_t>(lengths.size()) + 1}, at::kLong);
  std::partial_sum(lengths.begin(), lengths.end(), cu.data_ptr<int64_t>() + 1);
  return cu;
}

// Inputs: q, k, v, prefix_k, prefix_v, gate.
Tensors run(const Case& c, const Tensors& t) {
  const int64_t longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  return {attention(t[0], t[1], t[2], cumulative(c.lengths), cumulative(c.lengths), longest, longest, t[3], t[4], t[5],
                    true, 0.3, 0, 0, at::Tensor(), false, 0, 0, 5)};
}

// softmax(q kᵀ) v of all heads, causal behind the prefix.
at::Tensor softmax_attention(const Case& c, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             int64_t prefix) {
  const int64_t n = q.size(0), m = k.size(0), group = c.query_heads / c.key_heads;
  const at::Tensor hidden = at::ones({n, m}, at::kBool).triu(prefix + 1);
  Tensors heads;
  for (int64_t h = 0; h < c.query_heads; ++h) {
    at::Tensor p = product_of_views(q.select(1, h), k.select(1, h / group).t()) * 0.3;
    p = at::softmax(p.masked_fill(hidden, -INFINITY), 1);
    heads.push_back(product_of_views(p, v.select(1, h / group)));
  }
  return at::stack(heads, 1);
}

Tensors plain(const Case& c, const Tensors& t) {
  Tensors out;
  int64_t row = 0;
  for (size_t s = 0; s < c.lengths.size(); row += c.lengths[s++]) {
    const auto part = [&](const at::Tensor& all) { return all.narrow(0, row, c.lengths[s]); };
    const at::Tensor pk = c.each ? t[3][s] : t[3], pv = c.each ? t[4][s] : t[4];
    out.push_back(
        c.gated ? softmax_attention(c, part(t[0]), part(t[1]), part(t[2]), 0) +
                      t[5] * softmax_attention(c, part(t[0]), pk, pv, c.prefix)
                : softmax_attention(c, part(t[0]), at::cat({pk, part(t[1])}), at::cat({pv, part(t[2])}), c.prefix));
  }
  return {at::cat(out)};
}

Operation operation_of(const Case& c) {
  const int64_t rows = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0}), s = c.lengths.size();
  Operation o;
  o.what = text("heads ", c.query_heads, "/", c.key_heads, "x", c.head_size, " rows ", at::IntArrayRef(c.lengths),
                " prefix ", c.prefix, " each ", c.each, " gated ", c.gated);
  const std::vector<int64_t> prefix = {s, c.prefix, c.key_heads, c.head_size};
  const at::IntArrayRef shape = at::IntArrayRef(prefix).slice(c.each ? 0 : 1);
  o.inputs = {random({rows, c.query_heads, c.head_size}, 1),
              random({rows, c.key_heads, c.head_size}, 2),
              random({rows, c.key_heads, c.head_size}, 3),
              random(shape, 4),
              random(shape, 5),
              c.gated ? random({}, 6) : at::Tensor()};
  o.trained.assign(6, true);
  o.run = [c](const Tensors& inputs, at::ScalarType) { return run(c, inputs); };
  o.plain = [c](const Tensors& inputs, at::ScalarType) { return plain(c, inputs); };
  o.types = {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf};
  return o;
}

TEST(prefixesOnADeviceFollowTheirFormula) {
  CudaOnTheHost library;
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {4, 2}, {2, 1}};
  const std::vector<int64_t> sizes = {8, 20, 72}, prefixes = {1, 4, 20, 70};
  const std::vector<std::vector<int64_t>> lengths = {{13}, {1, 7, 20}};
  for (const std::vector<int>& r : pairwise({3, 3, 4, 2, 2, 2})) {
    const Case c{heads[r[0]].first, heads[r[0]].second, sizes[r[1]], prefixes[r[2]],
                 lengths[r[3]],     r[4] == 1,          r[5] == 1};
    Operation o = operation_of(c);
    if (c.gated && c.prefix == 1) {  // a softmax over one key has gradient 0: see attention_test.cpp
      o.types = {at::kDouble};
    }
    compare(o, "library");
  }
}

// A head wider than the kernels take, and gradients that nobody wants.
TEST(prefixesOnADeviceInOtherCases) {
  CudaOnTheHost library;
  for (const bool gated : {false, true}) {
    Operation o = operation_of({1, 1, 264, 3, {5}, false, gated});
    o.types = {at::kFloat};
    compare(o, "library");
    for (const size_t only : {0, 3}) {
      o = operation_of({2, 1, 16, 3, {5, 2}, true, gated});
      o.trained.assign(6, false);
      o.trained[only] = true;
      compare(o, "library");
    }
  }
}

TEST(prefixesWithoutSequences) {
  CudaOnTheHost library;
  Kernels kernels("library");
  const at::Tensor none = at::empty({0, 2, 8}), cu = at::zeros({1}, at::kLong);
  for (const at::Tensor& gate : {at::Tensor(), at::ones({}).requires_grad_(true)}) {
    const at::Tensor prefix = at::randn({3, 2, 8}).requires_grad_(true);
    const at::Tensor out =
        attention(none, none, none, cu, cu, 0, 0, prefix, prefix, gate, false, 1, 0, 0, at::Tensor(), false, 0, 0, 1);
    REQUIRE(out.sizes() == none.sizes());
    out.sum().backward();
    REQUIRE(prefix.grad().eq(0).all().item<bool>() && (!gate.defined() || gate.grad().item<float>() == 0));
  }
}

}  // namespace
}  // namespace peft4j::test
