// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/functions.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numbers>

#include "rules/promql/exact_sum.h"

namespace vitald::promql {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

using Args = std::span<const double>;
using Maybe = std::optional<double>;

// math.Min and math.Max of Go: the infinity on their side wins, then a NaN.
double go_min(double a, double b) {
  if (a == -kInf || b == -kInf) return -kInf;
  return std::isnan(a) || std::isnan(b) ? kNaN : std::min(a, b);
}
double go_max(double a, double b) {
  if (a == kInf || b == kInf) return kInf;
  return std::isnan(a) || std::isnan(b) ? kNaN : std::max(a, b);
}

double round_to(double v, Args a) {
  // Dividing by the inverse keeps 0.1 exact enough: 1/0.1 is 10.
  const double inverse = 1.0 / (a.empty() ? 1.0 : a[0]);
  return std::floor(v * inverse + 0.5) / inverse;
}

// rate, increase, delta: the difference of the first and the last sample, stretched to the ends of the range.
Maybe extrapolated(const Points& p, const RangeContext& c, bool counter, bool per_second) {
  const bool from_start = counter && starts_inside(p, c);
  if (p.count < (from_start ? 1 : 2)) return {};
  const double first = p.values[0];
  double result = p.values[p.count - 1] - (from_start ? 0 : first);
  if (counter) {
    double previous = first;
    for (std::size_t i = 1; i < p.count; ++i) {
      // A reset: what was counted before it stays counted.
      if (p.values[i] < previous || (p.starts && starts_anew(p, i))) result += previous;
      previous = p.values[i];
    }
  }
  return result * extrapolation(p, c, per_second, counter ? first : -1, result);
}

Maybe rate(const Points& p, Args, const RangeContext& c) { return extrapolated(p, c, true, true); }
Maybe increase(const Points& p, Args, const RangeContext& c) { return extrapolated(p, c, true, false); }
Maybe delta(const Points& p, Args, const RangeContext& c) { return extrapolated(p, c, false, false); }

Maybe instant_change(const Points& p, bool is_rate) {
  if (p.count < 2) return {};
  const auto n = p.count;
  const double last = p.values[n - 1], previous = p.values[n - 2];
  const auto ms = p.time(n - 1) - p.time(n - 2);
  if (ms == 0) return {};
  if (!is_rate) return last - previous;
  const bool anew = last < previous || (p.starts && starts_anew(p, n - 1));
  return (anew ? last : last - previous) / (static_cast<double>(ms) / 1000);
}
Maybe irate(const Points& p, Args, const RangeContext&) { return instant_change(p, true); }
Maybe idelta(const Points& p, Args, const RangeContext&) { return instant_change(p, false); }

struct Line {
  double slope = 0, intercept = 0;
};
// Least squares, with `zero_ms` as the origin of time. Sums are of distances from the first sample, which keeps
// them small enough for plain addition, and in four lanes, because one chain of additions is 5 times slower; two lanes
// are a register of every processor.
Line regression(const Points& p, std::int64_t zero_ms) {
  using Doubles [[gnu::vector_size(2 * sizeof(double))]] = double;
  using Bits [[gnu::vector_size(2 * sizeof(double))]] = std::int64_t;
  struct Lanes {
    Doubles x = {}, y = {}, xy = {}, xx = {};
    Bits differ = {};
    void add(const Doubles& t, const Doubles& v) {
      Bits bits;
      std::memcpy(&bits, &v, sizeof bits);
      differ |= bits << 1;  // without the sign of a zero
      x += t;
      y += v;
      xy += t * v;
      xx += t * t;
    }
  };
  const double n = static_cast<double>(p.count), first = p.values[0];
  const auto first_ms = p.times[0];
  Lanes a, b;
  const auto add = [&](Lanes& to, std::size_t i) {
    const Doubles t = {static_cast<double>(p.times[i] - first_ms), static_cast<double>(p.times[i + 1] - first_ms)},
                  v = {p.values[i] - first, p.values[i + 1] - first};
    to.add(t, v);
  };
  std::size_t i = 0;
  for (; i + 4 <= p.count; i += 4) add(a, i), add(b, i + 2);
  for (; i < p.count; ++i) {
    const Doubles t = {static_cast<double>(p.times[i] - first_ms), 0}, v = {p.values[i] - first, 0};
    a.add(t, v);
  }
  const Bits differ = a.differ | b.differ;
  if ((differ[0] | differ[1]) == 0) return {0, first};
  const auto total = [&](Doubles Lanes::*sums) {
    return ((a.*sums)[0] + (a.*sums)[1]) + ((b.*sums)[0] + (b.*sums)[1]);
  };
  const double sx = total(&Lanes::x), sy = total(&Lanes::y);
  const double slope_ms = (total(&Lanes::xy) - sx * sy / n) / (total(&Lanes::xx) - sx * sx / n);
  const double to_zero_ms = static_cast<double>(zero_ms - p.time(0));
  return {slope_ms * 1000, first + sy / n + slope_ms * (to_zero_ms - sx / n)};
}

Maybe deriv(const Points& p, Args, const RangeContext&) {
  if (p.count < 2) return {};
  return regression(p, p.time(0)).slope;
}
Maybe predict_linear(const Points& p, Args a, const RangeContext& c) {
  if (p.count < 2) return {};
  const auto line = regression(p, c.eval_ms);
  return line.slope * a[0] + line.intercept;
}

// Holt's double exponential smoothing; wrong_factor() has looked at the arguments.
Maybe smoothed(const Points& p, Args a, const RangeContext&) {
  if (p.count < 2) return {};
  double s0 = 0, s1 = p.values[0], b = p.values[1] - p.values[0];
  for (std::size_t i = 1; i < p.count; ++i) {
    const double x = a[0] * p.values[i];
    if (i > 1) b = a[1] * (s1 - s0) + (1 - a[1]) * b;
    const double y = (1 - a[0]) * (s1 + b);
    s0 = s1;
    s1 = x + y;
  }
  return s1;
}

// Two NaNs are no change.
Maybe changes(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  double n = 0;
  for (std::size_t i = 1; i < p.count; ++i) {
    const double a = p.values[i - 1], b = p.values[i];
    if (a != b && !(std::isnan(a) && std::isnan(b))) ++n;
  }
  return n;
}
Maybe resets(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  double n = 0;
  for (std::size_t i = 1; i < p.count; ++i)
    if (p.values[i] < p.values[i - 1] || (p.starts && starts_anew(p, i))) ++n;
  return n;
}

Maybe sum_over_time(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  ExactSum s;
  for (std::size_t i = 0; i < p.count; ++i) s.add(p.values[i]);
  return s.value();
}
Maybe avg_over_time(const Points& p, Args a, const RangeContext& c) {
  if (p.count == 0) return {};
  const double n = static_cast<double>(p.count), sum = *sum_over_time(p, a, c);
  if (!std::isinf(sum)) return sum / n;
  // Either an infinity is among them or the sum overflowed: then divide first.
  ExactSum mean;
  for (std::size_t i = 0; i < p.count; ++i) {
    if (std::isinf(p.values[i])) return sum / n;
    mean.add(p.values[i] / n);
  }
  return mean.value();
}
Maybe count_over_time(const Points& p, Args, const RangeContext&) {
  return p.count == 0 ? Maybe{} : static_cast<double>(p.count);
}
Maybe present_over_time(const Points& p, Args, const RangeContext&) { return p.count == 0 ? Maybe{} : 1.0; }
Maybe first_over_time(const Points& p, Args, const RangeContext&) { return p.count == 0 ? Maybe{} : p.values[0]; }
Maybe last_over_time(const Points& p, Args, const RangeContext&) {
  return p.count == 0 ? Maybe{} : p.values[p.count - 1];
}
template <bool kMax>
Maybe extreme(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  double best = p.values[0];
  for (std::size_t i = 1; i < p.count; ++i) {
    const double v = p.values[i];
    if (std::isnan(best) || (kMax ? v > best : v < best)) best = v;
  }
  return best;
}
// When the first, last, lowest or highest sample was; of equals the last one.
Maybe ts_of_first(const Points& p, Args, const RangeContext&) {
  return p.count == 0 ? Maybe{} : static_cast<double>(p.time(0)) / 1000;
}
Maybe ts_of_last(const Points& p, Args, const RangeContext&) {
  return p.count == 0 ? Maybe{} : static_cast<double>(p.time(p.count - 1)) / 1000;
}
template <bool kMax>
Maybe ts_of_extreme(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  std::size_t best = 0;
  for (std::size_t i = 1; i < p.count; ++i) {
    const double v = p.values[i], than = p.values[best];
    if (std::isnan(than) || (kMax ? v >= than : v <= than)) best = i;
  }
  return static_cast<double>(p.time(best)) / 1000;
}
Maybe quantile_over_time(const Points& p, Args a, const RangeContext&) {
  if (p.count == 0) return {};
  std::vector<double> values(p.values, p.values + p.count);
  return quantile(a[0], values);
}
Maybe stdvar_over_time(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  double n = 0;
  ExactSum mean, squares;
  for (std::size_t i = 0; i < p.count; ++i) {
    ++n;
    const double from_mean = p.values[i] - mean.value();
    mean.add(from_mean / n);
    squares.add(from_mean * (p.values[i] - mean.value()));
  }
  return squares.value() / n;
}
Maybe stddev_over_time(const Points& p, Args a, const RangeContext& c) {
  const auto v = stdvar_over_time(p, a, c);
  return v ? std::sqrt(*v) : v;
}
Maybe mad_over_time(const Points& p, Args, const RangeContext&) {
  if (p.count == 0) return {};
  std::vector<double> values(p.values, p.values + p.count);
  if (std::ranges::any_of(values, [](double v) { return std::isnan(v); })) return kNaN;
  const double median = quantile(0.5, values);
  for (auto& v : values) v = std::abs(v - median);
  return quantile(0.5, values);
}

// Days since 1970-01-01 -> civil date (Howard Hinnant's algorithm), for any year.
struct Civil {
  std::int64_t year = 0;
  int month = 0, day = 0;
};
Civil civil(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto of_era = days - era * 146097;
  const auto year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const auto of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const auto mp = (5 * of_year + 2) / 153;
  const int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, static_cast<int>(of_year - (153 * mp + 2) / 5 + 1)};
}
bool leap(std::int64_t y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }
constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

