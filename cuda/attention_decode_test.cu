/* attention_decode: contiguous and paged caches, prefixes, window and soft cap against the formula in double. */
#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/cuda.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

enum class Prefix { kNone, kShared, kEach };

struct Case {
  int64_t head_size, query_heads, key_heads, queries;
  std::vector<int64_t> lengths;
  int64_t block_size = 0;  // 0: contiguous
  Prefix kind = Prefix::kNone;
  int64_t prefix = 0, window = 0;
  double softcap = 0;
  bool strided = false;  // rows of q, o and the cache lie apart

  std::string name() const {
    std::string all;
    for (const int64_t n : lengths) {
      all += (all.empty() ? "" : " ") + std::to_string(n);
    }
    return text("D ", head_size, ", heads ", query_heads, "/", key_heads, ", rows ", queries, ", keys ",
                all.size() < 60 ? all : text(lengths.size(), " sequences"), ", blocks of ", block_size, ", prefix ",
                static_cast<int>(kind), "x", prefix, ", window ", window, ", cap ", softcap, ", strided ", strided);
  }
  int64_t sequences() const { return static_cast<int64_t>(lengths.size()); }
  int64_t rows() const { return sequences() * queries; }
};

using Numbers = std::vector<double>;

// Keys and values lie one after the other, sequence by sequence, whatever the kernel gets.
struct Inputs {
  Numbers q, k, v, prefix_k, prefix_v;
  double scale;
};

template <class Round>
Numbers formula(const Case& c, const Inputs& in, const Round& round) {
  const int64_t D = c.head_size, H = c.query_heads, group = H / c.key_heads;
  Numbers out(c.rows() * H * D);
  int64_t first = 0;
  for (int64_t s = 0; s < c.sequences(); first += c.lengths[s++]) {
    for (int64_t i = 0; i < c.queries * H; ++i) {
      const int64_t h = i % H, position = c.lengths[s] - c.queries + i / H, row = (s * c.queries * H + i) * D;
      const int64_t oldest = c.window > 0 ? std::max<int64_t>(0, position - c.window + 1) : 0;
      std::vector<std::pair<const double*, const double*>> seen;
      for (int64_t j = 0; j < c.prefix; ++j) {
        const int64_t at = (((c.kind == Prefix::kEach ? s : 0) * c.prefix + j) * c.key_heads + h / group) * D;
        seen.push_back({&in.prefix_k[at], &in.prefix_v[at]});
      }
      for (int64_t j = oldest; j <= position; ++j) {
        const int64_t at = ((first + j) * c.key_heads + h / group) * D;
        seen.push_back({&in.k[at], &in.v[at]});
      }
      Numbers p;
      double most = -INFINITY, sum = 0;
      for (const auto& [k, v] : seen) {
        const double x = round(in.scale * std::inner_product(k, k + D, &in.q[row], 0.0));
        p.push_back(c.softcap > 0 ? round(c.softcap * std::tanh(x / c.softcap)) : x);
        most = std::max(most, p.back());
      }
      for (double& x : p) {
        x = std::exp(x - most);
        sum += x;
      }
      for (size_t j = 0; j < p.size(); ++j) {
        for (int64_t x = 0; x < D; ++x) {
          out[row + x] += round(p[j] / sum) * seen[j].second[x];
        }
      }
      for (int64_t x = 0; x < D; ++x) {
        out[row + x] = round(out[row + x]);
      }
    }
  }
  return out;
}

// Rows of `columns` numbers, `stride` apart; between them something else.
template <class T>
std::vector<T> spread(const Numbers& values, int64_t columns, int64_t stride) {
  std::vector<T> all(values.size() / columns * stride, static_cast<T>(777.0f));
  for (size_t i = 0; i < values.size(); ++i) {
    all[i / columns * stride + i % columns] = static_cast<T>(static_cast<float>(values[i]));
  }
  return all;
}

