// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/remote_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_set>

#include "core/part_names.h"
#include "exporters/encode/protobuf.h"
#include "exporters/encode/splice.h"

namespace vitald {
namespace {

using proto::Wire;

// Request: symbols=4 timeseries=5. TimeSeries: labels_refs=1 samples=2 histograms=3 exemplars=4 metadata=5.
// Exemplar: labels_refs=1 value=2 timestamp=3.
// Sample: value=1 timestamp=2 start_timestamp=3. Metadata: type=1 help_ref=3 unit_ref=4.
// Histogram: count_int=1 sum=3 schema=4 zero_threshold=5 zero_count_int=6 positive_spans=11 {offset=1 length=2}
// positive_deltas=12 timestamp=15 start_timestamp=17; the last one is not in version 1.
constexpr char kSymbol = 4 << 3 | 2, kSeries = 5 << 3 | 2;
constexpr char kRefs = 1 << 3 | 2, kSample = 2 << 3 | 2, kMetadata = 5 << 3 | 2;
constexpr char kValue = 1 << 3 | 1, kTime = 2 << 3, kStart = 3 << 3;
constexpr char kHistogramField = 3 << 3 | 2, kSum = 3 << 3 | 1, kHistogramTime = 15 << 3;
constexpr std::uint32_t kHistogramStart = 17;
constexpr std::uint32_t kExemplars = 4;
constexpr std::int64_t kMostAfterMs = 60'000;
constexpr std::string_view kName = "__name__";

std::uint32_t type_of(MetricType type) {
  switch (type) {
    case MetricType::counter: return 1;
    case MetricType::gauge: return 2;
    case MetricType::histogram: return 3;
    case MetricType::summary: return 5;
    case MetricType::untyped: break;
  }
  return 0;
}

std::uint64_t bits_of(double value) { return std::isnan(value) ? kNanBits : std::bit_cast<std::uint64_t>(value); }

// An exemplar as a field of its series; `refs`: of its labels' names and values.
void append_exemplar(std::string& out, std::span<const std::uint64_t> refs, std::uint64_t bits, std::int64_t wall_ms) {
  std::string packed, message;
  for (const auto ref : refs) proto::append_varint(packed, ref);
  if (!packed.empty()) proto::append_bytes(message, 1, packed);
  proto::append_fixed64(message, 2, bits);
  proto::append_number(message, 3, static_cast<std::uint64_t>(wall_ms));
  proto::append_bytes(out, kExemplars, message);
}

// One request that is being made.
class Builder {
 public:
  std::uint64_t symbol(std::string_view text) {
    const auto [at, fresh] = refs_.try_emplace(text, next_ref_);
    if (fresh) {
      ++next_ref_;
      symbols_ += kSymbol;
      proto::append_varint(symbols_, text.size());
      symbols_ += text;
    }
    return at->second;
  }
  void add_label(std::string_view name, std::string_view value) {
    const auto slot = 2 * labels_++;
    label_at_ = proto::put_varint(label_at_, same_or_symbol(slot, name));
    label_at_ = proto::put_varint(label_at_, value.empty() ? 0 : same_or_symbol(slot + 1, value));
  }
  // Of so many labels at most, and the name.
  void begin(std::size_t labels) {
    label_room_.resize((labels + 1) * 20);
    label_at_ = label_room_.data();
    labels_ = 0;
    if (before_.size() < (labels + 1) * 2) before_.resize((labels + 1) * 2);
  }
  struct Rest {
    std::uint64_t bits = 0;
    std::int64_t wall_ms = 0, since_wall_ms = 0;
    std::uint32_t type = 0;
    std::string_view help = {}, unit = {};
    std::string_view exemplars = {};  // fields, with this request's symbols
  };
  // Where its value is, from the first series' beginning.
  std::uint32_t end(const Rest& rest) {
    char sample[32];
    auto* at = sample;
    *at++ = kValue;
    at = proto::put_fixed64(at, rest.bits);
    *at++ = kTime;
    at = proto::put_varint(at, static_cast<std::uint64_t>(rest.wall_ms));
    if (rest.since_wall_ms > 0) {
      *at++ = kStart;
      at = proto::put_varint(at, static_cast<std::uint64_t>(rest.since_wall_ms));
    }
    return add_series(kSample, {sample, static_cast<std::size_t>(at - sample)}, rest);
  }
  // The same for a histogram of so many buckets, all there and of 0; its numbers are put in later.
  std::uint32_t end(const Rest& rest, NativeScheme scheme, std::uint32_t buckets, std::uint32_t& count_at,
                    std::uint32_t& deltas_at) {
    auto& h = histogram_;
    begin_histogram(rest);
    proto::append_tag(h, 1, Wire::varint);
    const auto count = h.size();
    h.append(proto::kPaddedVarint, '\0');
    proto::append_number(h, 4, proto::zigzag(scheme.schema));
    proto::append_double(h, 5, kZeroThreshold);
    proto::append_number(h, 6, 0);
    span_.clear();
    proto::append_number(span_, 1, proto::zigzag(scheme.first));
    proto::append_number(span_, 2, buckets);
    proto::append_bytes(h, 11, span_);
    proto::append_tag(h, 12, Wire::bytes);
    proto::append_varint(h, buckets * proto::kPaddedVarint);
    const auto deltas = h.size();
    h.append(buckets * proto::kPaddedVarint, '\0');
    if (rest.since_wall_ms > 0)
      proto::append_number(h, kHistogramStart, static_cast<std::uint64_t>(rest.since_wall_ms));
    const auto place = add_series(kHistogramField, h, rest);
    count_at = place - 1 + static_cast<std::uint32_t>(count);
    deltas_at = place - 1 + static_cast<std::uint32_t>(deltas);
    return place;
  }
  // A histogram's stale marker.
  void end_stale(const Rest& rest) {
    begin_histogram(rest);
    add_series(kHistogramField, histogram_, rest);
  }
  // One that was encoded before.
  void end_encoded(std::string_view histogram, const Rest& rest) { add_series(kHistogramField, histogram, rest); }

