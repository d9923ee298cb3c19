// SPDX-License-Identifier: Apache-2.0
// Who was killed for want of memory: counted per owner, and each one logged.
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cstddef>
#include <memory>

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
    report_.emit(out);
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
    emit_fields<Kills>(kFields, totals_.entries(), out);
    return {};
  }
  std::string status() const override { return report_.status(); }
  // So that a kill is logged when it happens and not at the next cycle.
  int news_fd() const override { return news_ ? ring_buffer__epoll_fd(news_.get()) : -1; }

 private:
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
    CgroupPaths paths{path_text(record.v2), memory_->v1.id != 0 ? path_text(record.v1) : std::string()};
    // Only the pid was seen: it was exiting already.
    const auto id = record.seen ? owner_of(paths) : kOtherOwner;
    totals_.add(id, record.memcg ? Kills{0, 1} : Kills{1, 0});
    table_.cycle(host_.clock().boot_ns());  // its name, if it has to be looked up
    const auto owner = table_.at(id);
    log::warn("out of memory: killed a process",
              {{"pid", fmt::to_string(record.pid)},
               {"comm", std::string_view(record.comm, strnlen(record.comm, sizeof record.comm))},
               {"scope", record.memcg ? "memcg" : "global"},
               {"owner_kind", to_string(owner->owner.kind)},
               {"owner", owner->owner.name},
               {"cgroup", paths.v1.empty() || paths.v2 != "/" ? paths.v2 : paths.v1}});
    const std::string comm(record.comm, strnlen(record.comm, sizeof record.comm));
    Event event;
    event.type = "oom_kill";
    event.boot_ns = host_.clock().boot_ns();
    event.text = fmt::format("out of memory{}: killed {} (process {}) of {}",
                             record.memcg ? " within its cgroup's limit" : "", comm, record.pid, owner->owner.name);
    event.fields = {{"pid", fmt::to_string(record.pid)},
                    {"comm", comm},
                    {"scope", record.memcg ? "memcg" : "global"},
                    {"owner_kind", std::string(to_string(owner->owner.kind))},
                    {"owner", owner->owner.name},
                    {"cgroup", paths.v1.empty() || paths.v2 != "/" ? paths.v2 : paths.v1}};
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
const CollectorInfo collector_oom_kills{kMetrics, {}, make};

}  // namespace vitald
