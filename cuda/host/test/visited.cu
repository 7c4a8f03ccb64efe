/*
What attention reads, counted: a call that walks keys which nobody sees gives the right numbers, and takes the time of a call without a
window, or of one long sequence. Counts are in rows of a head, each as often as a block reads it.
*/
#include <utility>

#include "device/attention.h"
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

constexpr int64_t kSize = 64;

struct Call {
  std::vector<int64_t> lengths;  // of sequences; queries are as many as keys
  bool causal = false;
  int64_t window = 0, prefix = 0;
};

struct Reads {
  int64_t q = 0, k = 0, v = 0, dout = 0, prefix = 0;
};
constexpr const char* kNames[] = {"q", "k", "v", "dout", "the prefix"};
constexpr int64_t Reads::* kOfReads[] = {&Reads::q, &Reads::k, &Reads::v, &Reads::dout, &Reads::prefix};

struct Counts {
  Reads forward, backward;
};

template <class T>
class Rows {
 public:
  Rows(const char* name, int64_t rows, uint64_t seed) : buffer_(convert<T>(random(rows * kSize, seed)), name) {}
  T* data() const { return buffer_.data(); }
  int64_t read() const {  // since it was asked last
    const uint64_t all = host::bytes_read(buffer_.data());
    return static_cast<int64_t>((all - std::exchange(before_, all)) / (kSize * sizeof(T)));
  }

 private:
  DeviceBuffer<T> buffer_;
  mutable uint64_t before_ = 0;
};

template <class T>
Counts count(const Call& c, bool sm90a) {
  std::vector<int32_t> begins{0};
  for (const int64_t n : c.lengths) {
    begins.push_back(begins.back() + static_cast<int32_t>(n));
  }
  const int64_t rows = begins.back(), numbers = rows * kSize, of_prefix = std::max<int64_t>(c.prefix, 1) * kSize;
  const Rows<T> q("q", rows, 1), k("k", rows, 2), v("v", rows, 3), dout("dout", rows, 4),
      prefix_k("prefix_k", of_prefix / kSize, 5), prefix_v("prefix_v", of_prefix / kSize, 6);
  const DeviceBuffer<T> out(numbers, "out"), dq(numbers, "dq"), dk(numbers, "dk"), dv(numbers, "dv");
  const DeviceBuffer<float> lse(rows, "lse"), prefix_dk(of_prefix, "prefix_dk"), prefix_dv(of_prefix, "prefix_dv");
  const DeviceBuffer<int32_t> cu(begins, "cu");
  peft4j_cuda_attention a{};
  a.dtype = kDtype<T>;
  a.causal = c.causal;
  a.sequences = static_cast<int64_t>(c.lengths.size());
  a.query_rows = a.key_rows = rows;
  a.query_heads = a.key_heads = 1;
  a.head_size = kSize;
  a.prefix = c.prefix;
  a.q = q.data();
  a.k = k.data();
  a.v = v.data();
  a.q_stride = a.k_stride = a.v_stride = a.dq_stride = a.dk_stride = a.dv_stride = kSize;
  if (c.prefix > 0) {
    a.prefix_k = prefix_k.data();
    a.prefix_v = prefix_v.data();
    a.prefix_dk = prefix_dk.data();
    a.prefix_dv = prefix_dv.data();
  }
  a.cu_q = a.cu_k = cu.data();
  a.window = c.window;
  a.scale = 0.125f;
  a.sm90a = sm90a;
  a.out = out.data();
  a.lse = lse.data();
  a.dout = dout.data();
  a.dq = dq.data();
  a.dk = dk.data();
  a.dv = dv.data();
  REQUIRE(!sm90a || attention::sm90a_takes(attention::Call(a)));
  const auto reads = [&] {
    return Reads{q.read(), k.read(), v.read(), dout.read(), prefix_k.read() + prefix_v.read()};
  };
  Counts counts;
  expect_success("forward", peft4j_cuda_attention_forward(&a, nullptr));
  counts.forward = reads();
  const DeviceBuffer<float> scratch(peft4j_cuda_attention_scratch(&a), "scratch");
  a.scratch = scratch.data();
  expect_success("backward", peft4j_cuda_attention_backward(&a, nullptr));
  counts.backward = reads();
  return counts;
}

// holds(a, b) of each count of two calls.
template <class Holds>
void expect_of_each(const std::string& what, const Counts& a, const Counts& b, const Holds& holds) {
  for (const auto part : {&Counts::forward, &Counts::backward}) {
    for (size_t i = 0; i < std::size(kOfReads); ++i) {
      const int64_t x = a.*part.*kOfReads[i], y = b.*part.*kOfReads[i];
      if (!holds(x, y)) {
        fail(text(what, part == &Counts::forward ? ", forward: " : ", backward: ", x, " rows of ", kNames[i],
                  " are read, beside ", y));
      }
    }
  }
}

struct Path {
  const char* name;
  Counts (*count)(const Call&);
  bool by_boxes = false;  // loads whole boxes: of a sequence's last one also the rows behind
};
const Path kPaths[] = {
    {"float32", [](const Call& c) { return count<float>(c, false); }},
    {"bfloat16", [](const Call& c) { return count<__nv_bfloat16>(c, false); }},
    {"bfloat16 by wgmma", [](const Call& c) { return count<__nv_bfloat16>(c, true); }, true},
};

