#include "cli/networks.h"

#include "net/user_network.h"

namespace dejavm::cli {

Result<Networks> Networks::create(const VmOptions& options, const std::function<uint64_t()>& now_ns) {
  Networks networks;
  for (const net::UserOptions& user : options.networks) {
    if (networks.networks_.count(user.id) != 0) {
      return fail_usage(fmt::format("-netdev: there are two networks '{}'", user.id), "Give each an id of its own.");
    }
    TRY_ASSIGN(networks.networks_[user.id], net::UserNetwork::create(user));
  }
  for (const net::DumpOptions& dump : options.dumps) {
    auto network = networks.networks_.find(dump.netdev);
    if (network == networks.networks_.end()) {
      return fail_usage(fmt::format("-object filter-dump: there is no network '{}'", dump.netdev),
                        fmt::format("Add -netdev user,id={}.", dump.netdev));
    }
    TRY_ASSIGN(auto dumped, net::Dump::create(std::move(network->second), dump, now_ns));
    networks.dumps_.push_back(dumped.get());
    network->second = std::move(dumped);
  }
  return networks;
}

std::map<std::string, vm::FrameSink> Networks::sinks() const {
  std::map<std::string, vm::FrameSink> sinks;
  for (const auto& [id, network] : networks_) {
    sinks[id] = [to = network.get()](ByteSpan frame) { to->send(frame); };
  }
  return sinks;
}

std::vector<vm::HostInput*> Networks::connect(const std::map<std::string, vm::FrameReceiver*>& cards) {
  std::vector<vm::HostInput*> inputs;
  for (const auto& [id, card] : cards) {
    inputs_.push_back(std::make_unique<net::FrameInput>(*networks_.at(id), *card));
    inputs.push_back(inputs_.back().get());
  }
  return inputs;
}

Status Networks::status() const {
  for (const net::Dump* dump : dumps_) TRY(dump->status());
  return {};
}

}  // namespace dejavm::cli
