// The registers as the debugger numbers them, and their description for it.
// Numbers and sizes are those that QEMU's x86-64 stub uses, as far as it goes, so that the `g` packet has QEMU's layout; the
// features are named as GDB's manual names them ("Standard Target Features", "i386 Features").
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "vm/cpu_state.h"

namespace dejavm::gdb {

inline constexpr unsigned kRegisterCount = 100;
/// The first ones: what QEMU has, and what the `g` packet holds. GDB asks for the others one by one.
inline constexpr unsigned kPacketRegisterCount = 66;
inline constexpr unsigned kRipNumber = 16;

/// Size in bytes; 0 for a number that no register has.
unsigned register_size(uint64_t number);

/// A register's bytes as they go over the wire: little-endian, register_size() long. `number` is below kRegisterCount.
/// rip is the linear address of the next instruction (docs/gdb.md, "Real mode"); everything else is what the CPU holds.
Bytes read_register(const vm::CpuState& state, unsigned number);

/// Sets a register from `value`, which is register_size(number) bytes long. A new segment selector brings its base along
/// where the CPU has no descriptor for it (real mode); elsewhere the hidden part stays.
void write_register(vm::CpuState& state, unsigned number, ByteSpan value);

/// The first kPacketRegisterCount registers in order: the `g` packet.
Bytes read_registers(const vm::CpuState& state);
/// The bytes of a `G` packet: false, with nothing changed, where the length is wrong.
bool write_registers(vm::CpuState& state, ByteSpan values);

/// The target description that describes these registers (GDB manual, "Target Descriptions").
std::string target_xml();

}  // namespace dejavm::gdb
