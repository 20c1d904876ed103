#include "devices/acpi_tables.h"

namespace dejavm::devices {
namespace {

#include "pc.hex"  // pc_aml_code: acpi/pc.asl as iasl -tc compiled it

}  // namespace

ByteSpan pc_dsdt() { return pc_aml_code; }

}  // namespace dejavm::devices
