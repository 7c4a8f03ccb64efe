#include "relative_bias.h"

#include <ATen/ATen.h>

#include <cmath>

#include "to_device.h"

namespace peft4j {

at::Tensor relative_buckets(int64_t buckets, bool bidirectional, int64_t max_distance) {
  const int64_t each = bidirectional ? buckets / 2 : buckets, exact = each / 2;
  // A bucket for each near distance, then buckets of equal ratios up to max_distance.
  const auto of = [&](int64_t distance) {
    if (distance < exact) {
      return distance;
    }
    const auto log = static_cast<float>(std::log(double{static_cast<float>(distance) / static_cast<float>(exact)}));
    const auto whole = static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
    return std::min(exact + static_cast<int64_t>(log / whole * static_cast<float>(each - exact)), each - 1);
  };
  at::Tensor result = at::empty({2 * max_distance + 1}, at::kInt);
  int32_t* to = result.data_ptr<int32_t>() + max_distance;
  for (int64_t d = 0; d <= max_distance; ++d) {
    to[-d] = static_cast<int32_t>(of(d));
    to[d] = static_cast<int32_t>(d == 0 ? 0 : bidirectional ? each + of(d) : 0);
  }
  return result;
}

at::Tensor relative_buckets_on(at::Device device, int64_t buckets, bool bidirectional, int64_t max_distance) {
  struct Last {
    int64_t buckets = 0, max_distance = 0;
    bool bidirectional = false;
    at::Tensor table;
  };
  thread_local Last last;
  if (last.buckets != buckets || last.max_distance != max_distance || last.bidirectional != bidirectional ||
      last.table.device() != device) {
    last = {buckets, max_distance, bidirectional,
            to_device(relative_buckets(buckets, bidirectional, max_distance), at::kInt, device)};
  }
  return last.table;
}

}  // namespace peft4j
