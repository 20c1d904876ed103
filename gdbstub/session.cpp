#include "gdbstub/session.h"

#include <algorithm>

#include "gdbstub/hex.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"
#include "gdbstub/replies.h"

namespace dejavm::gdb {

Outcome Session::handle(const Command& command) {
  return std::visit([this](const auto& request) { return on(request); }, command);
}

Outcome Session::on(const Unsupported&) { return Outcome::reply(""); }
Outcome Session::on(const Malformed&) { return Outcome::reply(kInvalid); }

Outcome Session::on(const QuerySupported& query) {
  wants_swbreak_ = query.swbreak;
  wants_hwbreak_ = query.hwbreak;
  return Outcome::reply(
      fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;swbreak+;hwbreak+;"
                  "vContSupported+;ConditionalBreakpoints+;binary-upload+{}",
                  kPacketSize, target_.can_reverse() ? ";ReverseStep+;ReverseContinue+" : ""));
}

Outcome Session::on(const StartNoAckMode&) {
  Outcome outcome = Outcome::reply("OK");
  outcome.no_ack = true;
  return outcome;
}

Outcome Session::on(const ReadRegisters&) {
  const auto state = target_.registers();
  if (!state) return Outcome::reply(refusal(state.error()));
  return Outcome::reply(to_hex(read_registers(*state)));
}

Outcome Session::on(const WriteRegisters& request) {
  const auto before = target_.registers();
  if (!before) return Outcome::reply(refusal(before.error()));
  vm::CpuState after = *before;
  if (!write_registers(after, request.values)) return Outcome::reply(kInvalid);
  return Outcome::reply(ok_or_refusal(change_registers(*before, after)));
}

Outcome Session::on(const ReadRegister& request) {
  if (register_size(request.number) == 0) return Outcome::reply(kInvalid);
  const auto state = target_.registers();
  if (!state) return Outcome::reply(refusal(state.error()));
  return Outcome::reply(to_hex(read_register(*state, static_cast<unsigned>(request.number))));
}

Outcome Session::on(const WriteRegister& request) {
  const unsigned size = register_size(request.number);
  if (size == 0 || request.value.size() != size) return Outcome::reply(kInvalid);
  const auto before = target_.registers();
  if (!before) return Outcome::reply(refusal(before.error()));
  vm::CpuState after = *before;
  write_register(after, static_cast<unsigned>(request.number), request.value);
  return Outcome::reply(ok_or_refusal(change_registers(*before, after)));
}

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
  Outcome outcome{.then = Outcome::Then::killed};
  if (request.reply) outcome.replies.emplace_back("OK");
  if (!request.reply && lists_threads_) outcome.replies.emplace_back("X09");  // LLDB waits for an end, GDB for nothing
  return outcome;
}

Outcome Session::on(const ExtendedMode&) { return Outcome::reply("OK"); }
Outcome Session::on(const Restart&) { return {}; }

Outcome Session::on(const RunProgram&) {
  return Outcome::reply(refusal({"the guest runs already and cannot be started again from here", "start dejavm again"}));
}

Status Session::change_registers(const vm::CpuState& before, const vm::CpuState& after) {
  if (after == before) return {};  // a target that refuses changes is not asked about none
  return target_.set_registers(after);
}

std::string Session::refusal(const Error& error) const {
  return error_texts_ ? "E01;" + to_hex(describe(error)) : error_text(error);
}

void Session::note(const Error& error) {
  constexpr size_t kMaxNotes = 4096;
  if (notes_.size() < kMaxNotes) notes_ += describe(error) + "\n";
}

std::vector<std::string> Session::take_notes() { return console_payloads(std::exchange(notes_, {})); }

}  // namespace dejavm::gdb
