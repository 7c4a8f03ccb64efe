/*
attention's backward for cards of compute capability 9.0 (Hopper): the two passes of attention_backward.cu, which has the formulas, with
wgmma; device/attention_sm90.h has how a block works. No card has run it yet, so it is off: peft4j_cuda_attention::sm90a.

Both passes do the same with other matrices. A block has rows of its own, which stay in shared memory; tiles stream by, for which the
producer keeps stages full. A consumer has 64 of the own rows and the sums of their gradients in registers:

                own rows    stream       products of a tile
    keys        K, V        Q, dO        Sᵀ = K·Qᵀ, dPᵀ = V·dOᵀ;  dV += (mask∘P)ᵀ·dO, dK += dSᵀ·Q      all query heads of the key head
    queries     Q, dO       K, V         S = Q·Kᵀ, dP = dO·Vᵀ;    dQ += dS·K

    tile:  wait for the stage | issue the first two | wait for them | P and dS | issue the others | wait for them, give the stage back

so P and dS are first operands as they lie in the registers, and nothing is added up by two blocks: no atomics. The consumers go
their ways without turns: what one does between its products runs under those of the other. A tile that none of a consumer's rows
sees is skipped.

    D                        64   96  128  256
    rows of a block         128  128  128   64     256: the consumers share 64 rows, each with half the width of the sums
    rows of a tile           96   64   64   64
    stages                    3    3    3    2
    shared memory, KB       110  162  166  195     and the bias table for each consumer: one block on each multiprocessor
    registers for products  160  160  192  192     of a consumer's 232 (128, 256: 240); in the queries' pass 128, 112, 128, 128

Operations: 14·D for each pair that sees each other (18·D with 256). 64 · 64 · 16 take 32 cycles of the tensor cores, in which both operands
are read from shared memory at its full speed; so a tile of D 128 takes 2,048 for both consumers in the keys' pass and 1,536 in the
queries', in which 32 KB come from the L2 cache.
Instruction mix of a tile of D 128 that every row sees whole, for each warp: keys, 24 HGMMA, 32 each of FADD, FFMA, ex2, FMUL and
conversions, 23 LDS, 300 others, 510 in all; queries, 20 HGMMA, 32 each of FADD, FFMA, ex2 and FMUL, 16 conversions, 13 LDS, 270 others.
Both consumers have 1,020 and 870 issue slots of a scheduler, and 512 cycles of its special function unit, beside the products' cycles:
where one's products run under the other's arithmetic, the tensor cores set the time.
*/
#include "device/attention_gradients.h"
#include "device/attention_sm90.h"

namespace peft4j::cuda::attention {
namespace {

struct Job {
  Call call;
  TensorMap own[2], streamed[2];
};

struct Stage {
  char *first, *second;  // tiles: Q and dO, or K and V
  float* rows;           // keys' pass: δ of the queries, then their log-sum-exp
  uint64_t *full, *empty;
};

// Room for one head's bias, whole 16 bytes.
__host__ __device__ inline int64_t line_numbers(const Call& a) {
  return (bias_numbers(a) + 3) / 4 * 4;
}

template <int D>
constexpr int kRegisters = D >= 128 ? 240 : 232;  // of a consumer's thread
constexpr int kPlanBytes = 96;

/*
Shared memory: own rows of each consumer, both matrices | stages | barriers | δ and log-sum-exp | the block's plan, which would cost
registers | bias for each consumer
*/
template <int D>
struct Shared {
  static constexpr int kParts = D <= 128 ? 1 : 2;  // consumers that share rows
  static constexpr int kOwners = kConsumers / kParts, kOwnRows = kOwners * kRows;
  static constexpr int kTile = D <= 64 ? 96 : 64, kStages = D <= 128 ? 3 : 2;
  using Own = OwnRows<D>;
  using Tile = Panels<kTile, D>;
  static constexpr int kStagesAt = 2 * kOwners * Own::kRoom, kBarriersAt = kStagesAt + 2 * kStages * Tile::kBytes;
  static constexpr int kRowsAt =
      kBarriersAt + (2 + 2 * kStages) * static_cast<int>(sizeof(uint64_t));  // 16-byte aligned
  static constexpr int kPlanAt = kRowsAt + 2 * kStages * kTile * static_cast<int>(sizeof(float));
  static constexpr int kLinesAt = kPlanAt + kPlanBytes;
  static_assert(kStages * kTile >= kConsumers * kRows, "the queries' pass has as many δ");

