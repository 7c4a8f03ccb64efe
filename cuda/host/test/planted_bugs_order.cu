/* Mistakes of who takes lanes to keep step, planted as in planted_bugs.cu. */
#include <set>

#include "device/ptx_sm90.h"
#include "planted.h"

namespace peft4j::cuda::test {
namespace {

// Right where no lane stops between its two accesses.
__global__ void counts_in_two_steps(int* counter) {
  for (int i = 0; i < 50; ++i) {
    const int before = atomicAdd(counter, 0);
    atomicMax(counter, before + 1);
  }
}

int count(uint64_t seed) {
  const uint64_t was = host::set_seed(seed);
  const DeviceBuffer<int> counter(std::vector<int>(1), "counter");
  const int status = RUN(counts_in_two_steps, 1, 32, 0, counter.data());
  host::set_seed(was);
  expect_success("counts_in_two_steps", status);
  return counter.download()[0];
}

// Where lanes sleep depends on addresses too, so two seeds may well count the same.
TEST(lanesSleepBetweenTwoAccesses) {
  std::set<int> counts;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const int counted = count(seed);
    REQUIRE(counted < 32 * 50);
    REQUIRE(count(seed) == counted);
    counts.insert(counted);
  }
  REQUIRE(counts.size() > 1);
}

// One lane says that all have waited: one that lags comes when the barrier is a phase further, and waits for the next.
template <bool Together>
__global__ void arrives_before_others_have_waited(int* out) {
  auto* barriers = reinterpret_cast<uint64_t*>(shared_memory());
  if (threadIdx.x == 0) {
    mbarrier_init(barriers, 1);
    mbarrier_init(barriers + 1, 1);
    mbarrier_fence_init();
  }
  __syncthreads();
  for (int round = 0; round < 200; ++round) {
    if (threadIdx.x == 32) {
      mbarrier_wait(barriers + 1, (round & 1) ^ 1);  // PLANTED
      mbarrier_arrive(barriers);
    } else if (threadIdx.x < 32) {
      mbarrier_wait(barriers, round & 1);  // PLANTED
      if (Together) {
        __syncwarp();
      }
      if (threadIdx.x == 0) {
        mbarrier_arrive(barriers + 1);
      }
    }
  }
  out[threadIdx.x] = 0;
}

TEST(reportsALaneThatLagsAPhaseBehind) {
  const DeviceBuffer<int> out(64, "out");
  expect_success("together", RUN(arrives_before_others_have_waited<true>, 1, 64, 16, out.data()));
  expect_report(RUN(arrives_before_others_have_waited<false>, 1, 64, 16, out.data()),
                {"cannot go on", "wait at mbarrier_wait"});
}

}  // namespace
}  // namespace peft4j::cuda::test
