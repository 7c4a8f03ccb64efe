/*
attention in float32, by FMA: the same formulas as attention_forward.cu and attention_backward.cu without tensor cores. And the gradient of the
bias table for every type: tables are frozen in nearly all methods, so the fast kernels know nothing of it.

    dbias[bucket, head] = Σ dP's part of dS over the pairs of that distance:  P∘(dP - δ), without scale and slope

A block of 4 warps owns 16 rows (queries, or columns for dK and dV), a warp 4 of them; the others come by 32, a lane has one:
    dot     lane j: Σ_c own[r, c]·other[j, c]           rows in shared memory, a row's 16-byte chunks an odd number apart
    spread  lane c: acc[r, c] += Σ_j w[r, j]·other[j, c]    w comes from lane j by a shuffle
Keys, values and queries use one buffer in turn: room for any head size up to 256, and simple before fast. 2·5 (backward 2·8)
shared reads of 4 bytes for 16 FMA: a fourth of the FMA rate or so.
*/
#include "device/attention.h"

namespace peft4j::cuda::attention {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kOwn = 4, kRows = kWarps * kOwn;  // rows of a warp, of a block
constexpr int kOthers = 32;
constexpr int kParts = kMostHeadSize / 32;  // columns of acc that a lane has

PEFT4J_DEVICE int lane() {
  return threadIdx.x % 32;
}

// Rows of float32 in shared memory; columns from head_size to a multiple of 4 are 0.
struct FloatRows {
  float* data;
  int head_size;

  __host__ __device__ static int width(int64_t head_size) { return static_cast<int>((head_size + 3) / 4 * 4); }
  static size_t bytes(const Call& a, int rows) { return sizeof(float) * rows * (width(a.head_size) + 4); }

  PEFT4J_DEVICE float* row(int i) const { return data + i * (width(head_size) + 4); }

  // from(i): row i, for i below `there`; the others become 0.
  template <class RowAt>
  PEFT4J_DEVICE void copy(int rows, int there, const RowAt& from) const {
    for (int i = threadIdx.x / 32; i < rows; i += kWarps) {
      for (int c = lane(); c < width(head_size); c += 32) {
        row(i)[c] = i < there && c < head_size ? to_float(from(i)[c]) : 0.0f;
      }
    }
  }
};

// As above, with nobody still reading what was there, and everybody seeing what is.
template <class RowAt>
PEFT4J_DEVICE void exchange(const FloatRows& others, int there, const RowAt& from) {
  __syncthreads();
  others.copy(kOthers, there, from);
  __syncthreads();
}

PEFT4J_DEVICE void dot(float (&sums)[kOwn], const FloatRows& own, const FloatRows& others) {
  const float* other = others.row(lane());
  const int first = threadIdx.x / 32 * kOwn;
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    sums[r] = 0;
  }
  for (int c = 0; c < own.head_size; c += 4) {
    const Pack<float> x = load_pack(other + c);
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      const Pack<float> y = load_pack(own.row(first + r) + c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums[r] = __fmaf_rn(x.v[i], y.v[i], sums[r]);
      }
    }
  }
}

using Spread = float[kOwn][kParts];

PEFT4J_DEVICE void spread(Spread& acc, const float (&w)[kOwn], const FloatRows& others) {
  for (int j = 0; j < kOthers; ++j) {
    float weight[kOwn];
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      weight[r] = __shfl_sync(kAllLanes, w[r], j);
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int c = 32 * part + lane();
      if (c < others.head_size) {
        const float x = others.row(j)[c];
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
          acc[r][part] = __fmaf_rn(weight[r], x, acc[r][part]);
        }
      }
    }
  }
}

// f(r, c) for the elements of acc.
template <class F>
PEFT4J_DEVICE void each(int head_size, const F& f) {
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (32 * part + lane() < head_size) {
        f(r, part, 32 * part + lane());
      }
    }
  }
}

struct Score {
  float value, slope;  // -∞ where it is hidden
};

PEFT4J_DEVICE Score score_of(const Logits& logits, const Sequence& s, float product, int query, int column) {
  Score score{product * logits.scale, 1.0f};
  if (logits.cap > 0) {
    const Capped capped = logits.capped(product);
    score = {capped.value, capped.slope};
  }
  if (logits.line != nullptr) {
    score.value += logits.bias(s, query, column);
  }
  return s.sees(query, column) ? score : Score{-INFINITY, 0.0f};
}

