#include "cli/boot_files.h"

#include <algorithm>

#include "base/fd.h"
#include "base/parse.h"
#include "devices/boot_tables.h"
#include "devices/pc_memory_map.h"
#include "vm/loader/boot_plan.h"

namespace dejavm::cli {
namespace {

/// A kernel file may be larger than what of it is loaded: debug information.
constexpr uint64_t kMaxKernel = uint64_t{2} << 30;

bool is_start(const DeviceOption& device) { return device.name == kLoaderDevice && device.properties.contains("cpu-num"); }

/// `-device loader,file=FILE,addr=ADDR[,cpu-num=0][,force-raw=on|off]`
Result<loader::RawImage> read_raw_image(const DeviceOption& device, uint64_t limit) {
  loader::RawImage image;
  bool force_raw = false, has_addr = false;
  for (const auto& [name, value] : device.properties) {
    if (name == "file") {
      image.file.name = value;
    } else if (name == "addr") {
      auto addr = parse_u64(value);
      if (!addr) return fail_usage(fmt::format("-device loader: addr={} is not an address", value), "Write addr=0x7c00.");
      image.addr = *addr;
      has_addr = true;
    } else if (name == "cpu-num") {
      if (value != "0") return fail_usage(fmt::format("-device loader: there is no CPU {}", value), "Write cpu-num=0.");
      image.start = true;
    } else if (name == "force-raw" && (value == "on" || value == "off")) {
      force_raw = value == "on";
    } else {
      return fail_usage(fmt::format("-device loader: {}={} is not supported", name, value),
                        "Its properties are file, addr, cpu-num=0 and force-raw=on|off.");
    }
  }
  if (image.file.name.empty() || !has_addr) {
    return fail_usage("-device loader wants a file and an address", "For example -device loader,file=boot.bin,addr=0x7c00.");
  }
  TRY_ASSIGN(image.file.bytes, read_file(image.file.name, limit));
  static constexpr uint8_t kElf[] = {0x7f, 'E', 'L', 'F'};
  const Bytes& bytes = image.file.bytes;
  if (!force_raw && bytes.size() >= sizeof kElf && std::equal(kElf, kElf + sizeof kElf, bytes.begin())) {
    return fail_usage(fmt::format("-device loader: {} is an ELF file, and the loader takes raw images", image.file.name),
                      "Start it with -kernel, or load the file itself with force-raw=on.");
  }
  return image;
}

Status read_initrd(loader::BootRequest& request, const std::string& option, uint64_t limit) {
  bool modules = request.kernel && loader::takes_modules(request.kernel->bytes);
  // "FILE ARGUMENTS,FILE ARGUMENTS", as QEMU has it for multiboot modules.
  for (const std::string& text : modules ? split_option(option) : std::vector<std::string>{option}) {
    TRY_ASSIGN(Bytes bytes, read_file(modules ? text.substr(0, text.find(' ')) : text, limit));
    request.initrd.push_back({text, std::move(bytes)});
  }
  return {};
}

}  // namespace

bool starts_without_firmware(const VmOptions& options) {
  return !options.kernel.empty() || std::any_of(options.devices.begin(), options.devices.end(), is_start);
}

Result<GuestStart> load_guest(const VmOptions& options, vm::GuestMemory& memory) {
  if (starts_without_firmware(options) && options.bios_given) {
    return fail_usage("-bios with -kernel or -device loader,cpu-num=0: the guest starts without firmware",
                      "Leave -bios out.");
  }
  loader::BootRequest request;
  request.command_line = options.append;
  request.memory = devices::boot_memory_areas(memory.ram_size());
  if (starts_without_firmware(options)) request.acpi_rsdp = devices::kBootRsdp;
  if (!options.kernel.empty()) {
    TRY_ASSIGN(Bytes bytes, read_file(options.kernel, kMaxKernel));
    request.kernel = {options.kernel, std::move(bytes)};
  }
  if (!options.initrd.empty()) TRY(read_initrd(request, options.initrd, memory.ram_size()));
  for (const DeviceOption& device : options.devices) {
    if (device.name != kLoaderDevice) continue;
    TRY_ASSIGN(loader::RawImage image, read_raw_image(device, memory.ram_size()));
    request.images.push_back(std::move(image));
  }
  TRY_ASSIGN(loader::BootPlan plan, loader::plan_boot(request));
  TRY(loader::apply(plan, memory));
  return GuestStart{plan.cpu, plan.description};
}

}  // namespace dejavm::cli
