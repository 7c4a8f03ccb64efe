#pragma once
/*
CPU kernels, one table of functions for each instruction set; cpu_kernels() gives the best one for this processor.
Plain pointers, sizes and strides: everything was checked by the operation that calls (native/<operation>.cpp).
Strides count elements. dtype is the type of x, y, q, …: Double, Float or BFloat16; "compute type" is Double for Double
and float else.
*/
#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>

#include "../philox.h"

namespace peft4j {

// The rank-r products of LoRA; m is [r, columns], contiguous, of the compute type, and so are h and sum.
struct RankParams {
  c10::ScalarType dtype;
  int64_t rows, columns, rank;
  const void* x;  // [rows, columns]: read by shrink and outer
  void* y;        // [rows, columns]: added to by expand
  int64_t row_stride;
  const void* m;    // [rank, columns]
  void* h;          // [rows, rank]: written by shrink, read by expand and outer
  int64_t h_stride;
  void* sum;        // [rank, columns]: written by outer
  double scale;
  Dropout dropout;     // of x (shrink, outer) or of what is added to y (expand)
  int64_t first_row;   // row 0 of x is this row of the mask
};

// A low-rank update of rows [begin, end) of x.
struct RankRows {
  int64_t begin, end, rank, first, out;  // first: column of y where its part begins
  const void *a, *b;                     // [rank, columns] and [out, rank], contiguous, of the compute type
  double scale;
  void* h;  // null, or x aᵀ of row begin: written, rows are h_stride apart
  int64_t h_stride;
};

struct RankRowsParams {
  c10::ScalarType dtype;
  int64_t rows, columns, x_stride, y_stride;
  const void* x;
  void* y;
  const RankRows* updates;
  int64_t n;
};

// y = x wᵀ + bias for few rows of float32; see few_rows_kernel.cpp.
struct FewRowsParams {
  int64_t rows, out, in;
  const float* x;     // [rows, in], contiguous
  const float* bias;  // [out], or null
  float* y;           // [rows, out], contiguous
  // w [out, in], as panels: input k and output n of w are at ((n / width)·padded_in + k)·width + n % width
  const float* panels;
  int64_t width, padded_in;  // width: a multiple of 16
  // or w as it lies
  const c10::BFloat16* w;
};

struct AttentionParams {
  c10::ScalarType dtype;
  int64_t sequences, query_heads, key_heads, head_size, prefix;  // prefix: number of prefix keys, 0 for none
  const void *q, *k, *v, *prefix_k, *prefix_v;                   // heads of a row are contiguous
  int64_t q_stride, k_stride, v_stride, prefix_stride;  // from row to row; prefix_stride: from sequence to sequence
  const int64_t *begin_q, *begin_k;  // [sequences + 1]
  bool causal;
  int64_t window;  // 0: none
  double scale, softcap;  // softcap 0: none
  const void* bias;       // [buckets, query_heads], compute type, or null
  const int32_t* bucket_of;  // [2·max_distance + 1], see relative_bias.h
  int64_t buckets, max_distance;
  Dropout dropout;
  void* out;  // [Tq, query_heads, head_size], contiguous
  void* lse;  // [Tq, query_heads], compute type
  // backward only
  const void* dout;
  int64_t dout_stride;
  void *dq, *dk, *dv;
  int64_t dq_stride, dk_stride, dv_stride;
  void *prefix_dk, *prefix_dv;  // [sequences, prefix, key_heads, head_size], compute type; null where not wanted
  void* dbias;  // [sequences, buckets, query_heads], compute type; null where not wanted
};

// Rows of each sequence that are its newest, against a cache; see attention_decode_kernel.cpp.
struct DecodeParams {
  c10::ScalarType dtype;
  int64_t sequences, queries, query_heads, key_heads, head_size;  // queries: rows of each sequence
  const void* q;  // [sequences · queries, query_heads, head_size]; heads of a row are contiguous
  int64_t q_stride;
  const void *k, *v;         // heads of a row are contiguous
  int64_t row_stride;
  const int64_t* begin_k;    // [sequences + 1]
  const int32_t* block_table;  // [sequences, max_blocks], or null: keys lie one behind the other
  int64_t max_blocks, block_size, block_stride;
  const void *prefix_k, *prefix_v;  // [prefix, key_heads, head_size], prefix_stride from sequence to sequence
  int64_t prefix, prefix_stride;
  int64_t window;  // 0: none
  double scale, softcap;
  void* out;  // [sequences · queries, query_heads, head_size], contiguous
};

// z = dropout(x) + residual;  y = (z - mean) · rstd · (weight + weight_offset) + bias; not centred (RMSNorm): mean = 0
struct NormParams {
  c10::ScalarType dtype;
  bool centred;
  int64_t rows, columns;
  const void *x, *residual;   // residual may be null
  const void *weight, *bias;  // dtype; bias may be null
  double eps, weight_offset;
  Dropout dropout;
  void *z, *y;        // z may be null (nothing kept)
  void *mean, *rstd;  // [rows], compute type; mean only if centred
  // backward only
  const void *dy, *dz_more;  // dz_more: what z's gradient is besides; may be null
  void *dx, *dz;             // dx = mask∘dz; null where not wanted
  void *dweight, *dbias;     // [blocks, columns] partial sums, compute type; null where not wanted
};

// Turns pair j of the first 2·half numbers of each head by positions[row] · inverse_frequencies[j], or back.
struct RotaryParams {
  c10::ScalarType dtype;
  bool interleaved, backward;
  int64_t rows, query_heads, key_heads, head_size, half;
  const void *q, *k;  // heads of a row are contiguous
  void *q_out, *k_out;
  int64_t q_stride, k_stride, q_out_stride, k_out_stride;
  const int64_t* positions;
  const void* inverse_frequencies;  // [half], compute type
  double scaling;
};

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };  // the numbers of peft4j_cuda.h

