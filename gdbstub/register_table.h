// Names, sizes and types of the registers, in the order of their numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dejavm::gdb {

enum class Feature : uint8_t { core, segments, system, sse, mmx };

struct RegisterInfo {
  std::string_view name;
  uint8_t size;           ///< in bytes
  std::string_view type;  ///< as in the target description
  Feature feature;
  std::string_view group;  ///< empty: the debugger's own choice
};

inline constexpr unsigned kFirstGpr = 0, kRbp = 6, kRsp = 7, kRip = 16, kEflags = 17, kFirstSegment = 18;
inline constexpr unsigned kFsBase = 24, kGsBase = 25, kKernelGsBase = 26;
inline constexpr unsigned kCr0 = 27, kCr2 = 28, kCr3 = 29, kCr4 = 30, kCr8 = 31, kEfer = 32;
inline constexpr unsigned kFirstSt = 33, kFctrl = 41, kFstat = 42, kFtag = 43, kFiseg = 44, kFioff = 45, kFoseg = 46,
                          kFooff = 47, kFop = 48;
inline constexpr unsigned kFirstXmm = 49, kMxcsr = 65;
/// From here on they are dejavm's own, and no part of the `g` packet.
inline constexpr unsigned kFirstMm = 66, kFirstSegmentBase = 74, kGdtBase = 78, kGdtLimit = 79, kIdtBase = 80,
                          kIdtLimit = 81, kLdt = 82, kLdtBase = 83, kTr = 84, kTrBase = 85, kStar = 86, kLstar = 87,
                          kCstar = 88, kSfmask = 89, kSysenterCs = 90, kSysenterEsp = 91, kSysenterEip = 92, kPat = 93,
                          kFirstDr = 94, kDr6 = 98, kDr7 = 99;

