// libtorch is built with NDEBUG: without it its header reads a member that the library's objects do not have.
#ifndef NDEBUG
#define NDEBUG
#endif

#include "product_operands.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "check.h"

namespace peft4j::test {
namespace {

std::mutex mutex;
std::string wrong;

bool has_gaps(const at::Tensor& x) {
  return x.is_cpu() && x.element_size() == 2 && x.is_floating_point() && x.dim() == 2 && x.size(0) > 1 &&
         x.size(1) % 32 != 0 && x.stride(0) > x.size(1);
}

std::unique_ptr<at::ObserverContext> look(const at::RecordFunction& call) {
  static const std::map<std::string_view, size_t> left_operand = {{"aten::mm", 0},
                                                                  {"aten::addmm", 1},
                                                                  {"aten::addmm_", 1},
                                                                  {"aten::_addmm_activation", 1},
                                                                  {"mkldnn::_linear_pointwise", 0}};
  const auto found = left_operand.find(call.name());
  if (found != left_operand.end() && found->second < call.inputs().size()) {
    const at::Tensor& x = call.inputs()[found->second].toTensor();
    if (has_gaps(x)) {
      const std::lock_guard<std::mutex> lock(mutex);
      wrong = text(call.name(), " got ", x.scalar_type(), " ", x.sizes(), " with strides ", x.strides(),
                   ": oneDNN may read into its gaps; go through library_product.h");
    }
  }
  return nullptr;
}

[[maybe_unused]] const at::CallbackHandle watching =
    at::addGlobalCallback(at::RecordFunctionCallback(&look).needsInputs(true).scopes({at::RecordScope::FUNCTION}));

}  // namespace

at::Tensor product_of_views(const at::Tensor& a, const at::Tensor& b) {
  return at::bmm(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0);
}

std::string take_wrong_operands() {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(wrong, "");
}

}  // namespace peft4j::test
