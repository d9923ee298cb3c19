// SPDX-License-Identifier: Apache-2.0
// The destination that tells Alertmanagers (their API v2), as a Prometheus does: each of them, in batches; what fires
// is told again and again, so that one that was away or was restarted knows it, and so that it ends by itself where
// this host dies.
#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/text/json.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/deliver/parts.h"
#include "exporters/deliver/refusal.h"

namespace vitald {
namespace {

struct AlertmanagerReceiver final : ReceiverOf<AlertmanagerReceiver>, HttpSettings {
  std::vector<std::string> urls;
  std::int64_t resend_every_ns = 60'000'000'000;
  std::size_t max_alerts = 64;
  bool operator==(const AlertmanagerReceiver&) const = default;

  AlertmanagerReceiver() { mutes = false; }  // it has silences and inhibitions of its own

  [[nodiscard]] std::string text() const override {
    std::string where;
    for (const auto& u : urls) where += (where.empty() ? "" : ", ") + url_with_path(u);
    return fmt::format("alertmanager '{}' ({})", name, where);
  }
  // Two for each alert: its JSON as far as the time that it ends, and that (empty: not yet).
  [[nodiscard]] std::string body(const AlertTransition& t) const override {
    std::string out;
    const auto a = not_after(t.alert, SystemClock::read(CLOCK_REALTIME) / 1'000'000);
    append_alert(out, a, t.firing ? std::string() : rfc3339(a.resolved_at_ms));
    return out;
  }
  [[nodiscard]] std::string repeated(std::span<const Alert> firing) const override {
    std::string out;
    const auto now_ms = SystemClock::read(CLOCK_REALTIME) / 1'000'000;
    for (const auto& a : firing) append_alert(out, not_after(a, now_ms), {});
    return out;
  }
  [[nodiscard]] std::int64_t repeat_ns() const override { return resend_every_ns; }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  void check(std::vector<std::string>& problems) const override {
    for (const auto& u : urls)
      if (const auto problem = url_problem(u); !problem.empty())
        problems.push_back(fmt::format("notify.alertmanagers '{}': {}", name, problem));
    for (const auto& p : HttpSettings::problems())
      problems.push_back(fmt::format("notify.alertmanagers '{}': {}", name, p));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    std::string good;
    for (auto u : urls) {
      while (u.ends_with('/')) u.pop_back();
      const auto answer =
          reach_of({"GET", u + "/api/v2/status", {}, {}}, *this, attempt, &says_alertmanager, url_with_path(u));
      if (!answer) return fail(answer.error());
      good += (good.empty() ? "" : "; ") + *answer;
    }
    return good;
  }
  void adjust(QueueSettings& queue) const override {
    queue.batch_items = max_alerts;
    queue.most_wait_ns = 60'000'000'000;
  }

 private:
  // {"cluster":{"name":...,"status":"ready"},"config":{"original":...},"uptime":...,"versionInfo":{...}}: whoever else
  // listens there (a Prometheus, a page for all that is not found) takes no alert.
  static Result<std::string> says_alertmanager(const HttpResponse& response, std::string text) {
    if (response.status == 200 && response.body.starts_with('{') &&
        response.body.find("\"cluster\"") != std::string::npos)
      return fmt::format("{} answers 200", text.substr(0, text.find(" answers ")));
    return fail(Errc::absent, text +
                                  ": this is no Alertmanager, whose /api/v2/status is a JSON object with 'cluster'; an "
                                  "Alertmanager below a path (--web.route-prefix) needs the path in urls");
  }
  void append_alert(std::string& out, const Alert& a, const std::string& ends_at) const {
    auto text = "{\"labels\":" + map_json(labels_of({a, true, 0}, *this)) +
                ",\"annotations\":" + map_json(a.annotations) + ",\"generatorURL\":";
    append_json_string(text, external_url);
    text += fmt::format(R"(,"startsAt":"{}","endsAt":")", rfc3339(starts_at_ms(a)));
    append_part(out, text);
    append_part(out, ends_at);
  }
};

class AlertmanagerDestination final : public Destination {
 public:
  explicit AlertmanagerDestination(const AlertmanagerReceiver& settings) : settings_(settings) {
    for (const auto& url : settings_.urls) targets_.emplace_back(settings_, url);
  }

