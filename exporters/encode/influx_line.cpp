// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/influx_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "core/text/number.h"

namespace vitald {
namespace {

constexpr std::string_view kField = " value=";
constexpr std::size_t kMostTime = 20;

bool is_escaped(char c, bool measurement) { return c == ',' || c == ' ' || (c == '=' && !measurement); }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }
bool is_special(char c) {
  static constexpr auto kSpecial = [] {
    std::array<bool, 256> out{};
    for (const char special : {',', ' ', '=', '\\', '\n', '\r'}) out[static_cast<unsigned char>(special)] = true;
    return out;
  }();
  return kSpecial[static_cast<unsigned char>(c)];
}

}  // namespace

void append_influx_name(std::string& out, std::string_view text, bool measurement) {
  if (std::ranges::none_of(text, is_special)) {  // nearly all
    out += text;
    return;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = is_line_end(text[i]) ? ' ' : text[i];
    if (c == '\\') {
      const bool last = i + 1 == text.size();
      const char next = last ? '\0' : is_line_end(text[i + 1]) ? ' ' : text[i + 1];
      if (last || next == '\\' || is_escaped(next, measurement)) continue;
    }
    if (is_escaped(c, measurement)) out += '\\';
    out += c;
  }
}

void append_influx_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += is_line_end(c) ? ' ' : c;
  }
  out += '"';
}

void InfluxEncoder::encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns,
                           const Take& take) {
  std::string value;
  prefixes_.follow(table, [&](std::string& to, const SeriesRow& row) {
    append_influx_name(to, row.name, true);
    for (const auto& label : table.labels(row)) {
      value.clear();
      append_influx_name(value, label.value, false);
      if (value.empty()) continue;  // no tag is empty
      to += ',';
      // These three mean something else to the server.
      if (label.name == "time" || label.name == "_field" || label.name == "_measurement") to += "label_";
      append_influx_name(to, label.name, false);
      to += '=';
      to += value;
    }
    to += kField;
  });
  char time[kMostTime + 2] = " ";
  auto* time_end = std::to_chars(time + 1, time + 1 + kMostTime, wall_ns).ptr;
  *time_end++ = '\n';
  const auto time_size = static_cast<std::size_t>(time_end - time);
  const auto room = prefixes_.bytes() + prefixes_.size() * (kMaxNumberText + time_size);
  if (out_.size() < room) out_.resize(room);
  char* const begin = out_.data();
  char* at = begin;
  std::uint32_t count = 0;
  const auto hand_over = [&] {
    if (count > 0) take({begin, static_cast<std::size_t>(at - begin)}, count);
    at = begin;
    count = 0;
  };
  prefixes_.each([&](std::size_t i, std::string_view prefix) {
    if (!std::isfinite(values[i])) return;
    std::memcpy(at, prefix.data(), prefix.size());
    at = write_number(at + prefix.size(), values[i]);
    std::memcpy(at, time, time_size);
    at += time_size;
    if (++count == most_lines_) hand_over();
  });
  hand_over();
}

}  // namespace vitald
