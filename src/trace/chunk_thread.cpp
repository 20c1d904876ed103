#include "trace/chunk_thread.h"

#include <pthread.h>
#include <signal.h>

#include "base/check.h"

namespace dejavm::trace {

ChunkThread::ChunkThread(FrameFile& file, bool has_time, int zstd_level) : file_(file), encoder_(has_time, zstd_level) {
  // Signals belong to the threads that run the guest: this one starts with all of them blocked.
  sigset_t all, before;
  ::sigfillset(&all);
  CHECK(::pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
  thread_ = std::thread([this] { run(); });
  CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
}

ChunkThread::~ChunkThread() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status ChunkThread::wait_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return journal_ == nullptr || !status_; });
  return status_;
}

void ChunkThread::submit(std::unique_ptr<Journal> journal, bool retire) {
  {
    std::lock_guard lock(mutex_);
    CHECK(journal_ == nullptr && journal->records() > 0);
    journal_ = std::move(journal);
    retire_ = retire;
  }
  changed_.notify_all();
}

Status ChunkThread::write_chunk(std::span<const uint64_t> log, uint64_t sequence, uint64_t first_event) {
  TRY_ASSIGN(EncodedChunk chunk, encoder_.encode(log, sequence));
  Frame frame{.type = FrameType::chunk,
              .raw_length = chunk.raw_length,
              .first_event = first_event,
              .events = chunk.events,
              .records = chunk.records};
  return file_.append(frame, chunk.stored);
}

void ChunkThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || (journal_ != nullptr && status_); });
    if (journal_ == nullptr || !status_) return;
    Journal& journal = *journal_;
    lock.unlock();
    Status written = write_chunk(journal.log(), journal.sequence(), journal.first_event());
    if (written && retire_) file_.set_journal(journal.entry(), 0, 0);
    lock.lock();
    status_ = written;
    if (written) journal_.reset();
    changed_.notify_all();
  }
}

}  // namespace dejavm::trace
