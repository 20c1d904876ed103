// What may have caused a difference: what ran since the state was last the recording's.
#include <gmock/gmock.h>

#include <cstring>

#include "replaying.h"

namespace dejavm::replay {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using vm::kDevice;
using Class = Divergence::Class;
using Kind = vm::SessionStop::Kind;

const vm::Program kReadTheTimeAndWrite = {vm::read(kDevice), vm::rdtsc(), vm::write(kDevice + 8, 1)};
const trace::Event kWrong = {trace::DigestEvent{1, 2, {}, false}};

/// The digest of a guest that has done `instructions` of 4 bytes each, has this in rax and never wrote to RAM.
trace::Event digest_behind(unsigned instructions, uint64_t rax) {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.rip += instructions * uint64_t{4};
  cpu.gpr[vm::rax] = rax;
  return {trace::DigestEvent{vm::hash(cpu), 0, {}, false}};
}

TEST(DivergenceClass, NamesWhatRanSinceTheStart) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 1), kWrong}, kReadTheTimeAndWrite);
  r.vcpu->sees_untrapped = true;

  vm::SessionStop stop = r.go();

  EXPECT_EQ(r.divergence().kind, Divergence::Kind::state);
  EXPECT_EQ(r.divergence().possible_class, Class::rdtsc);
  EXPECT_THAT(r.divergence().evidence, HasSubstr("since the start the guest executed"));
  EXPECT_THAT(r.divergence().evidence, HasSubstr("rdtsc 1 time; first rdtsc at 0x1004 in ring 0;"));
  EXPECT_THAT(r.divergence().evidence, HasSubstr("the device accesses so far are as recorded"));
  EXPECT_THAT(stop.reason, HasSubstr("\n  class:    rdtsc: a possible cause: "));
  EXPECT_EQ(r.replayer->divergence_count(Class::rdtsc), 1u);
}

TEST(DivergenceClass, NamesWhatRanSinceTheLastDigestThatAgreed) {
  Replaying r({mmio_read(kDevice, 7), digest_behind(1, 7), mmio_write(kDevice + 8, 1), kWrong}, kReadTheTimeAndWrite);
  r.vcpu->sees_untrapped = true;

  r.go();

  EXPECT_EQ(r.divergence().possible_class, Class::rdtsc);
  EXPECT_THAT(r.divergence().evidence, HasSubstr("since event 0, where the state agreed, the guest executed"));
}

TEST(DivergenceClass, WhatRanBeforeADigestThatAgreedHasNoPart) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 1), digest_behind(3, 100), mmio_read(kDevice + 4, 9), kWrong},
              {vm::read(kDevice), vm::rdtsc(), vm::write(kDevice + 8, 1), vm::read(kDevice + 4)});
  r.vcpu->sees_untrapped = true;

  r.go();

  EXPECT_EQ(r.divergence().event, 2u);
  EXPECT_EQ(r.divergence().possible_class, Class::unknown);
  EXPECT_EQ(r.divergence().evidence, "not rdtsc: since event 1, where the state agreed, the guest executed none");
}

TEST(DivergenceClass, AStateThatIsFoundAgreesToo) {
  auto state = std::make_shared<trace::MatchedState>();
  state->cpu = vm::FakeVcpu::start_state();
  state->cpu.rip = vm::kCode + 8;
  state->cpu.gpr[vm::rax] = 100;
  trace::Event write = dma(0x3000, {1}, {trace::Placement::state, 0, state});
  Replaying r({mmio_read(kDevice, 7), write, kWrong}, kReadTheTimeAndWrite);
  r.vcpu->sees_untrapped = true;

  r.go();

  EXPECT_EQ(r.divergence().kind, Divergence::Kind::state);
  EXPECT_THAT(r.divergence().evidence, StartsWith("not rdtsc: since event 0,"));
}

