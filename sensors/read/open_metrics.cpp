// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/open_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/text/names.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

constexpr std::string_view kEof = "# EOF";
constexpr std::size_t kMostExemplarCharacters = 128;

enum class Kind : std::uint8_t { unknown, gauge, counter, stateset, info, histogram, gaugehistogram, summary };
constexpr std::pair<std::string_view, Kind> kKinds[] = {
    {"unknown", Kind::unknown}, {"gauge", Kind::gauge},
    {"counter", Kind::counter}, {"stateset", Kind::stateset},
    {"info", Kind::info},       {"histogram", Kind::histogram},
    {"summary", Kind::summary}, {"gaugehistogram", Kind::gaugehistogram},
};

// What may stand behind the family's name in a sample's.
std::span<const std::string_view> suffixes(Kind kind) {
  static constexpr std::string_view kPlain[] = {""};
  static constexpr std::string_view kCounter[] = {"_total", "_created"};
  static constexpr std::string_view kInfo[] = {"_info"};
  static constexpr std::string_view kHistogram[] = {"_bucket", "_count", "_sum", "_created"};
  static constexpr std::string_view kGaugeHistogram[] = {"_bucket", "_gcount", "_gsum"};
  static constexpr std::string_view kSummary[] = {"", "_count", "_sum", "_created"};
  switch (kind) {
    case Kind::counter: return kCounter;
    case Kind::info: return kInfo;
    case Kind::histogram: return kHistogram;
    case Kind::gaugehistogram: return kGaugeHistogram;
    case Kind::summary: return kSummary;
    case Kind::unknown:
    case Kind::gauge:
    case Kind::stateset: break;
  }
  return kPlain;
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_metric_name_text(std::string_view text) {
  if (text.empty() || is_digit(text.front())) return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || is_digit(c);
  });
}

// [SIGN] 1*DIGIT ["." *DIGIT] ["e" [SIGN] 1*DIGIT], or with a point first.
bool is_real(std::string_view text) {
  const auto digits = [&text] {
    std::size_t n = 0;
    for (; !text.empty() && is_digit(text.front()); ++n) text.remove_prefix(1);
    return n;
  };
  const auto sign = [&text] {
    if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  };
  sign();
  auto n = digits();
  if (take_prefix(text, ".")) n += digits();
  if (n == 0) return false;
  if (!text.empty() && (text.front() == 'e' || text.front() == 'E')) {
    text.remove_prefix(1);
    sign();
    if (digits() == 0) return false;
  }
  return text.empty();
}

std::optional<double> real(std::string_view text) {
  if (!is_real(text)) return std::nullopt;
  return parse_go_float(text);
}

