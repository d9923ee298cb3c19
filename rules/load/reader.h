// SPDX-License-Identifier: Apache-2.0
// What rule files and their unit tests are read with: texts, durations, lists and maps of names to texts.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/yaml/reader.h"

namespace vitald {

class RuleReader : public YamlReader {
 public:
  using YamlReader::YamlReader;

 protected:
  [[nodiscard]] std::string unknown_key(const std::string& at, const std::string& key,
                                        std::span<const std::string_view> known) const override;
  using YamlReader::say;
  void say(const YAML::Node& at, const std::string& what) { say(at.Mark(), "", what); }

  // Is a map, with known keys, each once.
  bool map(const YAML::Node& n, std::string_view what, std::span<const std::string_view> known,
           std::string_view expected);
  std::vector<YAML::Node> list(const YAML::Node& parent, const char* key);

  // An unknown key of `map` was told, and that this one is probably meant.
  static bool misspelt(const YAML::Node& map, std::string_view key);

  enum class Need { nothing, key, text };  // the key has to be there; and not be empty
  // Empty when it is not there or no text; the latter is told.
  std::string text(const YAML::Node& parent, const char* key, Need need = Need::nothing);
  // Milliseconds; 0 where there is none.
  std::int64_t duration(const YAML::Node& parent, const char* key, Need need = Need::nothing);

  // For each pair of a map of names to texts; nothing is an empty text.
  using Pair = std::function<void(const YAML::Node& name, const std::string& value, const YAML::Node& value_at)>;
  void each_text(const YAML::Node& parent, const char* key, const Pair& visit);
};

}  // namespace vitald
