// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name(std::string_view text, bool colons) {
  const auto first = [&](char c) { return is_letter(c) || (colons && c == ':'); };
  return !text.empty() && first(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return first(c) || is_digit(c); });
}

void skip_blanks(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
}

std::string_view take_token(std::string_view& rest) {
  std::size_t n = 0;
  while (n < rest.size() && !is_blank(rest[n])) ++n;
  const auto token = rest.substr(0, n);
  rest.remove_prefix(n);
  return token;
}

class Parser {
 public:
  Result<Exposition> parse(std::string_view text) {
    while (!text.empty()) {
      ++line_;
      const bool complete = text.find('\n') != std::string_view::npos;
      auto rest = take_line(text);
      skip_blanks(rest);
      if (rest.empty()) continue;
      if (!complete) return error("unexpected end of input stream: the last line has no newline");
      auto outcome = rest.front() == '#' ? comment(rest.substr(1)) : sample(rest);
      if (!outcome) return fail(outcome.error());
    }
    for (std::size_t f = 0; f < out_.families.size(); ++f) {
      auto& family = out_.families[f];
      if (family.type != MetricType::histogram && family.type != MetricType::summary) continue;
      auto& came = states_[f].came;
      came.resize(family.series.size());
      for (std::size_t s = 0; s < came.size(); ++s) {
        family.series[s].has_sum = came[s].sum;
        family.series[s].has_count = came[s].count;
      }
    }
    std::erase_if(out_.families, [](const auto& family) { return family.series.empty(); });
    return std::move(out_);
  }

 private:
  struct State {
    bool has_type = false;
    // Of histograms and summaries: by their labels, and which of their numbers came.
    std::map<std::string, std::size_t> series;
    struct Came {
      bool sum = false, count = false;
    };
    std::vector<Came> came;
  };
  enum class Role { value, sum, count };

  tl::unexpected<Error> error(std::string_view what) const {
    return fail(Errc::malformed, fmt::format("line {}: {}", line_, what));
  }

  // # HELP name text
  // # TYPE name counter
  Result<> comment(std::string_view rest) {
    skip_blanks(rest);
    const auto keyword = take_token(rest);
    if (keyword != "HELP" && keyword != "TYPE") return {};
    skip_blanks(rest);
    if (rest.empty()) return {};
    auto name = take_name(rest, true);
    if (!name) return fail(name.error());
    if (rest.empty()) return {};
    if (!is_blank(rest.front())) return error("invalid metric name in comment");
    if (auto found = select(*name); !found) return found;
    skip_blanks(rest);
    if (rest.empty()) return {};
    auto& family = out_.families[family_];
    if (keyword == "HELP") {
      if (family.help) return error("a second HELP line for the metric");
      auto help = unescape(rest);
      if (!help) return fail(help.error());
      family.help = std::move(*help);
      return {};
    }
    auto& state = states_[family_];
    if (state.has_type) return error("a second TYPE line for the metric, or one after its samples");
    std::string type(rest);
    for (auto& c : type)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    for (const auto known :
         {MetricType::counter, MetricType::gauge, MetricType::untyped, MetricType::histogram, MetricType::summary}) {
      if (to_string(known) != type) continue;
      family.type = known;
      state.has_type = true;
      return {};
    }
    return error("unknown metric type");
  }

  // http_requests_total{code="204",method="put"} 37
  // {"http_requests_total",code="204"} 37
  Result<> sample(std::string_view rest) {
    labels_.clear();
    role_ = Role::value;
    point_.reset();
    const bool name_inside = rest.front() == '{';
    if (!name_inside) {
      auto name = take_name(rest, true);
      if (!name) return fail(name.error());
      if (name->empty()) return error("invalid metric name");
      if (auto found = select(*name); !found) return found;
      states_[family_].has_type = true;
      skip_blanks(rest);
    }
    if (!rest.empty() && rest.front() == '{') {
      rest.remove_prefix(1);
      if (auto labels = label_set(rest, name_inside); !labels) return labels;
      skip_blanks(rest);
    }
    auto& family = out_.families[family_];
    const auto token = take_token(rest);
    const auto value = parse_go_float(token);
    if (!value) return error("expected float as value");
    auto& series = find_series();
    if (family.type != MetricType::histogram && family.type != MetricType::summary) series.value = *value;
    else if (role_ != Role::sum && family.type == MetricType::histogram && *value < 0)
      return error("negative count of a histogram");
    else if (!put(family, series, *value)) leave_out("is there twice, the first one is kept");

    if (rest.empty()) return {};
    skip_blanks(rest);
    const auto timestamp = take_token(rest);
    if (!parse_i64(timestamp)) return error("expected integer as timestamp");
    if (!rest.empty()) return error("spurious string after timestamp");
    out_.timestamps = true;
    return {};
  }

