/* attention, prefix_attention and attention_decode on rows, heads and blocks that lie far apart. */
#include "device/attention.h"
#include "far_rows.h"

namespace peft4j::cuda::test {
namespace {

constexpr int64_t kHeads = 2, kSize = 64, kWide = kHeads * kSize, kRows = 7, kPrefix = 3;
const std::vector<int32_t> kBegins = {0, 4, 7};  // of two sequences

template <class T>
void check_attention(bool sm90a) {
  const std::string what = text("attention, dtype ", kDtype<T>, ", sm90a ", sm90a);
  expect_the_same_far_apart(what, kWide, [&](int64_t apart) {
    const FarRows<T> q("q", kRows, kWide, apart, 1), k("k", kRows, kWide, apart, 2), v("v", kRows, kWide, apart, 3),
        dq("dq", kRows, kWide, apart), dk("dk", kRows, kWide, apart), dv("dv", kRows, kWide, apart);
    const int64_t prefix_apart = std::max(apart, kPrefix * kWide);
    const FarRows<T> prefix_k("prefix_k", 2, kPrefix * kWide, prefix_apart, 4),
        prefix_v("prefix_v", 2, kPrefix * kWide, prefix_apart, 5), dout("dout", kRows, kWide, kWide, 6),
        out("out", kRows, kWide, kWide);
    const FarRows<float> lse("lse", kRows, kHeads, kHeads);
    const DeviceBuffer<float> prefix_dk(2 * kPrefix * kWide, "prefix_dk"), prefix_dv(2 * kPrefix * kWide, "prefix_dv");
    const DeviceBuffer<int32_t> begins(kBegins, "cu");
    peft4j_cuda_attention a{};
    a.dtype = kDtype<T>;
    a.causal = 1;
    a.sequences = 2;
    a.query_rows = a.key_rows = kRows;
    a.query_heads = a.key_heads = kHeads;
    a.head_size = kSize;
    a.prefix = kPrefix;
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    a.q_stride = a.k_stride = a.v_stride = a.dq_stride = a.dk_stride = a.dv_stride = apart;
    a.prefix_k = prefix_k.data();
    a.prefix_v = prefix_v.data();
    a.prefix_stride = prefix_apart;
    a.prefix_dk = prefix_dk.data();
    a.prefix_dv = prefix_dv.data();
    a.cu_q = a.cu_k = begins.data();
    a.scale = 0.125f;
    a.sm90a = sm90a;
    a.out = out.data();
    a.lse = lse.data();
    a.dout = dout.data();
    a.dq = dq.data();
    a.dk = dk.data();
    a.dv = dv.data();
    REQUIRE(!sm90a || attention::sm90a_takes(attention::Call(a)));
    expect_success(what, peft4j_cuda_attention_forward(&a, nullptr));
    const DeviceBuffer<float> scratch(peft4j_cuda_attention_scratch(&a), "scratch");
    a.scratch = scratch.data();
    expect_success(what, peft4j_cuda_attention_backward(&a, nullptr));
    return numbers_of(out, lse, dq, dk, dv);
  });
}

TEST(attentionTakesRowsThatLieFarApart) {
  check_attention<float>(false);
  check_attention<__nv_bfloat16>(false);
  check_attention<__nv_bfloat16>(true);
}

// All of q, o1, … are [rows, heads, size]; by_head: the heads lie far apart, else the rows.
template <class T>
void check_prefix(bool by_head) {
  const std::string what = text("prefix_attention, dtype ", kDtype<T>, ", heads far apart ", by_head);
  const int64_t columns = by_head ? kRows * kSize : kWide, lines = by_head ? kHeads : kRows;
  expect_the_same_far_apart(what, columns, [&](int64_t apart) {
    const auto heads = [&](const auto& of, int64_t size) {
      return by_head ? peft4j_cuda_heads{of.data(), size, of.apart()} : peft4j_cuda_heads{of.data(), of.apart(), size};
    };
    const FarRows<T> q("q", lines, columns, apart, 1), o1("o1", lines, columns, apart, 2),
        o("o", lines, columns, apart), dout("dout", lines, columns, apart, 3), dq("dq", lines, columns, apart, 4);
    const FarRows<T> k("k", kPrefix, kWide, kWide, 5), v("v", kPrefix, kWide, kWide, 6);
    const FarRows<float> lse1("lse1", lines, columns / kSize, apart, 7), lse("lse", lines, columns / kSize, apart),
        prefix_dk("prefix_dk", kPrefix, kWide, kWide), prefix_dv("prefix_dv", kPrefix, kWide, kWide);
    peft4j_cuda_prefix p{};
    p.dtype = kDtype<T>;
    p.scale = 0.125f;
    p.rows = p.longest = kRows;
    p.query_heads = p.key_heads = kHeads;
    p.head_size = kSize;
    p.prefix = kPrefix;
    p.sequences = 1;
    p.k = k.data();
    p.v = v.data();
    p.q = heads(q, kSize);
    p.o1 = heads(o1, kSize);
    p.o = heads(o, kSize);
    p.lse1 = heads(lse1, 1);
    p.lse = heads(lse, 1);
    expect_success(what, peft4j_cuda_prefix_attention(&p, nullptr));
    const DeviceBuffer<float> scratch(peft4j_cuda_prefix_attention_scratch(&p), "scratch");
    const peft4j_cuda_prefix_gradients gradients{heads(dout, kSize), heads(dq, kSize), prefix_dk.data(),
                                                 prefix_dv.data(),   nullptr,          scratch.data()};
    expect_success(what, peft4j_cuda_prefix_attention_backward(&p, &gradients, nullptr));
    return numbers_of(o, lse, dq, prefix_dk, prefix_dv);
  });
}

TEST(prefixAttentionTakesRowsAndHeadsThatLieFarApart) {
  for (const bool by_head : {false, true}) {
    check_prefix<float>(by_head);
    check_prefix<__nv_bfloat16>(by_head);
  }
}

enum class Apart { kKeys, kHeads, kBlocks };

// The cache: two sequences of 4 and 3 keys, in blocks of 2.
template <class T>
void check_decode(Apart what_is_apart) {
  const std::string what = text("attention_decode, dtype ", kDtype<T>, ", far apart ", static_cast<int>(what_is_apart));
  const bool paged = what_is_apart == Apart::kBlocks, by_head = what_is_apart == Apart::kHeads;
  const int64_t lines = paged     ? 4
                        : by_head ? kHeads
                                  : kRows,
                columns = paged     ? 2 * kWide
                          : by_head ? kRows * kSize
                                    : kWide;
  expect_the_same_far_apart(what, columns, [&](int64_t apart) {
    const FarRows<T> k("k", lines, columns, apart, 1), v("v", lines, columns, apart, 2), q("q", 2, kWide, apart, 3),
        o("o", 2, kWide, apart);
    const DeviceBuffer<int32_t> begins(kBegins, "cu_seqlens_k"), table(std::vector<int32_t>{3, 1, 0, 2}, "block_table");
    peft4j_cuda_decode p{};
    p.dtype = kDtype<T>;
    p.scale = 0.125f;
    p.sequences = 2;
    p.queries = 1;
    p.query_heads = p.key_heads = kHeads;
    p.head_size = kSize;
    p.longest = 4;
    p.q = {q.data(), apart, kSize};
    p.o = {o.data(), apart, kSize};
    p.k = k.data();
    p.v = v.data();
    p.key = paged ? kWide : by_head ? kSize : apart;
    p.head = by_head ? apart : kSize;
    p.block = paged ? apart : 0;
    p.block_size = paged ? 2 : 0;
    p.cu_seqlens_k = begins.data();
    p.block_table = paged ? table.data() : nullptr;
    p.max_blocks = 2;
    const DeviceBuffer<float> scratch(peft4j_cuda_attention_decode_scratch(&p), "scratch");
    p.scratch = scratch.data();
    expect_success(what, peft4j_cuda_attention_decode(&p, nullptr));
    return numbers_of(o);
  });
}

TEST(attentionDecodeTakesACacheThatLiesFarApart) {
  for (const Apart apart : {Apart::kKeys, Apart::kHeads, Apart::kBlocks}) {
    check_decode<float>(apart);
    check_decode<__nv_bfloat16>(apart);
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