inline constexpr std::array<RegisterInfo, 100> kRegisters = {{
    {"rax", 8, "int64", Feature::core, ""},
    {"rbx", 8, "int64", Feature::core, ""},
    {"rcx", 8, "int64", Feature::core, ""},
    {"rdx", 8, "int64", Feature::core, ""},
    {"rsi", 8, "int64", Feature::core, ""},
    {"rdi", 8, "int64", Feature::core, ""},
    {"rbp", 8, "data_ptr", Feature::core, ""},
    {"rsp", 8, "data_ptr", Feature::core, ""},
    {"r8", 8, "int64", Feature::core, ""},
    {"r9", 8, "int64", Feature::core, ""},
    {"r10", 8, "int64", Feature::core, ""},
    {"r11", 8, "int64", Feature::core, ""},
    {"r12", 8, "int64", Feature::core, ""},
    {"r13", 8, "int64", Feature::core, ""},
    {"r14", 8, "int64", Feature::core, ""},
    {"r15", 8, "int64", Feature::core, ""},
    {"rip", 8, "code_ptr", Feature::core, ""},
    {"eflags", 4, "i386_eflags", Feature::core, ""},
    {"cs", 4, "int32", Feature::core, ""},
    {"ss", 4, "int32", Feature::core, ""},
    {"ds", 4, "int32", Feature::core, ""},
    {"es", 4, "int32", Feature::core, ""},
    {"fs", 4, "int32", Feature::core, ""},
    {"gs", 4, "int32", Feature::core, ""},
    {"fs_base", 8, "data_ptr", Feature::segments, ""},
    {"gs_base", 8, "data_ptr", Feature::segments, ""},
    {"k_gs_base", 8, "data_ptr", Feature::system, "system"},
    {"cr0", 8, "x64_cr0", Feature::system, "system"},
    {"cr2", 8, "data_ptr", Feature::system, "system"},
    {"cr3", 8, "data_ptr", Feature::system, "system"},
    {"cr4", 8, "x64_cr4", Feature::system, "system"},
    {"cr8", 8, "int64", Feature::system, "system"},
    {"efer", 8, "x64_efer", Feature::system, "system"},
    {"st0", 10, "i387_ext", Feature::core, ""},
    {"st1", 10, "i387_ext", Feature::core, ""},
    {"st2", 10, "i387_ext", Feature::core, ""},
    {"st3", 10, "i387_ext", Feature::core, ""},
    {"st4", 10, "i387_ext", Feature::core, ""},
    {"st5", 10, "i387_ext", Feature::core, ""},
    {"st6", 10, "i387_ext", Feature::core, ""},
    {"st7", 10, "i387_ext", Feature::core, ""},
    {"fctrl", 4, "int", Feature::core, "float"},
    {"fstat", 4, "int", Feature::core, "float"},
    {"ftag", 4, "int", Feature::core, "float"},
    {"fiseg", 4, "int", Feature::core, "float"},
    {"fioff", 4, "int", Feature::core, "float"},
    {"foseg", 4, "int", Feature::core, "float"},
    {"fooff", 4, "int", Feature::core, "float"},
    {"fop", 4, "int", Feature::core, "float"},
    {"xmm0", 16, "vec128", Feature::sse, ""},
    {"xmm1", 16, "vec128", Feature::sse, ""},
    {"xmm2", 16, "vec128", Feature::sse, ""},
    {"xmm3", 16, "vec128", Feature::sse, ""},
    {"xmm4", 16, "vec128", Feature::sse, ""},
    {"xmm5", 16, "vec128", Feature::sse, ""},
    {"xmm6", 16, "vec128", Feature::sse, ""},
    {"xmm7", 16, "vec128", Feature::sse, ""},
    {"xmm8", 16, "vec128", Feature::sse, ""},
    {"xmm9", 16, "vec128", Feature::sse, ""},
    {"xmm10", 16, "vec128", Feature::sse, ""},
    {"xmm11", 16, "vec128", Feature::sse, ""},
    {"xmm12", 16, "vec128", Feature::sse, ""},
    {"xmm13", 16, "vec128", Feature::sse, ""},
    {"xmm14", 16, "vec128", Feature::sse, ""},
    {"xmm15", 16, "vec128", Feature::sse, ""},
    {"mxcsr", 4, "i386_mxcsr", Feature::sse, "vector"},
    {"mm0", 8, "uint64", Feature::mmx, "vector"},
    {"mm1", 8, "uint64", Feature::mmx, "vector"},
    {"mm2", 8, "uint64", Feature::mmx, "vector"},
    {"mm3", 8, "uint64", Feature::mmx, "vector"},
    {"mm4", 8, "uint64", Feature::mmx, "vector"},
    {"mm5", 8, "uint64", Feature::mmx, "vector"},
    {"mm6", 8, "uint64", Feature::mmx, "vector"},
    {"mm7", 8, "uint64", Feature::mmx, "vector"},
    {"cs_base", 8, "data_ptr", Feature::system, "system"},
    {"ss_base", 8, "data_ptr", Feature::system, "system"},
    {"ds_base", 8, "data_ptr", Feature::system, "system"},
    {"es_base", 8, "data_ptr", Feature::system, "system"},
    {"gdt_base", 8, "data_ptr", Feature::system, "system"},
    {"gdt_limit", 4, "int32", Feature::system, "system"},
    {"idt_base", 8, "data_ptr", Feature::system, "system"},
    {"idt_limit", 4, "int32", Feature::system, "system"},
    {"ldt", 4, "int32", Feature::system, "system"},
    {"ldt_base", 8, "data_ptr", Feature::system, "system"},
    {"tr", 4, "int32", Feature::system, "system"},
    {"tr_base", 8, "data_ptr", Feature::system, "system"},
    {"star", 8, "int64", Feature::system, "system"},
    {"lstar", 8, "code_ptr", Feature::system, "system"},
    {"cstar", 8, "code_ptr", Feature::system, "system"},
    {"sfmask", 8, "int64", Feature::system, "system"},
    {"sysenter_cs", 8, "int64", Feature::system, "system"},
    {"sysenter_esp", 8, "data_ptr", Feature::system, "system"},
    {"sysenter_eip", 8, "code_ptr", Feature::system, "system"},
    {"pat", 8, "int64", Feature::system, "system"},
    {"dr0", 8, "data_ptr", Feature::system, "system"},
    {"dr1", 8, "data_ptr", Feature::system, "system"},
    {"dr2", 8, "data_ptr", Feature::system, "system"},
    {"dr3", 8, "data_ptr", Feature::system, "system"},
    {"dr6", 8, "int64", Feature::system, "system"},
    {"dr7", 8, "int64", Feature::system, "system"},
}};

}  // namespace dejavm::gdb
