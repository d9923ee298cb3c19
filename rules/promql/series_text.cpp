// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/series_text.h"

#include <fmt/format.h>

#include <cmath>

#include "core/text/scan.h"
#include "rules/promql/parser.h"
#include "rules/promql/series_source.h"

namespace vitald::promql {

namespace {

// The next item: up to a blank that is not inside {{ }}.
std::string_view take_item(std::string_view& rest) {
  rest = trim(rest);
  std::size_t end = 0;
  int braces = 0;
  for (; end < rest.size(); ++end) {
    if (rest[end] == '{') ++braces;
    if (rest[end] == '}') --braces;
    if (braces <= 0 && is_space(rest[end])) break;
  }
  const auto item = rest.substr(0, end);
  rest.remove_prefix(end);
  return item;
}

// `...xN`: what is before the x, and N; without one, N is 0.
std::optional<std::pair<std::string_view, std::uint64_t>> split_repeat(std::string_view item) {
  const auto x = item.rfind('x');
  if (x == item.npos || item.find('}', x) != item.npos) return std::pair{item, std::uint64_t{0}};
  const auto n = parse_u64(item.substr(x + 1));
  if (!n) return std::nullopt;
  return std::pair{item.substr(0, x), *n};
}

// Where the second number of `a+b` begins: at its sign.
std::size_t split_step(std::string_view body) {
  std::size_t at = body.npos;
  int braces = 0;
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i] == '{') ++braces;
    if (body[i] == '}') --braces;
    if (i > 0 && braces == 0 && (body[i] == '+' || body[i] == '-') && (body[i - 1] | 0x20) != 'e') at = i;
  }
  return at;
}

std::optional<std::vector<double>> numbers(std::string_view text) {
  std::vector<double> out;
  for (text = trim(text); !text.empty(); text = trim(text)) {
    const auto v = parse_series_number(take_word(text));
    if (!v) return std::nullopt;
    out.push_back(*v);
  }
  return out;
}

Histogram::Buckets buckets_from(std::int32_t first, const std::vector<double>& counts) {
  Histogram::Buckets out;
  for (std::size_t i = 0; i < counts.size(); ++i) out.push_back({first + static_cast<std::int32_t>(i), counts[i]});
  return out;
}

}  // namespace

Labels labels_of(const Selector& s) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& m : s.matchers) pairs.emplace_back(m.name, m.value);
  return Labels(std::move(pairs));
}

std::optional<std::pair<Labels, std::string_view>> split_series(std::string_view line) {
  std::size_t end = 0;
  char quote = 0;
  bool braces = false;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (quote) {
      if (c == '\\') ++end;
      else if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '{') {
      braces = true;
    } else if (c == '}') {
      ++end;
      break;
    } else if (c == '@' && !braces) {
      break;
    } else if (is_space(c) && !braces) {
      // "name {a="b"}" may have a blank before the brace
      std::size_t next = end;
      while (next < line.size() && is_space(line[next])) ++next;
      if (next < line.size() && line[next] == '{' && line.substr(next, 2) != "{{") continue;
      break;
    }
  }
  end = std::min(end, line.size());
  std::vector<Problem> problems;
  const auto head = trim(line.substr(0, end));
  if (head == "{}") return std::pair{Labels(), trim(line.substr(end))};
  const auto s = parse_selector(head, problems);
  if (!s) return std::nullopt;
  for (const auto& m : s->matchers)
    if (m.op != MatchOp::equal) return std::nullopt;
  return std::pair{labels_of(*s), trim(line.substr(end))};
}