 private:
  // Nearly always it is the very text that stood there in the series before: no look at what it says is needed.
  std::uint64_t same_or_symbol(std::size_t slot, std::string_view text) {
    auto& before = before_[slot];
    if (before.text.data() != text.data() || before.text.size() != text.size()) before = {text, symbol(text)};
    return before.ref;
  }
  // The sum and the time stand as value and time of a sample do.
  void begin_histogram(const Rest& rest) {
    histogram_.clear();
    histogram_ += kSum;
    histogram_.append(8, '\0');
    proto::put_fixed64(histogram_.data() + 1, rest.bits);
    histogram_ += kHistogramTime;
    proto::append_varint(histogram_, static_cast<std::uint64_t>(rest.wall_ms));
  }
  std::uint32_t add_series(char field, std::string_view sample, const Rest& rest) {
    char metadata[32];
    auto* at = metadata;
    const auto number = [&at](char key, std::uint64_t v) {
      if (v == 0) return;
      *at++ = static_cast<char>(key << 3);
      at = proto::put_varint(at, v);
    };
    number(1, rest.type);
    number(3, rest.help.empty() ? 0 : symbol(rest.help));
    number(4, rest.unit.empty() ? 0 : symbol(rest.unit));
    const auto metadata_size = static_cast<std::size_t>(at - metadata);
    const auto label_size = static_cast<std::size_t>(label_at_ - label_room_.data());
    std::size_t size =
        1 + proto::varint_size(label_size) + label_size + 1 + proto::varint_size(sample.size()) + sample.size();
    if (metadata_size > 0) size += 2 + metadata_size;
    size += rest.exemplars.size();
    series_ += kSeries;
    proto::append_varint(series_, size);
    series_ += kRefs;
    proto::append_varint(series_, label_size);
    series_.append(label_room_.data(), label_size);
    series_ += field;
    proto::append_varint(series_, sample.size());
    const auto place = static_cast<std::uint32_t>(series_.size() + 1);
    series_.append(sample);
    if (metadata_size > 0) {
      series_ += kMetadata;
      series_ += static_cast<char>(metadata_size);
      series_.append(metadata, metadata_size);
    }
    series_ += rest.exemplars;
    return place;
  }

