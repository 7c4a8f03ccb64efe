/*
attention's forward for cards of compute capability 9.0 (Hopper), after FlashAttention-3 (Shah et al. 2024); attention_forward.cu has
the contract. No card has run it yet, so it is off: peft4j_cuda_attention::sm90a. forward_sm90a_takes says what it takes; the rest, and
every backward, which uses out and lse only, stays with the other kernels.

What limits mma.sync there is that each warp loads its fragments through registers; wgmma reads Q, K and V from shared memory and P from
the registers in which the softmax leaves it.

A block has 128 queries of one head. Its first warpgroup is the producer: it keeps two buffers of K and two of V full. The other two
have 64 queries each, and hide the softmax twice:
    within a warpgroup   S of the next tile and O += P·V of this one are issued together; its softmax runs under the second
    between the two      they take turns at issuing, so that the one's products run under the other's softmax

    tile i:  wait for the turn | issue S = Q·Kᵢᵀ, O += P·Vᵢ₋₁ | give the turn | wait for S, give Kᵢ back | softmax of S
             | wait for O, give Vᵢ₋₁ back | P = S, O ∘= what the maximum has changed

A tile that lies wholly within a sequence comes by bulk copies (TMA), which swizzle as wgmma reads. Any other, of a prefix or at the
sequence's end, is copied by the producer's threads, with zeros behind the end: what stands there in memory is another sequence's
and may be NaN, and 0·NaN in P·V would be NaN. Q needs no such care: a foreign row spoils only itself.

    D                     64   96  128  256
    columns of a tile    128  128  128   64     S, P and O are 128 to 176 of a consumer's 232 registers
    shared memory, KB     82  160  162  194     and the bias table: one block on each multiprocessor

Operations: 4·D for each pair that sees each other. 64 · 128 · 16 take 64 cycles of the tensor cores, so a tile of D 128 takes 2,048 for
both consumers (D 64: 1,024), in which 64 KB come from the L2 cache: 5 TB/s in all at 650 TF.
Instruction mix of a tile of D 128 that every row sees whole, for each warp: 16 HGMMA, the softmax with 66 ex2, 66 FFMA, 70 FMNMX and
64 FADD, 64 FMUL of O, 32 conversions, 130 others: 1,020 issue slots of a scheduler for both consumers, and as many cycles of
its special function unit. So the products of D 128 can hide the softmax, those of D 64 just about.
Bytes of HBM: as in attention_forward.cu.
*/
#include "device/attention_tiles.h"
#include "device/card.h"
#include "device/ptx_sm90.h"
#include "device/tensor_map.h"

namespace peft4j::cuda::attention {
namespace {

constexpr int kGroup = 128, kConsumers = 2, kBlock = (1 + kConsumers) * kGroup;  // kConsumers in groups, else threads
constexpr int kRows = 64, kQueries = kConsumers * kRows;  // of a consumer, of a block
constexpr int kStages = 2;
constexpr int kPanel = 64;  // numbers in a row of a panel: 128 bytes, as wide as the swizzle
constexpr int kPattern = 1024;  // bytes after which the swizzle begins anew: eight rows
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <= 3 * 168, "what __launch_bounds__ gives 3 groups");

struct Job {
  Call call;
  TensorMap q, k, v;
};

struct Buffer {  // of a tile of K or V
  char* data;
  uint64_t *full, *empty;
};

/*
Shared memory. Matrices lie in panels of 64 columns, [rows, 64] each:
    Q of each consumer, later its way out | buffers K, V, K, V | barriers: Q is there, turns, full and empty of each buffer | bias
*/
template <int D>
struct Shared {
  static constexpr int kColumns = D <= 128 ? 128 : 64;  // of a tile
  static constexpr int kPanels = (D + kPanel - 1) / kPanel;
  static constexpr int kQPanel = kRows * kPanel * 2, kTilePanel = kColumns * kPanel * 2;  // bytes
  static constexpr int kQ = kPanels * kQPanel, kTile = kPanels * kTilePanel;
  static constexpr int kOut = static_cast<int>(Tile<__half, D>::bytes(kRows)), kQOrOut = kQ > kOut ? kQ : kOut;
  static constexpr int kBarriersAt = kConsumers * kQOrOut + 2 * kStages * kTile;
  static constexpr int kLineAt = kBarriersAt + (1 + kConsumers + 4 * kStages) * static_cast<int>(sizeof(uint64_t));
  static_assert(kQOrOut % kPattern == 0 && kTile % kPattern == 0);

