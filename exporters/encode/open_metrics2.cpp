// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/open_metrics2.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/text/number.h"
#include "exporters/encode/family_order.h"
#include "exporters/encode/followed_order.h"
#include "exporters/encode/native_histogram.h"
#include "exporters/encode/prom_words.h"

namespace vitald {
namespace {

// A number of a line: which of the batch's, and of a bucket or quantile at which bound.
struct PartOf {
  std::uint32_t value = 0;
  Part part = Part::value;
  double bound = 0;
};

// One series: a number, a histogram or a summary.
struct Line {
  std::uint32_t text_end = 0;  // of what stands before the value; it begins where the line before ends
  std::uint32_t batch = 0;
  std::uint32_t first = 0, count = 0;  // of the parts
  MetricType type = MetricType::untyped;
  std::int64_t since_ms = 0;
  std::optional<NativeScheme> native = std::nullopt;
};

void append_number(std::string& out, double v) {
  char text[kMaxNumberText];
  out.append(text, static_cast<std::size_t>(write_number(text, v) - text));
}

void append_header(std::string& out, const MetricDesc& desc) {
  const auto type = desc.type == MetricType::untyped ? "unknown" : to_string(desc.type);
  out.append("# TYPE ").append(desc.name).append(" ").append(type).append("\n");
  if (const auto unit = named_unit(desc); !unit.empty())
    out.append("# UNIT ").append(desc.name).append(" ").append(unit).append("\n");
  if (desc.help.empty()) return;
  out.append("# HELP ").append(desc.name).append(" ");
  append_escaped_help(out, desc.help, true);
  out += '\n';
}

// `name{a="b"} `, without the label that tells the parts apart.
void append_series(std::string& out, const MetricDesc& desc, const SeriesInfo& lead) {
  const auto inner = inner_label(desc, lead.part);
  out += desc.name;
  char before = '{';
  for (const auto& label : std::span(lead.labels, lead.label_count)) {
    if (!inner.empty() && label.name == inner) continue;
    out.append(1, before).append(label.name).append("=\"");
    append_escaped_value(out, label.value);
    out += '"';
    before = ',';
  }
  if (before == ',') out += '}';
  out += ' ';
}

void append_exemplar(std::string& out, const Exemplar& e) {
  if (e.wall_ms <= 0) return;  // here it must have a time
  out += exemplar_text(e);
}

// Of the order's family of the same number.
struct PlanFamily {
  std::uint32_t text = 0, head_size = 0;  // where its text begins, and how much of it is the head
  std::uint32_t first = 0, count = 0;     // of the lines
  std::uint32_t entry = 0;                // the first one
};

}  // namespace

struct OpenMetrics2::Plan {
  // What is kept of the order.
  struct Made {
    std::string text;  // of all lines, heads among them
    std::vector<PlanFamily> families;
    std::vector<Line> lines;
    std::vector<PartOf> parts;  // beside the order's entries

    [[nodiscard]] std::uint32_t begin_of(std::size_t line) const { return line == 0 ? 0 : lines[line - 1].text_end; }
  };
  FollowedOrder order;
  Made made;
  bool whole = false;  // made is the order's
  // Of one run, kept for their memory.
  std::string value;
  std::vector<double> cumulative;
  NativeBuckets native;

