// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <set>
#include <unordered_map>

#include "core/text/number.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"

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

// The series of one family in one layout, in the order they leave.
struct FamilyPart {
  const MetricDesc* desc = nullptr;
  std::size_t batch = 0;
  std::vector<const Sample*> samples;
};

// The label that tells the samples of one histogram or summary apart: it does not take part in their order.
std::string_view inner_label(const MetricDesc& family, Part part) {
  if (part == Part::bucket) return "le";
  if (part == Part::value && family.type == MetricType::summary) return "quantile";
  return {};
}

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
  [[nodiscard]] double inner_value() const {
    const auto at = inner.empty() ? labels.end() : std::ranges::find(labels, inner, &Label::name);
    return at == labels.end() ? 0 : parse_double(at->value).value_or(0);
  }
};

// client_golang's order: by label values in the order of the label names. A histogram's buckets by bound,
// then its sum, then its count.
bool leaves_before(const Key& a, const Key& b) {
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
  return a.inner_value() < b.inner_value();
}
bool leaves_before(const Sample& a, const Sample& b) {
  return leaves_before(Key(*a.family, *a.series), Key(*b.family, *b.series));
}

void append_help(std::string& out, std::string_view help) {
  std::string mended;
  if (!is_fit_text(help)) help = mended = fit_text(help);
  for (const char c : help) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else out += c;
  }
}

// Lines [first, first + count): one family, its HELP and TYPE in front of the first.
struct FamilyLines {
  const MetricDesc* desc = nullptr;
  std::uint32_t first = 0, count = 0, header_size = 0;
};

}  // namespace

// The families of one layout, sorted by name.
struct PromText::LayoutOrder {
  explicit LayoutOrder(const Layout& layout) {
    for (const auto& s : layout.samples()) {
      if (s.family->shown == Shown::inside) continue;
      if (families.empty() || families.back().desc != s.family) families.push_back({s.family, 0, {}});
      families.back().samples.push_back(&s);
    }
    std::ranges::stable_sort(families, {}, [](const FamilyPart& f) { return f.desc->name; });
    join_same_descriptor();
    for (auto& f : families) sort(f.samples);
  }

  static void sort(std::vector<const Sample*>& samples) {
    const auto less = [](const Sample* a, const Sample* b) { return leaves_before(*a, *b); };
    if (!std::ranges::is_sorted(samples, less)) std::ranges::stable_sort(samples, less);
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

  std::vector<FamilyPart> families;
};

struct PromText::Plan {
  std::vector<std::string> collectors;
  std::vector<std::shared_ptr<const Layout>> layouts;  // beside collectors
  std::string text;                                    // per line: what stands before the value, kValueRoom
  std::size_t text_in_use = 0;                         // the rest is of lines that went
  std::vector<Line> lines;
  std::vector<const SeriesInfo*> series;  // beside lines
  std::vector<Run> runs;
  std::vector<FamilyLines> families;  // in the order they leave
  std::unordered_map<const MetricDesc*, std::uint32_t> family_of;
  std::vector<std::string> conflicts;

  [[nodiscard]] bool is_for(const std::vector<const Batch*>& batches) const {
    return std::ranges::equal(batches, collectors, {}, &Batch::collector);
  }
  [[nodiscard]] bool is_current(const std::vector<const Batch*>& batches) const {
    return std::ranges::equal(
        batches, layouts, {}, [](const Batch* b) { return b->layout.get(); },
        [](const auto& layout) { return layout.get(); });
  }

  void build(const std::vector<const Batch*>& batches, LayoutMap<LayoutOrder>& orders);
  [[nodiscard]] char* write(const std::vector<const Batch*>& batches, char* at);

  // Takes what came and went over from the layouts before. False when that is not possible; then build() must follow.
  [[nodiscard]] bool update(const std::vector<const Batch*>& batches, LayoutMap<LayoutOrder>& orders);

