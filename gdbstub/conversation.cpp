#include "gdbstub/conversation.h"

#include "gdbstub/replies.h"

namespace dejavm::gdb {

Conversation::Next Conversation::advance() {
  bool resend = false;
  while (consumed_ < input_.size()) {
    switch (framer_.feed(static_cast<uint8_t>(input_[consumed_++]))) {
      case Framer::Event::none:
      case Framer::Event::ack:
      case Framer::Event::interrupt:  // the guest is stopped: its stop was reported, or nothing ran
        break;
      case Framer::Event::nack:
        resend = ack_mode_;
        break;
      case Framer::Event::packet:
        return handle_packet();
      case Framer::Event::bad_checksum:
        refuse("the packet's checksum is wrong");
        return {Next::Kind::output};
      case Framer::Event::too_long:
        if (ack_mode_) output_ += '+';
        send(error_text({fmt::format("the packet is longer than {} bytes", kPacketSize), ""}));
        return {Next::Kind::output};
    }
  }
  input_.clear();
  consumed_ = 0;
  // Once for any number of requests, so that a debugger cannot make a few bytes into many.
  if (resend) output_ += last_sent_;
  return {Next::Kind::input};
}

Conversation::Next Conversation::handle_packet() {
  if (ack_mode_) output_ += '+';
  const Outcome outcome = session_.handle(parse_command(framer_.payload()));
  for (const std::string& payload : outcome.replies) send(payload);
  if (outcome.no_ack) ack_mode_ = false;
  switch (outcome.then) {
    case Outcome::Then::wait:
      return {Next::Kind::output};
    case Outcome::Then::resume:
      return {Next::Kind::resume, outcome.resume};
    case Outcome::Then::detached:
      return {Next::Kind::detached};
    case Outcome::Then::killed:
      return {Next::Kind::killed};
  }
  return {Next::Kind::output};
}

void Conversation::stopped(const Result<Stop>& stop) {
  for (const std::string& payload : session_.report(stop)) send(payload);
}

/// A damaged packet: asked for again, or, where the debugger sends nothing again, answered so that it does not wait for
/// ever.
void Conversation::refuse(std::string_view why) {
  if (ack_mode_) {
    output_ += '-';
  } else {
    send(error_text({std::string(why), ""}));
  }
}

void Conversation::send(std::string_view payload) {
  if (!ack_mode_) return append_frame(output_, payload);  // nobody asks for it again
  last_sent_ = frame(payload);
  output_ += last_sent_;
}

}  // namespace dejavm::gdb
