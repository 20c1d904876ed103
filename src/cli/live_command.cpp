// dejavm run and dejavm record: one guest on its devices, with or without a recording.
#include <sys/utsname.h>

#include <atomic>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <tuple>

#include "base/parse.h"
#include "cli/boot_files.h"
#include "cli/commands.h"
#include "cli/connections.h"
#include "cli/debug_target.h"
#include "cli/engine.h"
#include "cli/messages.h"
#include "cli/networks.h"
#include "cli/output.h"
#include "cli/qmp_guest.h"
#include "cli/stop_signals.h"
#include "cli/vm_options.h"
#include "devices/pc.h"
#include "record/descriptor_input.h"
#include "record/live_session.h"
#include "registers/shipped.h"

namespace dejavm::cli {
namespace {

constexpr uint64_t kMaxBios = uint64_t{16} << 20;
constexpr const char* kE1000Rom =
    "/usr/lib/ipxe/qemu/pxe-e1000.rom";  // Debian's ipxe-qemu; QEMU's is the same for firmware and EFI at once

struct LiveCommand {
  VmOptions vm;
  std::string output;  // empty: run, do not record
  std::optional<uint64_t> max_events, max_ns, keyframe_ns, kick_seed;
  bool json = false, quiet = false, help = false, no_time = false, portable = false;
  std::string rdtsc;  // patch, native; empty: patch on KVM where a kernel is started
};

std::vector<Option> option_list(LiveCommand& c, bool recording) {
  std::vector<Option> options = vm_option_list(c.vm);
  if (recording) {
    options.push_back({"o", "FILE", "the trace to write", set_text(c.output)});
    options.push_back(
        {"keyframes", "SECONDS", "writes a keyframe about this often", set_seconds("--keyframes", c.keyframe_ns)});
    options.push_back({"portable", "", "on soft: a trace that KVM replays, too", set_flag(c.portable)});
    options.push_back({"rdtsc", "patch|native",
                       "on KVM: makes a 64-bit Linux kernel's RDTSC events (the default), or leaves it", set_text(c.rdtsc)});
    options.push_back({"no-time", "", "does not store when each event came", set_flag(c.no_time)});
  }
  options.push_back({"max-events", "N", "ends after N events",
                     set_number(
                         "--max-events", [&c](uint64_t n) { c.max_events = n; }, 1)});
  options.push_back({"max-seconds", "N", "ends after N seconds of guest time", set_seconds("--max-seconds", c.max_ns)});
  options.push_back({"random-kicks", "SEED", "leaves the guest at random moments, to test recording",
                     set_number("--random-kicks", [&c](uint64_t n) { c.kick_seed = n; })});
  options.push_back(
      {"json", "", "one JSON document on stdout at the end; a guest's stdio goes to stderr", set_flag(c.json)});
  options.push_back({"quiet", "", "says nothing but errors", set_flag(c.quiet)});
  options.push_back({"help", "", "this text", set_flag(c.help)});
  return options;
}

Result<LiveCommand> parse(const Words& words, bool recording) {
  LiveCommand c;
  TRY(parse_options(words, option_list(c, recording), [&](std::string_view word) -> Status {
    return fail_usage(fmt::format("'{}' is not an option", word),
                      "Recording another VMM (-- qemu-system-x86_64 ...) is not supported yet.");
  }));
  if (!c.rdtsc.empty() && c.rdtsc != "patch" && c.rdtsc != "native")
    return fail_usage(fmt::format("--rdtsc {} is not a choice", c.rdtsc), "It is patch or native.");
  if (recording && !c.help && c.output.empty())
    return fail_usage("record wants -o FILE", "For example: dejavm record -o guest.dvt -bios guest.bin");
  return c;
}

void print_help(bool recording) {
  LiveCommand c;
  fmt::print("Usage: dejavm {} [options]\n{}\n\n{}\nExample:\n  dejavm {} -m 64M -device edu -debugcon stdio\n",
             recording ? "record -o FILE" : "run",
             recording ? "Runs a guest and records everything that enters its CPU and RAM." : "Runs a guest.",
             help_text(option_list(c, recording)), recording ? "record -o bios.dvt" : "run");
}

std::string host_cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  }
  return "unknown";
}

/// The engines that can replay the recording, and why.
std::pair<std::vector<std::string>, std::string> replayable(const LiveCommand& c, const vm::CpuModel& model,
                                                            const Engine& engine) {
  if (engine.is_soft() && !c.portable) {
    return {{"soft"}, "interrupts and DMA enter at counts of steps, which only soft has; record with --portable for KVM"};
  }
  if (model.cpuid != vm::dejavm64_v1().cpuid) {
    return {{"kvm", "soft"},
            "recorded on a KVM that shows the guest CPUID bits of the host: a guest that reads the time or random numbers "
            "diverges, and so does one that uses what soft does not have"};
  }
  return {{"kvm", "soft"}, "TSC and RDRAND hidden in CPUID; interrupts at boundaries, windows and matched states"};
}

