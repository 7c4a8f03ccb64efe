/* Every kernel runs on its tensors' device and that device's stream, whatever the current device is. */
#include "check.h"
#include "two_devices.h"

namespace peft4j::test {
namespace {

const at::Device kFirst(at::kCUDA, 0), kSecond(at::kCUDA, 1);

// Results and gradients of the operation with its inputs on the device; the results are where the inputs are.
Tensors on(at::Device device, const Operation& operation, at::ScalarType type) {
  const auto run = [&](const Tensors& inputs, at::ScalarType t) {
    Tensors there = inputs;
    for (at::Tensor& input : there) {
      input = input.defined() ? input.to(device) : input;
    }
    Tensors all = operation.run(there, t);
    for (at::Tensor& result : all) {
      REQUIRE(result.device() == device);
      result = result.to(at::kCPU);
    }
    return all;
  };
  return results(operation, run, type, false);
}

at::Tensor cu(std::vector<int64_t> lengths) {
  return at::cat({at::zeros({1}, at::kLong), at::tensor(lengths, at::kLong).cumsum(0)});
}

Operation operation_of(const char* what, const Tensors& inputs, const std::function<Tensors(const Tensors&)>& run) {
  Operation o;
  o.what = what;
  o.inputs = inputs;
  o.trained.assign(inputs.size(), true);
  o.run = [run](const Tensors& in, at::ScalarType) { return run(in); };
  return o;
}

Operation lora_linear_of(double dropout) {
  const at::Tensor a = random({3, 16}, 2), b = random({8, 3}, 3);
  Operation o = operation_of("lora_linear", {random({5, 16}, 1), a, b, random({8, 16}, 4)}, [=](const Tensors& in) {
    return lora_linear(in[0], Weight({in[3]}), at::Tensor(), {in[1]}, {in[2]}, {0, 0, 5}, {2.0}, {dropout}, 1);
  });
  o.trained[3] = false;
  o.wide = {false, true, true, false};
  return o;
}

Operation attention_of(bool gated) {
  const at::Tensor lengths = cu({4, 2});
  Tensors inputs = {random({6, 4, 8}, 1), random({6, 2, 8}, 2), random({6, 2, 8}, 3), random({3, 2, 8}, 4),
                    random({3, 2, 8}, 5)};
  if (gated) {
    inputs.push_back(random({1}, 6));
  }
  return operation_of("attention", inputs, [=](const Tensors& in) {
    return Tensors{attention(in[0], in[1], in[2], lengths, lengths, 4, 4, in[3], in[4], gated ? in[5] : at::Tensor(),
                             true, 0.3, 0, 0, at::Tensor(), false, 0, 0, 0)};
  });
}

Operation attention_decode_of() {
  Operation o = operation_of("attention_decode", {random({2, 4, 8}, 1), random({9, 2, 8}, 2), random({9, 2, 8}, 3)},
                             [lengths = cu({4, 5})](const Tensors& in) {
                               return Tensors{attention_decode(in[0], in[1], in[2], lengths, 5, at::Tensor(),
                                                               at::Tensor(), at::Tensor(), 0.3, 0, 0)};
                             });
  o.trained.assign(3, false);
  return o;
}

Operation prompt_generator_of() {
  const at::Tensor instruction = at::tensor({1, 1, 0, 0, 1, 1, 0}, at::kByte);
  Operation o = operation_of("prompt_generator",
                             {random({7, 16}, 1), random({4, 16}, 2), random({4}, 3), random({3, 4}, 4),
                              random({1, 4}, 5), random({1, 3}, 6), random({16, 4}, 7), random({16}, 8)},
                             [=, lengths = cu({4, 3})](const Tensors& in) {
                               return Tensors{prompt_generator(in[0], lengths, instruction, in[1], in[2], in[3], in[4],
                                                               in[5], "A", 0, in[6], in[7])};
                             });
  o.wide = {false, true, true, true, true, true, true, true};
  return o;
}

Operation token_losses_of(bool trained_head) {
  Operation o =
      operation_of("token_losses",
                   {random({5, 16}, 1), random({33, 16}, 2), random({33}, 3), random({2, 16}, 4), random({33, 2}, 5)},
                   [=](const Tensors& in) {
                     const at::Tensor labels = at::tensor({3, -100, 0, 32, 7}, at::kLong);
                     return Tensors{trained_head ? token_losses(in[0], in[1], in[2], labels, 0, 0.1)
                                                 : token_losses(in[0], Weight({in[1].detach()}), in[2], {in[3]},
                                                                {in[4]}, {0, 1, 4}, {0.5}, {0.25}, 1, labels, 0, 0.1)};
                   });
  o.trained = {true, trained_head, true, !trained_head, !trained_head};
  o.wide = {false, false, false, true, true};
  return o;
}

std::vector<Operation> operations() {
  const auto rotary_of = [](const Tensors& in) {
    const at::Tensor positions = at::arange(3, at::kLong).to(in[0].device());
    return rotary(in[0], in[1], positions, in[2].detach(), 1, false);
  };
  Operation turned = operation_of("rotary", {random({3, 2, 8}, 1), random({3, 1, 8}, 2), random({4}, 3)}, rotary_of);
  turned.trained[2] = false;
  turned.wide = {false, false, true};
  return {
      lora_linear_of(0),
      lora_linear_of(0.25),
      attention_of(false),
      attention_of(true),
      attention_decode_of(),
      prompt_generator_of(),
      token_losses_of(false),
      token_losses_of(true),
      turned,
      operation_of("layer_norm", {random({3, 16}, 1), random({3, 16}, 2), random({16}, 3), random({16}, 4)},
                   [](const Tensors& in) { return Tensors{layer_norm(in[0], in[1], in[2], in[3], 1e-5, 0.25, 1)}; }),
      operation_of("rms_norm", {random({3, 16}, 1), random({3, 16}, 2), random({16}, 3)},
                   [](const Tensors& in) { return rms_norm(in[0], in[1], in[2], 1e-5, 1, 0, 0); }),
      operation_of("gated_mlp", {random({3, 16}, 1), random({3, 16}, 2)},
                   [](const Tensors& in) { return Tensors{gated_mlp(in[0], in[1], "silu")}; }),
      operation_of("gelu", {random({3, 16}, 1)}, [](const Tensors& in) { return Tensors{peft4j::gelu(in[0])}; }),
      operation_of("dropout", {random({3, 16}, 1)},
                   [](const Tensors& in) { return Tensors{peft4j::dropout(in[0], 0.25, 1)}; })};
}

// adamw and clip_grad_norm, which change tensors in place.
Tensors stepped(at::Device device) {
  const auto there = [&](uint64_t seed) { return random({5, 3}, seed).to(at::kFloat).to(device); };
  const Tensors parameters = {there(1), there(2)}, gradients = {there(3), there(4)}, first = {there(5), there(6)},
                second = {there(7).square(), there(8).square()};
  const at::Tensor norm = at::scalar_tensor(clip_grad_norm(gradients, 0.5), at::kDouble);
  adamw(parameters, gradients, first, second, {0.1, 0.2}, {0.0, 0.1}, {3, 3}, 0.9, 0.99, 1e-8);
  Tensors all = {norm};
  for (const Tensors& list : {parameters, gradients, first, second}) {
    for (const at::Tensor& t : list) {
      all.push_back(t.to(at::kCPU));
    }
  }
  return all;
}

Tensors all_on(at::Device device) {
  Tensors all = stepped(device);
  for (const char* setting : {"own", "own,lora_linear=library"}) {
    Kernels kernels(setting);
    for (const Operation& operation : operations()) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        const Tensors found = on(device, operation, type);
        all.insert(all.end(), found.begin(), found.end());
      }
    }
  }
  return all;
}

