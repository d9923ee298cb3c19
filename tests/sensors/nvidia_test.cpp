// SPDX-License-Identifier: Apache-2.0
// GPUs of a library of ours that answers by script.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <string>

#include "core/os/host_name.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

class Nvidia : public testing::Test {
 protected:
  Nvidia() {
    void* library = dlopen(FAKE_NVML_LIBRARY, RTLD_NOW);
    if (!library) return;
    script_ = reinterpret_cast<void (*)(const char*)>(dlsym(library, "fake_nvml_script"));
    calls_ = reinterpret_cast<unsigned (*)()>(dlsym(library, "fake_nvml_device_calls"));
  }
  void SetUp() override { ASSERT_TRUE(script_ && calls_) << dlerror(); }
  // So many questions of GPUs there were.
  [[nodiscard]] unsigned calls() const { return calls_(); }
  void script(const std::string& text) const { script_(text.c_str()); }
  static std::string labels(int gpu, const char* uuid) {
    return "{DCGM_FI_DRIVER_VERSION=\"535.1\",Hostname=\"" + host_name() + "\",UUID=\"" + uuid + "\",device=\"nvidia" +
           std::to_string(gpu) + "\",gpu=\"" + std::to_string(gpu) +
           "\",modelName=\"NVIDIA H200\",pci_bus_id=\"00000000:0F:00.0\"} ";
  }
  const FlagValues flags_{{"collector.nvidia.library", FAKE_NVML_LIBRARY}};
  const std::string two_ =
      "driver -1 = 535.1\ncount -1 = 2\nuuid 0 = GPU-a\nuuid 1 = GPU-b\nname 0 = NVIDIA H200\nname 1 = NVIDIA H200\n"
      "minor 0 = 0\nminor 1 = 1\nbus 0 = 00000000:0F:00.0\nbus 1 = 00000000:0F:00.0\n";

 private:
  void (*script_)(const char*) = nullptr;
  unsigned (*calls_)() = nullptr;
};

TEST_F(Nvidia, AbsentWithoutADriver) {
  EXPECT_THAT(run_collector("nvidia", {}).error, HasSubstr("NVIDIA's driver is not loaded"));
}

TEST_F(Nvidia, InDcgmsNamesAndUnits) {
  script(two_ +
         "power 0 = 71250\nlimit 0 = 700000\nenergy 0 = 123456789012\ntemperature 0 = 41\nmemory_temperature 0 = 55\n"
         "gpu 0 = 97\nmemory 0 = 12\nencoder 0 = 0\ndecoder 0 = 3\nfb_total 0 = 150754820096\nfb_reserved 0 = 1048576\n"
         "fb_free 0 = 2097152\nfb_used 0 = 3145728\nsm_clock 0 = 1980\nmemory_clock 0 = 3201\nthrottle 0 = 36\n"
         "pstate 0 = 0\nreplays 0 = 2\necc00 0 = 5\necc10 0 = 1\necc01 0 = 7\necc11 0 = 1\nremapped 0 = 4\n"
         "remap_pending 0 = 1\npower 1 = 50000\n");
  const auto run = run_collector("nvidia", {}, flags_);
  EXPECT_EQ(run.error, "");
  const auto a = labels(0, "GPU-a");
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"POWER_USAGE", "71.25"},
           {"POWER_MGMT_LIMIT", "700"},
           {"TOTAL_ENERGY_CONSUMPTION", "123456789012"},
           {"GPU_TEMP", "41"},
           {"MEMORY_TEMP", "55"},
           {"GPU_UTIL", "97"},
           {"MEM_COPY_UTIL", "12"},
           {"ENC_UTIL", "0"},
           {"DEC_UTIL", "3"},
           {"FB_TOTAL", "143771"},
           {"FB_RESERVED", "1"},
           {"FB_FREE", "2"},
           {"FB_USED", "3"},
           {"SM_CLOCK", "1980"},
           {"MEM_CLOCK", "3201"},
           {"CLOCK_THROTTLE_REASONS", "36"},
           {"PSTATE", "0"},
           {"PCIE_REPLAY_COUNTER", "2"},
           {"ECC_SBE_VOL_TOTAL", "5"},
           {"ECC_DBE_VOL_TOTAL", "1"},
           {"ECC_SBE_AGG_TOTAL", "7"},
           {"ECC_DBE_AGG_TOTAL", "1"},
           {"CORRECTABLE_REMAPPED_ROWS", "4"},
           {"ROW_REMAP_PENDING", "1"},
           {"XID_ERRORS", "0"},
       })
    EXPECT_THAT(run.text, HasSubstr(std::string("DCGM_FI_DEV_") + name + a + value + "\n"));
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_POWER_USAGE" + labels(1, "GPU-b") + "50\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{UUID=\"GPU-a\",gpu=\"0\",reason=\"sw_thermal\"} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_throttled{UUID=\"GPU-a\",gpu=\"0\",reason=\"hw_thermal\"} 0\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 2\n"));
  // What a GPU does not have is absent, and no problem.
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_FAN_SPEED")));
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_GPU_UTIL" + labels(1, "GPU-b"))));
  EXPECT_THAT(run.problems, testing::IsEmpty());
}

