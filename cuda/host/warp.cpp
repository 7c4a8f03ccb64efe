/* Shuffles and votes. */
#include "executor.h"

namespace peft4j::host {

uint64_t shuffle_bits(const char* name, uint32_t mask, uint64_t value, int source, Site site) {
  struct Request {
    uint64_t value;
    int source;
  };
  const Request in{value, source};
  uint64_t out = 0;
  warp_collective(
      name, mask, &in, &out,
      [](Lanes& lanes) {
        for (int i = 0; i < 32; ++i) {
          if (lanes.in[i] == nullptr) {
            continue;
          }
          const auto* own = static_cast<const Request*>(lanes.in[i]);
          const auto* from = own->source < 0 ? own : static_cast<const Request*>(lanes.in[own->source]);
          if (from == nullptr) {
            fail("lane " + std::to_string(i) + " reads lane " + std::to_string(own->source) +
                     ", which is not in the mask of the shuffle",
                 where(lanes.site));
          }
          *static_cast<uint64_t*>(lanes.out[i]) = from->value;
        }
      },
      false, site);
  return out;
}

uint32_t vote(const char* name, uint32_t mask, bool predicate, Site site) {
  uint32_t out = 0;
  warp_collective(
      name, mask, &predicate, &out,
      [](Lanes& lanes) {
        uint32_t ballot = 0;
        for (int i = 0; i < 32; ++i) {
          ballot |= lanes.in[i] != nullptr && *static_cast<const bool*>(lanes.in[i]) ? 1u << i : 0u;
        }
        for (void* to : lanes.out) {
          if (to != nullptr) {
            *static_cast<uint32_t*>(to) = ballot;
          }
        }
      },
      false, site);
  return out;
}

}  // namespace peft4j::host
