// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "core/part_names.h"
#include "core/text/number.h"
#include "core/text/scan.h"
#include "exporters/encode/family_order.h"
#include "exporters/encode/layouts.h"
#include "exporters/encode/order_change.h"
#include "exporters/encode/prom_words.h"

namespace vitald {
namespace {

// A line's value and its newline, at the end of the line's text. Rounded up so that it can be overrun.
constexpr std::size_t kValueRoom = 32;
static_assert(kMaxNumberText < kValueRoom);

// Different collect[] filters that are remembered at a time.
constexpr std::size_t kMaxPlans = 4;

struct Line {
  std::uint64_t bits = 0;  // of the value whose text is kept
  std::uint32_t value = 0;
  std::uint32_t at = 0;          // in the plan's text
  std::uint32_t text_size = 0;   // HELP, TYPE, name and labels: all that stands before the value
  std::uint32_t value_size = 0;  // with newline
};

// Lines whose values come from one batch.
struct Run {
  std::size_t batch = 0;
  std::size_t line_count = 0;
};

constexpr std::string_view kTotal = "_total", kEnd = "# EOF\n";

// The bound of a bucket or a quantile as OpenMetrics wants it, and Go prints it: "1.0", "1.048576e+06".
std::string canonical_bound(double v) {
  char text[kValueRoom];
  if (!std::isfinite(v)) return {text, write_number(text, v)};
  const std::string scientific(text, std::to_chars(text, text + sizeof text, v, std::chars_format::scientific).ptr);
  const auto exponent = parse_double(std::string_view(scientific).substr(scientific.find('e') + 1)).value_or(0);
  if (exponent < -4 || exponent >= 6) return scientific;
  std::string fixed(text, std::to_chars(text, text + sizeof text, v, std::chars_format::fixed).ptr);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

// The text before a value in OpenMetrics: that of the layout, but for `le` and `quantile`.
std::string open_metrics_prefix(const Sample& s) {
  std::string out(Layout::prefix(s));
  const auto inner = inner_label(*s.family, s.part);
  if (inner.empty()) return out;
  // Within a value a quote has a backslash before it, so this is the label.
  for (const char before : {'{', ','}) {
    const auto key = before + std::string(inner) + "=\"";
    const auto at = out.find(key);
    if (at == std::string::npos) continue;
    const auto first = at + key.size(), end = out.find('"', first);
    if (end == std::string::npos) break;
    if (const auto v = parse_double(std::string_view(out).substr(first, end - first)))
      out.replace(first, end - first, canonical_bound(*v));
    break;
  }
  return out;
}

// Lines [first, first + count): one family, its HELP and TYPE in front of the first.
struct FamilyLines {
  const MetricDesc* desc = nullptr;
  std::uint32_t first = 0, count = 0, header_size = 0;
};

// What is added to the line of a batch's value.
struct ExemplarText {
  std::uint32_t value = 0;
  std::string text;
};

}  // namespace

struct PromText::Plan {
  explicit Plan(Format f) : format(f) {}

  const Format format;
  std::vector<std::string> collectors;
  std::vector<std::shared_ptr<const Layout>> layouts;  // beside collectors
  std::string text;                                    // per line: what stands before the value, kValueRoom
  std::size_t text_in_use = 0;                         // the rest is of lines that went
  std::vector<Line> lines;
  std::vector<const SeriesInfo*> series;  // beside lines
  // Beside lines, where the format has `_created`: the size of the text that follows the line, and lies behind its
  // value's room; otherwise empty.
  std::vector<std::uint32_t> tails;
  std::vector<Run> runs;
  std::vector<FamilyLines> families;  // in the order they leave
  std::unordered_map<const MetricDesc*, std::uint32_t> family_of;
  std::vector<std::string> conflicts;

  [[nodiscard]] bool is_for(const std::vector<const Batch*>& batches) const {
    return std::ranges::equal(batches, collectors, {}, &Batch::collector);
  }

  void build(const std::vector<const Batch*>& batches, FamilyOrders& orders);
  [[nodiscard]] char* write(const std::vector<const Batch*>& batches, char* at);
  // How many bytes the exemplars of these batches add.
  [[nodiscard]] std::size_t find_exemplars(const std::vector<const Batch*>& batches);

