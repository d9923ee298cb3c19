// SPDX-License-Identifier: Apache-2.0
#include "core/layout_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <cmath>
#include <functional>

#include "core/series_identity.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

// As many sentences about what was mended as one batch brings; the rest is counted.
constexpr std::size_t kMaxTold = 20;

// What the kernel counts in its files it has counted since boot, unless it is of one process.
bool counts_since_boot(const MetricDesc& family) {
  return (family.type == MetricType::counter || family.type == MetricType::histogram) &&
         (family.source.starts_with("/proc/") || family.source.starts_with("/sys/")) &&
         !family.source.starts_with("/proc/self/");
}

}  // namespace

void LayoutBuilder::build() {
  is_first_ = w_.layout_ == nullptr;
  splice_emits();
  if (!may_share() || !share()) from_scratch();
  w_.layout_ = out_;
  w_.store_ = store_;
}

// The emits of this run, in order. The ones before are in spare_emits_ then.
void LayoutBuilder::splice_emits() {
  const auto& old = w_.emits_;
  auto& now = w_.spare_emits_;
  now.clear();
  now.reserve(old.size() + w_.fresh_.size());
  std::size_t at = 0;
  const auto begin = [](const auto& v, std::size_t i) { return v.begin() + static_cast<std::ptrdiff_t>(i); };
  for (const auto& c : w_.changes_) {
    now.insert(now.end(), begin(old, at), begin(old, c.old));
    now.insert(now.end(), begin(w_.fresh_, c.fresh), begin(w_.fresh_, c.fresh + c.come));
    at = c.old + c.gone;
    for (std::size_t i = c.old; i < at; ++i) w_.keys_out_of_use_ += old[i].key_size;
  }
  now.insert(now.end(), begin(old, at), old.end());
  w_.emits_.swap(now);
}

// In a layout without anything left out the n-th sample has the n-th value: only then pieces can be taken over.
bool LayoutBuilder::may_share() const {
  if (is_first_ || w_.layout_->samples_.size() != w_.layout_->value_count_ || !w_.layout_->mended_.empty())
    return false;
  std::size_t fresh = 0;
  for (const auto& emit : w_.fresh_) fresh += emit.value_count;
  return fresh * 2 <= w_.values_.size() && w_.store_out_of_use_ * 2 <= w_.store_->size() &&
         w_.keys_out_of_use_ * 2 <= w_.keys_.size();
}

