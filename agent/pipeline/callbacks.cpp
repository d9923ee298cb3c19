// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/callbacks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/moment.h"
#include "core/os/host_name.h"
#include "core/text/bytes.h"
#include "core/text/json.h"
#include "core/text/suggest.h"
#include "core/text/uuid.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/deliver/journal.h"
#include "exporters/deliver/refusal.h"

namespace vitald {

namespace {

constexpr std::string_view kHead = "vitaldc1";
constexpr std::uint32_t kCallback = kEndSection + 1;
constexpr std::size_t kMostText = 4096, kMostFile = 4 << 20, kMostType = 64;
// A queue has two threads: one that nothing waits in goes after this long.
constexpr std::int64_t kIdleNs = 60'000'000'000;

// tests/agent/api/events_test.cpp compares them with what the sources name.
constexpr std::string_view kTypes[] = {"alert_firing",
                                       "alert_resolved",
                                       "disk_error",
                                       "filesystem_error",
                                       "firmware_error",
                                       "gpu_xid",
                                       "hung_task",
                                       "machine_check",
                                       "memory_error",
                                       "memory_failure",
                                       "oom_kill",
                                       "process_death",
                                       "rcu_stall",
                                       "soft_lockup",
                                       "thermal_trip_down",
                                       "thermal_trip_up",
                                       "thermal_zone_disabled",
                                       "thermal_zone_enabled"};

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

class CallbackDestination final : public Destination {
 public:
  explicit CallbackDestination(Callback callback) : callback_(std::move(callback)) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto& item = items.front();
    const HttpRequest request{
        "POST", callback_.url, {{"Content-Type", "application/json"}, {"Idempotency-Key", item.key}}, item.body};
    const auto response = client_.send(request, {}, attempt);
    if (!response) {
      if (response.error().kind == Errc::gone) return Sent{};
      return fail(response.error());
    }
    switch (verdict_of(response->status)) {
      case Verdict::taken: {
        refusal_.clear();
        return Sent{1, 0, 0};
      }
      case Verdict::again: {
        if (response->retry_after_ns > 0) return Sent{0, 0, response->retry_after_ns};
        return fail(Errc::io, fmt::format("{} answers {}", url_for_display(callback_.url), status_text(*response)));
      }
      case Verdict::refused: break;
    }
    log::warn("a callback refuses an event, it is not sent again",
              {{"id", callback_.id}, {"event", item.key}, {"answer", status_text(*response)}});
    Sent sent{1, 0, 0};
    Refusal::count(sent, item, response->status == 413 ? Refusal::Why::too_large : Refusal::Why::refused);
    refusal_.note(item, {});
    sent.refusing = refusal_.any();
    return sent;
  }