  // Of the two matrices `which`; owner: of the block's rows from owner·kRows on.
  PEFT4J_DEVICE static char* own(int which, int owner) {
    return shared_memory() + (which * kOwners + owner) * Own::kRoom;
  }
  PEFT4J_DEVICE static uint64_t* barrier(int i) {
    return reinterpret_cast<uint64_t*>(shared_memory() + kBarriersAt) + i;
  }
  PEFT4J_DEVICE static uint64_t* own_full() { return barrier(0); }
  PEFT4J_DEVICE static float* rows(int i) {  // 2·kTile of them
    return reinterpret_cast<float*>(shared_memory() + kRowsAt) + i * 2 * kTile;
  }
  PEFT4J_DEVICE static Stage stage(int i) {
    char* first = shared_memory() + kStagesAt + 2 * i * Tile::kBytes;
    return {first, first + Tile::kBytes, rows(i), barrier(1 + 2 * i), barrier(2 + 2 * i)};
  }
  template <class Plan>
  PEFT4J_DEVICE static Plan* plan() {
    static_assert(sizeof(Plan) <= kPlanBytes);
    return reinterpret_cast<Plan*>(shared_memory() + kPlanAt);
  }
  PEFT4J_DEVICE static float* line(const Call& a, int group) {
    return reinterpret_cast<float*>(shared_memory() + kLinesAt) + group * line_numbers(a);
  }

  PEFT4J_DEVICE static void make_barriers() {  // by one thread
    mbarrier_init(own_full(), kOwners + kWarpgroup / 32);
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(stage(i).full, 1 + kWarpgroup / 32);
      mbarrier_init(stage(i).empty, kConsumers * kWarpgroup / 32);
    }
    mbarrier_fence_init();
  }
};

// ---- what a block has, and what streams by

// Columns, and the queries that see them, of all query heads that share the key head.
template <int D>
struct KeysPlan {
  ColumnBlock block;
  int first, end, head_end;

  PEFT4J_DEVICE explicit KeysPlan(const Call& a) : block(a, Shared<D>::kOwnRows) {
    const Range seen = queries_of(block.s, block.first, block.first + Shared<D>::kOwnRows);
    first = seen.begin;
    end = seen.end;
    head_end = seen.begin < seen.end ? block.head + block.group : block.head;
  }
  PEFT4J_DEVICE bool there(const Call& a) const {
    return block.there() && (block.first + Shared<D>::kOwnRows > block.s.prefix || a.prefix_dk != nullptr);
  }

  // The tiles of those queries.
  struct Walk {
    const KeysPlan& plan;
    int head_ = plan.block.head, first_ = plan.first;

    PEFT4J_DEVICE bool there() const { return head_ < plan.head_end; }
    PEFT4J_DEVICE int head() const { return head_; }
    PEFT4J_DEVICE int first() const { return first_; }
    PEFT4J_DEVICE bool begins_head() const { return first_ == plan.first; }
    PEFT4J_DEVICE void advance() {
      first_ += Shared<D>::kTile;
      if (first_ >= plan.end) {
        first_ = plan.first;
        ++head_;
      }
    }
  };
};

// Queries, and the columns that they see.
template <int D>
struct QueriesPlan {
  QueryBlock block;
  ColumnTiles tiles;

  PEFT4J_DEVICE explicit QueriesPlan(const Call& a) : block(a, Shared<D>::kOwnRows) {
    tiles = column_tiles(block.s, block.first, block.first + Shared<D>::kOwnRows, Shared<D>::kTile);
  }
  PEFT4J_DEVICE bool there(const Call&) const { return block.there(); }

  struct Walk {
    const QueriesPlan& plan;
    int tile = plan.tiles.begin();

    PEFT4J_DEVICE bool there() const { return tile < plan.tiles.end; }
    PEFT4J_DEVICE int head() const { return plan.block.head; }
    PEFT4J_DEVICE int first() const { return tile * Shared<D>::kTile; }
    PEFT4J_DEVICE bool begins_head() const { return tile == plan.tiles.begin(); }
    PEFT4J_DEVICE void advance() { tile = plan.tiles.after(tile); }
  };
};

// ---- the producer

/*
The same rows of two matrices, the first of which is number `row` in memory: by bulk copies where they are `whole`, else by threads,
first(i) and second(i) for i below `there`. One arrival at `full`; what threads have copied is still to be waited for.
*/
template <class T, int Height, int D, class First, class Second>
PEFT4J_DEVICE void start_pair(char* to, char* to_second, const TensorMap (&maps)[2], int head, int row, bool whole,
                              const First& first, const Second& second, int there, uint64_t* full) {
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(full, whole ? 2 * Panels<Height, D>::kBytes : 0);
  }
  if (!whole) {
    copy_panels<T, Height, D>(to, first, there);
    copy_panels<T, Height, D>(to_second, second, there);
  } else if (threadIdx.x == 0) {
    load_panels<Height, D>(to, maps[0], head, row, full);
    load_panels<Height, D>(to_second, maps[1], head, row, full);
  }
}

