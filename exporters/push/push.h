// SPDX-License-Identifier: Apache-2.0
// Where metrics are pushed to, whatever kind it is of: settings that say how, an encoder that makes items of snapshots,
// and a queue in front of a destination (exporters/deliver). A kind is one file and one row in push.list.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/event.h"
#include "core/instruments.h"
#include "core/os/state_dir.h"
#include "core/snapshot.h"
#include "core/yaml/schema.h"
#include "exporters/deliver/destination.h"
#include "exporters/deliver/queue.h"
#include "exporters/encode/relabel.h"
#include "exporters/encode/series_table.h"

namespace vitald {

// What is sent of gauges: the last number, or the average or the highest of all snapshots since the last push.
enum class PushAggregate : std::uint8_t { last, avg, max };

// The thread that pushes only. Snapshots come in order.
class PushEncoder {
 public:
  virtual ~PushEncoder() = default;
  // Appends what is to be sent of this snapshot; Item::records are samples.
  virtual void encode(const Snapshot& snapshot, std::vector<Item>& out) = 0;
  // One that is not sent, but counts for averages.
  virtual void observe(const Snapshot&) {}
  // Nothing comes after it: what a server must be told so that it does not wait.
  virtual void end(std::int64_t wall_ms, std::vector<Item>& out);
  // Of the last snapshot.
  [[nodiscard]] virtual SeriesLeftOut left_out() const { return {}; }
};

// What is sent of a snapshot where that is lines.
Item item_of_lines(const Snapshot& snapshot, std::string_view lines, std::uint32_t count);

enum class Pushed : std::uint8_t { samples, events };

// One as it was configured. A kind derives from PushOf.
struct PushSettings {
  std::string name;                           // in logs and metrics; the folder of what waits for it
  std::int64_t interval_ns = 15'000'000'000;  // between two pushes
  std::int64_t timeout_ns = 30'000'000'000;   // of one attempt
  std::string aggregate = "last";
  std::size_t queue_memory_mib = 4, queue_disk_mib = 256;
  std::vector<std::string> labels;   // NAME=VALUE, for series that have no such label
  std::vector<RelabelRule> relabel;  // before they leave
  std::size_t most_series = 0;       // 0: all
  // The same for all; filled in by the agent.
  LabelMap target_labels, external_labels;
  const EventLog* events = nullptr;  // what happens; lives longer than who pushes. Null: nothing is known of it

  virtual ~PushSettings() = default;
  bool operator==(const PushSettings&) const = default;

  // For the report: "remote_write 'central' (https://mimir.example)".
  [[nodiscard]] virtual std::string text() const = 0;
  [[nodiscard]] virtual std::unique_ptr<PushEncoder> encoder() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Destination> destination() const = 0;
  // What is wrong with the settings themselves; empty: nothing.
  [[nodiscard]] virtual std::string problem() const;
  // What is wrong with it on this machine, for --config.check.
  virtual void check(std::vector<std::string>&) const {}
  // Whether it can be reached now: in words, or why not. For `vitald doctor`.
  [[nodiscard]] virtual Result<std::string> reach(const Attempt&) const;
  virtual void adjust(QueueSettings&) const {}
  [[nodiscard]] virtual Pushed pushed() const { return Pushed::samples; }
  // The files that it writes, which nobody else may write; `-`: standard output.
  [[nodiscard]] virtual std::vector<std::string> files() const { return {}; }
  // Only the newest numbers are of use: nothing waits on disk, and what is new takes the place of what waits.
  [[nodiscard]] virtual bool newest_only() const { return false; }
  // It is woken by every snapshot, and may miss some; `interval` is how long it waits for one before it has one made.
  [[nodiscard]] virtual bool every_snapshot() const { return false; }

  [[nodiscard]] virtual bool same(const PushSettings& other) const = 0;
  [[nodiscard]] virtual std::shared_ptr<PushSettings> copy() const = 0;

  [[nodiscard]] SeriesTable::Settings table() const;
  [[nodiscard]] PushAggregate aggregated() const;

