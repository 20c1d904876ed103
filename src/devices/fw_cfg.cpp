#include "devices/fw_cfg.h"

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr uint16_t kSignature = 0x00, kId = 0x01, kUuid = 0x02, kRamSize = 0x03, kNoGraphic = 0x04, kCpus = 0x05;
constexpr uint16_t kNuma = 0x0d, kBootMenu = 0x0e, kMaxCpus = 0x0f, kDirectory = 0x19, kFirstFile = 0x20;
constexpr uint16_t kIrq0Override = 0x8002;
constexpr uint16_t kWriteChannel = 0x4000;  // a selector bit without meaning for reads
constexpr size_t kNameSize = 56;

template <typename T>
Bytes little_endian(T value) {
  Bytes bytes(sizeof value);
  store_le(bytes.data(), value);
  return bytes;
}

void append_big_endian(Bytes& to, uint64_t value, unsigned size) {
  for (unsigned i = size; i-- > 0;) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

/// One entry of the firmware's memory map: address, length, type 1 (RAM).
void append_e820(Bytes& to, uint64_t address, uint64_t length) {
  size_t at = to.size();
  to.resize(at + 20);
  store_le<uint64_t>(&to[at], address);
  store_le<uint64_t>(&to[at + 8], length);
  store_le<uint32_t>(&to[at + 16], 1);
}

}  // namespace

FwCfg::FwCfg(Items items, const Files& files) : items_(std::move(items)) {
  items_[kSignature] = {'Q', 'E', 'M', 'U'};
  items_[kId] = little_endian<uint32_t>(1);  // bit 0: the port interface; bit 1 would be DMA
  Bytes directory;
  append_big_endian(directory, files.size(), 4);
  uint16_t select = kFirstFile;
  for (const auto& [file, contents] : files) {
    CHECK(file.size() < kNameSize);
    append_big_endian(directory, contents.size(), 4);
    append_big_endian(directory, select, 2);
    append_big_endian(directory, 0, 2);
    directory.insert(directory.end(), file.begin(), file.end());
    directory.insert(directory.end(), kNameSize - file.size(), 0);
    selectors_[file] = select;
    items_[select++] = contents;
  }
  items_[kDirectory] = std::move(directory);
}

void FwCfg::on_select(const std::string& file, std::function<Bytes()> make) {
  makers_[selectors_.at(file)] = std::move(make);
}

void FwCfg::reset() {
  selected_ = 0;
  position_ = 0;
}

uint64_t FwCfg::read(unsigned, uint64_t offset, unsigned size) {
  if (offset != 1 || size != 1) return 0;  // the selector is write-only
  auto item = items_.find(selected_);
  if (item == items_.end() || position_ >= item->second.size()) return 0;
  return item->second[position_++];
}

void FwCfg::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (offset != 0 || size != 2) return;
  selected_ = static_cast<uint16_t>(value & ~uint64_t{kWriteChannel});
  position_ = 0;
  auto maker = makers_.find(selected_);
  if (maker == makers_.end()) return;
  Bytes made = maker->second();
  Bytes& contents = items_[selected_];
  CHECK(made.size() == contents.size());
  contents = std::move(made);
}

FwCfg::Items pc_fw_cfg_items(const FwCfgConfig& config) {
  FwCfg::Items items;
  auto cpus = static_cast<uint16_t>(config.cpus);
  items[kUuid] = Bytes(16, 0);
  items[kRamSize] = little_endian<uint64_t>(config.ram_below_4g + config.ram_above_4g);
  items[kNoGraphic] = little_endian<uint16_t>(0);
  items[kCpus] = little_endian(cpus);
  items[kMaxCpus] = little_endian(cpus);
  items[kBootMenu] = little_endian<uint16_t>(0);
  // The number of NUMA nodes, then the node of each CPU.
  items[kNuma] = Bytes(8 + 8 * size_t{config.cpus}, 0);
  items[kIrq0Override] = little_endian<uint32_t>(1);
  return items;
}

FwCfg::Files pc_fw_cfg_files(const FwCfgConfig& config) {
  Bytes e820;
  append_e820(e820, 0, config.ram_below_4g);
  if (config.ram_above_4g > 0) append_e820(e820, uint64_t{1} << 32, config.ram_above_4g);
  // -1: a boot that fails does not restart by itself.
  return {{"etc/boot-fail-wait", little_endian<uint32_t>(0xffffffff)}, {"etc/e820", std::move(e820)}};
}

}  // namespace dejavm::devices
