#include "vm/loader/flat.h"

#include "vm/loader/start_state.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kRealModeEnd = 0x100000;

}  // namespace

Result<BootPlan> plan_flat(const BootRequest& request) {
  BootPlan plan;
  TRY_ASSIGN(BootMemory memory, put_raw_images(plan, request));
  plan.cpu = vm::reset_state();
  const RawImage* start = nullptr;
  for (const RawImage& image : request.images) {
    if (!image.start) continue;
    if (start != nullptr) {
      return fail_usage(fmt::format("-device loader: {} and {} both have cpu-num=0", start->file.name, image.file.name),
                        "The CPU starts in one of them.");
    }
    start = &image;
  }
  if (start == nullptr) return plan;
  if (start->addr >= kRealModeEnd) {
    return fail_usage(fmt::format("-device loader: {} cannot start at {:#x}", start->file.name, start->addr),
                      "The CPU starts in real mode, which reaches 1 MiB: choose a lower addr=.");
  }
  plan.cpu = real_mode_state(static_cast<uint32_t>(start->addr));
  plan.description = fmt::format("{}: starts at {:#x} in real mode", start->file.name, start->addr);
  return plan;
}

}  // namespace dejavm::loader
