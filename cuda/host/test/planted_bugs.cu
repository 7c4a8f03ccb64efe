/*
The mistakes that people make, each planted in a small kernel: the executor must report each, and the line it names must be
one that is marked PLANTED here.
*/
#include "planted.h"

namespace peft4j::cuda::test {
namespace {

float* shared_floats() {
  return reinterpret_cast<float*>(shared_memory());
}

// ---- barriers

__global__ void missing_barrier(float* out) {
  float* s = shared_floats();
  s[threadIdx.x] = 1;                                     // PLANTED: either of the two is found first
  out[threadIdx.x] = s[(threadIdx.x + 1) % blockDim.x];  // PLANTED
}

TEST(reportsAMissingBarrier) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(missing_barrier, 1, 64, 256, out.data()),
                {"kernel missing_barrier", "shared memory + ", "thread ("});
}

__global__ void missing_second_barrier(float* out) {
  float* s = shared_floats();
  for (int i = 0; i < 2; ++i) {
    s[threadIdx.x] = static_cast<float>(i);  // PLANTED: another thread may not have read yet
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x ^ 32];  // PLANTED
  }
}

TEST(reportsAWriteBeforeOthersHaveRead) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(missing_second_barrier, 1, 64, 256, out.data()), {"without a barrier between"});
}

__global__ void missing_warp_barrier(float* out) {
  float* s = shared_floats();
  s[threadIdx.x] = 1;                      // PLANTED
  out[threadIdx.x] = s[threadIdx.x ^ 1];  // PLANTED
}

TEST(reportsAMissingWarpBarrier) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(missing_warp_barrier, 1, 32, 128, out.data()), {"shared memory + "});
}

template <bool Barrier>
__global__ void broadcast(float* out) {
  float* s = shared_floats();
  s[threadIdx.x] = 1;
  __syncwarp();
  for (int i = 0; i < 2; ++i) {
    const float all = s[threadIdx.x / 32 * 32];  // PLANTED: read by the whole warp
    if (Barrier) {
      __syncwarp();
    }
    s[threadIdx.x] = all + 1;  // PLANTED
    __syncwarp();
    out[threadIdx.x] = s[threadIdx.x];
  }
}

TEST(reportsAWriteBeforeTheWarpHasRead) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(broadcast<false>, 1, 64, 256, out.data()), {"shared memory", "without a barrier between"});
  expect_success("broadcast", RUN(broadcast<true>, 1, 64, 256, out.data()));
}

__global__ void warp_barrier_for_two_warps(float* out) {
  float* s = shared_floats();
  s[threadIdx.x] = 1;  // PLANTED
  __syncwarp();
  out[threadIdx.x] = s[threadIdx.x ^ 32];  // PLANTED
}

TEST(reportsAWarpBarrierWhereABlockBarrierIsNeeded) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(warp_barrier_for_two_warps, 1, 64, 256, out.data()), {"shared memory"});
}

__global__ void some_threads_leave(float* out) {
  if (threadIdx.x >= 40) {
    return;
  }
  __syncthreads();  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsABarrierThatSomeThreadsNeverReach) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(
      RUN(some_threads_leave, 2, 64, 0, out.data()),
      {"block (0, 0, 0) cannot go on", "threads 0 to 39 wait at __syncthreads", "threads 40 to 63 have left"});
}

__global__ void two_barriers(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();  // PLANTED
  } else {
    __syncthreads();  // PLANTED
  }
  out[threadIdx.x] = 0;
}

TEST(reportsADivergentBarrier) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(two_barriers, 1, 64, 0, out.data()), {"threads 0 to 31 wait", "threads 32 to 63 wait"});
}

__global__ void wrong_count(float* out) {
  if (threadIdx.x < 64) {
    named_barrier(1, 96);  // PLANTED: 64 come
  }
  out[threadIdx.x] = 0;
}

TEST(reportsANamedBarrierOfTooManyThreads) {
  const DeviceBuffer<float> out(96, "out");
  expect_report(RUN(wrong_count, 1, 96, 0, out.data()), {"threads 0 to 63 wait at named_barrier 1 for 96 threads"});
}

__global__ void two_counts(float* out) {
  named_barrier(2, threadIdx.x < 32 ? 32 : 64);  // PLANTED
  named_barrier(2, threadIdx.x < 32 ? 64 : 32);  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsANamedBarrierOfDifferentCounts) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(two_counts, 1, 64, 0, out.data()), {"barrier 2"});
}

