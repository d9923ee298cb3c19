// SPDX-License-Identifier: Apache-2.0
// How much of the energy of processors and of their memory each owner used, what they take idle, and what nobody can be
// charged with. The arithmetic is energy_split's; here are the names.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
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
    {"vitald_owner_dram_energy_joules_total", MetricType::counter,
     "Energy of the memory by owner, as vitald_owner_energy_joules_total has the processors': mode active is what "
     "accesses cost, by the CPU time on the processor that the memory is at; mode idle is what it takes to keep it, "
     "whoever has it. Adds up to vitald_energy_joules_total{domain=\"dram\"} in the same way.",
     "mode,owner_kind,owner,namespace,pod,container,guest", "joules", "vitald"},
    {"vitald_gone_owners_dram_energy_joules_total", MetricType::counter,
     "What owners had used of the memory's energy whose series have ended, so that the sum stays.", "", "joules",
     "vitald"},
    {"vitald_unattributed_dram_energy_joules_total", MetricType::counter,
     "Energy of a processor's memory that is nobody's.", "package", "joules", "vitald"},
    {"vitald_dram_idle_power_watts", MetricType::gauge,
     "What a processor's memory takes when nothing runs there, learned as vitald_package_idle_power_watts. Absent "
     "until "
     "it is known.",
     "package,method", "watts", "vitald"},
    {"vitald_energy_attribution_info", MetricType::gauge,
     "How energy of the domain (package, dram) is split: weight, by what (aperf: CPU time times how fast the CPU ran "
     "meanwhile, by the registers APERF and MPERF; cpu_time, where they cannot be read); split, package (what an "
     "owner used on that processor) or host (on all, where the kernel does not say which CPU is on which).",
     "domain,weight,split", "", "vitald"},
    {"vitald_energy_attribution_resets_total", MetricType::counter,
     "Times that the energy counter of a processor or its memory began anew, which is counted from there.",
     "domain,package", "", "vitald"},
};
constexpr auto& kInfo = row(kMetrics, "vitald_energy_attribution_info");
constexpr auto& kResets = row(kMetrics, "vitald_energy_attribution_resets_total");