  // Takes what came and went over from the layouts before. False when that is not possible; then build() must follow.
  [[nodiscard]] bool update(const std::vector<const Batch*>& batches, FamilyOrders& orders);

 private:
  // In OpenMetrics: counters that are `unknown` there, and so without `_created`, because of another's name.
  std::unordered_set<std::string_view> taken_names;
  std::vector<std::vector<ExemplarText>> exemplars;  // by batch, ascending; empty while no batch has any

  void add_family(const MetricDesc& desc, std::span<const FamilyOrder::Entry> entries,
                  const std::vector<const Batch*>& batches);
  [[nodiscard]] std::string header_of(const MetricDesc& desc);
  void add_line(std::size_t batch, const Sample& s, double value, std::string_view header = {});
  [[nodiscard]] std::string tail_of(const Sample& s) const;
  [[nodiscard]] std::size_t room_of(std::size_t line, const Line& l, const std::vector<std::uint32_t>& of) const {
    return l.text_size + kValueRoom + (of.empty() ? 0 : of[line]);
  }
  template <bool kTails>
  [[nodiscard]] char* write_lines(const std::vector<const Batch*>& batches, char* at);
  // Into what `line` has just become, which ends before `at`.
  [[nodiscard]] char* add_exemplar(const Line& line, const std::vector<ExemplarText>& of, char* at) const;
  void count_line(std::size_t batch);
  static void render(Line& line, char* at, double value);

