// SPDX-License-Identifier: Apache-2.0
// GPUs of AMD and Intel: trees of sysfs as their drivers make them, what processes use of them, and one that sleeps.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "core/os/privileges.h"
#include "sensors/gpu/amd_metrics.h"
#include "sensors/gpu/drm_client.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

// As struct gpu_metrics_v1_3 and v1_4 lie in memory.
std::string amd_metrics(int content, std::uint64_t energy, std::uint64_t throttle, std::size_t size = 120) {
  std::string bytes(size, '\0');
  const auto put = [&bytes](std::size_t at, auto value) {
    if (bytes.size() >= at + sizeof value) std::memcpy(bytes.data() + at, &value, sizeof value);
  };
  put(0, static_cast<std::uint16_t>(size));
  put(2, static_cast<std::uint8_t>(1));
  put(3, static_cast<std::uint8_t>(content));
  put(24, energy);
  put(112, throttle);
  return bytes;
}

TEST(AmdMetrics, Cases) {
  struct Case {
    const char* name;
    std::string bytes;
    double joules;          // -1: none
    std::int64_t throttle;  // -1: none
  };
  const Case cases[] = {
      {"1.3", amd_metrics(3, 65536ULL * 250, 1), 250, 1},
      {"1.4 has no such throttling", amd_metrics(4, 65536, 7), 1, -1},
      {"a board that does not count", amd_metrics(3, 0, 0), -1, 0},
      {"all ones are none", amd_metrics(3, ~0ULL, ~0ULL), -1, -1},
      {"so are they of 32 bits", amd_metrics(3, 0xffffffff, 0), -1, 0},
      {"more than 32 bits", amd_metrics(3, 0x1'0000'0000, 0), 65536, 0},
      {"a version that is not known", amd_metrics(5, 65536, 1), -1, -1},
      {"an older one", amd_metrics(0, 65536, 1), -1, -1},
      {"shorter than it says", amd_metrics(3, 65536, 1).substr(0, 100), -1, -1},
      {"without the last member", amd_metrics(3, 65536, 1, 104), 1, -1},
      {"torn", amd_metrics(3, 65536, 1).substr(0, 3), -1, -1},
      {"empty", "", -1, -1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = parse_amd_metrics(c.bytes);
    EXPECT_DOUBLE_EQ(got.energy ? static_cast<double>(*got.energy) / 65536 : -1, c.joules);
    EXPECT_EQ(got.throttle ? static_cast<std::int64_t>(*got.throttle) : -1, c.throttle);
  }
}

TEST(AmdEnergy, CountsOnWhereTheCounterWraps) {
  constexpr std::uint64_t joule = 65536, wrap = 1ULL << 32;
  struct Step {
    const char* name;
    std::uint64_t units;
    std::optional<double> elapsed_s;
    double want;
  };
  AmdEnergy energy;
  for (const auto& step : std::initializer_list<Step>{
           {"begins", wrap - 100 * joule, std::nullopt, 65436},
           {"wraps", 200 * joule, 1, 65736},
           {"goes on", wrap - joule, 100, 131'071},
           {"wraps again", joule, 1, 131'073},
           {"was reset: nobody takes 65 kJ in a second", 0, 1, 0},
           {"goes on after that", wrap - joule, 1, 65535},
           {"was reset while it slept", 0, std::nullopt, 0},
           {"a counter of 64 bits", 10 * wrap, 1, 655'360},
           {"that was reset", 5 * joule, 1000, 5},
       }) {
    SCOPED_TRACE(step.name);
    EXPECT_DOUBLE_EQ(energy.joules(step.units, step.elapsed_s), step.want);
  }
}

std::string told(const DrmClient& client) {
  auto text = fmt::format("{} {} memory {}", client.pdev, client.id, client.memory_bytes());
  for (const auto& [name, engine] : client.engines) {
    text += " " + name;
    if (engine.busy_ns) text += fmt::format(" {} ns", *engine.busy_ns);
    if (engine.cycles) text += fmt::format(" {} of {}", *engine.cycles, engine.total_cycles.value_or(0));
  }
  return text;
}

TEST(DrmClient, Cases) {
  struct Case {
    const char* name;
    std::string_view text;
    std::string want;  // empty: none
  };
  const Case cases[] = {
      {"amdgpu, 6.1",
       "pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t1\ndrm-driver:\tamdgpu\npasid:\t32774\ndrm-pdev:\t0000:03:00.0\n"
       "drm-client-id:\t42\ndrm-memory-vram:\t2048 KiB\ndrm-memory-gtt: \t16 KiB\ndrm-memory-cpu: \t8 KiB\n"
       "drm-engine-gfx:\t1500000000 ns\ndrm-engine-capacity-gfx: 2\ndrm-engine-compute:\t0 ns\n",
       "0000:03:00.0 42 memory 2097152 compute 0 ns gfx 1500000000 ns"},
      {"resident goes before the older word",
       "drm-client-id: 1\ndrm-memory-vram: 10 KiB\ndrm-resident-vram: 1 MiB\ndrm-memory-vram: 20 KiB\n",
       " 1 memory 1048576"},
      {"xe",
       "drm-driver:     xe\ndrm-client-id:  3\ndrm-pdev:       0000:03:00.0\ndrm-resident-system:    4096\n"
       "drm-resident-gtt:       192 KiB\ndrm-resident-vram0:     23992 KiB\ndrm-cycles-rcs: 28257900\n"
       "drm-total-cycles-rcs:   7655183225\ndrm-engine-capacity-vcs: 2\n",
       "0000:03:00.0 3 memory 24567808 rcs 28257900 of 7655183225"},
      {"one that has no memory of its own", "drm-client-id: 7\ndrm-resident-system0: 4 KiB\ndrm-engine-render: 9 ns\n",
       " 7 memory 4096 render 9 ns"},
      {"no GPU's file", "pos:\t0\nflags:\t0100002\nmnt_id:\t9\n", ""},
      {"no client", "drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0\ndrm-engine-gfx: 5 ns\n", ""},
      {"a client that is no number", "drm-client-id: x\n", ""},
      {"numbers that are none",
       "drm-client-id: 1\ndrm-engine-gfx: many ns\ndrm-engine-dma: 5\ndrm-cycles-rcs: -1\ndrm-memory-vram: 5 GiB\n"
       "drm-resident-gtt: 18446744073709551615 KiB\n",
       " 1 memory 0"},
      {"torn", "drm-client-id: 1\ndrm-engine-gf", " 1 memory 0"},
      {"empty", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto client = parse_drm_client(c.text);
    EXPECT_EQ(client ? told(*client) : "", c.want);
  }
}

double number_of(const std::string& text, const std::string& series) {
  const auto at = text.find(series);
  return at == text.npos ? -1 : std::stod(text.substr(at + series.size()));
}

const std::string kPci = "sys/bus/pci/devices/0000:03:00.0/";
const std::string kGpu = "UUID=\"0123456789abcdef\",gpu=\"card0\"";

Tree amd() {
  return {{"sys/class/drm/card0/device", "->../../../bus/pci/devices/0000:03:00.0"},
          {"sys/class/drm/renderD128/device", "->../../../bus/pci/devices/0000:03:00.0"},
          {"sys/class/drm/card0-DP-1/status", "connected\n"},
          {kPci + "uevent", "DRIVER=amdgpu\nPCI_CLASS=38000\nPCI_SLOT_NAME=0000:03:00.0\n"},
          {kPci + "unique_id", "0123456789abcdef\n"},
          {kPci + "power/runtime_status", "active\n"},
          {kPci + "gpu_busy_percent", "97\n"},
          {kPci + "mem_info_vram_total", "17163091968\n"},
          {kPci + "mem_info_vram_used", "1490378752\n"},
          {kPci + "gpu_metrics", amd_metrics(3, 65536ULL * 1000, 1ULL << 32)},
          {kPci + "hwmon/hwmon5/power1_average", "213000000\n"},
          {kPci + "hwmon/hwmon5/temp1_label", "edge\n"},
          {kPci + "hwmon/hwmon5/temp1_input", "55000\n"},
          {kPci + "hwmon/hwmon5/temp2_label", "junction\n"},
          {kPci + "hwmon/hwmon5/temp2_input", "65261850\n"}};
}
std::string client(int id, std::uint64_t gfx_ns, int vram_kib) {
  return fmt::format(
      "drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0\ndrm-client-id: {}\ndrm-memory-vram: {} KiB\n"
      "drm-engine-gfx: {} ns\n",
      id, vram_kib, gfx_ns);
}
Tree with_programs(Tree tree) {
  // A program with its file twice, one that inherited it, and another's.
  for (const auto& [pid, unit] :
       std::initializer_list<std::pair<const char*, const char*>>{{"7", "game"}, {"8", "game"}, {"9", "render"}})
    tree[fmt::format("proc/{}/cgroup", pid)] = fmt::format("0::/system.slice/{}.service\n", unit);
  for (const auto* file : {"proc/7/fd/5", "proc/7/fd/6", "proc/8/fd/5", "proc/9/fd/3"})
    tree[file] = "->/dev/dri/renderD128";
  tree["proc/9/fd/1"] = "->/dev/null";
  for (const auto* file : {"proc/7/fdinfo/5", "proc/7/fdinfo/6", "proc/8/fdinfo/5"}) tree[file] = client(1, 0, 1024);
  tree["proc/9/fdinfo/3"] = client(2, 0, 2048);
  return tree;
}

TEST(DrmGpus, AbsentWithoutOne) {
  for (const auto& tree : {Tree{}, Tree{{"sys/class/drm/card0/device/uevent", "DRIVER=virtio-pci\n"}},
                           Tree{{"sys/class/drm/card0-DP-1/device/uevent", "DRIVER=amdgpu\n"}}})
    EXPECT_THAT(run_collector("drm_gpus", tree).error, HasSubstr("no card of amdgpu, i915 or xe"));
}

TEST(DrmGpus, Amd) {
  const auto run = run_collector("drm_gpus", amd());
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.problems, testing::IsEmpty());
  for (const auto* line : {"vitald_drm_gpu_info{UUID=\"0123456789abcdef\",driver=\"amdgpu\",gpu=\"card0\",pci_bus_id="
                           "\"0000:03:00.0\"} 1\n",
                           "vitald_drm_gpus{state=\"all\"} 1\n", "vitald_drm_gpus{state=\"asleep\"} 0\n"})
    EXPECT_THAT(run.text, HasSubstr(line));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_power_watts{" + kGpu + "} 213\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_temperature_celsius{" + kGpu + ",sensor=\"edge\"} 55\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("junction"))) << "65261.85 degrees are none";
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_busy_ratio{" + kGpu + "} 0.97\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_memory_bytes{" + kGpu + ",memory=\"vram\"} 17163091968\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_memory_used_bytes{" + kGpu + ",memory=\"vram\"} 1490378752\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("gtt"))) << "what it does not tell is absent";
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + kGpu + ",reason=\"temperature\"} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + kGpu + ",reason=\"power\"} 0\n"));
}

TEST(DrmGpus, Intel) {
  const std::string pci = "sys/bus/pci/devices/0000:00:02.0/", gpu = "UUID=\"0000:00:02.0\",gpu=\"card1\"";
  const auto run = run_collector("drm_gpus", {{"sys/class/drm/card1/device", "->../../../bus/pci/devices/0000:00:02.0"},
                                              {"sys/class/drm/card1/gt/gt0/throttle_reason_pl1", "1\n"},
                                              {"sys/class/drm/card1/gt/gt0/throttle_reason_thermal", "0\n"},
                                              {"sys/class/drm/card1/gt/gt1/throttle_reason_pl1", "0\n"},
                                              {pci + "uevent", "DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n"},
                                              {pci + "hwmon/hwmon2/energy1_input", "5000000\n"}});
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + gpu + ",reason=\"pl1\"} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + gpu + ",reason=\"thermal\"} 0\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("prochot")));
  EXPECT_THAT(run.text, Not(HasSubstr("vitald_gpu_power_watts")));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + gpu + "} 0\n")) << "it counts from here on";
}

TEST(DrmGpus, IntelXe) {
  const std::string pci = "sys/bus/pci/devices/0000:03:00.0/", gpu = "UUID=\"0000:03:00.0\",gpu=\"card0\"";
  Tree tree{{"sys/class/drm/card0/device", "->../../../bus/pci/devices/0000:03:00.0"},
            {"sys/class/drm/renderD128/device", "->../../../bus/pci/devices/0000:03:00.0"},
            {pci + "uevent", "DRIVER=xe\nPCI_SLOT_NAME=0000:03:00.0\n"},
            {pci + "tile0/gt0/freq0/throttle/reason_pl2", "1\n"},
            {pci + "tile0/gt0/freq0/throttle/reason_thermal", "0\n"},
            {pci + "tile1/gt0/freq0/throttle/reason_thermal", "1\n"},
            {"proc/7/cgroup", "0::/system.slice/game.service\n"},
            {"proc/7/fd/5", "->/dev/dri/renderD128"}};
  const auto cycles = [](int mine, int all) {
    return fmt::format("drm-client-id: 3\ndrm-pdev: 0000:03:00.0\ndrm-cycles-rcs: {}\ndrm-total-cycles-rcs: {}\n", mine,
                       all);
  };
  tree["proc/7/fdinfo/5"] = cycles(1000, 5000);
  CollectorFixture fixture("drm_gpus", tree);
  auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + gpu + ",reason=\"pl2\"} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{" + gpu + ",reason=\"thermal\"} 1\n")) << "its second tile";
  fixture.clock.advance_ns(4'000'000'000);
  fixture.write("proc/7/fdinfo/5", cycles(2000, 9000));  // a quarter of the time
  run = fixture.run();
  EXPECT_THAT(
      run.text,
      HasSubstr("vitald_gpu_engine_busy_seconds_total{UUID=\"0000:03:00.0\",engine=\"rcs\",gpu=\"card0\"} 1\n"));
}

TEST(DrmGpus, ProcessesByOwner) {
  CollectorFixture fixture("drm_gpus", with_programs(amd()));
  auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  const auto owner = [](const char* family, const char* name, const char* value, const char* engine = "") {
    return fmt::format("{}{{UUID=\"0123456789abcdef\",{}gpu=\"card0\",owner=\"{}.service\",owner_kind=\"unit\"}} {}\n",
                       family, engine, name, value);
  };
  const char* gfx = "engine=\"gfx\",";
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_clients{" + kGpu + "} 2\n"));
  EXPECT_THAT(run.text, HasSubstr(owner("vitald_owner_gpu_memory_bytes", "game", "1048576")))
      << "once, though open thrice";
  EXPECT_THAT(run.text, HasSubstr(owner("vitald_owner_gpu_memory_bytes", "render", "2097152")));
  EXPECT_THAT(run.text, HasSubstr(owner("vitald_owner_gpu_engine_seconds_total", "game", "0", gfx)));

  const auto second = [&](std::uint64_t game_ns, std::uint64_t render_ns, double joules) {
    fixture.clock.advance_ns(1'000'000'000);
    for (const auto* file : {"proc/7/fdinfo/5", "proc/7/fdinfo/6", "proc/8/fdinfo/5"})
      fixture.write(file, client(1, game_ns, 1024));
    fixture.write("proc/9/fdinfo/3", client(2, render_ns, 2048));
    fixture.write(kPci + "gpu_metrics", amd_metrics(3, static_cast<std::uint64_t>(joules * 65536), 0));
    run = fixture.run();
    EXPECT_EQ(run.error, "");
  };
  double joules = 1000;
  for (int i = 0; i < 25; ++i) second(0, 0, joules += 20);  // 20 W with nothing to do
  const auto number = [&run](const std::string& series) { return number_of(run.text, series); };
  EXPECT_NEAR(number("vitald_gpu_idle_power_watts{" + kGpu + ",method=\"low-load\"} "), 20, 0.001);
  second(600'000'000, 200'000'000, joules += 20 + 160);
  EXPECT_THAT(run.text, HasSubstr(owner("vitald_owner_gpu_engine_seconds_total", "game", "0.6", gfx)));
  const auto energy = [&number](const char* name) {
    return number(fmt::format(
        "vitald_owner_gpu_energy_joules_total{{{},mode=\"active\",owner=\"{}.service\",owner_kind=\"unit\"}} ", kGpu,
        name));
  };
  EXPECT_NEAR(energy("game"), 120, 0.001);
  EXPECT_NEAR(energy("render"), 40, 0.001);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_attribution_info{" + kGpu + ",weight=\"engine_time\"} 1\n"));
  // A counter that falls stands until it comes up again, and a client that another process has now is no new one.
  second(500'000'000, 200'000'000, joules += 20);
  EXPECT_THAT(run.text, HasSubstr(owner("vitald_owner_gpu_engine_seconds_total", "game", "0.6", gfx)));
  fixture.remove("proc/9/fd/3");
  fixture.remove("proc/9/fdinfo/3");
  second(600'000'000, 200'000'000, joules += 20);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_clients{" + kGpu + "} 2\n")) << "looked for every ten seconds";
}

// A container that was given the second GPU has it by the name of the first.
// logind opens what a compositor is given, and keeps it open: 800 is the first of both in the order of numbers, and
// 1500 in that of texts.
TEST(DrmGpus, AClientIsOfWhoWasGivenIt) {
  for (const auto* compositor : {"1500", "9500"}) {
    SCOPED_TRACE(compositor);
    auto tree = amd();
    for (const auto& [pid, unit] : {std::pair{"800", "systemd-logind"}, {compositor, "gdm"}}) {
      tree[fmt::format("proc/{}/cgroup", pid)] = fmt::format("0::/system.slice/{}.service\n", unit);
      tree[fmt::format("proc/{}/fd/5", pid)] = "->/dev/dri/renderD128";
      tree[fmt::format("proc/{}/fdinfo/5", pid)] = client(7, 0, 1024);
    }
    const auto run = CollectorFixture("drm_gpus", tree).run();
    EXPECT_EQ(run.error, "");
    EXPECT_THAT(run.text, HasSubstr("owner=\"gdm.service\",owner_kind=\"unit\"} 1048576\n"));
    EXPECT_THAT(run.text, Not(HasSubstr("logind")));
  }
}

TEST(DrmGpus, AClientIsWhereItsFileSays) {
  const std::string other = "sys/bus/pci/devices/0000:83:00.0/";
  auto tree = with_programs(amd());
  tree["sys/class/drm/card1/device"] = "->../../../bus/pci/devices/0000:83:00.0";
  tree["sys/class/drm/renderD129/device"] = "->../../../bus/pci/devices/0000:83:00.0";
  tree[other + "uevent"] = "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:83:00.0\n";
  tree[other + "power/runtime_status"] = "active\n";
  tree["proc/9/fdinfo/3"] = "drm-pdev: 0000:83:00.0\ndrm-client-id: 1\ndrm-memory-vram: 2048 KiB\n";
  CollectorFixture fixture("drm_gpus", tree);
  auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_clients{" + kGpu + "} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_clients{UUID=\"0000:83:00.0\",gpu=\"card1\"} 1\n"))
      << "numbers of clients are each GPU's own";
  EXPECT_THAT(run.text, HasSubstr("vitald_owner_gpu_memory_bytes{UUID=\"0000:83:00.0\",gpu=\"card1\",owner="
                                  "\"render.service\",owner_kind=\"unit\"} 2097152\n"));
  // One that sleeps is left alone also by that name.
  fixture.write(other + "power/runtime_status", "suspended\n");
  fixture.clock.advance_ns(1'000'000'000);
  run = fixture.run();
  EXPECT_THAT(run.text, Not(HasSubstr("owner=\"render.service\"")));
  // And one that is none of ours is nobody's.
  fixture.write("proc/9/fdinfo/3", "drm-pdev: 0000:99:00.0\ndrm-client-id: 5\ndrm-memory-vram: 2048 KiB\n");
  run = fixture.run();
  EXPECT_THAT(run.text, Not(HasSubstr("owner=\"render.service\"")));
}

// What is counted from is one counter, also while it cannot be read.
TEST(DrmGpus, TheSourceOfEnergyStays) {
  const std::string energy = "vitald_gpu_energy_joules_total{" + kGpu + "} ";
  auto tree = amd();
  tree[kPci + "hwmon/hwmon5/energy1_input"] = "5000000\n";
  tree[kPci + "hwmon/hwmon5/energy2_input"] = "900000000\n";
  CollectorFixture fixture("drm_gpus", tree);
  fixture.run();
  fixture.write(kPci + "hwmon/hwmon5/energy1_input", "none\n");
  fixture.clock.advance_ns(1'000'000'000);
  EXPECT_EQ(number_of(fixture.run().text, energy), 0) << "neither energy2_input nor gpu_metrics has gone on from it";
  fixture.write(kPci + "hwmon/hwmon5/energy1_input", "7000000\n");
  fixture.clock.advance_ns(1'000'000'000);
  EXPECT_EQ(number_of(fixture.run().text, energy), 2);
}

TEST(DrmGpus, EnergyOfACounterThatWraps) {
  const std::string energy = "vitald_gpu_energy_joules_total{" + kGpu + "} ";
  CollectorFixture fixture("drm_gpus", amd());
  fixture.write(kPci + "gpu_metrics", amd_metrics(3, 0xffffffffULL - 65536ULL * 100 + 1, 0));
  fixture.run();
  fixture.clock.advance_ns(1'000'000'000);
  fixture.write(kPci + "gpu_metrics", amd_metrics(3, 65536ULL * 200, 0));
  auto run = fixture.run();
  EXPECT_EQ(number_of(run.text, energy), 300);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_attribution_resets_total{" + kGpu + "} 0\n"));
  // A GPU that slept may have begun anew.
  fixture.write(kPci + "gpu_metrics", amd_metrics(3, 0xffffffffULL - 65536ULL * 100 + 1, 0));
  fixture.clock.advance_ns(300'000'000'000);
  fixture.run();
  fixture.write(kPci + "power/runtime_status", "suspended\n");
  fixture.clock.advance_ns(1'000'000'000);
  fixture.run();
  fixture.write(kPci + "power/runtime_status", "active\n");
  fixture.write(kPci + "gpu_metrics", amd_metrics(3, 65536ULL * 5, 0));
  fixture.clock.advance_ns(1'000'000'000);
  run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_attribution_resets_total{" + kGpu + "} 1\n"));
}

// Xorg does not pay for what is computed past the engines that are counted.
TEST(DrmGpus, WhileRocmComputesNobodyIsCharged) {
  CollectorFixture fixture("drm_gpus", with_programs(amd()));
  double joules = 1000;
  std::uint64_t game_ns = 0;
  CollectorRun run;
  const auto second = [&](double watts, std::uint64_t ns) {
    fixture.clock.advance_ns(1'000'000'000);
    for (const auto* file : {"proc/7/fdinfo/5", "proc/7/fdinfo/6", "proc/8/fdinfo/5"})
      fixture.write(file, client(1, game_ns += ns, 1024)), ns = 0;
    joules += watts;
    fixture.write(kPci + "gpu_metrics", amd_metrics(3, static_cast<std::uint64_t>(joules * 65536), 0));
    run = fixture.run();
  };
  const auto game = [&run] {
    return number_of(run.text, "vitald_owner_gpu_energy_joules_total{" + kGpu +
                                   ",mode=\"active\",owner=\"game.service\",owner_kind=\"unit\"} ");
  };
  const auto nobody = [&run] {
    return number_of(run.text, "vitald_unattributed_gpu_energy_joules_total{" + kGpu + "} ");
  };
  for (int i = 0; i < 25; ++i) second(20, 0);
  const double before = nobody();
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 100, 0.01);
  fixture.write("sys/class/kfd/kfd/proc/77/pasid", "1\n");
  second(320, 1'000'000);
  EXPECT_NEAR(game(), 100, 0.01);
  EXPECT_NEAR(nobody() - before, 300, 0.01);
  fixture.remove("sys/class/kfd/kfd/proc/77/pasid");
  fixture.remove("sys/class/kfd/kfd/proc/77");
  second(320, 1'000'000);  // it ended within this second
  EXPECT_NEAR(game(), 100, 0.01);
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 200, 0.01);
}

// By its queues: of two GPUs the one it computes on.
TEST(DrmGpus, WhileRocmComputesOnOneGpu) {
  const std::string other = "sys/bus/pci/devices/0000:83:00.0/", kfd = "sys/class/kfd/kfd/";
  auto tree = with_programs(amd());
  tree["sys/class/drm/card1/device"] = "->../../../bus/pci/devices/0000:83:00.0";
  tree["sys/class/drm/renderD129/device"] = "->../../../bus/pci/devices/0000:83:00.0";
  tree[other + "uevent"] = "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:83:00.0\n";
  tree[other + "gpu_metrics"] = amd_metrics(3, 65536ULL * 1000, 0);
  for (const auto& [node, id, properties] : std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {"0", "0", "cpu_cores_count 16\ndrm_render_minor 0\n"},
           {"1", "4711", "cpu_cores_count 0\nsimd_count 208\ndrm_render_minor 128\nunique_id 1\n"},
           {"2", "815", "drm_render_minor 129\n"}}) {
    tree[fmt::format("{}topology/nodes/{}/gpu_id", kfd, node)] = fmt::format("{}\n", id);
    tree[fmt::format("{}topology/nodes/{}/properties", kfd, node)] = properties;
  }
  CollectorFixture fixture("drm_gpus", tree);
  double joules = 1000;
  std::uint64_t game_ns = 0;
  CollectorRun run;
  const auto second = [&](double watts, std::uint64_t ns) {
    fixture.clock.advance_ns(1'000'000'000);
    game_ns += ns;
    for (const auto* file : {"proc/7/fdinfo/5", "proc/7/fdinfo/6", "proc/8/fdinfo/5"})
      fixture.write(file, client(1, game_ns, 1024));
    joules += watts;
    fixture.write(kPci + "gpu_metrics", amd_metrics(3, static_cast<std::uint64_t>(joules * 65536), 0));
    run = fixture.run();
  };
  const auto game = [&run] {
    return number_of(run.text, "vitald_owner_gpu_energy_joules_total{" + kGpu +
                                   ",mode=\"active\",owner=\"game.service\",owner_kind=\"unit\"} ");
  };
  for (int i = 0; i < 25; ++i) second(20, 0);
  fixture.write(kfd + "proc/77/pasid", "1\n");
  fixture.write(kfd + "proc/77/queues/0/gpuid", "815");
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 100, 0.01) << "it computes on the other one";
  fixture.write(kfd + "proc/77/queues/1/gpuid", "4711");
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 100, 0.01);
  fixture.remove(kfd + "proc/77/queues/1/gpuid");
  fixture.remove(kfd + "proc/77/queues/1");
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 100, 0.01) << "it did until now";
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 200, 0.01);
  fixture.write(kfd + "proc/77/queues/2/gpuid", "99");
  second(120, 500'000'000);
  EXPECT_NEAR(game(), 200, 0.01) << "on which one is not known";
}

// A process that may not be looked at costs the part that it used: how busy the GPU was beyond the others' work.
TEST(DrmGpus, EnergyOfWhoMayNotBeLookedAt) {
  if (geteuid() != 0 || !has_capability(CAP_SYS_PTRACE)) GTEST_SKIP() << "not root";
  auto tree = with_programs(amd());
  tree[fmt::format("proc/{}", getpid())] = fmt::format("->/proc/{}", getpid());
  tree[kPci + "gpu_busy_percent"] = "0\n";
  CollectorFixture fixture("drm_gpus", tree);
  const auto child = fork();
  if (child == 0) {
    if (!give_up_privileges(false)) _exit(2);
    double joules = 1000;
    std::uint64_t game_ns = 0;
    CollectorRun run;
    const auto second = [&](double watts, std::uint64_t ns, const char* busy) {
      fixture.clock.advance_ns(1'000'000'000);
      game_ns += ns;
      for (const auto* file : {"proc/7/fdinfo/5", "proc/7/fdinfo/6", "proc/8/fdinfo/5"})
        fixture.write(file, client(1, game_ns, 1024));
      joules += watts;
      fixture.write(kPci + "gpu_metrics", amd_metrics(3, static_cast<std::uint64_t>(joules * 65536), 0));
      fixture.write(kPci + "gpu_busy_percent", busy);
      run = fixture.run();
    };
    const auto game = [&run] {
      return number_of(run.text, "vitald_owner_gpu_energy_joules_total{" + kGpu +
                                     ",mode=\"active\",owner=\"game.service\",owner_kind=\"unit\"} ");
    };
    const auto nobody = [&run] {
      return number_of(run.text, "vitald_unattributed_gpu_energy_joules_total{" + kGpu + "} ");
    };
    for (int i = 0; i < 25; ++i) second(20, 0, "0\n");
    second(20, 0, "80\n");  // the driver's average lags
    const double before = nobody();
    second(120, 600'000'000, "80\n");
    EXPECT_THAT(run.text, HasSubstr("vitald_drm_unreadable_processes 1\n"));
    EXPECT_NEAR(game(), 75, 0.01);
    EXPECT_NEAR(nobody() - before, 25, 0.01);
    second(120, 800'000'000, "80\n");
    EXPECT_NEAR(game(), 175, 0.01) << "nobody else did anything";
    second(120, 600'000'000, "garbage\n");
    EXPECT_NEAR(game(), 175, 0.01) << "how busy it is nobody says";
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// As on a real host: root without capabilities is told the names of its processes' files, and refused what they are.
TEST(DrmGpus, FilesThatMayNotBeLookedAtAreTold) {
  if (geteuid() != 0 || !has_capability(CAP_SYS_PTRACE)) GTEST_SKIP() << "not root";
  auto tree = amd();
  tree[fmt::format("proc/{}", getpid())] = fmt::format("->/proc/{}", getpid());
  CollectorFixture fixture("drm_gpus", tree);
  EXPECT_THAT(fixture.run().text, HasSubstr("vitald_drm_unreadable_processes 0\n"));
  fixture.clock.advance_ns(20'000'000'000);
  const auto child = fork();
  if (child == 0) {
    if (!give_up_privileges(false)) _exit(2);
    const auto text = fixture.run().text;
    _exit(text.find("vitald_drm_unreadable_processes 1\n") != text.npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Nothing of one that sleeps is read but that it does.
TEST(DrmGpus, OneThatSleepsIsLeftAsleep) {
  CollectorFixture fixture("drm_gpus", with_programs(amd()));
  fixture.run();
  fixture.write(kPci + "power/runtime_status", "suspended\n");
  // Each of these would be told if it were read.
  for (const auto* file :
       {"gpu_busy_percent", "mem_info_vram_total", "hwmon/hwmon5/power1_average", "hwmon/hwmon5/temp1_input"})
    fixture.write(kPci + file, "garbage");
  fixture.clock.advance_ns(1'000'000'000);
  const auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.problems, testing::IsEmpty());
  EXPECT_THAT(run.text, HasSubstr("vitald_drm_gpus{state=\"asleep\"} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_drm_gpu_info{UUID=\"0123456789abcdef\""));
  for (const auto* family : {"vitald_gpu_power_watts", "vitald_gpu_busy_ratio", "vitald_gpu_throttled",
                             "vitald_gpu_clients", "vitald_owner_gpu_memory_bytes"})
    EXPECT_THAT(run.text, Not(HasSubstr(family)));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + kGpu + "} 0\n")) << "what was counted stays";
}

}  // namespace
}  // namespace vitald
