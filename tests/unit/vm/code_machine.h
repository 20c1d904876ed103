// A machine of 64-bit code that is looked at, not run.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>

#include "base/bytes.h"
#include "vm/startup_state.h"

namespace dejavm::vm {

class CodeMachine : public testing::Test {
 protected:
  static constexpr uint64_t kStack = 0x8000, kCode = 0x10000;

  CodeMachine() : memory(GuestMemory::create(0x20000, 0).value()) {
    EXPECT_TRUE(memory.set_map({{.base = {0}, .size = 0x20000, .offset = 0, .writable = true}}));
    push(0x1000, 0x2003);
    push(0x2000, 0x3003);
    push(0x3000, 0x83);
    cpu = long_mode_state(kCode, 0x1000);
    cpu.gpr[rsp] = kStack;
  }
  void push(uint64_t at, uint64_t value) {
    uint8_t bytes[8];
    store_le(bytes, value);
    EXPECT_TRUE(memory.write({at}, bytes, Writer::loader));
  }
  void code(uint64_t at, std::initializer_list<uint8_t> bytes) {
    EXPECT_TRUE(memory.write({at}, {bytes.begin(), bytes.size()}, Writer::loader));
  }

  GuestMemory memory;
  CpuState cpu;
};

}  // namespace dejavm::vm
