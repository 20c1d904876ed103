// Bytes of a management program through framing, parsing and all commands. The first byte says where the stream is cut in
// two.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "../unit/qmp/fake_guest.h"
#include "base/check.h"
#include "qmp/conversation.h"

namespace {

using namespace dejavm;

/// Every line that comes out is JSON, and answers or tells something.
void check(const std::string& output) {
  for (size_t at = 0; at < output.size();) {
    size_t end = output.find("\r\n", at);
    CHECK(end != std::string::npos);
    auto document = nlohmann::json::parse(output.substr(at, end - at), nullptr, false);
    CHECK(document.is_object());
    CHECK(document.contains("QMP") || document.contains("return") || document.contains("error") ||
          document.contains("event"));
    at = end + 2;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  qmp::FakeGuest guest;
  qmp::RunState state;
  qmp::Conversation conversation(guest, state);
  check(conversation.take_output());
  const ByteSpan bytes{data + 1, size - 1};
  const size_t cut = std::min<size_t>(data[0], bytes.size());
  for (ByteSpan part : {bytes.first(cut), bytes.subspan(cut)}) {
    conversation.receive(part, (data[0] & 1) != 0 ? Attendant::Standing::held : Attendant::Standing::runs);
    conversation.note_running((data[0] & 2) != 0);
    check(conversation.take_output());
  }
  return 0;
}
