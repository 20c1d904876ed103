// A network's frames in a file, as `-object filter-dump` writes them. Source: the libpcap file format, version 2.4
// (draft-ietf-opsawg-pcap).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "net/backend.h"

namespace dejavm::net {

/// `-object filter-dump,id=ID,netdev=ID,file=PATH[,maxlen=N]`
struct DumpOptions {
  std::string id;
  std::string netdev;
  std::string file;
  uint32_t max_length = 65536;  ///< of a frame; what is longer is cut off
};
/// Errors (usage) name the property.
Result<DumpOptions> parse_dump(std::string_view text);

/// Passes frames on and writes both directions to a file. One thread. A file that cannot be written ends the dump and leaves
/// the network alone; `status()` says so.
class Dump final : public Backend {
 public:
  /// `now_ns`: the time of a frame, nanoseconds since 1970.
  static Result<std::unique_ptr<Dump>> create(std::unique_ptr<Backend> network, const DumpOptions& options,
                                              std::function<uint64_t()> now_ns);

  void send(ByteSpan frame) override;
  int descriptor() const override { return network_->descriptor(); }
  std::optional<Bytes> take() override;
  const Status& status() const { return status_; }

 private:
  Dump(std::unique_ptr<Backend> network, DumpOptions options, std::function<uint64_t()> now_ns, Fd file)
      : network_(std::move(network)), options_(std::move(options)), now_ns_(std::move(now_ns)), file_(std::move(file)) {}
  void write(ByteSpan frame);

  std::unique_ptr<Backend> network_;
  DumpOptions options_;
  std::function<uint64_t()> now_ns_;
  Fd file_;
  Status status_;
};

}  // namespace dejavm::net
