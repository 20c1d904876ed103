#include "cli/messages.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"

namespace dejavm::cli {

std::string version() { return "dejavm " DEJAVM_VERSION; }

void say(std::string_view text) { fmt::print(stderr, "dejavm: {}\n", text); }

void say_error(const Error& error) {
  fmt::print(stderr, "dejavm: error: {}\n", error.what);
  if (!error.next.empty()) fmt::print(stderr, "dejavm: {}\n", error.next);
}

std::string error_text(const Error& error) {
  return "error: " + error.what + "\n" + (error.next.empty() ? "" : error.next + "\n");
}

int exit_status(const Error& error) {
  switch (error.kind) {
    case ErrorKind::usage:
      return kUsage;
    case ErrorKind::damaged:
      return kDamaged;
    case ErrorKind::failed:
      break;
  }
  return kFailed;
}

std::string json_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string hash_text(uint64_t hash) { return fmt::format("{:016x}", hash); }

std::string size_text(uint64_t bytes) {
  if (bytes < 10'000) return fmt::format("{} bytes", bytes);
  if (bytes < 10'000'000) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

}  // namespace dejavm::cli
