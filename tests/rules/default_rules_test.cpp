// SPDX-License-Identifier: Apache-2.0
// The rule files we ship: promtool accepts them, a healthy host fires nothing, each alert fires for its cause.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "core/clock.h"
#include "rules/engine.h"
#include "rules/unit/unit_test.h"
#include "tests/rules/corpus.h"

namespace vitald {
namespace {

const std::string kRules = std::string(VITALD_SOURCE_DIR) + "/deploy/rules/*.yaml";

// An idle virtual machine: no time service, no sensors, collectors without their hardware.
constexpr const char* kHealthy = R"(
node_cpu_seconds_total{cpu="0",mode="idle"} 1000+29x400
node_cpu_seconds_total{cpu="0",mode="user"} 100+0.5x400
node_cpu_seconds_total{cpu="0",mode="steal"} 0x400
node_pressure_cpu_waiting_seconds_total 10+0.1x400
node_pressure_memory_stalled_seconds_total 0x400
node_memory_MemAvailable_bytes 6e9x400
node_memory_MemTotal_bytes 8e9x400
node_vmstat_oom_kill 3x400
vitald_owner_oom_kills_total{owner_kind="unit",owner="old.service",scope="memcg"} 0x400
node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 40e9-1e5x400
node_filesystem_size_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 50e9x400
node_filesystem_files_free{device="/dev/vda",fstype="ext4",mountpoint="/"} 9e5x400
node_filesystem_files{device="/dev/vda",fstype="ext4",mountpoint="/"} 1e6x400
node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/"} 0x400
node_filesystem_avail_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 0x400
node_filesystem_size_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 4096x400
node_filesystem_readonly{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 0x400
node_filesystem_avail_bytes{device="/dev/loop1",fstype="squashfs",mountpoint="/snap"} 0x400
node_filesystem_size_bytes{device="/dev/loop1",fstype="squashfs",mountpoint="/snap"} 1e8x400
node_filesystem_readonly{device="/dev/loop1",fstype="squashfs",mountpoint="/snap"} 1x400
node_md_disks{device="md0",state="active"} 2x400
node_md_disks{device="md0",state="failed"} 0x400
node_md_disks{device="md0",state="spare"} 1x400
node_md_disks_required{device="md0"} 2x400
node_md_degraded{device="md0"} 0x400
node_md_state{device="md0",state="active"} 1x400
node_md_state{device="md0",state="inactive"} 0x400
vitald_gpu_throttled{UUID="GPU-a",gpu="0",reason="idle"} 1x400
vitald_gpu_throttled{UUID="GPU-a",gpu="0",reason="hw_thermal"} 0x400
vitald_kernel_log_news_total{kind="firmware_error"} 0x400
vitald_kernel_log_news_total{kind="hung_task"} 0x400
vitald_kernel_log_news_total{kind="machine_check"} 2x400
vitald_kernel_log_news_total{kind="memory_failure"} 0x400
node_memory_HardwareCorrupted_bytes 0x400
node_timex_offset_seconds 0x400
node_timex_sync_status 0x400
node_timex_maxerror_seconds 16x400
vitald_sched_runqueue_latency_seconds_bucket{le="0.001"} 0+900x400
vitald_sched_runqueue_latency_seconds_bucket{le="0.128"} 0+999x400
vitald_sched_runqueue_latency_seconds_bucket{le="+Inf"} 0+1000x400
vitald_sched_runqueue_latency_seconds_count 0+1000x400
vitald_owner_cpu_seconds_total{owner_kind="guest",owner="db",guest="db"} 0+60x400
vitald_owner_vcpu_wait_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+0.3x400
vitald_owner_vcpu_exit_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+3x400
vitald_owner_vcpu_exits_total{owner_kind="guest",owner="db",guest="db",reason="hlt"} 0+30000x400
vitald_owner_vcpu_exits_total{owner_kind="guest",owner="db",guest="db",reason="io_instruction"} 0+600x400
vitald_gpu_memory_bytes{UUID="a",gpu="card0",memory="vram"} 16e9x400
vitald_gpu_memory_used_bytes{UUID="a",gpu="card0",memory="vram"} 15e9x400
vitald_gpu_temperature_celsius{UUID="a",gpu="card0",sensor="edge"} 80x400
vitald_gpu_temperature_celsius{UUID="a",gpu="card0",sensor="junction"} 100x400
DCGM_FI_DEV_GPU_TEMP{UUID="GPU-a",gpu="0"} 85x400
vitald_gpu_throttled{UUID="GPU-a",gpu="0",reason="sw_power_cap"} 1x400
node_scrape_collector_success{collector="cpu"} 1x400
node_scrape_collector_success{collector="mdadm"} 0x400
vitald_probe_up{hook="tp_btf",probe="runq_latency"} 1x400
vitald_probe_up{hook="off",probe="block_latency",reason="this kernel has no tracepoint"} 0x400
node_power_supply_capacity{power_supply="hid-mouse"} 5x400
node_power_supply_info{power_supply="hid-mouse",type="Battery",status="Discharging",scope="Device"} 1x400
vitald_history_save_failures_total 0x400
vitald_alerts_save_failures_total 0x400
vitald_hook_runs_total{hook="h",result="ok"} 5x400
)";

// All alerts that were ever active over half-minute cycles, those that fired, how many of each, and what fires at the
// end.
struct Outcome {
  std::set<std::string> active, fired, at_end;
  std::map<std::string, int> times;
};

Outcome run(std::string_view healthy, std::string_view changed, int cycles = 400) {
  std::vector<std::string> problems;
  auto engine = RuleEngine::load({.files = {kRules}}, problems);
  EXPECT_TRUE(engine) << fmt::format("{}", fmt::join(problems, "\n"));
  struct Row {
    promql::Labels labels;
    std::vector<std::optional<double>> points;
  };
  std::map<std::string, Row> rows;  // a line of `changed` stands in for the same series of `healthy`
  for (auto text : {healthy, changed})
    while (!text.empty()) {
      const auto line = trim(take_line(text));
      if (line.empty()) continue;
      const auto s = promql::split_series(line);
      const auto points = promql::parse_numbers(s->second);
      EXPECT_TRUE(points) << line;
      rows[s->first.text()] = {s->first, *points};
    }
  FakeClock clock;
  auto pool = std::make_shared<DescPool>();
  BatchWriter writer("test");
  Outcome out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(cycles); ++i) {
    clock.advance_ns(30'000'000'000);
    writer.begin(clock.boot_ns());
    writer.use(pool);
    for (const auto& [text, row] : rows) {
      if (i >= row.points.size() || !row.points[i]) continue;
      std::vector<Label> labels;
      for (const auto& l : row.labels)
        if (l.name != promql::kMetricName) labels.push_back(l);
      writer.set_labels(pool->get(row.labels.name(), MetricType::untyped, ""), *row.points[i], labels);
    }
    Snapshot s;
    s.boot_ns = clock.boot_ns();
    s.wall_ns = clock.wall_ns();
    s.batches.push_back(writer.finish({}, 0, 0));
    const auto batch = engine->evaluate(s);
    for (const auto& sample : batch->layout->samples())
      for (const auto& l : batch->layout->labels(sample))
        if (l.name == "alertname") out.active.emplace(l.value);
    for (const auto& t : engine->take_transitions()) {
      out.fired.insert(t.alert.labels.at("alertname"));
      if (t.alert.state == AlertState::firing) ++out.times[t.alert.labels.at("alertname")];
    }
  }
  const auto view = engine->view();
  for (const auto& g : view->groups)
    for (const auto& r : g.rules) {
      EXPECT_EQ(r.last_error, "") << r.declared->name;
      if (r.state == AlertState::firing) out.at_end.insert(r.declared->name);
    }
  return out;
}

TEST(DefaultRules, HealthyHostIsSilent) {
  const auto out = run(kHealthy, "");
  EXPECT_EQ(fmt::format("{}", fmt::join(out.active, " ")), "Watchdog");
}

struct Case {
  const char *fires, *series;  // the alerts but for Watchdog, and what is not as on a healthy host
};
const Case kCases[] = {
    {"HostCpuSaturated", R"(node_cpu_seconds_total{cpu="0",mode="user"} 100+29x400
                            node_pressure_cpu_waiting_seconds_total 10+20x400)"},
    {"HostCpuStolen", R"(node_cpu_seconds_total{cpu="0",mode="steal"} 0+6x400)"},
    {"HostRunQueueSlow", R"(node_cpu_seconds_total{cpu="0",mode="idle"} 1000+6x400
                            node_cpu_seconds_total{cpu="0",mode="user"} 100+24x400
                            vitald_sched_runqueue_latency_seconds_bucket{le="0.128"} 0+900x400
                            vitald_sched_runqueue_latency_seconds_bucket{le="0.256"} 0+999x400
                            vitald_sched_runqueue_latency_seconds_count 0+9000x400)"},
    // A container with a small quota waits, and the CPUs are idle.
    {"", R"(vitald_sched_runqueue_latency_seconds_bucket{le="0.128"} 0+900x400
            vitald_sched_runqueue_latency_seconds_bucket{le="2.048"} 0+999x400
            vitald_sched_runqueue_latency_seconds_count 0+9000x400)"},
    {"HostRunQueueSlow HostRunQueueStalled", R"(node_cpu_seconds_total{cpu="0",mode="idle"} 1000+6x400
                            node_cpu_seconds_total{cpu="0",mode="user"} 100+24x400
                            vitald_sched_runqueue_latency_seconds_bucket{le="0.128"} 0+900x400
                            vitald_sched_runqueue_latency_seconds_bucket{le="1.024"} 0+901x400
                            vitald_sched_runqueue_latency_seconds_bucket{le="2.048"} 0+999x400
                            vitald_sched_runqueue_latency_seconds_count 0+9000x400)"},
    {"HostGuestStarved", R"(vitald_owner_vcpu_wait_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+12x400
                            vitald_owner_vcpu_exit_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+14x400)"},
    // A large guest loses as much, which is little of what it gets.
    {"", R"(vitald_owner_cpu_seconds_total{owner_kind="guest",owner="db",guest="db"} 0+600x400
            vitald_owner_vcpu_wait_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+12x400)"},
    {"HostGuestExitsCostly", R"(vitald_owner_vcpu_exit_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+40x400
        vitald_owner_vcpu_exits_total{owner_kind="guest",owner="db",guest="db",reason="io_instruction"} 0+600000x400)"},
    // It waits for its hypervisor now and then, and long.
    {"", R"(vitald_owner_vcpu_exit_seconds_sum{owner_kind="guest",owner="db",guest="db"} 0+40x400)"},
    {"HostMemoryLow", "node_memory_MemAvailable_bytes 7e8x400"},
    {"HostMemoryExhausted HostMemoryLow", "node_memory_MemAvailable_bytes 1e8x400"},
    {"HostMemoryStalled", "node_pressure_memory_stalled_seconds_total 0+6x400"},
    {"HostOomKill", "node_vmstat_oom_kill 3x200 4x200"},
    {"HostOomKill", R"(vitald_owner_oom_kills_total{owner_kind="unit",owner="new.service",scope="memcg"} _x200 1x200)"},
    {"HostFilesystemAlmostFull",
     R"(node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 4e9x400)"},
    {"HostFilesystemAlmostFull HostFilesystemFull",
     R"(node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 1e9x400)"},
    {"HostFilesystemFillsUp",
     R"(node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 15e9-2.4e7x400)"},
    {"HostInodesLow", R"(node_filesystem_files_free{device="/dev/vda",fstype="ext4",mountpoint="/"} 1e4x400)"},
    {"HostFilesystemTurnedReadOnly",
     R"(node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/"} 0x200 1x200)"},
    {"HostRaidDegraded", R"(node_md_disks{device="md0",state="failed"} 1x400)"},
    // [2/1] [U_]: the disk is not there at all.
    {"HostRaidDegraded", R"(node_md_disks{device="md0",state="active"} 1x400)"},
    {"HostRaidDegraded", R"(node_md_degraded{device="md0"} 1x400)"},
    {"", R"(node_md_disks{device="md127",state="active"} 0x400
            node_md_disks_required{device="md127"} 2x400
            node_md_state{device="md127",state="inactive"} 1x400)"},
    {"HostRaidBroken", R"(node_md_disks_required{device="md2"} 2x400
                          node_md_state{device="md2",state="active"} 0x400
                          node_md_state{device="md2",state="broken"} 1x400)"},
    {"HostDiskFails", R"(smartctl_device_smart_status{device="nvme0"} 1x200 0x200)"},
    {"HostDiskSilent", R"(vitald_smart_age_seconds{device="sda"} 3900+30x400
                          vitald_smart_asleep{device="sda"} 0x400)"},
    {"", R"(vitald_smart_age_seconds{device="sda"} 3900+30x400
            vitald_smart_asleep{device="sda"} 1x400)"},
    {"HostDiskHasBadSectors", R"(smartctl_device_media_errors{device="nvme0"} 7x200 8x200)"},
    {"", R"(smartctl_device_media_errors{device="nvme0"} 7x400)"},
    {"HostDiskHasBadSectors",
     R"(smartctl_device_attribute{device="sda",attribute_id="197",attribute_value_type="raw"} 8x400)"},
    {"", R"(smartctl_device_attribute{device="sda",attribute_id="5",attribute_value_type="raw"} 8x400
            smartctl_device_attribute{device="sda",attribute_id="197",attribute_value_type="value"} 100x400)"},
    {"HostDiskWearsOut", R"(smartctl_device_percentage_used{device="nvme0"} 90x400)"},
    {"HostDiskWearsOut", R"(smartctl_device_available_spare{device="nvme0"} 14x400
                            smartctl_device_available_spare_threshold{device="nvme0"} 10x400)"},
    {"", R"(smartctl_device_available_spare{device="nvme0"} 100x400
            smartctl_device_available_spare_threshold{device="nvme0"} 10x400)"},
    {"HostDiskWearsOut", R"(smartctl_device_available_spare{device="nvme0"} 97x400
                            smartctl_device_available_spare_threshold{device="nvme0"} 98x400)"},
    // Healthy drives: Apple's, Kingston's, and what node_exporter's friends show of Samsung's.
    {"", R"(smartctl_device_available_spare{device="nvme0"} 100x400
            smartctl_device_available_spare_threshold{device="nvme0"} 99x400)"},
    {"", R"(smartctl_device_available_spare{device="nvme0"} 100x400
            smartctl_device_available_spare_threshold{device="nvme0"} 100x400)"},
    {"", R"(smartctl_device_available_spare{device="nvme0"} 100x400
            smartctl_device_available_spare_threshold{device="nvme0"} 255x400)"},
    {"HostGpuDoesNotAnswer", R"(vitald_gpu_devices{state="all"} 8x400
                                vitald_gpu_devices{state="answering"} 8x200 7x200)"},
    // A number's first error makes its row.
    {"HostGpuFails", R"(vitald_gpu_xid_errors_total{gpu="0",UUID="GPU-a",xid="79"} _x200 1x200)"},
    {"HostGpuFails", R"(vitald_gpu_xid_errors_total{gpu="0",UUID="GPU-a",xid="79"} 1x200 2x200)"},
    {"", R"(vitald_gpu_xid_errors_total{gpu="0",UUID="GPU-a",xid="13"} _x200 1x200)"},
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 75x400)"},
    {"HostTemperatureCritical HostTemperatureHigh", R"(node_thermal_zone_temp{zone="0",type="cpu"} 81x400)"},
    // The chip's own limits go before ours, and what nobody set is no limit.
    {"", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 85x400
            node_hwmon_temp_max_celsius{chip="c",sensor="temp1"} 95x400
            node_hwmon_temp_crit_celsius{chip="c",sensor="temp1"} 105x400)"},
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 46x400
                               node_hwmon_temp_max_celsius{chip="c",sensor="temp1"} 45x400
                               node_hwmon_temp_crit_celsius{chip="c",sensor="temp1"} 60x400)"},
    {"HostTemperatureCritical HostTemperatureHigh",
     R"(vitald_sensor_temperature_celsius{chip="c",sensor="temp1",label="CPU"} 101x400
        node_hwmon_temp_celsius{chip="c",sensor="temp1"} 101x400
        node_hwmon_temp_crit_celsius{chip="c",sensor="temp1"} 100x400)"},
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 75x400
                               node_hwmon_temp_max_celsius{chip="c",sensor="temp1"} 65261.85x400
                               node_hwmon_temp_crit_celsius{chip="c",sensor="temp1"} 0x400)"},
    {"HostTemperatureCritical",
     R"(vitald_sensor_temperature_celsius{chip="c",sensor="temp1",label="CPU"} 60x400
        vitald_sensor_state{chip="c",sensor="temp1",label="CPU",state="critical"} 1x400)"},
    // Nothing is connected there: 127 exactly.
    {"", R"(node_hwmon_temp_celsius{chip="c",sensor="temp2"} 127x400
            node_hwmon_temp_max_celsius{chip="c",sensor="temp2"} -65x400
            node_hwmon_temp_min_celsius{chip="c",sensor="temp2"} 31x400)"},
    {"", R"(node_hwmon_temp_celsius{chip="c",sensor="temp2"} 127x400
            node_hwmon_temp_max_celsius{chip="c",sensor="temp2"} 127x400)"},
    {"", R"(vitald_sensor_temperature_celsius{chip="c",sensor="temp2",label=""} 127x400
            vitald_sensor_state{chip="c",sensor="temp2",label="",state="critical"} 1x400)"},
    // Limits that fit no reading are limits that nobody set: the low one of an it87 comes out of reset as 127.
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp2"} 75x400
                               node_hwmon_temp_max_celsius{chip="c",sensor="temp2"} 70x400
                               node_hwmon_temp_min_celsius{chip="c",sensor="temp2"} 127x400)"},
    {"HostTemperatureCritical",
     R"(vitald_sensor_temperature_celsius{chip="c",sensor="temp1",label="CPU"} 69x400
        vitald_sensor_state{chip="c",sensor="temp1",label="CPU",state="critical"} 1x400
        node_hwmon_temp_max_celsius{chip="c",sensor="temp1"} 127x400
        node_hwmon_temp_min_celsius{chip="c",sensor="temp1"} 127x400)"},
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 75x400
                               node_hwmon_temp_celsius{chip="c",sensor="temp2"} 127x400)"},
    // Both limits 0 are limits that nobody set.
    {"HostTemperatureHigh", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 75x400
                               node_hwmon_temp_min_celsius{chip="c",sensor="temp1"} 0x400
                               node_hwmon_temp_max_celsius{chip="c",sensor="temp1"} 0x400)"},
    // The kernel's raw value does not count where libsensors has one.
    {"", R"(node_hwmon_temp_celsius{chip="c",sensor="temp1"} 95x400
            vitald_sensor_temperature_celsius{chip="c",sensor="temp1",label="CPU"} 45x400)"},
    {"HostTemperatureHigh", R"(vitald_sensor_temperature_celsius{chip="c",sensor="temp1",label="CPU"} 71x400)"},
    // What judge_sensor gives: of a fan that stands still no more than a warning, since hwmon has no critical limit of
    // fans; of a voltage critical where the chip has lcrit or crit; of all the fault.
    {"HostSensorAlarm", R"(vitald_sensor_state{chip="c",sensor="in0",label="",state="critical"} 1x400
                           vitald_sensor_state{chip="c",sensor="in0",label="",state="ok"} 0x400)"},
    {"HostSensorAlarm", R"(vitald_sensor_state{chip="c",sensor="fan1",label="",state="fault"} 1x400)"},
    {"HostSensorOutOfRange", R"(vitald_sensor_state{chip="c",sensor="fan1",label="",state="warning"} 1x400
                                vitald_sensor_state{chip="c",sensor="fan1",label="",state="ok"} 0x400
                                vitald_sensor_info{chip="c",sensor="fan1",libsensors_chip="nct6798-isa-0290"} 1x400
                                vitald_sensor_fan_rpm{chip="c",sensor="fan1",label=""} 0x400)"},
    // GPUs and Macs whose fan rests while they are cool.
    {"", R"(vitald_sensor_state{chip="c",sensor="fan1",label="",state="warning"} 1x400
            vitald_sensor_info{chip="c",sensor="fan1",libsensors_chip="amdgpu-pci-0300"} 1x400
            vitald_sensor_fan_rpm{chip="c",sensor="fan1",label=""} 0x400
            node_hwmon_fan_rpm{chip="c",sensor="fan1"} 0x400
            vitald_sensor_state{chip="d",sensor="fan2",label="",state="warning"} 1x400
            vitald_sensor_info{chip="d",sensor="fan2",libsensors_chip="macsmc_hwmon-isa-0000"} 1x400
            vitald_sensor_fan_rpm{chip="d",sensor="fan2",label=""} 0x400
            vitald_sensor_state{chip="e",sensor="fan1",label="",state="warning"} 1x400
            vitald_sensor_info{chip="e",sensor="fan1",libsensors_chip="applesmc-isa-0300"} 1x400
            vitald_sensor_fan_rpm{chip="e",sensor="fan1",label=""} 0x400)"},
    {"", R"(vitald_sensor_state{chip="c",sensor="fan1",label="",state="warning"} 1x400
            vitald_sensor_fan_rpm{chip="c",sensor="fan1",label=""} 1998x400
            vitald_sensor_state{chip="power_supply_ucsi_source_psy_usbc000:001",sensor="in0",label="",state="warning"} 1x400
            vitald_sensor_state{chip="c",sensor="power1",label="",state="warning"} 1x400)"},
    {"HostSensorOutOfRange", R"(vitald_sensor_state{chip="c",sensor="in1",label="+5V",state="warning"} 1x400)"},
    {"", R"(vitald_sensor_state{chip="c",sensor="temp1",label="CPU",state="warning"} 1x400
            vitald_sensor_state{chip="c",sensor="intrusion0",label="",state="warning"} 1x400)"},
    {"", R"(vitald_sensor_state{chip="c",sensor="in1",label="",state="warning"} 1x5 0x395)"},
    {"HostBatteryLow", R"(node_power_supply_capacity{power_supply="BAT0"} 25x400
                          node_power_supply_info{power_supply="BAT0",type="Battery",status="Discharging"} 1x400)"},
    {"", R"(node_power_supply_capacity{power_supply="BAT0"} 25x400
            node_power_supply_info{power_supply="BAT0",type="Battery",status="Charging"} 1x400)"},
    {"HostMemoryErrorsUncorrected", R"(node_edac_uncorrectable_errors_total{controller="0"} 0x390 1x10)"},
    {"HostTaskHung", R"(vitald_kernel_log_news_total{kind="hung_task"} 0x200 1x200)"},
    {"HostGpuTooHot", R"(vitald_gpu_throttled{UUID="a",gpu="card0",reason="temperature"} 0x100 1x300)"},
    {"HostGpuTooHot", R"(vitald_gpu_throttled{UUID="GPU-a",gpu="0",reason="sw_thermal"} 1x400)"},
    {"", R"(vitald_gpu_throttled{UUID="a",gpu="card0",reason="power"} 1x400)"},
    {"HostGpuPowerBrake", R"(vitald_gpu_throttled{UUID="GPU-a",gpu="0",reason="hw_power_brake"} 1x400)"},
    {"HostGpuHot", R"(DCGM_FI_DEV_GPU_TEMP{UUID="GPU-a",gpu="0"} 93x400)"},
    {"HostGpuHot", R"(vitald_gpu_temperature_celsius{UUID="a",gpu="card0",sensor="edge"} 97x400)"},
    {"HostGpuHot", R"(vitald_gpu_temperature_celsius{UUID="a",gpu="card0",sensor="junction"} 108x400)"},
    {"HostGpuMemoryFull", R"(vitald_gpu_memory_used_bytes{UUID="a",gpu="card0",memory="vram"} 15.9e9x400)"},
    {"", R"(vitald_gpu_memory_used_bytes{UUID="a",gpu="card0",memory="gtt"} 15.9e9x400
            vitald_gpu_memory_bytes{UUID="a",gpu="card0",memory="gtt"} 16e9x400)"},
    {"HostMemoryLost", R"(vitald_kernel_log_news_total{kind="memory_failure"} 0x390 1x10)"},
    {"HostMemoryOutOfUse", "node_memory_HardwareCorrupted_bytes 4096x400"},
    {"HostMachineCheck", R"(vitald_kernel_log_news_total{kind="machine_check"} 2x390 3x10)"},
    {"HostFirmwareErrors", R"(vitald_kernel_log_news_total{kind="firmware_error"} 0x390 1x10)"},
    {"", R"(vitald_kernel_log_news_total{kind="memory_error"} 0x390 1x10)"},
    {"HostDiskErrors", R"(vitald_kernel_log_disk_errors_total{device="sda"} 0x200 1x200)"},
    {"HostDiskErrors", R"(vitald_kernel_log_disk_errors_total{device="sda"} 3x200 4x200)"},
    // A restart, and then as many errors as before it; and a restart alone.
    {"HostDiskErrors", R"(vitald_kernel_log_disk_errors_total{device="sda"} 1x200 0x100 1x100)"},
    {"", R"(vitald_kernel_log_disk_errors_total{device="sda"} 1x200 0x200)"},
    {"HostMemoryErrorsCorrected", R"(node_edac_correctable_errors_total{controller="0"} 0+2x400)"},
    {"", R"(node_edac_correctable_errors_total{controller="0"} 7x300 9x100)"},
    {"HostPcieErrors", R"(vitald_pcie_errors_total{device="0000:01:00.0",severity="nonfatal"} 3x395 4x5)"},
    {"HostPcieLinkPoor", R"(vitald_pcie_errors_total{device="0000:01:00.0",severity="correctable"} 0+20x400)"},
    {"", R"(vitald_pcie_errors_total{device="0000:01:00.0",severity="correctable"} 0+1x400)"},
    {"HostBmcSensorCritical", R"(ipmi_fan_speed_state{id="4",name="FAN1"} 0x200 2x200)"},
    {"", R"(ipmi_fan_speed_state{id="4",name="FAN1"} 1x400)"},
    {"HostClockWrong", "node_timex_sync_status 1x400\nnode_timex_offset_seconds 0.2x400"},
    {"HostClockUnsynchronised", "node_timex_sync_status 1x200 0x200"},
    {"VitaldCollectorFails", R"(node_scrape_collector_success{collector="cpu"} 1x200 0x200)"},
    {"VitaldProbeLost",
     "vitald_probe_up{hook=\"tp_btf\",probe=\"runq_latency\"} 1x200 _x200\n"
     "vitald_probe_up{hook=\"shed\",probe=\"runq_latency\",reason=\"cost\"} _x200 0x200"},
    {"VitaldWorkerStuck", R"(vitald_worker_stuck{collector="libvirt"} 1x400)"},
    {"VitaldAlertsUndelivered",
     R"(vitald_delivery_oldest_age_seconds{data_type="alerts",destination="pager"} 0x200 0+5x200)"},
    {"VitaldAlertsUndelivered",
     R"(vitald_delivery_dropped_total{data_type="alerts",destination="pager",reason="full"} 0x200 1x200)"},
    // A server of metrics that is away is no alert that nobody gets.
    {"VitaldPushUndelivered",
     R"(vitald_delivery_oldest_age_seconds{data_type="samples",destination="central"} 0x200 0+5x200)"},
    {"VitaldPushUndelivered", R"(vitald_delivery_disk_failing{data_type="events",destination="log"} 0x200 1x200)"},
    {"VitaldPushUndelivered",
     R"(vitald_delivery_dropped_total{data_type="samples",destination="gateway",reason="full"} 0x200 0+1x200)"},
    {"", R"(vitald_delivery_dropped_total{data_type="samples",destination="gateway",reason="full"} 0x200 3x200)"},
    {"VitaldDeliveryRefused", R"(vitald_delivery_refusing{data_type="samples",destination="central"} 0x200 1x200)"},
    {"VitaldDeliveryRefused", R"(vitald_delivery_refusing{data_type="alerts",destination="pager"} 0x385 1x15)"},
    {"VitaldDeliveryRefused", R"(vitald_delivery_refusing{data_type="events",destination="log"} 1x400)"},
    // One that is lost, although others are taken; samples, when it comes again and again, as behind a balancer.
    {"VitaldDeliveryRefused",
     R"(vitald_delivery_dropped_total{data_type="alerts",destination="pager",reason="too_large"} 0x200 1x200)"},
    {"VitaldDeliveryRefused",
     R"(vitald_delivery_refusing{data_type="samples",destination="central"} 0x200 1 0x20 1 0x20 1 0x156)"},
    // What is lost once, and what is lost without a state: the log and the counters say so.
    {"", R"(vitald_delivery_refusing{data_type="samples",destination="central"} 0x200 1x8 0x192)"},
    {"", R"(vitald_push_dropped_samples_total{destination="central",reason="refused"} 0+1700x400
            vitald_delivery_dropped_total{data_type="samples",destination="central",reason="refused"} 0+1x400
            vitald_delivery_dropped_total{data_type="samples",destination="central",reason="too_large"} 0+1x400)"},
    // An alert about a command that fails is told by a command that fails: that is no other failure.
    {"VitaldDeliveryRefused", R"(vitald_hook_runs_total{hook="h",result="failed"} 0+1x400
            vitald_delivery_dropped_total{data_type="alerts",destination="h",reason="failed"} 0+1x400)"},
    {"", R"(vitald_hook_runs_total{hook="h",result="failed"} 0+1x400
            vitald_delivery_dropped_total{data_type="alerts",destination="h",reason="about_delivery"} 0+1x400)"},
    {"VitaldStateNotSaved", R"(vitald_history_save_failures_total 0+1x400)"},
};

