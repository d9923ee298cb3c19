// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_proto.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/text/utf8.h"
#include "exporters/encode/family_order.h"
#include "exporters/encode/followed_order.h"
#include "exporters/encode/native_histogram.h"
#include "exporters/encode/prom_words.h"
#include "exporters/encode/protobuf.h"

namespace vitald {
namespace {

using proto::Wire;

// MetricFamily: name=1 help=2 type=3 metric=4 unit=5. Metric: label=1 gauge=2 counter=3 summary=4 untyped=5
// histogram=7. Value: value=1, of a counter created_timestamp=3.
constexpr std::uint32_t kMetric = 4;

std::uint32_t type_of(MetricType type) {
  switch (type) {
    case MetricType::counter: return 0;
    case MetricType::gauge: return 1;
    case MetricType::summary: return 2;
    case MetricType::untyped: return 3;
    case MetricType::histogram: return 4;
  }
  return 3;
}
std::uint32_t value_field_of(MetricType type) {
  return type == MetricType::gauge ? 2 : type == MetricType::counter ? 3 : 5;
}

// google.protobuf.Timestamp: seconds=1 nanos=2.
void append_timestamp(std::string& out, std::uint32_t field, std::int64_t wall_ms) {
  if (wall_ms <= 0) return;
  const auto seconds = static_cast<std::uint64_t>(wall_ms / 1000),
             nanos = static_cast<std::uint64_t>(wall_ms % 1000) * 1'000'000;
  proto::append_tag(out, field, Wire::bytes);
  proto::append_varint(out, 1 + proto::varint_size(seconds) + (nanos > 0 ? 1 + proto::varint_size(nanos) : 0));
  proto::append_number(out, 1, seconds);
  if (nanos > 0) proto::append_number(out, 2, nanos);
}

void append_label(std::string& out, const Label& label) {
  proto::append_tag(out, 1, Wire::bytes);
  proto::append_varint(out, 2 + proto::varint_size(label.name.size()) + label.name.size() +
                                proto::varint_size(label.value.size()) + label.value.size());
  proto::append_bytes(out, 1, label.name);
  proto::append_bytes(out, 2, label.value);
}

// What is in it; its length is known once it is all there.
void append_message(std::string& out, std::uint32_t field, std::string_view message) {
  proto::append_bytes(out, field, message);
}

// Exemplar: label=1 value=2 timestamp=3.
void append_exemplar(std::string& out, std::uint32_t field, const Exemplar& exemplar) {
  std::string message;
  for (const auto& [name, value] : exemplar.labels) append_label(message, {name, value});
  proto::append_double(message, 2, exemplar.value);
  append_timestamp(message, 3, exemplar.wall_ms);
  append_message(out, field, message);
}

// The samples of one histogram or summary: [first, first + count) of the parts.
struct Group {
  std::uint32_t batch = 0;
  std::uint32_t label_at = 0, label_size = 0;  // in the labels' bytes
  std::uint32_t first = 0, count = 0;
  std::int64_t since_ms = 0;
  std::optional<NativeScheme> native = std::nullopt;
};
struct GroupPart {
  std::uint32_t value = 0;  // in the batch
  Part part = Part::value;
  double bound = 0;  // of a bucket; of a summary's value the quantile
};

// Of the order's family of the same number.
struct PlanFamily {
  bool groups = false;  // its messages change their size with the numbers
  MetricType type = MetricType::histogram;
  std::uint32_t at = 0, size = 0;  // of all its bytes, with its length; of groups: of their labels, the head in front
  std::uint32_t head_size = 0;     // of groups
  std::uint32_t first = 0, count = 0;  // of the places; of the groups
  std::uint32_t part = 0;              // the first one, of groups
  std::uint32_t bytes_before = 0;      // of groups: of the other families that leave before it
  std::uint32_t entry = 0;             // the first one
};

// Of a number; its Metric begins at `begin`.
struct Place {
  std::uint32_t begin = 0, at = 0;
  std::uint32_t batch = 0, value = 0;
};

std::string family_head(const MetricDesc& desc) {
  std::string head;
  append_message(head, 1, desc.name);
  if (!desc.help.empty())
    append_message(head, 2, is_fit_text(desc.help) ? std::string(desc.help) : fit_text(desc.help));
  proto::append_number(head, 3, type_of(desc.type));
  return head;
}

}  // namespace

struct PromProto::Plan {
  // What is kept of the order.
  struct Made {
    std::string bytes;  // of the families without groups, finished but for the numbers
    std::vector<Place> places;
    std::string labels;  // of the groups, and the heads of their families
    std::vector<PlanFamily> families;
    std::vector<Group> groups;
    std::vector<GroupPart> parts;
  };
  FollowedOrder order;
  Made made;
  bool whole = false;  // made is the order's
  // Of one run, kept for their memory.
  std::string family_text, metric_text, inner_text, small_text;
  std::vector<double> cumulative;
  NativeBuckets native;

