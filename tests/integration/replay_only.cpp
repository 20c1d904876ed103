// Replays a trace with the libraries that a replay needs and no other. Exit status: 0 without divergences, 3 with some, 1
// for a failure. Prints the RAM digest.
#include <cstdio>

#include "base/clock.h"
#include "replay/replayer.h"
#include "support/replay_engine.h"

namespace dejavm {
namespace {

Result<int> replay_file(const char* engine_name, const char* file) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(*reader));
  TRY_ASSIGN(auto engine, integration::ReplayEngine::create(engine_name));
  TRY_ASSIGN(auto vcpu, engine.create_vcpu(memory, reader->description().cpu_model));
  MonotonicClock clock;
  TRY_ASSIGN(auto replayer, replay::Replayer::create(*reader, *vcpu, memory, clock, {}));
  TRY(replayer->resume(vm::ResumeFor::go));
  TRY_ASSIGN(uint64_t ram, replayer->ram_digest());
  fmt::print("replayed {} of {} events, ram {:016x}\n", replayer->last_event() + 1, reader->event_count(), ram);
  return replayer->divergence_count() == 0 && replayer->finished() ? 0 : 3;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: replay_only kvm|soft TRACE\n");
    return 2;
  }
  auto status = dejavm::replay_file(argv[1], argv[2]);
  if (status) return *status;
  fmt::print(stderr, "replay_only: {}\n", status.error().what);
  return 1;
}
