// SPDX-License-Identifier: Apache-2.0
#include "rules/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "rules/promql/parser.h"

namespace vitald {

namespace {

using promql::Labels;
using promql::ValueType;

tl::unexpected<QueryError> error(QueryError::Kind kind, std::string text) {
  return tl::unexpected(QueryError{kind, std::move(text)});
}
tl::unexpected<QueryError> given_up() { return error(QueryError::Kind::given_up, "given up"); }
constexpr std::size_t kSampleBytes = 16;  // of an answer

tl::unexpected<QueryError> too_many_samples(const QueryLimits& limits) {
  return error(QueryError::Kind::too_much, promql::too_many_samples(limits.max_samples));
}
tl::unexpected<QueryError> failed(const Error& e) {
  return e.kind == Errc::timeout ? given_up() : error(QueryError::Kind::failed, e.text);
}

tl::unexpected<QueryError> bad(std::string_view text, const std::vector<promql::Problem>& problems) {
  std::string out;
  for (const auto& p : problems) {
    const auto before = text.substr(0, p.where.begin);
    const auto line = 1 + std::ranges::count(before, '\n');
    const auto column = before.size() - (before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1) + 1;
    out += fmt::format("{}{}:{}: parse error: {}", out.empty() ? "" : "\n", line, column, p.what);
  }
  return error(QueryError::Kind::bad_query, out.empty() ? "parse error: no expression found in input" : out);
}

promql::EvalOptions options_of(const QueryLimits& limits) {
  promql::EvalOptions options;
  options.lookback_ms = limits.lookback_ms;
  options.dialect = limits.dialect;
  options.max_samples = limits.max_samples;
  options.given_up = limits.given_up;
  options.patterns = promql::PatternBudget::of_request(limits.given_up);
  return options;
}

// One that outlives the evaluator.
const promql::Histogram* keep(QueryAnswer& answer, const promql::Histogram* h) {
  return h ? answer.histograms.emplace_back(std::make_shared<const promql::Histogram>(*h)).get() : nullptr;
}

void add_annotations(QueryAnswer& answer, const promql::Value& value) {
  constexpr std::size_t kMost = 100;
  for (const auto& a : *value.annotations)
    if (answer.annotations.size() < kMost && std::ranges::find(answer.annotations, a) == answer.annotations.end())
      answer.annotations.push_back(a);
}

void sort(QueryAnswer& answer) {
  std::ranges::sort(answer.matrix, [](const auto& a, const auto& b) { return labels_before(a.first, b.first); });
}

}  // namespace

bool labels_before(const Labels& a, const Labels& b) {
  auto x = a.begin(), y = b.begin();
  for (; x != a.end() && y != b.end(); ++x, ++y) {
    const auto l = *x, r = *y;
    if (const auto c = l.name.compare(r.name); c != 0) return c < 0;
    if (const auto c = l.value.compare(r.value); c != 0) return c < 0;
  }
  return x == a.end() && y != b.end();
}

Queried<promql::ExprPtr> parse_query(std::string_view text, const promql::Language& language) {
  std::vector<promql::Problem> problems;
  auto expr = promql::compile(text, problems, language);
  if (!expr) return bad(text, problems);
  return expr;
}

Queried<promql::ExprPtr> parse_query(std::string_view text, const QueryLimits& limits) {
  std::vector<promql::Problem> problems;
  auto budget = promql::PatternBudget::of_request(limits.given_up);
  auto expr = promql::compile(text, problems, limits.language, &budget);
  if (budget.gave_up) return given_up();
  if (!expr) return bad(text, problems);
  return expr;
}

Queried<std::unique_ptr<promql::Selector>> parse_matchers(std::string_view text, promql::PatternBudget& budget) {
  std::vector<promql::Problem> problems;
  auto selector = promql::parse_selector(text, problems, &budget, true);  // as Prometheus, for match[] only
  if (budget.gave_up) return given_up();
  if (!selector) return bad(text, problems);
  return selector;
}

Queried<QueryAnswer> instant_query(const promql::Expr& query, promql::SeriesSource& source, std::int64_t t_ms,
                                   const QueryLimits& limits) {
  if (limits.given_up()) return given_up();
  promql::Evaluator evaluator(query, source, options_of(limits));
  auto value = evaluator.eval(t_ms);
  if (!value) return failed(value.error());
  QueryAnswer out;
  out.type = value->type;
  out.text = std::move(value->text);
  add_annotations(out, *value);
  if (value->type == ValueType::scalar) out.rows.push_back({{}, value->scalar});
  if (value->vector) {
    if (value->vector->samples.size() > limits.max_samples) return too_many_samples(limits);
    std::size_t label_bytes = 0;
    for (const auto& s : value->vector->samples) {
      out.rows.push_back({value->vector->labels(s), s.value, keep(out, value->histogram(s))});
      label_bytes += out.rows.back().labels.bytes().size();
      if (out.rows.size() + label_bytes / kSampleBytes > limits.max_samples) return too_many_samples(limits);
    }
  }
  std::size_t samples = 0;
  for (const auto& [labels, points] : value->matrix) samples += points.size();
  if (samples > limits.max_samples) return too_many_samples(limits);
  out.matrix = std::move(value->matrix);
  for (auto& [labels, points] : out.matrix)
    for (auto& p : points) p.histogram = keep(out, p.histogram);
  sort(out);
  return out;
}

Queried<QueryAnswer> range_query(const promql::Expr& query, promql::SeriesSource& source, std::int64_t start_ms,
                                 std::int64_t end_ms, std::int64_t step_ms, const QueryLimits& limits) {
  auto options = options_of(limits);
  options.step_ms = step_ms;
  options.range_ms = end_ms - start_ms;
  promql::Evaluator evaluator(query, source, std::move(options));
  QueryAnswer out;
  out.type = ValueType::matrix;
  std::unordered_map<Labels, std::size_t, Labels::Hash> rows;
  // As long as the shape stays, a sample's row is known by its number.
  constexpr auto kNone = static_cast<std::size_t>(-1);
  promql::ShapePtr shape;
  std::vector<std::size_t> row_of;
  std::size_t samples = 0;
  // Labels are kept three times, of which one is a sample's size: many series with long labels are not many samples.
  std::size_t label_bytes = 0;
  const auto row = [&](const Labels& labels) {
    const auto [at, added] = rows.try_emplace(labels, out.matrix.size());
    if (added) {
      out.matrix.emplace_back(labels, std::vector<promql::Point>());
      for (const auto& label : labels) label_bytes += label.name.size() + label.value.size();
    }
    return at->second;
  };
  for (auto t = start_ms; t <= end_ms; t += step_ms) {
    if (limits.given_up()) return given_up();
    const auto value = evaluator.eval(t, start_ms, end_ms);
    if (!value) return failed(value.error());
    add_annotations(out, *value);
    if (value->type == ValueType::scalar) {
      out.matrix[row({})].second.push_back({t, value->scalar});
      ++samples;
    } else if (value->vector) {
      if (value->vector->shape != shape) {
        shape = value->vector->shape;
        row_of.assign(shape->series.size(), kNone);
      }
      for (const auto& s : value->vector->samples) {
        auto& at = row_of[s.series];
        if (at == kNone) at = row(shape->series[s.series]);
        out.matrix[at].second.push_back({t, s.value, keep(out, value->histogram(s))});
      }
      samples += value->vector->samples.size();
    }
    if (samples + label_bytes / kSampleBytes > limits.max_samples) return too_many_samples(limits);
    if (end_ms - t < step_ms) break;  // the next one may be more than fits
  }
  sort(out);
  return out;
}

Queried<std::vector<Labels>> find_series(const Selectors& matchers, HistoryView& view, std::int64_t first_ms,
                                         std::int64_t last_ms, const QueryLimits& limits) {
  promql::Selector everything;
  std::vector<const promql::Selector*> all;
  for (const auto& m : matchers) all.push_back(m.get());
  if (all.empty()) all.push_back(&everything);
  std::vector<Labels> out;
  std::unordered_set<std::uint32_t> seen;
  promql::SeriesSource::Buffer buffer;
  for (const auto* selector : all) {
    if (limits.given_up()) return given_up();
    const auto& selection = view.select(view.bind(*selector, 0));
    for (std::size_t i = 0; i < selection.ids.size(); ++i) {
      if (i % 256 == 0 && limits.given_up()) return given_up();
      const auto id = selection.ids[i];
      if (!seen.insert(id).second) continue;
      // The cheap look first: a series that still is has a newest sample.
      const auto newest_ms = std::min(last_ms, view.now_wall_ms());
      if (!(newest_ms >= first_ms && view.at(id, newest_ms, newest_ms - first_ms + 1)) &&
          view.range(id, first_ms, last_ms, buffer).count == 0)
        continue;
      out.push_back(selection.shape->series[i]);
    }
  }
  std::ranges::sort(out, labels_before);
  return out;
}

std::int64_t oldest_wall_ms(const HistoryView& view) {
  const auto& round = view.round();
  auto oldest_ms = round.now_ms;
  for (const auto& feed : round.feeds) {
    if (feed.chunks && !feed.chunks->empty()) oldest_ms = std::min(oldest_ms, feed.chunks->front()->first_ms());
    else if (feed.size > 0) oldest_ms = std::min(oldest_ms, feed.head->rows[0].t_ms);
  }
  return oldest_ms + round.offset_ms;
}

}  // namespace vitald
