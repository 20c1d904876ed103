#include <algorithm>
#include <optional>

#include "trace/chunk_codec.h"
#include "trace/chunk_model.h"
#include "trace/compress.h"
#include "trace/event_message.h"
#include "trace/message.h"
#include "trace/trace.capnp.h"

namespace dejavm::trace {
namespace {

tl::unexpected<Error> bad(std::string_view column) {
  return fail_damaged(fmt::format("a chunk is malformed in its column '{}'", column));
}

/// Reads a column from its start; nothing is read beyond its end.
class ColumnReader {
 public:
  ColumnReader(const char* name, ByteSpan bytes) : name_(name), rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  Result<uint8_t> byte() {
    if (rest_.empty()) return bad(name_);
    uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  /// A LEB128 number of at most 64 bits.
  Result<uint64_t> number() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      uint8_t next = rest_[0];
      rest_ = rest_.subspan(1);
      if (shift == 63 && next > 1) break;
      value |= uint64_t{next & 0x7fu} << shift;
      if (next < 0x80) return value;
    }
    return bad(name_);
  }
  const char* name() const { return name_; }

 private:
  const char* name_;
  ByteSpan rest_;
};

class Decoder {
 public:
  explicit Decoder(schema::Chunk::Reader chunk)
      : chunk_(chunk),
        runs_("runs", span_of(chunk.getRuns())),
        tokens_("tokens", span_of(chunk.getTokens())),
        addresses_("registerAddresses", span_of(chunk.getRegisterAddresses())),
        registers_("registers", span_of(chunk.getRegisters())),
        forms_("forms", span_of(chunk.getForms())),
        instructions_("instructions", span_of(chunk.getInstructions())),
        times_("times", span_of(chunk.getTimes())),
        shapes_(span_of(chunk.getRegisterShapes())),
        values_(span_of(chunk.getValues())),
        others_(chunk.getOthers()),
        has_time_(!times_.empty()),
        model_(std::min<uint64_t>(shapes_.size(), kMaxChunkRecords)) {}

  Result<std::vector<Event>> decode();

 private:
  struct Group {
    uint64_t next = 0;  // of the values column, in the plane of the lowest bytes
    uint32_t left = 0;
    uint32_t stride = 0;
  };

  Status read_dictionary();
  Result<Event> next_event();
  Result<EventBody> read_other();
  Result<EventBody> read_access(uint8_t token);
  Result<uint32_t> read_register(uint8_t token);
  Result<uint64_t> read_value(uint32_t id, uint8_t token);
  Status check_all_used() const;

