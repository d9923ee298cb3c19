// SPDX-License-Identifier: Apache-2.0
// Block IO latency per disk and operation, in the queue and in the device, with bytes and errors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bpf/block_latency.skel.h"
#include "bpf/include/vitald/block_latency.h"
#include "core/log.h"
#include "sensors/bpf/probe.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "block_latency";

constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS,
    {"vitald_block_queue_latency_seconds", MetricType::histogram,
     "From the making of a block request to its handing over to the device.", "device,operation", "seconds",
     "tp_btf/block_rq_complete"},
    {"vitald_block_device_latency_seconds", MetricType::histogram,
     "From the handing over of a block request to its completion.", "device,operation", "seconds",
     "tp_btf/block_rq_complete"},
    {"vitald_block_bytes_total", MetricType::counter, "Bytes moved by completed block requests.", "device,operation",
     "bytes", "tp_btf/block_rq_complete"},
    {"vitald_block_errors_total", MetricType::counter, "Block requests that completed with an error.",
     "device,operation", "", "tp_btf/block_rq_complete"},
    {"vitald_block_untimed_total", MetricType::counter,
     "Block requests that completed without a known start or issue, and are not in the histograms.", "device,operation",
     "", "tp_btf/block_rq_complete"},
};

constexpr std::string_view kOps[] = {"read", "write", "flush", "discard", "other"};
static_assert(std::size(kOps) == VITALD_BLOCK_OPS);

class BlockLatency final : public Collector {
 public:
  BlockLatency(LoadedProbe<block_latency_bpf> probe, MappedArray<vitald_block_row> rows,
               MappedArray<vitald_block_key> keys)
      : probe_(std::move(probe)),
        report_(kName, probe_.skel->obj, probe_.form),
        rows_(std::move(rows)),
        keys_(std::move(keys)),
        sums_(VITALD_BLOCK_ROWS) {
    report_.note("times kept by the kernel");
  }

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    std::uint64_t untimed = 0;
    for (std::size_t row = 0; row < keys_.size(); ++row)
      if (used(row)) untimed += sum(row);

    each_row([&](const Row& r, auto device, auto op) { out.histogram(kMetrics[3], r.queue.view(), device, op); });
    each_row([&](const Row& r, auto device, auto op) { out.histogram(kMetrics[4], r.device.view(), device, op); });
    each_row(
        [&](const Row& r, auto device, auto op) { out.set(kMetrics[5], static_cast<double>(r.bytes), device, op); });
    each_row(
        [&](const Row& r, auto device, auto op) { out.set(kMetrics[6], static_cast<double>(r.errors), device, op); });
    each_row(
        [&](const Row& r, auto device, auto op) { out.set(kMetrics[7], static_cast<double>(r.untimed), device, op); });
    if (untimed > 0 && more_.empty()) return time_ourselves();
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  struct Row {
    HistSum queue, device;
    std::uint64_t bytes = 0, errors = 0, untimed = 0;
    [[nodiscard]] bool empty() const {
      return bytes == 0 && errors == 0 && untimed == 0 &&
             std::ranges::all_of(device.counts, [](auto n) { return n == 0; });
    }
  };

  // The first rows are those of "other".
  [[nodiscard]] bool used(std::size_t row) const { return row < VITALD_BLOCK_OPS || keys_[row].disk[0] != 0; }

  std::uint64_t sum(std::size_t number) {
    auto& r = sums_[number];
    r = {};
    for (std::size_t cpu = 0; cpu * VITALD_BLOCK_ROWS < rows_.size(); ++cpu) {
      const auto& k = rows_[cpu * VITALD_BLOCK_ROWS + number];
      r.queue.add(k.queue);
      r.device.add(k.device);
      r.bytes += k.bytes;
      r.errors += k.errors;
      r.untimed += k.untimed;
    }
    return r.untimed;
  }

  template <class F>
  void each_row(F&& f) const {
    for (std::size_t row = 0; row < keys_.size(); ++row) {
      if (!used(row)) continue;
      // Rows of "other" only where there is something: few hosts have more than 64 disks.
      if (row < VITALD_BLOCK_OPS && sums_[row].empty()) continue;
      const auto& key = keys_[row];
      const std::size_t op = row < VITALD_BLOCK_OPS ? row : key.op;
      const std::string_view disk(key.disk, strnlen(key.disk, sizeof key.disk));
      f(sums_[row], row < VITALD_BLOCK_OPS ? std::string_view("other") : disk, kOps[op < VITALD_BLOCK_OPS ? op : 4]);
    }
  }

  // Some disk's requests come without times: queue/iostats is 0, or nothing there wants statistics.
  Result<> time_ourselves() {
    for (const auto* program : {"on_insert", "on_issue"}) {
      auto link = attach_program(kName, probe_.skel->obj, program, probe_.form);
      if (!link) return fail(link.error());
      more_.push_back(std::move(*link));
    }
    report_.note("insert and issue recorded: the kernel keeps no times for some disk");
    log::info("block requests come without the kernel's times; recording insert and issue as well",
              {{"collector", kName}});
    return {};
  }

  LoadedProbe<block_latency_bpf> probe_;
  ProbeReport report_;
  MappedArray<vitald_block_row> rows_;
  MappedArray<vitald_block_key> keys_;
  std::vector<Row> sums_;
  std::vector<LinkPtr> more_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.live()) return fail(Errc::absent, "probe block_latency: only on the running system");
  const ProbeHook hooks[] = {{"on_complete", "block_rq_complete"},
                             {"on_insert", "block_rq_insert", false},
                             {"on_issue", "block_rq_issue", false}};
  const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
  auto probe = load_probe<block_latency_bpf>(
      kName, hooks,
      [&](block_latency_bpf& skel) {
        skel.rodata->trust_request_times = kernel_facts().trust_request_times;
        skel.rodata->issue_has_queue = kernel_facts().arguments("block_rq_issue") >= 2;
        bpf_map__set_max_entries(skel.maps.cpus, cpus);
        bpf_map__set_max_entries(skel.maps.rows, cpus * VITALD_BLOCK_ROWS);
      },
      [](block_latency_bpf& skel) {
        for (__u32 row = VITALD_BLOCK_OPS; row < VITALD_BLOCK_ROWS; ++row)
          bpf_map_update_elem(bpf_map__fd(skel.maps.free_rows), nullptr, &row, 0);
      });
  if (!probe) return probe_off(kName, probe.error());
  auto rows = MappedArray<vitald_block_row>::of(probe->skel->maps.rows);
  auto keys = MappedArray<vitald_block_key>::of(probe->skel->maps.keys);
  if (!rows) return probe_off(kName, rows.error());
  if (!keys) return probe_off(kName, keys.error());
  return std::make_unique<BlockLatency>(std::move(*probe), std::move(*rows), std::move(*keys));
}

}  // namespace

extern const CollectorInfo collector_block_latency;
const CollectorInfo collector_block_latency{kMetrics, {}, make};

}  // namespace vitald