template <class T>
Numbers kernel(const Case& c, const Inputs& in) {
  const int64_t D = c.head_size, H = c.query_heads, wide_q = H * D, wide_k = c.key_heads * D;
  const int64_t q_row = wide_q + (c.strided ? 24 : 0), k_row = wide_k + (c.strided ? 8 : 0);
  std::vector<int32_t> cu{0};
  for (const int64_t n : c.lengths) {
    cu.push_back(cu.back() + static_cast<int32_t>(n));
  }
  const int64_t longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  // Blocks are dealt out from the last to the first; a block that a sequence does not fill keeps its rubbish.
  const int64_t in_block = std::max<int64_t>(1, c.block_size), max_blocks = longest / in_block + 1;
  std::vector<int32_t> table(c.sequences() * max_blocks, -1);
  std::vector<T> k = spread<T>(in.k, wide_k, k_row), v = spread<T>(in.v, wide_k, k_row);
  if (c.block_size > 0) {
    int32_t next = 0;
    for (const int64_t n : c.lengths) {
      next += static_cast<int32_t>((n + in_block - 1) / in_block);
    }
    std::vector<T> pool_k(next * in_block * k_row, static_cast<T>(NAN)), pool_v = pool_k;
    for (int64_t s = 0; s < c.sequences(); ++s) {
      for (int64_t j = 0; j < c.lengths[s]; ++j) {
        int32_t& block = table[s * max_blocks + j / in_block];
        block = j % in_block == 0 ? --next : block;
        const int64_t to = (block * in_block + j % in_block) * k_row, from = (cu[s] + j) * k_row;
        std::copy_n(k.begin() + from, k_row, pool_k.begin() + to);
        std::copy_n(v.begin() + from, k_row, pool_v.begin() + to);
      }
    }
    k = pool_k;
    v = pool_v;
  }
  const DeviceBuffer<T> q(spread<T>(in.q, wide_q, q_row), "q"), dk(k, "k"), dv(v, "v"), o(c.rows() * q_row, "o"),
      prefix_k(convert<T>(in.prefix_k), "prefix_k"), prefix_v(convert<T>(in.prefix_v), "prefix_v");
  const DeviceBuffer<int32_t> cu_k(cu, "cu_seqlens_k"), blocks(table, "block_table");
  peft4j_cuda_decode p{};
  p.dtype = kDtype<T>;
  p.scale = static_cast<float>(in.scale);
  p.softcap = static_cast<float>(c.softcap);
  p.sequences = c.sequences();
  p.queries = c.queries;
  p.query_heads = H;
  p.key_heads = c.key_heads;
  p.head_size = D;
  p.longest = longest;
  p.window = c.window;
  p.q = {q.data(), q_row, D};
  p.o = {o.data(), q_row, D};
  p.k = dk.data();
  p.v = dv.data();
  p.key = k_row;
  p.head = D;
  p.block = c.block_size * k_row;
  p.block_size = c.block_size;
  p.cu_seqlens_k = cu_k.data();
  p.block_table = c.block_size > 0 ? blocks.data() : nullptr;
  p.max_blocks = max_blocks;
  p.prefix_k = prefix_k.data();
  p.prefix_v = prefix_v.data();
  p.prefix = c.prefix;
  p.prefix_shared = c.kind == Prefix::kShared;
  const DeviceBuffer<float> scratch(peft4j_cuda_attention_decode_scratch(&p), "scratch");
  p.scratch = scratch.data();
  expect_success(c.name(), peft4j_cuda_attention_decode(&p, nullptr));
  const auto all = o.download();
  Numbers found;
  for (int64_t i = 0; i < c.rows() * wide_q; ++i) {
    found.push_back(static_cast<float>(all[i / wide_q * q_row + i % wide_q]));
  }
  return found;
}

template <class T>
Inputs inputs_of(const Case& c) {
  const auto rounded = [](size_t n, uint64_t seed) { return wide(convert<T>(random(n, seed))); };
  const size_t keys = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0}) * c.key_heads * c.head_size;
  const size_t prefix = c.prefix * (c.kind == Prefix::kEach ? c.sequences() : 1) * c.key_heads * c.head_size;
  return {rounded(c.rows() * c.query_heads * c.head_size, 1),
          rounded(keys, 2),
          rounded(keys, 3),
          rounded(prefix, 4),
          rounded(prefix, 5),
          1.5f / std::sqrt(static_cast<float>(c.head_size))};
}

