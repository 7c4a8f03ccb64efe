/* Mistakes with barriers in shared memory, bulk copies and wgmma, planted as in planted_bugs.cu. */
#include "device/ptx_sm90.h"
#include "device/tensor_map.h"
#include "planted.h"

namespace peft4j::cuda::test {
namespace {

// A matrix [64, 64] and a kernel's shared memory: a box of it, 8 KiB, then two barriers.
constexpr int kBytes = 64 * 128, kShared = kBytes + 16;

struct Matrix {
  Matrix() : numbers(std::vector<__nv_bfloat16>(64 * 64, __nv_bfloat16(1.0f)), "matrix") {
    expect_success("map", make_tensor_map(&map, numbers.data(), 64, 64, 64, 64));
  }
  DeviceBuffer<__nv_bfloat16> numbers;
  TensorMap map;
};

__nv_bfloat16* box() {
  return reinterpret_cast<__nv_bfloat16*>(shared_memory());
}

uint64_t* barrier(int i) {
  return reinterpret_cast<uint64_t*>(shared_memory() + kBytes) + i;
}

// By all threads: two barriers of one arrival.
void make_barriers(int second = 1) {
  if (threadIdx.x == 0) {
    mbarrier_init(barrier(0), 1);
    mbarrier_init(barrier(1), second);
    mbarrier_fence_init();
  }
  __syncthreads();
}

// ---- barriers

__global__ void no_init_fence(float* out) {
  if (threadIdx.x == 0) {
    mbarrier_init(barrier(0), 1);
  }
  __syncthreads();
  mbarrier_wait(barrier(0), 1);  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsAnMbarrierWithoutItsFence) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(no_init_fence, 1, 64, kShared, out.data()), {"mbarrier_wait", "without mbarrier_fence_init"});
}

__global__ void no_barrier_after_init(float* out) {
  if (threadIdx.x == 0) {
    mbarrier_init(barrier(0), 1);
    mbarrier_fence_init();
  } else {
    mbarrier_arrive(barrier(0));  // PLANTED: perhaps before there is one
  }
  out[threadIdx.x] = 0;
}

TEST(reportsAnMbarrierThatIsUsedBeforeItsInitIsSeen) {
  const DeviceBuffer<float> out(2, "out");
  expect_report(RUN(no_barrier_after_init, 1, 2, kShared, out.data()), {"mbarrier_arrive"});
}

__global__ void arrival_missing(float* out) {
  make_barriers(32);
  if (threadIdx.x < 31) {
    mbarrier_arrive(barrier(1));
  }
  mbarrier_wait(barrier(1), 0);  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsAMissingArrival) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(arrival_missing, 1, 32, kShared, out.data()),
                {"threads 0 to 31 wait at mbarrier_wait for parity 0", "1 of 32 arrivals and 0 bytes are missing"});
}

__global__ void arrival_too_many(const __grid_constant__ TensorMap map) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes);
    mbarrier_arrive(barrier(0));  // PLANTED
    tma_load(box(), map, 0, 0, barrier(0));
  }
}

TEST(reportsAnArrivalTooMany) {
  const Matrix matrix;
  expect_report(RUN(arrival_too_many, 1, 32, kShared, matrix.map), {"all 1 arrivals", "lacks 8192 bytes"});
}

__global__ void wrong_parity(float* out) {
  make_barriers();
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) {
      mbarrier_arrive(barrier(0));
    }
    mbarrier_wait(barrier(0), (round + 1) & 1);  // PLANTED
  }
  out[threadIdx.x] = 0;
}

TEST(reportsAWrongParity) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(wrong_parity, 1, 32, kShared, out.data()), {"wait at mbarrier_wait"});
}

// ---- bulk copies

__global__ void no_wait_for_the_copy(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes);
    tma_load(box(), map, 0, 0, barrier(0));
  }
  __syncthreads();
  out[threadIdx.x] = box()[threadIdx.x];  // PLANTED
  mbarrier_wait(barrier(0), 0);
}

TEST(reportsAReadBeforeTheBulkCopyIsWaitedFor) {
  const Matrix matrix;
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(no_wait_for_the_copy, 1, 32, kShared, matrix.map, out.data()), {"which a bulk copy still fills"});
}

__global__ void others_wait_for_the_copy(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes);
    tma_load(box(), map, 0, 0, barrier(0));
    mbarrier_wait(barrier(0), 0);
    mbarrier_arrive(barrier(1));
  } else {
    mbarrier_wait(barrier(1), 1);             // PLANTED: the wrong phase passes at once
    out[threadIdx.x] = box()[threadIdx.x];  // PLANTED
  }
}

