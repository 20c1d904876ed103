// Every way in which an instruction can access a device. The storage classes run on edu's DMA registers and again in RAM,
// and the guest fails when the two differ: an engine that loses, splits or repeats an access wrongly shows at once. The
// device classes depend on the machine and are only hashed. Interrupts stay off.
#include "exercise.h"
#include "lib/lib.h"

static uint64_t control_storage[3] __attribute__((aligned(16)));

// Left in RAM, so that a difference in any class shows in a digest.
uint64_t exerciser_hash = 1;
uint64_t storage_hash = 1;
uint64_t class_hashes[32];

static void record(unsigned index, uint64_t hash) {
  class_hashes[index] = hash;
  exerciser_hash = mix(exerciser_hash, hash);
}

static unsigned run_storage_classes(void) {
  unsigned differences = 0;
  for (unsigned i = 0; i < kStorageClassCount; ++i) {
    const struct exercise_class* class = &kStorageClasses[i];
    uint64_t device = class->run(EDU_VIRTUAL + EDU_DMA_SOURCE);
    uint64_t control = class->run((uintptr_t)control_storage);
    bool same = device == control;
    print("%s: %X%s\n", class->name, device, same ? "" : " DIFFERS FROM RAM");
    if (!same) differences++;
    storage_hash = mix(storage_hash, control);
    record(i, device);
  }
  return differences;
}

static void run_device_classes(void) {
  for (unsigned i = 0; i < kDeviceClassCount; ++i) {
    const struct exercise_class* class = &kDeviceClasses[i];
    uint64_t hash = class->run(EDU_VIRTUAL);
    print("%s: %X\n", class->name, hash);
    record(kStorageClassCount + i, hash);
  }
}

int main(void) {
  console_init();
  bool present = edu_init();
  print("mmio_exerciser: on %s\n", present ? "edu" : "an unclaimed address");
  // Without storage behind them, stacks and branch targets in the device lead nowhere.
  unsigned differences = present ? run_storage_classes() : 0;
  run_device_classes();
  print("mmio_exerciser: RAM %X\n", storage_hash);
  print("mmio_exerciser: %u differences, hash %X\n", differences, exerciser_hash);
  return differences == 0 ? kExitOk : kExitFailed;
}
