// The dejavm binary under test, its guests, and what its messages say.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "support/process.h"

namespace dejavm::integration {

/// Exit statuses of the command line contract.
inline constexpr int kDone = 0, kFailed = 1, kUsage = 2, kDiverged = 3, kDamaged = 4;

/// How often the soak repeats: DEJAVM_REPEAT=quick (default) or full.
struct Repeats {
  unsigned seabios;
  unsigned edu;
};
Repeats repeats();

/// ${DEJAVM_GUEST_DIR}/NAME.bin and NAME.elf.
std::string guest_image(const std::string& name);
std::string guest_symbols(const std::string& name);
inline constexpr const char* kSeabios = "/usr/share/seabios/bios.bin";

bool readable(const std::string& path);
/// True when this user may use /dev/kvm.
bool have_kvm();
bool have_program(const std::string& name);

/// `dejavm ARGUMENTS...` as words.
Words dejavm(const Words& arguments);
/// The VM options of a guest of ours: 16 MiB, an edu device, the debug exit, end at a reset.
Words guest_options(const std::string& guest);
Words operator+(Words left, const Words& right);

/// The `ram XXXXXXXXXXXXXXXX` of a summary line; empty without one.
std::string ram_of(const std::string& messages);
/// `dejavm dump FILE --json FILTERS`: its events.
nlohmann::json events_of(const std::string& trace, const Words& filters = {});

/// A directory of its own for every test, removed when it passed; the paths of failed tests are printed.
class IntegrationTest : public testing::Test {
 protected:
  IntegrationTest();
  ~IntegrationTest() override;

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write_file(const std::string& name, const std::string& contents) const;
  std::string read_text(const std::string& name) const;

 private:
  std::string directory_;
};

/// A test that needs /dev/kvm; skips by name without it.
class KvmTest : public IntegrationTest {
 protected:
  void SetUp() override;

  /// Records a guest of ours to path("NAME.dvt").
  Finished record(const std::string& guest, const Words& more = {}, std::string_view input = {}) const;
  std::string trace_of(const std::string& guest) const { return path(guest + ".dvt"); }
  /// Records a guest that ends by itself; a failure is a failure of the test.
  std::string recorded(const std::string& guest, const Words& more = {}, std::string_view input = {}) const;
  /// Replays and expects no divergence and the RAM of the recording, as its last message says it.
  void expect_faithful_replay(const std::string& trace, const Finished& recording) const;
};

}  // namespace dejavm::integration
