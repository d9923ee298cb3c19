// SPDX-License-Identifier: Apache-2.0
// vitald's own instruments (cycles, requests, queues, hooks) are prometheus-cpp counters, gauges and histograms.
// sensors/self walks them into a Batch, so they leave like every other number. prometheus-cpp's own registry copies
// every name and label each time it is asked, which cost more than most collectors; so they are listed here.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/metric.h"
#include "core/mutex.h"

namespace vitald {

// Thread-safe. Name instruments vitald_<what>_<unit>[_total].
class Instruments {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // The instrument with these labels, made when it is new; it stays where it is. The first help and bounds of a
  // family count. Another kind or other label names in one family are a bug and throw std::logic_error.
  prometheus::Counter& counter(std::string_view family, std::string_view help, const Labels& labels = {});
  prometheus::Gauge& gauge(std::string_view family, std::string_view help, const Labels& labels = {});
  prometheus::Histogram& histogram(std::string_view family, std::string_view help, const std::vector<double>& bounds,
                                   const Labels& labels = {});

  struct Instrument {
    template <class... Args>
    explicit Instrument(const Labels& l, Args&&... args);
    Labels labels;
    std::vector<std::string_view> label_values;  // views of them
    std::variant<prometheus::Counter, prometheus::Gauge, prometheus::Histogram> value;
  };
  // visit(const MetricDesc&, const Instrument&), family by family, always in the same order. Descriptors live as long
  // as the program.
  template <class Visit>
  void each(Visit&& visit) const {
    const MutexLock lock(mutex_);
    for (const auto& family : families_)
      for (const auto& instrument : family.instruments) visit(family.desc, instrument);
  }

 private:
  struct Family {
    std::string name, help, label_names;
    MetricDesc desc;  // views of these
    std::deque<Instrument> instruments;
  };
  template <class Kind, class... Args>
  Kind& get(MetricType type, std::string_view family, std::string_view help, const Labels& labels, Args&&... args);

  mutable Mutex mutex_;
  std::deque<Family> families_ GUARDED_BY(mutex_);
};

Instruments& instruments();

}  // namespace vitald
