// Which accesses the recorder takes for one instruction, on the engine itself: the answer must not depend on whether it lets
// the guest run on or completes each instruction by itself.
#include <gmock/gmock.h>

#include "contract_fixture.h"
#include "record/instruction_joins.h"

namespace dejavm::contract {
namespace {

GUEST(joins_rmw, 64, "add dword ptr [rbx], 5; mov eax, [rbx]; mov [rbx], eax; hlt")
GUEST(joins_sse, 64, "movups [rbx], xmm0; movups xmm1, [rbx]; hlt")
GUEST(joins_ins, 64, "mov edi, 0x20000; mov dx, 0x300; mov ecx, 4; rep insb; hlt")
GUEST(joins_ins_to_device, 64, "mov rdi, rbx; mov dx, 0x300; mov ecx, 16; rep insb; hlt")
GUEST(joins_one_ins_to_device, 64, "mov rdi, rbx; mov dx, 0x300; insd; hlt")
GUEST(joins_movsq_to, 64, "mov esi, 0x20000; mov rdi, rbx; mov ecx, 3; rep movsq; hlt")
GUEST(joins_movsq_from, 64, "mov rsi, rbx; mov edi, 0x20000; mov ecx, 3; rep movsq; hlt")
GUEST(joins_movsq_both, 64, "mov rsi, rbx; lea rdi, [rbx+0x100]; mov ecx, 3; rep movsq; hlt")
GUEST(joins_movsq_cut_to, 64, "mov esi, 0x20000; lea rdi, [rbx+0xffd]; mov ecx, 2; rep movsq; hlt")
GUEST(joins_movsq_cut_from, 64, "lea rsi, [rbx+0xffd]; mov edi, 0x20000; mov ecx, 2; rep movsq; hlt")
GUEST(joins_cmpsd, 64, "mov rsi, rbx; lea rdi, [rbx+0x40]; mov ecx, 2; repe cmpsd; hlt")
GUEST(joins_cmpsd_with_ram, 64, "mov rsi, rbx; mov edi, 0x20000; mov ecx, 2; repe cmpsd; hlt")

/// Runs to HLT, answering zero: for each access '-', or 'j' where it joins the one before it.
std::string joins_until_halt(TestMachine& machine, bool complete) {
  record::InstructionJoins joins(*machine.vcpu, machine.memory);
  std::string text;
  vm::RunMode mode = vm::RunMode::free;
  for (;;) {
    vm::Exit exit = machine.run(mode);
    const auto* access = std::get_if<vm::DeviceAccess>(&exit);
    if (access == nullptr) {
      if (!is<vm::Completed>(exit)) return is<vm::Halted>(exit) ? text : text + "?";
      joins.boundary();
      mode = vm::RunMode::free;
      continue;
    }
    bool certain = mode == vm::RunMode::complete;
    bool joined = access->joins_previous ? *access->joins_previous : joins.next(access->access, certain);
    text += joined ? 'j' : '-';
    if (!access->access.is_write()) machine.vcpu->reply(0);
    bool ask = complete || certain || joins.write_may_continue();
    mode = ask ? vm::RunMode::complete : vm::RunMode::free;
  }
}

struct Expected {
  const char* name;
  ByteSpan code;
  const char* joins;
};

CONTRACT_SUITE(Joins);

void expect_joins(TestMachine& machine, const std::vector<Expected>& all) {
  for (const Expected& expected : all) {
    for (bool complete : {false, true}) {
      SCOPED_TRACE(testing::Message() << expected.name << (complete ? ", completed one by one" : ", running on"));
      machine.start(expected.code, long_mode());
      machine.load(kData, Bytes(64));
      EXPECT_EQ(joins_until_halt(machine, complete), expected.joins);
    }
  }
}

TEST_P(Joins, OfPlainInstructions) {
  expect_joins(machine(),
               {{"read-modify-write, load, store", joins_rmw(), "-j--"}, {"16-byte store and load", joins_sse(), "-j-j"}});
}

TEST_P(Joins, OfInsAreThoseOfAnElement) {
  // KVM reads a batch of elements from the port and then writes them; soft does one element after the other.
  const char* to_device = GetParam() == "kvm" ? "------------------" : "-j-j-j-j-j-j-j-j-j-j-j-j-j-j-j-j";
  expect_joins(machine(), {{"rep insb", joins_ins(), "----"},
                           {"rep insb to a device", joins_ins_to_device(), to_device},
                           {"insd to a device", joins_one_ins_to_device(), "-j"}});
}

TEST_P(Joins, OfMovsqAreThoseOfAnElement) {
  expect_joins(machine(), {{"to a device", joins_movsq_to(), "---"},
                           {"from a device", joins_movsq_from(), "---"},
                           {"from device to device", joins_movsq_both(), "-j-j-j"},
                           {"to a device, across pages", joins_movsq_cut_to(), "-j-"},
                           {"from a device, across pages", joins_movsq_cut_from(), "-j-"}});
}

TEST_P(Joins, OfCmpsAreThoseOfAnElement) {
  expect_joins(machine(),
               {{"of two devices", joins_cmpsd(), "-j-j"}, {"of a device and RAM", joins_cmpsd_with_ram(), "--"}});
}

}  // namespace
}  // namespace dejavm::contract
