// SPDX-License-Identifier: Apache-2.0
#include "rules/template/humanize.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <ctime>

#include "rules/template/printf.h"

namespace vitald::text_template {

namespace {

// Go's %.4g.
std::string significant(double v) { return std::isfinite(v) ? fmt::format("{:.4g}", v) : go_float(v); }

// Below 1: milli and so on.
std::string small(double v) {
  std::string_view prefix;
  for (const std::string_view p : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
    if (std::abs(v) >= 1) break;
    prefix = p;
    v *= 1000;
  }
  return significant(v) + std::string(prefix);
}

std::tm calendar(const Time& t) {
  const auto seconds = static_cast<std::time_t>(t.seconds);
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  return tm;
}

std::string fraction(std::int64_t nanos, int digits) {
  return fmt::format("{:09}", nanos).substr(0, static_cast<std::size_t>(digits));
}

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

}  // namespace

std::string humanize(double v) {
  if (v == 0 || !std::isfinite(v)) return significant(v);
  if (std::abs(v) < 1) return small(v);
  std::string_view prefix;
  for (const std::string_view p : {"k", "M", "G", "T", "P", "E", "Z", "Y"}) {
    if (std::abs(v) < 1000) break;
    prefix = p;
    v /= 1000;
  }
  return significant(v) + std::string(prefix);
}

std::string humanize1024(double v) {
  if (std::abs(v) <= 1 || !std::isfinite(v)) return significant(v);
  std::string_view prefix;
  for (const std::string_view p : {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}) {
    if (std::abs(v) < 1024) break;
    prefix = p;
    v /= 1024;
  }
  return significant(v) + std::string(prefix);
}

std::string humanize_percentage(double v) { return significant(v * 100) + "%"; }

std::string humanize_duration(double v) {
  if (!std::isfinite(v)) return significant(v);
  if (v == 0 || std::abs(v) >= 0x1p63) return significant(v) + "s";  // more does not divide into days
  if (std::abs(v) < 1) return small(v) + "s";
  const std::string sign = v < 0 ? "-" : "";
  v = std::abs(v);
  const auto whole = static_cast<std::int64_t>(v);
  const auto s = whole % 60, m = whole / 60 % 60, h = whole / 3600 % 24, d = whole / 86400;
  if (d != 0) return fmt::format("{}{}d {}h {}m {}s", sign, d, h, m, s);
  if (h != 0) return fmt::format("{}{}h {}m {}s", sign, h, m, s);
  if (m != 0) return fmt::format("{}{}m {}s", sign, m, s);
  return sign + significant(v) + "s";
}

std::optional<Time> to_time(double v) {
  if (!(std::abs(v) < 0x1p63 / 1e9)) return {};  // in nanoseconds it would not fit: milliseconds, most likely
  // Prometheus goes through milliseconds since the epoch; what is below is cut off.
  const auto total_ms = static_cast<std::int64_t>(v * 1000);
  const auto ms = (total_ms % 1000 + 1000) % 1000;
  return Time{(total_ms - ms) / 1000, ms * 1'000'000};
}

std::string to_string(const Time& t) {
  const auto tm = calendar(t);
  auto text = fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                          tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (t.nanos > 0) {
    text += '.' + fraction(t.nanos, 9);
    while (text.back() == '0') text.pop_back();
  }
  return text + " +0000 UTC";
}

std::string to_string(const Duration& d) {
  if (d.nanos == 0) return "0s";
  const auto sign = d.nanos < 0 ? "-" : "";
  const auto ns = d.nanos < 0 ? -static_cast<std::uint64_t>(d.nanos) : static_cast<std::uint64_t>(d.nanos);
  const auto number = [](std::uint64_t whole, std::uint64_t part, int digits) {
    auto text = fmt::format("{}.{:0{}}", whole, part, digits);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
  };
  if (ns < 1000) return fmt::format("{}{}ns", sign, ns);
  if (ns < 1'000'000) return fmt::format("{}{}µs", sign, number(ns / 1000, ns % 1000, 3));
  if (ns < 1'000'000'000) return fmt::format("{}{}ms", sign, number(ns / 1'000'000, ns % 1'000'000, 6));
  const auto seconds = ns / 1'000'000'000;
  const auto tail = number(seconds % 60, ns % 1'000'000'000, 9) + "s";
  if (seconds < 60) return sign + tail;
  if (seconds < 3600) return fmt::format("{}{}m{}", sign, seconds / 60, tail);
  return fmt::format("{}{}h{}m{}", sign, seconds / 3600, seconds / 60 % 60, tail);
}

std::string format(const Time& t, std::string_view layout) {
  const auto tm = calendar(t);
  const auto year = tm.tm_year + 1900;
  const auto hour12 = tm.tm_hour % 12 == 0 ? 12 : tm.tm_hour % 12;
  const auto month = kMonths[static_cast<std::size_t>(tm.tm_mon)];
  const auto day = kDays[static_cast<std::size_t>(tm.tm_wday)];
  // The parts of a layout, of two that begin alike the longer one first.
  const std::pair<std::string_view, std::string> parts[] = {
      {"January", std::string(month)},
      {"Jan", std::string(month.substr(0, 3))},
      {"Monday", std::string(day)},
      {"Mon", std::string(day.substr(0, 3))},
      {"MST", "UTC"},
      {"2006", fmt::format("{:04}", year)},
      {"-07:00", "+00:00"},
      {"-0700", "+0000"},
      {"-07", "+00"},
      {"Z07:00", "Z"},
      {"Z0700", "Z"},
      {"002", fmt::format("{:03}", tm.tm_yday + 1)},
      {"01", fmt::format("{:02}", tm.tm_mon + 1)},
      {"02", fmt::format("{:02}", tm.tm_mday)},
      {"03", fmt::format("{:02}", hour12)},
      {"04", fmt::format("{:02}", tm.tm_min)},
      {"05", fmt::format("{:02}", tm.tm_sec)},
      {"06", fmt::format("{:02}", year % 100)},
      {"15", fmt::format("{:02}", tm.tm_hour)},
      {"PM", tm.tm_hour >= 12 ? "PM" : "AM"},
      {"pm", tm.tm_hour >= 12 ? "pm" : "am"},
      {"_2", fmt::format("{:2}", tm.tm_mday)},
      {"1", fmt::format("{}", tm.tm_mon + 1)},
      {"2", fmt::format("{}", tm.tm_mday)},
      {"3", fmt::format("{}", hour12)},
      {"4", fmt::format("{}", tm.tm_min)},
      {"5", fmt::format("{}", tm.tm_sec)},
  };
  std::string out;
  while (!layout.empty()) {
    // A fraction of the second: .000 with all digits, .999 without zeros at the end.
    if ((layout[0] == '.' || layout[0] == ',') && layout.size() > 1 && (layout[1] == '0' || layout[1] == '9')) {
      const auto digits = layout.find_first_not_of(layout[1], 1);
      const auto count = (digits == layout.npos ? layout.size() : digits) - 1;
      const bool ends = digits == layout.npos || layout[digits] < '0' || layout[digits] > '9';
      if (ends && count <= 9) {
        auto text = layout[0] + fraction(t.nanos, static_cast<int>(count));
        if (layout[1] == '9') {
          while (text.back() == '0') text.pop_back();
          if (text.size() == 1) text.clear();
        }
        out += text;
        layout.remove_prefix(count + 1);
        continue;
      }
    }
    const auto* part = std::begin(parts);
    while (part != std::end(parts) && !layout.starts_with(part->first)) ++part;
    if (part == std::end(parts)) {
      out += layout[0];
      layout.remove_prefix(1);
    } else {
      out += part->second;
      layout.remove_prefix(part->first.size());
    }
  }
  return out;
}

}  // namespace vitald::text_template
