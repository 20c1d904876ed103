// Events other than accesses to and from their Cap'n Proto form.
#pragma once

#include "base/result.h"
#include "trace/event.h"
#include "trace/trace.capnp.h"

namespace dejavm::trace {

/// `body` is not an AccessEvent.
void write_event(schema::Event::Builder to, const EventBody& body);
Result<EventBody> read_event(schema::Event::Reader from);

}  // namespace dejavm::trace
