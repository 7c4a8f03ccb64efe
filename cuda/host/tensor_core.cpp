/* mma and ldmatrix on the CPU; layouts: device/ptx.h. */
#include <string>

#include "block.h"
#include "memory.h"

namespace peft4j::host {
namespace {

struct Fragments {
  const float *d, *a32, *b32;
  const uint32_t *a, *b;
  bool bf16;
};

float number(uint32_t bits, bool bf16) {
  if (bf16) {
    return std::bit_cast<float>(bits << 16);
  }
  __half h;
  h.bits = static_cast<uint16_t>(bits);
  return h;
}

float half_of(uint32_t pair, int which, bool bf16) {
  return number(pair >> (16 * which) & 0xffff, bf16);
}

// d[16, 8] += a[16, depth] · b[depth, 8], then back to the lanes.
void multiply(Lanes& lanes, const float (&a)[16][16], const float (&b)[16][8], int depth) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto* f = static_cast<const Fragments*>(lanes.in[lane]);
    auto* out = static_cast<float*>(lanes.out[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
      float sum = 0;
      for (int k = 0; k < depth; ++k) {
        sum += a[row][k] * b[k][column];
      }
      out[i] = f->d[i] + sum;
    }
  }
}

constexpr uint32_t kAll = 0xffffffffu;

}  // namespace

void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool bf16, Site site) {
  const Fragments in{d, nullptr, nullptr, a, b, bf16};
  float out[4];
  warp_collective(
      bf16 ? "mma_m16n8k16<Bf16>" : "mma_m16n8k16<Fp16>", kAll, &in, out,
      [](Lanes& lanes) {
        float wide_a[16][16], wide_b[16][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto* f = static_cast<const Fragments*>(lanes.in[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int r = 0; r < 4; ++r) {
            for (int h = 0; h < 2; ++h) {
              wide_a[g + (r & 1) * 8][2 * t + h + (r >= 2 ? 8 : 0)] = half_of(f->a[r], h, f->bf16);
            }
          }
          for (int r = 0; r < 2; ++r) {
            for (int h = 0; h < 2; ++h) {
              wide_b[2 * t + h + 8 * r][g] = half_of(f->b[r], h, f->bf16);
            }
          }
        }
        multiply(lanes, wide_a, wide_b, 16);
      },
      false, site);
  std::copy(out, out + 4, d);
}

void mma_m16n8k8(float* d, const float* a, const float* b, Site site) {
  const Fragments in{d, a, b, nullptr, nullptr, false};
  float out[4];
  warp_collective(
      "mma_m16n8k8", kAll, &in, out,
      [](Lanes& lanes) {
        // cvt.rna.tf32: to the nearest number with 10 bits behind the point, ties away from zero
        const auto rounded = [](float x) {
          return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000u) & ~0x1fffu);
        };
        float wide_a[16][16], wide_b[16][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto* f = static_cast<const Fragments*>(lanes.in[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int r = 0; r < 4; ++r) {
            wide_a[g + (r & 1) * 8][t + (r >= 2 ? 4 : 0)] = rounded(f->a32[r]);
          }
          for (int r = 0; r < 2; ++r) {
            wide_b[t + 4 * r][g] = rounded(f->b32[r]);
          }
        }
        multiply(lanes, wide_a, wide_b, 8);
      },
      false, site);
  std::copy(out, out + 4, d);
}

void ldmatrix(uint32_t* r, int n, bool transposed, const void* row, Site site) {
  struct Request {
    const void* row;
    int n;
    bool transposed;
  };
  if (lane() < 8 * n) {
    guarded([&] { check(row, 16, Access::kRead, nullptr, &site); });
  }
  const Request in{row, n, transposed};
  warp_collective(
      "ldmatrix", kAll, &in, r,
      [](Lanes& lanes) {
        for (int lane = 0; lane < 32; ++lane) {
          const auto* request = static_cast<const Request*>(lanes.in[lane]);
          auto* out = static_cast<uint32_t*>(lanes.out[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int j = 0; j < request->n; ++j) {
            const auto element = [&](int i, int column) {
              return uint32_t{
                  static_cast<const uint16_t*>(static_cast<const Request*>(lanes.in[8 * j + i])->row)[column]};
            };
            out[j] = request->transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                                         : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
          }
        }
      },
      false, site);
}

}  // namespace peft4j::host
