// SPDX-License-Identifier: Apache-2.0
// A metric is declared once, next to the code that reads it. HELP and TYPE lines, OTLP units, the docs
// row and the lint all come from that one declaration.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace vitald {

enum class MetricType : std::uint8_t { counter, gauge, untyped, histogram, summary };

std::string_view to_string(MetricType type);

// Who gets to see a family: `inside` is for derivers only, no encoder writes it.
enum class Shown : std::uint8_t { everywhere, inside };

struct MetricDesc {
  std::string_view name;  // the full literal name, so that searching the source finds it
  MetricType type = MetricType::untyped;
  std::string_view help = {};
  std::string_view labels = {};  // label names in the order set() takes their values: "cpu,mode"
  std::string_view unit = {};    // base unit as in the name: "seconds", "bytes", "celsius"; empty when none
  std::string_view source = {};  // where the number comes from, for docs/metrics.md: "/proc/stat"
  Shown shown = Shown::everywhere;
};

struct Label {
  std::string_view name, value;
  bool operator==(const Label&) const = default;
};

// Families whose names exist only at run time (one per /proc/meminfo row, per textfile family, ...).
// Append-only; every Layout that uses one of its descriptors keeps the pool alive (BatchWriter::use),
// so a descriptor's address stays valid and unique for as long as anything compares against it.
// Not thread-safe: one pool belongs to one collector.
class DescPool {
 public:
  // The descriptor with this name; made from the arguments when it is new. Later calls with the same
  // name return the first one, whatever the other arguments say: a family has one type and one help.
  const MetricDesc& get(std::string_view name, MetricType type, std::string_view help, std::string_view labels = {},
                        std::string_view unit = {}, std::string_view source = {}, Shown shown = Shown::everywhere);
  [[nodiscard]] const MetricDesc* find(std::string_view name) const;
  [[nodiscard]] std::size_t size() const { return descs_.size(); }

 private:
  std::string_view keep(std::string_view text);
  std::deque<std::string> texts_;
  std::deque<MetricDesc> descs_;
  std::map<std::string_view, const MetricDesc*> by_name_;
};
using DescPoolPtr = std::shared_ptr<DescPool>;

}  // namespace vitald
