// Which transfers each instruction makes, in which order (kvm-facts: exit shapes), and what a guest gets from the replies.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(shape_reads, 64, "mov al, [rbx]; mov cx, [rbx+2]; mov edx, [rbx+4]; mov rsi, [rbx+8]; hlt")
GUEST(shape_writes, 64,
      "movabs rax, 0x1122334455667788; mov [rbx], al; mov [rbx+2], ax; mov [rbx+4], eax; mov [rbx+8], rax; hlt")
GUEST(shape_page_crossing_write, 64, "mov eax, 0x44332211; mov [rbx+0xffd], eax; hlt")
GUEST(shape_page_crossing_read, 64, "mov eax, [rbx+0xffd]; hlt")
GUEST(shape_straddle_write, 64, "movabs rax, 0x1122334455667788; mov edi, 0x9fffc; mov [rdi], rax; hlt")
GUEST(shape_straddle_read, 64, "mov edi, 0x9fffc; mov dword ptr [rdi], 0xaabbccdd; mov rax, [rdi]; hlt")
GUEST(shape_rmw, 64, "add dword ptr [rbx], 5; hlt")
GUEST(shape_lock_rmw, 64, "lock or dword ptr [rbx], 1; hlt")
GUEST(shape_xchg, 64, "mov eax, 0x77; xchg [rbx], eax; hlt")
GUEST(shape_cmpxchg_fails, 64, "mov eax, 1; mov ecx, 2; lock cmpxchg [rbx], ecx; hlt")
GUEST(shape_push, 64, "push qword ptr [rbx]; pop rax; hlt")
GUEST(shape_pop, 64, "push 0x55; pop qword ptr [rbx]; hlt")
GUEST(shape_movs_from, 64, "mov rsi, rbx; mov edi, 0x20000; movsd; hlt")
GUEST(shape_movs_to, 64, "mov rdi, rbx; mov esi, 0x20000; mov dword ptr [rsi], 0x12345678; movsd; hlt")
GUEST(shape_movs_both, 64, "mov rsi, rbx; lea rdi, [rbx+0x100]; movsd; hlt")
GUEST(shape_rep_stos, 64, "mov eax, 0xabcd; mov rdi, rbx; mov ecx, 3; rep stosw; hlt")
GUEST(shape_rep_movs, 64, "mov rsi, rbx; mov edi, 0x20000; mov ecx, 2; rep movsb; hlt")
GUEST(shape_ports, 64,
      "mov eax, 0x44332211; mov dx, 0x300; out dx, al; out dx, ax; out dx, eax; in al, dx; in ax, dx; in eax, dx; hlt")
GUEST(shape_rep_outs, 64, "mov esi, 0x20000; mov dword ptr [rsi], 0x44332211; mov dx, 0x300; mov ecx, 3; rep outsb; hlt")
GUEST(shape_rep_ins, 64, "mov edi, 0x20000; mov dx, 0x300; mov ecx, 5; rep insb; hlt")
GUEST(shape_sse_load, 64, "movups xmm1, [rbx]; hlt")
GUEST(shape_sse_store, 64, "movups [rbx], xmm0; hlt")
GUEST(shape_real_mode, 16, "mov ax, 0xd000; mov ds, ax; mov eax, 0x44332211; mov ds:[0x1ffd], eax; mov bl, ds:[0x10]; hlt")

struct Shape {
  const char* name;
  ByteSpan code;
  vm::CpuState start;
  std::vector<vm::Access> expected;
};

std::vector<Shape> plain_moves() {
  return {
      {"reads",
       shape_reads(),
       long_mode(),
       {read_of(kMmio, 1), read_of(kMmio + 2, 2), read_of(kMmio + 4, 4), read_of(kMmio + 8, 8)}},
      {"writes",
       shape_writes(),
       long_mode(),
       {write_of(kMmio, 1, 0x88), write_of(kMmio + 2, 2, 0x7788), write_of(kMmio + 4, 4, 0x55667788),
        write_of(kMmio + 8, 8, 0x1122334455667788)}},
      {"page-crossing write",
       shape_page_crossing_write(),
       long_mode(),
       {write_of(kMmio + 0xffd, 3, 0x332211), write_of(kMmio + 0x1000, 1, 0x44)}},
      {"page-crossing read",
       shape_page_crossing_read(),
       long_mode(),
       {read_of(kMmio + 0xffd, 3), read_of(kMmio + 0x1000, 1)}},
      {"write over the end of RAM", shape_straddle_write(), long_mode(), {write_of(kRamSize, 4, 0x11223344)}},
      {"read over the end of RAM", shape_straddle_read(), long_mode(), {read_of(kRamSize, 4)}},
      {"16-byte load", shape_sse_load(), long_mode(), {read_of(kMmio, 8), read_of(kMmio + 8, 8)}},
      {"16-byte store", shape_sse_store(), long_mode(), {write_of(kMmio, 8, 0), write_of(kMmio + 8, 8, 0)}},
      {"real mode",
       shape_real_mode(),
       real_mode(),
       {write_of(0xd1ffd, 3, 0x332211), write_of(0xd2000, 1, 0x44), read_of(0xd0010, 1)}},
  };
}

std::vector<Shape> read_modify_writes() {
  uint32_t first = static_cast<uint32_t>(answer(1));
  return {
      {"add", shape_rmw(), long_mode(), {read_of(kMmio, 4), write_of(kMmio, 4, first + 5)}},
      {"lock or", shape_lock_rmw(), long_mode(), {read_of(kMmio, 4), write_of(kMmio, 4, first | 1)}},
      {"xchg", shape_xchg(), long_mode(), {read_of(kMmio, 4), write_of(kMmio, 4, 0x77)}},
      {"failing cmpxchg", shape_cmpxchg_fails(), long_mode(), {read_of(kMmio, 4), write_of(kMmio, 4, first)}},
      {"push from a device", shape_push(), long_mode(), {read_of(kMmio, 8)}},
      {"pop into a device", shape_pop(), long_mode(), {write_of(kMmio, 8, 0x55)}},
  };
}

