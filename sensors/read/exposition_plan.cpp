// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/exposition_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "core/part_names.h"

namespace vitald {
namespace {

constexpr std::size_t kMostConflicts = 100;

// "a{x=\"1\"}", without labels that are empty.
std::string series_text(const ExpositionFamily& family, const ExpositionSeries& series) {
  auto labels = series.labels;
  std::ranges::sort(labels);
  std::string text;
  for (const auto& [name, value] : labels)
    if (!value.empty()) text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, value);
  return fmt::format("{}{{{}}}", family.name, text);
}

// A thousand series of which each has a label of its own would be a million labels.
constexpr std::size_t kGapsPerSeries = 32, kGapsFree = 1000;

}  // namespace

void ExpositionPlan::emit(BatchWriter& out) const {
  out.use(descs_);
  for (const auto& item : plan_) {
    out.since(item.since_wall_ms);
    out.set_labels(*item.desc, item.value, std::span(labels_).subspan(item.first_label, item.label_count), item.part);
  }
  out.since(0);
}

void ExpositionPlan::each(std::string_view family,
                          const std::function<void(std::span<const Label>, std::size_t)>& take) const {
  const auto* desc = descs_->find(family);
  if (!desc) return;
  for (const auto& item : plan_)
    if (item.desc == desc && item.part == Part::value)
      take(std::span(labels_).subspan(item.first_label, item.label_count), item.source);
}

void ExpositionPlan::build(std::span<const ExpositionSource> sources) {
  plan_.clear();
  labels_.clear();
  texts_.clear();
  conflicts_.clear();
  more_conflicts_ = 0;
  std::vector<Found> families;
  std::map<std::string_view, std::string> from_where;  // the sources that have a family, for those without HELP
  struct Help {
    std::string_view text;
    bool conflict = false;
  };
  std::map<std::string_view, Help> helps;
  std::map<std::string_view, MetricType> types;
  for (std::size_t source = 0; source < sources.size(); ++source) {
    const auto& [path, content] = sources[source];
    for (const auto& line : content->conflicts) left_out(fmt::format("{}: {}", path, line));
    more_conflicts_ += content->more_conflicts;
    for (const auto& family : content->families) {
      if (is_own(family)) {
        left_out(fmt::format("{}: {}: a family of the collector's own; left out", path, family.name));
        continue;
      }
      // The first HELP text wins; a family with another one is left out, and so are all after it.
      if (const auto known = helps.find(family.name);
          known != helps.end() && ((family.help && *family.help != known->second.text) || known->second.conflict)) {
        known->second.conflict = true;
        left_out(fmt::format("{}: {}: help text '{}' differs from '{}' in {}", path, family.name,
                             family.help.value_or(""), known->second.text, from_where[family.name]));
        continue;
      }
      if (const auto known = types.find(family.name); known != types.end() && known->second != family.type) {
        left_out(fmt::format("{}: {} is a {} but was a {} in {}", path, family.name, to_string(family.type),
                             to_string(known->second), from_where[family.name]));
        continue;
      }
      types.emplace(family.name, family.type);
      if (family.help) helps.emplace(family.name, Help{*family.help});
      auto& from = from_where[family.name];
      if (!from.empty()) from += ", ";
      from += path;
      families.push_back({&family, path, static_cast<std::uint32_t>(source)});
    }
  }

  // A histogram's or summary's lines have names of their own, which no other family may have, whoever comes first.
  std::map<std::string, const Found*, std::less<>> of_parts;
  for (const auto& found : families)
    for (const auto suffix : part_suffixes(found.family->type))
      of_parts.emplace(found.family->name + std::string(suffix), &found);
  std::set<const ExpositionFamily*> out;
  for (const auto& [family, path, source] : families) {
    const auto part = of_parts.find(family->name);
    if (part == of_parts.end()) continue;
    const auto& whole = *part->second;
    out.insert(family);
    left_out(fmt::format("{}: {} is a name of the lines of {}, a {} in {}", path, family->name, whole.family->name,
                         to_string(whole.family->type), whole.path));
    // In one file its own lines of that name were taken for the other's.
    if (whole.path == path && out.insert(whole.family).second)
      left_out(
          fmt::format("{}: {}: which lines {} are its own cannot be told", path, whole.family->name, family->name));
  }
  if (!out.empty()) std::erase_if(families, [&](const auto& found) { return out.contains(found.family); });

  std::map<std::string_view, std::string> texts;
  for (const auto& [family, path, source] : families) {
    const auto help = helps.find(family->name);
    texts.emplace(family->name,
                  help != helps.end() ? std::string(help->second.text) : origin_ + from_where[family->name]);
  }
  // Descriptors stay as long as no family changed its kind or text, so that new numbers in a file keep
  // the layout.
  const bool keep = std::ranges::all_of(families, [&](const auto& found) {
    const auto* family = found.family;
    const auto* desc = descs_->find(family->name);
    return !desc || (desc->type == family->type && desc->help == texts[family->name]);
  });
  if (!keep) descs_ = std::make_shared<DescPool>();
  std::set<std::string> seen;
  for (const auto& found : families) {
    const auto& family = *found.family;
    add(found, descs_->get(family.name, family.type, texts[family.name]), seen);
  }
  if (more_conflicts_ > 0)
    conflicts_.push_back({Errc::malformed, 0, fmt::format("{} more that are left out", more_conflicts_)});
}

