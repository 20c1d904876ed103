// Where the loader puts a real kernel, without running it.
#include <gmock/gmock.h>

#include "base/fd.h"
#include "support/lab.h"
#include "vm/loader/boot_plan.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class KernelPlanTest : public LabTest {
 protected:
  loader::BootRequest request() const {
    auto bytes = read_file(kernel(), uint64_t{1} << 30);
    EXPECT_TRUE(bytes.has_value()) << kernel();
    loader::BootRequest request;
    request.kernel = loader::NamedFile{kernel(), bytes ? std::move(*bytes) : Bytes{}};
    request.command_line = "console=ttyS0";
    request.memory = {{0, 0x9fc00, true}, {0x100000, uint64_t{255} << 20, true}};
    return request;
  }
};

TEST_F(KernelPlanTest, DebiansKernelIsPlannedAtItsPreferredAddress) {
  if (!prepare_lab()) GTEST_SKIP() << why_no_lab();

  loader::BootRequest boot = request();
  auto plan = loader::plan_boot(boot);

  ASSERT_TRUE(plan.has_value()) << plan.error().what;
  EXPECT_EQ(plan->cpu.rip, 0x1000200u);
  EXPECT_EQ(plan->cpu.code_bits(), 64u);
  EXPECT_THAT(plan->description, HasSubstr("by the 64-bit boot protocol"));
}

}  // namespace
}  // namespace dejavm::integration
