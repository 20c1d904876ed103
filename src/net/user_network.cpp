#include "net/user_network.h"

#include <arpa/inet.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "net/frame_queue.h"

namespace dejavm::net {
namespace {

constexpr uint32_t kConfigVersion = 1;
constexpr uint32_t kGateway = 0x0202, kDns = 0x0203, kFirstGuest = 0x020f;  // QEMU's, in the bits that the mask leaves
constexpr uint64_t kNsPerMs = 1'000'000;

in_addr address(uint32_t host_order) { return {htonl(host_order)}; }

in6_addr address6(const char* text) {
  in6_addr parsed{};
  CHECK(::inet_pton(AF_INET6, text, &parsed) == 1);
  return parsed;
}

/// libslirp's timers (of its IPv6 router advertisements).
struct Timer {
  SlirpTimerCb callback;
  void* opaque;
  std::optional<int64_t> due_ms;
};

class Slirper final : public UserNetwork {
 public:
  Slirper(FrameQueue to_network, FrameQueue to_guest, Fd quit)
      : to_network_(std::move(to_network)), to_guest_(std::move(to_guest)), quit_(std::move(quit)) {}
  ~Slirper() override;

  Status start(const UserOptions& options);

  void send(ByteSpan frame) override { static_cast<void>(to_network_.push(frame)); }
  int descriptor() const override { return to_guest_.descriptor(); }
  std::optional<Bytes> take() override { return to_guest_.take(); }

 private:
  static const SlirpCb& callbacks();
  Status open(const UserOptions& options);
  Status forward(const UserOptions& options);
  void loop();
  uint32_t fill(std::vector<pollfd>& polled);
  void run_timers();

