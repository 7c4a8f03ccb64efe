/* Which implementation runs, and what the library says about itself. */
#include "check.h"

namespace peft4j::test {
namespace {

TEST(kernelsCanBeForced) {
  const auto line = [](const std::string& operation) {
    const std::string all = text("\n", kernels_in_use());
    const size_t begin = all.find(text("\n", operation, "\t")) + 1;
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
    REQUIRE(line("gelu").starts_with("gelu\tlibrary\tforced") &&
            line("attention").starts_with("attention\treference\tforced"));
    REQUIRE(line("dropout").starts_with("dropout\town\t"));
    const at::Tensor x = random({5}, 1).to(at::kFloat);
    expect_same_bits("gelu", peft4j::gelu(x), at::gelu(x));
  }
  {
    Kernels k("library");  // where there is one
    REQUIRE(line("gelu").starts_with("gelu\tlibrary\tforced") && line("dropout").starts_with("dropout\town\t"));
  }
  Kernels k("gelu=reference");
  expect_error("provider", [] { set_kernels("gelu=fast"); }, {"own", "library", "reference", "fast"});
  expect_error("operation", [] { set_kernels("gleu=own"); }, {"lora_linear", "gelu", "gleu"});
  expect_error("no library", [] { set_kernels("gelu=own,layer_norm=library"); }, {"layer_norm", "library"});
  REQUIRE(line("gelu").starts_with("gelu\treference"));  // an error changes nothing
}

TEST(cudaLibraryIsFoundOrSaysWhyNot) {
  REQUIRE(cuda_kernels_in_use().find("attention\tlibrary\t") != std::string::npos);
  expect_error("no file", [] { load_cuda("/nowhere/libpeft4j_cuda.so"); }, {"load_cuda", "/nowhere/libpeft4j_cuda.so"});
  expect_error("another library", [] { load_cuda("libc.so.6"); }, {"libc.so.6", "peft4j_cuda_", "other sources"});
}

std::vector<std::string> logged;

TEST(deviceTensorsWithoutOurKernelsAreServedAndSaySoOnce) {
  struct Logging {
    Logging() {
      set_logger([](const char* line) { logged.emplace_back(line); });
    }
    ~Logging() { set_logger(nullptr); }
  } logging;
  load_cuda("");
  const at::Tensor x = at::empty({3, 4}, at::TensorOptions(at::kMeta).dtype(at::kFloat));  // of a device that is no CPU
  logged.clear();
  REQUIRE(peft4j::gelu(x).sizes() == x.sizes() && peft4j::gelu(x).sizes() == x.sizes());
  REQUIRE(logged.size() == 1);
  for (const char* piece : {"libpeft4j_cuda.so", "build-scripts/build-cuda.sh", "linux-x86_64-gpu", "libtorch"}) {
    REQUIRE(logged[0].find(piece) != std::string::npos);
  }
}

TEST(cudaKernelsCanBeForced) {
  const auto line = [] { return cuda_kernels_in_use().substr(0, cuda_kernels_in_use().find('\n')); };
  CudaOnTheHost library;
  REQUIRE(line().starts_with("lora_linear\tlibrary\t"));
  Kernels k("lora_linear=own");
  REQUIRE(line() == "lora_linear\town\tforced by peft4j.kernels");
}

TEST(wgmmaIsOffUntilItIsForced) {
  const auto says = [](const std::string& what) { return cuda_kernels_in_use().find(what) != std::string::npos; };
  for (const std::string name : {"dual_gemm", "attention_forward", "attention_backward"}) {
    const std::string line = "\n" + name + "\t";
    REQUIRE(says(line + "sm_80\t") && says("no card has run"));
    {
      Kernels k(("own," + name + "=sm_90a").c_str());
      REQUIRE(says(line + "sm_90a\t") && says("lora_linear\t"));
      expect_error("form", [&] { set_kernels(name + "=own"); }, {name, "sm_80", "sm_90a", "own"});
      REQUIRE(says(line + "sm_90a\t"));  // an error changes nothing
    }
    REQUIRE(says(line + "sm_80\t"));
  }
}

TEST(dropoutMaskIsTheSameOnADevice) {
  const at::Tensor on_cpu = peft4j::dropout(at::ones({70, 100}, at::kDouble), 0.3, 0x123456789abcdef);
  CudaOnTheHost library;
  expect_same_bits("mask", peft4j::dropout(at::ones({70, 100}, at::kDouble), 0.3, 0x123456789abcdef), on_cpu);
}

TEST(infoNamesThings) {
  REQUIRE(build_info().find("g++") != std::string::npos && build_info().find("libtorch 2.") != std::string::npos);
  const std::string capability = cpu_capability();
  REQUIRE(capability == "DEFAULT" || capability == "AVX2" || capability == "AVX512" || capability == "AVX512_BF16");
  REQUIRE(!capability.ends_with("BF16") || cpu_has_bfloat16());
}

}  // namespace
}  // namespace peft4j::test
