/* Memory by device: the CPU's from our allocator (memory.cpp), a card's from libtorch's. */
#include <c10/core/CachingDeviceAllocator.h>

#include "peft4j.h"

namespace peft4j {
namespace {

// null as long as nothing was allocated there.
c10::DeviceAllocator* allocator_of(at::Device device) {
  TORCH_CHECK(device.has_index(), "memory: a device needs a number, got ", device);
  c10::DeviceAllocator* allocator = c10::getDeviceAllocator(device.type());
  return allocator->initialized() ? allocator : nullptr;
}

int64_t current(const c10::CachingAllocator::StatArray& stat) {
  return stat[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].current;
}

int64_t peak(const c10::CachingAllocator::StatArray& stat) {
  return stat[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

}  // namespace

int64_t live_bytes(at::Device device) {
  if (device.is_cpu()) {
    return live_bytes();
  }
  c10::DeviceAllocator* allocator = allocator_of(device);
  return allocator == nullptr ? 0 : current(allocator->getDeviceStats(device.index()).allocated_bytes);
}

int64_t peak_bytes(at::Device device) {
  if (device.is_cpu()) {
    return peak_bytes();
  }
  c10::DeviceAllocator* allocator = allocator_of(device);
  return allocator == nullptr ? 0 : peak(allocator->getDeviceStats(device.index()).allocated_bytes);
}

void reset_peak_bytes(at::Device device) {
  if (device.is_cpu()) {
    reset_peak_bytes();
  } else if (c10::DeviceAllocator* allocator = allocator_of(device)) {
    allocator->resetPeakStats(device.index());
  }
}

int64_t kept_bytes(at::Device device) {
  if (device.is_cpu()) {
    return kept_bytes();
  }
  c10::DeviceAllocator* allocator = allocator_of(device);
  if (allocator == nullptr) {
    return 0;
  }
  const c10::CachingDeviceAllocator::DeviceStats stats = allocator->getDeviceStats(device.index());
  return current(stats.reserved_bytes) - current(stats.allocated_bytes);
}

void free_kept_blocks(at::Device device) {
  if (device.is_cpu()) {
    free_kept_blocks();
  } else if (c10::DeviceAllocator* allocator = allocator_of(device)) {
    allocator->emptyCache();
  }
}

}  // namespace peft4j