std::optional<Histogram> parse_histogram(std::string_view text, std::string& error, bool* hinted) {
  const auto bad = [&](std::string what) {
    error = std::move(what);
    return std::nullopt;
  };
  if (!text.starts_with("{{") || !text.ends_with("}}") || text.size() < 4)
    return bad(fmt::format("'{}' is no histogram, expected e.g. {{{{schema:0 count:3 sum:4 buckets:[1 2]}}}}", text));
  auto rest = trim(text.substr(2, text.size() - 4));
  Histogram h;
  std::int32_t offset = 0, n_offset = 0;
  std::vector<double> positive, negative;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    if (colon == rest.npos) return bad(fmt::format("'{}' in a histogram, expected key:value", rest));
    const auto key = trim(rest.substr(0, colon));
    rest = trim(rest.substr(colon + 1));
    std::string_view value;
    if (rest.starts_with('[')) {
      const auto close = rest.find(']');
      if (close == rest.npos) return bad(fmt::format("{} without ']'", key));
      value = rest.substr(1, close - 1);
      rest = trim(rest.substr(close + 1));
      const auto list = numbers(value);
      if (!list) return bad(fmt::format("{}: '{}' is no list of numbers", key, value));
      if (key == "buckets") positive = *list;
      else if (key == "n_buckets") negative = *list;
      else if (key == "custom_values") h.custom = *list;
      else return bad(fmt::format("'{}' in a histogram, expected buckets, n_buckets or custom_values", key));
      continue;
    }
    value = take_word(rest);
    rest = trim(rest);
    if (key == "counter_reset_hint") {
      bool known = false;
      for (const auto hint : {ResetHint::unknown, ResetHint::reset, ResetHint::not_reset, ResetHint::gauge})
        if (value == to_string(hint)) h.hint = hint, known = true;
      if (!known)
        return bad(fmt::format("counter_reset_hint: '{}', expected unknown, reset, not_reset or gauge", value));
      if (hinted) *hinted = true;
      continue;
    }
    const auto number = parse_series_number(value);
    if (!number) return bad(fmt::format("{}: '{}' is no number", key, value));
    const bool whole = *number == std::floor(*number) && std::abs(*number) < 1e9;
    if (key == "sum") h.sum = *number;
    else if (key == "count") h.count = *number;
    else if (key == "z_bucket") h.zero_count = *number;
    else if (key == "z_bucket_w") h.zero_threshold = *number;
    else if (!whole) return bad(fmt::format("{}: '{}', expected a whole number", key, value));
    else if (key == "schema") h.schema = static_cast<std::int32_t>(*number);
    else if (key == "offset") offset = static_cast<std::int32_t>(*number);
    else if (key == "n_offset") n_offset = static_cast<std::int32_t>(*number);
    else
      return bad(
          fmt::format("'{}' in a histogram, expected schema, count, sum, z_bucket, z_bucket_w, buckets, offset, "
                      "n_buckets, n_offset, custom_values or counter_reset_hint",
                      key));
  }
  if (!h.is_custom() && (h.schema < Histogram::kMinSchema || h.schema > Histogram::kMaxSchema))
    return bad(fmt::format("schema:{}, expected -4 to 8, or -53", h.schema));
  if (h.is_custom() && (!negative.empty() || h.zero_count != 0))
    return bad("a histogram with custom_values has neither n_buckets nor z_bucket");
  if (h.is_custom() && offset < 0) return bad("a histogram with custom_values has no offset below 0");
  if (h.is_custom() && static_cast<std::size_t>(offset) + positive.size() > h.custom.size() + 1)
    return bad(fmt::format("{} buckets, expected at most one more than the {} custom_values", positive.size(),
                           h.custom.size()));
  for (std::size_t i = 1; i < h.custom.size(); ++i)
    if (!(h.custom[i] > h.custom[i - 1])) return bad("custom_values do not rise");
  if (!h.is_custom() && !h.custom.empty()) return bad("custom_values need schema:-53");
  h.positive = buckets_from(offset, positive);
  h.negative = buckets_from(n_offset, negative);
  return h;
}

std::optional<double> parse_series_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.front() == '+' || text.front() == '-') return std::nullopt;
  auto value = parse_double(text);
  if (value && !std::isfinite(*value) && text.size() != 3) return std::nullopt;  // "infinity", "nan(1)"
  if (text.front() == '0')
    if (const auto octal = parse_int<std::int64_t>(text, 8)) value = static_cast<double>(*octal);
  if (value && negative) value = -*value;
  return value;
}

