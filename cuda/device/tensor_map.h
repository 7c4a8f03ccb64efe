#pragma once
/* Tensor maps: what tma_load (ptx_sm90.h) has to know of a matrix. */
#include <initializer_list>
#include <string>

#include "cuda.h"
#include "ptx_sm90.h"

namespace peft4j::cuda {

/*
Of a matrix [rows, columns] of 16-bit numbers whose rows are `stride` numbers apart; data and rows at multiples of 16 bytes. A
tma_load takes a box of box_rows (at most 256) × 64, in shared memory rows of 128 bytes, swizzled. 0, or an error's number and a
message (last_error).
*/
inline int make_tensor_map(TensorMap* map, const void* data, int64_t rows, int64_t columns, int64_t stride,
                           int box_rows) {
  constexpr int kBoxColumns = 64;
#ifdef __CUDACC__
  // The driver's function, without linking the driver's library.
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(error == cudaSuccess ? function : nullptr);
  }();
  if (encode == nullptr) {
    last_error() = "the driver has no cuTensorMapEncodeTiled";
    return static_cast<int>(cudaErrorNotSupported);
  }
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)},
                   strides[] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[] = {kBoxColumns, static_cast<cuuint32_t>(box_rows)}, steps[] = {1, 1};
  const CUresult result = encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void*>(data), sizes, strides, box,
                                 steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    last_error() = "cuTensorMapEncodeTiled refuses [" + std::to_string(rows) + ", " + std::to_string(columns) +
                   "] with rows " + std::to_string(stride) + " numbers apart";
  }
  return static_cast<int>(result);
#else
  last_error() = host::make_tensor_map(*map, data, rows, columns, stride, box_rows, kBoxColumns, true);
  return last_error().empty() ? 0 : 1;
#endif
}

struct TensorMapOf {  // arguments of make_tensor_map
  TensorMap* map;
  const void* data;
  int64_t rows, columns, stride;
  int box_rows;
};

// The first error, or 0.
inline int make_tensor_maps(std::initializer_list<TensorMapOf> all) {
  for (const TensorMapOf& of : all) {
    const int error = make_tensor_map(of.map, of.data, of.rows, of.columns, of.stride, of.box_rows);
    if (error != 0) {
      return error;
    }
  }
  return 0;
}

}  // namespace peft4j::cuda
