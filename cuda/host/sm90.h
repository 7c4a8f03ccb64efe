#pragma once
/*
What device/ptx_sm90.h calls on the host.

    barriers   count arrivals and bytes. What an arriving thread did before (and knows that others did) is ordered for who waits for
               the phase, and for nobody else; a phase that lacks something lets its waiters wait, and is reported when nobody can
               go on.
    tma_load   its destination is in flight, and the copy is made, from global memory as it is then, when somebody waits for the
               barrier and the phase has all its arrivals and bytes.
    wgmma      operands are decoded as the manual's canonical layouts say and read when the product is issued; until it is waited for
               nobody may write them (a in registers: must stay as it is), and d is NaN and must stay so. Products and sums are float32. Plain writes need
               fence_async_proxy before.
    registers  a block has what its launch reserves, by __launch_bounds__. A warpgroup's four warps come to each set_max_registers; one
               that asks for more than others have given back waits until they do.
*/
#include <string>

#include "executor.h"

namespace peft4j::host {

struct alignas(16) TensorMap {  // not 64, as on a card: g++ would speak of its ABI at each kernel that takes one
  unsigned char opaque[128];
};

// "" or why the driver would refuse.
std::string make_tensor_map(TensorMap& map, const void* data, int64_t rows, int64_t columns, int64_t stride,
                            int box_rows, int box_columns, bool swizzled);

// What follows is called by kernels only.
uint32_t shared_address(const void* p);

void mbarrier_init(uint64_t* barrier, int arrivals, Site site);
void mbarrier_fence_init();
void mbarrier_arrive(uint64_t* barrier, int bytes, Site site);
void mbarrier_wait(uint64_t* barrier, int parity, Site site);
void tma_load(void* to, const TensorMap& map, int column, int row, uint64_t* barrier, Site site);
void fence_async_proxy();

struct Product {  // m64nNk16
  uint64_t a, b;
  bool bf16, by_k, add = true;
  int n = 256;
  bool operator==(const Product&) const = default;
};
// registers: the lane's four of a, where it is not in shared memory.
void wgmma(float* d, const Product& product, Site site, const uint32_t* registers = nullptr);
void wgmma_fence(Site site);
void wgmma_commit(Site site);
void wgmma_wait(int open, Site site);
void set_max_registers(int registers, bool more, Site site);

}  // namespace peft4j::host
