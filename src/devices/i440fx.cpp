#include "devices/i440fx.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kPam = 0x59;
constexpr unsigned kSmram = 0x72;

}  // namespace

I440fx::I440fx(vm::Bus& bus, std::function<void()> pam_written, const PamRegisters& pam)
    : PciDevice(bus, devfn(0, 0), {.vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000}),
      pam_written_(std::move(pam_written)) {
  set_writable(0x40, 0xc0, 0xff);
  const uint8_t smram[] = {0x02};
  set_config(kSmram, smram);
  set_config(kPam, pam);
}

PamRegisters I440fx::pam() const {
  PamRegisters pam{};
  for (unsigned i = 0; i < pam.size(); ++i) pam[i] = config(kPam + i);
  return pam;
}

void I440fx::config_written(unsigned offset, unsigned size) {
  if (offset < kPam + PamRegisters{}.size() && offset + size > kPam) pam_written_();
}

}  // namespace dejavm::devices
