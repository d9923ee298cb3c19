// SPDX-License-Identifier: Apache-2.0
// Flags as data. A collector declares its flags in a table beside its code; the command line, the YAML
// file (collectors: {netdev: {device_exclude: ...}}), --help and docs/cli.md all come from those tables.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vitald {

enum class FlagType : std::uint8_t {
  boolean,  // --x, --no-x
  text,
  pattern,   // RE2; checked before any collector is made
  duration,  // 500ms, 15s, 5m
  number,    // signed integer
  list,      // may be given several times
  words,     // some of `choices`, with commas between
};

struct FlagSpec {
  std::string_view name;  // without dashes: "collector.netdev.device-exclude"
  FlagType type = FlagType::text;
  std::string_view fallback = {};  // the default, as one would write it
  std::string_view help = {};
  std::string_view replaces = {};  // an older spelling, accepted with a warning
  // What a value may be beyond its type. It is checked where flags are read, and told by --help and the docs.
  std::int64_t least = INT64_MIN, most = INT64_MAX;  // of a number; of a duration in nanoseconds
  std::span<const std::string_view> choices = {};    // the only ones there are
  std::string_view begins_with = {};
};

// The values in force. Every name that is asked for must have been declared; asking for another is a bug
// and aborts (core/check.h).
class Options {
 public:
  void declare(std::span<const FlagSpec> flags);
  void set(std::string_view name, std::string value);     // replaces
  void append(std::string_view name, std::string value);  // for lists; the first one replaces the default

  [[nodiscard]] std::string_view text(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::int64_t number(std::string_view name) const;
  [[nodiscard]] std::int64_t duration_ns(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> list(std::string_view name) const;
  // Given by the user, in the file or on the command line.
  [[nodiscard]] bool given(std::string_view name) const;
  [[nodiscard]] const FlagSpec* spec(std::string_view name) const;

 private:
  struct Entry {
    FlagSpec spec;
    std::vector<std::string> values;
    bool given = false;
  };
  [[nodiscard]] const Entry& entry(std::string_view name) const;
  std::map<std::string, Entry, std::less<>> entries_;
};

// Go's and Prometheus' notation: 500ms, 1.5s, 1h30m, 2d, 0. Nothing else.
std::optional<std::int64_t> parse_duration_ns(std::string_view text);

// "1500ms", "10s".
std::string duration_text(std::int64_t ns);

}  // namespace vitald