 private:
  struct Arrival {
    std::uint32_t family = 0, line = 0;  // stands in front of that line of before
    std::size_t batch = 0;
    const Sample* sample = nullptr;
  };
  static constexpr std::uint32_t kGone = UINT32_MAX;

  void add_family(const MetricDesc& desc, std::span<const FamilyPart> parts, const std::vector<const Batch*>& batches);
  void add_line(std::size_t batch, const Sample& s, double value, std::string_view header = {});
  void count_line(std::size_t batch);
  static void render(Line& line, char* at, double value);
  [[nodiscard]] bool find_changes(const std::vector<const Batch*>& batches);
  [[nodiscard]] bool find_places();

  // Of update(), kept for their memory.
  std::vector<Line> old_lines;
  std::vector<const SeriesInfo*> old_series;
  std::vector<Run> old_runs;
  std::vector<std::vector<std::uint32_t>>
      new_value_of;  // by batch, where its layout changed: the value's index, or kGone
  std::vector<Arrival> arrivals;
};

// `header`: of the family, whose first line this is.
void PromText::Plan::add_line(std::size_t batch, const Sample& s, double value, std::string_view header) {
  const auto prefix = Layout::prefix(s);
  Line line;
  line.value = s.value;
  line.at = static_cast<std::uint32_t>(text.size());
  line.text_size = static_cast<std::uint32_t>(header.size() + prefix.size());
  text.append(header).append(prefix);
  text.resize(text.size() + kValueRoom);
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

void PromText::Plan::build(const std::vector<const Batch*>& batches, LayoutMap<LayoutOrder>& orders) {
  layouts.clear();
  collectors.clear();
  text.clear();
  text_in_use = 0;
  lines.clear();
  series.clear();
  runs.clear();
  families.clear();
  family_of.clear();
  conflicts.clear();

  std::vector<FamilyPart> parts;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    layouts.push_back(batches[i]->layout);
    collectors.push_back(batches[i]->collector);
    for (const auto& family : orders.of(batches[i]->layout, [](const Layout& l) { return LayoutOrder(l); }).families) {
      parts.push_back(family);
      parts.back().batch = i;
    }
  }
  orders.forget_unused();
  std::ranges::stable_sort(parts, {}, [](const FamilyPart& f) { return f.desc->name; });

  std::set<std::string, std::less<>> taken;  // the names that histograms and summaries use beside their own
  for (std::size_t first = 0, end; first < parts.size(); first = end) {
    const MetricDesc& desc = *parts[first].desc;
    for (end = first + 1; end < parts.size() && parts[end].desc->name == desc.name;) ++end;
    if (taken.contains(desc.name)) {
      conflicts.push_back(
          fmt::format("{}: {} gives a family with the name of a histogram's or summary's part; left out", desc.name,
                      batches[parts[first].batch]->collector));
      continue;
    }
    if (desc.type == MetricType::histogram || desc.type == MetricType::summary)
      for (const auto* suffix : {"_bucket", "_sum", "_count"}) taken.insert(std::string(desc.name) + suffix);
    add_family(desc, std::span(parts).subspan(first, end - first), batches);
  }
}

void PromText::Plan::add_family(const MetricDesc& desc, std::span<const FamilyPart> parts,
                                const std::vector<const Batch*>& batches) {
  std::string header;
  if (!desc.help.empty()) {
    header.append("# HELP ").append(desc.name).append(" ");
    append_help(header, desc.help);
    header += '\n';
  }
  header.append("# TYPE ").append(desc.name).append(" ").append(to_string(desc.type)).append("\n");
  FamilyLines family{&desc, static_cast<std::uint32_t>(lines.size()), 0, static_cast<std::uint32_t>(header.size())};

  const auto add = [&](std::size_t batch, const Sample& s) {
    const bool leads = lines.size() == family.first;
    add_line(batch, s, batches[batch]->values[s.value], leads ? header : std::string_view());
  };
  if (parts.size() == 1) {
    for (const auto* s : parts[0].samples) add(parts[0].batch, *s);
  } else {
    struct Entry {
      const FamilyPart* part;
      const Sample* sample;
    };
    std::vector<Entry> entries;
    for (const auto& part : parts) {
      if (part.desc->type != desc.type) {
        conflicts.push_back(fmt::format("{}: {} calls it a {}, {} already a {}; left out", desc.name,
                                        batches[part.batch]->collector, to_string(part.desc->type),
                                        batches[parts[0].batch]->collector, to_string(desc.type)));
        continue;
      }
      for (const auto* s : part.samples) entries.push_back({&part, s});
    }
    std::ranges::stable_sort(entries,
                             [](const Entry& a, const Entry& b) { return leaves_before(*a.sample, *b.sample); });
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto prefix = Layout::prefix(*entries[i].sample);
      if (i > 0 && prefix == Layout::prefix(*entries[i - 1].sample)) {
        conflicts.push_back(
            fmt::format("{}: {} gives it too; left out", trim(prefix), batches[entries[i].part->batch]->collector));
        continue;
      }
      add(entries[i].part->batch, *entries[i].sample);
    }
  }
  family.count = static_cast<std::uint32_t>(lines.size()) - family.first;
  if (family.count == 0) return;
  // Where descriptors of one name say different things, only build() decides which one leaves.
  const bool one = std::ranges::all_of(parts, [&](const FamilyPart& p) { return p.desc == &desc; });
  if (one) family_of.emplace(&desc, static_cast<std::uint32_t>(families.size()));
  families.push_back(family);
}

