// The options that describe a guest, spelled as QEMU spells them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/command_line.h"
#include "cli/connections.h"
#include "devices/block_options.h"
#include "net/pcap.h"
#include "net/user_options.h"

namespace dejavm::cli {

/// `-device NAME,prop=value,...`
struct DeviceOption {
  std::string name;
  std::map<std::string, std::string> properties;
};

struct VmOptions {
  std::string accel = "auto";
  uint64_t ram_size = uint64_t{128} << 20;
  std::string bios = "/usr/share/seabios/bios-256k.bin";
  bool bios_given = false;
  std::string kernel;  ///< empty: firmware starts the guest
  std::string initrd;
  std::string append;
  std::optional<int64_t> rtc_base_unix_s;  ///< what the RTC shows at the start; absent: the host's time
  std::vector<DeviceOption> devices;
  std::vector<devices::DriveRequest> drives;
  std::vector<net::UserOptions> networks;
  std::vector<net::DumpOptions> dumps;
  std::string serial = "stdio";
  std::string debugcon;
  uint64_t debugcon_port = 0;  ///< 0: the standard ports
  bool no_reboot = false;
  ConnectionOptions connections;
};

/// The options, applied to `options` when parsed; it must outlive them.
std::vector<Option> vm_option_list(VmOptions& options);

/// Splits "edu,dma_delay_us=50" as QEMU does.
Result<DeviceOption> parse_device(std::string_view text);

}  // namespace dejavm::cli
