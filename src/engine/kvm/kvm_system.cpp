#include "engine/kvm/kvm_system.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace dejavm::kvm {
namespace {

/// Where Intel's processors without unrestricted guests keep a task segment and page tables for real mode: the last pages
/// below 4 GiB - 16 MiB, which no firmware image and no device of ours reaches.
constexpr unsigned long kTssAddress = 0xfeffd000;

struct Needed {
  int capability;
  const char* name;
};

constexpr Needed kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
    {KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
};

tl::unexpected<Error> cannot_open(const std::string& path, int error) {
  std::string what = fmt::format("cannot open {}", path);
  if (error == EACCES || error == EPERM) {
    return fail_errno(what,
                      "Add yourself to the group kvm (adduser YOU kvm, then log in again), or use -accel soft where it is "
                      "available.",
                      error);
  }
  return fail_errno(
      what,
      "This host offers no KVM: switch on virtualization in the firmware or the hypervisor and load kvm_amd or "
      "kvm_intel, or use -accel soft where it is available.",
      error);
}

}  // namespace

Result<int> kvm_ioctl(int fd, unsigned long request, std::string_view name, const void* argument) {
  int result;
  do {  // a signal that stops the process is enough to interrupt KVM_CREATE_VM, which takes all locks of the address space
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return fail_errno(name);
  return result;
}

Result<KvmSystem> KvmSystem::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return cannot_open(path, errno);
  int version = ::ioctl(fd.get(), KVM_GET_API_VERSION, nullptr);
  if (version != KVM_API_VERSION) {
    return fail(fmt::format("{} does not speak KVM's interface version {} (it answered {})", path, KVM_API_VERSION, version),
                "Give the path of the host's KVM device.");
  }
  KvmSystem system(std::move(fd));
  TRY(system.check_extensions());
  return system;
}

int KvmSystem::extension(int capability) const {
  int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

Status KvmSystem::check_extensions() const {
  std::string missing;
  for (const Needed& needed : kNeeded) {
    if (extension(needed.capability) == 0) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", needed.name);
  }
  if (missing.empty()) return {};
  return fail(fmt::format("the host's KVM lacks {}", missing), "A host kernel of version 5.10 or later has them all.");
}

Result<VmHandles> KvmSystem::create_vm() const {
  VmHandles handles;
  TRY_ASSIGN(int vm, kvm_ioctl(fd_.get(), KVM_CREATE_VM, "KVM_CREATE_VM"));
  handles.vm = Fd(vm);
  if (extension(KVM_CAP_SET_TSS_ADDR) != 0) {
    TRY(kvm_ioctl(vm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", reinterpret_cast<const void*>(kTssAddress)));
  }
  TRY_ASSIGN(int vcpu, kvm_ioctl(vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU"));
  handles.vcpu = Fd(vcpu);
  TRY_ASSIGN(int size, kvm_ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE"));
  if (static_cast<size_t>(size) < sizeof(kvm_run)) return fail(fmt::format("KVM shares only {} bytes of a vCPU", size));
  TRY_ASSIGN(handles.shared, Mapping::file(vcpu, 0, static_cast<uint64_t>(size), true, "the vCPU's shared page"));
  return handles;
}

}  // namespace dejavm::kvm
