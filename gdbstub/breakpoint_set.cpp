#include "gdbstub/breakpoint_set.h"

#include "base/check.h"

namespace dejavm::gdb {

namespace {

bool is_watch(uint8_t type) { return type >= 2; }

WatchKind watch_kind(uint8_t type) {
  CHECK(type >= 2 && type <= 4);
  if (type == 2) return WatchKind::write;
  return type == 3 ? WatchKind::read : WatchKind::access;
}

}  // namespace

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
  return insert(key);
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
