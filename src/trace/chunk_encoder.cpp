#include <algorithm>

#include "base/check.h"
#include "trace/chunk_codec.h"
#include "trace/chunk_model.h"
#include "trace/compress.h"
#include "trace/message.h"
#include "trace/record.h"
#include "trace/trace.capnp.h"

namespace dejavm::trace {
namespace {

/// A column that grows by single bytes and by LEB128 numbers. Capacity is reserved ahead, once a chunk.
class Column {
 public:
  void reset(size_t capacity) {
    if (bytes_.size() < capacity) bytes_.resize(capacity);
    size_ = 0;
  }
  void byte(uint8_t value) { bytes_[size_++] = value; }
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(static_cast<uint8_t>(value | 0x80));
    byte(static_cast<uint8_t>(value));
  }
  ByteSpan bytes() const { return {bytes_.data(), size_}; }

 private:
  Bytes bytes_;
  size_t size_ = 0;
};

constexpr size_t kMaxNumberBytes = 10;

}  // namespace

class ChunkEncoder::State {
 public:
  State(bool has_time, int level) : has_time_(has_time), compressor_(level), model_(kMaxChunkRecords) {}
  Result<EncodedChunk> encode(std::span<const uint64_t> log, uint64_t seed);

 private:
  struct Miss {
    uint32_t id;
    uint64_t delta;
  };

  void reset();
  void add_access(const Record& record);
  uint32_t choose_register(const Record& record, uint8_t& token);
  void add_token(uint8_t token);
  void add_time(uint64_t time_us);
  Bytes grouped_values() const;
  Words message(uint32_t records);

  const bool has_time_;
  Compressor compressor_;
  AccessModel model_;
  Column runs_, tokens_, addresses_, registers_, forms_, instructions_, times_;
  std::vector<Miss> misses_;
  std::vector<std::span<const uint64_t>> others_;
  uint64_t run_ = 0;
  uint64_t last_addr_ = 0;
  uint64_t last_instruction_ = 0;
  uint64_t last_time_ = 0;
};

void ChunkEncoder::State::reset() {
  model_.reset();
  for (Column* column : {&runs_, &addresses_, &instructions_, &times_}) column->reset(kMaxChunkRecords * kMaxNumberBytes);
  for (Column* column : {&tokens_, &forms_}) column->reset(kMaxChunkRecords);
  registers_.reset(kMaxChunkRecords * 2);
  misses_.clear();
  others_.clear();
  run_ = last_addr_ = last_instruction_ = last_time_ = 0;
}

void ChunkEncoder::State::add_token(uint8_t token) {
  if (token == 0) {
    ++run_;
    return;
  }
  runs_.number(run_);
  tokens_.byte(token);
  run_ = 0;
}

uint32_t ChunkEncoder::State::choose_register(const Record& record, uint8_t& token) {
  uint32_t predicted = model_.predicted();
  if (predicted != AccessModel::kNone && model_.is(predicted, record.addr, record.shape)) return predicted;
  uint32_t id = model_.find(record.addr, record.shape);
  if (id == AccessModel::kNone) {
    token |= kRegisterNew;
    addresses_.number(zigzag(record.addr - last_addr_));
    last_addr_ = record.addr;
    return model_.add(record.addr, record.shape);
  }
  if (id == model_.second()) {
    token |= kRegisterSecond;
  } else {
    token |= kRegisterExplicit;
    registers_.byte(static_cast<uint8_t>(id));
    registers_.byte(static_cast<uint8_t>(id >> 8));
  }
  return id;
}

void ChunkEncoder::State::add_access(const Record& record) {
  uint8_t token = 0;
  uint32_t id = choose_register(record, token);
  Register& reg = model_.at(id);
  model_.follow(id);
  bool missed = model_.expected(reg) != record.value;
  if (missed) {
    token |= kTokenValue;
    ++reg.misses;
    misses_.push_back({id, record.value - reg.last});
  }
  model_.learn(reg, record.value, missed);
  if (record.form != reg.form) {
    token |= kTokenForm;
    forms_.byte(record.form);
    reg.form = record.form;
  }
  if ((record.form & kFormInstruction) != 0 && record.instruction != reg.instruction) {
    token |= kTokenInstruction;
    instructions_.number(zigzag(record.instruction - last_instruction_));
    last_instruction_ = reg.instruction = record.instruction;
  }
  add_token(token);
}