template <class T, int Height, int D>
PEFT4J_DEVICE void start_queries(char* q, char* dout, const TensorMap (&maps)[2], const Call& a, const Sequence& s,
                                 int head, int query, bool whole, uint64_t* full) {
  const int64_t stride = a.query_heads * D;
  const T* rows = head_rows<const T>(a, a.q, s.first_q, a.q_stride, head);
  const T* drows = head_rows<const T>(a, a.dout, s.first_q, stride, head);
  start_pair<T, Height, D>(
      q, dout, maps, head, s.first_q + query, whole, [&](int i) { return rows + (query + i) * a.q_stride; },
      [&](int i) { return drows + (query + i) * stride; }, s.queries - query, full);
}

template <class T, int Height, int D>
PEFT4J_DEVICE void start_columns(char* k, char* v, const TensorMap (&maps)[2], const Call& a, const Sequence& s,
                                 int head, int column, bool whole, uint64_t* full) {
  const Columns<T> keys = keys_of<T>(a, s, head), values = values_of<T>(a, s, head);
  start_pair<T, Height, D>(
      k, v, maps, head, s.first_k + column - s.prefix, whole, [&](int i) { return keys.row(s, column + i); },
      [&](int i) { return values.row(s, column + i); }, s.columns - column, full);
}

// δ and log-sum-exp of the queries; those that are not there have P = exp 0, which meets dO = 0.
template <int Height>
PEFT4J_DEVICE void start_row_numbers(float* to, const Call& a, const Sequence& s, int head, int query) {
  const int i = threadIdx.x;
  if (i < Height) {
    const bool there = query + i < s.queries;
    const float *delta = delta_of(a, s, head) + query, *lse = lse_of(a, s, head) + query;
    cp_async<4>(to + i, there ? delta + i : delta, there ? 4 : 0);
    cp_async<4>(to + Height + i, there ? lse + i : lse, there ? 4 : 0);
  }
}

// The own rows of one owner, and what streams by into a stage.
template <class T, int D>
PEFT4J_DEVICE void start_own(const Job& job, const KeysPlan<D>& plan, int owner) {
  using Of = Shared<D>;
  const Sequence& s = plan.block.s;
  const int column = plan.block.first + owner * kRows;
  start_columns<T, kRows, D>(Of::own(0, owner), Of::own(1, owner), job.own, job.call, s, plan.block.key_head, column,
                             column >= s.prefix, Of::own_full());
}
template <class T, int D>
PEFT4J_DEVICE void start_stage(const Job& job, const KeysPlan<D>& plan, int head, int query, const Stage& stage) {
  constexpr int kTile = Shared<D>::kTile;
  const Sequence& s = plan.block.s;
  start_queries<T, kTile, D>(stage.first, stage.second, job.streamed, job.call, s, head, query,
                             query + kTile <= s.queries, stage.full);
  start_row_numbers<kTile>(stage.rows, job.call, s, head, query);
}

template <class T, int D>
PEFT4J_DEVICE void start_own(const Job& job, const QueriesPlan<D>& plan, int owner) {
  using Of = Shared<D>;
  start_queries<T, kRows, D>(Of::own(0, owner), Of::own(1, owner), job.own, job.call, plan.block.s, plan.block.head,
                             plan.block.first + owner * kRows, true, Of::own_full());
}
template <class T, int D>
PEFT4J_DEVICE void start_stage(const Job& job, const QueriesPlan<D>& plan, int, int column, const Stage& stage) {
  constexpr int kTile = Shared<D>::kTile;
  const Sequence& s = plan.block.s;
  start_columns<T, kTile, D>(stage.first, stage.second, job.streamed, job.call, s, plan.block.key_head, column,
                             column >= s.prefix && column + kTile <= s.columns, stage.full);
}

template <class T, int D, class Plan>
PEFT4J_DEVICE void produce(const Job& job, const Plan& plan) {
  using Of = Shared<D>;
  for (int owner = 0; owner < Of::kOwners; ++owner) {
    start_own<T>(job, plan, owner);
  }
  hand_on_copies(Of::own_full());
  Ring<Of::kStages> ring;
  for (typename Plan::Walk walk{plan}; walk.there(); walk.advance(), ring.advance()) {
    const Stage stage = Of::stage(ring.stage);
    mbarrier_wait(stage.empty, ring.parity ^ 1);
    start_stage<T>(job, plan, walk.head(), walk.first(), stage);
    hand_on_copies(stage.full);
  }
}

