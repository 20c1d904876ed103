// Errors as values. An expected failure (file, packet, ioctl, user input) is a Result<T>; a broken invariant is CHECK.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace dejavm {

/// What kind of failure an error is; the command line turns it into its exit status (docs: cli).
enum class ErrorKind {
  failed,   ///< exit status 1
  usage,    ///< exit status 2: the user asked for something that does not exist
  damaged,  ///< exit status 4: a trace is damaged
};

/// What was wrong and where (`what`), and what to do next (`next`, may be empty).
struct Error {
  std::string what;
  std::string next;
  ErrorKind kind = ErrorKind::failed;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(std::string what, std::string next = {}) {
  return tl::make_unexpected(Error{std::move(what), std::move(next), ErrorKind::failed});
}

inline tl::unexpected<Error> fail_usage(std::string what, std::string next = {}) {
  return tl::make_unexpected(Error{std::move(what), std::move(next), ErrorKind::usage});
}

inline tl::unexpected<Error> fail_damaged(std::string what, std::string next = {}) {
  return tl::make_unexpected(Error{std::move(what), std::move(next), ErrorKind::damaged});
}

/// An error from errno: "WHAT: No such file or directory".
tl::unexpected<Error> fail_errno(std::string_view what, std::string next = {}, int error = errno);

}  // namespace dejavm

#define DEJAVM_CONCAT_(a, b) a##b
#define DEJAVM_CONCAT(a, b) DEJAVM_CONCAT_(a, b)

/// Returns the error of a Status expression to the caller.
#define TRY(expression)                                                         \
  do {                                                                          \
    auto try_result = (expression);                                             \
    if (!try_result) return tl::make_unexpected(std::move(try_result).error()); \
  } while (false)

/// `TRY_ASSIGN(auto x, f());` declares x from a Result, or returns its error to the caller.
#define TRY_ASSIGN(declaration, expression) TRY_ASSIGN_(DEJAVM_CONCAT(try_result_, __LINE__), declaration, expression)
#define TRY_ASSIGN_(name, declaration, expression)                \
  auto name = (expression);                                       \
  if (!name) return tl::make_unexpected(std::move(name).error()); \
  declaration = std::move(*name)
