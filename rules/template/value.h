// SPDX-License-Identifier: Apache-2.0
// What a template computes with: the few of Go's types that Prometheus puts into one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/alert.h"

namespace vitald::text_template {

class Value;
struct ValueMap;  // of `args`

struct Integer {
  std::int64_t value = 0;
  enum class Type : std::uint8_t { int_, uint8 } type = Type::int_;
};
// A query's result.
struct Sample {
  LabelMap labels;
  double value = 0;
};
using SamplePtr = std::shared_ptr<const Sample>;
using Samples = std::vector<SamplePtr>;
struct Time {
  std::int64_t seconds = 0;  // since the epoch, UTC
  std::int64_t nanos = 0;    // 0..999,999,999
};
struct Duration {
  std::int64_t nanos = 0;
};
// A month or a weekday: a number that shows as its name.
struct Named {
  std::int64_t value = 0;
  std::string_view name, type;
};
// What `.` is at the top.
struct Data {
  std::shared_ptr<const LabelMap> labels, external_labels;
  std::string external_url;
  double value = 0;
  std::string histogram = {};  // in place of the value, as it is printed
};

class Value {
 public:
  using Any = std::variant<std::monostate, bool, Integer, double, std::string, std::shared_ptr<const LabelMap>,
                           std::shared_ptr<const ValueMap>, std::shared_ptr<const Samples>, SamplePtr, Time, Duration,
                           Named, std::shared_ptr<const Data>>;
  Value() = default;  // nil: nothing, which shows as <no value>
  template <class T>
  requires std::is_constructible_v<Any, T&&> Value(T&& v)
      : any_(std::forward<T>(v)) {}  // NOLINT(google-explicit-constructor)
  Value(const char* text) : any_(std::string(text)) {}

  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&any_);
  }
  [[nodiscard]] bool nil() const { return any_.index() == 0; }
  [[nodiscard]] const Any& any() const { return any_; }

  // As Go calls it: "float64", "map[string]string".
  [[nodiscard]] std::string_view type() const;
  // What `if` makes of it.
  [[nodiscard]] bool truth() const;

 private:
  Any any_;
};

struct ValueMap : std::map<std::string, Value> {
  std::size_t depth = 1;  // of maps in maps
};

// What went wrong while a template was expanded.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A template that writes more than this, or takes more steps, ends in an error: texts go to people.
inline constexpr std::size_t kMaxOutput = 64 * 1024;
inline constexpr std::size_t kMaxSteps = 200'000;
inline constexpr std::size_t kMaxDepth = 100;  // of parentheses, ifs and templates: parsing and expanding recurse

// Throws when a text of this size would be too long.
void check_size(std::size_t size);

}  // namespace vitald::text_template
