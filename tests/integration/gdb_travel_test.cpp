// Random operations of the real gdb in a replay, forward and backward: at every stop the registers are those of a run
// straight forward to that position.
#include <gmock/gmock.h>

#include <map>
#include <random>
#include <regex>

#include "support/gdb.h"
#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;
using testing::Not;

// GDB prints the flags as a number in this way only.
const Words kPrintState = {
    "output/x $eflags",
    "printf \" STATE %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx\\n\", $rip, $rax, "
    "$rbx, $rcx, $rdx, $rsi, $rdi, $rbp, $rsp, $r8, $r9, $r10, $r11, $r12, $r13, $r14, $r15"};

/// The lines of a text that have a word, which may be empty.
Words lines_with(const std::string& text, const std::string& word) {
  Words found;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find(word) != std::string::npos) found.push_back(line);
  }
  return found;
}

class TravelsWithGdb : public LabTest {
 protected:
  void SetUp() override {
    LabTest::SetUp();
    if (!IsSkipped() && !have_program("gdb")) GTEST_SKIP() << "gdb is not installed";
  }

  /// `prepare`: sets what `continue` stops at.
  Words operations(const Words& prepare, unsigned count, uint64_t steps, unsigned seed) const {
    std::mt19937_64 random(seed);
    Words commands = prepare;
    for (unsigned i = 0; i < count; ++i) {
      switch (random() % 5) {
        case 0:
          commands = commands + Words{fmt::format("monitor seek @{}", random() % steps), "maintenance flush register-cache"};
          break;
        case 1:
          commands.push_back("stepi");
          break;
        case 2:
          commands.push_back("reverse-stepi");
          break;
        case 3:
          commands.push_back("continue");
          break;
        default:
          commands.push_back("reverse-continue");
      }
      commands = commands + kPrintState + Words{"monitor when"};
    }
    return commands + Words{"detach"};
  }

  void expect_states_of_a_straight_run(const std::string& trace, const Words& commands, unsigned count) {
    Process server(dejavm({"replay", trace, "-accel", "soft", "-S", "-gdb", "unix:" + path("gdb.sock")}));
    ASSERT_TRUE(server.wait_for_text("gdb: listening on unix:")) << server.err();
    Words words = {"gdb", "-nx",
                   "-q",  "-batch",
                   "-ex", "set confirm off",
                   "-ex", "set pagination off",
                   "-ex", "set width 0",
                   "-ex", "target remote " + path("gdb.sock")};
    for (const std::string& command : commands) words = words + Words{"-ex", command};
    Finished gdb = run(words, {}, kLabLimit);
    Finished replay = server.wait();
    EXPECT_EQ(replay.status, kDone) << replay.err;
    EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));

    Words states = lines_with(gdb.out, " STATE ");
    std::vector<std::pair<std::string, std::string>> positions;  // "EVENT STEPS", the count of all steps
    static const std::regex kWhen("^at (-?[0-9]+)\\+([0-9]+), instruction ([0-9]+)$");
    for (const std::string& line : lines_with(gdb.err, "at ")) {
      std::smatch match;
      if (std::regex_match(line, match, kWhen))
        positions.emplace_back(match[1].str() + " " + match[2].str(), match[3].str());
    }
    ASSERT_EQ(states.size(), count) << gdb.out << gdb.err;
    ASSERT_EQ(positions.size(), count);

    std::string asked;
    for (const auto& [position, total] : positions) asked += position + "\n";
    Finished straight = run({DEJAVM_TRAVEL, "states", trace}, asked, kLabLimit);
    ASSERT_EQ(straight.status, 0) << straight.err;
    std::map<std::string, std::string> wanted;  // by "EVENT STEPS TOTAL"
    for (const std::string& line : lines_with(straight.out, " STATE ")) {
      wanted[line.substr(0, line.find(':'))] = line.substr(line.find(": ") + 2);
    }
    unsigned different = 0;
    for (unsigned i = 0; i < count; ++i) {
      auto found = wanted.find(positions[i].first + " " + positions[i].second);
      if (found != wanted.end() && found->second == states[i]) continue;
      if (++different > 5) continue;
      ADD_FAILURE() << "operation " << i << " at " << positions[i].first << ": " << states[i]
                    << "\nstraight: " << (found == wanted.end() ? "not at this count of steps" : found->second);
    }
    EXPECT_EQ(different, 0u);
    EXPECT_GT(wanted.size(), count / 4) << "different places";
  }
};

class SoftGdbTravelTest : public TravelsWithGdb {};

TEST_F(SoftGdbTravelTest, InterruptsDmaAndBreakpoints) {
  std::string trace = recorded("buggy_dma", {"-accel", "soft"});
  unsigned count = is_soak() ? 1000 : 250;
  Words prepare = {"file " + guest_symbols("buggy_dma"), "break self_test", "break edu_interrupt",
                   "watch completion_queue.tail", "monitor mmio break edu+0x98 w"};

  expect_states_of_a_straight_run(trace, operations(prepare, count, 35'000, 1), count);
}

TEST_F(SoftGdbTravelTest, DeviceAccessesAlone) {
  std::string trace = recorded("edu_irq_dma_short", {"-accel", "soft"});
  unsigned count = is_soak() ? 1000 : 250;

  expect_states_of_a_straight_run(trace, operations({"monitor mmio break edu w"}, count, 76'000, 2), count);
}

TEST_F(SoftGdbTravelTest, LinuxBoot) {
  if (!prepare_lab()) GTEST_SKIP() << why_no_lab();
  Finished recording = record_linux("linux.dvt");
  ASSERT_EQ(recording.status, kDone) << recording.err;
  nlohmann::json writes = events_of(path("linux.dvt"), {"--device", "rtc+0x71", "--read"});
  ASSERT_GE(writes.size(), 2u);
  // Code that runs now and then, and the registers of two devices.
  Words prepare = {fmt::format("break *{}", writes.back().at("instruction").get<uint64_t>()),
                   "monitor mmio break serial0+0x0 w value 0xa", "monitor mmio break rtc w"};
  unsigned count = is_soak() ? 1000 : 100;

  expect_states_of_a_straight_run(path("linux.dvt"), operations(prepare, count, 1'600'000'000, 3), count);
}

}  // namespace
}  // namespace dejavm::integration
