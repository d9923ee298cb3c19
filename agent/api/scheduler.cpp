// SPDX-License-Identifier: Apache-2.0
// What a scheduler asks of a host: how full it is, whether to place something on it, and how to register it.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "agent/api/alerts.h"
#include "agent/api/endpoints.h"
#include "agent/api/freshness.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/rules.h"
#include "core/os/host_name.h"
#include "core/os/machine_id.h"
#include "core/text/scan.h"
#include "deploy/clients/vitald.pb.h"
#include "rules/promql/labels.h"
#include "rules/promql/lexer.h"

namespace vitald {
namespace {

constexpr std::int64_t kFreshNs = 1'000'000'000;     // numbers that are newer need not be collected anew
constexpr std::int64_t kPatienceNs = 2'000'000'000;  // for a collection; what is there is answered then, with its age
constexpr std::int64_t kLooksNs = 1'020'000'000;     // between two looks: the deriver utilization wants a second
// The second look takes as long as the first one did, and a little more on a host that is busy. Whoever asks has a
// timeout.
constexpr std::int64_t kSlackNs = 500'000'000, kMostPatienceNs = 4'000'000'000;
constexpr double kMostOverS = 20;  // the mean of a longer time does not say how busy the host is

// A number, where it is from and when it was read.
struct Reading {
  double value;
  std::string source;
  std::int64_t boot_ns;
};

// `take(sample's labels, value)` for every sample of a family.
template <class Take>
void each_sample(const Snapshot& snapshot, std::string_view family, Take&& take) {
  for (const auto& batch : snapshot.batches)
    for (const auto& sample : batch->layout->samples())
      if (sample.family->name == family)
        take(Layout::labels(sample), batch->values[sample.value], batch->collected_boot_ns);
}

std::string_view label_of(std::span<const Label> labels, std::string_view name) {
  for (const auto& l : labels)
    if (l.name == name) return l.value;
  return {};
}

// Nobody looked at the resource a moment before: its ratio is the mean of a long time, or there is none yet.
bool looked_at_once(const Snapshot& snapshot, std::string_view resource) {
  bool once = false;
  each_sample(snapshot, "vitald_utilization_over_seconds", [&](auto labels, double over_s, std::int64_t) {
    if (label_of(labels, "resource") == resource) once = !(over_s > 0 && over_s <= kMostOverS);
  });
  return once;
}
// Of a counter of energy, too, nobody knows the power of now without two looks.
bool power_is_old(const Snapshot& snapshot) {
  bool old = false;
  each_sample(snapshot, "vitald_host_power_over_seconds",
              [&](auto, double over_s, std::int64_t) { old = !(over_s <= kMostOverS); });
  return old;
}
bool looked_at_once(const Snapshot& snapshot) {
  return power_is_old(snapshot) || looked_at_once(snapshot, "cpu") || looked_at_once(snapshot, "disk") ||
         looked_at_once(snapshot, "network");
}

std::optional<Reading> utilization_of(const Snapshot& snapshot, std::string_view resource) {
  std::optional<Reading> found;
  if (looked_at_once(snapshot, resource)) return found;
  each_sample(snapshot, "vitald_utilization_ratio", [&](auto labels, double ratio, std::int64_t at) {
    if (label_of(labels, "resource") == resource && std::isfinite(ratio))
      found = Reading{std::clamp(ratio, 0.0, 1.0) * 100, "vitald_utilization_ratio", at};
  });
  return found;
}

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

std::vector<std::string> chips_named(const Snapshot& snapshot, std::span<const std::string_view> names) {
  std::vector<std::string> chips;
  each_sample(snapshot, "node_hwmon_chip_names", [&](auto labels, double, std::int64_t) {
    if (is_one_of(label_of(labels, "chip_name"), names)) chips.emplace_back(label_of(labels, "chip"));
  });
  return chips;
}

// The hottest of the processors and the board, by the chips that say it: a disk or a network card may be hotter and is
// not the host. Without such a chip the hottest thermal zone.
std::optional<Reading> temperature_of(const Snapshot& snapshot) {
  static constexpr std::string_view kChips[] = {"coretemp", "k10temp",      "k8temp",      "zenpower",
                                                "acpitz",   "fam15h_power", "cpu_thermal", "peci_cputemp"};
  std::optional<Reading> hottest;
  const auto take = [&](double celsius, std::int64_t at, std::string source) {
    if (std::isfinite(celsius) && (!hottest || celsius > hottest->value)) hottest = {celsius, std::move(source), at};
  };
  const auto chips = chips_named(snapshot, kChips);
  each_sample(snapshot, "node_hwmon_temp_celsius", [&](auto labels, double celsius, std::int64_t at) {
    const auto chip = label_of(labels, "chip");
    if (std::ranges::find(chips, chip) != chips.end())
      take(celsius, at, fmt::format("node_hwmon_temp_celsius {} {}", chip, label_of(labels, "sensor")));
  });
  if (hottest) return hottest;
  each_sample(snapshot, "node_thermal_zone_temp", [&](auto labels, double celsius, std::int64_t at) {
    take(celsius, at, fmt::format("node_thermal_zone_temp {} {}", label_of(labels, "type"), label_of(labels, "zone")));
  });
  return hottest;
}

// The deriver host_power chooses the meter (docs/power.md).
std::optional<Reading> power_of(const Snapshot& snapshot) {
  std::optional<Reading> found;
  if (power_is_old(snapshot)) return found;
  each_sample(snapshot, "vitald_host_power_watts", [&](auto labels, double watts, std::int64_t at) {
    if (std::isfinite(watts))
      found = Reading{watts, fmt::format("vitald_host_power_watts {}", label_of(labels, "source")), at};
  });
  return found;
}

void put(const std::optional<Reading>& r, std::int64_t now_boot_ns, v1::Reading* (v1::Utilization::*member)(),
         v1::Utilization& to) {
  if (!r) return;
  auto& reading = *(to.*member)();
  reading.set_value(r->value);
  reading.set_age_seconds(static_cast<double>(std::max<std::int64_t>(0, now_boot_ns - r->boot_ns)) / 1e9);
  reading.set_source(r->source);
}

// The same as JSON: a reading's value is called after its unit.
std::string json_of(const v1::Utilization& u) {
  std::string out;
  Json j(out);
  const auto append = [&j](std::string_view name, bool known, const v1::Reading& r, std::string_view unit) {
    if (!known) return;
    j.key(name);
    j.open('{');
    j.number(unit, r.value());
    j.number("age_seconds", r.age_seconds());
    j.text("source", r.source());
    j.close('}');
  };
  j.open('{');
  j.text("provider_uuid", u.provider_uuid());
  j.text("name", u.name());
  j.number("timestamp", u.timestamp());
  append("cpu", u.has_cpu(), u.cpu(), "percent");
  append("memory", u.has_memory(), u.memory(), "percent");
  append("disk", u.has_disk(), u.disk(), "percent");
  append("network", u.has_network(), u.network(), "percent");
  append("power", u.has_power(), u.power(), "watts");
  append("temperature", u.has_temperature(), u.temperature(), "celsius");
  if (u.has_available_capacity()) j.number("available_capacity", u.available_capacity());
  j.flag("schedulable", u.schedulable());
  j.list("reasons", {u.reasons().begin(), u.reasons().end()});
  j.close('}');
  return out;
}
std::string json_of(const v1::Registration& r) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("uuid", r.uuid());
  j.text("name", r.name());
  j.text("endpoint_url", r.endpoint_url());
  j.text("type", r.type());
  j.whole("scrape_interval", r.scrape_interval());
  j.flag("enabled", r.enabled());
  j.text("created_at", r.created_at());
  j.text("updated_at", r.updated_at());
  j.close('}');
  return out;
}
std::string json_of(const v1::Metrics& m) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("provider_uuid", m.provider_uuid());
  j.number("timestamp", m.timestamp());
  j.text("aggregation", m.aggregation());
  if (m.has_start()) j.number("start", m.start());
  j.key("metrics");
  j.open('{');
  const std::map<std::string, double> sorted(m.metrics().begin(), m.metrics().end());
  for (const auto& [name, value] : sorted) j.number(name, value);
  j.close('}');
  j.close('}');
  return out;
}

