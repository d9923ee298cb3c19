// SPDX-License-Identifier: Apache-2.0
// A label set of the query language: immutable, one allocation, equal sets are equal bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metric.h"

namespace vitald::promql {

inline constexpr std::string_view kMetricName = "__name__";

class Labels {
 public:
  class Iterator {
   public:
    explicit Iterator(const char* at) : at_(at) {}
    Label operator*() const {
      const auto n = name_size();
      return {{at_ + kHeader, n}, {at_ + kHeader + n, value_size()}};
    }
    Iterator& operator++() {
      at_ += kHeader + name_size() + value_size();
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    std::uint16_t name_size() const { return read<std::uint16_t>(at_); }
    std::uint32_t value_size() const { return read<std::uint32_t>(at_ + sizeof(std::uint16_t)); }
    template <class T>
    static T read(const char* at) {
      T v;
      std::memcpy(&v, at, sizeof v);
      return v;
    }
    const char* at_;
  };

  Labels() = default;
  // Any order; empty values are left out, since a label with an empty value is a label that is not there.
  explicit Labels(std::vector<std::pair<std::string, std::string>> pairs);

  [[nodiscard]] Iterator begin() const { return Iterator(packed_.data()); }
  [[nodiscard]] Iterator end() const { return Iterator(packed_.data() + packed_.size()); }
  [[nodiscard]] bool empty() const { return packed_.empty(); }
  // Empty when it has no such label.
  [[nodiscard]] std::string_view get(std::string_view name) const;
  [[nodiscard]] std::string_view name() const { return get(kMetricName); }
  // name{a="b", c="d"}, as Prometheus prints it.
  [[nodiscard]] std::string text() const;
  // {__name__="name", a="b"}, as Prometheus prints it in matching errors.
  [[nodiscard]] std::string text_with_name() const;
  [[nodiscard]] const std::string& bytes() const { return packed_; }
  // Alertmanager's: the same for the same labels on every host and in every build (FNV-1a over name 0xff value 0xff).
  [[nodiscard]] std::uint64_t fingerprint() const;

  bool operator==(const Labels&) const = default;
  auto operator<=>(const Labels& o) const { return packed_ <=> o.packed_; }

  struct Hash {
    std::size_t operator()(const Labels& l) const { return std::hash<std::string>{}(l.packed_); }
  };

  [[nodiscard]] Labels without_name() const;
  // Without the labels that say what it is (is_identity()).
  [[nodiscard]] Labels without_identity() const;

 private:
  friend class LabelsBuilder;
  static constexpr std::size_t kHeader = sizeof(std::uint16_t) + sizeof(std::uint32_t);
  void append(std::string_view name, std::string_view value);
  std::string packed_;  // (u16 name size, u32 value size, name, value)*, sorted by name
};

// Changes a label set. Sources must outlive it: it keeps views until labels().
class LabelsBuilder {
 public:
  LabelsBuilder() = default;
  explicit LabelsBuilder(const Labels& base) {
    for (const Label l : base) labels_.push_back(l);
  }
  void set(std::string_view name, std::string_view value);
  void del(std::string_view name);
  [[nodiscard]] std::string_view get(std::string_view name) const;
  [[nodiscard]] Labels labels() const;

 private:
  std::vector<Label> labels_;  // sorted
};

// The labels of `l` that are in `names` (on) or that are not (ignoring, without: the metric name goes too).
Labels keep_labels(const Labels& l, const std::vector<std::string>& names);
Labels drop_labels(const Labels& l, const std::vector<std::string>& names);

// A label value or a pattern as PromQL writes it: in double quotes, escaped as Go does;
// bytes that are no character as \xc5.
std::string quoted(std::string_view text);

// What a name always could be, and can stand without quotes.
bool valid_label_name(std::string_view name);
bool valid_metric_name(std::string_view name);
// What it can be in quotes: any text that is UTF-8.
bool valid_quoted_name(std::string_view name);
// A label name as an expression has it: in quotes where it needs them.
std::string name_text(std::string_view name);
// Labels that say what a series is, and go where its name goes: __name__, __type__, __unit__.
bool is_identity(std::string_view name);

}  // namespace vitald::promql
