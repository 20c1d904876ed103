#include "devices/acpi_image.h"

#include <numeric>
#include <string>

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr size_t kHeaderSize = 36, kLengthField = 4, kChecksumField = 9;
constexpr size_t kRsdpSize = 20, kRsdpChecksum = 8, kRsdpAddress = 16;
constexpr uint8_t kOem[] = {'B', 'O', 'C', 'H', 'S', ' ', 'B', 'X', 'P', 'C', ' ', ' ', ' ', ' '};
constexpr uint8_t kCreator[] = {'B', 'X', 'P', 'C'};

// Commands of the loader script; each has 128 bytes.
constexpr size_t kCommandSize = 128, kNameSize = 56;
constexpr uint32_t kAllocate = 1, kAddPointer = 2, kAddChecksum = 3;
constexpr uint8_t kHighMemory = 1, kFirmwareSegment = 2;

uint8_t* append_command(Bytes& script, uint32_t command, std::string_view file) {
  CHECK(file.size() < kNameSize);
  size_t at = script.size();
  script.resize(at + kCommandSize);
  store_le(&script[at], command);
  std::copy(file.begin(), file.end(), &script[at + 4]);
  return &script[at + 4 + kNameSize];
}

void append_allocate(Bytes& script, std::string_view file, uint32_t alignment, uint8_t zone) {
  uint8_t* operands = append_command(script, kAllocate, file);
  store_le(operands, alignment);
  operands[4] = zone;
}

/// The place in `file` at `offset` points into the tables.
void append_pointer(Bytes& script, std::string_view file, size_t offset, unsigned size) {
  uint8_t* operands = append_command(script, kAddPointer, file);
  std::string_view target = kAcpiTablesFile;
  std::copy(target.begin(), target.end(), operands);
  store_le(operands + kNameSize, static_cast<uint32_t>(offset));
  operands[kNameSize + 4] = static_cast<uint8_t>(size);
}

void append_checksum(Bytes& script, std::string_view file, size_t field, size_t start, size_t size) {
  uint8_t* operands = append_command(script, kAddChecksum, file);
  store_le(operands, static_cast<uint32_t>(field));
  store_le(operands + 4, static_cast<uint32_t>(start));
  store_le(operands + 8, static_cast<uint32_t>(size));
}

void add_to(uint8_t* pointer, unsigned size, uint32_t address) {
  if (size == 4) {
    store_le(pointer, load_le<uint32_t>(pointer) + address);
  } else {
    store_le(pointer, load_le<uint64_t>(pointer) + address);
  }
}

uint8_t missing_to_zero(ByteSpan bytes) {
  return static_cast<uint8_t>(0u - std::accumulate(bytes.begin(), bytes.end(), 0u));
}

}  // namespace

size_t AcpiImage::begin_table(std::string_view signature, uint8_t revision) {
  CHECK(signature.size() == 4);
  open_ = tables_.size();
  tables_.insert(tables_.end(), signature.begin(), signature.end());
  put(0, 4);  // length
  put(revision, 1);
  put(0, 1);  // checksum
  put(kOem);
  put(1, 4);  // OEM revision
  put(kCreator);
  put(1, 4);
  CHECK(tables_.size() == open_ + kHeaderSize);
  return open_;
}

void AcpiImage::end_table() {
  store_le(&tables_[open_ + kLengthField], static_cast<uint32_t>(tables_.size() - open_));
  checked_.push_back({open_, tables_.size() - open_});
}

void AcpiImage::put(uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) tables_.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void AcpiImage::align(size_t alignment) { tables_.resize((tables_.size() + alignment - 1) / alignment * alignment); }

void AcpiImage::put_pointer(size_t offset, unsigned size) {
  CHECK(size == 4 || size == 8);
  pointers_.push_back({tables_.size(), size});
  put(offset, size);
}

size_t AcpiImage::put_table(ByteSpan table) {
  CHECK(table.size() >= kHeaderSize && load_le<uint32_t>(&table[kLengthField]) == table.size());
  size_t at = tables_.size();
  put(table);
  tables_[at + kChecksumField] = 0;
  checked_.push_back({at, table.size()});
  return at;
}

void AcpiImage::set_root(size_t rsdt) {
  constexpr std::string_view kSignature = "RSD PTR ";
  rsdp_.assign(kRsdpSize, 0);
  std::copy(kSignature.begin(), kSignature.end(), rsdp_.begin());
  std::copy(kOem, kOem + 6, &rsdp_[9]);
  store_le(&rsdp_[kRsdpAddress], static_cast<uint32_t>(rsdt));
}

Bytes AcpiImage::loader_script() const {
  CHECK(!rsdp_.empty());
  Bytes script;
  append_allocate(script, kAcpiTablesFile, 64, kHighMemory);
  append_allocate(script, kAcpiRsdpFile, 16, kFirmwareSegment);
  for (const Pointer& pointer : pointers_) append_pointer(script, kAcpiTablesFile, pointer.at, pointer.size);
  append_pointer(script, kAcpiRsdpFile, kRsdpAddress, 4);
  for (const Checked& table : checked_) {
    append_checksum(script, kAcpiTablesFile, table.start + kChecksumField, table.start, table.size);
  }
  append_checksum(script, kAcpiRsdpFile, kRsdpChecksum, 0, kRsdpSize);
  return script;
}

AcpiImage::Placed AcpiImage::place(uint32_t address) const {
  CHECK(!rsdp_.empty());
  Placed placed{tables_, rsdp_};
  for (const Pointer& pointer : pointers_) add_to(&placed.tables[pointer.at], pointer.size, address);
  add_to(&placed.rsdp[kRsdpAddress], 4, address);
  for (const Checked& table : checked_) {
    placed.tables[table.start + kChecksumField] = missing_to_zero(ByteSpan(placed.tables).subspan(table.start, table.size));
  }
  placed.rsdp[kRsdpChecksum] = missing_to_zero(placed.rsdp);
  return placed;
}

}  // namespace dejavm::devices
