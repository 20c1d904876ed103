// What a trace claims and no guest can have: damage, with its place.
#include <gmock/gmock.h>

#include "replaying.h"

namespace dejavm::replay {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using vm::kDevice;
using vm::kPageSize;

const std::vector<vm::MemoryRange> kOverlapping = {{{0}, 2 * kPageSize, 0, true}, {{kPageSize}, kPageSize, 0, true}};

Error error_of_replay(Replaying& r) {
  auto stop = r.replayer->resume(vm::ResumeFor::go);
  EXPECT_FALSE(stop.has_value());
  return stop ? Error{} : stop.error();
}

TEST(Claims, AnInitialMapThatOverlapsIsDamage) {
  TempFolder folder;
  trace::Description description = fake_description();
  description.memory = kOverlapping;
  write_trace(folder.file("t.dvt"), {mmio_read(kDevice, 7)}, std::nullopt, description);
  auto reader = trace::Reader::open(folder.file("t.dvt")).value();

  auto memory = load_memory(*reader);

  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().kind, ErrorKind::damaged);
  EXPECT_THAT(memory.error().what, AllOf(HasSubstr("initial memory map"), HasSubstr("overlaps")));
}

TEST(Claims, AMapEventThatOverlapsIsDamageAtItsEvent) {
  Replaying r({mmio_read(kDevice, 7), {trace::MemoryMapEvent{kOverlapping, {}, {}}}}, {vm::read(kDevice)});

  Error error = error_of_replay(r);

  EXPECT_EQ(error.kind, ErrorKind::damaged);
  EXPECT_THAT(error.what, AllOf(HasSubstr("event 1 (map)"), HasSubstr("overlaps")));
  EXPECT_EQ(r.replayer->last_event(), 0);
}

TEST(Claims, AMemoryWriteOutsideTheMemoryIsDamageAtItsEvent) {
  Replaying r({mmio_read(kDevice, 7), dma(vm::kRamSize - 1, {1, 2})}, {vm::read(kDevice)});

  Error error = error_of_replay(r);

  EXPECT_EQ(error.kind, ErrorKind::damaged);
  EXPECT_THAT(error.what, HasSubstr("event 1 (dma)"));
}

TEST(Claims, ASecondNmiBeforeTheFirstIsDeliveredIsADivergence) {
  Replaying r({mmio_read(kDevice, 7), {trace::NmiEvent{}}, {trace::NmiEvent{}}}, {vm::read(kDevice), vm::nop()});

  EXPECT_EQ(r.go().kind, vm::SessionStop::Kind::diverged);
  EXPECT_EQ(r.divergence().event, 2u);
  EXPECT_THAT(r.divergence().actual, HasSubstr("cannot take an NMI here"));
}

}  // namespace
}  // namespace dejavm::replay
