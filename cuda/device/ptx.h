#pragma once
/*
Instructions that C++ has no words for; with ptx_sm90.h the only file with asm. Fragments as the PTX manual lays them out (sections
"Matrix Fragments for mma.m16n8k16", "…m16n8k8" and "ldmatrix"): with g = lane / 4 and t = lane % 4,
    mma_m16n8k16   d[16, 8] += a[16, 16] · b[16, 8], two 16-bit numbers a register, the lower column (row of b) in the low half
        a: (g, 2t) (g+8, 2t) (g, 2t+8) (g+8, 2t+8)      b: (2t, g) (2t+8, g)      d: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)
    mma_m16n8k8    the same with tf32 in float32 registers
        a: (g, t) (g+8, t) (g, t+4) (g+8, t+4)          b: (t, g) (t+4, g)        d: as above
    ldmatrix<N>    N 8×8 matrices of 16-bit numbers; lane i gives the address of row i % 8 of matrix i / 8, 16-byte aligned;
                   register j gets (g, 2t) and (g, 2t+1) of matrix j, transposed: (2t, g) and (2t+1, g)
    cp_async<B>    copies B = 4, 8 or 16 bytes to shared memory, of which the first `valid` are read and the rest set to 0;
                   done when a cp_async_wait<N> leaves at most the N newest committed groups open
    exp2_approx, reciprocal_approx    2ˣ and 1/x in one instruction, to 2 ulp; numbers below 2⁻¹²⁶ count as 0
    store_16       16 bytes to global memory: one instruction also where the compiler loses sight of the alignment
All lanes of a warp take part in mma and ldmatrix.
*/
#include <cstdint>

// The line of a kernel that calls, for the host executor's reports.
#ifdef __CUDACC__
#define PEFT4J_DEVICE __device__ __forceinline__
#define PEFT4J_SITE
#else
#define PEFT4J_DEVICE inline
#define PEFT4J_SITE , ::peft4j::host::Site site = ::peft4j::host::Site::current()
#endif

namespace peft4j::cuda {

struct Bf16 {};
struct Fp16 {};

#ifdef __CUDACC__

template <class Type>
PEFT4J_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(Type) && __is_same(Type, Bf16)) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

PEFT4J_DEVICE void mma_m16n8k8(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  uint32_t x[6];
  const float* from[6] = {&a[0], &a[1], &a[2], &a[3], &b[0], &b[1]};
#pragma unroll
  for (int i = 0; i < 6; ++i) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x[i]) : "f"(*from[i]));
  }
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]));
}

template <int N, bool Transposed>
PEFT4J_DEVICE void ldmatrix(uint32_t (&r)[N], const void* row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (N == 1 && !Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(at) : "memory");
  } else if constexpr (N == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(at) : "memory");
  } else if constexpr (N == 2 && !Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at)
                 : "memory");
  } else if constexpr (N == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at)
                 : "memory");
  } else if constexpr (!Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
  }
}

template <int Bytes>
PEFT4J_DEVICE void cp_async(void* to, const void* from, int valid = Bytes) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(valid) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(at), "l"(from), "n"(Bytes), "r"(valid)
                 : "memory");
  }
}

PEFT4J_DEVICE void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int Open>
PEFT4J_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Open) : "memory");
}

PEFT4J_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

PEFT4J_DEVICE float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

PEFT4J_DEVICE void store_16(void* to, const uint4& words) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(words.x),
               "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
}

// Waits for `threads` threads (a multiple of 32) at barrier `id`, 1 to 15.
PEFT4J_DEVICE void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#else

template <class Type>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PEFT4J_SITE) {
  host::mma_m16n8k16(d, a, b, std::is_same_v<Type, Bf16>, site);
}
PEFT4J_DEVICE void mma_m16n8k8(float (&d)[4], const float (&a)[4], const float (&b)[2] PEFT4J_SITE) {
  host::mma_m16n8k8(d, a, b, site);
}
template <int N, bool Transposed>
void ldmatrix(uint32_t (&r)[N], const void* row PEFT4J_SITE) {
  static_assert(N == 1 || N == 2 || N == 4);
  host::ldmatrix(r, N, Transposed, row, site);
}
template <int Bytes>
void cp_async(void* to, const void* from, int valid = Bytes PEFT4J_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  host::cp_async(to, from, Bytes, valid, site);
}
PEFT4J_DEVICE void cp_async_commit() {
  host::cp_async_commit();
}
template <int Open>
void cp_async_wait() {
  host::cp_async_wait(Open);
}
PEFT4J_DEVICE float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}
PEFT4J_DEVICE float reciprocal_approx(float x) {
  return 1.0f / x;
}
PEFT4J_DEVICE void store_16(void* to, const uint4& words) {
  *static_cast<uint4*>(to) = words;
}
PEFT4J_DEVICE void named_barrier(int id, int threads PEFT4J_SITE) {
  host::named_barrier(id, threads, site);
}

#endif

}  // namespace peft4j::cuda
