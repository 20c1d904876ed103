// Which events a user wants to see: the filters of cli (docs), for dump and the shell.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command_line.h"
#include "trace/reader.h"
#include "vm/access_filter.h"
#include "vm/register_map.h"

namespace dejavm::cli {

/// The parsed filters of one command. Everything that is given must hold.
class EventFilter {
 public:
  /// `registers`: for --reg; it outlives the filter. None: that option is not there.
  explicit EventFilter(const vm::RegisterMaps* registers = nullptr) : registers_(registers) {}
  /// The options (--device, --gpa, --port, --read, ...); they change this filter when parsed.
  std::vector<Option> options();
  /// Finds the devices that the parsed places name. Before the filter is used.
  Status resolve(const std::vector<vm::DeviceRegion>& devices);
  /// The same with the devices of a trace: those at its start, and only where a name is not among them, those that come
  /// later, for which its events are read.
  Status resolve(const trace::Reader& reader);

  bool matches(const trace::EventBody& body, const std::vector<vm::DeviceRegion>& devices) const;
  /// Event numbers outside [from, to] are not asked for.
  uint64_t from() const { return from_; }
  uint64_t to() const { return to_; }

 private:
  bool about_accesses() const;

  const vm::RegisterMaps* registers_;
  std::vector<std::string> places_;  // as the user wrote them
  std::string register_;             // likewise
  bool resolved_ = false;
  vm::AccessFilter access_;
  std::set<std::string> kinds_;
  uint64_t from_ = 0;
  uint64_t to_ = UINT64_MAX;
};

/// An event as the walk below shows it.
struct ListedEvent {
  const trace::Event& event;
  std::optional<uint64_t> number;  ///< none for digests, keyframes, annotations
  const std::vector<vm::DeviceRegion>& devices;
};

/// Walks the events of a trace that match, in order; `visit` returns false to end. The device table follows the trace.
Status for_each_event(const trace::Reader& reader, const EventFilter& filter,
                      const std::function<bool(const ListedEvent&)>& visit);

}  // namespace dejavm::cli
