#pragma once
/*
The online softmax of flash-attention (Milakov & Gimelshein 2018; Dao et al. 2022): scores come run after run, and what was summed of
exponentials is rescaled whenever a row's maximum grows. Every attention kernel that walks over keys by tiles has this one.

    m = max s,   Σ = Σ exp(s - m),   O = Σ exp(s - m)·v          s, m and log-sum-exps are logarithms to base 2
*/
#include "product.h"

namespace peft4j::cuda {

// sums ∘= by in row r as OnlineSoftmax counts them
template <int M, int N>
PEFT4J_DEVICE void multiply_row(Sums<M, N>& sums, int r, float by) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    sums[r / 2][n][r % 2 * 2] *= by;
    sums[r / 2][n][r % 2 * 2 + 1] *= by;
  }
}

// So far, of the rows that a lane has a part of: row 2·m + h is 16·m + 8·h + g.
template <int M>
struct OnlineSoftmax {
  float maximum[2 * M], sum[2 * M];  // of the lane's own columns

  PEFT4J_DEVICE OnlineSoftmax() {
#pragma unroll
    for (int r = 0; r < 2 * M; ++r) {
      maximum[r] = -INFINITY;
      sum[r] = 0;
    }
  }

  // s·factor are logits; they become P but for the division by the sum. rescale(r, shrink): what was summed before them in row r is to
  // be multiplied by shrink.
  template <int N, class Rescale>
  PEFT4J_DEVICE void step(Sums<M, N>& s, float factor, const Rescale& rescale) {
#pragma unroll
    for (int r = 0; r < 2 * M; ++r) {
      const int m = r / 2, first = r % 2 * 2;
      float most = -INFINITY;
#pragma unroll
      for (int n = 0; n < N; ++n) {
        most = fmaxf(most, fmaxf(s[m][n][first], s[m][n][first + 1]));
      }
      most = fmaxf(maximum[r], warp_max<4>(most) * factor);
      const float base = most == -INFINITY ? 0.0f : most;  // nothing seen yet: 2^(-∞ - 0) is 0
      const float shrink = exp2_approx(maximum[r] - base);
      maximum[r] = most;
      sum[r] *= shrink;
      rescale(r, shrink);
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int i = first; i < first + 2; ++i) {
          s[m][n][i] = exp2_approx(__fmaf_rn(s[m][n][i], factor, -base));
          sum[r] += s[m][n][i];
        }
      }
    }
  }
};

}  // namespace peft4j::cuda
