// --svd: the names of devices' registers.
#pragma once

#include "cli/command_line.h"
#include "registers/shipped.h"
#include "registers/svd.h"
#include "vm/register_map.h"

namespace dejavm::cli {

/// Adds maps of the user's to those that dejavm brings along.
inline Option svd_option(vm::RegisterMaps& registers) {
  return {"svd", "FILE@DEVICE", "names of a device's registers, CMSIS-SVD XML",
          [&registers](std::string_view value) -> Status {
            TRY_ASSIGN(vm::RegisterMap map, registers::load_svd(std::string(value)));
            registers.add(std::move(map));
            return {};
          }};
}

}  // namespace dejavm::cli
