// Who may use /dev/kvm: nobody without it, and users who are not root with it. The real device node is never touched: each
// test has a mount namespace of its own.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

constexpr int kCannotMount = 77;

class KvmAccessTest : public KvmTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mount namespaces and other users need root";
    if (!have_program("unshare") || !have_program("setpriv")) GTEST_SKIP() << "unshare or setpriv (util-linux) is absent";
    KvmTest::SetUp();
    namespace fs = std::filesystem;
    fs::permissions(path(""), fs::perms::all);
    // Other users may not be able to look into the build directory.
    fs::copy_file(DEJAVM_BINARY, path("dejavm"));
    fs::copy_file(guest_image("edu_irq_dma_short"), path("guest.bin"));
    fs::permissions(path("dejavm"), fs::perms::all);
    fs::permissions(path("guest.bin"), fs::perms::all);
  }

  /// Runs dejavm where `prepare` (shell commands, $work is the test's directory) made another /dev/kvm.
  Finished run_with(const std::string& prepare, const Words& as_user, const Words& arguments) const {
    std::string script = "work=$1; shift; { " + prepare + "; } || exit 77; exec \"$@\"";
    return run(Words{"unshare", "-m", "sh", "-c", script, "sh", path("")} + as_user + Words{path("dejavm")} + arguments);
  }

  Words record_arguments(const std::string& accel) const {
    return {"record",
            "-accel",
            accel,
            "-o",
            path("user.dvt"),
            "-bios",
            path("guest.bin"),
            "-m",
            "16M",
            "-device",
            "edu",
            "-device",
            "isa-debug-exit,iobase=0x501"};
  }

  static Words nobody() { return {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}; }
};

TEST_F(KvmAccessTest, NoDeviceIsAClearError) {
  Finished finished = run_with("mkdir $work/dev && mount -t tmpfs none /dev", {}, record_arguments("kvm"));
  if (finished.status == kCannotMount) GTEST_SKIP() << "mount is not permitted: " << finished.err;

  EXPECT_EQ(finished.status, kFailed) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("/dev/kvm"));
  EXPECT_THAT(finished.err, HasSubstr("No such file or directory"));
}

TEST_F(KvmAccessTest, TheSoftEngineTakesOverWhereItIsNotForbidden) {
  for (const char* prepare : {"mkdir $work/dev && mount -t tmpfs none /dev", "mount --bind /dev/null /dev/kvm"}) {
    SCOPED_TRACE(prepare);
    Finished recording = run_with(prepare, {}, record_arguments("auto"));
    if (recording.status == kCannotMount) GTEST_SKIP() << "mount is not permitted: " << recording.err;
    Finished replay = run_with("true", {}, {"replay", path("user.dvt")});
    std::filesystem::remove_all(path("dev"));

    EXPECT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.err, HasSubstr("engine: soft (a CPU in software); no KVM: "));
    EXPECT_EQ(replay.status, kDone) << replay.err;
    EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));
    EXPECT_EQ(ram_of(replay.err), ram_of(recording.err));
  }
}

TEST_F(KvmAccessTest, AFileThatIsNotKvmIsAClearError) {
  Finished finished = run_with("mount --bind /dev/null /dev/kvm", {}, record_arguments("kvm"));
  if (finished.status == kCannotMount) GTEST_SKIP() << "mount is not permitted: " << finished.err;

  EXPECT_EQ(finished.status, kFailed) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("/dev/kvm"));
}

TEST_F(KvmAccessTest, NoPermissionIsAClearErrorThatSaysWhatToDo) {
  Finished finished =
      run_with("mount -t tmpfs none /mnt && mknod -m 600 /mnt/kvm c 10 232 && mount --bind /mnt/kvm /dev/kvm", nobody(),
               record_arguments("kvm"));
  if (finished.status == kCannotMount) GTEST_SKIP() << "mount or mknod is not permitted: " << finished.err;

  EXPECT_EQ(finished.status, kFailed) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("/dev/kvm: Permission denied"));
  EXPECT_THAT(finished.err, HasSubstr("group"));
}

TEST_F(KvmAccessTest, AUserWhoMayOpenKvmRecordsAndReplays) {
  const std::string open_to_all =
      "mount -t tmpfs none /mnt && mknod -m 666 /mnt/kvm c 10 232 && mount --bind /mnt/kvm /dev/kvm";
  Finished recording = run_with(open_to_all, nobody(), record_arguments("kvm"));
  if (recording.status == kCannotMount) GTEST_SKIP() << "mount or mknod is not permitted: " << recording.err;
  Finished replay = run_with(open_to_all, nobody(), {"replay", path("user.dvt")});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("edu_irq_dma: data "));
  EXPECT_EQ(replay.status, kDone) << replay.err;
  EXPECT_EQ(ram_of(replay.err), ram_of(recording.err));
}

}  // namespace
}  // namespace dejavm::integration
