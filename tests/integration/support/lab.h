// Tests that boot Debian's kernel (tests/lab/debian_kernel.sh) on soft.
#pragma once

#include <string>

#include "support/dejavm.h"

namespace dejavm::integration {

/// Linux in software, and what is done with the recordings, may take long on a busy or a small host.
inline constexpr std::chrono::seconds kLabLimit{1500};

class LabTest : public GuestTest {
 protected:
  /// Fetches kernel and RAM disk to the build directory, once. `architecture`: amd64 or i386. False where that is not
  /// possible; why_no_lab() says why.
  bool prepare_lab(const std::string& architecture = "amd64");
  const std::string& why_no_lab() const { return why_no_lab_; }

  /// Options of `dejavm run` and `record`: the kernel with the whole PC's drivers kept quiet, 256 MiB, and a clock that
  /// starts at the same time in every run.
  Words linux_options() const;
  /// The same with a command line of the test's choice.
  Words linux_options(const std::string& command_line) const;
  Finished record_linux(const std::string& trace, const Words& more = {}) const;

  const std::string& kernel() const { return kernel_; }
  /// What the guest's /init prints, a line each.
  Words expected_lines() const;

 private:
  std::string directory_, kernel_, initrd_, why_no_lab_;
};

}  // namespace dejavm::integration
