#include "trace/event.h"

namespace dejavm::trace {

const char* kind_name(const EventBody& body) {
  static constexpr const char* kNames[] = {"access", "irq",  "nmi",   "dma",    "cpu",      "msr",
                                           "map",    "halt", "reset", "digest", "keyframe", "annotation"};
  static_assert(std::size(kNames) == std::variant_size_v<EventBody>);
  return kNames[body.index()];
}

}  // namespace dejavm::trace
