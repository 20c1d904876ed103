// Images, their overlays, and the option that names them.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/temporary.h"
#include "devices/block_options.h"
#include "devices/pc.h"

namespace dejavm::devices {
namespace {

using testing::HasSubstr;

class DriveTest : public testing::Test {
 protected:
  DriveTest() { write_image(std::string(20000, 'a')); }
  void write_image(const std::string& contents) const { std::ofstream(path, std::ios::binary) << contents; }
  std::string image() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::unique_ptr<BlockStore> open(bool read_only, bool snapshot) const {
    return BlockImage::open({path, read_only, snapshot, directory.path()}).value();
  }
  static Bytes read(BlockStore& store, uint64_t offset, size_t size) {
    Bytes bytes(size, 0xcc);
    EXPECT_TRUE(store.read(offset, bytes));
    return bytes;
  }

  const TemporaryDirectory directory = TemporaryDirectory::create("dejavm-drive").value();
  const std::string path = directory.file("disk");
};

TEST_F(DriveTest, LastSectorIsFilledUp) {
  auto store = open(true, true);
  EXPECT_EQ(store->size(), 20480u);
  Bytes end = read(*store, 19999, 481);
  EXPECT_EQ(end[0], 'a');
  EXPECT_EQ(end[1], 0);
  EXPECT_EQ(end[480], 0);
}

TEST_F(DriveTest, SnapshotKeepsWritesFromTheImage) {
  auto store = open(false, true);
  ASSERT_TRUE(store->write(4000, Bytes(5000, 'b')));
  ASSERT_TRUE(store->write(20470, Bytes(10, 'c')));
  Bytes all = read(*store, 0, 20480);
  EXPECT_EQ(all[3999], 'a');
  EXPECT_EQ(all[4000], 'b');
  EXPECT_EQ(all[8999], 'b');
  EXPECT_EQ(all[9000], 'a');
  EXPECT_EQ(all[19999], 'a');
  EXPECT_EQ(all[20469], 0);
  EXPECT_EQ(all[20479], 'c');
  EXPECT_EQ(image(), std::string(20000, 'a'));
}

TEST_F(DriveTest, SnapshotZeroes) {
  auto store = open(false, true);
  ASSERT_TRUE(store->write_zeroes(5000, 10000));
  Bytes all = read(*store, 0, 20000);
  EXPECT_EQ(std::count(all.begin(), all.end(), uint8_t{0}), 10000);
  EXPECT_EQ(all[4999], 'a');
  EXPECT_EQ(all[15000], 'a');
  EXPECT_EQ(image(), std::string(20000, 'a'));
}

TEST_F(DriveTest, WithoutSnapshotTheImageIsWritten) {
  auto store = open(false, false);
  ASSERT_TRUE(store->write(512, Bytes(3, 'b')));
  ASSERT_TRUE(store->write_zeroes(1024, 2));
  ASSERT_TRUE(store->flush());
  EXPECT_EQ(image().substr(510, 6), "aabbba");
  EXPECT_EQ(image().substr(1023, 4), std::string("a\0\0a", 4));
}

TEST_F(DriveTest, ReadOnlyNeedsNoTemporaryFile) {
  auto store = BlockImage::open({path, true, true, "/does/not/exist"});
  ASSERT_TRUE(store.has_value());
  EXPECT_TRUE((*store)->read_only());
}

TEST_F(DriveTest, ErrorsNameTheOption) {
  EXPECT_THAT(BlockImage::open({"/does/not/exist", true, true, ""}).error().what, HasSubstr("-drive file=/does/not/exist"));
  EXPECT_THAT(BlockImage::open({"/dev/null", true, true, ""}).error().what, HasSubstr("neither a file nor a block device"));
  EXPECT_THAT(BlockImage::open({path, false, true, "/does/not/exist"}).error().next, HasSubstr("TMPDIR"));
  write_image("");
  EXPECT_THAT(BlockImage::open({path, true, true, ""}).error().what, HasSubstr("is empty"));
}

TEST_F(DriveTest, DriveHasOneDevice) {
  std::vector<DriveRequest> requests = {parse_drive("file=" + path + ",format=raw,if=none,id=d0").value()};
  Drives drives;
  ASSERT_TRUE(drives.open(requests).has_value());
  EXPECT_THAT(drives.take("d1", "virtio-blk-pci").error().what, HasSubstr("there is no drive 'd1'"));
  EXPECT_TRUE(drives.take("d0", "virtio-blk-pci").has_value());
  EXPECT_THAT(drives.take("d0", "virtio-blk-pci").error().what, HasSubstr("has a device already"));
}

TEST_F(DriveTest, TwoOfAnIdAreRefused) {
  DriveRequest drive = parse_drive("file=" + path + ",format=raw,if=none,id=d0").value();
  std::vector<DriveRequest> requests = {drive, drive};
  Drives drives;
  EXPECT_THAT(drives.open(requests).error().what, HasSubstr("two of that id"));
}

class VirtioInPcTest : public DriveTest {
 protected:
  Result<std::unique_ptr<Pc>> make(std::vector<DeviceRequest> devices, const std::string& drive) {
    PcConfig config;
    config.ram_size = uint64_t{1} << 20;
    config.devices = std::move(devices);
    config.drives = {parse_drive("file=" + path + ",format=raw," + drive).value()};
    return Pc::create(std::move(config), clock);
  }
  static uint64_t identity(Pc& pc, unsigned slot) {
    pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcf8, 0x80000000u | slot << 11});
    return pc.bus().access({vm::Space::pio, vm::Direction::read, 4, 0xcfc, 0});
  }
  ManualClock clock;
};

