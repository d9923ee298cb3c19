// SPDX-License-Identifier: Apache-2.0
// Block IO latency per disk and operation, in the queue and in the device, with bytes and errors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/os/kernel_file.h"
#include "sensors/bpf/block.h"
#include "sensors/bpf/report.h"
#include "sensors/bpf/worst.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "block_latency";
// Those of the owners as well, since owner_io has its object: made anew together, both have the same new one.
constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDisksEveryNs = 30 * kSecond;
// How long a disk's requests have come with the kernel's times again before ours are given up.
constexpr std::int64_t kNotNeededNs = 300 * kSecond;
constexpr std::int64_t kAttachAgainNs = 60 * kSecond;

constexpr MetricDesc kQueue{"vitald_block_queue_latency_seconds",
                            MetricType::histogram,
                            "From the making of a block request to its handing over to the device.",
                            "device,operation",
                            "seconds",
                            "tp_btf/block_rq_complete"};
constexpr MetricDesc kDevice{
    "vitald_block_device_latency_seconds",
    MetricType::histogram,
    "From the handing over of a block request to its completion. A write that had to wait for a flush of the disk's "
    "cache includes it, as in node_disk_write_time_seconds_total; the flush itself is operation=\"flush\".",
    "device,operation",
    "seconds",
    "tp_btf/block_rq_complete"};
constexpr MetricDesc kBytes{"vitald_block_bytes_total",
                            MetricType::counter,
                            "Bytes moved by completed block requests.",
                            "device,operation",
                            "bytes",
                            "tp_btf/block_rq_complete"};
constexpr MetricDesc kErrors{"vitald_block_errors_total",
                             MetricType::counter,
                             "Block requests that completed with an error.",
                             "device,operation",
                             "",
                             "tp_btf/block_rq_complete"};
constexpr MetricDesc kUntimed{
    "vitald_block_untimed_total",
    MetricType::counter,
    "Block requests that completed without a known start or issue, and are not in the histograms.",
    "device,operation",
    "",
    "tp_btf/block_rq_complete"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kQueue, kDevice, kBytes, kErrors, kUntimed};

constexpr std::string_view kOps[] = {"read", "write", "flush", "discard", "other"};
static_assert(std::size(kOps) == VITALD_BLOCK_OPS);

struct Row {
  HistSum queue, device;
  Slowest slowest;  // of device
  std::uint64_t bytes = 0, errors = 0, untimed = 0, recorded = 0;
  void add(const vitald_block_row& k) {
    queue.add(k.queue);
    device.add(k.device);
    bytes += k.bytes;
    errors += k.errors;
    untimed += k.untimed;
    recorded += k.recorded;
  }
  [[nodiscard]] bool empty() const {
    return bytes == 0 && errors == 0 && untimed == 0 &&
           std::ranges::all_of(device.counts, [](auto n) { return n == 0; });
  }
};

std::string name_of(const vitald_block_key& key) { return {key.disk, strnlen(key.disk, sizeof key.disk)}; }

class BlockLatency final : public Collector {
 public:
  BlockLatency(const Host& host, SignalUse<BlockObject> block)
      : host_(host), block_(std::move(block)), report_(kName, block_->bpf.form()), rows_(VITALD_BLOCK_ROWS) {
    report_.watch(host.shared<KernelFacts>(), block_);
    report_.note("times kept by the kernel");
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    const auto now_ns = host_.clock().boot_ns();
    if (now_ns - disks_looked_ns_ >= kDisksEveryNs) {
      disks_looked_ns_ = now_ns;
      free_rows_of_removed_disks();
    }
    in_use_.clear();
    for (std::size_t row = 0; row < rows_.size(); ++row)
      if (used(row)) in_use_.push_back(row);
    for (const auto row : in_use_) update(row);

    each_row([&](const Row& r, auto disk, auto op) { out.histogram(kQueue, r.queue.view(), disk, op); });
    each_row([&](const Row& r, auto disk, auto op) {
      const auto exemplars = r.slowest.exemplars();
      out.histogram(kDevice, r.device.view(exemplars), disk, op);
    });
    each_row([&](const Row& r, auto disk, auto op) { out.set(kBytes, static_cast<double>(r.bytes), disk, op); });
    each_row([&](const Row& r, auto disk, auto op) { out.set(kErrors, static_cast<double>(r.errors), disk, op); });
    each_row([&](const Row& r, auto disk, auto op) { out.set(kUntimed, static_cast<double>(r.untimed), disk, op); });
    return time_ourselves(now_ns);
  }
  std::string status() const override { return report_.status(); }

