// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/sensors/run_collector.h"

namespace vitald {

namespace {

std::string info(const char* device, const char* major, const char* minor) {
  return std::string("node_disk_info{device=\"") + device + "\",major=\"" + major + "\",minor=\"" + minor +
         "\",model=\"\",path=\"\",revision=\"\",rotational=\"0\",serial=\"\",wwn=\"\"} 1\n";
}
constexpr const char* kEleven =
    "node_disk_reads_completed_total{device=\"sda\"} 1\nnode_disk_reads_merged_total{device=\"sda\"} 2\n"
    "node_disk_read_bytes_total{device=\"sda\"} 1536\nnode_disk_read_time_seconds_total{device=\"sda\"} 0.004\n"
    "node_disk_writes_completed_total{device=\"sda\"} 5\nnode_disk_writes_merged_total{device=\"sda\"} 6\n"
    "node_disk_written_bytes_total{device=\"sda\"} 3584\nnode_disk_write_time_seconds_total{device=\"sda\"} 0.008\n"
    "node_disk_io_now{device=\"sda\"} 9\nnode_disk_io_time_seconds_total{device=\"sda\"} 0.01\n"
    "node_disk_io_time_weighted_seconds_total{device=\"sda\"} 0.011\n";
constexpr const char* kDiscards =
    "node_disk_discards_completed_total{device=\"sda\"} 12\nnode_disk_discards_merged_total{device=\"sda\"} 13\n"
    "node_disk_discarded_sectors_total{device=\"sda\"} 14\nnode_disk_discard_time_seconds_total{device=\"sda\"} "
    "0.015\n";
constexpr const char* kFlushes =
    "node_disk_flush_requests_total{device=\"sda\"} 16\n"
    "node_disk_flush_requests_time_seconds_total{device=\"sda\"} 0.017\n";

}  // namespace

TEST(Diskstats, Columns) {
  struct Case {
    const char* name;
    std::string file, text, error;
  };
  const std::string expected = ": 'major minor name' and 11 to 17 numbers expected";
  const Case cases[] = {
      {"Linux 5.5 and later", "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
       info("sda", "8", "0") + kEleven + kDiscards + kFlushes, ""},
      {"4.18", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n", info("sda", "8", "0") + kEleven + kDiscards, ""},
      {"before, without newline", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11", info("sda", "8", "0") + kEleven, ""},
      {"columns of a newer kernel", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19\n",
       info("sda", "8", "0") + kEleven + kDiscards + kFlushes, ""},
      {"a partition of an ancient kernel is passed over", "8 1 sdx 1 2 3 4\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
       info("sda", "8", "0") + kEleven, ""},
      {"a torn number costs one line", "8 1 sdx 1 2 3 4 5 6 7 8 9 10 1x\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
       info("sda", "8", "0") + kEleven, "malformed: /proc/diskstats: '8 1 sdx 1 2 3 4 5 6 7 8 9 10 1x'" + expected},
      {"too large", "8 1 sdx 18446744073709551616 2 3 4 5 6 7 8 9 10 11\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
       info("sda", "8", "0") + kEleven,
       "malformed: /proc/diskstats: '8 1 sdx 18446744073709551616 2 3 4 5 6 7 8 9 10 11'" + expected},
      {"not a device", "\nx\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n", info("sda", "8", "0") + kEleven,
       "malformed: /proc/diskstats: 'x'" + expected},
      {"ignored by default", "7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n", "", ""},
      {"empty", "", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture f("diskstats", {{"proc/diskstats", c.file}});
    for (int run = 0; run < 2; ++run) {
      const auto got = f.run();
      EXPECT_EQ(got.text, c.text);
      EXPECT_EQ(got.error, c.error);
    }
  }
}

TEST(Diskstats, Filters) {
  const Tree tree = {
      {"proc/diskstats",
       "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n8 1 sda1 0 0 0 0 0 0 0 0 0 0 0\n7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"}};
  struct Case {
    const char* name;
    FlagValues flags;
    std::string infos, error;
  };
  const Case cases[] = {
      {"default", {}, info("sda", "8", "0"), ""},
      {"exclude", {{"collector.diskstats.device-exclude", "^sda"}}, info("loop0", "7", "0"), ""},
      {"exclude nothing",
       {{"collector.diskstats.device-exclude", ""}},
       info("sda", "8", "0") + info("sda1", "8", "1") + info("loop0", "7", "0"),
       ""},
      {"include puts the default exclude away",
       {{"collector.diskstats.device-include", "[0-9]$"}},
       info("sda1", "8", "1") + info("loop0", "7", "0"),
       ""},
      {"both",
       {{"collector.diskstats.device-include", "a"}, {"collector.diskstats.device-exclude", "b"}},
       "",
       "malformed: --collector.diskstats.device-exclude and --collector.diskstats.device-include are mutually "
       "exclusive: give one of them"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("diskstats", tree, c.flags);
    EXPECT_EQ(lines_with(got.text, "node_disk_info"), c.infos);
    EXPECT_EQ(got.error, c.error);
  }
}

TEST(Diskstats, Udev) {
  const std::string zeros = " 0 0 0 0 0 0 0 0 0 0 0\n";
  CollectorFixture f(
      "diskstats",
      {{"proc/diskstats", "8 0 sda" + zeros + "254 0 vda" + zeros + "253 0 dm-0" + zeros + "104 0 cciss/c0d0" + zeros},
       {"sys/block/sda/queue/rotational", "1\n"},
       {"sys/block/vda/queue/rotational", "0\n"},
       {"sys/block/cciss!c0d0/queue/rotational", "1\n"},
       {"udev/b8:0",
        "S:disk/by-id/x\nI:738\nE:ID_ATA=1\nE:ID_MODEL=EXAMPLE=X\nE:ID_SERIAL=LONG\nE:ID_SERIAL_SHORT=SHORT\n"
        "E:SCSI_IDENT_SERIAL=LABEL\nE:ID_WWN=0x7c\nE:ID_PATH=pci-0\nE:ID_REVISION=0102\n"
        "E:ID_ATA_WRITE_CACHE=1\nE:ID_ATA_WRITE_CACHE_ENABLED=0\nE:ID_ATA_ROTATION_RATE_RPM=5400\n"
        "E:broken\nID_MODEL=no\n"},
       {"udev/b254:0",
        "E:ID_SERIAL=virtio\nE:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\n"
        "E:ID_FS_UUID=1-2\nE:ID_FS_VERSION=1.0\nE:ID_ATA_WRITE_CACHE=1\n"},
       {"udev/b253:0",
        "E:DM_NAME=vg-lv\nE:DM_UUID=LVM-1\nE:DM_VG_NAME=vg\nE:DM_LV_NAME=lv\nE:ID_ATA=1\n"
        "E:ID_ATA_WRITE_CACHE=yes\n"}});
  const auto text = f.run().text;
  EXPECT_EQ(
      lines_with(text, "node_disk_info"),
      "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"EXAMPLE=X\",path=\"pci-0\",revision=\"0102\","
      "rotational=\"1\",serial=\"LABEL\",wwn=\"0x7c\"} 1\n"
      "node_disk_info{device=\"vda\",major=\"254\",minor=\"0\",model=\"\",path=\"\",revision=\"\","
      "rotational=\"0\",serial=\"virtio\",wwn=\"\"} 1\n" +
          info("dm-0", "253", "0") +
          "node_disk_info{device=\"cciss/c0d0\",major=\"104\",minor=\"0\",model=\"\",path=\"\",revision=\"\","
          "rotational=\"1\",serial=\"\",wwn=\"\"} 1\n");
  EXPECT_EQ(lines_with(text, "_ata_"),
            "node_disk_ata_write_cache{device=\"sda\"} 1\nnode_disk_ata_write_cache_enabled{device=\"sda\"} 0\n"
            "node_disk_ata_rotation_rate_rpm{device=\"sda\"} 5400\n");
  EXPECT_EQ(
      lines_with(text, "filesystem_info"),
      "node_disk_filesystem_info{device=\"vda\",type=\"ext4\",usage=\"filesystem\",uuid=\"1-2\",version=\"1.0\"} 1\n");
  EXPECT_EQ(lines_with(text, "mapper_info"),
            "node_disk_device_mapper_info{device=\"dm-0\",lv_layer=\"\",lv_name=\"lv\",name=\"vg-lv\",uuid=\"LVM-1\","
            "vg_name=\"vg\"} 1\n");

  // A disk in place of another under the same number: udev replaces the file, which changes the folder.
  f.remove("udev/b8:0");
  f.write("udev/b8:0", "E:ID_MODEL=OTHER\nE:ID_SERIAL_SHORT=SHORT\nE:ID_SERIAL=LONG\n");
  EXPECT_EQ(lines_with(f.run().text, "node_disk_info{device=\"sda\""),
            "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"OTHER\",path=\"\",revision=\"\","
            "rotational=\"1\",serial=\"SHORT\",wwn=\"\"} 1\n");
}

TEST(Diskstats, FactsAreReadOnceUntilUdevWrites) {
  CollectorFixture f("diskstats",
                     {{"proc/diskstats", "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n"}, {"udev/b8:0", "E:ID_MODEL=A\n"}});
  f.clock.wall = SystemClock().wall_ns() + 10'000'000'000;  // the folder's time is no longer of this moment
  const auto first = f.run().text;
  f.write("udev/b8:0", "E:ID_MODEL=B\n");  // in place: the folder does not change
  EXPECT_EQ(f.run().text, first);
  f.write("udev/b8:16", "");
  EXPECT_NE(f.run().text.find("model=\"B\""), std::string::npos);
}

TEST(Diskstats, DisksComeAndGo) {
  const std::string zeros = " 0 0 0 0 0 0 0 0 0 0 0\n";
  CollectorFixture f("diskstats", {{"proc/diskstats", "8 0 sda" + zeros + "8 16 sdb" + zeros}});
  f.run();
  f.write("proc/diskstats", "8 16 sdb" + zeros);
  EXPECT_EQ(lines_with(f.run().text, "node_disk_info"), info("sdb", "8", "16"));
  f.write("proc/diskstats", "8 0 sda" + zeros + "8 16 sdb" + zeros + "8 160 sdk" + zeros);
  EXPECT_EQ(lines_with(f.run().text, "node_disk_info"),
            info("sda", "8", "0") + info("sdb", "8", "16") + info("sdk", "8", "160"));
}

TEST(Diskstats, NoFile) {
  EXPECT_EQ(run_collector("diskstats", {}).error, "gone: /proc/diskstats: No such file or directory (ENOENT)");
}

// Once udev's files are no longer young, only the one that was replaced is read again.
TEST(Diskstats, OneOfManyIsReplaced) {
  CollectorFixture f("diskstats", {{"proc/diskstats",
                                    "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n"
                                    "8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n"},
                                   {"udev/b8:0", "E:ID_MODEL=A\n"},
                                   {"udev/b8:16", "E:ID_MODEL=B\n"}});
  f.clock.wall = 4'000'000'000'000'000'000;
  f.run();
  f.write("udev/b8:0", "E:ID_MODEL=A2\n");
  f.remove("udev/b8:16");
  f.write("udev/new", "E:ID_MODEL=C\n");
  std::filesystem::rename(f.root() + "/udev/new", f.root() + "/udev/b8:16");
  const auto text = f.run().text;
  EXPECT_NE(text.find("model=\"A2\""), std::string::npos) << text;
  EXPECT_NE(text.find("model=\"C\""), std::string::npos) << text;
}

}  // namespace vitald
