// SPDX-License-Identifier: Apache-2.0
#include "core/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <forward_list>
#include <functional>
#include <iterator>

#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {

std::string_view Layout::name(const Sample& s) const {
  const auto line = prefix(s);
  return line.substr(0, line.find_first_of("{ "));
}

// Turns what a writer recorded into a Layout. Runs only when something changed, so it may allocate.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(const BatchWriter& writer) : writer_(writer), out_(std::make_shared<Layout>()) {}

  std::shared_ptr<const Layout> build() {
    if (const auto* before = writer_.layout_.get()) {  // it will be about as large
      out_->samples_.reserve(before->samples_.size() + 16);
      out_->text_.reserve(before->text_.size() + 1024);
      out_->arena_.reserve(before->arena_.size() + 1024);
      pieces_.reserve(before->labels_.size() + 32);
    }
    for (const auto& emit : writer_.emits_) add(emit);
    shrink(out_->samples_);
    shrink(out_->text_);
    shrink(out_->arena_);
    // Views into the arena only now: it does not move any more.
    const std::string_view arena = out_->arena_;
    out_->labels_.reserve(pieces_.size());
    for (const auto& p : pieces_)
      out_->labels_.push_back({arena.substr(p.name, p.name_size), arena.substr(p.value, p.value_size)});
    out_->pools_ = writer_.pools_;
    out_->value_count_ = value_;
    return out_;
  }

 private:
  // Copies everything: worth it only where much is free.
  static void shrink(auto& container) {
    if (container.capacity() - container.size() > container.size() / 8) container.shrink_to_fit();
  }

  struct Piece {
    std::size_t name, name_size, value, value_size;
  };
  struct Pair {
    std::string_view name, value;
  };

  void add(const BatchWriter::Emit& emit) {
    parts_.clear();
    const char* at = writer_.keys_.data() + emit.key_offset;
    for (unsigned i = 0; i < emit.key_parts; ++i) {
      std::uint32_t size;
      std::memcpy(&size, at, sizeof size);
      parts_.emplace_back(at + sizeof size, size);
      at += sizeof size + size;
    }
    auto& pairs = pairs_;
    pairs.clear();
    mended_.clear();
    std::span<const std::string_view> values = parts_;
    if (emit.kind >= BatchWriter::Kind::labels) {
      for (std::size_t i = 0; i + 1 < parts_.size(); i += 2) pairs.push_back({parts_[i], valid(parts_[i + 1])});
    } else {
      if (emit.kind == BatchWriter::Kind::histogram) values = values.first(values.size() - 1);
      std::string_view names = emit.desc->labels;
      for (const auto value : values) pairs.push_back({take_until(names, ','), valid(value)});
    }
    if (pairs.size() > 1) std::ranges::sort(pairs, {}, &Pair::name);

    if (emit.kind != BatchWriter::Kind::histogram) {
      const auto part = emit.kind < BatchWriter::Kind::labels
                            ? 0
                            : static_cast<int>(emit.kind) - static_cast<int>(BatchWriter::Kind::labels);
      sample(emit.desc, static_cast<Part>(part), pairs);
      return;
    }
    const auto bounds = parts_.back();
    const std::size_t count = bounds.size() / sizeof(double);
    for (std::size_t i = 0; i <= count; ++i) {
      std::string le = "+Inf";
      if (i < count) {
        double bound;
        std::memcpy(&bound, bounds.data() + i * sizeof bound, sizeof bound);
        le = fmt::format("{}", bound);
      }
      auto with_le = pairs;
      with_le.push_back({"le", le});
      std::ranges::sort(with_le, {}, &Pair::name);
      sample(emit.desc, Part::bucket, with_le);
    }
    sample(emit.desc, Part::sum, pairs);
    sample(emit.desc, Part::count, pairs);
  }

  std::string_view valid(std::string_view value) {
    return is_valid_utf8(value) ? value : mended_.emplace_front(valid_utf8(value));
  }

  // False when that line was there before. The table is at most half full, by fingerprint; 0 is a free place.
  bool add_line(std::string_view line, std::uint64_t fingerprint) {
    if (out_->samples_.size() * 2 >= seen_.size()) {
      seen_.assign(std::max<std::size_t>(seen_.size() * 2, 64), 0);
      for (std::size_t i = 0; i < out_->samples_.size(); ++i)
        *place(out_->samples_[i].fingerprint, {}) = static_cast<std::uint32_t>(i + 1);
    }
    auto* const at = place(fingerprint, line);
    if (*at != 0) return false;
    *at = static_cast<std::uint32_t>(out_->samples_.size() + 1);
    return true;
  }
  // Where that line is, or would be; without a line: the next free place.
  std::uint32_t* place(std::uint64_t fingerprint, std::string_view line) {
    for (std::size_t i = fingerprint;; ++i) {
      auto& at = seen_[i & (seen_.size() - 1)];
      if (at == 0) return &at;
      if (line.empty()) continue;
      const auto& other = out_->samples_[at - 1];
      if (other.fingerprint == fingerprint && out_->prefix(other) == line) return &at;
    }
  }

  void sample(const MetricDesc* family, Part part, const std::vector<Pair>& pairs) {
    static constexpr std::string_view kSuffix[] = {"", "_bucket", "_sum", "_count"};
    std::string& text = out_->text_;
    const auto offset = text.size();
    text += family->name;
    text += kSuffix[static_cast<std::size_t>(part)];
    char separator = '{';
    for (const auto& pair : pairs) {
      text += separator;
      text += pair.name;
      text += "=\"";
      for (const char c : pair.value) {
        if (c == '\\') text += "\\\\";
        else if (c == '"') text += "\\\"";
        else if (c == '\n') text += "\\n";
        else text += c;
      }
      text += '"';
      separator = ',';
    }
    text += pairs.empty() ? " " : "} ";

    const auto index = value_++;
    const std::string_view line = std::string_view(text).substr(offset);
    const auto fingerprint = std::hash<std::string_view>{}(line);
    if (!add_line(line, fingerprint)) {
      out_->duplicates_.emplace_back(line.substr(0, line.size() - 1));
      text.resize(offset);
      return;
    }
    Sample s;
    s.family = family;
    s.part = part;
    s.label_count = static_cast<std::uint16_t>(pairs.size());
    s.first_label = static_cast<std::uint32_t>(pieces_.size());
    s.text_offset = static_cast<std::uint32_t>(offset);
    s.text_size = static_cast<std::uint32_t>(line.size());
    s.value = index;
    s.fingerprint = fingerprint;
    out_->samples_.push_back(s);
    for (const auto& pair : pairs) {
      std::string& arena = out_->arena_;
      const auto name = arena.size();
      arena += pair.name;
      const auto value = arena.size();
      arena += pair.value;
      pieces_.push_back({name, pair.name.size(), value, pair.value.size()});
    }
  }

  const BatchWriter& writer_;
  std::shared_ptr<Layout> out_;
  std::vector<std::string_view> parts_;
  std::vector<Piece> pieces_;
  std::vector<Pair> pairs_;                // of the sample at hand
  std::forward_list<std::string> mended_;  // what of it was no UTF-8
  std::vector<std::uint32_t> seen_;        // hash table of 1 + index into samples_
  std::uint32_t value_ = 0;
};

