#include "working_copies.h"

#include <ATen/ATen.h>

#include <mutex>
#include <unordered_map>
#include <vector>

#include "version.h"

namespace peft4j {
namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<const at::TensorImpl*, std::vector<std::weak_ptr<WorkingCopy>>> copies;  // as they were made
};

Registry& registry() {
  static Registry& all = *new Registry;  // outlives every copy
  return all;
}

}  // namespace

WorkingCopy::WorkingCopy(const at::Tensor& master, const at::Tensor& values)
    : master_(master.getIntrusivePtr()), key_(master.unsafeGetTensorImpl()), values_(values) {}

std::shared_ptr<WorkingCopy> WorkingCopy::make(const at::Tensor& master, const at::Tensor& values) {
  const std::shared_ptr<WorkingCopy> copy(new WorkingCopy(master, values));
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().copies[copy->key_].push_back(copy);
  return copy;
}

std::shared_ptr<WorkingCopy> WorkingCopy::of(const at::Tensor& master) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const auto found = registry().copies.find(master.unsafeGetTensorImpl());
  if (found != registry().copies.end()) {
    for (auto copy = found->second.rbegin(); copy != found->second.rend(); ++copy) {
      if (const std::shared_ptr<WorkingCopy> alive = copy->lock()) {
        return alive;  // at once: one that goes out of scope here might be the last, and would want the lock
      }
    }
  }
  return nullptr;
}

WorkingCopy::~WorkingCopy() {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const auto found = registry().copies.find(key_);
  if (found != registry().copies.end()) {  // else another that goes has cleared up
    std::erase_if(found->second, [](const std::weak_ptr<WorkingCopy>& copy) { return copy.expired(); });
    if (found->second.empty()) {
      registry().copies.erase(found);
    }
  }
}

at::Tensor WorkingCopy::master() const {
  return at::Tensor(master_.lock());
}

void WorkingCopy::write_if_changed() {
  const at::Tensor from = master();
  const int64_t version = version_of(from);  // before the copy: a change meanwhile is seen next time
  if (version_ != version) {
    values_.copy_(from);
    version_ = version;
  }
}

void WorkingCopy::was_written() {
  version_ = version_of(master());
}

}  // namespace peft4j
