// How a session has the guest run, and tells why it stopped.
#include <array>

#include "gdbstub/hex.h"
#include "gdbstub/packet.h"
#include "gdbstub/register_table.h"
#include "gdbstub/registers.h"
#include "gdbstub/replies.h"
#include "gdbstub/session.h"

namespace dejavm::gdb {

Outcome Session::on(const Resume& request) {
  if (request.how.goes_back() && !target_.can_reverse()) return Outcome::reply("");
  if (request.rip) {
    const Status jumped = jump(*request.rip);
    if (!jumped) return Outcome::reply(refusal(jumped.error()));
  }
  return {.replies = take_notes(), .then = Outcome::Then::resume, .resume = request.how};
}

Outcome Session::on(const QueryStop&) {
  if (broken_) return Outcome::reply("T06" + where_it_stopped());
  return Outcome::reply(last_stop_ ? stop_reply(*last_stop_) : "T05" + where_it_stopped());
}

Outcome Session::on(const StayStopped&) { return on(QueryStop{}); }
Outcome Session::on(const QueryVCont&) { return Outcome::reply("vCont;c;C;s;S;t;r"); }

std::vector<std::string> Session::report(const Result<Stop>& stop) {
  const std::string console = stop ? stop->console : describe(stop.error()) + "\n";
  std::vector<std::string> payloads = console_payloads(console);
  broken_ = !stop.has_value();
  if (stop) last_stop_ = *stop;
  payloads.push_back(stop ? stop_reply(*stop) : "T06" + where_it_stopped());
  return payloads;
}

std::string Session::stop_reply(const Stop& stop) {
  switch (stop.kind) {
    case Stop::Kind::step:
    case Stop::Kind::device:
    case Stop::Kind::position:
      return "T05" + where_it_stopped();
    case Stop::Kind::breakpoint:
      return "T05" + breakpoint_reason() + where_it_stopped();
    case Stop::Kind::watch:
      return fmt::format("T05{}:{:x};", watch_reason(stop.watch_kind), stop.watch_addr) + where_it_stopped();
    case Stop::Kind::interrupted:
      return "T02" + where_it_stopped();
    case Stop::Kind::exited:
      return fmt::format("W{:02x}", stop.exit_status);
    case Stop::Kind::replay_begin:
      return "T05replaylog:begin;" + where_it_stopped();
    case Stop::Kind::replay_end:
      return "T05replaylog:end;" + where_it_stopped();
    case Stop::Kind::diverged:
      return "T06" + where_it_stopped();
  }
  return "T05" + where_it_stopped();
}

std::string Session::where_it_stopped() {
  std::string text = "thread:01;";
  const auto state = target_.registers();
  if (!state) return text;
  if (lists_threads_) text += fmt::format("threads:1;thread-pcs:{:x};", state->linear_rip());
  for (const unsigned number : {kRbp, kRsp, kRip}) {
    text += fmt::format("{:02x}:{};", number, to_hex(read_register(*state, number)));
  }
  return text;
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

}  // namespace dejavm::gdb