  Result<> label_set(std::string_view& rest, bool name_inside) {
    bool have_name = !name_inside;
    for (;;) {
      skip_blanks(rest);
      if (take_prefix(rest, "}")) {
        if (!have_name) return error("invalid metric name");
        return {};
      }
      auto name = take_name(rest, false);
      if (!name) return fail(name.error());
      skip_blanks(rest);
      if (!have_name) {
        if (rest.empty() || (rest.front() != ',' && rest.front() != '}')) return error("invalid metric name");
        if (auto found = select(*name); !found) return found;
        states_[family_].has_type = true;
        have_name = true;
        take_prefix(rest, ",");
        continue;
      }
      if (name->empty()) return error("invalid label name");
      if (!take_prefix(rest, "=")) return error("expected '=' after label name");
      if (*name == "__name__" || !is_name(*name, false)) return error("invalid label name");
      skip_blanks(rest);
      if (!take_prefix(rest, "\"")) return error("expected '\"' at start of label value");
      auto value = take_quoted(rest);
      if (!value) return fail(value.error());
      if (!is_valid_utf8(*value)) return error("invalid label value: no UTF-8");
      if (auto kept = keep_label(std::move(*name), std::move(*value)); !kept) return kept;
      skip_blanks(rest);
      if (take_prefix(rest, ",")) continue;
      if (!rest.starts_with("}")) return error("unexpected end of label value");
    }
  }

  // The labels le of a histogram and quantile of a summary are no labels but say which number this is.
  Result<> keep_label(std::string name, std::string value) {
    const auto type = out_.families[family_].type;
    if ((type == MetricType::summary && name == "quantile") || (type == MetricType::histogram && name == "le")) {
      point_ = parse_double(value);
      if (!point_) return error(fmt::format("expected float as value for '{}' label", name));
      if (std::isnan(*point_)) point_.reset();
      return {};
    }
    if (std::ranges::any_of(labels_, [&](const auto& label) { return label.first == name; }))
      return error("duplicate label names");
    if (labels_.size() == kMostLabelsOfASeries) return error(fmt::format("more than {} labels", kMostLabelsOfASeries));
    labels_.emplace_back(std::move(name), std::move(value));
    return {};
  }

  // Sums, counts and buckets belong to the family that was declared a summary or histogram before.
  Result<> select(const std::string& name) {
    if (!is_name(name, true)) return error("invalid metric name");
    role_ = Role::value;
    name_ = name;
    if (const auto it = by_name_.find(name); it != by_name_.end()) {
      family_ = it->second;
      return {};
    }
    struct Suffix {
      std::string_view text;
      Role role;
    };
    for (const auto& [suffix, role] : {Suffix{"_count", Role::count}, {"_sum", Role::sum}, {"_bucket", Role::value}}) {
      if (!name.ends_with(suffix) || name.size() == suffix.size()) continue;
      const auto it = by_name_.find(name.substr(0, name.size() - suffix.size()));
      if (it == by_name_.end()) continue;
      const auto type = out_.families[it->second].type;
      if (type != MetricType::histogram && (type != MetricType::summary || suffix == "_bucket")) continue;
      family_ = it->second;
      role_ = role;
      return {};
    }
    family_ = out_.families.size();
    by_name_.emplace(name, family_);
    out_.families.push_back({name, MetricType::untyped, std::nullopt, {}});
    states_.emplace_back();
    return {};
  }

  ExpositionSeries& find_series() {
    auto& family = out_.families[family_];
    if (family.type == MetricType::histogram || family.type == MetricType::summary) {
      auto sorted = labels_;
      std::ranges::sort(sorted);
      std::string key;
      for (const auto& [name, value] : sorted) key += name + '\0' + value + '\0';
      const auto [it, added] = states_[family_].series.try_emplace(std::move(key), family.series.size());
      if (!added) return family.series[it->second];
    }
    auto& series = family.series.emplace_back();
    series.labels = labels_;
    return series;
  }

