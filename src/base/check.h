// CHECK: an invariant of dejavm's own; active in every build. Never for input from outside.
#pragma once

namespace dejavm {

[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace dejavm

#define CHECK(condition) ((condition) ? static_cast<void>(0) : ::dejavm::check_failed(__FILE__, __LINE__, #condition))
