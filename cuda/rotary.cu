/*
rotary: rotary position embedding of queries and keys (RoFormer, Su et al. 2021), in one launch.

Row t has position m, and pair j of the first `rotary` numbers of each head the angle φ = m·inverse_frequencies[j]:
    a' = scaling·(a·cos φ - b·sin φ),  b' = scaling·(b·cos φ + a·sin φ)
    (a, b) = (x[j], x[j + rotary/2]) (Llama, GPT-NeoX), or interleaved (x[2j], x[2j + 1]) (GPT-J)
The rest of a head stays. Backward is the same with -φ and needs nothing but the gradients. The frequencies are the model's:
linear, Llama 3's and YaRN's scaling are other frequencies, and scaling is YaRN's factor. So nothing depends on a longest sequence.

Bytes: each number read and written once, 4 for one of 16 bits, and about 10 instructions, where 4.3 TB/s leave an H200 time for
27: memory bound. Angles, sines and products are float32. A block has a row. Its threads start to load their first heads; meanwhile they
make the row's cosines and sines in shared memory, one sincosf for each pair and all heads (at 32 + 8 heads for 80 numbers). A thread
takes the same pairs, two 16-byte vectors (interleaved: one), of two heads at a time, so it reads its cosines once and has 64 bytes
under way: 416 threads of a multiprocessor keep the 26 KB there that bandwidth and latency ask for (H200). In place is allowed: who reads a
pair writes it.
*/
#include "device/walk.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

using Params = peft4j_cuda_rotary_params;

constexpr int kThreads = 256;  // of a block, at most
constexpr int kHeads = 2;      // that a thread has under way

// P pairs of a head, as they lie in memory.
template <class T, int P, bool Interleaved>
struct Pairs {
  static constexpr int kPack = Interleaved && P > 1 ? 2 * P : P;  // numbers that lie together
  Pack<T, kPack> packs[2 * P / kPack];

  // Where the packs of the pairs [first, first + P) begin.
  PEFT4J_DEVICE static int place(int i, int first, int half) { return Interleaved ? 2 * first + i : first + i * half; }

  PEFT4J_DEVICE void load(const T* head, int first, int half) {
#pragma unroll
    for (int i = 0; i < 2 * P / kPack; ++i) {
      packs[i] = load_pack<kPack>(head + place(i, first, half));
    }
  }

  PEFT4J_DEVICE void store_turned(T* head, int first, int half, const Pack<float, P>& cosines,
                                  const Pack<float, P>& sines) const {
    float turned[2 * P / kPack][kPack];
#pragma unroll
    for (int j = 0; j < P; ++j) {
      const int at = Interleaved ? 2 * j : j, other = Interleaved ? 2 * j + 1 : P + j;
      const float a = to_float(packs[at / kPack].v[at % kPack]), b = to_float(packs[other / kPack].v[other % kPack]);
      turned[at / kPack][at % kPack] = a * cosines.v[j] - b * sines.v[j];
      turned[other / kPack][other % kPack] = b * cosines.v[j] + a * sines.v[j];
    }
#pragma unroll
    for (int i = 0; i < 2 * P / kPack; ++i) {
      write_pack(head + place(i, first, half), from_floats<T>(turned[i]));
    }
  }
};

