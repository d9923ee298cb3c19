// SPDX-License-Identifier: Apache-2.0
// Page faults per owner. Off by default: it runs with each of them.
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "bpf/faults.skel.h"
#include "bpf/include/vitald/faults.h"
#include "sensors/bpf/owners.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "page_faults";

constexpr MetricDesc kFaults{
    "vitald_owner_page_faults_total",
    MetricType::counter,
    "Page faults of tasks of the owner, major and minor: of their own accesses (kind user), and of the kernel's to "
    "their "
    "memory (kernel). An owner has its series from the first one. What a memory cgroup has had, without a probe: "
    "container_memory_failures_total; the host: node_vmstat_pgfault and node_vmstat_pgmajfault.",
    "kind,owner_kind,owner,namespace,pod,container,guest",
    "",
    "tp_btf/page_fault_user, page_fault_kernel"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kFaults};

constexpr OwnerField kFields[] = {
    {kFaults, offsetof(vitald_fault_row, user), 1, {"kind", "user"}},
    {kFaults, offsetof(vitald_fault_row, kernel), 1, {"kind", "kernel"}},
};

constexpr ProbeHook kHooks[] = {
    timed(COST_ON_USER_FAULT, {"on_user_fault", "page_fault_user"}),
    timed(COST_ON_KERNEL_FAULT, {"on_kernel_fault", "page_fault_kernel"}),
};
constexpr Signal kSignals[] = {{"page_faults", VITALD_PAGE_FAULTS, 5, kHooks, 16u << 20}};

struct FaultsObject {
  [[nodiscard]] bool fits(const Options& options) const { return owners->fits(options); }
  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_fault_row row(std::uint32_t slot) const {
    vitald_fault_row sum{};
    for (std::size_t at = slot; at < rows.size(); at += owners->size())
      sum = OwnerTotals<vitald_fault_row>::sum(sum, rows[at]);
    return sum;
  }

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<faults_bpf> bpf;
  MappedArray<vitald_fault_row> rows;
};

Result<SignalUse<FaultsObject>> use(const Host& host, const Options& options) {
  return use_signal<FaultsObject>(
      host, options, kSignals, 0, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<FaultsObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        auto loaded = BpfObject<faults_bpf>::load(
            facts, signals,
            [&](faults_bpf& skel) -> Result<> {
              bpf_map__set_max_entries(skel.maps.rows,
                                       static_cast<__u32>(libbpf_num_possible_cpus()) * (*table)->size());
              return (*table)->share_with(skel);
            },
            [](faults_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped = MappedArray<vitald_fault_row>::of(loaded->skel().maps.rows);
        if (!mapped) return fail(mapped.error());
        return std::make_shared<FaultsObject>(FaultsObject{std::move(*table), std::move(*loaded), std::move(*mapped)});
      });
}

class PageFaults final : public Collector {
 public:
  PageFaults(const Host& host, SignalUse<FaultsObject> faults)
      : faults_(std::move(faults)),
        report_(kName, faults_->bpf.form()),
        totals_(faults_->owners->slots(), faults_->owners->table(),
                [&object = *faults_](std::uint32_t slot) { return object.row(slot); }) {
    report_.watch(host.shared<KernelFacts>(), faults_);
    faults_->owners->watch(host.shared<KernelFacts>(), report_);
  }
  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    totals_.round([](auto&) {}, [&](auto entries) { emit_counted_fields<vitald_fault_row>(kFields, entries, out); });
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<FaultsObject> faults_;
  ProbeReport report_;
  SlotTotals<vitald_fault_row> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe page_faults: only on the running system");
  auto faults = use(host, options);
  if (!faults) return probe_off(kName, faults.error());
  return std::make_unique<PageFaults>(host, std::move(*faults));
}

}  // namespace

extern const CollectorInfo collector_page_faults;
const CollectorInfo collector_page_faults{kMetrics, kOwnerFlags, make};

}  // namespace vitald