  // Of update(), kept for their memory.
  std::vector<Line> old_lines;
  std::vector<const SeriesInfo*> old_series;
  std::vector<std::uint32_t> old_tails;
  std::vector<Run> old_runs;
  OrderChange change;
};

// `header`: of the family, whose first line this is.
void PromText::Plan::add_line(std::size_t batch, const Sample& s, double value, std::string_view header) {
  std::string own;
  auto prefix = Layout::prefix(s);
  if (format != Format::text && !inner_label(*s.family, s.part).empty()) prefix = own = open_metrics_prefix(s);
  Line line;
  line.value = s.value;
  line.at = static_cast<std::uint32_t>(text.size());
  line.text_size = static_cast<std::uint32_t>(header.size() + prefix.size());
  text.append(header).append(prefix);
  text.resize(text.size() + kValueRoom);
  if (format == Format::open_metrics_created) {
    const auto tail = tail_of(s);
    text += tail;
    tails.push_back(static_cast<std::uint32_t>(tail.size()));
    text_in_use += tail.size();
  }
  char* to = text.data() + line.at;
  render(line, to + line.text_size, value);
  lines.push_back(line);
  series.push_back(s.series);
  text_in_use += line.text_size + kValueRoom;
  count_line(batch);
}

void PromText::Plan::count_line(std::size_t batch) {
  if (runs.empty() || runs.back().batch != batch) runs.push_back({batch, 0});
  ++runs.back().line_count;
}

// The line with the time since when the series counts, where it is known: after a counter's, and after the last one of
// a histogram or summary.
std::string PromText::Plan::tail_of(const Sample& s) const {
  const auto& family = *s.family;
  const bool counter = family.type == MetricType::counter && family.name.ends_with(kTotal);
  const bool last =
      (family.type == MetricType::histogram || family.type == MetricType::summary) && s.part == Part::count;
  const auto since_ms = Layout::since_wall_ms(s);
  if ((!counter && !last) || since_ms <= 0 || taken_names.contains(family.name)) return {};
  auto base = family.name;
  if (counter) base.remove_suffix(kTotal.size());
  char number[kValueRoom];
  std::string out(base);
  out.append("_created").append(Layout::prefix(s).substr(Layout::name(s).size()));
  out.append(number, write_number(number, static_cast<double>(since_ms) / 1000)).append("\n");
  return out;
}

std::string PromText::Plan::header_of(const MetricDesc& desc) {
  auto name = desc.name;
  auto type = to_string(desc.type);
  if (format != Format::text) {
    // A counter is named without the suffix that its samples have; what has none is no counter there.
    if (desc.type == MetricType::untyped) type = "unknown";
    if (desc.type == MetricType::counter) {
      if (!name.ends_with(kTotal) || taken_names.contains(desc.name)) type = "unknown";
      else name.remove_suffix(kTotal.size());
    }
  }
  std::string header;
  if (!desc.help.empty()) {
    header.append("# HELP ").append(name).append(" ");
    append_escaped_help(header, desc.help, format != Format::text);
    header += '\n';
  }
  header.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  if (const auto unit = named_unit(desc); format != Format::text && !unit.empty() && name.ends_with(unit))
    header.append("# UNIT ").append(name).append(" ").append(unit).append("\n");
  return header;
}

void PromText::Plan::build(const std::vector<const Batch*>& batches, FamilyOrders& orders) {
  layouts.clear();
  collectors.clear();
  text.clear();
  text_in_use = 0;
  lines.clear();
  series.clear();
  tails.clear();
  runs.clear();
  families.clear();
  family_of.clear();
  taken_names.clear();

  for (const auto* batch : batches) {
    layouts.push_back(batch->layout);
    collectors.push_back(batch->collector);
  }
  auto order = orders.order(batches);
  conflicts = std::move(order.conflicts);
  std::unordered_set<std::string> created;
  if (format != Format::text) {
    // Without its suffix a counter may have the name of another family. The names with `_created` behind are those of
    // counters, histograms and summaries, whether they have such a line or not, and readers refuse the whole answer
    // where one is another family: text 0.0.4 of a client library has it as a gauge, which is left out here.
    std::unordered_set<std::string> names;
    for (const auto& f : order.families) {
      names.emplace(f.desc->name);
      for (const auto suffix : part_suffixes(f.desc->type)) names.insert(std::string(f.desc->name).append(suffix));
    }
    for (const auto& f : order.families) {
      std::string base(f.desc->name);
      const bool counter = f.desc->type == MetricType::counter && base.ends_with(kTotal);
      if (counter) base.resize(base.size() - kTotal.size());
      if (counter && names.contains(base)) taken_names.insert(f.desc->name);
      else if (counter || f.desc->type == MetricType::histogram || f.desc->type == MetricType::summary)
        created.insert(base + "_created");
    }
    for (const auto& f : order.families) {
      std::string base(f.desc->name);
      if (f.desc->type != MetricType::counter || !base.ends_with(kTotal)) continue;
      base.resize(base.size() - kTotal.size());
      if (created.contains(base)) taken_names.insert(f.desc->name);
    }
  }
  for (const auto& f : order.families) {
    if (!created.empty() && created.contains(std::string(f.desc->name))) continue;
    add_family(*f.desc, std::span(order.entries).subspan(f.first, f.count), batches);
    // Where descriptors of one name say different things, only build() decides which one leaves.
    if (f.one_desc) family_of.emplace(f.desc, static_cast<std::uint32_t>(families.size() - 1));
  }
}

void PromText::Plan::add_family(const MetricDesc& desc, std::span<const FamilyOrder::Entry> entries,
                                const std::vector<const Batch*>& batches) {
  const auto header = header_of(desc);
  const auto first = static_cast<std::uint32_t>(lines.size());
  for (const auto& e : entries)
    add_line(e.batch, *e.sample, batches[e.batch]->values[e.sample->value],
             lines.size() == first ? std::string_view(header) : std::string_view());
  families.push_back(
      {&desc, first, static_cast<std::uint32_t>(entries.size()), static_cast<std::uint32_t>(header.size())});
}

// ---- one series of many comes or goes

bool PromText::Plan::update(const std::vector<const Batch*>& batches, FamilyOrders& orders) {
  if (!conflicts.empty() || layouts.size() != batches.size() || text_in_use * 2 < text.size()) return false;
  if (!change.find(layouts, batches, families, family_of, series)) return false;
  const auto arrivals = change.arrivals();
  lines.swap(old_lines);
  series.swap(old_series);
  tails.swap(old_tails);
  runs.swap(old_runs);
  lines.clear();
  series.clear();
  tails.clear();
  runs.clear();
  lines.reserve(old_lines.size() + arrivals.size());
  series.reserve(old_lines.size() + arrivals.size());

  auto arrival = arrivals.begin();
  auto run = old_runs.begin();
  std::size_t run_end = run == old_runs.end() ? 0 : run->line_count;
  for (std::uint32_t f = 0; f < families.size(); ++f) {
    auto& family = families[f];
    const std::size_t old_first = family.first, old_end = old_first + family.count, first = lines.size();
    const auto header_at = old_lines[old_first].at;
    for (auto at = old_first;;) {
      for (; arrival != arrivals.end() && arrival->family == f && arrival->place == at; ++arrival) {
        const auto& prefix = Layout::prefix(*arrival->sample);
        if (at < old_end && std::string_view(old_series[at]->text, old_series[at]->text_size) == prefix) {
          // The same line: from another batch it is a conflict, from its own it went and came.
          if (at >= run_end) ++run, run_end += run->line_count;
          const auto now = change.now(run->batch);
          if (now.empty() || now[old_lines[at].value] != OrderChange::kGone) return false;
        }
        const auto value = batches[arrival->batch]->values[arrival->sample->value];
        std::string header;  // a copy: the text may move
        if (lines.size() == first) header = text.substr(header_at, family.header_size);
        add_line(arrival->batch, *arrival->sample, value, header);
      }
      if (at == old_end) break;
      if (at == run_end) ++run, run_end += run->line_count;
      const auto next_arrival = arrival != arrivals.end() && arrival->family == f ? arrival->place : old_end;
      const auto end = std::min({old_end, run_end, static_cast<std::size_t>(next_arrival)});
      const auto now = change.now(run->batch);
      const auto copied = lines.size();
      if (now.empty()) {
        lines.insert(lines.end(), old_lines.begin() + static_cast<std::ptrdiff_t>(at),
                     old_lines.begin() + static_cast<std::ptrdiff_t>(end));
        series.insert(series.end(), old_series.begin() + static_cast<std::ptrdiff_t>(at),
                      old_series.begin() + static_cast<std::ptrdiff_t>(end));
        if (!old_tails.empty())
          tails.insert(tails.end(), old_tails.begin() + static_cast<std::ptrdiff_t>(at),
                       old_tails.begin() + static_cast<std::ptrdiff_t>(end));
      } else {
        lines.resize(copied + end - at);
        series.resize(copied + end - at);
        auto* line = lines.data() + copied;
        auto* info = series.data() + copied;
        for (auto i = at; i < end; ++i) {
          const auto value = now[old_lines[i].value];
          if (value == OrderChange::kGone) {
            if (!family_of.contains(family.desc)) return false;
            text_in_use -= room_of(i, old_lines[i], old_tails);
            continue;
          }
          if (!old_tails.empty()) tails.push_back(old_tails[i]);
          *line = old_lines[i];
          line->value = value;
          *info = old_series[i];
          ++line, ++info;
        }
        lines.resize(static_cast<std::size_t>(line - lines.data()));
        series.resize(lines.size());
      }
      if (lines.size() > copied) {
        if (runs.empty() || runs.back().batch != run->batch) runs.push_back({run->batch, 0});
        runs.back().line_count += lines.size() - copied;
        // The family's header moves to the line that leads now.
        auto& line = lines[copied];
        const bool led = line.at == header_at;
        if (led && copied != first) {
          line.at += family.header_size;
          line.text_size -= family.header_size;
          text_in_use -= family.header_size;
        } else if (!led && copied == first) {
          const auto was = line.at;
          const auto size = room_of(copied, line, tails);
          line.at = static_cast<std::uint32_t>(text.size());
          text.resize(text.size() + family.header_size + size);
          std::memcpy(text.data() + line.at, text.data() + header_at, family.header_size);
          std::memcpy(text.data() + line.at + family.header_size, text.data() + was, size);
          line.text_size += family.header_size;
          text_in_use += family.header_size;
        }
      }
      at = end;
    }
    if (lines.size() == first) return false;
    family.first = static_cast<std::uint32_t>(first);
    family.count = static_cast<std::uint32_t>(lines.size() - first);
  }
  for (std::size_t b = 0; b < batches.size(); ++b) {
    if (layouts[b] == batches[b]->layout) continue;
    orders.forget(layouts[b].get());
    layouts[b] = batches[b]->layout;
  }
  return true;
}

void PromText::Plan::render(Line& line, char* at, double value) {
  char* end = write_number(at, value);
  *end++ = '\n';
  line.bits = std::bit_cast<std::uint64_t>(value);
  line.value_size = static_cast<std::uint32_t>(end - at);
}

std::size_t PromText::Plan::find_exemplars(const std::vector<const Batch*>& batches) {
  exemplars.clear();
  std::size_t bytes = 0;
  if (format == Format::text || std::ranges::all_of(batches, [](const Batch* b) { return b->exemplars.empty(); }))
    return bytes;
  exemplars.resize(batches.size());
  for (std::size_t b = 0; b < batches.size(); ++b)
    for (const auto& e : batches[b]->exemplars) {
      exemplars[b].push_back({e.at, exemplar_text(e)});
      bytes += exemplars[b].back().text.size();
    }
  return bytes;
}

char* PromText::Plan::add_exemplar(const Line& line, const std::vector<ExemplarText>& of, char* at) const {
  if (line.value < of.front().value || line.value > of.back().value) return at;
  const auto found = std::ranges::lower_bound(of, line.value, {}, &ExemplarText::value);
  if (found == of.end() || found->value != line.value) return at;
  --at;  // the newline
  std::memcpy(at, found->text.data(), found->text.size());
  at += found->text.size();
  *at++ = '\n';
  return at;
}

template <bool kTails>
char* PromText::Plan::write_lines(const std::vector<const Batch*>& batches, char* at) {
  char* const base = text.data();
  Line* line = lines.data();
  for (const auto& run : runs) {
    const double* values = batches[run.batch]->values.data();
    const auto* added = exemplars.empty() || exemplars[run.batch].empty() ? nullptr : &exemplars[run.batch];
    for (Line* const end = line + run.line_count; line != end; ++line) {
      const double value = values[line->value];
      char* const from = base + line->at;
      if (std::bit_cast<std::uint64_t>(value) != line->bits) render(*line, from + line->text_size, value);
      std::memcpy(at, from, line->text_size + line->value_size);
      at += line->text_size + line->value_size;
      if (added) at = add_exemplar(*line, *added, at);
      if constexpr (kTails) {
        const auto tail = tails[static_cast<std::size_t>(line - lines.data())];
        std::memcpy(at, from + line->text_size + kValueRoom, tail);
        at += tail;
      }
    }
  }
  return at;
}

// Needs room for text_in_use and the end.
char* PromText::Plan::write(const std::vector<const Batch*>& batches, char* at) {
  at = format == Format::open_metrics_created ? write_lines<true>(batches, at) : write_lines<false>(batches, at);
  if (format == Format::text) return at;
  std::memcpy(at, kEnd.data(), kEnd.size());
  return at + kEnd.size();
}

PromText::PromText(Format format) : format_(format), orders_(std::make_unique<FamilyOrders>()) {}
PromText::~PromText() = default;
PromText::PromText(PromText&&) noexcept = default;
PromText& PromText::operator=(PromText&&) noexcept = default;

void PromText::encode(const Snapshot& snapshot, std::string& out, const std::function<bool(std::string_view)>& keep) {
  std::vector<const Batch*> batches;
  batches.reserve(snapshot.batches.size());
  for (const auto& batch : snapshot.batches)
    if (!keep || keep(batch->collector)) batches.push_back(batch.get());

  auto plan = std::ranges::find_if(plans_, [&](const auto& p) { return p->is_for(batches); });
  if (plan == plans_.end()) {
    auto made = std::make_unique<Plan>(format_);
    if (plans_.size() < kMaxPlans) plans_.push_back(nullptr);
    plan = plans_.end() - 1;
    *plan = std::move(made);
  }
  std::rotate(plans_.begin(), plan, plan + 1);
  Plan& current = *plans_.front();
  try {
    if (!have_layouts(batches, current.layouts) && !current.update(batches, *orders_)) current.build(batches, *orders_);
  } catch (...) {  // no memory: what is half done must not be taken for current
    plans_.erase(plans_.begin());
    throw;
  }

  // kValueRoom a line: the most it can become. What a longer text left in `out` is not zeroed again.
  out.resize(current.text_in_use + current.find_exemplars(batches) + (format_ == Format::text ? 0 : kEnd.size()));
  const char* end = current.write(batches, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()));
}

std::span<const std::string> PromText::conflicts() const {
  if (plans_.empty()) return {};
  return plans_.front()->conflicts;
}

}  // namespace vitald
