// SPDX-License-Identifier: Apache-2.0
// The YAML of a unit test file -> what is to be tested.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "rules/promql/histogram.h"
#include "rules/promql/labels.h"
#include "rules/promql/series_text.h"

namespace vitald::unit {

struct Series {
  std::string series, values;
};
struct ExpectedAlert {
  promql::Labels labels;  // with alertname
  LabelMap annotations;
};
struct AlertCase {
  std::int64_t at_ms = 0;
  std::string name;
  std::vector<ExpectedAlert> expected;
};
struct ExpectedSample {
  promql::Labels labels;
  double value = 0;
  std::optional<promql::Histogram> histogram;
};
struct ExprCase {
  std::int64_t at_ms = 0;
  std::string expr;
  std::vector<ExpectedSample> expected;
};
struct Group {
  std::string name, external_url;
  std::int64_t interval_ms = 0, start_ms = 0;
  std::vector<Series> series;
  std::vector<AlertCase> alerts;
  std::vector<ExprCase> exprs;
  LabelMap external_labels;
  std::int64_t last_ms = 0;  // the last time that something is expected of

  // Where nothing looks at more, the rest of `0x100000000` is left out.
  [[nodiscard]] promql::MostPoints most_points() const {
    promql::MostPoints most;
    most.leave_out_more = interval_ms > 0 && last_ms / interval_ms < static_cast<std::int64_t>(most.count);
    return most;
  }
};
struct TestFile {
  std::vector<std::string> rule_files, group_order;
  std::int64_t interval_ms = 60'000;
  bool fuzzy = false;
  std::vector<Group> groups;
};

// All problems, each "file:line:column: what, expected what"; then the result is of no use.
TestFile read_test_file(const std::string& yaml, const std::string& file, std::vector<std::string>& problems);

}  // namespace vitald::unit
