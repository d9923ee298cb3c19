// SPDX-License-Identifier: Apache-2.0
// The destination of events (an OOM kill, a GPU's error, what programs post): syslog or systemd's journal.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/text/utf8.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/deliver/message_socket.h"
#include "exporters/push/push.h"

namespace vitald {
namespace {

constexpr std::string_view kJournal = "journald", kJournalSocket = "/run/systemd/journal/socket";
constexpr int kDaemon = 3, kNotice = 5;  // of syslog: facility, severity
constexpr std::size_t kMostWord = 32, kMostText = 4096;
constexpr std::string_view kAlerts = "alerts";  // what the log calls where events of alerts come from

struct EventsPush final : PushOf<EventsPush> {
  std::string to = std::string(kJournal);
  std::vector<std::string> types;
  bool operator==(const EventsPush&) const = default;

  [[nodiscard]] bool to_journal() const { return to == kJournal; }
  [[nodiscard]] Result<MessageAddress> address() const { return message_address(to_journal() ? kJournalSocket : to); }
  [[nodiscard]] std::string text() const override { return fmt::format("events '{}' ({})", name, to); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = address(); !found) return "to: " + found.error().text + ", or journald";
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    if (const auto found = address();
        found && found->kind == MessageAddress::Kind::local && access(found->path.c_str(), W_OK) != 0)
      problems.push_back(fmt::format("push.events '{}': {}", name, from_errno(found->path, errno).text));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    const auto found = address();
    if (!found) return fail(found.error());
    return message_reach(*found, attempt);
  }
  [[nodiscard]] bool every_snapshot() const override { return true; }
  void adjust(QueueSettings& queue) const override { queue.data_type = "events"; }
  [[nodiscard]] Pushed pushed() const override { return Pushed::events; }
};

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "-";
  return name.data();
}

// PRINTUSASCII without what ends it, cut.
std::string word_of(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMostWord))
    out += c > ' ' && c < '\x7f' && c != '=' && c != ']' && c != '"' ? c : '_';
  return out.empty() ? "-" : out;
}

std::string one_line(std::string_view text) {
  auto out = valid_utf8(text.substr(0, kMostText));
  std::ranges::replace_if(
      out, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, ' ');
  return out;
}

// <29>1 2026-01-02T03:04:05.678Z host vitald 123 oom_kill [vitald@32473 collector="oom_kills" pid="7"] Text
// 32473 is the number of enterprises that have none of their own (RFC 5612).
std::string syslog_message(const Event& event, const std::string& collector, const std::string& host,
                           std::int64_t wall_ms) {
  auto out = fmt::format("<{}>1 {} {} vitald {} {} [vitald@32473", kDaemon * 8 + kNotice, rfc3339(wall_ms), host,
                         getpid(), word_of(event.type));
  const auto add = [&out](std::string_view name, std::string_view value) {
    out.append(1, ' ').append(word_of(name)).append("=\"");
    for (const char c : one_line(value)) {
      if (c == '"' || c == '\\' || c == ']') out += '\\';
      out += c;
    }
    out += '"';
  };
  add("collector", collector);
  for (const auto& [name, value] : event.fields)
    if (out.size() < 2 * kMostText) add(name, value);
  return out + "] " + one_line(event.text);
}

// <29>Jan  2 03:04:05 vitald[123]: Text
// What the C library's syslog() writes to a socket of this machine, in local time. journald and rsyslog read no RFC
// 5424 there: all of it would be the message.
std::string local_message(const Event& event, std::int64_t wall_ms) {
  const std::time_t seconds = wall_ms / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  static constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("<{}>{} {:2} {:02}:{:02}:{:02} vitald[{}]: {}", kDaemon * 8 + kNotice,
                     kMonths[static_cast<std::size_t>(local.tm_mon)], local.tm_mday, local.tm_hour, local.tm_min,
                     local.tm_sec, getpid(), one_line(event.text.empty() ? event.type : event.text));
}

std::string journal_message(const Event& event, const std::string& collector, std::int64_t wall_ms) {
  std::string out;
  append_journal_field(out, "MESSAGE", event.text.empty() ? event.type : event.text);
  append_journal_field(out, "PRIORITY", fmt::format("{}", kNotice));
  append_journal_field(out, "SYSLOG_IDENTIFIER", "vitald");
  append_journal_field(out, "VITALD_EVENT_TYPE", event.type);
  append_journal_field(out, "VITALD_EVENT_COLLECTOR", collector);
  append_journal_field(out, "VITALD_EVENT_AT", rfc3339(wall_ms));
  for (const auto& [name, value] : event.fields) {
    std::string key = "VITALD_EVENT_FIELD_";
    for (const char c : name) {
      const bool lower = c >= 'a' && c <= 'z', good = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      key += lower ? static_cast<char>(c - 'a' + 'A') : good ? c : '_';
    }
    append_journal_field(out, key.substr(0, 64), value);
  }
  return out;
}

