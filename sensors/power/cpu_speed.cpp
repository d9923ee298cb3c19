// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/cpu_speed.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// No clock is more than eight times the nominal one or less than a hundredth of it: what says so was not counted alike.
constexpr double kMostSpeed = 8, kLeastSpeed = 0.01;

std::optional<std::string> text_of(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text) return std::nullopt;
  return std::string(trim(*text));
}

// "event=0x01" of the PMU's events/aperf.
std::optional<std::uint64_t> event_of(const std::string& pmu, std::string_view name) {
  const auto text = text_of(fmt::format("{}/events/{}", pmu, name));
  if (!text) return std::nullopt;
  std::string_view event = *text;
  if (!take_prefix(event, "event=") || !take_prefix(event, "0x")) return std::nullopt;
  return parse_int<std::uint64_t>(event, 16);
}

bool counts_energy(const Host& host) {
  if (text_of(host.sysfs("bus/event_source/devices/power/type"))) return true;
  const auto zones = list_directory(host.sysfs("class/powercap"));
  return zones && !zones->empty();
}

}  // namespace

std::unique_ptr<CpuSpeed> CpuSpeed::make(const Host& host, std::size_t count, OpenPerfEvent open) {
  if (!open || count == 0 || !counts_energy(host)) return nullptr;
  const auto msr = host.sysfs("bus/event_source/devices/msr");
  const auto type_text = text_of(msr + "/type");
  const auto type = type_text ? parse_u64(*type_text) : std::nullopt;
  const auto aperf = event_of(msr, "aperf"), mperf = event_of(msr, "mperf");
  if (!type || !aperf || !mperf) return nullptr;
  std::unique_ptr<CpuSpeed> speed(
      new CpuSpeed(std::move(open), {static_cast<std::uint32_t>(*type), *aperf, *mperf}, count));
  // CPU 0 is on where any is; one that is off now is opened when it comes.
  if (!speed->open(0)) return nullptr;
  for (std::size_t cpu = 1; cpu < count; ++cpu) speed->open(cpu);
  return speed;
}

bool CpuSpeed::open(std::size_t cpu) {
  auto& c = cpus_[cpu];
  c.known = false;
  c.speed = 1;
  auto ran = open_(pair_.type, pair_.ran, static_cast<int>(cpu));
  if (!ran) return false;
  auto nominal = open_(pair_.type, pair_.nominal, static_cast<int>(cpu));
  if (!nominal) return false;
  c.ran = std::move(*ran);
  c.nominal = std::move(*nominal);
  return true;
}

void CpuSpeed::read() {
  for (std::size_t i = 0; i < cpus_.size(); ++i) {
    auto& c = cpus_[i];
    if (!c.ran && !open(i)) continue;
    const auto ran = read_perf_event(c.ran), nominal = read_perf_event(c.nominal);
    if (!ran || !nominal) {  // it went off
      c = {};
      continue;
    }
    c.speed = 1;
    if (c.known && *ran > c.ran_before && *nominal > c.nominal_before) {
      const double speed = static_cast<double>(*ran - c.ran_before) / static_cast<double>(*nominal - c.nominal_before);
      if (speed >= kLeastSpeed && speed <= kMostSpeed) c.speed = speed;
    }
    c.ran_before = *ran;
    c.nominal_before = *nominal;
    c.known = true;
  }
}

}  // namespace vitald
