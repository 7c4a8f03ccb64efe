/* cu_seqlens on a device: copied once, for every thread. */
#include "../device_lengths.h"

#include <thread>

#include "check.h"
#include "two_devices.h"

namespace peft4j::test {
namespace {

const at::Device kFirst(at::kCUDA, 0), kSecond(at::kCUDA, 1);

at::Tensor lengths(int64_t first) {
  return at::tensor({int64_t{0}, first, first + 3}, at::kLong);
}

TEST(lengthsAreCopiedOnceForEveryThread) {
  CudaOnTheHost library;
  const RecordedCalls devices(kFirst);
  const at::Tensor cu = lengths(2), there = device_lengths(cu, kFirst);
  REQUIRE(there.device() == kFirst && there.scalar_type() == at::kInt && there.to(at::kCPU).equal(cu.to(at::kInt)));
  at::Tensor elsewhere;
  std::thread([&] { elsewhere = device_lengths(cu, kFirst); }).join();
  REQUIRE(elsewhere.is_same(there));
  REQUIRE(device_lengths(cu, kSecond).device() == kSecond);
  REQUIRE(device_lengths(cu, kFirst).is_same(there));
  REQUIRE(!device_lengths(cu.clone(), kFirst).is_same(there));
}

TEST(changedLengthsAreCopiedAgain) {
  CudaOnTheHost library;
  const RecordedCalls devices(kFirst);
  const at::Tensor cu = lengths(2), before = device_lengths(cu, kFirst);
  cu.add_(1);
  REQUIRE(device_lengths(cu, kFirst).to(at::kCPU).equal(cu.to(at::kInt)));
  REQUIRE(before.use_count() == 1);  // nobody else keeps what nobody can ask for
}

TEST(lengthsAreForgottenWithTheirTensor) {
  CudaOnTheHost library;
  const RecordedCalls devices(kFirst);
  const at::Tensor copy = device_lengths(lengths(2), kFirst);
  device_lengths(lengths(3), kFirst);
  REQUIRE(copy.use_count() == 1);
}

TEST(lengthsOfInferenceModeAreTaken) {
  const c10::InferenceMode guard;
  const at::Tensor cu = lengths(4);
  const at::Tensor there = device_lengths(cu, at::kCPU);
  REQUIRE(there.equal(cu.to(at::kInt)) && !there.is_inference());
}

}  // namespace
}  // namespace peft4j::test