// Twice the rows, twice the work of what was added, but for tiles at the ends: not four times. By wgmma tiles are too large to show it in so
// few rows; which ones it walks is decided in one place for both (device/attention.h, column_tiles).
TEST(attentionVisitsNoTilesOutsideOfItsWindow) {
  constexpr int64_t kEnds = 160;
  for (const Path& path : kPaths) {
    if (path.by_boxes) {
      continue;
    }
    const auto of = [&](int64_t rows) { return path.count({{rows}, true, 32, 20}); };
    const Counts one = of(128), two = of(256), four = of(512);
    for (const auto part : {&Counts::forward, &Counts::backward}) {
      for (size_t i = 0; i < std::size(kOfReads); ++i) {
        const auto rows = [&](const Counts& c) { return c.*part.*kOfReads[i]; };
        if (rows(four) - rows(two) > 2 * (rows(two) - rows(one)) + kEnds) {
          fail(text(path.name, part == &Counts::forward ? ", forward: " : ", backward: ", rows(one), ", ", rows(two),
                    " and ", rows(four), " rows of ", kNames[i], " are read for 128, 256 and 512 queries"));
        }
      }
    }
  }
}

// Half of the square, and the tiles on its diagonal. What a block has of its own is read once, whatever it sees.
TEST(attentionVisitsNoTilesThatCausalityHides) {
  constexpr int64_t kRows = 256;
  for (const Path& path : kPaths) {
    const auto of = [&](bool causal) { return path.count({{kRows}, causal}); };
    expect_of_each(path.name, of(true), of(false),
                   [](int64_t causal, int64_t all) { return causal <= 2 * kRows || 100 * causal <= 95 * all; });
  }
}

TEST(attentionVisitsNoTilesOfOtherSequences) {
  const std::vector<int64_t> lengths = {70, 64, 1, 40};
  for (const Path& path : kPaths) {
    if (path.by_boxes) {
      continue;
    }
    Counts alone;
    for (const int64_t n : lengths) {
      const Counts one = path.count({{n}, true});
      for (const auto part : {&Counts::forward, &Counts::backward}) {
        for (const auto member : kOfReads) {
          alone.*part.*member += one.*part.*member;
        }
      }
    }
    expect_of_each(path.name, path.count({lengths, true}), alone,
                   [](int64_t together, int64_t apart) { return together == apart; });
  }
}

// ---- decode: each key once, for all query heads that share it

struct Cache {
  int64_t keys, window = 0, query_heads = 4, prefix = 0, sequences = 1;
};

template <class T>
Reads count(const Cache& c) {
  std::vector<int32_t> begins{0};
  for (int64_t s = 0; s < c.sequences; ++s) {
    begins.push_back(begins.back() + static_cast<int32_t>(c.keys));
  }
  const int64_t rows = c.sequences * c.query_heads;
  const Rows<T> q("q", rows, 1), k("k", c.sequences * c.keys, 2), v("v", c.sequences * c.keys, 3),
      prefix_k("prefix_k", std::max<int64_t>(c.prefix, 1), 4), prefix_v("prefix_v", std::max<int64_t>(c.prefix, 1), 5);
  const DeviceBuffer<T> o(rows * kSize, "o");
  const DeviceBuffer<int32_t> cu(begins, "cu_seqlens_k");
  peft4j_cuda_decode p{};
  p.dtype = kDtype<T>;
  p.scale = 0.125f;
  p.sequences = c.sequences;
  p.queries = 1;
  p.query_heads = c.query_heads;
  p.key_heads = 1;
  p.head_size = kSize;
  p.longest = c.keys;
  p.window = c.window;
  p.q = {q.data(), c.query_heads * kSize, kSize};
  p.o = {o.data(), c.query_heads * kSize, kSize};
  p.k = k.data();
  p.v = v.data();
  p.key = p.head = kSize;
  p.cu_seqlens_k = cu.data();
  p.prefix = c.prefix;
  p.prefix_k = prefix_k.data();
  p.prefix_v = prefix_v.data();
  p.prefix_shared = 1;
  const DeviceBuffer<float> scratch(peft4j_cuda_attention_decode_scratch(&p), "scratch");
  p.scratch = scratch.data();
  expect_success("attention_decode", peft4j_cuda_attention_decode(&p, nullptr));
  return {q.read(), k.read(), v.read(), 0, prefix_k.read() + prefix_v.read()};
}

// A row of four heads that share their keys. A window of 70 keys lies in at most three stretches of 64.
template <class T>
void check_decode() {
  const Reads all = count<T>(Cache{300}), windowed = count<T>(Cache{300, 70}),
              prefixed = count<T>(Cache{40, 0, 4, 64, 8});
  const auto read = [](const char* what, int64_t rows, int64_t most) {
    if (rows > most) {
      fail(text("attention_decode, dtype ", kDtype<T>, ", ", what, ": ", rows, " rows are read, at most ", most));
    }
  };
  read("keys", all.k, 300);
  read("values", all.v, 300);
  read("keys of a window", windowed.k, 3 * 64);
  read("values of a window", windowed.v, 3 * 64);
  read("keys of 8 sequences", prefixed.k, 8 * 40);
  read("a prefix that 8 sequences share", prefixed.prefix, 2 * 64);
}

TEST(attentionDecodeVisitsKeysOnce) {
  check_decode<float>();
  check_decode<__nv_bfloat16>();
}

}  // namespace
}  // namespace peft4j::cuda::test
