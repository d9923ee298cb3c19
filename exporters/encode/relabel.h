// SPDX-License-Identifier: Apache-2.0
// Prometheus' relabel_config: rules that drop series or change their labels before they leave
// (https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace re2 {
class RE2;
}

namespace vitald {

struct RelabelRule {
  enum class Action : std::uint8_t {
    replace,
    keep,
    drop,
    keepequal,
    dropequal,
    hashmod,
    labelmap,
    labeldrop,
    labelkeep,
    lowercase,
    uppercase
  };
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string target_label;
  std::string regex = "(.*)";  // anchored at both ends
  std::uint64_t modulus = 0;
  std::string replacement = "$1";
  Action action = Action::replace;
  bool operator==(const RelabelRule&) const = default;
};

// Nothing when it is no action of that name.
Result<RelabelRule::Action> relabel_action(std::string_view name);
// Empty when the rule can be carried out, otherwise what is wrong with it.
std::string relabel_problem(const RelabelRule& rule);

// Name and value, sorted by name; `__name__` is one of them.
using RelabelLabels = std::vector<std::pair<std::string, std::string>>;

// Rules that relabel_problem() finds nothing wrong with, ready to be carried out in their order.
class Relabel {
 public:
  explicit Relabel(std::vector<RelabelRule> rules);
  // False: the series is dropped. Labels that end up empty are removed, and so are those that begin with `__` but for
  // the name.
  bool apply(RelabelLabels& labels) const;
  [[nodiscard]] bool empty() const { return rules_.empty(); }

 private:
  bool apply_one(const RelabelRule& rule, const re2::RE2& regex, RelabelLabels& labels) const;
  std::vector<RelabelRule> rules_;
  std::vector<std::shared_ptr<const re2::RE2>> regexes_;
};

// MD5 of a text as hashmod takes it: the last eight of its sixteen bytes, big endian.
std::uint64_t md5_tail(std::string_view text);

}  // namespace vitald