// 64 threads' barrier says nothing of the others.
__global__ void barrier_of_some(float* out) {
  float* x = shared_floats();
  if (threadIdx.x < 64) {
    x[threadIdx.x] = 1;
  }
  __syncthreads();
  if (threadIdx.x < 64) {
    for (int i = 0; i < 20; ++i) {
      named_barrier(1, 64);
    }
    x[threadIdx.x] = 2;  // PLANTED
  } else {
    out[threadIdx.x - 64] = x[threadIdx.x - 64];
  }
}

TEST(reportsANamedBarrierWithoutThoseWhoRead) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(barrier_of_some, 1, 128, 64 * sizeof(float), out.data()), {"without a barrier between"});
}

// ---- warps

__global__ void divergent_shuffle(float* out) {
  float x = threadIdx.x;
  if (threadIdx.x < 16) {
    x = __shfl_xor_sync(0xffffffffu, x, 1);  // PLANTED
  }
  out[threadIdx.x] = x;
}

TEST(reportsADivergentShuffle) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(divergent_shuffle, 1, 32, 0, out.data()),
                {"threads 0 to 15 wait at __shfl_xor_sync with mask 0xffffffff", "threads 16 to 31 have left"});
}

__global__ void lane_outside_of_the_mask(float* out) {
  float x = threadIdx.x;
  if (threadIdx.x < 16) {
    x = __shfl_down_sync(0xffffu, x, 1);  // PLANTED: lane 15 reads lane 16
  }
  out[threadIdx.x] = x;
}

TEST(reportsAShuffleFromALaneOutsideOfItsMask) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(lane_outside_of_the_mask, 1, 32, 0, out.data()), {"lane 15 reads lane 16", "not in the mask"});
}

__global__ void not_in_its_own_mask(float* out) {
  out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0);  // PLANTED
}

TEST(reportsACallerOutsideOfItsMask) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(not_in_its_own_mask, 1, 32, 0, out.data()), {"is not in its mask"});
}

__global__ void lanes_that_do_not_exist(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);  // PLANTED
}

TEST(reportsAMaskOfLanesThatTheBlockLacks) {
  const DeviceBuffer<float> out(20, "out");
  expect_report(RUN(lanes_that_do_not_exist, 1, 20, 0, out.data()), {"the warp has 20 threads"});
}

// ---- memory

__global__ void write_behind(float* out, int n) {
  if (static_cast<int>(threadIdx.x) <= n) {
    out[threadIdx.x] = 0;  // PLANTED
  }
}

TEST(reportsAWriteBehindABuffer) {
  const DeviceBuffer<float> out(20, "out");
  expect_report(RUN(write_behind, 1, 32, 0, out.data(), 20),
                {"thread (20, 0, 0)", "writes 4 bytes at out + 80, outside of its 80"});
}

__global__ void read_before(const float* in, float* out) {
  out[threadIdx.x] = in[static_cast<int>(threadIdx.x) - 1];  // PLANTED
}

TEST(reportsAReadBeforeABuffer) {
  const DeviceBuffer<float> in(std::vector<float>(8, 1.0f), "in"), out(8, "out");
  expect_report(RUN(read_before, 1, 8, 0, in.data(), out.data()), {"reads 4 bytes at 4 bytes before the begin of in"});
}

__global__ void shared_behind(float* out) {
  shared_floats()[threadIdx.x + 1] = 1;  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsAnAccessBehindSharedMemory) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(shared_behind, 1, 32, 128, out.data()), {"shared memory + 128, outside of its 128 bytes"});
}

__global__ void read_global(const float* in, float* out) {
  out[threadIdx.x] = in[threadIdx.x];  // PLANTED
}

TEST(reportsAReadOfGlobalMemoryThatNobodyWrote) {
  const DeviceBuffer<float> in(8, "in"), out(8, "out");
  expect_report(RUN(read_global, 1, 8, 0, in.data(), out.data()), {"reads 4 bytes at in + ", "nobody has written"});
}

__global__ void read_shared(float* out) {
  if (threadIdx.x > 0) {
    shared_floats()[threadIdx.x] = 1;
  }
  __syncthreads();
  out[threadIdx.x] = shared_floats()[threadIdx.x];  // PLANTED: nobody wrote the first
}

TEST(reportsAReadOfSharedMemoryThatNobodyWrote) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(read_shared, 1, 32, 128, out.data()),
                {"thread (0, 0, 0)", "shared memory + 0, which nobody has written"});
}

