#include "gdbstub/session.h"

#include <algorithm>

#include "gdbstub/hex.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"
#include "gdbstub/replies.h"

namespace dejavm::gdb {

std::string Session::make_target_xml() { return target_xml(); }

Outcome Session::handle(const Command& command) {
  return std::visit([this](const auto& request) { return on(request); }, command);
}

Outcome Session::on(const Unsupported&) { return Outcome::reply(""); }
Outcome Session::on(const Malformed&) { return Outcome::reply(kInvalid); }

Outcome Session::on(const QuerySupported& query) {
  wants_swbreak_ = query.swbreak;
  wants_hwbreak_ = query.hwbreak;
  return Outcome::reply(
      fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+{}", kPacketSize,
                  target_.can_reverse() ? ";ReverseStep+;ReverseContinue+" : ""));
}

Outcome Session::on(const StartNoAckMode&) {
  Outcome outcome = Outcome::reply("OK");
  outcome.no_ack = true;
  return outcome;
}

Outcome Session::on(const ReadFeatures& request) {
  if (request.annex != "target.xml") return Outcome::reply("E00");
  if (request.offset >= target_xml_.size()) return Outcome::reply("l");
  const std::string_view rest = std::string_view(target_xml_).substr(static_cast<size_t>(request.offset));
  const std::string_view part = rest.substr(0, static_cast<size_t>(std::min<uint64_t>(request.length, rest.size())));
  size_t taken = 0;
  const std::string data = escape(part, kMaxPayload - 1, taken);
  return Outcome::reply((taken == rest.size() ? "l" : "m") + data);
}

Outcome Session::on(const QueryStop&) { return Outcome::reply(last_stop_); }

Outcome Session::on(const ReadRegisters&) {
  const auto state = target_.registers();
  if (!state) return Outcome::reply(error_text(state.error()));
  return Outcome::reply(to_hex(read_registers(*state)));
}

Outcome Session::on(const WriteRegisters& request) {
  const auto before = target_.registers();
  if (!before) return Outcome::reply(error_text(before.error()));
  vm::CpuState after = *before;
  if (!write_registers(after, request.values)) return Outcome::reply(kInvalid);
  return Outcome::reply(ok_or_text(change_registers(*before, after)));
}

Outcome Session::on(const ReadRegister& request) {
  if (register_size(request.number) == 0) return Outcome::reply(kInvalid);
  const auto state = target_.registers();
  if (!state) return Outcome::reply(error_text(state.error()));
  return Outcome::reply(to_hex(read_register(*state, static_cast<unsigned>(request.number))));
}

Outcome Session::on(const WriteRegister& request) {
  const unsigned size = register_size(request.number);
  if (size == 0 || request.value.size() != size) return Outcome::reply(kInvalid);
  const auto before = target_.registers();
  if (!before) return Outcome::reply(error_text(before.error()));
  vm::CpuState after = *before;
  write_register(after, static_cast<unsigned>(request.number), request.value);
  return Outcome::reply(ok_or_text(change_registers(*before, after)));
}

Outcome Session::on(const ReadMemory& request) {
  Bytes bytes(static_cast<size_t>(std::min<uint64_t>(request.length, kMaxPayload / 2)));
  const size_t count =
      physical_memory_ ? target_.read_physical({request.addr}, bytes) : target_.read_virtual({request.addr}, bytes);
  if (count == 0) return Outcome::reply(kBadAddress);
  bytes.resize(std::min(count, bytes.size()));
  return Outcome::reply(to_hex(bytes));
}

Outcome Session::on(const WriteMemory& request) {
  if (request.data.empty()) return Outcome::reply("OK");
  const Status written = physical_memory_ ? target_.write_physical({request.addr}, request.data)
                                          : target_.write_virtual({request.addr}, request.data);
  if (written) return Outcome::reply("OK");
  note(written.error());
  return Outcome::reply(kBadAddress);
}

Outcome Session::on(const Resume& request) {
  const bool backward = request.kind == ResumeKind::reverse_go || request.kind == ResumeKind::reverse_step;
  if (backward && !target_.can_reverse()) return Outcome::reply("");
  if (request.rip) {
    const Status jumped = jump(*request.rip);
    if (!jumped) return Outcome::reply(error_text(jumped.error()));
  }
  return {.replies = take_notes(), .then = Outcome::Then::resume, .resume = request.kind};
}

Outcome Session::on(const StayStopped&) { return Outcome::reply(last_stop_); }
Outcome Session::on(const QueryVCont&) { return Outcome::reply("vCont;c;C;s;S;t"); }

Outcome Session::on(const ChangeBreakpoint& request) {
  const Status changed = breakpoints_.change(request, physical_memory_);
  if (changed) return Outcome::reply("OK");
  note(changed.error());
  return Outcome::reply(kFailed);
}

