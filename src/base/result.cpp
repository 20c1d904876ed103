#include "base/result.h"

#include <system_error>

namespace dejavm {

tl::unexpected<Error> fail_errno(std::string_view what, std::string next, int error) {
  return fail(fmt::format("{}: {}", what, std::generic_category().message(error)), std::move(next));
}

}  // namespace dejavm
