#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

template <class T>
void check(int64_t rows, int64_t columns, uint32_t threshold) {
  const std::string what = text(sizeof(T), " bytes, ", rows, " x ", columns, " threshold ", threshold);
  const uint64_t seed = 0xfedcba9876543210ull;
  const auto x = convert<T>(random(rows * columns, 1));
  const std::vector<double> factors = mask(rows, columns, threshold, seed);
  const DeviceBuffer<T> in(x, "x"), out(x.size(), "y");
  expect_success(what, peft4j_cuda_dropout(kDtype<T>, rows, columns, in.data(), out.data(), seed, threshold, nullptr));
  const auto found = out.download();
  for (size_t i = 0; i < x.size(); ++i) {
    if (static_cast<float>(found[i]) !=
        static_cast<float>(T(static_cast<float>(x[i]) * static_cast<float>(factors[i])))) {
      fail(text(what, ": ", static_cast<float>(found[i]), " at ", i, ", x ", static_cast<float>(x[i]), ", factor ",
                factors[i]));
    }
  }
}

TEST(dropoutFollowsItsMask) {
  const std::vector<int64_t> rows = {1, 2, 3, 7, 33, 0};
  std::vector<int64_t> columns = kSizes;
  columns.insert(columns.end(), {8, 16, 24, 2048, 2064});
  const std::vector<uint32_t> thresholds = {1, 26, 128, 255};
  for (const std::vector<int>& k : pairwise({6, static_cast<int>(columns.size()), 4, 3})) {
    if (k[3] == 0) {
      check<float>(rows[k[0]], columns[k[1]], thresholds[k[2]]);
    } else if (k[3] == 1) {
      check<__nv_bfloat16>(rows[k[0]], columns[k[1]], thresholds[k[2]]);
    } else {
      check<__half>(rows[k[0]], columns[k[1]], thresholds[k[2]]);
    }
  }
}

// More rows than a grid has blocks along y.
TEST(dropoutTakesManyRows) {
  check<float>(70000, 4, 128);
  check<__nv_bfloat16>(66000, 3, 128);
}

}  // namespace
}  // namespace peft4j::cuda::test
