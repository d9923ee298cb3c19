// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/relabel.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/text/names.h"
#include "core/text/regex.h"
#include "core/text/runes.h"
#include "core/text/suggest.h"

namespace vitald {
namespace {

using Action = RelabelRule::Action;
constexpr std::pair<std::string_view, Action> kActions[] = {
    {"replace", Action::replace},     {"keep", Action::keep},           {"drop", Action::drop},
    {"keepequal", Action::keepequal}, {"dropequal", Action::dropequal}, {"hashmod", Action::hashmod},
    {"labelmap", Action::labelmap},   {"labeldrop", Action::labeldrop}, {"labelkeep", Action::labelkeep},
    {"lowercase", Action::lowercase}, {"uppercase", Action::uppercase}};

re2::RE2::Options quiet() {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);  // as Prometheus compiles them: ^(?s:...)$
  return options;
}

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

// Go's Regexp.Expand: $1, ${1}, $name, ${name}, $$; a group that is not there is empty.
std::string expand(std::string_view format, const re2::RE2& regex, const std::vector<re2::StringPiece>& groups) {
  const auto& names = regex.NamedCapturingGroups();
  std::string out;
  while (!format.empty()) {
    const auto dollar = format.find('$');
    out.append(format.substr(0, dollar));
    if (dollar == format.npos) break;
    format.remove_prefix(dollar + 1);
    if (format.starts_with('$')) {
      out += '$';
      format.remove_prefix(1);
      continue;
    }
    std::string_view name;
    if (format.starts_with('{')) {
      const auto end = format.find('}');
      name = end == format.npos ? std::string_view() : format.substr(1, end - 1);
      if (name.empty() || !std::ranges::all_of(name, is_word)) {
        out += '$';
        continue;
      }
      format.remove_prefix(end + 1);
    } else {
      name = format.substr(0, static_cast<std::size_t>(std::ranges::find_if_not(format, is_word) - format.begin()));
      if (name.empty()) {
        out += '$';
        continue;
      }
      format.remove_prefix(name.size());
    }
    std::size_t number = 0;
    // $01 is no number, but the group of that name, which there is none of.
    bool known = std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; }) && name.size() < 6 &&
                 (name == "0" || name[0] != '0');
    if (known) number = std::stoul(std::string(name));
    else if (const auto at = names.find(std::string(name)); at != names.end())
      number = static_cast<std::size_t>(at->second), known = true;
    if (known && number < groups.size() && groups[number].data())
      out.append(groups[number].data(), groups[number].size());
  }
  return out;
}

std::string_view value_of(const RelabelLabels& labels, std::string_view name) {
  const auto at = std::ranges::find(labels, name, &RelabelLabels::value_type::first);
  return at == labels.end() ? std::string_view() : std::string_view(at->second);
}
void set(RelabelLabels& labels, const std::string& name, std::string value) {
  const auto at = std::ranges::lower_bound(labels, name, {}, &RelabelLabels::value_type::first);
  const bool there = at != labels.end() && at->first == name;
  if (value.empty()) {
    if (there) labels.erase(at);
  } else if (there) {
    at->second = std::move(value);
  } else {
    labels.emplace(at, name, std::move(value));
  }
}

std::string cased(std::string_view text, bool upper) {
  std::string out;
  while (!text.empty()) {
    const auto r = first_rune(text);
    append_rune(out, upper ? to_upper(r.rune) : to_lower(r.rune));
    text.remove_prefix(r.size);
  }
  return out;
}

// What may be a name of a label once groups of the regex have been put in, as Prometheus judges it.
bool may_be_label_name(std::string_view text) {
  static const re2::RE2 kTarget(R"((?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+)");
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), kTarget);
}

}  // namespace

Result<Action> relabel_action(std::string_view name) {
  std::vector<std::string_view> known;
  const auto lower = cased(name, false);  // DROP is drop
  for (const auto& [text, action] : kActions) {
    if (text == lower) return action;
    known.push_back(text);
  }
  return fail(Errc::malformed, fmt::format("'{}' is no action, expected one of {}", name, fmt::join(known, ", ")));
}

std::string relabel_problem(const RelabelRule& rule) {
  const re2::RE2 regex(fmt::format("^(?:{})$", rule.regex), quiet());
  if (!regex.ok()) return fmt::format("regex '{}': {}", rule.regex, regex.error());
  if (matches_bytes(rule.regex)) return fmt::format("regex '{}': {}", rule.regex, kMatchesBytes);
  const bool targets = rule.action == Action::replace || rule.action == Action::hashmod ||
                       rule.action == Action::keepequal || rule.action == Action::dropequal ||
                       rule.action == Action::lowercase || rule.action == Action::uppercase;
  if (targets && rule.target_label.empty()) return "no 'target_label', expected the label that it is about";
  // Of replace it may be made from groups of the regex.
  if (targets &&
      !(rule.action == Action::replace ? may_be_label_name(rule.target_label) : is_label_name(rule.target_label)))
    return fmt::format("target_label '{}' is no name of a label", rule.target_label);
  if (rule.action == Action::labelmap && !may_be_label_name(rule.replacement))
    return fmt::format("replacement '{}' is no name of a label, expected one with groups of the regex: 'node_$1'",
                       rule.replacement);
  if (rule.action == Action::hashmod && rule.modulus == 0) return "no 'modulus', expected a number above 0";
  return {};
}

