// SPDX-License-Identifier: Apache-2.0
#include "rules/saved_alerts.h"

#include <fmt/format.h>

#include <bit>
#include <utility>

#include "core/text/bytes.h"
#include "rules/promql/labels.h"

namespace vitald {
namespace {

// Sections: one head, then rules, transitions, the numbers of these, and begins (an earlier version wrote none of the
// last two).
constexpr std::string_view kHead = "vitalda1";
enum Tag : std::uint32_t { kMoment = kEndSection + 1, kRule, kUntold, kNumbers, kBegins };

void put_map(std::string& out, const LabelMap& map) {
  put_number(out, static_cast<std::uint32_t>(map.size()));
  for (const auto& [name, value] : map) {
    put_text(out, name);
    put_text(out, value);
  }
}

LabelMap take_map(Taker& in) {
  LabelMap out;
  for (auto left = in.count(2 * sizeof(std::uint32_t)); left > 0; --left) {
    auto name = std::string(in.text());
    out[std::move(name)] = in.text();
  }
  return out;
}

void put_alert(std::string& out, const Alert& a) {
  put_map(out, a.labels);
  put_map(out, a.annotations);
  put_number(out, static_cast<std::uint8_t>(a.state));
  for (const auto ms : {a.active_at_ms, a.fired_at_ms, a.resolved_at_ms}) put_number(out, ms);
  put_number(out, std::bit_cast<std::uint64_t>(a.value));
}

// False: it is none.
bool take_alert(Taker& in, Alert& a) {
  a.labels = take_map(in);
  a.annotations = take_map(in);
  const auto state = in.number<std::uint8_t>();
  bool good = state <= static_cast<std::uint8_t>(AlertState::firing);
  for (auto* ms : {&a.active_at_ms, &a.fired_at_ms, &a.resolved_at_ms}) {
    *ms = in.number<std::int64_t>();
    good = good && is_time_ms(*ms);
  }
  a.value = std::bit_cast<double>(in.number<std::uint64_t>());
  a.fingerprint = promql::Labels({a.labels.begin(), a.labels.end()}).fingerprint();
  if (!in.good() || !good) return false;
  a.state = static_cast<AlertState>(state);
  return true;
}

bool take_moment(Taker in, Moment& m) {
  m.boot_id = in.text();
  m.boot_ms = in.number<std::int64_t>();
  m.wall_ms = in.number<std::int64_t>();
  return in.ended() && is_time_ms(m.boot_ms) && is_time_ms(m.wall_ms);
}

bool take_rule(Taker in, SavedAlerts::Rule& r) {
  for (auto* text : {&r.file, &r.group, &r.name, &r.query}) *text = in.text();
  r.labels = take_map(in);
  for (auto left = in.count(16); left > 0; --left) {
    auto& a = r.alerts.emplace_back();
    if (!take_alert(in, a.alert) || a.alert.state == AlertState::inactive) return false;
    a.active_boot_ms = in.number<std::int64_t>();
    a.absent = in.number<std::uint8_t>() != 0;
    a.absent_boot_ms = in.number<std::int64_t>();
    if (!is_time_ms(a.active_boot_ms) || !is_time_ms(a.absent_boot_ms)) return false;
  }
  return in.ended() && !r.alerts.empty();
}

bool take_transition(Taker in, AlertTransition& t) {
  t.firing = in.number<std::uint8_t>() != 0;
  return take_alert(in, t.alert) && in.ended();
}

bool take_numbers(Taker in, SavedAlerts& alerts) {
  alerts.last_number = in.number<std::uint64_t>();
  if (in.count(sizeof(std::uint64_t)) != alerts.untold.size()) return false;
  for (auto& t : alerts.untold) t.number = in.number<std::uint64_t>();
  for (auto left = in.count(sizeof(std::uint64_t)); left > 0; --left)
    alerts.withheld.insert(in.number<std::uint64_t>());
  return in.ended();
}

bool take_begins(Taker in, AlertBegins& begins) {
  bool good = true;
  for (auto left = in.count(3 * sizeof(std::uint64_t)); left > 0; --left) {
    auto& begin = begins[in.number<std::uint64_t>()];
    begin.active_at_ms = in.number<std::int64_t>();
    begin.fired_at_ms = in.number<std::int64_t>();
    good = good && is_time_ms(begin.active_at_ms) && is_time_ms(begin.fired_at_ms);
  }
  return in.ended() && good;
}

}  // namespace

Result<> save(const SavedAlerts& alerts, const Moment& last, SectionWriter::Sink sink) {
  SectionWriter out(kHead, std::move(sink));
  std::string bytes;
  put_text(bytes, last.boot_id);
  put_number(bytes, last.boot_ms);
  put_number(bytes, last.wall_ms);
  out.put(kMoment, bytes);
  for (const auto& r : alerts.rules) {
    bytes.clear();
    for (const auto* text : {&r.file, &r.group, &r.name, &r.query}) put_text(bytes, *text);
    put_map(bytes, r.labels);
    put_number(bytes, static_cast<std::uint32_t>(r.alerts.size()));
    for (const auto& a : r.alerts) {
      put_alert(bytes, a.alert);
      put_number(bytes, a.active_boot_ms);
      put_number(bytes, static_cast<std::uint8_t>(a.absent));
      put_number(bytes, a.absent_boot_ms);
    }
    out.put(kRule, bytes);
  }
  for (const auto& t : alerts.untold) {
    bytes.clear();
    put_number(bytes, static_cast<std::uint8_t>(t.firing));
    put_alert(bytes, t.alert);
    out.put(kUntold, bytes);
  }
  bytes.clear();
  put_number(bytes, alerts.last_number);
  put_number(bytes, static_cast<std::uint32_t>(alerts.untold.size()));
  for (const auto& t : alerts.untold) put_number(bytes, t.number);
  put_number(bytes, static_cast<std::uint32_t>(alerts.withheld.size()));
  for (const auto fingerprint : alerts.withheld) put_number(bytes, fingerprint);
  out.put(kNumbers, bytes);
  bytes.clear();
  put_number(bytes, static_cast<std::uint32_t>(alerts.begins.size()));
  for (const auto& [fingerprint, begin] : alerts.begins) {
    put_number(bytes, fingerprint);
    put_number(bytes, begin.active_at_ms);
    put_number(bytes, begin.fired_at_ms);
  }
  out.put(kBegins, bytes);
  return out.end();
}

Result<LoadedAlerts> load_alerts(SectionReader::Source source, std::size_t file_bytes) {
  SectionReader in(kHead, std::move(source), file_bytes);
  LoadedAlerts out;
  for (bool first = true;; first = false) {
    const auto section = in.next();
    if (!section) return fail(section.error());
    const auto tag = *section ? (*section)->tag : kEndSection;
    bool good = first == (tag == kMoment);
    if (good && tag == kEndSection) return out;
    const Taker bytes(*section ? (*section)->payload : std::string_view());
    if (tag == kMoment) good = good && take_moment(bytes, out.last);
    else if (tag == kRule) good = good && take_rule(bytes, out.alerts.rules.emplace_back());
    else if (tag == kUntold) good = good && take_transition(bytes, out.alerts.untold.emplace_back());
    else if (tag == kNumbers) good = good && take_numbers(bytes, out.alerts);
    else if (tag == kBegins) good = good && take_begins(bytes, out.alerts.begins);
    else good = false;
    if (!good)
      return fail(Errc::malformed,
                  fmt::format("a section of kind {} makes no sense, though its checksum is right", tag));
  }
}

}  // namespace vitald
