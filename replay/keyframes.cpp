#include "replay/keyframes.h"

#include <algorithm>

namespace dejavm::replay {

Keyframes::Keyframes(const trace::Reader& reader, const Moment& beginning) : reader_(reader) {
  Moment before = beginning;
  for (size_t i = 0; i < reader.keyframe_count(); ++i) {
    auto keyframe = reader.read_keyframe(i);
    if (!keyframe || !keyframe->steps || keyframe->after_event > reader.event_count()) continue;
    Place place{i, {keyframe->steps->here, static_cast<int64_t>(keyframe->after_event) - 1}, keyframe->steps->last_event};
    if (place.moment.total_steps < before.total_steps || place.moment.event < before.event || place.moment == before)
      continue;
    before = place.moment;
    places_.push_back(place);
  }
}

const Keyframes::Place* Keyframes::last(const std::function<bool(const Place&)>& is_early) const {
  auto late = std::ranges::partition_point(places_, is_early);
  return late == places_.begin() ? nullptr : &*std::prev(late);
}

Result<ReplayState> Keyframes::state(const Place& place) const {
  TRY_ASSIGN(trace::Keyframe keyframe, reader_.read_keyframe(place.index));
  ReplayState state{.moment = place.moment,
                    .next_event = keyframe.after_event,
                    .cpu = keyframe.cpu,
                    .memory = std::move(keyframe.memory),
                    .devices = std::move(keyframe.devices),
                    .steps = place.moment.total_steps,
                    .event_steps = place.event_steps};
  if (state.next_event == 0) return state;
  trace::EventCursor cursor(reader_);
  TRY(cursor.seek(state.next_event - 1));
  TRY_ASSIGN(const trace::Event* event, cursor.next());
  if (event != nullptr) state.last_time_us = event->time_us;
  return state;
}

void Keyframes::forget(const Place& place) {
  std::erase_if(places_, [index = place.index](const Place& one) { return one.index == index; });
}

}  // namespace dejavm::replay