// False when it cannot be done this way.
bool LayoutBuilder::share() {
  const auto& before = *w_.layout_;
  out_ = std::make_shared<Layout>();
  store_ = w_.store_;
  out_->generation_ = before.generation_ + 1;
  out_->pools_ = w_.pools_;
  out_->store_ = store_;
  out_->value_count_ = w_.values_.size();

  struct Place {
    std::size_t before, gone, made, come, blocks, after;
  };
  std::vector<Place> places;
  std::int64_t shift = 0;  // from the index of a sample that stays to its new one
  const bool moved = std::ranges::any_of(w_.changes_, [](const auto& c) { return c.gone > 0; }) && !w_.fresh_.empty();
  for (const auto& c : w_.changes_) {
    std::size_t gone = 0, come = 0;
    for (std::size_t i = c.old; i < c.old + c.gone; ++i) gone += w_.spare_emits_[i].value_count;
    for (std::size_t i = c.fresh; i < c.fresh + c.come; ++i) come += w_.fresh_[i].value_count;
    const auto first = static_cast<std::size_t>(static_cast<std::int64_t>(c.value) - shift);
    places.push_back({first, gone, 0, come, 0, c.value});
    shift += static_cast<std::int64_t>(come) - static_cast<std::int64_t>(gone);
    for (const auto& s : std::span(before.samples_).subspan(first, gone)) {
      if (moved) remember(s);
      w_.store_out_of_use_ += sizeof(SeriesInfo) + s.series->text_size + s.series->label_count * sizeof(Label);
    }
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto& p = places[i];
    const auto& c = w_.changes_[i];
    p.made = made_.size();
    value_ = static_cast<std::uint32_t>(p.after);
    for (std::size_t f = c.fresh; f < c.fresh + c.come; ++f)
      add(w_.fresh_[f], f < w_.fresh_since_.size() ? w_.fresh_since_[f] : 0);
    p.blocks = made_blocks_.size();
    if (made_.size() - p.made != p.come || !out_->mended_.empty() || !out_->duplicates_.empty()) return false;
  }

  // What comes new may be there already, elsewhere.
  std::bitset<65536> hashes;
  for (const auto& s : made_) hashes.set(s.hash);
  out_->samples_.resize(w_.values_.size());
  auto* to = out_->samples_.data();
  auto block = before.histograms_.begin();
  std::size_t from = 0, next_made_block = 0;
  const auto copy_until = [&](std::size_t end) {
    const auto offset = static_cast<std::int64_t>(to - out_->samples_.data()) - static_cast<std::int64_t>(from);
    if (made_.empty()) {
      for (; from < end; ++from, ++to) {
        *to = before.samples_[from];
        to->value = static_cast<std::uint32_t>(to->value + offset);
      }
    } else {
      for (; from < end; ++from, ++to) {
        *to = before.samples_[from];
        to->value = static_cast<std::uint32_t>(to->value + offset);
        if (hashes.test(to->hash) && made_fingerprints_.contains(to->series->fingerprint)) return false;
      }
    }
    for (; block != before.histograms_.end() && block->first_sample < end; ++block) {
      out_->histograms_.push_back(*block);
      out_->histograms_.back().first_sample = static_cast<std::uint32_t>(block->first_sample + offset);
    }
    return true;
  };
  for (const auto& p : places) {
    const auto begin = from;
    if (!copy_until(p.before)) return false;
    renew_fallen(begin, p.before - begin, static_cast<std::int64_t>(p.after) - static_cast<std::int64_t>(p.before));
    to = std::copy_n(made_.begin() + static_cast<std::ptrdiff_t>(p.made), p.come, to);
    for (; next_made_block < p.blocks; ++next_made_block) out_->histograms_.push_back(made_blocks_[next_made_block]);
    from += p.gone;
    while (block != before.histograms_.end() && block->first_sample < from) ++block;
  }
  const auto begin = from;
  const auto offset = static_cast<std::int64_t>(to - out_->samples_.data()) - static_cast<std::int64_t>(from);
  if (!copy_until(before.samples_.size())) return false;
  renew_fallen(begin, before.samples_.size() - begin, offset);

  out_->families_ = before.families_;
  bool other_families = false;
  for (const auto& p : places)
    for (const auto& s : std::span(before.samples_).subspan(p.before, p.gone))
      if (--w_.families_[s.family] == 0) other_families = true;
  for (const auto& s : made_)
    if (w_.families_[s.family]++ == 0) other_families = true;
  if (other_families) {
    auto families = std::make_shared<Layout::Families>();
    std::erase_if(w_.families_, [](const auto& item) { return item.second == 0; });
    for (const auto& item : w_.families_) families->push_back(item.first);
    std::ranges::sort(*families, {}, [](const auto* f) { return f->name; });
    out_->families_ = std::move(families);
  }
  return true;
}

// A counter that fell was set back: what it counts it counts since now.
void LayoutBuilder::renew_fallen(std::size_t first, std::size_t count, std::int64_t shift) {
  if (w_.wall_ns_ == 0 || !w_.last_ || w_.last_->layout != w_.layout_) return;
  const double* was = w_.last_->values.data() + first;
  const double* now = w_.values_.data() + first + shift;
  auto* samples = out_->samples_.data() + first + shift;
  for (std::size_t i = 0; i < count; ++i) {
    if (!(now[i] < was[i]) || !falls_only_at_reset(*samples[i].family, samples[i].part)) continue;
    auto& info = store_->objects<SeriesInfo>(1)[0];
    info = *samples[i].series;
    info.since_wall_ms = w_.wall_ns_ / 1'000'000;
    info.born = out_->generation_;
    samples[i].series = &info;
    w_.store_out_of_use_ += sizeof info;
  }
}

void LayoutBuilder::remember(const Sample& s) {
  past_.try_emplace(s.series->fingerprint, Past{s.series->since_wall_ms, s.value});
}

