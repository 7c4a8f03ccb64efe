#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

// The order of addition is part of the contract only as "the same in each run": compare with a sum in double.
std::vector<double> sum(const std::vector<float>& partials, const std::vector<float>& before, size_t n, size_t splits) {
  std::vector<double> all(before.begin(), before.end());
  all.resize(n);
  for (size_t s = 0; s < splits; ++s) {
    for (size_t i = 0; i < n; ++i) {
      all[i] += partials[s * n + i];
    }
  }
  return all;
}

TEST(fixedOrderSumAddsEverySplit) {
  for (const int64_t n : kSizes) {
    for (const int64_t splits : {0, 1, 2, 16, 17, 100}) {
      for (const bool add : {false, true}) {
        const auto partials = convert<float>(random(n * splits, n + splits)), before = convert<float>(random(n, 3));
        const DeviceBuffer<float> from(partials, "partials");
        const DeviceBuffer<float> out = add ? DeviceBuffer<float>(before, "out") : DeviceBuffer<float>(n, "out");
        const std::string what = text("n ", n, ", splits ", splits, ", add ", add);
        expect_success(what, peft4j_cuda_fixed_order_sum(out.data(), from.data(), n, splits, add, nullptr));
        expect_close(what, wide(out.download()), sum(partials, add ? before : std::vector<float>(), n, splits), 0,
                     splits * 1e-6);
      }
    }
  }
}

TEST(fixedOrderSumTakesAnyAlignment) {
  const auto partials = convert<float>(random(8 * 3 + 1, 5));
  const DeviceBuffer<float> from(partials, "partials"), out(9, "out");
  expect_success("shifted by 4 bytes", peft4j_cuda_fixed_order_sum(out.data() + 1, from.data() + 1, 8, 3, 0, nullptr));
  const auto found = wide(out.download());
  expect_close("shifted by 4 bytes", {found.begin() + 1, found.end()},
               sum({partials.begin() + 1, partials.end()}, {}, 8, 3), 0);
}

}  // namespace
}  // namespace peft4j::cuda::test
