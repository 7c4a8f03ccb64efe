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

/*
The products with a rank-r factor around a frozen layer of K inputs and N outputs, for the rows of one adapter or of many.

    lora_shrink   h[t, j] = scale · Σ_c mask(t, c) x[t, c] A[j, c];           y = x where y is not null         C = K
    lora_grad_b   g[t, j] = scale · Σ_c dy[t, c] B[c, j] where g is not null; y = dy where y is not null        C = N
                  dB[c, j] (+)= Σ_t dy[t, c] h[t, j]
    lora_grad_a   dA[j, c] (+)= Σ_t g[t, j] mask(t, c) x[t, c]                                                  C = K
    lora_expand   y[t, c] += mask(t, c) Σ_j h[t, j] M[j, c], in place; M is A (dx) or Bᵀ (y)                    C = K or N

A segment gives rows to an adapter. Segments of the same rows and threshold that follow each other form a band: their data are
read once for all of them. Bands share no row, except in lora_grad_a, and in lora_grad_b without y and g.
    border    h_columns > 0: h (in lora_grad_b: g) has that many columns, and the rows of a band get 0 in those that none of
              its segments has
    segments  h_columns = 0: only the columns of a row's own segments are written; different bands may use the same ones
Rows of no segment are not touched; one of rank 0 covers rows that are to be copied or zeroed only. The mask's row t is x's
row t. A rank may have any size: 16-bit data and tf32 are read again for every 64 ranks of a band (lora_expand on 16-bit y: 256),
float32 for every 16.
*/
typedef struct {
  int64_t begin, end;          /* rows */
  int32_t rank;
  int32_t column;              /* of h and g: where its ranks begin */
  const void* factor;          /* A, B or M, element (j, c) at factor + j·rank_stride + c·column_stride */
  int64_t rank_stride, column_stride;
  float* gradient;             /* dA [rank, C] or dB [C, rank], contiguous; null: not wanted */
  float scale;
  uint32_t threshold;          /* of dropout, round(256·p) */
} peft4j_cuda_segment;

typedef struct {
  int32_t dtype;               /* of x, y, h, g */
  int32_t factor_dtype;        /* dtype, or 0 (float32 masters) */
  int32_t y_dtype;             /* of lora_expand's y: dtype or 0 */
  int32_t tf32;                /* float32 products may round their operands to 10 bits behind the point */
  int32_t add;                 /* gradients are added to, else set */
  int64_t columns;             /* C */
  const void* x;               /* x or dy; rows may be strided, as in y, h and g */
  int64_t x_stride;
  void* y;
  int64_t y_stride;
  void* h;
  int64_t h_stride;
  void* g;
  int64_t g_stride;
  int64_t h_columns;
  uint64_t seed;
  float* scratch;              /* lora_grad_a, lora_grad_b: as many floats as their _scratch says */
  const peft4j_cuda_segment* segments;
  int64_t n_segments;
} peft4j_cuda_lora;

PEFT4J_CUDA_API int peft4j_cuda_lora_shrink(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_lora_expand(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_lora_grad_a_scratch(const peft4j_cuda_lora* p);
PEFT4J_CUDA_API int peft4j_cuda_lora_grad_a(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_lora_grad_b_scratch(const peft4j_cuda_lora* p);
PEFT4J_CUDA_API int peft4j_cuda_lora_grad_b(const peft4j_cuda_lora* p, void* stream);

/* ---- rational, prompt_generator ---- */

/* ---- attention ---- */

/* ---- dual_gemm ---- */

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

#ifdef __cplusplus
}
#endif
