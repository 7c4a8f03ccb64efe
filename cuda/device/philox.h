#pragma once
/*
The dropout mask, the same bits as native/philox.h (which has the definition and its source): Philox4x32-10 with
key = seed, counter = (column / 16, row low word, row high word, 0); 16 bytes, byte i for column 16·(column / 16) + i;
dropped if byte < threshold = round(256·p), else multiplied by 256 / (256 - threshold).
*/
#include <cstdint>

#include "cuda.h"

namespace peft4j::cuda {

struct Dropout {
  uint64_t seed;
  uint32_t threshold;  // 0: no dropout
  float scale;

  static Dropout of(uint64_t seed, uint32_t threshold) {
    return {seed, threshold, 256.0f / (256.0f - static_cast<float>(threshold))};
  }
};

// The words of block column / 16 of a row's mask.
PEFT4J_DEVICE uint4 mask_words(uint32_t block, uint64_t row, uint64_t seed) {
  uint4 c = make_uint4(block, static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), 0);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    c = make_uint4(__umulhi(0xCD9E8D57u, c.z) ^ c.y ^ k0, 0xCD9E8D57u * c.z, __umulhi(0xD2511F53u, c.x) ^ c.w ^ k1,
                   0xD2511F53u * c.x);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// What element `column % 16` of the block is multiplied by.
PEFT4J_DEVICE float mask_factor(const uint4& words, int column, const Dropout& dropout) {
  const int i = column & 15;
  const uint32_t word = i < 8 ? (i < 4 ? words.x : words.y) : (i < 12 ? words.z : words.w);
  return (word >> (8 * (i & 3)) & 255u) < dropout.threshold ? 0.0f : dropout.scale;
}

// Drops elements column … column + N - 1 of a row; N a power of two up to 16, column a multiple of it.
template <int N>
PEFT4J_DEVICE void drop(float (&x)[N], uint64_t row, int64_t column, const Dropout& dropout) {
  uint4 words = mask_words(static_cast<uint32_t>(column / 16), row, dropout.seed);
  // Shifted until the first element's byte is in the first word.
  if (N < 16 && (column & 8) != 0) {
    words.x = words.z;
    words.y = words.w;
  }
  if (N < 8 && (column & 4) != 0) {
    words.x = words.y;
  }
  const int first = N < 4 ? static_cast<int>(column & 3) : 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    x[i] *= mask_factor(words, first + i, dropout);
  }
}

}  // namespace peft4j::cuda
