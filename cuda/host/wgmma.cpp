/* Products by a warpgroup; the model: sm90.h, the layouts: the PTX manual, "Canonical Layouts" and "Matrix Descriptor Format". */
#include <algorithm>
#include <cstring>
#include <limits>

#include "block.h"
#include "memory.h"
#include "sm90.h"

namespace peft4j::host {
namespace {

constexpr int kM = 16, kMostN = 256, kK = 16;  // rows of a warp
constexpr uint32_t kAll = 0xffffffffu;
constexpr float kInFlight = std::numeric_limits<float>::quiet_NaN();

struct Operand {
  uint32_t start, leading, stride;
  int base, swizzle;  // width of the pattern: 16 << swizzle bytes

  explicit Operand(uint64_t bits)
      : start((bits & 0x3fff) << 4),
        leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4),
        base(bits >> 49 & 7),
        swizzle((4 - static_cast<int>(bits >> 62)) & 3) {}

  // Of the 16 bytes that begin with (mn, k): eight k's, or eight mn's where mn_major.
  uint32_t address(int mn, int k, bool mn_major) const {
    const uint32_t width = 16u << swizzle, across = width / 2;  // numbers in a row of the pattern
    uint32_t at = start;
    if (!mn_major) {
      at += mn / 8 * stride + mn % 8 * width + k / 8 * (swizzle == 0 ? leading : 16);
    } else if (swizzle == 0) {
      at += mn / 8 * stride + k % 8 * 16 + k / 8 * leading;
    } else {
      at += mn / across * leading + mn % across * 2 + k % 8 * width + k / 8 * stride;
    }
    return at ^ ((at >> 7 & ((1u << swizzle) - 1)) << 4);
  }
};

float number(uint16_t bits, bool bf16) {
  if (bf16) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  __half h;
  h.bits = bits;
  return h;
}

// The eight numbers at (mn, k).
void read(Wgmma& by, const Operand& operand, int mn, int k, bool mn_major, float (&numbers)[8]) {
  const char* at = running->shared->data() + operand.address(mn, k, mn_major);
  begin_wgmma_read(at, by.site);
  by.reads.push_back(at);
  uint16_t bits[8];
  std::memcpy(bits, at, 16);
  for (int i = 0; i < 8; ++i) {
    numbers[i] = number(bits[i], by.product.bf16);
  }
}

// A warp's 16 rows of a.
void read_a(Wgmma& by, int first_row, float (&a)[kM][kK]) {
  if (by.registers.empty()) {
    for (int m = 0; m < kM; ++m) {
      for (int k = 0; k < kK; k += 8) {
        float numbers[8];
        read(by, Operand(by.product.a), first_row + m, k, false, numbers);
        std::copy(numbers, numbers + 8, &a[m][k]);
      }
    }
    return;
  }
  for (int lane = 0; lane < 32; ++lane) {  // as mma's
    for (int i = 0; i < 8; ++i) {
      const uint32_t pair = by.registers[lane].bits[i / 2];
      a[lane / 4 + i / 2 % 2 * 8][lane % 4 * 2 + i / 4 * 8 + i % 2] =
          number(static_cast<uint16_t>(i % 2 == 0 ? pair : pair >> 16), by.product.bf16);
    }
  }
}

// sums[n_end] += row[kK] · b; without sanitizers, which would make it slow.
__attribute__((no_sanitize("address", "undefined"), optimize("O3"))) void add_products(float* sums, const float* row,
                                                                                       const float (&b)[kK][kMostN],
                                                                                       int n_end) {
  for (int k = 0; k < kK; ++k) {
    for (int n = 0; n < n_end; ++n) {
      sums[n] += row[k] * b[k][n];
    }
  }
}

// A warp's 16 rows of d.
void multiply(Wgmma& by, int first_row, std::vector<float>& d) {
  const Operand b(by.product.b);
  const bool by_k = by.product.by_k;
  const int n_end = by.product.n;
  float wide_a[kM][kK], wide_b[kK][kMostN], numbers[8];
  read_a(by, first_row, wide_a);
  for (int n = 0; n < n_end; n += by_k ? 8 : 1) {
    for (int k = 0; k < kK; k += by_k ? 1 : 8) {
      read(by, b, n, k, by_k, numbers);
      for (int i = 0; i < 8; ++i) {
        (by_k ? wide_b[k][n + i] : wide_b[k + i][n]) = numbers[i];
      }
    }
  }
  for (int m = 0; m < kM; ++m) {
    float sums[kMostN] = {};
    add_products(sums, wide_a[m], wide_b, n_end);
    for (int n = 0; n < n_end; ++n) {  // d[n / 8] is mma's
      const int lane = m % 8 * 4 + n % 8 / 2, i = n / 8 * 4 + m / 8 * 2 + n % 2;
      float& to = d[lane * (n_end / 2) + i];
      to = (by.product.add ? to : 0.0f) + sums[n];
    }
  }
}

Warp& warp_of(int thread) {
  running->warps.resize((running->threads.size() + 31) / 32);
  return running->warps[thread / 32];
}

bool same_bits(float x, float y) {
  return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
}

struct Request {
  float* d;
  Product product;
  const uint32_t* a;  // in registers, or null
};

int registers_of(const Accumulators& d) {  // in a lane
  return static_cast<int>(d.values.size() / 32);
}

// Whether a lane's registers are not what a product left there.
bool touched(const Lanes& lanes, const Accumulators& d) {
  const int count = registers_of(d);
  for (int i = 0; i < 32 * count; ++i) {
    const float now = static_cast<const Request*>(lanes.in[i / count])->d[i % count];
    if (!same_bits(now, d.values[i])) {
      return true;
    }
  }
  return false;
}

void issue(Lanes& lanes) {
  const auto& [registers, product, a] = *static_cast<const Request*>(lanes.in[0]);
  const int group = lanes.thread[0] / 128;
  const std::string at = where(lanes.site);
  if (running->threads.size() < static_cast<size_t>(group + 1) * 128) {
    fail("wgmma: a warpgroup has four whole warps", at);
  }
  for (const void* in : lanes.in) {
    if (static_cast<const Request*>(in)->product != product) {
      fail("wgmma: lanes name different operands", at);
    }
  }
  if (Operand(product.a).base != 0 || Operand(product.b).base != 0) {
    fail("wgmma: a base offset is not modelled; begin patterns at multiples of 1024 bytes", at);
  }
  Warp& warp = warp_of(lanes.thread[0]);
  auto& products = running->products;  // of each warpgroup, as the first of its warps named them
  products.resize(running->warps.size() / 4 + 1);
  if (warp.products == products[group].size()) {
    products[group].push_back({registers, product, lanes.site});
  }
  if (products[group][warp.products++].product != product) {
    fail("wgmma: the warps of a warpgroup name different operands", at);
  }
  Accumulators& d = warp.accumulators[registers];
  const int count = product.n / 2;
  if (d.in_flight > 0 && registers_of(d) != count) {
    fail("wgmma: products of other widths are in flight on d", at);
  }
  if (a != nullptr && !warp.fenced) {
    fail("wgmma: a's registers are used, and there was no wgmma_fence since products were waited for", at);
  }
  if (d.in_flight == 0) {
    const bool is_new = registers_of(d) != count;
    d.values.resize(32 * count);
    if (!warp.fenced && (is_new || !product.add || touched(lanes, d))) {
      fail("wgmma: d was touched, or is new, and there was no wgmma_fence since", at);
    }
    for (int lane = 0; lane < 32; ++lane) {
      d.lane[lane] = static_cast<const Request*>(lanes.in[lane])->d;
      std::copy_n(d.lane[lane], count, &d.values[lane * count]);
      std::fill_n(d.lane[lane], count, kInFlight);
    }
  }
  ++d.in_flight;
  warp.open.push_back({registers, product, lanes.site});
  for (int lane = 0; a != nullptr && lane < 32; ++lane) {
    const uint32_t* of = static_cast<const Request*>(lanes.in[lane])->a;
    warp.open.back().registers.push_back({of, {of[0], of[1], of[2], of[3]}});
  }
  multiply(warp.open.back(), lanes.thread[0] / 32 % 4 * kM, d.values);
}

// What a wait sees done.
void finish(Warp& warp, size_t open, const std::string& at) {
  while (warp.committed.size() > open) {
    for (const Wgmma& wgmma : warp.committed.front()) {
      for (const char* read : wgmma.reads) {
        end_wgmma_read(read);
      }
      for (const auto& [registers, bits] : wgmma.registers) {
        if (!std::equal(bits.begin(), bits.end(), registers)) {
          fail("wgmma_wait: a's registers were changed while products were in flight", at);
        }
      }
      Accumulators& d = warp.accumulators[wgmma.d];
      if (--d.in_flight > 0) {
        continue;
      }
      const int count = registers_of(d);
      for (int i = 0; i < 32 * count; ++i) {
        float& to = d.lane[i / count][i % count];
        if (!same_bits(to, kInFlight)) {
          fail("wgmma_wait: d was changed while products were in flight", at);
        }
        to = d.values[i];
      }
      warp.fenced = false;
    }
    warp.committed.pop_front();
  }
}

}  // namespace

