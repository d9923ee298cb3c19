// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/evidence.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "agent/pipeline/machine_now.h"
#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/kernel_file.h"
#include "core/os/machine_id.h"
#include "core/text/json.h"
#include "core/text/scan.h"
#include "rules/explain.h"
#include "rules/promql/walk.h"
#include "rules/query.h"
#include "rules/silences.h"

namespace vitald {

namespace {

// Parts of a bundle, so that all of it stays below Evidence::kMostBytes.
constexpr std::size_t kSeriesBytes = 500 << 10, kOwnersBytes = 100 << 10;
constexpr std::size_t kMostSeries = 20, kMostPoints = 240;  // of one alert, of one series
constexpr std::size_t kTopOwners = 5, kTopChanges = 5;
constexpr const char* kOwnerSpan = "5m";
// In a storm the machine is looked at so often; bundles in between name the one that has it.
constexpr std::int64_t kLookAgainNs = 10'000'000'000;
constexpr std::size_t kMostLine = 900;  // of the kernel's log: /dev/kmsg takes 1 KiB
constexpr std::int64_t kMinuteNs = 60'000'000'000;
// While the disk is behind no more are written than this beyond --evidence.disk.
constexpr std::size_t kMostUnsettled = 16;

void member(std::string& out, std::string_view name, std::string_view text) {
  append_json_string(out, name);
  out += ':';
  append_json_string(out, text);
}

void append_map(std::string& out, const LabelMap& map) {
  out += '{';
  bool some = false;
  for (const auto& [name, value] : map) {
    if (std::exchange(some, true)) out += ',';
    member(out, name, value);
  }
  out += '}';
}

void append_labels(std::string& out, const promql::Labels& labels) {
  out += '{';
  bool some = false;
  for (const Label l : labels) {
    if (std::exchange(some, true)) out += ',';
    member(out, l.name, l.value);
  }
  out += '}';
}

void append_value(std::string& out, double value) { out += fmt::format("\"{}\"", promql::number_text(value)); }

// How many labels of the alert a series has with the same value; -1: one is another.
int closeness(const promql::Labels& series, const LabelMap& alert) {
  int same = 0;
  for (const Label l : series) {
    if (l.name == promql::kMetricName) continue;
    const auto at = alert.find(std::string(l.name));
    if (at == alert.end()) continue;
    if (at->second != l.value) return -1;
    ++same;
  }
  return same;
}

// The rule of an alert, by its fingerprint.
const RuleView* rule_of(const RulesView& view, std::uint64_t fingerprint) {
  for (const auto& g : view.groups)
    for (const auto& r : g.rules)
      if (std::ranges::find(r.alerts, fingerprint, &Alert::fingerprint) != r.alerts.end()) return &r;
  return nullptr;
}

// What the expression looks at, the alert's own series first.
void append_series(std::string& out, const Alert& alert, const std::string& query, HistoryView& history,
                   const EvidenceSettings& settings, std::size_t most_bytes) {
  out += "\"series\":[";
  const auto expr = parse_query(query, settings.language);
  const auto begin = out.size();
  std::size_t written = 0, left_out = 0;
  std::set<std::uint32_t> seen;
  const auto now_ms = history.now_wall_ms();
  promql::SeriesSource::Buffer buffer;
  if (expr)
    promql::each_selector(**expr, [&](const promql::Selector& selector) {
      const auto& selection = history.select(history.bind(selector, 0));
      std::vector<std::pair<int, std::size_t>> order;
      for (std::size_t i = 0; i < selection.ids.size(); ++i)
        if (const auto near = closeness(selection.shape->series[i], alert.labels); near >= 0)
          order.emplace_back(-near, i);
      std::ranges::stable_sort(order, {}, &std::pair<int, std::size_t>::first);
      for (const auto& [near, i] : order) {
        if (seen.contains(selection.ids[i])) continue;
        if (written >= kMostSeries || out.size() - begin > most_bytes) {
          ++left_out;
          continue;
        }
        const auto points = history.range(selection.ids[i], now_ms - settings.span_ms, now_ms, buffer);
        if (points.count == 0) continue;
        seen.insert(selection.ids[i]);
        out += written++ > 0 ? ",{\"metric\":" : "{\"metric\":";
        append_labels(out, selection.shape->series[i]);
        out += ",\"values\":[";
        const auto first = points.count > kMostPoints ? points.count - kMostPoints : 0;
        for (auto p = first; p < points.count; ++p) {
          out += fmt::format("{}[{:.3f},", p > first ? "," : "", static_cast<double>(points.time(p)) / 1000);
          append_value(out, points.values[p]);
          out += ']';
        }
        out += "]}";
      }
    });
  out += fmt::format("],\"series_left_out\":{}", left_out);
}

// The busiest of each family per owner. False: there was no time for some.
bool append_owners(std::string& out, const Snapshot& published, HistoryView& history, std::int64_t deadline_boot_ns) {
  std::map<std::string_view, MetricType> families;
  for (const auto& batch : published.batches)
    for (const auto* family : *batch->layout->families())
      if (family->name.starts_with("vitald_owner_") &&
          (family->type == MetricType::counter || family->type == MetricType::gauge))
        families.emplace(family->name, family->type);
  QueryLimits limits;
  limits.given_up = [deadline_boot_ns] { return SystemClock::read(CLOCK_BOOTTIME) >= deadline_boot_ns; };
  out += "\"owners\":{";
  const auto begin = out.size();
  bool some = false, in_time = true;
  std::size_t left_out = 0;
  for (const auto& [name, type] : families) {
    if (limits.given_up()) in_time = false;
    if (!in_time || out.size() - begin > kOwnersBytes) {
      ++left_out;
      continue;
    }
    const auto text = type == MetricType::counter
                          ? fmt::format("topk({}, rate({}[{}]) > 0)", kTopOwners, name, kOwnerSpan)
                          : fmt::format("topk({}, {} > 0)", kTopOwners, name);
    const auto expr = parse_query(text);
    const auto answer = expr ? instant_query(**expr, history, history.now_wall_ms(), limits)
                             : Queried<QueryAnswer>(tl::unexpected(expr.error()));
    if (!answer) ++left_out;
    if (!answer || answer->rows.empty()) continue;
    if (std::exchange(some, true)) out += ',';
    append_json_string(out,
                       type == MetricType::counter ? fmt::format("rate({}[{}])", name, kOwnerSpan) : std::string(name));
    out += ":[";
    for (std::size_t i = 0; i < answer->rows.size(); ++i) {
      out += i > 0 ? ",[" : "[";
      append_labels(out, answer->rows[i].labels);
      out += ',';
      append_value(out, answer->rows[i].value);
      out += ']';
    }
    out += ']';
  }
  out += fmt::format("}},\"owners_left_out\":{}", left_out);
  return in_time && !limits.given_up();
}

// What is another than before it began, the greatest change first, and the same as texts. False: there was no time.
bool append_changes(std::string& out, const Evidence::Round& round, std::int64_t deadline_boot_ns,
                    std::vector<std::string>& texts) {
  constexpr std::int64_t kMinuteMs = 60'000, kLeastMs = 2 * kMinuteMs, kMostMs = 15 * kMinuteMs, kTimes = 4;
  const auto& view = *round.history;
  ExplainAsk ask;
  ask.end_ms = view.now_wall_ms();
  ask.start_ms = ask.end_ms;
  for (const auto& a : round.fires) ask.start_ms = std::min(ask.start_ms, a.active_at_ms - kMinuteMs);
  ask.start_ms = std::clamp(ask.start_ms, ask.end_ms - kMostMs, ask.end_ms - kLeastMs);
  ask.baseline_end_ms = ask.start_ms;
  ask.baseline_start_ms = std::max(oldest_wall_ms(view), ask.start_ms - kTimes * (ask.end_ms - ask.start_ms));
  ask.limit = kTopChanges;
  QueryLimits limits;
  limits.given_up = [deadline_boot_ns] { return SystemClock::read(CLOCK_BOOTTIME) >= deadline_boot_ns; };
  Explanation found;
  bool in_time = true;
  // As in /api/v1/explain: what a few seconds before minutes are compared with is nothing.
  const auto window_ms = ask.end_ms - ask.start_ms, there_ms = ask.baseline_end_ms - ask.baseline_start_ms;
  if (there_ms >= window_ms) {
    auto explained = explain(ask, view, limits);
    in_time = explained.has_value();
    if (explained) found = std::move(*explained);
  }
  if (there_ms < window_ms)
    out += fmt::format(
        "\"changed_left_out\":\"the history reaches back {} s before the window of {} s: too little to compare with\",",
        std::max<std::int64_t>(there_ms, 0) / 1000, window_ms / 1000);
  out += "\"changed\":[";
  for (const auto& c : found.changes) {
    out += texts.empty() ? "{\"metric\":" : ",{\"metric\":";
    append_labels(out, c.labels);
    out += fmt::format(",\"rate\":{},\"before\":", c.rate);
    const bool came = std::isnan(c.before);
    if (came) out += "null";
    else append_value(out, c.before);
    out += ",\"now\":";
    append_value(out, c.now);
    out += fmt::format(",\"score\":{:.3f}}}", c.score);
    texts.push_back(
        came ? fmt::format("{} came: {:.4g}", c.labels.text(), c.now)
             : fmt::format("{}{} {:.4g} -> {:.4g}", c.rate ? "rate of " : "", c.labels.text(), c.before, c.now));
  }
  out += ']';
  return in_time;
}

struct Told {
  prometheus::Counter& written = bundles("written");
  prometheus::Counter& failed = bundles("failed");
  prometheus::Counter& late = bundles("late");
  prometheus::Counter& unsynced = bundles("unsynced");
  prometheus::Gauge& bytes =
      instruments().gauge("vitald_evidence_disk_bytes", "Size of the bundles of evidence in --state.directory.");
  prometheus::Counter& seconds = instruments().counter(
      "vitald_evidence_seconds_total", "How long gathering evidence took, all together: receivers wait for it.");
  prometheus::Counter& words = instruments().counter(
      "vitald_last_words_total", "Lines that were written to the kernel's log because a critical alert fired.");
  static prometheus::Counter& bundles(const char* result) {
    return instruments().counter("vitald_evidence_bundles_total",
                                 "Bundles of evidence for alerts that fired: written, failed (the log says why), or "
                                 "late: receivers were told without. Of those written, unsynced: a power cut may take "
                                 "them, the log says why.",
                                 {{"result", result}});
  }
};

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.data(), bytes.size(), digest.data()) != 0) return {};
  std::string out;
  for (const auto byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

std::string machine() {
  static const auto kUuid = machine_uuid();
  return kUuid;
}

// In the kernel's log.
bool speaks_up(const Alert& a, const Evidence::Round& round) {
  const auto at = a.labels.find("severity");
  return at != a.labels.end() && at->second == "critical" && !round.muted.contains(a.fingerprint);
}

struct Bundle {
  std::string json;
  std::vector<std::string> changes;  // the first ones, as texts
  bool complete = true;              // of the machine and the owners
};

Bundle bundle_of(const Evidence::Round& round, const Host& host, const EvidenceSettings& settings,
                 const std::string& machine_is_in, std::int64_t deadline_boot_ns) {
  // The machine first, then the owners, each with a part of the time: series of a storm would leave them none, and they
  // are the same for all that fires.
  const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
  const auto part = [&](int tenths) { return begin_ns + (deadline_boot_ns - begin_ns) / 10 * tenths; };
  bool complete = true;
  std::vector<std::string> changes;
  std::string of_machine;
  if (!machine_is_in.empty()) {
    member(of_machine, "machine_is_in", machine_is_in);
  } else {
    auto now = machine_now(host, part(4));
    complete = now.complete;
    if (!round.history) of_machine = "\"owners\":{},\"owners_left_out\":0";
    else if (!append_owners(of_machine, round.published, *round.history, part(6))) complete = false;
    of_machine += ',';
    if (!round.history) of_machine += "\"changed\":[]";
    else if (!append_changes(of_machine, round, part(8), changes)) complete = false;
    of_machine += ",\"machine\":" + now.json;
  }
  std::string out = R"({"version":1,"alerts":[)";
  // All of them are named before their series, so that the head of a file says whose it is.
  for (std::size_t n = 0; n < round.fires.size(); ++n)
    out += fmt::format("{}[\"{}\",\"{:016x}\"]", n > 0 ? "," : "", alert_uuid(round.fires[n], machine()),
                       round.fires[n].fingerprint);
  out += fmt::format(R"(],"time":{:.3f},)", static_cast<double>(round.published.wall_ns) / 1e9);
  member(out, "host", host_name());
  out += ',';
  member(out, "provider_uuid", machine());
  out += ",\"fired\":[";
  const auto begin = out.size();
  std::size_t i = 0;
  for (; i < round.fires.size(); ++i) {
    const auto& a = round.fires[i];
    // A storm: those that are left out are named above.
    if (out.size() - begin > kSeriesBytes || SystemClock::read(CLOCK_BOOTTIME) >= deadline_boot_ns) break;
    out += i > 0 ? ",{\"labels\":" : "{\"labels\":";
    append_map(out, a.labels);
    out += ",\"annotations\":";
    append_map(out, a.annotations);
    out += ",\"value\":";
    append_value(out, a.value);
    const auto* rule = round.rules ? rule_of(*round.rules, a.fingerprint) : nullptr;
    out += ',';
    member(out, "query", rule ? rule->declared->query : "");
    out += ',';
    const auto left = kSeriesBytes - std::min(kSeriesBytes, out.size() - begin);
    if (rule && round.history)
      append_series(out, a, rule->declared->query, *round.history, settings, left / (round.fires.size() - i));
    else out += "\"series\":[],\"series_left_out\":0";
    out += '}';
  }
  out += fmt::format("],\"fired_left_out\":{},", round.fires.size() - i);
  out += of_machine + "}\n";
  return {std::move(out), std::move(changes), complete};
}

// A bundle's name has the beginning of its digest: one that a power cut tore is not passed on.
bool is_whole(std::string_view name, std::string_view digest) {
  return !digest.empty() && name.ends_with(fmt::format("-{}.json", digest.substr(0, 16)));
}

}  // namespace

