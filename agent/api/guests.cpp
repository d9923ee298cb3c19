// SPDX-License-Identifier: Apache-2.0
// /api/telemetry: the guests of this host, the numbers of one, what they were over a time, and how reading them goes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "core/text/number.h"
#include "core/text/scan.h"
#include "exporters/encode/guest_table.h"

namespace vitald {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::size_t kMostGuests = 1000;  // of one question
constexpr std::int64_t kMostPoints = 11'000;

void append_number(Json& j, std::string_view name, const std::optional<double>& value, bool whole) {
  if (!value || !std::isfinite(*value)) return;
  j.key(name);
  char text[kMaxNumberText];
  j.raw({text, static_cast<std::size_t>(write_number(text, whole ? std::round(*value) : *value) - text)});
}

template <std::size_t N>
void append_fields(Json& j, const std::array<GuestField, N>& fields,
                   const std::array<std::optional<double>, N>& values) {
  for (std::size_t i = 0; i < N; ++i) append_number(j, fields[i].name, values[i], fields[i].whole);
}

void append_guest(Json& j, const GuestRecord& g, const GuestTable& table, bool all) {
  j.open('{');
  if (g.id) j.whole("vm_id", *g.id);
  j.text("name", g.name);
  if (!g.uuid.empty()) j.text("uuid", g.uuid);
  if (g.state) j.text("state", guest_state_word(*g.state));
  append_fields(j, kGuestFields, g.fields);
  append_fields(j, kFeatureFields, g.features);
  j.text("timestamp", go_time(table.read_wall_ns / 1'000'000));
  if (all) {
    append_fields(j, kTotalFields, g.totals);
    j.key("devices");
    j.open('[');
    for (const auto& d : g.devices) {
      j.open('{');
      j.text("device", d.name);
      j.text("kind", d.disk ? "disk" : "interface");
      append_fields(j, d.disk ? kDiskFields : kInterfaceFields, d.fields);
      j.close('}');
    }
    j.close(']');
  }
  j.close('}');
}

std::string vms_json(const GuestTable& table) {
  std::string out;
  Json j(out);
  j.open('{');
  j.flag("connected", table.up);
  j.whole("count", static_cast<std::int64_t>(table.guests.size()));
  j.key("vms");
  j.open('[');
  for (const auto& guest : table.guests) append_guest(j, guest, table, false);
  j.close(']');
  j.close('}');
  return success(out);
}

// Those that are asked for: by uuid, else by exactly that name, else by number, since a name may be another's number.
template <class G>
std::vector<const G*> named(std::string_view asked, const std::vector<G>& guests) {
  std::vector<const G*> by_uuid, by_name, by_id;
  for (const auto& g : guests) {
    if (!g.uuid.empty() && asked == g.uuid) by_uuid.push_back(&g);
    if (asked == g.name) by_name.push_back(&g);
    if (g.id && asked == fmt::to_string(*g.id)) by_id.push_back(&g);
  }
  return !by_uuid.empty() ? by_uuid : !by_name.empty() ? by_name : by_id;
}

// The sum of a family's samples, of those with that label where one is named.
std::optional<double> total_of(const Snapshot& snapshot, std::string_view family, Label with = {}) {
  std::optional<double> sum;
  for (const auto& batch : snapshot.batches)
    for (const auto& s : batch->layout->samples()) {
      if (s.family->name != family) continue;
      const auto labels = Layout::labels(s);
      if (with.name.empty() || std::ranges::find(labels, with) != labels.end())
        sum = sum.value_or(0) + batch->values[s.value];
    }
  return sum;
}

std::int64_t since_ms(const Snapshot& snapshot, std::string_view family) {
  for (const auto& batch : snapshot.batches)
    for (const auto& s : batch->layout->samples())
      if (s.family->name == family) return Layout::since_wall_ms(s);
  return 0;
}

// How reading guests goes. What is not known is null: no libvirt here, or nothing is pushed.
std::string collector_json(const Snapshot& snapshot) {
  const auto table = guests_of(snapshot);
  std::string out;
  Json j(out);
  const auto time_or_null = [&j](std::string_view name, std::int64_t ms) {
    if (ms > 0) return j.text(name, go_time(ms));
    j.key(name);
    j.raw("null");
  };
  const auto count_or_zero = [&](std::string_view name, std::string_view family, Label with = {}) {
    j.whole(name, static_cast<std::int64_t>(total_of(snapshot, family, with).value_or(0)));
  };
  j.open('{');
  j.flag("running", table.up);
  time_or_null("started_at", since_ms(snapshot, "vitald_guest_readings_total"));
  count_or_zero("total_collections", "vitald_guest_readings_total");
  count_or_zero("total_errors", "vitald_collector_errors_total", {"collector", "libvirt"});
  time_or_null("last_collection_time", table.up ? table.wall_ns / 1'000'000 : 0);
  j.whole("vms_monitored", std::ranges::count_if(table.guests, [](const auto& g) { return g.id.has_value(); }));
  count_or_zero("total_metrics_written", "vitald_push_sent_samples_total");
  j.close('}');
  return success(out);
}

// ---- history

enum class How : std::uint8_t { raw, latest, avg, min, max, trend, rate };
struct Aggregate {
  std::string_view name;
  How how;
  std::string_view function;  // of PromQL; empty: the samples themselves
};
constexpr Aggregate kAggregates[] = {
    {"raw", How::raw, ""},
    {"latest", How::latest, "last_over_time"},
    {"avg", How::avg, "avg_over_time"},
    {"mean", How::avg, "avg_over_time"},
    {"min", How::min, "min_over_time"},
    {"max", How::max, "max_over_time"},
    {"trend", How::trend, "deriv"},
    {"rate", How::rate, "rate"},
};

struct Asked {
  std::string vm;  // empty: all
  std::string device;
  GuestField field;
  bool state = false, of_device = false;
  Aggregate how = kAggregates[0];
  std::int64_t from_ms = 0, to_ms = 0, step_ms = 0;
};

template <std::size_t N>
void add_names(std::vector<std::string_view>& names, const std::array<GuestField, N>& fields) {
  for (const auto& f : fields) names.push_back(f.name);
}

// By its name; of disks before interfaces, which have other names.
bool find_field(std::string_view name, Asked& out) {
  const auto look = [&](const auto& fields, bool of_device) {
    for (const auto& f : fields)
      if (f.name == name) return out.field = f, out.of_device = of_device, true;
    return false;
  };
  if (name == "state") {
    out.field = {"state", kGuestStateSeries};
    return out.state = true;
  }
  return look(kGuestFields, false) || look(kFeatureFields, false) || look(kTotalFields, false) ||
         look(kDiskFields, true) || look(kInterfaceFields, true);
}

std::vector<std::string_view> field_names() {
  std::vector<std::string_view> out{"state"};
  add_names(out, kGuestFields);
  add_names(out, kFeatureFields);
  add_names(out, kTotalFields);
  add_names(out, kDiskFields);
  add_names(out, kInterfaceFields);
  return out;
}

// Seconds since the epoch, RFC 3339, `now`, or so long ago: `-12h`, `now-7d`.
std::optional<std::int64_t> time_of(std::string_view text, std::int64_t now_ms) {
  if (text == "now") return now_ms;
  auto ago = text;
  take_prefix(ago, "now");
  if (take_prefix(ago, "-")) {
    const auto ms = parse_api_duration(ago);
    if (!ms || *ms < 0) return {};
    return now_ms - *ms;
  }
  return parse_api_time(text);
}

std::optional<Asked> asked_of(const Parameters& p, std::int64_t now_ms, std::string& problem) {
  static constexpr std::string_view kKnown[] = {"vm", "field", "device", "from", "to", "agg", "step", "timeout"};
  for (const auto& [name, value] : p)
    if (std::ranges::find(kKnown, name) == std::end(kKnown))
      problem = fmt::format("there is no '{}', expected some of {}", name, fmt::join(kKnown, ", "));
  Asked out;
  out.vm = first(p, "vm");
  out.device = first(p, "device");
  const auto field = first(p, "field");
  if (!find_field(field, out))
    problem = fmt::format("field: '{}', expected one of {}", field, fmt::join(field_names(), ", "));
  const auto time = [&](const char* name, std::int64_t fallback) {
    const auto text = first(p, name);
    if (text.empty()) return fallback;
    const auto ms = time_of(text, now_ms);
    if (!ms) problem = fmt::format("{}: '{}', expected seconds since 1970, RFC 3339, now or e.g. -12h", name, text);
    return ms.value_or(0);
  };
  out.to_ms = time("to", now_ms);
  out.from_ms = time("from", out.to_ms - kHourMs);
  if (problem.empty() && out.from_ms >= out.to_ms) problem = "from: not before 'to'";
  if (const auto name = first(p, "agg"); !name.empty()) {
    const auto* found = std::ranges::find(kAggregates, name, &Aggregate::name);
    if (found == std::end(kAggregates)) {
      std::vector<std::string_view> names;
      for (const auto& a : kAggregates) names.push_back(a.name);
      problem = fmt::format("agg: '{}', expected one of {}", name, fmt::join(names, ", "));
    } else {
      out.how = *found;
    }
  }
  if (out.state && out.how.how != How::raw && out.how.how != How::latest)
    problem = "agg: the state is a word, expected raw or latest";
  if (const auto text = first(p, "step"); !text.empty()) {
    const auto ms = parse_api_duration(text);
    if (!ms || *ms <= 0) problem = fmt::format("step: '{}', expected a duration, e.g. 5m", text);
    else if (out.how.how == How::raw) problem = "step: there is none between raw samples, expected an 'agg' with it";
    else if ((out.to_ms - out.from_ms) / *ms > kMostPoints)
      problem = fmt::format("step: more than {} points, expected a longer one", kMostPoints);
    out.step_ms = ms.value_or(0);
  }
  if (!out.device.empty() && !out.of_device)
    problem = fmt::format("device: '{}' is a number of the whole guest", field);
  if (!problem.empty()) return {};
  return out;
}

struct Guest {
  std::string name, uuid;
  std::optional<std::int64_t> id;
};

// Those that ran between the two times, by what they were called then.
Queried<std::vector<Guest>> guests_in(const Asked& a, HistoryView& view, const QueryLimits& limits) {
  const auto expr = parse_query(fmt::format("last_over_time(vitald_guest_id[{}ms])", a.to_ms - a.from_ms));
  if (!expr) return tl::unexpected(expr.error());
  const auto answer = instant_query(**expr, view, a.to_ms, limits);
  if (!answer) return tl::unexpected(answer.error());
  std::vector<Guest> out;
  for (const auto& row : answer->rows) {
    Guest g{std::string(row.labels.get("domain")), std::string(row.labels.get("uuid")),
            static_cast<std::int64_t>(row.value)};
    out.push_back(std::move(g));
  }
  return out;
}

using Points = std::vector<promql::Point>;
struct Series {
  Guest guest;
  std::string device;
  Points points;
};

Queried<void> add_series(const Asked& a, const Guest& guest, HistoryView& view, const QueryLimits& limits,
                         std::vector<Series>& out) {
  auto selector = fmt::format("{}{{domain={}", a.field.series, promql::quoted(guest.name));
  if (!a.device.empty()) selector += fmt::format(",target_device={}", promql::quoted(a.device));
  selector += '}';
  const auto over = a.step_ms > 0 ? a.step_ms : a.to_ms - a.from_ms;
  auto text = fmt::format("{}[{}ms]", selector, over);
  if (!a.how.function.empty()) text = fmt::format("{}({})", a.how.function, text);
  const auto expr = parse_query(text, limits.language);
  if (!expr) return tl::unexpected(expr.error());
  // Of another guest that had the same name is no number of this one.
  const auto is_other = [&](const promql::Labels& labels) {
    const auto uuid = labels.get("uuid");
    return !uuid.empty() && !guest.uuid.empty() && uuid != guest.uuid;
  };
  const auto add = [&](const promql::Labels& labels, Points points) {
    if (!is_other(labels) && !points.empty())
      out.push_back({guest, std::string(labels.get("target_device")), std::move(points)});
  };
  if (a.step_ms > 0) {
    auto answer = range_query(**expr, view, a.from_ms + a.step_ms, a.to_ms, a.step_ms, limits);
    if (!answer) return tl::unexpected(answer.error());
    for (auto& [labels, points] : answer->matrix) add(labels, std::move(points));
    return {};
  }
  auto answer = instant_query(**expr, view, a.to_ms, limits);
  if (!answer) return tl::unexpected(answer.error());
  for (auto& [labels, points] : answer->matrix) add(labels, std::move(points));
  for (const auto& row : answer->rows) {
    promql::Point point;
    point.t_ms = a.to_ms;
    point.value = row.value;
    add(row.labels, {point});
  }
  return {};
}

std::string history_json(const Asked& a, const std::vector<Series>& all) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("field", a.field.name);
  j.text("agg", a.how.name);
  j.text("from", go_time(a.from_ms));
  j.text("to", go_time(a.to_ms));
  j.key("series");
  j.open('[');
  // An average and what is derived of whole numbers are none.
  const bool whole = a.field.whole && a.how.how != How::avg && a.how.how != How::trend && a.how.how != How::rate;
  for (const auto& s : all) {
    j.open('{');
    if (s.guest.id) j.whole("vm_id", *s.guest.id);
    j.text("name", s.guest.name);
    if (!s.guest.uuid.empty()) j.text("uuid", s.guest.uuid);
    if (!s.device.empty()) j.text("device", s.device);
    j.key("points");
    std::string points;
    for (const auto& p : s.points) {
      if (!std::isfinite(p.value)) continue;
      points += points.empty() ? '[' : ',';
      points += '[';
      append_sample_time(points, p.t_ms);
      points += ',';
      if (a.state) {
        append_json_string(points, guest_state_word(static_cast<int>(p.value)));
      } else {
        char text[kMaxNumberText];
        const auto value = p.value * a.field.times;
        points.append(text, write_number(text, whole ? std::round(value) : value));
      }
      points += ']';
    }
    j.raw(points.empty() ? "[]" : points + "]");
    j.close('}');
  }
  j.close(']');
  j.close('}');
  return success(out);
}