bool wants_protobuf(const Request& request) { return prefers_protobuf(request.list("Accept")); }

template <class Message>
Response answer_of(const Message& message, bool protobuf) {
  Response out = json_response(200, protobuf ? message.SerializeAsString() : success(json_of(message)));
  if (protobuf) out.content_type = "application/x-protobuf";
  out.headers.emplace_back("Vary", "Accept");
  return out;
}

struct Thresholds {
  std::optional<double> cpu, memory, disk, network, temperature;
};

std::optional<Thresholds> thresholds_of(const Parameters& p, std::string& problem) {
  Thresholds out;
  const auto read = [&](const char* name, std::optional<double>& to, double most) {
    const auto text = first(p, name);
    if (text.empty()) return;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= most))
      problem = fmt::format("{}: '{}', expected a number from 0 to {}", name, text, most);
    else to = value;
  };
  static constexpr std::string_view kKnown[] = {"cpu_threshold", "memory_threshold", "disk_threshold",
                                                "network_threshold", "temperature_threshold"};
  for (const auto& [name, value] : p)
    if (!is_one_of(name, kKnown))
      problem = fmt::format("there is no '{}', expected one of {}", name, fmt::join(kKnown, ", "));
  read("cpu_threshold", out.cpu, 100);
  read("memory_threshold", out.memory, 100);
  read("disk_threshold", out.disk, 100);
  read("network_threshold", out.network, 100);
  read("temperature_threshold", out.temperature, 1000);
  if (!problem.empty()) return {};
  return out;
}

