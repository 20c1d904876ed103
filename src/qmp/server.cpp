#include "qmp/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "qmp/conversation.h"
#include "qmp/monitor_conversation.h"

namespace dejavm::qmp {

std::unique_ptr<Dialogue> Server::greet() {
  if (what_ == Speaks::qmp) return std::make_unique<Conversation>(guest_, state_);
  return std::make_unique<MonitorConversation>(guest_, state_);
}

pollfd Server::interest() const {
  if (!client_) return {listener_.fd(), POLLIN, 0};
  return {client_->fd.get(), static_cast<short>(client_->output.empty() ? POLLIN : POLLIN | POLLOUT), 0};
}

Attendant::Wish Server::serve(Attendant::Standing guest) {
  if (!client_) {
    Fd fd = listener_.accept();
    if (!fd) return Wish::none;
    client_ = Client{std::move(fd), greet()};
    flush();
    return Wish::none;
  }
  Wish wish = Wish::none;
  std::array<uint8_t, 16384> bytes;
  ssize_t count = ::read(client_->fd.get(), bytes.data(), bytes.size());
  bool gone = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
  if (count > 0) {
    wish = client_->conversation->receive({bytes.data(), static_cast<size_t>(count)}, guest);
    gone = client_->conversation->broken();
  }
  flush();
  if (gone) client_.reset();
  return wish;
}

void Server::flush() {
  client_->output += client_->conversation->take_output();
  while (!client_->output.empty()) {
    ssize_t count = ::send(client_->fd.get(), client_->output.data(), client_->output.size(), MSG_NOSIGNAL);
    if (count > 0) {
      client_->output.erase(0, static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      client_.reset();
      return;
    }
  }
  if (client_->output.size() > kMostOutput) client_.reset();
}

void Server::guest_runs() {
  if (client_) {
    client_->conversation->note_running(true);
    flush();
  }
  state_.running = state_.started = true;
}

void Server::guest_stands(Why why) {
  if (state_.running) state_.why = why;
  if (client_) {
    client_->conversation->note_running(false);
    flush();
  }
  state_.running = false;
}

void Server::guest_gone() {
  if (!client_) return;
  client_->conversation->note_gone();
  flush();
}

}  // namespace dejavm::qmp
