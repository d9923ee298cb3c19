// SPDX-License-Identifier: Apache-2.0
#include "core/instruments.h"

#include <algorithm>
#include <stdexcept>

namespace vitald {

template <class... Args>
Instruments::Instrument::Instrument(const Labels& l, Args&&... args) : labels(l), value(std::forward<Args>(args)...) {
  for (const auto& label : labels) label_values.push_back(label.second);
}

template <class Kind, class... Args>
Kind& Instruments::get(MetricType type, std::string_view family, std::string_view help, const Labels& labels,
                       Args&&... args) {
  std::string label_names;
  for (const auto& label : labels) label_names.append(label_names.empty() ? "" : ",").append(label.first);
  const MutexLock lock(mutex_);
  auto at = std::ranges::find(families_, family, &Family::name);
  if (at == families_.end()) {
    auto& made = families_.emplace_back();
    made.name = family;
    made.help = help;
    made.label_names = label_names;
    made.desc = {made.name, type, made.help, made.label_names};
    at = families_.end() - 1;
  }
  if (at->desc.type != type || at->label_names != label_names)
    throw std::logic_error(at->name + " is already an instrument of another kind or with other labels");
  auto instrument = std::ranges::find(at->instruments, labels, &Instrument::labels);
  if (instrument == at->instruments.end()) {
    at->instruments.emplace_back(labels, std::in_place_type<Kind>, std::forward<Args>(args)...);
    instrument = at->instruments.end() - 1;
  }
  return std::get<Kind>(instrument->value);
}

prometheus::Counter& Instruments::counter(std::string_view family, std::string_view help, const Labels& labels) {
  return get<prometheus::Counter>(MetricType::counter, family, help, labels);
}
prometheus::Gauge& Instruments::gauge(std::string_view family, std::string_view help, const Labels& labels) {
  return get<prometheus::Gauge>(MetricType::gauge, family, help, labels);
}
prometheus::Histogram& Instruments::histogram(std::string_view family, std::string_view help,
                                              const std::vector<double>& bounds, const Labels& labels) {
  return get<prometheus::Histogram>(MetricType::histogram, family, help, labels, bounds);
}

Instruments& instruments() {
  static Instruments all;
  return all;
}

}  // namespace vitald