void ChunkEncoder::State::add_time(uint64_t time_us) {
  if (!has_time_) return;
  times_.number(zigzag(time_us - last_time_));
  last_time_ = time_us;
}

Bytes ChunkEncoder::State::grouped_values() const {
  // By register, and in each register by byte of the value, lowest first: bytes that behave alike stand together.
  std::vector<uint64_t> next(model_.count());
  uint64_t total = 0;
  for (uint32_t id = 0; id < model_.count(); ++id) {
    next[id] = total;
    total += uint64_t{model_.at(id).misses} * shape_size(model_.at(id).shape);
  }
  Bytes values(total);
  for (const Miss& miss : misses_) {
    const Register& reg = model_.at(miss.id);
    uint8_t* to = &values[next[miss.id]++];
    for (unsigned i = 0; i < shape_size(reg.shape); ++i)
      to[size_t{i} * reg.misses] = static_cast<uint8_t>(miss.delta >> (8 * i));
  }
  return values;
}

Words ChunkEncoder::State::message(uint32_t records) {
  return build_message<schema::Chunk>([&](schema::Chunk::Builder to) {
    to.setRecords(records);
    to.setRuns(data_of(runs_.bytes()));
    to.setTokens(data_of(tokens_.bytes()));
    Column misses;
    misses.reset(model_.count() * kMaxNumberBytes);
    auto shapes = to.initRegisterShapes(model_.count());
    for (uint32_t id = 0; id < model_.count(); ++id) {
      shapes[id] = model_.at(id).shape;
      misses.number(model_.at(id).misses);
    }
    to.setRegisterAddresses(data_of(addresses_.bytes()));
    to.setRegisterMisses(data_of(misses.bytes()));
    to.setRegisters(data_of(registers_.bytes()));
    to.setValues(data_of(grouped_values()));
    to.setForms(data_of(forms_.bytes()));
    to.setInstructions(data_of(instructions_.bytes()));
    to.setTimes(data_of(times_.bytes()));
    auto list = to.initOthers(static_cast<unsigned>(others_.size()));
    for (unsigned i = 0; i < others_.size(); ++i) {
      capnp::FlatArrayMessageReader event(as_message(others_[i]), reader_options(others_[i].size()));
      list.setWithCaveats(i, event.getRoot<schema::Event>());
    }
  });
}

Result<EncodedChunk> ChunkEncoder::State::encode(std::span<const uint64_t> log, uint64_t seed) {
  reset();
  EncodedChunk chunk;
  while (!log.empty()) {
    CHECK(chunk.records < kMaxChunkRecords);
    TRY_ASSIGN(Record record, parse_record(log, seed));
    ++chunk.records;
    chunk.events += record.numbered ? 1 : 0;
    add_time(record.time_us);
    if (record.is_access) {
      add_access(record);
    } else {
      others_.push_back(record.message);
      add_token(kTokenOther);
    }
    log = log.subspan(record.length / 8);
  }
  CHECK(chunk.records > 0);
  Words raw = message(chunk.records);
  chunk.raw_length = bytes_of(raw).size();
  chunk.stored = compressor_.compress(bytes_of(raw));
  return chunk;
}

ChunkEncoder::ChunkEncoder(bool has_time, int zstd_level) : state_(std::make_unique<State>(has_time, zstd_level)) {}
ChunkEncoder::~ChunkEncoder() = default;

Result<EncodedChunk> ChunkEncoder::encode(std::span<const uint64_t> log, uint64_t seed) {
  try {
    return state_->encode(log, seed);
  } catch (const kj::Exception& exception) {
    return malformed("a chunk", exception);
  }
}

Result<EncodedChunk> encode_chunk(std::span<const Event> events, bool has_time, int zstd_level) {
  return ChunkEncoder(has_time, zstd_level).encode(records_of(events, 0), 0);
}

}  // namespace dejavm::trace
