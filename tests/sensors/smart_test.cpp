// SPDX-License-Identifier: Apache-2.0
// The health of disks: what they say as bytes, and who is asked when. Real ones are in the lab.
#include "sensors/disk/smart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/os/privileges.h"
#include "tests/sensors/run_collector.h"

namespace vitald::disk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kMinuteNs = 60'000'000'000;

void seal(Sector& s) {
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < 511; ++i) sum = static_cast<std::uint8_t>(sum + s[i]);
  s[511] = static_cast<std::uint8_t>(-sum);
}
void put_text(Sector& s, std::size_t word, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) s[word * 2 + (i ^ 1)] = static_cast<std::uint8_t>(text[i]);
}
void put16(Sector& s, std::size_t at, unsigned v) {
  s[at] = static_cast<std::uint8_t>(v);
  s[at + 1] = static_cast<std::uint8_t>(v >> 8);
}

Sector identity(bool smart = true) {
  Sector s{};
  put_text(s, 10, "S123                ");
  put_text(s, 23, "FW1     ");
  put_text(s, 27, "A DISK                                  ");
  put16(s, 82 * 2, smart ? 0x9 : 0x8);
  put16(s, 83 * 2, 0x4000);
  put16(s, 85 * 2, smart ? 0x1 : 0);
  put16(s, 87 * 2, 0x4000);
  put16(s, 217 * 2, 7200);
  s[510] = 0xa5;
  seal(s);
  return s;
}
Sector attributes(unsigned reallocated) {
  Sector s{};
  auto add = [&s, at = std::size_t{2}](unsigned id, unsigned flags, unsigned value, std::uint64_t raw) mutable {
    s[at] = static_cast<std::uint8_t>(id);
    put16(s, at + 1, flags);
    s[at + 3] = s[at + 4] = static_cast<std::uint8_t>(value);
    for (std::size_t i = 0; i < 6; ++i) s[at + 5 + i] = static_cast<std::uint8_t>(raw >> (8 * i));
    at += 12;
  };
  add(5, 0x33, 100, reallocated);
  add(9, 0x32, 99, 0x120000000002);
  add(194, 0x22, 64, 0x001e00130024);  // 36, at least 19, at most 30
  add(12, 0x32, 100, 7);
  seal(s);
  return s;
}
Sector thresholds() {
  Sector s{};
  s[2] = 5;
  s[3] = 10;
  seal(s);
  return s;
}
Sector nvme_log() {
  Sector s{};
  s[0] = 0;
  put16(s, 1, 273 + 35);
  s[3] = 100;
  s[4] = 10;
  s[5] = 3;
  put16(s, 32, 2);
  put16(s, 48, 3);
  put16(s, 112, 11);
  put16(s, 128, 5);
  put16(s, 144, 4);
  put16(s, 160, 1);
  put16(s, 176, 300);
  s[183] = 1;  // 2^56 more
  return s;
}

// Disks by their node; what was asked of them.
struct Disks {
  struct Disk {
    Sector log{}, identify{}, data{}, limits{};
    std::optional<Taskfile> mode = Taskfile{0, 0xff, 0, 0, 0, 0x50}, status = Taskfile{0, 0, 0, 0x4f, 0xc2, 0x50};
    std::optional<Error> error;
    std::int64_t takes_ns = 0;
  };
  std::map<std::string, Disk> by_name;
  std::vector<std::string> asked;
  FakeClock* clock = nullptr;