TEST_F(Nvidia, WhatIsNoNumber) {
  script(two_ +
         "power 0 = 4294967295\nenergy 0 = 18446744073709551615\ngpu 0 = 101\nmemory 0 = 7\ntemperature 0 = 65535\n"
         "fb_total 0 = 18446744073709551615\nthrottle 0 = 18446744073709551615\npstate 0 = 32\n"
         "memory_temperature 0 = 4294967295\n");
  const auto run = run_collector("nvidia", {}, flags_);
  EXPECT_EQ(run.error, "");
  for (const auto* name :
       {"POWER_USAGE", "TOTAL_ENERGY", "GPU_UTIL", "GPU_TEMP", "FB_", "CLOCK_THROTTLE", "PSTATE", "MEMORY_TEMP"})
    EXPECT_THAT(run.text, Not(HasSubstr(std::string("DCGM_FI_DEV_") + name)));
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_MEM_COPY_UTIL" + labels(0, "GPU-a") + "7\n"));
}

TEST_F(Nvidia, OneThatIsLostCostsItsOwnRows) {
  CollectorFixture fixture("nvidia", {}, flags_);
  script(two_ + "temperature 0 = 41\ntemperature 1 = 42\n");
  EXPECT_EQ(fixture.run().error, "");
  script(two_ + "sm_clock 0 = ! 15\ntemperature 0 = 41\ntemperature 1 = 42\nsm_clock 1 = ! 999\n");
  auto run = fixture.run();
  EXPECT_THAT(run.problems, testing::ElementsAre("io: NVML: GPU 0 (GPU-a): clock: GPU is lost",
                                                 "io: NVML: GPU 1 (GPU-b): clock: error 999"));
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_GPU_TEMP" + labels(0, "GPU-a"))));
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_GPU_TEMP" + labels(1, "GPU-b") + "42\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 1\n"));
  script(two_ + "temperature 0 = 40\n");
  run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_GPU_TEMP" + labels(0, "GPU-a") + "40\n"));
  // The driver is unloaded, and loaded again with one GPU.
  script("count -1 = ! 9\n");
  EXPECT_THAT(fixture.run().error, HasSubstr("io: NVML: nvmlDeviceGetCount: error 9"));
  script("init -1 = ! 9\n");
  EXPECT_THAT(fixture.run().error, HasSubstr("io: NVML: nvmlInit: error 9"));
  script("driver -1 = 535.1\ncount -1 = 1\nuuid 0 = ! 15\n");
  EXPECT_THAT(fixture.run().problems, testing::ElementsAre("io: NVML: GPU 0 does not say who it is"));
  script("driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-c\nname 0 = x\ntemperature 0 = 9\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("UUID=\"GPU-c\""));
}

