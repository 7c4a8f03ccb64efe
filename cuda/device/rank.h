#pragma once
/*
What the rank kernels of lora_linear share: numbers of a row in a lane's registers, the dropout mask on them, products of them.

A product's inner index may be permuted as long as both operands are: a lane takes 16 bytes of a row, as they lie in memory, for
both, and no tile passes through shared memory. With g = lane / 4, t = lane % 4 and N = 16 bytes of numbers (8 or 4)
    by rows      the lane has rows g, g + 8, g + 16, g + 24 and columns t·N to t·N + N - 1 (lora_shrink, lora_expand)
    by columns   the lane has rows t, t + 4, t + 8, t + 12 and columns g·N to g·N + N - 1  (lora_grad_a)

The mask: Philox makes 16 bytes, for 16 columns of a row, in 10 rounds. 16-bit numbers: two lanes share such a block of columns;
each makes the bytes of two of its four rows and hands half of them to the other: one call for 16 elements, 0.6 rounds and an
eighth of a shuffle an element, about 6 instructions with the comparison; at the rate of memory an element of a copy has
time for about 29 (H100). float32: a lane makes the bytes of its own four columns, 2.5 rounds an element of twice the bytes.
*/
#include "philox.h"
#include "segments.h"
#include "tile.h"

namespace peft4j::cuda {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// Blocks on a multiprocessor at once that a kernel's registers must allow: 16-bit numbers, P pieces.
template <class T, int P>
constexpr int kBlocks = sizeof(T) == 2 && P == 1 ? 2 : 1;

// N numbers of a row in a lane's registers. Words, not numbers: halves taken apart at the load would wait for it.
template <class T, int N = 16 / sizeof(T)>
struct alignas(N * sizeof(T)) Words {
  static constexpr int kSize = N, kWords = N * static_cast<int>(sizeof(T)) / 4;
  uint32_t word[kWords];

  PEFT4J_DEVICE T at(int i) const {
    union {
      uint32_t word;
      T number[4 / sizeof(T)];
    } one = {word[i * static_cast<int>(sizeof(T)) / 4]};
    return one.number[i % (4 / sizeof(T))];
  }
  PEFT4J_DEVICE float number(int i) const { return to_float(at(i)); }
};

// Two numbers, in the words that they begin at.
template <class T>
PEFT4J_DEVICE void set_pair(uint32_t* words, float first, float second) {
  if constexpr (sizeof(T) == 2) {
    words[0] = pack_pair<T>(first, second);
  } else {
    words[0] = __float_as_uint(first);
    words[1] = __float_as_uint(second);
  }
}

// Numbers first to first + N - 1 of a row of F, as T, in 16-byte accesses.
template <class T, int N, class F>
PEFT4J_DEVICE Words<T, N> load_wide(const F* row, int first) {
  if constexpr (std::is_same_v<T, F>) {
    return *reinterpret_cast<const Words<T, N>*>(row + first);
  } else {
    Words<T, N> words;
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(row + first + i);
      words.word[i / 2] = pack_pair<T>(four.x, four.y);
      words.word[i / 2 + 1] = pack_pair<T>(four.z, four.w);
    }
    return words;
  }
}

// The same one by one, `stride` apart, 0 from `there` on.
template <class T, int N, class F>
PEFT4J_DEVICE Words<T, N> load_singly(const F* row, int64_t stride, int first, int there) {
  Words<T, N> words;
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    set_pair<T>(words.word + i * sizeof(T) / 4, first + i < there ? to_float(row[(first + i) * stride]) : 0.0f,
                first + i + 1 < there ? to_float(row[(first + i + 1) * stride]) : 0.0f);
  }
  return words;
}

// wide: the row's numbers lie side by side, groups of N of them aligned. No row: 0.
template <class T, int N = 16 / sizeof(T), class F>
PEFT4J_DEVICE Words<T, N> load_words(const F* row, int64_t stride, int first, int there, bool wide) {
  if (row == nullptr) {
    return {};
  }
  return wide && first + N <= there ? load_wide<T, N>(row, first) : load_singly<T, N>(row, stride, first, there);
}