Relabel::Relabel(std::vector<RelabelRule> rules) : rules_(std::move(rules)) {
  for (const auto& rule : rules_)
    regexes_.push_back(std::make_shared<const re2::RE2>(fmt::format("^(?:{})$", rule.regex), quiet()));
}

bool Relabel::apply(RelabelLabels& labels) const {
  for (std::size_t i = 0; i < rules_.size(); ++i)
    if (!apply_one(rules_[i], *regexes_[i], labels)) return false;
  std::erase_if(labels,
                [](const auto& l) { return l.second.empty() || (l.first.starts_with("__") && l.first != "__name__"); });
  return !value_of(labels, "__name__").empty();  // one without a name is no series
}

bool Relabel::apply_one(const RelabelRule& rule, const re2::RE2& regex, RelabelLabels& labels) const {
  std::string text;
  for (std::size_t i = 0; i < rule.source_labels.size(); ++i) {
    if (i > 0) text += rule.separator;
    text += value_of(labels, rule.source_labels[i]);
  }
  switch (rule.action) {
    case Action::keep: return re2::RE2::FullMatch(text, regex);
    case Action::drop: return !re2::RE2::FullMatch(text, regex);
    case Action::keepequal: return value_of(labels, rule.target_label) == text;
    case Action::dropequal: return value_of(labels, rule.target_label) != text;
    case Action::replace: {
      // No capture and no label given: nothing to match, as Prometheus takes a short way.
      std::vector<re2::StringPiece> groups(static_cast<std::size_t>(regex.NumberOfCapturingGroups()) + 1);
      if (!regex.Match(text, 0, text.size(), re2::RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size())))
        return true;
      const auto target = expand(rule.target_label, regex, groups);
      if (is_label_name(target)) set(labels, target, expand(rule.replacement, regex, groups));
      return true;
    }
    case Action::hashmod: set(labels, rule.target_label, fmt::format("{}", md5_tail(text) % rule.modulus)); return true;
    case Action::lowercase:
    case Action::uppercase: set(labels, rule.target_label, cased(text, rule.action == Action::uppercase)); return true;
    case Action::labeldrop:
      std::erase_if(labels, [&](const auto& l) { return re2::RE2::FullMatch(l.first, regex); });
      return true;
    case Action::labelkeep:
      std::erase_if(labels, [&](const auto& l) { return !re2::RE2::FullMatch(l.first, regex); });
      return true;
    case Action::labelmap: {
      std::vector<std::pair<std::string, std::string>> more;
      for (const auto& [name, value] : labels) {
        std::vector<re2::StringPiece> groups(static_cast<std::size_t>(regex.NumberOfCapturingGroups()) + 1);
        if (regex.Match(name, 0, name.size(), re2::RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size())))
          more.emplace_back(expand(rule.replacement, regex, groups), value);
      }
      for (auto& [name, value] : more)
        if (is_label_name(name)) set(labels, name, std::move(value));
      return true;
    }
  }
  return true;
}

// RFC 1321. Of Prometheus' hashmod, and of nothing that must be safe.
std::uint64_t md5_tail(std::string_view text) {
  static constexpr int kShifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  static const auto kSines = [] {
    std::array<std::uint32_t, 64> out{};
    for (std::size_t i = 0; i < 64; ++i)
      out[i] = static_cast<std::uint32_t>(std::floor(std::fabs(std::sin(static_cast<double>(i + 1))) * 4294967296.0));
    return out;
  }();
  std::string bytes(text);
  bytes += '\x80';
  while (bytes.size() % 64 != 56) bytes += '\0';
  const auto bits = static_cast<std::uint64_t>(text.size()) * 8;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(bits >> 8 * i);
  std::array<std::uint32_t, 4> state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  for (std::size_t at = 0; at < bytes.size(); at += 64) {
    std::array<std::uint32_t, 16> words{};
    for (std::size_t i = 0; i < 64; ++i)
      words[i / 4] |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * (i % 4);
    auto [a, b, c, d] = state;
    for (std::uint32_t i = 0; i < 64; ++i) {
      std::uint32_t f = 0, g = 0;
      switch (i / 16) {
        case 0: f = (b & c) | (~b & d), g = i; break;
        case 1: f = (d & b) | (~d & c), g = (5 * i + 1) % 16; break;
        case 2: f = b ^ c ^ d, g = (3 * i + 5) % 16; break;
        default: f = c ^ (b | ~d), g = 7 * i % 16;
      }
      const auto next = b + std::rotl(a + f + kSines[i] + words[g], kShifts[i / 16][i % 4]);
      a = d, d = c, c = b, b = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  }
  std::uint64_t out = 0;
  for (const auto word : {state[2], state[3]})
    for (int i = 0; i < 4; ++i) out = out << 8 | (word >> 8 * i & 0xff);
  return out;
}

}  // namespace vitald
