// An interrupt line between a device and an interrupt controller.
#pragma once

namespace dejavm::vm {

/// Receives the levels of numbered interrupt lines.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  virtual void set_line(unsigned line, bool level) = 0;
};

/// One line of a sink. A default-constructed line goes nowhere. Copies drive the same line.
class IrqLine {
 public:
  IrqLine() = default;
  IrqLine(IrqSink& sink, unsigned line) : sink_(&sink), line_(line) {}
  void set(bool level) {
    if (sink_ != nullptr) sink_->set_line(line_, level);
  }

 private:
  IrqSink* sink_ = nullptr;
  unsigned line_ = 0;
};

}  // namespace dejavm::vm