// y = act(gate)∘up; [rows, columns]
struct GatedMlpParams {
  c10::ScalarType dtype;
  Activation activation;
  int64_t rows, columns;
  const void *gate, *up, *dy;  // dy: backward only
  void *y, *dgate, *dup;       // y: forward only
  int64_t gate_stride, up_stride, dy_stride, y_stride, dgate_stride, dup_stride;
};

struct ElementwiseParams {
  c10::ScalarType dtype;
  int64_t rows, columns;
  const void *x, *dy;
  void* out;
  Dropout dropout;
};

// Rows of logits; with gradient it takes their place. See cross_entropy_kernel.cpp.
struct CrossEntropyParams {
  c10::ScalarType dtype;
  int64_t rows, columns;
  void* logits;
  int64_t row_stride;
  const int64_t* labels;  // [rows], in [0, columns)
  double softcap, smoothing;
  bool gradient;
  void* loss;  // [rows], compute type
};

// y = P(x) / Q(x); coefficients and their gradients of the compute type, a row for each group (stride 0: one that they share).
struct RationalParams {
  c10::ScalarType dtype;
  char version;
  int m, n;
  int64_t rows, channels, groups;
  const void* x;
  const void *numerator, *denominator;
  int64_t numerator_stride, denominator_stride;
  uint64_t seed;
  void* y;
  // backward only; null: not wanted
  const void* dy;
  void* dx;
  void *dnumerator, *ddenominator;
};

// c = softmax(z wᵀ over the rows of each sequence)ᵀ z; all contiguous, all of dtype, which is Double or Float.
struct SoftmaxPoolParams {
  c10::ScalarType dtype;
  int64_t rows, sequences, tokens, width;
  const void* z;         // [rows, width]
  const int64_t* begin;  // [sequences + 1], from 0 to rows
  const void* w;         // [tokens, width]
  void* weights;         // [tokens, rows]; written by forward, read by backward
  void* c;               // [sequences, tokens, width]; written by forward, read by backward
  // backward only
  const void* dc;
  void* dz;
  void* dw;  // null: not wanted
};

constexpr int64_t kNormRowsPerBlock = 128;  // partial sums of dweight and dbias: one row of them for each block

struct CpuKernels {
  const char* name;
  void (*lora_shrink)(const RankParams&);  // h = scale · dropout(x) mᵀ
  void (*lora_expand)(const RankParams&);  // y += dropout(scale · h m)
  void (*lora_outer)(const RankParams&);  // sum = scale · hᵀ dropout(x)
  void (*lora_rows)(const RankRowsParams&);  // y += scale · x aᵀ bᵀ, for few rows
  void (*panel_product)(const FewRowsParams&);
  void (*rows_product)(const FewRowsParams&);  // by w as it lies
  void (*attention_forward)(const AttentionParams&);
  void (*attention_backward)(const AttentionParams&);
  void (*attention_decode)(const DecodeParams&);
  void (*norm_forward)(const NormParams&);
  void (*norm_backward)(const NormParams&);
  void (*rotary)(const RotaryParams&);
  void (*gated_mlp_forward)(const GatedMlpParams&);
  void (*gated_mlp_backward)(const GatedMlpParams&);
  void (*gelu_forward)(const ElementwiseParams&);  // out = gelu(x)
  void (*gelu_backward)(const ElementwiseParams&);  // out = dy · gelu'(x)
  void (*dropout)(const ElementwiseParams&);  // out = dropout(x)
  void (*cross_entropy)(const CrossEntropyParams&);
  void (*rational_forward)(const RationalParams&);
  void (*rational_backward)(const RationalParams&);
  void (*softmax_pool_forward)(const SoftmaxPoolParams&);
  void (*softmax_pool_backward)(const SoftmaxPoolParams&);
};

const CpuKernels& cpu_kernels();

#define PEFT4J_DECLARE_TABLE(capability) \
  namespace capability {                 \
  extern const CpuKernels kTable;        \
  }
PEFT4J_DECLARE_TABLE(DEFAULT)
PEFT4J_DECLARE_TABLE(AVX2)
PEFT4J_DECLARE_TABLE(AVX512)
PEFT4J_DECLARE_TABLE(AVX512_BF16)
#undef PEFT4J_DECLARE_TABLE

}  // namespace peft4j
