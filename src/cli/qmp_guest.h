// A live guest or a replay as the QMP server knows it.
#pragma once

#include "cli/monitor.h"
#include "qmp/guest.h"
#include "replay/timeline.h"
#include "vm/session.h"

namespace dejavm::cli {

class QmpGuest final : public qmp::Guest {
 public:
  /// As Monitor. `file`: the trace that is written or read; empty where there is none.
  QmpGuest(vm::Session& session, vm::RegisterMaps registers, std::string file, const trace::Reader* reader = nullptr,
           TimelineSource timelines = {})
      : session_(session),
        file_(std::move(file)),
        replays_(reader != nullptr),
        timelines_(timelines),
        monitor_(session, std::move(registers), reader, timelines) {}

  Mode mode() const override { return replays_ ? Mode::play : file_.empty() ? Mode::none : Mode::record; }
  std::string file() const override { return file_; }
  std::optional<uint64_t> instructions() override;
  Status seek(uint64_t instructions) override;
  Status set_break(std::optional<uint64_t> instructions) override;
  std::string monitor(std::string_view line) override { return monitor_.execute(line); }

 private:
  Result<replay::Timeline*> timeline() const;

  vm::Session& session_;
  const std::string file_;
  const bool replays_;
  const TimelineSource timelines_;
  Monitor monitor_;
};

}  // namespace dejavm::cli