__global__ void last_blocks_shared(float* out) {
  if (blockIdx.x == 0) {
    shared_floats()[threadIdx.x] = 1;
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = shared_floats()[threadIdx.x];  // PLANTED
}

__global__ void one_warp_shuffles(float* out) {
  float x = 1;
  if (threadIdx.x < 32) {
    x = __shfl_xor_sync(0xffffffffu, x, 1);
  }
  __syncthreads();
  out[threadIdx.x] = x;
}

TEST(warpsThatSkipACollectiveMeetTheOthersAtABarrier) {
  const DeviceBuffer<float> out(64, "out");
  expect_success("one_warp_shuffles", RUN(one_warp_shuffles, 1, 64, 0, out.data()));
}

TEST(sharedMemoryIsFreshForEachBlock) {
  const DeviceBuffer<float> out(64, "out");
  expect_report(RUN(last_blocks_shared, 2, 32, 128, out.data()), {"block (1, 0, 0)", "nobody has written"});
}

__global__ void misaligned(const float* in, float* out) {
  const float4 v = *reinterpret_cast<const float4*>(in + 1);  // PLANTED
  out[threadIdx.x] = v.x + v.y + v.z + v.w;
}

TEST(reportsAMisalignedVectorAccess) {
  const DeviceBuffer<float> in(std::vector<float>(8, 1.0f), "in"), out(8, "out");
  expect_report(RUN(misaligned, 1, 1, 0, in.data(), out.data()), {"in + 4"});
}

__global__ void same_address(float* out) {
  if (threadIdx.x == 0) {
    out[0] = 1;  // PLANTED
  }
}

TEST(reportsTwoBlocksThatWriteOneAddress) {
  const DeviceBuffer<float> out(1, "out");
  expect_report(RUN(same_address, 2, 32, 0, out.data()),
                {"block (1, 0, 0)", "out + 0", "block number 0 of this launch wrote"});
}

__global__ void other_blocks_result(float* out) {
  out[blockIdx.x + 1] = out[blockIdx.x] + 1;  // PLANTED
}

TEST(reportsABlockThatReadsWhatAnotherWrote) {
  const DeviceBuffer<float> out(std::vector<float>(3, 0.0f), "out");
  expect_report(RUN(other_blocks_result, 2, 1, 0, out.data()), {"block (1, 0, 0)", "without a barrier between"});
}

__global__ void atomic_and_plain(float* out) {
  if (threadIdx.x < 4) {
    atomicAdd(out, 1.0f);  // PLANTED: whichever comes second
  } else {
    *out = 0;  // PLANTED
  }
}

TEST(reportsAPlainWriteBesideAtomics) {
  const DeviceBuffer<float> out(std::vector<float>(1, 0.0f), "out");
  expect_report(RUN(atomic_and_plain, 1, 8, 0, out.data()), {"out + 0", "without a barrier between"});
}

// ---- cp.async

__global__ void missing_wait(const float* in, float* out) {
  float* s = shared_floats();
  cp_async<16>(s + 4 * threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  out[threadIdx.x] = s[4 * threadIdx.x];  // PLANTED
}

TEST(reportsAMissingWait) {
  const DeviceBuffer<float> in(std::vector<float>(128, 1.0f), "in"), out(32, "out");
  expect_report(RUN(missing_wait, 1, 32, 512, in.data(), out.data()), {"which a cp.async still fills"});
}

__global__ void wait_for_too_few(const float* in, float* out) {
  float* s = shared_floats();
  for (int stage = 0; stage < 2; ++stage) {
    cp_async<4>(s + 32 * stage + threadIdx.x, in + threadIdx.x);
    cp_async_commit();
  }
  cp_async_wait<1>();
  out[threadIdx.x] = s[threadIdx.x] + s[32 + threadIdx.x];  // PLANTED: the second group is still open
}

TEST(reportsAWaitThatLeavesTheGroupOpen) {
  const DeviceBuffer<float> in(std::vector<float>(32, 1.0f), "in"), out(32, "out");
  expect_report(RUN(wait_for_too_few, 1, 32, 256, in.data(), out.data()), {"which a cp.async still fills"});
}

__global__ void wait_without_commit(const float* in, float* out) {
  float* s = shared_floats();
  cp_async<4>(s + threadIdx.x, in + threadIdx.x);
  cp_async_wait<0>();
  out[threadIdx.x] = s[threadIdx.x];  // PLANTED
}

TEST(reportsAWaitWithoutACommit) {
  const DeviceBuffer<float> in(std::vector<float>(32, 1.0f), "in"), out(32, "out");
  expect_report(RUN(wait_without_commit, 1, 32, 128, in.data(), out.data()), {"which a cp.async still fills"});
}

__global__ void no_barrier_after_wait(const float* in, float* out) {
  float* s = shared_floats();
  cp_async<4>(s + threadIdx.x, in + threadIdx.x);
  cp_async_commit();
  cp_async_wait<0>();                      // PLANTED: only the own copies are there, or
  out[threadIdx.x] = s[threadIdx.x ^ 32];  // PLANTED: another thread's are not
}

TEST(reportsAMissingBarrierAfterTheWait) {
  const DeviceBuffer<float> in(std::vector<float>(64, 1.0f), "in"), out(64, "out");
  expect_report(RUN(no_barrier_after_wait, 1, 64, 256, in.data(), out.data()), {"shared memory"});
}

__global__ void source_changes(float* in, float* out) {
  float* s = shared_floats();
  cp_async<4>(s + threadIdx.x,
              in + (threadIdx.x ^ 1));  // PLANTED: read at the wait, when another thread has written it
  cp_async_commit();
  in[threadIdx.x] = 2;  // PLANTED: as seen from here
  cp_async_wait<0>();
  out[threadIdx.x] = s[threadIdx.x];
}

TEST(reportsACopyWhoseSourceAnotherThreadWrites) {
  const DeviceBuffer<float> in(std::vector<float>(32, 1.0f), "in"), out(32, "out");
  expect_report(RUN(source_changes, 1, 32, 128, in.data(), out.data()), {"at in + ", "without a barrier between"});
}

__global__ void misaligned_copy(const float* in, float* out) {
  cp_async<16>(shared_floats(), in + 1);  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsAMisalignedCopy) {
  const DeviceBuffer<float> in(std::vector<float>(32, 1.0f), "in"), out(1, "out");
  expect_report(RUN(misaligned_copy, 1, 1, 128, in.data(), out.data()), {"aligned to 16 bytes"});
}

// ---- tensor cores

__global__ void one_lane_late(float* out) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x != 7) {
    mma_m16n8k16<Bf16>(d, a, b);  // PLANTED
  }
  out[threadIdx.x] = d[0];
}

