#include "test/lora.h"

namespace peft4j::cuda::test {
namespace {

constexpr uint64_t kSeed = 0xfedcba987654321ull;

struct Case {
  int64_t rows, columns;
  Tenants tenants;
  bool transposed;  // M as B is stored
  int64_t shift;
  Numbers numbers;
  bool repeats = false;
};

template <class T, class Y, class F, class Sum>
std::vector<double> formula(const Case& c, const Matrix<T>& h, const Matrix<F>& m, const Matrix<Y>& y) {
  std::vector<double> all(c.rows * c.columns);
  for (int64_t i = 0; i < c.rows * c.columns; ++i) {
    all[i] = y.at(i / c.columns, i % c.columns);
  }
  std::vector<Sum> added(c.rows * c.columns);
  for (const Tenant& t : c.tenants.all) {
    const auto keep = mask(t.end - t.begin, c.columns, t.threshold, kSeed, t.begin);
    for (int64_t row = t.begin; row < t.end; ++row) {
      for (int64_t k = 0; k < c.columns; ++k) {
        const double factor = keep[(row - t.begin) * c.columns + k];
        for (int j = 0; j < t.rank && factor != 0; ++j) {
          const float a = h.at(row, t.column + j),
                      b = c.transposed ? m.at(k, t.factor_row + j) : m.at(t.factor_row + j, k);
          added[row * c.columns + k] +=
              std::is_same_v<Sum, double>
                  ? static_cast<Sum>(factor * a * b)
                  : static_cast<Sum>(static_cast<float>(factor) *
                                     (as_operand<T>(a, c.numbers) * as_operand<T>(b, c.numbers)));
        }
      }
    }
  }
  for (int64_t i = 0; i < c.rows * c.columns; ++i) {
    all[i] += added[i];
    if (!std::is_same_v<Sum, double>) {
      all[i] = static_cast<float>(static_cast<Y>(static_cast<float>(all[i])));
    }
  }
  return all;
}

template <class T, class Y, class F>
void check(const std::string& what, const Case& c) {
  const Matrix<T> h(c.rows, c.tenants.h_columns, c.shift, 1);
  const Matrix<Y> y(c.rows, c.columns, c.shift, 2), again(c.rows, c.columns, c.shift, 2);
  const int64_t ranks = c.tenants.factor_rows;
  const Matrix<F> m(c.transposed ? c.columns : ranks, c.transposed ? ranks : c.columns, c.shift, 3, false, 0.3);
  const auto segments = segments_of(
      c.tenants,
      [&](const Tenant& t, peft4j_cuda_segment& s) {
        s.rank_stride = c.transposed ? 1 : m.stride;
        s.column_stride = c.transposed ? m.stride : 1;
        s.factor = m.data() + t.factor_row * s.rank_stride;
      },
      [](size_t) { return nullptr; });
  peft4j_cuda_lora p{};
  p.dtype = kDtype<T>;
  p.factor_dtype = kDtype<F>;
  p.y_dtype = kDtype<Y>;
  p.tf32 = c.numbers == Numbers::kTf32;
  p.columns = c.columns;
  p.y = y.data();
  p.y_stride = y.stride;
  p.h = h.data();
  p.h_stride = h.stride;
  p.seed = kSeed;
  p.segments = segments.data();
  p.n_segments = static_cast<int64_t>(segments.size());
  expect_success(what, peft4j_cuda_lora_expand(&p, nullptr));
  const auto reference = formula<T, Y, F, double>(c, h, m, y), found = y.download(what);
  expect_numbers(what, found, formula<T, Y, F, float>(c, h, m, y), reference, tolerance<Y>(reference));
  if (!c.repeats) {
    return;
  }
  p.y = again.data();
  expect_success(what, peft4j_cuda_lora_expand(&p, nullptr));
  expect_same(what, found, again.download(what));
}

TEST(loraExpandFollowsItsFormula) {
  const std::vector<int> ranks = {1, 3, 8, 16, 17, 64};
  const std::vector<uint32_t> thresholds = {0, 26, 200};
  // shape, rank, layout, threshold, numbers, border, float32 y, transposed, shift
  for (const std::vector<int>& v : pairwise({kShapes, 6, kLayouts, 3, kNumbers, 2, 2, 2, 2})) {
    const auto [rows, columns] = shape_of(v[0]);
    Case c{rows, columns, {}, v[7] == 1, v[8], Numbers(v[4])};
    c.tenants = tenants_of(v[2], rows, ranks[v[1]], thresholds[v[3]], v[5] == 1);
    const std::string what = text("lora_expand [", rows, ", ", columns, "] rank ", ranks[v[1]], " layout ", v[2],
                                  " threshold ", thresholds[v[3]], " numbers ", v[4], " border ", v[5], " float32 y ",
                                  v[6], " transposed ", c.transposed, " shift ", c.shift);
    by_numbers(c.numbers,
               [&]<class T, class F>(T, F) { v[6] == 1 ? check<T, float, F>(what, c) : check<T, T, F>(what, c); });
  }
}

TEST(loraExpandTakesManyTenantsAndAnyRank) {
  Case c{47, 40, {}, false, 0, Numbers::kBf16, true};
  for (const int rank : {0, 100, 260}) {
    c.tenants = tenants_of(rank == 0 ? kManyTenants : 0, c.rows, rank == 0 ? 40 : rank, 26, true);
    const std::string what = text("lora_expand rank ", rank);
    c.numbers = Numbers::kBf16;
    check<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>(what, c);
    c.numbers = Numbers::kFp16Masters;
    check<__half, __half, float>(what + ", fp16", c);
    check<__half, float, float>(what + ", fp16 to float32", c);
  }
  c.numbers = Numbers::kTf32;
  check<float, float, float>("lora_expand rank 260 by tf32", c);
}

}  // namespace
}  // namespace peft4j::cuda::test