TEST(reportsAReadByAThreadThatHasNotWaited) {
  const Matrix matrix;
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(others_wait_for_the_copy, 1, 64, kShared, matrix.map, out.data()), {"reads 2 bytes"});
}

__global__ void too_many_bytes_expected(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes + 16);
    tma_load(box(), map, 0, 0, barrier(0));
  }
  mbarrier_wait(barrier(0), 0);  // PLANTED
  out[threadIdx.x] = box()[threadIdx.x];
}

TEST(reportsBytesThatNeverCome) {
  const Matrix matrix;
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(too_many_bytes_expected, 1, 32, kShared, matrix.map, out.data()),
                {"0 of 1 arrivals and 16 bytes are missing"});
}

__global__ void too_few_bytes_expected(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes / 2);
    tma_load(box(), map, 0, 0, barrier(0));  // PLANTED
  }
  mbarrier_wait(barrier(0), 0);
  out[threadIdx.x] = box()[threadIdx.x];
}

TEST(reportsBytesThatNobodyExpects) {
  const Matrix matrix;
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(too_few_bytes_expected, 1, 32, kShared, matrix.map, out.data()),
                {"have 8192 bytes, but 4096 are expected"});
}

// Two warps read, the later one says so, then a third writes.
__global__ void one_reader_is_waited_for(float* out) {
  make_barriers(32);
  if (threadIdx.x < 32) {
    box()[threadIdx.x] = __nv_bfloat16(1.0f);
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    out[threadIdx.x] = box()[threadIdx.x];
  } else if (threadIdx.x < 64) {
    for (int i = 0; i < 20; ++i) {
      __syncwarp();
    }
    out[threadIdx.x] = box()[threadIdx.x - 32];
    mbarrier_arrive(barrier(1));
  } else {
    mbarrier_wait(barrier(1), 0);
    box()[threadIdx.x - 64] = __nv_bfloat16(2.0f);  // PLANTED
  }
}

TEST(reportsAWriteThatWaitedForTheLastReaderOnly) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(one_reader_is_waited_for, 1, 96, kShared, out.data()),
                {"writes 2 bytes", "another warp has read without a barrier between"});
}

__global__ void refilled_too_early(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expecting(barrier(0), kBytes);
      tma_load(box(), map, 0, 0, barrier(0));  // PLANTED: nobody said that the box was read
    }
    mbarrier_wait(barrier(0), round);
    out[threadIdx.x] = box()[threadIdx.x];  // PLANTED
  }
}

TEST(reportsARefillBeforeOthersHaveRead) {
  const Matrix matrix;
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(refilled_too_early, 1, 64, kShared, matrix.map, out.data()), {"shared memory + "});
}

__global__ void one_lane_says_that_all_have_read(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 32) {
      mbarrier_wait(barrier(1), round ^ 1);
      mbarrier_arrive_expecting(barrier(0), kBytes);
      tma_load(box(), map, 0, 0, barrier(0));  // PLANTED
    } else if (threadIdx.x < 32) {
      mbarrier_wait(barrier(0), round);
      out[threadIdx.x] = box()[threadIdx.x];  // PLANTED
      if (threadIdx.x == 0) {                 // a __syncwarp is missing
        mbarrier_arrive(barrier(1));
      }
    }
  }
}

TEST(reportsAnArrivalForLanesThatMayStillRead) {
  const Matrix matrix;
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(one_lane_says_that_all_have_read, 1, 64, kShared, matrix.map, out.data()), {"shared memory + "});
}

__global__ void one_warp_says_that_both_have_read(const __grid_constant__ TensorMap map, float* out) {
  make_barriers();
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 64) {
      mbarrier_wait(barrier(1), round ^ 1);
      mbarrier_arrive_expecting(barrier(0), kBytes);
      tma_load(box(), map, 0, 0, barrier(0));  // PLANTED
    } else if (threadIdx.x < 64) {
      mbarrier_wait(barrier(0), round);
      out[threadIdx.x] = box()[threadIdx.x % 32];  // PLANTED
      __syncwarp();
      if (threadIdx.x == 0) {  // and not thread 32
        mbarrier_arrive(barrier(1));
      }
    }
  }
}

TEST(reportsAnArrivalThatAWarpLacks) {
  const Matrix matrix;
  const DeviceBuffer<float> out(96, "out");
  expect_report(RUN(one_warp_says_that_both_have_read, 1, 96, kShared, matrix.map, out.data()), {"shared memory + "});
}

