/*
y = x wᵀ + bias for few rows, as a step of generation has them: w is read from memory once, whatever the number of rows, and so
fast that memory is what limits; libraries' products are made for many rows.

The order of a sum depends on the inputs alone: a row's result is the same bits whatever rows are beside it and whatever the number
of threads. Threads take columns of y.
*/
#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int W = Vec<float>::size();

// ---- by panels
//
// A strip is columns of a panel whose sums of three rows fill the registers. Its w is taken in chunks that stay in the cache while
// all rows pass over them; while a chunk is computed with, the next one is asked for, a part of it by each tile of rows.

constexpr int64_t kChunk = 64;     // inputs
constexpr int64_t kMostRows = 48;  // at a time
constexpr int kTileRows = 3;

// Vectors of a strip; of one row alone there are registers for more.
constexpr int kVectors = 4, kVectorsOfOneRow = W >= 16 ? 4 : 8;

template <int Rows, int V, bool Ahead>
inline __attribute__((always_inline)) void add_inputs(Vec<float> (&sums)[Rows][V], const float* x, int64_t x_stride,
                                                      const float* w, int64_t width, int64_t begin, int64_t end,
                                                      int64_t ahead) {
  for (int64_t k = begin; k < end; ++k) {
    const float* from = w + k * width;
    Vec<float> row[V];
    for (int v = 0; v < V; ++v) {
      row[v] = Vec<float>::loadu(from + v * W);
    }
    if constexpr (Ahead) {
      for (int byte = 0; byte < V * W * 4; byte += 64) {
        __builtin_prefetch(reinterpret_cast<const char*>(from + ahead) + byte);
      }
    }
    for (int r = 0; r < Rows; ++r) {
      const Vec<float> value(x[r * x_stride + k]);
      for (int v = 0; v < V; ++v) {
        sums[r][v] = at::vec::fmadd(value, row[v], sums[r][v]);
      }
    }
  }
}

// Part of a chunk's w, [first, last), is asked for `ahead` numbers further on.
struct Chunk {
  const float* w;
  int64_t width, inputs, first, last, ahead;
};

template <int Rows, int V>
void tile(const Chunk& chunk, const float* x, int64_t x_stride, float* to, int64_t to_stride) {
  Vec<float> sums[Rows][V];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < V; ++v) {
      sums[r][v] = Vec<float>::loadu(to + r * to_stride + v * W);
    }
  }
  add_inputs<Rows, V, false>(sums, x, x_stride, chunk.w, chunk.width, 0, chunk.first, 0);
  add_inputs<Rows, V, true>(sums, x, x_stride, chunk.w, chunk.width, chunk.first, chunk.last, chunk.ahead);
  add_inputs<Rows, V, false>(sums, x, x_stride, chunk.w, chunk.width, chunk.last, chunk.inputs, 0);
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < V; ++v) {
      sums[r][v].store(to + r * to_stride + v * W);
    }
  }
}

// Columns of y from `column` on, as many as V vectors have, for rows [first, first + rows).
template <bool OneRow, int V>
void strip(const FewRowsParams& p, int64_t column, int64_t first, int64_t rows) {
  constexpr int64_t kColumns = V * W;
  alignas(64) float sums[(OneRow ? 1 : kMostRows) * kColumns];
  const int64_t columns = std::min(kColumns, p.out - column);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = sums + r * kColumns;
    std::fill_n(to, kColumns, 0.0F);
    if (p.bias != nullptr) {
      std::copy_n(p.bias + column, columns, to);
    }
  }
  const float* w = p.panels + column / p.width * p.padded_in * p.width + column % p.width;
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t k = 0; k < p.in; k += kChunk) {
    const int64_t inputs = std::min(kChunk, p.in - k);
    const int64_t next = std::min(kChunk, p.padded_in - kChunk - k);  // may be negative: there is none
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t r = i * rows / tiles,
                    left = (i + 1) * rows / tiles - r;  // never 1 of many, whose sums would wait for each other
      // One row is read so fast that asking ahead only costs.
      const int64_t ahead = OneRow ? 0 : std::clamp<int64_t>(next, 0, inputs);
      const Chunk chunk{w + k * p.width, p.width, inputs, ahead * i / tiles, ahead * (i + 1) / tiles, kChunk * p.width};
      const float* x = p.x + (first + r) * p.in + k;
      float* to = sums + r * kColumns;
      if constexpr (OneRow) {
        tile<1, V>(chunk, x, p.in, to, kColumns);
      } else {
        left == 3   ? tile<3, V>(chunk, x, p.in, to, kColumns)
        : left == 2 ? tile<2, V>(chunk, x, p.in, to, kColumns)
                    : tile<1, V>(chunk, x, p.in, to, kColumns);
      }
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(sums + r * kColumns, columns, p.y + (first + r) * p.out + column);
  }
}

