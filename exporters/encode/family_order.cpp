// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/family_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "core/part_names.h"
#include "core/series_identity.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// The series of one family in one layout, in the order they leave.
struct FamilyPart {
  const MetricDesc* desc = nullptr;
  std::uint32_t batch = 0;
  std::span<const Sample* const> samples = {};
};

struct Key {
  std::span<const Label> labels;
  std::string_view inner;
  Part part;

  Key(const MetricDesc& family, const SeriesInfo& s)
      : labels(s.labels, s.label_count), inner(inner_label(family, s.part)), part(s.part) {}

  [[nodiscard]] std::size_t outer_count() const {
    return inner.empty() ? labels.size()
                         : labels.size() - static_cast<std::size_t>(std::ranges::count(labels, inner, &Label::name));
  }
};

double value_of(std::span<const Label> labels, std::string_view inner) {
  const auto at = inner.empty() ? labels.end() : std::ranges::find(labels, inner, &Label::name);
  return at == labels.end() ? 0 : parse_double(at->value).value_or(0);
}

// client_golang's order: by label values in the order of the label names.
bool key_before(const Key& a, const Key& b) {
  if (const auto n = a.outer_count() <=> b.outer_count(); n != 0) return n < 0;
  for (const bool by_name : {false, true}) {
    auto x = a.labels.begin(), y = b.labels.begin();
    while (true) {
      if (x != a.labels.end() && !a.inner.empty() && x->name == a.inner) ++x;
      if (y != b.labels.end() && !b.inner.empty() && y->name == b.inner) ++y;
      if (x == a.labels.end() || y == b.labels.end()) break;
      if (const auto c = by_name ? x->name <=> y->name : x->value <=> y->value; c != 0) return c < 0;
      ++x, ++y;
    }
  }
  if (a.part != b.part) return a.part < b.part;
  return value_of(a.labels, a.inner) < value_of(b.labels, b.inner);
}

bool sample_before(const Sample* a, const Sample* b) {
  return key_before(Key(*a->family, *a->series), Key(*b->family, *b->series));
}

}  // namespace

std::string_view inner_label(const MetricDesc& family, Part part) {
  if (part == Part::bucket) return "le";
  if (part == Part::value && family.type == MetricType::summary) return "quantile";
  return {};
}

bool leaves_before(const MetricDesc& family, const SeriesInfo& a, const SeriesInfo& b) {
  return key_before(Key(family, a), Key(family, b));
}

double inner_value(const MetricDesc& family, const SeriesInfo& s) {
  return value_of({s.labels, s.label_count}, inner_label(family, s.part));
}

bool same_but_inner(const MetricDesc& family, const SeriesInfo& a, const SeriesInfo& b) {
  const auto next = [](auto& at, auto end, std::string_view inner) {
    while (at != end && !inner.empty() && at->name == inner) ++at;
    return at != end;
  };
  const std::span x(a.labels, a.label_count), y(b.labels, b.label_count);
  const auto inner_x = inner_label(family, a.part), inner_y = inner_label(family, b.part);
  auto i = x.begin(), j = y.begin();
  for (;;) {
    const bool more_x = next(i, x.end(), inner_x), more_y = next(j, y.end(), inner_y);
    if (!more_x || !more_y) return more_x == more_y;
    if (!(*i == *j)) return false;
    ++i, ++j;
  }
}

std::string_view named_unit(const MetricDesc& family) {
  auto name = family.name;
  if (family.type == MetricType::counter && name.ends_with("_total")) name.remove_suffix(6);
  const auto unit = family.unit;
  const bool named =
      !unit.empty() && name.size() > unit.size() && name.ends_with(unit) && name[name.size() - unit.size() - 1] == '_';
  return named ? unit : std::string_view();
}

// The families of one layout, sorted by name.
struct FamilyOrders::LayoutOrder {
  struct Family {
    const MetricDesc* desc = nullptr;
    std::vector<const Sample*> samples;
  };

