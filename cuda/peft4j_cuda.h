#pragma once
/*
The C ABI of libpeft4j_cuda.so: pointers to device memory, sizes, strides, a stream (cudaStream_t; null: the default one).
Numbers of elements and rows are int64_t. Arguments are checked by who calls (native/): a kernel trusts them.
dtype: 0 float32, 1 bfloat16, 2 float16. Dropout: seed and threshold = round(256·p), see native/philox.h.
A call starts its kernels and does not wait. It gives 0 or CUDA's error number; then peft4j_cuda_last_error() names kernel,
grid, block and shared memory, for the calling thread. peft4j_cuda_last_kernel() names the kernel that it started last, "" if none:
tests see there which of several a call has chosen.
*/
#include <stdint.h>

#define PEFT4J_CUDA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

PEFT4J_CUDA_API const char* peft4j_cuda_last_error(void);
PEFT4J_CUDA_API const char* peft4j_cuda_last_kernel(void);

/* ---- the cards of this machine ---- */

typedef struct {
  char name[256];
  int capability;                  /* 90: compute capability 9.0 */
  int64_t total_bytes;
} peft4j_cuda_card;

/* CUDA's versions, 13000 for 13.0: what the driver serves, 0 where there is none, and what this library was built with. */
PEFT4J_CUDA_API int peft4j_cuda_versions(int* driver, int* runtime);
/* How many cards the driver offers to this process; 0 is no error. */
PEFT4J_CUDA_API int peft4j_cuda_count_cards(int* count);
/* Takes nothing of the card: processes on other cards of the machine may ask. */
PEFT4J_CUDA_API int peft4j_cuda_describe_card(int index, peft4j_cuda_card* card);
/* Of the current card; of the system, not of who asks. Makes this process's context there, some hundred MB, where there was none. */
PEFT4J_CUDA_API int peft4j_cuda_free_bytes(int64_t* bytes);

/* ---- sums ---- */

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
  float* scratch;              /* as many floats as the operation's _scratch says; lora_expand takes none */
  const peft4j_cuda_segment* segments;
  int64_t n_segments;
} peft4j_cuda_lora;

