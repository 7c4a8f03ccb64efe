/* The counting allocator, mapped files, providers, and several threads. */
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
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

// A block of an encoder, all operations of this library.
double step(const Weight& qkv, const Weight& out, const at::Tensor& x, const Tensors& trained, int64_t seed) {
  const std::vector<double> scale = {2, 2}, p = {0.1, 0.1};
  const at::Tensor one = at::ones({32}), zero = at::zeros({32}), cu = at::tensor({0, 5, 5, 12}, at::kLong);
  const Tensors y = lora_linear(x, qkv, at::Tensor(), {trained[0], trained[1]}, {trained[2], trained[3]},
                                {0, 0, 12, 2, 0, 12}, scale, p, seed);
  const auto heads = [](const at::Tensor& t) { return t.unflatten(1, {4, 8}); };
  const at::Tensor a = attention(heads(y[0]), heads(y[1]), heads(y[2]), cu, cu, 7, 7, trained[4], trained[5], at::Tensor(), false,
                                 0.35, 0, 0, at::Tensor(), 0.1, seed);
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
  Weight qkv{{random({32, 32}, 1, 0.2).to(at::kFloat), random({32, 32}, 2, 0.2).to(at::kFloat), random({32, 32}, 3, 0.2).to(at::kFloat)}};
  Weight out{{random({32, 32}, 4, 0.2).to(at::kFloat)}};
  at::Tensor x = random({12, 32}, 5).to(at::kFloat);

  static Tensors trained() {
    Tensors all = {random({4, 32}, 6), random({4, 32}, 7), random({32, 4}, 8), random({32, 4}, 9), random({3, 4, 8}, 10), random({3, 4, 8}, 11)};
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
    const at::Tensor y = lora_linear(model.x.detach().requires_grad_(true), model.out, at::Tensor(), {}, {}, {}, {}, {}, 1)[0];
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

struct File {
  std::string path = std::filesystem::temp_directory_path() / text("peft4j-native-test-", getpid());
  explicit File(size_t bytes) {
    std::ofstream file(path, std::ios::binary);
    for (size_t i = 0; i < bytes; ++i) {
      file.put(static_cast<char>(i * 37 % 251));
    }
  }
  ~File() { std::filesystem::remove(path); }
};

TEST(mapTensorReadsTheFilesBytes) {
  const File file(20000);
  std::ifstream stream(file.path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  const int64_t before = live_bytes();
  for (const char* dtype : {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8"}) {
    for (const int64_t offset : {0, 8, 1, 3, 4096, 4095, 8191}) {
      const at::Tensor t = map_tensor(file.path, offset, {7, 5}, dtype);
      REQUIRE(t.sizes() == at::IntArrayRef({7, 5}));
      REQUIRE(std::memcmp(t.data_ptr(), bytes.data() + offset, t.nbytes()) == 0);
      REQUIRE(reinterpret_cast<uintptr_t>(t.data_ptr()) % t.element_size() == 0);
    }
    const int64_t size = map_tensor(file.path, 0, {1}, dtype).element_size();
    REQUIRE(map_tensor(file.path, 20000 - 5 * size, {5}, dtype).numel() == 5);  // up to the last byte
  }
  REQUIRE(live_bytes() == before);  // aligned ones take no memory
  const at::Tensor flags = map_tensor(file.path, 0, {4}, "BOOL");
  const uint8_t* raw = static_cast<const uint8_t*>(flags.data_ptr());
  REQUIRE(raw[0] == 0 && raw[1] == 1 && raw[2] == 1);  // 37 and 74 in the file are not bools
  REQUIRE(map_tensor(file.path, 20000, {0, 3}, "F32").numel() == 0);
  REQUIRE(map_tensor(file.path, 16, {}, "F32").dim() == 0);
  at::Tensor kept = map_tensor(file.path, 0, {100}, "F32");
  std::filesystem::remove(file.path);  // the mapping stays
  REQUIRE(std::memcmp(kept.data_ptr(), bytes.data(), 400) == 0);
}

TEST(mapTensorRefuses) {
  const File file(100);
  const std::string& path = file.path;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto refused = [&](const char* what, int64_t offset, std::vector<int64_t> shape, const char* dtype, std::vector<std::string> pieces) {
    pieces.push_back("map_tensor");
    expect_error(what, [&] { map_tensor(path, offset, shape, dtype); }, pieces);
  };
  refused("dtype", 0, {1}, "F8", {"dtype", "F8", "BF16"});
  refused("end", 0, {26}, "F32", {path, "100 bytes", "104"});
  refused("offset at the end", 100, {1}, "U8", {path, "100 bytes"});
  refused("offset", 101, {1}, "U8", {path, "[101"});
  refused("no bytes behind the end", 101, {0}, "U8", {path, "[101"});
  refused("negative offset", -4, {1}, "F32", {path, "-4"});
  refused("large offset", kMost, {1}, "F32", {path});
  refused("large offset of none", kMost, {0}, "F32", {path});
  refused("negative size", 0, {-1}, "F32", {"shape", "-1"});
  refused("product overflows", 0, {kMost / 2, 3}, "F32", {"shape", "too large"});
  refused("product overflows before a zero", 0, {kMost, 3, 0}, "F32", {"shape", "too large"});
  expect_error("no file", [] { map_tensor("/nonexistent/file", 0, {1}, "F32"); }, {"map_tensor", "/nonexistent/file", "No such file"});
  expect_error("folder", [] { map_tensor("/tmp", 0, {1}, "F32"); }, {"map_tensor", "/tmp"});
  const int before = open("/dev/null", O_RDONLY);
  close(before);
  for (int i = 0; i < 3; ++i) {
    refused("end", 0, {26}, "F32", {path});
  }
  const int after = open("/dev/null", O_RDONLY);
  close(after);
  REQUIRE(before == after);  // no descriptor is left open
}

TEST(kernelsCanBeForced) {
  const auto line = [](const std::string& operation) {
    const std::string all = "\n" + kernels_in_use();
    const size_t begin = all.find("\n" + operation + "\t") + 1;
    REQUIRE(begin > 0);
    return all.substr(begin, all.find('\n', begin) - begin);
  };
  {
    Kernels k("reference");
    REQUIRE(line("attention") == "attention\treference\tforced by peft4j.kernels");
  }
  REQUIRE(line("attention").starts_with("attention\town\t") && line("attention").find("forced") == std::string::npos);
  {
    Kernels k("gelu=library,attention=reference");
    REQUIRE(line("gelu").starts_with("gelu\tlibrary\tforced") && line("attention").starts_with("attention\treference\tforced"));
    REQUIRE(line("dropout").starts_with("dropout\town\t"));
    const at::Tensor x = random({5}, 1).to(at::kFloat);
    expect_same_bits("gelu", peft4j::gelu(x), at::gelu(x));
  }
  {
    Kernels k("library");  // where there is one
    REQUIRE(line("gelu").starts_with("gelu\tlibrary\tforced") && line("attention").starts_with("attention\town\t"));
  }
  Kernels k("gelu=reference");
  expect_error("provider", [] { set_kernels("gelu=fast"); }, {"own", "library", "reference", "fast"});
  expect_error("operation", [] { set_kernels("gleu=own"); }, {"lora_linear", "gelu", "gleu"});
  expect_error("no library", [] { set_kernels("gelu=own,attention=library"); }, {"attention", "library"});
  REQUIRE(line("gelu").starts_with("gelu\treference"));  // an error changes nothing
}

TEST(infoNamesThings) {
  REQUIRE(build_info().find("g++") != std::string::npos && build_info().find("libtorch 2.") != std::string::npos);
  const std::string capability = cpu_capability();
  REQUIRE(capability == "DEFAULT" || capability == "AVX2" || capability == "AVX512" || capability == "AVX512_BF16");
  REQUIRE(!capability.ends_with("BF16") || cpu_has_bfloat16());
}

}  // namespace
}  // namespace peft4j::test
