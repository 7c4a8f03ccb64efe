#pragma once
/*
Sums over rows that leave the gradient of a factor, dA [rank, C] or dB [C, rank]. The rows of a segment are cut into splits, a
function of shapes alone; each has partial sums of its own in the scratch memory, and fixed_order_sum adds them. The only
split of a segment goes into the gradient at once.
*/
#include "rank.h"

namespace peft4j::cuda {

PEFT4J_DEVICE void put_gradient(const Piece& piece, int64_t split, int rank, int64_t column, bool add, float sum) {
  float* to = piece.out + rank * static_cast<int64_t>(piece.out_rank_stride) + column * piece.out_column_stride;
  if (piece.split_stride > 0) {
    to[split * piece.split_stride] = sum;
  } else {
    *to = add ? *to + sum : sum;
  }
}

// ---- host

// Of all bands.
inline int64_t rows_of(const peft4j_cuda_lora& p) {
  int64_t rows = 0;
  for (int64_t i = 0; i < p.n_segments; ++i) {
    const peft4j_cuda_segment &s = p.segments[i], &before = p.segments[std::max<int64_t>(i - 1, 0)];
    rows += i > 0 && s.begin == before.begin && s.end == before.end ? 0 : s.end - s.begin;
  }
  return rows;
}

struct RankSum {
  const peft4j_cuda_lora& p;
  bool transposed;  // dB
  int64_t rows_of_a_split;

  int64_t splits(const peft4j_cuda_segment& s) const { return divide_up(s.end - s.begin, rows_of_a_split); }
  int64_t partials(const peft4j_cuda_segment& s) const {
    return s.gradient == nullptr || splits(s) < 2 ? 0 : splits(s) * s.rank * p.columns;
  }
  int64_t scratch() const {
    int64_t n = 0;
    for (int64_t i = 0; i < p.n_segments; ++i) {
      n += partials(p.segments[i]);
    }
    return n;
  }

  // The segment's ranks with the place for their sums; next: of its partial sums.
  Piece piece(const peft4j_cuda_segment& s, float*& next) const {
    Piece piece = piece_of(s);
    piece.out = s.gradient;
    piece.out_rank_stride = transposed ? 1 : static_cast<int32_t>(p.columns);
    piece.out_column_stride = transposed ? s.rank : 1;
    if (const int64_t n = partials(s)) {
      piece.out = next;
      piece.split_stride = s.rank * p.columns;
      next += n;
    }
    return piece;
  }

  int add_partials(cudaStream_t stream) const {
    const float* next = p.scratch;
    for (int64_t i = 0; i < p.n_segments; ++i) {
      const peft4j_cuda_segment& s = p.segments[i];
      if (const int64_t n = partials(s)) {
        if (const int status =
                peft4j_cuda_fixed_order_sum(s.gradient, next, s.rank * p.columns, splits(s), p.add, stream)) {
          return status;
        }
        next += n;
      }
    }
    return 0;
  }
};

// lora_grad_a.cu: all gradients of p's segments, from x and the ranks' matrix (g, or h for dB).
int64_t rank_sum_scratch(const peft4j_cuda_lora& p, bool transposed);
int rank_sum(const peft4j_cuda_lora& p, const void* h, int64_t h_stride, bool transposed, cudaStream_t stream);

}  // namespace peft4j::cuda
