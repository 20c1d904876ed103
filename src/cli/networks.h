// The networks that a guest's cards are connected to.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/vm_options.h"
#include "net/frame_input.h"
#include "net/pcap.h"
#include "vm/network.h"

namespace dejavm::cli {

/// Owns the networks of `-netdev`, `-nic` and `-object filter-dump`. Outlives the machine, which sends to them.
class Networks {
 public:
  /// `now_ns`: the time of frames in dumps, nanoseconds since 1970.
  static Result<Networks> create(const VmOptions& options, const std::function<uint64_t()>& now_ns);

  /// For PcConfig::networks.
  std::map<std::string, vm::FrameSink> sinks() const;
  /// Connects the cards that the machine has. The inputs live as long as this object.
  std::vector<vm::HostInput*> connect(const std::map<std::string, vm::FrameReceiver*>& cards);
  /// What went wrong with the dumps.
  Status status() const;

 private:
  std::map<std::string, std::unique_ptr<net::Backend>> networks_;
  std::vector<const net::Dump*> dumps_;  // in networks_
  std::vector<std::unique_ptr<net::FrameInput>> inputs_;
};

}  // namespace dejavm::cli
