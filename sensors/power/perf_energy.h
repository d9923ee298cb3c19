// SPDX-License-Identifier: Apache-2.0
// The kernel's own energy counters: perf's PMU `power`. They are of 64 bits, the kernel sees to their wraps, and
// CAP_PERFMON is enough to read them, where the files of powercap are root's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/host.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

// Opens a counter of a PMU on a CPU; what read(2) gives of it are 8 bytes. perf_event_open(2), or a test's.
using OpenPerfEvent = std::function<Result<Fd>(std::uint32_t type, std::uint64_t config, int cpu)>;
Result<Fd> open_perf_event(std::uint32_t type, std::uint64_t config, int cpu);

// Whose an energy register is. Only Intel's dies have one each and are added up (Xeons of two dies); the dies of
// an AMD processor, its CCDs, all show their package's.
enum class EnergyRegisters : std::uint8_t { per_die, per_package, amd };
// By /proc/cpuinfo; per_package where it does not say.
EnergyRegisters energy_registers(const Host& host);

struct PerfEnergyEvent {
  std::string domain;  // package, core, dram, uncore, psys
  std::uint32_t type = 0;
  std::uint64_t config = 0;
  double joules_per_unit = 0;
  int cpu = 0;  // one of those that the PMU wants to be asked on
  std::string package;
};

// What there is to open: every event on one CPU of each package, or of each die that has a register. Empty where there
// is no such PMU; what is there and not understood is in `problems`.
std::vector<PerfEnergyEvent> list_perf_energy(const Host& host, EnergyRegisters of, std::vector<Error>& problems);

// The physical package of a CPU; nullopt where the kernel does not say.
std::optional<std::string> package_of_cpu(const Host& host, std::uint64_t cpu);

// nullopt: it counts no more, since its CPU is off.
std::optional<std::uint64_t> read_perf_event(const Fd& fd);

}  // namespace vitald
