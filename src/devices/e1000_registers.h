// Register numbers, bits and the register file of the 82540EM. Source: Intel, PCI/PCI-X Family of Gigabit Ethernet
// Controllers Software Developer's Manual (317453), chapter 13; which registers keep what is written follows QEMU's e1000,
// measured.
#pragma once

#include <array>
#include <cstdint>

namespace dejavm::devices::e1000 {

// Offsets in BAR 0.
constexpr uint32_t kCtrl = 0x0000, kStatus = 0x0008, kEecd = 0x0010, kEerd = 0x0014, kMdic = 0x0020, kVet = 0x0038;
constexpr uint32_t kIcr = 0x00c0, kItr = 0x00c4, kIcs = 0x00c8, kIms = 0x00d0, kImc = 0x00d8;
constexpr uint32_t kRctl = 0x0100, kTctl = 0x0400, kLedctl = 0x0e00, kPba = 0x1000;
constexpr uint32_t kRdbal = 0x2800, kRdbah = 0x2804, kRdlen = 0x2808, kRdh = 0x2810, kRdt = 0x2818, kRdtr = 0x2820;
constexpr uint32_t kRadv = 0x282c;
constexpr uint32_t kTdbal = 0x3800, kTdbah = 0x3804, kTdlen = 0x3808, kTdh = 0x3810, kTdt = 0x3818, kTadv = 0x382c;
constexpr uint32_t kStatistics = 0x4000, kStatisticsEnd = 0x4100;
constexpr uint32_t kMta = 0x5200, kRa = 0x5400, kVfta = 0x5600, kManc = 0x5820;

// Statistics.
constexpr uint32_t kRnbc = 0x40a0, kRoc = 0x40ac, kPrc64 = 0x405c, kGprc = 0x4074, kBprc = 0x4078, kMprc = 0x407c;
constexpr uint32_t kGptc = 0x4080, kGorcl = 0x4088, kGotcl = 0x4090, kTorl = 0x40c0, kTotl = 0x40c8, kTpr = 0x40d0;
constexpr uint32_t kTpt = 0x40d4, kPtc64 = 0x40d8, kMptc = 0x40f0, kBptc = 0x40f4, kTsctc = 0x40f8, kFcruc = 0x4058;

// CTRL, STATUS.
constexpr uint32_t kCtrlReset = 1u << 26, kCtrlVlanMode = 1u << 30;
constexpr uint32_t kStatusLinkUp = 1u << 1;

// Interrupt causes.
constexpr uint32_t kCauseTxDescriptorWritten = 1u << 0, kCauseTxQueueEmpty = 1u << 1, kCauseLinkChange = 1u << 2;
constexpr uint32_t kCauseRxMinimum = 1u << 4, kCauseRxOverrun = 1u << 6, kCauseRxTimer = 1u << 7, kCauseMdio = 1u << 9;

// RCTL, TCTL.
constexpr uint32_t kRctlEnable = 1u << 1, kRctlStoreBad = 1u << 2, kRctlUnicastAll = 1u << 3, kRctlMulticastAll = 1u << 4;
constexpr uint32_t kRctlLongPackets = 1u << 5, kRctlBroadcast = 1u << 15, kRctlVlanFilter = 1u << 18;
constexpr uint32_t kRctlBigBuffers = 1u << 25, kRctlStripCrc = 1u << 26;
constexpr uint32_t kTctlEnable = 1u << 1;

constexpr uint32_t kDescriptorSize = 16;

/// All registers below 0x6000 as words; nothing is behind them up to the end of BAR 0.
class Registers {
 public:
  static constexpr uint32_t kSize = 0x6000;

  uint32_t& operator[](uint32_t offset) { return words_[offset / 4]; }
  uint32_t operator[](uint32_t offset) const { return words_[offset / 4]; }
  void clear() { words_.fill(0); }

  /// Descriptor `index` of the ring whose base registers start at `base_low`.
  uint64_t descriptor(uint32_t base_low, uint32_t index) const {
    uint64_t base = uint64_t{(*this)[base_low + 4]} << 32 | ((*this)[base_low] & ~0xfu);
    return base + uint64_t{index} * kDescriptorSize;
  }

 private:
  std::array<uint32_t, kSize / 4> words_{};
};

/// The bits of a plain register that a write changes; 0 for those that are not plain.
uint32_t writable_bits(uint32_t offset);

}  // namespace dejavm::devices::e1000