// ---- one series of many comes or goes

// Which values of a batch have which index now, and what is new.
bool PromText::Plan::find_changes(const std::vector<const Batch*>& batches) {
  new_value_of.resize(batches.size());
  arrivals.clear();
  for (std::size_t b = 0; b < batches.size(); ++b) {
    auto& now = new_value_of[b];
    now.clear();
    if (batches[b]->layout == layouts[b]) continue;
    const auto changes = LayoutChange::between(*layouts[b], *batches[b]->layout);
    if (!changes) return false;
    const auto before = layouts[b]->samples(), after = batches[b]->layout->samples();
    now.assign(layouts[b]->value_count(), kGone);
    std::size_t from = 0, to = 0;
    const auto keep_until = [&](std::size_t end) {
      for (; from < end; ++from, ++to) now[before[from].value] = after[to].value;
    };
    for (const auto& c : *changes) {
      keep_until(c.before);
      from += c.gone;
      for (const auto end = to + c.come; to < end; ++to) {
        if (after[to].family->shown == Shown::inside) continue;
        const auto family = family_of.find(after[to].family);
        if (family == family_of.end()) return false;
        arrivals.push_back({family->second, 0, b, &after[to]});
      }
    }
    keep_until(before.size());
  }
  return true;
}

// Where the new ones stand; false when one is there already.
bool PromText::Plan::find_places() {
  for (auto& a : arrivals) {
    const auto& family = families[a.family];
    const auto first = series.begin() + family.first, last = first + family.count;
    const auto at = std::lower_bound(first, last, a.sample, [&](const SeriesInfo* known, const Sample* s) {
      return leaves_before({*family.desc, *known}, {*family.desc, *s->series});
    });
    a.line = static_cast<std::uint32_t>(at - series.begin());
  }
  std::ranges::stable_sort(arrivals, [](const Arrival& a, const Arrival& b) {
    if (a.family != b.family) return a.family < b.family;
    if (a.line != b.line) return a.line < b.line;
    return leaves_before(*a.sample, *b.sample);
  });
  const auto same = [](const Arrival& a, const Arrival& b) {
    return a.family == b.family && Layout::prefix(*a.sample) == Layout::prefix(*b.sample);
  };
  return std::ranges::adjacent_find(arrivals, same) == arrivals.end();
}

