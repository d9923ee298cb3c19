// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/otlp.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/text/scan.h"
#include "exporters/encode/protobuf.h"
#include "exporters/encode/splice.h"

namespace vitald {
namespace {

using proto::Wire;

// Metric: name=1 description=2 unit=3 gauge=5 sum=7 histogram=9 exponential_histogram=10 summary=11. Sum: data_points=1
// temporality=2 monotonic=3.
constexpr std::uint32_t kGauge = 5, kSum = 7, kHistogram = 9, kExponential = 10;
constexpr std::uint64_t kCumulative = 2;

// UCUM, as semantic conventions have it.
std::string_view unit_of(std::string_view unit) {
  static constexpr std::pair<std::string_view, std::string_view> kUnits[] = {
      {"seconds", "s"}, {"bytes", "By"},  {"celsius", "Cel"}, {"joules", "J"}, {"watts", "W"},
      {"volts", "V"},   {"amperes", "A"}, {"hertz", "Hz"},    {"ratio", "1"},  {"percent", "%"}};
  const auto at = std::ranges::find(kUnits, unit, &std::pair<std::string_view, std::string_view>::first);
  return at == std::end(kUnits) ? std::string_view() : at->second;
}

// KeyValue: key=1 value=2. AnyValue: string=1.
void append_attribute(std::string& out, std::uint32_t field, std::string_view name, std::string_view value) {
  constexpr char kFirst = 1 << 3 | 2, kSecond = 2 << 3 | 2;
  const auto any = 1 + proto::varint_size(value.size()) + value.size();
  const auto all = 2 + proto::varint_size(name.size()) + name.size() + proto::varint_size(any) + any;
  proto::append_tag(out, field, Wire::bytes);
  const auto before = out.size();
  out.resize(before + proto::varint_size(all) + all);
  char* at = proto::put_varint(out.data() + before, all);
  *at++ = kFirst;
  at = proto::put_varint(at, name.size());
  at = std::ranges::copy(name, at).out;
  *at++ = kSecond;
  at = proto::put_varint(at, any);
  *at++ = kFirst;
  at = proto::put_varint(at, value.size());
  std::ranges::copy(value, at);
}

std::string_view without_suffix(std::string_view name, std::string_view suffix) {
  if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  return name;
}

std::string_view label_value(std::span<const Label> labels, std::string_view name) {
  const auto at = std::ranges::find(labels, name, &Label::name);
  return at == labels.end() ? std::string_view() : at->value;
}

bool same_but_le(std::span<const Label> a, std::span<const Label> b) {
  const auto is_le = [](const Label& l) { return l.name == "le"; };
  auto i = a.begin(), j = b.begin();
  for (;; ++i, ++j) {
    i = std::find_if_not(i, a.end(), is_le);
    j = std::find_if_not(j, b.end(), is_le);
    if (i == a.end() || j == b.end()) return i == a.end() && j == b.end();
    if (!(*i == *j)) return false;
  }
}

// How many rows from the first one on are one histogram with all its parts: buckets up to +Inf, then sum, then count.
// 0: they are not, for relabelling may have dropped, renamed or moved any of them.
std::uint32_t whole_histogram(const SeriesTable& table, std::size_t first) {
  const auto rows = table.rows().subspan(first);
  const auto name = without_suffix(rows[0].name, "_bucket");
  const auto is_part = [&](std::size_t i, Part part, std::string_view suffix) {
    return i < rows.size() && rows[i].family == rows[0].family && rows[i].part == part &&
           rows[i].histogram == SeriesRow::kNoHistogram && rows[i].name.size() == name.size() + suffix.size() &&
           rows[i].name.starts_with(name) && rows[i].name.ends_with(suffix) &&
           same_but_le(table.labels(rows[i]), table.labels(rows[0]));
  };
  double below = -HUGE_VAL;
  std::size_t end = 0;
  for (; is_part(end, Part::bucket, "_bucket"); ++end) {
    const auto upper = parse_double(label_value(table.labels(rows[end]), "le"));
    if (!upper || !(*upper > below)) return 0;
    below = *upper;
    if (below == HUGE_VAL) break;
  }
  if (end == rows.size() || below != HUGE_VAL || !is_part(end + 1, Part::sum, "_sum") ||
      !is_part(end + 2, Part::count, "_count"))
    return 0;
  return static_cast<std::uint32_t>(end + 3);
}

}  // namespace

bool OtlpEncoder::Point::histogram() const { return field == kHistogram; }

std::string_view OtlpEncoder::name_of(const SeriesTable& table, const Point& point) {
  const auto name = table.rows()[point.row].name;
  return point.histogram() ? without_suffix(name, "_bucket") : name;
}

OtlpEncoder::OtlpEncoder(Resource resource, std::size_t most_points) : most_points_(most_points) {
  std::string attributes;
  for (const auto& [name, value] : resource.attributes) append_attribute(attributes, 1, name, value);
  proto::append_bytes(resource_, 1, attributes);
  std::string scope;
  proto::append_bytes(scope, 1, resource.scope);
  proto::append_bytes(scope, 2, resource.version);
  proto::append_bytes(scope_, 1, scope);
}

void OtlpEncoder::append_point(const SeriesTable& table, const Point& point, std::int64_t wall_ns, Chunk& to) {
  const auto rows = table.rows();
  const auto& first = rows[point.row];
  auto& text = point_text_;
  auto& mine = point_places_;
  text.clear();
  mine.clear();
  const auto place = [&](Kind kind, std::uint32_t row, std::uint32_t before = UINT32_MAX) {
    mine.push_back({static_cast<std::uint32_t>(text.size() - 8), row, before, kind});
  };
  const bool exponential = point.field == kExponential;
  const auto since_ns = first.since_wall_ms * 1'000'000;
  if (first.since_wall_ms > 0 && since_ns <= wall_ns)
    proto::append_fixed64(text, 2, static_cast<std::uint64_t>(since_ns));
  proto::append_fixed64(text, 3, 0);
  place(Kind::time, 0);
  if (exponential) {
    append_exponential(table, first, text, mine);
  } else if (point.histogram()) {
    const auto buckets = point.count - 2;
    proto::append_fixed64(text, 4, 0);
    place(Kind::count, point.row + buckets + 1);
    proto::append_fixed64(text, 5, 0);
    place(Kind::number, point.row + buckets);
    proto::append_tag(text, 6, Wire::bytes);
    proto::append_varint(text, std::uint64_t{buckets} * 8);
    for (std::uint32_t i = 0; i < buckets; ++i) {
      text.append(8, '\0');
      place(Kind::bucket, point.row + i, i == 0 ? UINT32_MAX : point.row + i - 1);
    }
    proto::append_tag(text, 7, Wire::bytes);
    proto::append_varint(text, std::uint64_t{buckets - 1} * 8);
    for (std::uint32_t i = 0; i + 1 < buckets; ++i) {
      char bound[8];
      proto::put_fixed64(bound, std::bit_cast<std::uint64_t>(
                                    parse_double(label_value(table.labels(rows[point.row + i]), "le")).value_or(0)));
      text.append(bound, sizeof bound);
    }
  } else {
    proto::append_fixed64(text, 4, 0);
    place(Kind::number, point.row);
  }
  for (const auto& label : table.labels(first))
    if (!point.histogram() || label.name != "le")
      append_attribute(text, exponential ? 1 : point.histogram() ? 9 : 7, label.name, label.value);
  proto::append_tag(to.bytes, 1, Wire::bytes);
  proto::append_varint(to.bytes, text.size());
  for (auto& p : mine) {
    p.at += static_cast<std::uint32_t>(to.bytes.size());
    to.places.push_back(p);
  }
  to.bytes += text;
}

// ExponentialHistogramDataPoint: count=4 sum=5 scale=6 zero_count=7 positive=8 {offset=1 bucket_counts=2}
// zero_threshold=14. Its bucket i is (base^i, base^(i+1)], Prometheus' is (base^(i-1), base^i].
void OtlpEncoder::append_exponential(const SeriesTable& table, const SeriesRow& row, std::string& out,
                                     std::vector<Place>& places) const {
  const auto& h = table.histograms()[row.histogram];
  const auto first = static_cast<std::uint32_t>(table.buckets_at(h));
  const auto place = [&](Kind kind, std::size_t size, std::uint32_t at, std::uint32_t before = UINT32_MAX) {
    places.push_back({static_cast<std::uint32_t>(out.size() - size), at, before, kind});
  };
  proto::append_fixed64(out, 4, 0);
  place(Kind::count, 8, first + h.count - 1);
  proto::append_fixed64(out, 5, 0);
  place(Kind::number, 8, static_cast<std::uint32_t>(&row - table.rows().data()));
  proto::append_number(out, 6, proto::zigzag(h.scheme.schema));
  proto::append_fixed64(out, 7, 0);
  std::string offset;
  proto::append_number(offset, 1, proto::zigzag(std::int64_t{h.scheme.first} - 1));
  const auto counts = h.count * proto::kPaddedVarint;
  proto::append_tag(out, 8, Wire::bytes);
  proto::append_varint(out, offset.size() + 1 + proto::varint_size(counts) + counts);
  out += offset;
  proto::append_tag(out, 2, Wire::bytes);
  proto::append_varint(out, counts);
  for (std::uint32_t i = 0; i < h.count; ++i) {
    out.append(proto::kPaddedVarint, '\0');
    place(Kind::padded_bucket, proto::kPaddedVarint, first + i, i == 0 ? UINT32_MAX : first + i - 1);
  }
  proto::append_double(out, 14, kZeroThreshold);
}

std::string OtlpEncoder::head_of(std::size_t metrics) const {
  std::string scope_head, out;
  proto::append_tag(scope_head, 2, Wire::bytes);
  proto::append_varint(scope_head, scope_.size() + metrics);
  proto::append_tag(out, 1, Wire::bytes);
  proto::append_varint(out, resource_.size() + scope_head.size() + scope_.size() + metrics);
  return out.append(resource_).append(scope_head).append(scope_);
}

std::vector<OtlpEncoder::Point> OtlpEncoder::points_from(const SeriesTable& table, std::uint32_t row_index) {
  const auto rows = table.rows();
  std::vector<Point> points;
  for (auto i = row_index; i < rows.size();) {
    const auto& row = rows[i];
    if (row.histogram != SeriesRow::kNoHistogram) {
      points.push_back({i++, 1, kExponential});
      continue;
    }
    if (const auto count = row.part == Part::bucket ? whole_histogram(table, i) : 0; count > 0) {
      points.push_back({i, count, kHistogram});
      i += count;
      continue;
    }
    const bool counts = row.family->type == MetricType::counter || row.family->type == MetricType::histogram;
    points.push_back({i++, 1, counts ? kSum : kGauge, falls_only_at_reset(*row.family, row.part)});
  }
  std::ranges::stable_sort(points, {}, [&](const Point& p) { return name_of(table, p); });
  return points;
}

bool OtlpEncoder::follow(const SeriesTable& table, const RowChange& change) {
  now_.assign(change.before(), kGone);
  std::uint32_t next = 0;
  change.each_kept([&](std::size_t first, std::size_t end) {
    for (auto i = first; i < end; ++i) now_[i] = next++;
  });
  std::size_t kept = 0;
  for (auto point : points_) {
    const auto now = now_[point.row];
    for (std::uint32_t i = 1; i < point.count; ++i)
      if (now_[point.row + i] != (now == kGone ? kGone : now + i)) return false;
    if (now == kGone) continue;
    point.row = now;
    // Its places are beyond the rows, among the buckets of all histograms.
    if (point.field == kExponential) point.chunk = Point::kFresh;
    points_[kept++] = point;
  }
  points_.resize(kept);
  const auto fresh = points_from(table, change.kept);
  std::vector<Point> all;
  all.reserve(points_.size() + fresh.size());
  auto from = points_.begin();
  for (const auto& point : fresh) {
    const auto to = std::upper_bound(from, points_.end(), name_of(table, point),
                                     [&](std::string_view name, const Point& p) { return name < name_of(table, p); });
    all.insert(all.end(), from, to);
    all.push_back(point);
    from = to;
  }
  all.insert(all.end(), from, points_.end());
  points_ = std::move(all);
  return true;
}

bool OtlpEncoder::same_metric(const SeriesTable& table, const Point& a, const Point& b) {
  if (a.field != b.field || a.monotonic != b.monotonic) return false;
  const auto &x = table.rows()[a.row], &y = table.rows()[b.row];
  if (x.family == y.family && x.part == y.part && !table.relabels()) return true;
  return name_of(table, a) == name_of(table, b);
}

// All of one name.
void OtlpEncoder::append_metric(const SeriesTable& table, std::span<Point> points, const std::vector<Chunk>& before,
                                const Chunk& fresh, std::uint32_t chunk_index, Chunk& chunk) {
  const auto& family = *table.rows()[points[0].row].family;
  const auto kind = points[0].field;
  std::string head, tail;
  if (kind != kGauge) proto::append_number(tail, 2, kCumulative);
  if (kind == kSum && points[0].monotonic) proto::append_number(tail, 3, 1);
  auto size = tail.size();
  for (const auto& p : points) size += p.size;
  proto::append_bytes(head, 1, name_of(table, points[0]));
  if (!family.help.empty()) proto::append_bytes(head, 2, family.help);
  if (const auto unit = unit_of(family.unit); !unit.empty()) proto::append_bytes(head, 3, unit);
  proto::append_tag(head, kind, Wire::bytes);
  proto::append_varint(head, size);
  auto& out = chunk.bytes;
  proto::append_tag(out, 2, Wire::bytes);
  proto::append_varint(out, head.size() + size);
  out += head;
  for (std::size_t i = 0; i < points.size();) {
    // Those that lie one behind the other are copied together.
    const auto first = i;
    const bool known = points[i].chunk != Point::kFresh;
    const auto& source = known ? before[points[i].chunk] : fresh;
    const auto from = points[i].at;
    const auto to = static_cast<std::uint32_t>(out.size());
    auto end = from;
    for (; i < points.size() && points[i].chunk == points[first].chunk && points[i].at == end; ++i)
      end += points[i].size;
    out.append(source.bytes, from, end - from);
    for (auto& p : points.subspan(first, i - first)) {
      const auto at = static_cast<std::uint32_t>(chunk.places.size());
      for (auto moved : std::span(source.places).subspan(p.place, p.places)) {
        moved.at = moved.at - from + to;
        if (known && moved.kind != Kind::time) {
          moved.row = now_[moved.row];
          if (moved.before != UINT32_MAX) moved.before = now_[moved.before];
        }
        chunk.places.push_back(moved);
      }
      p.chunk = chunk_index;
      p.at = p.at - from + to;
      p.place = at;
      chunk.samples += p.count;
    }
  }
  out += tail;
}

void OtlpEncoder::assemble(const SeriesTable& table, std::int64_t wall_ns) {
  const auto before = std::move(chunks_);
  chunks_.clear();
  Chunk fresh;
  for (auto& point : points_) {
    if (point.chunk != Point::kFresh) continue;
    point.at = static_cast<std::uint32_t>(fresh.bytes.size());
    point.place = static_cast<std::uint32_t>(fresh.places.size());
    append_point(table, point, wall_ns, fresh);
    point.size = static_cast<std::uint32_t>(fresh.bytes.size()) - point.at;
    point.places = static_cast<std::uint32_t>(fresh.places.size()) - point.place;
  }
  for (std::size_t first = 0; first < points_.size(); first += most_points_) {
    const auto part = std::span(points_).subspan(first, std::min(most_points_, points_.size() - first));
    const auto index = static_cast<std::uint32_t>(chunks_.size());
    Chunk chunk;
    chunk.points = static_cast<std::uint32_t>(part.size());
    // Its head says how much follows, so it is put in last.
    const auto room = head_of(UINT32_MAX).size();
    chunk.bytes.reserve(index < before.size() ? before[index].bytes.size() + fresh.bytes.size() : fresh.bytes.size());
    chunk.bytes.resize(room);
    if (index < before.size()) chunk.places.reserve(before[index].places.size() + fresh.places.size());
    for (std::size_t i = 0; i < part.size();) {
      auto end = i + 1;
      while (end < part.size() && same_metric(table, part[i], part[end])) ++end;
      append_metric(table, part.subspan(i, end - i), before, fresh, index, chunk);
      i = end;
    }
    const auto head = head_of(chunk.bytes.size() - room);
    chunk.begin = static_cast<std::uint32_t>(room - head.size());
    head.copy(chunk.bytes.data() + chunk.begin, head.size());
    chunks_.push_back(std::move(chunk));
  }
}

// NumberDataPoint: exemplars=5. HistogramDataPoint: exemplars=8. ExponentialHistogramDataPoint: exemplars=11. Exemplar:
// time=2 as_double=3 filtered_attributes=7. Put into a copy: they do not stay the same from one push to the next.
std::string OtlpEncoder::with_exemplars(const Chunk& chunk, std::span<const RowExemplar> exemplars) {
  std::vector<proto::Insertion> insertions;
  for (const auto& place : chunk.places) {
    if (place.kind == Kind::time || place.kind == Kind::count) continue;
    const auto at = std::ranges::find(exemplars, place.row, &RowExemplar::value);
    if (at == exemplars.end()) continue;
    const auto& exemplar = *at->exemplar;
    std::string message;
    proto::append_fixed64(message, 2, static_cast<std::uint64_t>(exemplar.wall_ms) * 1'000'000);
    proto::append_double(message, 3, exemplar.value);
    for (const auto& [name, value] : exemplar.labels) append_attribute(message, 7, name, value);
    auto& insertion = insertions.emplace_back();
    insertion.within = place.at - chunk.begin;
    proto::append_bytes(insertion.fields,
                        place.kind == Kind::number   ? 5
                        : place.kind == Kind::bucket ? 8
                                                     : 11,
                        message);
  }
  // Request, resource, scope, metric, its data: those around a point.
  return insertions.empty() ? std::string() : proto::spliced(chunk.request(), insertions, 5);
}

void OtlpEncoder::encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns,
                         const Take& take, std::span<const RowExemplar> exemplars) {
  if (version_ != table.version()) {
    const auto* change = version_ + 1 == table.version() ? table.change() : nullptr;
    version_ = 0;  // until all is there
    if (!change || !follow(table, *change)) points_ = points_from(table, 0);
    assemble(table, wall_ns);
    version_ = table.version();
  }
  for (auto& chunk : chunks_) {
    char* const bytes = chunk.bytes.data();
    for (const auto& place : chunk.places) {
      std::uint64_t v = 0;
      switch (place.kind) {
        case Kind::time: v = static_cast<std::uint64_t>(wall_ns); break;
        case Kind::number: v = std::bit_cast<std::uint64_t>(values[place.row]); break;
        case Kind::count: v = whole_count(values[place.row]); break;
        case Kind::bucket:
        case Kind::padded_bucket: {
          const auto below = place.before == UINT32_MAX ? 0 : whole_count(values[place.before]);
          const auto cumulative = whole_count(values[place.row]);
          v = cumulative > below ? cumulative - below : 0;
          break;
        }
      }
      if (place.kind == Kind::padded_bucket) {
        proto::put_padded_varint(bytes + place.at, v);
        continue;
      }
      proto::put_fixed64(bytes + place.at, v);
    }
    const auto with = exemplars.empty() ? std::string() : with_exemplars(chunk, exemplars);
    take(with.empty() ? chunk.request() : std::string_view(with), chunk.points, chunk.samples);
  }
}

void OtlpEncoder::ended(std::span<const GoneSeries> gone, std::int64_t wall_ns, const Take& take) const {
  for (std::size_t first = 0; first < gone.size(); first += most_points_) {
    const auto part = gone.subspan(first, std::min(most_points_, gone.size() - first));
    std::string metrics;
    for (const auto& series : part) {
      std::string point, data, metric;
      proto::append_fixed64(point, 3, static_cast<std::uint64_t>(wall_ns));
      for (const auto& [name, value] : series.labels) append_attribute(point, series.histogram ? 1 : 7, name, value);
      proto::append_number(point, series.histogram ? 10 : 8, 1);  // flags: no recorded value
      proto::append_bytes(data, 1, point);
      if (series.histogram) proto::append_number(data, 2, kCumulative);
      proto::append_bytes(metric, 1, series.name);
      proto::append_bytes(metric, series.histogram ? kExponential : kGauge, data);
      proto::append_bytes(metrics, 2, metric);
    }
    take(head_of(metrics.size()) + metrics, static_cast<std::uint32_t>(part.size()),
         static_cast<std::uint32_t>(part.size()));
  }
}

}  // namespace vitald