  // A number of a histogram or summary; false when it has that already.
  bool put(const ExpositionFamily& family, ExpositionSeries& series, double value) {
    auto& all = states_[family_].came;
    all.resize(family.series.size());
    auto& came = all[static_cast<std::size_t>(&series - family.series.data())];
    if (role_ == Role::value) {
      if (point_) return series.points.try_emplace(*point_, value).second;
      leave_out(family.type == MetricType::histogram ? "has no bound 'le'" : "has no 'quantile'");
      return true;
    }
    const bool is_sum = role_ == Role::sum;
    if (std::exchange(is_sum ? came.sum : came.count, true)) return false;
    (is_sum ? series.sum : series.count) = value;
    return true;
  }

  void leave_out(std::string_view why) {
    constexpr std::size_t kMost = 100;
    if (out_.conflicts.size() == kMost) {
      ++out_.more_conflicts;
      return;
    }
    std::string labels;
    const auto add = [&](std::string_view name, std::string_view value) {
      labels += fmt::format("{}{}=\"{}\"", labels.empty() ? "" : ",", name, value);
    };
    for (const auto& [name, value] : labels_) add(name, value);
    if (point_) add(out_.families[family_].type == MetricType::histogram ? "le" : "quantile", go_number(*point_));
    out_.conflicts.push_back(fmt::format("line {}: {}{}{}{} {}", line_, name_, labels.empty() ? "" : "{", labels,
                                         labels.empty() ? "" : "}", why));
  }

  // Plain or in quotes; empty when there is none.
  Result<std::string> take_name(std::string_view& rest, bool colons) {
    if (take_prefix(rest, "\"")) return take_quoted(rest);
    std::size_t n = 0;
    while (n < rest.size() && (is_letter(rest[n]) || (colons && rest[n] == ':') || (n > 0 && is_digit(rest[n])))) ++n;
    std::string name(rest.substr(0, n));
    rest.remove_prefix(n);
    return name;
  }

  Result<std::string> take_quoted(std::string_view& rest) {
    std::size_t n = 0;
    while (n < rest.size() && rest[n] != '"') n += rest[n] == '\\' ? 2 : 1;
    if (n >= rest.size()) return error("label value contains unescaped new-line");
    const auto inside = rest.substr(0, n);
    rest.remove_prefix(n + 1);
    return unescape(inside);
  }

  Result<std::string> unescape(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char c = ++i < text.size() ? text[i] : '\n';
      if (c == 'n') out += '\n';
      else if (c == '\\' || c == '"') out += c;
      else return error(fmt::format("invalid escape sequence '\\{}'", c));
    }
    return out;
  }

  Exposition out_;
  std::vector<State> states_;  // of the family with the same index
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::size_t line_ = 0, family_ = 0;
  std::string name_;  // as it stands in the line
  Role role_ = Role::value;
  std::vector<std::pair<std::string, std::string>> labels_;
  std::optional<double> point_;
};

}  // namespace

std::optional<double> parse_go_float(std::string_view text) {
  if (const auto v = parse_double(text)) return v;
  if (take_prefix(text, "+") && text.starts_with('-')) return std::nullopt;
  double v{};
  const auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc::result_out_of_range || at != text.data() + text.size()) return std::nullopt;
  v = std::strtod(std::string(text).c_str(), nullptr);
  return std::isinf(v) ? std::nullopt : std::optional(v);
}

Result<Exposition> parse_exposition(std::string_view text) { return Parser().parse(text); }

std::string go_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char buf[64];
  const auto scientific = std::to_chars(buf, buf + sizeof buf, value, std::chars_format::scientific);
  const std::string text(buf, scientific.ptr);
  const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
  // strconv.FormatFloat(v, 'g', -1, 64) writes an exponent below 1e-04 and from 1e+06 on.
  if (value != 0 && (exponent < -4 || exponent >= 6)) return text;
  const auto fixed = std::to_chars(buf, buf + sizeof buf, value, std::chars_format::fixed);
  return {buf, fixed.ptr};
}

}  // namespace vitald
