/* Products of few rows: the formula, the same bits for a row whatever is beside it, and panels only where they are. */
#include "../few_rows.h"

#include "../onednn.h"
#include "check.h"

namespace peft4j::test {
namespace {

constexpr int64_t kOut[] = {1, 7, 16, 64, 100, 192, 1000}, kIn[] = {1, 33, 64, 577};

at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return lora_linear(x, Weight({w}), bias, {}, {}, {}, {}, {}, 0)[0];
}

}  // namespace

TEST(fewRowsFollowTheFormula) {
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16}) {
    for (const int64_t out : kOut) {
      for (const int64_t in : kIn) {
        const at::Tensor w = at::randn({out, in}).to(stored), bias = at::randn({out});
        const Weight weight({w});
        for (const int64_t rows : {1, 2, 3, 4, 5, 47, 48, 49, 64}) {
          const at::Tensor x = at::randn({rows, in});
          const at::Tensor expected = at::mm(x.to(at::kDouble), w.to(at::kDouble).t()) + bias;
          const at::Tensor y = lora_linear(x, weight, bias, {}, {}, {}, {}, {}, 0)[0];
          const double error = (y - expected).abs().max().item<double>();
          REQUIRE(error < 1e-5 * in);
        }
      }
    }
  }
}

TEST(fewRowsGiveARowTheSameBitsWhateverIsBesideIt) {
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16}) {
    const at::Tensor w = at::randn({200, 130}).to(stored), x = at::randn({50, 130}), bias = at::randn({200});
    const at::Tensor all = product(x, w, bias);
    for (const int64_t row : {0, 1, 2, 17, 49}) {
      REQUIRE(at::equal(product(x.narrow(0, row, 1), w, bias)[0], all[row]));
      REQUIRE(at::equal(product(x.narrow(0, row / 2, 50 - row / 2), w, bias)[row - row / 2], all[row]));
    }
    const Threads one(1);
    expect_same_bits("on one thread", product(x, w, bias), all);
  }
}

TEST(fewRowsTakeStridedInputs) {
  const at::Tensor w = at::randn({100, 40}), wide = at::randn({6, 90});
  const at::Tensor x = wide.narrow(1, 7, 40), bias = at::randn({200}).slice(0, 0, 200, 2);
  REQUIRE(at::equal(product(x, w, bias), product(x.contiguous(), w, bias.contiguous())));
}

TEST(fewRowsKnowWherePackedNumbersAre) {
  for (const int64_t out : kOut) {
    for (const int64_t in : kIn) {
      const at::Tensor w = at::randn({out, in}), packed = onednn::pack(w);
      // One output is no panel. With AVX512 the products are right either way, which the tests above say.
      REQUIRE(out == 1 || __builtin_cpu_supports("avx512f") || panels_of(packed, w).has_value());
      const at::Tensor other = w.clone();
      other[out / 2][in / 2] += 1;
      REQUIRE(!panels_of(packed, other).has_value());
    }
  }
}

}  // namespace peft4j::test
