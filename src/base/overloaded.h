// Several lambdas as one visitor of a std::variant.
#pragma once

namespace dejavm {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

template <typename... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 does not deduce it for an aggregate

}  // namespace dejavm
