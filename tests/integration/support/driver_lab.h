// Tests in which Linux's own drivers work (tests/lab/driver_lab.sh) on soft.
#pragma once

#include <string>

#include "support/lab.h"

namespace dejavm::integration {

/// The kernel of Debian's -amd64 flavour with its modules, and an /init that does jobs.
class DriverLabTest : public GuestTest {
 protected:
  enum class Userland { busybox, debian };

  /// Skips by name where the files are not to be had.
  void SetUp() override;

  /// Options of `dejavm run` and `record` for a guest that does the jobs ("blk,dd") and ends. `more`: words for the kernel's
  /// command line.
  Words driver_options(const std::string& jobs, Userland userland = Userland::busybox, const std::string& more = {}) const;
  /// The same without a word that keeps the kernel from parts of the machine; /init ends by ACPI's power-off.
  Words plain_options(const std::string& jobs, const std::string& more = "end=poweroff") const;

 private:
  Words options(const std::string& command_line, const std::string& initrd) const;

  std::string kernel_, initrd_, dynamic_initrd_;
};

}  // namespace dejavm::integration
