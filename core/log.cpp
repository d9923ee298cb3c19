// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <unistd.h>

#include <atomic>
#include <ctime>
#include <new>
#include <span>
#include <string>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log_output.h"
#include "core/log_queue.h"
#include "core/text/json.h"

namespace vitald::log {
namespace {

std::atomic<Level> g_level{Level::info};
std::atomic<Format> g_format{Format::logfmt};

constexpr std::string_view kNoMemory = "vitald: out of memory for a log line\n";

// logfmt quotes only what needs it: blanks, '=', quotes, control bytes.
void append_logfmt(std::string& out, std::string_view value) {
  bool bare = !value.empty();
  for (const char c : value) bare = bare && static_cast<unsigned char>(c) > ' ' && c != '=' && c != '"' && c != '\\';
  if (bare) out += value;
  else append_json_string(out, value);
}

void append_field(std::string& out, Format format, std::string_view key, std::string_view value) {
  if (format == Format::json) {
    out += out.empty() ? "{" : ",";
    append_json_string(out, key);
    out += ':';
    append_json_string(out, value);
  } else {
    if (!out.empty()) out += ' ';
    out += key;
    out += '=';
    append_logfmt(out, value);
  }
}

std::string format_line(Level level, std::string_view message, std::span<const Field> fields) {
  static constexpr std::string_view kNames[] = {"DEBUG", "INFO", "WARN", "ERROR"};
  const Format format = g_format.load(std::memory_order_relaxed);

  const std::int64_t now = SystemClock::read(CLOCK_REALTIME);
  const std::time_t seconds = now / 1'000'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char stamp[40];
  const auto n = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  char millis[] = ".000Z";
  const auto ms = static_cast<int>(now / 1'000'000 % 1000);
  millis[1] = static_cast<char>('0' + ms / 100);
  millis[2] = static_cast<char>('0' + ms / 10 % 10);
  millis[3] = static_cast<char>('0' + ms % 10);

  std::string line;
  append_field(line, format, "time", std::string(stamp, n) + millis);
  append_field(line, format, "level", kNames[static_cast<std::size_t>(level)]);
  append_field(line, format, "msg", message);
  for (const auto& f : fields) append_field(line, format, f.key, f.value);
  line += format == Format::json ? "}\n" : "\n";
  return line;
}

std::string dropped_line(std::uint64_t lines) {
  const auto text = std::to_string(lines);
  const Field fields[] = {{"lines", text}};
  return format_line(Level::warn, "log lines were dropped: standard error did not take them", fields);
}

prometheus::Counter& dropped_counter() {
  return instruments().counter("vitald_log_dropped_total",
                               "Lines for standard error that were dropped because nobody took them.");
}

// Never destroyed: the thread may hang in a write when the program ends.
LogQueue& queue() {
  static auto* const made = new LogQueue(STDERR_FILENO, dropped_line, [](std::uint64_t lines) {
    static auto& counter = dropped_counter();
    counter.Increment(static_cast<double>(lines));
  });
  return *made;
}

}  // namespace

void configure(Level level, Format format) {
  g_level = level;
  g_format = format;
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  try {
    say(format_line(level, message, {fields.begin(), fields.size()}));
  } catch (const std::bad_alloc&) {  // who says that something failed must not fail of saying it
    say(kNoMemory);
  }
}

void say(std::string_view text) { queue().push(text); }

void never_wait() {
  dropped_counter();  // 0 from the start
  queue().start();
}
bool flush(std::int64_t patience_ns) { return queue().flush(patience_ns); }

std::string one_line(std::string_view text) {
  constexpr std::size_t kMostBytes = 500;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (out.size() >= kMostBytes && (byte & 0xc0) != 0x80) return out + "...";  // not inside a character
    if (c == '\n') out += "\\n";
    else if (byte < ' ' || byte == 0x7f) out.append("\\x").append({kHex[byte >> 4], kHex[byte & 15]});
    else out += c;
  }
  return out;
}

}  // namespace vitald::log