void LayoutBuilder::from_scratch() {
  scratch_ = true;
  out_ = std::make_shared<Layout>();
  store_ = std::make_shared<LayoutStore>();
  made_.clear();
  made_blocks_.clear();
  made_fingerprints_.clear();
  past_.clear();
  last_family_ = nullptr;
  out_->generation_ = 1;
  out_->pools_ = w_.pools_;
  out_->store_ = store_;
  if (!is_first_)
    for (const auto& s : w_.layout_->samples_) remember(s);

  std::vector<std::int64_t> since;
  if (!w_.fresh_since_.empty()) {
    since.assign(w_.emits_.size(), 0);
    std::size_t at = 0, old = 0;
    for (const auto& c : w_.changes_) {
      at += c.old - old;
      for (std::size_t f = c.fresh; f < c.fresh + c.come; ++f, ++at)
        if (f < w_.fresh_since_.size()) since[at] = w_.fresh_since_[f];
      old = c.old + c.gone;
    }
  }
  if (w_.keys_out_of_use_ > 0) {
    std::string keys;
    keys.reserve(w_.keys_.size() - std::min(w_.keys_.size(), w_.keys_out_of_use_));
    for (auto& emit : w_.emits_) {
      const auto at = keys.size();
      keys.append(w_.keys_, emit.key_offset, emit.key_size);
      emit.key_offset = static_cast<std::uint32_t>(at);
    }
    w_.keys_ = std::move(keys);
  }
  w_.spare_emits_ = {};
  w_.keys_out_of_use_ = w_.store_out_of_use_ = 0;

  value_ = 0;
  made_.reserve(w_.values_.size());
  lines_.reserve(w_.values_.size());
  for (std::size_t i = 0; i < w_.emits_.size(); ++i) add(w_.emits_[i], since.empty() ? 0 : since[i]);
  if (untold_ > 0) out_->mended_.push_back(fmt::format("and {} more like these", untold_));
  if (made_.capacity() > made_.size() + made_.size() / 8) made_.shrink_to_fit();
  out_->samples_ = std::move(made_);
  out_->histograms_ = std::move(made_blocks_);
  out_->value_count_ = value_;
  w_.families_.clear();
  auto families = std::make_shared<Layout::Families>();
  for (const auto& s : out_->samples_)
    if (w_.families_[s.family]++ == 0) families->push_back(s.family);
  std::ranges::sort(*families, {}, [](const auto* f) { return f->name; });
  out_->families_ = std::move(families);
}

// ---- one emit

void LayoutBuilder::add(const BatchWriter::Emit& emit, std::int64_t since_wall_ms) {
  using Kind = BatchWriter::Kind;
  since_wall_ms_ = since_wall_ms;
  parts_.clear();
  const char* at = w_.keys_.data() + emit.key_offset;
  for (unsigned i = 0; i < emit.key_parts; ++i) {
    std::uint32_t size;
    std::memcpy(&size, at, sizeof size);
    parts_.emplace_back(at + sizeof size, size);
    at += sizeof size + size;
  }
  const auto end = value_ + emit.value_count;  // also where samples are left out
  pairs_.clear();
  mended_.clear();
  const auto* family = fit_name(*emit.desc);
  if (family) {
    const bool is_histogram = emit.kind == Kind::histogram || emit.kind == Kind::labels_histogram;
    std::span<const std::string_view> values = parts_;
    if (is_histogram) values = values.first(values.size() - 1);
    if (emit.kind >= Kind::labels_histogram) {
      for (std::size_t i = 0; i + 1 < values.size(); i += 2) pairs_.push_back({values[i], fitting(values[i + 1])});
    } else {
      std::string_view names = emit.desc->labels;
      for (const auto value : values) pairs_.push_back({take_until(names, ','), fitting(value)});
    }
    if (!fit_labels(*family)) {
    } else if (is_histogram) {
      add_histogram(*family, parts_.back());
    } else {
      const auto part = emit.kind < Kind::labels
                            ? Part::value
                            : static_cast<Part>(static_cast<int>(emit.kind) - static_cast<int>(Kind::labels));
      if (fits(*family, part)) sample(*family, part);
    }
  }
  value_ = end;
}

void LayoutBuilder::add_histogram(const MetricDesc& family, std::string_view bytes) {
  std::vector<double> upper(bytes.size() / sizeof(double));
  if (!upper.empty()) std::memcpy(upper.data(), bytes.data(), upper.size() * sizeof(double));  // which takes no null
  for (std::size_t i = 0; i < upper.size(); ++i)
    if (!std::isfinite(upper[i]) || (i > 0 && upper[i] <= upper[i - 1])) {
      tell(fmt::format("{}: its bounds do not rise ({} after {}); left out", family.name, upper[i],
                       i > 0 ? upper[i - 1] : 0));
      return;
    }
  if (family.type != MetricType::histogram) {
    tell(fmt::format("{}: a histogram in a family that is a {}; left out", family.name, to_string(family.type)));
    return;
  }
  drop_label("le", family, "it is the bucket's own");
  HistogramBlock block;
  block.family = &family;
  block.first_sample = value_;
  block.buckets = static_cast<std::uint32_t>(upper.size() + 1);
  block.bounds = &store_->bounds(upper);
  const auto samples_before = made_.size();
  const auto labels = pairs_;
  for (std::size_t i = 0; i <= upper.size(); ++i) {
    const std::string le = i < upper.size() ? fmt::format("{}", upper[i]) : "+Inf";
    pairs_ = labels;
    pairs_.insert(std::ranges::upper_bound(pairs_, std::string_view("le"), {}, &Pair::name), {"le", le});
    sample(family, Part::bucket);
  }
  pairs_ = labels;
  sample(family, Part::sum);
  sample(family, Part::count);
  if (made_.size() - samples_before != block.buckets + 2) return;  // one with these labels is there already
  if (scratch_) block.first_sample = static_cast<std::uint32_t>(samples_before);
  made_blocks_.push_back(block);
}

