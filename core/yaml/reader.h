// SPDX-License-Identifier: Apache-2.0
// What every YAML file of ours is read with: maps of known keys, every problem with its line and column.
// yaml-cpp accepts duplicate keys (the first wins) and knows nothing of unknown ones, so both are looked for
// here.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vitald {

// A larger configuration is none: yaml-cpp takes 0.3 s for it. Bytes.
constexpr std::size_t kConfigBytes = 1 << 20;

// "a map", "a list", "'text'", "nothing": for messages.
std::string kind_of(const YAML::Node& node);

// "; did you mean 'x'?", ", expected one of x, y", or nothing where neither helps.
std::string one_of(std::string_view key, std::span<const std::string_view> known);

class YamlReader {
 public:
  // What to say after "unknown key".
  using Hint = std::string (*)(std::string_view key, std::span<const std::string_view> known);
  // `name` stands in front of every problem.
  YamlReader(std::string name, std::vector<std::string>& problems, Hint hint = &one_of);

  // The one document of the text, null when it is empty; nothing when it is no YAML.
  std::optional<YAML::Node> document(const std::string& text);
  void say(const YAML::Mark& mark, std::string_view path, std::string_view text);

  using Visit = std::function<void(const std::string& path, const std::string& key, const YAML::Node& value)>;
  // Calls `visit` for every known key once; where none is named, every key is.
  void each(const YAML::Node& map, const std::string& path, std::span<const std::string_view> known,
            const Visit& visit);

 protected:
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::size_t problem_count() const { return problems_.size(); }

 private:
  std::string name_;
  std::vector<std::string>& problems_;
  Hint hint_;
};

}  // namespace vitald
