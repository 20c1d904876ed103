// /dev/kvm: what the host's KVM offers by its own word, and the descriptors of a new VM.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "engine/kvm/kvm_abi.h"

namespace dejavm::kvm {

/// ioctl() whose failure names the request: "KVM_SET_SREGS: Invalid argument". Returns what the ioctl returned.
Result<int> kvm_ioctl(int fd, unsigned long request, std::string_view name, const void* argument = nullptr);

/// A virtual machine with one vCPU, as descriptors. Owns both and the shared page of the vCPU.
struct VmHandles {
  Fd vm;
  Fd vcpu;
  Mapping shared;

  kvm_run& run() const { return *reinterpret_cast<kvm_run*>(shared.data()); }
};

/// Owns the descriptor of /dev/kvm.
class KvmSystem {
 public:
  /// Opens the device and refuses, by name, a KVM that lacks what this engine needs.
  static Result<KvmSystem> open(const std::string& path);

  /// The value of KVM_CHECK_EXTENSION; 0 where unknown.
  int extension(int capability) const;
  Result<VmHandles> create_vm() const;

 private:
  explicit KvmSystem(Fd fd) : fd_(std::move(fd)) {}
  Status check_extensions() const;

  Fd fd_;
};

}  // namespace dejavm::kvm
