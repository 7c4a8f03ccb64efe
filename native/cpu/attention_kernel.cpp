/*
attention, CPU: packed, online softmax, forward and backward (after FlashAttention-2, Dao 2023)

A task is one sequence and one key/value head. It packs that head's keys transposed in blocks of kKeys and its values
by rows, prefix first, in the compute type; then every query head of the group runs over blocks of kQueries rows:
    S = (scale·Q) Kᵀ  [kQueries, kKeys],  running row maximum and sum,  O += P V
No T×T matrix exists. Backward makes P again from the log-sum-exp:
    dV += (mask∘P)ᵀ dO,  dP = mask∘(dO Vᵀ),  dS = P∘(dP - δ),  dQ += dS K·scale,  dK += dSᵀ (scale·Q),  δ = rowsum(dO∘O)
A soft-cap's derivative is one more factor of dS; a bias by distance gets the sum of dS, without that factor, along its diagonal.
Everything a task writes is its own, so the result does not depend on the number of threads. The prefix's gradients
are written per sequence and added by the caller in order.

Key j of the prefix is column j of the mask, key j of the sequence column prefix + j; row (query row)·heads + head.
*/
#include <ATen/Parallel.h>

#include <limits>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kQueries = 48;
constexpr int64_t kKeys = 128;
constexpr int64_t kAhead = 16;  // rows

