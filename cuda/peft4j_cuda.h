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

/* ---- dual_gemm ---- */

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

#ifdef __cplusplus
}
#endif
