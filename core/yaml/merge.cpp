// SPDX-License-Identifier: Apache-2.0
#include "core/yaml/merge.h"

#include <fmt/format.h>

#include <set>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/yaml/reader.h"

namespace vitald {
namespace {

constexpr std::size_t kMostKeys = 100'000;  // looked at; a thousand rules with a base of ten keys each have 10,000

using Pairs = std::vector<std::pair<YAML::Node, YAML::Node>>;

// Plain, not quoted; as Go's YAML sees it.
bool is_merge(const YAML::Node& key) {
  return key.IsScalar() && key.Scalar() == "<<" && (key.Tag() == "?" || key.Tag() == "tag:yaml.org,2002:merge");
}

class Merger {
 public:
  explicit Merger(const std::function<void(const YAML::Mark&, std::string)>& say) : say_(say) {}

  // An alias stands for a node that ended before it, or for one that it lies in; so this goes no deeper than the
  // text is nested, and each node is merged before anything is merged from it.
  bool visit(const YAML::Node& node) {
    if (!node.IsMap() && !node.IsSequence()) return true;
    const auto place = node.Mark().pos;  // what yaml-cpp gives to tell one node from another; no key is visited
    if (!seen_.insert(place).second) return true;
    open_.insert(place);
    bool good = true;
    if (node.IsSequence()) {
      for (const auto& item : node) good = good && visit(item);
    } else {
      for (const auto& pair : node) good = good && visit(pair.second);
      good = good && merge(node);
    }
    open_.erase(place);
    return good;
  }

 private:
  bool merge(YAML::Node map) {
    Pairs merges, added;
    std::unordered_set<std::string> own;
    for (const auto& pair : map) {
      if (is_merge(pair.first)) merges.emplace_back(pair.first, pair.second);
      else if (pair.first.IsScalar()) own.insert(pair.first.Scalar());
    }
    for (std::size_t i = 0; i < merges.size(); ++i) {
      const auto& [key, value] = merges[i];
      map.remove(key);
      if (i > 0) say_(key.Mark(), "'<<' is given twice, expected one, with a list: <<: [*a, *b]");
      else if (!value.IsSequence() && !add(value, own, added)) return false;
      else if (value.IsSequence())
        for (const auto& item : value)
          if (!add(item, own, added)) return false;
    }
    for (const auto& [key, value] : added) map.force_insert(key, value);
    return true;
  }

  bool add(const YAML::Node& from, std::unordered_set<std::string>& own, Pairs& added) {
    if (!from.IsMap()) {
      say_(from.Mark(), fmt::format("'<<' with {}, expected a map or a list of maps", kind_of(from)));
      return true;
    }
    if (open_.contains(from.Mark().pos)) {
      say_(from.Mark(), "a map is merged into itself by '<<', expected another one");
      return true;
    }
    for (const auto& pair : from) {
      if (++looked_at_ > kMostKeys) {
        say_(pair.first.Mark(), fmt::format("more than {} keys by '<<', expected less in one file", kMostKeys));
        return false;
      }
      if (!pair.first.IsScalar() || own.insert(pair.first.Scalar()).second) added.emplace_back(pair.first, pair.second);
    }
    return true;
  }

  const std::function<void(const YAML::Mark&, std::string)>& say_;
  std::set<int> seen_, open_;
  std::size_t looked_at_ = 0;
};

}  // namespace

bool merge_keys(const YAML::Node& document, const std::function<void(const YAML::Mark&, std::string)>& say) {
  return Merger(say).visit(document);
}

}  // namespace vitald
