/* The wrappers of device/ptx_sm90.h against the PTX manual; on a card of sm_90a and on the host executor. */
#include "check.h"
#include "device/cuda.h"
#include "device/ptx_sm90.h"
#include "device/tensor_map.h"
#include "device_buffer.h"
#include "needs.h"

namespace peft4j::cuda::test {
namespace {

// Thread 0 hands a number to all, they hand their sum back, phase by phase.
__global__ void ping_pong(int* out, int rounds) {
#ifdef PEFT4J_HAS_SM90
  auto* given = reinterpret_cast<uint64_t*>(shared_memory());
  uint64_t* taken = given + 1;
  int* numbers = reinterpret_cast<int*>(given + 2);
  if (threadIdx.x == 0) {
    mbarrier_init(given, 1);
    mbarrier_init(taken, 64);
    mbarrier_fence_init();
  }
  __syncthreads();
  for (int round = 0; round < rounds; ++round) {
    if (threadIdx.x == 0) {
      mbarrier_wait(taken, (round & 1) ^ 1);  // passes in the first round
      numbers[0] = round * round;
      mbarrier_arrive(given);
    } else if (threadIdx.x >= 32) {
      named_barrier(1, 64);
      mbarrier_wait(given, round & 1);  // some lanes may have to wait and others not: they meet again
      out[round * 64 + threadIdx.x - 32] = __shfl_xor_sync(0xffffffffu, numbers[0], 1);
      mbarrier_arrive(taken);
    }
  }
#endif
}

TEST(mbarriersGoThroughTheirPhases) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const DeviceBuffer<int> out(20 * 64, "out");
  expect_success("ping_pong", PEFT4J_LAUNCH(ping_pong, dim3(1), dim3(96), 64, nullptr, out.data(), 20));
  const auto found = out.download();
  for (int i = 0; i < 20 * 64; ++i) {
    REQUIRE(found[i] == (i / 64) * (i / 64));
  }
}

constexpr int kBoxRows = 24, kBox = kBoxRows * 64;

// What a box looks like in shared memory.
__global__ void load_box(const __grid_constant__ TensorMap map, int column, int row, uint16_t* out) {
#ifdef PEFT4J_HAS_SM90
  auto* box = reinterpret_cast<uint16_t*>(shared_memory());
  auto* barrier = reinterpret_cast<uint64_t*>(box + kBox);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier, kBox * 2);
    tma_load(box, map, column, row, barrier);
  }
  mbarrier_wait(barrier, 0);
  for (int i = threadIdx.x; i < kBox; i += blockDim.x) {
    out[i] = box[i];
  }
#endif
}

TEST(bulkCopiesSwizzleAndFillUp) {
  if (!has_sm90a(__func__)) {
    return;
  }
  constexpr int64_t kRows = 40, kColumns = 150, kStride = 160;
  std::vector<uint16_t> matrix(kRows * kStride, 0xffff);  // what lies between the rows must not come
  for (int64_t i = 0; i < kRows * kStride; ++i) {
    matrix[i] = i % kStride < kColumns ? static_cast<uint16_t>(i + 1) : 0xffff;
  }
  const DeviceBuffer<uint16_t> in(matrix, "in");
  TensorMap map;
  expect_success("map", make_tensor_map(&map, in.data(), kRows, kColumns, kStride, kBoxRows));
  for (const auto& [column, row] : std::vector<std::pair<int, int>>{{0, 0}, {64, 8}, {128, 30}, {-8, -3}, {11, 5}}) {
    const DeviceBuffer<uint16_t> out(kBox, "out");
    expect_success("load_box",
                   PEFT4J_LAUNCH(load_box, dim3(1), dim3(64), kBox * 2 + 8, nullptr, map, column, row, out.data()));
    const auto found = out.download();
    for (int i = 0; i < kBoxRows; ++i) {
      for (int j = 0; j < 64; ++j) {
        // Row i has 128 bytes, of which 16 and 16 change places: chunk c stands at c xor i % 8.
        const int at = i * 64 + (j / 8 ^ i % 8) * 8 + j % 8, r = row + i, c = column + j;
        const bool inside = r >= 0 && r < kRows && c >= 0 && c < kColumns;
        if (found[at] != (inside ? matrix[r * kStride + c] : 0)) {
          fail(text("box at column ", column, ", row ", row, ": ", found[at], " for (", i, ", ", j, ")"));
        }
      }
    }
  }
}

// Where number (mn, k) of an operand stands, as the manual draws the 128-byte swizzle's atoms: 8 rows of 8 chunks of 8 numbers,
// chunk c of row r at c xor r. Atoms of a K-major operand follow each other along mn, 64 k's wide; those of an N-major one along k,
// then along mn.
[[maybe_unused]] __device__ int place_of(int mn, int k, bool mn_major, int depth) {
  const int row = mn_major ? k : mn, column = mn_major ? mn : k, rows = mn_major ? depth : 0;
  return column / 64 * rows * 64 + row * 64 + ((column % 64 / 8) ^ (row % 8)) * 8 + column % 8;
}

