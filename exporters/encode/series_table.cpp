// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/series_table.h"

#include <algorithm>
#include <cmath>

#include "core/text/exported_names.h"
#include "core/text/names.h"
#include "core/text/utf8.h"
#include "exporters/encode/family_order.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "__name__";
constexpr MetricDesc kUp{"up", MetricType::gauge, "1: vitald runs; it is what pushes this."};

// Words that stay on their line and are no comment there.
bool is_line_name(std::string_view name) {
  return !name.empty() && name.front() != '#' && is_valid_utf8(name) &&
         std::ranges::none_of(name, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

}  // namespace

SeriesTable::SeriesTable(Settings settings)
    : most_series_(settings.most_series), up_(settings.up), any_name_(settings.any_name), native_(settings.native) {
  for (const auto& [name, value] : settings.external)
    if (!settings.target.contains(name)) extra_.push_back({name, value, false});
  for (const auto& [name, value] : settings.target) extra_.push_back({name, value, true});
  std::ranges::sort(extra_, {}, &Extra::name);
  target_ = std::move(settings.target);
  if (!settings.relabel.empty()) relabel_.emplace(std::move(settings.relabel));
}

bool SeriesTable::update(const Snapshot& snapshot) {
  gone_.clear();
  if (version_ > 0 && is_for(snapshot)) return false;
  if (const auto moved = moves(snapshot)) {
    try {
      follow(*moved, snapshot);
    } catch (...) {  // no memory: what is half done must not be taken for current
      layouts_.clear();
      rows_.clear();
      histograms_.clear();
      change_.reset();
      ++version_;
      throw;
    }
    ++version_;
    return true;
  }
  change_.reset();
  const auto before_layouts = std::move(layouts_);  // what the rows of before point to
  const auto before_rows = std::move(rows_);
  auto before_labels = std::move(labels_);
  const auto before_relabelled = std::move(relabelled_);
  layouts_.clear();
  rows_.clear();
  labels_.clear();
  labels_out_of_use_ = 0;
  rows_.reserve(before_rows.size() + 16);
  labels_.reserve(before_labels.size() + 64);
  relabelled_ = std::move(next_relabelled_);
  relabelled_.clear();
  next_relabelled_ = before_relabelled;  // build() takes from here what it knows already
  build(snapshot);
  next_relabelled_.clear();
  ++version_;
  if (before_rows.empty()) return true;
  std::vector<std::uint64_t> now;
  now.reserve(rows_.size());
  for (const auto& row : rows_) now.push_back(row.key);
  std::ranges::sort(now);
  labels_.swap(before_labels);  // copy_of() looks there
  for (const auto& row : before_rows)
    if (!std::ranges::binary_search(now, row.key)) gone_.push_back(copy_of(row));
  labels_.swap(before_labels);
  return true;
}

void SeriesTable::build(const Snapshot& snapshot) {
  left_out_ = {};
  there_.clear();
  histograms_.clear();
  buckets_.clear();
  for (const auto& batch : snapshot.batches) layouts_.push_back(batch->layout);
  if (up_) {
    SeriesRow row;
    row.family = &kUp;
    row.name = kUp.name;
    row.batch = SeriesRow::kUp;
    row.key = 1;
    add(row, {});
  }
  for (std::uint32_t b = 0; b < snapshot.batches.size(); ++b) add_samples(b, layouts_[b]->samples());
  if (relabel_) there_.clear();
}

void SeriesTable::add_samples(std::uint32_t batch, std::span<const Sample> samples) {
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& sample = samples[i];
    if (sample.family->shown == Shown::inside) continue;
    if (native_ && sample.part == Part::bucket) {
      if (const auto taken = add_histogram(batch, samples.subspan(i)); taken > 0) {
        i += taken - 1;
        continue;
      }
    }
    SeriesRow row;
    row.family = sample.family;
    row.name = Layout::name(sample);
    row.batch = batch;
    row.value = sample.value;
    row.part = sample.part;
    row.since_wall_ms = falls_only_at_reset(*sample.family, sample.part) ? Layout::since_wall_ms(sample) : 0;
    row.key = sample.series->fingerprint;
    add(row, Layout::labels(sample));
  }
}