  void update(const Snapshot& snapshot);
  void add_values(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before);
  void add_groups(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before);
  void take_groups(const FollowedOrder::Family& of, const PlanFamily& old, const Made& before);
  void append_histogram(const Group& group, const Batch& batch);
  // False: what it lacks would read as 0.
  bool append_summary(const Group& group, const double* values);
  void append_family(const PlanFamily& family, const Snapshot& snapshot, std::string& out);
};

// What is of series that were there before is taken from there.
void PromProto::Plan::update(const Snapshot& snapshot) {
  const bool anew = !whole;
  whole = false;
  const auto before = std::exchange(made, {});
  order.update(snapshot, anew);
  made.bytes.reserve(before.bytes.size());
  made.places.reserve(before.places.size());
  made.families.reserve(before.families.size());
  for (const auto& f : order.families()) {
    const auto* old = f.was == FollowedOrder::kNew ? nullptr : &before.families[f.was];
    if (f.desc->type == MetricType::histogram || f.desc->type == MetricType::summary) add_groups(f, old, before);
    else add_values(f, old, before);
  }
  whole = true;
}

void PromProto::Plan::add_values(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before) {
  const auto& desc = *of.desc;
  auto& bytes = made.bytes;
  auto& places = made.places;
  const auto entries = order.entries(of);
  PlanFamily family;
  family.type = desc.type;
  family.at = static_cast<std::uint32_t>(bytes.size());
  family.first = static_cast<std::uint32_t>(places.size());
  family.count = of.count;
  family.entry = of.first;
  if (old && of.same) {
    family.size = old->size;
    bytes.append(before.bytes, old->at, old->size);
    for (std::uint32_t i = 0; i < of.count; ++i) {
      auto place = before.places[old->first + i];
      place.begin = place.begin - old->at + family.at;
      place.at = place.at - old->at + family.at;
      place.value = entries[i].value;
      places.push_back(place);
    }
    made.families.push_back(family);
    return;
  }
  std::string& text = family_text;
  text = family_head(desc);
  for (std::uint32_t i = 0; i < of.count; ++i) {
    const auto& e = entries[i];
    const auto begin = static_cast<std::uint32_t>(text.size());
    if (e.was != FollowedOrder::kNew) {
      const auto& place = before.places[old->first + (e.was - old->entry)];
      proto::Field metric;
      proto::Reader(std::string_view(before.bytes).substr(place.begin)).next(metric);
      const auto size =
          static_cast<std::size_t>(metric.bytes.data() + metric.bytes.size() - before.bytes.data()) - place.begin;
      text.append(before.bytes, place.begin, size);
      places.push_back({begin, place.at - place.begin + begin, e.batch, e.value});
      continue;
    }
    const auto& series = order.series(of, i);
    std::string& metric = metric_text;
    std::string& value = inner_text;
    metric.clear();
    value.clear();
    for (const auto& label : std::span(series.labels, series.label_count)) append_label(metric, label);
    proto::append_double(value, 1, 0);
    if (desc.type == MetricType::counter) append_timestamp(value, 3, series.since_wall_ms);
    proto::append_tag(metric, value_field_of(desc.type), Wire::bytes);
    proto::append_varint(metric, value.size());
    const auto number = metric.size() + 1;  // behind its tag
    metric += value;
    proto::append_tag(text, kMetric, Wire::bytes);
    proto::append_varint(text, metric.size());
    places.push_back({begin, static_cast<std::uint32_t>(text.size() + number), e.batch, e.value});
    text += metric;
  }
  if (const auto unit = named_unit(desc); !unit.empty()) append_message(text, 5, unit);
  proto::append_varint(bytes, text.size());
  const auto behind = static_cast<std::uint32_t>(bytes.size());
  for (auto at = family.first; at < places.size(); ++at) places[at].begin += behind, places[at].at += behind;
  bytes += text;
  family.size = static_cast<std::uint32_t>(bytes.size()) - family.at;
  made.families.push_back(family);
}

void PromProto::Plan::take_groups(const FollowedOrder::Family& of, const PlanFamily& old, const Made& before) {
  auto family = old;
  family.at = static_cast<std::uint32_t>(made.labels.size());
  family.first = static_cast<std::uint32_t>(made.groups.size());
  family.part = static_cast<std::uint32_t>(made.parts.size());
  family.entry = of.first;
  family.bytes_before = static_cast<std::uint32_t>(made.bytes.size());
  made.labels.append(before.labels, old.at, old.size);
  for (auto group : std::span(before.groups).subspan(old.first, old.count)) {
    group.label_at = group.label_at - old.at + family.at;
    group.first = group.first - old.part + family.part;
    made.groups.push_back(group);
  }
  const auto entries = order.entries(of);
  for (std::uint32_t i = 0; i < of.count; ++i) {
    auto part = before.parts[old.part + i];
    part.value = entries[i].value;
    made.parts.push_back(part);
  }
  made.families.push_back(family);
}

void PromProto::Plan::add_groups(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before) {
  if (old && of.same) return take_groups(of, *old, before);
  const auto& desc = *of.desc;
  auto& labels = made.labels;
  auto& parts = made.parts;
  const auto entries = order.entries(of);
  PlanFamily family;
  family.groups = true;
  family.type = desc.type;
  family.first = static_cast<std::uint32_t>(made.groups.size());
  family.part = static_cast<std::uint32_t>(parts.size());
  family.entry = of.first;
  family.bytes_before = static_cast<std::uint32_t>(made.bytes.size());
  auto head = family_head(desc);
  if (const auto unit = named_unit(desc); !unit.empty()) append_message(head, 5, unit);
  family.at = static_cast<std::uint32_t>(labels.size());
  family.head_size = static_cast<std::uint32_t>(head.size());
  labels += head;
  std::vector<double> upper;
  for (std::size_t i = 0; i < entries.size();) {
    const auto& lead = order.series(of, i);
    Group group;
    group.batch = entries[i].batch;
    group.since_ms = lead.since_wall_ms;
    group.label_at = static_cast<std::uint32_t>(labels.size());
    const auto inner = inner_label(desc, lead.part);
    for (const auto& label : std::span(lead.labels, lead.label_count))
      if (inner.empty() || label.name != inner) append_label(labels, label);
    group.label_size = static_cast<std::uint32_t>(labels.size()) - group.label_at;
    group.first = static_cast<std::uint32_t>(parts.size());
    upper.clear();
    for (; i < entries.size() && entries[i].batch == group.batch && same_but_inner(desc, lead, order.series(of, i));
         ++i) {
      const auto& series = order.series(of, i);
      parts.push_back({entries[i].value, series.part, inner_value(desc, series)});
      if (series.part == Part::bucket && std::isfinite(parts.back().bound)) upper.push_back(parts.back().bound);
    }
    group.count = static_cast<std::uint32_t>(parts.size()) - group.first;
    if (desc.type == MetricType::histogram) group.native = native_scheme(upper);
    made.groups.push_back(group);
  }
  family.size = static_cast<std::uint32_t>(labels.size()) - family.at;
  family.count = static_cast<std::uint32_t>(made.groups.size()) - family.first;
  made.families.push_back(family);
}

// Histogram: sample_count=1 sample_sum=2 bucket=3 schema=5 zero_threshold=6 zero_count=7 positive_span=12
// positive_delta=13 created_timestamp=15 exemplars=16. Bucket: cumulative_count=1 upper_bound=2 exemplar=3.
// BucketSpan: offset=1 length=2.
void PromProto::Plan::append_histogram(const Group& group, const Batch& batch) {
  const auto* values = batch.values.data();
  auto& out = inner_text;
  out.clear();
  cumulative.clear();
  double count = 0, sum = std::nan("");  // one that is not known is NaN, not the 0 of a field that is not there
  for (const auto& part : std::span(made.parts).subspan(group.first, group.count)) {
    const auto v = values[part.value];
    if (part.part == Part::bucket) cumulative.push_back(v), count = v;
    if (part.part == Part::sum) sum = v;
    if (part.part == Part::count) count = v;
  }
  if (group.native) native.set(group.native->first, cumulative);
  proto::append_number(out, 1, group.native ? native.count : whole_count(count));
  proto::append_double(out, 2, sum);
  for (const auto& part : std::span(made.parts).subspan(group.first, group.count)) {
    if (part.part != Part::bucket) continue;
    small_text.clear();
    if (const auto* exemplar = exemplar_of(batch, part.value)) append_exemplar(small_text, 3, *exemplar);
    if (part.bound == HUGE_VAL && small_text.empty()) continue;  // +Inf is the count
    const auto upto = whole_count(values[part.value]);
    proto::append_tag(out, 3, Wire::bytes);
    proto::append_varint(out, 1 + proto::varint_size(upto) + 9 + small_text.size());
    proto::append_number(out, 1, upto);
    proto::append_double(out, 2, part.bound);
    out += small_text;
  }
  if (group.native) {
    proto::append_number(out, 5, proto::zigzag(group.native->schema));
    proto::append_double(out, 6, kZeroThreshold);
    proto::append_number(out, 7, 0);
    for (const auto& span : native.spans) {
      small_text.clear();
      proto::append_number(small_text, 1, proto::zigzag(span.offset));
      proto::append_number(small_text, 2, span.length);
      append_message(out, 12, small_text);
    }
    for (const auto delta : native.deltas) proto::append_number(out, 13, proto::zigzag(delta));
  }
  append_timestamp(out, 15, group.since_ms);
  if (group.native && !batch.exemplars.empty())
    for (const auto& part : std::span(made.parts).subspan(group.first, group.count)) {
      const auto* exemplar = part.part == Part::bucket ? exemplar_of(batch, part.value) : nullptr;
      if (exemplar && exemplar->wall_ms > 0) append_exemplar(out, 16, *exemplar);  // those must have a time
    }
  append_message(metric_text, 7, out);
}

// Summary: sample_count=1 sample_sum=2 quantile=3 created_timestamp=4. Quantile: quantile=1 value=2.
bool PromProto::Plan::append_summary(const Group& group, const double* values) {
  auto& out = inner_text;
  out.clear();
  const auto of_group = std::span(made.parts).subspan(group.first, group.count);
  const auto lacks = [&](Part which) {
    return std::ranges::none_of(of_group, [which](const auto& part) { return part.part == which; });
  };
  // Readers take a field that is not there for 0, and a count has no NaN.
  if (lacks(Part::count)) return false;
  if (lacks(Part::sum)) proto::append_double(out, 2, std::nan(""));
  for (const auto& part : of_group) {
    const auto v = values[part.value];
    if (part.part == Part::count) proto::append_number(out, 1, whole_count(v));
    if (part.part == Part::sum) proto::append_double(out, 2, v);
    if (part.part == Part::value) {
      proto::append_tag(out, 3, Wire::bytes);
      proto::append_varint(out, 18);
      proto::append_double(out, 1, part.bound);
      proto::append_double(out, 2, v);
    }
  }
  append_timestamp(out, 4, group.since_ms);
  append_message(metric_text, 4, out);
  return true;
}

void PromProto::Plan::append_family(const PlanFamily& family, const Snapshot& snapshot, std::string& out) {
  auto& text = family_text;
  text.assign(made.labels, family.at, family.head_size);
  for (const auto& group : std::span(made.groups).subspan(family.first, family.count)) {
    metric_text.assign(made.labels, group.label_at, group.label_size);
    const auto& batch = *snapshot.batches[group.batch];
    if (family.type == MetricType::histogram) append_histogram(group, batch);
    else if (!append_summary(group, batch.values.data())) continue;
    append_message(text, kMetric, metric_text);
  }
  if (text.size() == family.head_size && family.count > 0) return;  // nothing is left of it
  proto::append_varint(out, text.size());
  out += text;
}

PromProto::PromProto() : plan_(std::make_unique<Plan>()) {}
PromProto::~PromProto() = default;
PromProto::PromProto(PromProto&&) noexcept = default;
PromProto& PromProto::operator=(PromProto&&) noexcept = default;

void PromProto::encode(const Snapshot& snapshot, std::string& out) {
  auto& plan = *plan_;
  if (!plan.whole || !plan.order.is_for(snapshot)) plan.update(snapshot);
  auto& made = plan.made;
  char* const bytes = made.bytes.data();
  const double* values = nullptr;
  auto batch = UINT32_MAX;
  for (const auto& place : made.places) {
    if (place.batch != batch) batch = place.batch, values = snapshot.batches[batch]->values.data();
    proto::put_fixed64(bytes + place.at, std::bit_cast<std::uint64_t>(values[place.value]));
  }
  out.clear();
  std::uint32_t from = 0;
  for (const auto& family : made.families) {
    if (!family.groups) continue;
    // The families between lie one behind the other.
    out.append(made.bytes, from, family.bytes_before - from);
    from = family.bytes_before;
    plan.append_family(family, snapshot, out);
  }
  out.append(made.bytes, from);
}

}  // namespace vitald
