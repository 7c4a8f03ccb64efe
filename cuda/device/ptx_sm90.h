#pragma once
/*
Instructions of sm_90a; with ptx.h the only file with asm. After the PTX manual, sections "mbarrier", "cp.async.bulk.tensor",
"wgmma.mma_async" and "Matrix Descriptor Format".

Barriers, 8 bytes of shared memory each, go through phases 0, 1, 2, …; a phase is complete when all arrivals have come and all
bytes that they announced are there.
    mbarrier_init(b, n)                by one thread; then mbarrier_fence_init() and a barrier of the block before others use it
    mbarrier_arrive(b)                 one of the n arrivals of the phase
    mbarrier_arrive_expecting(b, m)    the same; m more bytes belong to the phase, fewer than 2²⁰ in all
    mbarrier_wait(b, parity)           until the phase of this parity is complete; on a fresh barrier parity 1 passes at once
    tma_load(to, map, column, row, b)  by one thread: the box of the matrix (tensor_map.h) that begins there, 0 where it lies outside;
                                       the box's bytes, all of them, count for b's phase. `to` at a multiple of 1024 bytes
Products by a warpgroup, four warps of which the first is number 0, 4, 8, …
    wgmma_m64k16<Type, ByK>(d, a, b, add)   d[64, n] = a[64, 16] · b[16, n], or with `add` += that, for d[n / 8][4] and n 64, 96, 128 or 256;
                                       warp i of the group has rows 16i to 16i + 15, its d[j] is mma's d for columns 8j to 8j + 7;
                                       a and b: wgmma_operand, or for a the warp's rows in mma's registers, uint32_t a[4]
    wgmma_fence(d)                     before the first product, and between another access to d and a product
    wgmma_commit(), wgmma_wait<N>(d)   groups as cp.async has them; until then d and what a and b name are in use
                                       wgmma_fence(d, all) and wgmma_wait<N>(d, all) for a's registers too, uint32_t all[][4]
    fence_async_proxy()                after plain writes to shared memory that wgmma reads or tma_load overwrites, by who
                                       wrote, before the barrier
set_max_registers<N, More>(): by all warps of a warpgroup; more or fewer than before, a multiple of 8 from 24 to 256.
*/
#include "cuda.h"

#ifdef __CUDACC__
#include <cuda.h>
#else
#include "../host/sm90.h"
#endif

// Whether a kernel's body can have these instructions: sm_90a's own, and the host executor.
#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PEFT4J_HAS_SM90
#endif