trace::Description describe_run(const LiveCommand& c, const Words& words, vm::Machine& machine, const vm::CpuModel& model,
                                const Engine& engine) {
  trace::Description d;
  d.tool = version();
  d.command_line = {"dejavm", "record"};
  d.command_line.insert(d.command_line.end(), words.begin(), words.end());
  utsname host{};
  if (::uname(&host) == 0) d.host = fmt::format("{} {} {}", host.sysname, host.release, host.machine);
  d.host_cpu = host_cpu_name();
  d.engine = engine.description();
  d.start_unix_s = static_cast<uint64_t>(std::time(nullptr));
  d.machine = "pc";
  d.cpu_model = model;
  d.ram_size = machine.memory().ram_size();
  d.rom_size = machine.memory().rom_size();
  d.memory = machine.memory().map();
  d.devices = machine.bus().regions();
  std::tie(d.replayable_on, d.replayable_why) = replayable(c, model, engine);
  d.has_time = !c.no_time;
  return d;
}

Result<Bytes> read_firmware(const std::string& path) {
  TRY_ASSIGN(Bytes bios, read_file(path, kMaxBios));
  if (bios.empty() || bios.size() % vm::kPageSize != 0) {
    return fail_usage(fmt::format("{} has {} bytes: not a firmware image", path, bios.size()),
                      "A firmware image has a multiple of 4096 bytes, and its last 16 are the reset vector.");
  }
  return bios;
}

Result<std::unique_ptr<devices::Pc>> build_machine(const LiveCommand& c, const Clock& clock, Output& serial,
                                                   Output& debugcon, const Networks& networks, int64_t rtc_start_unix_s) {
  devices::PcConfig config;
  config.ram_size = c.vm.ram_size;
  if (!starts_without_firmware(c.vm)) {
    TRY_ASSIGN(config.bios, read_firmware(c.vm.bios));
  }
  config.rtc_start_unix_s = rtc_start_unix_s;
  config.networks = networks.sinks();
  if (!serial.is_null()) config.serial_output = serial.sink();
  config.debugcon_output = debugcon.sink();
  if (c.vm.debugcon_port != 0) config.debugcon_ports = {static_cast<uint16_t>(c.vm.debugcon_port)};
  config.drives = c.vm.drives;
  config.e1000_rom = kE1000Rom;
  for (const DeviceOption& device : c.vm.devices) {
    if (device.name != kLoaderDevice) config.devices.push_back({device.name, device.properties});
  }
  return devices::Pc::create(std::move(config), clock);
}

/// Makes the session leave the guest at random moments, a few times in ten milliseconds.
class RandomKicks {
 public:
  RandomKicks(record::LiveSession& session, uint64_t seed)
      : thread_([this, &session, seed] {
          std::mt19937_64 random(seed);
          while (!quit_.load()) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
            session.kick_for_test();
          }
        }) {}
  ~RandomKicks() {
    quit_.store(true);
    thread_.join();
  }
  RandomKicks(const RandomKicks&) = delete;
  RandomKicks& operator=(const RandomKicks&) = delete;

 private:
  std::atomic<bool> quit_{false};
  std::thread thread_;
};

struct LiveEnd {
  vm::SessionStop stop;
  std::optional<Error> error;  // what ended it before its time
};

LiveEnd run_to_end(const LiveCommand& c, record::LiveSession& session, Connections& connections) {
  if (!connections.server) {
    auto stop = session.resume(vm::ResumeFor::go);
    if (!stop) return {{}, stop.error()};
    return {*stop, std::nullopt};
  }
  DebugTarget target(session, registers::shipped());
  QmpGuest guest(session, registers::shipped(), c.output);
  const auto attendants = connections.attendants(guest);
  auto end = connections.server->serve(target, !c.vm.connections.stopped, attendants);
  if (!end) return {{}, end.error()};
  if (target.end()) return {*target.end(), std::nullopt};
  std::string reason = end->kind == gdb::ServeEnd::Kind::killed ? "killed by the debugger"
                       : end->kind == gdb::ServeEnd::Kind::quit ? "ended by `quit`"
                                                                : "interrupted by the user";
  return {{.kind = vm::SessionStop::Kind::ended, .reason = reason}, std::nullopt};
}

void report(const LiveCommand& c, const LiveEnd& end, const trace::End& sealed, uint64_t events, double seconds) {
  if (c.json) {
    nlohmann::json json = {
        {"events", events}, {"seconds", seconds}, {"reason", end.stop.reason}, {"guest_exit_status", end.stop.exit_status}};
    if (!c.output.empty()) json.update({{"file", c.output}, {"ram", hash_text(sealed.ram_digest)}});
    fmt::print("{}\n", json_text(json));
  }
  if (c.quiet) return;
  if (c.output.empty()) {
    say(fmt::format("{}; {} events, {:.1f} s", end.stop.reason, events, seconds));
  } else {
    say(fmt::format("{}; recorded {} events to {}, ram {}, {:.1f} s", end.stop.reason, events, c.output,
                    hash_text(sealed.ram_digest), seconds));
  }
}

