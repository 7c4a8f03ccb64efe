#pragma once
/*
What attention's kernels for cards of compute capability 9.0 share. The consumers (warpgroups.h) have 64 rows of products each.

A matrix in shared memory lies in panels of 64 columns, as tma_load leaves it and wgmma reads it. A tile that lies wholly within
a sequence comes by bulk copies. Any other, of a prefix or at the sequence's end, is copied by the producer's threads, with zeros behind
the end: what stands there in memory is another sequence's and may be NaN, and 0·NaN would be NaN where a product sums over these
rows. Rows of a first operand need no such care: a foreign one spoils only itself.
*/
#include "attention_tiles.h"
#include "card.h"
#include "tensor_map.h"
#include "warpgroups.h"

namespace peft4j::cuda::attention {

constexpr int kRows = 64;  // of a consumer
constexpr int kPanel = 64;  // numbers in a row of a panel: 128 bytes, as wide as the swizzle

/*
P·V, dQ and dK read their second operand down its rows, for D 96 in products of 96 columns: one panel and half of the next. The PTX manual
allows it, but no library is known to do it. The first that a card must show (wgmmaHasOtherWidthsAndTakesRegisters); where it does not hold, false
leaves such heads to the kernels for mma.sync.
*/
constexpr bool kHeadsOf96 = true;

// [Height, D] in panels.
template <int Height, int D>
struct Panels {
  static constexpr int kCount = (D + kPanel - 1) / kPanel;
  static constexpr int kPanelBytes = Height * kPanel * 2, kBytes = kCount * kPanelBytes;
  static_assert(kPanelBytes % kPattern == 0);
};

// The rows of a consumer, [kRows, D]: panels, and at the end the way of its results to memory.
template <int D>
struct OwnRows : Panels<kRows, D> {
  static constexpr int kWayOut = static_cast<int>(Tile<__half, D>::bytes(kRows));
  static constexpr int kRoom = std::max(Panels<kRows, D>::kBytes, kWayOut);
  static_assert(kRoom % kPattern == 0);
};

// ---- the producer

// By one thread: a head's rows from `row` on, counted in `full`. The map's boxes have Height rows.
template <int Height, int D>
PEFT4J_DEVICE void load_panels(char* to, const TensorMap& map, int head, int row, uint64_t* full) {
  using Of = Panels<Height, D>;
  for (int panel = 0; panel < Of::kCount; ++panel) {
    tma_load(to + panel * Of::kPanelBytes, map, head * D + panel * kPanel, row, full);
  }
}

// By the group, with cp.async: row(i) for i below `there`, then zeros; as load_panels would leave them.
template <class T, int Height, int D, class Row>
PEFT4J_DEVICE void copy_panels(char* to, const Row& row, int there) {
  constexpr int kChunk = Pack<T>::kSize, kChunks = D / kChunk, kTogether = kWarpgroup / kChunks;
  const int chunk = threadIdx.x % kChunks, first = threadIdx.x / kChunks;
  if (first >= kTogether) {
    return;  // D 96: eight threads too many
  }
  to += chunk / 8 * Panels<Height, D>::kPanelBytes;
#pragma unroll 1
  for (int i = first; i < Height; i += kTogether) {
    cp_async<16>(to + i * 128 + (chunk % 8 ^ i % 8) * 16, row(i) + chunk * kChunk, i < there ? 16 : 0);
  }
}

// Waits for what the group's threads copied and hands it on, to wgmma as well.
PEFT4J_DEVICE void hand_on_copies(uint64_t* full) {
  cp_async_commit();
  cp_async_wait<0>();
  fence_async_proxy();
  __syncwarp();
  arrive_once_a_warp(full);
}

/*
A tile of columns of keys or values, from `column` on, in one of the two ways; the group arrives at `full`, each warp once. The map's
boxes have Height rows.
*/
template <class T, int Height, int D>
PEFT4J_DEVICE void fill_columns(char* to, const TensorMap& map, const Columns<T>& from, const Sequence& s, int head,
                                int column, uint64_t* full) {
  if (column < s.prefix || column + Height > s.columns) {
    copy_panels<T, Height, D>(to, [&](int i) { return from.row(s, column + i); }, s.columns - column);
    hand_on_copies(full);
  } else if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(full, Panels<Height, D>::kBytes);
    load_panels<Height, D>(to, map, head, s.first_k + column - s.prefix, full);
  } else {
    arrive_once_a_warp(full);
  }
}

// ---- products

// d = own · tileᵀ, in flight: `own` are OwnRows, tile is [8·N, D] in panels.
template <class T, int D, int N>
PEFT4J_DEVICE void start_nt(float (&d)[N][4], const char* own, const char* tile) {
  using A = OwnRows<D>;
  using B = Panels<8 * N, D>;
  const uint64_t a = wgmma_pinned(wgmma_operand(own, kPattern)), b = wgmma_pinned(wgmma_operand(tile, kPattern));
  wgmma_fence(d);
#pragma unroll
  for (int panel = 0; panel < A::kCount; ++panel) {
#pragma unroll
    for (int k = 0; k < min(kPanel, D - panel * kPanel); k += 16) {
      wgmma_m64k16<MmaType<T>, false>(d, a + wgmma_bytes(panel * A::kPanelBytes + 2 * k),
                                      b + wgmma_bytes(panel * B::kPanelBytes + 2 * k), panel + k > 0);
    }
  }
  wgmma_commit();
}

// d += p · tile[…, column…), in flight; tile is [16·K, D] in panels, column the first of one of them.
template <class T, int D, int N, int K>
PEFT4J_DEVICE void start_pn(float (&d)[N][4], uint32_t (&p)[K][4], const char* tile, int column = 0) {
  constexpr int kPanelBytes = Panels<16 * K, D>::kPanelBytes;
  const uint64_t b = wgmma_pinned(wgmma_operand(tile + column / kPanel * kPanelBytes, kPattern, kPanelBytes));
  wgmma_fence(d, p);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    wgmma_m64k16<MmaType<T>, true>(d, p[k], b + wgmma_bytes(16 * k * kPanel * 2), true);
  }
  wgmma_commit();
}

// sums rounded to T, as start_pn takes them.
template <class T, int N>
PEFT4J_DEVICE void pack_rows(uint32_t (&p)[N / 2][4], const float (&sums)[N][4]) {
#pragma unroll
  for (int i = 0; i < 2 * N; ++i) {
    const float* pair = &sums[i / 2][i % 2 * 2];
    p[i / 4][i % 4] = pack_pair<T>(pair[0], pair[1]);
  }
}

// ---- the host

// Calls f(a number, a head size): for each there is an instance.
template <class F>
int by_sm90a_instance(const Call& a, const F& f) {
  const auto by_size = [&](auto number) {
    switch (a.head_size) {
      case 64: return f(number, std::integral_constant<int, 64>());
      case 96: return f(number, std::integral_constant<int, 96>());
      case 128: return f(number, std::integral_constant<int, 128>());
      default: return f(number, std::integral_constant<int, 256>());
    }
  };
  return a.dtype == 1 ? by_size(__nv_bfloat16()) : by_size(__half());
}

}  // namespace peft4j::cuda::attention
