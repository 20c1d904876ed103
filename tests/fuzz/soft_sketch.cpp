#include "soft_sketch.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/check.h"

namespace dejavm::fuzz {
namespace {

constexpr uint64_t kTables = 0x1000;  // PML4, PDPT, PD of the first GiB, PD of the devices
constexpr uint64_t kGdt = 0x5000, kTss = 0x5800, kIdt = 0x6000, kSmallPages = 0x7000, kPaePointers = 0x8000;
constexpr uint64_t kDirectory32 = 0xa000, kSmallPages32 = 0xb000;
constexpr uint64_t kSmallLinear32 = 0x400000, kSmallLinear = 0x200000;
constexpr uint64_t kKernelStack = 0x70000;
constexpr uint16_t kCode64 = 0x08, kFlatData = 0x10, kCode32 = 0x18, kUserData = 0x23, kUserCode64 = 0x2b,
                   kTssSelector = 0x30, kUserCode32 = 0x43, kCode16 = 0x48, kData16 = 0x50;
constexpr uint64_t kPointer = 0x27, kLargePage = 0xe7;  // present, writable, for users; accessed (and dirty) already
constexpr unsigned kVectors = 64, kExceptions = 32;
constexpr uint64_t kSysretHandler = kHandlers + 16 * kVectors;

bool pushes_error_code(unsigned vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

uint64_t mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  return value ^ value >> 27;
}

}  // namespace

Sketch::Sketch(ByteSpan input) : model_(vm::dejavm64_v1()), state_(vm::reset_state()), ram_(kRamSize, 0) {
  std::memcpy(&header_, input.data(), std::min(input.size(), sizeof header_));
  input = input.subspan(std::min(input.size(), sizeof header_));
  mode_ = static_cast<Mode>(header_.mode % kModes);
  make_model();
  make_page_tables();
  make_descriptors();
  make_handlers();
  make_task();
  for (uint64_t at = 0; at < 0x2000; at += 8) put(kData + at, mix(at + header_.seed));
  make_state();
  auto* state_bytes = reinterpret_cast<uint8_t*>(&state_);
  for (unsigned i = header_.pokes % kMaxPokes; i > 0 && input.size() >= sizeof(Poke); --i) {
    Poke poke;
    std::memcpy(&poke, input.data(), sizeof poke);
    input = input.subspan(sizeof poke);
    if (poke.where >= Poke::kState) {
      state_bytes[poke.where % sizeof state_] = static_cast<uint8_t>(poke.low);
    } else {
      put(kTables + poke.where, poke.low | uint64_t{poke.high} << 16, 4);
    }
  }
  std::copy_n(input.begin(), std::min<size_t>(input.size(), kMaxCode), ram_.begin() + kCode);
}

vm::GuestMemory Sketch::make_memory() const {
  auto memory = vm::GuestMemory::create(kRamSize, vm::kPageSize);
  CHECK(memory.has_value());
  CHECK(memory
            ->set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true},
                       {.base = {kRom}, .size = vm::kPageSize, .offset = kRamSize, .writable = false}})
            .has_value());
  CHECK(memory->write({0}, ram_, vm::Writer::loader).has_value());
  return std::move(*memory);
}

void Sketch::put(uint64_t gpa, uint64_t value, size_t size) { std::memcpy(&ram_[gpa], &value, size); }

void Sketch::make_model() {
  if (header_.cpuid == 0) return;
  for (vm::CpuidLeaf& leaf : model_.cpuid) {
    auto bits = static_cast<uint32_t>(mix(header_.cpuid + uint64_t{leaf.function} * 0x10001));
    if (leaf.function == 1 || leaf.function == 7 || leaf.function == 0x80000001) {
      leaf.ecx ^= bits;
      leaf.ebx ^= leaf.function == 7 ? ~bits : 0;
    }
  }
}

// ---- Tables

void Sketch::make_page_tables() {
  put(kTables, (kTables + 0x1000) | kPointer);
  put(kTables + 0x1000, (kTables + 0x2000) | kPointer);
  put(kTables + 0x1000 + 3 * 8, (kTables + 0x3000) | kPointer);
  put(kTables + 0x2000, kLargePage);
  put(kTables + 0x2000 + 8, kSmallPages | kPointer);
  put(kTables + 0x3000, kDevices | kLargePage);
  put(kPaePointers, (kTables + 0x2000) | 1);
  put(kPaePointers + 3 * 8, (kTables + 0x3000) | 1);
  put(kDirectory32, kLargePage, 4);
  put(kDirectory32 + 4, kSmallPages32 | kPointer, 4);
  put(kDirectory32 + 4 * (kDevices >> 22), kDevices | kLargePage, 4);
  // Small pages of all kinds: RAM, ROM and devices; not present, not accessed, read-only, for the kernel only, no code.
  for (uint64_t i = 0; i < 512; ++i) {
    uint64_t to = i % 16 == 15 ? kDevices + i * 0x1000 : i % 16 == 14 ? kRom : i * 0x1000 % kRamSize;
    uint64_t flags = i % 32 == 31 ? 0 : 1 | (i % 3 != 0 ? 2u : 0u) | (i % 5 != 0 ? 4u : 0u) | (i % 7 != 0 ? 0x20u : 0u);
    uint64_t no_execute = (header_.control & kNoExecute) != 0 && i % 11 == 0 ? uint64_t{1} << 63 : 0;
    put(kSmallPages + 8 * i, to | flags | no_execute);
    put(kSmallPages32 + 4 * i, to | flags, 4);
  }
}

