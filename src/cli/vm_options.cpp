#include "cli/vm_options.h"

#include <algorithm>
#include <ctime>

#include "base/parse.h"

namespace dejavm::cli {
namespace {

/// An option of QEMU's of which only some values mean what dejavm does anyway.
Option fixed(const std::string& name, std::string value_name, const std::vector<std::string>& accepted,
             const std::string& why) {
  auto apply = [name, accepted, why](std::string_view value) -> Status {
    for (const std::string& one : accepted) {
      if (value == one) return {};
    }
    return fail_usage(fmt::format("-{} {} is not supported: {}", name, value, why),
                      fmt::format("Use -{} {}.", name, accepted.front()));
  };
  return {name, std::move(value_name), {}, apply};
}

Status set_global(VmOptions& options, std::string_view value) {
  static constexpr std::string_view kBase = "isa-debugcon.iobase=";
  auto port = value.starts_with(kBase) ? parse_u64(value.substr(kBase.size())) : std::nullopt;
  if (!port || *port > 0xffff)
    return fail_usage(fmt::format("-global {} is not supported", value), "Only isa-debugcon.iobase=PORT is.");
  options.debugcon_port = *port;
  return {};
}

/// `-nic user[,model=e1000][,mac=...][,id=ID]...`: a network and its card.
Status add_nic(VmOptions& options, std::string_view value) {
  if (value == "none") return {};
  std::vector<std::string> others;
  TRY_ASSIGN(net::UserOptions network, net::parse_user("-nic", value, others));
  if (network.id.empty()) network.id = fmt::format("#nic{}", options.networks.size());
  DeviceOption card{"e1000", {{"netdev", network.id}}};
  for (const std::string& other : others) {
    if (other == "model=e1000") continue;
    size_t equals = std::min(other.find('='), other.size());
    std::string name = other.substr(0, equals);
    if (name != "mac" && name != "addr" && name != "romfile") {
      return fail_usage(fmt::format("-nic: '{}' is not supported", other),
                        "Its properties are those of -netdev user, model=e1000, mac, addr and romfile.");
    }
    card.properties[name] = other.substr(std::min(equals + 1, other.size()));
  }
  options.networks.push_back(std::move(network));
  options.devices.push_back(std::move(card));
  return {};
}

}  // namespace

/// QEMU's -rtc base=utc, or a time in UTC: 2026-01-31T12:00:00 or 2026-01-31.
std::function<Status(std::string_view)> set_rtc_base(std::optional<int64_t>& unix_s) {
  return [&unix_s](std::string_view value) -> Status {
    constexpr std::string_view kBase = "base=";
    std::string time(value.starts_with(kBase) ? value.substr(kBase.size()) : "");
    if (time == "utc") {
      unix_s.reset();
      return {};
    }
    std::tm fields{};
    const char* end =
        ::strptime(time.c_str(), time.find('T') != std::string::npos ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &fields);
    if (end == nullptr || *end != '\0') {
      return fail_usage(fmt::format("-rtc {} is not supported", value),
                        "Write base=utc, or a time in UTC: base=2026-01-31T12:00:00.");
    }
    unix_s = ::timegm(&fields);
    return {};
  };
}

Result<DeviceOption> parse_device(std::string_view text) {
  std::vector<std::string> parts = split_option(text);
  DeviceOption device{parts[0], {}};
  if (device.name.empty()) return fail_usage("-device wants a name", "For example -device edu.");
  for (size_t i = 1; i < parts.size(); ++i) {
    size_t equals = parts[i].find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return fail_usage(fmt::format("-device {}: '{}' is not property=value", device.name, parts[i]));
    }
    device.properties[parts[i].substr(0, equals)] = parts[i].substr(equals + 1);
  }
  return device;
}