 public:
  [[nodiscard]] std::string take() {
    symbols_ += series_;
    return std::move(symbols_);
  }
  void reserve(std::size_t series) { refs_.reserve(series + 256), series_.reserve(series * 64); }
  // Goes on behind a request's symbols (`head`: all that stands before its first series) with those of `texts` that are
  // among them, and gives what stands behind: symbols, and series.
  void go_on_after(std::string_view head, const std::unordered_set<std::string_view>& texts) {
    symbols_.clear();
    next_ref_ = 0;
    proto::Reader symbols(head);
    for (proto::Field field; symbols.next(field); ++next_ref_)
      if (const auto at = texts.find(field.bytes); at != texts.end()) refs_.emplace(*at, next_ref_);
  }
  [[nodiscard]] std::string_view symbols() const { return symbols_; }
  [[nodiscard]] std::string_view series() const { return series_; }

 private:
  std::unordered_map<std::string_view, std::uint64_t> refs_;
  std::uint64_t next_ref_ = 1;          // 0 is the empty one
  std::string symbols_{kSymbol, '\0'};  // the first one is empty
  std::string series_, label_room_, histogram_, span_;
  char* label_at_ = nullptr;
  struct Before {
    std::string_view text = {};
    std::uint64_t ref = 0;
  };
  std::vector<Before> before_;  // by slot: the names and values of the series before
  std::size_t labels_ = 0;
};

// `labels` are sorted; the name has its place among them.
template <class Labels, class Name, class Value>
void add_labels(Builder& to, std::string_view name, const Labels& labels, Name name_of, Value value_of) {
  to.begin(labels.size());
  bool named = false;
  for (const auto& label : labels) {
    if (!named && kName < name_of(label)) to.add_label(kName, name), named = true;
    to.add_label(name_of(label), value_of(label));
  }
  if (!named) to.add_label(kName, name);
}

}  // namespace

void RemoteWriteEncoder::add(Chunk& chunk, const SeriesTable& table, std::span<const SeriesRow> rows,
                             std::int64_t wall_ms) {
  Builder to;
  to.reserve(rows.size());
  if (!chunk.series.empty()) {
    std::unordered_set<std::string_view> texts{kName};
    for (const auto& row : rows) {
      texts.insert({row.name, row.family->help, row.family->unit});
      for (const auto& label : table.labels(row)) texts.insert({label.name, label.value});
    }
    to.go_on_after(std::string_view(chunk.bytes).substr(0, chunk.head), texts);
  }
  const auto already = chunk.series.size(), histograms_already = chunk.histograms.size();
  for (const auto& row : rows) {
    add_labels(
        to, row.name, table.labels(row), [](const Label& l) { return l.name; }, [](const Label& l) { return l.value; });
    // One that begins after its sample would be refused. In its first snapshot a series begins some milliseconds
    // after that did; where it is more the clock was set back.
    const auto since = row.since_wall_ms - wall_ms < kMostAfterMs ? std::min(row.since_wall_ms, wall_ms) : 0;
    const Builder::Rest rest{0, wall_ms, since, type_of(row.family->type), row.family->help, row.family->unit};
    Chunk::Series series;
    if (row.histogram == SeriesRow::kNoHistogram) {
      series.value = to.end(rest);
    } else {
      const auto& h = table.histograms()[row.histogram];
      Chunk::Histogram put{0, 0, h.count, static_cast<std::uint32_t>(chunk.series.size())};
      series.value = to.end(rest, h.scheme, h.count, put.count, put.deltas);
      chunk.histograms.push_back(put);
    }
    series.end = static_cast<std::uint32_t>(to.series().size());
    chunk.series.push_back(series);
  }
  // Symbols stand before all series, which move behind those that came.
  const auto symbols = static_cast<std::uint32_t>(to.symbols().size());
  if (already == 0) chunk.bytes.reserve(symbols + to.series().size());
  chunk.bytes.insert(chunk.head, to.symbols());
  chunk.head += symbols;
  const auto behind = static_cast<std::uint32_t>(chunk.bytes.size());
  chunk.bytes.append(to.series());
  for (std::size_t i = 0; i < chunk.series.size(); ++i) {
    const auto by = i < already ? symbols : behind;
    chunk.series[i].end += by;
    chunk.series[i].value += by;
  }
  for (std::size_t i = 0; i < chunk.histograms.size(); ++i) {
    const auto by = i < histograms_already ? symbols : behind;
    chunk.histograms[i].count += by;
    chunk.histograms[i].deltas += by;
  }
}

// Rows from `first_row` on, in chunks of their own.
void RemoteWriteEncoder::add_chunks(const SeriesTable& table, std::size_t first_row, std::int64_t wall_ms) {
  for (auto rest = table.rows().subspan(first_row); !rest.empty();) {
    const auto part = rest.first(std::min(most_series_, rest.size()));
    Chunk chunk;
    chunk.series.reserve(part.size());
    add(chunk, table, part, wall_ms);
    chunks_.push_back(std::move(chunk));
    rest = rest.subspan(part.size());
  }
}

void RemoteWriteEncoder::build(const SeriesTable& table, std::int64_t wall_ms) {
  chunks_.clear();
  dropped_ = 0;
  time_size_ = proto::varint_size(static_cast<std::uint64_t>(wall_ms));
  add_chunks(table, 0, wall_ms);
}

// `gone`: rows, ascending, all of this chunk, whose first row was `first_row`.
void RemoteWriteEncoder::drop(Chunk& chunk, std::span<const std::uint32_t> gone, std::uint32_t first_row) {
  if (gone.empty()) return;
  std::size_t kept = 0, kept_histograms = 0;
  auto size = chunk.head;
  auto histogram = chunk.histograms.begin();
  for (std::uint32_t i = 0, begin = chunk.head; i < chunk.series.size(); ++i) {
    auto series = chunk.series[i];
    const auto end = series.end;
    const bool stays = gone.empty() || gone.front() != first_row + i;
    const auto back = begin - size;
    if (stays) {
      if (back > 0) std::copy(chunk.bytes.data() + begin, chunk.bytes.data() + end, chunk.bytes.data() + size);
      size += end - begin;
      chunk.series[kept++] = {series.end - back, series.value - back};
    } else {
      gone = gone.subspan(1);
    }
    if (histogram != chunk.histograms.end() && histogram->series == i) {
      if (stays)
        chunk.histograms[kept_histograms++] = {histogram->count - back, histogram->deltas - back, histogram->buckets,
                                               static_cast<std::uint32_t>(kept - 1)};
      ++histogram;
    }
    begin = end;
  }
  chunk.bytes.resize(size);
  chunk.series.resize(kept);
  chunk.histograms.resize(kept_histograms);
}

void RemoteWriteEncoder::follow(const SeriesTable& table, const RowChange& change, std::int64_t wall_ms) {
  std::span<const std::uint32_t> gone = change.gone;
  std::uint32_t first_row = 0;
  for (auto& chunk : chunks_) {
    const auto end = first_row + static_cast<std::uint32_t>(chunk.series.size());
    const auto mine = gone.first(static_cast<std::size_t>(std::ranges::lower_bound(gone, end) - gone.begin()));
    drop(chunk, mine, first_row);
    gone = gone.subspan(mine.size());
    first_row = end;
  }
  std::erase_if(chunks_, [](const Chunk& chunk) { return chunk.series.empty(); });
  std::size_t row = change.kept;
  if (const auto rest = table.rows().subspan(row); !rest.empty() && !chunks_.empty()) {
    auto& last = chunks_.back();
    const auto fit = std::min(rest.size(), most_series_ - last.series.size());
    if (fit > 0) add(last, table, rest.first(fit), wall_ms);
    row += fit;
  }
  add_chunks(table, row, wall_ms);
}

void RemoteWriteEncoder::encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ms,
                                const TakeRequest& take, std::span<const RowExemplar> exemplars) {
  const bool same_time = time_size_ == proto::varint_size(static_cast<std::uint64_t>(wall_ms));
  if (version_ != table.version() || !same_time) {
    const auto* change = same_time && version_ + 1 == table.version() ? table.change() : nullptr;
    if (change) dropped_ += change->gone.size();
    version_ = 0;  // until all is there
    if (change && dropped_ <= table.rows().size()) follow(table, *change, wall_ms);
    else build(table, wall_ms);
    version_ = table.version();
  }
  char time[10];
  proto::put_varint(time, static_cast<std::uint64_t>(wall_ms));
  const double* value = values.data();
  std::uint32_t first = 0;
  for (auto& chunk : chunks_) {
    for (const auto& series : chunk.series) {
      char* at = chunk.bytes.data() + series.value;
      proto::put_fixed64(at, bits_of(*value++));
      std::memcpy(at + 9, time, time_size_);
    }
    for (const auto& h : chunk.histograms) {
      const auto which = table.rows()[first + h.series].histogram;
      put_histogram(chunk.bytes.data(), h, values.subspan(table.buckets_at(table.histograms()[which]), h.buckets));
    }
    const auto count = static_cast<std::uint32_t>(chunk.series.size());
    std::size_t mine = 0;
    while (mine < exemplars.size() && exemplars[mine].row < first + count) ++mine;
    if (mine == 0) take(chunk.bytes, count);
    else take(with_exemplars(chunk, exemplars.first(mine), first), count);
    exemplars = exemplars.subspan(mine);
    first += count;
  }
}

