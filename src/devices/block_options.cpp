#include "devices/block_options.h"

#include "base/parse.h"

namespace dejavm::devices {
namespace {

constexpr const char* kSupported =
    "Write -drive file=PATH,format=raw,if=virtio (or if=none,id=ID and -device virtio-blk-pci,drive=ID), with "
    "readonly=on|off "
    "and snapshot=on|off as you like.";

tl::unexpected<Error> refuse(std::string_view name, std::string_view value) {
  return fail_usage(fmt::format("-drive {}={} is not supported", name, value), kSupported);
}

Result<bool> parse_switch(std::string_view name, std::string_view value) {
  if (value == "on") return true;
  if (value == "off") return false;
  return fail_usage(fmt::format("-drive {}={} is neither on nor off", name, value), kSupported);
}

}  // namespace

Result<DriveRequest> parse_drive(std::string_view text) {
  std::map<std::string, std::string, std::less<>> left;
  for (const std::string& part : split_option(text)) {
    size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail_usage(fmt::format("-drive {}: '{}' is not property=value", text, part), kSupported);
    }
    left[part.substr(0, equals)] = part.substr(equals + 1);
  }
  auto take = [&left](std::string_view name) -> std::string {
    auto found = left.find(name);
    if (found == left.end()) return {};
    std::string value = found->second;
    left.erase(found);
    return value;
  };
  DriveRequest drive;
  drive.image.path = take("file");
  if (drive.image.path.empty()) return fail_usage(fmt::format("-drive {}: which file?", text), kSupported);
  drive.id = take("id");
  std::string interface = take("if");
  if (interface != "none" && interface != "virtio") {
    return refuse("if", interface.empty() ? "ide (QEMU's default)" : interface);
  }
  drive.wants_device = interface == "virtio";
  if (!drive.wants_device && drive.id.empty()) {
    return fail_usage(fmt::format("-drive {}: a drive with if=none needs an id=", text), kSupported);
  }
  std::string format = take("format");
  if (format != "raw") return refuse("format", format.empty() ? "(none; QEMU would guess)" : format);
  if (std::string media = take("media"); !media.empty() && media != "disk") return refuse("media", media);
  if (std::string discard = take("discard"); !discard.empty() && discard != "ignore" && discard != "off") {
    return refuse("discard", discard);
  }
  if (left.contains("readonly")) {
    TRY_ASSIGN(drive.image.read_only, parse_switch("readonly", take("readonly")));
  }
  if (left.contains("snapshot")) {
    TRY_ASSIGN(drive.image.snapshot, parse_switch("snapshot", take("snapshot")));
  }
  if (!left.empty()) return refuse(left.begin()->first, left.begin()->second);
  return drive;
}

Status Drives::open(std::vector<DriveRequest>& requests) {
  for (size_t number = 0; number < requests.size(); ++number) {
    DriveRequest& request = requests[number];
    if (request.id.empty()) request.id = fmt::format("virtio{}", number);
    if (images_.contains(request.id)) {
      return fail_usage(fmt::format("-drive id={}: there are two of that id", request.id),
                        "Give each drive an id of its own.");
    }
    TRY_ASSIGN(images_[request.id], BlockImage::open(request.image));
  }
  return {};
}

Result<std::unique_ptr<BlockStore>> Drives::take(const std::string& id, const std::string& device) {
  auto found = images_.find(id);
  if (found == images_.end()) {
    return fail_usage(id.empty() ? fmt::format("-device {} needs a drive", device)
                                 : fmt::format("-device {}: there is no drive '{}'", device, id),
                      "Give it one: -drive file=PATH,format=raw,if=none,id=ID -device virtio-blk-pci,drive=ID.");
  }
  if (found->second == nullptr) {
    return fail_usage(fmt::format("-device {}: drive '{}' has a device already", device, id),
                      "Give each a -drive of its own.");
  }
  return std::move(found->second);
}

}  // namespace dejavm::devices
