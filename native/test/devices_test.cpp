/* Every kernel runs on its tensors' device and that device's stream, whatever the current device is. */
#include <algorithm>

#include "check.h"
#include "host_devices/host_devices.h"
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
  const auto wrong = [](at::Device device, void* stream) {
    RecordedCalls calls(device);
    RecordedCalls::call_directly(stream);  // from cuda:0
    return calls.wrong();
  };
  using host_devices::stream_of;
  REQUIRE(wrong(kFirst, stream_of(0)).empty());
  REQUIRE(wrong(kFirst, nullptr).size() == 1 && wrong(kFirst, stream_of(1)).size() == 1);
  REQUIRE(wrong(kSecond, stream_of(1)).size() == 1 && wrong(kSecond, nullptr).size() == 2);
}

TEST(libtorchsAttentionOfACardFollowsItsFormula) {
  RecordedCalls calls(kFirst);
  for (const bool causal : {false, true}) {
    for (const int64_t window : {0, 2}) {
      const at::Tensor lengths = cu({4, 0, 2, 3});
      const auto run = [=](const Tensors& in) {
        return Tensors{attention(in[0], in[1], in[2], lengths, lengths, 4, 4, in[3], in[4], at::Tensor(), causal, 0.3,
                                 window, 0, at::Tensor(), false, 0, 0, 0)};
      };
      Operation o = operation_of("attention",
                                 {random({9, 4, 12}, 1), random({9, 2, 12}, 2), random({9, 2, 12}, 3),
                                  random({3, 2, 12}, 4), random({3, 2, 12}, 5)},
                                 run);
      o.what = text("attention, causal ", causal, ", window ", window);
      o.run = [run](const Tensors& in, at::ScalarType) {
        Tensors there = in;
        for (at::Tensor& t : there) {
          t = t.to(kFirst);
        }
        return Tensors{run(there)[0].to(at::kCPU)};
      };
      o.plain = [run](const Tensors& in, at::ScalarType) {
        Kernels k("reference");
        return run(in);
      };
      o.types = {at::kFloat, at::kBFloat16};
      compare(o, "attention=library");
    }
  }
}

TEST(rowsOfABorderedWeightBeginLines) {
  RecordedCalls calls(kFirst);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const auto on_card = [](const at::Tensor& t, at::ScalarType as) { return t.to(kFirst, as); };
    const at::Tensor x = on_card(random({3, 40}, 1), type), a = on_card(random({5, 40}, 2), at::kFloat),
                     b = on_card(random({24, 5}, 3), at::kFloat);
    const Weight weight({random({24, 40}, 4).to(type)});
    lora_linear(x, weight, at::Tensor(), {a}, {b}, {0, 0, 3}, {2}, {0}, 0);
    REQUIRE(weight.dense().stride(0) * weight.dense().element_size() == (type == at::kFloat ? 256 : 128));
  }
}

// A file may have them: they are of x's type once they are laid out.
TEST(matricesOfSeveralTypesAreOneWeight) {
  RecordedCalls calls(kFirst);
  const at::Tensor narrow = random({4, 8}, 1).to(at::kBFloat16), wide = random({2, 8}, 2), x = random({3, 8}, 3);
  const Tensors expected = lora_linear(x.to(at::kFloat), Weight({narrow.to(at::kFloat), wide.to(at::kFloat)}),
                                       at::Tensor(), {}, {}, {}, {}, {}, 0);
  for (const at::Device device : {at::Device(at::kCPU), kFirst}) {
    const Tensors y =
        lora_linear(x.to(device, at::kFloat), Weight({narrow, wide}), at::Tensor(), {}, {}, {}, {}, {}, 0);
    for (size_t i = 0; i < y.size(); ++i) {
      expect_close("part", y[i].to(at::kCPU), expected[i], 1e-6);
    }
  }
  expect_error("on a card", [&] { Weight({narrow.to(kFirst), wide.to(kFirst)}); }, {"Weight", "BFloat16", "Double"});
}

TEST(tensorsOfTwoDevicesAreNotComputedWith) {
  RecordedCalls calls(kFirst);
  const at::Tensor here = at::ones({3}), there = here.to(kFirst), elsewhere = here.to(kSecond);
  expect_error("card and CPU", [&] { at::add(there, here); }, {"same device", "cuda:0", "cpu"});
  expect_error("two cards", [&] { at::add(there, elsewhere); }, {"same device", "cuda:0", "cuda:1"});
  expect_error("no such card", [&] { here.to(at::Device(at::kCUDA, 7)); }, {"cuda:7"});
  expect_error("own operation", [&] { gated_mlp(there.view({1, 3}), here.view({1, 3}), "silu"); },
               {"gated_mlp", "cuda:0", "cpu"});
  expect_same_bits("a number of the CPU", at::add(there, at::scalar_tensor(2.0)).to(at::kCPU), here + 2);
}

