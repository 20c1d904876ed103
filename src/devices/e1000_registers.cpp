#include "devices/e1000_registers.h"

namespace dejavm::devices::e1000 {
namespace {

constexpr uint32_t kAll = UINT32_MAX;

struct Writable {
  uint32_t first, last;  // offsets
  uint32_t step;
  uint32_t bits;
};

constexpr Writable kWritable[] = {
    {kVet, kVet, 4, kAll},           {kItr, kItr, 4, 0xffff},      {kRctl, kRctl, 4, kAll},       {kTctl, kTctl, 4, kAll},
    {0x0458, 0x0458, 4, 0xffff},                                                                 // AIT
    {kLedctl, kLedctl, 4, kAll},     {kPba, kPba, 4, kAll},        {0x2410, 0x2430, 8, 0x1fff},  // receive FIFO pointers
    {kRdbal, kRdbah, 4, kAll},       {kRdlen, kRdlen, 4, 0xfff80}, {kRdh, kRdtr, 8, 0xffff},      {kRadv, kRadv, 4, 0xffff},
    {0x3410, 0x3418, 8, 0x7ff},  // transmit FIFO pointers
    {0x3420, 0x3430, 8, 0x1fff},     {kTdbal, kTdbah, 4, kAll},    {kTdlen, kTdlen, 4, 0xfff80},  {kTdh, kTdt, 8, 0xffff},
    {0x3828, 0x3828, 4, kAll},  // TXDCTL
    {kTadv, kTadv, 4, 0xffff},       {kFcruc, kFcruc, 4, kAll},    {kMta, kMta + 0x1fc, 4, kAll}, {kRa, kRa + 0x7c, 4, kAll},
    {kVfta, kVfta + 0x1fc, 4, kAll}, {0x5800, 0x5810, 8, kAll},  // wake-up control, filter control, status
    {0x5838, 0x5838, 4, kAll},                                   // IPAV
    {0x5840, 0x5858, 4, kAll},                                   // IP4AT
    {0x5880, 0x588c, 4, kAll},                                   // IP6AT
    {0x5a00, 0x5a7c, 4, kAll},                                   // wake-up packet memory
    {0x5b50, 0x5b50, 4, kAll},                                   // SWSM
    {0x5f00, 0x5f18, 4, 0x7ff}                                   // flexible filter lengths
};

}  // namespace

uint32_t writable_bits(uint32_t offset) {
  for (const Writable& entry : kWritable) {
    if (offset >= entry.first && offset <= entry.last && (offset - entry.first) % entry.step == 0) return entry.bits;
  }
  return 0;
}

}  // namespace dejavm::devices::e1000
