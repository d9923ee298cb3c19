// SPDX-License-Identifier: Apache-2.0
// libsensors reads the real /sys and nothing else. So a child gets a mount namespace of its own in which
// /sys/class and /sys/devices are a tree that the test wrote.
#define FUSE_USE_VERSION 31
#include <fmt/format.h>
#include <fuse.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "core/collector.h"
#include "core/os/fd.h"
#include "core/text/scan.h"
#include "sensors/hwmon/readings.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Machine {
 public:
  explicit Machine(const std::map<std::string, std::string>& files) {
    char name[] = "/tmp/vitald-sys-XXXXXX";
    root_ = mkdtemp(name);
    for (const auto* folder : {"class/hwmon", "devices"}) fs::create_directories(root_ + "/" + folder);
    for (const auto& [path, text] : files) write(path, text);
  }
  ~Machine() { fs::remove_all(root_); }
  Machine(const Machine&) = delete;

  void write(const std::string& path, const std::string& text) const {
    const auto full = root_ + "/" + path;
    fs::create_directories(fs::path(full).parent_path());
    if (text.starts_with("->")) fs::create_symlink(text.substr(2), full);
    else std::ofstream(full) << text;
  }
  [[nodiscard]] const std::string& root() const { return root_; }

  // Runs the collector once per step on this machine; the steps change it in between. All outputs, one after
  // the other, each after a line "run N".
  std::string run(std::string_view collector, const std::vector<std::function<void()>>& steps,
                  const std::string& config) const {
    int ends[2];
    if (pipe(ends) != 0) return "pipe";
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      const auto text = in_child(collector, steps, config);
      for (std::size_t at = 0; at < text.size();) {
        const auto n = write_some(ends[1], text, at);
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
      }
      _exit(0);
    }
    close(ends[1]);
    std::string text;
    char buf[4096];
    for (ssize_t n; (n = read(ends[0], buf, sizeof buf)) > 0;) text.append(buf, static_cast<std::size_t>(n));
    close(ends[0]);
    waitpid(child, nullptr, 0);
    return text;
  }

 private:
  static ssize_t write_some(int fd, const std::string& text, std::size_t at) {
    return ::write(fd, text.data() + at, text.size() - at);
  }
  std::string in_child(std::string_view collector, const std::vector<std::function<void()>>& steps,
                       const std::string& config) const {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "unshare";
    for (const auto* folder : {"class", "devices"})
      if (mount((root_ + "/" + folder).c_str(), (std::string("/sys/") + folder).c_str(), nullptr, MS_BIND | MS_REC,
                nullptr) != 0)
        return "mount";
    FakeClock clock;
    const Host host(Host::Roots(), &clock);
    Options options;
    for (const auto& entry : collector_list()) {
      if (entry.name != collector) continue;
      options.declare(entry.info->flags);
      if (!config.empty()) options.set("collector.sensors.config-file", config);
      auto made = entry.info->make(host, options);
      if (!made) return std::string(to_string(made.error().kind)) + ": " + made.error().text;
      BatchWriter writer{std::string(collector)};
      std::string text;
      for (std::size_t i = 0; i < steps.size(); ++i) {
        steps[i]();
        writer.begin(clock.boot_ns());
        const auto outcome = (*made)->collect(writer);
        const auto batch = writer.finish(outcome, 0, 0);
        text += fmt::format("run {}\n{}", i, exposition(*batch));
        if (!outcome) text += outcome.error().text + "\n";
        clock.advance_ns(60'000'000'000);
      }
      return text;
    }
    return "no such collector";
  }
  std::string root_;
};

// One chip whose attributes give another number at each reading, as registers do: 20, 21, 22 ... degrees. What is read
// is counted; temp2 is slow.
class CountingChip {
 public:
  static constexpr std::string_view kInputs[] = {"/temp1_input", "/temp2_input", "/temp3_input"};
  struct Counts {
    std::atomic<int> of[3];
  };
  explicit CountingChip(std::string at) : at_(std::move(at)) {
    counts_ =
        static_cast<Counts*>(mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    int ready[2];
    if (pipe(ready) != 0) return;
    pid_ = fork();
    if (pid_ == 0) _exit(serve(ready[1]));
    close(ready[1]);
    char one = 0;
    up_ = read(ready[0], &one, 1) == 1;
    close(ready[0]);
  }
  ~CountingChip() {
    umount2(at_.c_str(), MNT_DETACH);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    munmap(counts_, sizeof(Counts));
  }
  CountingChip(const CountingChip&) = delete;
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] int reads(int input) const { return counts_->of[input]; }