__global__ void plain_writes(const __grid_constant__ TensorMap map, float* out) {
  box()[threadIdx.x] = __nv_bfloat16(0.0f);
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes);
    tma_load(box(), map, 0, 0, barrier(0));  // PLANTED
  }
  mbarrier_wait(barrier(0), 0);
  out[threadIdx.x] = box()[threadIdx.x];
}

TEST(reportsABulkCopyOverPlainWrites) {
  const Matrix matrix;
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(plain_writes, 1, 32, kShared, matrix.map, out.data()), {"without fence_async_proxy"});
}

__global__ void nobody_waits(const __grid_constant__ TensorMap map) {
  make_barriers();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(barrier(0), kBytes);
    tma_load(box(), map, 0, 0, barrier(0));  // PLANTED
  }
}

TEST(reportsABulkCopyThatNobodyWaitsFor) {
  const Matrix matrix;
  expect_report(RUN(nobody_waits, 1, 32, kShared, matrix.map), {"nobody has waited for this tma_load"});
}

__global__ void misaligned_box(const __grid_constant__ TensorMap map) {
  make_barriers();
  if (threadIdx.x == 0) {
    tma_load(box() + 64, map, 0, 0, barrier(0));  // PLANTED
  }
}

TEST(reportsAMisalignedBox) {
  const Matrix matrix;
  expect_report(RUN(misaligned_box, 1, 32, kShared, matrix.map), {"multiple of 1024 bytes"});
}

TEST(refusesMapsThatTheDriverRefuses) {
  const Matrix matrix;
  TensorMap map;
  const auto refused = [&](const void* data, int64_t rows, int64_t columns, int64_t stride, int box_rows) {
    REQUIRE(make_tensor_map(&map, data, rows, columns, stride, box_rows) != 0);
    REQUIRE(last_error().find("a tensor map needs") == 0);
  };
  refused(matrix.numbers.data() + 4, 60, 60, 64, 64);
  refused(matrix.numbers.data(), 60, 60, 60, 64);
  refused(matrix.numbers.data(), 0, 64, 64, 64);
  refused(matrix.numbers.data(), 64, 64, 64, 257);
}

// ---- wgmma: a [64, 64] and b [256, 64], one after the other, as plain writes leave them

constexpr int kOperands = (64 + 256) * 128;

__nv_bfloat16* operand_b() {
  return box() + 64 * 64;
}

void write_ones() {
  for (int i = threadIdx.x; i < kOperands / 2; i += blockDim.x) {
    box()[i] = __nv_bfloat16(1.0f);
  }
}

void one_product(float (&d)[32][4], host::Site site = host::Site::current()) {
  wgmma_m64k16<Bf16, false>(d, wgmma_operand(box(), 1024), wgmma_operand(operand_b(), 1024), true, site);
}

__global__ void no_proxy_fence(float* out) {
  write_ones();
  __syncthreads();
  float d[32][4] = {};
  wgmma_fence(d);
  one_product(d);  // PLANTED
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaOverPlainWrites) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_proxy_fence, 1, 128, kOperands, out.data()), {"without fence_async_proxy"});
}

void ready() {
  write_ones();
  fence_async_proxy();
  __syncthreads();
}

__global__ void no_register_fence(float* out) {
  ready();
  float d[32][4] = {};
  one_product(d);  // PLANTED
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaWithoutItsFence) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_register_fence, 1, 128, kOperands, out.data()), {"no wgmma_fence since"});
}

__global__ void no_fence_after_a_change(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  for (int i = 0; i < 2; ++i) {
    one_product(d);  // PLANTED
    wgmma_commit();
    wgmma_wait<0>(d);
    d[3][1] *= 2;
  }
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaOnRegistersThatWereChanged) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_fence_after_a_change, 1, 128, kOperands, out.data()), {"d was touched"});
}

// d is not there before the wait: the numbers show it.
__global__ void read_before_the_wait(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  one_product(d);
  wgmma_commit();
  out[threadIdx.x] = d[0][0];
  wgmma_wait<0>(d);
}

TEST(registersInFlightAreNoNumbers) {
  const DeviceBuffer<float> out(128, "out");
  expect_success("read_before_the_wait", RUN(read_before_the_wait, 1, 128, kOperands, out.data()));
  REQUIRE(out.download()[5] != out.download()[5]);
}

__global__ void changed_in_flight(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  one_product(d);
  wgmma_commit();
  d[0][0] = 1;
  wgmma_wait<0>(d);  // PLANTED
  out[threadIdx.x] = d[0][0];
}

TEST(reportsRegistersThatAreChangedInFlight) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(changed_in_flight, 1, 128, kOperands, out.data()), {"d was changed while"});
}

