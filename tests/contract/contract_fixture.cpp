#include "contract_fixture.h"

#include "engine/kvm/kvm_vcpu.h"
#include "engine/soft/soft_vcpu.h"
#include "vm/startup_state.h"

namespace dejavm::contract {
namespace {

constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPdLow = 0x3000, kPdMmio = 0x4000, kGdt = 0x5000, kIdt = 0x6000;
// Accessed and dirty already, so that the guest's page walks change nothing.
constexpr uint64_t kPresentWritable = 0x23, kLargePage = 0xe3;

Status write_u64(vm::GuestMemory& memory, uint64_t gpa, uint64_t value) {
  return memory.write({gpa}, {reinterpret_cast<const uint8_t*>(&value), sizeof value}, vm::Writer::loader);
}

/// Page tables, GDT (null, code, data), IDT with interrupt gates to kHandler for 128 vectors.
Status write_tables(vm::GuestMemory& memory) {
  TRY(write_u64(memory, kPml4, kPdpt | kPresentWritable));
  TRY(write_u64(memory, kPdpt, kPdLow | kPresentWritable));
  TRY(write_u64(memory, kPdpt + 3 * 8, kPdMmio | kPresentWritable));
  TRY(write_u64(memory, kPdLow, kLargePage));
  TRY(write_u64(memory, kPdMmio, kMmio | kLargePage));
  TRY(write_u64(memory, kGdt + 8, 0x00af9b000000ffff));
  TRY(write_u64(memory, kGdt + 16, 0x00cf93000000ffff));
  for (uint64_t vector = 0; vector < 128; ++vector) {
    TRY(write_u64(memory, kIdt + vector * 16, kHandler | uint64_t{8} << 16 | uint64_t{0x8e} << 40));
  }
  return {};
}

}  // namespace

Result<Engine> make_engine(const std::string& name) {
  if (name == "soft") {
    auto create = [](vm::GuestMemory& memory, const vm::CpuModel& model) { return soft::create_vcpu(memory, model); };
    return Engine{nullptr, create, vm::dejavm64_v1(), true, true};
  }
  if (name != "kvm") return fail("there is no engine " + name);
  TRY_ASSIGN(std::shared_ptr<kvm::KvmHost> host, kvm::KvmHost::open());
  auto create = [host = host.get()](vm::GuestMemory& memory, const vm::CpuModel& model) {
    return kvm::create_vcpu(*host, memory, model);
  };
  TRY_ASSIGN(vm::CpuModel model, kvm::effective_model(host->system(), vm::dejavm64_v1()));
  bool by_element = host->found().steps_rep_by_element, runs_kernels = host->found().runs_kernels;
  return Engine{std::move(host), create, std::move(model), by_element, runs_kernels};
}

vm::CpuState real_mode() {
  vm::CpuState state = vm::real_mode_state(kCode);
  state.gpr[vm::rsp] = kStack;
  return state;
}

vm::CpuState long_mode() {
  vm::CpuState state = vm::long_mode_state(kCode, kPml4);
  state.gdt = {kGdt, 0x17};
  state.idt = {kIdt, 128 * 16 - 1};
  state.gpr[vm::rsp] = kStack;
  state.gpr[vm::rbx] = kMmio;
  return state;
}

vm::Access read_of(uint64_t addr, unsigned size) { return {.size = static_cast<uint8_t>(size), .addr = addr}; }

vm::Access write_of(uint64_t addr, unsigned size, uint64_t value) {
  return {.direction = vm::Direction::write, .size = static_cast<uint8_t>(size), .addr = addr, .value = value};
}

vm::Access in_of(uint64_t port, unsigned size) {
  return {.space = vm::Space::pio, .size = static_cast<uint8_t>(size), .addr = port};
}

vm::Access out_of(uint64_t port, unsigned size, uint64_t value) {
  vm::Access access = write_of(port, size, value);
  access.space = vm::Space::pio;
  return access;
}

std::unique_ptr<TestMachine> TestMachine::create(const Engine& engine) {
  auto memory = vm::GuestMemory::create(kRamSize, 0);
  EXPECT_TRUE(memory.has_value());
  auto machine = std::unique_ptr<TestMachine>(new TestMachine{std::move(*memory), nullptr});
  EXPECT_TRUE(machine->memory.set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true}}).has_value());
  auto vcpu = engine.create(machine->memory, vm::dejavm64_v1());
  if (!vcpu) {
    ADD_FAILURE() << vcpu.error().what;
    return nullptr;
  }
  machine->vcpu = std::move(*vcpu);
  return machine;
}

void TestMachine::load(uint64_t gpa, ByteSpan bytes) {
  EXPECT_TRUE(memory.write({gpa}, bytes, vm::Writer::loader).has_value());
}

void TestMachine::start(ByteSpan code, const vm::CpuState& state) {
  EXPECT_TRUE(write_tables(memory).has_value());
  load(kCode, code);
  auto set = vcpu->set_state(state);
  EXPECT_TRUE(set.has_value()) << set.error().what;
}

uint64_t TestMachine::u64(uint64_t gpa) const { return load_le<uint64_t>(memory.host(gpa)); }

vm::CpuState TestMachine::state() const {
  auto state = vcpu->state();
  EXPECT_TRUE(state.has_value()) << state.error().what;
  return state.value_or(vm::CpuState{});
}

vm::Exit TestMachine::run(vm::RunMode mode) {
  auto exit = vcpu->run(mode);
  if (exit) return *exit;
  ADD_FAILURE() << exit.error().what;
  return vm::Shutdown{};
}

uint64_t answer(size_t n) { return 0x8070605040302010 + 0x0101010101010101 * n; }

std::vector<vm::Access> accesses_until_halt(TestMachine& machine, bool complete) {
  constexpr size_t kTooMany = 1000;
  std::vector<vm::Access> seen;
  vm::Exit exit = machine.run();
  while (!is<vm::Halted>(exit) && seen.size() < kTooMany) {
    if (is<vm::DeviceAccess>(exit)) {
      seen.push_back(std::get<vm::DeviceAccess>(exit).access);
      if (!seen.back().is_write()) machine.vcpu->reply(answer(seen.size()));
      exit = machine.run(complete ? vm::RunMode::complete : vm::RunMode::free);
    } else if (is<vm::Completed>(exit)) {
      exit = machine.run();
    } else {
      ADD_FAILURE() << "unexpected exit, alternative " << exit.index();
      break;
    }
  }
  return seen;
}

void Contract::SetUp() {
  auto engine = make_engine(GetParam());
  if (!engine) GTEST_SKIP() << GetParam() << " is not here: " << engine.error().what;
  engine_ = *engine;
  machine_ = TestMachine::create(engine_);
  ASSERT_NE(machine_, nullptr);
}

}  // namespace dejavm::contract

namespace dejavm::vm {
void PrintTo(const Access& access, std::ostream* out) { *out << describe(access); }
}  // namespace dejavm::vm
