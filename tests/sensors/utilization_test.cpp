// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/deriver_cases.h"

namespace vitald {

std::string ratio(std::string_view resource, std::string_view value) {
  return "vitald_utilization_ratio{resource=\"" + std::string(resource) + "\"} " + std::string(value) + "\n";
}
std::string cpu(std::string_view cpu, std::string_view mode, std::string_view seconds) {
  return "node_cpu_seconds_total{cpu=\"" + std::string(cpu) + "\",mode=\"" + std::string(mode) + "\"} " +
         std::string(seconds) + "\n";
}
std::string link(std::string_view device, std::string_view in, std::string_view out, std::string_view speed = "") {
  const auto label = "{device=\"" + std::string(device) + "\"} ";
  return "node_network_receive_bytes_total" + label + std::string(in) + "\nnode_network_transmit_bytes_total" + label +
         std::string(out) + "\n" +
         (speed.empty() ? "" : "node_network_speed_bytes" + label + std::string(speed) + "\n");
}
std::string disk(std::string_view device, std::string_view seconds) {
  return "node_disk_io_time_seconds_total{device=\"" + std::string(device) + "\"} " + std::string(seconds) + "\n";
}

TEST(Utilization, Cases) {
  const auto four = [](std::string_view user, std::string_view idle, std::string_view iowait) {
    return cpu("0", "user", user) + cpu("0", "idle", idle) + cpu("0", "iowait", iowait);
  };
  const auto over = [](std::string_view seconds) {
    return "vitald_utilization_over_seconds{resource=\"cpu\"} " + std::string(seconds) + "\n";
  };
  check_deriver(
      "utilization",
      {
          {"nothing is known", {{1, "", ""}, {11, "up 1\n", ""}}},
          {"CPU between two cycles; waiting for I/O is idle",
           {{1, four("100", "50", "0"), ""},
            {11, four("102.5", "55", "2.5"), ratio("cpu", "0.25")},
            {21, four("112.5", "55", "2.5"), ratio("cpu", "1")}}},
          {"all CPUs count the same",
           {{1, cpu("0", "user", "1") + cpu("0", "idle", "1") + cpu("1", "user", "1") + cpu("1", "idle", "1"), ""},
            {11, cpu("0", "user", "11") + cpu("0", "idle", "1") + cpu("1", "user", "1") + cpu("1", "idle", "11"),
             ratio("cpu", "0.5")}}},
          {"a CPU that comes counts from the next cycle on, one that goes no more",
           {{1, cpu("0", "user", "1") + cpu("0", "idle", "1"), ""},
            {11, cpu("0", "user", "1") + cpu("0", "idle", "11") + cpu("1", "user", "500") + cpu("1", "idle", "0"),
             ratio("cpu", "0")},
            {21, cpu("1", "user", "505") + cpu("1", "idle", "5"), ratio("cpu", "0.5")}}},
          {"a CPU that was set back is left out once",
           {{1, cpu("0", "user", "10") + cpu("0", "idle", "10"), ""},
            {11, cpu("0", "user", "1") + cpu("0", "idle", "1"), ""},
            {21, cpu("0", "user", "2") + cpu("0", "idle", "4"), ratio("cpu", "0.25")}}},
          {"the same numbers again bring nothing new",
           {{1, four("100", "50", "0"), ""},
            {11, four("105", "55", "0"), ratio("cpu", "0.5")},
            {11, four("105", "55", "0"), ratio("cpu", "0.5")},
            {11.5, four("105.5", "55", "0"), ratio("cpu", "0.5")},
            {21, four("107.5", "62.5", "0"), ratio("cpu", "0.25")}}},
          {"numbers that are gone are forgotten",
           {{1, four("100", "50", "0"), ""},
            {11, four("105", "55", "0"), ratio("cpu", "0.5")},
            {21, "", ""},
            {31, four("115", "65", "0"), ""}}},
          {"which time it is the mean of",
           {{1, four("100", "50", "0"), over("0"), {}, true},
            {11, four("105", "55", "0"), ratio("cpu", "0.5") + over("10"), {}, true},
            {11.5, four("105.5", "55", "0"), ratio("cpu", "0.5") + over("10"), {}, true},
            {12.5, four("106.5", "55", "0"), ratio("cpu", "1") + over("1.5"), {}, true},
            {13, "", "", {}, true}}},
          {"the mean of more than five minutes is no number of now, of none of them",
           {{1, four("100", "50", "0") + disk("sda", "10") + link("eth0", "0", "0", "100"), ""},
            {301, four("250", "200", "0") + disk("sda", "160") + link("eth0", "15000", "0", "100"),
             ratio("cpu", "0.5") + ratio("disk", "0.5") + ratio("network", "0.5")},
            {602, four("400", "351", "0") + disk("sda", "310") + link("eth0", "30000", "0", "100"), ""},
            {612, four("400", "361", "0") + disk("sda", "310") + link("eth0", "30000", "0", "100"),
             ratio("cpu", "0") + ratio("disk", "0") + ratio("network", "0")}}},
          {"memory is known at once",
           {{1, "node_memory_MemTotal_bytes 1000\nnode_memory_MemAvailable_bytes 250\n", ratio("memory", "0.75")},
            {2, "node_memory_MemTotal_bytes 1000\n", ""},
            {3, "node_memory_MemTotal_bytes 0\nnode_memory_MemAvailable_bytes 0\n", ""}}},
          {"the busiest disk",
           {{1, disk("sda", "10") + disk("sdb", "10"), ""},
            {11, disk("sda", "11") + disk("sdb", "15"), ratio("disk", "0.5")},
            {21, disk("sda", "11") + disk("sdb", "15"), ratio("disk", "0")},
            {31, disk("sda", "25") + disk("sdb", "15"), ratio("disk", "1")},  // the kernel rounds up now and then
            {41, disk("sdc", "25"), ""}}},
          {"the fuller direction of the fullest link",
           {{1, link("eth0", "0", "0", "100") + link("eth1", "0", "0", "1000"), ""},
            {11, link("eth0", "100", "500", "100") + link("eth1", "1000", "0", "1000"), ratio("network", "0.5")},
            {21, link("eth0", "100", "500", "100") + link("eth1", "3000", "0", "1000"), ratio("network", "0.2")}}},
          {"a link whose speed nobody knows",
           {{1, link("eth0", "0", "0", "-125000") + link("lo", "0", "0") + link("eth1", "0", "0", "0"), ""},
            {11, link("eth0", "9", "9", "-125000") + link("lo", "9", "9") + link("eth1", "9", "9", "0"), ""}}},
      });
}

// Links of containers come and go under ever new names.
TEST(Utilization, EverNewNamesDoNotPileUp) {
  std::vector<DeriverCycle> cycles;
  for (int i = 0; i < 25; ++i) {
    std::string given = cpu("0", "user", std::to_string(i * 5)) + cpu("0", "idle", std::to_string(i * 5));
    for (int n = 0; n < 1000; ++n) given += disk("d" + std::to_string(i * 1000 + n), "1");
    cycles.push_back({1.0 + i * 10, given, ""});
  }
  std::string error;
  const auto got = run_deriver("utilization", cycles, error);
  EXPECT_EQ(got[1], ratio("cpu", "0.5"));
  EXPECT_EQ(got.back(), ratio("cpu", "0.5"));
  EXPECT_LE(std::count(got.begin(), got.end(), ""), 4) << "where names are counted anew";
}

}  // namespace vitald
