// Translated code against the interpreter: the same random program in two guests, which stop at the same random steps.
#include <algorithm>
#include <memory>

#include "soft_fixture.h"
#include "translate_program.h"

namespace dejavm::soft {
namespace {

/// What an exit says, for comparison.
std::string describe(const vm::Exit& exit) {
  if (const auto* access = std::get_if<vm::DeviceAccess>(&exit)) {
    return fmt::format("access {:#x} size {} write {} value {:#x} at {:#x} joined {}", access->access.addr,
                       access->access.size, access->access.is_write(), access->access.value,
                       access->instruction ? access->instruction->value : 0, access->joins_previous.value_or(false));
  }
  return fmt::format("exit {}", exit.index());
}

/// Two guests with the same program, one of which translates.
class Twins {
 public:
  Twins(uint32_t seed, unsigned bits, const TranslatorOptions& options) : program_(seed, bits, 300), random_(~seed) {
    for (auto* guest : {interpreted_.get(), translated_.get()}) {
      bits == 64 ? guest->long_mode() : guest->protected_mode();
      guest->code(program_.bytes(), kProgram);
      guest->code(program_.handler(), kHandler);
      vm::CpuState state = guest->cpu();
      state.rip = kHandler;
      state.gpr[vm::rsp] = kProgramStack;
      state.gpr[vm::rsi] = kDevice;
      guest->core().set_state(state);
    }
    EXPECT_TRUE(translated_->core().translate(options).has_value());
  }

  /// Runs both to the next exit, at most `most` steps on. Empty, or how they differ.
  std::string advance(unsigned most) {
    uint64_t limit = interpreted_->core().steps + 1 + random_() % most;
    uint64_t answer = random_();
    std::string expected = run(*interpreted_, limit, answer), actual = run(*translated_, limit, answer);
    if (expected != actual) return expected + " but translated " + actual;
    if (interpreted_->core().steps != translated_->core().steps) {
      return fmt::format("{} steps but translated {}", interpreted_->core().steps, translated_->core().steps);
    }
    return vm::difference(interpreted_->cpu(), translated_->cpu());
  }

  std::string memory_difference() {
    for (uint64_t page = 0; page < kRamSize / vm::kPageSize; ++page) {
      ByteSpan expected = interpreted_->memory().page(page), actual = translated_->memory().page(page);
      if (!std::ranges::equal(expected, actual)) return fmt::format("page {:#x}", page * vm::kPageSize);
    }
    return {};
  }

  bool done() const { return done_; }
  uint64_t steps() const { return interpreted_->core().steps; }

 private:
  std::string run(SoftGuest& guest, uint64_t limit, uint64_t answer) {
    guest.core().step_limit = limit;
    guest.core().answer(answer);
    try {
      vm::Exit exit = guest.run();
      done_ = std::holds_alternative<vm::Shutdown>(exit);
      return describe(exit);
    } catch (const EngineFailure& failure) {
      done_ = true;
      return failure.what;
    }
  }

  RandomProgram program_;
  std::mt19937 random_;
  std::unique_ptr<SoftGuest> interpreted_ = std::make_unique<SoftGuest>();
  std::unique_ptr<SoftGuest> translated_ = std::make_unique<SoftGuest>();
  bool done_ = false;
};

struct Plan {
  unsigned bits;
  unsigned programs;
  unsigned stops;
  unsigned most;  ///< steps between two stops
  TranslatorOptions options = {.visits = 1};
};

class TranslateLockstep : public testing::TestWithParam<Plan> {};

TEST_P(TranslateLockstep, RandomProgramsAreTheSameAtEveryStop) {
  const Plan& plan = GetParam();
  for (uint32_t seed = 1; seed <= plan.programs; ++seed) {
    Twins twins(seed, plan.bits, plan.options);
    for (unsigned stop = 0; stop < plan.stops && !twins.done(); ++stop) {
      ASSERT_EQ(twins.advance(plan.most), "") << "program " << seed << ", after " << twins.steps() << " steps";
    }
    ASSERT_EQ(twins.memory_difference(), "") << "program " << seed;
  }
}

constexpr TranslatorOptions kSmall = {.code_size = size_t{256} << 10, .visits = 1},
                            kForeignHost = {.visits = 1, .trust_host_flags = false}, kUsual = {};

INSTANTIATE_TEST_SUITE_P(Plans, TranslateLockstep,
                         testing::Values(Plan{64, 25, 60, 3000}, Plan{64, 25, 600, 40}, Plan{32, 25, 60, 3000},
                                         Plan{32, 25, 600, 40}, Plan{64, 10, 200, 1000, kSmall},
                                         Plan{64, 15, 400, 100, kForeignHost}, Plan{64, 15, 200, 400, kUsual}));

}  // namespace
}  // namespace dejavm::soft