 private:
  const Callback callback_;
  HttpClient client_;
  Refusal refusal_;
};

bool is_word(std::string_view type) {
  return !type.empty() && type.size() <= kMostType &&
         std::ranges::all_of(type, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

// Rounded: the difference of the two clocks is never the same to the last nanosecond, and an event that was posted with
// a time is not a millisecond before it.
std::int64_t wall_ms(const EventLog::Entry& entry, std::int64_t wall_at_boot_ns) {
  return (entry.event->boot_ns + wall_at_boot_ns + 500'000) / 1'000'000;
}

std::string body_of(const Callback& callback, const EventLog::Entry& entry, std::int64_t wall_at_boot_ns) {
  std::string out = "{\"id\":";
  const auto member = [&out](std::string_view name, std::string_view value) {
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
  };
  append_json_string(out, callback.id);
  out += ',';
  member("event_type", entry.event->type);
  out += ',';
  member("host", host_name());
  out += ',';
  member("time", rfc3339(wall_ms(entry, wall_at_boot_ns)));
  out += ',';
  member("collector", entry.collector);
  out += ',';
  member("text", entry.event->text);
  out += ",\"fields\":{";
  bool some = false;
  for (const auto& [name, value] : entry.event->fields) {
    if (std::exchange(some, true)) out += ',';
    member(name, value);
  }
  return out + "}}";
}

std::string queue_name(const Callback& callback) { return "callback-" + callback.id; }

// The judge's: what programs post may have fields of the same names, which mean nothing here.
bool is_of_alert(const EventLog::Entry& entry) { return entry.collector == "alerts"; }

// An alert about the delivery of alerts, by its labels (name=value, commas between).
bool is_about_delivery(const EventLog::Entry& entry) {
  return is_of_alert(entry) && std::ranges::any_of(entry.event->fields, [](const auto& f) {
           const auto labels = "," + f.second + ",";
           return f.first == "labels" && labels.find(",data_type=alerts,") != std::string::npos &&
                  labels.find(",destination=") != std::string::npos;
         });
}

bool is_muted(const EventLog::Entry& entry) {
  return is_of_alert(entry) && std::ranges::any_of(entry.event->fields, [](const auto& f) {
           return f.first == "muted" && f.second == "true";
         });
}

}  // namespace

std::string event_key(const EventLog::Entry& entry) {
  const auto& event = *entry.event;
  const auto field = [&event](std::string_view name) {
    const auto at = std::ranges::find(event.fields, name, &std::pair<std::string, std::string>::first);
    return at == event.fields.end() ? std::string_view() : std::string_view(at->second);
  };
  if (const auto fingerprint = field("fingerprint"), number = field("transition");
      is_of_alert(entry) && !fingerprint.empty() && !number.empty())
    return fmt::format("{}-{}-{}", event.type, fingerprint, number);
  return fmt::format("{}-{}-{}", event.type, event.boot_ns, entry.sequence);
}

std::span<const std::string_view> event_types() { return kTypes; }

std::string posted_type_problem(std::string_view type) {
  if (!is_word(type)) return fmt::format("expected a word of small letters, digits and '_', {} at most", kMostType);
  if (const auto own = closest(type, kTypes); !own.empty())
    return fmt::format("'{}' found, expected one that is not (nearly) '{}', which is vitald's own", type, own);
  return {};
}

std::string event_type_problem(std::string_view type) {
  if (type == "*" || std::ranges::find(kTypes, type) != std::end(kTypes)) return {};
  const auto shown = log::one_line(type.substr(0, kMostType));
  if (!is_word(type))
    return fmt::format("event_type: '{}', expected {}, a type that programs post (a word of small letters) or *", shown,
                       fmt::join(kTypes, ", "));
  if (const auto own = closest(type, kTypes); !own.empty())
    return fmt::format("event_type: '{}'; did you mean '{}'?", shown, own);
  return {};
}

Result<> save(const std::vector<Callback>& callbacks, SectionWriter::Sink sink) {
  SectionWriter out(kHead, std::move(sink));
  std::string bytes;
  for (const auto& c : callbacks) {
    bytes.clear();
    for (const auto* text : {&c.id, &c.event_type, &c.url}) put_text(bytes, *text);
    put_number(bytes, c.created_ms);
    out.put(kCallback, bytes);
  }
  return out.end();
}

Result<std::vector<Callback>> load_callbacks(SectionReader::Source source, std::size_t file_bytes) {
  SectionReader in(kHead, std::move(source), file_bytes);
  std::vector<Callback> out;
  for (;;) {
    const auto section = in.next();
    if (!section) return fail(section.error());
    if (!*section || (*section)->tag == kEndSection) return out;
    Taker bytes((*section)->payload);
    auto& c = out.emplace_back();
    for (auto* text : {&c.id, &c.event_type, &c.url}) *text = bytes.text();
    c.created_ms = bytes.number<std::int64_t>();
    if ((*section)->tag != kCallback || !bytes.ended() || !is_time_ms(c.created_ms) || c.id.size() != 36)
      return fail(Errc::malformed, "a section makes no sense, though its checksum is right");
  }
}

Callbacks::Callbacks(std::shared_ptr<const StateDir> state) : state_(std::move(state)) {
  if (!state_) return;
  const auto bytes = state_->read(kFile, kMostFile);
  Result<std::vector<Callback>> loaded;
  if (!bytes) loaded = fail(bytes.error());
  else if (*bytes) loaded = load_callbacks(source_of(**bytes), (*bytes)->size());
  if (!loaded) {
    std::string kept = "no";
    if (loaded.error().kind == Errc::malformed)
      if (const auto aside = state_->set_aside(kFile)) kept = *aside;
    log::warn("callbacks that an earlier run had cannot be read: they have to be registered again",
              {{"file", state_->at(kFile)}, {"err", loaded.error().text}, {"kept", kept}});
    return;
  }
  const MutexLock lock(mutex_);
  for (auto& c : *loaded) {
    auto queue = queue_for(c);
    auto id = c.id;
    all_.emplace(std::move(id), Registered{std::move(c), std::move(queue), 0, {}, system_clock().boot_ns(), 0});
  }
}

Callbacks::~Callbacks() {
  const MutexLock lock(mutex_);
  for (auto& [id, r] : all_)
    if (r.queue) r.queue->stop();  // then all end at the same time
  all_.clear();
}

std::shared_ptr<Queue> Callbacks::queue_for(const Callback& callback) const {
  QueueSettings q;
  q.name = queue_name(callback);
  q.journal = true;
  q.most_items = 10'000;
  q.attempt_ns = 5'000'000'000;
  q.most_wait_ns = 60'000'000'000;
  return std::make_shared<Queue>(q, std::make_unique<CallbackDestination>(callback), state_, system_clock());
}

Result<> Callbacks::store(const std::vector<Callback>& callbacks) const {
  if (!state_) return {};
  return state_->write(kFile, [&](const StateDir::Append& append) { return save(callbacks, append); });
}

Result<Callback> Callbacks::add(std::string event_type, std::string url, std::int64_t now_ms, std::uint64_t newest) {
  if (const auto problem = event_type_problem(event_type); !problem.empty()) return fail(Errc::malformed, problem);
  if (url.size() > kMostText) return fail(Errc::malformed, fmt::format("url: more than {} bytes", kMostText));
  if (const auto problem = url_problem(url); !problem.empty()) return fail(Errc::malformed, "url: " + problem);
  const MutexLock changing(changing_);
  std::vector<Callback> next;
  for (auto& row : rows()) next.push_back(std::move(row.callback));
  // Whoever registers at every start of its own is registered once.
  for (const auto& c : next)
    if (c.event_type == event_type && c.url == url) return c;
  if (next.size() >= kMost)
    return fail(Errc::malformed, fmt::format("{} callbacks are registered, expected {} at most", next.size(), kMost));
  Callback made{new_uuid(), std::move(event_type), std::move(url), now_ms};
  next.push_back(made);
  if (const auto kept = store(next); !kept) return fail(kept.error());
  const MutexLock lock(mutex_);
  all_[made.id] = {made, nullptr, 0, {}, 0, newest};
  return made;
}

Result<> Callbacks::remove(const std::string& id) {
  const MutexLock changing(changing_);
  std::vector<Callback> next;
  bool found = false;
  for (auto& row : rows()) {
    if (row.callback.id == id) found = true;
    else next.push_back(std::move(row.callback));
  }
  if (!found) return fail(Errc::absent, fmt::format("no callback '{}'", id));
  if (const auto kept = store(next); !kept) return fail(kept.error());
  std::shared_ptr<Queue> gone;  // it may take a second to end: not with the lock
  const MutexLock lock(mutex_);
  gone = std::move(all_[id].queue);
  all_.erase(id);
  return {};
}

std::vector<Callbacks::Row> Callbacks::rows() const {
  std::vector<Row> out;
  const MutexLock lock(mutex_);
  for (const auto& [id, r] : all_) {
    out.push_back({r.callback, r.queue ? r.queue->stats() : QueueStats()});
    out.back().stats.delivered += r.delivered;
    out.back().stats.dropped += r.dropped;
  }
  return out;
}

bool Callbacks::empty() const {
  const MutexLock lock(mutex_);
  return all_.empty();
}

void Callbacks::end_idle() {
  const auto now_ns = system_clock().boot_ns();
  std::vector<std::shared_ptr<Queue>> ended;  // not with the lock: each may take a second
  {
    const MutexLock lock(mutex_);
    for (auto& [id, r] : all_) {
      if (!r.queue) continue;
      const auto stats = r.queue->stats();
      // One that refuses says so by its metric for as long as it does.
      if (stats.waiting + stats.in_flight > 0 || stats.refusing) r.busy_boot_ns = now_ns;
      if (now_ns - r.busy_boot_ns < kIdleNs) continue;
      r.delivered += stats.delivered;
      r.dropped += stats.dropped;
      ended.push_back(std::exchange(r.queue, nullptr));
    }
  }
  for (const auto& queue : ended) queue->stop();
}

// Null: it was taken back meanwhile.
std::shared_ptr<Queue> Callbacks::begin(const std::string& id) {
  const MutexLock lock(mutex_);
  const auto at = all_.find(id);
  if (at == all_.end()) return nullptr;
  auto& r = at->second;
  r.busy_boot_ns = system_clock().boot_ns();
  if (!r.queue) r.queue = queue_for(r.callback);
  return r.queue;
}

void Callbacks::tell(const EventLog& log, std::int64_t wall_at_boot_ns) {
  end_idle();
  if (log.newest() == told_) return;
  std::vector<std::pair<Callback, std::uint64_t>> now;
  {
    const MutexLock lock(mutex_);
    for (const auto& [id, r] : all_) now.emplace_back(r.callback, r.after);
  }
  const auto entries = log.since(told_, SIZE_MAX);
  if (!entries.empty()) told_ = entries.back().sequence;
  for (const auto& [callback, after] : now) {
    std::vector<Item> items;
    for (const auto& entry : entries) {
      if (entry.sequence <= after) continue;
      if (callback.event_type != "*" && callback.event_type != entry.event->type) continue;
      if (is_muted(entry)) continue;
      Item item;
      item.key = event_key(entry);
      item.body = body_of(callback, entry, wall_at_boot_ns);
      item.wall_ms = wall_ms(entry, wall_at_boot_ns);
      item.about_delivery = is_about_delivery(entry);
      items.push_back(std::move(item));
    }
    if (items.empty()) continue;
    if (const auto queue = begin(callback.id)) queue->push(std::move(items));
  }
}

}  // namespace vitald
