#pragma once
/*
The dropout mask, the same bits on every device: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011).

key = seed (low word, high word);  counter = (column / 16, row low word, row high word, 0)
The four output words hold 16 bytes, little endian: byte i belongs to column 16·(column / 16) + i.
An element is dropped if its byte < round(256·p), and else multiplied by 256 / (256 - round(256·p)).

Nothing is stored: forward and backward make the same bytes again from (seed, row, column).
*/
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace peft4j {

struct Dropout {
  uint64_t seed = 0;
  uint32_t threshold = 0;  // bytes below it are dropped; 0: no dropout

  static Dropout of(double p, uint64_t seed) { return {seed, static_cast<uint32_t>(std::lround(256.0 * p))}; }
  bool active() const { return threshold > 0; }
  double scale() const { return 256.0 / (256.0 - threshold); }
};

constexpr int kPhiloxLanes = 16;  // counters made at once: one AVX512 register of words

// Internal linkage: this header is compiled once for each instruction set, and the copies must not be merged.
namespace {

// bytes[0 .. 16·blocks) for the counters (block, row), (block + 1, row), …; blocks is at most kPhiloxLanes. The buffer
// always has room for kPhiloxLanes blocks.
[[maybe_unused]] inline void philox_bytes(uint8_t* bytes, int64_t blocks, uint32_t block, uint64_t row, uint64_t seed) {
  uint32_t c0[kPhiloxLanes], c1[kPhiloxLanes], c2[kPhiloxLanes], c3[kPhiloxLanes];
  const int lanes = blocks <= 4 ? 4 : kPhiloxLanes;
  for (int i = 0; i < kPhiloxLanes; ++i) {
    c0[i] = block + static_cast<uint32_t>(i);
    c1[i] = static_cast<uint32_t>(row);
    c2[i] = static_cast<uint32_t>(row >> 32);
    c3[i] = 0;
  }
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int i = 0; i < lanes; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[i];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      c1[i] = static_cast<uint32_t>(p1);
      c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c3[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int64_t i = 0; i < blocks; ++i) {
    const uint32_t words[4] = {c0[i], c1[i], c2[i], c3[i]};
    std::memcpy(bytes + 16 * i, words, 16);
  }
}

}  // namespace
}  // namespace peft4j
