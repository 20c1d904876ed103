// Nobody can tell what LinearMemory keeps: two guests do the same, and one of them is made to forget all the time.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <utility>

#include "engine/soft/linear_memory.h"

namespace dejavm::soft {
namespace {

/// One of two guests that do the same.
class Twin {
 public:
  static constexpr uint64_t kPages = 16, kTables = 8 * 0x1000, kPd = kTables + 0x2000, kPt = kTables + 0x3000;
  static constexpr uint64_t kRoots[] = {kTables, kTables + 0x4000};  // two spaces: the lowest 512 GiB, and the next
  static constexpr uint64_t kRegion = uint64_t{1} << 39;

  explicit Twin(bool forgets)
      : forgets_(forgets),
        ram_(vm::GuestMemory::create(kPages * vm::kPageSize, 0).value()),
        memory_(cpu_, ram_, log_, features_) {
    EXPECT_TRUE(
        ram_.set_map({{{0}, kPages * vm::kPageSize, 0, true}, {{0x20000}, 0x4000, 0, true}, {{0x24000}, 0x1000, 0, false}}));
    cpu_.cr0 = 0x80010001;
    cpu_.cr3 = kTables;
    cpu_.cr4 = 0x20;
    cpu_.efer = 0xd00;
    cpu_.segment[vm::cs].l = 1;
    make_tables();
    memory_.mode_changed();
  }

  /// As a device would, again: random writes wear them out.
  void make_tables() {
    for (uint64_t root : kRoots) {
      put(root, (kTables + 0x1000) | 7);
      put(root + 8, (kTables + 0x1000) | 7);
    }
    put(kTables + 0x1000, kPd | 7);
    put(kPd, kPt | 7);
    put(kPd + 8, kPt | 7);  // the same table again
    put(kPd + 16, 0x87);
    for (uint64_t page = 0; page < 512; ++page) put(kPt + page * 8, page % 48 * vm::kPageSize | 7);
  }

  /// One access, picked by random numbers; says what came of it.
  std::string step(const std::array<uint64_t, 4>& random) {
    if (forgets_) memory_.flush();
    log_.rewind();
    for (;;) {
      try {
        std::string text = access(random);
        log_.clear();
        return text;
      } catch (const GuestFault& fault) {
        log_.clear();
        return fmt::format("fault {} {:#x} at {:#x}", fault.vector, fault.error_code.value_or(0), cpu_.cr2);
      } catch (const EngineFailure& failure) {
        return failure.what;
      } catch (const LeaveForAnswer&) {
        log_.answer(log_.waiting_for()->addr * 0x9e3779b97f4a7c15);
        log_.rewind();
      }
    }
  }
  Bytes ram() const {
    Bytes bytes(kPages * vm::kPageSize);
    EXPECT_TRUE(ram_.read({0}, bytes));
    return bytes;
  }

 private:
  void put(uint64_t gpa, uint64_t value) {
    uint8_t bytes[8];
    store_le(bytes, value);
    EXPECT_TRUE(ram_.write({gpa}, bytes, vm::Writer::device));
  }

  std::string access(const std::array<uint64_t, 4>& random) {
    uint64_t linear = random[1] % 3 << 21 | (random[1] >> 8) % (48 * vm::kPageSize);
    if (random[3] % 64 < 16) linear += kRegion;
    switch (random[0] % 18) {
      case 0:
        cpu_.segment[vm::ss].dpl = random[1] % 4 == 0 ? 3 : 0;
        memory_.mode_changed();
        return "ring";
      case 1:
        return fmt::format("code {:#x}", memory_.code_offset(linear));
      case 2: {  // an entry of the last level
        uint64_t entry = (random[2] % 48 << 12) | (random[2] >> 16 & 0x67) | (random[2] >> 24 & 1);
        memory_.write<uint64_t>(kPt + random[1] % 48 * 8, entry, Rights::system);
        return "entry";
      }
      case 3:  // a byte of it: the accessed and dirty bits
        memory_.write<uint8_t>(0x200000 + kPt + random[1] % 48 * 8, static_cast<uint8_t>(random[2] & 0x60) | 7,
                               Rights::system);
        return "bits";
      case 4:  // an entry of the level above
        if (random[3] % 8 != 0) return "";
        memory_.write<uint64_t>(0x400000 + kPd + random[1] % 3 * 8, random[2] % 2 == 0 ? kPt | 7 : 0x87, Rights::system);
        return "directory";
      case 5:
        EXPECT_TRUE(
            ram_.write({kPt + random[1] % 48 * 8}, Bytes{static_cast<uint8_t>(random[2] & 0x67)}, vm::Writer::device));
        return "dma";
      case 6:
        linear %= 4 * vm::kPageSize;
        if (uint8_t* to = memory_.direct_write(linear, 1)) {
          *to = static_cast<uint8_t>(random[2]);
        } else {
          memory_.write<uint8_t>(linear, static_cast<uint8_t>(random[2]));
        }
        return "direct";
      case 7:
        memory_.mark_code(random[1] % kPages, CodePages::pieces(0, 4095));
        return "mark";
      case 16: {  // the other space
        uint64_t before = std::exchange(cpu_.cr3, kRoots[random[1] % 2]);
        if (before != cpu_.cr3) memory_.root_changed(before);
        return "root";
      }
      case 17:  // an entry of a root: its accessed bit, or there is none
        if (random[3] % 4 != 0) return "";
        memory_.write<uint8_t>(kRoots[random[1] % 2] + random[1] / 2 % 2 * 8,
                               static_cast<uint8_t>(random[2] % 4 == 0 ? 6 : 7 | (random[2] & 0x20)), Rights::system);
        return "entry of a root";
      case 8:
      case 9:  // only among the data, so that the tables live on
        memory_.write<uint64_t>(random[1] % (4 * vm::kPageSize), random[2]);
        return "write";
      case 10:
        memory_.probe_write(linear, 8);
        return "probe";
      default:
        return fmt::format("{:#x}", memory_.read<uint64_t>(linear));
    }
  }

  bool forgets_;
  vm::CpuState cpu_ = vm::reset_state();
  Features features_;
  vm::GuestMemory ram_;
  AccessLog log_;
  LinearMemory memory_;
};

TEST(MemoryTwins, AGuestThatIsFlushedAllTheTimeRunsLikeOneThatNeverIs) {
  std::mt19937_64 random(1);
  Twin keeps(false), forgets(true);

  int faults = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::array<uint64_t, 4> numbers{random(), random(), random(), random()};
    std::string kept = keeps.step(numbers);
    ASSERT_EQ(kept, forgets.step(numbers)) << "step " << i;
    if (kept.starts_with("fault")) ++faults;
    if (i % 128 != 0) continue;
    ASSERT_EQ(keeps.ram(), forgets.ram()) << "step " << i;
    keeps.make_tables();
    forgets.make_tables();
  }
  EXPECT_GT(faults, 1'000);
  EXPECT_LT(faults, 30'000);
}

}  // namespace
}  // namespace dejavm::soft
