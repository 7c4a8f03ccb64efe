/*
The allocator under libtorch's CPU tensors: counts every byte, so that tests can assert that a step leaks nothing.

A block carries its sizes in a header of one cache line. c10::SetAllocator installs it when this library is loaded;
tensors made before keep the deleter of their own allocator.
*/
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>

#include "block_cache.h"
#include "peft4j.h"

namespace peft4j {
namespace {

constexpr size_t kHeader = 64;  // also the alignment: one AVX512 register

struct Header {
  int64_t bytes;  // of the tensor
  size_t block;
};

std::atomic<int64_t> live{0}, most_live{0};

void release(void* data) {
  if (data != nullptr) {
    void* block = static_cast<char*>(data) - kHeader;
    const Header header = *static_cast<Header*>(block);
    live.fetch_sub(header.bytes, std::memory_order_relaxed);
    give_block({block, header.block});
  }
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) {
      return {nullptr, nullptr, &release, cpu};
    }
    const BlockOfMemory block = take_block(bytes + kHeader);
    TORCH_CHECK(block.data != nullptr, "out of memory: wanted ", bytes, " bytes, ", live.load(),
                " are in use by tensors");
    *static_cast<Header*>(block.data) = {static_cast<int64_t>(bytes), block.size};
    const int64_t now = live.fetch_add(bytes, std::memory_order_relaxed) + static_cast<int64_t>(bytes);
    int64_t seen = most_live.load(std::memory_order_relaxed);
    while (now > seen && !most_live.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
    }
    // The context is the data: libtorch's kernels take scratch memory by raw_allocate, which insists on it.
    void* data = static_cast<char*>(block.data) + kHeader;
    return {data, data, &release, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

CountingAllocator allocator;

[[maybe_unused]] const bool installed = [] {
  c10::SetAllocator(c10::DeviceType::CPU, &allocator, /*priority=*/1);
  return true;
}();

}  // namespace

int64_t live_bytes() {
  return live.load();
}

int64_t peak_bytes() {
  return most_live.load();
}

void reset_peak_bytes() {
  most_live.store(live.load());
}

}  // namespace peft4j