// What does not stay the same from one push to the next is put into a copy. Symbols may come behind the series.
std::string RemoteWriteEncoder::with_exemplars(const Chunk& chunk, std::span<const RowExemplar> exemplars,
                                               std::uint32_t first_row) {
  std::unordered_map<std::string_view, std::uint64_t> refs;  // of the texts that are needed; 0: not there yet
  for (const auto& e : exemplars)
    for (const auto& [name, text] : e.exemplar->labels) refs.emplace(name, 0), refs.emplace(text, 0);
  std::uint64_t symbols = 0;
  proto::Reader request(chunk.bytes);
  for (proto::Field field; request.next(field);) {
    if (field.number != 4) continue;
    if (const auto at = refs.find(field.bytes); at != refs.end()) at->second = symbols;
    ++symbols;
  }
  std::string fresh;
  const auto ref_of = [&](std::string_view text) {
    if (text.empty()) return std::uint64_t{0};
    auto& ref = refs.at(text);
    if (ref == 0) {
      ref = symbols++;
      proto::append_bytes(fresh, 4, text);
    }
    return ref;
  };
  std::vector<proto::Insertion> insertions;
  std::vector<std::uint64_t> own;
  for (const auto& e : exemplars) {
    const std::size_t within = chunk.series[e.row - first_row].value;
    if (insertions.empty() || insertions.back().within != within) insertions.push_back({within, {}});
    own.clear();
    for (const auto& [name, text] : e.exemplar->labels) {
      own.push_back(ref_of(name));
      own.push_back(ref_of(text));
    }
    append_exemplar(insertions.back().fields, own, bits_of(e.exemplar->value), e.exemplar->wall_ms);
  }
  return proto::spliced(chunk.bytes, insertions, 1) + fresh;
}

