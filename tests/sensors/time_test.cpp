// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/sensors/run_collector.h"

namespace vitald {

namespace {
// Every program has one time zone; the test's is put back.
class Zone {
 public:
  explicit Zone(const char* tz) {
    if (const char* old = getenv("TZ")) old_ = old;
    setenv("TZ", tz, 1);
    tzset();
  }
  ~Zone() {
    if (old_) setenv("TZ", old_->c_str(), 1);
    else unsetenv("TZ");
    tzset();
  }

 private:
  std::optional<std::string> old_;
};
}  // namespace

TEST(Time, Zones) {
  struct Case {
    const char *tz, *text;
  };
  // POSIX notation: the number counts west of Greenwich, so that no zone files are needed.
  const Case cases[] = {
      {"UTC0", "node_time_seconds 1700000000.25\nnode_time_zone_offset_seconds{time_zone=\"UTC\"} 0\n"},
      {"CET-1CEST", "node_time_seconds 1700000000.25\nnode_time_zone_offset_seconds{time_zone=\"CET\"} 3600\n"},
      {"<-0330>3:30", "node_time_seconds 1700000000.25\nnode_time_zone_offset_seconds{time_zone=\"-0330\"} -12600\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.tz);
    const Zone zone(c.tz);
    CollectorFixture f("time");
    f.clock.wall = 1'700'000'000'250'000'000;
    const auto got = f.run();
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, "");
  }
}

namespace {
// A zone of one offset as zic(8) writes it: tzfile(5), version 2, without transitions.
void write_zone(const std::string& name, int hours) {
  const std::string header = "TZif2" + std::string(15 + 4 * 4, '\0') + std::string("\0\0\0\1\0\0\0\4", 8);
  const int offset_s = hours * 3600;
  const std::string type{0, 0, static_cast<char>(offset_s >> 8), static_cast<char>(offset_s & 0xff), 0, 0};
  const auto block = header + type + name + std::string(1, '\0');
  std::ofstream("/etc/new-zone") << block << block << '\n' << name << -hours << '\n';
  std::filesystem::rename("/etc/new-zone", "/etc/localtime");
}
}  // namespace

// timedatectl set-timezone, while we run. In a mount namespace of a child, whose /etc is empty.
TEST(Time, AnotherZone) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/etc", "tmpfs", 0, nullptr) != 0)
      _exit(77);
    unsetenv("TZ");
    CollectorFixture f("time");
    write_zone("AAA", 1);
    const bool before = f.run().text.find("time_zone=\"AAA\"} 3600\n") != std::string::npos;
    write_zone("BBB", 2);
    const auto text = f.run().text;
    _exit(!before ? 2 : text.find("time_zone=\"BBB\"} 7200\n") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespace to be had";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Time, Clocksources) {
  const Zone zone("UTC0");
  const std::string folder = "sys/devices/system/clocksource/";
  CollectorFixture f("time", {{folder + "clocksource0/available_clocksource", "tsc hpet acpi_pm \n"},
                              {folder + "clocksource0/current_clocksource", "tsc\n"},
                              {folder + "clocksource/current_clocksource", "not one of them"}});
  const std::string now = "node_time_seconds 1700000000\nnode_time_zone_offset_seconds{time_zone=\"UTC\"} 0\n";
  const std::string available =
      "node_time_clocksource_available_info{clocksource=\"tsc\",device=\"0\"} 1\n"
      "node_time_clocksource_available_info{clocksource=\"hpet\",device=\"0\"} 1\n"
      "node_time_clocksource_available_info{clocksource=\"acpi_pm\",device=\"0\"} 1\n";
  auto got = f.run();
  EXPECT_EQ(got.text, now + available + "node_time_clocksource_current_info{clocksource=\"tsc\",device=\"0\"} 1\n");
  EXPECT_EQ(got.error, "");
  f.write(folder + "clocksource0/current_clocksource", "hpet\n");  // the kernel no longer trusts the tsc
  EXPECT_EQ(f.run().text,
            now + available + "node_time_clocksource_current_info{clocksource=\"hpet\",device=\"0\"} 1\n");
}

}  // namespace vitald