  // Taken when one of them took it: the others hear of it with the next repetition, as from a Prometheus.
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto access = settings_.access();
    if (!access) return fail(access.error());
    const auto now_ms = SystemClock::read(CLOCK_REALTIME) / 1'000'000;
    // What fires ends by itself when nobody says for so long that it still does. That is said after an evaluation.
    const auto every_ns = std::max(settings_.resend_every_ns, settings_.evaluated_every_ns);
    const auto forgotten = rfc3339(now_ms + 4 * (every_ns / 1'000'000));
    Sent sent;
    std::size_t alone = 0;  // a refused batch is sent one by one: one bad alert costs itself only
    while (sent.taken < items.size()) {
      const auto some = items.subspan(sent.taken, alone > 0 ? 1 : items.size() - sent.taken);
      std::size_t unreadable = 0;
      const auto body = message_of(some, forgotten, unreadable);
      if (body == "[]") {
        sent.taken += some.size();
        sent.refused += unreadable;
        alone -= std::min(alone, some.size());
        continue;
      }
      const auto answer = post(body, *access, attempt);
      if (answer.verdict == Verdict::again) {
        sent.retry_after_ns = answer.retry_after_ns;
        if (sent.taken == 0 && answer.retry_after_ns == 0 && !answer.stopped) return fail(Errc::io, answer.text);
        return sent;
      }
      if (answer.verdict == Verdict::refused && some.size() > 1) {
        alone = some.size();
        continue;
      }
      if (answer.verdict == Verdict::refused) {
        log::warn("delivery: the receiver refuses an alert, it is not sent again",
                  {{"destination", settings_.name}, {"alert", some.front().key}, {"answer", answer.text}});
        Refusal::count(sent, some.front(), answer.too_large ? Refusal::Why::too_large : Refusal::Why::refused);
        refusal_.note(some.front(), answer.text);
      } else {
        sent.refused += unreadable;
        refusal_.clear();
      }
      sent.taken += some.size();
      alone -= std::min(alone, some.size());
    }
    sent.problem = refusal_.text();
    sent.refusing = refusal_.any();
    return sent;
  }

 private:
  struct Target {
    Target(const AlertmanagerReceiver& settings, std::string where)
        : url(std::move(where)),
          up(instruments().gauge("vitald_alertmanager_up", "1 when the Alertmanager took what it was sent last.",
                                 {{"destination", settings.name}, {"target", url_with_path(url)}})),
          errors(instruments().counter("vitald_alertmanager_errors_total",
                                       "Requests that the Alertmanager did not take.",
                                       {{"destination", settings.name}, {"target", url_with_path(url)}})) {}
    std::string url;
    HttpClient client;
    prometheus::Gauge& up;
    prometheus::Counter& errors;
    bool failing = false;
  };
  struct Answer {
    Verdict verdict = Verdict::again;
    std::int64_t retry_after_ns = 0;
    std::string text;
    bool stopped = false;
    bool too_large = false;  // refused, and by none for another reason
  };