class Utilization final : public Pending {
 public:
  Utilization(const AgentView& agent, const Thresholds& thresholds, bool protobuf, std::int64_t arrived_boot_ns)
      : agent_(agent), thresholds_(thresholds), protobuf_(protobuf), arrived_ns_(arrived_boot_ns) {}

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    const auto latest = agent_.latest();
    if (now_boot_ns < last_ns()) {
      // With the second look due the next collection makes it; until then nothing is wanted.
      look_again_ = look_again_ || (first_look_ns_ != 0 && now_boot_ns >= first_look_ns_ + kLooksNs);
      if (!latest || latest->boot_ns < arrived_ns_ - kFreshNs) return {};
      if (looked_at_once(*latest)) {
        // When its last collector was done, not when it began: each wants its second between two of its own.
        if (first_look_ns_ == 0) {
          first_look_ns_ = now_boot_ns;
          first_took_ns_ = now_boot_ns - latest->boot_ns;
        }
        return {};
      }
    }
    if (!latest) return api_error(ApiError::unavailable, "the first collection still runs");
    return answer_of(message(*latest, now_boot_ns), protobuf_);
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override {
    return first_look_ns_ != 0 && !look_again_ ? std::min(first_look_ns_ + kLooksNs, last_ns()) : last_ns();
  }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override {
    if (first_look_ns_ == 0) return arrived_ns_ - kFreshNs;
    return look_again_ ? first_look_ns_ + kLooksNs : 0;
  }

 private:
  // When it is answered with what there is.
  [[nodiscard]] std::int64_t last_ns() const {
    if (first_look_ns_ == 0) return arrived_ns_ + kPatienceNs;
    return std::clamp(first_look_ns_ + kLooksNs + first_took_ns_ + kSlackNs, arrived_ns_ + kPatienceNs,
                      arrived_ns_ + kMostPatienceNs);
  }

