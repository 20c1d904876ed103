// Reads register maps from CMSIS-SVD XML (Arm, "System View Description", schema 1.3).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "vm/register_map.h"

namespace dejavm::registers {

/// The map of one peripheral: the one with this name, else the first one. Read are registers with their arrays (dim) and
/// fields, with sizes and access as they are inherited; clusters count as their registers. The text is untrusted.
Result<vm::RegisterMap> parse_svd(std::string_view text, std::string_view peripheral);

/// "FILE@DEVICE", as --svd has it: a map for that device.
Result<vm::RegisterMap> load_svd(const std::string& file_at_device);

}  // namespace dejavm::registers