PEFT4J_CUDA_API int64_t peft4j_cuda_lora_shrink_scratch(const peft4j_cuda_lora* p);
PEFT4J_CUDA_API int peft4j_cuda_lora_shrink(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_lora_expand(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_lora_grad_a_scratch(const peft4j_cuda_lora* p);
PEFT4J_CUDA_API int peft4j_cuda_lora_grad_a(const peft4j_cuda_lora* p, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_lora_grad_b_scratch(const peft4j_cuda_lora* p);
PEFT4J_CUDA_API int peft4j_cuda_lora_grad_b(const peft4j_cuda_lora* p, void* stream);

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

/* prompt_generator's pooling. Sequence s has the rows begin[s] to begin[s + 1] - 1 of z. All contiguous. */
typedef struct {
  int dtype; /* of z, dz */
  int64_t rows, sequences, longest, tokens, width; /* longest: rows of a sequence at most */
  const void* z;        /* [rows, width] */
  const int32_t* begin; /* [sequences + 1], on the device, from 0 to rows */
  const float* w;       /* [tokens, width] */
  float* weights;       /* [rows, tokens]; written by forward, read by backward */
  float* c; /* [sequences, tokens, width]; written by forward, read by backward; 0 for a sequence without rows */
  float* scores; /* [rows, tokens], scratch of both */
  /* backward only */
  const float* dc; /* [sequences, tokens, width] */
  void* dz; /* [rows, width] */
  float* dw_partials; /* [sequences · splits, tokens, width], to be added; null: not wanted */
} peft4j_cuda_softmax_pool_params;

/* `splits` of backward's partial sums. */
PEFT4J_CUDA_API int64_t peft4j_cuda_softmax_pool_splits(int64_t longest);
PEFT4J_CUDA_API int peft4j_cuda_softmax_pool_forward(const peft4j_cuda_softmax_pool_params* params, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_softmax_pool_backward(const peft4j_cuda_softmax_pool_params* params, void* stream);

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

/*
Packed attention, contract and letters as in native/peft4j.h. Heads of a row are contiguous, rows begin `stride` elements apart.
D at most 256, max_distance at most 512; Tq and P + Tk at most 2²⁹. Rows and heads aligned to 16 bytes are read faster.
*/
typedef struct {
  int dtype, causal;
  int64_t sequences, query_rows, key_rows, query_heads, key_heads, head_size, prefix; /* S, Tq, Tk, Hq, Hkv, D, P */
  const void *q, *k, *v; /* [Tq, Hq, D], [Tk, Hkv, D] */
  const void *prefix_k, *prefix_v; /* [P, Hkv, D], or [S, P, Hkv, D], contiguous */
  int64_t q_stride, k_stride, v_stride;
  int64_t prefix_stride; /* from one sequence's prefix to the next's; 0: one for all */
  const int32_t *cu_q, *cu_k; /* [S + 1] */
  int64_t window; /* 0: none */
  float scale, softcap; /* softcap 0: none */
  const float* bias; /* [buckets, Hq], or null */
  const int32_t* bucket_of; /* [2·max_distance + 1]: the bucket of key position - query position = -max_distance, … */
  int64_t buckets, max_distance;
  uint64_t seed;
  uint32_t threshold;
  int32_t sm90a; /* 1: by wgmma, where card and tensors allow it. No card has run that yet */
  void* out; /* [Tq, Hq, D], contiguous */
  float* lse; /* [Tq, Hq], natural; -∞ for a row without keys */
  /* backward only */
  const void* dout; /* like out */
  void *dq, *dk, *dv;
  int64_t dq_stride, dk_stride, dv_stride;
  float *prefix_dk, *prefix_dv; /* like the prefix; null where not wanted */
  float* dbias; /* [buckets, Hq]; null where not wanted */
  float* scratch; /* peft4j_cuda_attention_scratch(…) floats */
} peft4j_cuda_attention;

PEFT4J_CUDA_API int peft4j_cuda_attention_forward(const peft4j_cuda_attention* a, void* stream);
PEFT4J_CUDA_API int peft4j_cuda_attention_backward(const peft4j_cuda_attention* a, void* stream);
PEFT4J_CUDA_API int64_t peft4j_cuda_attention_scratch(const peft4j_cuda_attention* a);

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
  int32_t count; /* of pairs */
  int32_t masked; /* the first so many are dropped from: element (t, n) by the mask's row t and column n */
  uint64_t seed;
  uint32_t threshold;
  int32_t w_by_k; /* 0: w is [N, k], y = x wᵀ; 1: w is [k, N], y = x w */
  int32_t accumulate; /* 1: y is added to */
  int32_t dtype; /* of all tensors: 1 or 2 */
  int32_t tile; /* 0: chosen by the shape; 1: 64 × 64; 2: 128 × 256, for aligned operands only */
  int32_t sm90a; /* 1: 128 × 256 by wgmma, where card and operands allow it. No card has run that yet */
  const void* bias; /* [N] or null */
  void* y; /* [T, N] */
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
  float* loss; /* [rows] */
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

/*
norm: z = dropout(x) + residual;  y = (z - mean)·rstd·(weight + weight_offset) + bias, mean = 0 if not centred. Tensors are
[rows, columns] of dtype, contiguous but for residual and y, whose rows may lie apart; weight and bias [columns], of dtype; statistics float32. In place: a result may be any
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
  int64_t residual_stride, y_stride; /* from row to row */
  void *y, *z; /* forward writes y, and z where it is not null; backward reads z */
  const void *dy, *dz_more; /* backward; dz_more: what z's gradient is besides, null: 0 */
  void *dz, *dx; /* backward; dx = mask∘dz; null where not wanted */
  float* dscale; /* backward; [columns] dweight, then if centred [columns] dbias; null: not wanted */
  float* scratch; /* of dscale; see peft4j_cuda_norm_scratch */
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
  int backward; /* turns back: from gradients of the results to those of q and k */
  int wide_positions; /* int64, else int32 */
  int64_t rows, query_heads, key_heads, head_size, rotary;
  const void *q, *k;
  void *q_out, *k_out;
  int64_t q_stride, k_stride, q_out_stride, k_out_stride;
  const void* positions; /* [rows] */
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
