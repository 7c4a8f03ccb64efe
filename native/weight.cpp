#include "weight.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "library_product.h"
#include "mapped_file.h"
#include "onednn.h"
#include "peft4j.h"
#include "providers.h"

namespace peft4j {

WeightImpl::WeightImpl(std::vector<at::Tensor> parts)
    : parts_(std::move(parts)), stored_in_bfloat16_(true), out_(0), in_(0) {
  TORCH_CHECK(!parts_.empty(), "Weight: needs at least one matrix, got none");
  for (const at::Tensor& part : parts_) {
    TORCH_CHECK(part.defined(), "Weight: a matrix is undefined");
  }
  TORCH_CHECK(parts_[0].dim() == 2, "Weight: every matrix must have shape [out, in], got ", parts_[0].sizes());
  in_ = parts_[0].size(1);
  for (const at::Tensor& part : parts_) {
    TORCH_CHECK(part.dim() == 2 && part.size(1) == in_, "Weight: every matrix must have shape [out, ", in_, "], got ",
                part.sizes());
    TORCH_CHECK(part.is_cpu() || part.scalar_type() == parts_[0].scalar_type(), "Weight: one matrix is ",
                parts_[0].scalar_type(), " and another ", part.scalar_type());
    TORCH_CHECK(part.is_floating_point(), "Weight: a matrix must be float32, bfloat16, float16 or float64, got ",
                part.scalar_type());
    TORCH_CHECK(part.device() == parts_[0].device(), "Weight: one matrix is on ", parts_[0].device(),
                " and another on ", part.device());
    TORCH_CHECK(!part.requires_grad(), "Weight: is frozen, but a matrix requires a gradient");
    stored_in_bfloat16_ &= part.scalar_type() == at::kBFloat16;
    out_ += part.size(0);
  }
}

std::vector<at::Tensor> WeightImpl::parts() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return parts_;
}

at::Tensor WeightImpl::dense() const {
  const std::vector<at::Tensor> all = parts();
  return all.size() == 1 ? all[0] : at::cat(all, 0);
}

at::Tensor WeightImpl::dense_for(const at::Tensor& x) {
  if (device() != x.device()) {
    bordered(x, {});
  }
  return dense();
}

at::Device WeightImpl::device() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return parts_[0].device();
}

Border::Place WeightImpl::bordered(const at::Tensor& x, const std::vector<Border::Pair>& pairs) {
  const Border::Place place = border_.find(parts(), x, pairs);
  std::lock_guard<std::mutex> lock(mutex_);
  const bool same_type = x.scalar_type() == parts_[0].scalar_type();
  if (!place.m.is_cpu() && (parts_[0].is_cpu() || same_type) && !parts_[0].is_alias_of(place.m)) {
    int64_t row = 0;
    for (at::Tensor& part : parts_) {
      if (part.is_cpu()) {
        forget_pages(part);
      }
      part = place.m.narrow(0, row, part.size(0)).narrow(1, 0, in_);
      row += part.size(0);
    }
  }
  bordered_ = true;
  return place;
}

at::Tensor WeightImpl::oriented(bool transposed, at::ScalarType type) const {
  const at::Tensor w = (parts_.size() == 1 ? parts_[0] : at::cat(parts_, 0)).to(type);
  return transposed ? w.t().contiguous() : w.contiguous();
}

at::Tensor WeightImpl::kept(bool transposed, at::ScalarType type) {
  const bool widen = widens(type);
  at::Tensor& kept = widen ? stored_[transposed] : packed_[transposed];
  if (!kept.defined() || (!widen && kept.scalar_type() != type)) {
    const at::Tensor w = oriented(transposed, widen ? at::kBFloat16 : type);
    kept = widen ? w : onednn::pack(w);
    if (!widen && !transposed) {
      panels_ = panels_of(kept, w);
    }
    if (!widen || !kept.is_alias_of(parts_[0])) {  // what oneDNN packs is a copy
      std::for_each(parts_.begin(), parts_.end(), forget_pages);
    }
  }
  return kept;
}

at::Tensor WeightImpl::product(const at::Tensor& x, const at::Tensor& bias) {
  if (!onednn::usable(x)) {
    const at::Tensor w = dense().to(x.scalar_type());
    return bias.defined() ? library::addmm(bias, x, w.t()) : library::mm(x, w.t());
  }
  std::unique_lock<std::mutex> lock(mutex_);
  const at::Tensor w = kept(false, x.scalar_type());
  const std::optional<Panels> panels = panels_;
  lock.unlock();
  const bool few = x.scalar_type() == at::kFloat && x.size(0) <= kFewRows;
  if (widens(x.scalar_type())) {
    return few ? few_rows_product(x, w, bias) : onednn::linear(x, onednn::pack(w.to(at::kFloat)), bias);
  }
  return few && panels ? few_rows_product(x, *panels, out_, bias) : onednn::linear(x, w, bias);
}

at::Tensor WeightImpl::transposed_product(const at::Tensor& dy) {
  if (!onednn::usable(dy)) {
    return library::mm(dy, dense().to(dy.scalar_type()));
  }
  std::unique_lock<std::mutex> lock(mutex_);
  const at::Tensor w = kept(true, dy.scalar_type());
  lock.unlock();
  return onednn::linear(dy, widens(dy.scalar_type()) ? onednn::pack(w.to(at::kFloat)) : w, at::Tensor());
}

const char* WeightImpl::layout() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return packed_[0].defined() ? "packed" : bordered_ ? "bordered" : "dense";
}

Weight::Weight(const std::vector<at::Tensor>& parts) : impl_(c10::make_intrusive<WeightImpl>(parts)) {}
Weight::Weight(const Weight& other) = default;
Weight::~Weight() = default;

at::Tensor Weight::dense() const {
  return impl_->dense();
}

int64_t Weight::out() const {
  return impl_->out();
}

int64_t Weight::in() const {
  return impl_->in();
}

std::string Weight::layout() const {
  return impl_->layout();
}

}  // namespace peft4j
