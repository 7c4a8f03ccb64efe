#include <array>

#include "test/lora.h"

namespace peft4j::cuda::test {
namespace {

constexpr uint64_t kSeed = 0x123456789abcdefull;

struct Case {
  int64_t rows, columns;
  Tenants tenants;
  bool border, copies, transposed;  // the factor as B is stored
  int64_t shift;
  Numbers numbers;
  bool repeats = false;
};

// h of the call; type: of the products' numbers.
template <class T, class F, class Sum>
std::vector<double> formula(const Case& c, const Matrix<T>& x, const Matrix<F>& a) {
  std::vector<double> h(c.rows * c.tenants.h_columns, NAN);
  for (const Tenant& t : c.tenants.all) {
    const auto keep = mask(t.end - t.begin, c.columns, t.threshold, kSeed, t.begin);
    const float scale = static_cast<float>(t.scale * 256 / (256 - t.threshold));
    for (int64_t row = t.begin; row < t.end; ++row) {
      if (c.border) {
        for (int64_t j = 0; j < c.tenants.h_columns; ++j) {
          double& cell = h[row * c.tenants.h_columns + j];
          cell = std::isnan(cell) ? 0 : cell;
        }
      }
      for (int j = 0; j < t.rank; ++j) {
        Sum sum = 0;
        for (int64_t k = 0; k < c.columns; ++k) {
          if (keep[(row - t.begin) * c.columns + k] != 0) {
            const float factor = c.transposed ? a.at(k, t.factor_row + j) : a.at(t.factor_row + j, k);
            sum += std::is_same_v<Sum, double>
                       ? static_cast<Sum>(x.at(row, k)) * factor
                       : static_cast<Sum>(as_operand<T>(x.at(row, k), c.numbers) * as_operand<T>(factor, c.numbers));
          }
        }
        h[row * c.tenants.h_columns + t.column + j] =
            std::is_same_v<Sum, double> ? sum * t.scale * 256 / (256 - t.threshold)
                                        : static_cast<float>(static_cast<T>(static_cast<float>(sum * scale)));
      }
    }
  }
  return h;
}

// Returns how many floats of scratch memory it took.
template <class T, class F>
int64_t check(const std::string& what, const Case& c) {
  const Matrix<T> x(c.rows, c.columns, c.shift, 1), y(c.rows, c.columns, c.shift, 0, true);
  const Matrix<T> h(c.rows, c.tenants.h_columns, c.shift, 0, true),
      again(c.rows, c.tenants.h_columns, c.shift, 0, true);
  const int64_t ranks = c.tenants.factor_rows;
  const Matrix<F> a(c.transposed ? c.columns : ranks, c.transposed ? ranks : c.columns, c.shift, 2, false,
                    1 / std::sqrt(static_cast<double>(std::max<int64_t>(c.columns, 1))));
  const auto segments = segments_of(
      c.tenants,
      [&](const Tenant& t, peft4j_cuda_segment& s) {
        s.rank_stride = c.transposed ? 1 : a.stride;
        s.column_stride = c.transposed ? a.stride : 1;
        s.factor = a.data() + t.factor_row * s.rank_stride;
      },
      [](size_t) { return nullptr; });
  peft4j_cuda_lora p{};
  p.dtype = kDtype<T>;
  p.factor_dtype = kDtype<F>;
  p.tf32 = c.numbers == Numbers::kTf32;
  p.columns = c.columns;
  p.x = x.data();
  p.x_stride = x.stride;
  p.y = c.copies ? y.data() : nullptr;
  p.y_stride = y.stride;
  p.h = h.data();
  p.h_stride = h.stride;
  p.h_columns = c.border ? c.tenants.h_columns : 0;
  p.seed = kSeed;
  p.segments = segments.data();
  p.n_segments = static_cast<int64_t>(segments.size());
  const int64_t floats = peft4j_cuda_lora_shrink_scratch(&p);
  const DeviceBuffer<float> scratch(floats, "scratch");
  p.scratch = scratch.data();
  expect_success(what, peft4j_cuda_lora_shrink(&p, nullptr));
  const auto reference = formula<T, F, double>(c, x, a);
  expect_numbers(what + ", h", h.download(what), formula<T, F, float>(c, x, a), reference, tolerance<T>(reference));
  const auto copy = y.download(what);
  for (int64_t i = 0; i < c.rows * c.columns; ++i) {
    const bool covered = c.copies && std::any_of(c.tenants.all.begin(), c.tenants.all.end(), [&](const Tenant& t) {
                           return t.begin <= i / c.columns && i / c.columns < t.end;
                         });
    if (covered ? copy[i] != x.at(i / c.columns, i % c.columns) : !std::isnan(copy[i])) {
      fail(text(what, ": number ", i, " of the copy is ", copy[i]));
    }
  }
  if (c.repeats) {
    p.h = again.data();
    p.y = nullptr;
    expect_success(what, peft4j_cuda_lora_shrink(&p, nullptr));
    expect_same(what, h.download(what), again.download(what));
  }
  return floats;
}

TEST(loraShrinkFollowsItsFormula) {
  const std::vector<int> ranks = {1, 3, 8, 16, 17, 64};
  const std::vector<uint32_t> thresholds = {0, 26, 200};
  // shape, rank, layout, threshold, numbers, border, copies, transposed, shift
  for (const std::vector<int>& v : pairwise({kShapes, 6, kLayouts, 3, kNumbers, 2, 2, 2, 2})) {
    const auto [rows, columns] = shape_of(v[0]);
    Case c{rows, columns, {}, v[5] == 1, v[6] == 1, v[7] == 1, v[8], Numbers(v[4])};
    c.tenants = tenants_of(v[2], rows, ranks[v[1]], thresholds[v[3]], c.border);
    const std::string what = text("lora_shrink [", rows, ", ", columns, "] rank ", ranks[v[1]], " layout ", v[2],
                                  " threshold ", thresholds[v[3]], " numbers ", v[4], " border ", c.border, " copies ",
                                  c.copies, " transposed ", c.transposed, " shift ", c.shift);
    by_numbers(c.numbers, [&]<class T, class F>(T, F) { check<T, F>(what, c); });
  }
}

// Few rows of many columns: the columns are split, whatever the band has.
TEST(loraShrinkSplitsTheColumnsOfFewRows) {
  const std::vector<int> ranks = {1, 16, 17, 70};
  // rows, columns, rank, layout, dropout, numbers, border, copies, shift
  for (const std::vector<int>& v : pairwise({3, 3, 4, kLayouts, 2, kNumbers, 2, 2, 2})) {
    const int64_t rows = std::array{1, 32, 40}[v[0]], columns = std::array{1280, 1290, 2050}[v[1]];
    Case c{rows, columns, {}, v[6] == 1, v[7] == 1, false, v[8], Numbers(v[5]), true};
    c.tenants = tenants_of(v[3], rows, ranks[v[2]], v[4] == 1 ? 26 : 0, c.border);
    const std::string what =
        text("lora_shrink [", rows, ", ", columns, "] in splits, rank ", ranks[v[2]], " layout ", v[3], " dropout ",
             v[4], " numbers ", v[5], " border ", c.border, " copies ", c.copies, " shift ", c.shift);
    by_numbers(c.numbers, [&]<class T, class F>(T, F) { REQUIRE((check<T, F>(what, c) > 0)); });
  }
  Case c{40, 2050, {}, true, true, false, 0, Numbers::kBf16, true};
  c.tenants = tenants_of(kManyTenants, c.rows, 40, 0, true);
  REQUIRE((check<__nv_bfloat16, __nv_bfloat16>("lora_shrink of many tenants in splits", c) > 0));
}

TEST(loraShrinkTakesManyTenantsAndRank256) {
  Case c{47, 70, {}, true, true, false, 0, Numbers::kBf16, true};
  for (const bool border : {true, false}) {
    c.border = border;
    c.tenants = tenants_of(kManyTenants, c.rows, 40, 26, border);
    check<__nv_bfloat16, __nv_bfloat16>(text("lora_shrink of many tenants, border ", border), c);
  }
  c.border = true;
  c.tenants = tenants_of(0, c.rows, 256, 26, true);
  check<__nv_bfloat16, float>("lora_shrink of rank 256", c);
  c.numbers = Numbers::kFloat;
  check<float, float>("lora_shrink of rank 256, float32", c);
}

}  // namespace
}  // namespace peft4j::cuda::test
