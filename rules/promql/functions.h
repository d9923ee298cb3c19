// SPDX-License-Identifier: Apache-2.0
// The functions of the language that are one number from numbers: a table with their types, for the checker,
// and their code, for the evaluator. Functions that touch labels are the evaluator's own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/promql/ast.h"
#include "rules/promql/series_source.h"

namespace vitald::promql {

// Where Prometheus 2 and 3 differ: whether a range takes the sample at its left end, where rate() stops
// extrapolating before zero, whether atan2 drops the metric name.
enum class Dialect : std::uint8_t { v2, v3 };

// What a function over a range needs beside the samples.
struct RangeContext {
  std::int64_t start_ms = 0, end_ms = 0;  // of the range, offset included
  std::int64_t eval_ms = 0;
  Dialect dialect = Dialect::v3;
  Ends ends = Ends::plain;
};

using VectorFunction = double (*)(double v, std::span<const double> args);
// nullopt: no result for this series, e.g. fewer than two samples.
using RangeFunction = std::optional<double> (*)(const Points& points, std::span<const double> args,
                                                const RangeContext& context);
using DateFunction = double (*)(double unix_seconds);

// What the evaluator does with a call.
enum class Form : std::uint8_t {
  vector,   // per sample: abs, clamp, ...
  range,    // per series of a range: rate, avg_over_time, ...
  date,     // per sample, and time() when there is no argument: hour, ...
  scalar,   // no series at all: time, pi
  special,  // by name, in calls.cpp
};

struct Function {
  std::string_view name;
  ValueType result;
  std::vector<ValueType> args;
  int optional_args = 0;  // how many of the last may be missing; -1: the last may come any number of times
  Form form = Form::special;
  VectorFunction on_vector = nullptr;
  RangeFunction on_range = nullptr;
  DateFunction on_date = nullptr;
  bool keeps_name = false;
  std::uint8_t range_arg = 0;  // which argument is the range
  bool experimental = false;   // may change or go: needs the switch
};

// By what the difference between the ends is multiplied so that it is that of the whole range. `first`: of a counter,
// which was not below 0 before it; below 0: it is none.
double extrapolation(const Points& p, const RangeContext& c, bool per_second, double first, double result);
// Did a counter begin anew between sample i - 1 and i, by its start time?
bool starts_anew(const Points& p, std::size_t i);
// Did it begin inside the range, before its first sample there?
bool starts_inside(const Points& p, const RangeContext& c);

// Null when there is none.
const Function* find_function(std::string_view name);
std::vector<std::string_view> function_names();

// Linear interpolation between the two closest of `values` (sorted by this call, NaN first).
double quantile(double q, std::vector<double>& values);

struct HistogramBucket {
  double upper = 0, count = 0;  // cumulative
};
// What had to be done to classic buckets whose counts fall: where, how much at most. Differences that are rounding
// are mended and not told.
struct Mended {
  double lowest = 0, highest = 0, most = 0;
  bool any = false;
};
// Sorts, merges and makes monotonic. False when they are no histogram: no +Inf bucket, or nothing beside it.
bool make_histogram(std::vector<HistogramBucket>& buckets, Mended& mended);
// Of classic buckets that make_histogram() made.
double histogram_quantile(double q, const std::vector<HistogramBucket>& buckets);
double histogram_fraction(double lower, double upper, const std::vector<HistogramBucket>& buckets);

}  // namespace vitald::promql
