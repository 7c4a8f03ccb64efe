/* map_tensor: every type and offset, and what it refuses. */
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "check.h"

namespace peft4j::test {
namespace {

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

// Bytes of files that this process has in memory.
int64_t mapped_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) {
      return std::stoll(line.substr(8)) * 1024;
    }
  }
  throw std::runtime_error("/proc/self/status has no RssFile");
}

TEST(aPackedWeightGivesTheFilesPagesBack) {
  constexpr int64_t kSide = 2048, kBytes = kSide * kSide * 4;
  const File file(0);
  std::ofstream(file.path, std::ios::binary) << std::string(kBytes, '=');  // 0.046…
  const at::Tensor t = map_tensor(file.path, 0, {kSide, kSide}, "I32"), values = t.view(at::kFloat);
  const auto product = [](const Weight& weight) {
    return lora_linear(at::ones({3, weight.in()}), weight, at::Tensor(), {}, {}, {}, {}, {}, 0)[0];
  };
  product(Weight({at::ones({kSide, kSide})}));  // the libraries' own pages
  at::ones({kSide}, at::kInt).sum();
  const int64_t before = mapped_bytes(), sum = t.sum().item<int64_t>();
  REQUIRE(mapped_bytes() >= before + kBytes * 3 / 4);
  const Weight weight({values});
  const at::Tensor y = product(weight);
  if (weight.layout() == "packed") {
    REQUIRE(mapped_bytes() <= before + kBytes / 4);
  }
  REQUIRE(t.sum().item<int64_t>() == sum);  // read again from the file
  expect_same_bits("product", product(weight), y);
}

TEST(mapTensorRefuses) {
  const File file(100);
  const std::string& path = file.path;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto refused = [&](const char* what, int64_t offset, std::vector<int64_t> shape, const char* dtype,
                           std::vector<std::string> pieces) {
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
  expect_error("no file", [] { map_tensor("/nonexistent/file", 0, {1}, "F32"); },
               {"map_tensor", "/nonexistent/file", "No such file"});
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

}  // namespace
}  // namespace peft4j::test