template <bool OneRow, int V>
void strips(const FewRowsParams& p) {
  constexpr int64_t kColumns = V * W;
  at::parallel_for(0, (p.out + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t first = 0; first < p.rows; first += kMostRows) {
        strip<OneRow, V>(p, s * kColumns, first, std::min(kMostRows, p.rows - first));
      }
    }
  });
}

template <bool OneRow, int V>
void widest_strips(const FewRowsParams& p) {
  if (p.width % (V * W) == 0) {
    strips<OneRow, V>(p);
  } else if constexpr (V > 1) {
    widest_strips<OneRow, V / 2>(p);
  }
}

// ---- by w as it lies: dot products of three rows of x and four of w

constexpr int kOutputs = 4;

template <int Rows, int Outputs>
void dots(const FewRowsParams& p, int64_t first_row, int64_t first_output) {
  constexpr int kStep = Vec<c10::BFloat16>::size();
  Vec<float> sums[Rows][Outputs];
  for (int r = 0; r < Rows; ++r) {
    for (int o = 0; o < Outputs; ++o) {
      sums[r][o] = Vec<float>(0.0F);
    }
  }
  const float* x = p.x + first_row * p.in;
  const c10::BFloat16* w = p.w + first_output * p.in;
  int64_t k = 0;
  for (; k + kStep <= p.in; k += kStep) {
    for (int o = 0; o < Outputs; ++o) {
      const auto [low, high] = at::vec::convert_bfloat16_float(Vec<c10::BFloat16>::loadu(w + o * p.in + k));
      for (int r = 0; r < Rows; ++r) {
        sums[r][o] = at::vec::fmadd(Vec<float>::loadu(x + r * p.in + k), low, sums[r][o]);
        sums[r][o] = at::vec::fmadd(Vec<float>::loadu(x + r * p.in + k + W), high, sums[r][o]);
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int o = 0; o < Outputs; ++o) {
      float sum = sum_of_lanes(sums[r][o]);
      for (int64_t i = k; i < p.in; ++i) {
        sum += x[r * p.in + i] * static_cast<float>(w[o * p.in + i]);
      }
      const float bias = p.bias == nullptr ? 0.0F : p.bias[first_output + o];
      p.y[(first_row + r) * p.out + first_output + o] = sum + bias;
    }
  }
}

template <int Outputs>
void dots_of_all_rows(const FewRowsParams& p, int64_t first_output) {
  int64_t r = 0;
  for (; r + kTileRows <= p.rows; r += kTileRows) {
    dots<kTileRows, Outputs>(p, r, first_output);
  }
  for (; r < p.rows; ++r) {
    dots<1, Outputs>(p, r, first_output);
  }
}

}  // namespace

void panel_product(const FewRowsParams& p) {
  if (p.rows == 1) {
    widest_strips<true, kVectorsOfOneRow>(p);
  } else {
    widest_strips<false, kVectors>(p);
  }
}

void rows_product(const FewRowsParams& p) {
  at::parallel_for(0, (p.out + kOutputs - 1) / kOutputs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin * kOutputs; n < std::min(end * kOutputs, p.out);) {
      if (n + kOutputs <= p.out) {
        dots_of_all_rows<kOutputs>(p, n);
        n += kOutputs;
      } else {
        dots_of_all_rows<1>(p, n++);
      }
    }
  });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
