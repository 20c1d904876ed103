// The dejavm binary under test, its guests, and what its messages say.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary.h"
#include "support/process.h"

namespace dejavm::integration {

/// Exit statuses of the command line contract.
inline constexpr int kDone = 0, kFailed = 1, kUsage = 2, kDiverged = 3, kDamaged = 4;

/// DEJAVM_REPEAT=full, which ./dev test --full sets, instead of quick (default).
bool is_soak();

/// How often tests repeat.
struct Repeats {
  unsigned seabios;
  unsigned edu;
  unsigned cuts;
};
Repeats repeats();

/// ${DEJAVM_GUEST_DIR}/NAME.bin and NAME.elf.
std::string guest_image(const std::string& name);
std::string guest_symbols(const std::string& name);
inline constexpr const char* kSeabios = "/usr/share/seabios/bios.bin";

bool readable(const std::string& path);
/// True when this user may use /dev/kvm.
bool have_kvm();
/// The engine under test, "kvm" or "soft": DEJAVM_ACCEL says it, CTest runs the tests with both. Without it KVM where there
/// is one.
std::string accel();
bool have_program(const std::string& name);

/// `dejavm ARGUMENTS...` as words. `run` and `record` get the engine under test, unless the arguments name one; what replays
/// takes the engine that recorded, as it does for a user.
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
  ~IntegrationTest() override;

  std::string path(const std::string& name) const { return directory_.file(name); }
  void write_file(const std::string& name, const std::string& contents) const;
  std::string read_text(const std::string& name) const;

 private:
  TemporaryDirectory directory_ = TemporaryDirectory::create("dejavm-test").value();
};

/// A test that runs a guest on the engine under test; skips by name where that is KVM and /dev/kvm is absent.
class GuestTest : public IntegrationTest {
 protected:
  void SetUp() override;

  /// Records a guest of ours to path("NAME.dvt").
  Finished record(const std::string& guest, const Words& more = {}, std::string_view input = {}) const;
  std::string trace_of(const std::string& guest) const { return path(guest + ".dvt"); }
  /// Records a guest that ends by itself; a failure is a failure of the test.
  std::string recorded(const std::string& guest, const Words& more = {}, std::string_view input = {}) const;
  /// Replays and expects no divergence and the RAM of the recording, as its last message says it.
  /// `options` are those of `dejavm replay`.
  void expect_faithful_replay(const std::string& trace, const Finished& recording, const Words& options = {}) const;
};

/// A test about KVM itself; skips by name without it, whatever the engine under test.
class KvmTest : public GuestTest {
 protected:
  void SetUp() override;
};

}  // namespace dejavm::integration