// What is split apart from the others: a counter for each processor, and the families that it becomes.
struct Domain {
  std::string_view name;
  const MetricDesc &owner, &gone, &unattributed, &idle;
};
constexpr Domain kDomains[] = {
    {"package", row(kMetrics, "vitald_owner_energy_joules_total"),
     row(kMetrics, "vitald_gone_owners_energy_joules_total"), row(kMetrics, "vitald_unattributed_energy_joules_total"),
     row(kMetrics, "vitald_package_idle_power_watts")},
    {"dram", row(kMetrics, "vitald_owner_dram_energy_joules_total"),
     row(kMetrics, "vitald_gone_owners_dram_energy_joules_total"),
     row(kMetrics, "vitald_unattributed_dram_energy_joules_total"), row(kMetrics, "vitald_dram_idle_power_watts")},
};

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
    for (auto& meters : meters_) {
      meters.now.assign(packages_.size(), {EnergySplit::kNotRead, 0});
      meters.at_ns = 0;
    }
    const Batch* owners = nullptr;
    for (const auto& batch : so_far.batches) {
      const auto& rows = rows_.of(batch->layout, [this](const Layout& layout) { return find(layout); });
      for (std::size_t d = 0; d < std::size(kDomains); ++d) {
        auto& meters = meters_[d];
        meters.now.resize(packages_.size(), {EnergySplit::kNotRead, 0});
        for (const auto& row : rows.energy[d]) {
          meters.now[row.package].joules = batch->values[row.value];
          meters.at_ns = batch->collected_boot_ns;
        }
        // One that is silent shows what it had counted. What is used meanwhile waits until it can be read again.
        for (const auto& row : rows.up[d])
          if (batch->values[row.value] == 0) meters.now[row.package].joules = EnergySplit::kNotRead;
      }
      if (!rows.weight.empty() && rows.weight != weight_) weight_ = rows.weight;
      for (const auto& row : rows.cpus)
        packages_[row.package].cpus = static_cast<std::uint32_t>(batch->values[row.value]);
      if (!rows.uses.empty()) owners = batch.get();
    }

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
    for (auto& meters : meters_) split(meters, news);
    rows_.forget_unused();
    for (std::size_t d = 0; d < std::size(kDomains); ++d)
      if (had_owners_ && meters_[d].split_ns != 0) emit(kDomains[d], meters_[d], out);
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
    std::array<std::vector<Place>, std::size(kDomains)> energy, up;  // up: whether that meter could be read
    std::vector<Place> cpus;
    std::vector<UsePlace> uses;
    std::string weight;  // by what they are told; empty: nobody says
    bool host_wide = false;
  };
  struct Package {
    std::string name;
    std::uint32_t cpus = 0;
  };
  // The counters of a domain.
  struct Meters {
    std::vector<EnergySplit::Package> now;
    std::int64_t at_ns = 0;     // of the cycle's reading; 0: there is none
    std::int64_t split_ns = 0;  // of the last that was split
    EnergySplit split;
    std::vector<std::uint64_t> resets;  // by package, that were told
  };
  struct IdHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const { return std::hash<std::string_view>{}(id); }
  };
  struct Owner {
    std::string id;  // empty: the place is free
    std::vector<std::pair<std::string, std::string>> words;
    std::vector<Label> labels;  // of words, behind the mode
  };

  void split(Meters& meters, bool news) {
    for (std::size_t i = 0; i < meters.now.size(); ++i) meters.now[i].cpus = packages_[i].cpus;
    if (meters.at_ns != 0 && meters.at_ns != meters.split_ns) {
      meters.split_ns = meters.at_ns;
      meters.split.cycle(meters.at_ns, meters.now, uses_, news);
    } else if (news && meters.split_ns != 0) {
      // No energy to split: the uses wait.
      const std::vector<EnergySplit::Package> nothing(meters.now.size());
      meters.split.cycle(owners_ns_, nothing, uses_, true);
    }
  }

  std::uint32_t package_of(std::string_view name) {
    const auto at = std::ranges::find(packages_, name, &Package::name);
    if (at != packages_.end()) return static_cast<std::uint32_t>(at - packages_.begin());
    packages_.push_back({std::string(name)});
    return static_cast<std::uint32_t>(packages_.size() - 1);
  }

  enum class Input : std::uint8_t { none, energy, up, cpus, weight, use };
  static Input input_of(std::string_view family) {
    if (family == "vitald_energy_joules_total") return Input::energy;
    if (family == "vitald_energy_meter_up") return Input::up;
    if (family == "vitald_package_cpus") return Input::cpus;
    if (family == "vitald_package_cpu_weight") return Input::weight;
    return family == "vitald_owner_package_cpu_seconds_total" ? Input::use : Input::none;
  }

  Rows find(const Layout& layout) {
    Rows rows;
    const MetricDesc* family = nullptr;  // of the samples at hand, which are many
    auto input = Input::none;
    for (const auto& s : layout.samples()) {
      if (std::exchange(family, s.family) != s.family) input = input_of(s.family->name);
      const auto package = [&] { return package_of(label(s, "package")); };
      switch (input) {
        case Input::none: break;
        case Input::energy:
        case Input::up:
          if (const auto* at = std::ranges::find(kDomains, label(s, "domain"), &Domain::name); at != std::end(kDomains))
            (input == Input::up ? rows.up : rows.energy)[static_cast<std::size_t>(at - kDomains)].push_back(
                {s.value, package()});
          break;
        case Input::cpus:
          if (!label(s, "package").empty()) rows.cpus.push_back({s.value, package()});
          break;
        case Input::weight: rows.weight = label(s, "weight"); break;
        case Input::use: {
          const auto name = label(s, "package");
          rows.host_wide = rows.host_wide || name.empty();
          rows.uses.push_back({s.value, name.empty() ? 0 : package_of(name), owner_of(s)});
          break;
        }
      }
    }
    return rows;
  }

  static bool is_word(const Label& l) { return l.name != "id" && l.name != "package"; }
  static bool is_called_so(const Owner& owner, const Sample& s) {
    auto word = owner.words.begin();
    for (const auto& l : Layout::labels(s)) {
      if (!is_word(l)) continue;
      if (word == owner.words.end() || word->first != l.name || word->second != l.value) return false;
      ++word;
    }
    return word == owner.words.end();
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
    if (!owner.labels.empty() && is_called_so(owner, s)) return at->second;
    owner.words.clear();
    for (const auto& l : Layout::labels(s))
      if (is_word(l)) owner.words.emplace_back(l.name, l.value);
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
      for (auto& meters : meters_) meters.split.drop(i);
      free_.push_back(i);
      by_id_.erase(owner.id);
      owner = {};
    }
    owners_layout_ = layout;
  }

  void emit(const Domain& domain, Meters& meters, BatchWriter& out) {
    const auto& split = meters.split;
    out.set(kInfo, 1, domain.name, weight_, host_wide_ ? "host" : "package");
    for (const auto i : shown_) out.set_labels(domain.owner, joules(split.owner(i)), owners_[i].labels);
    out.set_labels(domain.owner, joules(split.idle()), kIdleOfHost);
    out.set(domain.gone, joules(split.gone()));
    meters.resets.resize(split.packages(), 0);
    for (std::uint32_t p = 0; p < split.packages(); ++p)
      if (split.known(p)) out.set(domain.unattributed, joules(split.unattributed(p)), packages_[p].name);
    for (std::uint32_t p = 0; p < split.packages(); ++p)
      if (const auto watts = split.idle_watts(p)) out.set(domain.idle, *watts, packages_[p].name, split.idle_method(p));
    for (std::uint32_t p = 0; p < split.packages(); ++p) {
      if (!split.known(p)) continue;
      out.set(kResets, static_cast<double>(split.resets(p)), domain.name, packages_[p].name);
      if (std::exchange(meters.resets[p], split.resets(p)) != split.resets(p))
        log::warn("an energy counter began anew", {{"domain", domain.name}, {"package", packages_[p].name}});
    }
  }

  LayoutMap<Rows> rows_;
  std::vector<Package> packages_;
  std::array<Meters, std::size(kDomains)> meters_;
  std::vector<Owner> owners_;  // by the number that the splits know them by
  std::unordered_map<std::string, std::uint32_t, IdHash, std::equal_to<>> by_id_;
  std::vector<std::uint32_t> free_, shown_;
  std::vector<EnergySplit::Use> uses_;
  std::shared_ptr<const Layout> owners_layout_;
  std::int64_t owners_ns_ = 0;
  std::string weight_ = "cpu_time";
  bool had_owners_ = false, host_wide_ = false;
};

Result<std::unique_ptr<Deriver>> derive(const Host&, const Options&) { return std::make_unique<Energy>(); }

}  // namespace

extern const CollectorInfo collector_energy;
const CollectorInfo collector_energy{kMetrics, {}, nullptr, {}, derive};

}  // namespace vitald