std::optional<std::vector<SeriesPoint>> parse_points(std::string_view text, std::string& error, MostPoints most) {
  std::vector<SeriesPoint> out;
  const auto bad = [&](std::string what) {
    error = std::move(what);
    return std::nullopt;
  };
  while (!(text = trim(text)).empty()) {
    const auto item = take_item(text);
    const auto repeat = split_repeat(item);
    const auto room = most.count - std::min(most.count, out.size());
    if (!repeat || (!most.leave_out_more && repeat->second > room))
      return bad(fmt::format("'{}': expected x and how often, at most {} points", item, most.count));
    const auto& body = repeat->first;
    const auto n = std::min<std::uint64_t>(repeat->second, room);
    if (body == "_") {
      out.insert(out.end(), n == 0 ? 1 : n, SeriesPoint{true, 0, nullptr, false});
      continue;
    }
    if (body == "stale") {
      out.insert(out.end(), n + 1, SeriesPoint{false, stale_marker(), nullptr, false});
      continue;
    }
    const auto split = n > 0 ? split_step(body) : body.npos;
    const auto start = body.substr(0, split);
    const auto step = split == body.npos ? std::string_view{} : body.substr(split);
    if (start.starts_with("{{")) {
      bool hinted = false;
      const auto h = parse_histogram(start, error, &hinted);
      if (!h) return std::nullopt;
      std::optional<Histogram> more;
      if (!step.empty() && !(more = parse_histogram(step.substr(1), error))) return std::nullopt;
      auto now = *h;
      for (std::uint64_t i = 0; i <= n; ++i) {
        out.push_back({false, 0, std::make_shared<const Histogram>(now), hinted});
        if (!more) continue;
        if (more->is_custom() != now.is_custom()) return bad(fmt::format("'{}' mixes two kinds of buckets", item));
        Reconciled reconciled;
        const auto hint = now.hint;
        now = combine(now, *more, step[0] == '-', reconciled);
        now.hint = hint;
      }
      continue;
    }
    const auto first = parse_series_number(start);
    const auto by = step.empty() ? std::optional<double>(0) : parse_series_number(step);
    if (!first || !by)
      return bad(fmt::format("'{}' is no point, expected e.g. 1, 1+2x3, _, stale or {{{{count:1}}}}", item));
    // As Prometheus counts them: each value is the last one plus the step.
    double v = *first;
    for (std::uint64_t i = 0; i <= n; ++i, v += *by) out.push_back({false, v, nullptr, false});
  }
  if (out.size() > most.count) {
    if (!most.leave_out_more) return bad(fmt::format("more than {} points", most.count));
    out.resize(most.count);
  }
  return out;
}

std::optional<std::vector<std::optional<std::int64_t>>> parse_distances(std::string_view text, std::string& error) {
  std::vector<std::optional<std::int64_t>> out;
  const auto distance = [](std::string_view t) -> std::optional<std::int64_t> {
    if (t == "0") return 0;
    std::int64_t sign = 1;
    if (t.starts_with('-')) sign = -1;
    if (t.starts_with('-') || t.starts_with('+')) t.remove_prefix(1);
    const auto ms = parse_duration_ms(t);
    if (ms < 0) return std::nullopt;
    return sign * ms;
  };
  while (!(text = trim(text)).empty()) {
    const auto item = take_item(text);
    const auto repeat = split_repeat(item);
    if (repeat && repeat->first == "_") {
      out.insert(out.end(), repeat->second == 0 ? 1 : repeat->second, std::nullopt);
      continue;
    }
    const auto n = repeat ? repeat->second : 0;
    const auto body = repeat ? repeat->first : item;
    const auto split = n > 0 ? split_step(body) : body.npos;
    const auto first = distance(body.substr(0, split));
    const auto by = split == body.npos ? std::optional<std::int64_t>(0) : distance(body.substr(split));
    if (!repeat || !first || !by || n > 1'000'000) {
      error = fmt::format("'{}' is no distance in time, expected e.g. -30s or -30s-1mx2", item);
      return std::nullopt;
    }
    for (std::uint64_t i = 0; i <= n; ++i) out.push_back(*first + static_cast<std::int64_t>(i) * *by);
  }
  return out;
}

}  // namespace vitald::promql
