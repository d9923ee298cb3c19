// SPDX-License-Identifier: Apache-2.0
// Records and answers of BMCs, byte by byte; the collector with a real device and a BMC runs in the lab (tests/hw).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sensors/power/ipmi_bmc.h"
#include "sensors/power/ipmi_sdr.h"
#include "tests/sensors/run_collector.h"

namespace vitald::ipmi {
namespace {

struct Full {
  std::uint16_t record = 1;
  std::uint8_t number = 1, type = 1, event = 1, units = 0, base = 1, linear = 0;
  int m = 1, b = 0, b_exponent = 0, result_exponent = 0;
  std::string name = "CPU1 Temp";
  std::uint8_t owner = 0x20, coding = 3;
};
Bytes full(const Full& f) {
  Bytes r(48, 0);
  const auto low = [](int v) { return static_cast<std::uint8_t>(v & 0xff); };
  const auto high = [](int v) { return static_cast<std::uint8_t>((v >> 2) & 0xc0); };
  r[0] = low(f.record), r[1] = low(f.record >> 8), r[2] = 0x51, r[3] = 0x01;
  r[4] = static_cast<std::uint8_t>(43 + f.name.size());
  r[5] = f.owner, r[7] = f.number, r[12] = f.type, r[13] = f.event;
  r[20] = f.units, r[21] = f.base, r[23] = f.linear;
  r[24] = low(f.m), r[25] = high(f.m), r[26] = low(f.b), r[27] = high(f.b);
  r[29] = static_cast<std::uint8_t>((f.result_exponent & 0xf) << 4 | (f.b_exponent & 0xf));
  r[47] = static_cast<std::uint8_t>(f.coding << 6 | f.name.size());
  r.insert(r.end(), f.name.begin(), f.name.end());
  return r;
}

TEST(IpmiSdr, Values) {
  struct Case {
    const char* name;
    Full record;
    std::uint8_t raw;
    std::optional<double> value;
  };
  const Case cases[] = {
      {"as it is", {}, 57, 57},
      {"12 V in steps of 0.06", {.base = 4, .m = 6, .result_exponent = -2}, 201, 12.06},
      {"fans in hundreds", {.base = 18, .m = 100}, 42, 4200},
      {"a negative offset with an exponent", {.m = 5, .b = -20, .b_exponent = 1, .result_exponent = -1}, 100, 30},
      {"the largest and the smallest factor", {.m = 511}, 2, 1022},
      {"a negative factor", {.m = -512}, 2, -1024},
      {"two's complement", {.units = 0x80}, 0xf6, -10},
      {"ones' complement", {.units = 0x40}, 0xf5, -10},
      {"no number", {.units = 0xc0}, 1, std::nullopt},
      {"1/x", {.linear = 7}, 4, 0.25},
      {"1/0", {.linear = 7}, 0, std::nullopt},
      {"square", {.linear = 8}, 5, 25},
      {"cube root", {.linear = 11}, 27, 3},
      {"log2", {.linear = 3}, 8, 3},
      {"a factor for each reading is not known", {.linear = 0x70}, 1, std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto sensor = parse_sensor(full(c.record));
    ASSERT_TRUE(sensor);
    const auto value = value_of(*sensor, c.raw);
    ASSERT_EQ(value.has_value(), c.value.has_value());
    if (value) {
      EXPECT_NEAR(*value, *c.value, 1e-9);
    }
  }
}

// A PowerEdge R630's: the bits of tolerance and accuracy beside those of the factor and the offset are none of them.
TEST(IpmiSdr, BitsThatStandBeside) {
  auto record = full({.m = 1, .b = -128});
  record[25] |= 0x3f;
  record[27] |= 0x3f;
  EXPECT_EQ(value_of(*parse_sensor(record), 152), 24);
  auto largest = full({.m = 1, .b = 127});
  largest[27] |= 0x20;
  EXPECT_EQ(value_of(*parse_sensor(largest), 1), 128);
}

TEST(IpmiSdr, NamesAndUnits) {
  EXPECT_EQ(parse_sensor(full({}))->name, "CPU1 Temp");
  EXPECT_EQ(parse_sensor(full({.name = "Fan \xb0 "}))->name, "Fan \xc2\xb0") << "Latin 1";
  // "IPMI" in the specification's example of packed 6-bit ASCII.
  EXPECT_EQ(parse_sensor(full({.name = "\x29\xdc\xa6", .coding = 2}))->name, "IPMI");
  EXPECT_EQ(parse_sensor(full({.name = "\x12\x3a", .coding = 1}))->name, "123");
  EXPECT_EQ(parse_sensor(full({.base = 6}))->unit, Unit::watts);
  EXPECT_EQ(parse_sensor(full({.units = 1}))->unit, Unit::percent);
  EXPECT_EQ(parse_sensor(full({.base = 2}))->unit, Unit::other) << "Fahrenheit";
  EXPECT_EQ(parse_sensor(full({.units = 0x10, .base = 6}))->unit, Unit::other) << "watts per hour";
  auto cut = full({});
  cut.resize(40);
  EXPECT_FALSE(parse_sensor(cut));
  auto long_name = full({});
  long_name[47] = 0xdf;  // 31 characters, of which 9 are there
  EXPECT_EQ(parse_sensor(long_name)->name, "CPU1 Temp");
}

TEST(IpmiSdr, States) {
  const auto sensor = *parse_sensor(full({}));
  const auto discrete = *parse_sensor(full({.event = 0x6f}));
  const auto of = [](const Sensor& s, const Bytes& answer) { return state_of(s, answer); };
  EXPECT_EQ(of(sensor, {50, 0xc0, 0x00}).severity, 0);
  EXPECT_EQ(of(sensor, {50, 0xc0, 0xc8}).severity, 1) << "above the upper non-critical one";
  EXPECT_EQ(of(sensor, {50, 0xc0, 0xd8}).severity, 2);
  EXPECT_EQ(of(sensor, {50, 0xc0, 0xc1}).severity, 1);
  EXPECT_EQ(of(sensor, {50, 0xc0, 0xc3}).severity, 2);
  EXPECT_EQ(of(discrete, {50, 0xc0, 0x01}).severity, std::nullopt);
  EXPECT_EQ(of(sensor, {50, 0xe0, 0x00}).value, std::nullopt) << "the reading is not available";
  EXPECT_EQ(of(sensor, {50, 0x80, 0x00}).value, std::nullopt) << "it is not scanned";
  EXPECT_EQ(of(sensor, {50}).value, std::nullopt);
}

// A BMC as a table: records in order, readings by sensor number.
struct FakeBmc {
  std::vector<Bytes> records;
  std::map<std::uint8_t, Bytes> readings;  // with the completion code
  Bytes dcmi = {0, 0xdc, 0x38, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40};
  std::uint8_t stamp = 1;
  int lost = 0;                        // reservations that are lost
  std::optional<std::uint8_t> silent;  // a command that gets no answer
  std::optional<std::size_t> refused;  // a record that is refused behind its header
  int asked_records = 0, asked_power = 0;

  Result<Bytes> operator()(std::uint8_t netfn, std::uint8_t, std::uint8_t command, std::span<const std::uint8_t> data) {
    if (silent == command) return fail(Errc::timeout, "no answer");
    if (netfn == 0x2c && command == 0x02) return ++asked_power, dcmi;
    if (netfn == 0x0a && command == 0x20) return Bytes{0, 0x51, static_cast<std::uint8_t>(records.size()), 0, stamp};
    if (netfn == 0x0a && command == 0x22) return Bytes{0, 7, 0};
    if (netfn == 0x0a && command == 0x23) {
      ++asked_records;
      if (lost-- > 0) return Bytes{0xc5};
      std::size_t at = data[2];
      if (at >= records.size()) return Bytes{0xcb};
      if (refused == at && data[4] > 0) return Bytes{0xff};
      const auto& record = records[at];
      const bool last = at + 1 == records.size();
      Bytes answer{0, static_cast<std::uint8_t>(last ? 0xff : at + 1), static_cast<std::uint8_t>(last ? 0xff : 0)};
      for (std::size_t i = data[4]; i < record.size() && i < std::size_t{data[4]} + data[5]; ++i)
        answer.push_back(record[i]);
      return answer;
    }
    if (netfn == 0x04 && command == 0x2d) {
      const auto at = readings.find(data[0]);
      return at == readings.end() ? Bytes{0xcb} : at->second;
    }
    return Bytes{0xc1};
  }
};

FakeBmc usual() {
  FakeBmc bmc;
  bmc.records = {full({}), full({.record = 2, .number = 2, .type = 4, .base = 18, .m = 100, .name = "FAN1"}),
                 full({.record = 3, .number = 9, .name = "behind a bus", .owner = 0x2c})};
  bmc.readings = {{1, {0, 57, 0xc0, 0}}, {2, {0, 0, 0xc0, 0xc3}}};
  return bmc;
}

std::string text_of(const Readings& readings) {
  std::string text;
  for (const auto& [sensor, state] : readings.sensors)
    text +=
        fmt::format("{} {} {} {}\n", sensor.record, sensor.name, state.value.value_or(-1), state.severity.value_or(-1));
  if (readings.watts) text += fmt::format("{} W\n", *readings.watts);
  if (!readings.sensors_outcome) text += "sensors: " + readings.sensors_outcome.error().text + "\n";
  if (!readings.dcmi_outcome) text += "dcmi: " + readings.dcmi_outcome.error().text + "\n";
  return text;
}

TEST(IpmiBmc, Cases) {
  struct Case {
    const char* name;
    void (*change)(FakeBmc&);
    const char* text;
  };
  const Case cases[] = {
      {"its own sensors and what the machine draws", [](FakeBmc&) {}, "1 CPU1 Temp 57 0\n2 FAN1 0 2\n312 W\n"},
      {"a sensor that is not there now", [](FakeBmc& b) { b.readings.erase(2); },
       "1 CPU1 Temp 57 0\n2 FAN1 -1 -1\n312 W\n"},
      {"a sensor that fails costs itself, and it is told", [](FakeBmc& b) { b.readings[1] = {0xff}; },
       "2 FAN1 0 2\n312 W\nsensors: BMC: Get Sensor Reading: completion code 0xff (sensor CPU1 Temp)\n"},
      {"no DCMI", [](FakeBmc& b) { b.dcmi = {0xc1}; }, "1 CPU1 Temp 57 0\n2 FAN1 0 2\n"},
      {"DCMI that measures nothing", [](FakeBmc& b) { b.dcmi[18] = 0; }, "1 CPU1 Temp 57 0\n2 FAN1 0 2\n"},
      {"DCMI that is something else",
       [](FakeBmc& b) {
         b.dcmi = {0, 1, 2};
       },
       "1 CPU1 Temp 57 0\n2 FAN1 0 2\ndcmi: BMC: DCMI Get Power Reading: not an answer of DCMI\n"},
      {"a reservation that is lost is made again", [](FakeBmc& b) { b.lost = 2; },
       "1 CPU1 Temp 57 0\n2 FAN1 0 2\n312 W\n"},
      {"lost for ever", [](FakeBmc& b) { b.lost = 1000; }, "312 W\nsensors: BMC: Get SDR: completion code 0xc5\n"},
      {"a record that is cut", [](FakeBmc& b) { b.records[1].resize(30); },
       "1 CPU1 Temp 57 0\n312 W\nsensors: BMC: Get SDR: record 0x1 is cut after 32 bytes\n"},
      {"a record that is refused behind its header costs itself", [](FakeBmc& b) { b.refused = 0; },
       "2 FAN1 0 2\n312 W\nsensors: BMC: Get SDR: completion code 0xff\n"},
      {"DCMI that is not supported now", [](FakeBmc& b) { b.dcmi = {0xd5}; }, "1 CPU1 Temp 57 0\n2 FAN1 0 2\n"},
      {"no answer at all: not asked for each sensor", [](FakeBmc& b) { b.silent = 0x02; },
       "sensors: no answer\ndcmi: no answer\n"},
      {"no answer for a sensor", [](FakeBmc& b) { b.silent = 0x2d; }, "312 W\nsensors: no answer (sensor CPU1 Temp)\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto fake = usual();
    c.change(fake);
    Bmc bmc([&fake](std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
      return fake(netfn, lun, command, data);
    });
    Readings readings;
    bmc.read(readings);
    EXPECT_EQ(text_of(readings), c.text);
  }
}

// Firmware whose list goes round is no endless read.
TEST(IpmiBmc, AListWithoutAnEnd) {
  auto fake = usual();
  Bmc bmc([&fake](std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
    auto answer = fake(netfn, lun, command, data);
    if (command == 0x23 && answer->size() > 2) (*answer)[1] = (*answer)[2] = 0;
    return answer;
  });
  Readings readings;
  bmc.read(readings);
  EXPECT_EQ(text_of(readings), "312 W\nsensors: BMC: the list of sensor records has no end\n");
}

TEST(IpmiBmc, TheListIsReadAgainWhenItChanged) {
  auto fake = usual();
  Bmc bmc([&fake](std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
    return fake(netfn, lun, command, data);
  });
  Readings readings;
  bmc.read(readings);
  const int once = fake.asked_records;
  bmc.read(readings);
  EXPECT_EQ(fake.asked_records, once);
  fake.records[0] = full({.name = "CPU Temp"});
  fake.stamp = 2;
  bmc.read(readings);
  EXPECT_GT(fake.asked_records, once);
  EXPECT_THAT(text_of(readings), testing::HasSubstr("1 CPU Temp 57 0"));
}

// What it refused once is asked for again after ten minutes, and not before.
TEST(IpmiBmc, WhatWasRefusedIsAskedForAgain) {
  auto fake = usual();
  fake.dcmi = {0xd6};
  fake.refused = 1;
  std::int64_t now = 0;
  Bmc bmc([&fake](std::uint8_t netfn, std::uint8_t lun, std::uint8_t command,
                  std::span<const std::uint8_t> data) { return fake(netfn, lun, command, data); },
          [&now] { return now; });
  const auto at = [&](std::int64_t seconds) {
    now = seconds * 1'000'000'000;
    Readings readings;
    bmc.read(readings);
    return text_of(readings);
  };
  const auto partly = "1 CPU1 Temp 57 0\nsensors: BMC: Get SDR: completion code 0xff\n";
  EXPECT_EQ(at(10), partly);
  fake.dcmi = usual().dcmi;
  fake.refused.reset();
  const int records = fake.asked_records;
  EXPECT_EQ(at(20), partly);
  EXPECT_EQ(at(600), partly);
  EXPECT_EQ(fake.asked_records, records);
  EXPECT_EQ(fake.asked_power, 1);
  EXPECT_EQ(at(611), "1 CPU1 Temp 57 0\n2 FAN1 0 2\n312 W\n");
  // Who has measured and refuses for a while is told, and asked every time.
  fake.dcmi = {0xd5};
  EXPECT_EQ(at(621), "1 CPU1 Temp 57 0\n2 FAN1 0 2\ndcmi: BMC: DCMI Get Power Reading: completion code 0xd5\n");
  fake.dcmi = usual().dcmi;
  EXPECT_EQ(at(631), "1 CPU1 Temp 57 0\n2 FAN1 0 2\n312 W\n");
}

// A BMC that hangs in a command is not up.
TEST(Ipmi, ABmcThatHangs) {
  FakeClock clock;
  const Host host({}, &clock);
  std::promise<void> release;
  // A helper that hangs may outlive the collector.
  const auto hangs = std::make_shared<std::atomic<bool>>(false);
  const auto collector = make_ipmi(
      host, [fake = std::make_shared<FakeBmc>(usual()), hangs, released = release.get_future().share()](
                std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
        if (*hangs) released.wait();
        return (*fake)(netfn, lun, command, data);
      });
  BatchWriter writer{"ipmi"};
  const auto after = [&](std::int64_t seconds) {
    clock.advance_ns(seconds * 1'000'000'000);
    writer.begin(clock.boot_ns());
    const auto outcome = collector->collect(writer);
    return exposition(*writer.finish(outcome, 0, 0));
  };
  EXPECT_THAT(after(1), testing::HasSubstr("ipmi_up{collector=\"ipmi\"} 1\n"));
  *hangs = true;
  after(61);
  const auto text = after(61);
  EXPECT_THAT(text, testing::HasSubstr("ipmi_up{collector=\"ipmi\"} 0\nipmi_up{collector=\"dcmi\"} 0\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("celsius{")));
  release.set_value();
}

TEST(Ipmi, WithoutABmc) {
  EXPECT_EQ(run_collector("ipmi", {}).error, "absent: ipmi: only on the running system");
  const auto ask = ask_device("/nonexistent/ipmi0");
  ASSERT_FALSE(ask);
  EXPECT_EQ(ask.error().text, "/nonexistent/ipmi0: No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace vitald::ipmi