 private:
  // The first rows are those of "other".
  [[nodiscard]] bool used(std::size_t row) const { return row < VITALD_BLOCK_OPS || block_->keys[row].disk[0] != 0; }

  // An exemplar is counted in its bucket: so it is taken first.
  void update(std::size_t row) {
    const auto boot_ns = SystemClock::read(CLOCK_BOOTTIME);
    Row r;
    r.slowest = std::move(rows_[row].slowest);
    for (std::size_t cpu = 0; cpu < block_->cpus.size(); ++cpu) {
      auto& counted = block_->rows[cpu * VITALD_BLOCK_ROWS + row];
      if (const auto worst = take_worst(counted.worst, boot_ns)) r.slowest.add(*worst, labels_of(*worst));
      r.add(counted);
    }
    rows_[row] = std::move(r);
  }
  // Whose request it was is known while somebody asks for the owners.
  [[nodiscard]] Slowest::Labels labels_of(const vitald_worst& worst) const {
    if (!block_->owners || worst.slot == 0) return exemplar_labels(worst, nullptr);
    const auto id = block_->owners->slots().owner_at(worst.slot, static_cast<std::int64_t>(worst.at_ns));
    const auto owner = id ? block_->owners->table().at(*id) : nullptr;
    return exemplar_labels(worst, owner ? &owner->owner : nullptr);
  }

  template <class F>
  void each_row(F&& f) const {
    for (const auto row : in_use_) {
      // Rows of "other" only where there is something: few hosts have more than 64 disks.
      if (row < VITALD_BLOCK_OPS && rows_[row].empty()) continue;
      const auto& key = block_->keys[row];
      const std::size_t op = row < VITALD_BLOCK_OPS ? row : key.op;
      const std::string_view disk(key.disk, strnlen(key.disk, sizeof key.disk));
      f(rows_[row], row < VITALD_BLOCK_OPS ? std::string_view("other") : disk, kOps[op < VITALD_BLOCK_OPS ? op : 4]);
    }
  }

  // A disk that is gone needs its rows no more; with its last request gone as well, nobody counts in them.
  void free_rows_of_removed_disks() {
    std::vector<__u32> freed;
    std::map<__u32, bool> there;
    for (std::size_t row = VITALD_BLOCK_OPS; row < rows_.size(); ++row) {
      if (!used(row)) continue;
      const auto key = block_->keys[row];
      const auto [known, is_new] = there.try_emplace(key.device);
      if (is_new) known->second = is_there(key);
      if (known->second) continue;
      bpf_map_delete_elem(bpf_map__fd(block_->bpf.skel().maps.row_of), &key);
      block_->keys[row] = {};
      rows_[row] = {};
      for (std::size_t cpu = 0; cpu < block_->cpus.size(); ++cpu)
        std::memset(&block_->rows[cpu * VITALD_BLOCK_ROWS + row], 0, sizeof(vitald_block_row));
      freed.push_back(static_cast<__u32>(row));
    }
    if (freed.empty()) return;
    // What CPUs remember of a disk is found by its address, where another may lie by then.
    for (std::size_t cpu = 0; cpu < block_->cpus.size(); ++cpu) block_->cpus[cpu].disk = 0;
    for (const auto row : freed) bpf_map_update_elem(bpf_map__fd(block_->bpf.skel().maps.free_rows), nullptr, &row, 0);
  }

