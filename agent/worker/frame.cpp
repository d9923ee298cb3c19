// SPDX-License-Identifier: Apache-2.0
#include "agent/worker/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "agent/worker/frame.pb.h"
#include "core/text/names.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

void append_length(std::string& out, std::size_t size) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>((size >> shift) & 0xff);
}

void append_frame(std::string& out, const google::protobuf::MessageLite& message) {
  append_length(out, message.ByteSizeLong());
  message.AppendToString(&out);
}

void to_frame(const Error& from, frame::Error& to) {
  to.set_kind(static_cast<std::uint32_t>(from.kind));
  to.set_err(from.err);
  to.set_text(from.text);
}

Error from_frame(const frame::Error& from) {
  const auto kind = from.kind() < kErrcCount ? static_cast<Errc>(from.kind()) : Errc::io;
  return {kind, from.err(), from.text()};
}

}  // namespace

void append_request(std::string& out, std::uint64_t sequence) {
  frame::Request request;
  request.set_sequence(sequence);
  append_frame(out, request);
}

bool take_frame(std::string_view& rest, std::string_view& payload, bool& malformed) {
  if (rest.size() < 4) return false;
  std::uint32_t size = 0;
  for (unsigned i = 0; i < 4; ++i) size |= static_cast<std::uint32_t>(static_cast<unsigned char>(rest[i])) << (8 * i);
  malformed = size > kMaxFrameBytes;
  if (malformed || rest.size() - 4 < size) return false;
  payload = rest.substr(4, size);
  rest.remove_prefix(4 + std::size_t{size});
  return true;
}