TEST(DefaultRules, EachFiresForItsCause) {
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.series);
    auto fired = run(kHealthy, c.series).fired;
    EXPECT_EQ(fired.erase("Watchdog"), 1u);
    EXPECT_EQ(fmt::format("{}", fmt::join(fired, " ")), c.fires);
  }
}

// What ends by the clock while the fault stays tells somebody that it is over.
TEST(DefaultRules, FireForAsLongAsTheFaultStays) {
  const struct {
    const char *alert, *series;
    int good, bad, cycles;
  } cases[] = {
      {"HostFilesystemTurnedReadOnly", R"(node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/"})", 0,
       1, 100},
      {"HostClockUnsynchronised", "node_timex_sync_status", 1, 0, 740},
      {"VitaldCollectorFails", R"(node_scrape_collector_success{collector="cpu"})", 1, 0, 140},
      {"HostRaidDegraded", R"(node_md_degraded{device="md0"})", 0, 1, 100},
      {"VitaldDeliveryRefused", R"(vitald_delivery_refusing{data_type="alerts",destination="pager"})", 0, 1, 1500},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.alert);
    const auto stays = run("", fmt::format("{} {}x40 {}x{}", c.series, c.good, c.bad, c.cycles), 40 + c.cycles);
    EXPECT_TRUE(stays.at_end.contains(c.alert));
    EXPECT_EQ(stays.times.at(c.alert), 1);
    const auto over = run("", fmt::format("{} {}x40 {}x50 {}x3", c.series, c.good, c.bad, c.good), 93);
    EXPECT_FALSE(over.at_end.contains(c.alert));
    EXPECT_EQ(over.times.at(c.alert), 1);
  }
}

