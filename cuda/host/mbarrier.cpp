/* Barriers in shared memory, and the bulk copies that they count; the model: sm90.h. */
#include <algorithm>
#include <cstring>

#include "block.h"
#include "memory.h"
#include "sm90.h"

namespace peft4j::host {
namespace {

struct Map {  // what a TensorMap holds
  static constexpr uint64_t kMagic = 0x7465'6e73'6f72'206d;
  uint64_t magic;
  const char* data;
  int64_t rows, columns, stride;
  int box_rows, box_columns;
  bool swizzled;

  int bytes() const { return box_rows * box_columns * 2; }
};
static_assert(sizeof(Map) <= sizeof(TensorMap));

// Makes the running thread another one, for checks and reports.
struct As {
  explicit As(Thread* thread) : was(running->current) { running->current = thread; }
  ~As() { running->current = was; }
  Thread* was;
};

bool passed(const Mbarrier& barrier, int parity) {
  return static_cast<int>(barrier.phase & 1) != parity;
}

void perform(const BulkCopy& copy) {
  const As issuer(copy.issuer);
  Map map;
  std::memcpy(&map, copy.map.opaque, sizeof map);
  end_bulk_copy(copy.to, map.bytes());
  constexpr int kNumbers = 8;  // 16 bytes, which stay together
  for (int i = 0; i < map.box_rows; ++i) {
    for (int j = 0; j < map.box_columns; j += kNumbers) {
      uint16_t numbers[kNumbers] = {};
      const int64_t row = int64_t{copy.row} + i, column = int64_t{copy.column} + j;
      const int64_t first = std::max(-column, int64_t{0}), end = std::min(map.columns - column, int64_t{kNumbers});
      if (row >= 0 && row < map.rows && first < end) {
        const char* from = map.data + (row * map.stride + column + first) * 2;
        const size_t bytes = (end - first) * 2;
        for (size_t done = 0, step = bytes == 16 && column % 8 == 0 ? 16 : 2; done < bytes; done += step) {
          check(from + done, step, Access::kRead, nullptr, &copy.site);
        }
        std::memcpy(&numbers[first], from, bytes);
      }
      uint32_t at = shared_address(copy.to) + (i * map.box_columns + j) * 2;
      at ^= map.swizzled ? (at >> 7 & 7) << 4 : 0;
      std::memcpy(running->shared->data() + at, numbers, sizeof numbers);
    }
  }
}

// Ends the phase if it lacks nothing: its copies are made, who waits goes on.
void try_complete(Mbarrier& barrier) {
  if (barrier.pending > 0 || barrier.announced != barrier.issued) {
    return;
  }
  for (const BulkCopy& copy : barrier.copies) {
    perform(copy);
  }
  if (!barrier.copies.empty()) {
    barrier.releasing.back() = ++running->clock;
  }
  barrier.released = std::move(barrier.releasing);
  barrier.releasing.clear();
  barrier.copies.clear();
  barrier.pending = barrier.arrivals;
  barrier.announced = barrier.issued = 0;
  ++barrier.phase;
  for (Thread& t : running->threads) {
    if (t.state == State::kAtMbarrier && t.mbarrier == &barrier && passed(barrier, t.parity)) {
      t.state = State::kReady;
      raise(t.known, barrier.released);
    }
  }
}

// After an arrival or a copy. A phase that nobody waits for stays as it is: the later its copies are made, the more is seen.
void changed(Mbarrier& barrier, const char* name, Site site) {
  if (barrier.pending == 0 && barrier.issued > barrier.announced) {
    fail(std::string(name) + ": the copies of the phase have " + std::to_string(barrier.issued) + " bytes, but " +
             std::to_string(barrier.announced) + " are expected",
         where(site));
  }
  for (const Thread& t : running->threads) {
    if (t.state == State::kAtMbarrier && t.mbarrier == &barrier) {
      try_complete(barrier);
      return;
    }
  }
}

Mbarrier& barrier_at(const uint64_t* address, const char* name, Site site) {
  const auto found = running->mbarriers.find(address);
  if (found == running->mbarriers.end()) {
    fail(std::string(name) + ": there is no barrier; mbarrier_init makes one", where(site));
  }
  Mbarrier& barrier = found->second;
  if (!barrier.fenced || !ordered(barrier.initialised)) {
    fail(std::string(name) + ": the barrier was initialised " +
             (barrier.fenced ? "without a barrier of the block since" : "without mbarrier_fence_init"),
         where(site));
  }
  return barrier;
}

}  // namespace

std::string make_tensor_map(TensorMap& to, const void* data, int64_t rows, int64_t columns, int64_t stride,
                            int box_rows, int box_columns, bool swizzled) {
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0 || stride * 2 % 16 != 0) {
    return "a tensor map needs data and rows at multiples of 16 bytes";
  }
  constexpr int64_t kMostSize = int64_t{1} << 32, kMostStride = int64_t{1} << 40;
  if (rows < 1 || columns < 1 || rows > kMostSize || columns > kMostSize || stride < columns ||
      stride * 2 >= kMostStride) {
    return "a tensor map needs 1 to 2^32 rows and columns, and rows less than 2^40 bytes apart";
  }
  if (box_rows < 1 || box_rows > 256 || box_columns < 1 || box_columns > 256 || box_columns * 2 % 16 != 0 ||
      (swizzled && box_columns * 2 > 128)) {
    return "a tensor map needs boxes of 1 to 256 rows and columns, of whole 16 bytes, at most 128 where they are "
           "swizzled";
  }
  const Map map{Map::kMagic, static_cast<const char*>(data), rows, columns, stride, box_rows, box_columns, swizzled};
  std::memcpy(to.opaque, &map, sizeof map);
  return "";
}

uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(static_cast<const char*>(p) - running->shared->data());
}

void mbarrier_init(uint64_t* barrier, int arrivals, Site site) {
  guarded([&] {
    if (arrivals < 1 || arrivals >= 1 << 20) {
      fail("mbarrier_init: a barrier needs 1 to 2^20 - 1 arrivals, got " + std::to_string(arrivals), where(site));
    }
    if (running->threads.size() > 1023) {
      fail("mbarrier_init: blocks of more than 1023 threads are not modelled", where(site));
    }
    check(barrier, sizeof *barrier, Access::kWrite, nullptr, &site);
    Mbarrier& made = running->mbarriers[barrier];
    made = Mbarrier{};
    made.arrivals = made.pending = arrivals;
    made.initialised = stamp_now();
    made.initialiser = running->current->number;
  });
}

void mbarrier_fence_init() {
  for (auto& [address, barrier] : running->mbarriers) {
    barrier.fenced |= barrier.initialiser == running->current->number;
  }
}

void mbarrier_arrive(uint64_t* address, int bytes, Site site) {
  perhaps_sleep();
  guarded([&] {
    constexpr const char* kName = "mbarrier_arrive";
    Mbarrier& barrier = barrier_at(address, kName, site);
    try_complete(barrier);
    if (barrier.pending == 0) {
      fail(std::string(kName) + ": all " + std::to_string(barrier.arrivals) +
               " arrivals of the phase have come already, it lacks " +
               std::to_string(barrier.announced - barrier.issued) + " bytes",
           where(site));
    }
    barrier.announced += bytes;
    if (barrier.announced >= 1 << 20) {
      fail(std::string(kName) + ": a phase counts fewer than 2^20 bytes, not " + std::to_string(barrier.announced),
           where(site));
    }
    --barrier.pending;
    release(*running->current, barrier.releasing);
    changed(barrier, kName, site);
  });
}

void mbarrier_wait(uint64_t* address, int parity, Site site) {
  perhaps_sleep();
  guarded([&] {
    Mbarrier& barrier = barrier_at(address, "mbarrier_wait", site);
    Thread& self = *running->current;
    try_complete(barrier);
    if (passed(barrier, parity)) {
      raise(self.known, barrier.released);
      return;
    }
    self.begin_wait(State::kAtMbarrier,
                    {.name = "mbarrier_wait", .site = site, .mbarrier = &barrier, .parity = parity});
    self.fiber->leave(false);
  });
}

void tma_load(void* to, const TensorMap& map, int column, int row, uint64_t* address, Site site) {
  perhaps_sleep();
  guarded([&] {
    Map of;
    std::memcpy(&of, map.opaque, sizeof of);
    if (of.magic != Map::kMagic) {
      fail("tma_load: the map was not made by make_tensor_map", where(site));
    }
    if (shared_address(to) % (of.swizzled ? 1024 : 128) != 0) {
      fail("tma_load: the destination must be at a multiple of " + std::to_string(of.swizzled ? 1024 : 128) + " bytes",
           where(site));
    }
    Mbarrier& barrier = barrier_at(address, "tma_load", site);
    try_complete(barrier);
    begin_bulk_copy(to, of.bytes(), &site);
    barrier.issued += of.bytes();
    barrier.copies.push_back({static_cast<char*>(to), map, column, row, running->current, site});
    changed(barrier, "tma_load", site);
  });
}

void fence_async_proxy() {
  running->current->async_fence = ++running->clock;
}

std::string lacks(const Mbarrier& barrier) {
  return std::to_string(barrier.pending) + " of " + std::to_string(barrier.arrivals) + " arrivals and " +
         std::to_string(barrier.announced - barrier.issued) + " bytes are missing";
}

void expect_no_copies(const Launch& launch) {
  for (const auto& [address, barrier] : launch.mbarriers) {
    if (!barrier.copies.empty()) {
      fail("the block has ended, and nobody has waited for this tma_load", where(barrier.copies[0].site));
    }
  }
}

}  // namespace peft4j::host
