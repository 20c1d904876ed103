// How a device asks its board for a reset or for the power to go off.
#pragma once

#include <functional>

#include "vm/machine.h"

namespace dejavm::devices {

using PowerSink = std::function<void(vm::PowerEvent)>;
/// Receives the bytes that a character device sends.
using ByteSink = std::function<void(uint8_t)>;

}  // namespace dejavm::devices
