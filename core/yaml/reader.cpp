// SPDX-License-Identifier: Apache-2.0
#include "core/yaml/reader.h"

#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>

#include <algorithm>
#include <map>

#include "core/log.h"
#include "core/text/suggest.h"
#include "core/yaml/text.h"

namespace vitald {

std::string kind_of(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map: return "a map";
    case YAML::NodeType::Sequence: return "a list";
    case YAML::NodeType::Scalar: return fmt::format("'{}'", node.Scalar());
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined: return "nothing";
  }
  return "nothing";
}

std::string one_of(std::string_view key, std::span<const std::string_view> known) {
  auto hint = did_you_mean(key, known);
  if (hint.empty() && known.size() <= 8) hint = fmt::format(", expected one of {}", fmt::join(known, ", "));
  return hint;
}

YamlReader::YamlReader(std::string name, std::vector<std::string>& problems, Hint hint)
    : name_(std::move(name)), problems_(problems), hint_(hint) {}

std::optional<YAML::Node> YamlReader::document(const std::string& text) {
  try {
    auto document = YAML::Load(text);
    if (const auto line = second_yaml_document(text)) {
      YAML::Mark mark;
      mark.line = static_cast<int>(*line);
      mark.column = 0;
      say(mark, "", "a second document begins, expected one in a file");
    }
    return document;
  } catch (const YAML::DeepRecursion& e) {
    say(e.mark, "", "nested too deep");
  } catch (const YAML::Exception& e) {  // not YAML at all
    say(e.mark, "", e.msg + ", expected YAML");
  }
  return std::nullopt;
}

void YamlReader::say(const YAML::Mark& mark, std::string_view path, std::string_view text) {
  problems_.push_back(fmt::format("{}:{}:{}: {}{}{}", name_, mark.line + 1, mark.column + 1, log::one_line(path),
                                  path.empty() ? "" : ": ", log::one_line(text)));
}

void YamlReader::each(const YAML::Node& map, const std::string& path, std::span<const std::string_view> known,
                      const Visit& visit) {
  if (!map.IsMap()) return say(map.Mark(), path, fmt::format("{} found, expected a map", kind_of(map)));
  std::map<std::string, int> seen;
  for (const auto& pair : map) {
    const auto& key = pair.first.Scalar();
    const auto at = path.empty() ? key : path + "." + key;
    if (!pair.first.IsScalar()) {
      say(pair.first.Mark(), path, fmt::format("{} as a key, expected a word", kind_of(pair.first)));
    } else if (!known.empty() && std::ranges::find(known, key) == known.end()) {
      say(pair.first.Mark(), at, "unknown key" + hint_(key, known));
    } else if (const auto [first, fresh] = seen.emplace(key, pair.first.Mark().line + 1); !fresh) {
      say(pair.first.Mark(), at, fmt::format("given twice, first in line {}", first->second));
    } else {
      visit(at, key, pair.second);
    }
  }
}

}  // namespace vitald
