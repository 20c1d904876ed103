// Serial input is an event from outside: recorded when it came, replayed without it.
#include <gmock/gmock.h>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class UartTest : public GuestTest {};

TEST_F(UartTest, InputIsRecordedAndReplaysWithoutIt) {
  Finished recording = record("uart_echo", {"--random-kicks", "9"}, "Hello, world\nquit\n");

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("> HELLO, WORLD\n> QUIT\n"));
  expect_faithful_replay(trace_of("uart_echo"), recording);
}

TEST_F(UartTest, InputThatComesLateReplays) {
  Process recorder(dejavm({"record", "-o", path("late.dvt")}) + guest_options("uart_echo"));
  ASSERT_TRUE(recorder.wait_for_text("uart_echo: ready\n> ")) << recorder.err();
  recorder.write_input("first\n");
  ASSERT_TRUE(recorder.wait_for_text("> FIRST\n> ")) << recorder.out();
  recorder.write_input("second");
  ASSERT_TRUE(recorder.wait_for_text("> ")) << recorder.out();
  recorder.write_input(" line\noff\n");
  Finished recording = recorder.wait();

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("> FIRST\n> SECOND LINE\n> OFF\n"));
  EXPECT_THAT(recording.err, HasSubstr("the guest powered off (ACPI)"));
  expect_faithful_replay(path("late.dvt"), recording);
}

TEST_F(UartTest, MoreInputThanTheFifoHoldsIsNotLost) {
  std::string line(70, 'a');
  Finished recording = record("uart_echo", {}, line + "\n" + line + "\n" + line + "\nquit\n");

  EXPECT_EQ(recording.status, kDone) << recording.err;
  std::string echoed = "> " + std::string(70, 'A') + "\n";
  EXPECT_THAT(recording.out, HasSubstr(echoed + echoed + echoed + "> QUIT\n"));
  expect_faithful_replay(trace_of("uart_echo"), recording);
}

TEST_F(UartTest, JsonKeepsStdoutForTheReport) {
  Finished recording = record("uart_echo", {"--json", "--max-seconds", "1", "-debugcon", "stdio"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  auto report = nlohmann::json::parse(recording.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << recording.out;
  EXPECT_EQ(report["reason"], "--max-seconds 1");
  EXPECT_GT(report["events"].get<uint64_t>(), 0u);
  EXPECT_EQ(report["ram"].get<std::string>(), ram_of(recording.err));
  EXPECT_THAT(recording.err, HasSubstr("> ")) << "the guest's prompt";
}

}  // namespace
}  // namespace dejavm::integration
