/* lora_shrink, lora_expand, lora_grad_a, lora_grad_b and dual_gemm on rows that lie far apart. */
#include "far_rows.h"

namespace peft4j::cuda::test {
namespace {

constexpr int64_t kRows = 5, kColumns = 128, kRank = 8;

using Numbers = std::vector<double>;
using Operation = int (*)(const peft4j_cuda_lora*, void*);

// Two adapters, of the rows before and from 3 on; factor: element (j, c) at j·rank_stride + c·column_stride.
template <class T>
peft4j_cuda_lora lora(peft4j_cuda_segment (&segments)[2], const FarRows<T>& factor, bool by_rank, float* gradient) {
  const int64_t begins[] = {0, 3, kRows};
  for (int i = 0; i < 2; ++i) {
    segments[i] = {begins[i],
                   begins[i + 1],
                   kRank,
                   0,
                   factor.data() + i * (by_rank ? kRank * factor.apart() : kRank),
                   by_rank ? factor.apart() : 1,
                   by_rank ? 1 : factor.apart(),
                   gradient == nullptr ? nullptr : gradient + i * kRank * kColumns,
                   2,
                   64};
  }
  peft4j_cuda_lora p{};
  p.dtype = p.factor_dtype = p.y_dtype = kDtype<T>;
  p.columns = kColumns;
  p.seed = 7;
  p.segments = segments;
  p.n_segments = 2;
  return p;
}

template <class T>
void check_shrink() {
  expect_the_same_far_apart("lora_shrink", kColumns, [](int64_t apart) {
    const FarRows<T> x("x", kRows, kColumns, apart, 1), a("A", 2 * kRank, kColumns, apart, 2),
        y("y", kRows, kColumns, apart), h("h", kRows, kRank, apart);
    peft4j_cuda_segment segments[2];
    peft4j_cuda_lora p = lora(segments, a, true, nullptr);
    p.x = x.data();
    p.x_stride = p.y_stride = p.h_stride = apart;
    p.y = y.data();
    p.h = h.data();
    expect_success("lora_shrink", peft4j_cuda_lora_shrink(&p, nullptr));
    return numbers_of(y, h);
  });
}

template <class T>
void check_expand(bool by_rank) {
  expect_the_same_far_apart("lora_expand", kColumns, [&](int64_t apart) {
    const FarRows<T> y("y", kRows, kColumns, apart, 1), h("h", kRows, kRank, apart, 2),
        m("M", by_rank ? 2 * kRank : kColumns, by_rank ? kColumns : 2 * kRank, apart, 3);
    peft4j_cuda_segment segments[2];
    peft4j_cuda_lora p = lora(segments, m, by_rank, nullptr);
    p.y = y.data();
    p.y_stride = p.h_stride = apart;
    p.h = h.data();
    expect_success("lora_expand", peft4j_cuda_lora_expand(&p, nullptr));
    return numbers_of(y);
  });
}

template <class T>
void check_grad_a() {
  expect_the_same_far_apart("lora_grad_a", kColumns, [](int64_t apart) {
    const FarRows<T> x("x", kRows, kColumns, apart, 1), g("g", kRows, kRank, apart, 2),
        a("A", 2 * kRank, kColumns, apart);
    const FarRows<float> gradient("dA", 1, 2 * kRank * kColumns, 0);
    peft4j_cuda_segment segments[2];
    peft4j_cuda_lora p = lora(segments, a, true, gradient.data());
    p.x = x.data();
    p.x_stride = p.g_stride = apart;
    p.g = g.data();
    const DeviceBuffer<float> scratch(peft4j_cuda_lora_grad_a_scratch(&p), "scratch");
    p.scratch = scratch.data();
    expect_success("lora_grad_a", peft4j_cuda_lora_grad_a(&p, nullptr));
    return numbers_of(gradient);
  });
}

template <class T>
void check_grad_b() {
  expect_the_same_far_apart("lora_grad_b", kColumns, [](int64_t apart) {
    const FarRows<T> dy("dy", kRows, kColumns, apart, 1), h("h", kRows, kRank, apart, 2),
        b("B", kColumns, 2 * kRank, apart, 3), y("y", kRows, kColumns, apart), g("g", kRows, kRank, apart);
    const FarRows<float> gradient("dB", 1, 2 * kRank * kColumns, 0);
    peft4j_cuda_segment segments[2];
    peft4j_cuda_lora p = lora(segments, b, false, gradient.data());
    for (peft4j_cuda_segment& s : segments) {
      s.threshold = 0;
    }
    p.x = dy.data();
    p.x_stride = p.y_stride = p.h_stride = p.g_stride = apart;
    p.y = y.data();
    p.h = h.data();
    p.g = g.data();
    const DeviceBuffer<float> scratch(peft4j_cuda_lora_grad_b_scratch(&p), "scratch");
    p.scratch = scratch.data();
    expect_success("lora_grad_b", peft4j_cuda_lora_grad_b(&p, nullptr));
    return numbers_of(y, g, gradient);
  });
}

template <class T>
void check_lora() {
  check_shrink<T>();
  check_expand<T>(true);
  check_expand<T>(false);
  check_grad_a<T>();
  check_grad_b<T>();
}

TEST(loraTakesRowsThatLieFarApart) {
  check_lora<float>();
  check_lora<__nv_bfloat16>();
}

TEST(dualGemmTakesRowsThatLieFarApart) {
  using T = __nv_bfloat16;
  constexpr int64_t kN = 64, kK = 64;
  for (const bool by_k : {false, true}) {
    for (const int tile : {1, 2, 3}) {  // 3: by wgmma
      expect_the_same_far_apart(text("dual_gemm, by k ", by_k, ", tile ", tile), kK, [&](int64_t apart) {
        const FarRows<T> x("x", kRows, kK, apart, 1), w("w", kN, kK, apart, 2), y("y", kRows, kN, apart, 3);
        peft4j_cuda_gemm p{};
        p.pairs[0] = {x.data(), w.data(), kK, apart, apart};
        p.count = p.masked = 1;
        p.threshold = 64;
        p.w_by_k = by_k;
        p.accumulate = 1;
        p.dtype = kDtype<T>;
        p.tile = tile < 3 ? tile : 0;
        p.sm90a = tile == 3;
        p.y = y.data();
        p.t = kRows;
        p.n = kN;
        p.y_stride = apart;
        expect_success("dual_gemm", peft4j_cuda_dual_gemm(&p, nullptr));
        return numbers_of(y);
      });
    }
  }
}

}  // namespace
}  // namespace peft4j::cuda::test
