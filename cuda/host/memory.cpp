#include "memory.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>
#include <utility>

#include "block.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define PEFT4J_POISON(how, address, size) __asan_##how##_memory_region(address, size)
#else
#define PEFT4J_POISON(how, address, size) static_cast<void>(0)
#endif

namespace peft4j::host {
namespace {

constexpr size_t kRedZone = 512, kMostPoisoned = size_t{1} << 28;
constexpr char kPoison = static_cast<char>(0xff);  // a NaN in every format

// A stamp: who touched a byte, and when. 0: nobody. The host's own is kHost.
//   bit 63 atomic (writes) or several lanes of the thread's warp (reads), 62 in flight (writes) or several readers (reads),
//   61..30 serial of the block, 29..20 thread, 19..0 clock
constexpr uint64_t kAtomicBit = 1ull << 63, kLanes = kAtomicBit, kSpecial = 1ull << 62, kHost = 1;
constexpr int kBulkCopy = 1023;  // the thread that bulk copies count as
constexpr uint32_t kOpen = 0xffffffffu;

uint32_t serial_of(uint64_t stamp) {
  return static_cast<uint32_t>(stamp >> 30);
}
int thread_of(uint64_t stamp) {
  return static_cast<int>(stamp >> 20 & 1023);
}
uint32_t clock_of(uint64_t stamp) {
  return static_cast<uint32_t>(stamp & 0xfffff);
}

uint64_t stamp_of(int thread) {
  const Launch& l = *running;
  return static_cast<uint64_t>(l.serial) << 30 | static_cast<uint64_t>(thread) << 20 | (l.clock & 0xfffff);
}

bool by_bulk_copy(uint64_t stamp) {
  return thread_of(stamp) == kBulkCopy && running->threads.size() <= kBulkCopy;
}

// By a barrier in shared memory.
bool known(const Thread& self, uint64_t stamp) {
  const size_t i = by_bulk_copy(stamp) ? self.known.size() - 1 : thread_of(stamp);
  return !self.known.empty() && clock_of(stamp) < self.known[i];
}

}  // namespace

uint64_t stamp_now() {
  return stamp_of(running->current->number);
}

bool ordered(uint64_t stamp, bool lanes) {
  const Launch& l = *running;
  const Thread& self = *l.current;
  const uint32_t serial = serial_of(stamp);
  if (serial < l.first_serial) {
    return true;  // the host, or a former launch
  }
  if (serial != l.serial) {
    return false;
  }
  if (clock_of(stamp) < self.block_clock) {
    return true;
  }
  if ((stamp & kSpecial) != 0) {
    return false;
  }
  const int thread = thread_of(stamp);
  const bool own = !lanes && thread == self.number,
             warp = !by_bulk_copy(stamp) && thread / 32 == self.number / 32 && clock_of(stamp) < self.warp_clock;
  return own || warp || (!lanes && known(self, stamp));
}

namespace {

std::string who(uint64_t stamp) {
  const Launch& l = *running;
  if (serial_of(stamp) != l.serial) {
    return "block number " + std::to_string(serial_of(stamp) - l.first_serial) + " of this launch";
  }
  return (stamp & kSpecial) != 0 ? "several threads"
         : by_bulk_copy(stamp)   ? "a bulk copy"
                                 : "thread number " + std::to_string(thread_of(stamp));
}

std::map<uintptr_t, Region*>& regions() {
  static std::map<uintptr_t, Region*> all;
  return all;
}

Region* region_at(uintptr_t address) {
  auto next = regions().upper_bound(address);
  if (next == regions().begin()) {
    return nullptr;
  }
  Region* region = std::prev(next)->second;
  return address - reinterpret_cast<uintptr_t>(region->data()) < region->size() + kRedZone ? region : nullptr;
}

// Constants and other data of the program and its libraries.
bool in_program(uintptr_t address, size_t size) {
  struct Query {
    uintptr_t address;
    size_t size;
    bool found;
  } query{address, size, false};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* q = static_cast<Query*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
          q->found |= info->dlpi_phdr[i].p_type == PT_LOAD && q->address >= begin &&
                      q->address + q->size <= begin + info->dlpi_phdr[i].p_memsz;
        }
        return q->found ? 1 : 0;
      },
      &query);
  return query.found;
}