void wgmma(float* d, const Product& product, Site site, const uint32_t* registers) {
  const Request request{d, product, registers};
  warp_collective("wgmma", kAll, &request, nullptr, issue, false, site);
}

void wgmma_fence(Site site) {
  warp_collective(
      "wgmma_fence", kAll, nullptr, nullptr, [](Lanes& lanes) { warp_of(lanes.thread[0]).fenced = true; }, false, site);
}

void wgmma_commit(Site site) {
  warp_collective(
      "wgmma_commit", kAll, nullptr, nullptr,
      [](Lanes& lanes) {
        Warp& warp = warp_of(lanes.thread[0]);
        warp.committed.push_back(std::move(warp.open));
        warp.open.clear();
      },
      false, site);
}

void wgmma_wait(int open, Site site) {
  warp_collective(
      "wgmma_wait", kAll, &open, nullptr,
      [](Lanes& lanes) { finish(warp_of(lanes.thread[0]), *static_cast<const int*>(lanes.in[0]), where(lanes.site)); },
      true, site);
}

void expect_no_products(const Launch& launch) {
  for (size_t i = 0; i < launch.warps.size(); ++i) {
    const Warp& warp = launch.warps[i];
    const auto& of = launch.products;
    if (i / 4 < of.size() && warp.products != of[i / 4].size()) {
      fail("warp " + std::to_string(i) + " has issued " + std::to_string(warp.products) + " of its warpgroup's " +
               std::to_string(of[i / 4].size()) + " wgmma's",
           where(of[i / 4].back().site));
    }
    for (const auto& [d, accumulators] : warp.accumulators) {
      if (accumulators.in_flight > 0) {
        fail("the block has ended, and nobody has waited for a wgmma", where(of[i / 4].back().site));
      }
    }
  }
}

}  // namespace peft4j::host