// A queue that is stuck and too small is one alert, from the first that it drops until the last has waited too long.
TEST(DefaultRules, AlertsThatAreDroppedAndWaitAreOneAlert) {
  const auto out = run("", R"(
      vitald_delivery_dropped_total{data_type="alerts",destination="pager",reason="full"} 0x40 2x60 3x60 4x90
      vitald_delivery_oldest_age_seconds{data_type="alerts",destination="pager"} 0x40 0+60x125 0x90)",
                       250);
  EXPECT_EQ(out.times.at("VitaldAlertsUndelivered"), 1);
  EXPECT_FALSE(out.at_end.contains("VitaldAlertsUndelivered"));
}

// A probe that is off is another series than one that is attached: its hook and reason are labels.
TEST(DefaultRules, AProbeIsLostForAsLongAsItIsOff) {
  const auto host = [](int good, int bad, std::string_view after) {
    return fmt::format(
        "vitald_probe_up{{hook=\"tp_btf\",probe=\"runq_latency\"}} 1x{} _x{} {}\n"
        "vitald_probe_up{{hook=\"shed\",probe=\"runq_latency\",reason=\"cost\"}} _x{} 0x{}\n",
        good - 1, bad, after, good, bad - 1);
  };
  EXPECT_TRUE(run("", host(40, 160, ""), 200).at_end.contains("VitaldProbeLost"));
  const auto over = run("", host(40, 50, "1x9"), 100);
  EXPECT_FALSE(over.at_end.contains("VitaldProbeLost"));
  EXPECT_EQ(over.times.at("VitaldProbeLost"), 1);
}