int64_t up_to(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// The keys that one query row sees, as columns of [prefix | sequence]: all of the prefix, and [first, last) behind it.
struct Visible {
  int64_t first, last;
};

Visible visible_keys(const AttentionParams& p, int64_t query, int64_t queries, int64_t keys) {
  const int64_t position = query + keys - queries;  // causal is aligned at the end (bottom right)
  int64_t first = 0, last = keys;
  if (p.window > 0) {
    first = std::max<int64_t>(0, position - p.window + 1);
    last = std::min(keys, position + p.window);
  }
  if (p.causal) {
    last = std::min(last, position + 1);
  }
  last = std::clamp<int64_t>(last, 0, keys);
  return {p.prefix + std::min(first, last), p.prefix + last};
}

// One key/value head of one sequence, in the compute type.
template <class A>
struct PackedHead {
  std::vector<A> k_columns;  // [blocks][D][kKeys]: Kᵀ of each block
  std::vector<A> v_columns;  // the same of V; backward only
  std::vector<A> k_rows, v_rows;  // [keys, D]
  int64_t keys = 0;

  void reset(int64_t n, int64_t d, bool backward) {
    keys = n;
    const int64_t padded = up_to(n, kKeys);
    k_columns.assign(padded * d, A(0));
    k_rows.resize(padded * d);
    v_rows.resize(padded * d);
    if (backward) {
      v_columns.assign(padded * d, A(0));
    }
  }

  template <class T>
  void append(int64_t at, int64_t n, int64_t d, const T* k, int64_t k_stride, const T* v, int64_t v_stride) {
    for (int64_t i = 0; i < n; ++i) {
      if (i + kAhead < n) {
        prefetch_row(k + (i + kAhead) * k_stride, d);
        prefetch_row(v + (i + kAhead) * v_stride, d);
      }
      load_row(k_rows.data() + (at + i) * d, k + i * k_stride, d);
      load_row(v_rows.data() + (at + i) * d, v + i * v_stride, d);
    }
  }

  void transpose(int64_t d, bool backward) {
    for (int64_t key = 0; key < keys; key += kKeys) {
      const int64_t n = std::min(kKeys, keys - key);
      at::vec::transpose_mxn<A>(k_rows.data() + key * d, d, k_columns.data() + key * d, kKeys, n, d);
      if (backward) {
        at::vec::transpose_mxn<A>(v_rows.data() + key * d, d, v_columns.data() + key * d, kKeys, n, d);
      }
    }
  }
};

template <class T>
struct Task {
  const AttentionParams& p;
  int64_t sequence, head, first_q, queries, first_k, keys;  // keys: of the sequence, without the prefix

  Task(const AttentionParams& params, int64_t index)
      : p(params),
        sequence(index / params.key_heads),
        head(index % params.key_heads),
        first_q(params.begin_q[sequence]),
        queries(params.begin_q[sequence + 1] - first_q),
        first_k(params.begin_k[sequence]),
        keys(params.begin_k[sequence + 1] - first_k) {}

  template <class A>
  void pack(PackedHead<A>& packed, bool backward) const {
    const int64_t d = p.head_size;
    packed.reset(p.prefix + keys, d, backward);
    if (p.prefix > 0) {
      const int64_t at = sequence * p.prefix_stride + head * d;
      packed.append(0, p.prefix, d, static_cast<const T*>(p.prefix_k) + at, p.key_heads * d,
                    static_cast<const T*>(p.prefix_v) + at, p.key_heads * d);
    }
    packed.append(p.prefix, keys, d, static_cast<const T*>(p.k) + first_k * p.k_stride + head * d, p.k_stride,
                  static_cast<const T*>(p.v) + first_k * p.v_stride + head * d, p.v_stride);
    packed.transpose(d, backward);
  }
};

// Sets the columns of a block of scores that row i does not see to -inf (also the padding behind the last key).
template <class A>
void hide(const AttentionParams& p, A* scores, int64_t first_key, const Visible& seen) {
  const int64_t prefix_end = std::clamp<int64_t>(p.prefix - first_key, 0, kKeys);
  const int64_t first = std::clamp<int64_t>(seen.first - first_key, prefix_end, kKeys);
  const int64_t last = std::clamp<int64_t>(seen.last - first_key, first, kKeys);
  std::fill(scores + prefix_end, scores + first, -std::numeric_limits<A>::infinity());
  std::fill(scores + last, scores + kKeys, -std::numeric_limits<A>::infinity());
}

/*
The bias of one head by distance, spread over all distances of a task: row i's bias of the sequence's key j is row(i)[j]. The same
for its gradient.
*/
template <class A>
struct BiasLine {
  std::vector<A> values;
  int64_t queries;

  void reset(int64_t n, int64_t keys) {
    queries = n;
    values.assign(std::max<int64_t>(n + keys - 1, 0), A(0));
  }
  A* row(int64_t i) { return values.data() + queries - 1 - i; }

  // f(value, index in a table [buckets, heads])
  template <class F>
  void each(const AttentionParams& p, int64_t keys, int64_t head, const F& f) {
    for (int64_t x = 0; x < static_cast<int64_t>(values.size()); ++x) {
      const int64_t distance = std::clamp(x - (keys - 1), -p.max_distance, p.max_distance);
      f(values[x], p.bucket_of[distance + p.max_distance] * p.query_heads + head);
    }
  }
  void load(const AttentionParams& p, int64_t n, int64_t keys, int64_t head) {
    reset(n, keys);
    each(p, keys, head, [&](A& value, int64_t at) { value = static_cast<const A*>(p.bias)[at]; });
  }
};

// The columns of a block of n that belong to the sequence, not to the prefix: from `begin` on, which is its key `first`.
struct OwnColumns {
  int64_t begin, first;
  OwnColumns(const AttentionParams& p, int64_t first_key, int64_t n)
      : begin(std::clamp<int64_t>(p.prefix - first_key, 0, n)),
        first(std::max<int64_t>(first_key + begin - p.prefix, 0)) {}
};

/*
Products become logits: the soft-cap, the bias of the row, and -inf for what is not seen. slope, if wanted: the soft-cap's derivative. n
columns are there, width is n rounded up to vectors.
*/
template <class A>
void make_logits(const AttentionParams& p, A* row, A* slope, int64_t n, int64_t width, int64_t first_key,
                 const Visible& seen, const A* bias) {
  constexpr int W = Vec<A>::size();
  if (p.softcap > 0) {
    const Vec<A> cap(static_cast<A>(p.softcap)), inverse(static_cast<A>(1 / p.softcap));
    for (int64_t c = 0; c < width; c += W) {
      const Vec<A> t = (Vec<A>::loadu(row + c) * inverse).tanh();
      (t * cap).store(row + c);
      if (slope != nullptr) {
        (Vec<A>(A(1)) - t * t).store(slope + c);
      }
    }
  }
  if (bias != nullptr) {
    const OwnColumns own(p, first_key, n);
    add_row(row + own.begin, bias + own.first, n - own.begin);
  }
  hide(p, row, first_key, seen);
}

bool sees_block(const AttentionParams& p, int64_t first_key, const Visible& seen) {
  return first_key < p.prefix || (first_key < seen.last && first_key + kKeys > seen.first);
}

template <class T, class A>
void forward_task(const Task<T>& task, PackedHead<A>& packed, std::vector<A>& space) {
  constexpr int W = Vec<A>::size();
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  const AttentionParams& p = task.p;
  const int64_t d = p.head_size, group = p.query_heads / p.key_heads;
  task.pack(packed, false);
  space.resize(kQueries * (2 * d + kKeys + 2));
  alignas(64) uint8_t mask[kQueries * kKeys];
  A* q = space.data();
  A* o = q + kQueries * d;
  A* s = o + kQueries * d;
  A* maximum = s + kQueries * kKeys;
  A* sum = maximum + kQueries;
  BiasLine<A> bias;
  for (int64_t head = task.head * group; head < (task.head + 1) * group; ++head) {
    if (p.bias != nullptr) {
      bias.load(p, task.queries, task.keys, head);
    }
    for (int64_t begin = 0; begin < task.queries; begin += kQueries) {
      const int64_t rows = std::min(kQueries, task.queries - begin);
      Visible seen[kQueries];
      for (int64_t i = 0; i < rows; ++i) {
        const T* from = static_cast<const T*>(p.q) + (task.first_q + begin + i) * p.q_stride + head * d;
        if (begin + i + kAhead < task.queries) {
          prefetch_row(from + kAhead * p.q_stride, d);
        }
        load_row(q + i * d, from, d);
        seen[i] = visible_keys(p, begin + i, task.queries, task.keys);
        maximum[i] = kNone;
        sum[i] = 0;
      }
      for (int64_t i = 0; i < rows * d; ++i) {
        q[i] *= static_cast<A>(p.scale);
      }
      std::fill(o, o + rows * d, A(0));
      for (int64_t key = 0; key < packed.keys; key += kKeys) {
        if (std::none_of(seen, seen + rows, [&](const Visible& v) { return sees_block(p, key, v); })) {
          continue;
        }
        const int64_t keys = std::min(kKeys, packed.keys - key);
        tile_gemm<A>(rows, up_to(keys, W), d, q, d, 1, packed.k_columns.data() + key * d, kKeys, s, kKeys, false);
        if (p.dropout.active()) {
          mask_block(mask, kKeys, rows, keys, (task.first_q + begin) * p.query_heads + head, p.query_heads, key,
                     p.dropout.seed);
        }
        for (int64_t i = 0; i < rows; ++i) {
          A* row = s + i * kKeys;
          const int64_t width = up_to(keys, W);
          make_logits<A>(p, row, nullptr, keys, width, key, seen[i], p.bias == nullptr ? nullptr : bias.row(begin + i));
          Vec<A> high(maximum[i]);
          for (int64_t c = 0; c < width; c += W) {
            high = larger(high, Vec<A>::loadu(row + c));
          }
          const A largest = largest_lane(high);
          const A base = largest == kNone ? A(0) : largest;  // nothing seen yet: exp(-inf - 0) is 0
          Vec<A> total(A(0));
          for (int64_t c = 0; c < width; c += W) {
            const Vec<A> e = fast_exp(Vec<A>::loadu(row + c) - Vec<A>(base));
            e.store(row + c);
            total = total + e;
          }
          if (largest != maximum[i]) {
            const A shrink = std::exp(maximum[i] - base);
            maximum[i] = largest;
            sum[i] *= shrink;
            for (int64_t c = 0; c < d; ++c) {
              o[i * d + c] *= shrink;
            }
          }
          sum[i] += sum_of_lanes(total);
          if (p.dropout.active()) {
            apply_mask(row, mask + i * kKeys, keys, p.dropout);
          }
        }
        tile_gemm<A>(rows, d, keys, s, kKeys, 1, packed.v_rows.data() + key * d, d, o, d, true);
      }
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t row = task.first_q + begin + i;
        const A inverse = sum[i] == 0 ? A(0) : A(1) / sum[i];
        for (int64_t c = 0; c < d; ++c) {
          o[i * d + c] *= inverse;
        }
        store_row(static_cast<T*>(p.out) + (row * p.query_heads + head) * d, o + i * d, d);
        static_cast<A*>(p.lse)[row * p.query_heads + head] = sum[i] == 0 ? kNone : maximum[i] + std::log(sum[i]);
      }
    }
  }
}