TEST(DivergenceClass, AnAccessThatDiffersHasOneToo) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 5)},
              {vm::read(kDevice), vm::rdtsc(), vm::write(kDevice + 8, std::nullopt)});
  r.vcpu->sees_untrapped = true;

  r.go();

  EXPECT_EQ(r.divergence().kind, Divergence::Kind::access);
  EXPECT_EQ(r.divergence().possible_class, Class::rdtsc);
  EXPECT_THAT(r.divergence().evidence, testing::Not(HasSubstr("the device accesses so far")));
}

TEST(DivergenceClass, AnEngineThatDoesNotSeeSaysWhichDoes) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 1), kWrong}, kReadTheTimeAndWrite);

  r.go();

  EXPECT_EQ(r.divergence().possible_class, Class::unknown);
  EXPECT_THAT(r.divergence().evidence, HasSubstr("-accel soft"));
}

TEST(DivergenceClass, KeepGoingCountsThoseOfEachClass) {
  Replaying r({mmio_read(kDevice, 7), kWrong, mmio_write(kDevice + 8, 1), kWrong, kWrong}, kReadTheTimeAndWrite,
              std::nullopt, {.keep_going = true});
  r.vcpu->sees_untrapped = true;

  EXPECT_EQ(r.go().kind, Kind::ended);

  EXPECT_EQ(r.replayer->divergence_count(Class::unknown), 1u);
  EXPECT_EQ(r.replayer->divergence_count(Class::rdtsc), 2u);
  EXPECT_EQ(r.replayer->divergence_count(), 3u);
}

TEST(DivergenceClass, GoingBackTakesTheCountBack) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 1), kWrong}, kReadTheTimeAndWrite);
  r.vcpu->sees_untrapped = true;
  ReplayState start = r.replayer->capture().value();
  std::string first = r.go().reason;

  ASSERT_TRUE(r.replayer->restore(start).has_value());
  r.vcpu->time_stamp = 100;  // as it was

  EXPECT_FALSE(r.vcpu->untrapped_reads()->any());
  EXPECT_EQ(r.go().reason, first);
  EXPECT_EQ(r.replayer->divergence_count(Class::rdtsc), 1u);
}

/// RAM of a guest that has stored this at 0x2000, and its digest with flags turned round.
trace::Event digest_with_flags(uint64_t stored, uint64_t xor_mask, uint64_t cpu_hash) {
  vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
  uint64_t recorded = stored ^ xor_mask;
  Bytes bytes(8);
  std::memcpy(bytes.data(), &recorded, 8);
  CHECK(memory.write_backing(0x2000, bytes, vm::Writer::loader).has_value());
  return {trace::DigestEvent{cpu_hash, vm::RamDigest(memory).value(), {{2, vm::page_hash(2, memory.page(2))}}, false}};
}

/// Has read `value` and stored it at 0x2000.
uint64_t hash_of_reader(uint64_t value, uint64_t flags = 2) {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.rip += 12;
  cpu.gpr[vm::rax] = value;
  cpu.rflags = flags;
  return vm::hash(cpu);
}
const vm::Program kReadStoreAndWrite = {vm::read(kDevice), vm::store(0x2000), vm::write(kDevice + 8, 1)};

TEST(DivergenceClass, SavedFlagsAreProvedToBeTheWholeDifference) {
  for (uint64_t flags : {0x10u, 0x8d5u}) {
    Replaying r(
        {mmio_read(kDevice, 0x246), mmio_write(kDevice + 8, 1), digest_with_flags(0x246, flags, hash_of_reader(0x246))},
        kReadStoreAndWrite);
    r.vcpu->sees_untrapped = true;

    r.go();

    EXPECT_EQ(r.divergence().possible_class, Class::undefined_flags);
    EXPECT_EQ(r.divergence().evidence, fmt::format("the hashes prove that nothing differs but {} at 0x2000",
                                                   flags == 0x10 ? "AF" : "CF|PF|AF|ZF|SF|OF"));
    EXPECT_THAT(r.divergence().differing_pages, testing::ElementsAre(2u));
  }
}