// By its own name or by that of its lines.
bool ExpositionPlan::is_own(const ExpositionFamily& family) const {
  const auto suffixes = part_suffixes(family.type);
  return std::ranges::any_of(own_, [&](const MetricDesc& desc) {
    return desc.name == family.name || std::ranges::any_of(suffixes, [&](std::string_view suffix) {
             return desc.name.size() == family.name.size() + suffix.size() && desc.name.starts_with(family.name) &&
                    desc.name.ends_with(suffix);
           });
  });
}

void ExpositionPlan::left_out(std::string why) {
  if (conflicts_.size() < kMostConflicts) conflicts_.push_back({Errc::malformed, 0, std::move(why)});
  else ++more_conflicts_;
}

// False, and said, when a file has that series already: Prometheus refuses a scrape that has one twice.
bool ExpositionPlan::is_first(const ExpositionFamily& family, const ExpositionSeries& series, std::string_view path,
                              std::set<std::string>& seen) {
  auto labels = series.labels;
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });  // as if it were not there
  std::ranges::sort(labels);
  std::string key = family.name;
  for (const auto& [name, value] : labels) key.append(1, '\0').append(name).append(1, '\0').append(value);
  if (seen.insert(std::move(key)).second) return true;
  left_out(fmt::format("{}: {} is there twice, the first one is kept", path, series_text(family, series)));
  return false;
}

void ExpositionPlan::add(const Found& found, const MetricDesc& desc, std::set<std::string>& seen) {
  const auto& family = *found.family;
  const auto path = found.path;
  std::set<std::string_view> names;
  std::size_t written = 0;
  for (const auto& series : family.series) {
    written += series.labels.size();
    for (const auto& [name, value] : series.labels) names.insert(name);
  }
  const auto gaps = names.size() * family.series.size() - written;
  if (gaps > kGapsPerSeries * family.series.size() + kGapsFree)
    return left_out(
        fmt::format("{}: {}: {} series have {} label names between them, and each gets all of them: at most {} more "
                    "for each than it has",
                    path, family.name, family.series.size(), names.size(), kGapsPerSeries));
  for (const auto& series : family.series) {
    if (!is_first(family, series, path, seen)) continue;
    // Every series of a family in a file gets all its label names; those it lacks are empty.
    std::vector<Label> labels;
    for (const auto name : names) {
      const auto it = std::ranges::find(series.labels, name, &std::pair<std::string, std::string>::first);
      labels.push_back({name, it == series.labels.end() ? std::string_view{} : std::string_view(it->second)});
    }
    if (family.type != MetricType::histogram && family.type != MetricType::summary) {
      put(desc, Part::value, found.source, labels, series.value, series.since_wall_ms);
      continue;
    }
    const bool histogram = family.type == MetricType::histogram;
    const auto extra = [&](double at, double value) {
      auto with = labels;
      with.push_back({histogram ? "le" : "quantile", texts_.emplace_back(go_number(at))});
      put(desc, histogram ? Part::bucket : Part::value, found.source, with, value, series.since_wall_ms);
    };
    for (const auto& [at, value] : series.points) extra(at, value);
    const double end = std::numeric_limits<double>::infinity();
    if (histogram && !series.points.contains(end)) {
      // Everything is in it, so it is the count. Without that too at least what is in the last that came.
      if (series.has_count) {
        extra(end, series.count);
      } else if (!series.points.empty()) {
        extra(end, series.points.rbegin()->second);
        left_out(fmt::format("{}: {} has neither a bucket le=\"+Inf\" nor a count; its last bucket is taken for both",
                             path, series_text(family, series)));
      }
    }
    if (series.has_sum) put(desc, Part::sum, found.source, labels, series.sum, series.since_wall_ms);
    if (series.has_count) put(desc, Part::count, found.source, labels, series.count, series.since_wall_ms);
  }
}

void ExpositionPlan::put(const MetricDesc& desc, Part part, std::uint32_t source, const std::vector<Label>& labels,
                         double value, std::int64_t since_wall_ms) {
  plan_.push_back({&desc, part, static_cast<std::uint32_t>(labels_.size()), static_cast<std::uint32_t>(labels.size()),
                   source, value, since_wall_ms});
  labels_.insert(labels_.end(), labels.begin(), labels.end());
}

}  // namespace vitald
