// SPDX-License-Identifier: Apache-2.0
#include "core/text/rfc3339.h"

#include <ctime>

#include "core/text/scan.h"

namespace vitald {

namespace {

std::optional<int> digits(std::string_view& rest, std::size_t count) {
  if (rest.size() < count) return {};
  const auto n = parse_u64(rest.substr(0, count));
  if (!n) return {};
  rest.remove_prefix(count);
  return static_cast<int>(*n);
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  std::tm tm{};
  const auto part = [&](int& into, std::size_t count, std::string_view before) {
    if (!take_prefix(text, before)) return false;
    const auto n = digits(text, count);
    if (n) into = *n;
    return n.has_value();
  };
  if (!part(tm.tm_year, 4, "") || !part(tm.tm_mon, 2, "-") || !part(tm.tm_mday, 2, "-") || text.empty()) return {};
  if (text[0] != 'T' && text[0] != 't') return {};
  text.remove_prefix(1);
  if (!part(tm.tm_hour, 2, "") || !part(tm.tm_min, 2, ":") || !part(tm.tm_sec, 2, ":")) return {};
  if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
      tm.tm_sec > 59)
    return {};
  tm.tm_year -= 1900;
  --tm.tm_mon;
  std::int64_t ms = 0;
  if (take_prefix(text, ".")) {
    std::int64_t unit = 100;
    if (text.empty() || text[0] < '0' || text[0] > '9') return {};
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1), unit /= 10)
      ms += (text[0] - '0') * unit;
  }
  std::int64_t zone_s = 0;
  if (text != "Z" && text != "z") {
    const bool west = text.starts_with('-');
    if (!west && !text.starts_with('+')) return {};
    text.remove_prefix(1);
    int hours = 0, minutes = 0;
    if (!part(hours, 2, "") || !part(minutes, 2, ":") || !text.empty() || hours > 23 || minutes > 59) return {};
    zone_s = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
  }
  const auto mday = tm.tm_mday;
  const std::int64_t seconds = timegm(&tm);
  if (tm.tm_mday != mday) return {};  // the 31st of a month of 30 days
  return (seconds - zone_s) * 1000 + ms;
}

}  // namespace vitald