// What dropout multiplies a probability by.
PEFT4J_DEVICE float kept(const Call& a, const Sequence& s, int head, int query, int column) {
  if (a.threshold == 0) {
    return 1.0f;
  }
  const uint64_t row = static_cast<uint64_t>(s.first_q + query) * a.query_heads + head;
  return mask_factor(mask_words(column / 16, row, a.seed), column, Dropout{a.seed, a.threshold, a.kept_scale});
}

__global__ void __launch_bounds__(kThreads, 2) attention_forward_plain(const Call a) {
  const QueryBlock block(a, kRows);
  const Sequence& s = block.s;
  if (!block.there()) {
    return;
  }
  const int head_size = static_cast<int>(a.head_size), own = block.first + threadIdx.x / 32 * kOwn;
  const FloatRows q{reinterpret_cast<float*>(shared_memory()), head_size}, others{q.row(kRows), head_size};
  float* line = others.row(kOthers);
  load_bias(line, a, block.head);
  const Logits logits(a, line);
  q.copy(kRows, s.queries - block.first,
         [&](int i) { return head_rows<const float>(a, a.q, s.first_q + block.first + i, a.q_stride, block.head); });
  const Columns<float> keys = keys_of<float>(a, s, block.key_head), values = values_of<float>(a, s, block.key_head);
  const ColumnTiles tiles = column_tiles(s, block.first, block.first + kRows, kOthers);
  float maximum[kOwn], sum[kOwn] = {};
  Spread o = {};
#pragma unroll
  for (float& m : maximum) {
    m = -INFINITY;
  }
  for (int tile = tiles.begin(); tile < tiles.end; tile = tiles.after(tile)) {
    const int first = tile * kOthers, column = first + lane();
    exchange(others, s.columns - first, [&](int i) { return keys.row(s, first + i); });
    float p[kOwn];
    dot(p, q, others);
    exchange(others, s.columns - first, [&](int i) { return values.row(s, first + i); });
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      const float logit = score_of(logits, s, p[r], own + r, column).value;
      const float most = fmaxf(maximum[r], warp_max(logit));
      const float base = most == -INFINITY ? 0.0f : most;
      const float shrink = exp2_approx(maximum[r] - base);
      maximum[r] = most;
      p[r] = exp2_approx(logit - base);
      sum[r] = sum[r] * shrink + p[r];
      p[r] *= kept(a, s, block.head, own + r, column);
#pragma unroll
      for (float& x : o[r]) {
        x *= shrink;
      }
    }
    spread(o, p, others);
  }
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    sum[r] = warp_sum(sum[r]);
    if (lane() == 0 && own + r < s.queries) {
      a.lse[(s.first_q + own + r) * a.query_heads + block.head] =
          sum[r] == 0 ? -INFINITY : maximum[r] * kLn2 + logf(sum[r]);
    }
  }
  each(head_size, [&](int r, int part, int c) {
    if (own + r < s.queries) {
      head_rows<float>(a, a.out, s.first_q + own + r, a.query_heads * a.head_size, block.head)[c] =
          sum[r] == 0 ? 0.0f : o[r][part] / sum[r];
    }
  });
}

// Of queries × columns, as in attention_backward.cu; r is one of the rows of a warp, whichever they are.
struct Differential {
  float p, dlogit, ds;  // P and dS with mask and slope, but dS without the scale
};

PEFT4J_DEVICE Differential differential(const Call& a, const Sequence& s, const Logits& logits, int head, int query,
                                        int column, float product, float dp, float delta, float lse) {
  const Score score = score_of(logits, s, product, query, column);
  const float p = exp2_approx(score.value - lse), factor = kept(a, s, head, query, column);
  const float dlogit = p * (dp * factor - delta);
  return {p * factor, dlogit, dlogit * score.slope};
}

