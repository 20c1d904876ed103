#include "support/lab.h"

#include <fstream>
#include <sstream>

namespace dejavm::integration {
namespace {

constexpr int kOffline = 77;  // debian_kernel.sh: apt reaches no mirror
constexpr const char* kCommandLine =
    "console=ttyS0 earlyprintk=ttyS0,115200 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 no_timer_check "
    "reboot=k";

Words lines_of(std::istream& text) {
  Words lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

}  // namespace

bool LabTest::prepare_lab(const std::string& architecture) {
  directory_ = architecture == "amd64" ? DEJAVM_LAB_DIR : DEJAVM_LAB_DIR "/" + architecture;
  Finished lab = run({"flock", DEJAVM_LAB_DIR ".lock", DEJAVM_LAB_SCRIPT, directory_, architecture}, {}, kLabLimit);
  std::istringstream out(lab.out);
  Words paths = lines_of(out);
  if (lab.status == 0 && paths.size() == 2) {
    kernel_ = paths[0];
    initrd_ = paths[1];
    return true;
  }
  why_no_lab_ = lab.err;
  EXPECT_EQ(lab.status, kOffline) << lab.out << lab.err;
  return false;
}

Words LabTest::linux_options() const { return linux_options(kCommandLine); }

Words LabTest::linux_options(const std::string& command_line) const {
  return {"-accel",  "soft",  "-m",      "256M",  "-no-reboot", "-rtc",      "base=2026-01-01",
          "-kernel", kernel_, "-initrd", initrd_, "-append",    command_line};
}

Finished LabTest::record_linux(const std::string& trace, const Words& more) const {
  return run(dejavm({"record", "-o", path(trace)}) + linux_options() + more, {}, kLabLimit);
}

Words LabTest::expected_lines() const {
  std::ifstream file(directory_ + "/expected");
  return lines_of(file);
}

}  // namespace dejavm::integration
