// SPDX-License-Identifier: Apache-2.0
// What every YAML file of ours is read with: one document, merge keys resolved, maps of known keys, a bound on what
// aliases repeat, every problem with its line and column in the order of the file. yaml-cpp accepts duplicate keys
// (the first wins) and knows nothing of unknown ones, so both are looked for here.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <set>
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

// Not thread-safe; one file each.
class YamlReader {
 public:
  // `name` stands in front of every problem. Of the file with what its aliases repeat, at most `kMostBytes` are
  // visited: a few lines of them can say more than fits into memory.
  static constexpr std::size_t kMostBytes = 8 << 20;
  explicit YamlReader(std::string name) : name_(std::move(name)) {}
  YamlReader(const YamlReader&) = delete;
  YamlReader& operator=(const YamlReader&) = delete;
  virtual ~YamlReader() = default;

  // Calls `visit` with the document (null when the text is empty), then appends all problems, each once. Where one
  // was found what was visited is of no use; where the text is no YAML or too much, `visit` did not come to its end.
  void read(const std::string& text, std::vector<std::string>& problems,
            const std::function<void(const YAML::Node&)>& visit);

  void say(const YAML::Mark& mark, std::string_view path, std::string_view text);
  void say(int line, int column, std::string_view text);  // from 1

  using Visit = std::function<void(const std::string& path, const std::string& key, const YAML::Node& value)>;
  // Calls `visit` for every known key once; where none is named, every key is.
  void each(const YAML::Node& map, const std::string& path, std::span<const std::string_view> known,
            const Visit& visit);
  // The items of a list; lists are walked by this, so that aliases are bounded.
  std::vector<YAML::Node> items(const YAML::Node& list);

  [[nodiscard]] const std::string& name() const { return name_; }
  // Grows with every say(): whoever wants to know whether a part of the file is good compares.
  [[nodiscard]] std::size_t problem_count() const { return said_; }

 protected:
  // The words for a key that is not known, and for one that is there again; `at` is its path.
  [[nodiscard]] virtual std::string unknown_key(const std::string& at, const std::string& key,
                                                std::span<const std::string_view> known) const;
  [[nodiscard]] virtual std::string given_twice(const std::string& at, const std::string& key, int first_line) const;

 private:
  struct Found {
    int line, column;
    std::string text;
    auto operator<=>(const Found&) const = default;
  };
  struct TooMuch {};
  static constexpr std::size_t kMostProblems = 1000;
  void add(Found found);
  void check_characters(std::string_view text);
  void spend(const YAML::Node& at, std::size_t bytes);

  std::string name_;
  std::vector<Found> found_;
  std::set<Found> known_;  // the same: what an alias repeats is told once
  std::size_t said_ = 0, bytes_ = 0;
};

}  // namespace vitald