// A reset GPU answers to a new beginning. Until it does it is missed, also where the driver counts without it.
TEST_F(Nvidia, OneThatStaysLostIsLookedForAnew) {
  CollectorFixture fixture("nvidia", {}, flags_);
  script(two_ + "sm_clock 0 = ! 15\n");
  for (int round = 0; round < 20; ++round)
    EXPECT_THAT(fixture.run().text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 1\n")) << round;
  script("init -1 = ! 9\n");  // is asked
  EXPECT_THAT(fixture.run().error, HasSubstr("io: NVML: nvmlInit: error 9"));
  script("driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-b\nname 0 = x\n");
  auto run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"all\"} 2\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 1\n"));
  script(two_);
  run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 2\n"));
}

// A driver that knows another version of the structure.
TEST_F(Nvidia, MemoryOfAnOlderDriver) {
  script(two_ + "memory_v2 0 = ! 25\nfb_total 0 = 3145728\nfb_free 0 = 1048576\nfb_used 0 = 2097152\n");
  const auto run = run_collector("nvidia", {}, flags_);
  EXPECT_THAT(run.problems, testing::IsEmpty());
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_FB_TOTAL" + labels(0, "GPU-a") + "3\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_FB_RESERVED")));
}

TEST_F(Nvidia, ProcessesByOwner) {
  CollectorFixture fixture("nvidia",
                           {{"proc/7/cgroup", "0::/system.slice/train.service\n"},
                            {"proc/8/cgroup", "0::/system.slice/train.service\n"},
                            {"proc/9/cgroup", "0::/system.slice/x.service\n"}},
                           flags_);
  script(two_ +
         "compute 0 = 7:1024 8:2048 9:18446744073709551615 10:1\ngraphics 0 = 8:2048\n"
         "samples 0 = 7:1000000:50 7:2000000:70 8:2000100:10\n");
  const std::string train = "UUID=\"GPU-a\",gpu=\"0\",owner=\"train.service\",owner_kind=\"unit\"} ";
  auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("vitald_owner_gpu_memory_bytes{" + train + "3072\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("owner=\"x.service\"")));  // not known is not 0
  EXPECT_THAT(run.text, HasSubstr("vitald_owner_gpu_memory_bytes{UUID=\"GPU-a\",gpu=\"0\",owner=\"other\","));
  EXPECT_THAT(run.text, HasSubstr("vitald_owner_gpu_utilization_ratio{" + train + "0.65\n"))
      << "the second did nothing when the first was looked at alone";
  EXPECT_THAT(fixture.run().text, Not(HasSubstr("vitald_owner_gpu_utilization_ratio")));  // no new samples

  std::string many = two_ + "compute 0 =";
  for (int i = 0; i < 300; ++i) many += " " + std::to_string(1000 + i) + ":1";
  script(many + "\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("owner=\"other\",owner_kind=\"other\"} 300\n"));
}

double number_of(const std::string& text, const std::string& series) {
  const auto at = text.find(series);
  return at == text.npos ? -1 : std::stod(text.substr(at + series.size()));
}