  struct Opened final : Door {
    Opened(Disks& all, std::string name) : all_(all), name_(std::move(name)), disk_(all.by_name.at(name_)) {}
    Result<> nvme_log(Sector& out) override {
      all_.asked.push_back(name_ + " log");
      all_.clock->advance_ns(disk_.takes_ns);
      if (disk_.error) return fail(*disk_.error);
      out = disk_.log;
      return {};
    }
    Result<std::optional<Taskfile>> ata(AtaCommand command, Sector* data) override {
      static constexpr const char* kNames[] = {"mode", "identify", "data", "thresholds", "status"};
      all_.asked.push_back(name_ + " " + kNames[static_cast<int>(command)]);
      if (disk_.error) return fail(*disk_.error);
      switch (command) {
        case AtaCommand::check_power_mode: return disk_.mode;
        case AtaCommand::identify: *data = disk_.identify; break;
        case AtaCommand::smart_data: *data = disk_.data; break;
        case AtaCommand::smart_thresholds: *data = disk_.limits; break;
        case AtaCommand::smart_status: return disk_.status;
      }
      return std::optional<Taskfile>();
    }
    Disks& all_;
    std::string name_;
    Disk& disk_;
  };
  Open open() {
    return [this](const std::string& path) -> Result<std::unique_ptr<Door>> {
      const auto name = path.substr(path.rfind('/') + 1);
      asked.push_back(name + " open");
      return std::make_unique<Opened>(*this, name);
    };
  }
};

class Smart : public testing::Test {
 protected:
  Smart()
      : fixture_("smart", {{"sys/class/nvme/nvme0/model", "QEMU NVMe Ctrl   \n"},
                           {"sys/class/nvme/nvme0/serial", "N1\n"},
                           {"sys/class/nvme/nvme0/firmware_rev", "7.2\n"},
                           {"sys/class/nvme/nvme0/state", "live\n"},
                           {"sys/class/nvme/nvme0/cntrltype", "io\n"},
                           {"sys/class/nvme/nvme1/cntrltype", "discovery\n"},
                           {"sys/class/nvme/nvme2/state", "resetting\n"},
                           {"sys/block/sda/device", "->../../devices/pci/0:0:0:0"},
                           {"sys/devices/pci/0:0:0:0/vendor", "ATA     \n"},
                           {"sys/devices/pci/0:0:0:0/wwid", "naa.5\n"},
                           {"sys/devices/pci/0:0:0:0/power/runtime_status", "active\n"},
                           {"sys/devices/pci/0:0:0:0/driver", "->../../drivers/sd"},
                           {"sys/block/sdb/device/vendor", "USB DISK\n"},
                           {"sys/block/vda/size", "1\n"}}),
        host_(
            {fixture_.root() + "/proc", fixture_.root() + "/sys", fixture_.root() + "/root", fixture_.root() + "/udev"},
            &clock_) {
    disks_.clock = &clock_;
    disks_.by_name["nvme0"].log = nvme_log();
    auto& sda = disks_.by_name["sda"];
    sda.identify = identity();
    sda.data = attributes(2);
    sda.limits = thresholds();
    collector_ = make_smart(host_, 5 * kMinuteNs, disks_.open());
  }
  CollectorRun run() {
    disks_.asked.clear();
    writer_.begin(clock_.boot);
    const auto outcome = collector_->collect(writer_);
    const auto batch = writer_.finish(outcome, 0, 0);
    CollectorRun out;
    out.text = exposition(*batch);
    for (const auto& p : batch->health.problems) out.problems.push_back(p.text);
    return out;
  }

  FakeClock clock_;
  CollectorFixture fixture_;
  Host host_;
  Disks disks_;
  BatchWriter writer_{"smart"};
  std::unique_ptr<Collector> collector_;
};

