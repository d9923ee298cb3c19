// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <set>

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
std::string_view inner_label(const Sample& s) {
  if (s.part == Part::bucket) return "le";
  if (s.part == Part::value && s.family->type == MetricType::summary) return "quantile";
  return {};
}

struct Key {
  std::span<const Label> labels;
  std::string_view inner;

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
bool leaves_before(const Key& a, Part a_part, const Key& b, Part b_part) {
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
  if (a_part != b_part) return a_part < b_part;
  return a.inner_value() < b.inner_value();
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

// The families of one layout, sorted by name. Kept from plan to plan while the layout lives.
struct LayoutOrder {
  explicit LayoutOrder(std::shared_ptr<const Layout> of) : layout(std::move(of)) {
    for (const auto& s : layout->samples()) {
      if (s.family->shown == Shown::inside) continue;
      if (families.empty() || families.back().desc != s.family) families.push_back({s.family, 0, {}});
      families.back().samples.push_back(&s);
    }
    std::ranges::stable_sort(families, {}, [](const FamilyPart& f) { return f.desc->name; });
    join_same_descriptor();
    for (auto& f : families) sort(f.samples);
  }

  void sort(std::vector<const Sample*>& samples) const {
    const auto less = [this](const Sample* a, const Sample* b) {
      return leaves_before({layout->labels(*a), inner_label(*a)}, a->part, {layout->labels(*b), inner_label(*b)},
                           b->part);
    };
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

  std::shared_ptr<const Layout> layout;
  std::vector<FamilyPart> families;
};

}  // namespace

struct PromText::Plan {
  std::vector<std::string> collectors;
  std::vector<std::shared_ptr<const LayoutOrder>> orders;  // beside collectors
  std::string text;                                        // per line: what stands before the value, kValueRoom
  std::size_t line_start = 0;                              // while building: where the next line's text begins
  std::vector<Line> lines;
  std::vector<Run> runs;
  std::vector<std::string> conflicts;

  [[nodiscard]] bool is_for(const std::vector<const Batch*>& batches) const {
    return std::ranges::equal(batches, collectors, {}, &Batch::collector);
  }
  [[nodiscard]] bool is_current(const std::vector<const Batch*>& batches) const {
    return std::ranges::equal(
        batches, orders, {}, [](const Batch* b) { return b->layout.get(); },
        [](const auto& order) { return order->layout.get(); });
  }

  void build(const std::vector<const Batch*>& batches);
  void add_family(const MetricDesc& desc, std::span<const FamilyPart> parts, const std::vector<const Batch*>& batches);
  void add_line(const FamilyPart& part, const Sample& s, const Batch& batch);
  static void render(Line& line, char* at, double value);
  [[nodiscard]] char* write(const std::vector<const Batch*>& batches, char* at);
};

void PromText::Plan::build(const std::vector<const Batch*>& batches) {
  const auto before = std::move(orders);
  orders.clear();
  collectors.clear();
  text.clear();
  line_start = 0;
  lines.clear();
  runs.clear();
  conflicts.clear();

  std::vector<FamilyPart> parts;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto& layout = batches[i]->layout;
    const auto known = std::ranges::find(before, layout, &LayoutOrder::layout);
    orders.push_back(known != before.end() ? *known : std::make_shared<const LayoutOrder>(layout));
    collectors.push_back(batches[i]->collector);
    for (const auto& family : orders.back()->families) {
      parts.push_back(family);
      parts.back().batch = i;
    }
  }
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
  const std::size_t header = text.size();
  if (!desc.help.empty()) {
    text.append("# HELP ").append(desc.name).append(" ");
    append_help(text, desc.help);
    text += '\n';
  }
  text.append("# TYPE ").append(desc.name).append(" ").append(to_string(desc.type)).append("\n");
  const std::size_t first_line = lines.size();

  if (parts.size() == 1) {
    for (const auto* s : parts[0].samples) add_line(parts[0], *s, *batches[parts[0].batch]);
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
    const auto layout = [&](const Entry& e) -> const Layout& { return *batches[e.part->batch]->layout; };
    const auto prefix = [&](const Entry& e) { return layout(e).prefix(*e.sample); };
    std::ranges::stable_sort(entries, [&](const Entry& a, const Entry& b) {
      return leaves_before({layout(a).labels(*a.sample), inner_label(*a.sample)}, a.sample->part,
                           {layout(b).labels(*b.sample), inner_label(*b.sample)}, b.sample->part);
    });
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0 && prefix(entries[i]) == prefix(entries[i - 1])) {
        conflicts.push_back(fmt::format("{}: {} gives it too; left out", trim(prefix(entries[i])),
                                        batches[entries[i].part->batch]->collector));
        continue;
      }
      add_line(*entries[i].part, *entries[i].sample, *batches[entries[i].part->batch]);
    }
  }
  if (lines.size() == first_line) text.resize(header);
}

void PromText::Plan::add_line(const FamilyPart& part, const Sample& s, const Batch& batch) {
  text += batch.layout->prefix(s);
  Line line;
  line.value = s.value;
  line.text_size = static_cast<std::uint32_t>(text.size() - line_start);
  text.resize(text.size() + kValueRoom);
  render(line, text.data() + line_start + line.text_size, batch.values[s.value]);
  lines.push_back(line);
  line_start = text.size();
  if (runs.empty() || runs.back().batch != part.batch) runs.push_back({part.batch, 0});
  ++runs.back().line_count;
}

void PromText::Plan::render(Line& line, char* at, double value) {
  char* end = write_number(at, value);
  *end++ = '\n';
  line.bits = std::bit_cast<std::uint64_t>(value);
  line.value_size = static_cast<std::uint32_t>(end - at);
}

char* PromText::Plan::write(const std::vector<const Batch*>& batches, char* at) {
  char* from = text.data();
  Line* line = lines.data();
  for (const auto& run : runs) {
    const double* values = batches[run.batch]->values.data();
    for (Line* const end = line + run.line_count; line != end; ++line) {
      const double value = values[line->value];
      if (std::bit_cast<std::uint64_t>(value) != line->bits) render(*line, from + line->text_size, value);
      std::memcpy(at, from, line->text_size + line->value_size);
      at += line->text_size + line->value_size;
      from += line->text_size + kValueRoom;
    }
  }
  return at;
}

PromText::PromText() = default;
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
    if (plans_.size() < kMaxPlans) plans_.push_back(nullptr);
    plan = plans_.end() - 1;
    *plan = std::make_unique<Plan>();
  }
  std::rotate(plans_.begin(), plan, plan + 1);
  Plan& current = *plans_.front();
  if (!current.is_current(batches)) current.build(batches);

  // kValueRoom a line: the most it can become. What a longer text left in `out` is not zeroed again.
  out.resize(current.text.size());
  const char* end = current.write(batches, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()));
}

std::span<const std::string> PromText::conflicts() const {
  if (plans_.empty()) return {};
  return plans_.front()->conflicts;
}

}  // namespace vitald
