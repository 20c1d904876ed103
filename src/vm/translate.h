// The guest's page tables, read as a debugger reads them: no faults, no accessed bits (AMD64 APM volume 2, chapter 5).
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::vm {

/// The guest physical address that a linear address means in this state; fails where it is not mapped or the tables leave
/// memory. Permissions are not looked at.
Result<GuestPhys> translate(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr);

/// Where the byte is in the backing of RAM and ROM (GuestMemory::host()); nullopt: it is not mapped, or no memory.
std::optional<uint64_t> backing_offset(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr);

/// Whether the page is mapped, and user code may use it. Without paging there are no such pages.
bool is_user_page(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr);

/// Reads memory by linear address, as many bytes as there are; returns how many (0: the first byte is not mapped or not
/// memory).
size_t read_virtual(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr, MutableByteSpan to);

/// Writes memory by linear address: all of it or, where a byte is not mapped memory, nothing.
Status write_virtual(const CpuState& cpu, GuestMemory& memory, GuestVirt addr, ByteSpan from, Writer writer);

}  // namespace dejavm::vm
