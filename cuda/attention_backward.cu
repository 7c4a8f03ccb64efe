/*
attention, backward, after FlashAttention-2 (Dao 2023) but without atomics. With P = exp(S - log-sum-exp), S the logits, and the mask of
dropout where there is one:
    δ = rowsum(dO∘O),  dP = mask∘(dO·Vᵀ),  dS = P∘(dP - δ)∘slope     (slope: the soft-cap's derivative)
    dV = (mask∘P)ᵀ·dO,  dK = scale·dSᵀ·Q,  dQ = scale·dS·K

1. attention_delta: δ, and the log-sum-exp to base 2, once for each row.
2. attention_backward_keys: a block has a tile of columns of one key head, and walks over the queries that see it, of all query heads
   that share the key head: dK and dV stay in registers. It computes Sᵀ = K·Qᵀ, so that Pᵀ and dSᵀ are operands as they lie there. The
   next queries come by cp.async into a second buffer meanwhile.
3. attention_backward_queries: a block has a tile of queries, and walks over the columns that they see. dP comes first, so that the
   next V is on its way during S and dQ; K has two buffers, as dQ needs it last.
The seven products are two more than with atomics in dQ (S and dP are made twice); in return every sum has a fixed order: dK and dV
over query heads and queries, dQ over columns, a shared prefix's over sequences.

    D                            32   64   80   96  128  256
    keys: columns of a block    128  128   64   64   64   32     4 warps with 16·M columns; with 256 two warps share 16 columns,
          queries of a tile      32   32   32   32   32   16     each with half the width of dK and dV (S and dP are made twice)
          shared memory, KB      31   55   45   53   69   66
    queries: rows of a block    128  128  128  128  128   64
             columns of a tile   64   48   32   32   32   16
             shared memory, KB   36   57   62   73   95   91

Operations: 14·D for each pair that sees each other (18·D with 256). Bytes: Q, dO once for each tile of columns, K and V once for each tile of
queries, served by the L2 cache; 64 columns make 128 operations a byte.
Instruction mix for each warp, D 128: keys, 16 × 32 pairs: 128 mma, 80 ldmatrix.x4; queries, 32 × 32 pairs: 192 mma, 80 ldmatrix.x4; and for
each element in a lane two FADD, one FFMA, ex2 and FMUL, and half a conversion.
*/
#include "device/attention_gradients.h"

namespace peft4j::cuda::attention {
namespace {

template <int D>
struct KeysShape {
  static constexpr int kRowTiles = D <= 64 ? 2 : 1;  // M
  static constexpr int kParts = D <= 128 ? 1 : 2;    // of the width of dK and dV, a warp has one
  static constexpr int kColumns = kWarps / kParts * 16 * kRowTiles;
  static constexpr int kQueries = D <= 128 ? 32 : 16;
  static constexpr int kWidth = D / kParts;
};

template <int D>
struct QueriesShape {
  static constexpr int kRowTiles = D <= 128 ? 2 : 1;
  static constexpr int kQueries = kWarps * 16 * kRowTiles;
  static constexpr int kColumns = D <= 32 ? 64 : D <= 64 ? 48 : D <= 128 ? 32 : 16;
};

// ---- δ

constexpr int kLanes = 8;  // that share a row of one head

template <class T>
__global__ void attention_delta(const Call a) {
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
  const bool inside = index < a.query_rows * a.query_heads;
  const T* out = static_cast<const T*>(a.out) + index * a.head_size;
  const T* dout = static_cast<const T*>(a.dout) + index * a.head_size;
  float sum = 0;
  for (int64_t c = threadIdx.x % kLanes * Pack<T>::kSize; inside && c < a.head_size; c += kLanes * Pack<T>::kSize) {
    if (a.aligned) {
      const Pack<T> x = load_pack(out + c), y = load_pack(dout + c);
#pragma unroll
      for (int i = 0; i < Pack<T>::kSize; ++i) {
        sum += to_float(x.v[i]) * to_float(y.v[i]);
      }
    } else {
      for (int64_t i = c; i < c + Pack<T>::kSize && i < a.head_size; ++i) {
        sum += to_float(out[i]) * to_float(dout[i]);
      }
    }
  }
  sum = warp_sum<kLanes>(sum);
  if (inside && threadIdx.x % kLanes == 0) {
    const int64_t rows = a.query_rows, to = index % a.query_heads * rows + index / a.query_heads;
    const float lse = a.lse[index];
    a.scratch[to] = sum;
    a.scratch[a.query_heads * rows + to] = lse == -INFINITY ? INFINITY : lse * kLog2E;
  }
}

// ---- dK, dV

// One of two buffers that queries come into.
template <class T, int D>
struct Stage {
  static constexpr int kQueries = KeysShape<D>::kQueries;
  Tile<T, D> q, dout;
  float* rows;  // δ, then the log-sum-exp

