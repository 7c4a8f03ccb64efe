#include "attention_gradients.h"

#include <ATen/ATen.h>

namespace peft4j {

std::vector<at::Tensor> gradients_in_one(const at::Tensor& q, const at::Tensor& k) {
  const int64_t d = q.size(2), wide_q = q.size(1) * d, wide_k = k.size(1) * d;
  const bool together = q.size(0) == k.size(0);
  const at::Tensor all = at::empty({k.size(0), (together ? wide_q : 0) + 2 * wide_k}, k.options());
  const auto heads = [&](int64_t first, int64_t count) {
    return all.as_strided({all.size(0), count, d}, {all.size(1), d, 1}, all.storage_offset() + first);
  };
  const int64_t first = together ? wide_q : 0;
  return {together ? heads(0, q.size(1)) : at::empty(q.sizes(), q.options()), heads(first, k.size(1)),
          heads(first + wide_k, k.size(1))};
}

}  // namespace peft4j
