// Writes the seeds of gdb_packet_fuzzer into a directory: packets of each kind, and agent expressions.
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <string_view>

namespace {

/// The first byte: see gdb_packet_fuzzer.cpp.
constexpr char kFramed = 1, kReverses = 4, kExpression = 8;

constexpr std::string_view kPackets[] = {
    "qSupported:swbreak+;hwbreak+;xmlRegisters=i386\n?\ng\np10\nP0=0102030405060708\nqXfer:features:read:target.xml:0,ffb\n"
    "qXfer:memory-map:read::0,ffb",
    "m10,8\nx10,8\nx0,0\nx10,8\nX10,3:abc\nM10,2:beef\nqSearch:memory:0;1000;abc",
    "Z0,1010,1;X8,2600102310201327\nZ1,1020,1;X3,220127X3,220027\nZ2,10,4\nZ3,20,1\nZ4,30,8\nc\nvCont;c:1\nz0,1010,1\nz4,30,"
    "8\nC05",
    "vCont?\nvCont;s:1;c\nvCont;r1000,1010:1\nvCont;t\nvCont;S05:1\nvCont;C05\nbs\nbc\ns2000\nS05\n?",
    "QThreadSuffixSupported\nQListThreadsInStopReply\nQEnableErrorStrings\nqHostInfo\nqProcessInfo\nqRegisterInfo0\nqRegiste"
    "rInfo63\n"
    "qMemoryRegionInfo:8000\nqWatchpointSupportInfo:\njThreadsInfo\ng;thread:1;\np0;thread:1;\nP0=00;thread:1;\ns\nk",
    "Qqemu.PhyMemMode:1\nqqemu.PhyMemMode\nm0,8\nZ2,10,4\nQqemu.PhyMemMode:0\nqRcmd,"
    "62696771\nqfThreadInfo\nqsThreadInfo\nHg1\nT1\nD",
};

constexpr std::string_view kExpressions[] = {
    {"\x26\x00\x05\x2a\x20\x22\x07\x2a\x20\x13\x27", 11},
    {"\x22\x09\x22\x01\x20\x00\x09\x22\x07\x27", 10},
    {"\x22\x10\x1a\x28\x02\x22\x03\x33\x32\x01\x05\x0e\x27", 13},
};

int run(const std::string& directory) {
  unsigned number = 0;
  const auto write = [&](char choice, std::string_view bytes) {
    std::ofstream file(fmt::format("{}/seed-{}", directory, number++), std::ios::binary);
    file << choice << bytes;
    return bool(file.flush());
  };
  bool written = true;
  for (const std::string_view packets : kPackets) written = write(kFramed | kReverses, packets) && written;
  for (const std::string_view code : kExpressions) written = write(kExpression, code) && written;
  if (!written) fmt::print(stderr, "gdb_packet_seeds: cannot write into {}\n", directory);
  return written ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: gdb_packet_seeds DIRECTORY\n");
    return 1;
  }
  return run(argv[1]);
}