void Sketch::make_descriptors() {
  constexpr uint64_t kGate64 = kHandlers | uint64_t{kCode64} << 16 | uint64_t{0xec} << 40;
  constexpr uint64_t kGate32 = kHandlers | uint64_t{kCode32} << 16 | uint64_t{0xec} << 40;

  const uint64_t descriptors[] = {0,
                                  0x00af9b000000ffff,
                                  0x00cf93000000ffff,
                                  0x00cf9b000000ffff,
                                  0x00cff3000000ffff,
                                  0x00affb000000ffff,
                                  uint64_t{0x67} | kTss << 16 | uint64_t{0x8b} << 40,
                                  0,
                                  0x00cffb000000ffff,
                                  0x00009b040000ffff,  // 16 bits, at kCode
                                  0x000093060000ffff,  // likewise, at kData
                                  kGate64,
                                  0,
                                  kGate32,
                                  uint64_t{0x67} | (kTss + 0x100) << 16 | uint64_t{0xe9} << 40,  // a task to switch to
                                  uint64_t{0xe5} << 40 | uint64_t{0x70} << 16};                  // its gate
  for (size_t i = 0; i < std::size(descriptors); ++i) put(kGdt + 8 * i, descriptors[i]);
  for (uint64_t vector = 0; vector < kVectors; ++vector) {
    uint64_t handler = kHandlers + 16 * vector;
    uint64_t type = vector >= 3 && vector <= 5 ? 0xee : vector % 2 == 0 ? 0x8e : 0x8f;
    if (is_long()) {
      put(kIdt + 16 * vector, handler | uint64_t{kCode64} << 16 | type << 40);
    } else if (mode_ != Mode::real16) {
      put(kIdt + 8 * vector, handler | uint64_t{kCode32} << 16 | type << 40);
    } else {
      put(4 * vector, handler, 4);
    }
  }
}

/// An exception's handler goes on one byte behind where the exception was, an interrupt's where the interrupt was.
void Sketch::make_handlers() {
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    std::vector<uint8_t> code;
    auto add = [&code](std::initializer_list<uint8_t> bytes) { code.insert(code.end(), bytes); };
    bool exception = vector < kExceptions, error_code = exception && pushes_error_code(vector);
    if (vector % 16 == 3) add({0xf4});  // hlt
    if (mode_ == Mode::real16) {
      if (exception) add({0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d});  // push bp; mov bp, sp; inc word [bp+2]; pop bp
      add({0xcf});
    } else {
      if (error_code && is_long()) add({0x48});
      if (error_code) add({0x83, 0xc4, static_cast<uint8_t>(is_long() ? 8 : 4)});
      if (exception && is_long()) add({0x48});
      if (exception) add({0xff, 0x04, 0x24});  // inc word [esp]
      if (is_long()) add({0x48});
      add({0xcf});
    }
    std::copy(code.begin(), code.end(), ram_.begin() + kHandlers + 16 * vector);
  }
  put(kSysretHandler, 0x070f48, 3);  // sysretq
}

void Sketch::make_task() {
  if (is_long()) {
    put(kTss + 4, kKernelStack);
    for (uint64_t i = 0; i < 7; ++i) put(kTss + 0x24 + 8 * i, kKernelStack - 0x400 * i);
  } else {
    put(kTss + 4, kKernelStack, 4);
    put(kTss + 8, kFlatData, 2);
  }
  put(kTss + 0x66, 0x68, 2);
  uint64_t other = kTss + 0x100;
  put(other + 0x1c, kDirectory32, 4);
  put(other + 0x20, kCode, 4);
  put(other + 0x24, 2, 4);
  put(other + 0x38, kStack, 4);
  for (uint64_t segment : {0x48u, 0x50u, 0x54u}) put(other + segment, kFlatData, 2);
  put(other + 0x4c, kCode32, 2);
  put(other + 0x66, 0x68, 2);
}

// ---- Registers

/// What a byte of the input makes of a register.
uint64_t Sketch::value(uint8_t choice) const {
  uint64_t low = choice & 31;
  bool is_offset = mode_ == Mode::real16 || mode_ == Mode::virtual86 || mode_ == Mode::segmented16;
  uint64_t data = is_offset ? 0 : kData;
  uint64_t small_pages = mode_ == Mode::paged32 ? kSmallLinear32 : kSmallLinear;
  switch (choice >> 5) {
    case 0:
      return low;
    case 1:
      return data + low * 0x100;
    case 2:
      return data + (low & 3) * 0x1000 - (low >> 2);
    case 3:
      return kDevices + low * 4;
    case 4:
      return (is_offset ? 0 : kCode) + low * 0x40;
    case 5:
      return mix(low + header_.seed);
    case 6:
      return ~uint64_t{0} << 2 * low;
    default:
      return small_pages + low * 0x1000 - (low & 7);
  }
}

