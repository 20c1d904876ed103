#include "net/pcap.h"

#include <fcntl.h>

#include <algorithm>

#include "base/parse.h"

namespace dejavm::net {
namespace {

constexpr uint32_t kMagic = 0xa1b2c3d4;  // microseconds, in this byte order
constexpr uint32_t kVersion = 0x00040002;
constexpr uint32_t kEthernet = 1;

Bytes words(std::initializer_list<uint32_t> values) {
  Bytes bytes;
  for (uint32_t value : values) {
    bytes.resize(bytes.size() + 4);
    store_le(&bytes[bytes.size() - 4], value);
  }
  return bytes;
}

}  // namespace

Result<DumpOptions> parse_dump(std::string_view text) {
  DumpOptions options;
  std::vector<std::string> parts = split_option(text);
  if (parts[0] != "filter-dump") {
    return fail_usage(fmt::format("-object {} is not supported", parts[0]),
                      "Only -object filter-dump,id=ID,netdev=ID,file=PATH is.");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    size_t equals = std::min(parts[i].find('='), parts[i].size());
    std::string name = parts[i].substr(0, equals), value = parts[i].substr(std::min(equals + 1, parts[i].size()));
    std::optional<uint64_t> number = parse_u64(value);
    if (name == "id") {
      options.id = value;
    } else if (name == "netdev") {
      options.netdev = value;
    } else if (name == "file") {
      options.file = value;
    } else if (name == "maxlen" && number && *number > 0 && *number <= 65536) {
      options.max_length = static_cast<uint32_t>(*number);
    } else {
      return fail_usage(fmt::format("-object filter-dump: '{}' is not supported", parts[i]),
                        "Its properties are id, netdev, file, and maxlen from 1 to 65536.");
    }
  }
  if (options.netdev.empty() || options.file.empty()) {
    return fail_usage("-object filter-dump wants netdev=ID and file=PATH",
                      "For example -object filter-dump,id=dump,netdev=net0,file=net.pcap.");
  }
  return options;
}

Result<std::unique_ptr<Dump>> Dump::create(std::unique_ptr<Backend> network, const DumpOptions& options,
                                           std::function<uint64_t()> now_ns) {
  TRY_ASSIGN(Fd file, open_file(options.file, O_WRONLY | O_CREAT | O_TRUNC));
  TRY(write_all(file.get(), words({kMagic, kVersion, 0, 0, options.max_length, kEthernet}), options.file));
  return std::unique_ptr<Dump>(new Dump(std::move(network), options, std::move(now_ns), std::move(file)));
}

void Dump::send(ByteSpan frame) {
  write(frame);
  network_->send(frame);
}

std::optional<Bytes> Dump::take() {
  std::optional<Bytes> frame = network_->take();
  if (frame) write(*frame);
  return frame;
}

void Dump::write(ByteSpan frame) {
  if (!status_) return;
  uint64_t us = now_ns_() / 1000;
  auto kept = static_cast<uint32_t>(std::min<uint64_t>(frame.size(), options_.max_length));
  Bytes record = words({static_cast<uint32_t>(us / 1'000'000), static_cast<uint32_t>(us % 1'000'000), kept,
                        static_cast<uint32_t>(frame.size())});
  record.insert(record.end(), frame.begin(), frame.begin() + kept);
  status_ = write_all(file_.get(), record, options_.file);
}

}  // namespace dejavm::net