// The four rows `step` apart that a lane has; null where there is none.
template <class T>
struct LaneRows {
  T* data;
  int64_t stride, first;
  int step, there;

  PEFT4J_DEVICE LaneRows(T* data_, int64_t stride_, int64_t first_, int step_, int64_t end)
      : data(data_),
        stride(stride_),
        first(first_),
        step(step_),
        there(static_cast<int>(max(int64_t{0}, min(int64_t{4} * step_, end - first_)))) {}

  PEFT4J_DEVICE T* row(int i) const { return i * step < there ? data + (first + i * step) * stride : nullptr; }
};

// The same numbers of all four: loads that follow each other without a branch between.
template <class T, int N>
PEFT4J_DEVICE void load_rows(Words<T, N> (&to)[4], const LaneRows<const T>& rows, int first, int there, bool wide) {
  if (wide && first + N <= there) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const T* row = rows.row(i);
      to[i] = row == nullptr ? Words<T, N>{} : load_wide<T, N>(row, first);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const T* row = rows.row(i);
      to[i] = row == nullptr ? Words<T, N>{} : load_singly<T, N>(row, 1, first, there);
    }
  }
}

template <class T>
PEFT4J_DEVICE void store_words(T* row, int first, int there, bool wide, const Words<T>& words) {
  if (wide && first + Words<T>::kSize <= there) {
    *reinterpret_cast<Words<T>*>(row + first) = words;
    return;
  }
#pragma unroll
  for (int i = 0; i < Words<T>::kSize; ++i) {
    if (first + i < there) {
      row[first + i] = words.at(i);
    }
  }
}

template <class T>
PEFT4J_DEVICE void store_rows(const LaneRows<T>& rows, int first, int there, bool wide, const Words<T> (&from)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (T* row = rows.row(i)) {
      store_words(row, first, there, wide, from[i]);
    }
  }
}

// Some ranks of the four rows of h or g, as a piece has them.
template <class T>
struct RankRows {
  const LaneRows<const T>& rows;
  const Piece& piece;

  template <int N>
  PEFT4J_DEVICE void load(Words<T, N> (&to)[4], int rank) const {
    LaneRows<const T> own = rows;
    own.data += piece.column;
    load_rows(to, own, rank, piece.rank, piece.wide_ranks);
  }
};

// The factor's row of one rank, at the lane's columns.
template <class T, class F>
PEFT4J_DEVICE Words<T> load_factor(const Piece& piece, int rank, int column, int columns) {
  const F* row = rank < piece.rank ? static_cast<const F*>(piece.factor) + rank * piece.rank_stride : nullptr;
  return load_words<T>(row, piece.column_stride, column, columns, piece.wide_factor);
}

// 0xff for a number that stays, 0 for one that is dropped.
template <class T>
struct Kept {
  static constexpr int kWords = Words<T>::kSize / 4;
  uint32_t bytes[kWords];

  // As much of bit patterns: one of those of Words.
  PEFT4J_DEVICE uint32_t word(int i) const {
    return sizeof(T) == 2 ? __byte_perm(bytes[i / 2], 0, i % 2 == 0 ? 0x1100 : 0x3322)
                          : __byte_perm(bytes[0], 0, 0x1111 * i);
  }
  PEFT4J_DEVICE bool number(int i) const { return (bytes[i / 4] >> (8 * (i % 4)) & 1) != 0; }
};

