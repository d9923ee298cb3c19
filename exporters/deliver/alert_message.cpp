// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/alert_message.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <utility>

#include "core/os/host_name.h"
#include "core/text/json.h"

namespace vitald {
namespace {

void append_map(std::string& out, const LabelMap& map) {
  char separator = '{';
  for (const auto& [name, value] : map) {
    out += separator;
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
    separator = ',';
  }
  out += map.empty() ? "{}" : "}";
}

}  // namespace

std::string rfc3339(std::int64_t epoch_ms) {
  const std::time_t seconds = epoch_ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, epoch_ms % 1000);
}

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

const char* status_of(const AlertTransition& t) { return t.firing ? "firing" : "resolved"; }
Alert not_after(Alert alert, std::int64_t now_ms) {
  for (auto* at : {&alert.active_at_ms, &alert.fired_at_ms, &alert.resolved_at_ms}) *at = std::min(*at, now_ms);
  return alert;
}

// Since when it fires, as Prometheus tells Alertmanager: not since when it is pending.
std::int64_t starts_at_ms(const Alert& a) { return a.fired_at_ms != 0 ? a.fired_at_ms : a.active_at_ms; }

LabelMap labels_of(const AlertTransition& t, const ReceiverSettings& settings) {
  return sent_labels(t.alert.labels, settings.external_labels);
}

std::string label_of(const LabelMap& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? std::string() : it->second;
}

std::string map_json(const LabelMap& map) {
  std::string out;
  append_map(out, map);
  return out;
}

Item item_of(const AlertTransition& t, std::string body) {
  Item item;
  const auto& a = t.alert;
  // What the receiver can tell a second delivery by is in the payload too: fingerprint and transition.
  item.key = fmt::format("{} {:016x}-{} {} {}", status_of(t), a.fingerprint, t.number,
                         rfc3339(t.firing ? starts_at_ms(a) : a.resolved_at_ms), label_of(a.labels, "alertname"));
  item.wall_ms = t.firing ? starts_at_ms(a) : a.resolved_at_ms;
  item.body = std::move(body);
  return item;
}

std::string alert_json(const AlertTransition& t, const ReceiverSettings& settings) {
  const auto& alert = t.alert;
  std::string out = fmt::format(R"({{"status":"{}","labels":)", status_of(t));
  append_map(out, labels_of(t, settings));
  out += ",\"annotations\":";
  append_map(out, alert.annotations);
  // The zero time of Go is what Alertmanager sends for "not yet".
  out += fmt::format(R"(,"startsAt":"{}","endsAt":"{}","generatorURL":)", rfc3339(starts_at_ms(alert)),
                     t.firing ? "0001-01-01T00:00:00Z" : rfc3339(alert.resolved_at_ms));
  append_json_string(out, settings.external_url);
  // Value and transition are not Alertmanager's: with the transition's number a receiver knows one that comes again.
  out += fmt::format(R"(,"fingerprint":"{:016x}","value":"{}","transition":{}}})", alert.fingerprint,
                     value_text(alert.value), t.number);
  return out;
}

std::string webhook_json(std::span<const WebhookAlert> alerts, std::string_view status, const LabelMap& group,
                         const ReceiverSettings& settings) {
  auto labels = alerts.front().labels, annotations = alerts.front().annotations;
  for (const auto& a : alerts.subspan(1)) {
    const auto other = [](const LabelMap& map) {
      return [&map](const auto& entry) {
        const auto at = map.find(entry.first);
        return at == map.end() || at->second != entry.second;
      };
    };
    std::erase_if(labels, other(a.labels));
    std::erase_if(annotations, other(a.annotations));
  }
  // As Alertmanager writes it: the route, then the group's labels. What begins and what ends have the same, and two
  // hosts that send to one receiver have different ones.
  std::string key = "{}/{host=";
  append_json_string(key, host_name());
  key += "}:{";
  for (const auto& [name, value] : group) {
    if (key.back() != '{') key += ", ";
    key += name + '=';
    append_json_string(key, value);
  }
  key += '}';

  std::string out = "{\"receiver\":";
  append_json_string(out, settings.name);
  out += ",\"host\":";  // not Alertmanager's: it knows a host by labels, which need not say it
  append_json_string(out, host_name());
  out += fmt::format(R"(,"status":"{}","alerts":)", status);
  char separator = '[';
  for (const auto& a : alerts) {
    out += separator;
    out += a.alert;
    separator = ',';
  }
  out += "],\"groupLabels\":";
  append_map(out, group);
  out += ",\"commonLabels\":";
  append_map(out, labels);
  out += ",\"commonAnnotations\":";
  append_map(out, annotations);
  out += ",\"externalURL\":";
  append_json_string(out, settings.external_url);
  out += R"(,"version":"4","groupKey":)";
  append_json_string(out, key);
  out += ",\"truncatedAlerts\":0}";
  return out;
}

std::string webhook_json(const AlertTransition& t, const ReceiverSettings& settings) {
  const auto alert = alert_json(t, settings);
  const WebhookAlert one{alert, labels_of(t, settings), t.alert.annotations};
  return webhook_json({&one, 1}, status_of(t), one.labels, settings);
}

}  // namespace vitald