void BatchWriter::begin(std::int64_t boot_ns) {
  next_ = 0;
  changed_ = layout_ == nullptr;
  boot_ns_ = boot_ns;
  values_.clear();
  values_.reserve(values_expected_);
  problems_.clear();
  pools_.clear();
}

void BatchWriter::use(const DescPoolPtr& pool) { pools_.push_back(pool); }

void BatchWriter::diverge(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key,
                          std::uint32_t value_count) {
  if (!changed_) {  // what was emitted so far stays; the rest is recorded anew
    changed_ = true;
    if (next_ < emits_.size()) keys_.resize(emits_[next_].key_offset);
  }
  if (next_ == 0) keys_.clear();
  emits_.resize(next_);
  emits_.push_back(
      {&desc, static_cast<std::uint32_t>(keys_.size()), static_cast<std::uint16_t>(key.size()), kind, value_count});
  for (const auto part : key) {
    const auto size = static_cast<std::uint32_t>(part.size());
    keys_.append(reinterpret_cast<const char*>(&size), sizeof size);
    keys_.append(part);
  }
  ++next_;
}

void BatchWriter::set_labels(const MetricDesc& desc, double value, std::span<const Label> labels, Part part) {
  std::string_view small[32];
  std::vector<std::string_view> large;
  std::span<std::string_view> key = small;
  if (labels.size() * 2 > std::size(small)) {
    large.resize(labels.size() * 2);
    key = large;
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    key[2 * i] = labels[i].name;
    key[2 * i + 1] = labels[i].value;
  }
  const auto kind = static_cast<Kind>(static_cast<int>(Kind::labels) + static_cast<int>(part));
  place(desc, kind, key.first(labels.size() * 2), 1);
  values_.push_back(value);
}

void BatchWriter::put_histogram(const MetricDesc& desc, const HistogramView& h, std::span<const std::string_view> key) {
  std::string_view with_bounds[17];
  if (key.size() >= std::size(with_bounds) || h.counts.size() != h.bounds.size() + 1) {
    problem(
        {Errc::malformed, 0, fmt::format("{}: {} counts for {} bounds", desc.name, h.counts.size(), h.bounds.size())});
    return;
  }
  std::ranges::copy(key, with_bounds);
  with_bounds[key.size()] = {reinterpret_cast<const char*>(h.bounds.data()), h.bounds.size_bytes()};
  place(desc, Kind::histogram, std::span(with_bounds).first(key.size() + 1),
        static_cast<std::uint32_t>(h.counts.size() + 2));
  double total = 0;
  for (const auto n : h.counts) values_.push_back(total += static_cast<double>(n));
  values_.push_back(h.sum);
  values_.push_back(total);
}

BatchPtr BatchWriter::finish(const Result<>& outcome, std::int64_t wall_ns, std::int64_t cpu_ns) {
  if (!changed_ && next_ < emits_.size()) {  // the same as before, only fewer
    changed_ = true;
    keys_.resize(emits_[next_].key_offset);
    emits_.resize(next_);
  }
  if (changed_) {
    if (next_ == 0) emits_.clear(), keys_.clear();
    layout_ = LayoutBuilder(*this).build();
    values_expected_ = values_.size();
  }
  auto batch = std::make_shared<Batch>();
  batch->collector = collector_;
  batch->layout = layout_;
  batch->values = std::move(values_);
  batch->collected_boot_ns = boot_ns_;
  batch->health.ok = outcome.has_value();
  if (!outcome) batch->health.error = outcome.error();
  batch->health.problems = std::move(problems_);
  batch->health.wall_ns = wall_ns;
  batch->health.cpu_ns = cpu_ns;
  for (const auto& series : layout_->duplicates())
    batch->health.problems.push_back({Errc::malformed, 0, "emitted twice, first one kept: " + series});
  values_ = {};
  problems_ = {};
  return batch;
}

}  // namespace vitald
