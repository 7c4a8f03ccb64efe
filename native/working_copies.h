#pragma once
/*
A trained tensor (the master, float32) and a copy of it that products read: its place in a bordered weight. Whoever keeps the
copy (bordered.h) sees by the master's version when it has to be written again. An optimiser that changes the master finds the
copy here, may write it in the same pass, and says so.
*/
#include <ATen/core/Tensor.h>
#include <c10/core/UndefinedTensorImpl.h>

#include <atomic>
#include <memory>

namespace peft4j {

// Safe from several threads, except with a change of the master.
class WorkingCopy {
 public:
  // values [rows, columns]: the master's shape and device, any type; numbers of a row lie side by side. of() finds it as long as
  // somebody keeps the result.
  static std::shared_ptr<WorkingCopy> make(const at::Tensor& master, const at::Tensor& values);

  // Of the master's copies that are left the one that was made last, or null.
  static std::shared_ptr<WorkingCopy> of(const at::Tensor& master);

  ~WorkingCopy();
  WorkingCopy(const WorkingCopy&) = delete;
  WorkingCopy& operator=(const WorkingCopy&) = delete;

  const at::Tensor& values() const { return values_; }
  at::Tensor master() const;  // undefined: it is gone
  bool is_of(const at::Tensor& t) const { return key_ == t.unsafeGetTensorImpl(); }

  void write_if_changed();  // values = master, unless it is already
  void was_written();       // by somebody else, after the master's last change

 private:
  WorkingCopy(const at::Tensor& master, const at::Tensor& values);

  const c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> master_;
  const at::TensorImpl* const key_;  // as long as master_ is kept no other tensor gets this address
  const at::Tensor values_;
  std::atomic<int64_t> version_{-1};  // of the master that values holds
};

}  // namespace peft4j
