#include "replay/keyframes.h"

#include <algorithm>

#include "vm/ram_digest.h"

namespace dejavm::replay {

// ---- Whether one is what it should be

/// A digest is of the moment when the event before it was complete.
Result<std::optional<trace::DigestEvent>> digest_at(const trace::Reader& reader, size_t index,
                                                    const trace::Keyframe& keyframe) {
  if (keyframe.steps && keyframe.steps->here != keyframe.steps->last_event) return std::nullopt;
  trace::EventCursor cursor(reader);
  if (keyframe.after_event > 0) {
    TRY(cursor.seek(keyframe.after_event - 1));
    TRY(cursor.next());
  }
  std::optional<trace::DigestEvent> digest;
  for (;;) {
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr || trace::is_numbered(event->body)) return std::nullopt;
    if (const auto* one = std::get_if<trace::DigestEvent>(&event->body)) digest = *one;
    const auto* named = std::get_if<trace::KeyframeEvent>(&event->body);
    if (named != nullptr && named->index == index) return digest;
  }
}

Status check_keyframe(size_t index, const trace::Keyframe& keyframe, const trace::DigestEvent& digest, uint64_t ram_digest) {
  const uint64_t cpu_hash = vm::hash(keyframe.cpu);
  if (cpu_hash == digest.cpu_hash && ram_digest == digest.ram_digest) return {};
  return fail_damaged(
      fmt::format(
          "keyframe {}, after event {}, is damaged: it has cpu {:016x} ram {:016x}, and the digest there cpu {:016x} "
          "ram {:016x}",
          index + 1, static_cast<int64_t>(keyframe.after_event) - 1, cpu_hash, ram_digest, digest.cpu_hash,
          digest.ram_digest),
      "Start at another one, or at the beginning.");
}

// ---- All of them

void Keyframes::read_places() {
  read_ = true;
  Moment before = beginning_;
  for (size_t i = 0; i < reader_.keyframe_count(); ++i) {
    auto keyframe = reader_.read_keyframe(i);
    if (!keyframe || !keyframe->steps || keyframe->after_event > reader_.event_count()) continue;
    Place place{i, {keyframe->steps->here, static_cast<int64_t>(keyframe->after_event) - 1}, keyframe->steps->last_event};
    if (place.moment.total_steps < before.total_steps || place.moment.event < before.event || place.moment == before)
      continue;
    before = place.moment;
    places_.push_back(place);
  }
}

const Keyframes::Place* Keyframes::last(const std::function<bool(const Place&)>& is_early) {
  if (!read_) read_places();
  auto late = std::ranges::partition_point(places_, is_early);
  return late == places_.begin() ? nullptr : &*std::prev(late);
}

Result<Keyframes::Loaded> Keyframes::load(const Place& place) const {
  TRY_ASSIGN(trace::Keyframe keyframe, reader_.read_keyframe(place.index));
  TRY_ASSIGN(vm::GuestMemory memory, load_memory(reader_, place.index));
  // Of a large memory that is nearly empty the rest is not touched.
  std::vector<uint64_t> pages = memory.take_dirty();
  TRY_ASSIGN(auto digest, digest_at(reader_, place.index, keyframe));
  if (digest) {
    vm::RamDigest ram = vm::RamDigest::of_zeros(memory.ram_size());
    ram.update(memory, pages);
    TRY(check_keyframe(place.index, keyframe, *digest, ram.value()));
  }
  ReplayState state{.moment = place.moment,
                    .next_event = keyframe.after_event,
                    .cpu = keyframe.cpu,
                    .memory = std::move(keyframe.memory),
                    .devices = std::move(keyframe.devices),
                    .steps = place.moment.total_steps,
                    .event_steps = place.event_steps,
                    .agreed_event = place.moment.event};
  if (state.next_event == 0) return Loaded{std::move(state), std::move(memory), std::move(pages)};
  trace::EventCursor cursor(reader_);
  TRY(cursor.seek(state.next_event - 1));
  TRY_ASSIGN(const trace::Event* event, cursor.next());
  if (event != nullptr) state.last_time_us = event->time_us;
  return Loaded{std::move(state), std::move(memory), std::move(pages)};
}

void Keyframes::forget(const Place& place) {
  std::erase_if(places_, [index = place.index](const Place& one) { return one.index == index; });
}

}  // namespace dejavm::replay