void Sketch::make_state() {
  constexpr uint64_t kVirtual = 1u << 17;
  state_.rip = kCode;
  state_.rflags = (header_.flags & 0x7fd7u) | 2;
  if (mode_ == Mode::real16 || mode_ == Mode::virtual86) {
    make_real_state();
  } else {
    auto dpl = static_cast<uint8_t>(is_user() ? 3 : 0);
    bool wide = mode_ == Mode::long64 || mode_ == Mode::user64, small = mode_ == Mode::segmented16;
    state_.segment.fill({.limit = 0xffffffff,
                         .selector = is_user() ? kUserData : kFlatData,
                         .type = 3,
                         .s = 1,
                         .dpl = dpl,
                         .present = 1,
                         .db = 1,
                         .g = 1});
    if (small) {
      state_.segment.fill({.base = kData, .limit = 0xffff, .selector = kData16, .type = 3, .s = 1, .present = 1});
      state_.rip = 0;
    }
    vm::Segment& code = state_.segment[vm::cs];
    code.type = 11;
    code.base = small ? kCode : 0;
    code.selector = small ? kCode16 : !is_long() ? kCode32 : !is_user() ? kCode64 : wide ? kUserCode64 : kUserCode32;
    code.l = wide ? 1 : 0;
    code.db = wide || small ? 0 : 1;
  }
  if (mode_ == Mode::virtual86) state_.rflags |= kVirtual;
  for (unsigned i = 0; i < (mode_ == Mode::long64 || mode_ == Mode::user64 ? 16u : 8u); ++i) {
    state_.gpr[i] = value(header_.gpr[i]);
    if (!is_long()) state_.gpr[i] = static_cast<uint32_t>(state_.gpr[i]);
  }
  if (header_.gpr[vm::rsp] == 0) state_.gpr[vm::rsp] = state_.rip == 0 ? 0x8000 : kStack;
  make_control();
}

void Sketch::make_real_state() {
  auto dpl = static_cast<uint8_t>(is_user() ? 3 : 0);
  for (unsigned i = 0; i < 6; ++i) {
    uint64_t base = i == vm::cs ? kCode : kData;
    state_.segment[i] = {.base = base,
                         .limit = 0xffff,
                         .selector = static_cast<uint16_t>(base >> 4),
                         .type = 3,
                         .s = 1,
                         .dpl = dpl,
                         .present = 1};
  }
  state_.segment[vm::cs].type = is_user() ? 3 : 11;
  state_.rip = 0;
}

void Sketch::make_control() {
  constexpr uint64_t kProtected = 1, kEm = 4, kTs = 8, kNe = 0x20, kWp = 0x10000, kAm = 0x40000, kPaging = 0x80000000;
  auto has = [this](Control bit) { return (header_.control & bit) != 0; };
  state_.cr0 = 0x10 | kNe | (has(kWriteProtect) ? kWp : 0) | (has(kTaskSwitched) ? kTs : 0) | (has(kEmulate) ? kEm : 0) |
               (has(kCheckAlignment) ? kAm : 0);
  state_.cr4 = 0x10 | (has(kNoSse) ? 0u : 0x200u) | (has(kNoSimdExceptions) ? 0u : 0x400u);
  if (mode_ != Mode::real16) {
    state_.cr0 |= kProtected;
    state_.gdt = {kGdt, 16 * 8 - 1};
    state_.idt = {kIdt, static_cast<uint16_t>((is_long() ? 16 : 8) * kVectors - 1)};
    state_.tr = {.base = kTss, .limit = 0x67, .selector = kTssSelector, .type = 11, .s = 0, .present = 1};
  }
  bool pages = mode_ >= Mode::paged32 || (mode_ == Mode::virtual86 && header_.seed % 2 == 1);
  bool pae = mode_ >= Mode::pae32;
  if (pages) state_.cr0 |= kPaging;
  if (pae) state_.cr4 |= 0x20;
  state_.cr3 = is_long() ? kTables : pae ? kPaePointers : kDirectory32;
  state_.efer = (is_long() ? 0x501u : 0u) | (has(kNoExecute) ? 0x800u : 0u);
  state_.star = uint64_t{kCode64} << 32 | uint64_t{0x18} << 48;
  state_.lstar = state_.cstar = kSysretHandler;
  state_.sysenter_cs = kCode64;
  state_.sysenter_eip = kSysretHandler;
  state_.sysenter_esp = kKernelStack;
  if (has(kDebugRegisters)) {
    state_.dr = {kCode + 0x10, kCode + 0x21, kHandlers + 0x60, kData};
    state_.dr7 |= 0x55;
    if (header_.seed % 2 == 1) {  // any kinds and sizes, on ports, too
      state_.dr7 |= mix(header_.seed) & 0xffff0000;
      state_.cr4 |= 8;
    }
  }
  state_.fpu.fcw = static_cast<uint16_t>(state_.fpu.fcw ^ header_.fcw);
  state_.fpu.mxcsr ^= header_.mxcsr;
}

}  // namespace dejavm::fuzz