  // /sys/dev/block/254:0 -> ../../devices/pci0000:00/.../block/vda; '/' in a name is '!' there.
  [[nodiscard]] bool is_there(const vitald_block_key& key) const {
    const auto link = read_link(host_.sysfs(fmt::format("dev/block/{}:{}", key.device >> 20, key.device & 0xfffff)));
    auto name = name_of(key);
    std::ranges::replace(name, '/', '!');
    return std::string_view(link).ends_with("/" + name);
  }

  // Of the disks whose requests come without times: queue/iostats is 0, or nothing there wants statistics. Their
  // requests alone are recorded on the way, and no longer than it is needed.
  Result<> time_ourselves(std::int64_t now_ns) {
    const int fd = bpf_map__fd(block_->bpf.skel().maps.untimed_disks);
    std::vector<__u32> disks;
    __u32 disk;
    for (const __u32* last = nullptr; bpf_map_get_next_key(fd, last, &disk) == 0; last = &disks.back())
      disks.push_back(disk);
    if (disks.empty() && untimed_.empty()) return {};
    std::string names;
    std::map<__u32, Untimed> now;
    for (const auto device : disks) {
      std::uint64_t needed = 0;
      std::string name;
      for (std::size_t row = VITALD_BLOCK_OPS; row < rows_.size(); ++row) {
        if (!used(row) || block_->keys[row].device != device) continue;
        needed += rows_[row].untimed + rows_[row].recorded;
        name = name_of(block_->keys[row]);
      }
      const auto known = untimed_.find(device);
      const bool again = known == untimed_.end() || known->second.needed != needed;
      if (!again && now_ns - known->second.since_ns >= kNotNeededNs) {
        bpf_map_delete_elem(fd, &device);
        continue;
      }
      now[device] = again ? Untimed{needed, now_ns} : known->second;
      names += (names.empty() ? "" : ", ") + name;
    }
    untimed_ = std::move(now);
    if (untimed_.empty()) {
      more_.clear();
      report_.note("times kept by the kernel");
      log::info("block requests come with the kernel's times again", {{"collector", kName}});
      return {};
    }
    if (more_.empty()) return record(now_ns, names);
    report_.note(fmt::format("insert and issue recorded: the kernel keeps no times for {}", names));
    return {};
  }

  // Both or none: one alone would give times that are wrong.
  Result<> record(std::int64_t now_ns, const std::string& names) {
    if (failed_ns_ && now_ns - *failed_ns_ < kAttachAgainNs) return {};
    std::vector<LinkPtr> links;
    for (const auto* program : {"on_insert", "on_issue"}) {
      auto link = block_->bpf.attach_program(block_.signal(), program);
      if (!link) {
        failed_ns_ = now_ns;
        return fail(link.error());
      }
      links.push_back(std::move(*link));
    }
    failed_ns_.reset();
    more_ = std::move(links);
    report_.note(fmt::format("insert and issue recorded: the kernel keeps no times for {}", names));
    log::info("block requests come without the kernel's times; recording insert and issue as well",
              {{"collector", kName}, {"disks", names}});
    return {};
  }

  const Host& host_;
  SignalUse<BlockObject> block_;
  ProbeReport report_;
  std::vector<Row> rows_;
  std::vector<std::size_t> in_use_;  // of the rows, in the last run
  struct Untimed {
    std::uint64_t needed = 0;  // requests without the kernel's times
    std::int64_t since_ns = 0;
  };
  std::map<__u32, Untimed> untimed_;
  std::vector<LinkPtr> more_;
  std::optional<std::int64_t> failed_ns_;
  std::int64_t disks_looked_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe block_latency: only on the running system");
  auto block = BlockObject::use(host, options, kBlockLatency);
  if (!block) return probe_off(kName, block.error());
  return std::make_unique<BlockLatency>(host, std::move(*block));
}

}  // namespace

extern const CollectorInfo collector_block_latency;
const CollectorInfo collector_block_latency{kMetrics, kFlags, make};

}  // namespace vitald