  PEFT4J_DEVICE static uint64_t* barrier(int i) {
    return reinterpret_cast<uint64_t*>(shared_memory() + kBarriersAt) + i;
  }
  PEFT4J_DEVICE static char* q(int group) { return shared_memory() + group * kQOrOut; }
  PEFT4J_DEVICE static uint64_t* q_full() { return barrier(0); }
  PEFT4J_DEVICE static uint64_t* turn(int group) { return barrier(1 + group); }
  PEFT4J_DEVICE static Buffer buffer(int stage, bool values) {
    const int i = 2 * stage + (values ? 1 : 0);
    uint64_t* full = barrier(1 + kConsumers + 2 * i);
    return {shared_memory() + kConsumers * kQOrOut + i * kTile, full, full + 1};
  }
  PEFT4J_DEVICE static float* line() { return reinterpret_cast<float*>(shared_memory() + kLineAt); }

  // Which buffers are next, and the parity of the phase in which they are filled.
  struct Ring {
    int stage = 0, parity = 0;

    PEFT4J_DEVICE void advance() {
      stage = stage + 1 == kStages ? 0 : stage + 1;
      parity ^= stage == 0 ? 1 : 0;
    }
  };

  PEFT4J_DEVICE static void arrive_once_a_warp(uint64_t* barrier) {
    if (threadIdx.x % 32 == 0) {
      mbarrier_arrive(barrier);
    }
  }

  PEFT4J_DEVICE static void make_barriers() {  // by one thread
    mbarrier_init(q_full(), 1);
    for (int group = 0; group < kConsumers; ++group) {
      mbarrier_init(turn(group), kGroup / 32);
    }
    for (int i = 0; i < 2 * kStages; ++i) {
      const Buffer of = buffer(i / 2, i % 2 == 1);
      mbarrier_init(of.full, kGroup / 32);
      mbarrier_init(of.empty, kConsumers * kGroup / 32);
    }
    mbarrier_fence_init();
  }
};

// ---- the producer

// Columns from `column` on as tma_load would leave them, zeros behind the sequence's end.
template <class T, int D>
PEFT4J_DEVICE void copy_by_threads(char* to, const Columns<T>& from, const Sequence& s, int column) {
  using Of = Shared<D>;
  constexpr int kChunk = Pack<T>::kSize, kChunks = D / kChunk, kTogether = kGroup / kChunks;
  const int chunk = threadIdx.x % kChunks, first = threadIdx.x / kChunks;
  if (first >= kTogether) {
    return;  // D 96: eight threads too many
  }
  to += chunk / 8 * Of::kTilePanel;
#pragma unroll 1
  for (int i = first; i < Of::kColumns; i += kTogether) {
    const bool there = column + i < s.columns;
    cp_async<16>(to + i * 128 + (chunk % 8 ^ i % 8) * 16, from.row(s, column + i) + chunk * kChunk, there ? 16 : 0);
  }
}

template <class T, int D>
PEFT4J_DEVICE void fill(const Buffer& buffer, int parity, const TensorMap& map, const Columns<T>& from,
                        const Sequence& s, int head, int column) {
  using Of = Shared<D>;
  mbarrier_wait(buffer.empty, parity ^ 1);
  if (column < s.prefix || column + Of::kColumns > s.columns) {
    copy_by_threads<T, D>(buffer.data, from, s, column);
    cp_async_commit();
    cp_async_wait<0>();
    fence_async_proxy();
    __syncwarp();
  } else if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(buffer.full, Of::kTile);
    for (int panel = 0; panel < Of::kPanels; ++panel) {
      tma_load(buffer.data + panel * Of::kTilePanel, map, head * D + panel * kPanel, s.first_k + column - s.prefix,
               buffer.full);
    }
    return;
  }
  Of::arrive_once_a_warp(buffer.full);
}

template <class T, int D>
PEFT4J_DEVICE void produce(const Job& job, const QueryBlock& block, const ColumnTiles& tiles) {
  using Of = Shared<D>;
  const Call& a = job.call;
  const Sequence& s = block.s;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(Of::q_full(), kConsumers * Of::kQ);
    for (int i = 0; i < kConsumers * Of::kPanels; ++i) {
      const int group = i / Of::kPanels, panel = i % Of::kPanels;
      tma_load(Of::q(group) + panel * Of::kQPanel, job.q, block.head * D + panel * kPanel,
               s.first_q + block.first + group * kRows, Of::q_full());
    }
  }
  __syncwarp();
  const Columns<T> keys = keys_of<T>(a, s, block.key_head), values = values_of<T>(a, s, block.key_head);
  typename Of::Ring ring;
  for (int tile = tiles.begin(); tile < tiles.end; tile = tiles.after(tile), ring.advance()) {
    const int column = tile * Of::kColumns;
    fill<T, D>(Of::buffer(ring.stage, false), ring.parity, job.k, keys, s, block.key_head, column);
    fill<T, D>(Of::buffer(ring.stage, true), ring.parity, job.v, values, s, block.key_head, column);
  }
}