template <class T>
void check(const Case& c) {
  const Inputs in = inputs_of<T>(c);
  const Numbers reference = formula(c, in, [](double x) { return x; });
  const Numbers plain =
      formula(c, in, [](double x) { return double{static_cast<float>(static_cast<T>(static_cast<float>(x)))}; });
  double largest = 0;
  for (const double x : reference) {
    largest = std::max(largest, std::abs(x));
  }
  constexpr double kUlp = sizeof(T) == 4 ? 0x1p-23 : std::is_same_v<T, __half> ? 0x1p-10 : 0x1p-7;
  expect_close(c.name(), kernel<T>(c, in), reference, distance(plain, reference), 1e-5 + kUlp * largest);
}

TEST(decodeFollowsItsFormula) {
  const std::vector<int64_t> sizes = {64, 128, 256, 40, 33, 120, 250}, queries = {1, 2, 5}, windows = {0, 1, 70},
                             blocks = {0, 1, 16, 24}, prefixes = {1, 20, 130};
  const std::vector<std::pair<int64_t, int64_t>> heads = {{1, 1}, {4, 2}, {8, 1}};
  const std::vector<std::vector<int64_t>> lengths = {{1, 64, 0, 65}, {130}, {0}, {300, 2}};
  // head size, heads, rows, keys, block, prefix, its size, window, cap, strided, type
  for (const std::vector<int>& r : pairwise({7, 3, 3, 4, 4, 3, 3, 3, 2, 2, 2})) {
    Case c{sizes[r[0]], heads[r[1]].first, heads[r[1]].second, queries[r[2]], lengths[r[3]], blocks[r[4]]};
    c.kind = static_cast<Prefix>(r[5]);
    c.prefix = c.kind == Prefix::kNone ? 0 : prefixes[r[6]];
    c.window = windows[r[7]];
    c.softcap = r[8] * 2.0;
    c.strided = r[9] == 1;
    r[10] == 0 ? check<__nv_bfloat16>(c) : check<__half>(c);
  }
}

TEST(decodeInFloat32FollowsItsFormula) {
  const std::vector<int64_t> sizes = {64, 24, 100, 256};
  // head size, rows, block, prefix, window, cap
  for (const std::vector<int>& r : pairwise({4, 2, 2, 3, 2, 2})) {
    check<float>({sizes[r[0]],
                  4,
                  2,
                  r[1] * 8 + 1,
                  {20, 0, 33},
                  r[2] * 16,
                  static_cast<Prefix>(r[3]),
                  r[3] > 0 ? 18 : 0,
                  r[4] * 5,
                  r[5] * 2.0});
  }
}

TEST(decodeOfEachWidthAndNumberOfRows) {
  for (const int64_t size : {64, 128, 256}) {
    for (const int64_t rows : {1, 17}) {
      check<__nv_bfloat16>({size, 1, 1, rows, {70}});
      check<__half>({size, 1, 1, rows, {70}});
      check<float>({size, 1, 1, rows, {20}});
    }
  }
}

// Two stretches and more of each cache and of a prefix.
TEST(decodeSplitsLongCaches) {
  check<__nv_bfloat16>({64, 2, 1, 1, {1000, 30}, 0, Prefix::kShared, 600});
  check<__half>({64, 2, 2, 2, {700}, 16, Prefix::kEach, 300, 650});
  check<float>({16, 2, 1, 1, {600, 0}, 0, Prefix::kShared, 300});
}

TEST(decodeTakesAnyNumberOfKeys) {
  for (const int64_t n : kSizes) {
    check<__half>({16, 2, 1, 1, {n}});
  }
}

TEST(decodeOfNoSequencesDoesNothing) {
  peft4j_cuda_decode p{};
  p.query_heads = p.key_heads = p.head_size = 1;
  expect_success("no sequences", peft4j_cuda_attention_decode(&p, nullptr));
}

TEST(decodeRepeatsItsBits) {
  const Case c{128, 8, 2, 1, {300, 500, 20}, 16, Prefix::kShared, 300};
  const Inputs in = inputs_of<__nv_bfloat16>(c);
  REQUIRE(kernel<__nv_bfloat16>(c, in) == kernel<__nv_bfloat16>(c, in));
}

}  // namespace
}  // namespace peft4j::cuda::test
