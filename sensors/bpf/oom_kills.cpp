// SPDX-License-Identifier: Apache-2.0
// Who was killed for want of memory: counted per owner, and each one logged.
#include <fmt/format.h>

#include "bpf/include/vitald/oom_kills.h"
#include "bpf/oom_kills.skel.h"
#include "core/log.h"
#include "sensors/bpf/path_text.h"
#include "sensors/bpf/probe.h"
#include "sensors/owner/hierarchy.h"
#include "sensors/owner/ledger.h"
#include "sensors/owner/owner.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "oom_kills";
constexpr std::size_t kOwners = 256;  // that ever lost a process; kills of more than these count as "other"

constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS,
    {"vitald_oom_kills_total", MetricType::counter,
     "Processes killed for want of memory, by owner of the victim, and whether its memory cgroup reached its limit "
     "(memcg) or the host ran out (global).",
     "scope,owner_kind,owner,namespace,pod,container,guest", "", "tp_btf/mark_victim"},
};

enum Scope : std::size_t { global, memcg, kScopes };
constexpr std::string_view kScopeNames[] = {"global", "memcg"};

class OomKills final : public Collector {
 public:
  OomKills(const Host& host, LoadedProbe<oom_kills_bpf> probe, MappedArray<vitald_oom_record> records,
           const V1Hierarchy& v1)
      : host_(host),
        probe_(std::move(probe)),
        report_(kName, probe_.skel->obj, probe_.form),
        records_(std::move(records)),
        resolver_(host),
        ledger_(kOwners) {
    report_.note(fmt::format("owners by {}", describe(v1)));
  }

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    for (const auto last = sequence(); read_ < last; ++read_) {
      const vitald_oom_record record = records_[read_ % VITALD_OOM_RECORDS];
      // Overwritten: more were killed at once than there are records.
      if (record.sequence != read_ + 1) ++ledger_.other().gone[global];
      else count(record);
    }
    for (const auto& e : ledger_.entries()) {
      const auto total = e.total();
      for (std::size_t scope = 0; scope < kScopes; ++scope) {
        labels_.assign(1, {"scope", kScopeNames[scope]});
        labels_.insert(labels_.end(), e.labels.begin(), e.labels.end());
        out.set_labels(kMetrics[3], static_cast<double>(total[scope]), labels_);
      }
    }
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  [[nodiscard]] std::uint64_t sequence() const {
    return *static_cast<const volatile __u64*>(&probe_.skel->bss->sequence);
  }

  void count(const vitald_oom_record& record) {
    const auto path = path_text(record.cgroup);
    // Without an id the victim was not seen, only its pid: it was exiting already.
    auto* entry = record.cgroup.id ? ledger_.find(resolver_.resolve(path)) : &ledger_.other();
    if (!entry) entry = ledger_.open(resolver_.resolve(path), host_.clock().boot_ns());
    ++entry->gone[record.memcg ? memcg : global];
    log::warn("out of memory: killed a process",
              {{"pid", fmt::to_string(record.pid)},
               {"comm", std::string_view(record.comm, strnlen(record.comm, sizeof record.comm))},
               {"scope", kScopeNames[record.memcg ? memcg : global]},
               {"owner_kind", to_string(entry->owner.kind)},
               {"owner", entry->owner.name},
               {"cgroup", path}});
  }

  const Host& host_;
  LoadedProbe<oom_kills_bpf> probe_;
  ProbeReport report_;
  MappedArray<vitald_oom_record> records_;
  OwnerResolver resolver_;
  OwnerLedger<kScopes> ledger_;
  std::uint64_t read_ = 0;
  std::vector<Label> labels_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.live()) return fail(Errc::absent, "probe oom_kills: only on the running system");
  const auto v1 = memory_hierarchy(host);
  const bool task = kernel_facts().arguments("mark_victim") >= 2;
  std::vector<ProbeHook> hooks = {{"on_victim", "mark_victim"}};
  if (!task) hooks.push_back({"on_signal", "signal_generate"});
  auto probe = load_probe<oom_kills_bpf>(kName, hooks, [&](oom_kills_bpf& skel) {
    skel.rodata->victim_is_task = task;
    skel.rodata->v1_controller = static_cast<__u32>(v1.controller);
    skel.rodata->v1_hierarchy = v1.id;
  });
  if (!probe) return probe_off(kName, probe.error());
  auto records = MappedArray<vitald_oom_record>::of(probe->skel->maps.records);
  if (!records) return probe_off(kName, records.error());
  return std::make_unique<OomKills>(host, std::move(*probe), std::move(*records), v1);
}

}  // namespace

extern const CollectorInfo collector_oom_kills;
const CollectorInfo collector_oom_kills{kMetrics, {}, make};

}  // namespace vitald