Queries::Outcome history_of(const Asked& a, const std::vector<Guest>& now, HistoryView& view,
                            const QueryLimits& limits) {
  if (view.round().names == nullptr)
    return {
        {},
        api_error(ApiError::unavailable,
                  "this host keeps no history: load rules (rules.files, --rules.file) or set history.without_rules"),
        true};
  auto guests = guests_in(a, view, limits);
  if (!guests) return outcome_of(guests.error());
  for (const auto& g : now)
    if (std::ranges::none_of(*guests, [&](const auto& other) {
          return other.name == g.name && (other.uuid == g.uuid || other.uuid.empty() || g.uuid.empty());
        }))
      guests->push_back(g);
  if (!a.vm.empty()) {
    std::vector<Guest> asked;
    for (const auto* g : named(a.vm, *guests)) asked.push_back(*g);
    *guests = std::move(asked);
  }
  if (guests->empty() && !a.vm.empty())
    return {{},
            api_error(ApiError::not_found,
                      fmt::format("vm: no guest with the number, name or uuid '{}' in that time", a.vm)),
            true};
  if (guests->size() > kMostGuests)
    return {{}, api_error(ApiError::bad_data, fmt::format("vm: more than {} guests, ask for one", kMostGuests)), true};
  std::vector<Series> all;
  for (const auto& guest : *guests)
    if (const auto added = add_series(a, guest, view, limits, all); !added) return outcome_of(added.error());
  return outcome_of(history_json(a, all));
}

