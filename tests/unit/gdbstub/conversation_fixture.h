// A debugger for tests that talks to a Conversation in no-ack mode, without a socket.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "fake_target.h"
#include "gdbstub/conversation.h"
#include "gdbstub/hex.h"
#include "stop_reply.h"

namespace dejavm::gdb {

inline ByteSpan span(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

/// A debugger in no-ack mode that sends one packet at a time.
class ConversationTest : public testing::Test {
 protected:
  ConversationTest() { ask("QStartNoAckMode"); }

  /// Everything that the stub sends for a packet, resumes included, as payloads separated by '|', stop replies without the
  /// registers in them.
  std::string ask(std::string_view payload) { return without_registers(raw(frame(payload))); }

  std::string raw(std::string_view bytes) {
    conversation_.receive(span(bytes));
    std::string sent;
    for (;;) {
      last_ = conversation_.advance();
      if (last_.kind == Conversation::Next::Kind::resume) conversation_.stopped(target_.resume(last_.resume));
      const std::string output = conversation_.take_output();
      EXPECT_LE(output.size(), kPacketSize * 8);
      sent += output;
      if (last_.kind != Conversation::Next::Kind::output && last_.kind != Conversation::Next::Kind::resume) break;
    }
    return payloads(sent);
  }

  static std::string payloads(const std::string& sent) {
    Framer framer;
    std::string all;
    for (char c : sent) {
      if (framer.feed(static_cast<uint8_t>(c)) == Framer::Event::packet) all += (all.empty() ? "" : "|") + framer.payload();
    }
    return all;
  }

  static std::string console(std::string_view text) { return "O" + to_hex(text); }

  FakeTarget target_;
  Conversation conversation_{target_};
  Conversation::Next last_;
};

}  // namespace dejavm::gdb