__global__ void __launch_bounds__(kThreads, 2) attention_backward_keys_plain(const Call a) {
  const ColumnBlock block(a, kRows);
  const Sequence& s = block.s;
  const int head_size = static_cast<int>(a.head_size), first = block.first, own = first + threadIdx.x / 32 * kOwn;
  if (!block.there()) {
    return;
  }
  const FloatRows k{reinterpret_cast<float*>(shared_memory()), head_size}, v{k.row(kRows), head_size},
      others{v.row(kRows), head_size};
  float* line = others.row(kOthers);
  const Columns<float> keys = keys_of<float>(a, s, block.key_head), values = values_of<float>(a, s, block.key_head);
  k.copy(kRows, s.columns - first, [&](int i) { return keys.row(s, first + i); });
  v.copy(kRows, s.columns - first, [&](int i) { return values.row(s, first + i); });
  const Logits logits(a, line);
  const Range seen = queries_of(s, first, first + kRows);
  Spread dk = {}, dv = {};
  for (int head = block.head; head < block.head + block.group; ++head) {
    __syncthreads();  // nobody reads the former head's
    load_bias(line, a, head);
    for (int tile = seen.begin / kOthers * kOthers; tile < seen.end; tile += kOthers) {
      const auto rows = [&](const void* from, int64_t stride) {
        exchange(others, s.queries - tile,
                 [&](int i) { return head_rows<const float>(a, from, s.first_q + tile + i, stride, head); });
      };
      const int query = tile + lane();
      const bool there = query < s.queries;
      const float delta = there ? delta_of(a, s, head)[query] : 0, lse = there ? lse_of(a, s, head)[query] : INFINITY;
      const int64_t stride = a.query_heads * a.head_size;
      float p[kOwn], ds[kOwn];
      rows(a.dout, stride);
      dot(ds, v, others);
      rows(a.q, a.q_stride);
      dot(p, k, others);
#pragma unroll
      for (int r = 0; r < kOwn; ++r) {
        const Differential d = differential(a, s, logits, head, query, own + r, p[r], ds[r], delta, lse);
        p[r] = d.p;
        ds[r] = d.ds;
      }
      spread(dk, ds, others);
      rows(a.dout, stride);
      spread(dv, p, others);
    }
  }
  const PrefixGradients prefix = prefix_gradients(a);
  each(head_size, [&](int r, int part, int c) {
    const int column = own + r, row = s.first_k + column - s.prefix;
    const float sum = dk[r][part] * a.scale;
    if (column >= s.prefix && column < s.columns) {
      head_rows<float>(a, a.dk, row, a.dk_stride, block.key_head)[c] = sum;
      head_rows<float>(a, a.dv, row, a.dv_stride, block.key_head)[c] = dv[r][part];
    } else if (column < s.prefix && a.prefix_dk != nullptr) {
      const int64_t at = prefix_index(a, s, column, block.key_head) + c;
      prefix.dk[at] = sum;
      prefix.dv[at] = dv[r][part];
    }
  });
}