// A GPU of 70 W idle, and what it takes more is whose processes kept the multiprocessors busy.
TEST_F(Nvidia, EnergyByOwner) {
  CollectorFixture fixture(
      "nvidia",
      {{"proc/7/cgroup", "0::/system.slice/train.service\n"}, {"proc/8/cgroup", "0::/system.slice/serve.service\n"}},
      flags_);
  const std::string one = "driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-a\nname 0 = x\n";
  std::uint64_t mj = 5'000'000, sample_us = 1'000'000;
  CollectorRun run;
  const auto second = [&](double joules, int train, int serve) {
    fixture.clock.advance_ns(1'000'000'000);
    mj += static_cast<std::uint64_t>(joules * 1000);
    sample_us += 1'000'000;
    script(one + fmt::format("energy 0 = {}\ncompute 0 = 7:1 8:1\nsamples 0 = 7:{}:{} 8:{}:{}\n", mj, sample_us, train,
                             sample_us, serve));
    run = fixture.run();
    EXPECT_EQ(run.error, "");
  };
  for (int i = 0; i < 25; ++i) second(70, 0, 0);
  const std::string gpu = "UUID=\"GPU-a\",gpu=\"0\"";
  EXPECT_NEAR(number_of(run.text, "vitald_gpu_idle_power_watts{" + gpu + ",method=\"low-load\"} "), 70, 0.001);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_attribution_info{" + gpu + ",weight=\"sm_time\"} 1\n"));
  second(670, 75, 25);  // 600 W beyond idle, three to one
  const auto owner = [&run, &gpu](const char* name) {
    return number_of(run.text, "vitald_owner_gpu_energy_joules_total{" + gpu + ",mode=\"active\",owner=\"" + name +
                                   "\",owner_kind=\"unit\"} ");
  };
  EXPECT_NEAR(owner("train.service"), 450, 0.01);
  EXPECT_NEAR(owner("serve.service"), 150, 0.01);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + gpu + "} 2350\n")) << "24 x 70 and 670";

  // NVML has no new sample yet: the energy waits, and is not nobody's.
  fixture.clock.advance_ns(1'000'000'000);
  script(one + fmt::format("energy 0 = {}\ncompute 0 = 7:1 8:1\nsamples 0 = 7:{}:75\n", mj += 670'000, sample_us));
  run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + gpu + "} 2350\n")) << "a sample comes yet";
  second(670, 0, 100);  // two seconds
  EXPECT_NEAR(owner("train.service"), 450, 0.01);
  EXPECT_NEAR(owner("serve.service"), 1350, 0.01);

  // The law: what is idle, whose it was, and what was before idle was known.
  double sum = 0;
  for (const auto* family : {"vitald_owner_gpu_energy_joules_total", "vitald_gone_owners_gpu_energy_joules_total",
                             "vitald_unattributed_gpu_energy_joules_total"}) {
    std::istringstream lines(lines_with(run.text, family));
    for (std::string line; std::getline(lines, line);) sum += std::stod(line.substr(line.rfind(' ')));
  }
  EXPECT_NEAR(sum, 2350 + 1340, 0.001);
  // A reset GPU counts from 0: told, and no spike.
  mj = 0;
  second(70, 0, 0);
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_attribution_resets_total{" + gpu + "} 1\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + gpu + "} 3690\n"));
}

