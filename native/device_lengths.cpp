#include "device_lengths.h"

#include <ATen/ATen.h>

namespace peft4j {

at::Tensor device_lengths(const at::Tensor& cu, at::Device device) {
  struct Last {
    at::Tensor from, to;
    uint32_t version = 0;
  };
  thread_local Last last[2];  // queries and keys may differ
  thread_local int next = 0;
  for (const Last& l : last) {
    if (l.from.is_same(cu) && l.version == cu._version() && l.to.device() == device) {
      return l.to;
    }
  }
  last[next] = {cu, cu.to(at::kInt).to(device), static_cast<uint32_t>(cu._version())};
  const at::Tensor answer = last[next].to;
  next ^= 1;
  return answer;
}

}  // namespace peft4j