TEST(DefaultRules, WhatIsWritableForMinutesDidNotTurn) {
  const std::string usr = R"(node_filesystem_readonly{device="/dev/vda2",fstype="ext4",mountpoint="/usr"})";
  EXPECT_FALSE(run("", usr + " 1x60 0x4 1x100", 160).fired.contains("HostFilesystemTurnedReadOnly"));
}

// Two disks too few, and the array does not start: worse than degraded. A container never starts.
TEST(DefaultRules, AnArrayThatStopsIsDegradedStill) {
  EXPECT_TRUE(run("", R"(node_md_state{device="md0",state="inactive"} 0x20 1x100
                         node_md_disks{device="md0",state="active"} 3x20 2x100
                         node_md_disks_required{device="md0"} 4x120
                         node_md_raid_disks{device="md0"} 4x120)",
                  120)
                  .at_end.contains("HostRaidDegraded"));
  EXPECT_FALSE(run("", R"(node_md_state{device="md127",state="inactive"} 1x120
                          node_md_disks{device="md127",state="active"} 0x120
                          node_md_disks_required{device="md127"} 2x120)",
                   120)
                   .fired.contains("HostRaidDegraded"));
}

// One array is one alert, however many numbers say it.
TEST(DefaultRules, OneAlertForAnArray) {
  const auto out = run(kHealthy, R"(node_md_disks{device="md0",state="active"} 1x400
                                    node_md_disks{device="md0",state="failed"} 1x400
                                    node_md_degraded{device="md0"} 1x400)");
  EXPECT_EQ(out.times.at("HostRaidDegraded"), 1);
}