namespace peft4j::cuda {

#ifdef __CUDACC__

using TensorMap = CUtensorMap;

PEFT4J_DEVICE uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

PEFT4J_DEVICE void mbarrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
PEFT4J_DEVICE void mbarrier_fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
PEFT4J_DEVICE void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
PEFT4J_DEVICE void mbarrier_arrive_expecting(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
PEFT4J_DEVICE void mbarrier_wait(uint64_t* barrier, int parity) {
  uint32_t done = 0;
  while (done == 0) {  // try_wait gives up after a while
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  }
}

PEFT4J_DEVICE void tma_load(void* to, const TensorMap& map, int column, int row, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
          "r"(shared_address(to)),
      "l"(&map), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}
PEFT4J_DEVICE void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

PEFT4J_DEVICE void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N, bool More>
PEFT4J_DEVICE void set_max_registers() {
  if constexpr (More) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
  } else {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
  }
}

// ---- products; assembler counts operands, so what follows d has other numbers for each width

// Keeps the compiler from moving what reads or writes d across this place: it knows nothing of products in flight.
template <int N>
PEFT4J_DEVICE void wgmma_pin(float (&d)[N][4]) {
#pragma unroll
  for (int i = 0; i < 4 * N; ++i) {
    asm volatile("" : "+f"(d[i / 4][i % 4])::"memory");
  }
}
// The same operand, of which the compiler knows nothing: what is added to it is not kept in registers from loop to loop.
PEFT4J_DEVICE uint64_t wgmma_pinned(uint64_t operand) {
  asm volatile("" : "+l"(operand));
  return operand;
}
template <int N>
PEFT4J_DEVICE void wgmma_fence(float (&d)[N][4]) {
  wgmma_pin(d);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
template <int Open, int N>
PEFT4J_DEVICE void wgmma_wait(float (&d)[N][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Open) : "memory");
  wgmma_pin(d);
}
template <int K>
PEFT4J_DEVICE void wgmma_pin(uint32_t (&a)[K][4]) {
#pragma unroll
  for (int i = 0; i < 4 * K; ++i) {
    asm volatile("" : "+r"(a[i / 4][i % 4])::"memory");
  }
}
template <int N, int K>
PEFT4J_DEVICE void wgmma_fence(float (&d)[N][4], uint32_t (&a)[K][4]) {
  wgmma_pin(a);
  wgmma_fence(d);
}
template <int Open, int N, int K>
PEFT4J_DEVICE void wgmma_wait(float (&d)[N][4], uint32_t (&a)[K][4]) {
  wgmma_wait<Open>(d);
  wgmma_pin(a);
}

#define PEFT4J_REGISTERS_64                                                                            \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26," \
  "%27,%28,%29,%30,%31"
#define PEFT4J_REGISTERS_96 \
  PEFT4J_REGISTERS_64       \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define PEFT4J_REGISTERS_128 \
  PEFT4J_REGISTERS_96        \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define PEFT4J_REGISTERS_256                                                                           \
  PEFT4J_REGISTERS_128                                                                                 \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,"  \
  "%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109," \
  "%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define PEFT4J_D(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define PEFT4J_D4(i) PEFT4J_D(i), PEFT4J_D(i + 1), PEFT4J_D(i + 2), PEFT4J_D(i + 3)
#define PEFT4J_D_64 PEFT4J_D4(0), PEFT4J_D4(4)
#define PEFT4J_D_96 PEFT4J_D_64, PEFT4J_D4(8)
#define PEFT4J_D_128 PEFT4J_D_96, PEFT4J_D4(12)
#define PEFT4J_D_256 PEFT4J_D_128, PEFT4J_D4(16), PEFT4J_D4(20), PEFT4J_D4(24), PEFT4J_D4(28)

// a in shared memory
#define PEFT4J_WGMMA_S(type, n, x0, x1, x2, x3)                                                                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #x2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type \
               "." type " {" PEFT4J_REGISTERS_##n "}, %" #x0 ", %" #x1 ", p, 1, 1, 0, %" #x3 ";\n}"                  \
               : PEFT4J_D_##n                                                                                        \
               : "l"(a), "l"(b), "r"(add ? 1 : 0), "n"(ByK ? 1 : 0))
// a in registers
#define PEFT4J_WGMMA_R(type, n, x0, x1, x2, x3, x4, x5, x6)                                                            \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #x5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type   \
               "." type " {" PEFT4J_REGISTERS_##n "}, {%" #x0 ",%" #x1 ",%" #x2 ",%" #x3 "}, %" #x4 ", p, 1, 1, %" #x6 \
                                                  ";\n}"                                                               \
               : PEFT4J_D_##n                                                                                          \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add ? 1 : 0), "n"(ByK ? 1 : 0))
#define PEFT4J_OF_TYPE(how, ...)         \
  if constexpr (__is_same(Type, Bf16)) { \
    how("bf16", __VA_ARGS__);            \
  } else {                               \
    how("f16", __VA_ARGS__);             \
  }

template <class Type, bool ByK, int N>
PEFT4J_DEVICE void wgmma_m64k16(float (&d)[N][4], uint64_t a, uint64_t b, bool add) {
  static_assert(N == 8 || N == 12 || N == 16 || N == 32);
  if constexpr (N == 8) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_S, 64, 32, 33, 34, 35)
  } else if constexpr (N == 12) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_S, 96, 48, 49, 50, 51)
  } else if constexpr (N == 16) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_S, 128, 64, 65, 66, 67)
  } else {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_S, 256, 128, 129, 130, 131)
  }
}
template <class Type, bool ByK, int N>
PEFT4J_DEVICE void wgmma_m64k16(float (&d)[N][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(N == 8 || N == 12 || N == 16 || N == 32);
  if constexpr (N == 8) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_R, 64, 32, 33, 34, 35, 36, 37, 38)
  } else if constexpr (N == 12) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_R, 96, 48, 49, 50, 51, 52, 53, 54)
  } else if constexpr (N == 16) {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_R, 128, 64, 65, 66, 67, 68, 69, 70)
  } else {
    PEFT4J_OF_TYPE(PEFT4J_WGMMA_R, 256, 128, 129, 130, 131, 132, 133, 134)
  }
}
#undef PEFT4J_REGISTERS_64
#undef PEFT4J_REGISTERS_96
#undef PEFT4J_REGISTERS_128
#undef PEFT4J_REGISTERS_256
#undef PEFT4J_D
#undef PEFT4J_D4
#undef PEFT4J_D_64
#undef PEFT4J_D_96
#undef PEFT4J_D_128
#undef PEFT4J_D_256
#undef PEFT4J_WGMMA_S
#undef PEFT4J_WGMMA_R
#undef PEFT4J_OF_TYPE

