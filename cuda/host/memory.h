#pragma once
/*
What a kernel may touch, and who touched it last.

Kernel sources are compiled with -fsanitize=thread, of which only the calls are used that g++ puts before each access
(__tsan_read4, …): they come here instead of to a race detector's library. An access must lie wholly in
    a global allocation (DeviceMemory), the block's shared memory, the thread's own stack, or (reads) the program's constants
and be aligned to its size. For each byte of the first two is kept who wrote and who read it last, in which interval
between barriers:
    a read of a byte that nobody wrote                                    error
    two threads, one of them writing, without a barrier between           error (warps: __syncwarp; blocks: never ordered in a launch)
    an access to the destination of a cp.async or tma_load before its wait error
Atomics are checked as well, but two of them are no conflict. Bytes and what is kept of them take memory where they are touched
only: rows may lie terabytes apart, so that an index that does not fit 32 bits is seen as the wrong address that it makes. What is not seen: memcpy and memset called by a kernel, and a
register that was never set. Of several readers in an interval only the fact that there were several is kept, and whether they are of one warp. With
PEFT4J_ANY_MEMORY (the library that native/'s tests load) addresses outside of all regions are fine: libtorch's tensors.
*/
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "executor.h"
#include "pages.h"

namespace peft4j::host {

struct Cell {
  uint64_t write = 0, read = 0;  // stamps, see memory.cpp
  bool operator==(const Cell&) const = default;
};

enum class Access { kRead, kWrite, kAtomic };

// Memory that kernels see: an allocation between red zones that belong to nobody. Fresh bytes are NaN in every format; zeros where
// there are many.
class Region {
 public:
  Region(size_t bytes, std::string name, bool shared);
  ~Region();
  Region(const Region&) = delete;
  char* data() const { return begin_; }
  size_t size() const { return size_; }
  const std::string& name() const { return name_; }
  uint64_t bytes_read() const { return bytes_read_; }
  void upload(const void* from, size_t bytes, size_t offset = 0);
  void download(void* to, size_t bytes, size_t offset = 0) const;
  void forget();  // nobody wrote anything; contents become NaN patterns

 private:
  friend void check(const void* address, size_t size, Access access, const void* pc, const Site* site);
  friend void set_in_flight(void* address, size_t size, bool in_flight);
  friend void begin_bulk_copy(void* to, size_t bytes, const Site* site);
  friend void end_bulk_copy(void* to, size_t bytes);
  friend void check_proxy(const void* address, size_t size, const Site* site);
  friend void begin_wgmma_read(const void* address, const Site& site);
  friend void end_wgmma_read(const void* address);
  // Of the 16 bytes there: whether every warp's last read was before its clock, see seen_of_warps; whether a wgmma reads them
  // now.
  bool readers_ordered(size_t offset, const std::array<uint32_t, 32>& clocks) const;
  bool wgmma_reads(size_t offset) const;
  // Whether another warp than the current one has read them and no barrier lies between.
  bool others_read(size_t offset) const;
  void set_reader(const void* address, uint32_t clock);  // the current warp
  Pages bytes_;
  char* begin_;
  size_t size_;
  std::string name_;
  bool shared_;
  uint64_t bytes_read_ = 0;
  Pages pages_of_cells_;
  Cell* cells_;
  // For each 16 bytes, of each warp its last read's clock + 1, or kOpen; kept once there are named barriers, barriers in shared memory or wgmma's.
  std::vector<std::array<uint32_t, 32>> readers_;
};

// How many bytes kernels have read of the allocation in which the address lies, each as often as it was read.
uint64_t bytes_read(const void* address);

// "name + offset", as far as it is known.
std::string place_of(const void* address);

// A violation ends the launch (executor.h, fail). pc or site says where the access is.
void check(const void* address, size_t size, Access access, const void* pc, const Site* site);
void check_atomic(const void* address, size_t size, Site site);  // called by kernels
void set_in_flight(void* address, size_t size, bool in_flight);

// A bulk copy's destination: nobody's from the one to the other, then written by no thread.
void begin_bulk_copy(void* to, size_t bytes, const Site* site);
void end_bulk_copy(void* to, size_t bytes);
// What threads wrote there must be seen by bulk copies and wgmma.
void check_proxy(const void* address, size_t size, const Site* site);
// The current warp's wgmma reads 16 bytes of an operand: nobody may write them from the one to the other.
void begin_wgmma_read(const void* address, const Site& site);
void end_wgmma_read(const void* address);

// Who touches a byte now.
uint64_t stamp_now();
// Whether what the stamp tells of happened before the current thread's next access, for certain. lanes: not only that thread
// of the stamp, but others of its warp.
bool ordered(uint64_t stamp, bool lanes = false);

}  // namespace peft4j::host
