#pragma once
/*
What __launch_bounds__ says of a kernel, at its launch. g++ has no such attribute. Of those that it has, the one that reserves bytes
before a function's entry takes a number, also one that depends on a template's arguments, and lists where they begin: their number
is the bounds.
*/
#include <stdexcept>
#include <string>

namespace peft4j::host {

struct LaunchBounds {
  int threads = 0, blocks = 0;  // 0: the kernel says nothing of it

  // Of a thread, as nvcc gives them out: of an SM's by eights, at most 255.
  int most_registers() const;
};

constexpr int kSmRegisters = 65536, kMostWarps = 32, kMostBlocks = 32;

consteval int bytes_of_bounds(int threads, int blocks = 0) {
  if (threads < 1 || threads > 32 * kMostWarps || blocks < 0 || blocks > kMostBlocks) {
    throw std::logic_error("__launch_bounds__: 1 to 1024 threads, at most 32 blocks");
  }
  return (threads + 31) / 32 + (kMostWarps + 1) * blocks;
}

LaunchBounds launch_bounds_of(const void* kernel);

// Why the kernel cannot have a block of so many threads, or "".
std::string refusal(const LaunchBounds& bounds, int threads);

}  // namespace peft4j::host

#define __launch_bounds__(...)                                                          \
  __attribute__((patchable_function_entry(::peft4j::host::bytes_of_bounds(__VA_ARGS__), \
                                          ::peft4j::host::bytes_of_bounds(__VA_ARGS__))))
