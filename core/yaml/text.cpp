// SPDX-License-Identifier: Apache-2.0
#include "core/yaml/text.h"

#include "core/text/scan.h"

namespace vitald {

std::optional<std::size_t> second_yaml_document(std::string_view text) {
  bool content = false;
  for (std::size_t number = 0; !text.empty(); ++number) {
    const auto line = take_line(text);
    const bool marker = line.starts_with("---") && (line.size() == 3 || is_space(line[3]));
    // A marker at the very end begins nothing.
    if (marker && content) return trim(text).empty() ? std::nullopt : std::optional(number);
    const auto words = trim(line);
    if (marker) content = !trim(line.substr(3)).empty();
    else if (!words.empty() && words.front() != '#' && !line.starts_with('%')) content = true;
  }
  return std::nullopt;
}

namespace {

// The scalar that is the last one in the text; no scalar where that is not clear.
YAML::Node last_scalar(const YAML::Node& document) {
  YAML::Node at = document;
  while (at.IsMap() || at.IsSequence()) {
    if (at.size() == 0) return {};
    YAML::Node last, key;
    for (const auto& item : at) {
      if (at.IsSequence()) last.reset(item);
      else last.reset(item.second), key.reset(item.first);
    }
    // An alias has the place of its anchor, which may be what it is in, and a null may have none.
    if (at.IsMap() && (last.Mark().is_null() || last.Mark().pos < key.Mark().pos)) return key;
    if (last.Mark().pos <= at.Mark().pos) return {};
    at.reset(last);
  }
  return at;
}

// Whether the quoted text that begins `rest` has its end in it: "..." with \" in it, or '...' with '' in it.
bool is_closed(std::string_view rest) {
  const char quote = rest.front();
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (quote == '"' && rest[i] == '\\') ++i;
    else if (rest[i] == quote) {
      if (quote == '"' || rest.substr(i + 1, 1) != "'") return true;
      ++i;
    }
  }
  return false;
}

}  // namespace

std::optional<YAML::Mark> unclosed_quote(const YAML::Node& document, std::string_view text) {
  const auto last = last_scalar(document);
  if (!last.IsScalar() || last.Mark().is_null()) return std::nullopt;
  const auto mark = last.Mark();
  for (int line = 0; line < mark.line; ++line) take_line(text);
  const auto begin = static_cast<std::size_t>(mark.column);  // in bytes
  if (begin >= text.size() || (text[begin] != '"' && text[begin] != '\'')) return std::nullopt;
  return is_closed(text.substr(begin)) ? std::nullopt : std::optional(mark);
}

}  // namespace vitald
