// A fresh folder that is removed at the end.
#pragma once

#include "base/temporary.h"

namespace dejavm {

struct TempFolder : TemporaryDirectory {
  TempFolder() : TemporaryDirectory(create("dejavm-unit").value()) {}
};

}  // namespace dejavm
