// SPDX-License-Identifier: Apache-2.0
// How much of the processors' energy each owner used, what they take idle, and what nobody can be charged with. The
// arithmetic is energy_split's; here are the names.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/layout_map.h"
#include "core/log.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/derived/energy_split.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"vitald_owner_energy_joules_total", MetricType::counter,
     "Energy of the processors by owner: mode active, what they took beyond idle while the owner's tasks ran, split by "
     "CPU time on each processor; mode idle, what they take whatever runs, which is the host's. Since vitald began. "
     "With vitald_gone_owners_energy_joules_total and vitald_unattributed_energy_joules_total it adds up to "
     "vitald_energy_joules_total{domain=\"package\"}.",
     "mode,owner_kind,owner,namespace,pod,container,guest", "joules", "vitald"},
    {"vitald_gone_owners_energy_joules_total", MetricType::counter,
     "What owners had used whose series have ended, so that the sum stays. Not of owner=\"other\", whose rate would "
     "show "
     "it a second time.",
     "", "joules", "vitald"},
    {"vitald_unattributed_energy_joules_total", MetricType::counter,
     "Energy of a processor that is nobody's: of before its idle power was known, of times when no owner's CPU time "
     "was "
     "read, of owners that went meanwhile.",
     "package", "joules", "vitald"},
    {"vitald_package_idle_power_watts", MetricType::gauge,
     "What a processor takes when nothing runs on it, learned from its power under little load: method low-load, seen "
     "there; fit, continued from higher loads. Absent until it is known.",
     "package,method", "watts", "vitald"},
    {"vitald_energy_attribution_info", MetricType::gauge,
     "How energy is split: weight, by what; split, package (what an owner used on that processor) or host (on all, "
     "where the kernel does not say which CPU is on which).",
     "weight,split", "", "vitald"},
    {"vitald_energy_attribution_resets_total", MetricType::counter,
     "Times that the counter of a processor began anew, which is counted from there.", "package", "", "vitald"},
};
constexpr auto& kOwner = row(kMetrics, "vitald_owner_energy_joules_total");
constexpr auto& kGone = row(kMetrics, "vitald_gone_owners_energy_joules_total");
constexpr auto& kUnattributed = row(kMetrics, "vitald_unattributed_energy_joules_total");
constexpr auto& kIdle = row(kMetrics, "vitald_package_idle_power_watts");
constexpr auto& kInfo = row(kMetrics, "vitald_energy_attribution_info");
constexpr auto& kResets = row(kMetrics, "vitald_energy_attribution_resets_total");

constexpr Label kActive{"mode", "active"};
constexpr Label kIdleOfHost[] = {{"mode", "idle"}, {"owner_kind", "host"}, {"owner", "host"}};

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}
double joules(std::uint64_t microjoules) { return static_cast<double>(microjoules) / 1e6; }

class Energy final : public Deriver {
 public:
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    now_.assign(packages_.size(), {EnergySplit::kNotRead, 0});
    std::int64_t at_ns = 0;
    const Batch* owners = nullptr;
    for (const auto& batch : so_far.batches) {
      const auto& rows = rows_.of(batch->layout, [this](const Layout& layout) { return find(layout); });
      now_.resize(packages_.size(), {EnergySplit::kNotRead, 0});
      for (const auto& row : rows.energy) {
        now_[row.package].joules = batch->values[row.value];
        at_ns = batch->collected_boot_ns;
      }
      for (const auto& row : rows.cpus)
        packages_[row.package].cpus = static_cast<std::uint32_t>(batch->values[row.value]);
      if (!rows.uses.empty()) owners = batch.get();
    }
    for (std::size_t i = 0; i < now_.size(); ++i) now_[i].cpus = packages_[i].cpus;