TEST_F(Smart, NvmeAndAta) {
  const auto got = run();
  EXPECT_THAT(got.problems, IsEmpty());
  for (const auto* line : {
           "smartctl_devices 2\n",
           "smartctl_device{device=\"nvme0\",firmware_version=\"7.2\",interface=\"nvme\",model_family=\"unknown\","
           "model_name="
           "\"QEMU NVMe Ctrl\",protocol=\"NVMe\",serial_number=\"N1\"} 1\n",
           "smartctl_device_smart_status{device=\"nvme0\"} 1\n",
           "smartctl_device_temperature{device=\"nvme0\",temperature_type=\"current\"} 35\n",
           "smartctl_device_available_spare{device=\"nvme0\"} 100\n",
           "smartctl_device_available_spare_threshold{device=\"nvme0\"} 10\n",
           "smartctl_device_percentage_used{device=\"nvme0\"} 3\n",
           "smartctl_device_critical_warning{device=\"nvme0\"} 0\n",
           "smartctl_device_bytes_read{device=\"nvme0\"} 1024000\n",
           "smartctl_device_bytes_written{device=\"nvme0\"} 1536000\n",
           "smartctl_device_power_cycle_count{device=\"nvme0\"} 11\n",
           "smartctl_device_power_on_seconds{device=\"nvme0\"} 18000\n",
           "vitald_smart_unsafe_shutdowns_total{device=\"nvme0\"} 4\n",
           "smartctl_device_media_errors{device=\"nvme0\"} 1\n",
           "smartctl_device_num_err_log_entries{device=\"nvme0\"} 7.205759403792824e+16\n",
           "smartctl_device{device=\"sda\",firmware_version=\"FW1\",interface=\"sat\",model_family=\"unknown\",model_"
           "name=\"A "
           "DISK\",protocol=\"ATA\",serial_number=\"S123\"} 1\n",
           "smartctl_device_smart_status{device=\"sda\"} 1\n",
           "smartctl_device_temperature{device=\"sda\",temperature_type=\"current\"} 36\n",
           "smartctl_device_rotation_rate{device=\"sda\"} 7200\n",
           "smartctl_device_power_on_seconds{device=\"sda\"} 7200\n",
           "smartctl_device_power_cycle_count{device=\"sda\"} 7\n",
           "smartctl_device_attribute{attribute_flags_long=\"prefailure,updated_online,event_count,auto_keep\","
           "attribute_"
           "flags_short=\"PO--CK\",attribute_id=\"5\",attribute_name=\"Reallocated_Sector_Ct\",attribute_value_type="
           "\"raw\","
           "device=\"sda\"} 2\n",
           "attribute_value_type=\"thresh\",device=\"sda\"} 10\n",
           "vitald_smart_asleep{device=\"sda\"} 0\n",
       })
    EXPECT_THAT(got.text, HasSubstr(line));
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log", "sda open", "sda mode", "sda identify", "sda data",
                                        "sda thresholds", "sda status"));
  // Not before it is time; who it is does not change.
  clock_.advance_ns(kMinuteNs);
  EXPECT_THAT(run().text, HasSubstr("vitald_smart_age_seconds{device=\"nvme0\"} 60\n"));
  EXPECT_THAT(disks_.asked, IsEmpty());
  clock_.advance_ns(4 * kMinuteNs);
  disks_.by_name["sda"].status = Taskfile{0, 0, 0, 0xf4, 0x2c, 0x50};
  disks_.by_name["nvme0"].log[0] = 4;
  const auto later = run();
  EXPECT_THAT(later.text, HasSubstr("smartctl_device_smart_status{device=\"sda\"} 0\n"));
  EXPECT_THAT(later.text, HasSubstr("smartctl_device_smart_status{device=\"nvme0\"} 0\n"));
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log", "sda open", "sda mode", "sda data", "sda thresholds",
                                        "sda status"));
}

// Percents of a whole: 255 is a drive's word for none.
TEST_F(Smart, SpareOfMoreThanAllIsNone) {
  auto& log = disks_.by_name["nvme0"].log;
  log[4] = 255;
  auto got = run().text;
  EXPECT_THAT(got, HasSubstr("smartctl_device_available_spare{device=\"nvme0\"} 100\n"));
  EXPECT_THAT(got, Not(HasSubstr("smartctl_device_available_spare_threshold{device=\"nvme0\"}")));
  clock_.advance_ns(5 * kMinuteNs);
  log[3] = 101, log[4] = 100;
  got = run().text;
  EXPECT_THAT(got, Not(HasSubstr("smartctl_device_available_spare{device=\"nvme0\"}")));
  EXPECT_THAT(got, HasSubstr("smartctl_device_available_spare_threshold{device=\"nvme0\"} 100\n"));
}