#else

using host::TensorMap;

PEFT4J_DEVICE uint32_t shared_address(const void* p) {
  return host::shared_address(p);
}
PEFT4J_DEVICE void mbarrier_init(uint64_t* barrier, int arrivals PEFT4J_SITE) {
  host::mbarrier_init(barrier, arrivals, site);
}
PEFT4J_DEVICE void mbarrier_fence_init() {
  host::mbarrier_fence_init();
}
PEFT4J_DEVICE void mbarrier_arrive(uint64_t* barrier PEFT4J_SITE) {
  host::mbarrier_arrive(barrier, 0, site);
}
PEFT4J_DEVICE void mbarrier_arrive_expecting(uint64_t* barrier, int bytes PEFT4J_SITE) {
  host::mbarrier_arrive(barrier, bytes, site);
}
PEFT4J_DEVICE void mbarrier_wait(uint64_t* barrier, int parity PEFT4J_SITE) {
  host::mbarrier_wait(barrier, parity, site);
}
PEFT4J_DEVICE void tma_load(void* to, const TensorMap& map, int column, int row, uint64_t* barrier PEFT4J_SITE) {
  host::tma_load(to, map, column, row, barrier, site);
}
PEFT4J_DEVICE void fence_async_proxy() {
  host::fence_async_proxy();
}
PEFT4J_DEVICE void wgmma_commit(host::Site site = host::Site::current()) {
  host::wgmma_commit(site);
}
template <int N, bool More>
void set_max_registers(host::Site site = host::Site::current()) {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
  host::set_max_registers(N, More, site);
}

PEFT4J_DEVICE uint64_t wgmma_pinned(uint64_t operand) {
  return operand;
}
template <int N>
void wgmma_fence(float (&)[N][4] PEFT4J_SITE) {
  host::wgmma_fence(site);
}
template <int Open, int N>
void wgmma_wait(float (&)[N][4] PEFT4J_SITE) {
  host::wgmma_wait(Open, site);
}
template <int N, int K>
void wgmma_fence(float (&)[N][4], uint32_t (&)[K][4] PEFT4J_SITE) {
  host::wgmma_fence(site);
}
template <int Open, int N, int K>
void wgmma_wait(float (&)[N][4], uint32_t (&)[K][4] PEFT4J_SITE) {
  host::wgmma_wait(Open, site);
}
template <class Type, bool ByK, int N>
void wgmma_m64k16(float (&d)[N][4], uint64_t a, uint64_t b, bool add PEFT4J_SITE) {
  host::wgmma(&d[0][0], {a, b, std::is_same_v<Type, Bf16>, ByK, add, 8 * N}, site);
}
template <class Type, bool ByK, int N>
void wgmma_m64k16(float (&d)[N][4], const uint32_t (&a)[4], uint64_t b, bool add PEFT4J_SITE) {
  host::wgmma(&d[0][0], {0, b, std::is_same_v<Type, Bf16>, ByK, add, 8 * N}, site, a);
}

#endif

/*
A matrix in shared memory as tma_load leaves it, in rows of 128 bytes swizzled over eight (so the patterns begin at multiples of
1024 bytes):
    K-major (a; b if not ByK)   a row is 64 k's of one m or n; `stride` bytes from eight rows to the next eight
    N-major (b if ByK)          a row is 64 n's of one k; `stride` bytes from eight k's to the next eight, `leading` from 64 n's to the next
16 k's further it begins 32 bytes, or two strides, further: wgmma_bytes is what is added then.
*/
PEFT4J_DEVICE uint64_t wgmma_bytes(uint32_t bytes) {
  return (bytes & 0x3ffff) >> 4;
}
PEFT4J_DEVICE uint64_t wgmma_operand(const void* start, int stride, int leading = 0) {
  constexpr uint64_t kSwizzle128 = 1;
  return wgmma_bytes(shared_address(start)) | wgmma_bytes(leading) << 16 | wgmma_bytes(stride) << 32 |
         kSwizzle128 << 62;
}

}  // namespace peft4j::cuda
