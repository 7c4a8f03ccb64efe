#include "loss_head.h"

#include <ATen/ATen.h>

#include "cuda_library.h"
#include "library_product.h"

namespace peft4j {

LossHead::LossHead(const HeadTensors& head, const at::Tensor& like, int64_t rows) : bias_(head.bias) {
  if (head.b.defined()) {
    b_ = head.b.to(like.scalar_type());
  }
  if (head.frozen && !on_device(like)) {
    frozen_ = head.frozen;
    return;
  }
  w_ = (head.frozen ? head.frozen->dense_for(like) : head.w).to(like.scalar_type());
  // On a device a row begins at 16 bytes: products and kernels are fastest so, whatever V is.
  const int64_t pack = on_device(like) ? 16 / like.element_size() : 1, out = head.out();
  buffer_ = at::empty({rows, (out + pack - 1) / pack * pack}, like.options()).narrow(1, 0, out);
}

at::Tensor LossHead::logits(const at::Tensor& rows, const at::Tensor& low) const {
  at::Tensor z;
  if (frozen_) {
    z = frozen_->product(rows, bias_.defined() ? bias_ : at::Tensor());
  } else {
    z = buffer_.narrow(0, 0, rows.size(0));
    library::mm_out(z, rows, w_.t());
    if (bias_.defined()) {
      z.add_(bias_);
    }
  }
  if (low.defined()) {
    library::add_mm(z, low, b_.t());
  }
  return z;
}

void LossHead::to_rows(at::Tensor drows, const at::Tensor& dz) const {
  if (frozen_) {
    drows.copy_(frozen_->transposed_product(dz));
  } else {
    library::mm_out(drows, dz, w_);
  }
}

void LossHead::to_low(const at::Tensor& dlow, const at::Tensor& dz) const {
  library::mm_out(dlow, dz, b_);
}

}  // namespace peft4j