Answer history_answer(const AgentView& agent, const Request& request) {
  const auto p = parameters_of(request);
  std::string problem;
  const auto a = asked_of(p, agent.clock->wall_ns() / 1'000'000, problem);
  if (!a) return api_error(ApiError::bad_data, problem);
  std::optional<Response> wrong;
  const auto ask = ask_of(request, p, "", wrong);
  if (wrong) return std::move(*wrong);
  std::vector<Guest> now;  // those that do not run have no number, and are here by their name
  if (const auto latest = agent.latest())
    for (const auto& g : guests_of(*latest).guests) now.push_back({g.name, g.uuid, g.id});
  return agent.queries->run(ask, [asked = *a, now = std::move(now)](HistoryView& view, const QueryLimits& limits) {
    return history_of(asked, now, view, limits);
  });
}

constexpr std::string_view kFirst = "the first collection still runs";

}  // namespace

Handler guests_page(const AgentView& agent) {
  return [latest = agent.latest](const Request&) -> Answer {
    const auto snapshot = latest();
    if (!snapshot) return api_error(ApiError::unavailable, kFirst);
    return json_response(200, vms_json(guests_of(*snapshot)));
  };
}

Handler guest_page(const AgentView& agent) {
  return [latest = agent.latest](const Request& request) -> Answer {
    const auto snapshot = latest();
    if (!snapshot) return api_error(ApiError::unavailable, kFirst);
    const auto asked = part_of_path("/api/telemetry/stats/{vm_id}", request.path);
    const auto table = guests_of(*snapshot);
    if (const auto found = named(asked, table.guests); !found.empty()) {
      std::string out;
      Json j(out);
      append_guest(j, *found.front(), table, true);
      return json_response(200, success(out));
    }
    return api_error(ApiError::not_found, fmt::format("no guest with the number, name or uuid '{}'", asked));
  };
}

Handler guest_collector_page(const AgentView& agent) {
  return [latest = agent.latest](const Request&) -> Answer {
    const auto snapshot = latest();
    if (!snapshot) return api_error(ApiError::unavailable, kFirst);
    return json_response(200, collector_json(*snapshot));
  };
}

Handler guest_history_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer { return history_answer(agent, request); };
}

}  // namespace vitald
