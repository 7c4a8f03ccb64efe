#pragma once
/*
Division of numbers below 2³¹ by one that is known before a kernel starts: a product and a shift, where the hardware's way takes some 20
instructions. With s the bits of d - 1 and m = ⌈2^(31+s) / d⌉, which has 32 bits: ⌊n·m / 2^(31+s)⌋ = ⌊n / d⌋ (Granlund & Montgomery 1994).
*/
#include <bit>
#include <cstdint>

#include "cuda.h"

namespace peft4j::cuda {

struct Divisor {
  uint32_t number = 1, multiplier = 1u << 31, shift = 31;

  Divisor() = default;
  // Host. d: 1 to 2³¹.
  explicit Divisor(uint32_t d) : number(d), multiplier(0), shift(31 + static_cast<uint32_t>(std::bit_width(d - 1))) {
    multiplier = static_cast<uint32_t>(((uint64_t{1} << shift) + d - 1) / d);
  }

  PEFT4J_DEVICE uint32_t quotient(uint32_t n) const {
    return static_cast<uint32_t>(static_cast<uint64_t>(n) * multiplier >> shift);
  }
  PEFT4J_DEVICE uint32_t rest(uint32_t n, uint32_t quotient) const { return n - quotient * number; }
};

}  // namespace peft4j::cuda