template <class T, class A>
void backward_task(const Task<T>& task, PackedHead<A>& packed, std::vector<A>& space) {
  constexpr int W = Vec<A>::size();
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  const AttentionParams& p = task.p;
  const int64_t d = p.head_size, group = p.query_heads / p.key_heads;
  task.pack(packed, true);
  const int64_t padded = up_to(packed.keys, kKeys);
  space.resize(kQueries * (3 * d + 2 * kKeys + 2) + 2 * padded * d);
  A* q = space.data();
  A* dout = q + kQueries * d;
  A* dq = dout + kQueries * d;
  A* s = dq + kQueries * d;
  A* ds = s + kQueries * kKeys;
  A* delta = ds + kQueries * kKeys;
  A* lse = delta + kQueries;
  A* dk = lse + kQueries;
  A* dv = dk + padded * d;
  std::fill(dk, dk + 2 * padded * d, A(0));
  alignas(64) uint8_t mask[kQueries * kKeys];
  alignas(64) A slope[kKeys];
  BiasLine<A> bias, dbias;
  for (int64_t head = task.head * group; head < (task.head + 1) * group; ++head) {
    if (p.bias != nullptr) {
      bias.load(p, task.queries, task.keys, head);
      dbias.reset(task.queries, task.keys);
    }
    for (int64_t begin = 0; begin < task.queries; begin += kQueries) {
      const int64_t rows = std::min(kQueries, task.queries - begin);
      Visible seen[kQueries];
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t row = task.first_q + begin + i;
        const T* from[] = {static_cast<const T*>(p.q) + row * p.q_stride + head * d,
                           static_cast<const T*>(p.dout) + row * p.dout_stride + head * d,
                           static_cast<const T*>(p.out) + (row * p.query_heads + head) * d};
        if (begin + i + kAhead < task.queries) {
          prefetch_row(from[0] + kAhead * p.q_stride, d);
          prefetch_row(from[1] + kAhead * p.dout_stride, d);
          prefetch_row(from[2] + kAhead * p.query_heads * d, d);
        }
        load_row(q + i * d, from[0], d);
        load_row(dout + i * d, from[1], d);
        load_row(dq + i * d, from[2], d);  // o, for delta
        A sum = 0;
        for (int64_t c = 0; c < d; ++c) {
          sum += dq[i * d + c] * dout[i * d + c];
        }
        delta[i] = sum;
        lse[i] = static_cast<const A*>(p.lse)[row * p.query_heads + head];
        seen[i] = visible_keys(p, begin + i, task.queries, task.keys);
      }
      for (int64_t i = 0; i < rows * d; ++i) {
        q[i] *= static_cast<A>(p.scale);
      }
      std::fill(dq, dq + rows * d, A(0));
      for (int64_t key = 0; key < packed.keys; key += kKeys) {
        if (std::none_of(seen, seen + rows, [&](const Visible& v) { return sees_block(p, key, v); })) {
          continue;
        }
        const int64_t keys = std::min(kKeys, packed.keys - key), width = up_to(keys, W);
        tile_gemm<A>(rows, width, d, q, d, 1, packed.k_columns.data() + key * d, kKeys, s, kKeys, false);
        tile_gemm<A>(rows, width, d, dout, d, 1, packed.v_columns.data() + key * d, kKeys, ds, kKeys, false);
        if (p.dropout.active()) {
          mask_block(mask, kKeys, rows, keys, (task.first_q + begin) * p.query_heads + head, p.query_heads, key,
                     p.dropout.seed);
        }
        for (int64_t i = 0; i < rows; ++i) {
          A* probability = s + i * kKeys;
          A* gradient = ds + i * kKeys;
          make_logits<A>(p, probability, slope, keys, width, key, seen[i],
                         p.bias == nullptr ? nullptr : bias.row(begin + i));
          const Vec<A> log_sum(lse[i] == kNone ? A(0) : lse[i]);
          for (int64_t c = 0; c < width; c += W) {
            fast_exp(Vec<A>::loadu(probability + c) - log_sum).store(probability + c);
          }
          if (p.dropout.active()) {
            // dP and the P of dV carry the mask, the P of dS does not.
            apply_mask(gradient, mask + i * kKeys, keys, p.dropout);
          }
          const Vec<A> correction(delta[i]);
          for (int64_t c = 0; c < width; c += W) {
            (Vec<A>::loadu(probability + c) * (Vec<A>::loadu(gradient + c) - correction)).store(gradient + c);
          }
          if (p.dbias != nullptr) {
            const OwnColumns own(p, key, keys);
            add_row(dbias.row(begin + i) + own.first, gradient + own.begin, keys - own.begin);
          }
          for (int64_t c = 0; p.softcap > 0 && c < width; c += W) {
            (Vec<A>::loadu(gradient + c) * Vec<A>::loadu(slope + c)).store(gradient + c);
          }
          if (p.dropout.active()) {
            apply_mask(probability, mask + i * kKeys, keys, p.dropout);
          }
        }
        tile_gemm<A>(keys, d, rows, s, 1, kKeys, dout, d, dv + key * d, d, true);
        tile_gemm<A>(keys, d, rows, ds, 1, kKeys, q, d, dk + key * d, d, true);
        tile_gemm<A>(rows, d, keys, ds, kKeys, 1, packed.k_rows.data() + key * d, d, dq, d, true);
      }
      for (int64_t i = 0; i < rows * d; ++i) {
        dq[i] *= static_cast<A>(p.scale);
      }
      for (int64_t i = 0; i < rows; ++i) {
        store_row(static_cast<T*>(p.dq) + (task.first_q + begin + i) * p.dq_stride + head * d, dq + i * d, d);
      }
    }
    if (p.dbias != nullptr) {
      A* to = static_cast<A*>(p.dbias) + task.sequence * p.buckets * p.query_heads;
      dbias.each(p, task.keys, head, [&](const A& value, int64_t at) { to[at] += value; });
    }
  }
  if (p.prefix_dk != nullptr) {
    for (int64_t i = 0; i < p.prefix; ++i) {
      const int64_t at = ((task.sequence * p.prefix + i) * p.key_heads + task.head) * d;
      std::memcpy(static_cast<A*>(p.prefix_dk) + at, dk + i * d, d * sizeof(A));
      std::memcpy(static_cast<A*>(p.prefix_dv) + at, dv + i * d, d * sizeof(A));
    }
  }
  for (int64_t i = 0; i < task.keys; ++i) {
    const int64_t row = task.first_k + i;
    store_row(static_cast<T*>(p.dk) + row * p.dk_stride + task.head * d, dk + (p.prefix + i) * d, d);
    store_row(static_cast<T*>(p.dv) + row * p.dv_stride + task.head * d, dv + (p.prefix + i) * d, d);
  }
}

template <class T, bool Backward>
void run(const AttentionParams& p) {
  using A = at::opmath_type<T>;
  at::parallel_for(0, p.sequences * p.key_heads, 1, [&](int64_t begin, int64_t end) {
    PackedHead<A> packed;
    std::vector<A> space;
    for (int64_t i = begin; i < end; ++i) {
      const Task<T> task(p, i);
      if constexpr (Backward) {
        backward_task<T, A>(task, packed, space);
      } else {
        forward_task<T, A>(task, packed, space);
      }
    }
  });
}

template <bool Backward>
void run_dtype(const AttentionParams& p) {
  switch (p.dtype) {
    case at::kDouble: return run<double, Backward>(p);
    case at::kFloat: return run<float, Backward>(p);
    default: return run<c10::BFloat16, Backward>(p);
  }
}

}  // namespace

void attention_forward(const AttentionParams& p) {
  run_dtype<false>(p);
}

void attention_backward(const AttentionParams& p) {
  run_dtype<true>(p);
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