  static constexpr size_t kBytes = 2 * Tile<T, D>::bytes(kQueries) + 2 * kQueries * sizeof(float);

  PEFT4J_DEVICE explicit Stage(char* begin)
      : q{reinterpret_cast<T*>(begin)}, dout{q.at(kQueries, 0)}, rows(reinterpret_cast<float*>(dout.at(kQueries, 0))) {}

  PEFT4J_DEVICE void copy(const Call& a, const Sequence& s, int query, int head) const {
    copy_queries(a, q, kQueries, a.q, a.q_stride, s, query, head);
    copy_queries(a, dout, kQueries, a.dout, a.query_heads * a.head_size, s, query, head);
    const int i = threadIdx.x % kQueries, which = threadIdx.x / kQueries;
    if (which < 2) {  // rows that are not there: P = exp 0 meets dO = 0
      const float* from = (which == 0 ? delta_of(a, s, head) : lse_of(a, s, head)) + query;
      const bool there = query + i < s.queries;
      cp_async<4>(rows + threadIdx.x, there ? from + i : from, there ? 4 : 0);
    }
  }
};

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 2) attention_backward_keys(const Call a) {
  using Shape = KeysShape<D>;
  constexpr int M = Shape::kRowTiles, N = Shape::kQueries / 8, W = Shape::kWidth / 8;
  const ColumnBlock block(a, Shape::kColumns);
  const Sequence& s = block.s;
  if (!block.there() || (block.first + Shape::kColumns <= s.prefix && a.prefix_dk == nullptr)) {
    return;
  }
  const int warp = threadIdx.x / 32, row = warp / Shape::kParts * 16 * M;
  const int width = warp % Shape::kParts * Shape::kWidth;  // the first of the warp's columns of dK and dV
  const Tile<T, D> k{reinterpret_cast<T*>(shared_memory())}, v{k.at(Shape::kColumns, 0)};
  char* stages = reinterpret_cast<char*>(v.at(Shape::kColumns, 0));
  auto* line = reinterpret_cast<float*>(stages + 2 * Stage<T, D>::kBytes);

  copy_columns(a, k, Shape::kColumns, keys_of<T>(a, s, block.key_head), s, block.first);
  copy_columns(a, v, Shape::kColumns, values_of<T>(a, s, block.key_head), s, block.first);
  const Range seen = queries_of(s, block.first, block.first + Shape::kColumns);
  const int first_tile = seen.begin / Shape::kQueries;
  const int tiles = (seen.end - first_tile * Shape::kQueries + Shape::kQueries - 1) / Shape::kQueries;
  const int steps = seen.begin < seen.end ? block.group * tiles : 0;
  const auto query_of = [&](int step) { return (first_tile + step % tiles) * Shape::kQueries; };
  const auto head_of = [&](int step) { return block.head + step / tiles; };
  const auto stage_of = [&](int step) { return Stage<T, D>(stages + step % 2 * Stage<T, D>::kBytes); };
  if (steps > 0) {
    stage_of(0).copy(a, s, query_of(0), head_of(0));
  }
  cp_async_commit();
  const Logits logits(a, line);
  Sums<M, W> dk = {}, dv = {};
  for (int step = 0; step < steps; ++step) {
    const int query = query_of(step), head = head_of(step), column = block.first + row;
    if (a.bias != nullptr && step % tiles == 0) {
      __syncthreads();  // nobody reads the former head's
      load_bias(line, a, head);
    }
    cp_async_wait<0>();
    __syncthreads();  // this stage is there, and nobody reads the other one
    if (step + 1 < steps) {
      stage_of(step + 1).copy(a, s, query_of(step + 1), head_of(step + 1));
    }
    cp_async_commit();
    const Stage<T, D> stage = stage_of(step);
    if (!s.sees_any(query, query + Shape::kQueries, column, column + 16 * M)) {
      continue;
    }
    Sums<M, N> p = {}, ds = {};
    add_nt<D>(p, k, row, stage.q, 0);
    add_nt<D>(ds, v, row, stage.dout, 0);
    differentiate<RowsAre::kKeys>(p, ds, a, logits, s, head, query, column, stage.rows, stage.rows + Shape::kQueries);
    add_pn(dv, p, stage.dout, 0, width);
    add_pn(dk, ds, stage.q, 0, width);
  }
  cp_async_wait<0>();
  __syncthreads();  // the tiles of K and V are free
  write_column_gradients(a, s, block.first + row, block.key_head, width, dk, dv, k, v, row);
}

// ---- dQ

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 2) attention_backward_queries(const Call a) {
  using Shape = QueriesShape<D>;
  constexpr int M = Shape::kRowTiles, N = Shape::kColumns / 8;
  const QueryBlock block(a, Shape::kQueries);
  if (!block.there()) {
    return;
  }
  const Sequence& s = block.s;
  const int head = block.head, query = block.first, row = threadIdx.x / 32 * 16 * M;
  const Tile<T, D> q{reinterpret_cast<T*>(shared_memory())}, dout{q.at(Shape::kQueries, 0)};
  const Tile<T, D> v{dout.at(Shape::kQueries, 0)}, k{v.at(Shape::kColumns, 0)};  // k: two of them
  auto* rows = reinterpret_cast<float*>(k.at(2 * Shape::kColumns, 0));
  float* line = rows + 2 * Shape::kQueries;
  load_bias(line, a, head);
  for (int i = threadIdx.x; i < 2 * Shape::kQueries; i += kThreads) {  // δ, then the log-sum-exp
    const int r = query + i % Shape::kQueries;
    const float* from = i < Shape::kQueries ? delta_of(a, s, head) : lse_of(a, s, head);
    rows[i] = r < s.queries ? from[r] : 0.0f;
  }
  const Columns<T> keys = keys_of<T>(a, s, block.key_head), values = values_of<T>(a, s, block.key_head);
  const ColumnTiles tiles = column_tiles(s, query, query + Shape::kQueries, Shape::kColumns);
  const auto copy = [&](int tile, int buffer) {
    if (tile < tiles.end) {
      copy_columns(a, v, Shape::kColumns, values, s, tile * Shape::kColumns);
      copy_columns(a, Tile<T, D>{k.at(buffer * Shape::kColumns, 0)}, Shape::kColumns, keys, s, tile * Shape::kColumns);
    }
    cp_async_commit();
  };
  copy_queries(a, q, Shape::kQueries, a.q, a.q_stride, s, query, head);
  copy_queries(a, dout, Shape::kQueries, a.dout, a.query_heads * a.head_size, s, query, head);
  copy(tiles.begin(), 0);
  const Logits logits(a, line);
  Sums<M, D / 8> dq = {};
  int buffer = 0;
  for (int tile = tiles.begin(), next; tile < tiles.end; tile = next, buffer ^= 1) {
    const int column = tile * Shape::kColumns;
    const Tile<T, D> own_k{k.at(buffer * Shape::kColumns, 0)};
    next = tiles.after(tile);
    cp_async_wait<0>();
    __syncthreads();  // V and K are there, and nobody reads the other K
    const bool busy = s.sees_any(query + row, query + row + 16 * M, column, column + Shape::kColumns);
    Sums<M, N> p = {}, ds = {};
    if (busy) {
      add_nt<D>(ds, dout, row, v, 0);
    }
    __syncthreads();  // nobody reads V
    copy(next, buffer ^ 1);
    if (!busy) {
      continue;
    }
    add_nt<D>(p, q, row, own_k, 0);
    differentiate<RowsAre::kQueries>(p, ds, a, logits, s, head, query + row, column, rows + row,
                                     rows + Shape::kQueries + row);
    add_pn(dq, ds, own_k, 0, 0);
  }
  cp_async_wait<0>();
  __syncthreads();  // Q was copied by others, also where no tile was seen
  write_query_gradients(a, s, query + row, head, 0, dq, q, row);
}

