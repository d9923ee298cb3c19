// SPDX-License-Identifier: Apache-2.0
// The collectors that are on: made by the configuration, run round by round, those with a worker process beside those
// that run here. What takes several steps goes on from where it is, since a step that hangs costs its thread the baton.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/pipeline/away.h"
#include "agent/pipeline/baton.h"
#include "agent/pipeline/derive.h"
#include "agent/pipeline/health.h"
#include "agent/pipeline/runner.h"
#include "agent/worker/client.h"
#include "core/collector.h"
#include "core/snapshot.h"

namespace vitald {

inline constexpr std::string_view kProbesFolder = "bpf";  // of sensors/

// One row of the start-up report, the landing page and `vitald doctor`.
struct CollectorStatus {
  enum class State : std::uint8_t { on, off, unavailable, failed, starting };
  std::string name;
  std::string_view folder;  // of sensors/
  bool worker = false;
  State state = State::off;
  std::string text;                        // what is attached, or why it is not on
  bool expected = true;                    // it should be on: failing is worth a number
  bool by_name = false;                    // it was switched on by name
  std::vector<std::string> left_out = {};  // single items that its last run had to do without
  bool empty = false;  // the kernel has the interface and nothing in it: a success for node_exporter
  [[nodiscard]] bool probe() const { return folder == kProbesFolder; }
};
using CollectorStatuses = std::shared_ptr<const std::vector<CollectorStatus>>;

// All calls by whoever holds the baton. Those that return a bool return false when a step took so long that another
// thread holds it now: it calls step_hangs() and the same function again, and the caller must not touch anything.
class Collectors {
 public:
  // How long a round waits for workers that usually answer within it.
  static constexpr std::int64_t kPatienceNs = 500'000'000;
  static constexpr std::int64_t kRetryNs = Runner::kRetryNs;
  // Making one may parse the kernel's types or load BPF; sleeping so long it hangs.
  static constexpr std::int64_t kMakeNs = 1'000'000'000;
  using MakeWorker = std::function<std::unique_ptr<WorkerClient>(std::string_view collector)>;

  // `entries`: collector_list(), or a test's own.
  Collectors(const Host& host, std::span<const CollectorEntry> entries, MakeWorker make_worker, Baton& baton,
             Away& away);
  ~Collectors();

  // Makes what is on by these options. A collector whose own flags did not change is kept with all it has
  // counted: a reload does not attach BPF programs anew.
  // `probes_later`: those that nobody asked for by name and that are not there yet are left to make_next(), one a call.
  void begin_configure(std::shared_ptr<const Options> options, bool probes_later = false);
  [[nodiscard]] bool configure();
  // The kernel takes about a second of CPU to check all programs: too long for a first answer to wait for.
  void begin_make_next() { make_next_ = true; }
  [[nodiscard]] bool make_next();
  [[nodiscard]] std::size_t left_to_make() const { return later_.size(); }
  // Tries again what this machine did not have: libvirtd may be installed later. Not the probes: the kernel
  // stays the same, and loading BPF is dear.
  void begin_retry() { next_entry_ = 0; }
  [[nodiscard]] bool retry();

  // One round: asks the workers, runs the others, then waits at most `patience_ns` for those workers that
  // usually answer in that time. Appends batches in order of their collectors' names.
  void begin_round(std::int64_t patience_ns);
  [[nodiscard]] bool round(std::vector<BatchPtr>& out);
  // Then the derivers, from what the snapshot has, and how all of them are; adds their batches to it.
  void finish_round(Snapshot& snapshot);

  // The holder before is away in a step.
  void step_hangs();
  // Threads that are away have brought something back, or something waits for one.
  [[nodiscard]] bool collect_again() const { return !late_.empty() || !orphans_.empty(); }

  // Descriptors of workers that owe an answer, to be polled between rounds; watch() reads what came.
  void add_worker_fds(std::vector<int>& fds) const;
  // Readable when their collectors have news (Collector::news_fd).
  struct News {
    int fd;
    const CollectorEntry* collector;
  };
  void add_news(std::vector<News>& news) const;
  [[nodiscard]] bool owed() const;  // there is one
  void watch();

  [[nodiscard]] CollectorStatuses status() const;
  // Whether status() says something else than at the last call of this.
  [[nodiscard]] bool take_changed();

 private:
  struct Slot;
  struct Making;
  [[nodiscard]] bool make(const CollectorEntry& entry, bool quiet);
  [[nodiscard]] bool configure(const CollectorEntry& entry);
  void adopt(Making& making);
  [[nodiscard]] bool let_go(std::unique_ptr<Slot> slot);
  [[nodiscard]] bool look_for_returned();
  [[nodiscard]] bool blocked(const CollectorEntry& entry) const;
  CollectorStatus& not_on(const CollectorEntry& entry);
  void finish_worker(Slot& slot, std::vector<BatchPtr>& out);
  [[nodiscard]] bool wait_for_workers(std::int64_t until_ns);
  void answered(Slot& slot, std::int64_t now_ns);
  void derive(Snapshot& snapshot);
  [[nodiscard]] BatchPtr health();

  const Host& host_;
  std::span<const CollectorEntry> entries_;
  MakeWorker make_worker_;
  Baton& baton_;
  Away& away_;
  std::vector<std::unique_ptr<Slot>> slots_;  // sorted by name; those that are on
  std::vector<CollectorStatus> not_on_;
  std::shared_ptr<const Options> options_;
  bool changed_ = false;
  HealthWriter health_;

  // Where a configuration, a retry or a round is.
  std::vector<std::unique_ptr<Slot>> old_;
  std::vector<const CollectorEntry*> owed_;   // for want of memory
  std::vector<const CollectorEntry*> later_;  // the next one last
  bool probes_later_ = false, make_next_ = false;
  std::size_t next_entry_ = 0, next_slot_ = 0;
  std::int64_t round_begin_ns_ = 0, round_end_ns_ = 0, patience_ns_ = 0;
  std::int64_t wall_offset_ns_ = 0;  // from boot time to wall time, in this round
  SoFar so_far_;                     // its vectors are kept from cycle to cycle, so that none is made anew
  std::vector<Slot*> derivers_;      // the same
  std::uint64_t round_ = 0;
  // The step that is being done.
  Slot* running_ = nullptr;
  std::shared_ptr<Making> making_;
  std::string letting_go_;

  // With threads that are away: collectors that are being made, and some that are not wanted any more.
  std::vector<std::shared_ptr<Making>> late_;
  std::vector<std::unique_ptr<Slot>> orphans_;
};

}  // namespace vitald
