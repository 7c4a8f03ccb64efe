#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <mutex>
#include <optional>
#include <vector>

#include "bordered.h"
#include "few_rows.h"

namespace peft4j {

/*
The frozen matrix of one linear layer, or of several that read the same x (a linear group), stacked by rows.

It starts as a list of dense matrices [out_i, in], usually views of a mapped file, and keeps them: on the CPU whatever device will
compute with them. The layout that products want is made at the first product and kept beside them:
  packed   CPU: what oneDNN's matmul wants on this processor, one copy for y = xWᵀ and one for dx = dy·W (the latter only
           where a gradient is asked for). After that the dense values are not read again, and a mapped file's pages are given back.
           Few rows are multiplied by our own kernels over the same bytes (few_rows.h).
  bordered CUDA (and the library provider): W and the adapters in one matrix, see bordered.h. On a device it takes the
           place of the dense matrices, and a mapped file's pages are given back: there is one copy, which came straight from the file.
The compute type is the type of x. bfloat16 weights under float32 x stay bfloat16, in the orientation of each product, and
are widened and packed for each product (both together are a small part of it); double x uses plain products. Safe to
use from several threads.
*/
class WeightImpl : public torch::CustomClassHolder {
 public:
  explicit WeightImpl(std::vector<at::Tensor> parts);

  at::Tensor product(const at::Tensor& x, const at::Tensor& bias);  // x Wᵀ + bias; bias may be undefined
  at::Tensor transposed_product(const at::Tensor& dy);              // dy W
  Border::Place bordered(const at::Tensor& x, const std::vector<Border::Pair>& pairs);  // where x is, of its type
  at::Tensor dense() const;                    // [out, in]
  at::Tensor dense_for(
      const at::Tensor& x);  // the same where x is; of its type, unless it has another one there already
  at::Device device() const;                   // the CPU, until a device has laid it out
  const char* layout() const;

  std::vector<at::Tensor> parts() const;
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }

 private:
  at::Tensor oriented(bool transposed, at::ScalarType type) const;  // with the mutex held
  bool widens(at::ScalarType type) const { return type == at::kFloat && stored_in_bfloat16_; }
  at::Tensor kept(bool transposed, at::ScalarType type);  // packed, or stored to be widened; with the mutex held

  std::vector<at::Tensor> parts_;  // views of the border's M once it has taken them
  bool stored_in_bfloat16_;
  int64_t out_, in_;
  mutable std::mutex mutex_;
  Border border_;
  bool bordered_ = false;
  at::Tensor packed_[2];  // [0]: W, [1]: Wᵀ
  std::optional<Panels> panels_;  // where packed_[0] has its numbers
  at::Tensor stored_[2];  // the same in bfloat16, to be widened
};

}  // namespace peft4j
