// Several lambdas as one visitor of a std::variant.
#pragma once

namespace dejavm {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace dejavm
