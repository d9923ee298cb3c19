// SPDX-License-Identifier: Apache-2.0
// What is wrong with this host, an owner or a guest, in the words of the USE method. A table of conditions on our own
// series says so, deploy/verdict.yaml, which is built in; nothing is evaluated unless somebody asks.
//
//   verdicts:
//     - verdict: cpu_contended
//       resource: cpu
//       says: Tasks wait for a CPU that others use
//       when:
//         - {what: share of the time that a task waits for a CPU, above: 0.3,
//            expr: 'rate(node_pressure_cpu_waiting_seconds_total[$window])'}
//       who: 'sum by (owner_kind, owner) (rate(vitald_owner_cpu_seconds_total[$window]))'
//
// A condition is known to hold, known not to, or unknown because its series are not there. It is wrong where all hold;
// it is well where one is known not to; otherwise nobody knows, and the answer says why.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rules/query.h"

namespace vitald {

struct VerdictCondition {
  std::string what;  // in words
  std::string expr;  // PromQL; $window is a duration
  bool above = true;
  double threshold = 0;
};
struct VerdictRule {
  std::string id;       // of the rule, for who wants to know which one says so; the verdict where none is given
  std::string verdict;  // cpu_contended
  std::string resource, says;
  std::vector<VerdictCondition> when;  // the objects are those of the first one
  std::string who;                     // who may cause it: PromQL, the greatest first; empty: not asked
  bool optional = false;               // without its series there is no such thing here, and nothing to say
};

// All problems, each "file:line:column: what, expected what"; then the result is of no use.
std::vector<VerdictRule> load_verdicts(std::string_view yaml, const std::string& file,
                                       std::vector<std::string>& problems, const promql::Language& language = {});
// deploy/verdict.yaml as it was when this was built.
std::string_view built_in_verdicts();

enum class VerdictState : std::uint8_t { ok, bad, unknown };
std::string_view to_string(VerdictState state);

struct VerdictNumber {
  const VerdictCondition* condition = nullptr;
  std::string expr;  // with the window in it
  double value = 0;
  bool known = false, holds = false;
};
// A host, an owner, a guest, or a device of the host, with what a rule says of it.
struct VerdictObject {
  promql::Labels labels;  // without job and instance; none: the host itself
  VerdictState state = VerdictState::unknown;
  std::vector<VerdictNumber> numbers;
  std::int64_t since_ms = 0;       // of a bad one: the earliest time from which on all conditions held
  bool since_at_least = false;     // the history or the patience ended there, and not the condition
  std::string why;                 // of an unknown one
  std::vector<QueryRow> culprits;  // the greatest first, three at most
};
struct VerdictResult {
  const VerdictRule* rule = nullptr;
  VerdictState state = VerdictState::unknown;
  bool absent = false;  // of an optional rule: nothing of the kind is here
  bool young = false;   // unknown only because the history has just begun
  std::string why;      // of an unknown one
  std::size_t objects = 0, bad = 0;
  std::vector<VerdictObject> shown;  // the bad ones, the worst first, some dozens at most; else the one that is nearest
};

// "host", "owner" or "guest": whose object it is, by its labels.
std::string_view scope_of(const promql::Labels& object);

// In the order of the rules, as of `t_ms`. `window_ms` is how far rates look back; `oldest_ms`: since when there may be
// samples. Of the rules an object's pointers are into, `rules` must outlive the answer. Bounded by `limits`.
Queried<std::vector<VerdictResult>> judge_verdicts(const std::vector<VerdictRule>& rules, promql::SeriesSource& source,
                                                   std::int64_t t_ms, std::int64_t window_ms, std::int64_t oldest_ms,
                                                   const QueryLimits& limits);

}  // namespace vitald
