#include "base/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "base/parse.h"

namespace dejavm {

namespace {

constexpr const char* kSpelling = "use tcp::PORT, tcp:HOST:PORT or unix:PATH";
constexpr int kBacklog = 16;
constexpr int kStream = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

/// Options that QEMU's users write behind the address and that change nothing here.
Status check_options(std::string_view spec, const std::vector<std::string_view>& parts) {
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string_view option = parts[i];
    if (option == "server" || option == "server=on" || option == "nowait" || option == "wait=off" || option == "nodelay" ||
        option == "nodelay=on") {
      continue;
    }
    return fail_usage(fmt::format("address '{}': option '{}' is not supported", spec, option), "leave it out");
  }
  return {};
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

/// The port of a bound socket.
uint16_t bound_port(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
}

Result<Fd> bind_tcp(const addrinfo& address, std::string_view name) {
  Fd fd(socket(address.ai_family, kStream, 0));
  if (!fd) return fail_errno("cannot make a socket");
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Accepted sockets inherit this one: packets are small and each waits for its answer.
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || listen(fd.get(), kBacklog) != 0) {
    return fail_errno(fmt::format("cannot listen on {}", name), "choose another port");
  }
  return fd;
}

/// Whether a process has a socket at `path`. Asks with a datagram socket, so that a listener there is not disturbed: the
/// kernel finds the wrong type (EPROTOTYPE) where a stream socket lives, and nobody (ECONNREFUSED) behind a stale file.
bool socket_is_alive(const sockaddr_un& address) {
  const Fd probe(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe) return true;
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno != ECONNREFUSED;
}

/// Makes room for a new socket file where a stale one lies.
Status clear_path(const sockaddr_un& address, const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return fail(fmt::format("cannot listen on {}: the file exists and is not a socket", path), "choose another path");
  }
  if (socket_is_alive(address)) {
    return fail(fmt::format("cannot listen on {}: another process listens there", path), "choose another path");
  }
  if (unlink(path.c_str()) != 0) return fail_errno(fmt::format("cannot replace the stale socket {}", path));
  return {};
}

}  // namespace

Result<Listener> Listener::open(std::string_view spec, std::string_view whose) {
  auto listener = open(spec);
  if (listener) return listener;
  Error error = listener.error();
  error.what = fmt::format("{}: {}", whose, error.what);
  return tl::make_unexpected(error);
}

Result<Listener> Listener::open(std::string_view spec) {
  const std::vector<std::string_view> parts = split(spec, ',');
  TRY(check_options(spec, parts));
  std::string_view place = parts[0];
  if (place.starts_with("unix:")) {
    place.remove_prefix(5);
    if (place.empty()) return fail_usage(fmt::format("address '{}' names no path", spec), kSpelling);
    return open_unix(std::string(place));
  }
  if (!place.starts_with("tcp:")) return fail_usage(fmt::format("address '{}' is not understood", spec), kSpelling);
  place.remove_prefix(4);
  const size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return fail_usage(fmt::format("address '{}' has no port", spec), kSpelling);
  const std::string_view port = place.substr(colon + 1);
  const auto number = parse_u64(port);
  if (!number || *number > 65535) {
    return fail_usage(fmt::format("address '{}': '{}' is not a port", spec, port), "give a number from 0 to 65535");
  }
  return open_tcp(place.substr(0, colon), port);
}

Result<Listener> Listener::open_tcp(std::string_view host, std::string_view port) {
  std::string shown(host.empty() ? "127.0.0.1" : host);
  std::string node = shown;
  if (node.size() > 2 && node.front() == '[' && node.back() == ']') node = node.substr(1, node.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const uint64_t number = *parse_u64(port);
  const int failed = getaddrinfo(node.c_str(), std::to_string(number).c_str(), &hints, &found);
  if (failed != 0) {
    return fail(fmt::format("cannot listen on host '{}': {}", node, gai_strerror(failed)), kSpelling);
  }
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
  TRY_ASSIGN(Fd fd, bind_tcp(*addresses, fmt::format("tcp:{}:{}", shown, number)));
  std::string address = fmt::format("tcp:{}:{}", shown, bound_port(fd.get()));
  return Listener(std::move(fd), std::move(address));
}

Result<Listener> Listener::open_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(
        fmt::format("cannot listen on {}: a socket's path has at most {} characters", path, sizeof address.sun_path - 1),
        "choose a shorter path");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  TRY(clear_path(address, path));
  Fd fd(socket(AF_UNIX, kStream, 0));
  if (!fd) return fail_errno("cannot make a socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd.get(), kBacklog) != 0) {
    return fail_errno(fmt::format("cannot listen on {}", path), "choose a path in a folder that you may write to");
  }
  return Listener(std::move(fd), "unix:" + path);
}

Fd Listener::accept() const { return Fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

}  // namespace dejavm