// "file:line" of code, by the addr2line that comes with the compiler; the outermost frame of what was inlined that is no
// part of the executor.
std::string line_of(const void* pc) {
  Dl_info info;
  if (dladdr(pc, &info) == 0) {
    return "unknown line";
  }
  char command[512];
  std::snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
                static_cast<size_t>(static_cast<const char*>(pc) - 1 - static_cast<const char*>(info.dli_fbase)));
  std::string found = "unknown line";
  if (FILE* lines = popen(command, "r")) {
    char line[512];
    while (std::fgets(line, sizeof line, lines) != nullptr) {
      std::string text(line, std::strcspn(line, "\n"));
      if (text.find("/host/") == std::string::npos || text.find("/test/") != std::string::npos) {
        found = text.substr(0, text.find(" (discriminator"));
        break;
      }
    }
    pclose(lines);
  }
  return found;
}

}  // namespace

Region::Region(size_t bytes, std::string name, bool shared)
    : bytes_(bytes + 2 * kRedZone + 1024),
      size_(bytes),
      name_(std::move(name)),
      shared_(shared),
      pages_of_cells_(bytes * sizeof(Cell)),
      cells_(reinterpret_cast<Cell*>(pages_of_cells_.data())) {
  if (bytes <= kMostPoisoned) {
    std::memset(bytes_.data(), kPoison, bytes_.size());
  }
  const auto at = reinterpret_cast<uintptr_t>(bytes_.data()) + kRedZone;
  const size_t alignment = shared ? 1024 : 128;
  begin_ = bytes_.data() + kRedZone + (alignment - at % alignment) % alignment;
  regions()[reinterpret_cast<uintptr_t>(begin_)] = this;
  PEFT4J_POISON(poison, bytes_.data(), begin_ - bytes_.data());
  PEFT4J_POISON(poison, begin_ + size_, bytes_.data() + bytes_.size() - begin_ - size_);
}

Region::~Region() {
  regions().erase(reinterpret_cast<uintptr_t>(begin_));
  PEFT4J_POISON(unpoison, bytes_.data(), begin_ - bytes_.data());
  PEFT4J_POISON(unpoison, begin_ + size_, bytes_.data() + bytes_.size() - begin_ - size_);
}

void Region::upload(const void* from, size_t bytes, size_t offset) {
  if (bytes > 0) {
    std::memcpy(begin_ + offset, from, bytes);
  }
  for (size_t i = offset; i < offset + bytes; ++i) {
    cells_[i].write = kHost;
  }
}

void Region::download(void* to, size_t bytes, size_t offset) const {
  if (bytes > 0) {
    std::memcpy(to, begin_ + offset, bytes);
  }
}

void Region::forget() {
  std::fill(begin_, begin_ + size_, kPoison);
  std::fill_n(cells_, size_, Cell());
  readers_.clear();
}

// Of each warp, before which clock all that it did happened before the current thread's next access.
static std::array<uint32_t, 32> seen_of_warps() {
  const Thread& self = *running->current;
  std::array<uint32_t, 32> clocks;
  clocks.fill(kOpen);
  for (int i = 0; i < static_cast<int>(running->threads.size()); ++i) {
    const uint32_t by_warp = i / 32 == self.number / 32 ? self.warp_clock : 0,
                   by_barrier = self.known.empty() ? 0 : self.known[i];
    clocks[i / 32] = std::min(clocks[i / 32], std::max({self.block_clock, by_warp, by_barrier}));
  }
  return clocks;
}

bool Region::readers_ordered(size_t offset, const std::array<uint32_t, 32>& clocks) const {
  return !readers_.empty() && std::ranges::equal(readers_[offset / 16], clocks, std::less_equal());
}

bool Region::others_read(size_t offset) const {
  if (readers_.empty()) {
    return false;
  }
  auto others = readers_[offset / 16];
  others[running->current->number / 32] = 0;
  return others != decltype(others){} && !std::ranges::equal(others, seen_of_warps(), std::less_equal());
}

bool Region::wgmma_reads(size_t offset) const {
  return !readers_.empty() && std::ranges::find(readers_[offset / 16], kOpen) != readers_[offset / 16].end();
}

std::string place_of(const void* address) {
  const auto a = reinterpret_cast<uintptr_t>(address);
  const Region* region = region_at(a);
  return region == nullptr ? "an address that belongs to no allocation"
                           : region->name() + " + " + std::to_string(a - reinterpret_cast<uintptr_t>(region->data()));
}

uint64_t bytes_read(const void* address) {
  const Region* region = region_at(reinterpret_cast<uintptr_t>(address));
  return region == nullptr ? 0 : region->bytes_read();
}