void LayoutBuilder::sample(const MetricDesc& family, Part part) {
  static constexpr std::string_view kSuffix[] = {"", "_bucket", "_sum", "_count"};
  std::string& text = line_;
  text.assign(family.name);
  text += kSuffix[static_cast<std::size_t>(part)];
  // Label values lie in the text, unless they look different there.
  struct Spot {
    std::size_t name, value;
    bool escaped;
  };
  constexpr std::size_t kFew = 16;
  Spot few[kFew];
  std::vector<Spot> many;
  Spot* spots = few;
  if (pairs_.size() > kFew) {
    many.resize(pairs_.size());
    spots = many.data();
  }
  char separator = '{';
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    text += separator;
    spots[i].name = text.size();
    text += pairs_[i].name;
    text += "=\"";
    spots[i].value = text.size();
    for (const char c : pairs_[i].value) {
      if (c == '\\') text += "\\\\";
      else if (c == '"') text += "\\\"";
      else if (c == '\n') text += "\\n";
      else text += c;
    }
    spots[i].escaped = text.size() - spots[i].value != pairs_[i].value.size();
    text += '"';
    separator = ',';
  }
  text += pairs_.empty() ? " " : "} ";

  // As identity_of() it.
  std::string_view identity = text;
  if (std::ranges::any_of(pairs_, [](const Pair& pair) { return pair.value.empty(); })) {
    identity_.assign(text, 0, spots[0].name - 1);
    separator = '{';
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (pairs_[i].value.empty()) continue;
      const auto end = i + 1 < pairs_.size() ? spots[i + 1].name - 1 : text.size() - 2;
      identity_ += separator;
      identity_.append(text, spots[i].name, end - spots[i].name);
      separator = ',';
    }
    identity_ += separator == '{' ? " " : "} ";
    identity = identity_;
  }
  const auto index = value_++;
  const auto fingerprint = std::hash<std::string_view>{}(identity);
  if (!is_new_line(identity, fingerprint)) {
    out_->duplicates_.emplace_back(text.substr(0, text.size() - 1));
    return;
  }
  // In the order they are read: the encoder walks from text to text.
  auto& info = store_->objects<SeriesInfo>(1)[0];
  const auto labels = store_->objects<Label>(pairs_.size());
  const auto kept = store_->text(text);
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = {
        kept.substr(spots[i].name, pairs_[i].name.size()),
        spots[i].escaped ? store_->text(pairs_[i].value) : kept.substr(spots[i].value, pairs_[i].value.size())};
  info.text = kept.data();
  info.text_size = static_cast<std::uint32_t>(kept.size());
  info.labels = labels.data();
  info.label_count = static_cast<std::uint16_t>(labels.size());
  info.part = part;
  info.fingerprint = fingerprint;
  info.born = out_->generation_;
  const auto now_ms = w_.wall_ns_ / 1'000'000;
  if (const auto past = past_.find(fingerprint); past != past_.end()) {
    const auto& values = w_.last_ ? w_.last_->values : w_.values_;
    const bool fell = past->second.value < values.size() && w_.values_[index] < values[past->second.value] &&
                      falls_only_at_reset(family, part);
    info.since_wall_ms = fell && now_ms != 0 ? now_ms : past->second.since_wall_ms;
  } else if (since_wall_ms_ != 0) {
    info.since_wall_ms = since_wall_ms_;
  } else if (w_.wall_ns_ != 0) {
    info.since_wall_ms = is_first_ && counts_since_boot(family) ? (w_.wall_ns_ - w_.boot_ns_) / 1'000'000 : now_ms;
  }
  if (scratch_) lines_.emplace(fingerprint, &info);
  made_fingerprints_.insert(fingerprint);
  made_.push_back({&family, &info, index, part, static_cast<std::uint16_t>(fingerprint >> 48)});
}

