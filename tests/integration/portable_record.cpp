// Records a guest of ours on soft as `dejavm record --portable` does, with the CPUID table that this host's KVM shows its
// guests: some KVMs show their own whatever they are told, and a guest that reads it goes another way there than with
// dejavm64-v1. Exit status: 0 done, 1 for a failure. Prints the RAM digest.
#include <cstdio>

#include "base/clock.h"
#include "devices/pc.h"
#include "engine/kvm/kvm_host.h"
#include "engine/kvm/kvm_model.h"
#include "engine/kvm/kvm_vcpu.h"
#include "engine/soft/soft_vcpu.h"
#include "record/live_session.h"

namespace dejavm {
namespace {

trace::Description describe_run(vm::Machine& machine, const vm::CpuModel& model, const vm::CpuState& cpu) {
  trace::Description d;
  d.tool = "portable_record";
  d.engine = "soft";
  d.machine = "pc";
  d.cpu_model = model;
  d.cpu = cpu;
  d.ram_size = machine.memory().ram_size();
  d.rom_size = machine.memory().rom_size();
  d.memory = machine.memory().map();
  d.devices = machine.bus().regions();
  d.replayable_on = {"kvm", "soft"};
  return d;
}

Result<int> record_guest(const char* image, const char* file) {
  TRY_ASSIGN(auto host, kvm::KvmHost::open());
  TRY_ASSIGN(vm::CpuModel model, kvm::effective_model(host->system(), vm::dejavm64_v1()));
  record::VirtualTime time(record::VirtualTime::kNsPerPortableStep);
  devices::PcConfig config;
  config.ram_size = uint64_t{16} << 20;
  TRY_ASSIGN(config.bios, read_file(image, uint64_t{16} << 20));
  config.devices = {{"edu", {}}, {"isa-debug-exit", {{"iobase", "0x501"}}}};
  TRY_ASSIGN(auto machine, devices::Pc::create(std::move(config), time));
  TRY_ASSIGN(auto vcpu, soft::create_vcpu(machine->memory(), model));
  time.follow(*vcpu);
  TRY_ASSIGN(vm::CpuState cpu, vcpu->state());
  TRY_ASSIGN(auto writer, trace::Writer::create(file, describe_run(*machine, model, cpu), machine->memory()));
  record::LiveOptions options;
  options.reboot = false;
  options.virtual_time = &time;
  options.portable = true;
  options.max_ns = 60'000'000'000;
  MonotonicClock clock;
  TRY_ASSIGN(auto session, record::LiveSession::create(*machine, *vcpu, model, clock, writer.get(), options));
  TRY_ASSIGN(vm::SessionStop stop, session->resume(vm::ResumeFor::go));
  TRY_ASSIGN(trace::End end, session->finish(stop.reason));
  fmt::print("{}; {} events, ram {:016x}\n", stop.reason, end.events, end.ram_digest);
  return 0;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: portable_record FIRMWARE TRACE\n");
    return 2;
  }
  auto status = dejavm::record_guest(argv[1], argv[2]);
  if (status) return *status;
  fmt::print(stderr, "portable_record: {}\n", status.error().what);
  return 1;
}
