// Files from outside, cut off and altered: the loader refuses or plans, and a plan lies in the guest's memory.
#include <elf.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "images.h"

namespace dejavm::loader {
namespace {

class HostileFile : public testing::TestWithParam<int> {
 protected:
  static Bytes kernel() {
    Bytes note = xen_note(0x100020, 8);
    switch (GetParam()) {
      case 0:
        return make_bzimage({});
      case 1:
        return make_multiboot(0x10003, {0x100010, 0x100000, 0x100200, 0x102000, 0x100040});
      case 2:
        return make_elf(false, 0x100010, {{}, {.paddr = 0x200000, .memsz = 0x10000}});
      default:
        return make_elf(true, 0x100010, {{}, {.type = PT_NOTE, .bytes = note, .memsz = note.size(), .align = 4}});
    }
  }

  /// Plans, and writes what was planned to memory that is just the guest's.
  static bool plan_and_apply(Bytes file) {
    static auto memory = vm::GuestMemory::create(64u << 20, 0);
    EXPECT_TRUE(memory->set_map({{{0}, 0xa0000, 0, true}, {{0xf0000}, (64u << 20) - 0xf0000, 0xf0000, true}}).has_value());
    BootRequest request = request_for(std::move(file), "text");
    request.initrd.push_back({"disk", Bytes(3000)});
    auto plan = plan_boot(request);
    if (!plan) {
      EXPECT_NE(plan.error().what, "");
      EXPECT_NE(plan.error().next, "");
      return false;
    }
    EXPECT_TRUE(apply(*plan, *memory).has_value());
    EXPECT_LT(plan->cpu.rip, uint64_t{1} << 32);
    return true;
  }
};

TEST_P(HostileFile, WholeIsAccepted) { EXPECT_TRUE(plan_and_apply(kernel())); }

TEST_P(HostileFile, CutOffAnywhere) {
  Bytes whole = kernel();
  for (size_t size = 0; size < whole.size(); size += size < 700 ? 1 : 97) {
    plan_and_apply(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
  }
}

TEST_P(HostileFile, EveryByteOfTheHeadersSetToExtremes) {
  Bytes whole = kernel();
  for (size_t at = 0; at < std::min<size_t>(whole.size(), 0x280); ++at) {
    for (uint8_t value : std::array<uint8_t, 5>{0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes file = whole;
      file[at] = value;
      plan_and_apply(std::move(file));
    }
  }
}

TEST_P(HostileFile, ManyBytesAtRandom) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  Bytes whole = kernel();
  for (int round = 0; round < 3000; ++round) {
    Bytes file = whole;
    size_t headers = std::min<size_t>(file.size(), 0x280);
    for (unsigned i = 0; i < 1 + random() % 8; ++i) {
      uint32_t value = random() % 2 != 0 ? 0xffffffff << random() % 32 : static_cast<uint32_t>(random());
      store_le(&file[random() % (headers - 4)], value);
    }
    plan_and_apply(std::move(file));
  }
}

std::string format_name(const testing::TestParamInfo<int>& info) {
  return std::vector<std::string>{"BzImage", "Multiboot", "Elf32", "Pvh"}[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Formats, HostileFile, testing::Values(0, 1, 2, 3), format_name);

}  // namespace
}  // namespace dejavm::loader