// dQ of float32, and the bias's gradient of any type: a warp adds up what its rows give each distance, then the block by bucket.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) attention_backward_queries_plain(const Call a, float* partials) {
  constexpr bool kWantsDq = sizeof(T) == 4;
  const QueryBlock block(a, kRows);
  const Sequence& s = block.s;
  const int head_size = static_cast<int>(a.head_size), own = block.first + threadIdx.x / 32 * kOwn;
  const int reach = static_cast<int>(a.max_distance), distances = 2 * reach + 1;
  const FloatRows q{reinterpret_cast<float*>(shared_memory()), head_size}, dout{q.row(kRows), head_size},
      others{dout.row(kRows), head_size};
  float* line = others.row(kOthers);
  float* sums = line + (a.bias == nullptr ? 0 : distances);  // [warps, distances], if there are partials
  load_bias(line, a, block.head);
  for (int i = threadIdx.x; partials != nullptr && i < kWarps * distances; i += kThreads) {
    sums[i] = 0;
  }
  float* by_distance = sums + threadIdx.x / 32 * distances;
  const Logits logits(a, line);
  if (block.there()) {
    const int64_t stride = a.query_heads * a.head_size;
    const int there = s.queries - block.first;
    q.copy(kRows, there,
           [&](int i) { return head_rows<const T>(a, a.q, s.first_q + block.first + i, a.q_stride, block.head); });
    dout.copy(kRows, there,
              [&](int i) { return head_rows<const T>(a, a.dout, s.first_q + block.first + i, stride, block.head); });
  }
  const Columns<T> keys = keys_of<T>(a, s, block.key_head), values = values_of<T>(a, s, block.key_head);
  const ColumnTiles tiles =
      block.there() ? column_tiles(s, block.first, block.first + kRows, kOthers) : ColumnTiles{0, 0, 0};
  Spread dq = {};
  for (int tile = tiles.begin(); tile < tiles.end; tile = tiles.after(tile)) {
    const int first = tile * kOthers, column = first + lane();
    float p[kOwn], ds[kOwn];
    exchange(others, s.columns - first, [&](int i) { return values.row(s, first + i); });
    dot(ds, dout, others);
    exchange(others, s.columns - first, [&](int i) { return keys.row(s, first + i); });
    dot(p, q, others);
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      const int query = own + r;
      const bool there = query < s.queries;
      const float delta = there ? delta_of(a, s, block.head)[query] : 0,
                  lse = there ? lse_of(a, s, block.head)[query] : INFINITY;
      const Differential d = differential(a, s, logits, block.head, query, column, p[r], ds[r], delta, lse);
      ds[r] = d.ds;
      if (partials != nullptr) {
        // Neighbouring lanes have neighbouring distances: only at the ends several add to one, and those are summed before.
        const int distance = min(max(column - s.stand - query, -reach), reach);
        const float dlogit = column < s.prefix ? 0.0f : d.dlogit;
        const bool low = distance == -reach, high = distance == reach && !low;
        const float below = warp_sum(low ? dlogit : 0.0f), above = warp_sum(high ? dlogit : 0.0f);
        if (!low && !high) {
          by_distance[distance + reach] += dlogit;
        }
        if (lane() == 0) {
          by_distance[0] += below;
          by_distance[2 * reach] += above;
        }
        __syncwarp();
      }
    }
    if (kWantsDq) {
      spread(dq, ds, others);
    }
  }
  if constexpr (kWantsDq) {
    each(head_size, [&](int r, int part, int c) {
      if (block.there() && own + r < s.queries) {
        head_rows<float>(a, a.dq, s.first_q + own + r, a.dq_stride, block.head)[c] = dq[r][part] * a.scale;
      }
    });
  }
  __syncthreads();
  for (int64_t bucket = threadIdx.x; partials != nullptr && bucket < a.buckets; bucket += kThreads) {
    float sum = 0;
    for (int distance = 0; distance < distances; ++distance) {
      for (int warp = 0; warp < kWarps && a.bucket_of[distance] == bucket; ++warp) {
        sum += sums[warp * distances + distance];
      }
    }
    partials[(block.number * a.buckets + bucket) * a.query_heads + block.head] = sum;
  }
}

size_t shared_bytes(const Call& a, int rows, int lines) {
  return FloatRows::bytes(a, rows) + sizeof(float) * lines * (a.bias == nullptr ? 0 : 2 * a.max_distance + 1);
}

template <class T>
int launch_queries(const Call& a, float* partials, cudaStream_t stream) {
  return PEFT4J_LAUNCH(attention_backward_queries_plain<T>, query_blocks(a, kRows), dim3(kThreads),
                       shared_bytes(a, 2 * kRows + kOthers, partials == nullptr ? 1 : 1 + kWarps), stream, a, partials);
}

}  // namespace

int forward_plain(const Call& a, cudaStream_t stream) {
  return PEFT4J_LAUNCH(attention_forward_plain, query_blocks(a, kRows), dim3(kThreads),
                       shared_bytes(a, kRows + kOthers, 1), stream, a);
}

int backward_plain(const Call& a, float* partials, cudaStream_t stream) {
  const int status = PEFT4J_LAUNCH(attention_backward_keys_plain, column_blocks(a, kRows), dim3(kThreads),
                                   shared_bytes(a, 2 * kRows + kOthers, 1), stream, a);
  return status != 0 ? status : launch_queries<float>(a, partials, stream);
}

int bias_gradient(const Call& a, float* partials, cudaStream_t stream) {
  return by_dtype(a.dtype, [&](auto number) { return launch_queries<decltype(number)>(a, partials, stream); });
}

int64_t bias_splits(const Call& a) {
  return tile_numbers(a.query_rows, a.sequences, kRows);
}

}  // namespace peft4j::cuda::attention
