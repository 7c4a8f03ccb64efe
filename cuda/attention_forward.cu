/*
attention, forward: O = softmax(scale·Q·Kᵀ)·V for packed sequences, after FlashAttention-2 (Dao 2023); contract: native/peft4j.h.

A block has a tile of queries of one head, a warp 16·M rows of it. K and V come tile by tile: V while S = Q·Kᵀ is computed, the next K
while the softmax and O += P·V are, so one buffer each is enough. The softmax is online, to base 2 with the scale in its exponent;
P goes from registers into the second product. Only tiles that some row does not see whole, or that have a soft-cap or a bias,
take the way with a test for each element. Later tiles of a sequence see more under a causal mask: they start first.
attention_forward_sm90a.cu is another for Hopper.

    D                     32   64   80   96  128  256
    queries of a block   128  128  128  128  128   64     4 warps; M is 2, with 256 columns of O in registers 1
    columns of a tile     96   96   48   48   48   32     as many as the registers of S leave without spilling
    shared memory, KB     25   45   39   46   60   66     two blocks on each multiprocessor from sm_80 on, all below 99

Operations: 4·D for each pair (query, key) that sees each other. Bytes: Q and O once, K and V once for each tile of queries, which the
L2 cache serves (query heads that share keys are neighbours in the grid): 128 queries make 128 operations a byte.
Instruction mix of a tile of 48 columns, D 128, M 2, for each warp: 192 mma, 64 ldmatrix.x4, 48 each of FMNMX, FFMA, ex2 and FADD for the
softmax, 128 FMUL of O, 24 conversions.
*/
#include "device/attention_tiles.h"

namespace peft4j::cuda::attention {
namespace {

template <int D>
constexpr int kRowTiles = D <= 128 ? 2 : 1;  // M
template <int D>
constexpr int kQueries = kWarps * 16 * kRowTiles<D>;
template <int D>
constexpr int kColumns = D <= 64    ? 96
                         : D <= 128 ? 48
                                    : 32;

template <class T, int D>
size_t shared_bytes(const Call& a) {
  return Tile<T, D>::bytes(kQueries<D> + 2 * kColumns<D>) + bias_numbers(a) * sizeof(float);
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 2) attention_forward(const Call a) {
  constexpr int M = kRowTiles<D>, N = kColumns<D> / 8;
  const QueryBlock block(a, kQueries<D>);
  if (!block.there()) {
    return;
  }
  const Sequence& s = block.s;
  const int head = block.head, query = block.first, row = threadIdx.x / 32 * 16 * M;
  const Tile<T, D> q{reinterpret_cast<T*>(shared_memory())}, k{q.at(kQueries<D>, 0)}, v{k.at(kColumns<D>, 0)};
  auto* line = reinterpret_cast<float*>(v.at(kColumns<D>, 0));
  load_bias(line, a, head);
  const Logits logits(a, line);
  const Columns<T> keys = keys_of<T>(a, s, block.key_head), values = values_of<T>(a, s, block.key_head);
  const ColumnTiles tiles = column_tiles(s, query, query + kQueries<D>, kColumns<D>);

  copy_queries(a, q, kQueries<D>, a.q, a.q_stride, s, query, head);
  if (tiles.begin() < tiles.end) {
    copy_columns(a, k, kColumns<D>, keys, s, tiles.begin() * kColumns<D>);
  }
  cp_async_commit();
  Sums<M, D / 8> o = {};
  OnlineSoftmax<M> softmax;
  for (int tile = tiles.begin(), next; tile < tiles.end; tile = next) {
    const int column = tile * kColumns<D>;
    next = tiles.after(tile);
    cp_async_wait<0>();
    __syncthreads();  // K is there, and nobody reads V
    copy_columns(a, v, kColumns<D>, values, s, column);
    cp_async_commit();
    const bool busy = s.sees_any(query + row, query + row + 16 * M, column, column + kColumns<D>);
    Sums<M, N> p = {};
    if (busy) {
      add_nt<D>(p, q, row, k, 0);
    }
    cp_async_wait<0>();
    __syncthreads();  // V is there, and nobody reads K
    if (next < tiles.end) {
      copy_columns(a, k, kColumns<D>, keys, s, next * kColumns<D>);
    }
    cp_async_commit();
    if (busy) {
      const float factor =
          make_logits<RowsAre::kQueries>(p, logits, s, query + row, column, [](int, int, int, float) {});
      softmax.step(p, factor, [&](int r, float shrink) { multiply_row(o, r, shrink); });
      if (a.threshold > 0) {
        Kept<16 * M, kColumns<D>> kept;
        kept.make(a, s, head, query + row, column);
        drop<RowsAre::kQueries>(p, kept, 1.0f);
      }
      add_pn(o, p, v, 0, 0);
    }
  }
  cp_async_wait<0>();
  __syncthreads();  // Q was copied by others, also where no tile was seen

  finish(softmax, a, s, head, query + row, o);
  const int64_t stride = a.query_heads * a.head_size;
  write_rows(a, head_rows<T>(a, a.out, s.first_q + query + row, stride, head), stride, 0, s.queries - query - row, 0, o,
             q, row);
}

template <class T, int D>
int launch_forward(const Call& a, cudaStream_t stream) {
  return PEFT4J_LAUNCH((attention_forward<T, D>), query_blocks(a, kQueries<D>), dim3(kThreads), (shared_bytes<T, D>(a)),
                       stream, a);
}

}  // namespace
}  // namespace peft4j::cuda::attention

int peft4j_cuda_attention_forward(const peft4j_cuda_attention* arguments, void* stream) {
  using namespace peft4j::cuda;
  const attention::Call a(*arguments);
  const auto s = static_cast<cudaStream_t>(stream);
  if (a.query_rows == 0) {
    return 0;
  }
  if (a.sm90a != 0 && attention::sm90a_takes(a)) {
    return attention::forward_sm90a(a, s);
  }
  return by_dtype(a.dtype, [&](auto number) {
    using T = decltype(number);
    if constexpr (sizeof(T) == 4) {
      return attention::forward_plain(a, s);
    } else {
      return attention::by_head_size(a, [&](auto size) { return attention::launch_forward<T, size()>(a, s); });
    }
  });
}
