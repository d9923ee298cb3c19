// SPDX-License-Identifier: Apache-2.0
#include "core/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/layout_builder.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

// In search of the emit of the run before at which this run goes on: how many are looked at when something other
// comes (as many as one that went away may have had), and how many for each that comes after it. All in all they look
// at half of the emits, so that a run in which all is new costs little more than a first one; the far ones leave some
// for the near ones, so that one new emit does not use up what would find the next that is not.
constexpr std::size_t kFirstLook = 2048, kLook = 32;

// Of valid UTF-8.
std::size_t characters_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

void BatchWriter::begin(std::int64_t boot_ns, std::int64_t wall_ns) {
  next_ = 0;
  in_step_ = true;
  looks_ = emits_.size() / 2 + 256;
  changes_.clear();
  fresh_.clear();
  fresh_since_.clear();
  since_wall_ms_ = 0;
  boot_ns_ = boot_ns;
  wall_ns_ = wall_ns;
  values_.clear();
  values_.reserve(values_expected_);
  exemplars_.clear();
  events_.clear();
  events_left_out_ = 0;
  problems_.clear();
  pools_.clear();
}

void BatchWriter::use(const DescPoolPtr& pool) { pools_.push_back(pool); }

void BatchWriter::event(Event e) {
  if (events_.size() < Batch::kMaxEvents) events_.push_back(std::make_shared<const Event>(std::move(e)));
  else ++events_left_out_;
}

bool BatchWriter::go_on_at(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key,
                           std::uint32_t value_count, std::size_t look) {
  const auto go_on = [&](std::size_t at) {
    if (!same(emits_[at], desc, kind, key, value_count)) return false;
    changes_.back().gone = at - changes_.back().old;
    in_step_ = true;
    next_ = at + 1;
    return true;
  };
  // The nearest one is always looked at, and so is the one behind as many as came: where one owner took the place of
  // another, the rest goes on there.
  if (next_ < emits_.size() && go_on(next_)) return true;
  if (const auto at = next_ + changes_.back().come; at > next_ && at < emits_.size() && go_on(at)) return true;
  const auto most = look > kLook ? looks_ / 2 : looks_;
  const auto end = std::min({emits_.size(), next_ + look, next_ + 1 + most});
  for (auto at = next_ + 1; at < end; ++at) {
    --looks_;
    if (go_on(at)) return true;
  }
  return false;
}

void BatchWriter::diverge(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key,
                          std::uint32_t value_count) {
  const bool opens = in_step_;
  if (opens) {
    changes_.push_back({next_, 0, fresh_.size(), 0, values_.size()});
    in_step_ = false;
  }
  if (go_on_at(desc, kind, key, value_count, opens ? kFirstLook : kLook)) return;
  ++changes_.back().come;
  const auto key_offset = keys_.size();
  for (const auto part : key) {
    const auto size = static_cast<std::uint32_t>(part.size());
    keys_.append(reinterpret_cast<const char*>(&size), sizeof size);
    keys_.append(part);
  }
  fresh_.push_back({&desc, static_cast<std::uint32_t>(key_offset),
                    static_cast<std::uint32_t>(keys_.size() - key_offset), value_count,
                    static_cast<std::uint16_t>(key.size()), kind});
  if (since_wall_ms_ != 0 || !fresh_since_.empty()) {
    fresh_since_.resize(fresh_.size() - 1);
    fresh_since_.push_back(since_wall_ms_);
  }
}

void BatchWriter::set_labels(const MetricDesc& desc, double value, std::span<const Label> labels, Part part) {
  std::string_view small[32];
  std::vector<std::string_view> large;
  std::span<std::string_view> key = small;
  if (labels.size() * 2 > std::size(small)) {
    large.resize(labels.size() * 2);
    key = large;
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    key[2 * i] = labels[i].name;
    key[2 * i + 1] = labels[i].value;
  }
  const auto kind = static_cast<Kind>(static_cast<int>(Kind::labels) + static_cast<int>(part));
  place(desc, kind, key.first(labels.size() * 2), 1);
  values_.push_back(value);
}

void BatchWriter::histogram_labels(const MetricDesc& desc, const HistogramView& h, std::span<const Label> labels) {
  std::vector<std::string_view> key;
  key.reserve(labels.size() * 2);
  for (const auto& label : labels) key.insert(key.end(), {label.name, label.value});
  put_histogram(desc, h, key, Kind::labels_histogram);
}

