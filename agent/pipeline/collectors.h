// SPDX-License-Identifier: Apache-2.0
// The collectors that are on, and one round of them. Belongs to the pipeline's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/worker/client.h"
#include "core/collector.h"
#include "core/snapshot.h"

namespace vitald {

// One row of the start-up report, the landing page and `vitald doctor`.
struct CollectorStatus {
  enum class State : std::uint8_t { on, off, unavailable, failed };
  std::string name;
  std::string_view folder;  // of sensors/: "bpf" is a probe
  bool worker = false;
  State state = State::off;
  std::string text;      // what is attached, or why it is not on
  bool expected = true;  // it should be on: failing is worth a number
  bool empty = false;    // the kernel has the interface and nothing in it: a success for node_exporter
  [[nodiscard]] bool probe() const { return folder == "bpf"; }
};
using CollectorStatuses = std::shared_ptr<const std::vector<CollectorStatus>>;

class Collectors {
 public:
  // How long a round waits for workers that usually answer within it.
  static constexpr std::int64_t kPatienceNs = 500'000'000;
  // How often something that this machine did not have is looked for again.
  static constexpr std::int64_t kRetryNs = 60'000'000'000;
  using MakeWorker = std::function<std::unique_ptr<WorkerClient>(std::string_view collector)>;

  // `entries`: collector_list(), or a test's own.
  Collectors(const Host& host, std::span<const CollectorEntry> entries, MakeWorker make_worker);
  ~Collectors();

  // Makes what is on by these options. A collector whose own flags did not change is kept with all it has
  // counted: a reload does not attach BPF programs anew.
  void configure(const std::shared_ptr<const Options>& options);
  // Tries again what this machine did not have: libvirtd may be installed later. Not the probes: the kernel
  // stays the same, and loading BPF is dear.
  void retry();

  // One round: asks the workers, runs the others, then waits at most `patience_ns` for those workers that
  // usually answer in that time. Appends batches in order of their collectors' names.
  void collect(std::vector<BatchPtr>& out, std::int64_t patience_ns);
  // The derivers, from what the snapshot has; adds their batches to it.
  void derive(Snapshot& snapshot);
  // Descriptors of workers that owe an answer, to be polled between rounds; watch() reads what came.
  void add_worker_fds(std::vector<int>& fds) const;
  [[nodiscard]] bool owed() const;  // there is one
  void watch();

  // The families this adds to every collector's own.
  static std::span<const MetricDesc> metrics();
  // Emits what no collector's own batch can tell: the workers' numbers, and failure for those that should
  // be on and could not be made.
  void emit_rest(BatchWriter& out) const;
  [[nodiscard]] CollectorStatuses status() const;
  // Whether status() says something else than at the last call of this.
  [[nodiscard]] bool take_changed() { return std::exchange(changed_, false); }

 private:
  struct Slot;
  [[nodiscard]] CollectorStatus make(const CollectorEntry& entry, bool quiet);
  std::int64_t run(Slot& slot, std::int64_t begin_ns, bool measure);
  void finish_worker(Slot& slot);
  void emit_health(Slot& slot, bool ok, double duration_s, double age_s, double cpu_s);
  void note(Slot& slot, const Error* error, std::span<const Error> problems, bool bug);
  [[nodiscard]] bool wait_for_workers(std::int64_t until_ns);
  void answered(Slot& slot, std::int64_t now_ns);

  const Host& host_;
  std::span<const CollectorEntry> entries_;
  MakeWorker make_worker_;
  std::vector<std::unique_ptr<Slot>> slots_;  // sorted by name; those that are on
  std::vector<CollectorStatus> not_on_;
  std::shared_ptr<const Options> options_;
  bool changed_ = false;
  std::uint64_t round_ = 0;
  const Snapshot* so_far_ = nullptr;  // what derivers see, while they run
  std::int64_t wall_offset_ns_ = 0;   // from boot time to wall time, in this round
};

}  // namespace vitald