// ---- some series of many come or go

namespace {

// Histograms come and go as a whole: no other sample of one stands beside [first, first + count), nor does that part
// what would be one without it.
bool is_whole(std::span<const Sample> all, std::size_t first, std::size_t count) {
  if (count == 0) return true;
  const auto ends_here = [&](std::size_t end) {
    return end == 0 || all[end - 1].part == Part::value || all[end - 1].part == Part::count;
  };
  const auto begins = all[first].part;
  return (begins == Part::value || begins == Part::bucket) && ends_here(first) && ends_here(first + count);
}

}  // namespace

// None: the whole is made anew.
std::optional<SeriesTable::Moves> SeriesTable::moves(const Snapshot& snapshot) const {
  if (version_ == 0 || relabel_ || left_out_.all() > 0 || layouts_.size() != snapshot.batches.size() ||
      labels_out_of_use_ * 2 > labels_.size())
    return std::nullopt;
  Moves out;
  out.now.resize(layouts_.size());
  for (std::uint32_t b = 0; b < layouts_.size(); ++b) {
    const auto& next = *snapshot.batches[b]->layout;
    if (layouts_[b].get() == &next) continue;
    const auto changes = LayoutChange::between(*layouts_[b], next);
    if (!changes) return std::nullopt;
    const auto before = layouts_[b]->samples(), after = next.samples();
    auto& now = out.now[b];
    now.assign(layouts_[b]->value_count(), kGone);
    std::size_t from = 0, to = 0;
    const auto keep_until = [&](std::size_t end) {
      for (; from < end; ++from, ++to) now[before[from].value] = after[to].value;
    };
    for (const auto& c : *changes) {
      keep_until(c.before);
      if (!is_whole(before, from, c.gone) || !is_whole(after, to, c.come)) return std::nullopt;
      if (c.come > 0) out.come.emplace_back(b, after.subspan(to, c.come));
      out.come_count += c.come;
      from += c.gone;
      to += c.come;
    }
    keep_until(before.size());
  }
  if (out.come_count > rows_.size() || out.come_count > most_series_ - rows_.size()) return std::nullopt;
  return out;
}

// What goes leaves, the others close up, what comes is last.
void SeriesTable::follow(const Moves& moves, const Snapshot& snapshot) {
  const auto before_layouts = std::move(layouts_);  // what rows that go point to
  layouts_.clear();
  for (const auto& batch : snapshot.batches) layouts_.push_back(batch->layout);
  const auto now = [&](std::uint32_t batch, std::uint32_t value) {
    const auto& of = moves.now[batch];
    return of.empty() ? value : of[value];
  };
  std::vector<GoneSeries> went;
  std::vector<TableHistogram> histograms;
  std::vector<std::uint32_t> buckets;
  std::size_t kept = 0;
  auto& change = change_.emplace();
  for (std::uint32_t i = 0; i < rows_.size(); ++i) {
    const auto& row = rows_[i];
    const auto value = row.batch == SeriesRow::kUp ? row.value : now(row.batch, row.value);
    if (value == kGone) {
      labels_out_of_use_ += row.label_count;
      went.push_back(copy_of(row));
      change.gone.push_back(i);
      there_.erase(row.key);
      continue;
    }
    if (kept != i) rows_[kept] = row;
    auto& moved = rows_[kept++];
    moved.value = value;
    if (moved.histogram == SeriesRow::kNoHistogram) continue;
    auto h = histograms_[moved.histogram];
    moved.histogram = static_cast<std::uint32_t>(histograms.size());
    const auto first = static_cast<std::uint32_t>(buckets.size());
    for (std::uint32_t b = 0; b < h.count; ++b) buckets.push_back(now(h.batch, buckets_[h.first + b]));
    h.first = first;
    histograms.push_back(h);
  }
  rows_.resize(kept);
  change.kept = static_cast<std::uint32_t>(kept);
  histograms_ = std::move(histograms);
  buckets_ = std::move(buckets);
  for (const auto& [batch, samples] : moves.come) add_samples(batch, samples);
  // A counter that fell went and came.
  std::unordered_set<std::uint64_t> came;
  for (std::size_t i = kept; i < rows_.size(); ++i) came.insert(rows_[i].key);
  for (auto& series : went)
    if (!came.contains(series.key)) gone_.push_back(std::move(series));
}

