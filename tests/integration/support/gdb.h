// gdb sessions against dejavm.
#pragma once

#include <memory>
#include <string>

#include "support/dejavm.h"

namespace dejavm::integration {

/// Tests that drive the real gdb; skip by name without it, and where the engine under test is not here.
class GdbTest : public GuestTest {
 protected:
  void SetUp() override;

  /// Starts `dejavm ARGUMENTS... -gdb unix:SOCKET` and returns when it listens.
  void serve(const Words& arguments);
  void serve_live(const std::string& guest, const Words& more = {});
  void serve_replay(const std::string& trace, const Words& more = {});
  std::string socket() const { return path("gdb.sock"); }

  /// `gdb -batch` that knows the guest's symbols, connects and executes `commands`; what it printed.
  std::string gdb(const std::string& guest, const Words& commands) const;
  /// The words of an interactive gdb, which reads commands from its standard input.
  Words interactive_gdb(const std::string& guest) const;

  Process& server() { return *server_; }
  /// How the server ended, and what it said.
  Finished finish() { return server_->wait(); }

 private:
  Words gdb_words(const std::string& guest) const;

  std::unique_ptr<Process> server_;
};

}  // namespace dejavm::integration
