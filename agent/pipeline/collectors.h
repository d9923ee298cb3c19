// SPDX-License-Identifier: Apache-2.0
// The collectors that are on, and one round of them. Belongs to the pipeline's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/worker/client.h"
#include "core/collector.h"
#include "core/snapshot.h"

namespace vitald {

// One row of the start-up report, the landing page and `vitald doctor`.
struct CollectorStatus {
  enum class State : std::uint8_t { on, off, unavailable, failed };
  std::string name;
  bool probe = false;
  bool worker = false;
  State state = State::off;
  std::string text;  // what is attached, or why it is not on
};
using CollectorStatuses = std::shared_ptr<const std::vector<CollectorStatus>>;

class Collectors {
 public:
  using MakeWorker = std::function<std::unique_ptr<WorkerClient>(std::string_view collector)>;

  // `entries`: collector_list(), or a test's own.
  Collectors(const Host& host, std::span<const CollectorEntry> entries, MakeWorker make_worker);
  ~Collectors();

  // Makes what is on by these options. A collector whose own flags did not change is kept with all it has
  // counted: a reload does not attach BPF programs anew.
  void configure(const std::shared_ptr<const Options>& options);

  // One round: asks the workers, runs the others, then waits at most `patience_ns` for those workers that
  // usually answer in that time. Appends batches in order of their collectors' names.
  void collect(std::vector<BatchPtr>& out, std::int64_t patience_ns);
  // Descriptors of workers that owe an answer, to be polled between rounds; watch() reads what came.
  void add_worker_fds(std::vector<int>& fds) const;
  void watch();

  // The families this adds to every collector's own.
  static std::span<const MetricDesc> metrics();
  // Emits the workers' own numbers.
  void emit_workers(BatchWriter& out) const;
  [[nodiscard]] CollectorStatuses status() const;

 private:
  struct Slot;
  void run(Slot& slot);
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
};

}  // namespace vitald
