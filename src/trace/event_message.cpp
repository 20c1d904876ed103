#include "trace/event_message.h"

#include "base/check.h"
#include "trace/message.h"
#include "trace/state_message.h"

namespace dejavm::trace {
namespace {

/// Writes each kind of body; one overload a kind.
struct BodyWriter {
  schema::Event::Builder to;

  void operator()(const AccessEvent&) const { CHECK(false); }
  void operator()(const InterruptEvent& event) {
    auto body = to.initInterrupt();
    body.setVector(event.vector);
    write_where(body.initWhere(), event.where);
  }
  void operator()(const NmiEvent& event) { write_where(to.initNmi().initWhere(), event.where); }
  void operator()(const MemoryWriteEvent& event) {
    auto body = to.initMemoryWrite();
    body.setOffset(event.offset);
    body.setBytes(data_of(event.bytes));
    write_where(body.initWhere(), event.where);
  }
  void operator()(const CpuStateEvent& event) {
    CHECK(event.cpu != nullptr);
    write_cpu(to.initCpuState(), *event.cpu);
  }
  void operator()(const CpuReadEvent& event) {
    auto body = to.initCpuRead();
    body.setMsr(event.msr);
    body.setWrite(event.write);
    body.setValue(event.value);
    body.setFault(event.fault);
  }
  void operator()(const MemoryMapEvent& event) {
    auto body = to.initMemoryMap();
    write_memory(body.initMemory(static_cast<unsigned>(event.memory.size())), event.memory);
    write_devices(body.initDevices(static_cast<unsigned>(event.devices.size())), event.devices);
    write_where(body.initWhere(), event.where);
  }
  void operator()(const HaltEvent&) { to.setHalt(); }
  void operator()(const ResetEvent& event) {
    auto body = to.initReset();
    body.setTripleFault(event.triple_fault);
    body.setCause(event.cause);
  }
  void operator()(const DigestEvent& event) {
    auto body = to.initDigest();
    body.setCpuHash(event.cpu_hash);
    body.setRamDigest(event.ram_digest);
    body.setPagesCut(event.pages_cut);
    auto pages = body.initPages(static_cast<unsigned>(event.pages.size()));
    for (unsigned i = 0; i < event.pages.size(); ++i) {
      pages[i].setPage(event.pages[i].first);
      pages[i].setHash(event.pages[i].second);
    }
  }
  void operator()(const KeyframeEvent& event) { to.setKeyframe(event.index); }
  void operator()(const AnnotationEvent& event) { to.setAnnotation(event.text); }
};

Result<EventBody> read_memory_write(schema::Event::MemoryWrite::Reader from) {
  TRY_ASSIGN(Where where, read_where(from.getWhere()));
  ByteSpan bytes = span_of(from.getBytes());
  return MemoryWriteEvent{from.getOffset(), Bytes(bytes.begin(), bytes.end()), std::move(where)};
}

Result<EventBody> read_memory_map(schema::Event::MemoryMap::Reader from) {
  TRY_ASSIGN(Where where, read_where(from.getWhere()));
  TRY_ASSIGN(std::vector<vm::MemoryRange> memory, read_memory(from.getMemory()));
  TRY_ASSIGN(std::vector<vm::DeviceRegion> devices, read_devices(from.getDevices()));
  return MemoryMapEvent{std::move(memory), std::move(devices), std::move(where)};
}

EventBody read_digest(schema::Event::Digest::Reader from) {
  DigestEvent event;
  event.cpu_hash = from.getCpuHash();
  event.ram_digest = from.getRamDigest();
  event.pages_cut = from.getPagesCut();
  for (auto page : from.getPages()) event.pages.emplace_back(page.getPage(), page.getHash());
  return event;
}

Result<EventBody> read_interrupt(schema::Event::Interrupt::Reader from) {
  TRY_ASSIGN(Where where, read_where(from.getWhere()));
  return InterruptEvent{from.getVector(), std::move(where)};
}

}  // namespace

void write_event(schema::Event::Builder to, const EventBody& body) { std::visit(BodyWriter{to}, body); }

Result<EventBody> read_event(schema::Event::Reader from) {
  switch (from.which()) {
    case schema::Event::INTERRUPT:
      return read_interrupt(from.getInterrupt());
    case schema::Event::NMI: {
      TRY_ASSIGN(Where where, read_where(from.getNmi().getWhere()));
      return NmiEvent{std::move(where)};
    }
    case schema::Event::MEMORY_WRITE:
      return read_memory_write(from.getMemoryWrite());
    case schema::Event::CPU_STATE: {
      TRY_ASSIGN(vm::CpuState cpu, read_cpu(from.getCpuState()));
      return CpuStateEvent{std::make_shared<vm::CpuState>(cpu)};
    }
    case schema::Event::CPU_READ: {
      auto read = from.getCpuRead();
      return CpuReadEvent{read.getMsr(), read.getWrite(), read.getValue(), read.getFault()};
    }
    case schema::Event::MEMORY_MAP:
      return read_memory_map(from.getMemoryMap());
    case schema::Event::HALT:
      return HaltEvent{};
    case schema::Event::RESET:
      return ResetEvent{from.getReset().getTripleFault(), text_of(from.getReset().getCause())};
    case schema::Event::DIGEST:
      return read_digest(from.getDigest());
    case schema::Event::KEYFRAME:
      return KeyframeEvent{from.getKeyframe()};
    case schema::Event::ANNOTATION:
      return AnnotationEvent{text_of(from.getAnnotation())};
  }
  return fail_damaged(fmt::format("an event has the unknown kind {}", static_cast<unsigned>(from.which())));
}

}  // namespace dejavm::trace