Result<std::uint64_t> parse_request(std::string_view payload) {
  frame::Request request;
  if (!request.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return fail(Errc::malformed, fmt::format("a request of {} bytes that is none", payload.size()));
  return request.sequence();
}

struct AnswerWriter::Impl {
  frame::Answer answer;
  std::string bytes;
  std::shared_ptr<const Layout> sent;
  std::uint64_t id = 0;

  void describe(const Layout& layout, frame::Layout& to) {
    std::unordered_map<const MetricDesc*, std::uint32_t> families;
    for (const auto& s : layout.samples()) {
      const auto [it, is_new] = families.emplace(s.family, static_cast<std::uint32_t>(to.families_size()));
      if (is_new) {
        auto& family = *to.add_families();
        family.set_name(s.family->name.data(), s.family->name.size());
        family.set_type(static_cast<std::uint32_t>(s.family->type));
        family.set_help(s.family->help.data(), s.family->help.size());
        family.set_labels(s.family->labels.data(), s.family->labels.size());
        family.set_unit(s.family->unit.data(), s.family->unit.size());
        family.set_source(s.family->source.data(), s.family->source.size());
        family.set_inside(s.family->shown == Shown::inside);
      }
      auto& series = *to.add_series();
      series.set_family(it->second);
      series.set_part(static_cast<std::uint32_t>(s.part));
      for (const auto& label : layout.labels(s)) {
        series.add_labels(label.name.data(), label.name.size());
        series.add_labels(label.value.data(), label.value.size());
      }
      series.set_since_wall_ms(layout.since_wall_ms(s));
    }
    std::unordered_map<const Bounds*, std::uint32_t> bounds;
    for (const auto& block : layout.histograms()) {
      const auto [it, is_new] = bounds.emplace(block.bounds, static_cast<std::uint32_t>(to.bounds_size()));
      if (is_new) to.add_bounds()->mutable_upper()->Add(block.bounds->upper.begin(), block.bounds->upper.end());
      auto& histogram = *to.add_histograms();
      histogram.set_first_series(block.first_sample);
      histogram.set_bounds(it->second);
    }
  }
};

AnswerWriter::AnswerWriter() : impl_(std::make_unique<Impl>()) {}
AnswerWriter::~AnswerWriter() = default;

std::string_view AnswerWriter::write(std::uint64_t sequence, const Batch& batch) {
  auto& m = *impl_;
  m.answer.Clear();  // keeps the capacity of `values`
  m.answer.set_sequence(sequence);
  if (m.sent != batch.layout) {
    m.sent = batch.layout;
    ++m.id;
    m.describe(*batch.layout, *m.answer.mutable_layout());
  }
  m.answer.set_layout_id(m.id);
  auto& values = *m.answer.mutable_values();
  const auto samples = batch.layout->samples();
  if (samples.size() == batch.values.size()) {
    values.Add(batch.values.begin(), batch.values.end());
  } else {  // a series emitted twice has a value and no sample
    for (const auto& s : samples) values.Add(batch.values[s.value]);
  }
  if (batch.health.error) to_frame(*batch.health.error, *m.answer.mutable_error());
  for (const auto& problem : batch.health.problems) to_frame(problem, *m.answer.add_problems());
  for (const auto& event : batch.events) {
    auto& to = *m.answer.add_events();
    to.set_type(event->type);
    to.set_boot_ns(event->boot_ns);
    to.set_text(event->text);
    for (const auto& [name, value] : event->fields) to.add_fields(name), to.add_fields(value);
  }
  m.answer.set_events_left_out(batch.events_left_out);
  m.answer.set_wall_ns(batch.health.wall_ns);
  m.answer.set_cpu_ns(batch.health.cpu_ns);
  m.bytes.clear();
  append_frame(m.bytes, m.answer);
  return m.bytes;
}

struct AnswerReader::Impl {
  std::string collector;
  frame::Answer answer;
  std::shared_ptr<const Layout> layout;
  std::uint64_t layout_id = 0;

  // Through BatchWriter, so that there is one place that makes layouts. The values do not matter here.
  Result<> rebuild(const frame::Layout& from) {
    BatchWriter writer(collector);
    const auto pool = std::make_shared<DescPool>();
    std::vector<const MetricDesc*> families;
    for (const auto& f : from.families()) {
      if (!is_metric_name(f.name()) || !is_valid_utf8(f.help()))
        return fail(Errc::malformed, fmt::format("a family named '{}'", valid_utf8(f.name())));
      const auto type = f.type() <= static_cast<std::uint32_t>(MetricType::summary) ? static_cast<MetricType>(f.type())
                                                                                    : MetricType::untyped;
      families.push_back(&pool->get(f.name(), type, f.help(), f.labels(), f.unit(), f.source(),
                                    f.inside() ? Shown::inside : Shown::everywhere));
    }
    writer.begin(0);
    writer.use(pool);
    std::vector<Label> labels;
    int next_histogram = 0;
    for (int i = 0; i < from.series_size(); ++i) {
      const auto& s = from.series(i);
      if (s.family() >= families.size() || s.part() > static_cast<std::uint32_t>(Part::count) ||
          s.labels_size() > kMaxLabelParts || s.labels_size() % 2 != 0)
        return fail(Errc::malformed, "a series that cannot be");
      labels.clear();
      for (int l = 0; l < s.labels_size(); l += 2) {
        if (!is_label_name(s.labels(l)))
          return fail(Errc::malformed, fmt::format("a label named '{}'", valid_utf8(s.labels(l))));
        labels.push_back({s.labels(l), s.labels(l + 1)});
      }
      writer.since(s.since_wall_ms());
      if (next_histogram < from.histograms_size() &&
          from.histograms(next_histogram).first_series() == static_cast<std::uint32_t>(i)) {
        const auto bounds = from.histograms(next_histogram++).bounds();
        if (bounds >= static_cast<std::uint32_t>(from.bounds_size()))
          return fail(Errc::malformed, "a histogram without bounds");
        const auto& upper = from.bounds(static_cast<int>(bounds)).upper();
        if (upper.size() + 3 > from.series_size() - i) return fail(Errc::malformed, "a histogram without its end");
        std::erase_if(labels, [](const Label& label) { return label.name == "le"; });
        const std::vector<std::uint64_t> none(static_cast<std::size_t>(upper.size()) + 1);
        writer.histogram_labels(*families[s.family()], {{upper.data(), static_cast<std::size_t>(upper.size())}, none},
                                labels);
        i += upper.size() + 2;
        continue;
      }
      writer.set_labels(*families[s.family()], 0, labels, static_cast<Part>(s.part()));
    }
    layout = writer.finish({}, 0, 0)->layout;
    if (!layout->duplicates().empty())
      return fail(Errc::malformed, fmt::format("a series twice: {}", layout->duplicates()[0]));
    return {};
  }

  static constexpr int kMaxLabelParts = 256;
};

AnswerReader::AnswerReader(std::string collector) : impl_(std::make_unique<Impl>()) {
  impl_->collector = std::move(collector);
}
AnswerReader::~AnswerReader() = default;

void AnswerReader::reset() { impl_->layout.reset(); }

Result<AnswerReader::Answer> AnswerReader::read(std::string_view payload, std::int64_t collected_boot_ns) {
  auto& m = *impl_;
  m.answer.Clear();
  if (!m.answer.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return fail(Errc::malformed, fmt::format("an answer of {} bytes that is none", payload.size()));
  if (m.answer.has_layout()) {
    auto built = m.rebuild(m.answer.layout());
    if (!built) return fail(std::move(built.error()));
    m.layout_id = m.answer.layout_id();
  }
  if (!m.layout || m.answer.layout_id() != m.layout_id)
    return fail(Errc::malformed, fmt::format("values for layout {}, which was not sent", m.answer.layout_id()));
  const auto& values = m.answer.values();
  if (static_cast<std::size_t>(values.size()) != m.layout->value_count())
    return fail(Errc::malformed, fmt::format("{} values for {} series", values.size(), m.layout->value_count()));

  auto batch = std::make_shared<Batch>();
  batch->collector = m.collector;
  batch->layout = m.layout;
  batch->values.assign(values.begin(), values.end());
  batch->collected_boot_ns = collected_boot_ns;
  batch->health.ok = !m.answer.has_error();
  if (m.answer.has_error()) batch->health.error = from_frame(m.answer.error());
  for (const auto& problem : m.answer.problems()) batch->health.problems.push_back(from_frame(problem));
  for (const auto& from : m.answer.events()) {
    if (batch->events.size() == Batch::kMaxEvents) break;  // a worker of ours sends no more
    Event event{from.type(), from.boot_ns(), from.text(), {}};
    for (int i = 0; i + 1 < from.fields_size(); i += 2) event.fields.emplace_back(from.fields(i), from.fields(i + 1));
    batch->events.push_back(std::make_shared<const Event>(std::move(event)));
  }
  batch->events_left_out = m.answer.events_left_out();
  batch->health.wall_ns = m.answer.wall_ns();
  batch->health.cpu_ns = m.answer.cpu_ns();
  return Answer{m.answer.sequence(), std::move(batch)};
}

}  // namespace vitald
