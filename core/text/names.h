// SPDX-License-Identifier: Apache-2.0
// Names of metrics and labels: which ones Prometheus' text format knows, and how other words become one.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace vitald {

namespace detail {
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
}  // namespace detail

// A name from the kernel as part of a metric name: runs of characters that no metric name may have become one
// '_', together with the '_' around them.
inline std::string metric_name(std::string_view text) {
  const auto good = [](char c) { return detail::is_letter(c) || detail::is_digit(c); };
  std::string name;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    bool bad = false;
    for (; end < text.size() && !good(text[end]); ++end) bad = bad || text[end] != '_';
    if (bad) name += '_';
    else name.append(text.substr(i, end - i));
    i = end;
    while (i < text.size() && good(text[i])) name += text[i++];
  }
  return name;
}

// [a-zA-Z_][a-zA-Z0-9_]*
inline bool is_label_name(std::string_view name) {
  return !name.empty() && !detail::is_digit(name[0]) &&
         std::ranges::all_of(name, [](char c) { return c == '_' || detail::is_letter(c) || detail::is_digit(c); });
}
// The same with ':'.
inline bool is_metric_name(std::string_view name) {
  return !name.empty() && !detail::is_digit(name[0]) && std::ranges::all_of(name, [](char c) {
    return c == '_' || c == ':' || detail::is_letter(c) || detail::is_digit(c);
  });
}

// The nearest name that is one: '_' for each other character, and before a digit at the front.
inline std::string fit_label_name(std::string_view text) {
  std::string name;
  if (text.empty() || detail::is_digit(text[0])) name += '_';
  for (const char c : text) name += detail::is_letter(c) || detail::is_digit(c) ? c : '_';
  return name;
}
inline std::string fit_metric_name(std::string_view text) {
  std::string name;
  if (text.empty() || detail::is_digit(text[0])) name += '_';
  for (const char c : text) name += c == ':' || detail::is_letter(c) || detail::is_digit(c) ? c : '_';
  return name;
}

}  // namespace vitald