Result<int> live(const Words& words, bool recording) {
  TRY_ASSIGN(LiveCommand c, parse(words, recording));
  if (c.help) {
    print_help(recording);
    return kDone;
  }
  TRY_ASSIGN(auto signals, StopSignals::create());
  int guest_stdout = c.json ? STDERR_FILENO : STDOUT_FILENO;
  TRY_ASSIGN(auto serial, Output::open(c.vm.serial, "-serial", guest_stdout));
  TRY_ASSIGN(auto debugcon, Output::open(c.vm.debugcon, "-debugcon", guest_stdout));
  TRY_ASSIGN(Engine engine, Engine::for_guest(c.vm.accel, !c.vm.kernel.empty()));
  MonotonicClock clock;
  using record::VirtualTime;
  VirtualTime virtual_time(c.portable ? VirtualTime::kNsPerPortableStep : VirtualTime::kNsPerStep);
  const Clock& machine_clock = engine.is_soft() ? static_cast<const Clock&>(virtual_time) : clock;
  int64_t rtc_start_unix_s = c.vm.rtc_base_unix_s.value_or(std::time(nullptr));
  auto guest_time_ns = [&machine_clock, origin = machine_clock.now_ns(), rtc_start_unix_s] {
    return static_cast<uint64_t>(rtc_start_unix_s) * kNsPerSecond + (machine_clock.now_ns() - origin);
  };
  TRY_ASSIGN(Networks networks, Networks::create(c.vm, guest_time_ns));
  TRY_ASSIGN(auto machine, build_machine(c, machine_clock, *serial, *debugcon, networks, rtc_start_unix_s));
  TRY_ASSIGN(GuestStart guest_start, load_guest(c.vm, machine->memory()));
  TRY_ASSIGN(vm::CpuModel model, engine.effective_model(vm::dejavm64_v1()));
  TRY_ASSIGN(auto vcpu, engine.create_vcpu(machine->memory(), model));
  TRY(vcpu->set_state(guest_start.cpu));
  if (!c.quiet) say("engine: " + engine.description());
  if (!c.quiet && !guest_start.description.empty()) say("guest: " + guest_start.description);

  std::unique_ptr<trace::Writer> writer;
  if (recording) {
    trace::Description description = describe_run(c, words, *machine, model, engine);
    description.cpu = guest_start.cpu;
    TRY_ASSIGN(writer, trace::Writer::create(c.output, std::move(description), machine->memory()));
  }
  TRY_ASSIGN(Connections connections, Connections::open(c.vm.connections, "guest"));
  if (connections.server) signals->on_signal([&connections] { connections.server->cancel(); });

  record::LiveOptions options;
  options.reboot = !c.vm.no_reboot && !starts_without_firmware(c.vm);
  options.max_events = c.max_events;
  options.max_ns = c.max_ns;
  options.keyframe_ns = c.keyframe_ns;
  options.inputs = networks.connect(machine->network_cards());
  record::DescriptorInput terminal_input(STDIN_FILENO, machine->serial_input());
  if (serial->is_stdio()) options.inputs.push_back(&terminal_input);
  options.stop_fd = signals->fd();
  options.patch_rdtsc = !engine.is_soft() && c.rdtsc != "native";
  if (engine.is_soft()) {
    virtual_time.follow(*vcpu);
    options.virtual_time = &virtual_time;
    options.portable = c.portable;
  }
  TRY_ASSIGN(auto session, record::LiveSession::create(*machine, *vcpu, model, clock, writer.get(), options));

  TerminalMode terminal(serial->is_stdio());
  uint64_t start = clock.now_ns();
  std::optional<RandomKicks> kicks;
  if (c.kick_seed) kicks.emplace(*session, *c.kick_seed);
  LiveEnd end = run_to_end(c, *session, connections);
  kicks.reset();
  double seconds = static_cast<double>(clock.now_ns() - start) / 1e9;
  if (end.error) end.stop.reason = "ended by an error: " + end.error->what.substr(0, end.error->what.find('\n'));
  auto sealed = session->finish(end.stop.reason);
  if (!c.quiet && !session->rdtsc_report().empty()) {
    const std::string& rdtsc = session->rdtsc_report();
    say(rdtsc.substr(0, rdtsc.find(" made rdmsr:")));
  }
  report(c, end, sealed ? *sealed : trace::End{}, static_cast<uint64_t>(session->last_event() + 1), seconds);
  if (end.error) return tl::make_unexpected(*end.error);
  if (!sealed) return tl::make_unexpected(sealed.error());
  TRY(networks.status());
  return kDone;
}

}  // namespace

Result<int> run_command(const Words& words) { return live(words, false); }
Result<int> record_command(const Words& words) { return live(words, true); }

}  // namespace dejavm::cli