// ---- a consumer

template <class T, int D, RowsAre Layout, class Plan>
class Consumer {
  using Of = Shared<D>;
  static constexpr bool kKeys = Layout == RowsAre::kKeys;
  static constexpr int kTile = Of::kTile, kWidth = D / Of::kParts;  // of the sums

 public:
  PEFT4J_DEVICE Consumer(const Job& job, const Plan& plan)
      : a_(job.call), plan_(plan), s_(plan.block.s), logits_(job.call, line()) {
    wgmma_fence(sums_[0]);
    wgmma_fence(dv_[0]);
  }

  PEFT4J_DEVICE void add_up() {
    mbarrier_wait(Of::own_full(), 0);
    Ring<Of::kStages> ring;
    for (typename Plan::Walk walk{plan_}; walk.there(); walk.advance(), ring.advance()) {
      if (walk.begins_head()) {
        begin_head(walk.head());
      }
      const Stage stage = Of::stage(ring.stage);
      mbarrier_wait(stage.full, ring.parity);
      if (kKeys ? s_.sees_any(walk.first(), walk.first() + kTile, first(), first() + kRows)
                : s_.sees_any(first(), first() + kRows, walk.first(), walk.first() + kTile)) {
        add_tile(stage, walk.head(), walk.first());
      }
      __syncwarp();  // where nothing was seen: no lane may still wait for the stage when it is filled anew
      arrive_once_a_warp(stage.empty);
    }
  }

  PEFT4J_DEVICE void write() {
    // The products of all who share the own rows have read them.
    Of::kParts == 1 ? named_barrier(1 + group(), kWarpgroup) : named_barrier(1 + kConsumers, kConsumers * kWarpgroup);
    const auto way = [&](int which) { return Tile<T, D>{reinterpret_cast<T*>(Of::own(which, owner()))}; };
    if constexpr (kKeys) {
      write_column_gradients(a_, s_, first() + row(), plan_.block.key_head, width(), sums_, dv_, way(0), way(1), row());
    } else {
      write_query_gradients(a_, s_, first() + row(), plan_.block.head, width(), sums_, way(0), row());
    }
  }

 private:
  // Not kept: registers are few.
  PEFT4J_DEVICE static int group() { return static_cast<int>(threadIdx.x) / kWarpgroup - 1; }
  PEFT4J_DEVICE static int owner() { return group() / Of::kParts; }
  PEFT4J_DEVICE static int width() { return group() % Of::kParts * kWidth; }
  PEFT4J_DEVICE static int row() { return static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16; }  // of the warp
  PEFT4J_DEVICE int first() const { return plan_.block.first + owner() * kRows; }  // of the consumer, in the sequence
  PEFT4J_DEVICE float* line() const { return Of::line(a_, group()); }
  PEFT4J_DEVICE static float* own_numbers() { return Of::rows(0) + group() * 2 * kRows; }  // δ, log-sum-exp

  // What a head has besides its rows: the bias, and in the queries' pass δ and log-sum-exp of the consumer's queries.
  PEFT4J_DEVICE void begin_head(int head) {
    if (kKeys && a_.bias == nullptr) {
      return;
    }
    const int thread = threadIdx.x % kWarpgroup;
    named_barrier(1 + group(), kWarpgroup);  // nobody reads the former head's
    load_bias(line(), a_, head, thread, kWarpgroup);
    if constexpr (!kKeys) {
      const int query = first() + thread % kRows;
      const float* from = thread < kRows ? delta_of(a_, s_, head) : lse_of(a_, s_, head);
      own_numbers()[thread] = query < s_.queries ? from[query] : 0.0f;
    }
    named_barrier(1 + group(), kWarpgroup);
  }