  void update(const Snapshot& snapshot);
  void take_family(const FollowedOrder::Family& of, const PlanFamily& old, const Made& before);
  void add_family(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before);
  [[nodiscard]] std::span<const PartOf> parts_of(const Line& line) const {
    return std::span(made.parts).subspan(line.first, line.count);
  }
  // False: the format has no word for it.
  bool set_value(const Line& line, const Batch& batch);
  bool set_histogram(const Line& line, const Batch& batch);
  bool set_summary(const Line& line, const Batch& batch);
};

// What is of series that were there before is taken from there.
void OpenMetrics2::Plan::update(const Snapshot& snapshot) {
  const bool anew = !whole;
  whole = false;
  const auto before = std::exchange(made, {});
  order.update(snapshot, anew);
  made.text.reserve(before.text.size());
  made.lines.reserve(before.lines.size());
  made.parts.reserve(before.parts.size());
  for (const auto& f : order.families()) {
    const auto* old = f.was == FollowedOrder::kNew ? nullptr : &before.families[f.was];
    if (old && f.same) take_family(f, *old, before);
    else add_family(f, old, before);
  }
  whole = true;
}

void OpenMetrics2::Plan::take_family(const FollowedOrder::Family& of, const PlanFamily& old, const Made& before) {
  auto family = old;
  family.text = static_cast<std::uint32_t>(made.text.size());
  family.first = static_cast<std::uint32_t>(made.lines.size());
  family.entry = of.first;
  const auto lines = std::span(before.lines).subspan(old.first, old.count);
  made.text.append(before.text, old.text, lines.back().text_end - old.text);
  for (auto line : lines) {
    line.text_end = line.text_end - old.text + family.text;
    line.first = line.first - old.entry + of.first;
    made.lines.push_back(line);
  }
  for (const auto& e : order.entries(of)) {
    auto part = before.parts[e.was];
    part.value = e.value;
    made.parts.push_back(part);
  }
  made.families.push_back(family);
}

void OpenMetrics2::Plan::add_family(const FollowedOrder::Family& of, const PlanFamily* old, const Made& before) {
  const auto& desc = *of.desc;
  const auto entries = order.entries(of);
  auto& text = made.text;
  PlanFamily family;
  family.text = static_cast<std::uint32_t>(text.size());
  family.first = static_cast<std::uint32_t>(made.lines.size());
  family.entry = of.first;
  append_header(text, desc);
  family.head_size = static_cast<std::uint32_t>(text.size()) - family.text;
  const bool composite = desc.type == MetricType::histogram || desc.type == MetricType::summary;
  std::vector<double> upper;
  for (std::size_t i = 0; i < entries.size();) {
    const auto& lead = order.series(of, i);
    Line line;
    line.batch = entries[i].batch;
    line.first = static_cast<std::uint32_t>(made.parts.size());
    line.type = desc.type;
    if (desc.type == MetricType::counter || composite) line.since_ms = lead.since_wall_ms;
    if (!composite && entries[i].was != FollowedOrder::kNew) {
      // Its line: they stand beside the entries.
      const auto at = old->first + (entries[i].was - old->entry);
      const auto begin = at == old->first ? old->text + old->head_size : before.begin_of(at);
      text.append(before.text, begin, before.lines[at].text_end - begin);
    } else {
      append_series(text, desc, lead);
    }
    line.text_end = static_cast<std::uint32_t>(text.size());
    upper.clear();
    do {
      const auto& series = order.series(of, i);
      made.parts.push_back({entries[i].value, series.part, composite ? inner_value(desc, series) : 0});
      if (series.part == Part::bucket && std::isfinite(made.parts.back().bound))
        upper.push_back(made.parts.back().bound);
      ++i;
    } while (composite && i < entries.size() && entries[i].batch == line.batch &&
             same_but_inner(desc, lead, order.series(of, i)));
    line.count = static_cast<std::uint32_t>(made.parts.size()) - line.first;
    if (desc.type == MetricType::histogram) line.native = native_scheme(upper);
    made.lines.push_back(line);
  }
  family.count = static_cast<std::uint32_t>(made.lines.size()) - family.first;
  made.families.push_back(family);
}

bool OpenMetrics2::Plan::set_value(const Line& line, const Batch& batch) {
  value.clear();
  if (line.type == MetricType::histogram) return set_histogram(line, batch);
  if (line.type == MetricType::summary) return set_summary(line, batch);
  const auto v = batch.values[made.parts[line.first].value];
  if (line.type == MetricType::counter && !(v >= 0)) return false;
  append_number(value, v);
  return true;
}

// {count:6,sum:9,schema:0,zero_threshold:2.9e-39,zero_count:0,positive_spans:[-2:1],positive_buckets:[6],
// bucket:[0.5:6,+Inf:6]}. The count is that of the last bucket, as it must be. A sum that is not known is NaN.
bool OpenMetrics2::Plan::set_histogram(const Line& line, const Batch& batch) {
  cumulative.clear();
  double count = 0, sum = std::nan("");
  bool has_end = false;
  for (const auto& part : parts_of(line)) {
    const auto v = batch.values[part.value];
    if (part.part == Part::sum) sum = v;
    if (part.part == Part::count && !has_end) count = v;
    if (part.part != Part::bucket) continue;
    if (!(v >= (cumulative.empty() ? 0 : cumulative.back()))) return false;
    cumulative.push_back(v);
    if (part.bound == HUGE_VAL) count = v, has_end = true;
  }
  if (!(count >= (cumulative.empty() ? 0 : cumulative.back()))) return false;
  value += "{count:";
  append_number(value, count);
  value += ",sum:";
  append_number(value, sum);
  if (line.native) native.set(line.native->first, cumulative);
  if (line.native && static_cast<double>(native.count) == count) {
    value += fmt::format(",schema:{},zero_threshold:", line.native->schema);
    append_number(value, kZeroThreshold);
    value += ",zero_count:0";
    if (!native.spans.empty()) {
      value += ",positive_spans:[";
      for (const auto& span : native.spans)
        value += fmt::format("{}{}:{}", value.back() == '[' ? "" : ",", span.offset, span.length);
      value += "],positive_buckets:[";
      std::int64_t here = 0;
      for (const auto delta : native.deltas)
        value += fmt::format("{}{}", value.back() == '[' ? "" : ",", here += delta);
      value += ']';
    }
  }
  value += ",bucket:[";
  for (const auto& part : parts_of(line)) {
    if (part.part != Part::bucket || part.bound == HUGE_VAL) continue;
    append_number(value, part.bound);
    value += ':';
    append_number(value, batch.values[part.value]);
    value += ',';
  }
  value += "+Inf:";
  append_number(value, count);
  value += "]}";
  return true;
}

// {count:2,sum:3.5,quantile:[0.5:1.5]}: both must be there.
bool OpenMetrics2::Plan::set_summary(const Line& line, const Batch& batch) {
  double count = std::nan(""), sum = std::nan("");
  for (const auto& part : parts_of(line)) {
    const auto v = batch.values[part.value];
    if (part.part == Part::count) count = v;
    if (part.part == Part::sum) sum = v;
    if (part.part == Part::value && (v < 0 || !(part.bound >= 0 && part.bound <= 1))) return false;
  }
  if (!(count >= 0) || !(sum >= 0)) return false;
  value += "{count:";
  append_number(value, count);
  value += ",sum:";
  append_number(value, sum);
  value += ",quantile:[";
  for (const auto& part : parts_of(line)) {
    if (part.part != Part::value) continue;
    if (value.back() != '[') value += ',';
    append_number(value, part.bound);
    value += ':';
    append_number(value, batch.values[part.value]);
  }
  value += "]}";
  return true;
}

OpenMetrics2::OpenMetrics2() : plan_(std::make_unique<Plan>()) {}
OpenMetrics2::~OpenMetrics2() = default;
OpenMetrics2::OpenMetrics2(OpenMetrics2&&) noexcept = default;
OpenMetrics2& OpenMetrics2::operator=(OpenMetrics2&&) noexcept = default;

void OpenMetrics2::encode(const Snapshot& snapshot, std::string& out) {
  auto& plan = *plan_;
  if (!plan.whole || !plan.order.is_for(snapshot)) plan.update(snapshot);
  out.clear();
  std::uint32_t from = 0;
  for (const auto& line : plan.made.lines) {
    const auto text = std::string_view(plan.made.text).substr(from, line.text_end - from);
    from = line.text_end;
    const auto& batch = *snapshot.batches[line.batch];
    if (!plan.set_value(line, batch)) {
      out += text.substr(0, text.rfind('\n') + 1);  // the head stays
      continue;
    }
    out.append(text).append(plan.value);
    if (line.since_ms > 0) out += fmt::format(" st@{}.{:03}", line.since_ms / 1000, line.since_ms % 1000);
    if (!batch.exemplars.empty())
      for (const auto& part : plan.parts_of(line))
        if (const auto* exemplar = exemplar_of(batch, part.value)) append_exemplar(out, *exemplar);
    out += '\n';
  }
  out += "# EOF\n";
}

}  // namespace vitald
