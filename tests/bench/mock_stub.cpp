// A stub that answers reads of memory with bytes that it has ready: what gdb reaches with it, it cannot exceed.
//
//   mock_stub SOCKET
//
// Serves one debugger on a Unix socket, says "listening" on standard output, and ends with it.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <map>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "gdbstub/command.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"

namespace dejavm {
namespace {

class Mock {
 public:
  /// The framed answer to a packet.
  std::string answer(const std::string& packet) {
    if (packet.starts_with("m")) return memory(packet);
    if (packet.starts_with("qSupported")) {
      return gdb::frame(fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+", gdb::kPacketSize));
    }
    if (packet.starts_with("qXfer:features:")) return description(packet);
    if (packet == "QStartNoAckMode") return gdb::frame("OK");
    if (packet == "?") return gdb::frame("T05thread:01;");
    if (packet == "g") return gdb::frame(to_hex(gdb::read_registers({})));
    if (packet == "qC") return gdb::frame("QC01");
    if (packet == "qfThreadInfo") return gdb::frame("m01");
    if (packet == "qsThreadInfo") return gdb::frame("l");
    if (packet.starts_with("H") || packet.starts_with("D")) return gdb::frame("OK");
    return gdb::frame("");
  }

 private:
  static std::string description(const std::string& packet) {
    const gdb::Command command = gdb::parse_command(packet);
    const auto* read = std::get_if<gdb::ReadObject>(&command);
    const std::string xml = gdb::target_xml();
    if (read == nullptr || read->offset >= xml.size()) return gdb::frame("l");
    return gdb::frame("m" + xml.substr(static_cast<size_t>(read->offset), static_cast<size_t>(read->length)));
  }

  const std::string& memory(const std::string& packet) {
    const gdb::Command command = gdb::parse_command(packet);
    const auto* read = std::get_if<gdb::ReadMemory>(&command);
    const uint64_t length = read != nullptr ? std::min<uint64_t>(read->length, gdb::kMaxPayload / 2) : 0;
    std::string& ready = memory_[length];
    if (ready.empty()) ready = gdb::frame(std::string(static_cast<size_t>(length) * 2, '0'));
    return ready;
  }

  std::map<uint64_t, std::string> memory_;
};

int serve(int client) {
  Mock mock;
  gdb::Framer framer;
  bool acks = true;
  char bytes[4096];
  for (ssize_t got = 0; (got = read(client, bytes, sizeof bytes)) > 0;) {
    for (const char byte : std::string_view(bytes, static_cast<size_t>(got))) {
      if (framer.feed(static_cast<uint8_t>(byte)) != gdb::Framer::Event::packet) continue;
      const std::string reply = (acks ? "+" : "") + mock.answer(framer.payload());
      if (!write_all(client, {reinterpret_cast<const uint8_t*>(reply.data()), reply.size()}, "the debugger")) return 1;
      acks = acks && framer.payload() != "QStartNoAckMode";
      if (framer.payload() == "k") return 0;
    }
  }
  return 0;
}

int run(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string_view(path).copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener.get(), 1) != 0) {
    std::perror("mock_stub");
    return 1;
  }
  fmt::print("listening\n");
  std::fflush(stdout);
  const Fd client(accept(listener.get(), nullptr, nullptr));
  return serve(client.get());
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: mock_stub SOCKET\n");
    return 2;
  }
  return dejavm::run(argv[1]);
}
