// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/perf_energy.h"

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/proc/cpuinfo.h"
#include "sensors/read/cpu_list.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

// arch/x86/events/rapl.c, and what powercap calls the same.
constexpr struct {
  std::string_view event, domain;
} kEvents[] = {{"energy-pkg", "package"},
               {"energy-cores", "core"},
               {"energy-ram", "dram"},
               {"energy-gpu", "uncore"},
               {"energy-psys", "psys"}};

std::optional<std::string> text_of(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text) return std::nullopt;
  return std::string(trim(*text));
}

}  // namespace

Result<Fd> open_perf_event(std::uint32_t type, std::uint64_t config, int cpu) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = type;
  attr.config = config;
  const auto fd = static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  if (fd < 0) return fail(from_errno("perf_event_open of the PMU power (CAP_PERFMON is needed)", errno));
  return Fd(fd);
}

std::optional<std::string> package_of_cpu(const Host& host, std::uint64_t cpu) {
  auto text = text_of(host.sysfs(fmt::format("devices/system/cpu/cpu{}/topology/physical_package_id", cpu)));
  if (!text || !parse_u64(*text)) return std::nullopt;
  return text;
}

std::optional<std::uint64_t> read_perf_event(const Fd& fd) {
  std::uint64_t count = 0;
  if (::read(fd.get(), &count, sizeof count) != sizeof count) return std::nullopt;
  return count;
}

// "vendor_id\t: AuthenticAMD"
EnergyRegisters energy_registers(const Host& host) {
  const auto text = read_kernel_file(host.procfs("cpuinfo"), KernelFile::Read::records);
  if (!text) return EnergyRegisters::per_package;
  const auto first = CpuInfos(*text).next();
  const auto vendor = first ? trim(first->vendor) : std::string_view();
  if (vendor == "GenuineIntel") return EnergyRegisters::per_die;
  if (vendor == "AuthenticAMD" || vendor == "HygonGenuine") return EnergyRegisters::amd;
  return EnergyRegisters::per_package;
}

// Linux 6.9 to 6.11 list a CPU of each die in cpumask (arch/x86/events/rapl.c), whosever the register is.
std::vector<PerfEnergyEvent> list_perf_energy(const Host& host, EnergyRegisters of, std::vector<Error>& problems) {
  std::vector<PerfEnergyEvent> out;
  const auto pmu = host.sysfs("bus/event_source/devices/power");
  const auto type_text = text_of(pmu + "/type");
  if (!type_text) return out;
  const auto type = parse_u64(*type_text);
  const auto mask = text_of(pmu + "/cpumask");
  const auto cpus = mask ? parse_cpu_list(*mask) : std::nullopt;
  if (!type || !cpus) {
    problems.push_back(malformed(pmu + (type ? "/cpumask" : "/type"), type ? mask.value_or("") : *type_text,
                                 type ? "a list of CPUs" : "a number")
                           .value());
    return out;
  }
  for (const auto& known : kEvents) {
    const auto path = fmt::format("{}/events/{}", pmu, known.event);
    const auto text = text_of(path), scale_text = text_of(path + ".scale"), unit = text_of(path + ".unit");
    if (!text || !scale_text) continue;  // this processor does not count that
    std::string_view event = *text;
    const auto config =
        take_prefix(event, "event=") && take_prefix(event, "0x") ? parse_int<std::uint64_t>(event, 16) : std::nullopt;
    const auto scale = parse_double(*scale_text);
    if (!config || !scale || !(*scale > 0) || (unit && *unit != "Joules")) {
      problems.push_back(malformed(path, fmt::format("{} {} {}", *text, *scale_text, unit.value_or("")),
                                   "event=0x.. with a scale in Joules")
                             .value());
      continue;
    }
    for (const auto cpu : *cpus) {
      auto package = package_of_cpu(host, cpu);
      if (!package) {
        problems.push_back(
            {Errc::malformed, 0, fmt::format("{}/cpumask: the package of CPU {} is not known", pmu, cpu)});
        continue;
      }
      if (of != EnergyRegisters::per_die && std::ranges::any_of(out, [&](const PerfEnergyEvent& e) {
            return e.domain == known.domain && e.package == *package;
          }))
        continue;
      out.push_back({std::string(known.domain), static_cast<std::uint32_t>(*type), *config, *scale,
                     static_cast<int>(cpu), std::move(*package)});
    }
  }
  return out;
}

}  // namespace vitald