void check(const void* address, size_t size, Access access, const void* pc, const Site* site) {
  const auto a = reinterpret_cast<uintptr_t>(address);
  const uintptr_t stack = reinterpret_cast<uintptr_t>(running->current->fiber->stack());
  if (a - stack < Fiber::kStack) {
    return;
  }
  const auto report = [&](const std::string& message) {
    const char* verb = access == Access::kRead    ? "reads "
                       : access == Access::kWrite ? "writes "
                                                  : "atomically changes ";
    fail(verb + std::to_string(size) + " bytes at " + message, site != nullptr ? where(*site) : line_of(pc));
  };
  Region* region = region_at(a);
#ifdef PEFT4J_ANY_MEMORY
  if (region == nullptr) {
    return;
  }
#endif
  if (region == nullptr) {
    if (access == Access::kRead && in_program(a, size)) {
      return;
    }
    auto next = regions().lower_bound(a);
    const bool before = next != regions().end() && next->first - a <= kRedZone;
    report(before ? std::to_string(next->first - a) + " bytes before the begin of " + next->second->name()
                  : "an address that belongs to no allocation");
  }
  const size_t offset = a - reinterpret_cast<uintptr_t>(region->begin_);
  if (offset + size > region->size_) {
    report(place_of(address) + ", outside of its " + std::to_string(region->size_) + " bytes");
  }
  if ((size & (size - 1)) == 0 && a % size != 0) {
    report(place_of(address) + ", which is not aligned to " + std::to_string(size) + " bytes");
  }
  region->bytes_read_ += access == Access::kRead ? size : 0;
#ifndef PEFT4J_SEES_ACCESSES
  return;  // who wrote what is unknown
#endif
  const uint64_t now = stamp_now();
  const bool is_ordered_by_warps =
      running->has_named_barriers || !running->mbarriers.empty() || !running->warps.empty();
  if (region->shared_ && access == Access::kRead && is_ordered_by_warps) {
    region->readers_.resize(region->size_ / 16 + 1);
    region->readers_[offset / 16][running->current->number / 32] = running->clock + 1;
  }
  if (access != Access::kRead && region->wgmma_reads(offset)) {
    report(place_of(address) + ", which a wgmma still reads");
  }
  if (access == Access::kWrite && region->others_read(offset)) {
    report(place_of(address) + ", which another warp has read without a barrier between");
  }
  Cell before, after;  // of the last byte: most have the same history
  for (size_t i = offset; i < offset + size; ++i) {
    Cell& cell = region->cells_[i];
    if (i > offset && cell == before) {
      cell = after;
      continue;
    }
    before = cell;
    const bool atomics = access == Access::kAtomic && (cell.write & kAtomicBit) != 0;
    if (cell.write == 0) {
      if (access != Access::kWrite) {
        report(place_of(address) + ", which nobody has written");
      }
    } else if ((cell.write & kSpecial) != 0) {
      report(place_of(address) + ", which a " + (by_bulk_copy(cell.write) ? "bulk copy" : "cp.async") + " still fills");
    } else if (!atomics && !ordered(cell.write)) {
      report(place_of(address) + ", which " + who(cell.write) + " wrote without a barrier between");
    }
    if (access == Access::kRead) {
      uint64_t others = 0;
      if (cell.read != 0 && serial_of(cell.read) >= running->first_serial) {
        if (serial_of(cell.read) != running->serial) {
          others = kSpecial;
        } else if (clock_of(cell.read) == clock_of(now)) {
          const int before = thread_of(cell.read), self = thread_of(now);
          others = (cell.read & (kSpecial | kLanes)) | (before == self             ? 0
                                                        : before / 32 == self / 32 ? kLanes
                                                                                   : kSpecial);
        }
      }
      cell.read = now | others;
    } else {
      const bool lanes = (cell.read & kLanes) != 0, several = lanes || (cell.read & kSpecial) != 0;
      if (cell.read != 0 && !ordered(cell.read, lanes) && !(several && region->readers_ordered(i, seen_of_warps()))) {
        report(place_of(address) + ", which " + who(cell.read) + " read without a barrier between");
      }
      cell.write = now | (access == Access::kAtomic ? kAtomicBit : 0);
      cell.read = 0;
    }
    after = cell;
  }
}

void set_in_flight(void* address, size_t size, bool in_flight) {
  Region* region = region_at(reinterpret_cast<uintptr_t>(address));
  const size_t offset = static_cast<char*>(address) - region->begin_;
  for (size_t i = offset; i < offset + size; ++i) {
    uint64_t& write = region->cells_[i].write;
    write = in_flight ? write | kSpecial : write & ~kSpecial;
  }
  if (in_flight) {
    std::memset(address, kPoison, size);
  }
}

