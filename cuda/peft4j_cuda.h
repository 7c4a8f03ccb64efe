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

#define PEFT4J_CUDA_GEMM_PAIRS 4

/* x [T, k] and w [N, k] (or [k, N], see below); rows are x_stride and w_stride numbers apart, their numbers side by side. */
typedef struct {
  const void* x;
  const void* w;
  int64_t k, x_stride, w_stride;
} peft4j_cuda_gemm_pair;

typedef struct {
  peft4j_cuda_gemm_pair pairs[PEFT4J_CUDA_GEMM_PAIRS];
  int32_t count;  /* of pairs */
  int32_t masked; /* the first so many are dropped from: element (t, n) by the mask's row t and column n */
  uint64_t seed;
  uint32_t threshold;
  int32_t w_by_k;     /* 0: w is [N, k], y = x wᵀ; 1: w is [k, N], y = x w */
  int32_t accumulate; /* 1: y is added to */
  int32_t dtype;      /* of all tensors: 1 or 2 */
  int32_t tile;       /* 0: chosen by the shape; 1: 64 × 64; 2: 128 × 256, for aligned operands only */
  const void* bias;   /* [N] or null */
  void* y;            /* [T, N] */
  int64_t t, n, y_stride;
} peft4j_cuda_gemm;

/* y (+)= bias + mask∘(Σ of the masked pairs' products) + Σ of the other pairs' products, summed in float32, rounded once.
   y overlaps no operand. */
PEFT4J_CUDA_API int peft4j_cuda_dual_gemm(const peft4j_cuda_gemm* arguments, void* stream);

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

/* Rows of logits x [rows, columns], row_stride apart. With z = softcap·tanh(x / softcap), or x where softcap is 0,
       loss[row] = log Σ exp z - (1-smoothing)·z[label] - smoothing·mean(z)
   and where gradient is not 0, x becomes d loss[row] / dx. */
struct peft4j_cuda_cross_entropy_params {
  void* logits;
  const int64_t* labels; /* [rows], in [0, columns) */
  float* loss;           /* [rows] */
  int64_t rows, columns, row_stride;
  int dtype, gradient;
  float softcap, smoothing;
};
PEFT4J_CUDA_API int peft4j_cuda_cross_entropy(const struct peft4j_cuda_cross_entropy_params* p, void* stream);

/* One step of AdamW for `count` trained tensors, float32 and contiguous; step counts from 1. The arrays lie on the host and are
   read before the call returns. */
struct peft4j_cuda_adamw_tensor {
  float* parameter;
  const float* gradient;
  float *exp_avg, *exp_avg_sq;
  void* copy; /* of the new parameter, rows of `columns` numbers that are copy_stride apart; null: none */
  int64_t n, columns, copy_stride;
  double learning_rate, weight_decay;
  int copy_dtype;
};
PEFT4J_CUDA_API int peft4j_cuda_adamw(const struct peft4j_cuda_adamw_tensor* tensors, int64_t count, double beta1,
                                      double beta2, double eps, int64_t step, void* stream);

/* norm (on the device) = the 2-norm of all gradients; they are scaled to max_norm if it is above that (0: only measured).
   scratch: as many floats as the first function says. */
struct peft4j_cuda_gradient {
  float* values;
  int64_t n;
};
PEFT4J_CUDA_API int64_t peft4j_cuda_clip_grad_norm_scratch(const struct peft4j_cuda_gradient* gradients, int64_t count);
PEFT4J_CUDA_API int peft4j_cuda_clip_grad_norm(double* norm, const struct peft4j_cuda_gradient* gradients,
                                               int64_t count, double max_norm, float* scratch, void* stream);

#ifdef __cplusplus
}
#endif
