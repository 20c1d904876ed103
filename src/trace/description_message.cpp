#include "trace/description_message.h"

#include "trace/state_message.h"

namespace dejavm::trace {
namespace {

void write_texts(capnp::List<capnp::Text>::Builder to, const std::vector<std::string>& texts) {
  for (unsigned i = 0; i < texts.size(); ++i) to.set(i, texts[i]);
}

std::vector<std::string> read_texts(capnp::List<capnp::Text>::Reader from) {
  std::vector<std::string> texts;
  for (auto text : from) texts.push_back(text_of(text));
  return texts;
}

template <typename T>
unsigned count(const std::vector<T>& list) {
  return static_cast<unsigned>(list.size());
}

void write_cpu_model(schema::Description::Builder to, const vm::CpuModel& model) {
  to.setCpuName(model.name);
  to.setCpuKind(vm::name(model.kind));
  to.setCountsZeros(model.counts_zeros);
  auto cpuid = to.initCpuid(count(model.cpuid));
  for (unsigned i = 0; i < model.cpuid.size(); ++i) {
    const vm::CpuidLeaf& leaf = model.cpuid[i];
    cpuid[i].setFunction(leaf.function);
    cpuid[i].setIndex(leaf.index);
    cpuid[i].setIndexed(leaf.indexed);
    cpuid[i].setEax(leaf.eax);
    cpuid[i].setEbx(leaf.ebx);
    cpuid[i].setEcx(leaf.ecx);
    cpuid[i].setEdx(leaf.edx);
  }
  auto msrs = to.initMsrs(count(model.msrs));
  for (unsigned i = 0; i < model.msrs.size(); ++i) {
    msrs[i].setIndex(model.msrs[i].index);
    msrs[i].setValue(model.msrs[i].value);
  }
}

Result<vm::CpuModel> read_cpu_model(schema::Description::Reader from) {
  vm::CpuModel model;
  model.name = text_of(from.getCpuName());
  if (std::string kind = text_of(from.getCpuKind()); !kind.empty()) {
    auto known = vm::cpu_kind(kind);
    if (!known)
      return fail_damaged(fmt::format("the trace names a CPU of the kind '{}', which this dejavm does not know", kind));
    model.kind = *known;
  }
  model.counts_zeros = from.getCountsZeros();
  for (auto leaf : from.getCpuid()) {
    model.cpuid.push_back({leaf.getFunction(), leaf.getIndex(), leaf.getIndexed(), leaf.getEax(), leaf.getEbx(),
                           leaf.getEcx(), leaf.getEdx()});
  }
  for (auto msr : from.getMsrs()) model.msrs.push_back({msr.getIndex(), msr.getValue()});
  return model;
}

Result<Description> parse_description(schema::Description::Reader from) {
  Description to;
  to.ram_size = from.getRamSize();
  to.rom_size = from.getRomSize();
  bool sizes = to.ram_size > 0 && to.ram_size % vm::kPageSize == 0 && to.ram_size <= vm::GuestMemory::kMaxRam &&
               to.rom_size % vm::kPageSize == 0 && to.rom_size <= vm::GuestMemory::kMaxRom;
  if (!sizes) {
    return fail_damaged(fmt::format("the trace claims {} bytes of RAM and {} of ROM", to.ram_size, to.rom_size));
  }
  to.tool = text_of(from.getTool());
  to.command_line = read_texts(from.getCommandLine());
  to.host = text_of(from.getHost());
  to.host_cpu = text_of(from.getHostCpu());
  to.engine = text_of(from.getEngine());
  to.start_unix_s = from.getStartUnixS();
  to.machine = text_of(from.getMachine());
  TRY_ASSIGN(to.cpu_model, read_cpu_model(from));
  TRY_ASSIGN(to.memory, read_memory(from.getMemory()));
  TRY_ASSIGN(to.devices, read_devices(from.getDevices()));
  TRY_ASSIGN(to.cpu, read_cpu(from.getCpu()));
  to.replayable_on = read_texts(from.getReplayableOn());
  to.replayable_why = text_of(from.getReplayableWhy());
  to.has_time = from.getHasTime();
  return to;
}

Result<End> parse_end(schema::End::Reader from) {
  TRY_ASSIGN(Where where, read_where(from.getWhere()));
  return End{from.getEvents(),          from.getRamDigest(), from.getCpuHash(),
             text_of(from.getReason()), std::move(where),    from.getCpuIsDead()};
}

}  // namespace

Words description_message(const Description& from) {
  return build_message<schema::Description>([&](schema::Description::Builder to) {
    to.setTool(from.tool);
    write_texts(to.initCommandLine(count(from.command_line)), from.command_line);
    to.setHost(from.host);
    to.setHostCpu(from.host_cpu);
    to.setEngine(from.engine);
    to.setStartUnixS(from.start_unix_s);
    to.setMachine(from.machine);
    write_cpu_model(to, from.cpu_model);
    to.setRamSize(from.ram_size);
    to.setRomSize(from.rom_size);
    write_memory(to.initMemory(count(from.memory)), from.memory);
    write_devices(to.initDevices(count(from.devices)), from.devices);
    write_cpu(to.initCpu(), from.cpu);
    write_texts(to.initReplayableOn(count(from.replayable_on)), from.replayable_on);
    to.setReplayableWhy(from.replayable_why);
    to.setHasTime(from.has_time);
  });
}

Result<Description> read_description(std::span<const uint64_t> message) {
  return parse_message<schema::Description>(message, "the description", parse_description);
}

Words end_message(const End& end) {
  return build_message<schema::End>([&](schema::End::Builder to) {
    to.setEvents(end.events);
    to.setRamDigest(end.ram_digest);
    to.setCpuHash(end.cpu_hash);
    to.setReason(end.reason);
    write_where(to.initWhere(), end.where);
    to.setCpuIsDead(end.cpu_is_dead);
  });
}

Result<End> read_end(std::span<const uint64_t> message) { return parse_message<schema::End>(message, "the end", parse_end); }

}  // namespace dejavm::trace