constexpr int kDepth = 32;  // of k: two products

// a [64, 32], b [256, 32] and d [64, 256] row by row.
template <class Type, class T, bool ByK>
__global__ void product(const T* a, const T* b, float* d) {
#ifdef PEFT4J_HAS_SM90
  auto* on_a = reinterpret_cast<T*>(shared_memory());
  T* on_b = on_a + 64 * 64;
  for (int i = threadIdx.x; i < 64 * kDepth; i += blockDim.x) {
    on_a[place_of(i / kDepth, i % kDepth, false, kDepth)] = a[i];
  }
  for (int i = threadIdx.x; i < 256 * kDepth; i += blockDim.x) {
    on_b[place_of(i / kDepth, i % kDepth, ByK, kDepth)] = b[i];
  }
  fence_async_proxy();
  __syncthreads();
  float sums[32][4];
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int j = 0; j < 32; ++j) {
    for (int i = 0; i < 4; ++i) {
      sums[j][i] = d[(row + i / 2 * 8) * 256 + 8 * j + column + i % 2];
    }
  }
  wgmma_fence(sums);
  for (int k = 0; k < kDepth; k += 16) {
    const uint64_t operand_b = ByK ? wgmma_operand(on_b + k * 64, 1024, kDepth * 128) : wgmma_operand(on_b + k, 1024);
    wgmma_m64k16<Type, ByK>(sums, wgmma_operand(on_a + k, 1024), operand_b, true);
  }
  wgmma_commit();
  wgmma_wait<0>(sums);
  for (int j = 0; j < 32; ++j) {
    for (int i = 0; i < 4; ++i) {
      d[(row + i / 2 * 8) * 256 + 8 * j + column + i % 2] = sums[j][i];
    }
  }
#endif
}

template <class Type, class T, bool ByK>
void check_product(const char* name) {
  const auto whole = [](size_t n, uint64_t seed) {
    std::vector<double> values = random(n, seed, 3);
    for (double& x : values) {
      x = static_cast<int>(x);
    }
    return values;
  };
  const auto a = whole(64 * kDepth, 1), b = whole(256 * kDepth, 2), d = whole(64 * 256, 3);
  const DeviceBuffer<T> on_a(convert<T>(a), "a"), on_b(convert<T>(b), "b");
  const DeviceBuffer<float> on_d(convert<float>(d), "d");
  expect_success(name, PEFT4J_LAUNCH((product<Type, T, ByK>), dim3(1), dim3(128), (64 + 256) * 64 * 2, nullptr,
                                     on_a.data(), on_b.data(), on_d.data()));
  std::vector<double> expected = d;
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 256; ++j) {
      for (int k = 0; k < kDepth; ++k) {
        expected[i * 256 + j] += a[i * kDepth + k] * b[j * kDepth + k];
      }
    }
  }
  expect_close(name, wide(on_d.download()), expected, 0, 0);
}

TEST(wgmmaHasTheManualsLayouts) {
  if (has_sm90a(__func__)) {
    check_product<Bf16, __nv_bfloat16, false>("bfloat16, K-major");
    check_product<Bf16, __nv_bfloat16, true>("bfloat16, N-major");
    check_product<Fp16, __half, false>("float16, K-major");
    check_product<Fp16, __half, true>("float16, N-major");
  }
}

// a [64, 32], b [8·N, 32] and d [64, 8·N] row by row; a from shared memory or from registers. With Add 0 the first product does not add
// to d, which is not even set.
template <class Type, class T, bool ByK, int N, bool FromRegisters, bool Add>
__global__ void product_of_width(const T* a, const T* b, float* d) {
#ifdef PEFT4J_HAS_SM90
  auto* on_a = reinterpret_cast<T*>(shared_memory());
  T* on_b = on_a + 64 * 64;
  for (int i = threadIdx.x; i < 64 * kDepth; i += blockDim.x) {
    on_a[place_of(i / kDepth, i % kDepth, false, kDepth)] = a[i];
  }
  for (int i = threadIdx.x; i < 8 * N * kDepth; i += blockDim.x) {
    on_b[place_of(i / kDepth, i % kDepth, ByK, kDepth)] = b[i];
  }
  fence_async_proxy();
  __syncthreads();
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  float sums[N][4];
  for (int j = 0; Add && j < N; ++j) {
    for (int i = 0; i < 4; ++i) {
      sums[j][i] = d[(row + i / 2 * 8) * 8 * N + 8 * j + column + i % 2];
    }
  }
  uint32_t registers[kDepth / 16][4];
  for (int i = 0; i < kDepth / 4; ++i) {  // two numbers each: rows g and g + 8, then both 8 columns on
    registers[i / 4][i % 4] =
        *reinterpret_cast<const uint32_t*>(a + (row + i % 2 * 8) * kDepth + i / 4 * 16 + i % 4 / 2 * 8 + column);
  }
  wgmma_fence(sums);
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    const uint64_t operand_b = ByK ? wgmma_operand(on_b + k * 64, 1024, kDepth * 128) : wgmma_operand(on_b + k, 1024);
    if constexpr (FromRegisters) {
      wgmma_m64k16<Type, ByK>(sums, registers[k / 16], operand_b, Add || k > 0);
    } else {
      wgmma_m64k16<Type, ByK>(sums, wgmma_operand(on_a + k, 1024), operand_b, Add || k > 0);
    }
  }
  wgmma_commit();
  wgmma_wait<0>(sums);
  for (int j = 0; j < N; ++j) {
    for (int i = 0; i < 4; ++i) {
      d[(row + i / 2 * 8) * 8 * N + 8 * j + column + i % 2] = sums[j][i];
    }
  }
