#include "memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "host_devices.h"

namespace peft4j::host_devices {
namespace {

constexpr at::DeviceIndex kHost = -1;
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr size_t kAlignment = 512;  // CUDA's allocator has it

struct Card {
  int64_t total = kMemory;
  c10::CachingAllocator::Stat used;
  int64_t failures = 0;
  bool context = false;
};

struct Block {
  size_t bytes;
  at::DeviceIndex card;  // kHost: pinned
};

// Never freed: tensors may outlive every static object.
struct Memory {
  std::mutex mutex;
  std::array<Card, kCards> cards;
  std::map<const char*, Block> blocks;  // by where they begin
  c10::Allocator* host = nullptr;       // what allocated the CPU's memory before us
};
Memory& memory = *new Memory;

thread_local at::DeviceIndex allocates_on = kHost;

std::string in_gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / kGiB);
  return text;
}

// Whether it was a block of ours.
bool release_block(void* data) {
  {
    const std::lock_guard<std::mutex> lock(memory.mutex);
    const auto block = memory.blocks.find(static_cast<char*>(data));
    if (block == memory.blocks.end()) {
      return false;
    }
    if (block->second.card != kHost) {
      memory.cards[block->second.card].used.decrease(block->second.bytes);
    }
    memory.blocks.erase(block);
  }
  std::free(data);
  return true;
}

void release(void* data) {
  if (data != nullptr && !release_block(data)) {
    memory.host->raw_deleter()(data);
  }
}

// of a card, or pinned
c10::DataPtr allocate_block(size_t bytes, at::DeviceIndex card, at::Device device) {
  if (bytes == 0) {
    return {nullptr, nullptr, &release, device};
  }
  const std::lock_guard<std::mutex> lock(memory.mutex);
  if (card != kHost) {
    Card& of = memory.cards[card];
    of.context = true;
    const int64_t left = of.total - of.used.current;
    of.failures += static_cast<int64_t>(bytes) > left;
    TORCH_CHECK_WITH(OutOfMemoryError, static_cast<int64_t>(bytes) <= left, "CUDA out of memory. Tried to allocate ",
                     in_gib(static_cast<int64_t>(bytes)), ". GPU ", static_cast<int>(card), " has a total capacity of ",
                     in_gib(of.total), " of which ", in_gib(left), " is free.");
  }
  void* data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  TORCH_CHECK(data != nullptr, "out of memory: the host has no ", bytes, " bytes to play a card's");
  std::memset(data, 0xff, bytes);  // NaN in every floating type
  memory.blocks[static_cast<char*>(data)] = {bytes, card};
  if (card != kHost) {
    memory.cards[card].used.increase(bytes);
  }
  return {data, data, &release, device};
}

struct HostMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    return allocates_on == kHost ? memory.host->allocate(bytes) : allocate_block(bytes, allocates_on, at::kCPU);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override { return allocate_block(bytes, kHost, at::kCPU); }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

struct CardMemory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    const at::Device current = c10::impl::getDeviceGuardImpl(at::kCUDA)->getDevice();
    return allocate_block(bytes, current.index(), current);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}  // nothing freed is kept
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex card) override {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const std::lock_guard<std::mutex> lock(memory.mutex);
    c10::CachingDeviceAllocator::DeviceStats stats;
    const Card& of = memory.cards.at(card);
    stats.allocated_bytes[kAll] = stats.reserved_bytes[kAll] = stats.active_bytes[kAll] = stats.requested_bytes[kAll] =
        of.used;
    stats.num_ooms = of.failures;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex card) override {
    const std::lock_guard<std::mutex> lock(memory.mutex);
    memory.cards.at(card).used.reset_accumulated();
    memory.cards.at(card).failures = 0;
  }
  void resetPeakStats(c10::DeviceIndex card) override {
    const std::lock_guard<std::mutex> lock(memory.mutex);
    memory.cards.at(card).used.reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex card) override {
    return {free_bytes(card), total_bytes(card)};
  }
};

}  // namespace

AllocatesOn::AllocatesOn(at::DeviceIndex card) : before_(allocates_on) {
  allocates_on = card;
}

AllocatesOn::~AllocatesOn() {
  allocates_on = before_;
}

void install_memory() {
  static auto& of_host = *new HostMemory;
  static auto& of_cards = *new CardMemory;
  if (c10::GetAllocator(at::kCPU) != &of_host) {
    memory.host = c10::GetAllocator(at::kCPU);
    constexpr uint8_t kAboveOurs = 2;  // native/memory.cpp has 1
    c10::SetAllocator(at::kCPU, &of_host, kAboveOurs);
    c10::SetAllocator(at::kCUDA, &of_cards);
  }
}

int64_t total_bytes(at::DeviceIndex card) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.cards.at(card).total;
}

int64_t free_bytes(at::DeviceIndex card) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.cards.at(card).total - memory.cards.at(card).used.current;
}

void set_memory(at::DeviceIndex card, int64_t bytes) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  memory.cards.at(card).total = bytes;
}

void note_context(at::DeviceIndex card) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  memory.cards.at(card).context = true;
}

void forget_contexts() {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  for (Card& card : memory.cards) {
    card.context = false;
  }
}

bool has_context(at::DeviceIndex card) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.cards.at(card).context;
}

c10::Allocator* pinned_memory() {
  static auto& pinned = *new PinnedMemory;
  return &pinned;
}

bool is_pinned(const void* data) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  auto block = memory.blocks.upper_bound(static_cast<const char*>(data));
  if (block == memory.blocks.begin()) {
    return false;
  }
  --block;
  return block->second.card == kHost && static_cast<const char*>(data) < block->first + block->second.bytes;
}

}  // namespace peft4j::host_devices
