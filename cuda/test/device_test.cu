/* The small headers of device/: dropout mask, reductions, packs. */
#include <cmath>

#include "check.h"
#include "device/divisor.h"
#include "device/numbers.h"
#include "device/philox.h"
#include "device/walk.h"
#include "device/warp.h"
#include "device_buffer.h"

namespace peft4j::cuda::test {
namespace {

__global__ void words_of(uint32_t* out, uint32_t block, uint64_t row, uint64_t seed) {
  const uint4 words = mask_words(block, row, seed);
  out[0] = words.x;
  out[1] = words.y;
  out[2] = words.z;
  out[3] = words.w;
}

TEST(philoxGivesTheKnownAnswers) {
  // Random123's kat_vectors, philox4x32 10
  const DeviceBuffer<uint32_t> out(4, "out");
  expect_success("words_of", PEFT4J_LAUNCH(words_of, dim3(1), dim3(1), 0, nullptr, out.data(), 0u, 0ull, 0ull));
  REQUIRE(out.download() == (std::vector<uint32_t>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
}

__global__ void mask_row(float* out, int columns, uint64_t row, Dropout dropout) {
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    out[c] = mask_factor(mask_words(c / 16, row, dropout.seed), c, dropout);
  }
}

TEST(maskHasTheLayoutOfTheCpu) {
  const uint64_t seed = 0x123456789abcdefull, row = (1ull << 33) + 5;
  const uint32_t threshold = 26;
  const DeviceBuffer<float> out(100, "out");
  expect_success("mask_row", PEFT4J_LAUNCH(mask_row, dim3(1), dim3(32), 0, nullptr, out.data(), 100, row,
                                           Dropout::of(seed, threshold)));
  const auto found = out.download();
  for (int c = 0; c < 100; ++c) {
    REQUIRE(found[c] == static_cast<float>(mask(1, 100, threshold, seed, row)[c]));
  }
}

__global__ void quotients(uint32_t* out, const uint32_t* n, int count, Divisor divisor) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    out[2 * i] = divisor.quotient(n[i]);
    out[2 * i + 1] = divisor.rest(n[i], out[2 * i]);
  }
}

TEST(divisorDivides) {
  constexpr uint32_t kLast = (1u << 31) - 1;
  for (const uint32_t d :
       {1u, 2u, 3u, 5u, 7u, 8u, 16u, 17u, 48u, 641u, 65535u, 65536u, 65537u, (1u << 30) + 1, kLast, 1u << 31}) {
    std::vector<uint32_t> n = {0, 1, 2, 12345678, kLast - 1, kLast};
    for (const uint64_t times : {uint64_t{1}, uint64_t{2}, uint64_t{1000}, kLast / uint64_t{d}}) {
      for (const uint64_t near : {times * d - 1, times * d, times * d + 1}) {
        n.push_back(static_cast<uint32_t>(std::min<uint64_t>(near, kLast)));
      }
    }
    const DeviceBuffer<uint32_t> in(n, "n"), out(2 * n.size(), "out");
    expect_success("quotients", PEFT4J_LAUNCH(quotients, dim3(1), dim3(32), 0, nullptr, out.data(), in.data(),
                                              static_cast<int>(n.size()), Divisor(d)));
    const auto found = out.download();
    for (size_t i = 0; i < n.size(); ++i) {
      if (found[2 * i] != n[i] / d || found[2 * i + 1] != n[i] % d) {
        fail(text(n[i], " / ", d, " is ", found[2 * i], ", rest ", found[2 * i + 1]));
      }
    }
  }
}

__global__ void count_plane(int* visits, int64_t rows, int64_t columns) {
  each_plane_row(
      rows, [&](int64_t row) { each_plane_pack<1>(columns, [&](int, int64_t c) { ++visits[row * columns + c]; }); });
}

TEST(planeOfFewBlocksVisitsEachElementOnce) {
  const int64_t rows = 1000, columns = 70;
  const DeviceBuffer<int> visits(std::vector<int>(rows * columns, 0), "visits");
  Plane blocks = plane(rows, columns, 1);
  blocks.grid.y = 3;  // as where there are more rows than a grid may have blocks
  REQUIRE(rows > 2 * 3 * static_cast<int64_t>(blocks.block.y));
  expect_success("count_plane",
                 PEFT4J_LAUNCH(count_plane, blocks.grid, blocks.block, 0, nullptr, visits.data(), rows, columns));
  REQUIRE(visits.download() == std::vector<int>(rows * columns, 1));
}

__global__ void __launch_bounds__(1024) reduce(const float* in, float* out) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  const float x = in[threadIdx.x];
  out[threadIdx.x * 4] = warp_sum<8>(x);
  out[threadIdx.x * 4 + 1] = warp_max(x);
  out[threadIdx.x * 4 + 2] = block_sum(x, scratch);
  out[threadIdx.x * 4 + 3] = block_max(x, scratch);
}

