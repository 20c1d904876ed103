#include "samples.h"

#include <gtest/gtest.h>

#include "base/fd.h"

namespace dejavm::trace {

vm::GuestMemory sample_memory() {
  vm::GuestMemory memory = vm::GuestMemory::create(16 * vm::kPageSize, 2 * vm::kPageSize).value();
  Bytes page(vm::kPageSize, 0x5a);
  EXPECT_TRUE(memory.write_backing(3 * vm::kPageSize, page, vm::Writer::loader));
  EXPECT_TRUE(memory.write_backing(7 * vm::kPageSize, page, vm::Writer::loader));
  EXPECT_TRUE(memory.write_backing(17 * vm::kPageSize + 5, Bytes{1, 2, 3}, vm::Writer::loader));
  EXPECT_TRUE(
      memory.set_map({{{0}, 16 * vm::kPageSize, 0, true}, {{0xfffe0000}, 2 * vm::kPageSize, 16 * vm::kPageSize, false}}));
  return memory;
}

vm::CpuState sample_cpu() {
  vm::CpuState cpu;  // nothing of vm's defaults for a reset or a model: the golden file must not move with them
  cpu.segment[vm::cs] = {.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .type = 11, .s = 1, .present = 1};
  cpu.gpr[vm::r15] = 0x123456789abcdef0;
  cpu.cr3 = 0x1000;
  cpu.dr[3] = 7;
  cpu.sysenter_eip = 0xffffffff81000000;
  cpu.fpu.st[7] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  cpu.fpu.xmm[15] = {15, 14, 13};
  cpu.fpu.last_ip = 0x1234;
  cpu.gdt = {0x5000, 0x27};
  cpu.interrupt_shadow = 1;
  return cpu;
}

Description sample_description(bool has_time) {
  Description description;
  description.tool = "dejavm test";
  description.command_line = {"dejavm", "record", "-o", "t.dvt"};
  description.host = "Linux host";
  description.host_cpu = "some CPU";
  description.engine = "kvm";
  description.start_unix_s = 1700000000;
  description.machine = "pc";
  description.cpu_model = {
      "test-model", {{.function = 1, .index = 2, .indexed = true, .eax = 3, .ebx = 4, .ecx = 5, .edx = 6}}, {{0x1a0, 1}}};
  description.ram_size = 16 * vm::kPageSize;
  description.rom_size = 2 * vm::kPageSize;
  description.memory = sample_memory().map();
  description.devices = {{"edu", 0, vm::Space::mmio, 0xfebc0000, 0x100000, 0}, {"serial0", 0, vm::Space::pio, 0x3f8, 8, 0}};
  description.cpu = sample_cpu();
  description.replayable_on = {"kvm", "soft"};
  description.replayable_why = "no hidden instruction ran";
  description.has_time = has_time;
  return description;
}

std::vector<Event> sample_events() {
  auto state = std::make_shared<MatchedState>(MatchedState{sample_cpu(), 42});
  auto access = [](vm::Space space, vm::Direction direction, uint8_t size, uint64_t addr, uint64_t value) {
    return vm::Access{space, direction, size, addr, value};
  };
  constexpr auto kMmio = vm::Space::mmio;
  constexpr auto kPio = vm::Space::pio;
  constexpr auto kRead = vm::Direction::read;
  constexpr auto kWrite = vm::Direction::write;
  return {
      {AccessEvent{access(kMmio, kRead, 4, 0xfebc0080, 0x10), false, 0xffff800000001234}, 10},
      {AccessEvent{access(kMmio, kWrite, 4, 0xfebc0080, 0x11), true, {}}, 11},
      {AccessEvent{access(kPio, kWrite, 1, 0x3f8, 'A'), false, {}}, 12},
      {AccessEvent{access(kPio, kRead, 3, 0x3fd, 0xaabbcc), false, {}}, 13},
      {AccessEvent{access(kMmio, kWrite, 8, UINT64_MAX - 7, UINT64_MAX), false, 0}, 14},
      {InterruptEvent{0x24, {}}, 20},
      {InterruptEvent{0x25, {Placement::window, 0, nullptr}}, 20},
      {InterruptEvent{0xff, {Placement::steps, 123456789, nullptr}}, 20},
      {InterruptEvent{0x26, {Placement::state, 0, state}}, 20},
      {NmiEvent{{Placement::state, 0, state}}, 21},
      {MemoryWriteEvent{0x2ffe, {1, 2, 3, 4, 5}, {}}, 22},
      {MemoryWriteEvent{0, {}, {Placement::window, 0, nullptr}}, 22},
      {CpuStateEvent{std::make_shared<vm::CpuState>(sample_cpu())}, 23},
      {CpuReadEvent{0x10, false, 99, false}, 24},
      {CpuReadEvent{0x1b, true, 0xfee00900, true}, 24},
      {MemoryMapEvent{sample_memory().map(), sample_description().devices, {}}, 25},
      {HaltEvent{}, 26},
      {DigestEvent{1, 2, {{3, 4}, {5, 0}}, true}, 27},
      {AnnotationEvent{"a note, with \xc3\xa9"}, 28},
      {ResetEvent{true, "triple fault"}, 1000000},
      {ResetEvent{false, "port 0xcf9"}, 999999},
      {AccessEvent{access(kMmio, kRead, 4, 0xfebc0080, 0x11), false, 0xffff800000001234}, 1000001},
  };
}

std::vector<Event> driver_events(size_t count) {
  std::vector<Event> events;
  for (size_t i = 0; i < count; ++i) {
    vm::Access access{.direction = i % 3 == 2 ? vm::Direction::write : vm::Direction::read, .size = 4};
    access.addr = 0xfebc0000 + 8 * (i % 3);
    access.value = i % 3 == 1 ? i : 0x80080783;
    events.push_back({AccessEvent{access, false, {}}, i});
  }
  return events;
}

End sample_end(uint64_t events) {
  return {events, 0x1111, 0x2222, "guest powered off", {Placement::boundary, 0, nullptr}, false};
}

namespace {

std::string text(const Where& where) {
  std::string state =
      where.state == nullptr ? "-" : fmt::format("{:x}/{:x}", vm::hash(where.state->cpu), where.state->ram_digest);
  return fmt::format("@{}+{} {}", static_cast<int>(where.placement), where.steps, state);
}

struct BodyText {
  std::string operator()(const AccessEvent& e) const {
    std::string at = e.instruction ? fmt::format("{:x}", *e.instruction) : "unknown";
    return fmt::format("{} value {:x} joins {} at {}", vm::describe(e.access), e.access.value, e.joins_previous, at);
  }
  std::string operator()(const InterruptEvent& e) const { return fmt::format("{:x} {}", e.vector, text(e.where)); }
  std::string operator()(const NmiEvent& e) const { return text(e.where); }
  std::string operator()(const MemoryWriteEvent& e) const {
    return fmt::format("{:x} {} {}", e.offset, to_hex(e.bytes), text(e.where));
  }
  std::string operator()(const CpuStateEvent& e) const { return fmt::format("{:x}", vm::hash(*e.cpu)); }
  std::string operator()(const CpuReadEvent& e) const {
    return fmt::format("{:x} {} {:x} {}", e.msr, e.write, e.value, e.fault);
  }
  std::string operator()(const MemoryMapEvent& e) const {
    std::string all = text(e.where);
    for (const auto& m : e.memory) all += fmt::format(" {:x}+{:x}={:x} {}", m.base.value, m.size, m.offset, m.writable);
    for (const auto& d : e.devices) {
      all +=
          fmt::format(" {}.{} {} {:x}+{:x} {:x}", d.device, d.region, static_cast<int>(d.space), d.base, d.size, d.offset);
    }
    return all;
  }
  std::string operator()(const HaltEvent&) const { return ""; }
  std::string operator()(const ResetEvent& e) const { return fmt::format("{} {}", e.triple_fault, e.cause); }
  std::string operator()(const DigestEvent& e) const {
    std::string all = fmt::format("{:x} {:x} {}", e.cpu_hash, e.ram_digest, e.pages_cut);
    for (const auto& [page, hash] : e.pages) all += fmt::format(" {:x}={:x}", page, hash);
    return all;
  }
  std::string operator()(const KeyframeEvent& e) const { return std::to_string(e.index); }
  std::string operator()(const AnnotationEvent& e) const { return e.text; }
};

}  // namespace

std::string describe(const Event& event) {
  return fmt::format("{} us {}: {}", event.time_us, kind_name(event.body), std::visit(BodyText{}, event.body));
}

std::vector<std::string> describe(const std::vector<Event>& events) {
  std::vector<std::string> texts;
  for (const Event& event : events) texts.push_back(describe(event));
  return texts;
}

std::vector<Event> all_events(const Reader& reader) {
  std::vector<Event> events;
  EventCursor cursor(reader);
  while (true) {
    auto event = cursor.next();
    EXPECT_TRUE(event.has_value()) << event.error().what;
    if (!event || *event == nullptr) return events;
    events.push_back(**event);
  }
}

void write_trace(const std::string& path, const std::vector<Event>& events, bool has_time, WriterOptions options) {
  auto writer = Writer::create(path, sample_description(has_time), sample_memory(), options);
  ASSERT_TRUE(writer) << writer.error().what;
  for (const Event& event : events) ASSERT_TRUE((*writer)->append(event));
  Status finished = (*writer)->finish(sample_end((*writer)->events()));
  ASSERT_TRUE(finished) << finished.error().what;
}

Bytes file_bytes(const std::string& path) { return read_file(path, uint64_t{1} << 30).value(); }

}  // namespace dejavm::trace
