// SPDX-License-Identifier: Apache-2.0
// Prometheus' own language for test scripts: load, eval, and what is expected of it.
#pragma once

#include <re2/re2.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/text/scan.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "tests/rules/memory_source.h"

namespace vitald::promql {

class Script {
 public:
  Script(Dialect dialect, std::string text) : dialect_(dialect), text_(std::move(text)) {}

  int passed = 0, total = 0;
  std::vector<std::string> failures;

  void run() {
    std::string_view rest = text_;
    std::int64_t load_step = 0;
    bool loading = false, with_nhcb = false;
    std::optional<Case> now;
    const auto flush = [&] {
      if (now) {
        ++total;
        const auto why = check(*now);
        if (why.empty()) ++passed;
        else failures.push_back("line " + std::to_string(now->line) + ": " + now->expr + ": " + why);
      }
      now.reset();
      if (with_nhcb) add_native();
      with_nhcb = false;
      loading = false;
    };
    for (int number = 1; !rest.empty(); ++number) {
      auto line = trim(take_line(rest));
      if (line.empty() || line.starts_with('#')) continue;
      auto words = line;
      const auto word = take_word(words);
      if (word == "clear") {
        flush();
        source_.clear();
      } else if (word == "load" || word == "load_with_nhcb") {
        flush();
        with_nhcb = word != "load";
        load_step = duration(trim(words));
        loading = true;
        loaded_.clear();
      } else if (word.starts_with("eval")) {
        flush();
        now = read_case(number, word, words);
      } else if (loading) {
        std::string error;
        if (!source_.load(line, load_step, error))
          failures.push_back("line " + std::to_string(number) + ": load: " + error), ++total;
        if (const auto s = split_series(line)) loaded_.insert(s->first);
      } else if (now) {
        expectation(*now, line);
      }
    }
    flush();
  }

 private:
  struct Expected {
    enum class How { any, text, regex } how = How::any;
    std::string text;
  };
  struct Case {
    int line = 0;
    bool fails = false, ordered = false, range = false, no_warn = false, no_info = false;
    std::vector<Expected> fail, warn, info;
    std::int64_t from = 0, to = 0, step = 1;
    std::string expr;
    std::vector<std::string> expected;
    std::optional<std::string> text;
    bool range_vector = false;
  };
  // One sample: a number or a histogram.
  struct Got {
    double value = 0;
    std::optional<Histogram> histogram;
  };
  using Result = std::map<std::string, std::map<std::int64_t, Got>>;

  static std::int64_t duration(std::string_view text) {
    if (const auto s = parse_double(text)) return static_cast<std::int64_t>(*s * 1000);
    return parse_duration_ms(text);
  }

  static bool same(double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    if (a == b) return true;
    const double d = std::abs(a - b);
    return d < 1e-6 * std::max(std::abs(a), std::abs(b)) || d < 1e-300;
  }
  static bool same_buckets(const Histogram::Buckets& a, const Histogram::Buckets& b) {
    return std::ranges::equal(
        a, b, [](const auto& x, const auto& y) { return x.index == y.index && same(x.count, y.count); });
  }
  static bool same(Histogram a, Histogram b) {
    a.compact(), b.compact();
    return a.schema == b.schema && same(a.count, b.count) && same(a.sum, b.sum) &&
           same(a.zero_threshold, b.zero_threshold) && same(a.zero_count, b.zero_count) &&
           std::ranges::equal(a.custom, b.custom, [](double x, double y) { return same(x, y); }) &&
           same_buckets(a.positive, b.positive) && same_buckets(a.negative, b.negative);
  }

  static Case read_case(int number, std::string_view word, std::string_view words) {
    Case c;
    c.line = number;
    c.fails = word == "eval_fail";
    c.ordered = word == "eval_ordered";
    if (word == "eval_warn") c.warn.emplace_back();
    if (word == "eval_info") c.info.emplace_back();
    c.range = take_word(words) == "range";
    take_word(words);  // at, from
    c.from = c.to = duration(take_word(words));
    if (c.range) {
      take_word(words);  // to
      c.to = duration(take_word(words));
      take_word(words);  // step
      c.step = duration(take_word(words));
    }
    c.expr = trim(words);
    return c;
  }