TEST(reductionsSeeEveryThread) {
  for (const int n : {32, 96, 1024}) {
    std::vector<float> values(n);
    float sum = 0, most = 0;
    for (int i = 0; i < n; ++i) {
      values[i] = static_cast<float>(i * 7 % 101);
      sum += values[i];
      most = std::max(most, values[i]);
    }
    const DeviceBuffer<float> in(values, "in"), out(4 * n, "out");
    expect_success("reduce", PEFT4J_LAUNCH(reduce, dim3(1), dim3(n), 128, nullptr, in.data(), out.data()));
    const auto found = out.download();
    for (int i = 0; i < n; ++i) {
      float eight = 0, warp = 0;
      for (int j = 0; j < 8; ++j) {
        eight += values[i / 8 * 8 + j];
      }
      for (int j = 0; j < 32; ++j) {
        warp = std::max(warp, values[i / 32 * 32 + j]);
      }
      REQUIRE(found[4 * i] == eight);
      REQUIRE(found[4 * i + 1] == warp);
      REQUIRE(found[4 * i + 2] == sum);
      REQUIRE(found[4 * i + 3] == most);
    }
  }
}

template <int N>
__global__ void drop_pack(float* out, int64_t row, Dropout dropout) {
  float x[N];
  for (float& one : x) {
    one = 1;
  }
  drop(x, row, static_cast<int64_t>(threadIdx.x) * N, dropout);
  for (int i = 0; i < N; ++i) {
    out[threadIdx.x * N + i] = x[i];
  }
}

template <int N>
void check_drop() {
  const uint64_t seed = 0x123456789abcdefull, row = 3;
  const uint32_t threshold = 100;
  const DeviceBuffer<float> out(64, "out");
  expect_success("drop_pack", PEFT4J_LAUNCH(drop_pack<N>, dim3(1), dim3(64 / N), 0, nullptr, out.data(), row,
                                            Dropout::of(seed, threshold)));
  expect_close(text("packs of ", N), wide(out.download()), mask(1, 64, threshold, seed, row), 0, 1e-6);
}

TEST(packsAreDroppedLikeTheirElements) {
  check_drop<1>();
  check_drop<2>();
  check_drop<4>();
  check_drop<8>();
  check_drop<16>();
}

// A barrier after a collective of some warps only.
__global__ void reduce_in_one_warp(float* out) {
  auto* shared = reinterpret_cast<float*>(shared_memory());
  if (threadIdx.x < 32) {
    const float sum = warp_sum(1.0f);
    if (threadIdx.x == 0) {
      *shared = sum;
    }
  }
  __syncthreads();
  out[threadIdx.x] = *shared;
}

TEST(aBarrierIsForEveryWarpWhateverItDidBefore) {
  const DeviceBuffer<float> out(96, "out");
  expect_success("reduce_in_one_warp",
                 PEFT4J_LAUNCH(reduce_in_one_warp, dim3(1), dim3(96), sizeof(float), nullptr, out.data()));
  REQUIRE(out.download() == std::vector<float>(96, 32.0f));
}

template <class T>
__global__ void halve(const T* in, T* out) {
  Pack<T> pack = load_pack(in + threadIdx.x * Pack<T>::kSize);
  for (T& x : pack.v) {
    x = from_float<T>(to_float(x) / 2);
  }
  store_pack(out + threadIdx.x * Pack<T>::kSize, pack);
}

