// SPDX-License-Identifier: Apache-2.0
// Interrupts' numbers that become another device's.
#include "sensors/bpf/irq_names.h"

#include <gtest/gtest.h>

#include <string>

#include "core/clock.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

TEST(IrqNames, WhoseANumberIs) {
  CollectorFixture tree("loadavg");
  FakeClock clock;
  const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""}, &clock);
  IrqNames names(host, 32);
  struct Step {
    const char* name;
    const char* actions;  // of the kernel; null: as before
    IrqNames::Seen seen;
    std::int64_t later_ns;
    const char* want;
    std::uint64_t want_ns;
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  const Step steps[] = {
      {"an older kernel", nullptr, {100, 1, "eth0"}, kSecond, "eth0", 100},
      {"the first on its line", "eth0-rx,eth0-tx\n", {150, 2, "eth0-tx"}, kSecond, "eth0-rx", 0},
      {"nothing new", "usb\n", {250, 2, "eth0-tx"}, kSecond, "eth0-rx", 100},
      {"another device", nullptr, {260, 3, "usb"}, kSecond, "usb", 0},
      {"goes on", nullptr, {300, 3, "usb"}, kSecond, "usb", 40},
      {"of the same place in memory", "disk\n", {310, 3, "usb"}, 61 * kSecond, "disk", 0},
      {"its handler is gone", "\n", {311, 4, "disk"}, kSecond, "disk", 1},
  };
  for (const auto& step : steps) {
    SCOPED_TRACE(step.name);
    clock.advance_ns(step.later_ns);
    if (step.actions) tree.write("sys/kernel/irq/24/actions", step.actions);
    const auto named = names.name(24, step.seen);
    EXPECT_EQ(named.name, step.want);
    EXPECT_EQ(named.ns, step.want_ns);
  }
}

}  // namespace
}  // namespace vitald
