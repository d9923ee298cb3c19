// SPDX-License-Identifier: Apache-2.0
// Log lines as node_exporter writes them: logfmt or JSON on standard error, one write(2) a line. Log at the
// place that decides, once per change of state, not once per cycle. Thread-safe.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace vitald::log {

enum class Level : std::uint8_t { debug, info, warn, error };
enum class Format : std::uint8_t { logfmt, json };

void configure(Level level, Format format);
bool enabled(Level level);

struct Field {
  std::string_view key, value;
};
void write(Level level, std::string_view message, std::initializer_list<Field> fields);

inline void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  if (enabled(Level::debug)) write(Level::debug, message, fields);
}
inline void info(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::info, message, fields);
}
inline void warn(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::warn, message, fields);
}
inline void error(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::error, message, fields);
}

// To standard error, for a person: reports, problems. Like a log line it is lost when nobody can take it.
void say(std::string_view text);

// Text from outside as part of one line: control bytes escaped, cut where it is longer than anyone reads.
std::string one_line(std::string_view text);

}  // namespace vitald::log
