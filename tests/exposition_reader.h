// SPDX-License-Identifier: Apache-2.0
// Reads a text exposition as strictly as the strictest of its readers (Prometheus' lexer, expfmt's TextParser,
// client_golang's check of what was gathered), and says what the first of them would refuse.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "core/text/names.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {

class ExpositionReader {
 public:
  // Empty: everybody reads it.
  std::string read(std::string_view text) {
    if (text.find('\0') != text.npos) return "a NUL";
    if (!is_valid_utf8(text)) return "not UTF-8";
    if (!text.empty() && text.back() != '\n') return "no newline at the end";
    while (!text.empty()) {
      const auto line = take_line(text);
      if (auto error = line.starts_with("# ") ? comment(line.substr(2)) : sample(line); !error.empty())
        return fmt::format("{}: {}", line, error);
    }
    return {};
  }
  [[nodiscard]] std::size_t series() const { return series_.size(); }

 private:
  std::string comment(std::string_view rest) {
    const auto keyword = take_until(rest, ' ');
    const auto name = std::string(take_until(rest, ' '));
    if (!is_metric_name(name)) return "not a metric's name";
    if (keyword == "HELP") return helped_.insert(name).second ? "" : "HELP twice";
    if (keyword != "TYPE") return "neither HELP nor TYPE";
    static const std::set<std::string_view> kTypes{"counter", "gauge", "untyped", "histogram", "summary"};
    if (!kTypes.contains(rest)) return "an unknown type";
    if (names_.contains(name)) return "TYPE after its series";
    if (!types_.emplace(name, rest).second) return "TYPE twice";
    family_ = name;
    return {};
  }

  std::string sample(std::string_view line) {
    const auto name_end = line.find_first_of("{ ");
    if (name_end == line.npos) return "no value";
    const std::string name(line.substr(0, name_end));
    if (!is_metric_name(name)) return "not a metric's name";
    auto rest = line.substr(name_end);
    std::map<std::string, std::string> labels;
    if (rest[0] == '{') {
      rest.remove_prefix(1);
      while (true) {
        const auto label = std::string(rest.substr(0, rest.find('=')));
        if (!is_label_name(label)) return fmt::format("'{}' is no label's name", label);
        if (label == "__name__") return "__name__ is reserved";
        rest.remove_prefix(label.size());
        if (!rest.starts_with("=\"")) return "no label value";
        rest.remove_prefix(2);
        std::string value;
        while (!rest.empty() && rest[0] != '"') {
          if (rest[0] == '\\') {
            if (rest.size() < 2 || std::string_view("\\\"n").find(rest[1]) == std::string_view::npos)
              return "an escape that is none";
            rest.remove_prefix(1);
            value += rest[0] == 'n' ? '\n' : rest[0];
          } else {
            value += rest[0];
          }
          rest.remove_prefix(1);
        }
        if (rest.empty()) return "a label value without its end";
        rest.remove_prefix(1);
        if (!labels.emplace(label, value).second) return fmt::format("the label {} twice", label);
        if (rest.starts_with(",")) rest.remove_prefix(1);
        else break;
      }
      if (!rest.starts_with("}")) return "no '}'";
      rest.remove_prefix(1);
    }
    if (!rest.starts_with(" ")) return "no value";
    const std::string value(rest.substr(1));
    char* end = nullptr;
    std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0') return "no number";

    // All of a family stand together, after its TYPE.
    const auto is_part = [&](std::string_view suffix) { return name == family_ + std::string(suffix); };
    const auto type = types_.contains(family_) ? types_[family_] : "";
    bool fits = name == family_ && type != "histogram";
    if (type == "histogram" || type == "summary") fits = fits || is_part("_sum") || is_part("_count");
    if (type == "histogram") fits = fits || is_part("_bucket");
    if (!fits) return fmt::format("stands among the series of {}", family_);
    if (name != family_ && types_.contains(name)) return "the name of another family";
    for (const auto& [label, where] : {std::pair("le", "histogram"), std::pair("quantile", "summary")}) {
      if (type != where) continue;
      const bool inner = type == "histogram" ? is_part("_bucket") : name == family_;
      if (inner != labels.contains(label)) return fmt::format("{} where it does not belong, or none", label);
      if (inner && !parse_double(labels[label])) return fmt::format("{} is no number", label);
    }
    names_.insert(name);
    std::string key = name;
    for (const auto& [label, text] : labels)
      if (!text.empty()) key += fmt::format("\1{}\2{}", label, text);  // one that is empty is none
    return series_.insert(key).second ? "" : "the same series twice";
  }

  std::string family_;
  std::map<std::string, std::string> types_;
  std::set<std::string> helped_, names_, series_;
};

}  // namespace vitald