void begin_bulk_copy(void* to, size_t bytes, const Site* site) {
  Region* region = region_at(reinterpret_cast<uintptr_t>(to));
  const size_t offset = static_cast<char*>(to) - region->begin_;
  const auto seen = seen_of_warps();
  for (size_t i = 0; i < bytes; i += 16) {
    char* at = static_cast<char*>(to) + i;
    check_proxy(at, 16, site);
    if (region->readers_ordered(offset + i, seen)) {
      std::for_each_n(&region->cells_[offset + i], 16, [](Cell& cell) { cell.read = 0; });
    } else if (!region->readers_.empty()) {
      fail("a bulk copy to " + place_of(at) + ", which a warp has read without a barrier between", where(*site));
    }
    check(at, 16, Access::kWrite, nullptr, site);
  }
  for (size_t i = offset; i < offset + bytes; ++i) {
    region->cells_[i].write = stamp_of(kBulkCopy);
  }
  set_in_flight(to, bytes, true);
}

void end_bulk_copy(void* to, size_t bytes) {
  Region* region = region_at(reinterpret_cast<uintptr_t>(to));
  const size_t offset = static_cast<char*>(to) - region->begin_;
  for (size_t i = offset; i < offset + bytes; ++i) {
    region->cells_[i] = {stamp_of(kBulkCopy), 0};
  }
}

void check_proxy(const void* address, size_t size, const Site* site) {
  const Region* region = region_at(reinterpret_cast<uintptr_t>(address));
  const size_t offset = region == nullptr ? 0 : static_cast<const char*>(address) - region->begin_;
  if (region == nullptr || offset + size > region->size_) {
    return;  // check reports it
  }
  uint64_t before = 0;
  for (size_t i = offset; i < offset + size; ++i) {
    const uint64_t write = region->cells_[i].write;
    if (write != std::exchange(before, write) && serial_of(write) == running->serial && !by_bulk_copy(write) &&
        clock_of(write) >= running->threads[thread_of(write)].async_fence) {
      fail(place_of(address) + " was written by " + who(write) + " without fence_async_proxy", where(*site));
    }
  }
}

void Region::set_reader(const void* address, uint32_t clock) {
  if (!readers_.empty()) {
    readers_[(static_cast<const char*>(address) - begin_) / 16][running->current->number / 32] = clock;
  }
}

void begin_wgmma_read(const void* address, const Site& site) {
  check(address, 16, Access::kRead, nullptr, &site);
  check_proxy(address, 16, &site);
  running->shared->set_reader(address, kOpen);
}

void end_wgmma_read(const void* address) {
  running->shared->set_reader(address, running->clock + 1);
}

void check_atomic(const void* address, size_t size, Site site) {
  perhaps_sleep();
  guarded([&] { check(address, size, Access::kAtomic, nullptr, &site); });
}

// An access by a kernel's own code.
static void check_access(const void* address, size_t size, Access access, const void* pc) {
  perhaps_sleep();
  guarded([&] { check(address, size, access, pc, nullptr); });
}

}  // namespace peft4j::host

// What g++ -fsanitize=thread calls before each access.
#define PEFT4J_HOOK(name, size, access)                                                                     \
  extern "C" void name(void* address) {                                                                     \
    if (peft4j::host::running != nullptr && peft4j::host::running->current != nullptr) {                    \
      peft4j::host::check_access(address, size, peft4j::host::Access::access, __builtin_return_address(0)); \
    }                                                                                                       \
  }
#define PEFT4J_HOOKS(size)                             \
  PEFT4J_HOOK(__tsan_read##size, size, kRead)          \
  PEFT4J_HOOK(__tsan_write##size, size, kWrite)        \
  PEFT4J_HOOK(__tsan_volatile_read##size, size, kRead) \
  PEFT4J_HOOK(__tsan_volatile_write##size, size, kWrite)
PEFT4J_HOOKS(1)
PEFT4J_HOOKS(2)
PEFT4J_HOOKS(4)
PEFT4J_HOOKS(8)
PEFT4J_HOOKS(16)
#define PEFT4J_UNALIGNED(size)                          \
  PEFT4J_HOOK(__tsan_unaligned_read##size, size, kRead) \
  PEFT4J_HOOK(__tsan_unaligned_write##size, size, kWrite)
PEFT4J_UNALIGNED(2)
PEFT4J_UNALIGNED(4)
PEFT4J_UNALIGNED(8)
PEFT4J_UNALIGNED(16)

#define PEFT4J_RANGE(name, access)                                                                   \
  extern "C" void name(void* address, size_t size) {                                                 \
    if (peft4j::host::running != nullptr && peft4j::host::running->current != nullptr) {             \
      for (size_t i = 0; i < size; ++i) {                                                            \
        peft4j::host::check_access(static_cast<char*>(address) + i, 1, peft4j::host::Access::access, \
                                   __builtin_return_address(0));                                     \
      }                                                                                              \
    }                                                                                                \
  }
PEFT4J_RANGE(__tsan_read_range, kRead)
PEFT4J_RANGE(__tsan_write_range, kWrite)

extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void*, void*) {}
extern "C" void __tsan_vptr_read(void*) {}
