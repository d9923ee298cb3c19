// SPDX-License-Identifier: Apache-2.0
#include "agent/config/places.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/config/flags.h"

namespace vitald {
namespace {

bool is_of_a_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

// The flag that is named at `begin`, as "--web.max-age"; `end` is behind it then.
const FlagSpec* flag_at(std::string_view text, std::size_t begin, std::size_t& end) {
  if (text.substr(begin, 2) != "--" || (begin > 0 && is_of_a_name(text[begin - 1]))) return nullptr;
  end = begin + 2;
  while (end < text.size() && is_of_a_name(text[end])) ++end;
  while (end > begin + 2 && (text[end - 1] == '.' || text[end - 1] == '-')) --end;  // of the sentence
  return find_flag(text.substr(begin + 2, end - begin - 2));
}

const Setting* setting_of(const FlagSpec& flag, std::string_view problem, std::span<const Setting> from_file) {
  const Setting* found = nullptr;
  for (const auto& s : from_file) {
    if (s.flag != &flag) continue;
    if (!found) found = &s;
    if (problem.find(fmt::format("'{}'", s.value)) != std::string_view::npos) return &s;
  }
  return found;
}

}  // namespace

std::string at_its_place(const std::string& problem, std::span<const Setting> from_file) {
  const Setting* place = nullptr;
  std::string text;
  for (std::size_t i = 0; i < problem.size();) {
    std::size_t end = 0;
    const auto* flag = flag_at(problem, i, end);
    const auto path = flag ? yaml_path(*flag) : std::vector<std::string>();
    if (path.empty()) {
      text += problem[i++];
      continue;
    }
    if (!place) place = setting_of(*flag, problem, from_file);
    text += fmt::format("{}", fmt::join(path, "."));
    i = end;
  }
  return place ? fmt::format("{}: {}", place->place, text) : problem;
}

}  // namespace vitald
