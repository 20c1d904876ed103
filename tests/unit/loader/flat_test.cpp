#include "vm/loader/flat.h"

#include <gmock/gmock.h>

#include "images.h"

namespace dejavm::loader {
namespace {

using testing::AllOf;
using testing::HasSubstr;

BootRequest images(std::vector<RawImage> list) {
  BootRequest request;
  request.memory = small_memory();
  request.images = std::move(list);
  return request;
}

RawImage image_at(uint64_t addr, bool start, const std::string& name = "boot.bin") {
  return {{name, Bytes(512, 0xf4)}, addr, start};
}

std::string error_of(const BootRequest& request) {
  auto plan = plan_boot(request);
  return plan ? "" : plan.error().what + " " + plan.error().next;
}

TEST(Flat, StartsInRealModeAtItsAddress) {
  BootRequest request = images({image_at(0x7c00, true)});

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(bytes_at(*plan, 0x7c00).size(), 512u);
  EXPECT_EQ(plan->cpu.code_bits(), 16u);
  EXPECT_EQ(plan->cpu.segment[vm::cs].selector, 0);
  EXPECT_EQ(plan->cpu.rip, 0x7c00u);
  EXPECT_EQ(plan->cpu.gpr[vm::rsp], 0x7c00u);
}

TEST(Flat, HighRealModeAddressesAreReachedByTheCodeSegment) {
  BootRequest request = images({image_at(0x81234, true)});

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->cpu.segment[vm::cs].selector, 0x8000);
  EXPECT_EQ(plan->cpu.linear_rip(), 0x81234u);
}

TEST(Flat, ImagesWithoutAStartLeaveTheCpuToTheFirmware) {
  BootRequest request = images({image_at(0x200000, false), image_at(0x300000, false)});

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->cpu, vm::reset_state());
  EXPECT_EQ(plan->pieces().size(), 2u);
}

TEST(Flat, AnImageCanAccompanyAKernel) {
  BootRequest request = request_for(make_bzimage({}));
  request.images = {image_at(0x1000, false)};

  auto plan = plan_boot(request);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(bytes_at(*plan, 0x1000).size(), 512u);
  EXPECT_EQ(plan->cpu.rip, 0x1000200u);
}

TEST(Flat, WhatCannotStartIsNamed) {
  EXPECT_THAT(error_of(images({image_at(0x100000, true)})), AllOf(HasSubstr("boot.bin"), HasSubstr("1 MiB")));
  EXPECT_THAT(error_of(images({image_at(0x7c00, true, "a"), image_at(0x9000, true, "b")})), HasSubstr("a and b"));
  EXPECT_THAT(error_of(images({image_at(0x9fd00, false)})), HasSubstr("no RAM there"));
  EXPECT_THAT(error_of(images({image_at(UINT64_MAX, false)})), HasSubstr("no RAM there"));
  EXPECT_THAT(error_of(images({image_at(0x7c00, false, "a"), image_at(0x7d00, false, "b")})), HasSubstr("overlaps"));
  EXPECT_THAT(error_of(images({{{"empty.bin", {}}, 0, false}})), HasSubstr("empty.bin"));
  BootRequest both = request_for(make_bzimage({}));
  both.images = {image_at(0x7c00, true)};
  EXPECT_THAT(error_of(both), HasSubstr("-kernel"));
  BootRequest no_kernel = images({});
  no_kernel.command_line = "text";
  EXPECT_THAT(error_of(no_kernel), HasSubstr("-append"));
}

TEST(Flat, PlanIsWrittenIntoGuestMemory) {
  BootRequest request = images({image_at(0x7c00, true)});
  auto memory = vm::GuestMemory::create(64u << 20, 0);
  ASSERT_TRUE(memory.has_value());
  ASSERT_TRUE(memory->set_map({{{0}, 64u << 20, 0, true}}).has_value());
  auto plan = plan_boot(request);
  ASSERT_TRUE(plan.has_value());

  ASSERT_TRUE(apply(*plan, *memory).has_value());

  EXPECT_EQ(memory->page(7)[0xc00], 0xf4);
  EXPECT_EQ(memory->page(7)[0xbff], 0);
}

}  // namespace
}  // namespace dejavm::loader