// ---- a consumer

template <class T, int D>
class Consumer {
  using Of = Shared<D>;
  using Ring = typename Of::Ring;
  using Type = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, Bf16, Fp16>;
  static constexpr int kColumns = Of::kColumns;

 public:
  PEFT4J_DEVICE Consumer(const Job& job, const QueryBlock& block)
      : a_(job.call),
        s_(block.s),
        head_(block.head),
        group_(threadIdx.x / kGroup - 1),
        query_(block.first + group_ * kRows + threadIdx.x % kGroup / 32 * 16),
        logits_(job.call, Of::line()) {}

  PEFT4J_DEVICE void attend(const ColumnTiles& tiles) {
    int tile = tiles.begin();
    mbarrier_wait(Of::q_full(), 0);
    wait_for_turn();
    multiply_keys();
    give_turn();
    wgmma_wait<0>(scores_[0]);
    Of::arrive_once_a_warp(Of::buffer(ring_.stage, false).empty);
    float shrink[2];
    softmax(tile * kColumns, shrink);
    pack();
    for (tile = tiles.after(tile); tile < tiles.end; tile = tiles.after(tile)) {
      const Ring before = ring_;
      ring_.advance();
      wait_for_turn();
      multiply_keys();
      add_values(before);
      give_turn();
      wgmma_wait<1>(scores_[0]);
      Of::arrive_once_a_warp(Of::buffer(ring_.stage, false).empty);
      softmax(tile * kColumns, shrink);
      wgmma_wait<0>(out_[0], p_);
      Of::arrive_once_a_warp(Of::buffer(before.stage, true).empty);
      pack();
      multiply_row(out_, 0, shrink[0]);
      multiply_row(out_, 1, shrink[1]);
    }
    add_values(ring_);
    wgmma_wait<0>(out_[0], p_);
  }

  PEFT4J_DEVICE void write() {
    softmax_.finish(a_, s_, head_, query_, out_);
    named_barrier(1 + group_, kGroup);  // the group's products have read Q
    const int64_t stride = a_.query_heads * D;
    write_rows(a_, head_rows<T>(a_, a_.out, s_.first_q + query_, stride, head_), stride, 0, s_.queries - query_, 0,
               out_, Tile<T, D>{reinterpret_cast<T*>(Of::q(group_))}, threadIdx.x % kGroup / 32 * 16);
  }

 private:
  // The first turn is that of group 0.
  PEFT4J_DEVICE void wait_for_turn() {
    mbarrier_wait(Of::turn(group_), turn_ ^ (group_ == 0 ? 1 : 0));
    turn_ ^= 1;
  }
  PEFT4J_DEVICE void give_turn() { Of::arrive_once_a_warp(Of::turn(1 - group_)); }

  // What is added to a wgmma_operand that begins so many bytes further.
  PEFT4J_DEVICE static constexpr uint64_t further(int bytes) { return static_cast<uint64_t>(bytes) / 16; }

  // scores = Q·Kᵀ, in flight.
  PEFT4J_DEVICE void multiply_keys() {
    const Buffer keys = Of::buffer(ring_.stage, false);
    mbarrier_wait(keys.full, ring_.parity);
    const uint64_t q = wgmma_operand(Of::q(group_), kPattern), k = wgmma_operand(keys.data, kPattern);
    wgmma_fence(scores_[0]);
#pragma unroll(D <= 128 ? Of::kPanels : 1)  // else all operands of Q would be kept in registers
    for (int panel = 0; panel < Of::kPanels; ++panel) {
#pragma unroll
      for (int d = 0; d < min(kPanel, D - panel * kPanel); d += 16) {
        wgmma_m64k16<Type, false>(scores_[0], q + further(panel * Of::kQPanel + 2 * d),
                                  k + further(panel * Of::kTilePanel + 2 * d), panel + d > 0);
      }
    }
    wgmma_commit();
  }

