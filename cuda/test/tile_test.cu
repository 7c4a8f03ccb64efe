/* device/tile.h: products through each of the four fragment loaders, copies with tails. */
#include "check.h"
#include "device/tile.h"
#include "device_buffer.h"

namespace peft4j::cuda::test {
namespace {

constexpr int kRows = 32, kColumns = 48;

// d[16, 16] = Σ_k a[i, k] b[k, j], a and b taken from [rows, columns] at the corner of a tile in either orientation.
template <class T, bool TransposedA, bool TransposedB, bool Aligned>
__global__ void multiply(const T* a, const T* b, float* d, int64_t stride, int64_t rows, int64_t columns) {
  const Tile<T, kColumns> ta{reinterpret_cast<T*>(shared_memory())}, tb{ta.at(kRows, 0)};
  copy_tile<Aligned>(ta, kRows, a, stride, rows, columns, threadIdx.x, blockDim.x);
  copy_tile<Aligned>(tb, kRows, b, stride, rows, columns, threadIdx.x, blockDim.x);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  float sum[2][4] = {};
  for (int k = 0; k < 32; k += 16) {
    uint32_t fa[4], fb[2][2];
    if constexpr (TransposedA) {
      load_a_transposed(fa, ta, k, 16);
    } else {
      load_a(fa, ta, 16, k);
    }
    if constexpr (TransposedB) {
      load_b_transposed(fb, tb, k, 16);
    } else {
      load_b(fb, tb, 16, k);
    }
    mma<T>(sum[0], fa, fb[0]);
    mma<T>(sum[1], fa, fb[1]);
  }
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  for (int n = 0; n < 2; ++n) {
    for (int i = 0; i < 4; ++i) {
      d[(g + i / 2 * 8) * 16 + n * 8 + 2 * t + i % 2] = sum[n][i];
    }
  }
}

template <class T, bool TransposedA, bool TransposedB, bool Aligned>
void check(int64_t stride, int64_t rows, int64_t columns) {
  const auto a = convert<T>(random(rows * stride, 1)), b = convert<T>(random(rows * stride, 2));
  const DeviceBuffer<T> da(a, "a"), db(b, "b");
  const DeviceBuffer<float> d(256, "d");
  const std::string what = text("transposed ", TransposedA, " ", TransposedB, ", rows ", rows, ", columns ", columns);
  expect_success(what, PEFT4J_LAUNCH((multiply<T, TransposedA, TransposedB, Aligned>), dim3(1), dim3(32),
                                     (2 * Tile<T, kColumns>::bytes(kRows)), nullptr, da.data(), db.data(), d.data(),
                                     stride, rows, columns));
  const auto element = [&](const std::vector<T>& m, int64_t row, int64_t column) {
    return row < rows && column < columns ? double{static_cast<float>(m[row * stride + column])} : 0.0;
  };
  std::vector<double> expected;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      double sum = 0;
      for (int k = 0; k < 32; ++k) {
        sum += (TransposedA ? element(a, k, 16 + i) : element(a, 16 + i, k)) *
               (TransposedB ? element(b, k, 16 + j) : element(b, 16 + j, k));
      }
      expected.push_back(sum);
    }
  }
  expect_close(what, wide(d.download()), expected, 0, 1e-4);
}

template <class T>
void check_all() {
  for (const auto& [rows, columns] : std::vector<std::pair<int, int>>{{32, 48}, {31, 47}, {17, 25}, {20, 1}}) {
    check<T, false, false, true>(56, rows, columns);
    check<T, true, false, true>(48, rows, columns);
    check<T, false, true, true>(64, rows, columns);
    check<T, true, true, true>(48, rows, columns);
    check<T, false, false, false>(49, rows, columns);
    check<T, true, true, false>(51, rows, columns);
  }
}

TEST(tilesGiveTheirFragments) {
  check_all<__nv_bfloat16>();
  check_all<__half>();
}

__global__ void pair_of(uint32_t* out) {
  out[0] = pack_pair<__nv_bfloat16>(1.0f, -2.0f);
  out[1] = pack_pair<__half>(1.0f, -2.0f);
}

TEST(pairsHaveTheLowNumberFirst) {
  const DeviceBuffer<uint32_t> out(2, "out");
  expect_success("pair_of", PEFT4J_LAUNCH(pair_of, dim3(1), dim3(1), 0, nullptr, out.data()));
  REQUIRE(out.download() == (std::vector<uint32_t>{0xc0003f80u, 0xc0003c00u}));
}

}  // namespace
}  // namespace peft4j::cuda::test
