// How fast the soft engine runs one loop of ordinary instructions in 64-bit code: interpreted, translated, step by step, and
// with a device access in each iteration. Items are steps, but for the device's, where they are accesses.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>

#include "base/check.h"
#include "engine/soft/soft_vcpu.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kRamSize = 0x200000, kTables = 0x1000, kCode = 0x8000, kData = 0x20000;
constexpr uint64_t kStepsAtOnce = 1000000;

constexpr uint8_t kLoop[] = {
    0x48, 0x8b, 0x03,           // mov rax, [rbx]
    0x48, 0x01, 0xc8,           // add rax, rcx
    0x48, 0x89, 0x43, 0x08,     // mov [rbx+8], rax
    0x48, 0x8d, 0x14, 0x88,     // lea rdx, [rax+rcx*4]
    0x48, 0x39, 0xd1,           // cmp rcx, rdx
    0x74, 0x03,                 // je past the next one
    0x48, 0xff, 0xc6,           // inc rsi
    0x50,                       // push rax
    0x5f,                       // pop rdi
    0xe8, 4,    0,    0,    0,  // call
    0xff, 0xc1,                 // inc ecx
    0xeb, 0xdf,                 // jmp to the first
    0x0f, 0xb6, 0xc0,           // movzx eax, al
    0xc3,                       // ret
};
constexpr uint8_t kPortLoop[] = {0xec, 0xeb, 0xfd};  // in al, dx; jmp

/// A guest in long mode whose code is at kCode, first 2 MiB identity-mapped.
class Guest {
 public:
  Guest(ByteSpan code, Execution execution) : memory_(std::move(*vm::GuestMemory::create(kRamSize, 0))) {
    CHECK(memory_.set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true}}).has_value());
    put(kTables, (kTables + 0x1000) | 0x27);
    put(kTables + 0x1000, (kTables + 0x2000) | 0x27);
    put(kTables + 0x2000, 0xe7);
    CHECK(memory_.write({kCode}, code, vm::Writer::loader).has_value());
    auto made = create_vcpu(memory_, vm::dejavm64_v1(), execution);
    CHECK(made.has_value());
    vcpu_ = std::move(*made);
    CHECK(vcpu_->set_state(start()).has_value());
  }

  vm::Vcpu& vcpu() { return *vcpu_; }
  vm::Exit run(vm::RunMode mode) {
    auto exit = vcpu_->run(mode);
    CHECK(exit.has_value());
    return *exit;
  }

 private:
  void put(uint64_t gpa, uint64_t value) {
    CHECK(memory_.write({gpa}, {reinterpret_cast<const uint8_t*>(&value), sizeof value}, vm::Writer::loader).has_value());
  }
  static vm::CpuState start() {
    vm::CpuState state = vm::reset_state();
    state.segment.fill({.limit = 0xffffffff, .selector = 0x10, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1});
    state.segment[vm::cs] = {.limit = 0xffffffff, .selector = 8, .type = 11, .s = 1, .present = 1, .l = 1, .g = 1};
    state.cr0 = 0x80000031;
    state.cr3 = kTables;
    state.cr4 = 0x620;
    state.efer = 0x501;
    state.rip = kCode;
    state.gpr[vm::rsp] = kData + 0x1000;
    state.gpr[vm::rbx] = kData;
    return state;
  }

  vm::GuestMemory memory_;
  std::unique_ptr<vm::Vcpu> vcpu_;
};

void free_run(benchmark::State& state, Execution execution) {
  Guest guest(kLoop, execution);
  for (auto _ : state) {
    guest.vcpu().set_step_limit(guest.vcpu().steps() + kStepsAtOnce);
    CHECK(std::holds_alternative<vm::StepLimit>(guest.run(vm::RunMode::free)));
  }
  state.SetItemsProcessed(static_cast<int64_t>(guest.vcpu().steps()));
}

void interpreted(benchmark::State& state) { free_run(state, Execution::interpret); }
void translated(benchmark::State& state) { free_run(state, Execution::translate); }

void single_steps(benchmark::State& state) {
  Guest guest(kLoop, Execution::translate);
  for (auto _ : state) CHECK(std::holds_alternative<vm::Stepped>(guest.run(vm::RunMode::step)));
  state.SetItemsProcessed(static_cast<int64_t>(guest.vcpu().steps()));
}

void device_accesses(benchmark::State& state) {
  Guest guest(kPortLoop, Execution::translate);
  for (auto _ : state) {
    CHECK(std::holds_alternative<vm::DeviceAccess>(guest.run(vm::RunMode::free)));
    guest.vcpu().reply(1);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

BENCHMARK(interpreted);
BENCHMARK(translated);
BENCHMARK(single_steps);
BENCHMARK(device_accesses);

}  // namespace
}  // namespace dejavm::soft

BENCHMARK_MAIN();