  // out += P·V, in flight.
  PEFT4J_DEVICE void add_values(const Ring& at) {
    const Buffer values = Of::buffer(at.stage, true);
    mbarrier_wait(values.full, at.parity);
    const uint64_t v = wgmma_operand(values.data, kPattern, Of::kTilePanel);
    wgmma_fence(out_[0], p_);
#pragma unroll
    for (int column = 0; column < kColumns; column += 16) {
      wgmma_m64k16<Type, true>(out_[0], p_[column / 16], v + further(column * kPanel * 2), true);
    }
    wgmma_commit();
  }

  PEFT4J_DEVICE void softmax(int column, float (&shrink)[2]) {
    const float factor = make_logits<Rows::kQueries>(scores_, logits_, s_, query_, column, [](int, int, int, float) {});
    softmax_.step(scores_, factor, [&](int r, float by) { shrink[r] = by; });
    if (a_.threshold > 0) {
      Kept<16, kColumns> kept;
      kept.make(a_, s_, head_, query_, column);
      drop<Rows::kQueries>(scores_, kept, 1.0f);
    }
  }

  PEFT4J_DEVICE void pack() {
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) {
      const float* pair = &scores_[0][i / 2][i % 2 * 2];
      p_[i / 4][i % 4] = pack_pair<T>(pair[0], pair[1]);
    }
  }

  const Call& a_;
  const Sequence& s_;
  int head_, group_, query_;  // of the warp's first row
  Logits logits_;
  Ring ring_;
  int turn_ = 0;
  Sums<1, kColumns / 8> scores_;
  uint32_t p_[kColumns / 16][4];
  Sums<1, D / 8> out_ = {};
  Softmax<1> softmax_;
};

template <class T, int D>
__global__ void __launch_bounds__(kBlock, 1) attention_forward_sm90a(const __grid_constant__ Job job) {
#ifdef PEFT4J_HAS_SM90
  const QueryBlock block(job.call, kQueries);
  if (!block.there()) {
    return;
  }
  const ColumnTiles tiles = column_tiles(block.s, block.first, block.first + kQueries, Shared<D>::kColumns);
  const bool any = tiles.begin() < tiles.end;
  load_bias(Shared<D>::line(), job.call, block.head);
  if (threadIdx.x == 0) {
    Shared<D>::make_barriers();
  }
  __syncthreads();
  if (threadIdx.x < kGroup) {
    set_max_registers<kProducerRegisters, false>();
    if (any) {
      produce<T, D>(job, block, tiles);
    }
  } else {
    set_max_registers<kConsumerRegisters, true>();
    Consumer<T, D> consumer(job, block);
    if (any) {
      consumer.attend(tiles);
    }
    consumer.write();
  }
#endif
}

template <class T, int D>
int launch_forward(const Call& a, cudaStream_t stream) {
  using Of = Shared<D>;
  Job job{a, {}, {}, {}};
  int error = make_tensor_map(&job.q, a.q, a.query_rows, a.query_heads * D, a.q_stride, kRows);
  if (error == 0) {
    error = make_tensor_map(&job.k, a.k, a.key_rows, a.key_heads * D, a.k_stride, Of::kColumns);
  }
  if (error == 0) {
    error = make_tensor_map(&job.v, a.v, a.key_rows, a.key_heads * D, a.v_stride, Of::kColumns);
  }
  if (error != 0) {
    return error;
  }
  return PEFT4J_LAUNCH((attention_forward_sm90a<T, D>), query_blocks(a, kQueries), dim3(kBlock),
                       (Of::kLineAt + bias_numbers(a) * sizeof(float)), stream, job);
}

template <class T>
int launch_forward(const Call& a, cudaStream_t stream) {
  switch (a.head_size) {
    case 64: return launch_forward<T, 64>(a, stream);
    case 96: return launch_forward<T, 96>(a, stream);
    case 128: return launch_forward<T, 128>(a, stream);
    default: return launch_forward<T, 256>(a, stream);
  }
}

}  // namespace

// Heads of one of the widths without zeros behind them: those would be the next head's numbers. A tensor map needs a row at least,
// and rows that do not overlap.
bool forward_sm90a_takes(const Call& a) {
  const int64_t d = a.head_size;
  return current_card().has_sm90a() && a.dtype != 0 && (d == 64 || d == 96 || d == 128 || d == 256) && a.aligned &&
         a.query_rows > 0 && a.key_rows > 0 && a.q_stride >= a.query_heads * d && a.k_stride >= a.key_heads * d &&
         a.v_stride >= a.key_heads * d;
}

int forward_sm90a(const Call& a, cudaStream_t stream) {
  return a.dtype == 1 ? launch_forward<__nv_bfloat16>(a, stream) : launch_forward<__half>(a, stream);
}

}  // namespace peft4j::cuda::attention
