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

/*
norm: z = dropout(x) + residual;  y = (z - mean)·rstd·(weight + weight_offset) + bias, mean = 0 if not centred. Tensors are
[rows, columns], contiguous, of dtype; weight and bias [columns], of dtype; statistics float32. In place: a result may be any
tensor that is read, element by element the same.
*/
typedef struct {
  int dtype, centred; /* centred: LayerNorm, else RMSNorm */
  int64_t rows, columns;
  const void *weight, *bias; /* bias null: 0 */
  float eps, weight_offset;
  uint64_t seed;
  uint32_t threshold; /* of the dropout of x */
  float *mean, *rstd; /* [rows], written by forward, read by backward; mean only if centred */
  const void *x, *residual; /* forward; residual null: 0 */
  void *y, *z;              /* forward writes y, and z where it is not null; backward reads z */
  const void *dy, *dz_more; /* backward; dz_more: what z's gradient is besides, null: 0 */
  void *dz, *dx;            /* backward; dx = mask∘dz; null where not wanted */
  float* dscale;            /* backward; [columns] dweight, then if centred [columns] dbias; null: not wanted */
  float* scratch;           /* of dscale; see peft4j_cuda_norm_scratch */
} peft4j_cuda_norm_params;

PEFT4J_CUDA_API int peft4j_cuda_norm_forward(const peft4j_cuda_norm_params* p, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_norm_backward(const peft4j_cuda_norm_params* p, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_norm_scratch(const peft4j_cuda_norm_params* p); /* floats of scratch */

/*
rotary: turns pair j of the first `rotary` numbers (even, at most head_size) of each head of row t by
positions[t]·inverse_frequencies[j], and multiplies it by scaling. q [rows, query_heads, head_size], k [rows, key_heads,
head_size] of dtype; heads are contiguous, rows may be strided. In place: q_out may be q, k_out may be k.
*/
typedef struct {
  int dtype, interleaved; /* interleaved: pairs (2j, 2j + 1), else (j, j + rotary/2) */
  int backward;           /* turns back: from gradients of the results to those of q and k */
  int wide_positions;     /* int64, else int32 */
  int64_t rows, query_heads, key_heads, head_size, rotary;
  const void *q, *k;
  void *q_out, *k_out;
  int64_t q_stride, k_stride, q_out_stride, k_out_stride;
  const void* positions;            /* [rows] */
  const float* inverse_frequencies; /* [rotary / 2] */
  float scaling;
} peft4j_cuda_rotary_params;

PEFT4J_CUDA_API int peft4j_cuda_rotary(const peft4j_cuda_rotary_params* p, void* stream);

/*
gated_mlp: y = act(gate)∘up. [rows, columns] of dtype, rows may be strided. backward writes dgate and dup, which may be gate and
up, and y again where it is not null.
*/
typedef struct {
  int dtype, activation; /* activation: 0 silu, 1 gelu (erf), 2 gelu_tanh, 3 relu */
  int64_t rows, columns;
  const void *gate, *up, *dy;
  void *y, *dgate, *dup;
  int64_t gate_stride, up_stride, dy_stride, y_stride, dgate_stride, dup_stride;
} peft4j_cuda_gated_mlp_params;

PEFT4J_CUDA_API int peft4j_cuda_gated_mlp_forward(const peft4j_cuda_gated_mlp_params* p, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_gated_mlp_backward(const peft4j_cuda_gated_mlp_params* p, void* stream);

/* gelu: y = x·Φ(x) and dx = dy∘gelu'(x), n elements. y may be x, dx any of its inputs. */
PEFT4J_CUDA_API int peft4j_cuda_gelu_forward(int dtype, int64_t n, const void* x, void* y, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_gelu_backward(int dtype, int64_t n, const void* x, const void* dy, void* dx,
                                              void* stream);

/* dropout: y = mask∘x, [rows, columns], contiguous; its own backward. y may be x. */
PEFT4J_CUDA_API int peft4j_cuda_dropout(int dtype, int64_t rows, int64_t columns, const void* x, void* y, uint64_t seed,
                                        uint32_t threshold, void* stream);

#ifdef __cplusplus
}
#endif