std::optional<double> number(std::string_view text) {
  if (const auto v = real(text)) return v;
  std::string lower(text);
  for (auto& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  std::string_view word = lower;
  if (word == "nan") return std::nan("");
  const bool minus = word.starts_with('-');
  if (minus || word.starts_with('+')) word.remove_prefix(1);
  if (word == "inf" || word == "infinity") return minus ? -HUGE_VAL : HUGE_VAL;
  return std::nullopt;
}

// Seconds of `_created`; what is no moment that a clock could have shown is not known: 0.
std::int64_t wall_ms(double seconds) {
  constexpr double kMost = 1e11;  // the year 5138
  return seconds > 0 && seconds < kMost ? static_cast<std::int64_t>(std::llround(seconds * 1000)) : 0;
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

using Labels = std::vector<std::pair<std::string, std::string>>;

// One histogram, summary or state: its samples stand together.
struct Group {
  Labels labels;                    // sorted; without le, quantile and the name of a state
  std::optional<double> timestamp;  // of its last sample
  std::vector<std::pair<double, double>> points;
  std::optional<double> sum, count;
  std::int64_t since_wall_ms = 0;
  std::optional<std::size_t> counter;  // its place in the family's series, once `_total` was there
  std::set<std::string> seen;          // samples that came without a time
};
struct Family {
  std::string name;
  Kind kind = Kind::unknown;
  bool has_type = false, has_unit = false, has_help = false, has_samples = false;
  std::string unit, help;
  std::set<Labels> groups;  // that have ended
  std::optional<Group> group;
  std::vector<ExpositionFamily> out;  // by suffix
};

class Parser {
 public:
  Result<Exposition> parse(std::string_view text) {
    for (;;) {
      ++line_;
      if (text.empty()) return error("no '# EOF' at the end");
      const auto line = take_line(text);
      if (!is_valid_utf8(line)) return error("no UTF-8");
      if (line == kEof) {
        if (!text.empty()) return error("something stands behind '# EOF'");
        if (auto ended = end_family(); !ended) return fail(ended.error());
        return std::move(out_);
      }
      if (auto taken = line.starts_with('#') ? metadata(line) : sample(line); !taken) return fail(taken.error());
    }
  }

 private:
  tl::unexpected<Error> error(std::string_view what) const {
    return fail(Errc::malformed, fmt::format("line {}: {}", line_, what));
  }

  // ---- lines

  // # TYPE name counter
  Result<> metadata(std::string_view line) {
    auto rest = line;
    const bool type = take_prefix(rest, "# TYPE "), unit = !type && take_prefix(rest, "# UNIT ");
    if (!type && !unit && !take_prefix(rest, "# HELP "))
      return error("a line with '#' that is none of '# TYPE', '# UNIT', '# HELP' and '# EOF'");
    const auto space = rest.find(' ');
    if (space == rest.npos) return error("a name and a space are expected");
    const auto name = rest.substr(0, space);
    rest.remove_prefix(space + 1);
    if (!is_metric_name_text(name)) return error("invalid metric name");
    if (!family_ || family_->name != name) {
      if (auto begun = begin_family(name); !begun) return begun;
    } else if (family_->has_samples) {
      return error("it stands behind the samples that it is about");
    }
    auto& f = *family_;
    if (std::exchange(type ? f.has_type : unit ? f.has_unit : f.has_help, true))
      return error("it is there a second time");
    if (type) {
      const auto* known = std::ranges::find(kKinds, rest, &std::pair<std::string_view, Kind>::first);
      if (known == std::end(kKinds)) return error("unknown metric type");
      f.kind = known->second;
    } else if (unit) {
      f.unit = rest;
      if (!rest.empty() && !name.ends_with("_" + f.unit)) return error("the metric's name does not end with its unit");
    } else {
      f.help = unescaped(rest);
    }
    if (!f.unit.empty() && (f.kind == Kind::info || f.kind == Kind::stateset))
      return error("an info or a stateset has no unit");
    if (type && !claim()) return error("its samples would have the names of another metric");
    return {};
  }

  // http_requests_total{code="204"} 37 1700000000.5 # {trace="x"} 0.5 1700000000.1
  Result<> sample(std::string_view rest) {
    std::size_t n = 0;
    while (n < rest.size() && rest[n] != '{' && rest[n] != ' ') ++n;
    const auto name = rest.substr(0, n);
    rest.remove_prefix(n);
    if (!is_metric_name_text(name)) return error("invalid metric name");
    Labels labels;
    if (take_prefix(rest, "{"))
      if (auto read = label_set(rest, labels); !read) return read;
    if (!take_prefix(rest, " ")) return error("a space and a number are expected");
    const auto value = number(take_until_space(rest));
    if (!value) return error("expected a number as value");
    std::optional<double> timestamp;
    if (!rest.empty() && !rest.starts_with("# ")) {
      timestamp = real(take_until_space(rest));
      if (!timestamp) return error("expected a number as timestamp");
      out_.timestamps = true;
    }
    bool exemplar = false;
    if (!rest.empty() || ended_with_space_) {
      if (!take_prefix(rest, "# {")) return error("expected an exemplar or the end of the line");
      if (auto read = exemplar_of(rest); !read) return read;
      exemplar = true;
    }
    if (!family_ || !suffix_of(*family_, name)) {
      if (auto begun = begin_family(name); !begun) return begun;
      if (!claim()) return error("its name is one of another metric's samples");
    }
    return take(*suffix_of(*family_, name), std::move(labels), *value, timestamp, exemplar);
  }

  // Up to the next space, which goes too. A space at the end of the line is one too many.
  std::string_view take_until_space(std::string_view& rest) {
    const auto space = rest.find(' ');
    const auto word = rest.substr(0, space);
    ended_with_space_ = space != rest.npos && space + 1 == rest.size();
    rest.remove_prefix(space == rest.npos ? rest.size() : space + 1);
    return word;
  }

  // What follows the brace.
  Result<> label_set(std::string_view& rest, Labels& into) const {
    if (take_prefix(rest, "}")) return {};
    for (;;) {
      const auto equals = rest.find('=');
      if (equals == rest.npos || !is_label_name(rest.substr(0, equals))) return error("invalid label name");
      std::string name(rest.substr(0, equals));
      rest.remove_prefix(equals + 1);
      if (!take_prefix(rest, "\"")) return error("expected '\"' at start of label value");
      std::size_t n = 0;
      while (n < rest.size() && rest[n] != '"') n += rest[n] == '\\' ? 2 : 1;
      if (n >= rest.size()) return error("expected '\"' at the end of label value");
      if (std::ranges::find(into, name, &std::pair<std::string, std::string>::first) != into.end())
        return error("duplicate label names");
      if (into.size() == kMostLabelsOfASeries) return error(fmt::format("more than {} labels", kMostLabelsOfASeries));
      into.emplace_back(std::move(name), unescaped(rest.substr(0, n)));
      rest.remove_prefix(n + 1);
      if (take_prefix(rest, "}")) return {};
      if (!take_prefix(rest, ",")) return error("expected ',' or '}' behind label value");
    }
  }

  // What follows "# {".
  Result<> exemplar_of(std::string_view rest) {
    Labels labels;
    if (auto read = label_set(rest, labels); !read) return read;
    std::size_t size = 0;
    for (const auto& [name, value] : labels) size += characters(name) + characters(value);
    if (size > kMostExemplarCharacters) return error("the labels of an exemplar have more than 128 characters");
    if (!take_prefix(rest, " ")) return error("a space and the number of the exemplar are expected");
    if (!number(take_until_space(rest))) return error("expected a number as value of the exemplar");
    if (rest.empty()) return ended_with_space_ ? Result<>(error("a space at the end of the line")) : Result<>();
    if (!real(rest)) return error("expected a number as timestamp of the exemplar");
    return {};
  }

  static std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
      if (next == 'n' || next == '\\' || next == '"') {
        out += next == 'n' ? '\n' : next;
        ++i;
      } else {
        out += text[i];  // also a backslash that escapes nothing
      }
    }
    return out;
  }

  // ---- families

  Result<> begin_family(std::string_view name) {
    if (auto ended = end_family(); !ended) return ended;
    family_.emplace();
    family_->name = name;
    if (!names_.insert(family_->name).second) return error("the samples of a metric do not stand together");
    return {};
  }

  // The names of the family's samples are nobody else's. Until its type is known they are its own.
  bool claim() {
    for (const auto suffix : suffixes(family_->kind))
      if (!suffix.empty() && !names_.insert(family_->name + std::string(suffix)).second) return false;
    return true;
  }

  static std::optional<std::string_view> suffix_of(const Family& family, std::string_view name) {
    if (!name.starts_with(family.name)) return std::nullopt;
    const auto rest = name.substr(family.name.size());
    for (const auto suffix : suffixes(family.kind))
      if (suffix == rest) return suffix;
    return std::nullopt;
  }

  Result<> end_family() {
    if (!family_) return {};
    if (auto ended = end_group(); !ended) return ended;
    for (auto& family : family_->out) {
      if (family.series.empty()) continue;
      if (!family_->help.empty()) family.help = family_->help;
      out_.families.push_back(std::move(family));
    }
    family_.reset();
    return {};
  }

  ExpositionFamily& family_out(std::string_view suffix, MetricType type) {
    auto name = family_->name + std::string(suffix);
    for (auto& family : family_->out)
      if (family.name == name) return family;
    family_->out.push_back({std::move(name), type, std::nullopt, {}});
    return family_->out.back();
  }

  // ---- samples

  Result<> take(std::string_view suffix, Labels labels, double value, std::optional<double> timestamp, bool exemplar) {
    auto& f = *family_;
    f.has_samples = true;
    if (exemplar && !(f.kind == Kind::counter && suffix == "_total") && suffix != "_bucket")
      return error("only counters and buckets have exemplars");
    if (auto fits = value_fits(f.kind, suffix, value); !fits) return fits;

    // What tells the samples of one group apart.
    std::string_view inner;
    if (suffix == "_bucket") inner = "le";
    else if (f.kind == Kind::summary && suffix.empty()) inner = "quantile";
    else if (f.kind == Kind::stateset) inner = f.name;
    std::string inner_text;
    Labels own = labels;
    if (!inner.empty()) {
      const auto at = std::ranges::find(own, inner, &std::pair<std::string, std::string>::first);
      if (at == own.end()) return error("its label is missing: le, quantile or the name of the stateset");
      inner_text = std::move(at->second);
      own.erase(at);
    }
    std::ranges::sort(own);
    if (auto in = in_group(std::move(own), timestamp, fmt::format("{}\n{}", suffix, inner_text)); !in) return in;

    auto& group = *f.group;
    const bool parts = f.kind == Kind::histogram || f.kind == Kind::summary;
    if (!inner.empty() && f.kind != Kind::stateset) {
      const auto at = inner == "le" && inner_text == "+Inf" ? std::optional(HUGE_VAL) : real(inner_text);
      if (!at) return error(fmt::format("expected a number as label '{}'", inner));
      if (inner == "quantile" && (*at < 0 || *at > 1)) return error("a quantile is from 0 to 1");
      if (inner == "le" && !group.points.empty()) {
        if (*at <= group.points.back().first) return error("buckets do not stand in the order of their bounds");
        if (value < group.points.back().second) return error("a bucket has less than the one before");
      }
      group.points.emplace_back(*at, value);
    }
    if (suffix == "_sum" || suffix == "_gsum") group.sum = value;
    if (suffix == "_count" || suffix == "_gcount") group.count = value;
    if (suffix == "_created") {
      group.since_wall_ms = wall_ms(value);
      if (group.counter)
        family_out("_total", MetricType::counter).series[*group.counter].since_wall_ms = group.since_wall_ms;
      return {};
    }
    if (parts) return {};  // end_group() has them all
    const auto type = f.kind == Kind::counter   ? MetricType::counter
                      : f.kind == Kind::unknown ? MetricType::untyped
                                                : MetricType::gauge;
    auto& all = family_out(suffix, type).series;
    auto& series = all.emplace_back();
    series.labels = std::move(labels);
    series.value = value;
    if (f.kind == Kind::counter) {
      series.since_wall_ms = group.since_wall_ms;
      group.counter = all.size() - 1;
    }
    return {};
  }

  Result<> value_fits(Kind kind, std::string_view suffix, double value) const {
    if (suffix == "_created") return {};
    switch (kind) {
      case Kind::counter:
      case Kind::histogram:
        if (!(value >= 0)) return error("what counts is negative or NaN");
        break;
      case Kind::gaugehistogram:
        if (suffix == "_gsum" ? std::isnan(value) : !(value >= 0)) return error("a count is negative, or a sum is NaN");
        break;
      case Kind::summary:
        if (value < 0 || (!suffix.empty() && std::isnan(value)))
          return error("a number of a summary is negative or NaN");
        break;
      case Kind::info:
        if (value != 1) return error("the value of an info is 1");
        break;
      case Kind::stateset:
        if (value != 0 && value != 1) return error("the value of a state is 0 or 1");
        break;
      case Kind::unknown:
      case Kind::gauge: break;
    }
    return {};
  }

  // The group of these labels: the one that is open, or a new one.
  Result<> in_group(Labels labels, std::optional<double> timestamp, const std::string& sample) {
    auto& f = *family_;
    if (f.group && f.group->labels == labels) {
      auto& group = *f.group;
      if (group.timestamp.has_value() != timestamp.has_value())
        return error("some samples of a metric have a time and some have none");
      if (!timestamp) {
        if (!group.seen.insert(sample).second) return error("a sample is there twice");
        return {};
      }
      if (*timestamp < *group.timestamp && f.kind != Kind::info) return error("the times of a metric go backwards");
      if (*timestamp == *group.timestamp) return {};
      if (auto ended = end_point(); !ended) return ended;
      group.points.clear();
      group.sum.reset();
      group.count.reset();
      group.timestamp = timestamp;
      return {};
    }
    if (auto ended = end_group(); !ended) return ended;
    if (f.groups.contains(labels)) return error("the samples of one set of labels do not stand together");
    f.group.emplace();
    f.group->labels = std::move(labels);
    f.group->timestamp = timestamp;
    if (!timestamp) f.group->seen.insert(sample);
    return {};
  }

  Result<> end_group() {
    if (!family_->group) return {};
    if (auto ended = end_point(); !ended) return ended;
    family_->groups.insert(std::move(family_->group->labels));
    family_->group.reset();
    return {};
  }

  // One histogram or summary at one time is complete.
  Result<> end_point() {
    auto& f = *family_;
    auto& group = *f.group;
    const bool gauge = f.kind == Kind::gaugehistogram;
    if (f.kind == Kind::histogram || gauge) {
      if (group.points.empty() || group.points.back().first != HUGE_VAL)
        return error("a histogram above has no bucket with le=\"+Inf\"");
      if (group.sum.has_value() != group.count.has_value()) return error("a histogram above has a sum or a count only");
      if (group.count && *group.count != group.points.back().second)
        return error("the count of a histogram above is not that of its bucket with le=\"+Inf\"");
      const bool below_zero = group.points.front().first < 0;
      if (below_zero && group.sum && !gauge) return error("a histogram above with buckets below 0 has a sum");
      if (!below_zero && group.sum && *group.sum < 0) return error("the sum of a histogram above is negative");
    }
    if (f.kind != Kind::histogram && f.kind != Kind::summary) return {};
    if (group.points.empty() && !group.sum && !group.count) return {};  // it has a time of creation only
    auto& series =
        family_out("", f.kind == Kind::histogram ? MetricType::histogram : MetricType::summary).series.emplace_back();
    series.labels = group.labels;
    series.since_wall_ms = group.since_wall_ms;
    for (const auto& [at, value] : group.points) series.points[at] = value;
    series.has_sum = group.sum.has_value();
    series.sum = group.sum.value_or(0);
    series.has_count = group.count.has_value() || f.kind == Kind::histogram;
    series.count = group.count ? *group.count : f.kind == Kind::histogram ? group.points.back().second : 0;
    return {};
  }

  Exposition out_;
  std::optional<Family> family_;
  std::set<std::string, std::less<>> names_;  // of families and their samples
  std::size_t line_ = 0;
  bool ended_with_space_ = false;
};

}  // namespace

Result<Exposition> parse_open_metrics(std::string_view text) { return Parser().parse(text); }

bool ends_as_open_metrics(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text == kEof || (text.ends_with(kEof) && text[text.size() - kEof.size() - 1] == '\n');
}

Result<Exposition> parse_any_exposition(std::string_view text) {
  if (!ends_as_open_metrics(text)) return parse_exposition(text);
  auto strict = parse_open_metrics(text);
  if (strict) return strict;
  auto plain = parse_exposition(text);
  if (plain) return plain;
  return fail(Errc::malformed, strict.error().text + " (as OpenMetrics, since it ends with '# EOF')");
}

}  // namespace vitald
