// `-netdev user,...`: a network in software behind the host's sockets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dejavm::net {

/// `hostfwd=[tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT`. Addresses are IPv4 in host byte order.
struct HostForward {
  bool udp = false;
  uint32_t host_address = 0;  ///< 0: all of the host's
  uint16_t host_port = 0;
  uint32_t guest_address = 0;  ///< 0: the first address that DHCP gives
  uint16_t guest_port = 0;
};

struct UserOptions {
  std::string id;
  uint32_t network = 0x0a000200;  ///< 10.0.2.0
  uint32_t mask = 0xffffff00;
  std::string tftp;      ///< the folder that TFTP serves; empty: none
  std::string bootfile;  ///< the file that DHCP names
  bool restricted = false;
  std::vector<HostForward> forwards;

  /// The addresses that QEMU's user network has in this one: gateway .2, DNS .3, the first guest .15.
  uint32_t at(uint32_t host) const { return (network & mask) | (host & ~mask); }
};

/// Errors (usage) name the property and what is supported.
Result<UserOptions> parse_user(std::string_view text);
/// The same for `option` (-nic), with what is left over: `name=value` of properties that are not the network's.
Result<UserOptions> parse_user(std::string_view option, std::string_view text, std::vector<std::string>& others);

}  // namespace dejavm::net
