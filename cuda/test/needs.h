#pragma once
/* Cards that a test needs. */
#include <cstdio>

#include "device/card.h"

namespace peft4j::cuda::test {

// Whether this is one of compute capability 9.0; says so where it is not.
inline bool has_sm90a(const char* test) {
  const Card card = current_card();
  if (!card.has_sm90a()) {
    std::printf("       %s is skipped: it needs a card of compute capability 9.0, this one has %d.%d\n", test,
                card.capability / 10, card.capability % 10);
  }
  return card.has_sm90a();
}

}  // namespace peft4j::cuda::test