// ---- launches

template <class T>
int launch_delta(const Call& a, cudaStream_t stream) {
  constexpr int kBlock = 256;
  const int64_t blocks = divide_up(a.query_rows * a.query_heads * kLanes, kBlock);
  return PEFT4J_LAUNCH(attention_delta<T>, dim3(static_cast<unsigned>(blocks)), dim3(kBlock), 0, stream, a);
}

template <class T, int D>
int launch_keys(const Call& a, cudaStream_t stream) {
  constexpr int kColumns = KeysShape<D>::kColumns;
  const size_t bytes = 2 * Tile<T, D>::bytes(kColumns) + 2 * Stage<T, D>::kBytes + bias_numbers(a) * sizeof(float);
  return PEFT4J_LAUNCH((attention_backward_keys<T, D>), column_blocks(a, kColumns), dim3(kThreads), bytes, stream, a);
}

template <class T, int D>
int launch_queries(const Call& a, cudaStream_t stream) {
  constexpr int kQueries = QueriesShape<D>::kQueries, kColumns = QueriesShape<D>::kColumns;
  const size_t bytes =
      Tile<T, D>::bytes(2 * kQueries + 3 * kColumns) + (2 * kQueries + bias_numbers(a)) * sizeof(float);
  return PEFT4J_LAUNCH((attention_backward_queries<T, D>), query_blocks(a, kQueries), dim3(kThreads), bytes, stream, a);
}

