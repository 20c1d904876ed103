// What an exit costs on KVM through the engine, against a loop that does nothing but KVM_RUN, in turn in one process: a
// guest in real mode that reads a port again and again. Prints medians; exit status 1 above the target, 77 without KVM.
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "engine/kvm/kvm_host.h"
#include "engine/kvm/kvm_vcpu.h"
#include "vm/startup_state.h"

namespace dejavm::kvm {
namespace {

constexpr uint64_t kRamSize = 0x10000, kCode = 0x8000;
constexpr uint8_t kPortLoop[] = {0xec, 0xeb, 0xfd};  // in al, dx; jmp
constexpr double kTarget = 1.05;
constexpr int kExits = 20'000, kRounds = 15;

vm::GuestMemory make_memory() {
  auto memory = vm::GuestMemory::create(kRamSize, 0);
  CHECK(memory.has_value());
  CHECK(memory->set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true}}).has_value());
  CHECK(memory->write({kCode}, kPortLoop, vm::Writer::loader).has_value());
  return std::move(*memory);
}

/// KVM_RUN and the answer, nothing else.
class BareGuest {
 public:
  explicit BareGuest(const KvmSystem& system) : memory_(make_memory()), handles_(std::move(*system.create_vm())) {
    kvm_userspace_memory_region region{};
    region.memory_size = kRamSize;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory_.host(0));
    CHECK(::ioctl(handles_.vm.get(), KVM_SET_USER_MEMORY_REGION, &region) == 0);
    kvm_sregs sregs{};
    CHECK(::ioctl(handles_.vcpu.get(), KVM_GET_SREGS, &sregs) == 0);
    sregs.cs.base = sregs.cs.selector = 0;
    CHECK(::ioctl(handles_.vcpu.get(), KVM_SET_SREGS, &sregs) == 0);
    kvm_regs regs{};
    regs.rip = kCode;
    regs.rflags = 2;
    CHECK(::ioctl(handles_.vcpu.get(), KVM_SET_REGS, &regs) == 0);
  }
  void exit_once() {
    CHECK(::ioctl(handles_.vcpu.get(), KVM_RUN, nullptr) == 0);
    kvm_run& run = handles_.run();
    CHECK(run.exit_reason == KVM_EXIT_IO);
    *(reinterpret_cast<uint8_t*>(&run) + run.io.data_offset) = 0x55;
  }

 private:
  vm::GuestMemory memory_;
  VmHandles handles_;
};

class EngineGuest {
 public:
  explicit EngineGuest(const KvmHost& host) : memory_(make_memory()) {
    auto vcpu = create_vcpu(host, memory_, vm::dejavm64_v1());
    CHECK(vcpu.has_value());
    vcpu_ = std::move(*vcpu);
    CHECK(vcpu_->set_state(vm::real_mode_state(kCode)).has_value());
  }
  void exit_once() {
    auto exit = vcpu_->run(vm::RunMode::free);
    CHECK(exit.has_value() && std::holds_alternative<vm::DeviceAccess>(*exit));
    vcpu_->reply(0x55);
  }

 private:
  vm::GuestMemory memory_;
  std::unique_ptr<vm::Vcpu> vcpu_;
};

template <typename Guest>
double microseconds(Guest& guest, const Clock& clock) {
  uint64_t start = clock.now_ns();
  for (int i = 0; i < kExits; ++i) guest.exit_once();
  return static_cast<double>(clock.now_ns() - start) / 1e3 / kExits;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + kRounds / 2, values.end());
  return values[kRounds / 2];
}

int compare() {
  auto host = KvmHost::open();
  if (!host) {
    fmt::print("skipped: {}\n", host.error().what);
    return 77;
  }
  MonotonicClock clock;
  BareGuest bare((*host)->system());
  EngineGuest engine(**host);
  std::vector<double> bare_us, engine_us, ratios;
  for (int round = 0; round < kRounds; ++round) {
    bare_us.push_back(microseconds(bare, clock));
    engine_us.push_back(microseconds(engine, clock));
    ratios.push_back(engine_us.back() / bare_us.back());
  }
  double ratio = median(ratios);
  fmt::print("{}\nan exit, medians of {}: KVM_RUN alone {:.2f} us, engine {:.2f} us, ratio {:.3f} (target: at most {})\n",
             (*host)->capabilities().description, kRounds, median(bare_us), median(engine_us), ratio, kTarget);
  return ratio <= kTarget ? 0 : 1;
}

}  // namespace
}  // namespace dejavm::kvm

int main() { return dejavm::kvm::compare(); }