 protected:
  PushSettings() = default;
  PushSettings(const PushSettings&) = default;
  PushSettings& operator=(const PushSettings&) = default;
};
using PushPtr = std::shared_ptr<const PushSettings>;

template <class S>
struct PushOf : PushSettings {
  bool operator==(const PushOf&) const = default;
  [[nodiscard]] bool same(const PushSettings& other) const final {
    const auto* o = dynamic_cast<const S*>(&other);
    return o && *o == static_cast<const S&>(*this);
  }
  [[nodiscard]] std::shared_ptr<PushSettings> copy() const final {
    return std::make_shared<S>(static_cast<const S&>(*this));
  }
};

// What the file of a kind exports as NAME_push; the row PUSH(NAME) finds it.
struct PushKind {
  std::string_view key;    // of the list below `push`
  std::string_view about;  // what an item of it is, for docs/config.md
  // Null: there was a problem, and it was said.
  std::shared_ptr<PushSettings> (*read)(YamlReader& reader, const YAML::Node& node, const std::string& path);
  std::string (*markdown)();
};
template <class S, const auto& kFields>
constexpr PushKind push_kind(std::string_view key, std::string_view about) {
  return {key, about,
          [](YamlReader& reader, const YAML::Node& node, const std::string& path) -> std::shared_ptr<PushSettings> {
            auto settings = std::make_shared<S>();
            if (!FieldReader<S>(reader, kFields).read(node, path, *settings)) return nullptr;
            const auto problem = settings->problem();
            if (problem.empty()) return settings;
            reader.say(node.Mark(), path, problem);
            return nullptr;
          },
          [] { return fields_markdown<S>(kFields); }};
}
// All of them, in the order of the list.
std::span<const PushKind* const> push_kinds();

// The rules below `relabel`, as a field reads them.
void read_relabel(YamlReader& reader, const YAML::Node& node, const std::string& at, std::vector<RelabelRule>& into);
std::string relabel_markdown();

// The keys that all kinds have.
template <class S>
constexpr auto push_fields() {
  return std::to_array<Field<S>>({
      {.key = "name",
       .at = &S::name,
       .help = "The destination in logs and metrics, and the folder of what waits for it.",
       .required = "one: it is the destination in logs and metrics"},
      {.key = "interval",
       .at = &S::interval_ns,
       .help = "How often it is sent the newest numbers.",
       .least = 100'000'000,
       .most = 86'400'000'000'000},
      {.key = "aggregate",
       .at = &S::aggregate,
       .help = "What is sent of gauges: `last`, or the `avg` or `max` of the numbers since the last push, which are "
               "collected every `pipeline.interval` then. Counters are what they are."},
      {.key = "labels",
       .at = &S::labels,
       .help = "Labels for series that do not have them: `[datacentre=west, rack=7]`.",
       .expected = "a list of NAME=VALUE"},
      {.key = "relabel",
       .at = &S::labels,
       .help = "Which series leave, and with which labels: rules in the order they are carried out (see below).",
       .expected = "a list of rules",
       .custom = [](YamlReader& reader, const YAML::Node& node, const std::string& at,
                    S& into) { read_relabel(reader, node, at, into.relabel); }},
      {.key = "max_series",
       .at = &S::most_series,
       .help = "What is beyond is left out, and counted; 0: all are sent.",
       .least = 0,
       .most = 10'000'000},
  });
}
// Of those for which numbers wait while they are away.
template <class S>
constexpr auto push_queue_fields() {
  return std::to_array<Field<S>>({
      {.key = "timeout",
       .at = &S::timeout_ns,
       .help = "An answer that takes longer is none.",
       .least = 1'000'000,
       .most = 3'600'000'000'000},
      {.key = "queue_memory",
       .at = &S::queue_memory_mib,
       .help = "MiB that wait in memory at most; without a state directory the oldest are dropped then.",
       .least = 1,
       .most = 1024},
      {.key = "queue_disk",
       .at = &S::queue_disk_mib,
       .help = "MiB that wait in the state directory at most; then the oldest are dropped.",
       .least = 1,
       .most = 1 << 20},
  });
}

// What is counted per destination, in samples. Thread-safe; the same for the same name.
struct PushCounters {
  // Events are counted by their queue: vitald_delivery_* with data_type="events". Nothing in a family of samples is of
  // them.
  explicit PushCounters(const std::string& destination, Pushed what = Pushed::samples);
  prometheus::Counter &sent_bytes, &encode_seconds, &switches;
  prometheus::Gauge& left_out;  // series
  prometheus::Gauge& standby;   // which server is sent to
  prometheus::Histogram& request_seconds;
  void answered(std::string_view code) const;  // "200", or "none"
  void made(std::uint64_t samples) const;
  void sent(std::uint64_t samples) const;
  void dropped(std::string_view reason, std::uint64_t samples) const;

 private:
  std::string destination_;
  prometheus::Counter *made_ = nullptr, *sent_ = nullptr;  // null: of events
};

// One destination that is being pushed to. One thread.
class Push {
 public:
  // `before` is the one of this name until now: what waits there goes on here.
  Push(PushPtr settings, std::shared_ptr<const StateDir> state, std::unique_ptr<Push> before = nullptr);
  ~Push();
  Push(const Push&) = delete;
  Push& operator=(const Push&) = delete;

  void push(const Snapshot& snapshot);
  void observe(const Snapshot& snapshot);
  // No snapshot comes any more: what the server must hear of that is queued.
  void finish(std::int64_t wall_ms);
  // Nothing waits and nothing is being sent.
  [[nodiscard]] bool idle() const;
  // It did not take what it was sent last.
  [[nodiscard]] bool failing() const;
  void stop();  // begins to end it; several end at the same time then
  void measure();
  [[nodiscard]] const PushSettings& settings() const { return *settings_; }

 private:
  PushPtr settings_;
  PushCounters counters_;
  std::unique_ptr<PushEncoder> encoder_;
  std::unique_ptr<Queue> queue_;
  struct {
    bool beyond = false, same = false, unnamed = false;
  } said_;  // of what is left out
};

}  // namespace vitald
