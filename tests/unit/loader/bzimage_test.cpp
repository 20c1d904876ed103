#include "vm/loader/bzimage.h"

#include <gmock/gmock.h>

#include "images.h"

namespace dejavm::loader {
namespace {

using testing::HasSubstr;

constexpr uint64_t kZeroPage = 0x1000;  // read from RSI in the tests, this is its alignment

std::string error_of(const BootRequest& request) {
  auto plan = plan_boot(request);
  return plan ? "" : plan.error().what + " " + plan.error().next;
}

TEST(BzImage, StartsInLongModeByThe64BitProtocol) {
  BootRequest request = request_for(make_bzimage({}), "console=ttyS0");

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  const vm::CpuState& cpu = plan->cpu;
  EXPECT_EQ(cpu.rip, 0x1000200u);
  EXPECT_EQ(cpu.code_bits(), 64u);
  EXPECT_EQ(cpu.segment[vm::cs].selector, 0x10);
  EXPECT_EQ(cpu.segment[vm::ds].selector, 0x18);
  EXPECT_EQ(cpu.segment[vm::ss].selector, 0x18);
  EXPECT_EQ(cpu.rflags & vm::kRflagsIf, 0u);
  EXPECT_EQ(cpu.cr4, 0x20u);
  EXPECT_EQ(bytes_at(*plan, 0x1000000).size(), 5000u);
  EXPECT_EQ(cpu.gpr[vm::rsi] % kZeroPage, 0u);
  EXPECT_THAT(plan->description, HasSubstr("Linux 6.1.0-test at 0x1000000 by the 64-bit boot protocol"));
}

TEST(BzImage, PageTablesAndGdtAreWhatTheStateSays) {
  BootRequest request = request_for(make_bzimage({}));
  auto plan = plan_boot(request);
  ASSERT_TRUE(plan.has_value());

  uint64_t pdpt = field_at(*plan, plan->cpu.cr3, 8) & ~uint64_t{0xfff};
  uint64_t last_table = field_at(*plan, pdpt + 3 * 8, 8) & ~uint64_t{0xfff};

  EXPECT_EQ(field_at(*plan, pdpt + 4 * 8, 8), 0u);
  EXPECT_EQ(field_at(*plan, last_table + 511 * 8, 8), 0xffe000e3u);
  EXPECT_EQ(field_at(*plan, plan->cpu.gdt.base + 0x10, 8), 0x00af9b000000ffffu);
  EXPECT_EQ(field_at(*plan, plan->cpu.gdt.base + 0x18, 8), 0x00cf93000000ffffu);
  EXPECT_EQ(plan->cpu.gdt.limit, 0x1f);
}

TEST(BzImage, ZeroPageHoldsHeaderCommandLineDiskAndMemoryMap) {
  BootRequest request = request_for(make_bzimage({}), "quiet panic=-1");
  request.initrd.push_back({"initrd.gz", Bytes(10000, 0x77)});
  request.acpi_rsdp = 0xf0000;

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  uint64_t page = plan->cpu.gpr[vm::rsi];
  EXPECT_EQ(field_at(*plan, page + 0x202, 4), 0x53726448u);
  EXPECT_EQ(field_at(*plan, page + 0x210, 1), 0xffu);
  EXPECT_EQ(field_at(*plan, page + 0x214, 4), 0x1000000u);
  EXPECT_EQ(field_at(*plan, page + 0x260, 4), 0x400000u);
  EXPECT_EQ(field_at(*plan, page + 0x1ef, 1), 0u) << "the sentinel";
  EXPECT_EQ(text_at(*plan, field_at(*plan, page + 0x228, 4)), "quiet panic=-1");
  uint64_t disk = field_at(*plan, page + 0x218, 4);
  EXPECT_EQ(disk, (64u << 20) - 3 * 4096);
  EXPECT_EQ(field_at(*plan, page + 0x21c, 4), 10000u);
  EXPECT_EQ(bytes_at(*plan, disk).data(), request.initrd[0].bytes.data());
  EXPECT_EQ(field_at(*plan, page + 0x70, 8), 0xf0000u) << "the ACPI root pointer";
  EXPECT_EQ(field_at(*plan, page + 0x1e8, 1), 4u);
  EXPECT_EQ(field_at(*plan, page + 0x2d0 + 8, 8), 0x9fc00u);
  EXPECT_EQ(field_at(*plan, page + 0x2d0 + 20 + 16, 4), 2u);
  EXPECT_EQ(field_at(*plan, page + 0x2d0 + 60, 8), 0x100000u);
  EXPECT_EQ(field_at(*plan, page + 0x2d0 + 76, 4), 1u);
}

TEST(BzImage, WithoutADiskItsFieldsAreCleared) {
  BootRequest request = request_for(make_bzimage({}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(field_at(*plan, plan->cpu.gpr[vm::rsi] + 0x218, 8), 0u);
}

TEST(BzImage, KernelWithoutA64BitEntryStartsIn32BitMode) {
  BootRequest request = request_for(make_bzimage({.xload_flags = 0}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x1000000u);
  EXPECT_EQ(plan->cpu.code_bits(), 32u);
  EXPECT_EQ(plan->cpu.cr0, 0x11u);
  EXPECT_EQ(plan->cpu.efer, 0u);
  EXPECT_EQ(field_at(*plan, plan->cpu.gpr[vm::rsi] + 0x214, 4), 0x1000000u);
}

TEST(BzImage, OldProtocolsHaveNoXloadFlags) {
  BootRequest request = request_for(make_bzimage({.version = 0x20b}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->cpu.code_bits(), 32u);
}

TEST(BzImage, RelocatableKernelMovesDownWhereRamIsSmall) {
  BootRequest request = request_for(make_bzimage({.pref_address = 0x3000000, .init_size = 0x2000000}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x200200u);
}

TEST(BzImage, KernelThatCannotMoveNeedsItsPlace) {
  EXPECT_THAT(error_of(request_for(make_bzimage({.relocatable = 0, .pref_address = 0x3000000, .init_size = 0x2000000}))),
              testing::AllOf(HasSubstr("0x3000000"), HasSubstr("-m")));
  EXPECT_THAT(error_of(request_for(make_bzimage({.relocatable = 0, .pref_address = UINT64_MAX - 5}))),
              HasSubstr("pref_address"));
}

TEST(BzImage, InitrdStaysBelowWhatTheKernelReaches) {
  BootRequest request = request_for(make_bzimage({.initrd_addr_max = 0x2ffffff}));
  request.initrd.push_back({"initrd", Bytes(4096)});

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(field_at(*plan, plan->cpu.gpr[vm::rsi] + 0x218, 4), 0x2fff000u);
}

TEST(BzImage, InitrdKeepsOutOfTheMemoryThatTheKernelUnpacksInto) {
  BootRequest request = request_for(make_bzimage({.initrd_addr_max = 0x13fffff}));
  request.initrd.push_back({"initrd", Bytes(4096)});

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(field_at(*plan, plan->cpu.gpr[vm::rsi] + 0x218, 4), 0xfff000u);
}

TEST(BzImage, WhatDoesNotFitIsNamed) {
  BootRequest large = request_for(make_bzimage({}));
  large.initrd.push_back({"large.gz", Bytes(65u << 20)});
  EXPECT_THAT(error_of(large), testing::AllOf(HasSubstr("large.gz"), HasSubstr("-m")));
  EXPECT_THAT(error_of(request_for(make_bzimage({.cmdline_size = 10}), "01234567890")), HasSubstr("-append"));
  EXPECT_EQ(error_of(request_for(make_bzimage({.cmdline_size = 10}), "0123456789")), "");
  EXPECT_THAT(error_of(request_for(make_bzimage({.init_size = 0xffffffff}))), HasSubstr("-m"));
  BootRequest two = request_for(make_bzimage({}));
  two.initrd = {{"a", Bytes(1)}, {"b", Bytes(1)}};
  EXPECT_THAT(error_of(two), HasSubstr("one file"));
}

TEST(BzImage, DamagedHeadersNameTheirField) {
  EXPECT_THAT(error_of(request_for(make_bzimage({.version = 0x205}))), HasSubstr("protocol 2.05"));
  EXPECT_THAT(error_of(request_for(make_bzimage({.load_flags = 0}))), HasSubstr("bzImage"));
  EXPECT_THAT(error_of(request_for(make_bzimage({.kernel_size = 0}))), HasSubstr("setup_sects"));
  EXPECT_THAT(error_of(request_for(make_bzimage({.alignment = 3, .pref_address = 0}))), HasSubstr("kernel_alignment"));
  Bytes short_header = make_bzimage({});
  short_header[0x201] = 0x10;
  EXPECT_THAT(error_of(request_for(short_header)), HasSubstr("init_size"));
}

}  // namespace
}  // namespace dejavm::loader
