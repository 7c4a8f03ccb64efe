#pragma once
/* What libtorch asks about devices: which is current, streams, and whether there are any. */
#include <c10/core/Device.h>

namespace peft4j::host_devices {

at::DeviceIndex current_card();  // of this thread

}  // namespace peft4j::host_devices
