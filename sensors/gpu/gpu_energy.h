// SPDX-License-Identifier: Apache-2.0
// Whose the energy of one GPU was: by how long each owner kept it busy, with what it takes idle apart and what is
// nobody's told. The arithmetic is energy_split's, so the parts add up to the GPU's counter.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/batch.h"
#include "core/metric.h"
#include "sensors/derived/energy_split.h"
#include "sensors/owner/table.h"
#include "sensors/power/energy_counter.h"

namespace vitald {

inline constexpr std::string_view kGpuLabels = "gpu,UUID";
// For CollectorInfo of those who have a GpuEnergy.
inline constexpr MetricDesc kGpuEnergyMetrics[] = {
    {"vitald_gpu_energy_joules_total", MetricType::counter,
     "Energy that the GPU has used since it was first read, by its own counter. The sum of "
     "vitald_owner_gpu_energy_joules_total, vitald_gone_owners_gpu_energy_joules_total and "
     "vitald_unattributed_gpu_energy_joules_total.",
     kGpuLabels, "joules", "vitald"},
    {"vitald_owner_gpu_energy_joules_total", MetricType::counter,
     "Energy of the GPU by owner: mode active, what it took beyond idle, split by how long each owner's processes kept "
     "it "
     "busy; mode idle, what it takes whatever runs, which is the host's.",
     "gpu,UUID,mode,owner_kind,owner,namespace,pod,container,guest", "joules", "vitald"},
    {"vitald_gone_owners_gpu_energy_joules_total", MetricType::counter,
     "What owners had used of the GPU's energy whose series have ended, so that the sum stays.", kGpuLabels, "joules",
     "vitald"},
    {"vitald_unattributed_gpu_energy_joules_total", MetricType::counter,
     "Energy of the GPU that is nobody's: of before its idle power was known, of times when it was not told who used "
     "it, and the part of who may not be looked at.",
     kGpuLabels, "joules", "vitald"},
    {"vitald_gpu_idle_power_watts", MetricType::gauge,
     "What the GPU takes when nothing runs on it, learned as vitald_package_idle_power_watts. Absent until it is "
     "known.",
     "gpu,UUID,method", "watts", "vitald"},
    {"vitald_gpu_energy_attribution_info", MetricType::gauge,
     "By what the GPU's energy is split: weight sm_time, the multiprocessors' time as NVML samples it; engine_time, "
     "the "
     "busy time of all engines as the kernel counts it for each client.",
     "gpu,UUID,weight", "", "vitald"},
    {"vitald_gpu_energy_attribution_resets_total", MetricType::counter,
     "Times that the GPU's energy counter began anew, which is counted from there.", kGpuLabels, "", "vitald"},
};

// One GPU's. Not thread-safe.
class GpuEnergy {
 public:
  explicit GpuEnergy(OwnerTable& owners) : owners_(owners) {}

  struct Used {
    OwnerId owner;
    double seconds;  // that it kept the GPU busy since the step before
  };
  // `joules`: the GPU's counter, from wherever it began; nothing: it was not read, and is split when it is. What moved
  // by more than a board can take was not used but set: it counts from there. 0 after more is no reading. `used`:
  // nothing, when nobody knows who used it; then what was beyond idle is nobody's. `nobodys_s`: for how long those kept
  // it busy beside them of whom nobody knows who they are.
  void step(std::int64_t boot_ns, std::optional<double> joules, const std::optional<std::vector<Used>>& used,
            double nobodys_s = 0);

  // Nothing until the counter was read.
  void emit(BatchWriter& out, std::string_view gpu, std::string_view uuid, std::string_view weight);

  [[nodiscard]] const EnergySplit& split() const { return split_; }

 private:
  struct Owner {
    std::uint32_t number;  // in split_
    double seconds = 0;    // since it has that
  };
  void follow();
  [[nodiscard]] std::uint32_t number();

  [[nodiscard]] std::optional<double> counted(std::int64_t boot_ns, double joules);

  OwnerTable& owners_;
  EnergySplit split_;
  EnergyCounter counter_{1e-6, EnergyCounter::kMostGpuWatts};
  double joules_ = 0;  // what it has counted since the first reading
  double last_ = 0;    // what it said last
  std::uint64_t resets_ = 0;
  std::map<OwnerId, Owner> known_;
  std::vector<std::uint32_t> free_;
  std::uint32_t next_ = 0;
  std::optional<Owner> nobody_;
  bool begun_ = false;
};

}  // namespace vitald