__global__ void no_commit(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  one_product(d);  // PLANTED
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaThatNobodyWaitsFor) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_commit, 1, 128, kOperands, out.data()), {"nobody has waited for a wgmma"});
}

__global__ void three_warps(float* out) {
  ready();
  float d[32][4] = {};
  if (threadIdx.x < 96) {
    wgmma_fence(d);
    one_product(d);  // PLANTED
    wgmma_commit();
    wgmma_wait<0>(d);
  }
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaWithoutAWarp) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(three_warps, 1, 128, kOperands, out.data()), {"warp 3 has issued 0 of its warpgroup's 1 wgmma's"});
  expect_report(RUN(three_warps, 1, 96, kOperands, out.data()), {"four whole warps"});
}

__global__ void outside(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  const uint64_t b = wgmma_operand(operand_b() + 64 * 64, 1024);             // 64 rows too far
  wgmma_m64k16<Bf16, false>(d, wgmma_operand(box(), 1024), b, true);  // PLANTED
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAnOperandOutsideOfSharedMemory) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(outside, 1, 128, kOperands, out.data()), {"shared memory + ", "outside of its"});
}

__global__ void base_offset(float* out) {
  ready();
  float d[32][4] = {};
  wgmma_fence(d);
  const uint64_t b = wgmma_operand(operand_b(), 1024) | uint64_t{1} << 49;
  wgmma_m64k16<Bf16, false>(d, wgmma_operand(box(), 1024), b, true);  // PLANTED
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(refusesWhatIsNotModelled) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(base_offset, 1, 128, kOperands, out.data()), {"base offset is not modelled"});
}

// ---- wgmma with a in registers: b [64, 64]

__global__ void operand_changed_in_flight(float* out) {
  ready();
  float d[8][4] = {};
  uint32_t a[4] = {};
  wgmma_fence(d);
  wgmma_m64k16<Bf16, false>(d, a, wgmma_operand(box(), 1024), true);
  wgmma_commit();
  a[2] = threadIdx.x;
  wgmma_wait<0>(d);  // PLANTED
  out[threadIdx.x] = d[0][0];
}

TEST(reportsOperandRegistersThatAreChangedInFlight) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(operand_changed_in_flight, 1, 128, kOperands, out.data()), {"a's registers were changed while"});
}

__global__ void no_fence_for_the_operand(float* out) {
  ready();
  float d[8][4] = {};
  uint32_t a[4] = {};
  wgmma_fence(d);
  for (int i = 0; i < 2; ++i) {
    wgmma_m64k16<Bf16, false>(d, a, wgmma_operand(box(), 1024), true);  // PLANTED: nothing was said of the second a
    wgmma_commit();
    wgmma_wait<0>(d);
    a[1] += 1;
  }
  out[threadIdx.x] = d[0][0];
}

TEST(reportsOperandRegistersWithoutAFence) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_fence_for_the_operand, 1, 128, kOperands, out.data()),
                {"a's registers are used", "no wgmma_fence"});
}

__global__ void two_widths(float* out) {
  ready();
  float d[16][4] = {};
  auto& half = reinterpret_cast<float (&)[8][4]>(d);
  const uint64_t a = wgmma_operand(box(), 1024);
  wgmma_fence(d);
  wgmma_m64k16<Bf16, false>(d, a, wgmma_operand(operand_b(), 1024), true);
  wgmma_m64k16<Bf16, false>(half, a, a, true);  // PLANTED
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsProductsOfTwoWidthsOnOneD) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(two_widths, 1, 128, kOperands, out.data()), {"products of other widths"});
}

// ---- both: a box of a matrix times itself, round by round

template <bool WaitsForTheProduct>
__global__ void rounds(const __grid_constant__ TensorMap map, float* out) {
  auto* full = reinterpret_cast<uint64_t*>(shared_memory() + 256 * 128);
  uint64_t* empty = full + 1;
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 4);
    mbarrier_fence_init();
  }
  __syncthreads();
  float d[32][4] = {};
  for (int round = 0; round < 3; ++round) {
    if (threadIdx.x == 128) {
      mbarrier_wait(empty, (round & 1) ^ 1);
      mbarrier_arrive_expecting(full, 256 * 128);
      tma_load(box(), map, 0, 0, full);  // PLANTED
    } else if (threadIdx.x < 128) {
      mbarrier_wait(full, round & 1);
      wgmma_fence(d);
      wgmma_m64k16<Bf16, false>(d, wgmma_operand(box(), 1024), wgmma_operand(box(), 1024), true);  // PLANTED
      wgmma_commit();
      if (WaitsForTheProduct) {
        wgmma_wait<0>(d);
      }
      if (threadIdx.x % 32 == 0) {
        mbarrier_arrive(empty);
      }
    }
  }
  if (threadIdx.x < 128) {
    wgmma_wait<0>(d);
    out[threadIdx.x] = d[0][0];
  }
}