std::string evidence_json(const Evidence::Round& round, const Host& host, const EvidenceSettings& settings,
                          std::int64_t deadline_boot_ns) {
  return bundle_of(round, host, settings, "", deadline_boot_ns).json;
}

struct Evidence::State {
  struct Reference {
    std::string name, sha256;
    std::string uuid = {};  // of the alert: another one when it fires anew
    std::vector<std::string> changes = {};
  };
  State(std::shared_ptr<const StateDir> s, const Host& h) : state(std::move(s)), host(h) {}

  // --- the gathering thread

  void work(const Round& round, const EvidenceSettings& now) {
    const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
    const auto deadline_ns = begin_ns + kPatienceNs / 2;
    if (now.last_words) say_last_words(round, now);
    Result<Reference> written = fail(Errc::absent, "");
    if (state && now.disk_bytes > 0) written = write(round, now, deadline_ns);
    const MutexLock lock(mutex);
    auto& t = told_now();
    t.seconds.Increment(static_cast<double>(SystemClock::read(CLOCK_BOOTTIME) - begin_ns) / 1e9);
    if (written) {
      t.written.Increment();
      for (const auto& a : round.fires)
        references[a.fingerprint] = {written->name, written->sha256, alert_uuid(a, machine()), written->changes};
      unsettled.push_back(written->name);
      failing = false;
    } else if (state && now.disk_bytes > 0) {
      t.failed.Increment();
      if (!std::exchange(failing, true))
        log::warn("evidence of alerts cannot be written", {{"err", written.error().text}});
    }
    done = true;
    changed.notify_all();
  }

