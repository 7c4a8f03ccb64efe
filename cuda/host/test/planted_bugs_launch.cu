/* Mistakes with threads and registers, planted as in planted_bugs.cu. */
#include "device/ptx_sm90.h"
#include "planted.h"

namespace peft4j::cuda::test {
namespace {

// ---- launch bounds

template <int Warps>
__global__ void __launch_bounds__(32 * Warps, 2) bounded(float* out) {
  out[threadIdx.x] = 0;
}

TEST(refusesABlockOfMoreThreadsThanItsBounds) {
  const DeviceBuffer<float> out(1024, "out");
  expect_success("64 of 64", RUN(bounded<2>, 1, 64, 0, out.data()));
  expect_refusal(RUN(bounded<2>, 1, 65, 0, out.data()), "a block of 65 threads is more than the 64 of the kernel's");
  expect_success("1024 of 1024", RUN(bounded<32>, 1, 1024, 0, out.data()));
}

__global__ void unbounded(float* out) {
  out[threadIdx.x] = 0;
}

TEST(refusesABlockThatMayNeedMoreRegistersThanThereAre) {
  const DeviceBuffer<float> out(512, "out");
  expect_success("256 threads", RUN(unbounded, 1, 256, 0, out.data()));
  expect_refusal(RUN(unbounded, 1, 257, 0, out.data()), "may need more registers than there are");
}

TEST(registersFollowFromTheBounds) {
  const auto most = [](int threads, int blocks) { return host::LaunchBounds{threads, blocks}.most_registers(); };
  REQUIRE(most(384, 1) == 168);
  REQUIRE(most(128, 2) == 255);
  REQUIRE(most(256, 2) == 128);
  REQUIRE(most(1024, 1) == 64);
}

// ---- registers that go from warpgroup to warpgroup: three have 168 a thread

template <int Producer, int Consumer>
__global__ void __launch_bounds__(384, 1) exchange(float* out) {
  if (threadIdx.x < 128) {
    set_max_registers<Producer, false>();
  } else {
    set_max_registers<Consumer, true>();  // PLANTED
  }
  out[threadIdx.x] = 0;
}

TEST(reportsAWarpgroupThatWaitsForRegistersThatNobodyGivesBack) {
  const DeviceBuffer<float> out(384, "out");
  expect_success("24 + 2·240 of 3·168", RUN((exchange<24, 240>), 1, 384, 0, out.data()));
  expect_report(RUN((exchange<32, 240>), 1, 384, 0, out.data()),
                {"cannot go on", "wait at set_max_registers for 2304 registers more than the warp's 5376"});
}

TEST(reportsRegistersThatAreGivenTheWrongWay) {
  const DeviceBuffer<float> out(384, "out");
  expect_report(RUN((exchange<24, 160>), 1, 384, 0, out.data()), {"asks for more, and the warp has 168"});
}

__global__ void __launch_bounds__(384, 1) one_warp_gives_back(float* out) {
  if (threadIdx.x < 32) {
    set_max_registers<24, false>();  // PLANTED
  }
  out[threadIdx.x] = 0;
}

TEST(reportsAWarpThatAsksForRegistersAlone) {
  const DeviceBuffer<float> out(384, "out");
  expect_report(RUN(one_warp_gives_back, 1, 384, 0, out.data()), {"warp 1 has come to 0 of its warpgroup's 1"});
}

__global__ void __launch_bounds__(384, 1) two_numbers(float* out) {
  if (threadIdx.x < 32) {
    set_max_registers<24, false>();  // PLANTED
  } else if (threadIdx.x < 128) {
    set_max_registers<32, false>();  // PLANTED
  }
  out[threadIdx.x] = 0;
}

TEST(reportsWarpsOfAWarpgroupThatAskForDifferentRegisters) {
  const DeviceBuffer<float> out(384, "out");
  expect_report(RUN(two_numbers, 1, 384, 0, out.data()), {"another warp of the warpgroup asks for"});
}

__global__ void no_bounds(float* out) {
  set_max_registers<24, false>();  // PLANTED
  out[threadIdx.x] = 0;
}

TEST(reportsRegistersThatNobodyKnowsTheNumberOf) {
  const DeviceBuffer<float> out(128, "out");
  expect_report(RUN(no_bounds, 1, 128, 0, out.data()), {"a kernel needs __launch_bounds__"});
}

}  // namespace
}  // namespace peft4j::cuda::test