  [[nodiscard]] v1::Utilization message(const Snapshot& snapshot, std::int64_t now_boot_ns) const {
    const auto cpu = utilization_of(snapshot, "cpu"), memory = utilization_of(snapshot, "memory"),
               disk = utilization_of(snapshot, "disk"), network = utilization_of(snapshot, "network"),
               temperature = temperature_of(snapshot);
    auto reasons = alerts();
    const auto above = [&](std::string_view what, const auto& reading, const std::optional<double>& threshold) {
      if (!threshold) return;
      if (!reading) reasons.push_back(fmt::format("{} is not known, and asked to be at most {}", what, *threshold));
      else if (reading->value > *threshold)
        reasons.push_back(fmt::format("{} is {:.1f}, above {}", what, reading->value, *threshold));
    };
    above("cpu", cpu, thresholds_.cpu);
    above("memory", memory, thresholds_.memory);
    above("disk", disk, thresholds_.disk);
    above("network", network, thresholds_.network);
    above("temperature", temperature, thresholds_.temperature);
    if (agent_.freshness && agent_.freshness->too_old(agent_.latest(), now_boot_ns))
      reasons.emplace_back("the numbers are too old: a collection hangs");
    v1::Utilization out;
    out.set_provider_uuid(machine_uuid());
    out.set_name(host_name());
    out.set_timestamp(static_cast<double>(snapshot.wall_ns / 1'000'000) / 1e3);
    put(cpu, now_boot_ns, &v1::Utilization::mutable_cpu, out);
    put(memory, now_boot_ns, &v1::Utilization::mutable_memory, out);
    put(disk, now_boot_ns, &v1::Utilization::mutable_disk, out);
    put(network, now_boot_ns, &v1::Utilization::mutable_network, out);
    put(power_of(snapshot), now_boot_ns, &v1::Utilization::mutable_power, out);
    put(temperature, now_boot_ns, &v1::Utilization::mutable_temperature, out);
    if (cpu && memory) out.set_available_capacity((100 - cpu->value) * 0.5 + (100 - memory->value) * 0.5);
    out.set_schedulable(reasons.empty());
    for (auto& reason : reasons) out.add_reasons(std::move(reason));
    return out;
  }

  // Critical ones that nobody has in hand and nobody has silenced.
  [[nodiscard]] std::vector<std::string> alerts() const {
    std::vector<std::string> out;
    AlertFilter wanted;
    wanted.severity = "critical";
    wanted.state = "firing";
    wanted.acknowledged = false;
    wanted.silenced = false;
    const auto view = rules_view_of(agent_);
    for (const auto& row : each_once(alert_rows(*view, *agent_.silences, agent_.clock->wall_ns() / 1'000'000, {}))) {
      if (!wanted.fits(row)) continue;
      const auto& labels = row.alert->labels;
      const auto name = labels.find("alertname");
      out.push_back(fmt::format("critical alert {} fires", name == labels.end() ? "" : name->second));
    }
    return out;
  }

  const AgentView agent_;
  Thresholds thresholds_;
  bool protobuf_;
  std::int64_t arrived_ns_;
  // A first look that was not enough: when it was done, how long it took; and that it is time for the second.
  std::int64_t first_look_ns_ = 0, first_took_ns_ = 0;
  bool look_again_ = false;
};

