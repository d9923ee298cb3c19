// SPDX-License-Identifier: Apache-2.0
#include "sensors/gpu/gpu_energy.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "core/metric_row.h"

namespace vitald {
namespace {

constexpr auto& kEnergy = row(kGpuEnergyMetrics, "vitald_gpu_energy_joules_total");
constexpr auto& kOwner = row(kGpuEnergyMetrics, "vitald_owner_gpu_energy_joules_total");
constexpr auto& kGone = row(kGpuEnergyMetrics, "vitald_gone_owners_gpu_energy_joules_total");
constexpr auto& kUnattributed = row(kGpuEnergyMetrics, "vitald_unattributed_gpu_energy_joules_total");
constexpr auto& kIdle = row(kGpuEnergyMetrics, "vitald_gpu_idle_power_watts");
constexpr auto& kInfo = row(kGpuEnergyMetrics, "vitald_gpu_energy_attribution_info");
constexpr auto& kResets = row(kGpuEnergyMetrics, "vitald_gpu_energy_attribution_resets_total");

double joules_of(std::uint64_t microjoules) { return static_cast<double>(microjoules) / 1e6; }

}  // namespace

// One that was dropped, or has become one with another, ends with its joules.
void GpuEnergy::follow() {
  for (auto at = known_.begin(); at != known_.end();) {
    if (owners_.at(at->first)->id == at->first) {
      ++at;
      continue;
    }
    split_.drop(at->second.number);
    free_.push_back(at->second.number);
    at = known_.erase(at);
  }
}

std::uint32_t GpuEnergy::number() {
  if (free_.empty()) return next_++;
  const auto number = free_.back();
  free_.pop_back();
  return number;
}

std::optional<double> GpuEnergy::counted(std::int64_t boot_ns, double joules) {
  // A counter that began anew shows more than 0 soon; a driver that has no number now may show 0, and after it all that
  // was counted before.
  if (!EnergySplit::is_counter(joules) || (joules == 0 && last_ > 0)) return std::nullopt;
  last_ = joules;
  const auto grown = counter_.feed(static_cast<std::uint64_t>(std::llround(joules * 1e6)), 0, boot_ns);
  if (grown.step == EnergyStep::reset) ++resets_;
  return joules_ += grown.joules;
}

void GpuEnergy::step(std::int64_t boot_ns, std::optional<double> joules, const std::optional<std::vector<Used>>& used,
                     double nobodys_s) {
  follow();
  std::vector<EnergySplit::Use> uses;
  // Of the first step nobody knows when what was used began.
  if (used && std::exchange(begun_, true)) {
    for (const auto& u : *used) {
      if (!(u.seconds > 0)) continue;
      const auto id = owners_.at(u.owner)->id;
      auto at = known_.find(id);
      if (at == known_.end()) at = known_.emplace(id, Owner{number()}).first;
      at->second.seconds += u.seconds;
      uses.push_back({at->second.number, 0, at->second.seconds});
    }
    if (nobodys_s > 0) {
      if (!nobody_) nobody_ = Owner{number()};
      nobody_->seconds += nobodys_s;
      uses.push_back({nobody_->number, 0, nobody_->seconds});
    }
  }
  if (joules) joules = counted(boot_ns, *joules);
  const EnergySplit::Package gpu{joules.value_or(EnergySplit::kNotRead), 1};
  split_.cycle(boot_ns, {&gpu, 1}, uses, used.has_value());
}

void GpuEnergy::emit(BatchWriter& out, std::string_view gpu, std::string_view uuid, std::string_view weight) {
  follow();  // also of a GPU that sleeps
  if (split_.packages() == 0 || !split_.known(0)) return;
  std::vector<Label> labels;
  const auto begin = [&](std::string_view mode) { labels.assign({{"gpu", gpu}, {"UUID", uuid}, {"mode", mode}}); };
  out.set(kEnergy, joules_of(split_.counted(0)), gpu, uuid);
  for (const auto& [id, owner] : known_) {
    begin("active");
    const auto named = owners_.at(id);
    labels.insert(labels.end(), named->labels.begin(), named->labels.end());
    out.set_labels(kOwner, joules_of(split_.owner(owner.number)), labels);
  }
  begin("idle");
  labels.push_back({"owner_kind", "host"});
  labels.push_back({"owner", "host"});
  out.set_labels(kOwner, joules_of(split_.idle()), labels);
  out.set(kGone, joules_of(split_.gone()), gpu, uuid);
  const auto nobodys = split_.unattributed(0) + (nobody_ ? split_.owner(nobody_->number) : 0);
  out.set(kUnattributed, joules_of(nobodys), gpu, uuid);
  if (const auto watts = split_.idle_watts(0)) out.set(kIdle, *watts, gpu, uuid, split_.idle_method(0));
  out.set(kInfo, 1, gpu, uuid, weight);
  out.set(kResets, static_cast<double>(resets_), gpu, uuid);
}

}  // namespace vitald