std::int64_t seconds(double unix_s) { return static_cast<std::int64_t>(unix_s); }
std::int64_t days_of(double unix_s) {
  const auto s = seconds(unix_s);
  return (s >= 0 ? s : s - 86399) / 86400;
}
std::int64_t second_of_day(double unix_s) { return seconds(unix_s) - days_of(unix_s) * 86400; }

template <auto F>
double date(double unix_s) {
  if (!(std::abs(unix_s) < 9e15)) return kNaN;
  return static_cast<double>(F(unix_s));
}

template <double (*F)(double)>
double plain(double v, Args) {
  return F(v);
}

std::vector<Function> make_table() {
  using V = ValueType;
  std::vector<Function> t;
  const auto vector = [&](std::string_view name, VectorFunction f, std::vector<V> args = {V::vector},
                          int optional = 0) {
    t.push_back({name, V::vector, std::move(args), optional, Form::vector, f, nullptr, nullptr});
  };
  const auto range = [&](std::string_view name, RangeFunction f, std::vector<V> args = {V::matrix}, bool keeps = false,
                         std::uint8_t at = 0) {
    t.push_back({name, V::vector, std::move(args), 0, Form::range, nullptr, f, nullptr, keeps, at});
  };
  const auto when = [&](std::string_view name, DateFunction f) {
    t.push_back({name, V::vector, {V::vector}, 1, Form::date, nullptr, nullptr, f});
  };
  const auto special = [&](std::string_view name, V result, std::vector<V> args, int optional = 0,
                           Form form = Form::special) {
    t.push_back({name, result, std::move(args), optional, form});
  };

  vector("abs", plain<std::abs>);
  vector("ceil", plain<std::ceil>);
  vector("floor", plain<std::floor>);
  vector("exp", plain<std::exp>);
  vector("ln", plain<std::log>);
  vector("log2", plain<std::log2>);
  vector("log10", plain<std::log10>);
  vector("sqrt", plain<std::sqrt>);
  vector("sin", plain<std::sin>);
  vector("cos", plain<std::cos>);
  vector("tan", plain<std::tan>);
  vector("asin", plain<std::asin>);
  vector("acos", plain<std::acos>);
  vector("atan", plain<std::atan>);
  vector("sinh", plain<std::sinh>);
  vector("cosh", plain<std::cosh>);
  vector("tanh", plain<std::tanh>);
  vector("asinh", plain<std::asinh>);
  vector("acosh", plain<std::acosh>);
  vector("atanh", plain<std::atanh>);
  vector("deg", [](double v, Args) { return v * 180 / std::numbers::pi; });
  vector("rad", [](double v, Args) { return v * std::numbers::pi / 180; });
  vector("sgn", [](double v, Args) { return v < 0 ? -1 : v > 0 ? 1 : v; });
  vector("round", round_to, {V::vector, V::scalar}, 1);
  vector("clamp", [](double v, Args a) { return go_max(a[0], go_min(a[1], v)); }, {V::vector, V::scalar, V::scalar});
  vector("clamp_min", [](double v, Args a) { return go_max(a[0], v); }, {V::vector, V::scalar});
  vector("clamp_max", [](double v, Args a) { return go_min(a[0], v); }, {V::vector, V::scalar});

  range("rate", rate);
  range("increase", increase);
  range("delta", delta);
  range("irate", irate);
  range("idelta", idelta);
  range("deriv", deriv);
  range("predict_linear", predict_linear, {V::matrix, V::scalar});
  range("holt_winters", smoothed, {V::matrix, V::scalar, V::scalar});
  range("double_exponential_smoothing", smoothed, {V::matrix, V::scalar, V::scalar});
  range("changes", changes);
  range("resets", resets);
  range("avg_over_time", avg_over_time);
  range("sum_over_time", sum_over_time);
  range("min_over_time", extreme<false>);
  range("max_over_time", extreme<true>);
  range("count_over_time", count_over_time);
  range("first_over_time", first_over_time, {V::matrix}, true);
  range("last_over_time", last_over_time, {V::matrix}, true);
  range("ts_of_first_over_time", ts_of_first);
  range("ts_of_last_over_time", ts_of_last);
  range("ts_of_min_over_time", ts_of_extreme<false>);
  range("ts_of_max_over_time", ts_of_extreme<true>);
  range("present_over_time", present_over_time);
  range("stddev_over_time", stddev_over_time);
  range("stdvar_over_time", stdvar_over_time);
  range("mad_over_time", mad_over_time);
  range("quantile_over_time", quantile_over_time, {V::scalar, V::matrix}, false, 1);

  when("minute", date<[](double s) { return second_of_day(s) / 60 % 60; }>);
  when("hour", date<[](double s) { return second_of_day(s) / 3600; }>);
  when("day_of_week", date<[](double s) { return ((days_of(s) + 4) % 7 + 7) % 7; }>);  // 1970-01-01: Thursday
  when("day_of_month", date<[](double s) { return civil(days_of(s)).day; }>);
  when("day_of_year", date<[](double s) {
         const auto c = civil(days_of(s));
         int day = c.day + (c.month > 2 && leap(c.year) ? 1 : 0);
         for (int m = 0; m + 1 < c.month; ++m) day += kDays[m];
         return day;
       }>);
  when("days_in_month", date<[](double s) {
         const auto c = civil(days_of(s));
         return kDays[c.month - 1] + (c.month == 2 && leap(c.year) ? 1 : 0);
       }>);
  when("month", date<[](double s) { return civil(days_of(s)).month; }>);
  when("year", date<[](double s) { return civil(days_of(s)).year; }>);

  special("time", V::scalar, {}, 0, Form::scalar);
  special("pi", V::scalar, {}, 0, Form::scalar);
  special("scalar", V::scalar, {V::vector}, 0, Form::scalar);
  for (const char* name : {"step", "range", "start", "end"}) special(name, V::scalar, {}, 0, Form::scalar);
  for (const char* name : {"min_of", "max_of"}) special(name, V::scalar, {V::scalar, V::scalar}, 0, Form::scalar);
  special("vector", V::vector, {V::scalar});
  special("timestamp", V::vector, {V::vector});
  special("absent", V::vector, {V::vector});
  special("absent_over_time", V::vector, {V::matrix});
  special("sort", V::vector, {V::vector});
  special("sort_desc", V::vector, {V::vector});
  special("sort_by_label", V::vector, {V::vector, V::string}, -1);
  special("sort_by_label_desc", V::vector, {V::vector, V::string}, -1);
  special("label_replace", V::vector, {V::vector, V::string, V::string, V::string, V::string});
  special("label_join", V::vector, {V::vector, V::string, V::string, V::string}, -1);
  special("histogram_quantile", V::vector, {V::scalar, V::vector});
  special("histogram_quantiles", V::vector, {V::vector, V::string, V::scalar, V::scalar}, -1);
  special("histogram_fraction", V::vector, {V::scalar, V::scalar, V::vector});
  for (const char* name : {"histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"})
    special(name, V::vector, {V::vector});
  special("info", V::vector, {V::vector, V::vector}, 1);
  t.back().experimental = true;
  special("start_timestamp", V::vector, {V::vector});
  t.back().experimental = true;
  return t;
}