  schema::Chunk::Reader chunk_;
  ColumnReader runs_, tokens_, addresses_, registers_, forms_, instructions_, times_;
  ByteSpan shapes_;
  ByteSpan values_;
  capnp::List<schema::Event>::Reader others_;
  const bool has_time_;
  AccessModel model_;
  std::vector<Group> groups_;
  std::optional<uint64_t> run_;  // accesses as predicted before the next token
  uint32_t next_other_ = 0;
  uint64_t last_addr_ = 0;
  uint64_t last_instruction_ = 0;
  uint64_t last_time_ = 0;
};

Status Decoder::read_dictionary() {
  ColumnReader misses("registerMisses", span_of(chunk_.getRegisterMisses()));
  if (shapes_.size() > kMaxChunkRecords) return bad("registerShapes");
  uint64_t at = 0;
  for (uint8_t shape : shapes_) {
    if (shape > kShapeMask) return bad("registerShapes");
    TRY_ASSIGN(uint64_t count, misses.number());
    if (count > kMaxChunkRecords) return bad("registerMisses");
    groups_.push_back({at, static_cast<uint32_t>(count), static_cast<uint32_t>(count)});
    at += count * shape_size(shape);
  }
  if (!misses.empty()) return bad("registerMisses");
  if (at != values_.size()) return bad("values");
  return {};
}

Result<uint32_t> Decoder::read_register(uint8_t token) {
  uint32_t id = AccessModel::kNone;
  switch (token & kTokenRegisterMask) {
    case kRegisterPredicted:
      id = model_.predicted();
      break;
    case kRegisterSecond:
      id = model_.second();
      break;
    case kRegisterExplicit: {
      TRY_ASSIGN(uint8_t low, registers_.byte());
      TRY_ASSIGN(uint8_t high, registers_.byte());
      id = low | uint32_t{high} << 8;
      break;
    }
    default: {
      if (model_.count() >= shapes_.size()) return bad("registerShapes");
      TRY_ASSIGN(uint64_t delta, addresses_.number());
      last_addr_ += unzigzag(delta);
      uint8_t shape = shapes_[model_.count()];
      if (model_.find(last_addr_, shape) != AccessModel::kNone) return bad(addresses_.name());
      return model_.add(last_addr_, shape);
    }
  }
  if (id >= model_.count()) return bad(registers_.name());
  return id;
}

Result<uint64_t> Decoder::read_value(uint32_t id, uint8_t token) {
  Register& reg = model_.at(id);
  bool missed = (token & kTokenValue) != 0;
  uint64_t value = model_.expected(reg);
  if (missed) {
    Group& group = groups_[id];
    if (group.left == 0) return bad("values");
    uint64_t delta = 0;
    unsigned size = shape_size(reg.shape);
    for (unsigned i = 0; i < size; ++i) delta |= uint64_t{values_[group.next + uint64_t{i} * group.stride]} << (8 * i);
    --group.left;
    ++group.next;
    value = low_bytes(reg.last + delta, size);
  }
  model_.learn(reg, value, missed);
  return value;
}

Result<EventBody> Decoder::read_access(uint8_t token) {
  TRY_ASSIGN(uint32_t id, read_register(token));
  model_.follow(id);
  TRY_ASSIGN(uint64_t value, read_value(id, token));
  Register& reg = model_.at(id);
  if ((token & kTokenForm) != 0) {
    TRY_ASSIGN(reg.form, forms_.byte());
    if (reg.form > (kFormJoins | kFormInstruction)) return bad(forms_.name());
  }
  AccessEvent event;
  if ((token & kTokenInstruction) != 0) {
    TRY_ASSIGN(uint64_t delta, instructions_.number());
    last_instruction_ += unzigzag(delta);
    reg.instruction = last_instruction_;
  }
  event.joins_previous = (reg.form & kFormJoins) != 0;
  if ((reg.form & kFormInstruction) != 0) event.instruction = reg.instruction;
  event.access = {.space = (reg.shape & kShapePio) != 0 ? vm::Space::pio : vm::Space::mmio,
                  .direction = (reg.shape & kShapeWrite) != 0 ? vm::Direction::write : vm::Direction::read,
                  .size = static_cast<uint8_t>(shape_size(reg.shape)),
                  .addr = reg.addr,
                  .value = value};
  return event;
}

Result<EventBody> Decoder::read_other() {
  if (next_other_ >= others_.size()) return bad("others");
  return read_event(others_[next_other_++]);
}

Result<Event> Decoder::next_event() {
  if (has_time_) {
    TRY_ASSIGN(uint64_t delta, times_.number());
    last_time_ += unzigzag(delta);
  }
  if (!run_ && !tokens_.empty()) {
    TRY_ASSIGN(run_, runs_.number());
  }
  uint8_t token = 0;
  if (run_ && *run_ == 0) {
    TRY_ASSIGN(token, tokens_.byte());
    if (token == 0 || token > kTokenOther) return bad(tokens_.name());
    run_.reset();
  } else if (run_) {
    --*run_;
  }
  TRY_ASSIGN(EventBody body, token == kTokenOther ? read_other() : read_access(token));
  return Event{std::move(body), last_time_};
}

Status Decoder::check_all_used() const {
  for (const ColumnReader* column : {&runs_, &tokens_, &addresses_, &registers_, &forms_, &instructions_, &times_}) {
    if (!column->empty()) return bad(column->name());
  }
  for (const Group& group : groups_) {
    if (group.left != 0) return bad("values");
  }
  if (model_.count() != shapes_.size()) return bad("registerShapes");
  if (next_other_ != others_.size()) return bad("others");
  if (run_) return bad("runs");
  return {};
}

Result<std::vector<Event>> Decoder::decode() {
  uint32_t records = chunk_.getRecords();
  if (records == 0 || records > kMaxChunkRecords) return bad("records");
  TRY(read_dictionary());
  std::vector<Event> events;
  events.reserve(records);
  for (uint32_t i = 0; i < records; ++i) {
    TRY_ASSIGN(Event event, next_event());
    events.push_back(std::move(event));
  }
  TRY(check_all_used());
  return events;
}

}  // namespace

Result<std::vector<Event>> decode_chunk(ByteSpan stored, uint64_t raw_length) {
  TRY_ASSIGN(Words raw, decompress(stored, raw_length));
  return parse_message<schema::Chunk>(raw, "a chunk", [](schema::Chunk::Reader chunk) { return Decoder(chunk).decode(); });
}

}  // namespace dejavm::trace