bool PromText::Plan::update(const std::vector<const Batch*>& batches, LayoutMap<LayoutOrder>& orders) {
  if (!conflicts.empty() || layouts.size() != batches.size() || text_in_use * 2 < text.size()) return false;
  if (!find_changes(batches) || !find_places()) return false;
  lines.swap(old_lines);
  series.swap(old_series);
  runs.swap(old_runs);
  lines.clear();
  series.clear();
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
      for (; arrival != arrivals.end() && arrival->family == f && arrival->line == at; ++arrival) {
        const auto& prefix = Layout::prefix(*arrival->sample);
        if (at < old_end && std::string_view(old_series[at]->text, old_series[at]->text_size) == prefix) {
          // The same line: from another batch it is a conflict, from its own it went and came.
          if (at >= run_end) ++run, run_end += run->line_count;
          if (new_value_of[run->batch].empty() || new_value_of[run->batch][old_lines[at].value] != kGone) return false;
        }
        const auto value = batches[arrival->batch]->values[arrival->sample->value];
        std::string header;  // a copy: the text may move
        if (lines.size() == first) header = text.substr(header_at, family.header_size);
        add_line(arrival->batch, *arrival->sample, value, header);
      }
      if (at == old_end) break;
      if (at == run_end) ++run, run_end += run->line_count;
      const auto next_arrival = arrival != arrivals.end() && arrival->family == f ? arrival->line : old_end;
      const auto end = std::min({old_end, run_end, static_cast<std::size_t>(next_arrival)});
      const auto& now = new_value_of[run->batch];
      const auto copied = lines.size();
      if (now.empty()) {
        lines.insert(lines.end(), old_lines.begin() + static_cast<std::ptrdiff_t>(at),
                     old_lines.begin() + static_cast<std::ptrdiff_t>(end));
        series.insert(series.end(), old_series.begin() + static_cast<std::ptrdiff_t>(at),
                      old_series.begin() + static_cast<std::ptrdiff_t>(end));
      } else {
        lines.resize(copied + end - at);
        series.resize(copied + end - at);
        auto* line = lines.data() + copied;
        auto* info = series.data() + copied;
        for (auto i = at; i < end; ++i) {
          const auto value = now[old_lines[i].value];
          if (value == kGone) {
            text_in_use -= old_lines[i].text_size + kValueRoom;
            continue;
          }
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
          const auto size = line.text_size + kValueRoom;
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

char* PromText::Plan::write(const std::vector<const Batch*>& batches, char* at) {
  char* const base = text.data();
  Line* line = lines.data();
  for (const auto& run : runs) {
    const double* values = batches[run.batch]->values.data();
    for (Line* const end = line + run.line_count; line != end; ++line) {
      const double value = values[line->value];
      char* const from = base + line->at;
      if (std::bit_cast<std::uint64_t>(value) != line->bits) render(*line, from + line->text_size, value);
      std::memcpy(at, from, line->text_size + line->value_size);
      at += line->text_size + line->value_size;
    }
  }
  return at;
}

PromText::PromText() : orders_(std::make_unique<LayoutMap<LayoutOrder>>()) {}
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
    auto made = std::make_unique<Plan>();
    if (plans_.size() < kMaxPlans) plans_.push_back(nullptr);
    plan = plans_.end() - 1;
    *plan = std::move(made);
  }
  std::rotate(plans_.begin(), plan, plan + 1);
  Plan& current = *plans_.front();
  try {
    if (!current.is_current(batches) && !current.update(batches, *orders_)) current.build(batches, *orders_);
  } catch (...) {  // no memory: what is half done must not be taken for current
    plans_.erase(plans_.begin());
    throw;
  }

  // kValueRoom a line: the most it can become. What a longer text left in `out` is not zeroed again.
  out.resize(current.text_in_use);
  const char* end = current.write(batches, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()));
}

std::span<const std::string> PromText::conflicts() const {
  if (plans_.empty()) return {};
  return plans_.front()->conflicts;
}

}  // namespace vitald