// What happened since it is there, each once. The log numbers what comes, so that nothing is missed where snapshots
// come faster than this thread looks at them; what the log did not keep so long is counted as lost.
class Encoder final : public PushEncoder {
 public:
  explicit Encoder(const EventsPush& settings)
      : form_(settings.to_journal()                                                               ? Form::journal
              : settings.address().value_or(MessageAddress{}).kind == MessageAddress::Kind::local ? Form::local
                                                                                                  : Form::rfc5424),
        name_(settings.name),
        types_(settings.types),
        host_(host_name()),
        log_(settings.events),
        lost_(dropped_items("events", settings.name, "lost")),
        seen_(log_ ? log_->newest() : 0) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    take(snapshot.wall_ns - snapshot.boot_ns, out);
  }
  void end(std::int64_t wall_ms, std::vector<Item>& out) override {
    take(wall_ms * 1'000'000 - SystemClock::read(CLOCK_BOOTTIME), out);
  }

 private:
  enum class Form : std::uint8_t { journal, local, rfc5424 };

  void take(std::int64_t wall_at_boot_ns, std::vector<Item>& out) {
    if (!log_) return;
    auto seen = seen_;
    std::uint64_t lost = 0;
    for (const auto& entry : log_->since(seen_, SIZE_MAX)) {
      lost += entry.sequence - seen - 1;
      seen = entry.sequence;
      const auto& event = *entry.event;
      if (entry.collector == kAlerts) continue;  // `notify` is for those
      if (!types_.empty() && std::ranges::find(types_, event.type) == types_.end()) continue;
      // Below 0: before this boot, as programs may post it.
      const auto happened_ns = event.boot_ns != 0 ? event.boot_ns : SystemClock::read(CLOCK_BOOTTIME);
      Item item;
      item.wall_ms = (wall_at_boot_ns + happened_ns) / 1'000'000;
      item.key = fmt::format("{} {}", event.type, rfc3339(item.wall_ms));
      item.body = form_ == Form::journal ? journal_message(event, entry.collector, item.wall_ms)
                  : form_ == Form::local ? local_message(event, item.wall_ms)
                                         : syslog_message(event, entry.collector, host_, item.wall_ms);
      out.push_back(std::move(item));
    }
    seen_ = seen;  // last: what throws is done again
    if (lost == 0) return;
    lost_.Increment(static_cast<double>(lost));
    if (!std::exchange(lost_said_, true))
      log::warn("push: more events came at once than are kept; those before are lost for this destination",
                {{"destination", name_}, {"events", fmt::format("{}", lost)}});
  }

  const Form form_;
  const std::string name_;
  const std::vector<std::string> types_;
  const std::string host_;
  const EventLog* const log_;
  prometheus::Counter& lost_;
  std::uint64_t seen_;  // the sequence of the last one
  bool lost_said_ = false;
};

class EventsDestination final : public Destination {
 public:
  EventsDestination(const EventsPush& settings, MessageAddress address)
      : inner_(message_destination(std::move(address), settings.to_journal() ? "MESSAGE" : "<")),
        counters_(settings.name, Pushed::events) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    auto sent = inner_->send(items, attempt);
    if (!sent) return sent;
    for (const auto& item : items.first(sent->taken))
      counters_.sent_bytes.Increment(static_cast<double>(item.body.size()));
    return sent;
  }

 private:
  const std::unique_ptr<Destination> inner_;
  const PushCounters counters_;
};

std::unique_ptr<PushEncoder> EventsPush::encoder() const { return std::make_unique<Encoder>(*this); }
std::unique_ptr<Destination> EventsPush::destination() const {
  return std::make_unique<EventsDestination>(*this, address().value_or(MessageAddress{}));
}

constexpr auto kOwnFields = std::to_array<Field<EventsPush>>({
    {.key = "name",
     .at = &EventsPush::name,
     .help = "The destination in logs and metrics, and the folder of what waits for it.",
     .required = "one: it is the destination in logs and metrics"},
    {.key = "to",
     .at = &EventsPush::to,
     .help = "`journald` (fields `VITALD_EVENT_TYPE`, `VITALD_EVENT_FIELD_*`); or syslog: `/dev/log`, and as RFC 5424 "
             "`udp://HOST:514`, `tcp://HOST:601` (a length before each message)."},
    {.key = "types",
     .at = &EventsPush::types,
     .help = "Only events of these types: `[oom_kill, gpu_xid]`. Without any: all.",
     .expected = "a list of types"},
    {.key = "interval",
     .at = &EventsPush::interval_ns,
     .help = "Events leave with the collection that finds them; where nothing else collects, this often one is made.",
     .least = 1'000'000'000,
     .most = 86'400'000'000'000},
});
constexpr auto kFields = joined(kOwnFields, push_queue_fields<EventsPush>());

}  // namespace

extern const PushKind events_push;
constinit const PushKind events_push = push_kind<EventsPush, kFields>(
    "events", "syslog or systemd's journal, which are told of events: OOM kills, GPU errors, what programs post");

}  // namespace vitald