// NVMe's 0 K and 65535 K, and what a bridge answers that does not pass the command on.
TEST_F(Smart, AllOnes) {
  auto& log = disks_.by_name["nvme0"].log;
  log[1] = log[2] = 0xff;
  auto got = run();
  EXPECT_THAT(got.problems, IsEmpty());
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_temperature{device=\"nvme0\"")));
  EXPECT_THAT(got.text, HasSubstr("smartctl_device_available_spare{device=\"nvme0\"} 100\n"));
  clock_.advance_ns(5 * kMinuteNs);
  log.fill(0xff);
  got = run();
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_available_spare{device=\"nvme0\"}")));
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_smart_status{device=\"nvme0\"}")));
}

// Raw values of public reports.
TEST(SmartLog, Celsius) {
  struct Case {
    const char* name;
    std::vector<AtaAttribute> attributes;
    std::optional<double> celsius;
  };
  const auto of = [](unsigned id, std::uint64_t raw) { return AtaAttribute{.id = id, .raw = raw}; };
  const Case cases[] = {
      {"Seagate: 30 (0 20 0 0 0)", {of(194, 85899345950)}, 30},
      {"Crucial BX500: lowest and highest above", {of(194, 111669215238)}, 6},
      {"SanDisk U110: 0 is none", {of(194, 0)}, std::nullopt},
      {"then that of the air", {of(194, 0), of(190, 41)}, 41},
      {"231 of an SSD is no temperature", {of(231, 97)}, std::nullopt},
      {"below zero, or a sentinel", {of(194, 0xa9)}, std::nullopt},
  };
  for (const auto& c : cases) EXPECT_EQ(celsius_of(c.attributes), c.celsius) << c.name;
}

// smartctl's names by what the disk is: an alert on Temperature_Celsius must not see how much of an SSD's life is left.
TEST(SmartLog, NamesOfWhatTheDiskIs) {
  AtaIdentity discs, flash, unknown;
  discs.rpm = 7200;
  flash.solid_state = true;
  struct Case {
    unsigned id;
    std::string_view of_discs, of_flash, of_unknown;
  };
  const Case cases[] = {
      {231, "Temperature_Celsius", "Unknown_SSD_Attribute", "Temperature_Celsius"},
      {202, "Data_Address_Mark_Errs", "Unknown_SSD_Attribute", "Data_Address_Mark_Errs"},
      {233, "Unknown_HDD_Attribute", "Media_Wearout_Indicator", "Media_Wearout_Indicator"},
      {194, "Temperature_Celsius", "Temperature_Celsius", "Temperature_Celsius"},
      {170, "Unknown_Attribute", "Unknown_Attribute", "Unknown_Attribute"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(attribute_name(c.id, discs), c.of_discs) << c.id;
    EXPECT_EQ(attribute_name(c.id, flash), c.of_flash) << c.id;
    EXPECT_EQ(attribute_name(c.id, unknown), c.of_unknown) << c.id;
  }
}

TEST_F(Smart, AnSsd) {
  auto& sda = disks_.by_name["sda"];
  put16(sda.identify, 217 * 2, 1);
  seal(sda.identify);
  sda.data = {};
  sda.data[2] = 9;  // Power_On_Hours: 43843 (165 58 1), of which 24 bits are hours
  for (const auto& [at, byte] : {std::pair(7, 0x43), {8, 0xab}, {9, 0}, {10, 1}, {11, 58}, {12, 165}})
    sda.data[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(byte);
  sda.data[14] = 231;
  sda.data[19] = 97;
  seal(sda.data);
  const auto got = run();
  EXPECT_THAT(got.problems, IsEmpty());
  EXPECT_THAT(got.text, HasSubstr("smartctl_device_power_on_seconds{device=\"sda\"} 157834800\n"));
  EXPECT_THAT(got.text, HasSubstr("attribute_id=\"231\",attribute_name=\"Unknown_SSD_Attribute\","));
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_rotation_rate{device=\"sda\"}")));
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_temperature{device=\"sda\"")));
}