// Of the lane's four rows. Partner: the bit of the lane's number in which the lane that shares its blocks differs.
template <class T, int Partner>
PEFT4J_DEVICE void mask_of(Kept<T> (&kept)[4], int column, int64_t row, int64_t step, uint64_t seed,
                           uint32_t threshold) {
  const auto block = static_cast<uint32_t>(column / 16);
  const uint32_t least = threshold * 0x01010101u;
  if constexpr (sizeof(T) == 2) {
    const bool second = (threadIdx.x & Partner) != 0;  // its columns have bytes 8 to 15
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint4 words = mask_words(block, row + (second ? i + 2 : i) * step, seed);
      const uint32_t own[2] = {second ? words.z : words.x, second ? words.w : words.y};
      const uint32_t other[2] = {second ? words.x : words.z, second ? words.y : words.w};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t got = __shfl_xor_sync(0xffffffffu, other[half], Partner);
        kept[i].bytes[half] = __vcmpgeu4(second ? got : own[half], least);
        kept[i + 2].bytes[half] = __vcmpgeu4(second ? own[half] : got, least);
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint4 words = mask_words(block, row + i * step, seed);
      const int which = column / 4 % 4;
      const uint32_t own = which < 2 ? (which == 0 ? words.x : words.y) : (which == 2 ? words.z : words.w);
      kept[i].bytes[0] = __vcmpgeu4(own, least);
    }
  }
}

template <class T, int Partner>
PEFT4J_DEVICE void drop(Words<T> (&x)[4], int column, int64_t row, int64_t step, uint64_t seed, uint32_t threshold) {
  Kept<T> kept[4];
  mask_of<T, Partner>(kept, column, row, step, seed, threshold);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int w = 0; w < Words<T>::kWords; ++w) {
      x[i].word[w] &= kept[i].word(w);
    }
  }
}

// What stays is multiplied by it: sums are, once.
PEFT4J_DEVICE float dropout_scale(uint32_t threshold) {
  return 256.0f / (256.0f - static_cast<float>(threshold));
}

// One instruction: 16-bit numbers, or float32 rounded to tf32.
template <class T>
PEFT4J_DEVICE void mma_words(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(T) == 2) {
    mma<T>(d, a, b);
  } else {
    const float wide_a[4] = {__uint_as_float(a[0]), __uint_as_float(a[1]), __uint_as_float(a[2]),
                             __uint_as_float(a[3])};
    const float wide_b[2] = {__uint_as_float(b[0]), __uint_as_float(b[1])};
    mma_m16n8k8(d, wide_a, wide_b);
  }
}

// d[16, 8] += a bᵀ over what the lanes of t hold: low and high of rows g and g + 8 of a, b of row g of b.
template <class T, int N>
PEFT4J_DEVICE void multiply(float (&d)[4], const Words<T, N>& low, const Words<T, N>& high, const Words<T, N>& b) {
#pragma unroll
  for (int w = 0; w < Words<T, N>::kWords; w += 2) {
    const uint32_t fa[4] = {low.word[w], high.word[w], low.word[w + 1], high.word[w + 1]};
    const uint32_t fb[2] = {b.word[w], b.word[w + 1]};
    mma_words<T>(d, fa, fb);
  }
}

// Of two neighbouring halves of v the lanes that differ in Bit add one each; the sum is in v's beginning.
template <int Bit>
PEFT4J_DEVICE void exchange_halves(float (&v)[kRanks]) {
  constexpr int kHalf = 4 * Bit;
  const bool upper = (threadIdx.x & Bit) != 0;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    const float own = upper ? v[i + kHalf] : v[i], other = upper ? v[i] : v[i + kHalf];
    v[i] = own + __shfl_xor_sync(0xffffffffu, other, Bit);
  }
}

// Sums over the four lanes of t: lane t gets those of v[4t] to v[4t + 3], in v[0] to v[3].
PEFT4J_DEVICE void scatter_sum(float (&v)[kRanks]) {
  exchange_halves<2>(v);
  exchange_halves<1>(v);
}

// 16-bit numbers `which` (0: low, 1: high) of two rows as a pair, the first in the low half.
PEFT4J_DEVICE uint32_t pair_of(uint32_t first, uint32_t second, int which) {
  return __byte_perm(first, second, which == 0 ? 0x5410 : 0x7632);
}

}  // namespace peft4j::cuda
