#include "test/lora_gradient.h"

namespace peft4j::cuda::test {
namespace {

constexpr uint64_t kSeed = 0x123456789abcdefull;

struct Case {
  int64_t rows, columns;
  Tenants tenants;
  bool add;
  int64_t shift;
  Numbers numbers;
  bool repeats = false;
};

template <class T>
void check(const std::string& what, const Case& c) {
  const Matrix<T> x(c.rows, c.columns, c.shift, 1), g(c.rows, c.tenants.h_columns, c.shift, 2);
  std::vector<std::vector<float>> before;
  std::vector<std::vector<float>> first;
  for (int run = 0; run < (c.repeats ? 2 : 1); ++run) {
    const auto gradients = gradient_buffers(c.tenants, c.columns, c.add, false, before);
    const auto segments = segments_of(
        c.tenants, [](const Tenant&, peft4j_cuda_segment&) {},
        [&](size_t i) { return gradients[i] ? gradients[i]->data() : nullptr; });
    peft4j_cuda_lora p{};
    p.dtype = kDtype<T>;
    p.tf32 = c.numbers == Numbers::kTf32;
    p.add = c.add;
    p.columns = c.columns;
    p.x = x.data();
    p.x_stride = x.stride;
    p.g = g.data();
    p.g_stride = g.stride;
    p.seed = kSeed;
    p.segments = segments.data();
    p.n_segments = static_cast<int64_t>(segments.size());
    const DeviceBuffer<float> scratch(peft4j_cuda_lora_grad_a_scratch(&p), "scratch");
    p.scratch = scratch.data();
    expect_success(what, peft4j_cuda_lora_grad_a(&p, nullptr));
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
      const auto reference = gradient_of<T, double>(t, x, g, c.numbers, false, kSeed, before[i]);
      expect_numbers(text(what, ", dA ", i), wide(found),
                     gradient_of<T, float>(t, x, g, c.numbers, false, kSeed, before[i]), reference,
                     tolerance<float>(reference));
      first.push_back(found);
    }
  }
}

TEST(loraGradAFollowsItsFormula) {
  const std::vector<int> ranks = {1, 3, 8, 16, 17, 64};
  const std::vector<uint32_t> thresholds = {0, 26, 200};
  // shape, rank, layout, threshold, numbers, border, add, shift
  for (const std::vector<int>& v : pairwise({kShapes, 6, kLayouts, 3, kNumbers, 2, 2, 2})) {
    const auto [rows, columns] = shape_of(v[0]);
    Case c{rows, columns, {}, v[6] == 1, v[7], Numbers(v[4])};
    c.tenants = tenants_of(v[2], rows, ranks[v[1]], thresholds[v[3]], v[5] == 1);
    const std::string what =
        text("lora_grad_a [", rows, ", ", columns, "] rank ", ranks[v[1]], " layout ", v[2], " threshold ",
             thresholds[v[3]], " numbers ", v[4], " border ", v[5], " add ", c.add, " shift ", c.shift);
    by_numbers(c.numbers, [&]<class T, class F>(T, F) { check<T>(what, c); });
  }
}

TEST(loraGradATakesManyTenantsAndRank256) {
  Case c{170, 40, {}, false, 0, Numbers::kFp16, true};
  c.tenants = tenants_of(1, c.rows, 256, 26, true);
  c.tenants.all.push_back({0, 170, 2, 1, 1, 1, 200});  // segments may overlap here, and have masks of their own
  c.tenants.all.push_back({20, 60, 3, 4, 0, 1, 26});
  check<__half>("lora_grad_a rank 256", c);
  c.numbers = Numbers::kFloat;
  check<float>("lora_grad_a rank 256, float32", c);
  c.tenants = tenants_of(kManyTenants, c.rows, 40, 26, true);
  check<float>("lora_grad_a of many tenants, float32", c);
  c.numbers = Numbers::kBf16;
  check<__nv_bfloat16>("lora_grad_a of many tenants", c);
}

}  // namespace
}  // namespace peft4j::cuda::test