  static void expectation(Case& c, std::string_view line) {
    auto rest = line;
    if (take_word(rest) != "expect") return c.expected.emplace_back(line), void();
    const auto what = take_word(rest);
    Expected e;
    if (auto more = trim(rest); take_prefix(more, "msg:")) e = {Expected::How::text, std::string(trim(more))};
    else if (take_prefix(more, "regex:")) e = {Expected::How::regex, std::string(trim(more))};
    if (what == "fail") c.fails = true, c.fail.push_back(e);
    if (what == "warn") c.warn.push_back(e);
    if (what == "info") c.info.push_back(e);
    if (what == "no_warn") c.no_warn = true;
    if (what == "no_info") c.no_info = true;
    if (what == "ordered") c.ordered = true;
    if (what == "range") {  // vector from 0 to 10m step 1m
      take_word(rest), take_word(rest);
      c.from = duration(take_word(rest));
      take_word(rest);
      take_word(rest);
      take_word(rest);
      c.step = duration(take_word(rest));
      c.range_vector = true;
    }
    if (what == "string") {
      std::vector<Problem> problems;
      const auto tokens = lex(trim(rest), problems);
      c.text = tokens.front().value;
    }
  }

  // Native histograms with the bounds of the classic ones that were loaded last.
  void add_native() {
    struct Built {
      std::map<std::int64_t, std::map<double, double>> buckets;
      std::map<std::int64_t, double> sums, counts;
    };
    std::map<Labels, Built> built;
    for (const auto& s : source_.series()) {
      if (!loaded_.contains(s.labels)) continue;
      const auto name = std::string(s.labels.name());
      const auto base = [&](std::string_view suffix) {
        LabelsBuilder b(s.labels);
        const auto without = name.substr(0, name.size() - suffix.size());
        b.set(kMetricName, without);
        b.del("le");
        return b.labels();
      };
      for (std::size_t i = 0; i < s.times.size(); ++i) {
        if (name.ends_with("_bucket") && !s.labels.get("le").empty()) {
          if (const auto le = parse_double(s.labels.get("le")))
            built[base("_bucket")].buckets[s.times[i]][*le] = s.values[i];
        } else if (name.ends_with("_sum")) {
          built[base("_sum")].sums[s.times[i]] = s.values[i];
        } else if (name.ends_with("_count")) {
          built[base("_count")].counts[s.times[i]] = s.values[i];
        }
      }
    }
    for (const auto& [labels, b] : built) {
      for (const auto& [t, buckets] : b.buckets) {
        Histogram h;
        h.schema = Histogram::kCustom;
        double before = 0;
        std::int32_t index = 0;
        for (const auto& [le, count] : buckets) {
          if (!std::isinf(le)) h.custom.push_back(le);
          h.positive.push_back({index++, count - before});
          before = count;
        }
        h.count = before;
        if (const auto at = b.counts.find(t); at != b.counts.end()) {
          if (!buckets.contains(std::numeric_limits<double>::infinity()))
            h.positive.push_back({index, at->second - before});
          h.count = at->second;
        }
        if (const auto at = b.sums.find(t); at != b.sums.end()) h.sum = at->second;
        h.compact();
        source_.add(labels, t, 0, std::make_shared<const Histogram>(std::move(h)));
      }
    }
  }

  static bool matches(const std::string& text, const Expected& e) {
    if (e.how == Expected::How::any) return true;
    return e.how == Expected::How::text ? text == e.text : RE2::PartialMatch(text, e.text);
  }
  // Each expectation has a match, and each annotation an expectation where there are some.
  static std::string check_texts(const std::vector<std::string>& got, const std::vector<Expected>& want, bool none,
                                 std::string_view what) {
    if (none && !got.empty()) return std::string("unexpected ") + std::string(what) + ": " + got[0];
    for (const auto& e : want)
      if (std::ranges::none_of(got, [&](const auto& g) { return matches(g, e); }))
        return std::string(what) + " missing: " + e.text + (got.empty() ? "" : "; got " + got[0]);
    if (!want.empty())
      for (const auto& g : got)
        if (std::ranges::none_of(want, [&](const auto& e) { return matches(g, e); }))
          return std::string("unexpected ") + std::string(what) + ": " + g;
    return {};
  }

  static std::string check_error(const Case& c, const std::string& text) {
    if (!c.fails) return text;
    for (const auto& e : c.fail)
      if (!matches(text, e)) return "another error: " + text;
    return {};
  }