const std::vector<Function>& table() {
  static const std::vector<Function> t = make_table();
  return t;
}

}  // namespace

bool starts_anew(const Points& p, std::size_t i) {
  const auto start = p.start(i), before = p.time(i - 1), last_start = p.start(i - 1);
  if (start == 0 || start >= p.time(i)) return false;
  return start > before || (start == before && last_start != 0 && last_start < before);
}

bool starts_inside(const Points& p, const RangeContext& c) {
  return p.count > 0 && p.start(0) != 0 && p.start(0) > c.start_ms && p.start(0) < p.time(0);
}

double extrapolation(const Points& p, const RangeContext& c, bool per_second, double first, double result) {
  const auto first_t = p.time(0), last_t = p.time(p.count - 1);
  double to_start = static_cast<double>(first_t - c.start_ms) / 1000;
  double to_end = static_cast<double>(c.end_ms - last_t) / 1000;
  double sampled = static_cast<double>(last_t - first_t) / 1000;
  const double average = p.count > 1 ? sampled / static_cast<double>(p.count - 1) : 0;
  // A sample more than this away from the end means that the series began or ended inside the range.
  const double threshold = average * 1.1;
  // A counter was 0 at the earliest then: extrapolating farther back would make it negative.
  const double to_zero = result > 0 && first >= 0 ? sampled * (first / result) : kInf;
  if (first >= 0 && starts_inside(p, c)) {  // it is known when it was 0
    sampled = static_cast<double>(last_t - p.start(0)) / 1000;
    to_start = 0;
  } else if (c.dialect == Dialect::v2) {
    to_start = std::min(to_start, to_zero);
    if (to_start >= threshold) to_start = average / 2;
  } else {
    if (to_start >= threshold) to_start = average / 2;
    to_start = std::min(to_start, to_zero);
  }
  if (to_end >= threshold) to_end = average / 2;
  double factor = (sampled + to_start + to_end) / sampled;
  if (per_second) factor /= static_cast<double>(c.end_ms - c.start_ms) / 1000;
  return factor;
}

const Function* find_function(std::string_view name) {
  const auto at = std::ranges::find(table(), name, &Function::name);
  return at == table().end() ? nullptr : &*at;
}

std::vector<std::string_view> function_names() {
  std::vector<std::string_view> names;
  for (const auto& f : table()) names.push_back(f.name);
  return names;
}

double quantile(double q, std::vector<double>& values) {
  if (values.empty() || std::isnan(q)) return kNaN;
  if (q < 0) return -kInf;
  if (q > 1) return kInf;
  std::ranges::sort(values, [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  const double n = static_cast<double>(values.size());
  const double rank = q * (n - 1);
  const double lower = std::max(0.0, std::floor(rank)), upper = std::min(n - 1, lower + 1);
  const double weight = rank - std::floor(rank);
  return values[static_cast<std::size_t>(lower)] * (1 - weight) + values[static_cast<std::size_t>(upper)] * weight;
}

}  // namespace vitald::promql
