// One debugger's session: commands in, replies out. Knows no bytes on the wire and no sockets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gdbstub/breakpoint_set.h"
#include "gdbstub/command.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// What a command leads to: the payloads to send now, and then perhaps more than a reply.
struct Outcome {
  enum class Then : uint8_t {
    wait,      ///< for the next command
    resume,    ///< let the guest go as `resume` says, then Session::report()
    detached,  ///< the debugger lets go
    killed,    ///< the debugger ends the guest
  };
  std::vector<std::string> replies;
  Then then = Then::wait;
  ResumeRequest resume{};
  bool no_ack = false;  ///< acknowledgements end with this reply

  static Outcome reply(std::string payload) { return {.replies = {std::move(payload)}}; }
};

/// Answers commands for a stopped target. The target outlives the session. One thread.
class Session {
 public:
  explicit Session(Target& target) : target_(target), breakpoints_(target) {}

  Outcome handle(const Command& command);

  /// The payloads that tell the debugger how a resume ended: console text first, the stop reply last. An error is told as
  /// console text and a stop with SIGABRT, so that the debugger can look around.
  std::vector<std::string> report(const Result<Stop>& stop);

 private:
  Outcome on(const Unsupported&);
  Outcome on(const Malformed&);
  Outcome on(const QuerySupported& query);
  Outcome on(const StartNoAckMode&);
  Outcome on(const ReadObject& request);
  Outcome on(const QueryStop&);
  Outcome on(const ReadRegisters&);
  Outcome on(const WriteRegisters& request);
  Outcome on(const ReadRegister& request);
  Outcome on(const WriteRegister& request);
  Outcome on(const ReadMemory& request);
  Outcome on(const ReadMemoryBinary& request);
  Outcome on(const WriteMemory& request);
  Outcome on(const SearchMemory& request);
  Outcome on(const Resume& request);
  Outcome on(const StayStopped&);
  Outcome on(const QueryVCont&);
  Outcome on(const ChangeBreakpoint& request);
  Outcome on(const NameThread& request);
  Outcome on(const QueryThread&);
  Outcome on(const FirstThreads&);
  Outcome on(const NextThreads&);
  Outcome on(const ThreadDescription& request);
  Outcome on(const QueryAttached&);
  Outcome on(const Monitor& request);
  Outcome on(const QuerySymbols&);
  Outcome on(const QueryQemuFeatures&);
  Outcome on(const QueryPhysicalMode&);
  Outcome on(const SetPhysicalMode& request);
  Outcome on(const Detach&);
  Outcome on(const Kill& request);
  Outcome on(const ExtendedMode&);
  Outcome on(const Restart&);
  Outcome on(const RunProgram&);
  Outcome on(const QueryHost&);
  Outcome on(const QueryProcess&);
  Outcome on(const DescribeRegister& request);
  Outcome on(const DescribeMemory& request);
  Outcome on(const QueryWatchpoints&);
  Outcome on(const UseThreadSuffix&);
  Outcome on(const ListThreadsInStops&);
  Outcome on(const UseErrorTexts&);
  Outcome on(const DescribeThreads&);

  /// An error with its text, as this debugger reads them.
  std::string refusal(const Error& error) const;
  std::string ok_or_refusal(const Status& status) const { return status ? "OK" : refusal(status.error()); }
  size_t read_memory(uint64_t addr, MutableByteSpan to);
  /// The stop reply of `stop`, without its console text.
  std::string stop_reply(const Stop& stop);
  /// The thread and the registers that every debugger wants next.
  std::string where_it_stopped();
  /// "swbreak:;" or "hwbreak:;" for a breakpoint at the current instruction, where the debugger asked for it.
  std::string breakpoint_reason();
  /// Sets rip (linear) for `c ADDR` and `s ADDR`.
  Status jump(uint64_t rip);
  Status change_registers(const vm::CpuState& before, const vm::CpuState& after);
  /// Keeps text for the next moment at which the protocol lets console output through.
  void note(const Error& error);
  std::vector<std::string> take_notes();

  Target& target_;
  BreakpointSet breakpoints_;
  std::string target_xml_, memory_map_xml_;  // as of the first piece that was asked for
  bool physical_memory_ = false;
  bool wants_swbreak_ = false;
  bool wants_hwbreak_ = false;
  // LLDB's:
  bool plain_binary_ = false;  // x answers without a first letter
  bool lists_threads_ = false;
  bool error_texts_ = false;
  std::optional<Stop> last_stop_;  // none: nothing ran
  bool broken_ = false;            // the last resume failed
  std::string notes_;
};

}  // namespace dejavm::gdb
