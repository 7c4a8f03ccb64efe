#pragma once
/*
The C ABI of libpeft4j_cuda.so: pointers to device memory, sizes, strides, a stream (cudaStream_t; null: the default one).
Numbers of elements and rows are int64_t. Arguments are checked by who calls (native/): a kernel trusts them.
dtype: 0 float32, 1 bfloat16, 2 float16. Dropout: seed and threshold = round(256·p), see native/philox.h.
A call starts its kernels and does not wait. It gives 0 or CUDA's error number; then peft4j_cuda_last_error() names kernel,
grid, block and shared memory, for the calling thread.
*/
#include <stdint.h>

#define PEFT4J_CUDA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

PEFT4J_CUDA_API const char* peft4j_cuda_last_error(void);

/* out[n] (+)= Σ partials[splits, n] over splits, in an order that depends on splits alone. */
PEFT4J_CUDA_API int peft4j_cuda_fixed_order_sum(float* out, const float* partials, int64_t n, int64_t splits, int add,
                                                void* stream);

/* ---- lora_linear ---- */

/* ---- rational, prompt_generator ---- */

/* ---- attention ---- */

/*
Packed attention, contract and letters as in native/peft4j.h. Heads of a row are contiguous, rows begin `stride` elements apart.
D at most 256, max_distance at most 512; Tq and P + Tk at most 2²⁹. Rows and heads aligned to 16 bytes are read faster.
*/
typedef struct {
  int dtype, causal;
  int64_t sequences, query_rows, key_rows, query_heads, key_heads, head_size, prefix; /* S, Tq, Tk, Hq, Hkv, D, P */
  const void *q, *k, *v;                                                              /* [Tq, Hq, D], [Tk, Hkv, D] */
  const void *prefix_k, *prefix_v; /* [P, Hkv, D], or [S, P, Hkv, D], contiguous */
  int64_t q_stride, k_stride, v_stride;
  int64_t prefix_stride;       /* from one sequence's prefix to the next's; 0: one for all */
  const int32_t *cu_q, *cu_k;  /* [S + 1] */
  int64_t window;              /* 0: none */
  float scale, softcap;        /* softcap 0: none */
  const float* bias;           /* [buckets, Hq], or null */
  const int32_t* bucket_of;    /* [2·max_distance + 1]: the bucket of key position - query position = -max_distance, … */
  int64_t buckets, max_distance;
  uint64_t seed;
  uint32_t threshold;
  void* out;  /* [Tq, Hq, D], contiguous */
  float* lse; /* [Tq, Hq], natural; -∞ for a row without keys */
  /* backward only */
  const void* dout; /* like out */
  void *dq, *dk, *dv;
  int64_t dq_stride, dk_stride, dv_stride;
  float *prefix_dk, *prefix_dv; /* like the prefix; null where not wanted */
  float* dbias;                 /* [buckets, Hq]; null where not wanted */
  float* scratch;               /* peft4j_cuda_attention_scratch(…) floats */
} peft4j_cuda_attention;

PEFT4J_CUDA_API int peft4j_cuda_attention_forward(const peft4j_cuda_attention* a, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_attention_backward(const peft4j_cuda_attention* a, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_attention_scratch(const peft4j_cuda_attention* a);

/* ---- dual_gemm ---- */

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

#ifdef __cplusplus
}
#endif
