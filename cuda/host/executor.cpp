#include "executor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "block.h"

namespace peft4j::host {

Launch* running = nullptr;

namespace {

uint32_t last_serial = 0;

uint64_t& seed() {
  static uint64_t value = [] {
    const char* text = std::getenv("PEFT4J_HOST_SEED");
    return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
  }();
  return value;
}

Fiber& fiber(size_t i) {
  static std::vector<std::unique_ptr<Fiber>> pool;
  while (pool.size() <= i) {
    pool.push_back(std::make_unique<Fiber>());
  }
  return *pool[i];
}

void (*body)(const void*);
const void* closure_of_body;

void thread_body() {
  body(closure_of_body);
  Thread& self = *running->current;
  self.state = State::kDone;
  self.fiber->leave(true);
}

std::string text(const uint3& i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

// "threads 0 to 3, 7": the numbers for which the predicate holds.
template <class P>
std::string ranges(const std::vector<Thread>& threads, P holds) {
  std::ostringstream out;
  const char* separator = "";
  for (size_t i = 0; i < threads.size(); ++i) {
    if (!holds(threads[i])) {
      continue;
    }
    size_t last = i;
    while (last + 1 < threads.size() && holds(threads[last + 1])) {
      ++last;
    }
    out << separator << i;
    if (last > i) {
      out << " to " << last;
    }
    separator = ", ";
    i = last;
  }
  return out.str();
}

bool same_text(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

bool same_wait(const Thread& a, const Thread& b) {
  return a.state == b.state && a.barrier == b.barrier && a.barrier_threads == b.barrier_threads && a.mask == b.mask &&
         a.mbarrier == b.mbarrier && a.parity == b.parity && a.site.line() == b.site.line() &&
         same_text(a.site.file_name(), b.site.file_name()) && same_text(a.name, b.name);
}

// Nobody can go on: who waits where.
std::string stuck(const Launch& launch) {
  std::ostringstream out;
  out << "block " << text(launch.block_index) << " cannot go on:";
  std::vector<bool> told(launch.threads.size());
  for (const Thread& t : launch.threads) {
    if (told[t.number]) {
      continue;
    }
    const auto same = [&](const Thread& other) {
      return t.state == State::kDone ? other.state == State::kDone : same_wait(t, other);
    };
    for (const Thread& other : launch.threads) {
      told[other.number] = told[other.number] || same(other);
    }
    out << " threads " << ranges(launch.threads, same);
    if (t.state == State::kDone) {
      out << " have left the kernel;";
    } else {
      out << " wait at " << t.name;
      if (t.state == State::kInWarp) {
        out << " with mask " << std::hex << "0x" << t.mask << std::dec;
      } else if (t.barrier > 0) {
        out << " " << t.barrier << " for " << t.barrier_threads << " threads";
      } else if (t.state == State::kAtMbarrier) {
        out << " for parity " << t.parity << ", where " << lacks(*t.mbarrier);
      } else if (t.state == State::kForRegisters) {
        out << " for " << lacks_registers(launch.registers[t.number / 32]);
      }
      out << " (" << where(t.site) << ");";
    }
  }
  std::string all = out.str();
  all.pop_back();
  return all;
}

void leave() {
  running->current->fiber->leave(false);
}

// Completes the barrier of `last` if all who must be there are. A named one of some threads orders what they did, and knew, alone.
void try_barrier(const Thread& last) {
  int& waiting = running->waiting[last.barrier];
  if (++waiting < last.barrier_threads) {
    return;
  }
  std::vector<Thread*> there;
  for (Thread& t : running->threads) {
    if (t.state != State::kAtBarrier || t.barrier != last.barrier) {
      continue;
    }
    if (t.barrier_threads != last.barrier_threads) {
      fail("thread " + std::to_string(t.number) + " waits at barrier " + std::to_string(t.barrier) + " for " +
               std::to_string(t.barrier_threads) + " threads and thread " + std::to_string(last.number) + " for " +
               std::to_string(last.barrier_threads),
           where(last.site));
    }
    if (last.barrier == 0 && !same_wait(t, last)) {
      return;  // two lines: it is reported when all wait
    }
    there.push_back(&t);
  }
  waiting = 0;
  const bool all = last.barrier == 0 || there.size() == running->threads.size();
  std::vector<uint32_t> known;
  if (!all) {
    for (const Thread* t : there) {
      release(*t, known);
    }
  }
  ++running->clock;
  for (Thread* t : there) {
    t->state = State::kReady;
    t->warp_clock = running->clock;
    if (all) {
      t->block_clock = running->clock;
    } else {
      raise(t->known, known);
    }
  }
}

void wait_at_barrier(const char* name, int id, int threads, Site site) {
  Thread& self = *running->current;
  running->has_named_barriers |= id > 0;
  self.begin_wait(State::kAtBarrier, {.name = name, .site = site, .barrier = id, .barrier_threads = threads});
  try_barrier(self);
  if (self.state != State::kReady) {
    leave();
  }
}

std::string run_block(Launch& launch) {
  launch.serial = ++last_serial;
  launch.clock = 0;
  std::fill(std::begin(launch.waiting), std::end(launch.waiting), 0);
  launch.has_named_barriers = false;
  launch.mbarriers.clear();
  launch.warps.clear();
  launch.products.clear();
  launch.registers.assign((launch.threads.size() + 31) / 32, {launch.bounds.most_registers()});
  launch.register_changes.assign((launch.threads.size() + 127) / 128, {});
  launch.free_registers = 0;
  launch.shared->forget();
  const dim3& n = launch.block;
  int number = 0;
  for (unsigned z = 0; z < n.z; ++z) {
    for (unsigned y = 0; y < n.y; ++y) {
      for (unsigned x = 0; x < n.x; ++x) {
        Thread& t = launch.threads[number];
        t = Thread{};
        t.number = number;
        t.index = {x, y, z};
        t.fiber = &fiber(number++);
        t.fiber->start(thread_body);
      }
    }
  }
  std::vector<Thread*> ready;
  for (;;) {
    ready.clear();
    bool finished = true, sleeps = false;
    for (Thread& t : launch.threads) {
      finished &= t.state == State::kDone;
      if (t.asleep > 0) {
        sleeps = true;
        --t.asleep;
      } else if (t.state == State::kReady) {
        ready.push_back(&t);
      }
    }
    if (finished) {
      try {
        expect_no_copies(launch);
        expect_no_products(launch);
        expect_whole_register_changes(launch);
      } catch (const Failure& failure) {
        return failure.message;
      }
      return "";
    }
    if (ready.empty() && !sleeps) {
      return stuck(launch);
    }
    std::shuffle(ready.begin(), ready.end(), launch.random);
    for (Thread* t : ready) {
      launch.current = t;
      t->fiber->resume();
      launch.current = nullptr;  // what the executor itself touches is no access of a kernel
      if (!launch.failure.empty()) {
        return launch.failure;
      }
    }
  }
}

}  // namespace

void raise(std::vector<uint32_t>& known, const std::vector<uint32_t>& by) {
  known.resize(std::max(known.size(), by.size()));
  for (size_t i = 0; i < by.size(); ++i) {
    known[i] = std::max(known[i], by[i]);
  }
}

void release(const Thread& self, std::vector<uint32_t>& to) {
  std::vector<uint32_t> known(running->threads.size() + 1, self.block_clock);
  const int warp = self.number / 32 * 32;
  for (int i = warp; i < std::min<int>(warp + 32, running->threads.size()); ++i) {
    known[i] = std::max(known[i], self.warp_clock);
  }
  raise(known, self.known);
  known[self.number] = ++running->clock;
  raise(to, known);
}

void perhaps_sleep() {
  constexpr unsigned kMeanAccesses = 64, kMostRounds = 4;
  Launch& launch = *running;
  if (--launch.until_sleep > 0) {
    return;
  }
  const auto drawn = static_cast<unsigned>(launch.random());
  launch.until_sleep = static_cast<int>(drawn % (2 * kMeanAccesses) + 1);
  launch.current->asleep = static_cast<int>((drawn >> 16) % kMostRounds);
  leave();
}

uint64_t set_seed(uint64_t value) {
  return std::exchange(seed(), value);
}

std::string where(Site site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

void fail(const std::string& message, const std::string& at) {
  const Launch& launch = *running;
  throw Failure{"block " + text(launch.block_index) +
                (launch.current == nullptr ? "" : ", thread " + text(launch.current->index)) + ": " + message +
                (at.empty() ? "" : " (" + at + ")")};
}

void abandon() {
  running->current->fiber->leave(true);
  __builtin_unreachable();
}

std::string run_grid(const char* kernel, const void* entry, dim3 grid, dim3 block, size_t shared_bytes,
                     void (*call)(const void*), const void* closure) {
  constexpr unsigned kMostThreads = 1024;
  constexpr size_t kMostShared = 227 * 1024;  // of sm_90 and sm_100
  const unsigned threads = block.x * block.y * block.z;
  if (running != nullptr) {
    return "a kernel runs already: the host executor runs one launch at a time";
  }
  if (threads == 0 || threads > kMostThreads) {
    return "a block must have 1 to 1024 threads, got " + std::to_string(threads);
  }
  if (grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffffu) {
    return "a grid has at most 2147483647, 65535 and 65535 blocks";
  }
  if (shared_bytes > kMostShared) {
    return "a block has at most " + std::to_string(kMostShared) + " bytes of shared memory";
  }
  const LaunchBounds bounds = launch_bounds_of(entry);
  if (const std::string why = refusal(bounds, static_cast<int>(threads)); !why.empty()) {
    return why;
  }
  Launch launch;
  launch.kernel = kernel;
  launch.bounds = bounds;
  launch.grid = grid;
  launch.block = block;
  launch.first_serial = last_serial + 1;
  launch.threads.resize(threads);
  launch.shared = std::make_unique<Region>(shared_bytes, "shared memory", true);
  launch.random.seed(seed());
  body = call;
  closure_of_body = closure;
  running = &launch;
  std::string failure;
  for (unsigned z = 0; z < grid.z && failure.empty(); ++z) {
    for (unsigned y = 0; y < grid.y && failure.empty(); ++y) {
      for (unsigned x = 0; x < grid.x && failure.empty(); ++x) {
        launch.block_index = {x, y, z};
        failure = run_block(launch);
      }
    }
  }
  running = nullptr;
  return failure.empty() ? failure : failure + "; PEFT4J_HOST_SEED=" + std::to_string(seed());
}

uint3 thread_index() {
  return running->current->index;
}
uint3 block_index() {
  return running->block_index;
}
dim3 block_size() {
  return running->block;
}
dim3 grid_size() {
  return running->grid;
}
int lane() {
  return running->current->number % 32;
}
char* shared_memory() {
  return running->shared->data();
}

void sync_threads(Site site) {
  guarded([&] { wait_at_barrier("__syncthreads", 0, static_cast<int>(running->threads.size()), site); });
}

void named_barrier(int id, int threads, Site site) {
  guarded([&] {
    if (id < 1 || id > 15 || threads < 32 || threads % 32 != 0 ||
        threads > static_cast<int>(running->threads.size() + 31) / 32 * 32) {
      fail("named_barrier: id must be 1 to 15 and the number of threads a multiple of 32 of at most the block's, got " +
               std::to_string(id) + " and " + std::to_string(threads),
           where(site));
    }
    wait_at_barrier("named_barrier", id, threads, site);
  });
}

void warp_collective(const char* name, uint32_t mask, const void* in, void* out, void (*combine)(Lanes&),
                     bool orders_memory, Site site) {
  guarded([&] {
    Thread& self = *running->current;
    const int lane = self.number % 32, first = self.number - lane;
    if ((mask >> lane & 1) == 0) {
      fail(std::string(name) + ": the calling lane " + std::to_string(lane) + " is not in its mask", where(site));
    }
    self.begin_wait(State::kInWarp, {.name = name, .site = site, .mask = mask, .in = in, .out = out});
    Lanes lanes{};
    lanes.mask = mask;
    lanes.site = site;
    const int count = static_cast<int>(running->threads.size());
    for (int i = 0; i < 32; ++i) {
      if ((mask >> i & 1) == 0) {
        continue;
      }
      if (first + i >= count) {
        fail(std::string(name) + ": the mask names lane " + std::to_string(i) + ", but the warp has " +
                 std::to_string(count - first) + " threads",
             where(site));
      }
      const Thread& other = running->threads[first + i];
      if (!same_wait(self, other)) {
        leave();  // not all are here; the last one to come does the work
        return;
      }
      lanes.in[i] = other.in;
      lanes.out[i] = other.out;
      lanes.thread[i] = first + i;
    }
    if (combine != nullptr) {
      combine(lanes);
    }
    running->clock += orders_memory ? 1 : 0;
    std::vector<uint32_t> known;  // what one lane knows of others all know then
    for (int i = 0; i < 32; ++i) {
      if (orders_memory && (mask >> i & 1)) {
        const std::vector<uint32_t>& more = running->threads[first + i].known;
        known.resize(std::max(known.size(), more.size()));
        std::transform(more.begin(), more.end(), known.begin(), known.begin(),
                       [](uint32_t a, uint32_t b) { return std::max(a, b); });
      }
    }
    for (int i = 0; i < 32; ++i) {
      if (mask >> i & 1) {
        Thread& t = running->threads[first + i];
        t.state = State::kReady;
        if (orders_memory) {
          t.warp_clock = running->clock;
          t.known = known;
        }
      }
    }
  });
}

void cp_async(void* to, const void* from, int bytes, int valid, Site site) {
  perhaps_sleep();
  guarded([&] {
    if (valid < 0 || valid > bytes) {
      fail("cp_async: the bytes to read must be 0 to " + std::to_string(bytes) + ", got " + std::to_string(valid),
           where(site));
    }
    const uint64_t address = reinterpret_cast<uint64_t>(from);
    if (valid > 0 && address % bytes != 0) {
      fail("cp_async: the source must be aligned to " + std::to_string(bytes) + " bytes", where(site));
    }
    check(to, bytes, Access::kWrite, nullptr, &site);
    set_in_flight(to, bytes, true);
    running->current->uncommitted.push_back(
        {static_cast<char*>(to), static_cast<const char*>(from), bytes, valid, site});
  });
}

void cp_async_commit() {
  Thread& self = *running->current;
  self.committed.push_back(std::move(self.uncommitted));
  self.uncommitted.clear();
}

void cp_async_wait(int open) {
  guarded([&] {
    Thread& self = *running->current;
    while (self.committed.size() > static_cast<size_t>(open)) {
      for (const Copy& copy : self.committed.front()) {
        for (int i = 0; i < copy.valid; ++i) {  // byte by byte: `valid` need be no power of two
          check(copy.from + i, 1, Access::kRead, nullptr, &copy.site);
        }
        set_in_flight(copy.to, copy.bytes, false);
        check(copy.to, copy.bytes, Access::kWrite, nullptr, &copy.site);
        std::memcpy(copy.to, copy.from, copy.valid);
        std::memset(copy.to + copy.valid, 0, copy.bytes - copy.valid);
      }
      self.committed.pop_front();
    }
  });
}

}  // namespace peft4j::host
