/*
The operations of native/peft4j.h as torch.ops.peft4j.*: on a machine with a card and PyTorch but no JVM,
build-scripts/gpu/ runs, compares and times them from Python. A tensor that may be undefined may be None there.
*/
#include <torch/custom_class.h>
#include <torch/library.h>

#include "peft4j.h"

namespace {

struct Weight : torch::CustomClassHolder {
  explicit Weight(const std::vector<at::Tensor>& parts) : weight(parts) {}
  peft4j::Weight weight;
};

std::vector<at::Tensor> lora_linear(const at::Tensor& x, const c10::intrusive_ptr<Weight>& w, const at::Tensor& bias,
                                    const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                    at::IntArrayRef place, at::ArrayRef<double> scale, at::ArrayRef<double> dropout,
                                    int64_t seed) {
  return peft4j::lora_linear(x, w->weight, bias, a, b, place, scale, dropout, seed);
}

at::Tensor token_losses(const at::Tensor& hidden, const c10::intrusive_ptr<Weight>& w, const at::Tensor& bias,
                        const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, at::IntArrayRef place,
                        at::ArrayRef<double> scale, at::ArrayRef<double> dropout, int64_t seed,
                        const at::Tensor& labels, double softcap, double label_smoothing) {
  return peft4j::token_losses(hidden, w->weight, bias, a, b, place, scale, dropout, seed, labels, softcap,
                              label_smoothing);
}

at::Tensor token_losses_of_trained_head(const at::Tensor& hidden, const at::Tensor& w, const at::Tensor& bias,
                                        const at::Tensor& labels, double softcap, double label_smoothing) {
  return peft4j::token_losses(hidden, w, bias, labels, softcap, label_smoothing);
}

}  // namespace

TORCH_LIBRARY(peft4j, library) {
  library.class_<Weight>("Weight")
      .def(torch::init<std::vector<at::Tensor>>())
      .def("layout", [](const c10::intrusive_ptr<Weight>& w) { return w->weight.layout(); });
  library.def("lora_linear", lora_linear);
  library.def("attention", peft4j::attention);
  library.def("attention_decode", peft4j::attention_decode);
  library.def("layer_norm", peft4j::layer_norm);
  library.def("rms_norm", peft4j::rms_norm);
  library.def("rotary", peft4j::rotary);
  library.def("gated_mlp", peft4j::gated_mlp);
  library.def("rational", peft4j::rational);
  library.def("prompt_generator", peft4j::prompt_generator);
  library.def("gelu", peft4j::gelu);
  library.def("dropout", peft4j::dropout);
  library.def("token_losses", token_losses);
  library.def("token_losses_of_trained_head", token_losses_of_trained_head);
  library.def("adamw", peft4j::adamw);
  library.def("clip_grad_norm", peft4j::clip_grad_norm);
  library.def("set_kernels", peft4j::set_kernels);
  library.def("kernels_in_use", [] { return peft4j::kernels_in_use(); });
  library.def("cuda_kernels_in_use", peft4j::cuda_kernels_in_use);
  library.def("load_cuda", peft4j::load_cuda);
  library.def("build_info", peft4j::build_info);
}