void RemoteWriteEncoder::put_histogram(char* bytes, const Chunk::Histogram& h, std::span<const double> cumulative) {
  std::uint64_t below = 0;
  std::int64_t last = 0;
  char* at = bytes + h.deltas;
  for (const double c : cumulative) {
    const auto upto = std::max(below, whole_count(c));  // what falls is of another time
    const auto here = static_cast<std::int64_t>(upto - below);
    proto::put_padded_varint(at, proto::zigzag(here - last));
    at += proto::kPaddedVarint;
    below = upto;
    last = here;
  }
  proto::put_padded_varint(bytes + h.count, below);
}

void RemoteWriteEncoder::stale(std::span<const GoneSeries> gone, std::int64_t wall_ms, const TakeRequest& take) const {
  for (std::size_t first = 0; first < gone.size(); first += most_series_) {
    const auto part = gone.subspan(first, std::min(most_series_, gone.size() - first));
    Builder to;
    for (const auto& series : part) {
      add_labels(
          to, series.name, series.labels, [](const auto& l) { return std::string_view(l.first); },
          [](const auto& l) { return std::string_view(l.second); });
      const Builder::Rest rest{kStaleBits, wall_ms, 0, 0, {}, {}};
      if (series.histogram) to.end_stale(rest);
      else to.end(rest);
    }
    take(to.take(), static_cast<std::uint32_t>(part.size()));
  }
}

