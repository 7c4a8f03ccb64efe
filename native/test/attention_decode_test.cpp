/* attention_decode: packed and paged caches on the CPU and on the way of CUDA tensors, refusals. */
#include <numeric>

#include "check.h"

namespace peft4j::test {
namespace {

struct Case {
  int64_t query_heads, key_heads, head_size, rows;
  std::vector<int64_t> lengths;
  int64_t block_size = 0;  // 0: packed
  int64_t prefix = 0;
  bool each = false;
  int64_t window = 0;
  double softcap = 0;
};

at::Tensor cumulative(const std::vector<int64_t>& lengths) {
  at::Tensor cu = at::zeros({static_cast<int64_t>(lengths.size()) + 1}, at::kLong);
  std::partial_sum(lengths.begin(), lengths.end(), cu.data_ptr<int64_t>() + 1);
  return cu;
}

// Blocks of a pool, the first sequence in the last ones; what a block does not hold is NaN.
std::pair<at::Tensor, at::Tensor> paged(const Case& c, const at::Tensor& packed) {
  const int64_t longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  at::Tensor table = at::full({static_cast<int64_t>(c.lengths.size()), longest / c.block_size + 1}, -1, at::kInt);
  int64_t next = 0, row = 0;
  for (const int64_t n : c.lengths) {
    next += (n + c.block_size - 1) / c.block_size;
  }
  const at::Tensor pool = at::full({next, c.block_size, packed.size(1), packed.size(2)}, NAN, packed.options());
  for (size_t s = 0; s < c.lengths.size(); row += c.lengths[s++]) {
    for (int64_t j = 0; j < c.lengths[s]; j += c.block_size) {
      const int64_t n = std::min(c.block_size, c.lengths[s] - j);
      table[s][j / c.block_size] = --next;
      pool[next].narrow(0, 0, n).copy_(packed.narrow(0, row + j, n));
    }
  }
  return {pool, table};
}

// Inputs: q, k, v, prefix_k, prefix_v.
Tensors run(const Case& c, const Tensors& t) {
  at::Tensor k = t[1], v = t[2], table;
  if (c.block_size > 0) {
    v = paged(c, v).first;
    std::tie(k, table) = paged(c, k);
  }
  const int64_t longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  return {attention_decode(t[0], k, v, cumulative(c.lengths), longest, table, t[3], t[4], 0.4, c.window, c.softcap)};
}

Tensors plain(const Case& c, const Tensors& t) {
  Tensors out;
  int64_t first = 0;
  const int64_t group = c.query_heads / c.key_heads;
  for (int64_t s = 0; s < static_cast<int64_t>(c.lengths.size()); first += c.lengths[s++]) {
    for (int64_t i = 0; i < c.rows; ++i) {
      const int64_t end = std::max<int64_t>(0, c.lengths[s] - c.rows + 1 + i);
      const int64_t begin = c.window > 0 ? std::max<int64_t>(0, end - c.window) : 0;
      for (int64_t h = 0; h < c.query_heads; ++h) {
        const auto seen = [&](const at::Tensor& cache, const at::Tensor& prefix) {
          at::Tensor keys = cache.narrow(0, first + begin, end - begin);
          if (prefix.defined()) {
            keys = at::cat({c.each ? prefix[s] : prefix, keys});
          }
          return keys.select(1, h / group);
        };
        at::Tensor score = at::mv(seen(t[1], t[3]), t[0][s * c.rows + i][h]) * 0.4;
        score = c.softcap > 0 ? c.softcap * (score / c.softcap).tanh() : score;
        out.push_back(at::mv(seen(t[2], t[4]).t(), at::softmax(score, 0)));
      }
    }
  }
  return {at::stack(out).reshape(t[0].sizes())};
}

Operation operation_of(const Case& c) {
  const int64_t keys = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0}), s = c.lengths.size();
  Operation o;
  o.what = text("heads ", c.query_heads, "/", c.key_heads, "x", c.head_size, " rows ", c.rows, " keys ",
                at::IntArrayRef(c.lengths), " block ", c.block_size, " prefix ", c.prefix, " each ", c.each, " window ",
                c.window, " cap ", c.softcap);
  o.inputs = {random({s * c.rows, c.query_heads, c.head_size}, 1), random({keys, c.key_heads, c.head_size}, 2),
              random({keys, c.key_heads, c.head_size}, 3), at::Tensor(), at::Tensor()};
  if (c.prefix > 0) {
    const std::vector<int64_t> shape = {s, c.prefix, c.key_heads, c.head_size};
    o.inputs[3] = random(at::IntArrayRef(shape).slice(c.each ? 0 : 1), 4);
    o.inputs[4] = random(at::IntArrayRef(shape).slice(c.each ? 0 : 1), 5);
  }
  o.trained.assign(5, false);
  o.run = [c](const Tensors& inputs, at::ScalarType) { return run(c, inputs); };
  o.plain = [c](const Tensors& inputs, at::ScalarType) { return plain(c, inputs); };
  return o;
}