std::vector<Shape> strings_and_ports() {
  uint32_t first = static_cast<uint32_t>(answer(1));
  return {
      {"movs from a device", shape_movs_from(), long_mode(), {read_of(kMmio, 4)}},
      {"movs to a device", shape_movs_to(), long_mode(), {write_of(kMmio, 4, 0x12345678)}},
      {"movs from device to device", shape_movs_both(), long_mode(), {read_of(kMmio, 4), write_of(kMmio + 0x100, 4, first)}},
      {"rep stos",
       shape_rep_stos(),
       long_mode(),
       {write_of(kMmio, 2, 0xabcd), write_of(kMmio + 2, 2, 0xabcd), write_of(kMmio + 4, 2, 0xabcd)}},
      {"rep movs", shape_rep_movs(), long_mode(), {read_of(kMmio, 1), read_of(kMmio + 1, 1)}},
      {"in and out",
       shape_ports(),
       long_mode(),
       {out_of(0x300, 1, 0x11), out_of(0x300, 2, 0x2211), out_of(0x300, 4, 0x44332211), in_of(0x300, 1), in_of(0x300, 2),
        in_of(0x300, 4)}},
      {"rep outs", shape_rep_outs(), long_mode(), {out_of(0x300, 1, 0x11), out_of(0x300, 1, 0x22), out_of(0x300, 1, 0x33)}},
      {"rep ins",
       shape_rep_ins(),
       long_mode(),
       {in_of(0x300, 1), in_of(0x300, 1), in_of(0x300, 1), in_of(0x300, 1), in_of(0x300, 1)}},
  };
}

CONTRACT_SUITE(ExitShapes);

void expect_shapes(TestMachine& machine, const std::vector<Shape>& shapes, bool complete) {
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.name);
    machine.start(shape.code, shape.start);
    EXPECT_EQ(accesses_until_halt(machine, complete), shape.expected);
  }
}

TEST_P(ExitShapes, PlainMoves) { expect_shapes(machine(), plain_moves(), false); }
TEST_P(ExitShapes, PlainMovesCompletedOneByOne) { expect_shapes(machine(), plain_moves(), true); }
TEST_P(ExitShapes, ReadModifyWrites) { expect_shapes(machine(), read_modify_writes(), false); }
TEST_P(ExitShapes, ReadModifyWritesCompletedOneByOne) { expect_shapes(machine(), read_modify_writes(), true); }
TEST_P(ExitShapes, StringsAndPorts) { expect_shapes(machine(), strings_and_ports(), false); }
TEST_P(ExitShapes, StringsAndPortsCompletedOneByOne) { expect_shapes(machine(), strings_and_ports(), true); }

TEST_P(ExitShapes, RepliesReachTheRegisters) {
  machine().start(shape_reads(), long_mode());
  accesses_until_halt(machine(), false);
  vm::CpuState state = machine().state();
  EXPECT_EQ(state.gpr[vm::rax], answer(1) & 0xff);
  EXPECT_EQ(state.gpr[vm::rcx], answer(2) & 0xffff);
  EXPECT_EQ(state.gpr[vm::rdx], (answer(3) & 0xffffffff));
  EXPECT_EQ(state.gpr[vm::rsi], answer(4));
}

TEST_P(ExitShapes, RepliesOfAPageCrossingReadJoin) {
  machine().start(shape_page_crossing_read(), long_mode());
  accesses_until_halt(machine(), false);
  EXPECT_EQ(machine().state().gpr[vm::rax], (answer(1) & 0xffffff) | (answer(2) & 0xff) << 24);
}

TEST_P(ExitShapes, AStraddlingReadJoinsRamAndDevice) {
  machine().start(shape_straddle_read(), long_mode());
  accesses_until_halt(machine(), false);
  EXPECT_EQ(machine().state().gpr[vm::rax], 0xaabbccdd | answer(1) << 32);
}

TEST_P(ExitShapes, AStraddlingWriteWritesItsPartOfRam) {
  machine().start(shape_straddle_write(), long_mode());
  accesses_until_halt(machine(), false);
  EXPECT_EQ(load_le<uint32_t>(machine().memory.host(kRamSize - 4)), 0x55667788u);
}

TEST_P(ExitShapes, RepliesOfASixteenByteLoadJoin) {
  machine().start(shape_sse_load(), long_mode());
  accesses_until_halt(machine(), false);
  vm::CpuState state = machine().state();
  EXPECT_EQ(load_le<uint64_t>(state.fpu.xmm[1].data()), answer(1));
  EXPECT_EQ(load_le<uint64_t>(state.fpu.xmm[1].data() + 8), answer(2));
}

TEST_P(ExitShapes, RepInsStoresEachReply) {
  machine().start(shape_rep_ins(), long_mode());
  accesses_until_halt(machine(), false);
  EXPECT_EQ(to_hex({machine().memory.host(kData), 6}), "111213141500");
}

TEST_P(ExitShapes, AReadWithoutReplyReadsZero) {
  vm::CpuState start = long_mode();
  start.gpr[vm::rsi] = 0x1234;
  machine().start(shape_reads(), start);
  for (int access = 0; access < 4; ++access) EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rsi], 0u);
}

}  // namespace
}  // namespace dejavm::contract