  Result<Reference> write(const Round& round, const EvidenceSettings& now, std::int64_t deadline_ns) {
    if (const auto made = state->folder(kFolder); !made) return fail(made.error());
    if (const MutexLock lock(mutex); unsettled.size() >= kMostUnsettled)
      return fail(Errc::io, fmt::format("{} bundles wait to be brought to disk, which is slow", unsettled.size()));
    const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
    const bool again = last_machine.empty() || begin_ns - looked_boot_ns >= kLookAgainNs ||
                       access(path_of(last_machine).c_str(), F_OK) != 0;
    const auto bundle = bundle_of(round, host, now, again ? std::string() : last_machine, deadline_ns);
    const auto& bytes = bundle.json;
    if (bytes.size() > kMostBytes)
      return fail(Errc::io, fmt::format("a bundle has {} bytes, expected {} at most", bytes.size(), kMostBytes));
    auto digest = sha256(bytes);
    if (digest.empty()) return fail(Errc::io, "no SHA-256 to be had of GnuTLS");
    const auto name = fmt::format("{:013}-{}.json", round.published.wall_ns / 1'000'000, digest.substr(0, 16));
    if (!has_room_for(bytes.size())) make_room(now.disk_bytes, bytes.size());
    if (!has_room_for(bytes.size()))
      return fail(
          Errc::io,
          fmt::format("{}: the disk is nearly full, what is left is for alerts and what waits", state->at(kFolder)),
          ENOSPC);
    if (const auto kept = put(name, bytes); !kept) return fail(kept.error());
    if (again && bundle.complete) {
      last_machine = name;
      looked_boot_ns = begin_ns;
    }
    if (again) last_changes = bundle.changes;
    return Reference{name, std::move(digest), {}, last_changes};
  }