    const bool news = owners && owners->collected_boot_ns != owners_ns_;
    if (news) {
      owners_ns_ = owners->collected_boot_ns;
      had_owners_ = true;
      follow(owners->layout);
      const auto& rows = rows_.of(owners->layout, [this](const Layout& layout) { return find(layout); });
      uses_.clear();
      for (const auto& use : rows.uses) {
        const double seconds = owners->values[use.value];
        if (!rows.host_wide) uses_.push_back({use.owner, use.package, seconds});
        else
          for (std::uint32_t p = 0; p < packages_.size(); ++p) uses_.push_back({use.owner, p, seconds});
      }
      host_wide_ = rows.host_wide;
    }
    if (at_ns != 0 && at_ns != meters_ns_) {
      meters_ns_ = at_ns;
      split_.cycle(at_ns, now_, uses_, news);
    } else if (news) {
      // No energy to split: the uses wait.
      const std::vector<EnergySplit::Package> nothing(now_.size());
      split_.cycle(owners_ns_, nothing, uses_, true);
    }
    rows_.forget_unused();
    if (had_owners_ && meters_ns_ != 0) emit(out);
    return {};
  }

 private:
  struct Place {
    std::uint32_t value, package;
  };
  struct UsePlace {
    std::uint32_t value, package, owner;  // the last in owners_
  };
  struct Rows {
    std::vector<Place> energy, cpus;
    std::vector<UsePlace> uses;
    bool host_wide = false;
  };
  struct Package {
    std::string name;
    std::uint32_t cpus = 0;
    std::uint64_t resets = 0;  // that were told
  };
  struct Owner {
    std::string id;  // empty: the place is free
    std::vector<std::pair<std::string, std::string>> words;
    std::vector<Label> labels;  // of words, behind the mode
  };

  std::uint32_t package_of(std::string_view name) {
    const auto at = std::ranges::find(packages_, name, &Package::name);
    if (at != packages_.end()) return static_cast<std::uint32_t>(at - packages_.begin());
    packages_.push_back({std::string(name)});
    return static_cast<std::uint32_t>(packages_.size() - 1);
  }

  Rows find(const Layout& layout) {
    Rows rows;
    for (const auto& s : layout.samples()) {
      const auto name = s.family->name;
      if (name == "vitald_energy_joules_total") {
        if (label(s, "domain") == "package") rows.energy.push_back({s.value, package_of(label(s, "package"))});
      } else if (name == "vitald_package_cpus") {
        if (!label(s, "package").empty()) rows.cpus.push_back({s.value, package_of(label(s, "package"))});
      } else if (name == "vitald_owner_package_cpu_seconds_total") {
        const auto package = label(s, "package");
        rows.host_wide = rows.host_wide || package.empty();
        rows.uses.push_back({s.value, package.empty() ? 0 : package_of(package), owner_of(s)});
      }
    }
    return rows;
  }

  // By its id, under the name that it has now.
  std::uint32_t owner_of(const Sample& s) {
    const auto id = label(s, "id");
    auto at = by_id_.find(id);
    if (at == by_id_.end()) {
      auto place = static_cast<std::uint32_t>(owners_.size());
      if (free_.empty()) owners_.emplace_back();
      else place = free_.back(), free_.pop_back();
      at = by_id_.emplace(std::string(id), place).first;
    }
    auto& owner = owners_[at->second];
    owner.id = id;
    owner.words.clear();
    for (const auto& l : Layout::labels(s))
      if (l.name != "id" && l.name != "package") owner.words.emplace_back(l.name, l.value);
    owner.labels.assign(1, kActive);
    for (const auto& [word, value] : owner.words) owner.labels.push_back({word, value});
    return at->second;
  }

  // Owners that the new layout does not have are gone.
  void follow(const std::shared_ptr<const Layout>& layout) {
    if (layout == owners_layout_) return;
    const auto& rows = rows_.of(layout, [this](const Layout& l) { return find(l); });
    std::vector<bool> there(owners_.size(), false);
    shown_.clear();
    for (const auto& use : rows.uses) {
      if (!there[use.owner]) shown_.push_back(use.owner);
      there[use.owner] = true;
    }
    for (std::uint32_t i = 0; i < owners_.size(); ++i) {
      auto& owner = owners_[i];
      if (there[i] || owner.id.empty()) continue;
      split_.drop(i);
      free_.push_back(i);
      by_id_.erase(owner.id);
      owner = {};
    }
    owners_layout_ = layout;
  }

  void emit(BatchWriter& out) {
    out.set(kInfo, 1, "cpu_time", host_wide_ ? "host" : "package");
    for (const auto i : shown_) out.set_labels(kOwner, joules(split_.owner(i)), owners_[i].labels);
    out.set_labels(kOwner, joules(split_.idle()), kIdleOfHost);
    out.set(kGone, joules(split_.gone()));
    for (std::uint32_t p = 0; p < split_.packages(); ++p)
      out.set(kUnattributed, joules(split_.unattributed(p)), packages_[p].name);
    for (std::uint32_t p = 0; p < split_.packages(); ++p)
      if (const auto watts = split_.idle_watts(p)) out.set(kIdle, *watts, packages_[p].name, split_.idle_method(p));
    for (std::uint32_t p = 0; p < split_.packages(); ++p) {
      out.set(kResets, static_cast<double>(split_.resets(p)), packages_[p].name);
      if (std::exchange(packages_[p].resets, split_.resets(p)) != split_.resets(p))
        log::warn("the energy counter of a processor began anew", {{"package", packages_[p].name}});
    }
  }

  LayoutMap<Rows> rows_;
  std::vector<Package> packages_;
  std::vector<EnergySplit::Package> now_;
  std::vector<Owner> owners_;  // by the number that split_ knows them by
  std::map<std::string, std::uint32_t, std::less<>> by_id_;
  std::vector<std::uint32_t> free_, shown_;
  std::vector<EnergySplit::Use> uses_;
  std::shared_ptr<const Layout> owners_layout_;
  std::int64_t owners_ns_ = 0, meters_ns_ = 0;
  bool had_owners_ = false, host_wide_ = false;
  EnergySplit split_;
};

Result<std::unique_ptr<Deriver>> derive(const Host&, const Options&) { return std::make_unique<Energy>(); }

}  // namespace

extern const CollectorInfo collector_energy;
const CollectorInfo collector_energy{kMetrics, {}, nullptr, {}, derive};

}  // namespace vitald
