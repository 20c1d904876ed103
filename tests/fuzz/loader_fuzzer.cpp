// Starts a kernel image made of the input: its last byte says what goes with it (RAM disks, a raw image), the rest is the
// file. It is refused, or its plan lies in the guest's memory.
#include <cstdint>

#include "base/check.h"
#include "vm/loader/boot_plan.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kRam = uint64_t{64} << 20, kLow = 0xa0000, kHigh = 0x100000;

vm::GuestMemory make_memory() {
  auto memory = vm::GuestMemory::create(kRam, 0);
  CHECK(memory.has_value());
  CHECK(memory->set_map({{{0}, kLow, 0, true}, {{kHigh}, kRam - kHigh, kHigh, true}}).has_value());
  return std::move(*memory);
}

void start(ByteSpan input) {
  static vm::GuestMemory memory = make_memory();
  uint8_t choice = input.empty() ? 0 : input.back();
  BootRequest request;
  request.memory = {{0, kLow, true}, {kHigh, kRam - kHigh, true}};
  request.command_line = std::string(choice % 4 * 700, 'x');
  for (unsigned i = choice >> 2 & 3; i > 0; --i) request.initrd.push_back({"disk arguments", Bytes(1000 * i)});
  if ((choice & 16) != 0) request.images.push_back({{"image", Bytes(5000)}, uint64_t{choice} << 13, false});
  if (!input.empty()) input = input.first(input.size() - 1);
  request.kernel = NamedFile{"kernel", Bytes(input.begin(), input.end())};
  takes_modules(request.kernel->bytes);
  auto plan = plan_boot(request);
  if (!plan) {
    CHECK(!plan.error().what.empty());
    return;
  }
  CHECK(apply(*plan, memory).has_value());
}

}  // namespace
}  // namespace dejavm::loader

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dejavm::loader::start({data, size});
  return 0;
}
