// SPDX-License-Identifier: Apache-2.0
// What people say about alerts: that somebody has one in hand (acknowledgement), that some are to be quiet for a while
// (silence), and which ones follow from others (inhibition). An alert stays what it is; receivers are not told of it
// while it is muted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/alert.h"
#include "core/mutex.h"
#include "core/result.h"
#include "core/text/sections.h"
#include "rules/promql/ast.h"
#include "rules/promql/pattern.h"

namespace vitald {

using Matchers = std::vector<promql::Matcher>;
// All of them, of the labels as they are sent; a label that is not there is an empty one.
bool fits(const Matchers& matchers, const LabelMap& labels, const LabelMap& external = {});
// `severity="critical"`, `alertname=~"Disk.*"`, or several with commas between, braces around them or not.
// `budget`: what the regular expressions may take; null: as much as the owner's.
Result<Matchers> parse_alert_matchers(std::string_view text, promql::PatternBudget* budget = nullptr);
// Of its parts, as Alertmanager's API has them.
Result<promql::Matcher> alert_matcher(std::string_view name, std::string_view value, bool is_regex, bool is_equal,
                                      promql::PatternBudget* budget = nullptr);
std::string matchers_text(const Matchers& matchers);

struct Silence {
  std::string id;  // a UUID
  Matchers matchers;
  std::int64_t starts_ms = 0, ends_ms = 0, updated_ms = 0;
  std::string created_by, comment;

  [[nodiscard]] const char* state(std::int64_t now_ms) const {
    return now_ms >= ends_ms ? "expired" : now_ms < starts_ms ? "pending" : "active";
  }
};

struct Acknowledgement {
  std::string by, comment;
  std::int64_t at_ms = 0, until_ms = 0;  // 0: as long as the alert is there
};

// alerts: [{source_matchers: [...], target_matchers: [...], equal: [...]}], as Alertmanager has them.
struct InhibitRule {
  Matchers source, target;
  std::vector<std::string> equal;
};

// Why receivers are not told of an alert.
struct Muting {
  std::vector<std::string> silenced_by;     // ids
  std::vector<std::uint64_t> inhibited_by;  // fingerprints
  [[nodiscard]] bool muted() const { return !silenced_by.empty() || !inhibited_by.empty(); }
};

struct Marks;

// Silences and inhibitions at one moment, made ready: each look at an alert costs what mutes it, not what fires.
class Mutes {
 public:
  // Of those that inhibit an alert so many are named.
  static constexpr std::size_t kMostNamed = 20;

  // `external`: labels that are sent with each alert; both sides of an inhibition are compared as they are sent.
  Mutes(std::shared_ptr<const Marks> marks, std::shared_ptr<const std::vector<InhibitRule>> inhibit,
        const LabelMap& external, std::span<const Alert* const> firing, std::int64_t now_ms);
  // Of an alert of these labels.
  [[nodiscard]] Muting of(const LabelMap& labels) const;

 private:
  // Fingerprints of those that fire on the source's side and have the same `equal` labels.
  struct Sources {
    std::vector<std::uint64_t> only, target_too;  // not on the target's side, or on both
  };
  struct Inhibition {
    const InhibitRule* rule;
    std::unordered_map<std::string, Sources> by_equal;
  };
  [[nodiscard]] std::string equal_of(const InhibitRule& rule, const LabelMap& labels) const;

  const LabelMap& external_;
  std::shared_ptr<const Marks> marks_;
  std::shared_ptr<const std::vector<InhibitRule>> inhibit_;
  std::vector<const Silence*> active_;
  std::vector<Inhibition> inhibitions_;
};

// What was said, at one moment; never changes.
struct Marks {
  std::vector<Silence> silences;
  std::map<std::uint64_t, Acknowledgement> acknowledged;  // by fingerprint

  // Null: nobody has it in hand. One of an earlier time that the alert was there does not count.
  [[nodiscard]] const Acknowledgement* acknowledgement(const Alert& alert, std::int64_t now_ms) const;
};
Result<> save(const Marks& marks, SectionWriter::Sink sink);
// Leaves out, with a line in the log, silences whose matchers are refused.
Result<Marks> load_marks(SectionReader::Source source, std::size_t file_bytes);

// From any thread. Changes wait for the disk, looking does not.
class Silences {
 public:
  static constexpr std::size_t kMostSilences = 1000, kMostAcknowledged = 10'000;
  // Of the regular expressions of all silences (promql::pattern_work): each start compiles them, and each look at the
  // alerts tries them.
  static constexpr std::uint64_t kMostWork = 500'000;
  static promql::PatternBudget budget();  // of one
  static constexpr std::int64_t kKeepExpiredMs = std::int64_t{5} * 24 * 3'600'000;

  // Where it is kept, and what an earlier run left there. Without one it is forgotten at the end.
  using Store = std::function<Result<>(const Marks&)>;
  explicit Silences(Store store = nullptr, Marks marks = {})
      : store_(std::move(store)), marks_(std::make_shared<const Marks>(std::move(marks))) {}

  void set_inhibit_rules(std::vector<InhibitRule> rules);
  [[nodiscard]] std::shared_ptr<const Marks> marks() const;

  // Each is in force when it is on disk; on error nothing has changed.
  // A new one, or another version of the one of this id. The id.
  Result<std::string> put(Silence silence, std::int64_t now_ms);
  // absent: there is none of this id. One that has expired stays so.
  Result<> expire(const std::string& id, std::int64_t now_ms);
  Result<> acknowledge(const Alert& alert, Acknowledgement acknowledgement, std::int64_t now_ms);
  // absent: nobody had acknowledged it.
  Result<> withdraw(const Alert& alert, std::int64_t now_ms);

  // The same for many alerts: made once, then asked for each. It refers to what it is given.
  [[nodiscard]] Mutes mutes(const LabelMap& external, std::span<const Alert* const> firing, std::int64_t now_ms) const;
  [[nodiscard]] Mutes mutes(LabelMap&& external, std::span<const Alert* const> firing,
                            std::int64_t now_ms) const = delete;
  // Of an alert of these labels; both sides of an inhibition are compared as they are sent. `firing`: all alerts that
  // fire.
  [[nodiscard]] Muting muting(const LabelMap& labels, const LabelMap& external, std::span<const Alert* const> firing,
                              std::int64_t now_ms) const;
  // Nothing can be muted.
  [[nodiscard]] bool idle() const;

 private:
  Result<> change(std::int64_t now_ms, const std::function<Result<>(Marks&)>& how);

  const Store store_;
  Mutex changing_;  // held over a write, by who changes something
  mutable Mutex mutex_;
  std::shared_ptr<const Marks> marks_ GUARDED_BY(mutex_);
  std::shared_ptr<const std::vector<InhibitRule>> inhibit_ GUARDED_BY(mutex_) =
      std::make_shared<const std::vector<InhibitRule>>();
};

// Of this occurrence of an alert on this machine: the same as long as it is there, another one when it comes again.
std::string alert_uuid(const Alert& alert, std::string_view machine);

}  // namespace vitald