TEST(reportsARefillUnderAWgmma) {
  const DeviceBuffer<__nv_bfloat16> in(std::vector<__nv_bfloat16>(256 * 64, __nv_bfloat16(1.0f)), "in");
  const DeviceBuffer<float> out(128, "out");
  TensorMap map;
  expect_success("map", make_tensor_map(&map, in.data(), 256, 64, 64, 256));
  expect_success("with the wait", RUN(rounds<true>, 1, 160, 256 * 128 + 16, map, out.data()));
  REQUIRE(out.download()[7] == 48);
  expect_report(RUN(rounds<false>, 1, 160, 256 * 128 + 16, map, out.data()), {"shared memory + "});
}

__global__ void product_before_the_wait(const __grid_constant__ TensorMap map, float* out) {
  auto* full = reinterpret_cast<uint64_t*>(shared_memory() + 256 * 128);
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(full, 256 * 128);
    tma_load(box(), map, 0, 0, full);
  }
  float d[32][4] = {};
  wgmma_fence(d);
  wgmma_m64k16<Bf16, false>(d, wgmma_operand(box(), 1024), wgmma_operand(box(), 1024), true);  // PLANTED
  mbarrier_wait(full, 0);
  wgmma_commit();
  wgmma_wait<0>(d);
  out[threadIdx.x] = d[0][0];
}

TEST(reportsAWgmmaBeforeTheBulkCopyIsWaitedFor) {
  const DeviceBuffer<__nv_bfloat16> in(std::vector<__nv_bfloat16>(256 * 64, __nv_bfloat16(1.0f)), "in");
  const DeviceBuffer<float> out(128, "out");
  TensorMap map;
  expect_success("map", make_tensor_map(&map, in.data(), 256, 64, 64, 256));
  expect_report(RUN(product_before_the_wait, 1, 128, 256 * 128 + 8, map, out.data()),
                {"which a bulk copy still fills"});
}

// A wrong layout is no violation; the numbers show it.
__global__ void identity(const __grid_constant__ TensorMap map, float* out, int further, int stride) {
  auto* full = reinterpret_cast<uint64_t*>(shared_memory() + 256 * 128);
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(full, 256 * 128);
    tma_load(box(), map, 0, 0, full);
  }
  mbarrier_wait(full, 0);
  float d[32][4] = {};
  wgmma_fence(d);
  const uint64_t rows = wgmma_operand(box() + further, stride);
  wgmma_m64k16<Bf16, false>(d, rows, wgmma_operand(box() + 16, 1024), true);  // k from 16 to 31
  wgmma_commit();
  wgmma_wait<0>(d);
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  for (int i = 0; i < 128; ++i) {
    out[(row + i / 2 % 2 * 8) * 256 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = d[i / 4][i % 4];
  }
}

TEST(wrongLayoutsGiveOtherNumbers) {
  std::vector<float> numbers;
  for (const double x : random(256 * 64, 1)) {
    numbers.push_back(static_cast<float>(static_cast<int>(2 * x)));
  }
  const DeviceBuffer<__nv_bfloat16> in(convert<__nv_bfloat16>(numbers), "in");
  TensorMap swizzled, plain;
  expect_success("map", make_tensor_map(&swizzled, in.data(), 256, 64, 64, 256));
  REQUIRE(host::make_tensor_map(plain, in.data(), 256, 64, 64, 256, 64, false).empty());
  const auto gives = [&](const TensorMap& map, int further, int stride) {
    const DeviceBuffer<float> out(64 * 256, "out");
    expect_success("identity", RUN(identity, 1, 128, 256 * 128 + 8, map, out.data(), further, stride));
    return wide(out.download());
  };
  std::vector<double> expected;
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 256; ++j) {
      double sum = 0;
      for (int k = 16; k < 32; ++k) {
        sum += numbers[i * 64 + k] * numbers[j * 64 + k];
      }
      expected.push_back(sum);
    }
  }
  REQUIRE(gives(swizzled, 16, 1024) == expected);
  REQUIRE(gives(swizzled, 8, 1024) != expected);   // 8 numbers short
  REQUIRE(gives(swizzled, 16, 512) != expected);   // half a pattern
  REQUIRE(gives(plain, 16, 1024) != expected);     // not swizzled
}

}  // namespace
}  // namespace peft4j::cuda::test
