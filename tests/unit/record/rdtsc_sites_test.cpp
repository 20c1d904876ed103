// Which bytes of a kernel are RDTSC.
#include "record/rdtsc_sites.h"

#include <gmock/gmock.h>

#include "record/rdtsc_patch.h"
#include "vm/startup_state.h"

namespace dejavm::record {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kPages = 8;

/// Pages of code that calls itself: CALL to the image's start, then NOPs.
Bytes code_image() {
  Bytes image(kPages * vm::kPageSize, 0x90);
  for (size_t at = 16; at + 5 <= image.size(); at += 64) {
    auto back = static_cast<uint32_t>(-static_cast<int32_t>(at + 5));
    image[at] = 0xe8;
    for (unsigned i = 0; i < 4; ++i) image[at + 1 + i] = static_cast<uint8_t>(back >> (8 * i));
  }
  return image;
}

void put(Bytes& image, size_t at, std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<ptrdiff_t>(at));
}

TEST(RdtscSites, InstructionsInCodeAreFound) {
  Bytes image = code_image();
  put(image, 0x1030, {0x0f, 0x31});
  put(image, 0x2ff0, {0x0f, 0x31});
  EXPECT_THAT(find_rdtsc_sites(image), ElementsAre(0x1030, 0x2ff0));
}

TEST(RdtscSites, BytesInsideOfAnInstructionAreNot) {
  Bytes image = code_image();
  put(image, 0x1030, {0xb8, 0x0f, 0x31, 0x00, 0x00});  // mov eax, 0x310f
  EXPECT_THAT(find_rdtsc_sites(image), IsEmpty());
}

TEST(RdtscSites, DataIsNot) {
  Bytes image(kPages * vm::kPageSize, 0x90);  // decodes, but calls nothing
  put(image, 0x1030, {0x0f, 0x31});
  EXPECT_THAT(find_rdtsc_sites(image), IsEmpty());
}

TEST(RdtscSites, ReplacementsOfAlternativesAreFoundAmongData) {
  Bytes image(kPages * vm::kPageSize, 0x06);  // no instruction of 64-bit code
  put(image, 0x1030, {0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x0f, 0x01, 0xf9});
  EXPECT_THAT(find_rdtsc_sites(image), ElementsAre(0x1033));
}

TEST(RdtscSites, TheUsersSharedObjectIsLeftOut) {
  Bytes image = code_image();
  put(image, 0x3000, {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3});
  put(image, 0x3000 + 40, {0x00, 0x08, 0, 0, 0, 0, 0, 0});  // section headers at 0x800 ...
  put(image, 0x3000 + 58, {64, 0, 4, 0});                   // ... four of 64 bytes
  put(image, 0x3230, {0x0f, 0x31});
  put(image, 0x4230, {0x0f, 0x31});
  EXPECT_THAT(find_rdtsc_sites(image), ElementsAre(0x4230));
}

TEST(RdtscSites, AnObjectThatClaimsTooMuchIsCode) {
  Bytes image = code_image();
  put(image, 0x3000, {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3});
  put(image, 0x3000 + 40, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  put(image, 0x6230, {0x0f, 0x31});
  EXPECT_THAT(find_rdtsc_sites(image), ElementsAre(0x6230));
}

TEST(RdtscSites, TheEndOfTheImageIsNotPassed) {
  Bytes image = code_image();
  image.back() = 0x0f;
  EXPECT_THAT(find_rdtsc_sites(image), IsEmpty());
  put(image, image.size() - 2, {0x0f, 0x31});
  EXPECT_THAT(find_rdtsc_sites(image), ElementsAre(image.size() - 2));
  EXPECT_THAT(find_rdtsc_sites(ByteSpan{}), IsEmpty());
}

/// A kernel of kPages pages at guest physical 0x100000, linear 0xffffffff81000000, in a guest of 2 MiB.
class RdtscPatchTest : public testing::Test {
 protected:
  static constexpr uint64_t kLinear = 0xffffffff81000000, kPhysical = 0x100000;

  RdtscPatchTest() : memory(vm::GuestMemory::create(0x200000, 0).value()) {
    EXPECT_TRUE(memory.set_map({{.base = {0}, .size = 0x200000, .offset = 0, .writable = true}}));
    entry(0x1000 + 511 * 8, 0x2003);
    entry(0x2000 + 510 * 8, 0x3003);
    entry(0x3000 + 8 * 8, 0x4003);
    for (uint64_t page = 0; page < kPages; ++page) entry(0x4000 + page * 8, (kPhysical + page * vm::kPageSize) | 3);
    cpu = vm::long_mode_state(kLinear + 0x2345, 0x1000);
  }
  void entry(uint64_t at, uint64_t value) {
    uint8_t bytes[8];
    store_le(bytes, value);
    EXPECT_TRUE(memory.write({at}, bytes, vm::Writer::loader));
  }
  void load(const Bytes& image) { EXPECT_TRUE(memory.write({kPhysical}, image, vm::Writer::loader)); }
  static Bytes kernel(size_t sites) {
    Bytes image = code_image();
    for (size_t i = 0; i < sites; ++i) put(image, 0x30 + i * 64, {0x0f, 0x31});
    return image;
  }

  vm::GuestMemory memory;
  vm::CpuState cpu;
  RdtscPatch patch;
};

TEST_F(RdtscPatchTest, MakesEachSiteRdmsr) {
  load(kernel(20));
  EXPECT_TRUE(patch.attempt(cpu, memory));
  EXPECT_TRUE(patch.done());
  EXPECT_TRUE(patch.patched(kLinear + 0x30 + 19 * 64));
  EXPECT_FALSE(patch.patched(kLinear + 0x30 + 20 * 64));
  EXPECT_EQ(load_le<uint16_t>(memory.host(kPhysical + 0x30)), 0x320f);
  EXPECT_THAT(patch.report(), testing::StartsWith("rdtsc: 20 sites in the kernel's text at 0xffffffff81000000"));
  EXPECT_FALSE(patch.attempt(cpu, memory)) << "once";
}

TEST_F(RdtscPatchTest, WaitsForAKernel) {
  load(kernel(20));
  cpu.rip = 0x101000;
  EXPECT_FALSE(patch.attempt(cpu, memory));
  EXPECT_FALSE(patch.done());
}

TEST_F(RdtscPatchTest, LeavesWhatDoesNotLookLikeLinux) {
  load(kernel(3));
  EXPECT_TRUE(patch.attempt(cpu, memory));
  EXPECT_EQ(load_le<uint16_t>(memory.host(kPhysical + 0x30)), 0x310f);
  EXPECT_THAT(patch.report(), testing::StartsWith("rdtsc: not patched: 3 sites"));
}

}  // namespace
}  // namespace dejavm::record