  Answer post(const std::string& body, const HttpAccess& access, const Attempt& attempt) {
    Answer out;
    bool some_refused = false, some_too_large = false;
    auto left_over = static_cast<std::int64_t>(targets_.size());
    for (auto& t : targets_) {
      auto url = t.url;
      while (url.ends_with('/')) url.pop_back();
      const HttpRequest request{"POST", url + "/api/v2/alerts", {{"Content-Type", "application/json"}}, body};
      // Each has its part of the time, so that a dead one leaves the others some.
      const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
      const auto left = left_over--;
      Attempt own = attempt;
      own.deadline_boot_ns = now_ns + (attempt.deadline_boot_ns - now_ns) / left;
      const auto response = t.client.send(request, access, own);
      std::string why;
      if (!response) {
        if (response.error().kind == Errc::gone) {
          out.stopped = true;
          return out;
        }
        why = response.error().text;
      } else if (verdict_of(response->status) != Verdict::taken) {
        why = fmt::format("{} answers {}", url_with_path(url), status_text(*response));
        const bool refused = verdict_of(response->status) == Verdict::refused;
        (response->status == 413 ? some_too_large : some_refused) |= refused;
        out.retry_after_ns = std::max(out.retry_after_ns, response->retry_after_ns);
      }
      note(t, why);
      if (why.empty()) out.verdict = Verdict::taken;
      else if (out.text.empty()) out.text = why;
    }
    if (out.verdict != Verdict::taken && (some_refused || some_too_large)) {
      out.verdict = Verdict::refused;
      out.too_large = !some_refused;
    }
    return out;
  }

  void note(Target& t, const std::string& why) const {
    t.up.Set(why.empty() ? 1 : 0);
    if (!why.empty()) t.errors.Increment();
    if (t.failing == !why.empty()) return;
    t.failing = !why.empty();
    if (t.failing) log::warn("an Alertmanager does not take alerts", {{"destination", settings_.name}, {"err", why}});
    else
      log::info("an Alertmanager takes alerts again",
                {{"destination", settings_.name}, {"target", url_with_path(t.url)}});
  }

  static std::string message_of(std::span<const Item> items, const std::string& forgotten, std::size_t& unreadable) {
    std::string out = "[";
    for (const auto& item : items) {
      const auto parts = parts_of(item.body);
      if (!parts || parts->size() % 2 != 0 || !parts->front().starts_with("{\"labels\":")) {
        ++unreadable;
        continue;
      }
      for (std::size_t i = 0; i < parts->size(); i += 2) {
        if (out.size() > 1) out += ',';
        out += (*parts)[i];
        out += (*parts)[i + 1].empty() ? std::string_view(forgotten) : (*parts)[i + 1];
        out += "\"}";
      }
    }
    return out + ']';
  }

  const AlertmanagerReceiver settings_;
  std::deque<Target> targets_;
  Refusal refusal_;
};

std::unique_ptr<Destination> AlertmanagerReceiver::destination() const {
  return std::make_unique<AlertmanagerDestination>(*this);
}

constexpr auto kOwnFields = std::to_array<Field<AlertmanagerReceiver>>({
    kNameField<AlertmanagerReceiver>,
    kMatchersField<AlertmanagerReceiver>,
    {.key = "urls",
     .at = &AlertmanagerReceiver::urls,
     .help = "The Alertmanagers, `http://HOST:9093` each: all of them are told, as a cluster of them wants it.",
     .required = "a list of URLs",
     .expected = "a list of URLs"},
    {.key = "resend_every",
     .at = &AlertmanagerReceiver::resend_every_ns,
     .help = "How often they are told that an alert still fires, after an evaluation (`pipeline.interval`) at the "
             "soonest. One of which they hear nothing for four times as long is over for them.",
     .least = 100'000'000,
     .most = 3'600'000'000'000},
    {.key = "max_alerts",
     .at = &AlertmanagerReceiver::max_alerts,
     .help = "Most alerts in one request.",
     .least = 1,
     .most = 1000},
    timeout_field<AlertmanagerReceiver>("An answer that takes longer is none; several share it."),
    kQueueLimitField<AlertmanagerReceiver>,
});
constexpr auto kFields = joined(kOwnFields, http_fields<AlertmanagerReceiver>());

}  // namespace

extern const ReceiverKind alertmanager_receiver;
constinit const ReceiverKind alertmanager_receiver =
    receiver_kind<AlertmanagerReceiver, kFields>("alertmanagers", "one or more Alertmanagers that are told of alerts");

}  // namespace vitald
