// SPDX-License-Identifier: Apache-2.0
// How long allocations stood still because memory had to be freed first.
#include <array>

#include "bpf/direct_reclaim.skel.h"
#include "bpf/include/vitald/direct_reclaim.h"
#include "sensors/bpf/probe.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "direct_reclaim";

constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS,
    {"vitald_memory_direct_reclaim_seconds", MetricType::histogram,
     "How long tasks were stopped to free memory for their own allocation.", "", "seconds",
     "tp_btf/mm_vmscan_direct_reclaim_begin, _end"},
};

class DirectReclaim final : public Collector {
 public:
  DirectReclaim(LoadedProbe<direct_reclaim_bpf> probe, MappedArray<vitald_reclaim_cpu> cpus)
      : probe_(std::move(probe)), report_(kName, probe_.skel->obj, probe_.form), cpus_(std::move(cpus)) {}

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    HistSum sum;
    for (std::size_t cpu = 0; cpu < cpus_.size(); ++cpu) sum.add(cpus_[cpu].stall);
    out.histogram(kMetrics[3], sum.view());
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  LoadedProbe<direct_reclaim_bpf> probe_;
  ProbeReport report_;
  MappedArray<vitald_reclaim_cpu> cpus_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.live()) return fail(Errc::absent, "probe direct_reclaim: only on the running system");
  const ProbeHook hooks[] = {{"on_begin", "mm_vmscan_direct_reclaim_begin"},
                             {"on_end", "mm_vmscan_direct_reclaim_end"}};
  auto probe = load_probe<direct_reclaim_bpf>(kName, hooks, [](direct_reclaim_bpf& skel) {
    bpf_map__set_max_entries(skel.maps.cpus, static_cast<__u32>(libbpf_num_possible_cpus()));
  });
  if (!probe) return probe_off(kName, probe.error());
  auto cpus = MappedArray<vitald_reclaim_cpu>::of(probe->skel->maps.cpus);
  if (!cpus) return probe_off(kName, cpus.error());
  return std::make_unique<DirectReclaim>(std::move(*probe), std::move(*cpus));
}

}  // namespace

extern const CollectorInfo collector_direct_reclaim;
const CollectorInfo collector_direct_reclaim{kMetrics, {}, make};

}  // namespace vitald