TEST(reportsAnMmaWithoutAllLanes) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(one_lane_late, 1, 32, 0, out.data()), {"mma_m16n8k16", "threads 7 have left"});
}

__global__ void misaligned_row(float* out) {
  auto* s = reinterpret_cast<uint16_t*>(shared_memory());
  for (int i = threadIdx.x; i < 320; i += 32) {
    s[i] = 0;
  }
  __syncwarp();
  uint32_t r[1];
  ldmatrix<1, false>(r, s + 9 * (threadIdx.x % 8));  // PLANTED: rows of 18 bytes
  out[threadIdx.x] = static_cast<float>(r[0]);
}

TEST(reportsAMisalignedRowOfAMatrix) {
  const DeviceBuffer<float> out(32, "out");
  expect_report(RUN(misaligned_row, 1, 32, 1024, out.data()), {"not aligned to 16 bytes"});
}

// A wrong element of a fragment is no violation; the numbers show it.
__global__ void wrong_element(float* out) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto pair = [](float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return static_cast<uint32_t>(both.x.bits) | static_cast<uint32_t>(both.y.bits) << 16;
  };
  // a = ones in column 1 and threes in column 8, b = its row 8 counts; a[1] and a[2] are swapped
  const uint32_t a[4] = {pair(0, t == 0), pair(t == 0 ? 3 : 0, 0), pair(0, t == 0), pair(t == 0 ? 3 : 0, 0)};
  const uint32_t b[2] = {0, pair(t == 0 ? static_cast<float>(g) : 0, 0)};
  float d[4] = {};
  mma_m16n8k16<Bf16>(d, a, b);
  out[g * 8 + 2 * t] = d[0];
  out[g * 8 + 2 * t + 1] = d[1];
}

TEST(wrongFragmentElementsGiveOtherNumbers) {
  const DeviceBuffer<float> out(64, "out");
  expect_success("wrong_element", RUN(wrong_element, 1, 32, 0, out.data()));
  const std::vector<float> found = out.download();
  REQUIRE(found[1] != 3);  // column 8 of a times row 8 of b
}

// ---- launches

__global__ void nothing(float*) {}

TEST(refusesLaunchesThatNoCardRuns) {
  const DeviceBuffer<float> out(1, "out");
  const auto says = [](int status, const std::string& piece) {
    REQUIRE(status != 0);
    if (last_error().find(piece) == std::string::npos) {
      fail(last_error());
    }
  };
  says(RUN(nothing, 1, 1025, 0, out.data()), "1 to 1024 threads, got 1025");
  says(RUN(nothing, 1, 32, 300000, out.data()), "232448 bytes of shared memory");
  says(PEFT4J_LAUNCH(nothing, dim3(1, 65536), dim3(1), 0, nullptr, out.data()), "65535");
  expect_success("no blocks", PEFT4J_LAUNCH(nothing, dim3(0), dim3(1), 0, nullptr, out.data()));
}

}  // namespace
}  // namespace peft4j::cuda::test
