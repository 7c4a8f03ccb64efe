#include "test/lora_gradient.h"

namespace peft4j::cuda::test {
namespace {

struct Case {
  int64_t rows, columns;
  Tenants tenants;
  bool border, copies, add, trains_all;
  int64_t shift;
  Numbers numbers;
  bool repeats = false;
};

template <class T, class F, class Sum>
std::vector<double> g_of(const Case& c, const Matrix<T>& dy, const Matrix<F>& b) {
  std::vector<double> g(c.rows * c.tenants.h_columns, NAN);
  for (const Tenant& t : c.tenants.all) {
    for (int64_t row = t.begin; row < t.end; ++row) {
      for (int64_t j = 0; c.border && j < c.tenants.h_columns; ++j) {
        double& cell = g[row * c.tenants.h_columns + j];
        cell = std::isnan(cell) ? 0 : cell;
      }
      for (int j = 0; j < t.rank; ++j) {
        Sum sum = 0;
        for (int64_t k = 0; k < c.columns; ++k) {
          const float x = dy.at(row, k), factor = b.at(k, t.factor_row + j);
          sum += std::is_same_v<Sum, double>
                     ? static_cast<Sum>(x) * factor
                     : static_cast<Sum>(as_operand<T>(x, c.numbers) * as_operand<T>(factor, c.numbers));
        }
        sum *= static_cast<Sum>(t.scale);
        g[row * c.tenants.h_columns + t.column + j] =
            std::is_same_v<Sum, double> ? sum
                                        : static_cast<Sum>(static_cast<float>(static_cast<T>(static_cast<float>(sum))));
      }
    }
  }
  return g;
}

// Returns how many floats of scratch memory it took.
template <class T, class F>
int64_t check(const std::string& what, const Case& c) {
  const Matrix<T> dy(c.rows, c.columns, c.shift, 1), h(c.rows, c.tenants.h_columns, c.shift, 2);
  const Matrix<F> b(c.columns, c.tenants.factor_rows, c.shift, 3, false,
                    1 / std::sqrt(static_cast<double>(std::max<int64_t>(c.columns, 1))));
  std::vector<std::vector<float>> before, first;
  std::vector<double> first_g;
  int64_t floats = 0;
  for (int run = 0; run < (c.repeats ? 2 : 1); ++run) {
    const Matrix<T> y(c.rows, c.columns, c.shift, 0, true), g(c.rows, c.tenants.h_columns, c.shift, 0, true);
    const auto gradients = gradient_buffers(c.tenants, c.columns, c.add, c.trains_all, before);
    const auto segments = segments_of(
        c.tenants,
        [&](const Tenant& t, peft4j_cuda_segment& s) {
          s.rank_stride = 1;
          s.column_stride = b.stride;
          s.factor = b.data() + t.factor_row;
        },
        [&](size_t i) { return gradients[i] ? gradients[i]->data() : nullptr; });
    peft4j_cuda_lora p{};
    p.dtype = kDtype<T>;
    p.factor_dtype = kDtype<F>;
    p.tf32 = c.numbers == Numbers::kTf32;
    p.add = c.add;
    p.columns = c.columns;
    p.x = dy.data();
    p.x_stride = dy.stride;
    p.y = c.copies ? y.data() : nullptr;
    p.y_stride = y.stride;
    p.h = h.data();
    p.h_stride = h.stride;
    p.g = g.data();
    p.g_stride = g.stride;
    p.h_columns = c.border ? c.tenants.h_columns : 0;
    p.segments = segments.data();
    p.n_segments = static_cast<int64_t>(segments.size());
    floats = peft4j_cuda_lora_grad_b_scratch(&p);
    const DeviceBuffer<float> scratch(floats, "scratch");
    p.scratch = scratch.data();
    expect_success(what, peft4j_cuda_lora_grad_b(&p, nullptr));
    const auto found_g = g.download(what);
    if (run == 0) {
      const auto reference = g_of<T, F, double>(c, dy, b);
      expect_numbers(what + ", g", found_g, g_of<T, F, float>(c, dy, b), reference, tolerance<T>(reference));
      const auto copy = y.download(what);
      for (int64_t i = 0; i < c.rows * c.columns; ++i) {
        const bool covered = c.copies && std::any_of(c.tenants.all.begin(), c.tenants.all.end(), [&](const Tenant& t) {
                               return t.begin <= i / c.columns && i / c.columns < t.end;
                             });
        if (covered ? copy[i] != dy.at(i / c.columns, i % c.columns) : !std::isnan(copy[i])) {
          fail(text(what, ": number ", i, " of the copy is ", copy[i]));
        }
      }
      first_g = found_g;
    }
    expect_same(what + ", g", found_g, first_g);
    for (size_t i = 0; i < gradients.size(); ++i) {
      const Tenant& t = c.tenants.all[i];
      if (!gradients[i] || t.begin == t.end || t.rank == 0) {
        first.emplace_back();
        continue;
      }
      const auto found = gradients[i]->download();
      if (run == 1) {
        REQUIRE(found == first[i]);
        continue;
      }
      const auto reference = gradient_of<T, double>(t, dy, h, c.numbers, true, 0, before[i]);
      expect_numbers(text(what, ", dB ", i), wide(found),
                     gradient_of<T, float>(t, dy, h, c.numbers, true, 0, before[i]), reference,
                     tolerance<float>(reference));
      first.push_back(found);
    }
  }
  return floats;
}

TEST(loraGradBFollowsItsFormula) {
  const std::vector<int> ranks = {1, 8, 17, 64};
  const std::vector<Numbers> numbers = {Numbers::kBf16, Numbers::kFp16Masters, Numbers::kFloat, Numbers::kTf32};
  // shape, rank, layout, numbers, border, copies, add, trains all, shift
  for (const std::vector<int>& v : pairwise({kShapes, 4, kLayouts, 4, 2, 2, 2, 2, 2})) {
    const auto [rows, columns] = shape_of(v[0]);
    Case c{rows, columns, {}, v[4] == 1, v[5] == 1, v[6] == 1, v[7] == 1, v[8], numbers[v[3]]};
    c.tenants = tenants_of(v[2], rows, ranks[v[1]], 0, c.border);
    const std::string what = text("lora_grad_b [", rows, ", ", columns, "] rank ", ranks[v[1]], " layout ", v[2],
                                  " numbers ", v[3], " border ", c.border, " copies ", c.copies, " add ", c.add,
                                  " trains all ", c.trains_all, " shift ", c.shift);
    by_numbers(c.numbers, [&]<class T, class F>(T, F) { check<T, F>(what, c); });
  }
}

// Many tenants of few rows, wide dy: reading dy once pays.
TEST(loraGradBReadsDyOnce) {
  Case c{100, 1500, {}, true, true, false, true, 0, Numbers::kBf16, true};
  const auto tenants = [&](bool border) {
    c.border = border;
    c.tenants = {{{0, 3, 0, 0, 0, 0, 0},
                  {3, 19, 16, 2, 1, 2, 0},
                  {19, 20, 5, border ? 18 : 0, 17, 0.5, 0},
                  {20, 84, 1, border ? 24 : 0, 22, 2, 0},
                  {84, 100, 8, border ? 26 : 3, 23, 1, 0}},
                 40,
                 32};
  };
  const auto once = [&](int64_t floats) { REQUIRE(floats >= (c.columns + 511) / 512 * 60 * 16); };
  tenants(true);
  once(check<__nv_bfloat16, __nv_bfloat16>("lora_grad_b in one pass", c));
  c.repeats = false;
  c.add = true;
  c.shift = 1;
  c.trains_all = false;
  c.numbers = Numbers::kFp16Masters;
  tenants(false);
  once(check<__half, float>("lora_grad_b in one pass, segments, fp16 with masters", c));
  // More than 32 rows in a split.
  c.rows = 8300;
  c.columns = 40;
  c.tenants = {{{0, 8250, 1, 0, 0, 1, 0}, {8250, 8280, 1, 0, 1, 1, 0}}, 2, 2};
  once(check<__half, float>("lora_grad_b in one pass of long splits", c));
  // Of many tenants, more than a launch takes.
  c.rows = 60;
  c.columns = 300;
  c.border = c.copies = true;
  c.tenants = tenants_of(kManyTenants, c.rows, 16, 0, true);
  once(check<__half, __half>("lora_grad_b of many tenants in one pass", c));
  c.numbers = Numbers::kBf16Masters;
  once(check<__nv_bfloat16, float>("lora_grad_b of many tenants in one pass, masters", c));
  c.tenants = tenants_of(kManyTenants, c.rows, 40, 0, true);
  check<__nv_bfloat16, float>("lora_grad_b of many tenants", c);
}

}  // namespace
}  // namespace peft4j::cuda::test
