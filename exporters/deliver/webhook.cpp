// SPDX-License-Identifier: Apache-2.0
// The destination that posts alerts to a URL, as an Alertmanager does (its webhook payload, version "4").
#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/deliver/parts.h"
#include "exporters/deliver/refusal.h"

namespace vitald {
namespace {

const std::vector<std::string> kByAll{"..."};  // as Alertmanager spells it

struct WebhookReceiver final : ReceiverOf<WebhookReceiver>, HttpSettings {
  std::string url, url_file, url_env;
  std::vector<std::string> group_by{"alertname"};
  std::size_t max_alerts = 100;
  bool send_resolved = true;
  bool operator==(const WebhookReceiver&) const = default;

  [[nodiscard]] std::string text() const override {
    return fmt::format("webhook '{}' ({})", name, url.empty() ? "its URL is a secret" : url_for_display(url));
  }
  // status, fingerprint and number, the alert, then how many labels and annotations, and these: what a message to
  // several is made of.
  [[nodiscard]] std::string body(const AlertTransition& t) const override {
    std::string out;
    append_part(out, status_of(t));
    append_part(out, fmt::format("{:016x}-{}", t.alert.fingerprint, t.number));
    append_part(out, alert_json(t, *this));
    const auto labels = labels_of(t, *this);
    append_part(out, fmt::format("{}", labels.size()));
    for (const auto* map : {&labels, &t.alert.annotations})
      for (const auto& [key, value] : *map) append_part(out, key), append_part(out, value);
    return out;
  }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  void check(std::vector<std::string>& problems) const override {
    const auto say = [&](const std::string& what) {
      problems.push_back(fmt::format("notify.webhooks '{}': {}", name, what));
    };
    if (const auto found = where(); !found) say(found.error().text);
    else if (const auto problem = url_problem(*found); !problem.empty()) say(problem);
    for (const auto& p : HttpSettings::problems()) say(p);
  }
  // Any answer shows that it is there; whether it takes alerts is seen with the first one only. Many know POST and no
  // HEAD.
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    const auto url_now = where();
    if (!url_now) return fail(url_now.error());
    return reach_of({"HEAD", *url_now, {}, {}}, *this, attempt,
                    [](const HttpResponse& response, std::string text) -> Result<std::string> {
                      if (response.status == 405 || response.status == 501)
                        text += ": it is there, and has no answer to HEAD";
                      else if (response.status >= 500) text += " to HEAD, which says nothing of POST";
                      return text;
                    });
  }
  void adjust(QueueSettings& queue) const override {
    queue.batch_items = max_alerts;
    queue.most_wait_ns = 60'000'000'000;
  }
  [[nodiscard]] Result<std::string> where() const {
    if (!url.empty()) return url;
    auto secret = secret_of("url", url_file, url_env);
    if (secret && secret->empty()) return fail(Errc::malformed, "no 'url', 'url_file' or 'url_env', expected one");
    return secret;
  }
};

class WebhookDestination final : public Destination {
 public:
  explicit WebhookDestination(const WebhookReceiver& settings) : settings_(settings) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto url = settings_.where();
    if (!url) return fail(url.error());
    const auto access = settings_.access();
    if (!access) return fail(access.error());
    Sent sent;
    // One that a whole message was refused for costs itself and no other: they are sent one by one then.
    std::size_t alone = 0;
    while (sent.taken < items.size()) {
      const auto rest = items.subspan(sent.taken);
      std::size_t count = 0;
      auto message = message_of(alone > 0 ? rest.first(1) : rest, count);
      if (message.body.empty()) {  // what it cannot read, or is not told
        sent.taken += count;
        sent.refused += message.unreadable;
        alone -= std::min(alone, count);
        continue;
      }
      HttpRequest request{"POST", *url, {{"Content-Type", "application/json"}}, std::move(message.body)};
      if (!message.key.empty()) request.headers.emplace_back("Idempotency-Key", message.key);
      const auto response = client_.send(request, *access, attempt);
      if (!response) {
        if (sent.taken > 0 || response.error().kind == Errc::gone) return sent;
        return fail(response.error());
      }
      switch (verdict_of(response->status)) {
        case Verdict::taken: refusal_.clear(); break;
        case Verdict::again:
          if (sent.taken == 0 && response->retry_after_ns == 0)
            return fail(Errc::io, fmt::format("{} answers {}", url_for_display(*url), status_text(*response)));
          sent.retry_after_ns = response->retry_after_ns;
          return sent;
        case Verdict::refused:
          if (count > 1) {
            alone = count;
            continue;
          }
          log::warn("delivery: the receiver refuses an alert, it is not sent again",
                    {{"destination", settings_.name}, {"alert", rest.front().key}, {"answer", status_text(*response)}});
          Refusal::count(sent, rest.front(), response->status == 413 ? Refusal::Why::too_large : Refusal::Why::refused);
          refusal_.note(rest.front(), fmt::format("{} answers {}", url_for_display(*url), status_text(*response)));
          break;
      }
      sent.taken += count;
      alone -= std::min(alone, count);
    }
    sent.problem = refusal_.text();
    sent.refusing = refusal_.any();
    return sent;
  }