// Before the histogram's values, whose first will be values_.size().
void BatchWriter::put_exemplars(const MetricDesc& desc, const HistogramView& h) {
  for (std::size_t i = 0; i < h.exemplars.size(); ++i) {
    const auto& e = h.exemplars[i];
    const bool in_order = e.at < h.counts.size() && (i == 0 || h.exemplars[i - 1].at < e.at);
    if (!in_order || (e.at > 0 && !(e.value > h.bounds[e.at - 1])) ||
        (e.at < h.bounds.size() && !(e.value <= h.bounds[e.at]))) {
      problem({Errc::malformed, 0, fmt::format("{}: exemplar {} is not in bucket {}", desc.name, e.value, e.at)});
      continue;
    }
    auto& kept =
        exemplars_.emplace_back(Exemplar{static_cast<std::uint32_t>(values_.size()) + e.at, e.value, e.wall_ms, {}});
    std::size_t used = 0;
    for (const auto& [name, text] : e.labels) {
      auto fit = fit_text(text);
      const auto characters = name.size() + characters_of(fit);
      if (used + characters > Exemplar::kMostCharacters) continue;
      used += characters;
      kept.labels.emplace_back(name, std::move(fit));
    }
  }
}

void BatchWriter::put_histogram(const MetricDesc& desc, const HistogramView& h, std::span<const std::string_view> key,
                                Kind kind) {
  if (h.counts.size() != h.bounds.size() + 1) {
    problem(
        {Errc::malformed, 0, fmt::format("{}: {} counts for {} bounds", desc.name, h.counts.size(), h.bounds.size())});
    return;
  }
  std::string_view small[17];
  std::vector<std::string_view> large;
  std::span<std::string_view> with_bounds = small;
  if (key.size() >= std::size(small)) {
    large.resize(key.size() + 1);
    with_bounds = large;
  }
  std::ranges::copy(key, with_bounds.begin());
  with_bounds[key.size()] = {reinterpret_cast<const char*>(h.bounds.data()), h.bounds.size_bytes()};
  place(desc, kind, with_bounds.first(key.size() + 1), static_cast<std::uint32_t>(h.counts.size() + 2));
  if (!h.exemplars.empty()) put_exemplars(desc, h);
  double total = 0;
  for (const auto n : h.counts) values_.push_back(total += static_cast<double>(n));
  values_.push_back(h.sum);
  values_.push_back(total);
}

// Falling gauges are everyday, falling counters rare: so one pass over the numbers, and a look at the few.
bool BatchWriter::some_counter_fell() const {
  if (wall_ns_ == 0 || !last_ || last_->layout != layout_ || last_->values.size() != values_.size()) return false;
  const double* was = last_->values.data();
  const double* now = values_.data();
  const auto samples = layout_->samples();
  if (samples.size() != values_.size()) return false;
  constexpr std::size_t kStride = 64;
  for (std::size_t first = 0; first < values_.size(); first += kStride) {
    const auto end = std::min(first + kStride, values_.size());
    int fell = 0;
    for (std::size_t i = first; i < end; ++i) fell += now[i] < was[i] ? 1 : 0;
    if (fell == 0) continue;
    for (std::size_t i = first; i < end; ++i)
      if (now[i] < was[i] && falls_only_at_reset(*samples[i].family, samples[i].part)) return true;
  }
  return false;
}

BatchPtr BatchWriter::finish(const Result<>& outcome, std::int64_t wall_ns, std::int64_t cpu_ns) {
  if (!in_step_) changes_.back().gone = emits_.size() - changes_.back().old;
  else if (next_ < emits_.size()) changes_.push_back({next_, emits_.size() - next_, fresh_.size(), 0, values_.size()});
  if (!layout_ || !changes_.empty() || some_counter_fell()) {
    try {
      LayoutBuilder(*this).build();
    } catch (...) {  // no memory: what is half done must not be taken for this run's, so the next one is a first one
      *this = BatchWriter(std::move(collector_));
      throw;
    }
    values_expected_ = values_.size();
  }
  auto batch = std::make_shared<Batch>();
  batch->collector = collector_;
  batch->layout = layout_;
  batch->values = std::move(values_);
  batch->exemplars = std::move(exemplars_);
  batch->events = std::move(events_);
  batch->events_left_out = events_left_out_;
  batch->collected_boot_ns = boot_ns_;
  batch->health.ok = outcome.has_value();
  if (!outcome) batch->health.error = outcome.error();
  batch->health.problems = std::move(problems_);
  batch->health.wall_ns = wall_ns;
  batch->health.cpu_ns = cpu_ns;
  for (const auto& series : layout_->duplicates())
    batch->health.problems.push_back({Errc::malformed, 0, "emitted twice, first one kept: " + series});
  for (const auto& sentence : layout_->mended()) batch->health.problems.push_back({Errc::malformed, 0, sentence});
  values_ = {};
  exemplars_ = {};
  events_ = {};
  problems_ = {};
  last_ = batch;
  return batch;
}

}  // namespace vitald