// A process that holds memory and does nothing, from the beginning on: nothing waits for its samples for ever.
TEST_F(Nvidia, EnergyWhileAProcessIsIdle) {
  CollectorFixture fixture("nvidia", {{"proc/7/cgroup", "0::/system.slice/train.service\n"}}, flags_);
  const std::string gpu = "UUID=\"GPU-a\",gpu=\"0\"";
  CollectorRun run;
  for (int i = 0; i <= 40; ++i) {
    fixture.clock.advance_ns(1'000'000'000);
    script("count -1 = 1\nuuid 0 = GPU-a\n" +
           fmt::format("energy 0 = {}\ncompute 0 = 7:4096\nsamples 0 = ! 6\n", 1000 + i * 70'000));
    run = fixture.run();
    if (i == 0) {
      EXPECT_THAT(run.text, HasSubstr("vitald_gpu_energy_joules_total{" + gpu + "} 0\n"));
    }
  }
  EXPECT_GE(number_of(run.text, "vitald_gpu_energy_joules_total{" + gpu + "} "), 37 * 70) << "three seconds may wait";
  EXPECT_NEAR(number_of(run.text, "vitald_gpu_idle_power_watts{" + gpu + ",method=\"low-load\"} "), 70, 0.001);
}

// NVML has samples of who was busy: one that was so for a second of three has a third of the weight.
TEST_F(Nvidia, EnergyOfWhoWasBusyForAPart) {
  CollectorFixture fixture(
      "nvidia",
      {{"proc/7/cgroup", "0::/system.slice/train.service\n"}, {"proc/8/cgroup", "0::/system.slice/serve.service\n"}},
      flags_);
  const std::string one = "count -1 = 1\nuuid 0 = GPU-a\n", gpu = "UUID=\"GPU-a\",gpu=\"0\"";
  CollectorRun run;
  for (int i = 0; i < 30; ++i) {
    fixture.clock.advance_ns(1'000'000'000);
    script(one + fmt::format("energy 0 = {}\nsamples 0 = 7:{}:0\n", 1000 + i * 70'000, 1'000'000 + i * 1'000'000));
    run = fixture.run();
  }
  fixture.clock.advance_ns(3'000'000'000);
  script(one + fmt::format("energy 0 = {}\nsamples 0 = 7:31000000:60 7:32000000:60 7:33000000:60 8:32000020:60\n",
                           1000 + 29 * 70'000 + 3 * 270'000));
  run = fixture.run();
  const auto owner = [&run, &gpu](const char* name) {
    return number_of(run.text, "vitald_owner_gpu_energy_joules_total{" + gpu + ",mode=\"active\",owner=\"" + name +
                                   "\",owner_kind=\"unit\"} ");
  };
  EXPECT_NEAR(owner("train.service"), 450, 0.01);
  EXPECT_NEAR(owner("serve.service"), 150, 0.01);
}

// A GPU that is cut in instances does not say which process used it: nobody is charged.
TEST_F(Nvidia, EnergyOfNobodyWhereNvmlDoesNotSayWhoRan) {
  CollectorFixture fixture("nvidia", {}, flags_);
  CollectorRun run;
  for (int i = 0; i < 30; ++i) {
    fixture.clock.advance_ns(1'000'000'000);
    script("count -1 = 1\nuuid 0 = GPU-a\n" + fmt::format("energy 0 = {}\n", 1000 + i * 70'000));
    run = fixture.run();
  }
  EXPECT_THAT(run.text, HasSubstr("vitald_unattributed_gpu_energy_joules_total{UUID=\"GPU-a\",gpu=\"0\"} 2030\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("vitald_gpu_idle_power_watts")));
  EXPECT_THAT(run.text, Not(HasSubstr("mode=\"active\"")));
}

// Whoever asks NVML of a GPU wakes it: of one that sleeps nothing is asked, and it is not missed.
TEST_F(Nvidia, OneThatSleepsIsNotAsked) {
  const std::string status = "sys/bus/pci/devices/0000:0f:00.0/power/runtime_status";
  CollectorFixture fixture("nvidia", {{status, "active\n"}}, flags_);
  script(two_ + "temperature 0 = 41\ntemperature 1 = 42\nxids -1 = 0:79\n");
  auto run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_GPU_TEMP" + labels(0, "GPU-a") + "41\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"asleep\"} 0\n"));
  fixture.write(status, "suspended\n");
  const auto asked = calls();
  run = fixture.run();
  EXPECT_EQ(calls(), asked) << "a question wakes it";
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.problems, testing::IsEmpty());
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_GPU_TEMP")));
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_XID_ERRORS" + labels(0, "GPU-a") + "79\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"all\"} 2\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 2\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"asleep\"} 2\n"));
  fixture.write(status, "active\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("DCGM_FI_DEV_GPU_TEMP" + labels(1, "GPU-b") + "42\n"));
}

// Nor of one that slept when the worker started, of which nothing is known.
TEST_F(Nvidia, OneThatHasAlwaysSlept) {
  const std::string a = "sys/bus/pci/devices/0000:0f:00.0/power/runtime_status",
                    b = "sys/bus/pci/devices/0000:1f:00.0/power/runtime_status";
  const Tree tree = {{a, "suspended\n"},
                     {b, "active\n"},
                     {"sys/bus/pci/drivers/nvidia/0000:0f:00.0/vendor", "0x10de\n"},
                     {"sys/bus/pci/drivers/nvidia/0000:1f:00.0/vendor", "0x10de\n"},
                     {"sys/bus/pci/drivers/nvidia/new_id", ""}};
  CollectorFixture fixture("nvidia", tree, flags_);
  script(
      "driver -1 = 535.1\ncount -1 = 2\nuuid 0 = ! 999\nuuid 1 = GPU-b\nname 1 = x\nbus 1 = 00000000:1F:00.0\n"
      "temperature 1 = 42\n");
  auto run = fixture.run();
  EXPECT_THAT(run.problems, testing::IsEmpty());
  EXPECT_THAT(run.text, HasSubstr("} 42\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"answering\"} 2\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_devices{state=\"asleep\"} 1\n"));
  fixture.write(a, "active\n");
  EXPECT_THAT(fixture.run().problems, testing::ElementsAre("io: NVML: GPU 0 does not say who it is"));
  // NVML has fewer than the driver: which one it is cannot be told, so it is asked while any is awake.
  fixture.write(a, "suspended\n");
  fixture.write(b, "suspended\n");
  script("driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-c\ntemperature 0 = 7\n");
  EXPECT_THAT(fixture.run().text, Not(HasSubstr("GPU-c")));
  fixture.write(b, "active\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("GPU-c"));
}

// Where events cannot be had, nobody knows that there were none.
TEST_F(Nvidia, XidsThatCannotBeHad) {
  struct Case {
    const char *name, *script, *problem;
    bool shown;
  };
  const Case cases[] = {
      {"none", "", "", true},
      {"not supported", "register 0 = no\n", "", false},
      {"not allowed", "register 0 = ! 4\n", "io: NVML: GPU 0 (GPU-a): XID events: error 4", false},
      {"no set", "event_set -1 = ! 999\n", "io: NVML: XID events: error 999", false},
      {"waiting fails", "xids -1 = ! 999\n", "io: NVML: XID events: error 999", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture("nvidia", {}, flags_);
    script(std::string("driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-a\nname 0 = x\n") + c.script);
    fixture.run();
    const auto run = fixture.run();
    EXPECT_EQ(run.text.find("DCGM_FI_DEV_XID_ERRORS") != std::string::npos, c.shown);
    EXPECT_EQ(run.problems, *c.problem ? std::vector<std::string>{c.problem} : std::vector<std::string>{});
  }
  // What came before stays, and what comes once they can be had is told.
  CollectorFixture fixture("nvidia", {}, flags_);
  script(two_ + "xids -1 = 0:79\n");
  fixture.run();
  script(two_ + "xids -1 = ! 999\n");
  auto run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_XID_ERRORS" + labels(0, "GPU-a") + "79\n"));
  EXPECT_THAT(run.text, Not(HasSubstr("DCGM_FI_DEV_XID_ERRORS" + labels(1, "GPU-b"))));
  script(two_ + "xids -1 = 1:63\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("DCGM_FI_DEV_XID_ERRORS" + labels(1, "GPU-b") + "63\n"));
}

TEST_F(Nvidia, Xids) {
  CollectorFixture fixture("nvidia", {}, flags_);
  script(two_ + "xids -1 = 0:79 1:63 0:79 0:13 9:1\n");
  auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(run.text, HasSubstr("DCGM_FI_DEV_XID_ERRORS" + labels(0, "GPU-a") + "13\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_xid_errors_total{UUID=\"GPU-a\",gpu=\"0\",xid=\"79\"} 2\n"));
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_xid_errors_total{UUID=\"GPU-b\",gpu=\"1\",xid=\"63\"} 1\n"));
  run = fixture.run();
  EXPECT_THAT(run.text, HasSubstr("vitald_gpu_xid_errors_total{UUID=\"GPU-a\",gpu=\"0\",xid=\"79\"} 2\n"));
}

TEST(NvidiaLibrary, ThatIsNone) {
  EXPECT_THAT(run_collector("nvidia", {}, {{"collector.nvidia.library", "libnone-of-this.so"}}).error,
              HasSubstr("NVIDIA's driver is not installed"));
  EXPECT_THAT(run_collector("nvidia", {}, {{"collector.nvidia.library", "libc.so.6"}}).error,
              HasSubstr("no NVML that is known"));
}

}  // namespace
}  // namespace vitald
