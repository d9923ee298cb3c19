// SPDX-License-Identifier: Apache-2.0
#include "exporters/push/push.h"

#include <fmt/format.h>

#include <set>
#include <string_view>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/text/names.h"
#include "core/text/scan.h"

namespace vitald {

#define PUSH(name) extern const PushKind name##_push;
#include "exporters/push/push.list"
#undef PUSH

std::span<const PushKind* const> push_kinds() {
  static constexpr const PushKind* kAll[] = {
#define PUSH(name) &name##_push,
#include "exporters/push/push.list"
#undef PUSH
  };
  return kAll;
}

namespace {

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

QueueSettings queue_settings(const PushSettings& settings, const PushCounters& counters) {
  QueueSettings q;
  q.name = settings.name;
  q.folder = "push";
  q.data_type = "samples";
  q.most_items = 10'000'000;  // bytes bound it
  q.most_memory_bytes = settings.queue_memory_mib << 20;
  q.most_disk_bytes = settings.queue_disk_mib << 20;
  q.attempt_ns = settings.timeout_ns;
  q.most_wait_ns = 60'000'000'000;
  q.on_drop = [counters](std::string_view reason, std::uint64_t records) { counters.dropped(reason, records); };
  q.items_go_together = true;
  if (settings.newest_only()) q.most_items = 1;
  settings.adjust(q);
  return q;
}

}  // namespace

void PushEncoder::end(std::int64_t, std::vector<Item>&) {}

Item item_of_lines(const Snapshot& snapshot, std::string_view lines, std::uint32_t count) {
  Item item;
  item.key = fmt::format("{} lines", count);
  item.body = lines;
  item.wall_ms = snapshot.wall_ns / 1'000'000;
  item.records = count;
  return item;
}

std::string PushSettings::problem() const {
  if (aggregate != "last" && aggregate != "avg" && aggregate != "max")
    return fmt::format("aggregate: '{}' found, expected last, avg or max", aggregate);
  std::set<std::string_view> names;
  for (const auto& label : labels) {
    const auto equals = label.find('=');
    const auto label_name = std::string_view(label).substr(0, equals);
    if (equals == std::string::npos || !is_label_name(label_name))
      return fmt::format("labels: '{}' is not NAME=VALUE, expected e.g. rack=7", label);
    if (label_name == "__name__")
      return fmt::format("labels: '{}': __name__ is the metric, which has a name; expected another label", label);
    if (!names.insert(label_name).second)
      return fmt::format("labels: '{}': {} is given twice, expected each label once", label, label_name);
  }
  return {};
}

PushAggregate PushSettings::aggregated() const {
  return aggregate == "avg" ? PushAggregate::avg : aggregate == "max" ? PushAggregate::max : PushAggregate::last;
}

Result<std::string> PushSettings::reach(const Attempt&) const {
  std::vector<std::string> problems;
  check(problems);
  if (!problems.empty()) return fail(Errc::absent, problems.front());
  return "nothing is wrong with it on this machine";
}

SeriesTable::Settings PushSettings::table() const {
  SeriesTable::Settings out;
  out.target = target_labels;
  out.external = external_labels;
  for (const auto& label : labels)
    if (const auto equals = label.find('='); equals != std::string::npos)
      out.external[label.substr(0, equals)] = label.substr(equals + 1);
  std::erase_if(out.external, [](const auto& label) { return label.second.empty(); });
  out.relabel = relabel;
  if (most_series > 0) out.most_series = most_series;
  return out;
}

// ---- counters

namespace {

constexpr const char* kDropped = "vitald_push_dropped_samples_total";
constexpr const char* kDroppedHelp =
    "Samples that the destination will never have: no room (full), it does not want them (refused), too large, or "
    "nowhere to keep them at the end (lost).";

prometheus::Counter& counter(const char* family, const char* help, const std::string& destination) {
  return instruments().counter(family, help, {{"destination", destination}});
}

}  // namespace

PushCounters::PushCounters(const std::string& destination, Pushed what)
    : sent_bytes(counter("vitald_push_sent_bytes_total",
                         "Bytes of the requests that the destination took, as they were sent.", destination)),
      encode_seconds(counter("vitald_push_encode_seconds_total", "CPU time for making what is sent out of snapshots.",
                             destination)),
      switches(counter("vitald_push_server_changes_total",
                       "Times that another server of the destination was sent to than before.", destination)),
      left_out(instruments().gauge("vitald_push_left_out_series",
                                   "Series that the destination is not sent: beyond max_series, made the same as "
                                   "others by relabelling, or given a name that is none.",
                                   {{"destination", destination}})),
      standby(
          instruments().gauge("vitald_push_standby",
                              "Which server of the destination is sent to; 0: that of its URL, 1: its first standby.",
                              {{"destination", destination}})),
      request_seconds(
          instruments().histogram("vitald_push_request_duration_seconds", "How long requests to the destination took.",
                                  {0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30}, {{"destination", destination}})),
      destination_(destination) {
  if (what == Pushed::events) return;
  made_ = &counter("vitald_push_samples_total", "Samples made for the destination.", destination);
  sent_ = &counter("vitald_push_sent_samples_total", "Samples that the destination took.", destination);
  for (const auto* reason : {"full", "refused", "too_large", "lost"}) dropped(reason, 0);  // there from the start
}

void PushCounters::answered(std::string_view code) const {
  instruments()
      .counter("vitald_push_requests_total",
               "Requests to the destination, by the HTTP status of the answer; none: there was no answer.",
               {{"destination", destination_}, {"code", std::string(code)}})
      .Increment();
}

void PushCounters::made(std::uint64_t samples) const {
  if (made_) made_->Increment(static_cast<double>(samples));
}
void PushCounters::sent(std::uint64_t samples) const {
  if (sent_) sent_->Increment(static_cast<double>(samples));
}
void PushCounters::dropped(std::string_view reason, std::uint64_t samples) const {
  if (!sent_) return;
  instruments()
      .counter(kDropped, kDroppedHelp, {{"destination", destination_}, {"reason", std::string(reason)}})
      .Increment(static_cast<double>(samples));
}

// ---- one destination

Push::Push(PushPtr settings, std::shared_ptr<const StateDir> state, std::unique_ptr<Push> before)
    : settings_(std::move(settings)), counters_(settings_->name, settings_->pushed()), encoder_(settings_->encoder()) {
  auto rest = before ? before->queue_->end() : std::vector<Item>();
  before.reset();  // its folder is free for this one
  if (settings_->newest_only()) {
    state.reset();
    rest.clear();
  }
  queue_ = std::make_unique<Queue>(queue_settings(*settings_, counters_), settings_->destination(), std::move(state),
                                   system_clock());
  queue_->push(std::move(rest));
}
Push::~Push() = default;

void Push::push(const Snapshot& snapshot) {
  const auto begin_ns = SystemClock::read(CLOCK_THREAD_CPUTIME_ID);
  std::vector<Item> items;
  encoder_->encode(snapshot, items);
  std::uint64_t samples = 0;
  for (const auto& item : items) samples += item.records;
  counters_.made(samples);
  counters_.encode_seconds.Increment(static_cast<double>(SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - begin_ns) / 1e9);
  queue_->push(std::move(items));
  const auto left_out = encoder_->left_out();
  counters_.left_out.Set(static_cast<double>(left_out.all()));
  const auto say = [this](bool& said, std::size_t series, std::string_view why) {
    if (series > 0 && !said)
      log::warn(fmt::format("push: series are left out: {}", why),
                {{"destination", settings_->name}, {"series", fmt::format("{}", series)}});
    said = series > 0;
  };
  say(said_.beyond, left_out.beyond, "beyond max_series");
  say(said_.same, left_out.same, "relabelling makes them the same as others");
  say(said_.unnamed, left_out.unnamed,
      fmt::format("relabelling makes their name '{}', which is no name of a metric there", left_out.name));
}

void Push::observe(const Snapshot& snapshot) { encoder_->observe(snapshot); }

void Push::finish(std::int64_t wall_ms) {
  std::vector<Item> items;
  encoder_->end(wall_ms, items);
  std::uint64_t samples = 0;
  for (const auto& item : items) samples += item.records;
  counters_.made(samples);
  queue_->push(std::move(items));
}

bool Push::idle() const {
  const auto stats = queue_->stats();
  return stats.waiting == 0 && stats.in_flight == 0;
}
bool Push::failing() const { return queue_->stats().failing; }
void Push::stop() { queue_->stop(); }
void Push::measure() { queue_->measure(); }

// ---- relabel

namespace {

struct RelabelKeys : RelabelRule {
  std::string action_name = "replace";
};
// Up to 2^64 - 1.
void read_modulus(YamlReader& reader, const YAML::Node& node, const std::string& at, RelabelKeys& into) {
  const auto n = node.IsScalar() ? parse_u64(node.Scalar()) : std::nullopt;
  if (n && *n > 0) into.modulus = *n;
  else
    reader.say(node.Mark(), at,
               fmt::format("{} found, expected a whole number from 1 to {}",
                           node.IsScalar() ? node.Scalar() : kind_of(node), UINT64_MAX));
}
// An empty list is one, too: what looks at nothing looks at an empty text.
void read_source_labels(YamlReader& reader, const YAML::Node& node, const std::string& at, RelabelKeys& into) {
  if (!node.IsSequence())
    return reader.say(node.Mark(), at, fmt::format("{} found, expected a list of labels", kind_of(node)));
  for (const auto& item : reader.items(node))
    if (item.IsScalar()) into.source_labels.push_back(item.Scalar());
    else reader.say(item.Mark(), at, fmt::format("{} found, expected a label", kind_of(item)));
}

constexpr Field<RelabelKeys> kRelabelFields[] = {
    {.key = "source_labels",
     .at = &RelabelKeys::source_labels,
     .help = "The labels whose values, joined by `separator`, are looked at; `__name__` is the metric.",
     .expected = "a list of labels",
     .custom = read_source_labels},
    {.key = "separator", .at = &RelabelKeys::separator, .help = "What stands between the values."},
    {.key = "regex",
     .at = &RelabelKeys::regex,
     .help = "What the values have to match as a whole; for labelmap, labeldrop and labelkeep the names of labels."},
    {.key = "modulus",
     .at = &RelabelKeys::modulus,
     .help = "For hashmod: by which the hash of the values is divided; 1 to 2^64 - 1.",
     .expected = "a number",
     .custom = read_modulus},
    {.key = "target_label", .at = &RelabelKeys::target_label, .help = "The label that is set, or compared."},
    {.key = "replacement", .at = &RelabelKeys::replacement, .help = "To what; `$1` is a group of the regex."},
    {.key = "action",
     .at = &RelabelKeys::action_name,
     .help = "`replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`, "
             "`lowercase` or `uppercase`, as in Prometheus' `relabel_config`."},
};

}  // namespace

void read_relabel(YamlReader& reader, const YAML::Node& node, const std::string& at, std::vector<RelabelRule>& into) {
  if (!node.IsSequence())
    return reader.say(node.Mark(), at, fmt::format("{} found, expected a list of rules", kind_of(node)));
  std::size_t i = 0;
  for (const auto& item : reader.items(node)) {
    const auto path = fmt::format("{}[{}]", at, i++);
    RelabelKeys keys;
    if (!FieldReader<RelabelKeys>(reader, kRelabelFields).read(item, path, keys)) continue;
    const auto action = relabel_action(keys.action_name);
    if (!action) {
      reader.say(item.Mark(), path, action.error().text);
      continue;
    }
    RelabelRule rule = keys;
    rule.action = *action;
    if (const auto problem = relabel_problem(rule); !problem.empty()) reader.say(item.Mark(), path, problem);
    else into.push_back(std::move(rule));
  }
}

std::string relabel_markdown() { return fields_markdown<RelabelKeys>(kRelabelFields); }

}  // namespace vitald