 private:
  static int number_of(const char* path) {
    const auto at = std::ranges::find(kInputs, std::string_view(path));
    return at == std::end(kInputs) ? -1 : static_cast<int>(at - std::begin(kInputs));
  }
  int serve(int ready) {
    ready_fd = ready;
    counts = counts_;
    fuse_operations ops{};
    ops.init = [](fuse_conn_info*, fuse_config*) -> void* {
      const char one = 1;
      return ::write(ready_fd, &one, 1) == 1 ? nullptr : nullptr;
    };
    ops.getattr = [](const char* path, struct stat* st, fuse_file_info*) {
      const std::string_view name = path;
      const bool link = name == "/device";
      if (name != "/" && name != "/name" && !link && number_of(path) < 0) return -ENOENT;
      st->st_mode = name == "/" ? S_IFDIR | 0755 : link ? S_IFLNK | 0777 : S_IFREG | 0444;
      st->st_nlink = 1;
      st->st_size = 4096;
      return 0;
    };
    ops.readlink = [](const char*, char* buffer, std::size_t size) {
      buffer[std::string_view("/sys/devices/platform/nct6775.656").copy(buffer, size - 1)] = 0;
      return 0;
    };
    ops.readdir = [](const char*, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*, fuse_readdir_flags) {
      for (const std::string_view name : {"name", "device", "temp1_input", "temp2_input", "temp3_input"}) {
        struct stat st {};
        st.st_mode = name == "device" ? S_IFLNK : S_IFREG;  // libsensors looks at nothing but files
        fill(buffer, name.data(), &st, 0, {});
      }
      return 0;
    };
    ops.open = [](const char*, fuse_file_info* info) {
      info->direct_io = 1;
      return 0;
    };
    ops.read = [](const char* path, char* buffer, std::size_t size, off_t offset, fuse_file_info*) {
      if (offset != 0) return 0;
      std::string text = "nct6779\n";
      if (const int n = number_of(path); n >= 0) {
        if (n == 1) usleep(100'000);
        text = fmt::format("{}\n", 1000 * (20 + counts->of[n]++));
      }
      return static_cast<int>(text.copy(buffer, size));
    };
    char name[] = "chip", foreground[] = "-f";
    char* argv[] = {name, foreground, at_.data(), nullptr};
    return fuse_main(3, argv, &ops, nullptr);
  }
  static inline int ready_fd = -1;
  static inline Counts* counts = nullptr;
  std::string at_;
  Counts* counts_ = nullptr;
  pid_t pid_ = -1;
  bool up_ = false;
};

// A Super-I/O chip on the ISA bus and a CPU, as the kernel shows them.
std::map<std::string, std::string> board() {
  const std::string nct = "devices/platform/nct6775.656/", cpu = "devices/platform/coretemp.0/";
  return {
      {"class/hwmon/hwmon0", "->../../devices/platform/nct6775.656/hwmon/hwmon0"},
      {nct + "subsystem", "->../../../bus/platform"},
      {nct + "hwmon/hwmon0/device", "->../../../nct6775.656"},
      {nct + "hwmon/hwmon0/name", "nct6779\n"},
      {nct + "hwmon/hwmon0/in1_input", "1000\n"},
      {nct + "hwmon/hwmon0/in1_min", "900\n"},
      {nct + "hwmon/hwmon0/in1_max", "1100\n"},
      {nct + "hwmon/hwmon0/fan2_input", "1098\n"},
      {nct + "hwmon/hwmon0/fan2_min", "600\n"},
      {nct + "hwmon/hwmon0/temp3_input", "127000\n"},
      {nct + "hwmon/hwmon0/temp3_max", "80000\n"},
      {nct + "hwmon/hwmon0/temp7_input", "30000\n"},
      {nct + "hwmon/hwmon0/temp7_fault", "1\n"},
      {nct + "hwmon/hwmon0/humidity1_input", "45000\n"},
      {nct + "hwmon/hwmon0/intrusion0_alarm", "1\n"},
      {nct + "hwmon/hwmon0/cpu0_vid", "1350\n"},
      // An old driver: its attributes are the device's.
      {"class/hwmon/hwmon2", "->../../devices/platform/aem.0/hwmon/hwmon2"},
      {"devices/platform/aem.0/subsystem", "->../../../bus/platform"},
      {"devices/platform/aem.0/hwmon/hwmon2/device", "->../../../aem.0"},
      {"devices/platform/aem.0/name", "aem2\n"},
      {"devices/platform/aem.0/power1_average", "180000000\n"},
      {"class/hwmon/hwmon1", "->../../devices/platform/coretemp.0/hwmon/hwmon1"},
      {cpu + "subsystem", "->../../../bus/platform"},
      {cpu + "hwmon/hwmon1/device", "->../../../coretemp.0"},
      {cpu + "hwmon/hwmon1/name", "coretemp\n"},
      {cpu + "hwmon/hwmon1/temp1_input", "55000\n"},
      {cpu + "hwmon/hwmon1/temp1_max", "84000\n"},
      {cpu + "hwmon/hwmon1/temp1_max_hyst", "80000\n"},
      {cpu + "hwmon/hwmon1/temp1_crit", "100000\n"},
      {cpu + "hwmon/hwmon1/temp1_label", "Package id 0\n"},
  };
}

constexpr const char* kConfig = R"(
chip "nct6779-*"
  label in1 "+12V"
  compute in1 @*12, @/12
  label fan2 "Rear Fan"
  ignore temp3
)";

