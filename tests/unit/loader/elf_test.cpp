#include <elf.h>
#include <gmock/gmock.h>

#include "images.h"
#include "vm/loader/elf_boot.h"

namespace dejavm::loader {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const BootRequest& request) {
  auto plan = plan_boot(request);
  return plan ? "" : plan.error().what + " " + plan.error().next;
}

TEST(Elf, File32StartsFlatIn32BitMode) {
  BootRequest request = request_for(make_elf(false, 0x100010, {{}}), "text");

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x100010u);
  EXPECT_EQ(plan->cpu.code_bits(), 32u);
  EXPECT_EQ(plan->cpu.cr0, 0x11u);
  EXPECT_EQ(plan->cpu.segment[vm::ds].limit, 0xffffffffu);
  EXPECT_EQ(bytes_at(*plan, 0x100000).size(), 64u);
  EXPECT_EQ(text_at(*plan, field_at(*plan, plan->cpu.gpr[vm::rsi] + 0x228, 4)), "text");
}

TEST(Elf, File64StartsInLongMode) {
  BootRequest request = request_for(make_elf(true, 0x100010, {{}}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x100010u);
  EXPECT_EQ(plan->cpu.code_bits(), 64u);
  EXPECT_EQ(plan->cpu.efer, 0x500u);
}

TEST(Elf, EntryOfAKernelLinkedHighIsWhereItIsLoaded) {
  BootRequest request = request_for(make_elf(true, 0xffffffff81000020, {{.paddr = 0x1000000, .vaddr = 0xffffffff81000000}}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x1000020u);
}

TEST(Elf, PvhNoteGivesEntryAndStartInfo) {
  for (unsigned size : {4u, 8u}) {
    Bytes note = xen_note(0x100020, size);
    BootRequest request = request_for(
        make_elf(size == 8, 0x100000, {{}, {.type = PT_NOTE, .bytes = note, .memsz = note.size(), .align = 4}}), "pvh");
    request.initrd.push_back({"disk", Bytes(5000)});
    request.acpi_rsdp = 0xf0000;

    auto plan = plan_boot(request);

    ASSERT_TRUE(plan.has_value()) << plan.error().what;
    uint64_t info = plan->cpu.gpr[vm::rbx];
    EXPECT_EQ(plan->cpu.rip, 0x100020u);
    EXPECT_EQ(plan->cpu.code_bits(), 32u);
    EXPECT_EQ(plan->cpu.cr4, 0u);
    EXPECT_EQ(field_at(*plan, info, 4), 0x336ec578u);
    EXPECT_EQ(field_at(*plan, info + 4, 4), 1u);
    EXPECT_EQ(text_at(*plan, field_at(*plan, info + 24, 8)), "pvh");
    EXPECT_EQ(field_at(*plan, info + 32, 8), 0xf0000u) << "the ACPI root pointer";
    ASSERT_EQ(field_at(*plan, info + 12, 4), 1u);
    uint64_t module = field_at(*plan, info + 16, 8);
    EXPECT_EQ(bytes_at(*plan, field_at(*plan, module, 8)).data(), request.initrd[0].bytes.data());
    EXPECT_EQ(field_at(*plan, module + 8, 8), 5000u);
    uint64_t map = field_at(*plan, info + 40, 8);
    ASSERT_EQ(field_at(*plan, info + 48, 4), 4u);
    EXPECT_EQ(field_at(*plan, map + 3 * 24, 8), 0x100000u);
    EXPECT_EQ(field_at(*plan, map + 3 * 24 + 16, 4), 1u);
    EXPECT_EQ(field_at(*plan, map + 24 + 16, 4), 2u);
  }
}

TEST(Elf, SegmentsOutsideRamOrOverEachOtherAreNamed) {
  EXPECT_THAT(error_of(request_for(make_elf(false, 0x9fff0000, {{.paddr = 0x9fff0000}}))),
              AllOf(HasSubstr("kernel.img: segment 0"), HasSubstr("0x9fff0000")));
  EXPECT_THAT(error_of(request_for(make_elf(false, 0x100000, {{}, {.paddr = 0x100020}}))),
              AllOf(HasSubstr("segment 1"), HasSubstr("overlaps"), HasSubstr("segment 0")));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, {{.memsz = UINT64_MAX}}))), HasSubstr("segment 0"));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, {{.paddr = UINT64_MAX - 8}}))), HasSubstr("segment 0"));
}

TEST(Elf, LoadedMemoryIsLeftAloneByTheLoadersOwnTables) {
  BootRequest request = request_for(make_elf(true, 0x1000, {{.paddr = 0x1000, .bytes = Bytes(0x8000), .memsz = 0x20000}}));

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  for (const BootPiece& piece : plan->pieces()) {
    EXPECT_TRUE(piece.at.value == 0x1000 || piece.at.value >= 0x21000) << piece.at.value;
  }
  EXPECT_GE(plan->cpu.gpr[vm::rsp], 0x22000u);
}

TEST(Elf, EntryOutsideOfTheSegmentsIsRefused) {
  EXPECT_THAT(error_of(request_for(make_elf(false, 0x200000, {{}}))), HasSubstr("entry point 0x200000"));
  Bytes note = xen_note(0x7000, 4);
  EXPECT_THAT(error_of(request_for(
                  make_elf(false, 0x100000, {{}, {.type = PT_NOTE, .bytes = note, .memsz = note.size(), .align = 4}}))),
              HasSubstr("PVH entry 0x7000"));
}

TEST(Elf, OtherFilesAreRefusedByTheirField) {
  Bytes arm = make_elf(true, 0x100000, {{}});
  store_le<uint16_t>(&arm[18], EM_AARCH64);
  EXPECT_THAT(error_of(request_for(arm)), HasSubstr("machine 183"));
  Bytes object = make_elf(true, 0x100000, {{}});
  store_le<uint16_t>(&object[16], ET_REL);
  EXPECT_THAT(error_of(request_for(object)), HasSubstr("e_type"));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, {}))), HasSubstr("program headers"));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, {{.type = PT_NULL}}))), HasSubstr("nothing to load"));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, {{.memsz = 10}}))), HasSubstr("p_filesz"));
  EXPECT_THAT(error_of(request_for(make_elf(true, 0x100000, std::vector<Phdr>(300)))), HasSubstr("300 program headers"));
  EXPECT_THAT(error_of(request_for(Bytes(1000, 0x41))), AllOf(HasSubstr("kernel.img"), HasSubstr("-device loader")));
  EXPECT_THAT(error_of(request_for({})), HasSubstr("neither"));
}

}  // namespace
}  // namespace dejavm::loader