TEST_F(Smart, WhoSleepsIsLeftAlone) {
  run();
  clock_.advance_ns(5 * kMinuteNs);
  disks_.by_name["sda"].mode = Taskfile{0, 0x00, 0, 0, 0, 0x50};  // standby
  auto got = run();
  EXPECT_THAT(got.text, HasSubstr("vitald_smart_asleep{device=\"sda\"} 1\n"));
  EXPECT_THAT(got.text, HasSubstr("vitald_smart_age_seconds{device=\"sda\"} 300\n"));  // what it said last stays
  EXPECT_THAT(got.text, HasSubstr("smartctl_device_rotation_rate{device=\"sda\"} 7200\n"));
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log", "sda open", "sda mode"));
  // Suspended by the kernel: not even opened.
  clock_.advance_ns(5 * kMinuteNs);
  fixture_.write("sys/devices/pci/0:0:0:0/power/runtime_status", "suspended\n");
  run();
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log"));
}

// Whom nobody can ask whether it sleeps is not woken by asking more.
TEST_F(Smart, PowerModeUnknown) {
  disks_.by_name["sda"].mode = std::nullopt;
  EXPECT_THAT(run().problems, IsEmpty());
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log", "sda open", "sda mode"));
  EXPECT_EQ(collector_->status(), "2 disks, of which 1 cannot be asked");
}

// It was well; now it says nothing.
TEST_F(Smart, WhoFallsSilentIsNoLongerWell) {
  run();
  clock_.advance_ns(5 * kMinuteNs);
  disks_.by_name["sda"].error = disks_.by_name["nvme0"].error = Error{Errc::timeout, 0, "late"};
  for (int more = 0; more < 2; ++more) {
    const auto got = run();
    EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_smart_status")));
    EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_attribute")));
    EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_temperature")));
    EXPECT_THAT(got.text, HasSubstr("serial_number=\"S123\""));
    EXPECT_THAT(got.text, HasSubstr(fmt::format("vitald_smart_age_seconds{{device=\"sda\"}} {}\n", 300 + more * 60)));
    EXPECT_THAT(got.text, HasSubstr("vitald_smart_asleep{device=\"sda\"} 0\n"));
    clock_.advance_ns(kMinuteNs);
  }
  // Nor when it is left alone then.
  clock_.advance_ns(3 * kMinuteNs);
  fixture_.write("sys/devices/pci/0:0:0:0/power/runtime_status", "suspended\n");
  EXPECT_THAT(run().text, Not(HasSubstr("smartctl_device_smart_status{device=\"sda\"}")));
  fixture_.write("sys/devices/pci/0:0:0:0/power/runtime_status", "active\n");
  disks_.by_name["sda"].error.reset();
  clock_.advance_ns(5 * kMinuteNs);
  EXPECT_THAT(run().text, HasSubstr("smartctl_device_smart_status{device=\"sda\"} 1\n"));
}

TEST_F(Smart, WhatADiskDoesNotHaveIsNoProblem) {
  auto& sda = disks_.by_name["sda"];
  sda.identify = identity(false);
  auto got = run();
  EXPECT_THAT(got.problems, IsEmpty());
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device{device=\"sda\"")));
  EXPECT_THAT(disks_.asked,
              ElementsAre("nvme0 open", "nvme0 log", "sda open", "sda mode", "sda identify"));  // and no SMART command
  clock_.advance_ns(30 * kMinuteNs);
  run();
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log"));
}

TEST_F(Smart, Damage) {
  auto& sda = disks_.by_name["sda"];
  sda.data[7] ^= 1;
  disks_.by_name["nvme0"].log = {};
  auto got = run();
  EXPECT_THAT(got.problems, ElementsAre(HasSubstr("nvme0: the SMART log is empty"),
                                        HasSubstr("sda: SMART data with a wrong checksum")));
  EXPECT_THAT(got.text, Not(HasSubstr("smartctl_device_")));
  clock_.advance_ns(5 * kMinuteNs);
  sda.error = Error{Errc::denied, 0, "/dev/sda: SG_IO: needs CAP_SYS_RAWIO"};
  disks_.by_name["nvme0"].error = Error{Errc::timeout, 0, "/dev/nvme0: late"};
  EXPECT_THAT(run().problems, ElementsAre("/dev/nvme0: late", "/dev/sda: SG_IO: needs CAP_SYS_RAWIO"));
  EXPECT_EQ(run().problems.size(), 2U);  // until it is asked again
  EXPECT_THAT(disks_.asked, IsEmpty());
}

