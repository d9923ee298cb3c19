// SPDX-License-Identifier: Apache-2.0
// The destination that is a Prometheus Pushgateway: the group of this host is replaced by the newest numbers.
#include <fmt/format.h>

#include "exporters/encode/gzip.h"
#include "exporters/encode/prom_text.h"
#include "exporters/push/http_push.h"
#include "exporters/push/text_encoder.h"

namespace vitald {
namespace {

struct PushgatewayPush final : PushOf<PushgatewayPush>, HttpSettings {
  std::string url;
  bool delete_at_end = false, gzip = true;
  bool operator==(const PushgatewayPush&) const = default;

  PushgatewayPush() { interval_ns = 30'000'000'000; }

  [[nodiscard]] std::string text() const override {
    return fmt::format("pushgateway '{}' ({})", name, url_for_display(url));
  }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override {
    return std::make_unique<TextEncoder>(table(), aggregated(), false, delete_at_end);
  }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = url_problem(url); !found.empty()) return "url: " + found;
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    for (const auto& p : HttpSettings::problems())
      problems.push_back(fmt::format("push.pushgateway '{}': {}", name, p));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    return reach_of({"GET", base() + "/api/v1/status", {}, {}}, *this, attempt,
                    [](const HttpResponse& response, std::string text) -> Result<std::string> {
                      if (response.status / 100 != 2) return fail(Errc::absent, text + ": this is no Pushgateway");
                      return text;
                    });
  }
  [[nodiscard]] bool newest_only() const override { return true; }  // it keeps no times

  [[nodiscard]] std::string base() const {
    auto out = url;
    while (out.ends_with('/')) out.pop_back();
    return out;
  }
  [[nodiscard]] std::string group_url() const;
};

// With '/' in it, or empty, a part of a path is written in base64 (RFC 4648, 5).
std::string base64(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > text.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
  }
  return out.empty() ? "=" : out;
}

std::string PushgatewayPush::group_url() const {
  auto out = base() + "/metrics";
  LabelMap group = target_labels;
  if (!group.contains("job")) group["job"] = "vitald";
  const auto add = [&out](std::string_view label, std::string_view value) {
    if (value.empty() || value.find('/') != value.npos) {
      out += fmt::format("/{}@base64/{}", label, base64(value));
      return;
    }
    out += fmt::format("/{}/", label);
    for (const char c : value) {
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
          c == '.' || c == ':')
        out += c;
      else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  };
  add("job", group["job"]);
  for (const auto& [label, value] : group)
    if (label != "job") add(label, value);
  return out;
}

class PushgatewayDestination final : public Destination {
 public:
  explicit PushgatewayDestination(const PushgatewayPush& settings)
      : settings_(settings), client_(settings.name, settings) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    return client_.with_lost(send_items(items, attempt));
  }

 private:
  Result<Sent> send_items(std::span<const Item> items, const Attempt& attempt) {
    const auto& item = items.front();
    HttpRequest request{item.body.empty() ? "DELETE" : "PUT", settings_.group_url(), {}, {}};
    if (!item.body.empty()) {
      request.headers.emplace_back("Content-Type", kPromTextContentType);
      if (settings_.gzip) {
        if (const auto packed = gzip_.compress(item.body, request.body); !packed) return fail(packed.error());
        request.headers.emplace_back("Content-Encoding", "gzip");
      } else {
        request.body = item.body;
      }
    }
    const auto response = client_.send(std::move(request), attempt);
    if (!response) return response.error().kind == Errc::gone ? Result<Sent>(Sent{}) : fail(response.error());
    switch (verdict_of(response->status)) {
      case Verdict::taken:
        client_.taken();
        client_.counters().sent(item.records);
        return Sent{1, 0, 0};
      case Verdict::again:
        if (response->retry_after_ns > 0) return Sent{0, 0, response->retry_after_ns};
        return fail(Errc::io, fmt::format("{} answers {}", url_for_display(settings_.url), status_text(*response)));
      case Verdict::refused: break;
    }
    client_.say_refused(*response, settings_.url);
    const bool too_large = response->status == 413;
    client_.lost(too_large ? "too_large" : "refused", item.records);
    Sent sent{1, 1, 0};
    sent.too_large = too_large ? 1 : 0;
    return sent;
  }

  const PushgatewayPush settings_;
  PushClient client_;
  Gzip gzip_;
};

std::unique_ptr<Destination> PushgatewayPush::destination() const {
  return std::make_unique<PushgatewayDestination>(*this);
}

constexpr auto kOwnFields = std::to_array<Field<PushgatewayPush>>({
    {.key = "url",
     .at = &PushgatewayPush::url,
     .help = "The Pushgateway: `http://pushgateway.example:9091`. The group is the labels of `--rules.series-label`.",
     .required = "the URL of the Pushgateway"},
    {.key = "delete_at_end",
     .at = &PushgatewayPush::delete_at_end,
     .help = "Whether the group is deleted when vitald ends; otherwise its last numbers stay there."},
    {.key = "gzip", .at = &PushgatewayPush::gzip, .help = "Whether requests are compressed."},
    {.key = "timeout",
     .at = &PushgatewayPush::timeout_ns,
     .help = "An answer that takes longer is none.",
     .least = 1'000'000,
     .most = 3'600'000'000'000},
});
constexpr auto kFields = joined(joined(push_fields<PushgatewayPush>(), kOwnFields),
                                joined(standby_fields<PushgatewayPush>(), http_fields<PushgatewayPush>()));

}  // namespace

extern const PushKind pushgateway_push;
constinit const PushKind pushgateway_push =
    push_kind<PushgatewayPush, kFields>("pushgateway", "a Prometheus Pushgateway");

}  // namespace vitald