TEST(everyKernelRunsOnTheDeviceOfItsTensors) {
  CudaOnTheHost library;
  std::vector<Tensors> found;
  for (const at::Device device : {kFirst, kSecond}) {
    RecordedCalls calls(device);
    found.push_back(all_on(device));
    for (const std::string& wrong : calls.wrong()) {
      fail(wrong);
    }
    for (const std::string& name : calls.never_called()) {
      fail(name + " was not called: an operation that calls it is missing in this test");
    }
  }
  REQUIRE(found[0].size() == found[1].size());
  for (size_t i = 0; i < found[0].size(); ++i) {
    expect_same_bits(text("result ", i), found[1][i], found[0][i]);
  }
}

TEST(callsForAnotherDeviceAreNoticed) {
  CudaOnTheHost library;
  const auto wrong = [](at::Device device, void* stream) {
    RecordedCalls calls(device);
    RecordedCalls::call_directly(stream);  // from cuda:0
    return calls.wrong();
  };
  REQUIRE(wrong(kFirst, stream_of(kFirst)).empty());
  REQUIRE(wrong(kFirst, nullptr).size() == 1 && wrong(kFirst, stream_of(kSecond)).size() == 1);
  REQUIRE(wrong(kSecond, stream_of(kSecond)).size() == 1 && wrong(kSecond, nullptr).size() == 2);
}

}  // namespace
}  // namespace peft4j::test