// The document of a metric endpoint, as schedulers keep one for each host.
v1::Registration registration(const AgentView& agent) {
  struct stat installed {};
  const bool known = stat("/etc/machine-id", &installed) == 0;
  const auto now_ms = agent.clock->wall_ns() / 1'000'000;
  v1::Registration out;
  out.set_uuid(machine_uuid());
  out.set_name(host_name());
  out.set_endpoint_url(agent.external_url + agent.metrics_path);
  out.set_type("prometheus");
  out.set_scrape_interval(std::max<std::int64_t>(1, agent.interval_ns() / 1'000'000'000));
  out.set_enabled(true);
  out.set_created_at(go_time(known ? installed.st_mtim.tv_sec * 1000 : now_ms));
  out.set_updated_at(go_time(now_ms));
  return out;
}

// How the samples of a time range become one number; without a range it is the newest one.
constexpr std::string_view kAggregations[] = {"avg", "min", "max", "last"};
constexpr std::size_t kMostMetrics = 100;

struct MetricsAsk {
  std::vector<std::string> names;
  std::string aggregation;
  std::int64_t start_ms = INT64_MIN, end_ms = INT64_MIN;  // the lowest: not given
};

std::optional<MetricsAsk> metrics_ask_of(const Parameters& p, std::optional<Response>& problem) {
  MetricsAsk out;
  for (const auto* name : {"metric", "metric[]"})
    for (const auto listed : all(p, name)) {
      std::string_view rest = listed;
      while (!rest.empty())
        if (const auto metric = trim(take_until(rest, ',')); !metric.empty()) out.names.emplace_back(metric);
    }
  out.start_ms = time_parameter(p, "start", INT64_MIN, problem);
  out.end_ms = time_parameter(p, "end", INT64_MIN, problem);
  out.aggregation = first(p, "aggregation");
  if (out.aggregation.empty()) out.aggregation = out.start_ms == INT64_MIN ? "last" : "avg";
  if (problem) return {};
  if (out.names.empty() || out.names.size() > kMostMetrics)
    problem = invalid_parameter("metric", fmt::format("expected 1 to {} names of metrics", kMostMetrics));
  for (const auto& name : out.names)
    if (!promql::valid_quoted_name(name)) problem = invalid_parameter("metric", fmt::format("'{}' is no name", name));
  if (!is_one_of(out.aggregation, kAggregations))
    problem = invalid_parameter(
        "aggregation", fmt::format("'{}', expected one of {}", out.aggregation, fmt::join(kAggregations, ", ")));
  if (out.start_ms == INT64_MIN && out.aggregation != "last")
    problem = invalid_parameter("start", "none, expected the begin of the time range");
  if (out.start_ms != INT64_MIN && out.end_ms != INT64_MIN && out.end_ms <= out.start_ms)
    problem = invalid_parameter("end", "not after the start");
  if (problem) return {};
  return out;
}

// Of each metric the sum over its series: now, or what the aggregation makes of each in the time range.
Queries::Outcome query_metrics(const MetricsAsk& ask, HistoryView& view, const QueryLimits& limits, bool protobuf) {
  const auto end_ms = ask.end_ms == INT64_MIN ? view.now_wall_ms() : ask.end_ms;
  const auto range_ms = ask.start_ms == INT64_MIN ? 0 : end_ms - ask.start_ms;
  if (ask.start_ms != INT64_MIN && range_ms <= 0)
    return {{}, invalid_parameter("start", "after the newest samples"), true};
  v1::Metrics out;
  out.set_provider_uuid(machine_uuid());
  out.set_timestamp(static_cast<double>(end_ms) / 1e3);
  out.set_aggregation(ask.aggregation);
  // The samples that there are may begin later than what was asked for.
  if (range_ms != 0) out.set_start(static_cast<double>(std::max(ask.start_ms, oldest_wall_ms(view))) / 1e3);
  for (const auto& name : ask.names) {
    const auto selector = fmt::format("{{__name__={}}}", promql::quoted(name));
    const auto text = range_ms == 0 ? fmt::format("sum({})", selector)
                                    : fmt::format("sum({}_over_time({}[{}]))", ask.aggregation, selector,
                                                  promql::duration_text(range_ms));
    const auto expr = parse_query(text, limits.language);
    if (!expr) return outcome_of(expr.error());
    const auto answer = instant_query(**expr, view, end_ms, limits);
    if (!answer) return outcome_of(answer.error());
    if (!answer->rows.empty() && !answer->rows[0].histogram && std::isfinite(answer->rows[0].value))
      (*out.mutable_metrics())[name] = answer->rows[0].value;
  }
  return outcome_of(protobuf ? out.SerializeAsString() : success(json_of(out)));
}

}  // namespace

Handler utilization_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    std::string problem;
    const auto thresholds = thresholds_of(parameters_of(request), problem);
    if (!thresholds) return api_error(ApiError::bad_data, problem);
    return std::make_unique<Utilization>(agent, *thresholds, wants_protobuf(request), request.arrived_boot_ns);
  };
}

Handler registration_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer { return answer_of(registration(agent), wants_protobuf(request)); };
}

Handler query_metrics_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) -> Answer {
    const auto p = parameters_of(request);
    std::optional<Response> problem;
    const auto asked = metrics_ask_of(p, problem);
    const bool protobuf = wants_protobuf(request);
    std::string key;
    if (asked) key = fmt::format("metrics\n{} {} {} {}", asked->aggregation, asked->start_ms, asked->end_ms, protobuf);
    if (asked)
      for (const auto& name : asked->names) add_to_key(key, name);
    auto ask = ask_of(request, p, std::move(key), problem);
    if (problem) return std::move(*problem);
    ask.content_type = protobuf ? "application/x-protobuf" : "application/json";
    return queries->run(ask, [asked = *asked, protobuf](HistoryView& view, const QueryLimits& limits) {
      if (!keeps_history(view))
        return Queries::Outcome{{}, api_error(ApiError::unavailable, std::string(kNoHistory)), true};
      return query_metrics(asked, view, limits, protobuf);
    });
  };
}

}  // namespace vitald
