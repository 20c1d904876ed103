#include "gdbstub/breakpoint_set.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "gdbstub/agent.h"
#include "gdbstub/registers.h"

namespace dejavm::gdb {

namespace {

bool is_watch(uint8_t type) { return type >= 2; }

WatchKind watch_kind(uint8_t type) {
  CHECK(type >= 2 && type <= 4);
  if (type == 2) return WatchKind::write;
  return type == 3 ? WatchKind::read : WatchKind::access;
}

/// What a register holds, as a number.
std::optional<uint64_t> register_value(const vm::CpuState& state, unsigned number) {
  const unsigned size = register_size(number);
  if (size == 0 || size > sizeof(uint64_t)) return std::nullopt;
  const Bytes bytes = read_register(state, number);
  std::array<uint8_t, sizeof(uint64_t)> value{};
  std::copy(bytes.begin(), bytes.end(), value.begin());
  return load_le<uint64_t>(value.data());
}

}  // namespace

BreakpointSet::~BreakpointSet() {
  if (!conditions_.empty()) target_.set_breakpoint_test(nullptr);
}

bool BreakpointSet::stops(vm::GuestVirt addr) const {
  const auto state = target_.registers();
  if (!state) return true;
  const AgentValues values{[&](unsigned number) { return register_value(*state, number); },
                           [&](uint64_t at, MutableByteSpan to) { return target_.read_virtual({at}, to) == to.size(); }};
  for (const uint8_t type : {uint8_t{0}, uint8_t{1}}) {
    const Key key{type, addr, 0};
    if (!set_.contains(key)) continue;
    const auto found = conditions_.find(key);
    if (found == conditions_.end()) return true;
    for (const Bytes& condition : found->second) {
      const auto value = evaluate(condition, values);
      if (!value || *value != 0) return true;
    }
  }
  return false;
}

Status BreakpointSet::set_conditions(const Key& key, const std::vector<Bytes>& conditions) {
  remove_conditions(key);
  if (conditions.empty()) return {};
  size_t size = 0;
  for (const Bytes& condition : conditions) size += condition.size();
  if (size > kMaxConditionBytes - condition_bytes_) {
    return fail("the conditions of all breakpoints are too long",
                "`set breakpoint condition-evaluation host` leaves them to gdb");
  }
  if (conditions_.empty()) target_.set_breakpoint_test([this](vm::GuestVirt addr) { return stops(addr); });
  condition_bytes_ += size;
  conditions_[key] = conditions;
  return {};
}

void BreakpointSet::remove_conditions(const Key& key) {
  const auto found = conditions_.find(key);
  if (found == conditions_.end()) return;
  for (const Bytes& condition : found->second) condition_bytes_ -= condition.size();
  conditions_.erase(found);
  if (conditions_.empty()) target_.set_breakpoint_test(nullptr);
}

Status BreakpointSet::change(const ChangeBreakpoint& request, bool physical) {
  Key key{request.type, request.addr, 0};
  if (is_watch(request.type)) key = {request.type, request.addr, request.length, physical};
  if (!request.insert) {
    if (is_watch(key.type) && !set_.contains(key)) key.physical = !physical;
    return remove(key);
  }
  if (is_watch(request.type) && (request.length == 0 || request.length - 1 > ~request.addr.value)) {
    return fail(fmt::format("cannot watch {} bytes at {:#x}", request.length, request.addr.value), "watch 1 byte or more");
  }
  // GDB inserts anew to change a condition.
  TRY(set_conditions(key, request.conditions));
  const Status inserted = insert(key);
  if (!inserted && !set_.contains(key)) remove_conditions(key);
  return inserted;
}

Status BreakpointSet::insert(const Key& key) {
  if (set_.contains(key)) return {};
  if (set_.size() >= kMaxBreakpoints) {
    return fail(fmt::format("{} breakpoints are set already", set_.size()), "delete some");
  }
  if (is_watch(key.type)) {
    TRY(insert_watch(key));
  } else if (!has_software_breakpoint(key.addr) && !has_hardware_breakpoint(key.addr)) {
    TRY(target_.insert_breakpoint(key.addr));
  }
  set_.insert(key);
  return {};
}

Status BreakpointSet::remove(const Key& key) {
  if (set_.erase(key) == 0) return {};
  remove_conditions(key);
  if (is_watch(key.type)) return remove_watch(key);
  if (has_software_breakpoint(key.addr) || has_hardware_breakpoint(key.addr)) return {};
  return target_.remove_breakpoint(key.addr);
}

Status BreakpointSet::insert_watch(const Key& key) {
  if (key.physical) return target_.insert_physical_watch(watch_kind(key.type), {key.addr.value}, key.length);
  return target_.insert_watch(watch_kind(key.type), key.addr, key.length);
}

Status BreakpointSet::remove_watch(const Key& key) {
  if (key.physical) return target_.remove_physical_watch(watch_kind(key.type), {key.addr.value}, key.length);
  return target_.remove_watch(watch_kind(key.type), key.addr, key.length);
}

}  // namespace dejavm::gdb
