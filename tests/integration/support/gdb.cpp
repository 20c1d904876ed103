#include "support/gdb.h"

namespace dejavm::integration {

void GdbTest::SetUp() {
  if (!have_program("gdb")) GTEST_SKIP() << "gdb is not installed";
  GuestTest::SetUp();
}

void GdbTest::serve(const Words& arguments) {
  server_ = std::make_unique<Process>(dejavm(arguments) + Words{"-gdb", "unix:" + socket()});
  ASSERT_TRUE(server_->wait_for_text("gdb: listening on unix:")) << server_->err();
}

void GdbTest::serve_live(const std::string& guest, const Words& more) {
  serve(Words{"run", "-S"} + guest_options(guest) + more);
}

void GdbTest::serve_replay(const std::string& trace, const Words& more) { serve(Words{"replay", trace, "-S"} + more); }

Words GdbTest::gdb_words(const std::string& guest) const {
  Words words = {"gdb", "-nx", "-q", "-ex", "set confirm off", "-ex", "set pagination off", "-ex", "set width 0"};
  if (!guest.empty()) words = words + Words{"-ex", "file " + guest_symbols(guest)};
  return words + Words{"-ex", "target remote " + socket()};
}

std::string GdbTest::gdb(const std::string& guest, const Words& commands) const {
  Words words = gdb_words(guest) + Words{"-batch"};
  for (const std::string& command : commands) words = words + Words{"-ex", command};
  Finished finished = run(words);
  EXPECT_NE(finished.status, kTimedOut) << finished.out << finished.err;
  return finished.out + finished.err;
}

Words GdbTest::interactive_gdb(const std::string& guest) const { return gdb_words(guest); }

}  // namespace dejavm::integration
