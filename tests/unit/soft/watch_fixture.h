// A guest that is watched, interpreted or translated.
#pragma once

#include <gtest/gtest.h>

#include "system_fixture.h"

namespace dejavm::soft {

class WatchedGuest : public SystemTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    long_mode();
    if (!GetParam()) return;
    ASSERT_TRUE(guest.core().translate({.visits = 1}).has_value());
  }

  static vm::Watchpoint on_write(uint64_t first, uint64_t length) { return {.first = first, .length = length}; }
  static vm::Watchpoint on_read(uint64_t first, uint64_t length) {
    return {.first = first, .length = length, .on_read = true, .on_write = false};
  }
  static vm::Watchpoint on_access(uint64_t first, uint64_t length) {
    return {.first = first, .length = length, .on_read = true};
  }
  static vm::Watchpoint physical(vm::Watchpoint watchpoint) {
    watchpoint.by = vm::Watchpoint::By::physical;
    return watchpoint;
  }
  void watch(std::vector<vm::Watchpoint> watchpoints) { guest.core().set_watchpoints(std::move(watchpoints)); }

  /// Runs; the hit, where the run ends with one.
  std::optional<vm::WatchHit> run_to_hit(vm::RunMode mode = vm::RunMode::free) {
    vm::Exit exit = guest.core().run(mode);
    const auto* hit = std::get_if<vm::WatchHit>(&exit);
    return hit != nullptr ? std::optional(*hit) : std::nullopt;
  }
  bool runs_to_halt() { return std::holds_alternative<vm::Halted>(guest.run()); }

  /// A register of the guest, as MOV to it would leave it.
  template <typename Change>
  void change_state(Change change) {
    vm::CpuState state = guest.cpu();
    change(state);
    guest.core().set_state(state);
  }

  static constexpr uint64_t kSmall = SoftGuest::kSmallPages, kOtherTables = 0x100000, kMoreTables = 0x110000;
};

}  // namespace dejavm::soft
