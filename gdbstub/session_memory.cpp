// A debugger's questions about memory, and the objects that it reads in pieces.
#include <algorithm>
#include <string_view>

#include "gdbstub/hex.h"
#include "gdbstub/memory_map.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"
#include "gdbstub/replies.h"
#include "gdbstub/session.h"

namespace dejavm::gdb {

namespace {

/// What one qSearch looks through at most: a guest's page tables can show any amount of memory.
constexpr uint64_t kMaxSearch = uint64_t{4} << 30;
constexpr size_t kSearchChunk = size_t{1} << 20;

/// Offset of the pattern in the text; npos.
size_t find_bytes(ByteSpan text, ByteSpan pattern) {
  const std::string_view where(reinterpret_cast<const char*>(text.data()), text.size());
  return where.find(std::string_view(reinterpret_cast<const char*>(pattern.data()), pattern.size()));
}

}  // namespace

size_t Session::read_memory(uint64_t addr, MutableByteSpan to) {
  const size_t count = physical_memory_ ? target_.read_physical({addr}, to) : target_.read_virtual({addr}, to);
  return std::min(count, to.size());
}

Outcome Session::on(const ReadMemory& request) {
  Bytes bytes(static_cast<size_t>(std::min<uint64_t>(request.length, kMaxPayload / 2)));
  const size_t count = read_memory(request.addr, bytes);
  if (count == 0) return Outcome::reply(kBadAddress);
  return Outcome::reply(to_hex(ByteSpan(bytes).first(count)));
}

/// GDB (from 16 on) and new LLDBs, which find it in qSupported, want a 'b' before the bytes; older LLDBs, which ask with a
/// length of 0, do not.
Outcome Session::on(const ReadMemoryBinary& request) {
  if (request.length == 0) {
    plain_binary_ = true;
    return Outcome::reply("OK");
  }
  Bytes bytes(static_cast<size_t>(std::min<uint64_t>(request.length, kMaxPayload - 1)));
  const size_t count = read_memory(request.addr, bytes);
  if (count == 0) return Outcome::reply(kBadAddress);
  size_t taken = 0;
  const std::string data = escape({reinterpret_cast<const char*>(bytes.data()), count}, kMaxPayload - 1, taken);
  return Outcome::reply((plain_binary_ ? "" : "b") + data);
}

Outcome Session::on(const WriteMemory& request) {
  if (request.data.empty()) return Outcome::reply("OK");
  const Status written = physical_memory_ ? target_.write_physical({request.addr}, request.data)
                                          : target_.write_virtual({request.addr}, request.data);
  if (written) return Outcome::reply("OK");
  if (error_texts_) return Outcome::reply(refusal(written.error()));
  note(written.error());
  return Outcome::reply(kBadAddress);
}

/// "1,ADDR", or "0". Memory that cannot be read before the pattern is found is an error, as GDB's own search has it.
Outcome Session::on(const SearchMemory& request) {
  const size_t pattern_size = request.pattern.size();
  if (request.length > kMaxSearch) {
    return Outcome::reply(
        refusal({fmt::format("{} bytes are too much to search at once", request.length), "at most 4 GiB"}));
  }
  Bytes window;
  uint64_t read = 0;  // of the length
  while (read < request.length) {
    const size_t kept = std::min(window.size(), pattern_size - 1);
    window.erase(window.begin(), window.end() - static_cast<ptrdiff_t>(kept));
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kSearchChunk, request.length - read));
    window.resize(kept + wanted);
    const size_t got = read_memory(request.addr + read, MutableByteSpan(window).subspan(kept));
    window.resize(kept + got);
    const size_t found = find_bytes(window, request.pattern);
    if (found != std::string_view::npos) {
      return Outcome::reply(fmt::format("1,{:x}", request.addr + read - kept + found));
    }
    read += got;
    if (got < wanted) return Outcome::reply(kBadAddress);
  }
  return Outcome::reply("0");
}

Outcome Session::on(const ReadObject& request) {
  const bool features = request.object == ReadObject::Object::features;
  if (request.annex != (features ? "target.xml" : "")) return Outcome::reply("E00");
  std::string& text = features ? target_xml_ : memory_map_xml_;
  if (request.offset == 0) text = features ? target_xml() : memory_map_xml(target_.physical_regions());
  if (request.offset >= text.size()) return Outcome::reply("l");
  const std::string_view rest = std::string_view(text).substr(static_cast<size_t>(request.offset));
  const std::string_view part = rest.substr(0, static_cast<size_t>(std::min<uint64_t>(request.length, rest.size())));
  size_t taken = 0;
  const std::string data = escape(part, kMaxPayload - 1, taken);
  return Outcome::reply((taken == rest.size() ? "l" : "m") + data);
}

}  // namespace dejavm::gdb
