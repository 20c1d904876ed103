#include "support/dejavm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>

#include "base/check.h"
#include "base/fd.h"

namespace dejavm::integration {

bool is_soak() {
  const char* wanted = std::getenv("DEJAVM_REPEAT");
  return wanted != nullptr && std::string_view(wanted) == "full";
}

Repeats repeats() { return is_soak() ? Repeats{10, 50, 100'000} : Repeats{2, 6, 5'000}; }

std::string guest_image(const std::string& name) { return DEJAVM_GUEST_DIR "/" + name + ".bin"; }
std::string guest_symbols(const std::string& name) { return DEJAVM_GUEST_DIR "/" + name + ".elf"; }

bool readable(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }
bool have_kvm() {
  Fd device(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  return device && ::ioctl(device.get(), KVM_GET_API_VERSION, nullptr) == KVM_API_VERSION;
}

std::string accel() {
  const char* wanted = std::getenv("DEJAVM_ACCEL");
  if (wanted == nullptr) return have_kvm() ? "kvm" : "soft";
  CHECK(wanted == std::string_view("kvm") || wanted == std::string_view("soft"));
  return wanted;
}

bool have_program(const std::string& name) {
  std::istringstream path(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string directory; std::getline(path, directory, ':');) {
    if (::access((directory + "/" + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Words dejavm(const Words& arguments) {
  bool takes_engine = !arguments.empty() && (arguments[0] == "run" || arguments[0] == "record");
  if (!takes_engine || std::ranges::find(arguments, "-accel") != arguments.end()) return Words{DEJAVM_BINARY} + arguments;
  Words words = {DEJAVM_BINARY, arguments[0], "-accel", accel()};
  words.insert(words.end(), arguments.begin() + 1, arguments.end());
  return words;
}

Words guest_options(const std::string& guest) {
  return {"-bios",     guest_image(guest), "-m", "16M", "-device", "edu", "-device", "isa-debug-exit,iobase=0x501",
          "-no-reboot"};
}

std::string ram_of(const std::string& messages) {
  std::smatch match;
  static const std::regex kRam("\\bram ([0-9a-f]{16})\\b");
  return std::regex_search(messages, match, kRam) ? match[1].str() : std::string();
}

nlohmann::json events_of(const std::string& trace, const Words& filters) {
  Finished dump = run(dejavm({"dump", trace, "--json"}) + filters);
  EXPECT_EQ(dump.status, kDone) << dump.err;
  nlohmann::json document = nlohmann::json::parse(dump.out, nullptr, false);
  EXPECT_TRUE(document.is_object()) << "dump --json printed no JSON document";
  return document.is_object() ? document["events"] : nlohmann::json::array();
}

// ---- IntegrationTest

IntegrationTest::~IntegrationTest() {
  if (HasFailure()) {
    std::cerr << "files of this test are kept in " << directory_.path() << "\n";
    directory_.keep();
  }
}

void IntegrationTest::write_file(const std::string& name, const std::string& contents) const {
  std::ofstream(path(name), std::ios::binary) << contents;
}

std::string IntegrationTest::read_text(const std::string& name) const {
  std::ifstream file(path(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// ---- GuestTest and KvmTest

void GuestTest::SetUp() {
  if (accel() == "kvm" && !have_kvm()) GTEST_SKIP() << "/dev/kvm is absent or not permitted";
}

void KvmTest::SetUp() {
  if (!have_kvm()) GTEST_SKIP() << "/dev/kvm is absent or not permitted";
}

Finished GuestTest::record(const std::string& guest, const Words& more, std::string_view input) const {
  return run(dejavm(Words{"record", "-o", trace_of(guest)} + guest_options(guest) + more), input);
}

std::string GuestTest::recorded(const std::string& guest, const Words& more, std::string_view input) const {
  Finished recording = record(guest, more, input);
  EXPECT_EQ(recording.status, kDone) << recording.err;
  return trace_of(guest);
}

void GuestTest::expect_faithful_replay(const std::string& trace, const Finished& recording, const Words& options) const {
  Finished replay = run(dejavm({"replay", trace}) + options);
  EXPECT_EQ(replay.status, kDone) << replay.err;
  EXPECT_NE(replay.err.find(" 0 divergences, "), std::string::npos) << replay.err;
  EXPECT_FALSE(ram_of(recording.err).empty()) << recording.err;
  EXPECT_EQ(ram_of(replay.err), ram_of(recording.err)) << replay.err;
}

}  // namespace dejavm::integration
