#include "vm/loader/multiboot.h"

#include <gmock/gmock.h>

#include "images.h"

namespace dejavm::loader {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint32_t kAddresses = 0x10003;

std::string error_of(const BootRequest& request) {
  auto plan = plan_boot(request);
  return plan ? "" : plan.error().what + " " + plan.error().next;
}

/// header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr for a header at 16 of a file loaded at 1 MiB.
std::vector<uint32_t> good_addresses() { return {0x100010, 0x100000, 0x100200, 0x102000, 0x100040}; }

TEST(Multiboot, HeaderIsFoundInTheFirst8KibOnly) {
  EXPECT_TRUE(is_multiboot(make_multiboot(3, {}, 8192 - 12, 9000)));
  EXPECT_FALSE(is_multiboot(make_multiboot(3, {}, 8192 - 8, 9000)));
  EXPECT_FALSE(is_multiboot(make_multiboot(3, {}, 18, 512))) << "not aligned";
  Bytes wrong_sum = make_multiboot(3);
  wrong_sum[25] ^= 1;
  EXPECT_FALSE(is_multiboot(wrong_sum));
  EXPECT_FALSE(is_multiboot({}));
}

TEST(Multiboot, KernelWithAddressesStartsWithItsInformation) {
  BootRequest request = request_for(make_multiboot(kAddresses, good_addresses()), "some words");

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  uint64_t info = plan->cpu.gpr[vm::rbx];
  EXPECT_EQ(plan->cpu.rip, 0x100040u);
  EXPECT_EQ(plan->cpu.gpr[vm::rax], 0x2badb002u);
  EXPECT_EQ(plan->cpu.code_bits(), 32u);
  EXPECT_EQ(bytes_at(*plan, 0x100000).size(), 512u);
  EXPECT_EQ(field_at(*plan, info, 4), 0x24du);
  EXPECT_EQ(field_at(*plan, info + 4, 4), 639u);
  EXPECT_EQ(field_at(*plan, info + 8, 4), 63u * 1024);
  EXPECT_EQ(text_at(*plan, field_at(*plan, info + 16, 4)), "kernel.img some words");
  EXPECT_EQ(field_at(*plan, info + 20, 4), 0u);
  EXPECT_EQ(field_at(*plan, info + 44, 4), 4u * 24);
  uint64_t map = field_at(*plan, info + 48, 4);
  EXPECT_EQ(field_at(*plan, map, 4), 20u);
  EXPECT_EQ(field_at(*plan, map + 12, 8), 0x9fc00u);
  EXPECT_EQ(field_at(*plan, map + 24 + 20, 4), 2u);
  EXPECT_EQ(text_at(*plan, field_at(*plan, info + 64, 4)), "dejavm");
}

TEST(Multiboot, ModulesStandOnPagesOfTheirOwn) {
  BootRequest request = request_for(make_multiboot(kAddresses, good_addresses()));
  request.initrd = {{"a.mod one two", Bytes(5000, 1)}, {"empty", {}}, {"b.mod", Bytes(10, 2)}};

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  uint64_t info = plan->cpu.gpr[vm::rbx];
  ASSERT_EQ(field_at(*plan, info + 20, 4), 3u);
  uint64_t list = field_at(*plan, info + 24, 4);
  EXPECT_EQ(field_at(*plan, list, 4), 0x102000u);
  EXPECT_EQ(field_at(*plan, list + 4, 4), 0x102000u + 5000);
  EXPECT_EQ(text_at(*plan, field_at(*plan, list + 8, 4)), "a.mod one two");
  EXPECT_EQ(field_at(*plan, list + 16, 4), field_at(*plan, list + 20, 4)) << "an empty module";
  EXPECT_EQ(field_at(*plan, list + 32, 4), 0x105000u);
  EXPECT_EQ(bytes_at(*plan, 0x105000).data(), request.initrd[2].bytes.data());
}

TEST(Multiboot, ZeroEndsMeanTheWholeFileAndNoBss) {
  BootRequest request = request_for(make_multiboot(kAddresses, {0x100010, 0x100000, 0, 0, 0x100040}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(bytes_at(*plan, 0x100000).size(), 512u);
}

TEST(Multiboot, Elf32WithoutAddressesIsLoadedAsElf) {
  Phdr text;
  text.bytes = make_multiboot(3, {}, 0, 64);
  BootRequest request = request_for(make_elf(false, 0x100010, {text}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x100010u);
  EXPECT_EQ(plan->cpu.gpr[vm::rax], 0x2badb002u);
}

TEST(Multiboot, Elf64WithoutAddressesIsAnOrdinaryElfFile) {
  Phdr text;
  text.bytes = make_multiboot(3, {}, 0, 64);

  EXPECT_FALSE(is_multiboot(make_elf(true, 0x100000, {text})));
}

TEST(Multiboot, WrongAddressesAreNamed) {
  auto error_with = [](std::vector<uint32_t> words) { return error_of(request_for(make_multiboot(kAddresses, words))); };

  EXPECT_THAT(error_with({0x100010, 0x100014, 0, 0, 0x100020}), HasSubstr("load_addr"));
  EXPECT_THAT(error_with({0x100010, 0xfffe0, 0, 0, 0x100020}), HasSubstr("header_addr"));
  EXPECT_THAT(error_with({0x100010, 0x100000, 0x100000, 0, 0x100020}), HasSubstr("load_end_addr"));
  EXPECT_THAT(error_with({0x100010, 0x100000, 0x100201, 0, 0x100020}), HasSubstr("outside the file"));
  EXPECT_THAT(error_with({0x100010, 0x100000, 0x100100, 0x1000ff, 0x100020}), HasSubstr("bss_end_addr"));
  EXPECT_THAT(error_with({0x100010, 0x100000, 0, 0xf0000000, 0x100020}), HasSubstr("no RAM there"));
  EXPECT_THAT(error_with({0x100010, 0x100000, 0, 0, 0x100200}), HasSubstr("entry_addr"));
  EXPECT_THAT(error_with({0xfffffff0, 0xffffffe0, 0, 0, 0xffffffe0}), HasSubstr("below 4 GiB"));
}

TEST(Multiboot, UnknownDemandsAndFilesWithoutAPlaceAreRefused) {
  EXPECT_THAT(error_of(request_for(make_multiboot(0x10008, good_addresses()))), HasSubstr("flags 0x10008"));
  EXPECT_THAT(error_of(request_for(make_multiboot(3))), HasSubstr("flag 16"));
  EXPECT_THAT(error_of(request_for(make_multiboot(kAddresses, {}, 500, 512))), HasSubstr("addresses"));
}

}  // namespace
}  // namespace dejavm::loader
