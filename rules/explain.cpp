// SPDX-License-Identifier: Apache-2.0
#include "rules/explain.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "rules/history/columns.h"

namespace vitald {

namespace {

using promql::Labels;

// A change by this part of what its family is counts as much as one by as much as the series moves anyway: from 0 to
// 0.001 of a CPU is no change.
constexpr double kFloor = 0.05;
// A gauge that came with the trouble (a file system that was mounted, and is full) has nothing to be compared with:
// that it came counts so much, and as much again by which it moved since. Of the first five it is
// one at most: with a service that starts come dozens, which say no more than that, and the fault is behind them.
constexpr double kCame = 0.4;
constexpr std::size_t kFirst = 5;

bool starts_with_any(std::string_view name, std::span<const std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view p) { return name.starts_with(p); });
}

// What vitald says about itself, and times, which always change.
bool is_self(std::string_view name) {
  static constexpr std::string_view kOwn[] = {
      "ALERTS",
      "go_",
      "node_scrape_collector_",
      "node_time_",
      "node_timex_",
      "process_",
      "promhttp_",
      "scrape_",
      "vitald_alert",
      "vitald_bpf_",
      "vitald_build_",
      "vitald_collector_",
      "vitald_conflicts",
      "vitald_cycle",
      "vitald_delivery_",
      "vitald_events_",
      "vitald_evidence_",
      "vitald_history_",
      "vitald_hook_",
      "vitald_http_",
      "vitald_hwmon_read",
      "vitald_last_words",
      "vitald_libvirt_",
      "vitald_log_",
      "vitald_probe_",
      "vitald_push_",
      "vitald_quer",
      "vitald_rules_",
      "vitald_scrapes_",
      "vitald_sensor_read",
      "vitald_snapshot_",
      "vitald_state_",
      "vitald_web_",
      "vitald_worker_",
  };
  return name == "up" || starts_with_any(name, kOwn);
}

bool is_counter_by_name(std::string_view name) {
  static constexpr std::string_view kUntyped[] = {"node_netstat_", "node_vmstat_"};
  return name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_sum") ||
         (starts_with_any(name, kUntyped) && !name.ends_with("CurrEstab") && !name.starts_with("node_vmstat_nr_"));
}

struct Span {
  std::int64_t start_ms, end_ms;
};

// The values of a window, as they are or as rates between neighbours.
void values_in(const promql::Points& points, Span span, bool rate, std::vector<double>& out) {
  out.clear();
  for (std::size_t i = 0; i < points.count; ++i) {
    const auto t = points.time(i);
    if (t < span.start_ms || t > span.end_ms || !std::isfinite(points.values[i])) continue;
    if (!rate) {
      out.push_back(points.values[i]);
    } else if (i > 0 && points.time(i - 1) >= span.start_ms && t > points.time(i - 1)) {
      const auto grown = points.values[i] - points.values[i - 1];  // less: it began anew
      out.push_back((grown < 0 ? points.values[i] : grown) * 1e3 / static_cast<double>(t - points.time(i - 1)));
    }
  }
}

