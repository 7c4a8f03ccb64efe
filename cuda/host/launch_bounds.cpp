#include "launch_bounds.h"

#include <algorithm>
#include <cstdint>

// Of the section that the linker makes of all the compiler's lists: where the bytes of each function begin.
extern "C" const uintptr_t __start___patchable_function_entries[] __attribute__((weak, visibility("hidden")));
extern "C" const uintptr_t __stop___patchable_function_entries[] __attribute__((weak, visibility("hidden")));

namespace peft4j::host {

int LaunchBounds::most_registers() const {
  constexpr int kMost = 255, kUnit = 8;
  if (threads == 0) {
    return kMost;
  }
  const int all = (threads + 31) / 32 * 32 * std::max(1, blocks);
  return std::min(kMost, kSmRegisters / all / kUnit * kUnit);
}

LaunchBounds launch_bounds_of(const void* kernel) {
  constexpr unsigned char kNop = 0x90;
  constexpr uintptr_t kMost = kMostWarps + (kMostWarps + 1) * kMostBlocks;
  const auto entry = reinterpret_cast<uintptr_t>(kernel);
  const auto* begin = __start___patchable_function_entries;
  const auto* found = std::find_if(begin, __stop___patchable_function_entries, [&](uintptr_t at) {
    return at < entry && entry - at <= kMost &&
           std::all_of(
               reinterpret_cast<const unsigned char*>(at), static_cast<const unsigned char*>(kernel),
               [](unsigned char byte) { return byte == kNop; });
  });
  if (found == __stop___patchable_function_entries) {
    return {};
  }
  const int bytes = static_cast<int>(entry - *found);
  const int warps = (bytes - 1) % (kMostWarps + 1) + 1;
  return {32 * warps, (bytes - warps) / (kMostWarps + 1)};
}

std::string refusal(const LaunchBounds& bounds, int threads) {
  if (bounds.threads == 0) {
    const int most = kSmRegisters / 256;  // 255 registers a thread are reserved as 256
    return threads <= most
               ? ""
               : "a block of " + std::to_string(threads) + " threads may need more registers than there are: " +
                     "without __launch_bounds__ a thread has up to 255, which leaves " + std::to_string(most) +
                     " threads";
  }
  return threads <= bounds.threads ? ""
                                   : "a block of " + std::to_string(threads) + " threads is more than the " +
                                         std::to_string(bounds.threads) + " of the kernel's __launch_bounds__";
}

}  // namespace peft4j::host
