#pragma once
/*
The dropout mask, the same bits on every device: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011).

key = seed (low word, high word);  counter = (column / 16, row low word, row high word, 0)
The four output words hold 16 bytes, little endian: byte i belongs to column 16·(column / 16) + i.
An element is dropped if its byte < round(256·p), and else multiplied by 256 / (256 - round(256·p)).

Nothing is stored: forward and backward make the same bytes again from (seed, row, column). CPU kernels make many blocks
at once (cpu/rows.h).
*/
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace peft4j {

struct Dropout {
  uint64_t seed = 0;
  uint32_t threshold = 0;  // bytes below it are dropped; 0: no dropout

  // 255/256 is the most that can be dropped: a p nearer to 1 would leave nothing to scale.
  static Dropout of(double p, uint64_t seed) {
    return {seed, static_cast<uint32_t>(std::min(std::lround(256.0 * p), 255L))};
  }
  bool active() const { return threshold > 0; }
  double scale() const { return 256.0 / (256.0 - threshold); }
};

constexpr uint32_t kPhiloxMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u}, kPhiloxKeyStep[2] = {0x9E3779B9u, 0xBB67AE85u};

// Internal linkage: this header is compiled once for each instruction set, and the copies must not be merged.
namespace {

[[maybe_unused]] inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kPhiloxMultiplier[0]} * c[0], p1 = uint64_t{kPhiloxMultiplier[1]} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key = {key[0] + kPhiloxKeyStep[0], key[1] + kPhiloxKeyStep[1]};
  }
  return c;
}

// The words of block column / 16 of a row's mask.
[[maybe_unused]] inline std::array<uint32_t, 4> mask_words(uint32_t block, uint64_t row, uint64_t seed) {
  return philox({block, static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), 0},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

}  // namespace
}  // namespace peft4j