TEST_F(VirtioInPcTest, DevicesStandWhereTheyAreWanted) {
  auto pc = make({{"virtio-rng-pci", {}}, {"virtio-blk-pci", {{"drive", "d0"}, {"addr", "07"}, {"disable-legacy", "on"}}}},
                 "if=none,id=d0");
  ASSERT_TRUE(pc.has_value()) << pc.error().what;
  EXPECT_EQ(identity(**pc, 2), 0x10441af4u);
  EXPECT_EQ(identity(**pc, 7), 0x10421af4u);
}

TEST_F(VirtioInPcTest, IfVirtioBringsItsDevice) {
  auto pc = make({}, "if=virtio");
  ASSERT_TRUE(pc.has_value()) << pc.error().what;
  EXPECT_EQ(identity(**pc, 2), 0x10421af4u);
}

TEST_F(VirtioInPcTest, OptionsThatDoNotWorkAreNamed) {
  auto what = [this](std::map<std::string, std::string> properties) {
    return make({{"virtio-blk-pci", std::move(properties)}}, "if=none,id=d0").error().what;
  };
  EXPECT_THAT(what({}), HasSubstr("-device virtio-blk-pci needs a drive"));
  EXPECT_THAT(what({{"drive", "d1"}}), HasSubstr("there is no drive 'd1'"));
  EXPECT_THAT(what({{"drive", "d0"}, {"disable-legacy", "off"}}), HasSubstr("disable-legacy=on"));
  EXPECT_THAT(what({{"drive", "d0"}, {"serial", "one that is much too long"}}), HasSubstr("longer than 20"));
  EXPECT_THAT(what({{"drive", "d0"}, {"iothread", "x"}}), HasSubstr("iothread"));
}

TEST(ParseDrive, TakesQemusWords) {
  DriveRequest drive = parse_drive("file=a/b,if=virtio,format=raw,readonly=on,snapshot=off,media=disk").value();
  EXPECT_EQ(drive.image.path, "a/b");
  EXPECT_TRUE(drive.wants_device);
  EXPECT_TRUE(drive.image.read_only);
  EXPECT_FALSE(drive.image.snapshot);
  EXPECT_TRUE(parse_drive("file=a,if=none,id=x,format=raw")->image.snapshot);
  EXPECT_EQ(parse_drive("file=a,,b,if=virtio,format=raw,discard=ignore")->image.path, "a,b");
}

TEST(ParseDrive, NamesWhatItDoesNotTake) {
  auto what = [](const char* text) { return parse_drive(text).error().what; };
  EXPECT_THAT(what("if=virtio,format=raw"), HasSubstr("which file?"));
  EXPECT_THAT(what("file=a,format=raw"), HasSubstr("if=ide"));
  EXPECT_THAT(what("file=a,if=scsi,format=raw"), HasSubstr("if=scsi is not supported"));
  EXPECT_THAT(what("file=a,if=virtio"), HasSubstr("format="));
  EXPECT_THAT(what("file=a,if=virtio,format=qcow2"), HasSubstr("format=qcow2"));
  EXPECT_THAT(what("file=a,if=none,format=raw"), HasSubstr("needs an id="));
  EXPECT_THAT(what("file=a,if=virtio,format=raw,cache=none"), HasSubstr("cache=none"));
  EXPECT_THAT(what("file=a,if=virtio,format=raw,discard=unmap"), HasSubstr("discard=unmap is not supported"));
  EXPECT_THAT(what("file=a,if=virtio,format=raw,readonly=maybe"), HasSubstr("neither on nor off"));
  EXPECT_THAT(what("a.img"), HasSubstr("not property=value"));
}

}  // namespace
}  // namespace dejavm::devices
