// SPDX-License-Identifier: Apache-2.0
// Rules over series given as text, a snapshot per cycle.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "rules/engine.h"

namespace vitald {

class RuleMachine {
 public:
  explicit RuleMachine(std::string_view yaml, RuleSettings settings = {}) {
    static int number = 0;
    path_ = fmt::format("{}/rule_machine_{}_{}.yaml", testing::TempDir(), getpid(), ++number);
    reload(yaml, std::move(settings));
  }
  ~RuleMachine() { std::filesystem::remove(path_); }

  void reload(std::string_view yaml, RuleSettings settings = {}) {
    std::ofstream(path_) << yaml;
    settings.files = {path_};
    std::vector<std::string> problems;
    auto next = RuleEngine::load(settings, problems);
    ASSERT_TRUE(next) << problems.front();
    if (engine) next->adopt(*engine);
    engine = std::move(next);
  }

  struct Row {
    std::string name, device;
    double value;
  };
  // One cycle, `after_s` after the last one. Returns what the rules wrote, as exposition without comments.
  std::string cycle(const std::vector<Row>& rows, double after_s = 5) {
    clock.advance_ns(static_cast<std::int64_t>(after_s * 1e9));
    writer_.begin(clock.boot_ns());
    writer_.use(pool_);
    for (const auto& r : rows) {
      const auto& desc = pool_->get(r.name, MetricType::gauge, "help");
      const Label device{"device", r.device};
      writer_.set_labels(desc, r.value, std::span(&device, r.device.empty() ? 0 : 1));
    }
    Snapshot s;
    s.boot_ns = clock.boot_ns();
    s.wall_ns = clock.wall_ns();
    s.batches.push_back(writer_.finish({}, 0, 0));
    const auto batch = engine->evaluate(s);
    std::vector<std::string> lines;
    for (const auto& sample : batch->layout->samples())
      lines.push_back(std::string(batch->layout->prefix(sample)) + fmt::format("{}", batch->values[sample.value]));
    std::ranges::sort(lines);
    return fmt::format("{}", fmt::join(lines, "\n"));
  }
  std::string transitions() {
    std::string out;
    for (const auto& t : engine->take_transitions())
      out += fmt::format("{}{}{} ", t.alert.labels.at("alertname"), t.firing ? "+" : "-",
                         t.alert.labels.contains("device") ? t.alert.labels.at("device") : "");
    return out;
  }

  std::unique_ptr<RuleEngine> engine;
  FakeClock clock;

 private:
  std::string path_;
  BatchWriter writer_{"test"};
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

}  // namespace vitald
