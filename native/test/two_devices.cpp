#include "two_devices.h"

#include <dlfcn.h>

#include <sstream>

#include "../cuda_library.h"
#include "check.h"
#include "host_devices/host_devices.h"

namespace peft4j::test {
namespace {

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    all.push_back(line);
  }
  return all;
}

std::string library() {
  Dl_info self;
  REQUIRE(dladdr(reinterpret_cast<void*>(&host_devices::plug_in), &self) != 0);
  return self.dli_fname;
}

}  // namespace

RecordedCalls::RecordedCalls(at::Device device) {
  load_cuda(library());
  host_devices::reset_cards();
  host_devices::record_calls_for(device.index());
}

RecordedCalls::~RecordedCalls() {
  host_devices::reset_cards();
  load_cuda("");
  host_devices::unplug();
}

std::vector<std::string> RecordedCalls::wrong() const {
  return lines(host_devices::wrong());
}

std::vector<std::string> RecordedCalls::never_called() const {
  std::vector<std::string> names;
  for (const std::string& line : lines(host_devices::launches())) {
    if (line.ends_with("\t0")) {
      names.push_back(line.substr(0, line.find('\t')));
    }
  }
  return names;
}

void RecordedCalls::call_directly(void* stream) {
  reinterpret_cast<decltype(&peft4j_cuda_gelu_forward)>(host_devices::peft4j_cuda_find("peft4j_cuda_gelu_forward"))(
      0, 0, nullptr, nullptr, stream);
}

}  // namespace peft4j::test
