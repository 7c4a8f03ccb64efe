/*
attention's forward for cards of compute capability 9.0 (Hopper), after FlashAttention-3 (Shah et al. 2024); attention_forward.cu has
the contract, device/attention_sm90.h how a block works. No card has run it yet, so it is off: peft4j_cuda_attention::sm90a. sm90a_takes
says what it takes; the rest stays with the other kernels.

What limits mma.sync there is that each warp loads its fragments through registers; wgmma reads Q, K and V from shared memory and P from
the registers in which the softmax leaves it.

A block has 128 queries of one head; its producer keeps two buffers of K and two of V full. The consumers, which have 64 queries each, hide
the softmax twice:
    within a warpgroup   S of the next tile and O += P·V of this one are issued together; its softmax runs under the second
    between the two      they take turns at issuing, so that the one's products run under the other's softmax

    tile i:  wait for the turn | issue S = Q·Kᵢᵀ, O += P·Vᵢ₋₁ | give the turn | wait for S, give Kᵢ back | softmax of S
             | wait for O, give Vᵢ₋₁ back | P = S, O ∘= what the maximum has changed

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
#include "device/attention_sm90.h"

namespace peft4j::cuda::attention {
namespace {

constexpr int kQueries = kConsumers * kRows;  // of a block
constexpr int kStages = 2;
constexpr int kRegisters = 232;  // of a consumer's thread
static_assert(kProducerRegisters<kRegisters> >= 24, "the least there can be");

struct Job {
  Call call;
  TensorMap q, k, v;
};

struct Buffer {  // of a tile of K or V
  char* data;
  uint64_t *full, *empty;
};

// Shared memory: Q of each consumer | buffers K, V, K, V | barriers: Q is there, turns, full and empty of each buffer | bias
template <int D>
struct Shared {
  static constexpr int kColumns = D <= 128 ? 128 : 64;  // of a tile
  using Q = OwnRows<D>;
  using Tile = Panels<kColumns, D>;
  static constexpr int kBarriersAt = kConsumers * Q::kRoom + 2 * kStages * Tile::kBytes;
  static constexpr int kLineAt = kBarriersAt + (1 + kConsumers + 4 * kStages) * static_cast<int>(sizeof(uint64_t));

  PEFT4J_DEVICE static uint64_t* barrier(int i) {
    return reinterpret_cast<uint64_t*>(shared_memory() + kBarriersAt) + i;
  }
  PEFT4J_DEVICE static char* q(int group) { return shared_memory() + group * Q::kRoom; }
  PEFT4J_DEVICE static uint64_t* q_full() { return barrier(0); }
  PEFT4J_DEVICE static uint64_t* turn(int group) { return barrier(1 + group); }
  PEFT4J_DEVICE static Buffer buffer(int stage, bool values) {
    const int i = 2 * stage + (values ? 1 : 0);
    uint64_t* full = barrier(1 + kConsumers + 2 * i);
    return {shared_memory() + kConsumers * Q::kRoom + i * Tile::kBytes, full, full + 1};
  }
  PEFT4J_DEVICE static float* line() { return reinterpret_cast<float*>(shared_memory() + kLineAt); }

  PEFT4J_DEVICE static void make_barriers() {  // by one thread
    mbarrier_init(q_full(), 1);
    for (int group = 0; group < kConsumers; ++group) {
      mbarrier_init(turn(group), kWarpgroup / 32);
    }
    for (int i = 0; i < 2 * kStages; ++i) {
      const Buffer of = buffer(i / 2, i % 2 == 1);
      mbarrier_init(of.full, kWarpgroup / 32);
      mbarrier_init(of.empty, kConsumers * kWarpgroup / 32);
    }
    mbarrier_fence_init();
  }
};

// ---- the producer

template <class T, int D>
PEFT4J_DEVICE void fill(const Buffer& buffer, int parity, const TensorMap& map, const Columns<T>& from,
                        const Sequence& s, int head, int column) {
  mbarrier_wait(buffer.empty, parity ^ 1);
  __syncwarp();  // lane 0 arrives for all: none may still wait for the buffer when it is filled anew
  fill_columns<T, Shared<D>::kColumns, D>(buffer.data, map, from, s, head, column, buffer.full);
}

template <class T, int D>
PEFT4J_DEVICE void produce(const Job& job, const QueryBlock& block, const ColumnTiles& tiles) {
  using Of = Shared<D>;
  const Call& a = job.call;
  const Sequence& s = block.s;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(Of::q_full(), kConsumers * Of::Q::kBytes);
    for (int group = 0; group < kConsumers; ++group) {
      load_panels<kRows, D>(Of::q(group), job.q, block.head, s.first_q + block.first + group * kRows, Of::q_full());
    }
  }
  __syncwarp();
  const Columns<T> keys = keys_of<T>(a, s, block.key_head), values = values_of<T>(a, s, block.key_head);
  Ring<kStages> ring;
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
  static constexpr int kColumns = Of::kColumns;

 public:
  PEFT4J_DEVICE Consumer(const Job& job, const QueryBlock& block)
      : a_(job.call),
        s_(block.s),
        head_(block.head),
        group_(threadIdx.x / kWarpgroup - 1),
        query_(block.first + group_ * kRows + threadIdx.x % kWarpgroup / 32 * 16),
        logits_(job.call, Of::line()) {}

  PEFT4J_DEVICE void attend(const ColumnTiles& tiles) {
    int tile = tiles.begin();
    mbarrier_wait(Of::q_full(), 0);
    wait_for_turn();
    multiply_keys();
    give_turn();
    wgmma_wait<0>(scores_[0]);
    arrive_once_a_warp(Of::buffer(ring_.stage, false).empty);
    float shrink[2];
    softmax(tile * kColumns, shrink);
    pack_rows<T>(p_, scores_[0]);
    for (tile = tiles.after(tile); tile < tiles.end; tile = tiles.after(tile)) {
      const Ring<kStages> before = ring_;
      ring_.advance();
      wait_for_turn();
      multiply_keys();
      add_values(before);
      give_turn();
      wgmma_wait<1>(scores_[0]);
      arrive_once_a_warp(Of::buffer(ring_.stage, false).empty);
      softmax(tile * kColumns, shrink);
      wgmma_wait<0>(out_[0], p_);
      arrive_once_a_warp(Of::buffer(before.stage, true).empty);
      pack_rows<T>(p_, scores_[0]);
      multiply_row(out_, 0, shrink[0]);
      multiply_row(out_, 1, shrink[1]);
    }
    add_values(ring_);
    wgmma_wait<0>(out_[0], p_);
  }

  PEFT4J_DEVICE void write() {
    finish(softmax_, a_, s_, head_, query_, out_);
    named_barrier(1 + group_, kWarpgroup);  // the group's products have read Q
    const int64_t stride = a_.query_heads * D;
    write_rows(a_, head_rows<T>(a_, a_.out, s_.first_q + query_, stride, head_), stride, 0, s_.queries - query_, 0,
               out_, Tile<T, D>{reinterpret_cast<T*>(Of::q(group_))}, threadIdx.x % kWarpgroup / 32 * 16);
  }

 private:
  // The first turn is that of group 0.
  PEFT4J_DEVICE void wait_for_turn() {
    mbarrier_wait(Of::turn(group_), turn_ ^ (group_ == 0 ? 1 : 0));
    turn_ ^= 1;
  }
  PEFT4J_DEVICE void give_turn() { arrive_once_a_warp(Of::turn(1 - group_)); }

  // scores = Q·Kᵀ, in flight.
  PEFT4J_DEVICE void multiply_keys() {
    const Buffer keys = Of::buffer(ring_.stage, false);
    mbarrier_wait(keys.full, ring_.parity);
    start_nt<T, D>(scores_[0], Of::q(group_), keys.data);
  }

  // out += P·V, in flight.
  PEFT4J_DEVICE void add_values(const Ring<kStages>& at) {
    const Buffer values = Of::buffer(at.stage, true);
    mbarrier_wait(values.full, at.parity);
    start_pn<T, D>(out_[0], p_, values.data);
  }

  PEFT4J_DEVICE void softmax(int column, float (&shrink)[2]) {
    const float factor =
        make_logits<RowsAre::kQueries>(scores_, logits_, s_, query_, column, [](int, int, int, float) {});
    softmax_.step(scores_, factor, [&](int r, float by) { shrink[r] = by; });
    if (a_.threshold > 0) {
      Kept<16, kColumns> kept;
      kept.make(a_, s_, head_, query_, column);
      drop<RowsAre::kQueries>(scores_, kept, 1.0f);
    }
  }

  const Call& a_;
  const Sequence& s_;
  int head_, group_, query_;  // of the warp's first row
  Logits logits_;
  Ring<kStages> ring_;
  int turn_ = 0;
  Sums<1, kColumns / 8> scores_;
  uint32_t p_[kColumns / 16][4];
  Sums<1, D / 8> out_ = {};
  OnlineSoftmax<1> softmax_;
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
  if (threadIdx.x < kWarpgroup) {
    set_max_registers<kProducerRegisters<kRegisters>, false>();
    if (any) {
      produce<T, D>(job, block, tiles);
    }
  } else {
    set_max_registers<kRegisters, true>();
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
  const int error = make_tensor_maps({{&job.q, a.q, a.query_rows, a.query_heads * D, a.q_stride, kRows},
                                      {&job.k, a.k, a.key_rows, a.key_heads * D, a.k_stride, Of::kColumns},
                                      {&job.v, a.v, a.key_rows, a.key_heads * D, a.v_stride, Of::kColumns}});
  if (error != 0) {
    return error;
  }
  return PEFT4J_LAUNCH((attention_forward_sm90a<T, D>), query_blocks(a, kQueries), dim3(kBlock),
                       (Of::kLineAt + bias_numbers(a) * sizeof(float)), stream, job);
}

}  // namespace

// Heads of one of the widths without zeros behind them: those would be the next head's numbers. A tensor map needs a row at least,
// and rows that do not overlap.
bool sm90a_takes(const Call& a) {
  const int64_t d = a.head_size;
  return current_card().has_sm90a() && a.dtype != 0 && (d == 64 || (d == 96 && kHeadsOf96) || d == 128 || d == 256) &&
         a.aligned && a.query_rows > 0 && a.key_rows > 0 && a.q_stride >= a.query_heads * d &&
         a.k_stride >= a.key_heads * d && a.v_stride >= a.key_heads * d;
}

int forward_sm90a(const Call& a, cudaStream_t stream) {
  return by_sm90a_instance(a,
                           [&](auto number, auto size) { return launch_forward<decltype(number), size()>(a, stream); });
}

}  // namespace peft4j::cuda::attention
