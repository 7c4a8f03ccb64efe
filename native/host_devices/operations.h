#pragma once
/* libtorch's operations on tensors of a card; loading this library registers them. */

namespace peft4j::host_devices {

// While it lives, this thread is inside of an operation of the card: what it does makes nobody wait.
class OnTheCard {
 public:
  OnTheCard();
  ~OnTheCard();
  OnTheCard(const OnTheCard&) = delete;
  OnTheCard& operator=(const OnTheCard&) = delete;
};

void forget_waits();

}  // namespace peft4j::host_devices
