// SPDX-License-Identifier: Apache-2.0
#include "core/yaml/reader.h"

#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "core/log.h"
#include "core/text/runes.h"
#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "core/yaml/merge.h"
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

namespace {

// The parser calls it an illegal map value, or something else.
bool indented_by_tab(std::string_view text, int line) {
  for (; line > 0; --line) take_line(text);
  const auto indent = text.substr(0, text.find_first_not_of(" \t"));
  return indent.find('\t') != std::string_view::npos;
}

}  // namespace

std::string one_of(std::string_view key, std::span<const std::string_view> known) {
  auto hint = did_you_mean(key, known);
  if (hint.empty() && known.size() <= 8) hint = fmt::format(", expected one of {}", fmt::join(known, ", "));
  return hint;
}

void YamlReader::read(const std::string& text, std::vector<std::string>& problems,
                      const std::function<void(const YAML::Node&)>& visit) {
  try {
    check_characters(text);
    const auto document = YAML::Load(text);
    if (const auto line = second_yaml_document(text))
      say(static_cast<int>(*line) + 1, 1, "a second document begins, expected one in a file");
    if (const auto quote = unclosed_quote(document, text)) {
      say(*quote, "", "a quote that is not closed: all that follows is part of this text");
      throw TooMuch{};
    }
    // Most files have none, and looking for them costs a tenth of the parsing.
    const bool merged =
        text.find("<<") == std::string::npos ||
        merge_keys(document, [this](const YAML::Mark& at, const std::string& what) { say(at, "", what); });
    if (merged) visit(document);
  } catch (const TooMuch&) {
    // It was said.
  } catch (const YAML::DeepRecursion& e) {
    say(e.mark, "", "nested too deep");
  } catch (const YAML::ParserException& e) {
    if (indented_by_tab(text, e.mark.line)) say(e.mark, "", "a tab, expected blanks: YAML indents with nothing else");
    else say(e.mark, "", e.msg + ", expected YAML");
  } catch (const YAML::Exception& e) {  // visitors ask for types before they read: this is a bug of ours
    say(e.mark, "", std::string("bug, please report: ") + e.what());
  }
  std::ranges::stable_sort(found_, {}, [](const Found& f) { return std::tuple(f.line, f.column); });
  for (const auto& f : found_) problems.push_back(fmt::format("{}:{}:{}: {}", name_, f.line, f.column, f.text));
}

// yaml-cpp hands on whatever it finds; label values, names and texts that are sent on must be UTF-8. As other readers
// of YAML have it, no control characters either, which stand in a file by mistake or to mislead who looks at it.
void YamlReader::check_characters(std::string_view text) {
  // UTF-16 and UTF-32, which yaml-cpp knows by their first bytes.
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || text.substr(0, 4).find('\0') != text.npos) return;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  int line = 1, column = 1;
  while (!text.empty()) {
    const auto r = first_rune(text);
    const bool control = (r.rune < ' ' && r.rune != '\t' && r.rune != '\n' && r.rune != '\r') ||
                         (r.rune >= 0x7f && r.rune < 0xa0 && r.rune != 0x85);
    if (!r.valid) say(line, column, fmt::format("byte 0x{:02x} is no UTF-8", static_cast<unsigned char>(text[0])));
    else if (control)
      say(line, column,
          fmt::format("control character 0x{:02x}, expected \"\\x{:02x}\" in its place", static_cast<unsigned>(r.rune),
                      static_cast<unsigned>(r.rune)));
    if (!r.valid || control) throw TooMuch{};
    ++column;
    if (r.rune == '\n') ++line, column = 1;
    text.remove_prefix(r.size);
  }
}

void YamlReader::say(const YAML::Mark& mark, std::string_view path, std::string_view text) {
  const auto line = mark.is_null() ? 1 : mark.line + 1, column = mark.is_null() ? 1 : mark.column + 1;
  add({line, column, fmt::format("{}{}{}", log::one_line(path), path.empty() ? "" : ": ", log::one_line(text))});
}

void YamlReader::say(int line, int column, std::string_view text) { add({line, column, log::one_line(text)}); }

void YamlReader::add(Found found) {
  ++said_;
  if (!known_.insert(found).second) return;
  found_.push_back(std::move(found));
  if (found_.size() < kMostProblems) return;
  found_.push_back({found_.back().line, found_.back().column,
                    fmt::format("{} problems up to here, the rest is not looked at", kMostProblems)});
  throw TooMuch{};
}

void YamlReader::spend(const YAML::Node& at, std::size_t bytes) {
  bytes_ += 16 + bytes;  // a node costs more than its text
  if (bytes_ <= kMostBytes) return;
  say(at.Mark(), "", fmt::format("more than {} MiB with all aliases, expected less in one file", kMostBytes >> 20));
  throw TooMuch{};
}

void YamlReader::each(const YAML::Node& map, const std::string& path, std::span<const std::string_view> known,
                      const Visit& visit) {
  if (!map.IsMap()) return say(map.Mark(), path, fmt::format("{} found, expected a map", kind_of(map)));
  std::map<std::string, int> seen;
  for (const auto& pair : map) {
    const auto& key = pair.first.Scalar();
    spend(pair.first, key.size() + pair.second.Scalar().size());
    const auto at = path.empty() ? key : path + "." + key;
    if (!pair.first.IsScalar()) {
      say(pair.first.Mark(), path, fmt::format("{} as a key, expected a word", kind_of(pair.first)));
    } else if (!known.empty() && std::ranges::find(known, key) == known.end()) {
      say(pair.first.Mark(), "", unknown_key(at, key, known));
    } else if (const auto [first, fresh] = seen.emplace(key, pair.first.Mark().line + 1); !fresh) {
      say(pair.first.Mark(), "", given_twice(at, key, first->second));
    } else {
      visit(at, key, pair.second);
    }
  }
}

std::vector<YAML::Node> YamlReader::items(const YAML::Node& list) {
  std::vector<YAML::Node> out;
  for (const auto& item : list) {
    spend(item, item.Scalar().size());
    out.push_back(item);
  }
  return out;
}

std::string YamlReader::unknown_key(const std::string& at, const std::string& key,
                                    std::span<const std::string_view> known) const {
  return fmt::format("{}: unknown key{}", at, one_of(key, known));
}
std::string YamlReader::given_twice(const std::string& at, const std::string&, int first_line) const {
  return fmt::format("{}: given twice, first in line {}", at, first_line);
}

}  // namespace vitald
