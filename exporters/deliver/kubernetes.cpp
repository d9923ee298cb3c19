// SPDX-License-Identifier: Apache-2.0
// The destination that tells Kubernetes: a condition of this node for each kind of critical alert, which schedulers and
// remedies look at, and an event for each change, which `kubectl describe node` shows.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "core/clock.h"
#include "core/log.h"
#include "core/os/host_name.h"
#include "core/text/json.h"
#include "core/text/rfc3339.h"
#include "core/text/scan.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/claimant.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/deliver/kubernetes_answers.h"
#include "exporters/deliver/parts.h"
#include "exporters/deliver/refusal.h"

namespace vitald {
namespace {

// Where the kubelet puts what a pod's service account is known by; it is renewed there.
constexpr std::string_view kAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
// What the API takes of an event's note, in bytes, and what of its reason.
constexpr std::size_t kMostMessage = 1024, kMostReason = 128, kMostType = 63, kMostNodeInName = 180;
// A condition that has been False for so long goes: its rule may be no more.
constexpr std::int64_t kForgetMs = std::int64_t{24} * 3'600'000;
// The first part of an item's body.
constexpr std::string_view kChange = "kubernetes change 1", kAll = "kubernetes all 1", kNone = "kubernetes none 1";

// FNV-1a, the same in every run.
std::uint32_t hash_of(std::string_view text) {
  std::uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

// "disk full (sda)" -> "DiskFullSda": reasons and types of conditions are one word. One that lacks letters of the name,
// or its end, has a hash: another name is another word.
std::string one_word(std::string_view text, std::size_t most) {
  std::string out;
  bool begins = true, whole = true;
  for (const char c : text) {
    const bool small = c >= 'a' && c <= 'z';
    if (!small && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9')) {
      begins = true;
      if (static_cast<unsigned char>(c) >= 0x80) whole = false;
      continue;
    }
    out += begins && small ? static_cast<char>(c - 'a' + 'A') : c;
    begins = false;
  }
  if (out.empty()) out = "Alert";
  if (whole && out.size() <= most) return out;
  const auto hash = fmt::format("{:08x}", hash_of(text));
  return out.substr(0, most - hash.size()) + hash;
}

std::string condition_type(std::string_view alert) {
  return std::string(kConditionPrefix).append(one_word(alert, kMostType - kConditionPrefix.size()));
}

std::string bounded(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  if (text.size() <= kMostMessage) return text;
  constexpr std::string_view kMore = "...";
  auto end = kMostMessage - kMore.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not within a character
  return text.substr(0, end).append(kMore);
}

// "no space on /dev/sda1 (device=/dev/sda1, mountpoint=/)"
std::string words_of(const LabelMap& labels, const LabelMap& annotations) {
  auto out = label_of(annotations, "summary");
  if (out.empty()) out = label_of(annotations, "description");
  std::string where;
  for (const auto& [name, value] : labels)
    if (name != "alertname" && name != "severity")
      where += fmt::format("{}{}={}", where.empty() ? "" : ", ", name, value);
  if (where.empty()) return out.empty() ? label_of(labels, "alertname") : out;
  return fmt::format("{}{}({})", out, out.empty() ? "" : " ", where);
}

// "disk full: no space on /dev/sda1 (...)"
std::string condition_words(const LabelMap& labels, const LabelMap& annotations) {
  const auto alert = label_of(labels, "alertname");
  auto words = words_of(labels, annotations);
  return bounded(words == alert ? std::move(words) : fmt::format("{}: {}", alert, words));
}

// metav1.Time has whole seconds.
std::string time_text(std::int64_t epoch_ms) {
  auto text = rfc3339(epoch_ms);
  return text.replace(text.find('.'), std::string::npos, "Z");
}

struct KubernetesReceiver final : ReceiverOf<KubernetesReceiver>, HttpSettings, Claimant {
  std::string url, node;
  std::vector<std::string> condition_severities{"critical"};
  bool conditions = true, events = true;
  std::int64_t heartbeat_ns = 300'000'000'000;
  bool operator==(const KubernetesReceiver&) const = default;

  KubernetesReceiver() {
    bearer_token_file = fmt::format("{}/token", kAccount);
    ca_file = fmt::format("{}/ca.crt", kAccount);
  }

  [[nodiscard]] std::string text() const override {
    const auto at = where();
    return fmt::format("kubernetes '{}' (node {} at {})", name, node_name(),
                       at ? url_for_display(*at) : at.error().text);
  }

  // The change, the condition's type (empty: it has none), the fingerprint, since when, the words, the event (empty:
  // none is wanted).
  [[nodiscard]] std::string body(const AlertTransition& t) const override {
    const auto labels = labels_of(t, *this);
    std::string out;
    append_part(out, kChange);
    append_part(out, status_of(t));
    append_part(out, has_condition(labels) ? condition_type(label_of(labels, "alertname")) : "");
    append_part(out, fmt::format("{:016x}", t.alert.fingerprint));
    append_part(out, fmt::format("{}", at_ms(t)));
    append_part(out, condition_words(labels, t.alert.annotations));
    append_part(out, events ? event_json(t, labels) : "");
    return out;
  }
  // Four for each that has a condition: type, fingerprint, since when, the words.
  [[nodiscard]] std::string repeated(std::span<const Alert> firing) const override {
    std::string out;
    append_part(out, kAll);
    for (const auto& a : firing) {
      const auto labels = labels_of({a, true, 0}, *this);
      if (!has_condition(labels)) continue;
      append_part(out, condition_type(label_of(labels, "alertname")));
      append_part(out, fmt::format("{:016x}", a.fingerprint));
      append_part(out, fmt::format("{}", starts_at_ms(a)));
      append_part(out, condition_words(labels, a.annotations));
    }
    return out;
  }
  // Without conditions, too: those that an earlier configuration made may be refused to go now.
  [[nodiscard]] std::int64_t repeat_ns() const override { return heartbeat_ns; }
  [[nodiscard]] bool repeats_none() const override { return true; }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;

  [[nodiscard]] std::string owns() const override {
    if (!conditions) return {};
    const auto at = where();
    return fmt::format("{}{}", of_node(), at ? url_for_display(*at) : "an unknown address");
  }

  [[nodiscard]] std::string farewell(std::string_view owned_before) const override {
    std::string out;
    if (owned_before.starts_with(of_node()) && owns().empty()) append_part(out, kNone);
    return out;
  }

  void check(std::vector<std::string>& problems) const override {
    const auto say = [&](const std::string& what) {
      problems.push_back(fmt::format("notify.kubernetes '{}': {}", name, what));
    };
    if (const auto at = where(); !at) say(at.error().text);
    else if (const auto problem = url_problem(*at); !problem.empty()) say(problem);
    for (const auto& p : HttpSettings::problems()) say(p);
    if (!conditions && !events) say("conditions: false and events: false, expected something that it is told");
  }
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override;
  void adjust(QueueSettings& queue) const override {
    queue.batch_items = 64;
    queue.failing_batch_items = 1024;  // conditions of what waits behind events that the API does not take
    queue.most_wait_ns = 60'000'000'000;
  }

  [[nodiscard]] Result<std::string> where() const {
    if (!url.empty()) return url.ends_with('/') ? url.substr(0, url.size() - 1) : url;
    const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
    const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
    if (!host)
      return fail(Errc::absent, "no 'url', and no KUBERNETES_SERVICE_HOST as a pod has it; give the API server's URL");
    const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
    return fmt::format("https://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port ? port : "443");
  }
  [[nodiscard]] std::string node_name() const {
    if (!node.empty()) return node;
    if (const char* given = std::getenv("NODE_NAME"); given && *given) return given;
    auto host = host_name();  // what a kubelet takes, too: in small letters
    for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return host;
  }

 private:
  [[nodiscard]] std::string of_node() const { return fmt::format("conditions of node {} at ", node_name()); }
  [[nodiscard]] bool has_condition(const LabelMap& labels) const {
    return conditions &&
           std::ranges::find(condition_severities, label_of(labels, "severity")) != condition_severities.end();
  }
  static std::int64_t at_ms(const AlertTransition& t) {
    return t.firing ? starts_at_ms(t.alert) : t.alert.resolved_at_ms;
  }
  // Its name is that of this change: one that comes twice is there already.
  [[nodiscard]] std::string event_json(const AlertTransition& t, const LabelMap& labels) const {
    const auto on = node_name();
    const auto alert = label_of(labels, "alertname"), severity = label_of(labels, "severity");
    const bool trouble = t.firing && severity != "info" && severity != "none";
    const auto at = time_text(at_ms(t));
    auto reason = one_word(alert, kMostReason - std::string_view("IsOver").size());
    if (!t.firing) reason += "IsOver";
    std::string out = R"({"apiVersion":"v1","kind":"Event","metadata":{"namespace":"default","name":)";
    append_json_string(
        out, fmt::format("{}.{:016x}.{}.{:x}", on.substr(0, kMostNodeInName), t.alert.fingerprint, t.number, at_ms(t)));
    out += R"(},"involvedObject":{"apiVersion":"v1","kind":"Node","name":)";
    append_json_string(out, on);
    out += ",\"uid\":";  // the name, as kubelets have it: by this `kubectl describe node` finds it
    append_json_string(out, on);
    out += "},\"reason\":";
    append_json_string(out, reason);
    out += ",\"message\":";
    append_json_string(out, bounded(fmt::format("{} {}: {}", alert, t.firing ? "fires" : "is over",
                                                words_of(labels, t.alert.annotations))));
    out += fmt::format(R"(,"type":"{}","count":1,"firstTimestamp":"{}","lastTimestamp":"{}","source":{{)",
                       trouble ? "Warning" : "Normal", at, at);
    out += R"("component":"vitald","host":)";
    append_json_string(out, on);
    out += R"(},"reportingComponent":"vitald","reportingInstance":)";
    append_json_string(out, on);
    return out + '}';
  }
};

// What it finds malformed it will find so tomorrow; and what somebody may not, or a name that is wrong, is so until
// people change it, which must not hold up the other half of what is told. Conditions come again with the heartbeat.
Verdict verdict_of_api(int status) {
  if (status >= 200 && status < 300) return Verdict::taken;
  switch (status) {
    case 400:
    case 403:
    case 404:
    case 413:
    case 422: return Verdict::refused;
    default: return Verdict::again;
  }
}
bool is_of_rights(int status) { return status == 403 || status == 404; }

std::string api_answer(std::string_view where, const HttpResponse& response, std::string_view node) {
  return fmt::format("{} answers {}{}", where, status_text(response),
                     response.status == 401   ? "; the token is not one that it knows"
                     : response.status == 403 ? "; the service account needs the roles of "
                                                "deploy/k8s/components/node-conditions"
                     : response.status == 404 && !node.empty()
                         ? fmt::format("; is '{}' the name of this node? (`node`, NODE_NAME)", node)
                         : "");
}

class KubernetesDestination final : public Destination {
 public:
  explicit KubernetesDestination(const KubernetesReceiver& settings)
      : settings_(settings), node_(settings.node_name()) {}

  // Conditions first, all in one request, and then the events, whatever became of the conditions.
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    auto base = settings_.where();
    if (!base) return fail(std::move(base.error()));
    auto access = settings_.access();
    if (!access) return fail(std::move(access.error()));
    const Api api{*base, *access, attempt};
    for (const auto& item : items) due_ = std::max(due_, take(item));
    // Events that the API does not take now hold up what would say this.
    if (settings_.conditions && SystemClock::read(CLOCK_BOOTTIME) - beat_boot_ns_ >= settings_.heartbeat_ns)
      due_ = News::all;
    if (!settings_.conditions) due_ = News::none;  // what waits may be of before it was so
    Result<> told;
    if (due_ != News::none) told = tell_conditions(api);
    else if (!settings_.conditions && to_be_none_ && none_due_) told = take_conditions_away(api);
    if (!told && told.error().kind == Errc::gone) return Sent{};
    auto sent = post_events(api, items);
    if (!sent || sent->taken < items.size() || told) return sent;
    // What fires is known here: the last one stays, so that there is another attempt, and what comes is not held up.
    if (items.size() == 1) return fail(told.error());
    *sent = without_last_;
    sent->refusing = sent->refused > sent->about_delivery;
    say(told.error().text);
    sent->problem = said_;
    return sent;
  }

 private:
  struct Api {
    const std::string& base;
    const HttpAccess& access;
    const Attempt& attempt;
  };
  struct Posted {
    Verdict verdict = Verdict::taken;
    std::int64_t retry_after_ns = 0;
    std::string text = {};
    bool of_rights = false, too_large = false;
  };
  enum class News : std::uint8_t { none, some, all };  // of what fires and has a condition
  struct Firing {
    std::int64_t since_ms = 0;
    std::string words;
  };
  struct Change {
    std::string type, json;
    std::optional<NodeCondition> after;  // none: it goes
  };

  static bool is_change(const std::vector<std::string_view>& parts) { return parts.size() == 7 && parts[0] == kChange; }
  static bool is_none(const std::vector<std::string_view>& parts) { return parts.size() == 1 && parts[0] == kNone; }
  static bool is_all(const std::vector<std::string_view>& parts) { return parts.size() % 4 == 1 && parts[0] == kAll; }
  // One that was told to stop is no error of the receiver.
  static Result<Sent> quiet(const Error& error) {
    if (error.kind == Errc::gone) return Sent{};
    return fail(error);
  }

  News take(const Item& item) {
    const auto parts = parts_of(item.body);
    if (!parts) return News::none;
    const auto number = [](std::string_view text) { return parse_i64(text).value_or(0); };
    if (is_none(*parts)) to_be_none_ = none_due_ = true;
    if (is_all(*parts)) {
      none_due_ = true;
      firing_.clear();
      for (std::size_t i = 1; i < parts->size(); i += 4)
        firing_[std::string((*parts)[i])][std::string((*parts)[i + 1])] = {number((*parts)[i + 2]),
                                                                           std::string((*parts)[i + 3])};
      all_told_ = true;
      return News::all;
    }
    if (!is_change(*parts) || (*parts)[2].empty()) return News::none;
    const std::string type((*parts)[2]), fingerprint((*parts)[3]);
    if ((*parts)[1] == "firing") {
      firing_[type][fingerprint] = {number((*parts)[4]), std::string((*parts)[5])};
      over_ms_.erase(type);
    } else {
      firing_[type].erase(fingerprint);
      over_ms_[type] = number((*parts)[4]);
    }
    return News::some;
  }

  // An error: it has to be tried again. What the API refuses is no error here: the next heartbeat tries that.
  Result<> tell_conditions(const Api& api) {
    refused_.clear();
    all_refused_ = false;
    conditions_problem_.clear();
    if (!known_)
      if (const auto found = look(api); !found) return found;
    if (known_)
      if (const auto put = put_conditions(api, due_ == News::all); !put) {
        refused_.clear();  // all of them come again
        return put;
      }
    if (due_ == News::all) beat_boot_ns_ = SystemClock::read(CLOCK_BOOTTIME);
    due_ = News::none;
    return {};
  }

  // All of ours: they were turned off, and nobody would end those that are True. An error: it has to be tried again.
  // What the API refuses is tried with the next heartbeat.
  Result<> take_conditions_away(const Api& api) {
    refused_.clear();
    all_refused_ = false;
    conditions_problem_.clear();
    if (const auto found = look(api); !found) return found;
    std::vector<Change> all;
    for (const auto& [type, condition] : conditions_) {
      Change change{type, R"({"type":)", {}};
      append_json_string(change.json, type);
      change.json += R"(,"$patch":"delete"})";
      all.push_back(std::move(change));
    }
    known_ = false;
    if (const auto put = patch_or_each(api, all); !put) return put;
    none_due_ = false;
    to_be_none_ = all_refused_ || !refused_.empty();
    if (!to_be_none_) conditions_problem_.clear();  // together they were refused
    return {};
  }

  // What the API has of ours: an earlier run may have left one True that is over.
  Result<> look(const Api& api) {
    const auto response =
        client_.send({"GET", node_url(api), {{"Accept", "application/json"}}, {}}, api.access, api.attempt);
    if (!response) return fail(response.error());
    if (verdict_of_api(response->status) == Verdict::refused) {
      all_refused_ = true;
      conditions_problem_ = answer_text(api, *response);
      return {};
    }
    if (response->status != 200) return fail(Errc::io, answer_text(api, *response));
    auto found = conditions_in(response->body);
    if (!found) return fail(Errc::malformed, api.base + ": the node is no JSON, or larger than a MiB");
    conditions_ = std::move(*found);
    known_ = true;
    return {};
  }

  // `beat`: all of them, with the time of now; otherwise those that are to be others.
  [[nodiscard]] std::vector<Change> changes(bool beat) const {
    const auto now_ms = SystemClock::read(CLOCK_REALTIME) / 1'000'000;
    std::set<std::string> types;
    for (const auto& [type, alerts] : firing_) types.insert(type);
    for (const auto& [type, condition] : conditions_) types.insert(type);
    std::vector<Change> out;
    for (const auto& type : types) {
      const auto at = firing_.find(type);
      const bool fires = at != firing_.end() && !at->second.empty();
      const auto before = conditions_.find(type);
      const bool there = before != conditions_.end();
      // One of several may have ended while it is not known how many there are.
      if (!fires && (!there || !all_told_)) continue;
      NodeCondition now;
      now.is_true = fires;
      const bool same = there && before->second.is_true == fires;
      if (same && !beat) continue;
      if (fires) {
        now.reason = kAlertFires;
        now.words = fires_text(at->second);
      } else if (over_ms_.contains(type) || (same && before->second.reason == kAlertOver)) {
        now.reason = kAlertOver;
        now.words = "no alert of this kind fires";
      } else {  // it may fire on
        now.reason = kAlertNotTold;
        now.words = "alerts of this kind are not told here any more: matchers, a silence, or a rule that is gone";
      }
      now.since_ms = same ? before->second.since_ms : fires ? begin_ms(at->second) : over_ms(type, now_ms);
      Change change{type, R"({"type":)", {}};
      append_json_string(change.json, type);
      if (!fires && same && now_ms - now.since_ms > kForgetMs) {
        change.json += R"(,"$patch":"delete"})";
      } else {
        change.json +=
            fmt::format(R"(,"status":"{}","reason":"{}","lastHeartbeatTime":"{}","lastTransitionTime":"{}","message":)",
                        fires ? "True" : "False", now.reason, time_text(now_ms), time_text(now.since_ms));
        append_json_string(change.json, now.words);
        change.json += '}';
        change.after = std::move(now);
      }
      out.push_back(std::move(change));
    }
    return out;
  }

  Result<> put_conditions(const Api& api, bool beat) {
    const auto all = changes(beat);
    known_ = all.empty();  // until they were taken for sure
    if (all.empty()) return {};
    if (const auto put = patch_or_each(api, all); !put) return put;
    known_ = refused_.empty();
    if (known_) conditions_problem_.clear();
    std::erase_if(firing_, [](const auto& kind) { return kind.second.empty(); });
    if (all_told_ && known_) over_ms_.clear();
    return {};
  }

  // One that it does not like is not to cost the others.
  Result<> patch_or_each(const Api& api, std::span<const Change> all) {
    if (all.empty()) return {};
    const auto status = patch(api, all);
    if (!status) return fail(status.error());
    if (verdict_of_api(*status) != Verdict::refused || is_of_rights(*status) || all.size() < 2) return {};
    for (const auto& one : all)
      if (const auto alone = patch(api, {&one, 1}); !alone) return fail(alone.error());
    return {};
  }

  // The status; an error where it is to be tried again.
  Result<int> patch(const Api& api, std::span<const Change> some) {
    std::string body = R"({"status":{"conditions":[)", names;
    for (const auto& change : some) {
      if (&change != some.data()) body += ',';
      body += change.json;
      names += (names.empty() ? "" : ", ") + change.type;
    }
    body += "]}}";
    const auto response = client_.send({"PATCH",
                                        node_url(api) + "/status",
                                        {{"Content-Type", "application/strategic-merge-patch+json"}},
                                        std::move(body)},
                                       api.access, api.attempt);
    if (!response) return fail(response.error());
    const auto verdict = verdict_of_api(response->status);
    if (verdict == Verdict::again) return fail(Errc::io, answer_text(api, *response));
    for (const auto& change : some) {
      if (verdict == Verdict::refused) {
        refused_.insert(change.type);
        continue;
      }
      refused_.erase(change.type);  // with others it was
      if (change.after) conditions_[change.type] = *change.after;
      else conditions_.erase(change.type);
    }
    if (verdict == Verdict::refused) conditions_problem_ = fmt::format("{}, to {}", answer_text(api, *response), names);
    return response->status;
  }

  [[nodiscard]] bool condition_refused(const std::vector<std::string_view>& parts) const {
    const auto is_refused = [this](std::string_view type) {
      return !type.empty() && (all_refused_ || refused_.contains(type));
    };
    if (is_change(parts)) return is_refused(parts[2]);
    if (is_none(parts)) return to_be_none_;
    for (std::size_t i = 1; i < parts.size(); i += 4)
      if (is_refused(parts[i])) return true;
    return false;
  }

  // Those that the API has already are left out.
  Result<Sent> post_events(const Api& api, std::span<const Item> items) {
    Sent sent;
    for (const auto& item : items) {
      without_last_ = sent;
      const auto parts = parts_of(item.body);
      const bool ours =
          parts && (is_change(*parts) || is_all(*parts) || is_none(*parts));  // or of another kind that had this name
      bool refused = !ours || condition_refused(*parts), too_large = false;
      if (ours && is_change(*parts) && !parts->back().empty() && posted_ != item.id) {
        const auto posted = post_event(api, parts->back());
        if (!posted) {
          if (sent.taken == 0) return quiet(posted.error());
          return sent;
        }
        sent.retry_after_ns = posted->retry_after_ns;
        if (posted->verdict == Verdict::again) return sent;
        if (posted->verdict == Verdict::taken) {
          posted_ = item.id;
          events_problem_.clear();
        } else {
          too_large = posted->too_large && !refused;
          refused = true;
          if (posted->of_rights) events_problem_ = posted->text;
          else
            log::warn("delivery: the receiver refuses an alert, it is not sent again",
                      {{"destination", settings_.name}, {"alert", item.key}, {"answer", posted->text}});
        }
      }
      if (refused) Refusal::count(sent, item, too_large ? Refusal::Why::too_large : Refusal::Why::refused);
      ++sent.taken;
    }
    auto problem = conditions_problem_;
    if (!events_problem_.empty()) problem += fmt::format("{}events: {}", problem.empty() ? "" : "; ", events_problem_);
    say(std::move(problem));
    sent.problem = said_;
    sent.refusing = !said_.empty() || sent.refused > sent.about_delivery;
    return sent;
  }

  // What is wrong although alerts are taken: once per change.
  void say(std::string problem) {
    if (problem == said_) return;
    if (problem.empty()) log::info("delivery: the API refuses nothing any more", {{"destination", settings_.name}});
    else log::warn("delivery: the API does not take all of it", {{"destination", settings_.name}, {"err", problem}});
    said_ = std::move(problem);
  }

  Result<Posted> post_event(const Api& api, std::string_view event) {
    const auto response = client_.send({"POST",
                                        api.base + "/api/v1/namespaces/default/events",
                                        {{"Content-Type", "application/json"}},
                                        std::string(event)},
                                       api.access, api.attempt);
    if (!response) return fail(response.error());
    constexpr int kThereAlready = 409;
    Posted out;
    if (response->status != kThereAlready) out.verdict = verdict_of_api(response->status);
    out.text = api_answer(url_for_display(api.base), *response, "");
    out.of_rights = is_of_rights(response->status);
    out.too_large = response->status == 413;
    out.retry_after_ns = response->retry_after_ns;
    if (out.verdict == Verdict::again && out.retry_after_ns == 0) return fail(Errc::io, out.text);
    return out;
  }

  [[nodiscard]] std::string node_url(const Api& api) const { return api.base + "/api/v1/nodes/" + node_; }
  [[nodiscard]] std::string answer_text(const Api& api, const HttpResponse& response) const {
    return api_answer(url_for_display(api.base), response, node_);
  }
  static std::string fires_text(const std::map<std::string, Firing>& alerts) {
    const auto& first = std::ranges::min_element(alerts, {}, [](const auto& a) { return a.second.since_ms; })->second;
    return alerts.size() == 1 ? first.words
                              : bounded(fmt::format("{} alerts, since first: {}", alerts.size(), first.words));
  }
  static std::int64_t begin_ms(const std::map<std::string, Firing>& alerts) {
    return std::ranges::min_element(alerts, {}, [](const auto& a) { return a.second.since_ms; })->second.since_ms;
  }
  [[nodiscard]] std::int64_t over_ms(const std::string& type, std::int64_t now_ms) const {
    const auto at = over_ms_.find(type);
    return at == over_ms_.end() ? now_ms : at->second;
  }

  const KubernetesReceiver settings_;
  const std::string node_;
  HttpClient client_;
  // By type of condition and fingerprint. Until this run was told of all at once there may be more.
  std::map<std::string, std::map<std::string, Firing>> firing_;
  std::map<std::string, std::int64_t> over_ms_;
  std::map<std::string, NodeCondition> conditions_;
  bool to_be_none_ = false;                // conditions that an earlier configuration made are to go
  bool none_due_ = false;                  // and it is time to try that
  bool all_told_ = false, known_ = false;  // what fires, and what conditions the API has
  News due_ = News::none;                  // what has to be told of conditions
  std::int64_t beat_boot_ns_ = SystemClock::read(CLOCK_BOOTTIME);
  // What the API refused of the conditions last, and why; why it refused events.
  std::set<std::string, std::less<>> refused_;
  bool all_refused_ = false;
  Sent without_last_;  // what post_events() came to before its last item
  std::string conditions_problem_, events_problem_, said_;
  std::optional<std::uint64_t> posted_;  // the item whose event was the last that the API took
};

std::unique_ptr<Destination> KubernetesReceiver::destination() const {
  return std::make_unique<KubernetesDestination>(*this);
}

// Asks for the node and for what we may do there, which anybody may ask, and changes nothing.
Result<std::string> KubernetesReceiver::reach(const Attempt& attempt) const {
  const auto base = where();
  if (!base) return fail(base.error());
  const auto may = access();
  if (!may) return fail(may.error());
  HttpClient client;
  const auto shown = url_for_display(*base);
  const auto found = client.send({"GET", *base + "/api/v1/nodes/" + node_name(), {}, {}}, *may, attempt);
  if (!found) return fail(found.error());
  if (found->status != 200) return fail(Errc::denied, api_answer(shown, *found, node_name()));
  auto there = fmt::format("{} knows node {}", shown, node_name());
  struct Right {
    bool wanted;
    std::string_view attributes, words;
  };
  const Right rights[] = {
      {conditions, R"("verb":"patch","resource":"nodes","subresource":"status")", "patch nodes/status"},
      {events, R"("verb":"create","resource":"events","namespace":"default")", "create events"},
  };
  for (const auto& right : rights) {
    if (!right.wanted) continue;
    const auto answer =
        client.send({"POST",
                     *base + "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                     {{"Content-Type", "application/json"}},
                     fmt::format(R"({{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":)"
                                 R"({{"resourceAttributes":{{{}}}}}}})",
                                 right.attributes)},
                    *may, attempt);
    if (!answer) return fail(answer.error());
    const auto allowed = allowed_in(answer->body);
    if (!allowed) {
      there += fmt::format("; whether we may {} it does not say ({})", right.words, status_text(*answer));
      continue;
    }
    if (!*allowed)
      return fail(Errc::denied, fmt::format("{}; the service account may not {}: give it the roles of "
                                            "deploy/k8s/components/node-conditions",
                                            there, right.words));
    there += fmt::format("; may {}", right.words);
  }
  return there;
}

constexpr auto kOwnFields = std::to_array<Field<KubernetesReceiver>>({
    kNameField<KubernetesReceiver>,
    kMatchersField<KubernetesReceiver>,
    {.key = "url",
     .at = &KubernetesReceiver::url,
     .help = "The API server. Empty: `https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`, as pods have it."},
    {.key = "node",
     .at = &KubernetesReceiver::node,
     .help =
         "The node that this host is. Empty: what the variable NODE_NAME says, else the host's name in small letters."},
    {.key = "conditions",
     .at = &KubernetesReceiver::conditions,
     .help = "Whether alerts make conditions of the node, one for each name of an alert: `VitaldDiskFull` is `True` "
             "while one of them fires, then `False`, and goes after a day."},
    {.key = "condition_severities",
     .at = &KubernetesReceiver::condition_severities,
     .help = "Those whose label `severity` is one of these do.",
     .expected = "a list of severities"},
    {.key = "events",
     .at = &KubernetesReceiver::events,
     .help = "Whether each alert that begins or ends is an event of the node, in namespace `default`."},
    {.key = "heartbeat",
     .at = &KubernetesReceiver::heartbeat_ns,
     .help = "How often conditions are told again, with a new `lastHeartbeatTime`, after an evaluation "
             "(`pipeline.interval`) at the soonest: one that is older is of a vitald that is no more.",
     .least = 1'000'000'000,
     .most = 86'400'000'000'000},
    timeout_field<KubernetesReceiver>("An answer that takes longer is none."),
    kQueueLimitField<KubernetesReceiver>,
});
constexpr auto kFields = joined(kOwnFields, http_fields<KubernetesReceiver>());

}  // namespace

extern const ReceiverKind kubernetes_receiver;
constinit const ReceiverKind kubernetes_receiver = receiver_kind<KubernetesReceiver, kFields>(
    "kubernetes", "a Kubernetes API server that is told of alerts as conditions and events of this node");

}  // namespace vitald