Result<WriteRequestView> WriteRequestView::of(std::string_view bytes) {
  WriteRequestView out;
  proto::Reader request(bytes);
  proto::Field field, part, inner;
  bool broken = false;
  while (request.next(field)) {
    if (field.number == 4 && field.wire == Wire::bytes) out.symbols_.push_back(field.bytes);
    if (field.number != 5 || field.wire != Wire::bytes) continue;
    Series s;
    proto::Reader series(field.bytes);
    while (series.next(part)) {
      if (part.wire != Wire::bytes) continue;
      if (part.number == 1) s.refs = part.bytes;
      proto::Reader message(part.bytes);
      if (part.number == 2)
        while (message.next(inner)) {
          if (inner.number == 1) s.bits = inner.value;
          if (inner.number == 2) s.wall_ms = static_cast<std::int64_t>(inner.value);
          if (inner.number == 3) s.since_wall_ms = static_cast<std::int64_t>(inner.value);
        }
      if (part.number == 3) {
        s.histogram = part.bytes;
        while (message.next(inner)) {
          if (inner.number == 3) s.bits = inner.value;
          if (inner.number == 15) s.wall_ms = static_cast<std::int64_t>(inner.value);
          if (inner.number == kHistogramStart) s.since_wall_ms = static_cast<std::int64_t>(inner.value);
        }
      }
      if (part.number == kExemplars && s.exemplars.empty()) {
        const char* tag = part.bytes.data() - proto::varint_size(part.bytes.size()) - 1;
        s.exemplars = {tag, static_cast<std::size_t>(field.bytes.data() + field.bytes.size() - tag)};
      }
      if (part.number == 5)
        while (message.next(inner)) {
          if (inner.number == 1) s.type = static_cast<std::uint32_t>(inner.value);
          if (inner.number == 3) s.help = static_cast<std::uint32_t>(inner.value);
          if (inner.number == 4) s.unit = static_cast<std::uint32_t>(inner.value);
        }
      if (part.number != 1 && part.number != kExemplars) broken = broken || message.broken();
    }
    proto::Reader refs(s.refs);
    std::size_t count = 0;
    for (; !refs.at_end(); ++count)
      if (refs.varint() > UINT32_MAX) broken = true;
    broken = broken || series.broken() || refs.broken() || count % 2 != 0;
    out.series_.push_back(s);
  }
  if (broken || request.broken()) return fail(Errc::malformed, "no remote write request");
  return out;
}

std::string WriteRequestView::part(std::size_t first, std::size_t count) const {
  Builder to;
  for (const auto& s : std::span(series_).subspan(first, count)) {
    to.begin(s.refs.size());
    for (proto::Reader refs(s.refs); !refs.at_end();) {
      const auto name = symbol(refs.varint());
      to.add_label(name, symbol(refs.varint()));
    }
    std::string exemplars;
    each_exemplar(s, [&](std::uint64_t bits, std::int64_t wall_ms, std::span<const std::string_view> labels) {
      std::vector<std::uint64_t> own;
      for (const auto text : labels) own.push_back(text.empty() ? 0 : to.symbol(text));
      append_exemplar(exemplars, own, bits, wall_ms);
    });
    const Builder::Rest rest{s.bits, s.wall_ms, s.since_wall_ms, s.type, symbol(s.help), symbol(s.unit), exemplars};
    if (s.histogram.empty()) to.end(rest);
    else to.end_encoded(s.histogram, rest);
  }
  return to.take();
}