const std::string kCpuFile = "devices/platform/coretemp.0/hwmon/hwmon1/temp1_input";
const std::string kCpu = "{chip=\"platform_coretemp_0\",label=\"Package id 0\",sensor=\"temp1\"";
const std::string kRail = "{chip=\"platform_nct6775_656\",label=\"+12V\",sensor=\"in1\"";

TEST(MountNamespace, WhatLibsensorsComputes) {
  if (geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  const Machine machine(board());
  const auto config = machine.root() + "/sensors.conf";
  std::ofstream(config) << kConfig;
  const auto text = machine.run("sensors", {[] {}}, config);
  EXPECT_THAT(text, HasSubstr("vitald_sensor_voltage_volts" + kRail + "} 12\n"));
  EXPECT_THAT(text, HasSubstr("vitald_sensor_state" + kRail + ",state=\"ok\"} 1\n")) << "the limits are computed too";
  EXPECT_THAT(
      text,
      HasSubstr("vitald_sensor_fan_rpm{chip=\"platform_nct6775_656\",label=\"Rear Fan\",sensor=\"fan2\"} 1098\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "vitald_sensor_humidity_ratio{chip=\"platform_nct6775_656\",label=\"humidity1\",sensor=\"humidity1\"} 0.45"));
  EXPECT_THAT(text, HasSubstr("vitald_sensor_temperature_celsius" + kCpu + "} 55\n"));
  EXPECT_THAT(text, HasSubstr("sensor=\"intrusion0\",state=\"warning\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "vitald_sensor_voltage_volts{chip=\"platform_nct6775_656\",label=\"cpu0_vid\",sensor=\"cpu0\"} 1.35\n"));
  EXPECT_THAT(text,
              HasSubstr("vitald_sensor_power_watts{chip=\"platform_aem_0\",label=\"power1\",sensor=\"power1\"} 180\n"));
  // 127 degrees of a pin that is connected to nothing
  EXPECT_THAT(text, Not(HasSubstr("label=\"temp3\",sensor=\"temp3\"} 127")));
  EXPECT_THAT(text, Not(HasSubstr("sensor=\"temp3\",state")));
  EXPECT_THAT(text,
              HasSubstr("vitald_sensor_info{adapter=\"ISA adapter\",chip=\"platform_nct6775_656\",computed=\"true\","
                        "ignored=\"false\",label=\"+12V\",libsensors_chip=\"nct6779-isa-0290\",sensor=\"in1\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("vitald_sensor_info{adapter=\"ISA adapter\",chip=\"platform_nct6775_656\",computed=\"false\","
                        "ignored=\"true\",label=\"temp3\",libsensors_chip=\"nct6779-isa-0290\",sensor=\"temp3\"} 1\n"));
  // A broken sensor has a state but no value.
  EXPECT_THAT(text, HasSubstr("sensor=\"temp7\",state=\"fault\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("label=\"temp7\",sensor=\"temp7\"} 30")));
}

TEST(MountNamespace, TheSameKeysAsHwmon) {
  if (geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  const Machine machine(board());
  const auto raw = machine.run("hwmon", {[] {}}, "");
  for (const auto* key :
       {"{chip=\"platform_nct6775_656\",sensor=\"in1\"} 1\n", "{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 55\n",
        "{chip=\"platform_nct6775_656\",sensor=\"temp3\"} 127\n"})
    EXPECT_THAT(raw, HasSubstr(key));
}

// As two workers of one agent, which are asked at the same moments.
TEST(MountNamespace, OneReadingForHwmonAndSensors) {
  if (geteuid() != 0 || access("/dev/fuse", W_OK) != 0) GTEST_SKIP() << "mounting FUSE needs root and /dev/fuse";
  const std::string device = "devices/platform/nct6775.656/";
  const Machine machine({{"class/hwmon/hwmon0", "->../../devices/platform/nct6775.656/hwmon/hwmon0"},
                         {device + "subsystem", "->../../../bus/platform"},
                         {device + "hwmon/hwmon0/below", ""}});
  const CountingChip chip(machine.root() + "/" + device + "hwmon/hwmon0");
  ASSERT_TRUE(chip.up());
  machine.write("sensors.conf", "chip \"nct6779-*\"\n  compute temp3 @*2+1, (@-1)/2\n");

  const Fd memory(memfd_create("readings", 0));
  ASSERT_EQ(ftruncate(memory.get(), static_cast<off_t>(HwmonReadings::kBytes)), 0);
  setenv(HwmonReadings::kVariable, fmt::format("{}", memory.get()).c_str(), 1);
  constexpr int kRounds = 5;
  constexpr auto kInterval = std::chrono::milliseconds(700);  // beyond the half second that a reading is of one round
  const auto begin = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  std::vector<std::function<void()>> steps;
  for (int i = 0; i < kRounds; ++i) steps.emplace_back([=] { std::this_thread::sleep_until(begin + i * kInterval); });
  std::string raw;
  std::thread other([&] { raw = machine.run("hwmon", steps, ""); });
  std::array<int, 3> first{};
  std::thread counter([&] {
    std::this_thread::sleep_until(begin + kInterval / 2);
    for (int i = 0; i < 3; ++i) first[static_cast<std::size_t>(i)] = chip.reads(i);
  });
  const auto computed = machine.run("sensors", steps, machine.root() + "/sensors.conf");
  other.join();
  counter.join();
  unsetenv(HwmonReadings::kVariable);

  EXPECT_EQ(chip.reads(0) - first[0], kRounds - 1) << raw << computed;
  EXPECT_EQ(chip.reads(1) - first[1], 0) << "read every 10 s";
  EXPECT_EQ(chip.reads(2) - first[2], kRounds - 1);
  const auto values = [](const std::string& text, const std::string& family, const std::string& sensor) {
    std::vector<double> out;
    for (std::string_view rest = text; !rest.empty();) {
      const auto line = take_line(rest);
      if (line.starts_with(family + "{") && line.find("sensor=\"" + sensor + "\"") != line.npos)
        out.push_back(parse_double(line.substr(line.rfind(' ') + 1)).value_or(-1));
    }
    return out;
  };
  for (const auto* sensor : {"temp1", "temp2", "temp3"}) {
    auto want = values(raw, "node_hwmon_temp_celsius", sensor);
    if (std::string_view(sensor) == "temp3")
      for (auto& v : want) v = v * 2 + 1;
    const auto got = values(computed, "vitald_sensor_temperature_celsius", sensor);
    ASSERT_EQ(want.size(), std::size_t{kRounds}) << raw;
    ASSERT_EQ(got.size(), want.size()) << computed;
    // In the first round one may have read before the other one was there.
    for (std::size_t i = 1; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-9) << sensor << " " << i;
  }
}

TEST(MountNamespace, AReaderThatIsKilledLeavesTheAttributeToOthers) {
  if (geteuid() != 0 || access("/dev/fuse", W_OK) != 0) GTEST_SKIP() << "mounting FUSE needs root and /dev/fuse";
  const Machine machine(std::map<std::string, std::string>{{"class/hwmon/hwmon0/below", ""}});
  const HwmonChip id{machine.root() + "/class/hwmon/hwmon0", "", "", ""};
  const CountingChip chip(id.directory);
  ASSERT_TRUE(chip.up());
  const Fd memory(memfd_create("readings", 0));
  ASSERT_EQ(ftruncate(memory.get(), static_cast<off_t>(HwmonReadings::kBytes)), 0);
  setenv(HwmonReadings::kVariable, fmt::format("{}", memory.get()).c_str(), 1);
  const auto read = [&] {
    std::int64_t paced_ns = 0;
    const HwmonReadings readings;
    SharedAttribute attribute(readings, id, id.directory + "/temp2_input");
    const auto text = attribute.read(paced_ns);
    return text ? std::string(*text) : text.error().text;
  };
  const pid_t child = fork();
  if (child == 0) {
    read();
    _exit(0);
  }
  usleep(50'000);  // of the 100 ms that it takes
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "it was too quick";
  EXPECT_EQ(read(), "21000\n");
  unsetenv(HwmonReadings::kVariable);
}

TEST(MountNamespace, StatesFollowWithHysteresis) {
  if (geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  const Machine machine(board());
  const auto heat = [&](const char* millidegrees) {
    return [&machine, millidegrees] { machine.write(kCpuFile, millidegrees); };
  };
  auto text = machine.run("sensors", {heat("55000"), heat("90000"), heat("101000"), heat("82000"), heat("79000")}, "");
  for (const auto* state : {"ok", "warning", "critical", "warning", "ok"}) {
    const auto at = text.find("run ");
    const auto end = text.find("run ", at + 1);
    const auto one = text.substr(at, end - at);
    EXPECT_THAT(one, HasSubstr("vitald_sensor_state" + kCpu + ",state=\"" + state + "\"} 1\n"));
    text.erase(0, end);
  }
}

TEST(MountNamespace, ChipsThatComeAndGo) {
  if (geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  auto files = board();
  std::erase_if(files, [](const auto& file) { return file.first == "class/hwmon/hwmon1"; });
  const Machine machine(files);
  const auto text = machine.run(
      "sensors",
      {[] {}, [&] { machine.write("class/hwmon/hwmon1", "->../../devices/platform/coretemp.0/hwmon/hwmon1"); },
       [&] { fs::remove(machine.root() + "/class/hwmon/hwmon0"); }},
      "");
  const auto second = text.find("run 1"), third = text.find("run 2");
  ASSERT_NE(third, std::string::npos) << text;
  EXPECT_THAT(text.substr(0, second), Not(HasSubstr("coretemp")));
  EXPECT_THAT(text.substr(second, third - second), HasSubstr("vitald_sensor_temperature_celsius" + kCpu + "} 55\n"));
  EXPECT_THAT(text.substr(third), Not(HasSubstr("nct6775")));
  EXPECT_THAT(text.substr(third), HasSubstr("vitald_sensor_temperature_celsius" + kCpu + "} 55\n"));
}

TEST(MountNamespace, NoChips) {
  if (geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  EXPECT_EQ(Machine({}).run("sensors", {[] {}}, ""),
            "absent: /sys/class/hwmon: this machine has no hardware monitoring chip");
}

}  // namespace
}  // namespace vitald