std::vector<Operation> operations() {
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {4, 2}, {6, 1}};
  const std::vector<std::vector<int64_t>> lengths = {{40}, {1, 0, 17}, {0}, {5, 70}};
  const std::vector<int64_t> blocks = {0, 1, 16}, prefixes = {0, 3, 40}, windows = {0, 1, 9};
  std::vector<Operation> all;
  // heads, head size, rows, keys, block, prefix, each, window, cap
  for (const std::vector<int>& r : pairwise({3, 3, 2, 4, 3, 3, 2, 3, 2})) {
    all.push_back(operation_of({heads[r[0]].first, heads[r[0]].second, r[1] * 24 + 8, r[2] * 2 + 1, lengths[r[3]],
                                blocks[r[4]], prefixes[r[5]], r[6] == 1, windows[r[7]], r[8] * 2.5}));
  }
  return all;
}

TEST(decodeFollowsItsFormula) {
  for (const Operation& o : operations()) {
    compare(o);
  }
}

TEST(decodeOnADeviceFollowsItsFormula) {
  CudaOnTheHost library;
  for (Operation& o : operations()) {
    o.types = {at::kFloat, at::kBFloat16, at::kHalf};
    compare(o);
  }
  Operation wide = operation_of({1, 1, 264, 1, {5}});  // more than the kernel takes
  wide.types = {at::kFloat};
  compare(wide);
}

TEST(decodeEqualsTheLastRowsOfAttention) {
  const at::Tensor q = random({30, 4, 16}, 1).to(at::kFloat), k = random({30, 2, 16}, 2).to(at::kFloat),
                   v = random({30, 2, 16}, 3).to(at::kFloat), none;
  const at::Tensor cu = cumulative({10, 20}),
                   all = attention(q, k, v, cu, cu, 20, 20, none, none, none, true, 1, 0, 0, none, false, 0, 0, 1);
  const at::Tensor last = at::cat({q.narrow(0, 8, 2), q.narrow(0, 28, 2)});
  const at::Tensor decoded = attention_decode(last, k, v, cu, 20, none, none, none, 1, 0, 0);
  expect_close("last rows", decoded, at::cat({all.narrow(0, 8, 2), all.narrow(0, 28, 2)}).to(at::kDouble), 0);
}

TEST(decodeOfNothing) {
  const at::Tensor q = at::empty({0, 2, 8}), none;
  REQUIRE(attention_decode(q, q, q, at::zeros({1}, at::kLong), 0, none, none, none, 1, 0, 0).sizes() == q.sizes());
}