// Prometheus itself, with the same rules: what fires here fires there, and nothing else. Each case is a host of a
// fleet, since a server has them all at once.
TEST(DefaultRules, PrometheusFiresTheSame) {
  if (access("/usr/bin/promtool", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/promtool (Debian package prometheus)";
  const auto file = testing::TempDir() + fmt::format("/default-rules-{}.test.yaml", getpid());
  std::ofstream out(file);
  out << "rule_files: ['" << kRules << "']\nevaluation_interval: 30s\ntests:\n- interval: 30s\n  input_series:\n";
  std::string expected = "    - {labels: '{alertname=\"Watchdog\"}', value: 1}\n";
  const auto add = [&](std::string_view host, std::string_view fires, std::string_view changed) {
    std::map<std::string, std::string> rows;
    for (auto text : {std::string_view(kHealthy), changed})
      while (!text.empty()) {
        const auto line = trim(take_line(text));
        if (line.empty()) continue;
        const auto s = promql::split_series(line);
        promql::LabelsBuilder labels(s->first);
        labels.set("instance", host);
        rows[labels.labels().text()] = s->second;
      }
    for (const auto& [series, points] : rows) {
      // "7e8x400" is "7e8+0x400" to Debian's promtool.
      std::string values;
      for (std::string_view rest = points; !rest.empty();) {
        std::string word(take_word(rest));
        const auto times = word.find('x'), sign = word.find_first_of("+-", 1);
        const bool has_step = sign < times && word[sign - 1] != 'e';
        if (times != word.npos && !word.starts_with('_') && !has_step) word.insert(times, "+0");
        values.append(values.empty() ? "" : " ").append(word);
      }
      out << "  - {series: '" << series << "', values: '" << values << "'}\n";
    }
    for (auto name = take_word(fires); !name.empty(); name = take_word(fires))
      expected += fmt::format("    - {{labels: '{{alertname=\"{}\",instance=\"{}\"}}', value: 1}}\n", name, host);
  };
  add("healthy", "", "");
  for (std::size_t i = 0; i < std::size(kCases); ++i) add(std::to_string(i), kCases[i].fires, kCases[i].series);
  out << "  promql_expr_test:\n"
         "  - expr: group by (alertname, instance) (max_over_time(ALERTS{alertstate=\"firing\"}[200m]))\n"
         "    eval_time: 199m\n    exp_samples:\n"
      << expected;
  out.close();
  EXPECT_EQ(std::system(("/usr/bin/promtool test rules " + file).c_str()), 0);
  if (!HasFailure()) std::filesystem::remove(file);
}

// A Prometheus that keeps native histograms only has no _bucket, _sum and _count.
TEST(DefaultRules, WithNativeHistogramsOnly) {
  const auto report = run_unit_tests(std::string(VITALD_SOURCE_DIR) + "/tests/rules/native_rules_test.yaml");
  EXPECT_EQ(fmt::format("{}", fmt::join(report.problems, "\n")), "");
  EXPECT_EQ(fmt::format("{}", fmt::join(report.failures, "\n")), "");
  EXPECT_EQ(report.tests, 1U);
}

TEST(DefaultRules, PromtoolAccepts) {
  if (access("/usr/bin/promtool", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/promtool (Debian package prometheus)";
  EXPECT_EQ(std::system(("/usr/bin/promtool check rules " + kRules + " >/dev/null").c_str()), 0);
}

}  // namespace
}  // namespace vitald
