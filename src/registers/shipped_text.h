// The texts of svd/*.svd, put into the program by the build.
#pragma once

namespace dejavm::registers {

extern const char* const kEduSvd;
extern const char* const kE1000Svd;
extern const char* const k16550Svd;
extern const char* const k8259Svd;
extern const char* const k8254Svd;
extern const char* const kCmosSvd;
extern const char* const kIoapicSvd;
extern const char* const kLapicSvd;
extern const char* const kHpetSvd;
extern const char* const kVirtioSvd;
extern const char* const kVirtioBlkSvd;
extern const char* const kPciHostSvd;

}  // namespace dejavm::registers
