// SPDX-License-Identifier: Apache-2.0
// What every source of numbers implements. Adding one: docs/adding-a-collector.md.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/batch.h"
#include "core/host.h"
#include "core/metric.h"
#include "core/options.h"
#include "core/result.h"

namespace vitald {

class Collector {
 public:
  virtual ~Collector() = default;

  // Reads once and emits. On whatever thread runs the cycle, never concurrently with itself. May return an error after
  // having emitted: the good part is kept, node_scrape_collector_success is 0 and the text is logged when
  // it changes. Should not block: what usually can has `worker` in collectors.list; one that hangs fails, by name.
  virtual Result<> collect(BatchWriter& out) = 0;

  // One line for the start-up report and `vitald doctor` beyond on/off, e.g. which BPF hook was attached.
  // Empty: nothing worth saying. Called by the thread that calls collect().
  [[nodiscard]] virtual std::string status() const { return {}; }

  // A descriptor that becomes readable when there is news that should not wait for the next cycle (a ring buffer of
  // events); collect() reads it empty. -1: none.
  [[nodiscard]] virtual int news_fd() const { return -1; }
};

class Deriver;

// What a collector's file exports; the line in sensors/collectors.list finds it by its name.
struct CollectorInfo {
  std::span<const MetricDesc> metrics;  // the static families; a help of "*" rows in docs for run-time ones
  std::span<const FlagSpec> flags;
  // Errors: absent when this machine has nothing to collect, anything else is reported to the user.
  Result<std::unique_ptr<Collector>> (*make)(const Host& host, const Options& options) = nullptr;
  // Flags that belong to others and that make() reads too: a reload that changes one makes this collector anew.
  std::span<const std::string_view> others_flags = {};
  // In place of make() where the list says `after`.
  Result<std::unique_ptr<Deriver>> (*derive)(const Host& host, const Options& options) = nullptr;
  // What news_fd() tells of is nothing but numbers that move: for rules that read them, and for nobody else.
  bool news_are_numbers = false;
};

enum class DefaultState : std::uint8_t {
  on,
  off,
  detect,  // on where make() succeeds; absent is silent
};
enum class Runs : std::uint8_t {
  here,    // in the agent, on the thread that runs the cycle
  worker,  // in a process of its own: `vitald worker NAME`
  after,   // a Deriver: when the others of the cycle are done, from their batches
};

// One line of sensors/collectors.list.
struct CollectorEntry {
  std::string_view name;
  std::string_view folder;  // "bpf": a probe, switched by --probe.NAME instead of --collector.NAME
  DefaultState state;
  Runs runs;
  const CollectorInfo* info;
};

// All of them, in the order of the list (defined in sensors/registry.cpp).
std::span<const CollectorEntry> collector_list();

}  // namespace vitald
