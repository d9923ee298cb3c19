// SPDX-License-Identifier: Apache-2.0
// Who is told of alerts, whatever kind he is of: settings that say how, and a queue in front of a destination. A kind
// is one file and one row in destinations.list (docs/adding-a-destination.md).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/os/state_dir.h"
#include "core/yaml/schema.h"
#include "exporters/deliver/destination.h"
#include "exporters/deliver/queue.h"

namespace vitald {

// One receiver as it was configured. A kind derives from ReceiverOf.
struct ReceiverSettings {
  std::string name;                          // in logs, metrics and messages; the folder of what waits for it
  std::int64_t timeout_ns = 10'000'000'000;  // of one attempt
  std::size_t queue_limit = 10'000;          // that wait; the oldest is dropped and counted when it is full
  // Only of alerts that all of these fit, as in Alertmanager: severity="critical", alertname!~"Host.*".
  std::vector<std::string> matchers;
  // Silences and inhibitions apply. Not to one that has its own.
  bool mutes = true;
  // The same for all; filled in by the agent.
  std::string external_url;
  LabelMap external_labels;
  std::int64_t evaluated_every_ns = 0;  // nothing is repeated more often than that

  virtual ~ReceiverSettings() = default;
  bool operator==(const ReceiverSettings&) const = default;

  // For the report: "command 'pager' (/usr/bin/page --now)".
  [[nodiscard]] virtual std::string text() const = 0;
  // What is delivered, complete: the run that delivers it may be a later one. Its key and time are filled in.
  [[nodiscard]] virtual std::string body(const AlertTransition& transition) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Destination> destination() const = 0;
  // One that wants to hear now and then what still fires: how often (0: not), and what it is told then.
  [[nodiscard]] virtual std::int64_t repeat_ns() const { return 0; }
  [[nodiscard]] virtual std::string repeated(std::span<const Alert>) const { return {}; }
  // Whether it wants to hear, too, that nothing does.
  [[nodiscard]] virtual bool repeats_none() const { return false; }
  // What is wrong with it on this machine, for --config.check.
  virtual void check(std::vector<std::string>&) const {}
  // Whether it can be reached now, without telling it anything: in words, or why not. For `vitald doctor`.
  [[nodiscard]] virtual Result<std::string> reach(const Attempt&) const;
  // More than name, limit and timeout.
  virtual void adjust(QueueSettings&) const {}

  [[nodiscard]] virtual bool same(const ReceiverSettings& other) const = 0;
  [[nodiscard]] virtual std::shared_ptr<ReceiverSettings> copy() const = 0;

 protected:
  ReceiverSettings() = default;
  ReceiverSettings(const ReceiverSettings&) = default;
  ReceiverSettings& operator=(const ReceiverSettings&) = default;
};
using ReceiverPtr = std::shared_ptr<const ReceiverSettings>;

template <class S>
struct ReceiverOf : ReceiverSettings {
  bool operator==(const ReceiverOf&) const = default;
  [[nodiscard]] bool same(const ReceiverSettings& other) const final {
    const auto* o = dynamic_cast<const S*>(&other);
    return o && *o == static_cast<const S&>(*this);
  }
  [[nodiscard]] std::shared_ptr<ReceiverSettings> copy() const final {
    return std::make_shared<S>(static_cast<const S&>(*this));
  }
};

// What the file of a kind exports as NAME_receiver; the row DESTINATION(NAME) finds it.
struct ReceiverKind {
  std::string_view key;    // of the list below `notify`
  std::string_view about;  // what an item of it is, for docs/config.md
  // Null: there was a problem, and it was said.
  std::shared_ptr<ReceiverSettings> (*read)(YamlReader& reader, const YAML::Node& node, const std::string& path);
  std::string (*markdown)();
};
template <class S, const auto& kFields>
constexpr ReceiverKind receiver_kind(std::string_view key, std::string_view about) {
  return {key, about,
          [](YamlReader& reader, const YAML::Node& node, const std::string& path) -> std::shared_ptr<ReceiverSettings> {
            auto settings = std::make_shared<S>();
            return FieldReader<S>(reader, kFields).read(node, path, *settings) ? settings : nullptr;
          },
          [] { return fields_markdown<S>(kFields); }};
}

// The keys that all kinds have.
template <class S>
constexpr Field<S> kNameField{
    .key = "name",
    .at = &S::name,
    .help = "The receiver in logs, metrics and the message, and the folder of what waits for it.",
    .required = "one: it is the receiver in logs and metrics"};
template <class S>
constexpr Field<S> kQueueLimitField{
    .key = "queue_limit",
    .at = &S::queue_limit,
    .help = "How many alerts wait at most; then the oldest is dropped, counted and named in the log.",
    .least = 1,
    .most = 100'000};
template <class S>
constexpr Field<S> kMatchersField{
    .key = "matchers",
    .at = &S::matchers,
    .help =
        "It is told only of alerts whose labels fit all of these, as in Alertmanager: `severity=\"critical\"`, "
        "`alertname!~\"Watchdog|Host.*\"`. Without any it hears every alert.",
    .expected = "a list such as [severity=\"critical\"]"};
template <class S>
constexpr Field<S> timeout_field(std::string_view help) {
  return {.key = "timeout", .at = &S::timeout_ns, .help = help, .least = 1'000'000, .most = 3'600'000'000'000};
}

// All of them, in the order of the list.
std::span<const ReceiverKind* const> receiver_kinds();

// What waits survives a restart where there is a state folder; then notify() returns when it is on disk.
class Receiver {
 public:
  // `before` is the one of this name until now: what waits there goes on here.
  explicit Receiver(ReceiverPtr settings, std::shared_ptr<const StateDir> state = nullptr,
                    std::unique_ptr<Receiver> before = nullptr);
  ~Receiver();  // ends what it is at, within a second; that comes again when what waits was kept
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // From any thread; never waits for the destination, and for a disk that hangs a second, once.
  void notify(std::span<const AlertTransition> transitions);
  void notify(const AlertTransition& transition) { notify({&transition, 1}); }
  // What fires, for one that wants to hear it again: when its time has come and nothing waits. By one thread.
  [[nodiscard]] bool wants_repetition(std::int64_t now_boot_ns) const;
  void repeat(std::span<const Alert> firing, std::int64_t now_boot_ns);
  // One more message, whose body is the kind's own.
  void say(std::string key, std::string body);
  void stop();     // begins to end it; several end at the same time then
  void measure();  // brings metrics of waiting up to date
  [[nodiscard]] const ReceiverSettings& settings() const { return *settings_; }

 private:
  ReceiverPtr settings_;
  std::unique_ptr<Queue> queue_;
  std::int64_t repeated_boot_ns_ = INT64_MIN / 2;
};

}  // namespace vitald
