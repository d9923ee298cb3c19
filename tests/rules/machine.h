// SPDX-License-Identifier: Apache-2.0
// A machine whose collectors emit `x` per device, a history of it, and what rules and queries read of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/history/live.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"

namespace vitald {

using Rows = std::vector<std::pair<std::string, double>>;

class Machine {
 public:
  explicit Machine(History::Settings settings = {}) : h(std::move(settings)), live(h) {}

  // A collector's next batch; what it does not emit again is its last one.
  void collect(const std::string& collector, const Rows& rows) {
    auto& c = collectors_[collector];
    if (!c.writer) c.writer = std::make_unique<BatchWriter>(collector);
    c.writer->begin(boot_ms * 1'000'000);
    for (const auto& [device, value] : rows) {
      if (inside) c.writer->set(kInside, value, device);
      c.writer->set(kDesc, value, device);
    }
    c.batch = c.writer->finish({}, 0, 0);
  }
  // Its last good batch is too old to be shown: an empty one of the same time, or of none.
  void empty(const std::string& collector, bool of_that_time) {
    auto& c = collectors_[collector];
    c.writer = std::make_unique<BatchWriter>(collector);
    c.writer->begin(of_that_time && c.batch ? c.batch->collected_boot_ns : 0);
    c.batch = c.writer->finish(fail(Errc::timeout, "away"), 0, 0);
  }
  void drop(const std::string& collector) { collectors_.erase(collector); }
  void begin() {
    Snapshot s;
    s.boot_ns = boot_ms * 1'000'000;
    s.wall_ns = wall_ms() * 1'000'000;
    for (const auto& [name, c] : collectors_) s.batches.push_back(c.batch);
    h.begin(s);
    live.begin_round();
  }
  void cycle(const Rows& rows, std::int64_t after_ms = 5000) {
    boot_ms += after_ms;
    collect("host", rows);
    begin();
    h.end();
  }
  std::int64_t wall_ms() const { return boot_ms + wall_offset_ms; }

  History h;
  LiveHistory live;
  bool inside = false;  // each x has a y that is for derivers only
  std::int64_t boot_ms = 1'000'000, wall_offset_ms = 1'700'000'000'000;

 private:
  static constexpr MetricDesc kDesc{"x", MetricType::counter, "help", "device"};
  static constexpr MetricDesc kInside{
      .name = "y", .type = MetricType::counter, .help = "help", .labels = "device", .shown = Shown::inside};
  struct Source {
    std::unique_ptr<BatchWriter> writer;
    BatchPtr batch;
  };
  std::map<std::string, Source> collectors_;
};

struct Query {
  Query(std::string_view text, promql::SeriesSource& source)
      : expr(promql::compile(text, problems)), evaluator(*expr, source) {}
  // "a=1 b=2", "" when there is no result.
  std::string at(std::int64_t t_ms) {
    const auto v = evaluator.eval(t_ms);
    if (!v) return v.error().text;
    std::string out;
    for (const auto& s : v->vector->samples)
      out += std::string(v->vector->labels(s).get("device")) + "=" + promql::number_text(s.value) + " ";
    return out;
  }
  std::vector<promql::Problem> problems;
  promql::ExprPtr expr;
  promql::Evaluator evaluator;
};

inline std::string ask(History& h, std::string_view text, std::int64_t t_ms) {
  const auto view = h.view();
  return Query(text, *view).at(t_ms);
}

}  // namespace vitald