void WriteRequestView::each_exemplar(const Series& series,
                                     const std::function<void(std::uint64_t bits, std::int64_t wall_ms,
                                                              std::span<const std::string_view> labels)>& use) const {
  proto::Reader all(series.exemplars);
  proto::Field field, inner;
  while (all.next(field)) {
    if (field.number != kExemplars || field.wire != Wire::bytes) continue;
    std::uint64_t bits = 0;
    std::int64_t wall_ms = 0;
    std::vector<std::string_view> labels;
    proto::Reader message(field.bytes);
    while (message.next(inner)) {
      if (inner.number == 1 && inner.wire == Wire::bytes)
        for (proto::Reader refs(inner.bytes); !refs.at_end();) labels.push_back(symbol(refs.varint()));
      if (inner.number == 2) bits = inner.value;
      if (inner.number == 3) wall_ms = static_cast<std::int64_t>(inner.value);
    }
    if (labels.size() % 2 == 0) use(bits, wall_ms, labels);
  }
}

// WriteRequest: timeseries=1 metadata=3. TimeSeries: labels=1 samples=2 exemplars=3 histograms=4. Label: name=1
// value=2. Exemplar: labels=1 value=2 timestamp=3. MetricMetadata: type=1 metric_family_name=2 help=4 unit=5.
std::string WriteRequestView::version1(std::size_t first, std::size_t count, bool with_metadata) const {
  std::string out, series, label;
  out.reserve(count * 160);
  std::set<std::string_view> families;
  std::string metadata;
  for (const auto& s : std::span(series_).subspan(first, count)) {
    series.clear();
    std::string_view metric;
    for (proto::Reader refs(s.refs); !refs.at_end();) {
      const auto name = symbol(refs.varint()), value = symbol(refs.varint());
      if (name == kName) metric = value;
      series += 1 << 3 | 2;
      proto::append_varint(
          series, 2 + proto::varint_size(name.size()) + name.size() + proto::varint_size(value.size()) + value.size());
      proto::append_bytes(series, 1, name);
      proto::append_bytes(series, 2, value);
    }
    if (!s.histogram.empty()) {
      auto histogram = s.histogram;
      std::string start;  // it is the last field, where it is there
      proto::append_number(start, kHistogramStart, static_cast<std::uint64_t>(s.since_wall_ms));
      if (s.since_wall_ms > 0 && histogram.ends_with(start)) histogram.remove_suffix(start.size());
      proto::append_bytes(series, 4, histogram);
    } else {
      series += 2 << 3 | 2;
      proto::append_varint(series, 10 + proto::varint_size(static_cast<std::uint64_t>(s.wall_ms)));
      proto::append_fixed64(series, 1, s.bits);
      proto::append_number(series, 2, static_cast<std::uint64_t>(s.wall_ms));
    }
    each_exemplar(s, [&](std::uint64_t bits, std::int64_t wall_ms, std::span<const std::string_view> labels) {
      std::string exemplar;
      for (std::size_t i = 0; i < labels.size(); i += 2) {
        label.clear();
        proto::append_bytes(label, 1, labels[i]);
        proto::append_bytes(label, 2, labels[i + 1]);
        proto::append_bytes(exemplar, 1, label);
      }
      proto::append_fixed64(exemplar, 2, bits);
      proto::append_number(exemplar, 3, static_cast<std::uint64_t>(wall_ms));
      proto::append_bytes(series, 3, exemplar);
    });
    proto::append_bytes(out, 1, series);
    if (!with_metadata || (s.type == 0 && s.help == 0)) continue;
    for (const auto suffix : part_suffixes(s.type == 3   ? MetricType::histogram
                                           : s.type == 5 ? MetricType::summary
                                                         : MetricType::untyped))
      if (metric.ends_with(suffix)) {
        metric.remove_suffix(suffix.size());
        break;
      }
    if (!families.insert(metric).second) continue;
    std::string one;
    proto::append_number(one, 1, s.type);
    proto::append_bytes(one, 2, metric);
    if (s.help != 0) proto::append_bytes(one, 4, symbol(s.help));
    if (s.unit != 0) proto::append_bytes(one, 5, symbol(s.unit));
    proto::append_bytes(metadata, 3, one);
  }
  return out + metadata;
}

}  // namespace vitald
