#include "trace/description_message.h"
#include "trace/state_message.h"

namespace dejavm::trace {
namespace {

constexpr uint64_t kMaxSteps = uint64_t{1} << 62;  // no guest comes that far, and sums of counts do not overflow

Result<std::optional<StepCounts>> read_steps(schema::Keyframe::Reader from) {
  if (!from.getCountsSteps()) return std::nullopt;
  StepCounts steps{from.getSteps(), from.getEventSteps()};
  if (steps.here >= kMaxSteps || steps.last_event >= kMaxSteps) {
    return fail_damaged(fmt::format("a keyframe claims {:#x} steps, {:#x} at its last event", steps.here, steps.last_event));
  }
  return steps;
}

Result<Keyframe> parse_keyframe(schema::Keyframe::Reader from) {
  Keyframe keyframe;
  keyframe.after_event = from.getAfterEvent();
  TRY_ASSIGN(keyframe.cpu, read_cpu(from.getCpu()));
  TRY_ASSIGN(keyframe.memory, read_memory(from.getMemory()));
  TRY_ASSIGN(keyframe.devices, read_devices(from.getDevices()));
  TRY_ASSIGN(keyframe.steps, read_steps(from));
  return keyframe;
}

Status compare_index(schema::Index::Reader from, const std::vector<Frame>& frames) {
  auto entries = from.getFrames();
  bool same = entries.size() == frames.size();
  for (unsigned i = 0; same && i < entries.size(); ++i) {
    same = entries[i].getType() == static_cast<uint16_t>(frames[i].type) && entries[i].getOffset() == frames[i].offset &&
           entries[i].getFirstEvent() == frames[i].first_event && entries[i].getEvents() == frames[i].events;
  }
  if (!same) return fail_damaged("the index does not match the file");
  return {};
}

}  // namespace

Words keyframe_message(const Keyframe& keyframe) {
  return build_message<schema::Keyframe>([&](schema::Keyframe::Builder to) {
    to.setAfterEvent(keyframe.after_event);
    write_cpu(to.initCpu(), keyframe.cpu);
    write_memory(to.initMemory(static_cast<unsigned>(keyframe.memory.size())), keyframe.memory);
    write_devices(to.initDevices(static_cast<unsigned>(keyframe.devices.size())), keyframe.devices);
    to.setCountsSteps(keyframe.steps.has_value());
    to.setSteps(keyframe.steps ? keyframe.steps->here : 0);
    to.setEventSteps(keyframe.steps ? keyframe.steps->last_event : 0);
  });
}

Result<Keyframe> read_keyframe_message(std::span<const uint64_t> message) {
  return parse_message<schema::Keyframe>(message, "a keyframe", parse_keyframe);
}

Words index_message(const std::vector<Frame>& frames) {
  return build_message<schema::Index>([&](schema::Index::Builder to) {
    auto entries = to.initFrames(static_cast<unsigned>(frames.size()));
    for (unsigned i = 0; i < frames.size(); ++i) {
      entries[i].setType(static_cast<uint16_t>(frames[i].type));
      entries[i].setOffset(frames[i].offset);
      entries[i].setFirstEvent(frames[i].first_event);
      entries[i].setEvents(frames[i].events);
    }
  });
}

Status check_index(std::span<const uint64_t> message, const std::vector<Frame>& frames) {
  return parse_message<schema::Index>(message, "the index",
                                      [&](schema::Index::Reader from) { return compare_index(from, frames); });
}

}  // namespace dejavm::trace