bool LayoutBuilder::is_new_line(std::string_view identity, std::uint64_t fingerprint) {
  if (!scratch_) return !made_fingerprints_.contains(fingerprint);
  const auto [first, last] = lines_.equal_range(fingerprint);
  std::string made;
  return std::none_of(first, last, [&](const auto& known) { return identity_of(*known.second, made) == identity; });
}

// ---- what leaves must be read by others: names of [a-zA-Z0-9_:], each label once, UTF-8 without NUL, which ends the
// text for Prometheus' lexer; parts and their own labels where the family's type has them

std::string_view LayoutBuilder::fitting(std::string_view value) {
  if (is_fit_text(value)) return value;
  return mended_.emplace_front(fit_text(value));
}

const MetricDesc* LayoutBuilder::fit_name(const MetricDesc& family) {
  if (last_family_ == &family) return last_fit_;
  last_family_ = &family;
  if (is_metric_name(family.name)) return last_fit_ = &family;
  if (family.name.empty()) {
    tell("a metric without a name; left out");
    return last_fit_ = nullptr;
  }
  const auto name = fit_metric_name(family.name);
  tell(fmt::format("a metric named '{}', which has other characters than a-z, A-Z, 0-9, _ and :; leaves as {}",
                   fit_text(family.name), name));
  return last_fit_ = &store_->renamed(family, name);
}

// Sorted by name, each once. False: the series cannot leave.
bool LayoutBuilder::fit_labels(const MetricDesc& family) {
  for (auto& pair : pairs_) {
    if (is_label_name(pair.name)) continue;
    if (pair.name.empty()) {
      tell(fmt::format("{}: a label without a name (value '{}'); left out", family.name, pair.value));
      return false;
    }
    const auto name = fit_label_name(pair.name);
    tell(fmt::format("{}: a label named '{}', which has other characters than a-z, A-Z, 0-9 and _; leaves as {}",
                     family.name, fit_text(pair.name), name));
    pair.name = mended_.emplace_front(name);
  }
  if (pairs_.size() > 1) std::ranges::stable_sort(pairs_, {}, &Pair::name);
  drop_label("__name__", family, "it is the metric's own");
  const auto twice = [](const Pair& a, const Pair& b) { return a.name == b.name; };
  if (const auto at = std::ranges::adjacent_find(pairs_, twice); at != pairs_.end()) {
    tell(fmt::format("{}: the label '{}' twice in one series; the first stays", family.name, at->name));
    pairs_.erase(std::unique(pairs_.begin(), pairs_.end(), twice), pairs_.end());  // clang 14 knows no subrange
  }
  return true;
}

bool LayoutBuilder::fits(const MetricDesc& family, Part part) {
  const bool histogram = family.type == MetricType::histogram, summary = family.type == MetricType::summary;
  const auto needs = [&](std::string_view name) {
    const auto at = std::ranges::find(pairs_, name, &Pair::name);
    if (at != pairs_.end() && parse_double(at->value)) return true;
    tell(fmt::format("{}: a {} has {} '{}' in place of a number; left out", family.name,
                     histogram ? "bucket" : "quantile", name, at == pairs_.end() ? "" : at->value));
    return false;
  };
  if (part == Part::bucket ? !histogram : part == Part::value ? histogram : !histogram && !summary) {
    static constexpr std::string_view kParts[] = {"plain value", "bucket", "sum", "count"};
    tell(fmt::format("{}: a {} in a family that is a {}; left out", family.name, kParts[static_cast<std::size_t>(part)],
                     to_string(family.type)));
    return false;
  }
  if (part == Part::bucket) return needs("le");
  if (part == Part::value && summary) return needs("quantile");
  if (part != Part::value) drop_label(histogram ? "le" : "quantile", family, "its sum and count have none");
  return true;
}

void LayoutBuilder::drop_label(std::string_view name, const MetricDesc& family, std::string_view why) {
  if (std::erase_if(pairs_, [&](const Pair& p) { return p.name == name; }) > 0)
    tell(fmt::format("{}: a label named '{}'; left out, {}", family.name, name, why));
}

void LayoutBuilder::tell(std::string sentence) {
  if (std::ranges::find(out_->mended_, sentence) != out_->mended_.end()) return;
  if (out_->mended_.size() < kMaxTold) out_->mended_.push_back(std::move(sentence));
  else ++untold_;
}

}  // namespace vitald