  explicit LayoutOrder(const Layout& layout) {
    for (const auto& s : layout.samples()) {
      if (s.family->shown == Shown::inside) continue;
      if (families.empty() || families.back().desc != s.family) families.push_back({s.family, {}});
      families.back().samples.push_back(&s);
    }
    std::ranges::stable_sort(families, {}, [](const Family& f) { return f.desc->name; });
    join_same_descriptor();
    for (auto& f : families)
      if (!std::ranges::is_sorted(f.samples, sample_before)) std::ranges::stable_sort(f.samples, sample_before);
  }

  // A family may have been emitted in several places (for each disk: reads, writes).
  void join_same_descriptor() {
    std::size_t kept = 0;
    for (std::size_t i = 1; i < families.size(); ++i) {
      if (families[i].desc == families[kept].desc)
        families[kept].samples.insert(families[kept].samples.end(), families[i].samples.begin(),
                                      families[i].samples.end());
      else if (++kept != i) families[kept] = std::move(families[i]);
    }
    if (!families.empty()) families.resize(kept + 1);
  }

  std::vector<Family> families;
};

FamilyOrders::FamilyOrders() : orders_(std::make_unique<LayoutMap<LayoutOrder>>()) {}
FamilyOrders::~FamilyOrders() = default;
FamilyOrders::FamilyOrders(FamilyOrders&&) noexcept = default;
FamilyOrders& FamilyOrders::operator=(FamilyOrders&&) noexcept = default;

void FamilyOrders::forget(const Layout* layout) { orders_->forget(layout); }

FamilyOrder FamilyOrders::order(const std::vector<const Batch*>& batches) {
  FamilyOrder out;
  std::vector<FamilyPart> parts;
  for (std::uint32_t i = 0; i < batches.size(); ++i)
    for (const auto& family : orders_->of(batches[i]->layout, [](const Layout& l) { return LayoutOrder(l); }).families)
      parts.push_back({family.desc, i, family.samples});
  orders_->forget_unused();
  std::ranges::stable_sort(parts, {}, [](const FamilyPart& f) { return f.desc->name; });

  const auto collector = [&](const FamilyPart& part) { return std::string_view(batches[part.batch]->collector); };
  std::set<std::string, std::less<>> taken;  // the names that histograms and summaries use beside their own
  for (std::size_t first = 0, end; first < parts.size(); first = end) {
    const MetricDesc& desc = *parts[first].desc;
    for (end = first + 1; end < parts.size() && parts[end].desc->name == desc.name;) ++end;
    if (taken.contains(desc.name)) {
      out.conflicts.push_back(
          fmt::format("{}: {} gives a family with the name of a histogram's or summary's part; left out", desc.name,
                      collector(parts[first])));
      continue;
    }
    for (const auto suffix : part_suffixes(desc.type)) taken.insert(std::string(desc.name).append(suffix));

    FamilyOrder::Family family{&desc, static_cast<std::uint32_t>(out.entries.size()), 0, true};
    for (const auto& part : std::span(parts).subspan(first, end - first)) {
      family.one_desc = family.one_desc && part.desc == &desc;
      if (part.desc->type != desc.type) {
        out.conflicts.push_back(fmt::format("{}: {} calls it a {}, {} already a {}; left out", desc.name,
                                            collector(part), to_string(part.desc->type), collector(parts[first]),
                                            to_string(desc.type)));
        continue;
      }
      for (const auto* s : part.samples) out.entries.push_back({part.batch, s});
    }
    if (end - first > 1) {
      const auto begin = out.entries.begin() + family.first;
      std::stable_sort(begin, out.entries.end(),
                       [](const auto& a, const auto& b) { return sample_before(a.sample, b.sample); });
      // Labels that are empty are none, so that those which are the same series need not be neighbours.
      std::unordered_set<std::string> seen;
      std::string made;
      auto kept = begin;
      for (auto at = begin; at != out.entries.end(); ++at) {
        const auto prefix = Layout::prefix(*at->sample);
        if (!seen.emplace(identity_of(*at->sample->series, made)).second) {
          out.conflicts.push_back(
              fmt::format("{}: {} gives it too; left out", trim(prefix), batches[at->batch]->collector));
          continue;
        }
        *kept++ = *at;
      }
      out.entries.erase(kept, out.entries.end());
    }
    family.count = static_cast<std::uint32_t>(out.entries.size()) - family.first;
    if (family.count > 0) out.families.push_back(family);
  }
  return out;
}

}  // namespace vitald