 private:
  struct Message {
    std::string body, key;
    std::size_t unreadable = 0;
  };
  // The labels that its group is called by.
  [[nodiscard]] LabelMap group_of(const LabelMap& labels) const {
    if (settings_.group_by == kByAll) return labels;
    LabelMap out;
    for (const auto& name : settings_.group_by)
      if (const auto at = labels.find(name); at != labels.end()) out.insert(*at);
    return out;
  }
  // Of the first ones, as many as are of one status and one group.
  Message message_of(std::span<const Item> items, std::size_t& count) const {
    Message out;
    std::vector<WebhookAlert> alerts;
    std::string_view status;
    LabelMap group;
    for (count = 0; count < items.size(); ++count) {
      auto parts = parts_of(items[count].body);
      auto alert = parts ? read(*parts) : std::nullopt;
      const bool skip = !alert || ((*parts)[0] == "resolved" && !settings_.send_resolved);
      if (skip && !alerts.empty()) break;
      if (skip) {
        out.unreadable = alert ? 0 : 1;
        count = 1;
        return out;
      }
      auto own = group_of(alert->labels);
      if (!alerts.empty() && ((*parts)[0] != status || own != group)) break;
      status = (*parts)[0];
      group = std::move(own);
      out.key = (*parts)[1];
      alerts.push_back(std::move(*alert));
    }
    if (alerts.size() > 1) out.key.clear();
    out.body = webhook_json(alerts, status, group, settings_);
    return out;
  }

  static std::optional<WebhookAlert> read(const std::vector<std::string_view>& parts) {
    if (parts.size() < 4 || (parts[0] != "firing" && parts[0] != "resolved")) return std::nullopt;
    WebhookAlert out{parts[2], {}, {}};
    const auto labels = parse_u64(parts[3]);
    if (!labels || parts.size() % 2 != 0) return std::nullopt;
    for (std::size_t i = 4; i < parts.size(); i += 2)
      ((i - 4) / 2 < *labels ? out.labels : out.annotations).emplace(parts[i], parts[i + 1]);
    return out;
  }

  const WebhookReceiver settings_;
  HttpClient client_;
  Refusal refusal_;
};

std::unique_ptr<Destination> WebhookReceiver::destination() const {
  return std::make_unique<WebhookDestination>(*this);
}

constexpr auto kOwnFields = std::to_array<Field<WebhookReceiver>>({
    kNameField<WebhookReceiver>,
    kMatchersField<WebhookReceiver>,
    {.key = "url",
     .at = &WebhookReceiver::url,
     .help = "Where alerts are posted to. It is in logs and pages as far as its host."},
    {.key = "url_file", .at = &WebhookReceiver::url_file, .help = "The file that has the URL, where it is a secret."},
    {.key = "url_env", .at = &WebhookReceiver::url_env, .help = "The variable that has it, where no file does."},
    {.key = "send_resolved",
     .at = &WebhookReceiver::send_resolved,
     .help = "Whether it is told that an alert is over."},
    {.key = "group_by",
     .at = &WebhookReceiver::group_by,
     .help =
         "The labels that alerts of one message have in common: they are its `groupLabels` and make its `groupKey`. "
         "`[]`: all alerts are one group. `[\"...\"]`: each is its own, for a receiver that takes `groupKey` for one "
         "alert and `resolved` for the end of it.",
     .expected = "a list of label names",
     .may_be_empty = true},
    {.key = "max_alerts",
     .at = &WebhookReceiver::max_alerts,
     .help = "Most alerts in one message: those of a group that wait at the same time go together.",
     .least = 1,
     .most = 1000},
    timeout_field<WebhookReceiver>("An answer that takes longer is none."),
    kQueueLimitField<WebhookReceiver>,
});
constexpr auto kFields = joined(kOwnFields, http_fields<WebhookReceiver>());

}  // namespace

extern const ReceiverKind webhook_receiver;
constinit const ReceiverKind webhook_receiver = receiver_kind<WebhookReceiver, kFields>(
    "webhooks", "a URL that alerts are posted to, as an Alertmanager posts them");

}  // namespace vitald
