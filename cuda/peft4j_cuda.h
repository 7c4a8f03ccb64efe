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

/*
x, y, dy, dx [rows, channels], contiguous; channel c belongs to group c / (channels / groups).
numerator and denominator: a row for each group, its stride 0 where the groups share one.
*/
typedef struct {
  int dtype;   /* of x, y, dy, dx */
  int version; /* 'A', 'B', 'C', 'D' */
  int m, n;    /* degrees: 1 to 7, 1 to 6 */
  int64_t rows, channels, groups; /* at most 65535 groups */
  const void* x;
  const float* numerator;   /* m + 1 a row */
  const float* denominator; /* n a row: b_1 to b_n; of C n + 1: b_0 to b_n */
  int64_t numerator_stride, denominator_stride;
  uint64_t seed; /* of D's noise */
  void* y;       /* forward only */
  /* backward only; null: not wanted */
  const void* dy;
  void* dx;
  float* numerator_partials;   /* [blocks, groups, m + 1], to be added over blocks (and over groups that share) */
  float* denominator_partials; /* [blocks, groups, n or n + 1] */
} peft4j_cuda_rational_params;

/* `blocks` of backward's partial sums. */
PEFT4J_CUDA_API int64_t peft4j_cuda_rational_blocks(int64_t rows, int64_t channels, int64_t groups);
PEFT4J_CUDA_API int peft4j_cuda_rational_forward(const peft4j_cuda_rational_params* params, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_rational_backward(const peft4j_cuda_rational_params* params, void* stream);

/* ---- attention ---- */

/* ---- dual_gemm ---- */

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

#ifdef __cplusplus
}
#endif
