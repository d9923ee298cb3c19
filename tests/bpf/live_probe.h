// SPDX-License-Identifier: Apache-2.0
// A probe on the running kernel, for tests: made, collected, and what it said as a map; and the rungs of the ladder.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "sensors/bpf/budget.h"
#include "sensors/bpf/facts.h"
#include "tests/bpf/load.h"

namespace vitald {

inline const CollectorInfo& info_of(std::string_view name) {
  for (const auto& e : collector_list())
    if (e.name == name) return *e.info;
  throw std::runtime_error("no such probe: " + std::string(name));
}

inline std::function<void(KernelFacts&)> pretended = [](KernelFacts&) {};

// A probe on the running kernel, with a clock that can be turned.
class LiveProbe {
 public:
  explicit LiveProbe(std::string_view name, const std::map<std::string, std::string>& flags = {})
      : host_(Host::Roots(), &clock), writer_(std::string(name)) {
    pretended(host_.shared<KernelFacts>());
    const auto& info = info_of(name);
    options_.declare(info.flags);
    for (const auto& [flag, value] : flags) options_.set(flag, value);
    auto made = info.make(host_, options_);
    if (!made) throw std::runtime_error(made.error().text);
    probe_ = std::move(*made);
  }
  // Series without a value -> value.
  std::map<std::string, double> collect() {
    writer_.begin(0);
    const auto outcome = probe_->collect(writer_);
    if (!outcome) ADD_FAILURE() << outcome.error().text;
    const auto batch = writer_.finish(outcome, 0, 0);
    std::map<std::string, double> series;
    for (const auto& s : batch->layout->samples()) {
      auto name = batch->layout->prefix(s);
      name.remove_suffix(1);
      series[std::string(name)] = batch->values[s.value];
    }
    for (const auto& p : batch->health.problems) ADD_FAILURE() << p.text;
    events_ = batch->events;
    exemplars_.clear();
    for (const auto& e : batch->exemplars)
      for (const auto& s : batch->layout->samples())
        if (s.value == e.at) exemplars_.emplace_back(batch->layout->prefix(s), e);
    return series;
  }
  // Of the last collection.
  const std::vector<EventPtr>& events() const { return events_; }
  // With what stands before the bucket's value.
  const std::vector<std::pair<std::string, Exemplar>>& exemplars() const { return exemplars_; }
  std::string status() const { return probe_->status(); }
  [[nodiscard]] const Host& host() const { return host_; }
  // Whether there is something that should not wait for the next cycle.
  bool has_news() const {
    pollfd news{probe_->news_fd(), POLLIN, 0};
    return poll(&news, 1, 0) == 1;
  }
  FakeClock clock;

 private:
  Host host_;
  Options options_;
  BatchWriter writer_;
  std::vector<EventPtr> events_;
  std::vector<std::pair<std::string, Exemplar>> exemplars_;
  std::unique_ptr<Collector> probe_;
};

// What the next probe is made to believe of the kernel, so that every rung is tried on every kernel.
inline void believe(std::function<void(KernelFacts&)> change) { pretended = std::move(change); }

// The value of a label of an exemplar; empty where it has none.
inline std::string label_of(const Exemplar& exemplar, std::string_view name) {
  for (const auto& [known, text] : exemplar.labels)
    if (known == name) return text;
  return {};
}

inline double sum_of(const std::map<std::string, double>& series, const std::string& family) {
  double sum = 0;
  for (const auto& [name, value] : series)
    if (name.starts_with(family + "{")) sum += value;
  return sum;
}

inline double value(const std::map<std::string, double>& series, const std::string& name) {
  const auto it = series.find(name);
  if (it != series.end()) return it->second;
  ADD_FAILURE() << "no series " << name;
  return NAN;
}

// A kernel may keep some process from being traced, as that of a virtual machine which serves its hypervisor: while it
// runs no BPF program does, and what happens on its CPU meanwhile is seen by none, an interrupt or the switch to the
// next task. recursion_misses does not count it. So a load is repeated until all of it was seen; what is wrong each
// time is wrong.
inline void until_seen_whole(const std::function<void()>& load) {
  for (int again = 9; again > 0; --again) {
    testing::TestPartResultArray failures;
    {
      const testing::ScopedFakeTestPartResultReporter reporter(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      load();
    }
    if (failures.size() == 0) return;
    if (failures.GetTestPartResult(0).skipped()) break;  // it will be the next time, too
    fmt::print("not seen whole, once more: {}\n", failures.GetTestPartResult(0).summary());
  }
  load();
}

struct Rung {
  const char* name;
  bool tp_btf, keeps_times;
};
inline constexpr Rung kRungs[] = {
    {"tp_btf, kernel's times", true, true},
    {"raw_tp, kernel's times", false, true},
    {"tp_btf, recorded", true, false},
    {"raw_tp, recorded", false, false},
};

class Probes : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "BPF programs and cgroups need root";
    keeps_last_queued_ = real_host_.shared<KernelFacts>().keeps_last_queued;
  }
  void TearDown() override {
    believe([](KernelFacts&) {});
  }
  // False when this kernel does not have the rung.
  bool climb(const Rung& rung) {
    if (rung.keeps_times && !keeps_last_queued_) return false;
    believe([rung](KernelFacts& facts) {
      facts.tp_btf = rung.tp_btf;
      facts.keeps_last_queued = rung.keeps_times;
    });
    return true;
  }
  Host real_host_;
  bool keeps_last_queued_ = false;
};

}  // namespace vitald