// What never falls, and grows most of the time, in one of the two at least, counts something, whatever it is called.
bool is_counter_by_values(const promql::Points& points, const ExplainAsk& ask) {
  std::size_t grown[2] = {}, all[2] = {};
  for (std::size_t i = 1; i < points.count; ++i) {
    if (points.values[i] < points.values[i - 1]) return false;
    const auto in_window = static_cast<std::size_t>(points.time(i) >= ask.start_ms);
    ++all[in_window];
    if (points.values[i] > points.values[i - 1]) ++grown[in_window];
  }
  return grown[0] * 2 > all[0] || grown[1] * 2 > all[1];
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const auto v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}
double deviation(const std::vector<double>& values, double mean_of_them) {
  double sum = 0;
  for (const auto v : values) sum += (v - mean_of_them) * (v - mean_of_them);
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

// How sure it is that what happened now and then, and never before, is no chance: one kill every three seconds leaves
// most samples as they were, so that the distributions are nearly the same. `times` that all fall into the window,
// which is `part` of all the time, do so by chance in part^times of the series; of so many we look at, some do.
double sure_of_rare(std::size_t times, double part) {
  constexpr double kOfSeries = 100;
  return std::max(0.0, 1 - kOfSeries * std::pow(part, static_cast<double>(times)));
}

bool all_equal(const std::vector<double>& a, const std::vector<double>& b) {
  const auto first = a.front();
  const auto same = [first](double v) { return v == first; };
  return std::ranges::all_of(a, same) && std::ranges::all_of(b, same);
}

struct Found {
  std::uint32_t id = 0, family = 0, feed = 0;
  std::int64_t first_ms = 0, last_ms = 0;  // of its samples
  bool rate = false, appeared = false, gone = false, came = false;
  double before = 0, now = 0, moves = 0, distance = 0, size = 0, score = 0;
};

class Explainer {
 public:
  Explainer(const ExplainAsk& ask, const HistoryView& view, const QueryLimits& limits)
      : ask_(ask), round_(view.round()), limits_(limits) {}

  Queried<Explanation> run() {
    // By feed: the times of a feed are worked out once for all of its series.
    std::vector<std::uint32_t> ids;
    for (std::uint32_t id = 0; id < round_.table.size(); ++id)
      if (const auto& s = round_.table.at(id); s.labels && can_tell(*s.labels) && is_chosen(*s.labels))
        ids.push_back(id);
    std::ranges::stable_sort(ids, {}, [this](std::uint32_t id) { return round_.table.at(id).feed; });
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i % 64 == 0 && limits_.given_up()) return tl::unexpected(QueryError{QueryError::Kind::given_up, "given up"});
      look_at(ids[i]);
    }
    if (!know_of_others()) return tl::unexpected(QueryError{QueryError::Kind::given_up, "given up"});
    rank();
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool can_tell(const Labels& labels) const {
    const auto name = labels.name();
    return !name.ends_with("_bucket") && !name.ends_with("_timestamp_seconds") && (ask_.self || !is_self(name));
  }
  [[nodiscard]] bool is_chosen(const Labels& labels) const {
    return ask_.match.empty() || std::ranges::any_of(ask_.match, [&](const auto& selector) {
             return std::ranges::all_of(selector->matchers,
                                        [&](const promql::Matcher& m) { return m.matches(labels.get(m.name)); });
           });
  }

  [[nodiscard]] promql::Points points_of(std::uint32_t id) {
    const auto& s = round_.table.at(id);
    return columns_.range(round_.feeds[s.feed], s.feed, id, s.slot, ask_.baseline_start_ms - round_.offset_ms,
                          ask_.end_ms - round_.offset_ms, round_.offset_ms, buffer_);
  }

  void know(std::uint32_t feed, const promql::Points& points) {
    if (points.count < kLeastExplained) return;
    auto& known = known_[feed];
    known.from_ms = std::min(known.from_ms, points.time(kLeastExplained - 1));
    known.to_ms = std::max(known.to_ms, points.time(points.count - kLeastExplained));
  }

  // Whether one that was chosen appeared or went, those of its feed tell that were not: they are looked at only where
  // that is asked. False: given up.
  bool know_of_others() {
    if (ask_.match.empty() || claims_.empty()) return true;
    std::vector<bool> asked(round_.feeds.size());
    for (const auto& f : claims_) asked[f.feed] = true;
    std::vector<std::uint32_t> ids;
    for (std::uint32_t id = 0; id < round_.table.size(); ++id) {
      const auto& s = round_.table.at(id);
      if (s.labels && asked[s.feed] && can_tell(*s.labels) && !is_chosen(*s.labels)) ids.push_back(id);
    }
    std::ranges::stable_sort(ids, {}, [this](std::uint32_t id) { return round_.table.at(id).feed; });
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i % 64 == 0 && limits_.given_up()) return false;
      know(round_.table.at(ids[i]).feed, points_of(ids[i]));
    }
    return true;
  }

  void look_at(std::uint32_t id) {
    const auto& s = round_.table.at(id);
    const auto points = points_of(id);
    if (points.count == 0) return;
    ++out_.series;
    Found f;
    f.id = id;
    const auto name = s.labels->name();
    f.rate = is_counter_by_name(name) || is_counter_by_values(points, ask_);
    values_in(points, {ask_.baseline_start_ms, ask_.baseline_end_ms}, f.rate, before_);
    values_in(points, {ask_.start_ms, ask_.end_ms}, f.rate, now_);
    f.feed = s.feed;
    f.first_ms = points.time(0);
    f.last_ms = points.time(points.count - 1);
    know(s.feed, points);
    // A counter that is new counts from 0, and one that is gone counts nothing any more.
    f.appeared = f.rate && before_.empty() && now_.size() >= kLeastExplained;
    f.gone = f.rate && now_.empty() && before_.size() >= kLeastExplained;
    const auto rare = f.rate ? rare_distance(f.appeared) : 0;
    // Or a moment before: the window begins when somebody noticed.
    const bool late = f.first_ms > (ask_.baseline_start_ms + ask_.baseline_end_ms) / 2;
    if (!f.rate && before_.size() < kLeastExplained && late && now_.size() >= kLeastExplained) return came(f);
    if (f.appeared) before_.assign(kLeastExplained, 0);
    if (f.gone) now_.assign(kLeastExplained, 0);
    if (before_.size() < kLeastExplained || now_.size() < kLeastExplained) {
      ++out_.too_short;
      return;
    }
    f.before = mean(before_);
    f.now = mean(now_);
    f.moves = 2 * deviation(before_, f.before);
    f.family = family_of(id);
    if (f.appeared || f.gone) {
      f.distance = all_equal(before_, now_) ? 0 : std::max(rare, ks_distance(before_, now_));
      claims_.push_back(f);
      return;
    }
    measure(f);
    if (all_equal(before_, now_)) return;
    f.distance = std::max(rare, ks_distance(before_, now_));
    if (f.distance > 0) found_.push_back(f);
  }

  // Of a counter that stood still, or was not there, before.
  [[nodiscard]] double rare_distance(bool appeared) const {
    const auto grew = static_cast<std::size_t>(std::ranges::count_if(now_, [](double v) { return v > 0; }));
    if (grew == 0 || std::ranges::any_of(before_, [](double v) { return v != 0; })) return 0;
    const auto ms = [](std::int64_t from, std::int64_t to) { return static_cast<double>(to - from); };
    const double now = appeared ? ms(ask_.start_ms, ask_.end_ms) : static_cast<double>(now_.size());
    const double before =
        appeared ? ms(ask_.baseline_start_ms, ask_.baseline_end_ms) : static_cast<double>(before_.size());
    return sure_of_rare(grew, now / (now + before));
  }

  void measure(const Found& f) {
    auto& scale = scales_[f.family];
    scale = std::max({scale, std::fabs(f.before), std::fabs(f.now)});
  }

  // That it was not there is known only where others of its feed were, with enough samples: else it is the collector
  // that began, or was turned on or off, and of the host nothing is known.
  [[nodiscard]] bool is_known(const Found& f) const {
    const auto at = known_.find(f.feed);
    if (at == known_.end()) return false;
    const auto& known = at->second;
    return f.gone ? known.to_ms > f.last_ms && known.to_ms >= ask_.start_ms
                  : known.from_ms < f.first_ms && known.from_ms <= ask_.baseline_end_ms;
  }

  void came(Found f) {
    const auto [least, most] = std::ranges::minmax_element(now_);
    const auto largest = std::max(std::fabs(*least), std::fabs(*most));
    if (*least == *most && (*least == 0 || *least == 1)) {  // what its labels say is no change of a value
      const auto name = round_.table.at(f.id).labels->name();
      if (name.ends_with("_info")) return;
    }
    f.before = std::numeric_limits<double>::quiet_NaN();
    f.now = mean(now_);
    f.came = f.appeared = true;
    f.distance = 1;
    f.size = kCame * (1 + (largest > 0 ? std::min(1.0, (*most - *least) / largest) : 0));
    f.family = family_of(f.id);
    claims_.push_back(f);
  }

  std::uint32_t family_of(std::uint32_t id) {
    const auto [at, fresh] = families_.try_emplace(std::string(round_.table.at(id).labels->name()),
                                                   static_cast<std::uint32_t>(scales_.size()));
    if (fresh) scales_.push_back(0);
    return at->second;
  }

  void rank() {
    for (const auto& f : claims_) {
      if (!is_known(f)) {
        ++out_.too_short;
        continue;
      }
      if (!f.came) measure(f);
      if (f.distance > 0) found_.push_back(f);
    }
    static const double kMostSize = std::log2(1 + 1 / kFloor);
    for (auto& f : found_) {
      if (f.came) {
        f.score = f.distance * f.size;
        continue;
      }
      const auto usual = f.moves + kFloor * scales_[f.family];
      const auto change = usual > 0 ? std::fabs(f.now - f.before) / usual : 0;
      f.size = std::min(1.0, std::log2(1 + change) / kMostSize);
      f.score = f.distance * f.size;
    }
    std::ranges::sort(found_, [this](const Found& a, const Found& b) {
      if (a.score != b.score) return a.score > b.score;
      return labels_before(*round_.table.at(a.id).labels, *round_.table.at(b.id).labels);
    });
    std::vector<Found> held;  // that came, until the first are told
    bool one_came = false;
    for (const auto& f : found_) {
      if (f.score <= 0) break;
      if (f.came && one_came && out_.changes.size() < kFirst && (ask_.each_series || !place_of_.contains(f.family))) {
        held.push_back(f);
        continue;
      }
      one_came = one_came || f.came;
      tell(f);
      if (out_.changes.size() < kFirst) continue;
      for (const auto& h : held) tell(h);
      held.clear();
    }
    for (const auto& h : held) tell(h);
  }

  void tell(const Found& f) {
    if (const auto at = place_of_.find(f.family); !ask_.each_series && at != place_of_.end()) {
      if (at->second < out_.changes.size() && f.score * 2 >= out_.changes[at->second].score)
        ++out_.changes[at->second].others;
      return;
    }
    place_of_.try_emplace(f.family, out_.changes.size());
    if (out_.changes.size() >= ask_.limit) return;  // others of families that are told are counted
    out_.changes.push_back(
        {*round_.table.at(f.id).labels, f.rate, f.before, f.now, f.distance, f.size, f.score, 0, f.appeared, f.gone});
  }

  const ExplainAsk& ask_;
  const history::Round& round_;
  const QueryLimits& limits_;
  history::Columns columns_;
  promql::SeriesSource::Buffer buffer_;
  std::vector<double> before_, now_;
  std::unordered_map<std::string, std::uint32_t> families_;
  std::vector<double> scales_;  // by family: the largest mean of its series
  std::vector<Found> found_;
  std::unordered_map<std::uint32_t, std::size_t> place_of_;  // by family, among the changes that are told
  std::vector<Found> claims_;                                // that appeared or went, if that is known
  struct Known {
    std::int64_t from_ms = std::numeric_limits<std::int64_t>::max();  // some series has enough samples until then,
    std::int64_t to_ms = std::numeric_limits<std::int64_t>::min();    // or enough from then on
  };
  std::unordered_map<std::uint32_t, Known> known_;  // by feed
  Explanation out_;
};

}  // namespace

double ks_distance(std::vector<double>& a, std::vector<double>& b) {
  if (a.empty() || b.empty()) return 0;
  std::ranges::sort(a);
  std::ranges::sort(b);
  double distance = 0;
  for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    const auto v = std::min(a[i], b[k]);
    while (i < a.size() && a[i] == v) ++i;
    while (k < b.size() && b[k] == v) ++k;
    distance = std::max(distance, std::fabs(static_cast<double>(i) / static_cast<double>(a.size()) -
                                            static_cast<double>(k) / static_cast<double>(b.size())));
  }
  return distance;
}

Queried<Explanation> explain(const ExplainAsk& ask, const HistoryView& view, const QueryLimits& limits) {
  return Explainer(ask, view, limits).run();
}

}  // namespace vitald