// What scratch holds behind the numbers of each row, as far as it is needed: parts of the prefix's gradients and of the bias's.
struct Parts {
  int64_t prefix, bias, end;
  bool sums_prefix;

  explicit Parts(const Call& a) : prefix(row_numbers(a)), sums_prefix(a.prefix_dk != nullptr && a.prefix_stride == 0) {
    bias = prefix + (sums_prefix ? 2 * a.sequences * prefix_numbers(a) : 0);
    end = bias + (a.dbias == nullptr ? 0 : bias_splits(a) * a.buckets * a.query_heads);
  }
};

template <class T>
int launch_all(const Call& a, float* bias_parts, cudaStream_t stream) {
  const int status = launch_delta<T>(a, stream);
  if (status != 0) {
    return status;
  }
  if constexpr (sizeof(T) == 4) {
    return backward_plain(a, bias_parts, stream);
  } else {
    const int done = a.sm90a != 0 && sm90a_takes(a) ? backward_sm90a(a, stream) : by_head_size(a, [&](auto size) {
      const int keys = launch_keys<T, size()>(a, stream);
      return keys != 0 ? keys : launch_queries<T, size()>(a, stream);
    });
    return done != 0 || bias_parts == nullptr ? done : bias_gradient(a, bias_parts, stream);
  }
}

int backward(const Call& a, cudaStream_t stream) {
  const Parts parts(a);
  float* bias_parts = a.dbias == nullptr ? nullptr : a.scratch + parts.bias;
  int status = by_dtype(a.dtype, [&](auto number) { return launch_all<decltype(number)>(a, bias_parts, stream); });
  const auto sum = [&](float* out, const float* from, int64_t n, int64_t splits) {
    status = status != 0 || n == 0 ? status : peft4j_cuda_fixed_order_sum(out, from, n, splits, 0, stream);
  };
  if (parts.sums_prefix) {
    const int64_t n = prefix_numbers(a);
    sum(a.prefix_dk, a.scratch + parts.prefix, n, a.sequences);
    sum(a.prefix_dv, a.scratch + parts.prefix + a.sequences * n, n, a.sequences);
  }
  if (a.dbias != nullptr) {  // also without sequences, when nothing is in scratch
    sum(a.dbias, bias_parts, a.buckets * a.query_heads, bias_splits(a));
  }
  return status;
}

}  // namespace
}  // namespace peft4j::cuda::attention

int peft4j_cuda_attention_backward(const peft4j_cuda_attention* a, void* stream) {
  using namespace peft4j::cuda::attention;
  return backward(Call(*a), static_cast<cudaStream_t>(stream));
}

int64_t peft4j_cuda_attention_scratch(const peft4j_cuda_attention* a) {
  using namespace peft4j::cuda::attention;
  return Parts(Call(*a)).end;
}
