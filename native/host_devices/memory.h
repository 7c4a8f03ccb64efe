#pragma once
/* The cards' memory: the host's, counted and limited for each card. */
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

namespace peft4j::host_devices {

constexpr int64_t kMemory = int64_t{8} << 30;  // of a card at first

// While it lives, what libtorch allocates on this thread as the CPU's memory is the card's.
class AllocatesOn {
 public:
  explicit AllocatesOn(at::DeviceIndex card);
  ~AllocatesOn();
  AllocatesOn(const AllocatesOn&) = delete;
  AllocatesOn& operator=(const AllocatesOn&) = delete;

 private:
  const at::DeviceIndex before_;
};

// Makes libtorch's allocators of CUDA's and of the CPU's memory ask us.
void install_memory();

int64_t total_bytes(at::DeviceIndex card);
int64_t free_bytes(at::DeviceIndex card);

// That the process has taken some of the card, which on a real one makes its context.
void note_context(at::DeviceIndex card);
void forget_contexts();

c10::Allocator* pinned_memory();
bool is_pinned(const void* data);

}  // namespace peft4j::host_devices