template <class T>
void check_packs(const char* name) {
  const auto values = convert<T>(random(32 * Pack<T>::kSize, 3));
  const DeviceBuffer<T> in(values, "in"), out(values.size(), "out");
  expect_success(name, PEFT4J_LAUNCH(halve<T>, dim3(1), dim3(32), 0, nullptr, in.data(), out.data()));
  const auto found = wide(out.download());
  for (size_t i = 0; i < found.size(); ++i) {
    REQUIRE(found[i] == static_cast<float>(values[i]) / 2);
  }
}

template <class T, int N>
__global__ void halve_floats(const T* in, T* out) {
  float x[N];
  to_floats(load_pack<N>(in + threadIdx.x * N), x);
  for (float& one : x) {
    one /= 2;
  }
  write_pack(out + threadIdx.x * N, from_floats<T>(x));
}

template <class T, int N>
void check_floats() {
  const auto values = convert<T>(random(32 * N, 4));
  const DeviceBuffer<T> in(values, "in"), out(values.size(), "out");
  expect_success(text("packs of ", N),
                 PEFT4J_LAUNCH((halve_floats<T, N>), dim3(1), dim3(32), 0, nullptr, in.data(), out.data()));
  const auto found = wide(out.download());
  for (size_t i = 0; i < found.size(); ++i) {
    REQUIRE(found[i] == static_cast<float>(values[i]) / 2);
  }
}

TEST(packsOfAnySizeAreFloats) {
  check_floats<float, 1>();
  check_floats<float, 4>();
  check_floats<__nv_bfloat16, 1>();
  check_floats<__nv_bfloat16, 2>();
  check_floats<__nv_bfloat16, 8>();
  check_floats<__half, 1>();
  check_floats<__half, 8>();
}

TEST(packsKeepTheirNumbers) {
  check_packs<float>("float");
  check_packs<__nv_bfloat16>("bfloat16");
  check_packs<__half>("float16");
}

__global__ void bytes_of(uint32_t* out) {
  out[0] = __byte_perm(0x33221100u, 0x77665544u, 0x7250u);
  out[1] = __byte_perm(0x33221100u, 0x77665544u, 0x1032u);
  out[2] = __vcmpgeu4(0x80ff1a19u, 0x7f801a1au);
  out[3] = __vcmpgeu4(0x00010203u, 0u);
}

TEST(bytesAreSelectedAndCompared) {
  const DeviceBuffer<uint32_t> out(4, "out");
  expect_success("bytes_of", PEFT4J_LAUNCH(bytes_of, dim3(1), dim3(1), 0, nullptr, out.data()));
  REQUIRE(out.download() == (std::vector<uint32_t>{0x77225500u, 0x11003322u, 0xffffff00u, 0xffffffffu}));
}

template <class T>
__global__ void copy_some(const T* in, T* out, int n, bool whole) {
  constexpr int V = Pack<T>::kSize;
  const int at = threadIdx.x * V, count = min(V, n - at);
  float numbers[V];
  const Pack<T> pack = load_some(in + at, count, whole);
  for (int i = 0; i < V; ++i) {
    numbers[i] = to_float(pack.v[i]) + 1;
  }
  store_some(out + at, numbers, count, whole);
}

template <class T>
void check_some(const char* name) {
  constexpr int V = Pack<T>::kSize;
  for (int n = 1; n <= 2 * V; ++n) {
    for (const int shift : {0, 1}) {
      const auto values = convert<T>(random(n + shift, 3));
      const DeviceBuffer<T> in(values, "in"), out(n + shift, "out");
      expect_success(name, PEFT4J_LAUNCH(copy_some<T>, dim3(1), dim3((n + V - 1) / V), 0, nullptr, in.data() + shift,
                                         out.data() + shift, n, shift == 0));
      const auto found = out.download();
      for (int i = shift; i < n + shift; ++i) {
        REQUIRE(static_cast<float>(found[i]) == static_cast<float>(static_cast<T>(static_cast<float>(values[i]) + 1)));
      }
    }
  }
}

TEST(someOfAPackIsReadAndWritten) {
  check_some<float>("float");
  check_some<__nv_bfloat16>("bfloat16");
  check_some<__half>("float16");
}

}  // namespace
}  // namespace peft4j::cuda::test
