// SPDX-License-Identifier: Apache-2.0
// Who was killed for want of memory: counted per owner, and each one logged.
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/os/fd.h"
#include "sensors/bpf/memory.h"
#include "sensors/bpf/owners.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "oom_kills";
constexpr std::size_t kMostOwners = 256;  // that ever lost a process; kills of more than these count as "other"

constexpr MetricDesc kKills{
    "vitald_owner_oom_kills_total",
    MetricType::counter,
    "Processes killed for want of memory, by owner of the victim, and whether its memory cgroup reached its limit "
    "(memcg) or the host ran out (global).",
    "scope,owner_kind,owner,namespace,pod,container,guest",
    "",
    "tp_btf/mark_victim"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kKills};

struct Kills {
  std::uint64_t global, memcg;
};
constexpr OwnerField kFields[] = {
    {kKills, offsetof(Kills, global), 1, {"scope", "global"}},
    {kKills, offsetof(Kills, memcg), 1, {"scope", "memcg"}},
};

class OomKills final : public Collector {
 public:
  OomKills(const Host& host, SignalUse<MemoryObject> memory)
      : host_(host),
        memory_(std::move(memory)),
        report_(kName, memory_->bpf.form()),
        table_(host.shared<OwnerTable>()),
        totals_(table_),
        read_(sequence()) {
    report_.watch(host.shared<KernelFacts>(), memory_);
    report_.note(fmt::format("owners by {}", describe(memory_->v1)));
    if (memory_->bpf.skel().rodata->has_news)
      news_.reset(ring_buffer__new(bpf_map__fd(memory_->bpf.skel().maps.news), ignore, nullptr, nullptr));
  }
  ~OomKills() override {
    for (const auto owner : held_) table_.release(owner);
  }
  OomKills(const OomKills&) = delete;
  OomKills& operator=(const OomKills&) = delete;

  Result<> collect(BatchWriter& out) override {
    // Read while it is off as well: what happened before is told, and news that nobody takes would wake us for ever.
    const bool on = report_.emit(out);
    if (news_) ring_buffer__consume(news_.get());
    for (const auto last = sequence(); read_ < last; ++read_) {
      const vitald_oom_record record = memory_->records[read_ % VITALD_OOM_RECORDS];
      // Overwritten: more were killed at once than there are records.
      if (record.sequence != read_ + 1) totals_.add(kOtherOwner, {1, 0});
      else count(record, out);
    }
    table_.cycle(host_.clock().boot_ns());
    totals_.begin_round();
    totals_.end_round();
    if (on) emit_fields<Kills>(kFields, totals_.entries(), out);
    return {};
  }
  std::string status() const override { return report_.status(); }
  // So that a kill is logged when it happens and not at the next cycle.
  int news_fd() const override { return news_ ? ring_buffer__epoll_fd(news_.get()) : -1; }

 private:
  static std::string comm_of(const char (&comm)[16]) { return {comm, strnlen(comm, sizeof comm)}; }
  static int ignore(void*, void*, std::size_t) { return 0; }

  [[nodiscard]] std::uint64_t sequence() const { return now_in(memory_->bpf.skel().bss->sequence); }

  // The victim's owner. It is kept for good: what was killed is asked for long after it is gone.
  OwnerId owner_of(const CgroupPaths& paths) {
    const auto id = table_.hold(paths);
    if (totals_.has(table_.at(id)->id)) {
      table_.release(id);
      return id;
    }
    if (held_.size() >= kMostOwners) {
      table_.release(id);
      return kOtherOwner;
    }
    held_.push_back(id);
    return id;
  }

  void count(const vitald_oom_record& record, BatchWriter& out) {
    // Only the pid was seen: it was exiting already, and the record's paths are an earlier one's.
    CgroupPaths paths;
    if (record.seen) paths = {path_text(record.v2), memory_->v1.id != 0 ? path_text(record.v1) : std::string()};
    const auto id = record.seen ? owner_of(paths) : kOtherOwner;
    totals_.add(id, record.memcg ? Kills{0, 1} : Kills{1, 0});
    table_.cycle(host_.clock().boot_ns());  // its name, if it has to be looked up
    const auto owner = table_.at(id);
    const auto comm = comm_of(record.comm);
    Event event;
    event.type = "oom_kill";
    event.boot_ns = host_.clock().boot_ns();
    event.fields = {{"pid", fmt::to_string(record.pid)},
                    {"comm", comm},
                    {"scope", record.memcg ? "memcg" : "global"},
                    {"owner_kind", std::string(to_string(owner->owner.kind))},
                    {"owner", owner->owner.name}};
    if (record.seen) event.fields.emplace_back("cgroup", cgroup_of(paths));
    std::string where;
    if (record.memcg) {
      const auto limited = path_text(record.limit);
      const auto bytes = record.limit_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
      where = fmt::format(" within the limit of {} ({:.1f} MiB)", limited, static_cast<double>(bytes) / 1048576);
      event.fields.insert(event.fields.end(), {{"limit_cgroup", limited}, {"limit_bytes", fmt::to_string(bytes)}});
    }
    if (record.seen)
      event.fields.insert(event.fields.end(), {{"asked_by_pid", fmt::to_string(record.asker_pid)},
                                               {"asked_by_comm", comm_of(record.asker_comm)}});
    event.text =
        fmt::format("out of memory{}: killed {} (process {}) of {}", where, comm, record.pid, owner->owner.name);
    const auto field = [&](std::string_view key) {
      const auto it = std::ranges::find(event.fields, key, [](const auto& f) { return std::string_view(f.first); });
      return log::Field{key, it == event.fields.end() ? std::string_view() : std::string_view(it->second)};
    };
    log::warn("out of memory: killed a process",
              {field("pid"), field("comm"), field("scope"), field("owner_kind"), field("owner"), field("cgroup"),
               field("limit_cgroup"), field("limit_bytes"), field("asked_by_pid"), field("asked_by_comm")});
    out.event(std::move(event));
  }

  const Host& host_;
  SignalUse<MemoryObject> memory_;
  ProbeReport report_;
  OwnerTable& table_;
  OwnerTotals<Kills> totals_;
  std::vector<OwnerId> held_;
  std::uint64_t read_;
  std::unique_ptr<ring_buffer, Call<&ring_buffer__free>> news_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe oom_kills: only on the running system");
  auto memory = MemoryObject::use(host, options, kOomKills);
  if (!memory) return probe_off(kName, memory.error());
  return std::make_unique<OomKills>(host, std::move(*memory));
}

}  // namespace

extern const CollectorInfo collector_oom_kills;
const CollectorInfo collector_oom_kills{kMetrics, kProbeFlags, make};

}  // namespace vitald
