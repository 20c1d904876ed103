#include "support/driver_lab.h"

#include <sstream>

namespace dejavm::integration {

void DriverLabTest::SetUp() {
  constexpr int kOffline = 77;  // driver_lab.sh: apt reaches no mirror
  GuestTest::SetUp();
  if (IsSkipped()) return;
  Finished lab =
      run({"flock", DEJAVM_DRIVER_LAB_DIR ".lock", DEJAVM_DRIVER_LAB_SCRIPT, DEJAVM_DRIVER_LAB_DIR}, {}, kLabLimit);
  if (lab.status == kOffline) GTEST_SKIP() << lab.err;
  ASSERT_EQ(lab.status, 0) << lab.out << lab.err;
  std::istringstream paths(lab.out);
  std::getline(paths, kernel_);
  std::getline(paths, initrd_);
  std::getline(paths, dynamic_initrd_);
}

Words DriverLabTest::driver_options(const std::string& jobs, Userland userland, const std::string& more) const {
  std::string command_line =
      "console=ttyS0 acpi=off noapic nolapic nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init job=" +
      jobs;
  if (!more.empty()) command_line += " " + more;
  return options(command_line, userland == Userland::busybox ? initrd_ : dynamic_initrd_);
}

Words DriverLabTest::plain_options(const std::string& jobs, const std::string& more) const {
  return options("console=ttyS0 panic=-1 rdinit=/init job=" + jobs + " " + more, initrd_);
}

Words DriverLabTest::options(const std::string& command_line, const std::string& initrd) const {
  return {"-accel",  "soft",  "-m",      "256M", "-no-reboot", "-rtc",      "base=2026-01-01",
          "-kernel", kernel_, "-initrd", initrd, "-append",    command_line};
}

}  // namespace dejavm::integration
