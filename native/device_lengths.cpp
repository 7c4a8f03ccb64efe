#include "device_lengths.h"

#include <ATen/ATen.h>
#include <c10/core/UndefinedTensorImpl.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <deque>
#include <mutex>

#include "to_device.h"
#include "version.h"

namespace peft4j {
namespace {

constexpr size_t kMost = 64;  // answers: batches that somebody holds without using them

using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

struct Answer {
  WeakTensor of;
  const c10::TensorImpl* key;  // no other tensor gets this address as long as `of` is kept
  int64_t version;
  c10::Stream stream;
  at::Tensor lengths;
};

struct Answers {
  std::mutex mutex;
  std::deque<Answer> all;  // newest first
};

Answers& answers() {
  static Answers& kept = *new Answers;  // outlives every thread that asks
  return kept;
}

}  // namespace

at::Tensor device_lengths(const at::Tensor& cu, at::Device device) {
  const c10::Stream stream = c10::impl::getDeviceGuardImpl(device.type())->getStream(device);
  const c10::TensorImpl* key = cu.unsafeGetTensorImpl();
  const int64_t version = version_of(cu);
  Answers& kept = answers();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  std::erase_if(kept.all, [&](const Answer& a) { return a.of.expired() || (a.key == key && a.version != version); });
  for (const Answer& a : kept.all) {
    if (a.key == key && a.stream == stream) {
      return a.lengths;
    }
  }
  const c10::InferenceMode none(false);  // the answer may be kept for a backward later
  kept.all.push_front({WeakTensor(cu.getIntrusivePtr()), key, version, stream, to_device(cu, at::kInt, device)});
  if (kept.all.size() > kMost) {
    kept.all.pop_back();
  }
  return kept.all.front().lengths;
}

}  // namespace peft4j