// How many samples it took: those of the histogram that is in front, where it is a native one; otherwise none.
std::size_t SeriesTable::add_histogram(std::uint32_t batch, std::span<const Sample> samples) {
  const auto& lead = samples.front();
  std::vector<double> upper;
  std::size_t n = 0;
  for (; n < samples.size() && samples[n].family == lead.family && samples[n].part == Part::bucket; ++n)
    upper.push_back(inner_value(samples[n]));
  if (n + 1 >= samples.size() || samples[n].part != Part::sum || samples[n + 1].part != Part::count ||
      upper.back() != HUGE_VAL || !same_but_inner(*lead.family, *lead.series, *samples[n + 1].series))
    return 0;
  upper.pop_back();
  const auto scheme = native_scheme(upper);
  if (!scheme) return 0;
  SeriesRow row;
  row.family = lead.family;
  row.name = lead.family->name;
  row.batch = batch;
  row.value = samples[n].value;
  row.part = Part::sum;
  row.since_wall_ms = Layout::since_wall_ms(samples[n + 1]);
  row.key = samples[n + 1].series->fingerprint;
  row.histogram = static_cast<std::uint32_t>(histograms_.size());
  if (add(row, Layout::labels(samples[n + 1]))) {
    histograms_.push_back({*scheme, batch, static_cast<std::uint32_t>(buckets_.size()), static_cast<std::uint32_t>(n)});
    for (const auto& s : samples.first(n)) buckets_.push_back(s.value);
  }
  return n + 2;
}

bool SeriesTable::add(SeriesRow row, std::span<const Label> own) {
  row.label = static_cast<std::uint32_t>(labels_.size());
  add_labels(own);
  row.label_count = static_cast<std::uint32_t>(labels_.size()) - row.label;
  const auto fate = relabel_ ? relabel(row, row.key) : Fate::kept;
  const bool beyond = rows_.size() >= most_series_;
  const bool odd = !relabel_ && may_be_same(own);
  if (odd) {  // it is known by what it leaves as, like one that is relabelled
    std::string text(row.name);
    for (const auto& [name, value] : labels(row)) text.append(1, '\0').append(name).append(1, '\0').append(value);
    row.key = std::hash<std::string>()(text);
  }
  if (fate == Fate::kept && !beyond && ((!relabel_ && !odd) || there_.insert(row.key).second)) {
    rows_.push_back(row);
    return true;
  }
  if (fate == Fate::unnamed) ++left_out_.unnamed;
  else if (fate == Fate::kept) ++(beyond ? left_out_.beyond : left_out_.same);
  labels_.resize(row.label);
  return false;
}

void SeriesTable::add_labels(std::span<const Label> own) {
  const auto first = labels_.size();
  auto extra = extra_.begin();
  for (const auto& label : own) {
    if (label.value.empty()) continue;  // the same as none
    for (; extra != extra_.end() && extra->name < label.name; ++extra) labels_.push_back({extra->name, extra->value});
    if (extra != extra_.end() && extra->name == label.name) {
      if (extra->of_target) {
        labels_.resize(first);
        return add_renamed_labels(own);
      }
      ++extra;
    }
    labels_.push_back(label);
  }
  for (; extra != extra_.end(); ++extra) labels_.push_back({extra->name, extra->value});
}

