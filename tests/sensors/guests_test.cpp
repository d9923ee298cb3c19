// SPDX-License-Identifier: Apache-2.0
// What is derived of guests: text in, text out.
#include <cmath>

#include "tests/sensors/deriver_cases.h"

namespace vitald {
namespace {

// Of one guest, as the libvirt collector says it.
std::string guest(int id, double read_s, const std::string& more) {
  return "libvirt_up 1\nvitald_libvirt_read_boot_seconds " + std::to_string(read_s) +
         "\nvitald_guest_id{domain=\"web\",uuid=\"u\"} " + std::to_string(id) + "\n" + more;
}
std::string memory(const std::string& bytes) {
  return "libvirt_domain_info_memory_usage_bytes{domain=\"web\",uuid=\"u\"} " + bytes + "\n";
}
std::string reads(const std::string& device, const std::string& bytes) {
  return "libvirt_domain_block_stats_read_bytes_total{domain=\"web\",uuid=\"u\",target_device=\"" + device + "\"} " +
         bytes + "\n";
}
std::string want(int readings, const std::string& more) {
  return "vitald_guest_readings_total " + std::to_string(readings) + "\n" + more;
}
const std::string kRead = "vitald_guest_disk_read_bytes_total{domain=\"web\",uuid=\"u\"} ";
const std::string kChange = "vitald_guest_memory_change_bytes_per_second{domain=\"web\",uuid=\"u\"} ";
const std::string kTrend = "vitald_guest_memory_trend_degrees{domain=\"web\",uuid=\"u\"} ";

}  // namespace

TEST(Guests, Cases) {
  check_deriver(
      "guests",
      {
          {"no libvirt", {{1, "node_load1 1\n", ""}}},
          {"libvirt does not answer", {{1, "libvirt_up 0\n", want(0, "")}}},
          // 1024.5 KiB a second is 89.94 degrees, not the 45.3 of a sheet that was written by hand.
          {"a rate from the second reading on, and it stays until the next",
           {{10, guest(1, 10, memory("1048576")), want(1, "")},
            {15, guest(1, 10, memory("1048576")), want(2, "")},
            {20, guest(1, 20, memory("11539456")), want(3, kChange + "1049088\n" + kTrend + "89.94407441550315\n")},
            {25, guest(1, 20, memory("11539456")), want(4, kChange + "1049088\n" + kTrend + "89.94407441550315\n")},
            {30, guest(1, 30, memory("11539456")), want(5, kChange + "0\n" + kTrend + "5.729577951308232e-11\n")}}},
          {"a busy guest that did not tell is no guest without memory",
           {{10, guest(1, 10, memory("1024")), want(1, "")},
            {20, guest(1, 20, ""), want(2, "")},
            {30, guest(1, 30, memory("21504")), want(3, kChange + "1024\n" + kTrend + "45.00000000002865\n")}}},
          {"the same batch again is no reading",
           {{10, guest(1, 10, memory("1024")), want(1, "")}, {10, guest(1, 10, memory("1024")), want(1, "")}}},
          {"started anew",
           {{10, guest(1, 10, memory("1024") + reads("vda", "100")), want(1, kRead + "100\n")},
            {20, guest(2, 20, memory("2048") + reads("vda", "120")), want(2, kRead + "120\n")}}},
          {"disks that come, go and come again",
           {{10, guest(1, 10, reads("vda", "100")), want(1, kRead + "100\n")},
            {20, guest(1, 20, reads("vda", "150") + reads("vdb", "7")), want(2, kRead + "157\n")},
            {30, guest(1, 30, reads("vda", "150")), want(3, kRead + "157\n")},
            {40, guest(1, 40, reads("vda", "151") + reads("vdb", "2")), want(4, kRead + "160\n")}}},
          {"labels without uuid",
           {{10, guest(1, 10, "libvirt_domain_info_memory_usage_bytes{domain=\"web\"} 1024\n"), want(1, "")},
            {11, guest(1, 11, "libvirt_domain_info_memory_usage_bytes{domain=\"web\"} 0\n"),
             want(2, kChange + "-1024\n" + kTrend + "-44.99999999997136\n")}}},
      });
}

}  // namespace vitald