#endif
}

template <class Type, class T, bool ByK, int N, bool FromRegisters, bool Add>
void check_width() {
  const auto whole = [](size_t n, uint64_t seed) {
    std::vector<double> values = random(n, seed, 3);
    for (double& x : values) {
      x = static_cast<int>(x);
    }
    return values;
  };
  const auto a = whole(64 * kDepth, 1), b = whole(8 * N * kDepth, 2), d = whole(64 * 8 * N, 3);
  const DeviceBuffer<T> on_a(convert<T>(a), "a"), on_b(convert<T>(b), "b");
  const DeviceBuffer<float> on_d(convert<float>(d), "d");
  const std::string what = text("width ", 8 * N, ", by k ", ByK, ", a in registers ", FromRegisters, ", adds ", Add);
  const size_t bytes = std::max((64 + 8 * N) * 64 * 2, 64 * 64 * 2 + (8 * N + 63) / 64 * kDepth * 128);
  expect_success(what, PEFT4J_LAUNCH((product_of_width<Type, T, ByK, N, FromRegisters, Add>), dim3(1), dim3(128), bytes,
                                     nullptr, on_a.data(), on_b.data(), on_d.data()));
  std::vector<double> expected = Add ? d : std::vector<double>(d.size());
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 8 * N; ++j) {
      for (int k = 0; k < kDepth; ++k) {
        expected[i * 8 * N + j] += a[i * kDepth + k] * b[j * kDepth + k];
      }
    }
  }
  expect_close(what, wide(on_d.download()), expected, 0, 0);
}

template <int N>
void check_width_both_ways() {
  check_width<Bf16, __nv_bfloat16, false, N, false, false>();
  check_width<Bf16, __nv_bfloat16, true, N, true, true>();
  check_width<Fp16, __half, true, N, false, true>();
  check_width<Fp16, __half, false, N, true, false>();
}

TEST(wgmmaHasOtherWidthsAndTakesRegisters) {
  if (has_sm90a(__func__)) {
    check_width_both_ways<8>();
    check_width_both_ways<12>();
    check_width_both_ways<16>();
    check_width_both_ways<32>();
  }
}

// Groups that are waited for one by one, while the next is in flight; registers move between warpgroups.
__global__ void __launch_bounds__(384) groups(const __nv_bfloat16* in, float* out) {
#ifdef PEFT4J_HAS_SM90
  auto* tiles = reinterpret_cast<__nv_bfloat16*>(shared_memory());
  for (int i = threadIdx.x; i < 256 * 64; i += blockDim.x) {
    tiles[place_of(i / 64, i % 64, false, 0)] = in[i];
  }
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x < 128) {
    set_max_registers<40, false>();
    return;
  }
  set_max_registers<208, true>();
  float sums[32][4] = {};
  wgmma_fence(sums);
  for (int k = 0; k < 64; k += 16) {
    wgmma_m64k16<Bf16, false>(sums, wgmma_operand(tiles + k, 1024), wgmma_operand(tiles + k, 1024), true);
    wgmma_commit();
    wgmma_wait<1>(sums);
  }
  wgmma_wait<0>(sums);
  out[threadIdx.x - 128] = sums[0][0];
#endif
}

TEST(wgmmaGroupsAreWaitedFor) {
  if (!has_sm90a(__func__)) {
    return;
  }
  const DeviceBuffer<__nv_bfloat16> in(std::vector<__nv_bfloat16>(256 * 64, __nv_bfloat16(2.0f)), "in");
  const DeviceBuffer<float> out(128, "out");
  expect_success("groups", PEFT4J_LAUNCH(groups, dim3(1), dim3(256), 256 * 128, nullptr, in.data(), out.data()));
  REQUIRE(wide(out.download()) == std::vector<double>(128, 256));
}

}  // namespace
}  // namespace peft4j::cuda::test