// x{job="a"} and x{exported_job="a"} leave by one name where the target has a job.
bool SeriesTable::may_be_same(std::span<const Label> own) const {
  return !target_.empty() && std::ranges::any_of(own, [this](const Label& label) {
    return label.name.starts_with("exported_") || target_.contains(std::string(label.name));
  });
}

// The series has labels that its target has.
void SeriesTable::add_renamed_labels(std::span<const Label> own) {
  std::vector<std::pair<std::string, std::string_view>> renamed;
  for (const auto& label : own) renamed.emplace_back(label.name, label.value);
  rename_beside(target_, renamed);
  const auto first = static_cast<std::ptrdiff_t>(labels_.size());
  for (auto& [name, value] : renamed) labels_.push_back({*own_names_.insert(std::move(name)).first, value});
  for (const auto& extra : extra_) {
    const auto begin = labels_.begin() + first;
    if (extra.of_target || std::ranges::find(begin, labels_.end(), extra.name, &Label::name) == labels_.end())
      labels_.push_back({extra.name, extra.value});
  }
  std::ranges::sort(labels_.begin() + first, labels_.end(), {}, &Label::name);
}

// The row's labels are the last ones.
SeriesTable::Fate SeriesTable::relabel(SeriesRow& row, std::uint64_t fingerprint) {
  auto& known = relabelled_[fingerprint];
  if (const auto before = next_relabelled_.find(fingerprint); before != next_relabelled_.end()) known = before->second;
  if (!known) {
    auto made = std::make_shared<Relabelled>();
    RelabelLabels all;
    for (const auto& label : labels(row)) all.emplace_back(label.name, label.value);
    all.emplace_back(kName, row.name);
    std::ranges::sort(all);
    made->kept = relabel_->apply(all);
    std::string text;
    for (auto& [name, value] : all) {
      text.append(name).append(1, '\0').append(value).append(1, '\0');
      if (name == kName) made->name = std::move(value);
      else made->labels.emplace_back(std::move(name), std::move(value));
    }
    made->key = std::hash<std::string>()(text);
    made->named = any_name_ ? is_line_name(made->name) : is_metric_name(made->name);
    known = std::move(made);
  }
  if (!known->kept) return Fate::dropped;
  if (!known->named) {
    if (left_out_.name.empty()) left_out_.name = known->name;
    return Fate::unnamed;
  }
  row.name = known->name;
  row.key = known->key;
  labels_.resize(row.label);
  for (const auto& [name, value] : known->labels) labels_.push_back({name, value});
  row.label_count = static_cast<std::uint32_t>(known->labels.size());
  return Fate::kept;
}

GoneSeries SeriesTable::copy_of(const SeriesRow& row) const {
  GoneSeries out{std::string(row.name), {}, row.key, row.histogram != SeriesRow::kNoHistogram};
  for (const auto& label : labels(row)) out.labels.emplace_back(label.name, label.value);
  return out;
}

std::vector<GoneSeries> SeriesTable::all() const {
  std::vector<GoneSeries> out;
  out.reserve(rows_.size());
  for (const auto& row : rows_) out.push_back(copy_of(row));
  return out;
}

void SeriesTable::values(const Snapshot& snapshot, std::vector<double>& out) const {
  out.resize(rows_.size() + buckets_.size());
  const double* values = nullptr;
  std::uint32_t batch = UINT32_MAX;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].batch == SeriesRow::kUp) {
      out[i] = 1;
      continue;
    }
    if (rows_[i].batch != batch) batch = rows_[i].batch, values = snapshot.batches[batch]->values.data();
    out[i] = values[rows_[i].value];
  }
  auto at = out.begin() + static_cast<std::ptrdiff_t>(rows_.size());
  for (const auto& h : histograms_) {
    const auto* from = snapshot.batches[h.batch]->values.data();
    for (std::uint32_t i = 0; i < h.count; ++i) *at++ = from[buckets_[h.first + i]];
  }
}

}  // namespace vitald