TEST(DivergenceClass, FlagsInTheCpuAreFoundToo) {
  Replaying r(
      {mmio_read(kDevice, 0x246), mmio_write(kDevice + 8, 1), digest_with_flags(0x246, 0x10, hash_of_reader(0x246, 0x12))},
      kReadStoreAndWrite);

  r.go();

  EXPECT_EQ(r.divergence().evidence, "the hashes prove that nothing differs but AF of rflags, AF at 0x2000");
  EXPECT_EQ(r.replayer->divergence_count(Class::undefined_flags), 1u);
}

TEST(DivergenceClass, WhatDiffersInMoreThanFlagsIsNotOfThem) {
  // Another bit of the word; flags, and a register; a page that the digest does not list.
  const trace::Event interrupts = digest_with_flags(0x246, 0x200, hash_of_reader(0x246));
  const trace::Event with_register = digest_with_flags(0x246, 0x10, hash_of_reader(0x247));
  trace::Event unlisted = digest_with_flags(0x246, 0x10, hash_of_reader(0x246));
  std::get<trace::DigestEvent>(unlisted.body).ram_digest += 5;
  for (const trace::Event& digest : {interrupts, with_register, unlisted}) {
    Replaying r({mmio_read(kDevice, 0x246), mmio_write(kDevice + 8, 1), digest}, kReadStoreAndWrite);
    r.vcpu->sees_untrapped = true;

    r.go();

    EXPECT_EQ(r.divergence().possible_class, Class::unknown) << r.divergence().evidence;
  }
}

TEST(DivergenceClass, AtTheEndOnePageIsFoundWithoutAList) {
  trace::Event digest = digest_with_flags(0x246, 0x10, 0);
  trace::End end = dead_end();
  end.cpu_is_dead = false;
  end.cpu_hash = hash_of_reader(0x246);
  end.ram_digest = std::get<trace::DigestEvent>(digest.body).ram_digest;
  Replaying r({mmio_read(kDevice, 0x246), mmio_write(kDevice + 8, 1)}, kReadStoreAndWrite, end);

  r.go();

  EXPECT_EQ(r.divergence().evidence, "the hashes prove that nothing differs but AF at 0x2000");
}

TEST(DivergenceClass, TheSearchEnds) {
  vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
  Bytes flags(vm::kPageSize);
  for (size_t i = 0; i < flags.size(); i += 8) flags[i] = 2;
  ASSERT_TRUE(memory.write_backing(0x2000, flags, vm::Writer::loader).has_value());
  StateDifference difference{.cpu = {}, .recorded_cpu = vm::hash(vm::CpuState{}), .ram_missing = 1, .suspects = {2}};
  difference.recorded_pages = {{2, vm::page_hash(2, memory.page(2)) + 1}};
  uint64_t tries = 2000;

  EXPECT_EQ(find_flag_difference(difference, memory, tries), "");
  EXPECT_EQ(tries, 0u);
}

TEST(DivergenceClass, NamesAllKindsAndTheFirstPlaces) {
  vm::UntrappedReads reads;
  reads.note({.at = {0x401000}, .ring = 3, .kind = vm::UntrappedKind::rdtsc, .steps = 12});
  reads.note({.at = {0x401000}, .ring = 3, .kind = vm::UntrappedKind::rdtsc, .steps = 15});
  reads.note({.at = {0x402000}, .ring = 3, .kind = vm::UntrappedKind::rdrand, .refused = true, .steps = 20});

  EXPECT_EQ(describe(reads, 2),
            "rdtsc 2 times, rdrand 1 time; first rdtsc at 0x401000 in ring 3 (@10), then rdrand at 0x402000 in ring 3 (@18; "
            "#UD here, as CPUID hides it)");
}

}  // namespace
}  // namespace dejavm::replay
