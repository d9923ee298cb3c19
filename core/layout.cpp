// SPDX-License-Identifier: Apache-2.0
#include "core/layout.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/series_identity.h"

namespace vitald {

std::string_view identity_of(const SeriesInfo& series, std::string& made) {
  const std::string_view text(series.text, series.text_size);
  const std::span labels(series.labels, series.label_count);
  if (std::ranges::none_of(labels, [](const Label& l) { return l.value.empty(); })) return text;
  const auto at = [&](std::size_t i) { return static_cast<std::size_t>(labels[i].name.data() - text.data()); };
  made.assign(text.substr(0, at(0) - 1));
  char separator = '{';
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].value.empty()) continue;
    const auto end = i + 1 < labels.size() ? at(i + 1) - 1 : text.size() - 2;
    made += separator;
    made.append(text.substr(at(i), end - at(i)));
    separator = ',';
  }
  made += separator == '{' ? " " : "} ";
  return made;
}

std::string_view Layout::name(const Sample& s) {
  const auto line = prefix(s);
  return line.substr(0, line.find_first_of("{ "));
}

Bounds Bounds::of(std::span<const double> upper) {
  Bounds b;
  b.upper.assign(upper.begin(), upper.end());
  int first = 0;
  for (std::size_t i = 0; i < upper.size(); ++i) {
    int exponent;
    if (std::frexp(upper[i], &exponent) != 0.5) return b;
    if (i == 0) first = exponent - 1;  // frexp's fraction of a power of two is 0.5
    else if (exponent - 1 != first + static_cast<int>(i)) return b;
  }
  if (upper.empty()) return b;
  b.schema = 0;
  b.first = first;
  return b;
}

std::shared_ptr<const Layout> Layout::without(std::span<const std::uint32_t> out) const {
  auto left = std::make_shared<Layout>();
  left->samples_.reserve(samples_.size() - out.size());
  auto block = histograms_.begin();
  auto next = out.begin();
  for (std::uint32_t i = 0; i < samples_.size(); ++i) {
    if (block != histograms_.end() && block->first_sample == i) {
      // A histogram that lost a part is one no more.
      const auto end = i + block->buckets + 2;
      if (std::lower_bound(next, out.end(), end) == next) {
        left->histograms_.push_back(*block);
        left->histograms_.back().first_sample = static_cast<std::uint32_t>(left->samples_.size());
      }
      ++block;
    }
    if (next != out.end() && *next == i) ++next;
    else left->samples_.push_back(samples_[i]);
  }
  auto families = std::make_shared<Families>();
  for (const auto* family : *families_)
    if (std::ranges::find(left->samples_, family, &Sample::family) != left->samples_.end()) families->push_back(family);
  left->families_ = std::move(families);
  left->value_count_ = value_count_;
  left->generation_ = generation_;
  left->duplicates_ = duplicates_;
  left->mended_ = mended_;
  left->store_ = store_;
  left->pools_ = pools_;
  return left;
}

// The order of what stays is kept, and what is younger than `before` is not in there. So no search is needed.
std::optional<std::vector<LayoutChange>> LayoutChange::between(const Layout& before, const Layout& after) {
  if (before.store_ != after.store_ || before.generation_ > after.generation_) return std::nullopt;
  std::vector<LayoutChange> changes;
  const auto& a = before.samples_;
  const auto& b = after.samples_;
  std::size_t i = 0, j = 0;
  while (true) {
    while (i < a.size() && j < b.size() && a[i].series == b[j].series) ++i, ++j;
    if (i == a.size() && j == b.size()) return changes;
    const auto i0 = i, j0 = j;
    while (j < b.size() && b[j].series->born > before.generation_) ++j;
    if (j == b.size()) i = a.size();
    else
      while (i < a.size() && a[i].series != b[j].series) ++i;
    if (i == a.size() && j < b.size()) return std::nullopt;  // one that both should have: not of one line
    changes.push_back({static_cast<std::uint32_t>(i0), static_cast<std::uint32_t>(i - i0),
                       static_cast<std::uint32_t>(j0), static_cast<std::uint32_t>(j - j0)});
  }
}

}  // namespace vitald