TEST_F(Smart, ManyThatAreSlowAreAskedInSeveralRuns) {
  disks_.by_name["nvme0"].takes_ns = 3'000'000'000;
  run();
  EXPECT_THAT(disks_.asked, ElementsAre("nvme0 open", "nvme0 log"));
  run();
  EXPECT_THAT(disks_.asked, testing::Contains("sda data"));
}

TEST_F(Smart, AnotherDiskInTheSamePlace) {
  run();
  fixture_.write("sys/class/nvme/nvme0/serial", "N2\n");
  fixture_.remove("sys/block/sda");
  clock_.advance_ns(kMinuteNs);
  const auto got = run();
  EXPECT_THAT(got.text, HasSubstr("serial_number=\"N2\""));
  EXPECT_THAT(got.text, Not(HasSubstr("sda")));
}

TEST(SmartLog, Sense) {
  const std::vector<std::uint8_t> good = {0x72, 0x01, 0, 0x1d, 0, 0, 0,    14, 0x09, 12, 0,
                                          1,    0,    2, 0,    3, 0, 0x4f, 0,  0xc2, 0,  0x50};
  const auto t = parse_sense(good);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->count, 2);
  EXPECT_EQ(passed(*t), true);
  EXPECT_EQ(t->status, 0x50);
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_sense(Bytes(good).first(n))) << n;
  // Fixed format, with the additional sense code that makes it registers; an error of another kind has none.
  std::vector<std::uint8_t> fixed = {0xf0, 0, 0x01, 4, 0x50, 0xa0, 2, 10, 0, 1, 0x4f, 0xc2, 0x00, 0x1d, 0, 0, 0, 0};
  const auto f = parse_sense(fixed);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->error, 4);
  EXPECT_EQ(f->count, 2);
  EXPECT_EQ(f->lba_low, 1);
  EXPECT_EQ(f->status, 0x50);
  EXPECT_EQ(passed(*f), true);
  for (std::size_t n = 0; n < 14; ++n) EXPECT_FALSE(parse_sense(Bytes(fixed).first(n))) << n;
  fixed[12] = 0x20;
  EXPECT_FALSE(parse_sense(fixed));
  // Behind another descriptor; one of length 0 is no endless loop.
  std::vector<std::uint8_t> second = {0x72, 1, 0, 0, 0, 0, 0, 18, 0x00, 0, 0x03, 0};
  second.insert(second.end(), good.begin() + 8, good.end());
  EXPECT_TRUE(parse_sense(second));
  EXPECT_FALSE(passed(Taskfile{}));
  for (const auto& [count, still] : std::initializer_list<std::pair<int, bool>>{
           {0x00, true}, {0x01, true}, {0x40, true}, {0x41, false}, {0x80, false}, {0x81, false}, {0xff, false}})
    EXPECT_EQ(stands_still(Taskfile{0, static_cast<std::uint8_t>(count), 0, 0, 0, 0x50}), still) << count;
}

TEST(SmartLog, Identity) {
  EXPECT_TRUE(parse_identity(identity()));
  auto bad = identity();
  bad[60] ^= 1;
  EXPECT_FALSE(parse_identity(bad));
  EXPECT_FALSE(parse_identity(Sector{}));
  auto atapi = identity();
  put16(atapi, 0, 0x8580);
  atapi[511] = 0;
  seal(atapi);
  EXPECT_FALSE(parse_identity(atapi));
}

}  // namespace

TEST(SmartCollector, AbsentWithoutDisks) {
  EXPECT_EQ(run_collector("smart", {}).error, "absent: no NVMe controller and no ATA disk is there");
}

}  // namespace vitald::disk