Outcome Session::on(const NameThread& request) { return Outcome::reply(request.known ? "OK" : kInvalid); }
Outcome Session::on(const QueryThread&) { return Outcome::reply("QC01"); }
Outcome Session::on(const FirstThreads&) { return Outcome::reply("m01"); }
Outcome Session::on(const NextThreads&) { return Outcome::reply("l"); }
Outcome Session::on(const ThreadDescription& request) { return Outcome::reply(request.known ? to_hex("CPU#0") : kInvalid); }
Outcome Session::on(const QueryAttached&) { return Outcome::reply("1"); }

Outcome Session::on(const Monitor& request) {
  Outcome outcome{.replies = take_notes()};
  for (auto& payload : console_payloads(target_.monitor(request.text))) outcome.replies.push_back(std::move(payload));
  outcome.replies.emplace_back("OK");
  return outcome;
}

Outcome Session::on(const QuerySymbols&) { return Outcome::reply("OK"); }
Outcome Session::on(const QueryQemuFeatures&) { return Outcome::reply("PhyMemMode"); }
Outcome Session::on(const QueryPhysicalMode&) { return Outcome::reply(physical_memory_ ? "1" : "0"); }

Outcome Session::on(const SetPhysicalMode& request) {
  physical_memory_ = request.on;
  return Outcome::reply("OK");
}

Outcome Session::on(const Detach&) { return {.replies = {"OK"}, .then = Outcome::Then::detached}; }

Outcome Session::on(const Kill& request) {
  return {.replies = request.reply ? std::vector<std::string>{"OK"} : std::vector<std::string>{},
          .then = Outcome::Then::killed};
}

Outcome Session::on(const ExtendedMode&) { return Outcome::reply("OK"); }
Outcome Session::on(const Restart&) { return {}; }

Outcome Session::on(const RunProgram&) {
  return Outcome::reply(error_text({"the guest runs already and cannot be started again from here", "start dejavm again"}));
}

std::vector<std::string> Session::report(const Result<Stop>& stop) {
  const std::string console = stop ? stop->console : describe(stop.error()) + "\n";
  std::vector<std::string> payloads = console_payloads(console);
  last_stop_ = stop ? stop_reply(*stop) : "T06thread:01;";
  payloads.push_back(last_stop_);
  return payloads;
}

std::string Session::stop_reply(const Stop& stop) {
  switch (stop.kind) {
    case Stop::Kind::step:
    case Stop::Kind::device:
    case Stop::Kind::position:
      return "T05thread:01;";
    case Stop::Kind::breakpoint:
      return "T05" + breakpoint_reason() + "thread:01;";
    case Stop::Kind::watch:
      return fmt::format("T05{}:{:x};thread:01;", watch_reason(stop.watch_kind), stop.watch_addr);
    case Stop::Kind::interrupted:
      return "T02thread:01;";
    case Stop::Kind::exited:
      return fmt::format("W{:02x}", stop.exit_status);
    case Stop::Kind::replay_begin:
      return "T05replaylog:begin;thread:01;";
    case Stop::Kind::replay_end:
      return "T05replaylog:end;thread:01;";
    case Stop::Kind::diverged:
      return "T06thread:01;";
  }
  return "T05thread:01;";
}

std::string Session::breakpoint_reason() {
  const auto state = target_.registers();
  if (!state) return "";
  const vm::GuestVirt rip{state->linear_rip()};
  if (wants_hwbreak_ && breakpoints_.has_hardware_breakpoint(rip)) return "hwbreak:;";
  // Only where there is one: GDB takes the reason without a breakpoint for a leftover, and runs on in silence.
  if (wants_swbreak_ && breakpoints_.has_software_breakpoint(rip)) return "swbreak:;";
  return "";
}

Status Session::jump(uint64_t rip) {
  TRY_ASSIGN(const vm::CpuState before, target_.registers());
  std::array<uint8_t, sizeof rip> bytes;
  store_le(bytes.data(), rip);
  vm::CpuState after = before;
  write_register(after, kRipNumber, bytes);
  return change_registers(before, after);
}

Status Session::change_registers(const vm::CpuState& before, const vm::CpuState& after) {
  if (after == before) return {};  // a target that refuses changes is not asked about none
  return target_.set_registers(after);
}

void Session::note(const Error& error) {
  constexpr size_t kMaxNotes = 4096;
  if (notes_.size() < kMaxNotes) notes_ += describe(error) + "\n";
}

std::vector<std::string> Session::take_notes() { return console_payloads(std::exchange(notes_, {})); }

}  // namespace dejavm::gdb