std::vector<Option> vm_option_list(VmOptions& o) {
  auto memory = [&o](std::string_view value) -> Status {
    if (value.starts_with("size=")) value.remove_prefix(5);
    auto size = parse_size(value, uint64_t{1} << 20);
    if (!size || *size == 0) return fail_usage(fmt::format("-m {}: not a size", value), "For example -m 64M or -m 1G.");
    o.ram_size = *size;
    return {};
  };
  auto device = [&o](std::string_view value) -> Status {
    TRY_ASSIGN(DeviceOption parsed, parse_device(value));
    o.devices.push_back(std::move(parsed));
    return {};
  };
  auto bios = [&o](std::string_view value) -> Status {
    o.bios = value;
    o.bios_given = true;
    return {};
  };
  auto drive = [&o](std::string_view value) -> Status {
    TRY_ASSIGN(devices::DriveRequest parsed, devices::parse_drive(value));
    o.drives.push_back(std::move(parsed));
    return {};
  };
  auto netdev = [&o](std::string_view value) -> Status {
    TRY_ASSIGN(net::UserOptions network, net::parse_user(value));
    o.networks.push_back(std::move(network));
    return {};
  };
  auto object = [&o](std::string_view value) -> Status {
    TRY_ASSIGN(net::DumpOptions dump, net::parse_dump(value));
    o.dumps.push_back(std::move(dump));
    return {};
  };
  auto nic = [&o](std::string_view value) { return add_nic(o, value); };
  auto global = [&o](std::string_view value) { return set_global(o, value); };
  auto nothing = [](std::string_view) -> Status { return {}; };
  std::vector<Option> list = {
      fixed("M", "pc", {"pc", "i440fx"}, "the machine is QEMU's pc (i440FX)"),
      fixed("machine", "pc", {"pc", "i440fx"}, "the machine is QEMU's pc (i440FX)"),
      {"accel", "kvm|soft|auto", "the engine (default auto)", set_text(o.accel)},
      {"m", "SIZE", "RAM, in MiB or with a suffix K, M, G (default 128M)", memory},
      {"bios", "FILE", "the firmware, or a bare-metal guest (default SeaBIOS)", bios},
      {"kernel", "FILE", "starts without firmware: Linux bzImage, multiboot, PVH or other ELF", set_text(o.kernel)},
      {"initrd", "FILE", "Linux's initial RAM disk; multiboot modules: FILE ARGS,FILE ARGS", set_text(o.initrd)},
      {"append", "TEXT", "the kernel's command line", set_text(o.append)},
      {"rtc", "base=utc|TIME", "the RTC's start: now, or e.g. 2026-01-31T12:00:00", set_rtc_base(o.rtc_base_unix_s)},
      {"device", "NAME[,PROP=V]",
       "adds a device: e1000, edu, isa-debug-exit, isa-debugcon, virtio-blk-pci, virtio-rng-pci, loader (a raw image)",
       device},
      {"drive", "file=FILE,format=raw,if=I", "a disk; if=virtio, or none with id=; readonly=, snapshot=on|off (default on)",
       drive},
      {"netdev", "user,id=ID[,PROP=V]", "a network: net=, tftp=, bootfile=, hostfwd=, restrict=", netdev},
      {"nic", "user[,PROP=V]|none", "a network and an e1000 on it", nic},
      {"object", "filter-dump,...", "writes a network's frames: netdev=ID,file=PATH[,maxlen=N]", object},
      {"serial", "stdio|null|file:PATH", "where COM1 goes (default stdio)", set_text(o.serial)},
      {"debugcon", "stdio|null|file:PATH", "where writes to port 0x402 and 0xe9 go", set_text(o.debugcon)},
      {"global", "isa-debugcon.iobase=PORT", "moves the debug console", global},
      {"no-reboot", "", "a reset ends the run", set_flag(o.no_reboot)},
      fixed("cpu", "dejavm64-v1", {"dejavm64-v1"}, "the CPU model is fixed, so that traces do not depend on the host"),
      fixed("smp", "1", {"1", "cpus=1"}, "dejavm records one vCPU"),
      fixed("display", "none", {"none"}, "there is no display"),
      fixed("vga", "none", {"none"}, "there is no display"),
      fixed("net", "none", {"none"}, "name the network and its card: -netdev user,id=ID -device e1000,netdev=ID"),
      {"nographic", "", {}, nothing},
      {"nodefaults", "", {}, nothing},
  };
  std::vector<Option> more = connection_option_list(o.connections);
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

}  // namespace dejavm::cli