  // Not yet on disk: an fsync() takes up to a second where others write, and receivers wait for this. Whoever reads it
  // after a power cut sees by the name whether it is whole.
  [[nodiscard]] Result<> put(const std::string& name, std::string_view bytes) const {
    const auto path = path_of(name), fresh = path + ".new";
    const Fd file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail(from_errno(fresh, errno));
    auto written = write_all(file.get(), bytes, fresh);
    if (written && rename(fresh.c_str(), path.c_str()) != 0) written = fail(from_errno(path, errno));
    if (!written) unlink(fresh.c_str());  // its space is what others miss
    return written;
  }

  // What comes after receivers were told. By one thread at a time, which also does what others leave it.
  void settle(std::size_t most_bytes) {
    {
      const MutexLock lock(mutex);
      if (std::exchange(settling, true)) return;
    }
    try {
      for (;;) {
        std::vector<std::string> names;
        {
          const MutexLock lock(mutex);
          names.swap(unsettled);
          if (names.empty()) {
            settling = false;
            changed.notify_all();
            return;
          }
        }
        sync(names);
        make_room(most_bytes);
      }
    } catch (const std::exception& e) {  // no memory
      log::error("evidence of alerts is not brought to disk", {{"err", e.what()}});
      const MutexLock lock(mutex);
      unsettled.clear();
      settling = false;
      changed.notify_all();
    }
  }

