// What a debugger asks for, as one typed value; parsing is apart from doing (GDB manual, "Packets", "General Query
// Packets").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "gdbstub/target.h"
#include "vm/address.h"

namespace dejavm::gdb {

/// A packet of a kind that this stub does not have; the protocol wants an empty reply.
struct Unsupported {};
/// A packet of a known kind whose arguments make no sense.
struct Malformed {};

/// qSupported, with what matters of the debugger's own features.
struct QuerySupported {
  bool swbreak = false;
  bool hwbreak = false;
};
struct StartNoAckMode {};
/// qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH
struct ReadObject {
  enum class Object : uint8_t { features, memory_map } object = Object::features;
  std::string annex;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// "?"
struct QueryStop {};
struct ReadRegisters {};
struct WriteRegisters {
  Bytes values;
};
struct ReadRegister {
  uint64_t number = 0;
};
struct WriteRegister {
  uint64_t number = 0;
  Bytes value;
};
struct ReadMemory {
  uint64_t addr = 0;
  uint64_t length = 0;
};
/// x: the same with a binary answer; of no bytes: LLDB's question whether there is such a packet.
struct ReadMemoryBinary {
  uint64_t addr = 0;
  uint64_t length = 0;
};
/// M and X
struct WriteMemory {
  uint64_t addr = 0;
  Bytes data;
};
/// qSearch:memory
struct SearchMemory {
  uint64_t addr = 0;
  uint64_t length = 0;
  Bytes pattern;
};

/// c, C, s, S, vCont, bc and bs; signals mean nothing to a guest and are dropped by the parser.
struct Resume {
  ResumeRequest how;
  std::optional<uint64_t> rip;
};
/// vCont;t for a guest that is stopped already.
struct StayStopped {};
struct QueryVCont {};

/// Z and z: type 0..4 as in the protocol. Of Z0 and Z1 with conditions, agent expressions, one must hold.
struct ChangeBreakpoint {
  bool insert = false;
  uint8_t type = 0;
  vm::GuestVirt addr;
  uint64_t length = 0;
  std::vector<Bytes> conditions;
};

/// H and T: `known` when the named thread is the vCPU, "any" or "all".
struct NameThread {
  bool known = false;
};
struct QueryThread {};
struct FirstThreads {};
struct NextThreads {};
struct ThreadDescription {
  bool known = false;
};
struct QueryAttached {};

/// qRcmd
struct Monitor {
  std::string text;
};
struct QuerySymbols {};
struct QueryQemuFeatures {};
struct QueryPhysicalMode {};
struct SetPhysicalMode {
  bool on = false;
};

struct Detach {};
/// k wants no reply, vKill does.
struct Kill {
  bool reply = false;
};
struct ExtendedMode {};
/// R, r: no reply.
struct Restart {};
/// vRun
struct RunProgram {};

// LLDB's (its document "lldb-gdb-remote").

struct QueryHost {};
struct QueryProcess {};
/// qRegisterInfo: by number, counted without gaps.
struct DescribeRegister {
  uint64_t index = 0;
};
struct DescribeMemory {
  uint64_t addr = 0;
};
struct QueryWatchpoints {};
/// QThreadSuffixSupported: the parser takes the suffix always.
struct UseThreadSuffix {};
struct ListThreadsInStops {};
struct UseErrorTexts {};
/// jThreadsInfo
struct DescribeThreads {};

using Command =
    std::variant<Unsupported, Malformed, QuerySupported, StartNoAckMode, ReadObject, QueryStop, ReadRegisters,
                 WriteRegisters, ReadRegister, WriteRegister, ReadMemory, ReadMemoryBinary, WriteMemory, SearchMemory,
                 Resume, StayStopped, QueryVCont, ChangeBreakpoint, NameThread, QueryThread, FirstThreads, NextThreads,
                 ThreadDescription, QueryAttached, Monitor, QuerySymbols, QueryQemuFeatures, QueryPhysicalMode,
                 SetPhysicalMode, Detach, Kill, ExtendedMode, Restart, RunProgram, QueryHost, QueryProcess, DescribeRegister,
                 DescribeMemory, QueryWatchpoints, UseThreadSuffix, ListThreadsInStops, UseErrorTexts, DescribeThreads>;

/// Understands one packet's payload. Never fails: nonsense is Unsupported or Malformed.
Command parse_command(std::string_view payload);

}  // namespace dejavm::gdb
