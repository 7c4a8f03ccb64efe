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

/* Rows of heads: element c of head h of row t is data[t·row + h·head + c]; of numbers for each head c is 0. */
typedef struct {
  void* data;
  int64_t row, head;
} peft4j_cuda_heads;

/*
Part 2 of attention with a prefix, and its join with part 1; formulas in prefix_attention.cu.
rows·query_heads < 2³¹, query_heads a multiple of key_heads, head_size <= 256, prefix >= 1.
sequences, longest: how many prefixes there are and the most rows that see one; 1 and rows if all rows share it.
Row t sees the prefix of the sequence s with cu_seqlens[s] <= t < cu_seqlens[s + 1]; cu_seqlens, on the device, is null if all
rows share one.
*/
typedef struct {
  int32_t dtype; /* of all tensors of numbers but lse1, lse, gate and the gradients of the prefix, which are float32 */
  float scale;
  int64_t rows, query_heads, key_heads, head_size, prefix, sequences, longest;
  const int32_t* cu_seqlens;
  const void *k, *v; /* [sequences, prefix, key_heads, head_size], contiguous */
  const float* gate; /* null: join. Else o = o1 + gate·o2, lse is that of o2's own softmax */
  peft4j_cuda_heads q, o1, lse1; /* lse1: -∞ or +∞ for a row without keys, o1 then 0; not read with a gate */
  peft4j_cuda_heads o, lse; /* written; may be o1 and lse1. Read by the backward, which does not read o with a gate */
  peft4j_cuda_heads o2; /* with a gate only: written if not null, read by the backward */
} peft4j_cuda_prefix;

/* Gradients of a peft4j_cuda_prefix. */
typedef struct {
  peft4j_cuda_heads dout;
  peft4j_cuda_heads dq; /* added to; null: not wanted */
  float *prefix_dk, *prefix_dv; /* like k, written; null, both: not wanted */
  float* dgate; /* written; null: not wanted */
  float* scratch; /* peft4j_cuda_prefix_attention_scratch numbers */
} peft4j_cuda_prefix_gradients;

PEFT4J_CUDA_API int peft4j_cuda_prefix_attention(const peft4j_cuda_prefix* prefix, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_prefix_attention_scratch(const peft4j_cuda_prefix* prefix);
PEFT4J_CUDA_API int peft4j_cuda_prefix_attention_backward(const peft4j_cuda_prefix* prefix,
                                                          const peft4j_cuda_prefix_gradients* gradients, void* stream);

/*
Attention of the last `queries` rows of each sequence against its cache and, with a prefix, against that; attention_decode.cu.
Row i of sequence s is row s·queries + i of q and o and sees keys up to its own position: all but the last queries - 1 - i.
Sequence s has cu_seqlens_k[s + 1] - cu_seqlens_k[s] keys, at most `longest`; key j of it is row cu_seqlens_k[s] + j of k and v,
or (paged) row j % block_size of block block_table[s·max_blocks + j / block_size]. Rows, heads and blocks of k and v lie key,
head and block numbers apart. All arrays are on the device.
sequences·queries·query_heads < 2³¹, query_heads a multiple of key_heads, head_size <= 256.
*/
typedef struct {
  int32_t dtype; /* of q, k, v, o and the prefix */
  float scale, softcap; /* softcap 0: none */
  int64_t sequences, queries, query_heads, key_heads, head_size, longest;
  int64_t window; /* 0: none; else a row sees its last `window` keys, and the prefix */
  peft4j_cuda_heads q, o;
  const void *k, *v;
  int64_t key, head, block, block_size;
  const int32_t* cu_seqlens_k; /* [sequences + 1] */
  const int32_t* block_table; /* [sequences, max_blocks]; null: not paged */
  int64_t max_blocks;
  const void *prefix_k, *prefix_v; /* [prefix, key_heads, head_size] or one for each sequence, contiguous */
  int64_t prefix; /* 0: none */
  int32_t prefix_shared;
  float* scratch; /* peft4j_cuda_attention_decode_scratch numbers */
} peft4j_cuda_decode;

PEFT4J_CUDA_API int peft4j_cuda_attention_decode(const peft4j_cuda_decode* decode, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_attention_decode_scratch(const peft4j_cuda_decode* decode);

/* ---- dual_gemm ---- */

/* ---- norm, rotary, MLP activation, loss, optimiser ---- */

#ifdef __cplusplus
}
#endif