TEST(memoryOfACardIsItsOwn) {
  RecordedCalls calls(kFirst);
  const int64_t of_host = live_bytes(), of_first = live_bytes(kFirst), of_second = live_bytes(kSecond);
  {
    const at::Tensor t = at::empty({1000}, at::TensorOptions(kFirst).dtype(at::kFloat));
    const at::Tensor view = t.view({10, 100}).t();
    REQUIRE(live_bytes(kFirst) == of_first + 4000 && live_bytes(kSecond) == of_second && live_bytes() == of_host);
    REQUIRE(t.isnan().all().item<bool>());  // nobody has written it
    const at::Tensor copy = t.to(kSecond);
    REQUIRE(live_bytes(kFirst) == of_first + 4000 && live_bytes(kSecond) == of_second + 4000);
    reset_peak_bytes(kFirst);
    at::add(t, t);
    REQUIRE(peak_bytes(kFirst) == of_first + 8000 && live_bytes(kFirst) == of_first + 4000);
    REQUIRE(kept_bytes(kFirst) == 0);
  }
  REQUIRE(live_bytes(kFirst) == of_first && live_bytes(kSecond) == of_second && live_bytes() == of_host);
}

TEST(aFullCardIsOutOfMemoryAsCudaIs) {
  RecordedCalls calls(kFirst);
  const at::Tensor held = at::zeros({1 << 18}, at::TensorOptions(kFirst).dtype(at::kFloat));  // 1 MiB
  host_devices::set_memory(0, live_bytes(kFirst) + (1 << 19));
  std::string message;
  try {
    at::add(held, held);
  } catch (const c10::OutOfMemoryError& error) {
    message = error.what_without_backtrace();
  }
  const int64_t live = live_bytes(kFirst);
  host_devices::reset_cards();
  REQUIRE(message.find("Tried to allocate") != std::string::npos && message.find("GPU 0") != std::string::npos);
  REQUIRE(live == live_bytes(kFirst));
  REQUIRE(at::add(held, held).sum().item<float>() == 0);
}

TEST(whatMakesTheHostWaitIsCounted) {
  RecordedCalls calls(kFirst);
  const at::Tensor pinned = at::ones({3}).pin_memory();
  REQUIRE(pinned.is_pinned() && !at::ones({3}).is_pinned());
  const at::Tensor there = pinned.to(kFirst, /*non_blocking=*/true);
  at::add(there, there);
  REQUIRE(host_devices::waits().empty());
  there.sum().item<float>();
  at::ones({3}).to(kFirst, /*non_blocking=*/true);
  pinned.to(kFirst);
  REQUIRE(host_devices::waits() == "aten::_local_scalar_dense\t1\naten::copy_\t2\n");
}

TEST(cardsAreListedOrSaidToBeMissing) {
  const auto says = [](std::initializer_list<const char*> pieces) {
    const std::string missing = missing_cuda();
    return std::all_of(pieces.begin(), pieces.end(),
                       [&](const char* piece) { return missing.find(piece) != std::string::npos; });
  };
  REQUIRE(says({"libpeft4j_cuda.so", "build-scripts/build-cuda.sh"}) && cuda_devices().empty());
  RecordedCalls calls(kFirst);
  host_devices::set_memory(1, int64_t{3} << 30);
  host_devices::set_capability(1, 75);
  REQUIRE(missing_cuda().empty());
  REQUIRE(cuda_devices().starts_with("0\thost executor\t9.0\t8589934592\t") &&
          cuda_devices().find("\n1\thost executor\t7.5\t3221225472\t") != std::string::npos &&
          cuda_devices().ends_with("\t13.0\t13.0\n"));
  host_devices::set_capability(0, 70);
  REQUIRE(says({"compute capability 8.0", "host executor has 7.0", "7.5"}));
  host_devices::set_driver(0);
  REQUIRE(says({"driver", "nvidia-container-toolkit"}) && cuda_devices().empty());
  host_devices::reset_cards();
  host_devices::unplug();
  REQUIRE(says({"libtorch", "linux-x86_64-gpu", "redist"}));
}

TEST(kernelsOfACardAreThoseThatItHas) {
  RecordedCalls calls(kFirst);
  Kernels hopper("own,dual_gemm=sm_90a");
  host_devices::set_capability(1, 80);
  REQUIRE(kernels_in_use(kFirst).find("\ndual_gemm\tsm_90a\t") != std::string::npos);
  REQUIRE(kernels_in_use(kSecond).find("\ndual_gemm\tsm_80\t") != std::string::npos);
  REQUIRE(kernels_in_use(at::kCPU) == kernels_in_use());
  expect_error("no such card", [] { kernels_in_use(at::Device(at::kCUDA, 7)); }, {"cuda:7", "2 cards"});
}

}  // namespace
}  // namespace peft4j::test