  void sync(const std::vector<std::string>& names) {
    std::size_t failed = 0;
    std::string why;
    for (const auto& name : names) {
      const Fd file(open(path_of(name).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      if (file && fsync(file.get()) == 0) continue;
      const auto err = errno;
      ++failed;
      why = from_errno(path_of(name), err).text;
    }
    if (const auto synced = sync_folder(state->at(kFolder)); !synced) {
      failed = names.size();
      why = synced.error().text;
    }
    const MutexLock lock(mutex);
    told_now().unsynced.Increment(static_cast<double>(failed));
    if (failed == 0) sync_fails = false;
    else if (!std::exchange(sync_fails, true))
      log::warn("evidence of alerts cannot be brought to disk: a power cut may take it", {{"err", why}});
  }

  [[nodiscard]] std::string path_of(std::string_view name) const {
    return state->at(fmt::format("{}/{}", kFolder, name));
  }

  // From the oldest to the newest.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    if (!state) return out;
    if (const auto all = list_directory(state->at(kFolder)))
      for (const auto& name : *all)
        if (name.ends_with(".json")) out.push_back(name);
    return out;  // sorted, and names begin with their time
  }

  // Evidence is the last that a small disk is for: it takes no more than it leaves to alerts and what waits to be told.
  [[nodiscard]] std::size_t half_of(std::size_t bytes) const {
    struct statvfs fs {};
    if (statvfs(state->path().c_str(), &fs) != 0) return SIZE_MAX;  // then writing says what is wrong
    return (bytes + fs.f_bavail * fs.f_frsize) / 2;
  }
  [[nodiscard]] bool has_room_for(std::size_t more) {
    const MutexLock lock(mutex);
    return bytes_on_disk + more <= half_of(bytes_on_disk);
  }

  // For `more` bytes beside what stays.
  void make_room(std::size_t most, std::size_t more = 0) {
    std::vector<std::pair<std::string, std::size_t>> files;
    std::size_t bytes = 0;
    for (const auto& name : names()) {
      struct stat st {};
      if (stat(path_of(name).c_str(), &st) != 0) continue;
      files.emplace_back(name, static_cast<std::size_t>(st.st_size));
      bytes += files.back().second;
    }
    most = std::min(most, half_of(bytes));
    std::set<std::string> gone;
    // The newest stays whatever the budget: it was just told of.
    for (std::size_t i = 0; i + 1 < files.size() && bytes + more > most; ++i) {
      if (unlink(path_of(files[i].first).c_str()) != 0) continue;
      bytes -= files[i].second;
      gone.insert(files[i].first);
    }
    const MutexLock lock(mutex);
    std::erase_if(references, [&](const auto& r) { return gone.contains(r.second.name); });
    bytes_on_disk = bytes;
    told_now().bytes.Set(static_cast<double>(bytes));
  }

  void say_last_words(const Round& round, const EvidenceSettings& now) {
    const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
    std::erase_if(said_boot_ns, [&](const auto& said) { return now_ns - said.second >= kMinuteNs; });
    if (said_boot_ns.size() >= kMostWordsPerMinute) return;
    const auto critical = std::ranges::find_if(
        round.fires, [&](const Alert& a) { return speaks_up(a, round) && !said_boot_ns.contains(a.fingerprint); });
    if (critical == round.fires.end()) return;
    said_boot_ns[critical->fingerprint] = now_ns;
    const auto more = std::ranges::count_if(round.fires, [&](const Alert& a) { return speaks_up(a, round); }) - 1;
    std::string labels;
    for (const auto& [name, value] : critical->labels)
      if (name != "alertname" && name != "severity")
        labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", name, value);
    const auto name = critical->labels.find("alertname");
    auto line =
        fmt::format("vitald: critical alert {}{{{}}} = {}{}; {}", name == critical->labels.end() ? "" : name->second,
                    labels, critical->value, more > 0 ? fmt::format(" and {} more", more) : "", vitals_line(host));
    line = log::one_line(line);
    if (line.size() > kMostLine) line.resize(kMostLine);
    line = "<2>" + line + '\n';  // KERN_CRIT: consoles show it
    const Fd file(open(now.kernel_log.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    const bool said = file && ::write(file.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
    const auto why = errno;
    const MutexLock lock(mutex);
    if (said) told_now().words.Increment();
    else if (!std::exchange(mute_said, true))
      log::warn("no last words in the kernel's log", {{"err", from_errno(now.kernel_log, why).text}});
  }

  // What an earlier run wrote, for alerts that fire on: refer() knows them by their uuid.
  void restore() {
    constexpr std::size_t kHead = 64 << 10, kMostRestored = 20;
    // What a crash left half written.
    if (state)
      if (const auto left = list_directory(state->at(kFolder)))
        for (const auto& name : *left)
          if (name.ends_with(".new")) unlink(path_of(name).c_str());
    auto all = names();
    if (!all.empty()) make_room(SIZE_MAX);
    if (all.size() > kMostRestored) all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(kMostRestored));
    for (const auto& name : all) {
      const auto bytes = state->read(fmt::format("{}/{}", kFolder, name), kMostBytes);
      if (!bytes || !*bytes) continue;
      Reference reference{name, sha256(**bytes)};
      if (!is_whole(name, reference.sha256)) continue;
      std::string_view head = std::string_view(**bytes).substr(0, kHead);
      if (!take_prefix(head, R"({"version":1,"alerts":[)")) continue;
      const MutexLock lock(mutex);
      // ["uuid","fingerprint"],...
      while (take_prefix(head, "[\"")) {
        reference.uuid = take_until(head, '"');
        if (!take_prefix(head, ",\"")) break;
        if (const auto fingerprint = parse_int<std::uint64_t>(take_until(head, '"'), 16))
          references[*fingerprint] = reference;
        take_prefix(head, "]");
        take_prefix(head, ",");
      }
    }
  }

  // --- the judge's

  Told& told_now() REQUIRES(mutex) {
    if (!told) told.emplace();
    return *told;
  }

  const std::shared_ptr<const StateDir> state;
  const Host& host;
  // The gathering thread's, of which there is one at a time.
  std::string last_machine;  // the bundle that has all of it
  std::vector<std::string> last_changes;
  std::int64_t looked_boot_ns = 0;
  std::map<std::uint64_t, std::int64_t> said_boot_ns;  // last words of the last minute, by fingerprint

  mutable Mutex mutex;
  CondVar changed;
  EvidenceSettings settings GUARDED_BY(mutex);
  std::optional<Told> told GUARDED_BY(mutex);
  std::map<std::uint64_t, Reference> references GUARDED_BY(mutex);
  bool done GUARDED_BY(mutex) = true, failing GUARDED_BY(mutex) = false, mute_said GUARDED_BY(mutex) = false;
  std::vector<std::string> unsettled GUARDED_BY(mutex);  // names of bundles
  std::size_t bytes_on_disk GUARDED_BY(mutex) = 0;       // at the last look
  bool settling GUARDED_BY(mutex) = false, sync_fails GUARDED_BY(mutex) = false;
};

Evidence::Evidence(std::shared_ptr<const StateDir> state, const Host& host)
    : state_(std::make_shared<State>(std::move(state), host)) {
  state_->restore();
}

Evidence::~Evidence() { static_cast<void>(idle(kPatienceNs)); }

bool Evidence::idle(std::int64_t patience_ns) const {
  MutexLock lock(state_->mutex);
  return state_->changed.wait_for_ns(lock, patience_ns, [s = state_.get()]() UNCHECKED_LOCKS {
    return s->done && !s->settling && s->unsettled.empty();
  });
}

void Evidence::set(EvidenceSettings settings) {
  const MutexLock lock(state_->mutex);
  state_->settings = std::move(settings);
}

void Evidence::gather(Round round) {
  auto& s = *state_;
  MutexLock lock(s.mutex);
  const auto settings = s.settings;
  // Whatever comes of it, what was written when they fired before is not of this time.
  for (const auto& a : round.fires) s.references.erase(a.fingerprint);
  const bool disk = s.state && settings.disk_bytes > 0 && !round.fires.empty();
  const bool words =
      settings.last_words && std::ranges::any_of(round.fires, [&](const Alert& a) { return speaks_up(a, round); });
  if (!disk && !words) return;
  // One that hangs in the disk holds up nobody a second time.
  if (!s.done) return s.told_now().late.Increment();
  s.done = false;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are the main thread's; a new thread has the mask of its maker
  try {
    std::thread([state = state_, settings, round = std::move(round)] {
      pthread_setname_np(pthread_self(), "evidence");
      try {
        state->work(round, settings);
      } catch (const std::exception& e) {  // no memory
        log::error("evidence of alerts was given up", {{"err", e.what()}});
        const MutexLock done(state->mutex);
        state->told_now().failed.Increment();
        state->done = true;
        state->changed.notify_all();
      }
      state->settle(settings.disk_bytes);
    }).detach();
  } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
    s.done = true;
    s.told_now().failed.Increment();
    log::error("no thread to be had for evidence", {{"err", e.what()}});
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (s.changed.wait_for_ns(lock, kPatienceNs, [&s]() UNCHECKED_LOCKS { return s.done; })) return;
  s.told_now().late.Increment();
  log::warn("evidence takes longer than a second: receivers are told without it");
}

void Evidence::refer(Alert& alert) const {
  const MutexLock lock(state_->mutex);
  const auto at = state_->references.find(alert.fingerprint);
  if (at == state_->references.end() || at->second.uuid != alert_uuid(alert, machine())) return;
  alert.annotations["evidence"] = state_->path_of(at->second.name);
  alert.annotations["evidence_sha256"] = at->second.sha256;
}

std::vector<std::string> Evidence::changes_of(const Alert& alert) const {
  const MutexLock lock(state_->mutex);
  const auto at = state_->references.find(alert.fingerprint);
  if (at == state_->references.end() || at->second.uuid != alert_uuid(alert, machine())) return {};
  return at->second.changes;
}

void Evidence::forget(std::uint64_t fingerprint) {
  const MutexLock lock(state_->mutex);
  state_->references.erase(fingerprint);
}

Result<std::string> Evidence::of(std::string_view id) const {
  const auto none = fail(Errc::absent, fmt::format("no evidence of an alert '{}'", id));
  if (id.size() < 16 || id.find_first_not_of("0123456789abcdef-") != id.npos) return none;
  const auto wanted = fmt::format("\"{}\"", id);
  std::optional<Error> unreadable;
  auto names = state_->names();
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    const auto bytes = state_->state->read(fmt::format("{}/{}", kFolder, *name), kMostBytes);
    if (!bytes) {  // an older one may be the one
      if (!unreadable) unreadable = bytes.error();
      continue;
    }
    if (!*bytes) continue;
    const auto head = std::string_view(**bytes).substr(0, (*bytes)->find(R"(],"time":)"));
    if (head.find(wanted) == head.npos) continue;
    if (is_whole(*name, sha256(**bytes))) return std::move(**bytes);
    if (!unreadable)
      unreadable =
          Error{Errc::malformed, 0, fmt::format("{} is not what its name says: a power cut?", state_->path_of(*name))};
  }
  if (unreadable) return fail(std::move(*unreadable));
  return none;
}

}  // namespace vitald