  // What went wrong; empty: nothing.
  std::string check(const Case& c) {
    std::vector<Problem> problems;
    const auto e = compile(c.expr, problems, {.experimental = true});
    if (!e) {
      if (problems.empty()) return "?";
      if (problems[0].what.find("unknown function") != std::string::npos) return problems[0].what;
      return check_error(c, problems[0].what);
    }
    EvalOptions options;
    options.dialect = dialect_;
    if (c.range) options.step_ms = c.step, options.range_ms = c.to - c.from;
    Evaluator evaluator(*e, source_, options);
    Result got;
    std::vector<std::string> order;
    std::set<std::string> warnings, infos;
    const auto eval_at = c.range_vector ? c.to : c.from;  // `from` is then where the expected points start
    for (auto t = eval_at; t <= (c.range_vector ? eval_at : c.to); t += c.step) {
      const auto v = evaluator.eval(t, eval_at, c.to);
      if (!v) return check_error(c, v.error().text);
      for (const auto& a : *v->annotations) (a.warning ? warnings : infos).insert(a.text(c.expr));
      switch (v->type) {
        case ValueType::scalar: got[c.range ? "{}" : "scalar"][t] = {v->scalar, {}}; break;
        case ValueType::string: return v->text == c.text.value_or("") ? "" : "string is " + v->text;
        case ValueType::vector:
          for (const auto& s : v->vector->samples) {
            const auto name = v->vector->labels(s).text();
            const auto* h = v->histogram(s);
            if (!got[name].emplace(t, Got{s.value, h ? std::optional(*h) : std::nullopt}).second)
              return "twice: " + name;
            order.push_back(name);
          }
          break;
        case ValueType::matrix:
          for (const auto& [labels, points] : v->matrix)
            for (const auto& p : points)
              got[labels.text()][p.t_ms] = {p.value, p.histogram ? std::optional(*p.histogram) : std::nullopt};
          break;
        case ValueType::none: return "no type";
      }
    }
    if (c.fails) return "expected an error";
    if (auto why = check_values(c, got, order); !why.empty()) return why;
    if (auto why = check_texts({warnings.begin(), warnings.end()}, c.warn, c.no_warn, "warning"); !why.empty())
      return why;
    return check_texts({infos.begin(), infos.end()}, c.info, c.no_info, "info");
  }

  static std::string check_values(const Case& c, const Result& got, const std::vector<std::string>& order) {
    std::map<std::string, std::map<std::int64_t, SeriesPoint>> want;
    std::vector<std::string> want_order;
    for (const auto& line : c.expected) {
      std::string error;
      if (const auto scalars = parse_points(line, error); scalars && !scalars->empty() && !line.starts_with("{")) {
        for (std::size_t i = 0; i < scalars->size(); ++i)
          if (!(*scalars)[i].missing) want["scalar"][c.from + static_cast<std::int64_t>(i) * c.step] = (*scalars)[i];
        continue;
      }
      const auto s = split_series(line);
      if (!s) return "cannot read " + line;
      const auto points = parse_points(s->second, error);
      if (!points) return "cannot read " + line + ": " + error;
      const auto name = s->first.text();
      want_order.push_back(name);
      auto& row = want[name];
      for (std::size_t i = 0; i < points->size(); ++i) {
        const auto t = c.from + static_cast<std::int64_t>(i) * c.step;
        if (c.range && t > c.to) break;
        if (!(*points)[i].missing) row[t] = (*points)[i];
      }
      if (row.empty()) want.erase(name);
    }
    if (c.ordered && !c.range && order != want_order) return "another order";
    for (const auto& [name, points] : want) {
      const auto at = got.find(name);
      if (at == got.end()) return "missing " + name;
      for (const auto& [t, v] : points) {
        const auto p = at->second.find(t);
        if (p == at->second.end()) return "missing " + name + " at " + std::to_string(t);
        const auto& g = p->second;
        if (v.histogram) {
          if (!g.histogram) return name + " is " + number_text(g.value) + ", expected " + v.histogram->notation();
          if (!same(*g.histogram, *v.histogram) || (v.hinted && g.histogram->hint != v.histogram->hint))
            return name + " is " + g.histogram->notation() + ", expected " + v.histogram->notation();
          continue;
        }
        if (g.histogram) return name + " is " + g.histogram->notation() + ", expected " + number_text(v.value);
        if (!same(g.value, v.value)) return name + " is " + number_text(g.value) + ", expected " + number_text(v.value);
      }
      if (points.size() != at->second.size()) return "more points than expected of " + name;
    }
    for (const auto& [name, points] : got)
      if (!want.contains(name)) return "unexpected " + name;
    return {};
  }

  Dialect dialect_;
  std::string text_;
  MemorySource source_;
  std::set<Labels> loaded_;
};

}  // namespace vitald::promql
