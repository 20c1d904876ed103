// The host code that is not of a block: in, out, and the call of the slow path.
#include <bit>

#include "engine/soft/translate/translator.h"

namespace dejavm::soft {
namespace {

// What the System V ABI wants kept.
constexpr Host kKept[] = {Host::rbx, Host::rbp, Host::r12, Host::r13, Host::r14, Host::r15};
constexpr unsigned kAlignment = 8;  // of the stack: six pushes and a return address

void push(Emitter& out, Host reg) {
  if (encoding(reg) >= 8) out.byte(0x41);
  out.byte(0x50 | (encoding(reg) & 7));
}
void pop(Emitter& out, Host reg) {
  if (encoding(reg) >= 8) out.byte(0x41);
  out.byte(0x58 | (encoding(reg) & 7));
}
void add_to_stack_pointer(Emitter& out, unsigned bytes) { out.bytes({0x48, 0x83, 0xc4, bytes}); }
void take_from_stack_pointer(Emitter& out, unsigned bytes) { out.bytes({0x48, 0x83, 0xec, bytes}); }

void load_registers(Emitter& out, const StateFields& fields) {
  out.load(kLeft, fields.left());
  out.load(kFlags, fields.flags());
  for (unsigned guest = 0; guest < 16; ++guest) {
    if (auto home = home_of(guest)) out.load(*home, fields.general(guest));
  }
}
void store_registers(Emitter& out, const StateFields& fields) {
  out.store(fields.left(), kLeft);
  out.store(fields.flags(), kFlags);
  for (unsigned guest = 0; guest < 16; ++guest) {
    if (auto home = home_of(guest)) out.store(fields.general(guest), *home);
  }
}

void return_to_caller(Emitter& out) {
  add_to_stack_pointer(out, kAlignment);
  for (auto reg = std::rbegin(kKept); reg != std::rend(kKept); ++reg) pop(out, *reg);
  out.byte(0xc3);
}

void jump_to_scratch(Emitter& out) { out.bytes({0x41, 0xff, 0xe3}); }

/// Where the C++ that was called said, in RAX.
void go_on_where_told(Emitter& out, const StateFields& fields) {
  out.move(kScratch, Host::rax);
  load_registers(out, fields);
  jump_to_scratch(out);
}

}  // namespace

/// void enter(code, state)
void Translator::emit_enter() {
  for (Host reg : kKept) push(out_, reg);
  take_from_stack_pointer(out_, kAlignment);
  out_.move(kState, Host::rsi);
  out_.move(kScratch, Host::rdi);
  load_registers(out_, fields_);
  jump_to_scratch(out_);
}

void Translator::emit_leave() {
  store_registers(out_, fields_);
  return_to_caller(out_);
}

/// Of C++, with the number in kScratch; RAX is the result. The stack must be aligned.
void Translator::emit_call(Callee callee) {
  store_registers(out_, fields_);
  out_.constant(Host::rdi, reinterpret_cast<uint64_t>(this));
  out_.bytes({0x44, 0x89, 0xde});  // mov esi, scratch
  out_.constant(Host::rax, std::bit_cast<uint64_t>(callee));
  out_.bytes({0xff, 0xd0});  // call rax
}

void Translator::emit_slow() {
  take_from_stack_pointer(out_, kAlignment);
  emit_call(&Translator::run_slowly);
  out_.bytes({0x48, 0x85, 0xc0});  // test rax, rax
  CodeOffset elsewhere = out_.jump_if(Condition::not_equal);
  load_registers(out_, fields_);
  BlockTranslator::restore_flags(out_);
  out_.bytes({0x48, 0x8d, 0x64, 0x24, kAlignment});  // lea rsp, [rsp + 8]: keeps the flags
  out_.byte(0xc3);
  out_.bind_here(elsewhere);
  add_to_stack_pointer(out_, kAlignment + 8);  // and the return address into the block
  go_on_where_told(out_, fields_);
}

void Translator::emit_follow() {
  emit_call(&Translator::follow);
  go_on_where_told(out_, fields_);
}

void Translator::emit_refetch() {
  emit_call(&Translator::refetch);
  go_on_where_told(out_, fields_);
}

void Translator::emit_stubs() {
  out_.move_to(0);
  enter_ = std::bit_cast<Enter>(out_.address(out_.here()));
  emit_enter();
  shared_.leave = out_.here();
  emit_leave();
  shared_.refetch = out_.here();
  emit_refetch();
  shared_.slow = out_.here();
  emit_slow();
  shared_.follow = out_.here();
  emit_follow();
  quit_ = out_.here();
  return_to_caller(out_);
}

}  // namespace dejavm::soft