TEST(decodeRefuses) {
  const auto f = [](at::IntArrayRef shape) { return random(shape, 1).to(at::kFloat); };
  struct Arguments {
    at::Tensor q, k, v, cu;
    int64_t max_k = 4;
    at::Tensor table{}, prefix_k{}, prefix_v{};
    double scale = 1;
    int64_t window = 0;
    double softcap = 0;
  };
  const auto refused = [&](const char* what, const std::function<void(Arguments&)>& change,
                           std::vector<std::string> pieces) {
    Arguments a{f({2, 4, 8}), f({6, 2, 8}), f({6, 2, 8}), cumulative({2, 4})};
    change(a);
    pieces.push_back("attention_decode");
    expect_error(
        what,
        [&] {
          attention_decode(a.q, a.k, a.v, a.cu, a.max_k, a.table, a.prefix_k, a.prefix_v, a.scale, a.window, a.softcap);
        },
        pieces);
  };
  const auto paged_cache = [&](Arguments& a) {
    a.k = a.v = f({3, 2, 2, 8});
    a.table = at::tensor({0, 1, 2, 1}, at::kInt).view({2, 2});
  };
  refused("undefined q", [](Arguments& a) { a.q = at::Tensor(); }, {"q is undefined"});
  refused("flat q", [](Arguments& a) { a.q = a.q.flatten(1); }, {"q", "[rows, heads, D]", "[2, 32]"});
  refused("undefined k", [](Arguments& a) { a.k = at::Tensor(); }, {"k", "[Tk, heads, D]"});
  refused("paged k without a table", [&](Arguments& a) { a.k = a.v = f({3, 2, 2, 8}); },
          {"k", "[Tk, heads, D]", "[3, 2, 2, 8]"});
  refused("packed k with a table", [](Arguments& a) { a.table = at::zeros({2, 2}, at::kInt); },
          {"k", "[blocks, block size, heads, D]"});
  refused("type", [](Arguments& a) { a.k = a.k.to(at::kDouble); }, {"q is Float", "k is Double"});
  refused("v", [&](Arguments& a) { a.v = f({5, 2, 8}); }, {"v", "[6, 2, 8]", "[5, 2, 8]"});
  refused("strides", [&](Arguments& a) { a.v = f({6, 4, 8}).narrow(1, 0, 2); },
          {"strides", "[16, 8, 1]", "[32, 8, 1]"});
  refused("head size", [&](Arguments& a) { a.k = a.v = f({6, 2, 4}); }, {"head size 8", "4"});
  refused("head counts", [&](Arguments& a) { a.k = a.v = f({6, 3, 8}); }, {"4 query heads", "3 key heads"});
  refused("cu type", [](Arguments& a) { a.cu = a.cu.to(at::kInt); }, {"cu_seqlens_k", "int64"});
  refused("cu begin", [](Arguments& a) { a.cu = a.cu + 1; }, {"cu_seqlens_k", "begin at 0", "got 1"});
  refused("cu falls", [](Arguments& a) { a.cu = cumulative({4, -1}); }, {"cu_seqlens_k", "fall", "from 4 to 3"});
  refused("cu end", [](Arguments& a) { a.cu = cumulative({2, 3}); }, {"cu_seqlens_k", "end at 6", "got 5"});
  refused("max_k", [](Arguments& a) { a.max_k = 3; }, {"sequence 1", "4 rows", "longest 3"});
  refused("rows", [&](Arguments& a) { a.q = f({3, 4, 8}); }, {"q has 3 rows", "2 sequences"});
  refused("table type",
          [&](Arguments& a) {
            paged_cache(a);
            a.table = a.table.to(at::kLong);
          },
          {"block_table", "int32", "Long"});
  refused("table rows",
          [&](Arguments& a) {
            paged_cache(a);
            a.table = a.table.narrow(0, 0, 1);
          },
          {"block_table", "[2, blocks]", "[1, 2]"});
  refused("table columns",
          [&](Arguments& a) {
            paged_cache(a);
            a.table = a.table.narrow(1, 0, 1).contiguous();
          },
          {"sequence 1", "4 keys", "1 blocks of 2"});
  refused("block",
          [&](Arguments& a) {
            paged_cache(a);
            a.table[1][1] = 3;
          },
          {"block_table[1, 1] is 3", "3 blocks"});
  refused("only one prefix", [&](Arguments& a) { a.prefix_k = f({3, 2, 8}); }, {"prefix_k and prefix_v"});
  refused("prefix", [&](Arguments& a) { a.prefix_k = a.prefix_v = f({3, 4, 8}); }, {"[P, 2, 8]", "[3, 4, 8]"});
  refused("two prefixes",
          [&](Arguments& a) {
            a.prefix_k = f({3, 2, 8});
            a.prefix_v = f({2, 2, 8});
          },
          {"prefix_v", "[3, 2, 8]", "[2, 2, 8]"});
  refused("scale", [](Arguments& a) { a.scale = NAN; }, {"scale", "finite"});
  refused("window", [](Arguments& a) { a.window = -1; }, {"window", "-1"});
  refused("softcap", [](Arguments& a) { a.softcap = -1; }, {"softcap", "-1"});
  refused("gradient", [](Arguments& a) { a.q.requires_grad_(true); }, {"no gradient", "attention"});
}

}  // namespace
}  // namespace peft4j::test
