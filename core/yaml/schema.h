// SPDX-License-Identifier: Apache-2.0
// Settings of one thing in a YAML file as a table: a row names the key, the member it fills, its bounds and its help.
// Reading, the texts of problems and the documentation all come from that table.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/options.h"
#include "core/text/scan.h"
#include "core/yaml/reader.h"

namespace vitald {

template <class S>
struct Field {
  std::string_view key;
  // Text, a list of texts, a duration in nanoseconds, a number, true or false.
  std::variant<std::string S::*, std::vector<std::string> S::*, std::int64_t S::*, std::size_t S::*, bool S::*> at;
  std::string_view help;
  std::string_view required = {};  // what is expected, where it must be given
  std::string_view expected = {};  // of a list, in words
  bool may_be_empty = false;       // a list
  bool absolute = false;           // the text, or the first of the list, is the absolute path of a program
  std::int64_t least = 0, most = INT64_MAX;
  // Reads what has a shape of its own, in place of `at`; `expected` says what that is.
  void (*custom)(YamlReader& reader, const YAML::Node& value, const std::string& path, S& into) = nullptr;
};

template <class S>
class FieldReader {
 public:
  FieldReader(YamlReader& reader, std::span<const Field<S>> fields) : reader_(reader), fields_(fields) {}

  // False: there was a problem, and it was said.
  bool read(const YAML::Node& node, const std::string& path, S& into) {
    const auto before = reader_.problem_count();
    std::vector<std::string_view> keys;
    for (const auto& f : fields_) keys.push_back(f.key);
    reader_.each(node, path, keys, [&](const std::string& at, const std::string& key, const YAML::Node& value) {
      const auto& field = *std::ranges::find(fields_, key, &Field<S>::key);
      if (field.custom) return field.custom(reader_, value, at, into);
      std::visit([&](auto member) { one(value, at, field, into.*member); }, field.at);
    });
    if (reader_.problem_count() != before) return false;
    for (const auto& f : fields_) {
      if (f.required.empty() || !is_empty(f, into)) continue;
      reader_.say(node.Mark(), path, fmt::format("no '{}', expected {}", f.key, f.required));
      return false;
    }
    return true;
  }

 private:
  static bool is_empty(const Field<S>& f, const S& settings) {
    if (f.custom) return false;
    return std::visit(
        [&settings](auto member) {
          if constexpr (requires { (settings.*member).empty(); }) return (settings.*member).empty();
          else return false;
        },
        f.at);
  }

  bool is_text(const YAML::Node& value, const std::string& at) {
    if (value.IsScalar()) return true;
    reader_.say(value.Mark(), at, fmt::format("{} found, expected text", kind_of(value)));
    return false;
  }
  void check_path(const YAML::Node& value, const std::string& at, const Field<S>& f, const std::string& text) {
    if (f.absolute && !text.starts_with('/'))
      reader_.say(value.Mark(), at, fmt::format("'{}' is not an absolute path", text));
  }

  void one(const YAML::Node& value, const std::string& at, const Field<S>& f, std::string& into) {
    if (!is_text(value, at)) return;
    into = value.Scalar();
    check_path(value, at, f, into);
  }
  void one(const YAML::Node& value, const std::string& at, const Field<S>& f, std::vector<std::string>& into) {
    if (!value.IsSequence() || (value.size() == 0 && !f.may_be_empty)) {
      return reader_.say(value.Mark(), at,
                         fmt::format("{} found, expected {}", kind_of(value),
                                     f.expected.empty() ? std::string_view("a list of texts") : f.expected));
    }
    into.clear();  // of what it is by default
    for (const auto& item : reader_.items(value))
      if (is_text(item, at)) into.push_back(item.Scalar());
    if (!into.empty()) check_path(value[0], at, f, into[0]);
  }
  void one(const YAML::Node& value, const std::string& at, const Field<S>& f, std::int64_t& into_ns) {
    if (!is_text(value, at)) return;
    const auto ns = parse_duration_ns(value.Scalar());
    if (!ns)
      reader_.say(value.Mark(), at, fmt::format("'{}' is not a duration; write e.g. 500ms, 15s, 5m", value.Scalar()));
    else if (*ns < f.least || *ns > f.most)
      reader_.say(value.Mark(), at,
                  fmt::format("{} is outside {}..{}", value.Scalar(), duration_text(f.least), duration_text(f.most)));
    else into_ns = *ns;
  }
  void one(const YAML::Node& value, const std::string& at, const Field<S>&, bool& into) {
    if (!is_text(value, at)) return;
    if (value.Scalar() != "true" && value.Scalar() != "false")
      return reader_.say(value.Mark(), at, fmt::format("'{}' is neither true nor false", value.Scalar()));
    into = value.Scalar() == "true";
  }
  void one(const YAML::Node& value, const std::string& at, const Field<S>& f, std::size_t& into) {
    if (!is_text(value, at)) return;
    const auto n = parse_i64(value.Scalar());
    if (!n) reader_.say(value.Mark(), at, fmt::format("'{}' is not a whole number", value.Scalar()));
    else if (*n < f.least || *n > f.most)
      reader_.say(value.Mark(), at, fmt::format("{} is outside {}..{}", *n, f.least, f.most));
    else into = static_cast<std::size_t>(*n);
  }

  YamlReader& reader_;
  std::span<const Field<S>> fields_;
};

// Rows of a Markdown table: key, type, default, what is allowed, help. The defaults are those of a new S.
// In a table's cell a bar ends it.
inline std::string in_table(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

template <class S>
std::string fields_markdown(std::span<const Field<S>> fields) {
  std::string out = "| key | type | default | allowed | what it does |\n|---|---|---|---|---|\n";
  const S fresh{};
  for (const auto& f : fields) {
    std::string type, fallback, bounds;
    if (f.custom) type = f.expected.substr(f.expected.starts_with("a ") ? 2 : 0);
    else
      std::visit(
          [&](auto member) {
            const auto& value = fresh.*member;
            using T = std::remove_cvref_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::string>) {
              type = "text", fallback = value;
            } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
              type = "list of texts";
              for (const auto& text : value) fallback += fmt::format("{}{}", fallback.empty() ? "[" : ", ", text);
              if (!fallback.empty()) fallback += "]";
            } else if constexpr (std::is_same_v<T, bool>) {
              type = "true or false", fallback = value ? "true" : "false";
            } else if constexpr (std::is_same_v<T, std::int64_t>) {
              type = "duration", fallback = duration_text(value);
              bounds = fmt::format("{} to {}", duration_text(f.least), duration_text(f.most));
            } else {
              type = "number", fallback = fmt::format("{}", value), bounds = fmt::format("{} to {}", f.least, f.most);
            }
          },
          f.at);
    if (!f.required.empty()) fallback = "must be given";
    else if (!fallback.empty()) fallback = fmt::format("`{}`", fallback);
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", f.key, type, fallback, bounds, in_table(f.help));
  }
  return out;
}

}  // namespace vitald
