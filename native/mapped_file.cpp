/* map_tensor: a tensor over the bytes of a mapped file. Java 17 can neither map over 2 GB at once nor unmap. */
#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>

#include "mapped_file.h"
#include "peft4j.h"

namespace peft4j {
namespace {

at::ScalarType parse_dtype(const std::string& name) {
  static const std::map<std::string, at::ScalarType> kTypes = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};
  const auto found = kTypes.find(name);
  TORCH_CHECK(found != kTypes.end(),
              "map_tensor: dtype must be one of [F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL], got '", name, "'");
  return found->second;
}

struct Mappings {
  std::mutex mutex;
  std::map<const char*, size_t> length;  // of each, by where it begins
};

// Never destroyed: tensors may be freed while the process ends.
Mappings& mappings() {
  static Mappings* instance = new Mappings;
  return *instance;
}

void add_mapping(void* base, size_t length) {
  std::lock_guard<std::mutex> lock(mappings().mutex);
  mappings().length[static_cast<const char*>(base)] = length;
}

void remove_mapping(void* base, size_t length) {
  std::lock_guard<std::mutex> lock(mappings().mutex);
  mappings().length.erase(static_cast<const char*>(base));
  munmap(base, length);
}

}  // namespace

void forget_pages(const at::Tensor& t) {
  const char* data = static_cast<const char*>(t.const_data_ptr());
  std::lock_guard<std::mutex> lock(mappings().mutex);
  const auto& all = mappings().length;
  auto mapping = all.upper_bound(data);
  if (mapping == all.begin()) {
    return;
  }
  --mapping;
  if (data < mapping->first + mapping->second) {
    // Read-only and private: what is forgotten is what the file has.
    madvise(const_cast<char*>(mapping->first), mapping->second, MADV_DONTNEED);
  }
}

at::Tensor map_tensor(const std::string& file, int64_t offset, at::IntArrayRef shape, const std::string& dtype) {
  const at::ScalarType type = parse_dtype(dtype);
  if (type == at::kBool) {
    return map_tensor(file, offset, shape, "U8").ne(0);  // a bool that is neither 0 nor 1 is undefined behaviour
  }
  int64_t bytes = static_cast<int64_t>(c10::elementSize(type));
  for (const int64_t size : shape) {
    TORCH_CHECK(size >= 0 && !__builtin_mul_overflow(bytes, size, &bytes), "map_tensor: shape ", shape,
                " is too large or negative");
  }
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  TORCH_CHECK(descriptor >= 0, "map_tensor: cannot open ", file, ": ", std::strerror(errno));
  struct stat status{};
  const bool known = fstat(descriptor, &status) == 0;
  const bool inside = known && offset >= 0 && offset <= status.st_size && bytes <= status.st_size - offset;
  const int64_t skipped = inside ? offset % sysconf(_SC_PAGESIZE) : 0, length = bytes + skipped;
  void* base =
      inside && bytes > 0 ? mmap(nullptr, length, PROT_READ, MAP_PRIVATE, descriptor, offset - skipped) : MAP_FAILED;
  const int error = errno;
  close(descriptor);
  TORCH_CHECK(inside, "map_tensor: bytes [", offset, ", ", offset, " + ", bytes, ") are not inside ", file, " of ",
              static_cast<int64_t>(status.st_size), " bytes");
  if (bytes == 0) {
    return at::empty(shape, type);
  }
  TORCH_CHECK(base != MAP_FAILED, "map_tensor: cannot map ", bytes, " bytes of ", file, ": ", std::strerror(error));
  void* data = static_cast<char*>(base) + skipped;
  add_mapping(base, length);
  const at::Tensor view = at::from_blob(
      data, shape, [base, length](void*) { remove_mapping(base, length); }, at::TensorOptions().dtype(type));
  const bool aligned = reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0;
  return aligned ? view : view.clone();
}

std::string build_info() {
  std::ostringstream text;
  text << "g++ " << __VERSION__ << ", libtorch " << TORCH_VERSION << "; " << at::get_mkldnn_version();
  return text.str();
}

}  // namespace peft4j
