// SPDX-License-Identifier: Apache-2.0
// What each owner has its disks do: operations, bytes and time, and a histogram of how long reads and writes took.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "sensors/bpf/block.h"
#include "sensors/bpf/coarse.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "owner_io";

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};

constexpr MetricDesc kOperations{
    "vitald_owner_block_operations_total",
    MetricType::counter,
    "Completed block requests of an owner: the cgroup that called read or dirtied the pages, as the kernel charges it. "
    "A cgroup below which the io controller is not on (cgroup.subtree_control) is charged to the nearest one above it "
    "that has it. A request made of several owners' parts is the first one's; what no cgroup is charged for is "
    "owner=\"other\", and so is all where owners are told apart by a v1 hierarchy. An owner has its series from the "
    "first one.",
    "operation,owner_kind,owner,namespace,pod,container,guest",
    "",
    "tp_btf/block_rq_complete"};
constexpr MetricDesc kBytes{"vitald_owner_block_bytes_total",
                            MetricType::counter,
                            "Bytes moved by them; see vitald_owner_block_operations_total.",
                            "operation,owner_kind,owner,namespace,pod,container,guest",
                            "bytes",
                            "tp_btf/block_rq_complete"};
constexpr MetricDesc kTime{"vitald_owner_block_seconds_total",
                           MetricType::counter,
                           "Time from the start of a block request of an owner to its completion, in the queue and in "
                           "the device; requests that are on their way together count each. Without a flush that "
                           "follows a write. Of a disk for whose requests the kernel keeps no start (queue/iostats is "
                           "0) only while the probe block_latency is on, which records it.",
                           "operation,owner_kind,owner,namespace,pod,container,guest",
                           "seconds",
                           "tp_btf/block_rq_complete"};
constexpr MetricDesc kLatency{"vitald_owner_block_latency_seconds",
                              MetricType::histogram,
                              "How long each took, as vitald_owner_block_seconds_total. Of --owner.detailed cgroups; "
                              "those of all others are in owner=\"other\".",
                              "operation,owner_kind,owner,namespace,pod,container,guest",
                              "seconds",
                              "tp_btf/block_rq_complete"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kOperations, kBytes, kTime, kLatency};

struct Io {
  vitald_block_owner_row row;
  vitald_block_owner_hist hist;
};
constexpr OwnerField kFields[] = {
    {kOperations, offsetof(Io, row.reads), 1, {"operation", "read"}},
    {kOperations, offsetof(Io, row.writes), 1, {"operation", "write"}},
    {kOperations, offsetof(Io, row.others), 1, {"operation", "other"}},
    {kBytes, offsetof(Io, row.read_bytes), 1, {"operation", "read"}},
    {kBytes, offsetof(Io, row.write_bytes), 1, {"operation", "write"}},
    {kBytes, offsetof(Io, row.other_bytes), 1, {"operation", "other"}},
    {kTime, offsetof(Io, row.read_ns), 1e9, {"operation", "read"}},
    {kTime, offsetof(Io, row.write_ns), 1e9, {"operation", "write"}},
};

class OwnerIo final : public Collector {
 public:
  OwnerIo(const Host& host, SignalUse<BlockObject> block)
      : folders_(host, {}),
        block_(std::move(block)),
        report_(kName, block_->bpf.form()),
        totals_(block_->owners->slots(), block_->owners->table(), [&object = *block_](std::uint32_t slot) {
          return Io{object.owner_row(slot),
                    slot < object.detailed ? object.owner_hist(slot) : vitald_block_owner_hist{}};
        }) {
    report_.watch(host.shared<KernelFacts>(), block_);
    block_->owners->watch(host.shared<KernelFacts>(), report_);
    if (block_->owners->v1().id != 0) report_.note("not per owner: requests have cgroups on v2 only");
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    totals_.round([](auto&) {},
                  [&](auto entries) {
                    emit_counted_fields<Io>(kFields, entries, out);
                    emit_histograms(entries, out);
                  });
    return {};
  }
  // The controller may be turned on at any time.
  std::string status() const override {
    auto status = report_.status();
    if (block_->owners->v1().id == 0 && folders_.gives("io") == false)
      status += ", all is the root's: the io controller is not in the root's cgroup.subtree_control";
    return status;
  }

 private:
  static void emit_histograms(std::span<const OwnerTotals<Io>::Entry> entries, BatchWriter& out) {
    std::vector<Label> labels;
    const auto emit = [&](const OwnerTotals<Io>::Entry& e, std::string_view operation, const auto& slots,
                          std::uint64_t ns) {
      std::array<std::uint64_t, kCoarseBounds + 1> counts{};
      for (std::size_t i = 0; i < VITALD_COARSE_SLOTS; ++i) counts[std::min(i, kCoarseBounds)] += slots[i];
      if (std::ranges::all_of(counts, [](auto n) { return n == 0; })) return;
      labels.assign({{"operation", operation}});
      labels.insert(labels.end(), e.owner->labels.begin(), e.owner->labels.end());
      out.histogram_labels(kLatency, {coarse_bounds(), counts, static_cast<double>(ns) / 1e9}, labels);
    };
    for (const auto& e : entries) {
      emit(e, "read", e.shown.hist.reads, e.shown.hist.read_ns);
      emit(e, "write", e.shown.hist.writes, e.shown.hist.write_ns);
    }
  }

  CgroupFolders folders_;
  SignalUse<BlockObject> block_;
  ProbeReport report_;
  SlotTotals<Io> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe owner_io: only on the running system");
  auto block = BlockObject::use(host, options, kOwnerIo);
  if (!block) return probe_off(kName, block.error());
  return std::make_unique<OwnerIo>(host, std::move(*block));
}

}  // namespace

extern const CollectorInfo collector_owner_io;
const CollectorInfo collector_owner_io{kMetrics, kFlags, make};

}  // namespace vitald
