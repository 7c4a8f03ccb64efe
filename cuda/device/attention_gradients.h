#pragma once
/* What the backward of attention does with a warp's sums, whichever instruction made them: attention_backward.cu has the formulas. */
#include "attention_tiles.h"

namespace peft4j::cuda::attention {

/*
From products q·k and do·v of the queries from `query` and the columns from `column` on (a multiple of 16) to P, and to dS, which is
lacking the scale. With keys as rows P is what dV needs: dropped from, but lacking what the kept ones are multiplied by. delta, lse: of
the rows from `query` on, in shared memory.
*/
template <RowsAre Layout, int M, int N>
PEFT4J_DEVICE void differentiate(Sums<M, N>& p, Sums<M, N>& ds, const Call& a, const Logits& logits, const Sequence& s,
                                 int head, int query, int column, const float* delta, const float* lse) {
  Kept<Layout == RowsAre::kQueries ? 16 * M : 8 * N, Layout == RowsAre::kQueries ? 8 * N : 16 * M> kept;
  if (a.threshold > 0) {
    kept.make(a, s, head, query, column);
    drop<Layout>(ds, kept, a.kept_scale);
  }
  each_pair<Layout, M, N>(0, 0, [&](int m, int n, int i, int q, int) { ds[m][n][i] -= delta[q]; });
  const float factor = make_logits<Layout, M, N>(p, logits, s, query, column,
                                                 [&](int m, int n, int i, float slope) { ds[m][n][i] *= slope; });
  each_pair<Layout, M, N>(0, 0, [&](int m, int n, int i, int q, int) {
    p[m][n][i] = exp2_approx(__fmaf_rn(p[m][n][i], factor, -lse[q]));
    ds[m][n][i] *= p[m][n][i];
  });
  if (Layout == RowsAre::kKeys && a.threshold > 0) {
    drop<Layout>(p, kept, 1.0f);
  }
}

template <int M, int N>
PEFT4J_DEVICE void scale_by(Sums<M, N>& sums, float factor) {
  each<M, N>([&](int m, int n, int i, int, int) { sums[m][n][i] *= factor; });
}

/*
A warp's dK and dV, sums still without their scales, of its columns from `column` on, and of the width from `width` on. Those of the
prefix are float32 and go where prefix_gradients says; the others go by the way of the two tiles' rows from `row` on.
*/
template <int M, int N, class T, int D>
PEFT4J_DEVICE void write_column_gradients(const Call& a, const Sequence& s, int column, int key_head, int width,
                                          Sums<M, N>& dk, Sums<M, N>& dv, const Tile<T, D>& k, const Tile<T, D>& v,
                                          int row) {
  scale_by(dk, a.scale);
  scale_by(dv, a.kept_scale);
  const int of_prefix = s.prefix - column, end = s.columns - column;
  if (of_prefix > 0 && a.prefix_dk != nullptr) {
    const PrefixGradients to = prefix_gradients(a);
    each<M, N>([&](int m, int n, int i, int r, int c) {
      if (r < of_prefix && width + c < a.head_size) {
        const int64_t at = prefix_index(a, s, column + r, key_head) + width + c;
        to.dk[at] = dk[m][n][i];
        to.dv[at] = dv[m][n][i];
      }
    });
  }
  const int64_t own = s.first_k + column - s.prefix;  // row 0, were it no prefix
  write_rows(a, head_rows<T>(a, a.dk, own, a.dk_stride, key_head), a.dk_stride, of_prefix, end, width, dk, k, row);
  write_rows(a, head_rows<T>(a, a.dv, own, a.dv_stride, key_head), a.dv_stride, of_prefix, end, width, dv, v, row);
}

// A warp's dQ, sums still without the scale, of its queries from `query` on; else as above.
template <int M, int N, class T, int D>
PEFT4J_DEVICE void write_query_gradients(const Call& a, const Sequence& s, int query, int head, int width,
                                         Sums<M, N>& dq, const Tile<T, D>& tile, int row) {
  scale_by(dq, a.scale);
  write_rows(a, head_rows<T>(a, a.dq, s.first_q + query, a.dq_stride, head), a.dq_stride, 0, s.queries - query, width,
             dq, tile, row);
}

}  // namespace peft4j::cuda::attention
