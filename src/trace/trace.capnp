# The structures of a trace file (docs/trace-format.md says how they stand in it). Fields are only ever added; what a
# reader must understand raises the version in the file header instead.
@0xb1d5c3f07a9e2648;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("dejavm::trace::schema");

enum Space { mmio @0; pio @1; }

struct Segment {
  base @0 :UInt64;
  limit @1 :UInt32;      # in bytes
  selector @2 :UInt16;
  type @3 :UInt8;        # 0..15
  s @4 :UInt8;
  dpl @5 :UInt8;
  present @6 :UInt8;
  avl @7 :UInt8;
  l @8 :UInt8;
  db @9 :UInt8;
  g @10 :UInt8;
  unusable @11 :UInt8;
}

struct DescriptorTable {
  base @0 :UInt64;
  limit @1 :UInt16;      # in bytes, minus 1
}

struct CpuState {
  gpr @0 :List(UInt64);          # 16: rax rcx rdx rbx rsp rbp rsi rdi r8..r15
  rip @1 :UInt64;
  rflags @2 :UInt64;
  segments @3 :List(Segment);    # 8: es cs ss ds fs gs tr ldt
  gdt @4 :DescriptorTable;
  idt @5 :DescriptorTable;
  control @6 :List(UInt64);      # 5: cr0 cr2 cr3 cr4 cr8
  debug @7 :List(UInt64);        # 6: dr0..dr3 dr6 dr7
  msrs @8 :List(UInt64);         # 10: efer star lstar cstar sfmask kernel_gs_base sysenter_cs sysenter_esp sysenter_eip pat
  st @9 :Data;                   # 8 registers of 16 bytes
  xmm @10 :Data;                 # 16 registers of 16 bytes
  fcw @11 :UInt16;
  fsw @12 :UInt16;
  ftw @13 :UInt8;                # abridged
  lastOpcode @14 :UInt16;
  lastIp @15 :UInt64;
  lastDp @16 :UInt64;
  mxcsr @17 :UInt32;
  interruptShadow @18 :UInt8;    # 0 none, 1 STI, 2 MOV SS
  nmiMasked @19 :UInt8;
}

struct MatchedState {
  cpu @0 :CpuState;
  ramDigest @1 :UInt64;
}

struct Where {
  placement @0 :UInt8;           # 0 boundary, 1 window, 2 steps, 3 state
  steps @1 :UInt64;              # placement 2
  state @2 :MatchedState;        # placement 3
}

struct MemoryRange {             # bytes; multiples of 4096
  base @0 :UInt64;               # guest physical
  size @1 :UInt64;
  offset @2 :UInt64;             # in the backing: RAM from 0, then ROM
  writable @3 :Bool;
}

struct DeviceRegion {
  device @0 :Text;
  region @1 :UInt32;
  space @2 :Space;
  base @3 :UInt64;               # guest physical address or port
  size @4 :UInt64;               # bytes
  offset @5 :UInt64;             # of the base in the device's own numbering
}

struct PageHash {
  page @0 :UInt64;               # page number in RAM
  hash @1 :UInt64;               # XXH3-64 of the page, seeded with its number; 0 for zeros
}

# Every event but an access; accesses stand in the columns of a chunk.
struct Event {
  union {
    interrupt :group { vector @0 :UInt8; where @1 :Where; }
    nmi :group { where @2 :Where; }
    memoryWrite :group { offset @3 :UInt64; bytes @4 :Data; where @5 :Where; }
    cpuState @6 :CpuState;
    cpuRead :group { msr @7 :UInt32; write @8 :Bool; value @9 :UInt64; fault @10 :Bool; }
    memoryMap :group { memory @11 :List(MemoryRange); devices @12 :List(DeviceRegion); where @13 :Where; }
    halt @14 :Void;
    reset :group { tripleFault @15 :Bool; cause @16 :Text; }
    digest :group { cpuHash @17 :UInt64; ramDigest @18 :UInt64; pages @19 :List(PageHash); pagesCut @20 :Bool; }
    keyframe @21 :UInt64;        # its index, from 0
    annotation @22 :Text;
  }
}

# A run of events by column; docs/trace-format.md, "Chunks", defines the columns.
struct Chunk {
  records @0 :UInt32;            # events of all kinds, 1..65536
  runs @1 :Data;
  tokens @2 :Data;
  registerShapes @3 :Data;
  registerAddresses @4 :Data;
  registerMisses @5 :Data;
  registers @6 :Data;
  values @7 :Data;
  forms @8 :Data;
  instructions @9 :Data;
  times @10 :Data;               # empty in a trace without times
  others @11 :List(Event);
}

struct PageCopy {
  page @0 :UInt64;
  source @1 :UInt64;             # a page that an earlier entry of this memory has filled
}

# Contents of backing pages (page number = backing offset / 4096), applied in the order pages, zeros, copies.
struct Pages {
  numbers @0 :List(UInt64);      # ascending
  contents @1 :Data;             # 4096 bytes a page, in that order
  zeros @2 :List(UInt64);
  copies @3 :List(PageCopy);
}

struct Keyframe {
  afterEvent @0 :UInt64;         # numbered events before it
  cpu @1 :CpuState;
  memory @2 :List(MemoryRange);
  devices @3 :List(DeviceRegion);
  countsSteps @4 :Bool;          # the next two are known: the engine counts steps
  steps @5 :UInt64;              # since the start, below 2^62
  eventSteps @6 :UInt64;         # where steps after the last event are counted from, below 2^62
}

struct CpuidLeaf {
  function @0 :UInt32;
  index @1 :UInt32;
  indexed @2 :Bool;
  eax @3 :UInt32;
  ebx @4 :UInt32;
  ecx @5 :UInt32;
  edx @6 :UInt32;
}

struct FixedMsr {
  index @0 :UInt32;
  value @1 :UInt64;
}

struct Description {
  tool @0 :Text;
  commandLine @1 :List(Text);
  host @2 :Text;
  hostCpu @3 :Text;
  engine @4 :Text;
  startUnixS @5 :UInt64;         # seconds since 1970-01-01 UTC
  machine @6 :Text;
  cpuName @7 :Text;
  cpuid @8 :List(CpuidLeaf);
  msrs @9 :List(FixedMsr);
  ramSize @10 :UInt64;           # bytes, a positive multiple of 4096
  romSize @11 :UInt64;           # bytes, a multiple of 4096
  memory @12 :List(MemoryRange);
  devices @13 :List(DeviceRegion);
  cpu @14 :CpuState;
  replayableOn @15 :List(Text);
  replayableWhy @16 :Text;
  cpuKind @18 :Text;             # whose undefined results: amd (also when empty), amd-zen3, tcg
  countsZeros @19 :Bool;         # F3 BSF and F3 BSR are TZCNT and LZCNT whatever CPUID says
  hasTime @17 :Bool;
}

struct IndexEntry {
  type @0 :UInt16;               # of the frame
  offset @1 :UInt64;             # of the frame in the file
  firstEvent @2 :UInt64;
  events @3 :UInt32;             # numbered
}

struct Index {
  frames @0 :List(IndexEntry);   # every frame before the index, in file order
}

struct End {
  events @0 :UInt64;             # numbered
  ramDigest @1 :UInt64;
  cpuHash @2 :UInt64;
  reason @3 :Text;
  where @4 :Where;
  cpuIsDead @5 :Bool;
}
