// Replays a trace under the sandbox of `dejavm replay` while the vCPU is kicked: before every delivery of an interrupt,
// where a kick has to be put off with a timer, and before every third run. Exit status: 0 without divergences, 3 with some,
// 1 for a failure; the sandbox kills it with SIGSYS for a system call that it forgot. Prints the kicks, the RAM digest and
// the kernel's word for the sandbox.
#include <fcntl.h>

#include <cstdio>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/sandbox.h"
#include "forwarding_vcpu.h"
#include "replay/replayer.h"
#include "support/replay_engine.h"

namespace dejavm {
namespace {

/// Passes everything on, and kicks.
class KickedVcpu final : public vm::ForwardingVcpu {
 public:
  explicit KickedVcpu(vm::Vcpu& inner) : inner_(inner) {}

  Result<vm::Exit> run(vm::RunMode mode) override {
    TRY_ASSIGN(bool undelivered, inner_.injection_pending());
    ++runs_;
    if (undelivered || runs_ % 3 == 0) kick();
    kicks_before_delivery += undelivered;
    return inner_.run(mode);
  }
  void kick() override {
    ++kicks;
    inner_.kick();
  }
  uint64_t rip() override { return inner_.rip(); }
  uint64_t steps() const override { return inner_.steps(); }
  void set_step_limit(uint64_t limit) override { inner_.set_step_limit(limit); }

  std::atomic<uint64_t> kicks = 0;
  uint64_t kicks_before_delivery = 0;

 private:
  vm::Vcpu& inner() const override { return inner_; }

  vm::Vcpu& inner_;
  uint64_t runs_ = 0;
};

/// The line of /proc/self/status that tells of seccomp; read through a descriptor that was opened before.
std::string seccomp_line(int status_fd) {
  char text[8192] = {};
  static_cast<void>(::pread(status_fd, text, sizeof text - 1, 0));
  std::string_view all = text;
  size_t start = all.find("Seccomp:");
  return start == all.npos ? "" : std::string(all.substr(start, all.find('\n', start) - start));
}

Result<int> replay_file(const char* engine_name, const char* file) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(*reader));
  TRY_ASSIGN(auto engine, integration::ReplayEngine::create(engine_name));
  TRY_ASSIGN(auto inner, engine.create_vcpu(memory, reader->description().cpu_model));
  TRY_ASSIGN(Fd status, open_file("/proc/self/status", O_RDONLY));
  KickedVcpu vcpu(*inner);
  MonotonicClock clock;
  TRY_ASSIGN(auto replayer, replay::Replayer::create(*reader, vcpu, memory, clock, {}));
  TRY(cli::enter_sandbox());
  TRY(replayer->resume(vm::ResumeFor::go));
  TRY_ASSIGN(uint64_t ram, replayer->ram_digest());
  fmt::print("kicks {} before_delivery {} ram {:016x} {}\n", vcpu.kicks.load(), vcpu.kicks_before_delivery, ram,
             seccomp_line(status.get()));
  return replayer->divergence_count() == 0 && replayer->finished() ? 0 : 3;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: kicked_replay kvm|soft TRACE\n");
    return 2;
  }
  auto status = dejavm::replay_file(argv[1], argv[2]);
  if (status) return *status;
  fmt::print(stderr, "kicked_replay: {}\n", status.error().what);
  return 1;
}