  FrameQueue to_network_, to_guest_;
  Fd quit_;
  MonotonicClock clock_;
  Slirp* slirp_ = nullptr;  // the thread's, once it runs
  std::vector<std::unique_ptr<Timer>> timers_;
  std::thread thread_;
};

Slirper::~Slirper() {
  if (thread_.joinable()) {
    uint64_t one = 1;
    static_cast<void>(!::write(quit_.get(), &one, sizeof one));
    thread_.join();
  }
  if (slirp_ != nullptr) slirp_cleanup(slirp_);
}

const SlirpCb& Slirper::callbacks() {
  static const SlirpCb kCallbacks = [] {
    SlirpCb c{};
    c.send_packet = [](const void* bytes, size_t size, void* opaque) -> ssize_t {
      static_cast<void>(static_cast<Slirper*>(opaque)->to_guest_.push({static_cast<const uint8_t*>(bytes), size}));
      return static_cast<ssize_t>(size);
    };
    c.guest_error = [](const char*, void*) {};
    c.clock_get_ns = [](void* opaque) { return static_cast<int64_t>(static_cast<Slirper*>(opaque)->clock_.now_ns()); };
    c.timer_new = [](SlirpTimerCb callback, void* callback_opaque, void* opaque) -> void* {
      auto& timers = static_cast<Slirper*>(opaque)->timers_;
      timers.push_back(std::make_unique<Timer>(Timer{callback, callback_opaque, std::nullopt}));
      return timers.back().get();
    };
    c.timer_free = [](void* timer, void* opaque) {
      std::erase_if(static_cast<Slirper*>(opaque)->timers_, [timer](const auto& one) { return one.get() == timer; });
    };
    c.timer_mod = [](void* timer, int64_t due_ms, void*) { static_cast<Timer*>(timer)->due_ms = due_ms; };
    c.register_poll_fd = [](int, void*) {};
    c.unregister_poll_fd = [](int, void*) {};
    c.notify = [](void*) {};  // everything happens on the one thread, which looks again by itself
    return c;
  }();
  return kCallbacks;
}

Status Slirper::start(const UserOptions& options) {
  TRY(open(options));
  TRY(forward(options));
  // Signals are the vCPU thread's: they must not be taken here.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

Status Slirper::open(const UserOptions& options) {
  struct stat folder {};
  if (!options.tftp.empty() && (::stat(options.tftp.c_str(), &folder) != 0 || !S_ISDIR(folder.st_mode))) {
    return fail_usage(fmt::format("-netdev user: tftp={} is not a folder", options.tftp), "Name the folder to be served.");
  }
  SlirpConfig config{};
  config.version = kConfigVersion;
  config.restricted = options.restricted ? 1 : 0;
  config.in_enabled = true;
  config.vnetwork = address(options.network);
  config.vnetmask = address(options.mask);
  config.vhost = address(options.at(kGateway));
  config.vdhcp_start = address(options.at(kFirstGuest));
  config.vnameserver = address(options.at(kDns));
  config.in6_enabled = true;
  config.vprefix_addr6 = address6("fec0::");
  config.vprefix_len = 64;
  config.vhost6 = address6("fec0::2");
  config.vnameserver6 = address6("fec0::3");
  config.tftp_path = options.tftp.empty() ? nullptr : options.tftp.c_str();
  config.bootfile = options.bootfile.empty() ? nullptr : options.bootfile.c_str();
  slirp_ = slirp_new(&config, &callbacks(), this);
  if (slirp_ == nullptr) return fail(fmt::format("-netdev user,id={}: libslirp cannot start", options.id));
  return {};
}

Status Slirper::forward(const UserOptions& options) {
  for (const HostForward& rule : options.forwards) {
    uint32_t guest = rule.guest_address != 0 ? rule.guest_address : options.at(kFirstGuest);
    int failed = slirp_add_hostfwd(slirp_, rule.udp ? 1 : 0, address(rule.host_address), rule.host_port, address(guest),
                                   rule.guest_port);
    if (failed != 0) {
      return fail_errno(fmt::format("-netdev user: hostfwd= cannot listen on the host's port {}", rule.host_port),
                        "Choose another port.");
    }
  }
  return {};
}

uint32_t Slirper::fill(std::vector<pollfd>& polled) {
  uint32_t timeout_ms = UINT32_MAX;
  auto add = [](int fd, int events, void* opaque) -> int {
    auto& list = *static_cast<std::vector<pollfd>*>(opaque);
    int wanted = ((events & SLIRP_POLL_IN) != 0 ? POLLIN : 0) | ((events & SLIRP_POLL_OUT) != 0 ? POLLOUT : 0) |
                 ((events & SLIRP_POLL_PRI) != 0 ? POLLPRI : 0);
    list.push_back({fd, static_cast<short>(wanted), 0});
    return static_cast<int>(list.size() - 1);
  };
  slirp_pollfds_fill(slirp_, &timeout_ms, add, &polled);
  auto now_ms = static_cast<int64_t>(clock_.now_ns() / kNsPerMs);
  for (const auto& timer : timers_) {
    if (timer->due_ms)
      timeout_ms = std::min(timeout_ms, static_cast<uint32_t>(std::clamp<int64_t>(*timer->due_ms - now_ms, 0, 60'000)));
  }
  return timeout_ms;
}

void Slirper::run_timers() {
  auto now_ms = static_cast<int64_t>(clock_.now_ns() / kNsPerMs);
  for (size_t i = 0; i < timers_.size(); ++i) {
    Timer& timer = *timers_[i];
    if (!timer.due_ms || *timer.due_ms > now_ms) continue;
    timer.due_ms.reset();
    timer.callback(timer.opaque);
  }
}

void Slirper::loop() {
  std::vector<pollfd> polled;
  for (;;) {
    polled = {{quit_.get(), POLLIN, 0}, {to_network_.descriptor(), POLLIN, 0}};
    uint32_t timeout_ms = fill(polled);
    int ready = ::poll(polled.data(), polled.size(), static_cast<int>(std::min(timeout_ms, 60'000u)));
    if (polled[0].revents != 0) return;
    auto revents = [](int index, void* opaque) -> int {
      short seen = (*static_cast<std::vector<pollfd>*>(opaque))[static_cast<size_t>(index)].revents;
      return ((seen & POLLIN) != 0 ? SLIRP_POLL_IN : 0) | ((seen & POLLOUT) != 0 ? SLIRP_POLL_OUT : 0) |
             ((seen & POLLPRI) != 0 ? SLIRP_POLL_PRI : 0) | ((seen & POLLERR) != 0 ? SLIRP_POLL_ERR : 0) |
             ((seen & POLLHUP) != 0 ? SLIRP_POLL_HUP : 0);
    };
    slirp_pollfds_poll(slirp_, ready < 0 ? 1 : 0, revents, &polled);
    run_timers();
    while (std::optional<Bytes> frame = to_network_.take()) {
      slirp_input(slirp_, frame->data(), static_cast<int>(frame->size()));
    }
  }
}

}  // namespace

Result<std::unique_ptr<UserNetwork>> UserNetwork::create(const UserOptions& options) {
  TRY_ASSIGN(FrameQueue to_network, FrameQueue::create());
  TRY_ASSIGN(FrameQueue to_guest, FrameQueue::create());
  Fd quit(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!quit) return fail_errno("cannot create an eventfd");
  auto network = std::make_unique<Slirper>(std::move(to_network), std::move(to_guest), std::move(quit));
  TRY(network->start(options));
  return network;
}

}  // namespace dejavm::net
