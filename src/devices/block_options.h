// `-drive`: the disks that a user gives the machine, and their images.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/block_image.h"

namespace dejavm::devices {

/// `-drive
/// file=PATH,if=none|virtio,format=raw[,id=ID][,readonly=on|off][,snapshot=on|off][,media=disk][,discard=ignore|off]`.
/// Unlike QEMU's, snapshot=on is the default.
struct DriveRequest {
  std::string id;  ///< empty where if=virtio and none is given: nobody names it
  BlockImage::Options image;
  bool wants_device = false;  ///< if=virtio: the machine adds a virtio-blk-pci for it
};

/// `text` is the option's value. Errors (usage) name the option and what is supported.
Result<DriveRequest> parse_drive(std::string_view text);

/// The images by the drive's id, until a device takes them.
class Drives {
 public:
  /// Opens the images. Gives the drives without id one (virtio0, ... by their number); two of one id are refused.
  Status open(std::vector<DriveRequest>& requests);
  /// The image of a drive; every drive has one device at most. `device` is for the error.
  Result<std::unique_ptr<BlockStore>> take(const std::string& id, const std::string& device);

 private:
  std::map<std::string, std::unique_ptr<BlockStore>> images_;  // null: taken
};

}  // namespace dejavm::devices
