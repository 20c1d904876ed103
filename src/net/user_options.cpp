#include "net/user_options.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>

#include "base/parse.h"

namespace dejavm::net {
namespace {

std::optional<uint32_t> parse_address(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::optional<uint16_t> parse_port(std::string_view text) {
  std::optional<uint64_t> port = parse_u64(text);
  if (!port || *port == 0 || *port > 0xffff) return std::nullopt;
  return static_cast<uint16_t>(*port);
}

/// ADDRESS:PORT, where the address may be empty.
bool parse_end(std::string_view text, uint32_t& address, uint16_t& port) {
  std::vector<std::string_view> parts = split(text, ':');
  if (parts.size() != 2) return false;
  std::optional<uint32_t> given = parts[0].empty() ? 0 : parse_address(parts[0]);
  std::optional<uint16_t> number = parse_port(parts[1]);
  if (!given || !number) return false;
  address = *given;
  port = *number;
  return true;
}

Status add_forward(UserOptions& options, std::string_view text) {
  HostForward forward;
  size_t colon = std::min(text.find(':'), text.size());
  size_t dash = std::min(text.find('-'), text.size());
  std::string_view protocol = text.substr(0, colon);
  forward.udp = protocol == "udp";
  bool good = (forward.udp || protocol == "tcp" || protocol.empty()) && colon < dash && dash < text.size() &&
              parse_end(text.substr(colon + 1, dash - colon - 1), forward.host_address, forward.host_port) &&
              parse_end(text.substr(dash + 1), forward.guest_address, forward.guest_port);
  if (!good) {
    return fail_usage(fmt::format("-netdev user: hostfwd={} is not a forwarding rule", text),
                      "Write PROTOCOL:[ADDRESS]:PORT-[ADDRESS]:PORT, e.g. hostfwd=tcp:127.0.0.1:2222-:22.");
  }
  options.forwards.push_back(forward);
  return {};
}

Status set_network(UserOptions& options, std::string_view text) {
  size_t slash = std::min(text.find('/'), text.size());
  std::optional<uint32_t> network = parse_address(text.substr(0, slash));
  uint32_t mask = 0xffffff00;
  bool good = network.has_value();
  if (good && slash < text.size()) {
    std::string_view given = text.substr(slash + 1);
    std::optional<uint64_t> bits = parse_u64(given);
    std::optional<uint32_t> dotted = parse_address(given);
    good = (bits && *bits >= 8 && *bits <= 28) || dotted;
    mask = dotted ? *dotted : UINT32_MAX << (32 - bits.value_or(24));
  }
  good = good && mask >= 0xff000000 && mask <= 0xfffffff0 && std::has_single_bit(~mask + 1u);
  if (!good) {
    return fail_usage(fmt::format("-netdev user: net={} is not a network", text),
                      "Write ADDRESS/BITS with 8 to 28 bits, e.g. net=10.0.2.0/24.");
  }
  options.network = *network & mask;
  options.mask = mask;
  return {};
}

Result<bool> parse_switch(std::string_view name, std::string_view value) {
  if (value == "on" || value == "yes") return true;
  if (value == "off" || value == "no") return false;
  return fail_usage(fmt::format("-netdev user: {}={} is neither on nor off", name, value));
}

/// False where the property is not the network's.
Result<bool> set_property(UserOptions& options, std::string_view name, std::string_view value) {
  if (name == "id") {
    options.id = value;
  } else if (name == "net") {
    TRY(set_network(options, value));
  } else if (name == "tftp") {
    options.tftp = value;
  } else if (name == "bootfile") {
    options.bootfile = value;
  } else if (name == "hostfwd") {
    TRY(add_forward(options, value));
  } else if (name == "restrict") {
    TRY_ASSIGN(options.restricted, parse_switch(name, value));
  } else {
    return false;
  }
  return true;
}

}  // namespace

Result<UserOptions> parse_user(std::string_view option, std::string_view text, std::vector<std::string>& others) {
  UserOptions options;
  std::vector<std::string> parts = split_option(text);
  if (parts[0] != "user") {
    return fail_usage(fmt::format("{} {} is not supported", option, parts[0]),
                      "Only user networks are, e.g. -netdev user,id=lan.");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    size_t equals = std::min(parts[i].find('='), parts[i].size());
    std::string value = parts[i].substr(std::min(equals + 1, parts[i].size()));
    TRY_ASSIGN(bool known, set_property(options, parts[i].substr(0, equals), value));
    if (!known) others.push_back(parts[i]);
  }
  return options;
}

Result<UserOptions> parse_user(std::string_view text) {
  std::vector<std::string> others;
  TRY_ASSIGN(UserOptions options, parse_user("-netdev", text, others));
  if (!others.empty()) {
    return fail_usage(fmt::format("-netdev user: '{}' is not supported", others.front()),
                      "Its properties are id, net, tftp, bootfile, hostfwd, restrict.");
  }
  if (options.id.empty()) return fail_usage("-netdev user wants an id", "For example -netdev user,id=net0.");
  return options;
}

}  // namespace dejavm::net