template <class T, int P, bool Interleaved>
__global__ void __launch_bounds__(kThreads) rotary(Params p) {
  const int half = static_cast<int>(p.rotary / 2);
  const int queries = static_cast<int>(p.query_heads), heads = queries + static_cast<int>(p.key_heads);
  const int64_t row = blockIdx.x;
  const T *q = static_cast<const T*>(p.q) + row * p.q_stride, *k = static_cast<const T*>(p.k) + row * p.k_stride;
  T *q_out = static_cast<T*>(p.q_out) + row * p.q_out_stride, *k_out = static_cast<T*>(p.k_out) + row * p.k_out_stride;
  const auto source = [&](int h) { return h < queries ? q + h * p.head_size : k + (h - queries) * p.head_size; };
  const auto target = [&](int h) {
    return h < queries ? q_out + h * p.head_size : k_out + (h - queries) * p.head_size;
  };
  const int own_pairs = threadIdx.x * P, own_head = threadIdx.y;
  Pairs<T, P, Interleaved> pairs[kHeads];
  const auto load = [&](int first, int head) {
#pragma unroll
    for (int i = 0; i < kHeads; ++i) {
      if (const int h = head + i * static_cast<int>(blockDim.y); first < half && h < heads) {
        pairs[i].load(source(h), first, half);
      }
    }
  };
  load(own_pairs, own_head);

  auto *cosines = reinterpret_cast<float*>(shared_memory()), *sines = cosines + half;
  const float position = static_cast<float>(p.wide_positions ? static_cast<const int64_t*>(p.positions)[row]
                                                             : static_cast<const int32_t*>(p.positions)[row]);
  for (int j = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); j < half; j += blockDim.x * blockDim.y) {
    float sine, cosine;
    sincosf(position * p.inverse_frequencies[j], &sine, &cosine);
    cosines[j] = p.scaling * cosine;
    sines[j] = p.backward ? -p.scaling * sine : p.scaling * sine;
  }
  __syncthreads();

  for (int first = own_pairs; first < half; first += blockDim.x * P) {
    const Pack<float, P> c = load_pack<P>(cosines + first), s = load_pack<P>(sines + first);
    for (int head = own_head; head < heads; head += kHeads * blockDim.y) {
      if (first != own_pairs || head != own_head) {
        load(first, head);
      }
#pragma unroll
      for (int i = 0; i < kHeads; ++i) {
        if (const int h = head + i * static_cast<int>(blockDim.y); h < heads) {
          pairs[i].store_turned(target(h), first, half, c, s);
        }
      }
    }
  }
  if (p.rotary == p.head_size) {
    return;
  }
  for (int h = threadIdx.y; h < heads; h += blockDim.y) {
    for (int c = 2 * half + threadIdx.x * P; source(h) != target(h) && c < p.head_size; c += blockDim.x * P) {
      write_pack(target(h) + c, load_pack<P>(source(h) + c));
    }
  }
}

template <class T, bool Interleaved>
int launch_rotary(const Params& p, cudaStream_t stream) {
  constexpr int V = Pack<T>::kSize, P = Interleaved ? V / 2 : V;
  const auto aligned = [&](const void* t, int64_t stride) { return packs(static_cast<const T*>(t), stride); };
  const bool by_vectors = p.rotary % (2 * P) == 0 && p.head_size % V == 0 && aligned(p.q, p.q_stride) &&
                          aligned(p.k, p.k_stride) && aligned(p.q_out, p.q_out_stride) &&
                          aligned(p.k_out, p.k_out_stride);
  const auto x = static_cast<unsigned>(std::clamp<int64_t>(p.rotary / 2 / (by_vectors ? P : 1), 1, kThreads));
  const int64_t heads = p.query_heads + p.key_heads;
  const int64_t turns = divide_up(heads, kThreads / x);  // of a thread, about as many for each
  const dim3 grid(static_cast<unsigned>(heads == 0 ? 0 : p.rows));
  const dim3 block(x, static_cast<unsigned>(divide_up(heads, std::max<int64_t>(turns, 1))));
  const size_t shared_bytes = p.rotary * sizeof(float);
  return by_vectors ? PEFT4J_LAUNCH((rotary<T, P, Interleaved>), grid, block, shared_bytes, stream, p)
                    : PEFT4J_LAUNCH((rotary<T, 1, Interleaved>), grid, block, shared_bytes, stream, p);
}

}  // namespace
}  // namespace peft4j::cuda

int peft4j_cuda_rotary(const peft4j_cuda_rotary_params* p, void* stream) {
  using namespace peft4j::cuda;
  return by_dtype(p->dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto s = static_cast<cudaStream_t>(stream);
    return p->interleaved ? launch_rotary<T, true>(*p, s) : launch_rotary<T, false>(*p, s);
  });
}
