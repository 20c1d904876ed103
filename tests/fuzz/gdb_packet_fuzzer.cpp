// Bytes of a debugger through framing, parsing and all commands, on a target without a CPU. The first byte chooses the
// framing: raw bytes as they are, or each line as the payload of a sound packet, so that checksums do not keep the fuzzer
// out; or that the rest is an agent expression.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "../unit/gdbstub/fake_target.h"
#include "base/check.h"
#include "gdbstub/agent.h"
#include "gdbstub/conversation.h"

namespace {

using namespace dejavm;
using Kind = gdb::Conversation::Next::Kind;

/// What one packet may make the stub send: console text of a monitor command, and a reply.
constexpr size_t kMaxOutput = 8 * gdb::kPacketSize;

std::string with_frames(std::string_view lines) {
  std::string bytes = gdb::frame("QStartNoAckMode");
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    bytes += gdb::frame(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return bytes;
}

void converse(gdb::FakeTarget& target, std::string_view bytes) {
  gdb::Conversation conversation(target);
  conversation.receive({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  for (;;) {
    const gdb::Conversation::Next next = conversation.advance();
    if (next.kind == Kind::resume) conversation.stopped(target.resume(next.resume));
    CHECK(conversation.take_output().size() <= kMaxOutput);
    if (next.kind == Kind::input || next.kind == Kind::detached || next.kind == Kind::killed) return;
  }
}

void evaluate(std::string_view code) {
  const gdb::AgentValues values{
      [](unsigned number) { return number < 100 ? std::optional<uint64_t>(number) : std::nullopt; },
      [](uint64_t addr, MutableByteSpan to) {
        std::fill(to.begin(), to.end(), static_cast<uint8_t>(addr));
        return addr < 0x10000;
      }};
  static_cast<void>(gdb::evaluate({reinterpret_cast<const uint8_t*>(code.data()), code.size()}, values));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 8) != 0) {
    evaluate(rest);
    return 0;
  }
  gdb::FakeTarget target;
  target.end_of_trace();  // a guest that runs ends at once
  target.read_only = (data[0] & 2) != 0;
  target.reverses = (data[0] & 4) != 0;
  converse(target, (data[0] & 1) != 0 ? with_frames(rest) : std::string(rest));
  return 0;
}