  // streamed: the first row of the stage.
  PEFT4J_DEVICE void add_tile(const Stage& stage, int head, int streamed) {
    Sums<1, kTile / 8> p, ds;
    start_nt<T, D>(p[0], Of::own(0, owner()), stage.first);
    start_nt<T, D>(ds[0], Of::own(1, owner()), stage.second);
    wgmma_wait<0>(p[0]);
    wgmma_wait<0>(ds[0]);
    uint32_t packed[kTile / 16][4];
    if constexpr (kKeys) {
      differentiate<Layout>(p, ds, a_, logits_, s_, head, streamed, first() + row(), stage.rows, stage.rows + kTile);
      uint32_t packed_p[kTile / 16][4];
      pack_rows<T>(packed_p, p[0]);
      start_pn<T, D>(dv_[0], packed_p, stage.second, width());
      pack_rows<T>(packed, ds[0]);
      start_pn<T, D>(sums_[0], packed, stage.first, width());
      wgmma_wait<0>(dv_[0], packed_p);
    } else {
      const float* delta = own_numbers() + row();
      differentiate<Layout>(p, ds, a_, logits_, s_, head, first() + row(), streamed, delta, delta + kRows);
      pack_rows<T>(packed, ds[0]);
      start_pn<T, D>(sums_[0], packed, stage.first, width());
    }
    wgmma_wait<0>(sums_[0], packed);
  }

  const Call& a_;
  const Plan& plan_;
  const Sequence& s_;
  Logits logits_;
  Sums<1, kWidth / 8> sums_ = {}, dv_ = {};  // dK or dQ; dV
};

template <class T, int D, RowsAre Layout, class Plan>
PEFT4J_DEVICE void backward_of_block(const Job& job) {
  using Of = Shared<D>;
  const Plan& plan = *Of::template plan<Plan>();
  if (threadIdx.x == 0) {
    new (Of::template plan<Plan>()) Plan(job.call);
    Of::make_barriers();
  }
  __syncthreads();
  if (!plan.there(job.call)) {
    return;
  }
  const bool any = typename Plan::Walk{plan}.there();
  if (threadIdx.x < kWarpgroup) {
    set_max_registers<kProducerRegisters<kRegisters<D>>, false>();
    if (any) {
      produce<T, D>(job, plan);
    }
  } else {
    set_max_registers<kRegisters<D>, true>();
    Consumer<T, D, Layout, Plan> consumer(job, plan);
    if (any) {
      consumer.add_up();
    }
    consumer.write();
  }
}

template <class T, int D>
__global__ void __launch_bounds__(kBlock, 1) attention_backward_keys_sm90a(const __grid_constant__ Job job) {
#ifdef PEFT4J_HAS_SM90
  backward_of_block<T, D, RowsAre::kKeys, KeysPlan<D>>(job);
#endif
}

template <class T, int D>
__global__ void __launch_bounds__(kBlock, 1) attention_backward_queries_sm90a(const __grid_constant__ Job job) {
#ifdef PEFT4J_HAS_SM90
  backward_of_block<T, D, RowsAre::kQueries, QueriesPlan<D>>(job);
#endif
}

template <class T, int D>
int launch_backward(const Call& a, cudaStream_t stream) {
  using Of = Shared<D>;
  const int64_t wide_q = a.query_heads * D, wide_k = a.key_heads * D;
  Job keys{a, {}, {}}, queries{a, {}, {}};
  const int error = make_tensor_maps({{&keys.own[0], a.k, a.key_rows, wide_k, a.k_stride, kRows},
                                      {&keys.own[1], a.v, a.key_rows, wide_k, a.v_stride, kRows},
                                      {&keys.streamed[0], a.q, a.query_rows, wide_q, a.q_stride, Of::kTile},
                                      {&keys.streamed[1], a.dout, a.query_rows, wide_q, wide_q, Of::kTile},
                                      {&queries.own[0], a.q, a.query_rows, wide_q, a.q_stride, kRows},
                                      {&queries.own[1], a.dout, a.query_rows, wide_q, wide_q, kRows},
                                      {&queries.streamed[0], a.k, a.key_rows, wide_k, a.k_stride, Of::kTile},
                                      {&queries.streamed[1], a.v, a.key_rows, wide_k, a.v_stride, Of::kTile}});
  if (error != 0) {
    return error;
  }
  const size_t bytes = Of::kLinesAt + kConsumers * line_numbers(a) * sizeof(float);
  const int status = PEFT4J_LAUNCH((attention_backward_keys_sm90a<T, D>), column_blocks(a, Of::kOwnRows), dim3(kBlock),
                                   bytes, stream, keys);
  return status != 0 ? status
                     : PEFT4J_LAUNCH((attention_backward_queries_sm90a<T, D>), query_blocks(a, Of::kOwnRows),
                                     dim3(kBlock), bytes, stream, queries);
}

}  // namespace

int backward_sm90a(const Call& a, cudaStream_t stream) {
  return by_sm90a_instance(
      a, [&](auto number, auto size) { return launch_backward<decltype(number), size()>(a, stream); });
}

}  // namespace peft4j::cuda::attention
