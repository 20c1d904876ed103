// dejavm info, dejavm dump and the options of dejavm replay on a good trace.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "support/dejavm.h"
#include "support/trace_edit.h"

namespace dejavm::integration {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class InspectTest : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    if (!IsSkipped()) trace_ = recorded("edu_irq_dma_short");
  }

  std::string trace_;
};

TEST_F(InspectTest, InfoSaysWhatTheTraceIs) {
  json info = json::parse(run(dejavm({"info", trace_, "--json"})).out, nullptr, false);

  ASSERT_TRUE(info.is_object());
  EXPECT_EQ(info["machine"], "pc");
  EXPECT_EQ(info["cpu"], "dejavm64-v1");
  EXPECT_EQ(info["ram_size"], 16u << 20);
  EXPECT_EQ(info["sealed"], true);
  EXPECT_EQ(info["damage"], "");
  EXPECT_THAT(info["replayable_on"], testing::Contains(accel()));
  EXPECT_THAT(info["end"]["reason"].get<std::string>(), HasSubstr("isa-debug-exit"));
  EXPECT_EQ(info["events"].get<uint64_t>(), events_of(trace_, {"--kind", "access,irq,dma,map,halt,cpu,msr,reset"}).size());
  Finished text = run(dejavm({"info", trace_}));
  EXPECT_THAT(text.out, HasSubstr("sealed"));
  EXPECT_THAT(text.out, HasSubstr("serial0"));
}

TEST_F(InspectTest, DumpFiltersByDeviceDirectionAndValue) {
  json edu = events_of(trace_, {"--device", "edu"});
  ASSERT_FALSE(edu.empty());
  for (const json& event : edu) EXPECT_EQ(event["device"], "edu");
  json writes = events_of(trace_, {"--device", "edu+0x4", "--write"});
  EXPECT_EQ(writes.size(), 6u);
  for (const json& event : writes) EXPECT_EQ(event["offset"], 4);
  EXPECT_EQ(events_of(trace_, {"--gpa", "0xfeb00004", "--write"}), writes);
  EXPECT_EQ(events_of(trace_, {"--device", "edu", "--read", "--value", "0x010000ed"}).size(), 1u);
  EXPECT_TRUE(events_of(trace_, {"--device", "edu", "--value", "0x5/0xf", "--read", "--size", "2"}).empty());
  for (const json& event : events_of(trace_, {"--port", "0x3f8-0x3ff"})) EXPECT_EQ(event["device"], "serial0");
}

TEST_F(InspectTest, DumpFiltersByKindAndRange) {
  for (const json& event : events_of(trace_, {"--kind", "irq"})) EXPECT_EQ(event["kind"], "irq");
  json range = events_of(trace_, {"--from", "10", "--to", "19", "--kind", "access,irq,dma,map,halt"});
  ASSERT_EQ(range.size(), 10u);
  EXPECT_EQ(range.front()["event"], 10);
  EXPECT_EQ(range.back()["event"], 19);
}

TEST_F(InspectTest, DumpNumbersEveryEventOnce) {
  uint64_t expected = 0;
  for (const json& event : events_of(trace_)) {
    if (event.contains("event")) {
      ASSERT_EQ(event["event"].get<uint64_t>(), expected++);
    }
  }
  EXPECT_GT(expected, 100u);
}

TEST_F(InspectTest, DumpTextHasALineForEachEvent) {
  Finished text = run(dejavm({"dump", trace_, "--device", "edu", "--write"}));

  EXPECT_EQ(text.status, kDone) << text.err;
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), events_of(trace_, {"--device", "edu", "--write"}).size());
  EXPECT_THAT(text.out, HasSubstr(" mmio edu+0x4 <- 0x1 (4 bytes)"));
}

TEST_F(InspectTest, DumpRefusesFiltersThatMeanNothing) {
  for (const Words& filter : {Words{"--device", "nosuch"}, Words{"--kind", "nosuch"}, Words{"--from", "x"},
                              Words{"--format", "xml"}, Words{"--value", "y"}, Words{"--size", "0"}}) {
    Finished finished = run(dejavm(Words{"dump", trace_} + filter));
    EXPECT_EQ(finished.status, kUsage) << testing::PrintToString(filter) << finished.err;
    EXPECT_EQ(finished.out, "") << testing::PrintToString(filter);
  }
}

TEST_F(InspectTest, JsonOfNamesThatAreNotUtf8IsJson) {
  Events events = read_events(trace_);
  for (trace::Event& event : events) {
    auto* map = std::get_if<trace::MemoryMapEvent>(&event.body);
    if (map == nullptr) continue;
    for (vm::DeviceRegion& region : map->devices) region.device += "\xe9";
  }
  std::string named = path("caf\xe9.dvt");
  rewrite_trace(trace_, named, events);

  json replay = json::parse(run(dejavm({"replay", named, "--json"})).out, nullptr, false);
  json info = json::parse(run(dejavm({"info", named, "--json"})).out, nullptr, false);
  json writes = events_of(named, {"--gpa", "0xfeb00004", "--write"});
  Finished recording = run(dejavm(Words{"record", "-o", named, "--json"} + guest_options("edu_irq_dma_short")));

  ASSERT_FALSE(writes.empty());
  EXPECT_EQ(writes[0]["device"], "edu\ufffd");
  ASSERT_TRUE(info.is_object());
  EXPECT_EQ(info["file"], path("caf\ufffd.dvt"));
  EXPECT_TRUE(replay.is_object());
  EXPECT_TRUE(json::parse(recording.out, nullptr, false).is_object()) << recording.err;
}

TEST_F(InspectTest, ReplayUntilStopsThere) {
  json report = json::parse(run(dejavm({"replay", trace_, "--until", "100", "--json"})).out, nullptr, false);

  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["replayed"], 101);
  EXPECT_EQ(report["finished"], false);
  EXPECT_EQ(report["divergence_count"], 0);
}

TEST_F(InspectTest, ReplayFromAKeyframeEndsInTheSameRam) {
  Finished recording =
      run(dejavm(Words{"record", "-o", path("long.dvt"), "--keyframes", "1", "--max-seconds", "8", "-serial", "null"} +
                 guest_options("serial_flood")));
  ASSERT_EQ(recording.status, kDone) << recording.err;
  json info = json::parse(run(dejavm({"info", path("long.dvt"), "--json"})).out);
  ASSERT_GE(info["keyframes"].get<unsigned>(), 2u);

  Finished replay = run(dejavm({"replay", path("long.dvt"), "--from-keyframe", "2"}));

  EXPECT_EQ(replay.status, kDone) << replay.err;
  EXPECT_EQ(ram_of(replay.err), ram_of(recording.err));
  json report = json::parse(run(dejavm({"replay", path("long.dvt"), "--from-keyframe", "2", "--json"})).out);
  EXPECT_GT(report["skipped"], 0);
  EXPECT_LT(report["replayed"], report["events"]);
  EXPECT_EQ(report["skipped"].get<uint64_t>() + report["replayed"].get<uint64_t>(), report["events"].get<uint64_t>());
  EXPECT_THAT(replay.err,
              HasSubstr(fmt::format("skipped {} events before keyframe 2\nreplayed {} of {} events",
                                    report["skipped"].dump(), report["replayed"].dump(), report["events"].dump())));
  Finished absent = run(dejavm({"replay", path("long.dvt"), "--from-keyframe", "999"}));
  EXPECT_EQ(absent.status, kUsage);
}

}  // namespace
}  // namespace dejavm::integration
