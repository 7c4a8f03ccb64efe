/* The counting allocator, steps that leave nothing behind, and several threads. */
#include <dlfcn.h>
#include <thread>

#include "check.h"

namespace peft4j::test {
namespace {

TEST(liveBytesCountTensors) {
  const int64_t before = live_bytes();
  {
    const at::Tensor t = at::empty({1000}, at::kFloat);
    REQUIRE(live_bytes() == before + 4000);
    REQUIRE(reinterpret_cast<uintptr_t>(t.data_ptr()) % 64 == 0);
    reset_peak_bytes();
    REQUIRE(peak_bytes() == before + 4000);
    at::empty({250000}, at::kFloat);
    REQUIRE(peak_bytes() == before + 1004000 && live_bytes() == before + 4000);
  }
  REQUIRE(live_bytes() == before);
  at::empty({0});
  REQUIRE(live_bytes() == before);
  expect_error("too much", [] { at::empty({int64_t{1} << 50}, at::kByte); }, {"out of memory", "1125899906842624"});
}

TEST(freedMemoryIsKeptForTheNextTensors) {
  if (dlsym(RTLD_DEFAULT, "__asan_init") != nullptr) {
    return;  // with the address sanitizer nothing is kept
  }
  constexpr int64_t kMany = int64_t{300} << 20, kHeader = 64, kSize = (int64_t{4} << 20) - kHeader;
  free_kept_blocks();
  REQUIRE(kept_bytes() == 0);
  const auto taken = [&](int64_t bytes) {
    Tensors all;
    for (int64_t sum = 0; sum < kMany; sum += bytes) {
      all.push_back(at::empty({bytes}, at::kByte));
    }
    return all;
  };
  Tensors first = taken(kSize);
  REQUIRE(kept_bytes() == 0);
  first.clear();
  const int64_t kept = kept_bytes();
  REQUIRE(kept >= kMany && kept < kMany + kMany / 4);
  Tensors again = taken(kSize - (kSize + kHeader) / 8);  // a little smaller: the same blocks
  REQUIRE(kept_bytes() == 0);
  again.clear();
  REQUIRE(kept_bytes() >= kept);
  Tensors others = taken(kSize * 8);  // none fits, and what is kept makes room
  REQUIRE(kept_bytes() < kMany / 2);
  others.clear();
  free_kept_blocks();
  REQUIRE(kept_bytes() == 0);
}

// A block of an encoder, all operations of this library.
double step(const Weight& qkv, const Weight& out, const at::Tensor& x, const Tensors& trained, int64_t seed) {
  const std::vector<double> scale = {2, 2}, p = {0.1, 0.1};
  const at::Tensor one = at::ones({32}), zero = at::zeros({32}), cu = at::tensor({0, 5, 5, 12}, at::kLong);
  const Tensors y = lora_linear(x, qkv, at::Tensor(), {trained[0], trained[1]}, {trained[2], trained[3]},
                                {0, 0, 12, 2, 0, 12}, scale, p, seed);
  const auto heads = [](const at::Tensor& t) { return t.unflatten(1, {4, 8}); };
  const at::Tensor a = attention(heads(y[0]), heads(y[1]), heads(y[2]), cu, cu, 7, 7, trained[4], trained[5],
                                 at::Tensor(), false, 0.35, 0, 0, at::Tensor(), false, 0, 0.1, seed);
  const at::Tensor o = lora_linear(a.flatten(1), out, zero, {}, {}, {}, {}, {}, seed)[0];
  const at::Tensor z = peft4j::dropout(peft4j::gelu(layer_norm(o, x, one, zero, 1e-5, 0.1, seed)), 0.1, seed);
  const at::Tensor loss = (z * z).mean();
  for (const at::Tensor& t : trained) {
    t.mutable_grad() = at::Tensor();
  }
  loss.backward();
  double sum = loss.item<double>();
  for (const at::Tensor& t : trained) {
    sum += t.grad().abs().sum().item<double>();
  }
  return sum;
}

struct Model {
  Weight qkv{{random({32, 32}, 1, 0.2).to(at::kFloat), random({32, 32}, 2, 0.2).to(at::kFloat),
              random({32, 32}, 3, 0.2).to(at::kFloat)}};
  Weight out{{random({32, 32}, 4, 0.2).to(at::kFloat)}};
  at::Tensor x = random({12, 32}, 5).to(at::kFloat);

  static Tensors trained() {
    Tensors all = {random({4, 32}, 6), random({4, 32}, 7),    random({32, 4}, 8),
                   random({32, 4}, 9), random({3, 4, 8}, 10), random({3, 4, 8}, 11)};
    for (at::Tensor& t : all) {
      t = t.to(at::kFloat).requires_grad_(true);
    }
    return all;
  }
};

TEST(stepsLeaveNoBytes) {
  const Model model;
  const Tensors trained = Model::trained();
  for (int i = 0; i < 5; ++i) {
    step(model.qkv, model.out, model.x, trained, i);
  }
  const int64_t before = live_bytes();
  for (int i = 0; i < 50; ++i) {
    step(model.qkv, model.out, model.x, trained, i);
    REQUIRE(live_bytes() == before);
  }
  for (int i = 0; i < 5; ++i) {  // forward without backward, and errors
    const at::Tensor y =
        lora_linear(model.x.detach().requires_grad_(true), model.out, at::Tensor(), {}, {}, {}, {}, {}, 1)[0];
    expect_error("rows", [&] { lora_linear(model.x[0], model.out, at::Tensor(), {}, {}, {}, {}, {}, 1); }, {"x"});
  }
  REQUIRE(live_bytes() == before);
}

// Threads share the frozen weights (packed at the first product, by whichever comes first) and x, and train their own
// adapters. This is what the build with the thread sanitizer runs.
TEST(threadsShareFrozenWeights) {
  const Model alone;
  const double expected = step(alone.qkv, alone.out, alone.x, Model::trained(), 3);
  const Model model;
  std::vector<std::thread> threads;
  std::vector<double> found(4);
  for (size_t i = 0; i < found.size(); ++i) {
    threads.emplace_back([&, i] {
      const Tensors trained = Model::trained();
      for (int j = 0; j < 10; ++j) {
        found[i] = step(model.qkv, model.out, model.x, trained, 3);
        live_bytes();
        peak_bytes();
        model.qkv.layout();
        kernels_in_use();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const double sum : found) {
    REQUIRE(sum == expected);
  }
}

}  // namespace
}  // namespace peft4j::test
