// SPDX-License-Identifier: Apache-2.0
#include "exporters/push/http_push.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/clock.h"
#include "core/log.h"

namespace vitald {

PushClient::PushClient(const std::string& destination, HttpSettings settings)
    : destination_(destination), settings_(std::move(settings)), counters_(destination) {}

Result<HttpResponse> PushClient::send(HttpRequest request, const Attempt& attempt) {
  auto access = settings_.access();
  if (!access) return fail(Errc::absent, access.error().text);  // gone would say that this destination ends
  if (!scheme_.empty() && !access->bearer.empty()) {
    request.headers.emplace_back("Authorization", scheme_ + " " + access->bearer);
    access->bearer.clear();
  }
  if (settings_.standby.empty()) return send_one(request, *access, attempt);
  const auto servers = settings_.standby.size() + 1;
  const auto away_ns = SystemClock::read(CLOCK_BOOTTIME) - left_first_ns_;
  const auto first = answered_ != 0 && away_ns >= settings_.standby_retry_ns ? 0 : answered_;
  Result<HttpResponse> response = fail(Errc::absent, "no server");
  const auto url = request.url;
  for (std::size_t tried = 0; tried < servers; ++tried) {
    const auto server = (first + tried) % servers;
    request.url = server == 0 ? url : url_at(url, settings_.standby[server - 1]);
    // One that is silent leaves the others their time.
    auto share = attempt;
    const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
    share.deadline_boot_ns = now_ns + (attempt.deadline_boot_ns - now_ns) / static_cast<std::int64_t>(servers - tried);
    response = send_one(request, *access, share);
    if (!response && response.error().kind == Errc::gone) return response;
    if (response && response->status < 500) {
      now_at(server, first, request.url);
      return response;
    }
  }
  return response;
}

// Another server answers than the one of before: said once each time, and counted.
void PushClient::now_at(std::size_t server, std::size_t first, const std::string& url) {
  if (server != 0 && (first == 0 || server != answered_)) left_first_ns_ = SystemClock::read(CLOCK_BOOTTIME);
  if (server == answered_) return;
  answered_ = server;
  ++switches_;
  counters_.switches.Increment();
  counters_.standby.Set(static_cast<double>(server));
  log::warn(server == 0 ? "push: the first server answers again" : "push: a standby is sent to",
            {{"destination", destination_}, {"url", url_for_display(url)}});
}

Result<HttpResponse> PushClient::send_one(const HttpRequest& request, const HttpAccess& access,
                                          const Attempt& attempt) {
  const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
  auto response = client_.send(request, access, attempt);
  counters_.request_seconds.Observe(static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - begin_ns) / 1e9);
  counters_.answered(response ? fmt::format("{}", response->status) : std::string("none"));
  if (response && response->status >= 200 && response->status < 300)
    counters_.sent_bytes.Increment(static_cast<double>(request.body.size()));
  return response;
}

void PushClient::lost(std::string_view reason, std::uint64_t samples) {
  counters_.dropped(reason, samples);
  some_lost_ |= samples > 0;
}

Result<Sent> PushClient::with_lost(Result<Sent> sent) {
  if (sent && sent->taken > 0) sent->refusing = std::exchange(some_lost_, false);
  return sent;
}

void PushClient::say_refused(const HttpResponse& response, const std::string& where) {
  if (std::exchange(refusal_said_, true)) return;
  log::warn("push: what is refused is not sent again",
            {{"destination", destination_}, {"url", url_for_display(where)}, {"answer", status_text(response)}});
}

void Halving::begin(std::uint64_t item, std::size_t count) {
  if (item == item_ && !todo_.empty()) return;
  item_ = item;
  some_taken_ = some_refused_ = some_too_large_ = false;
  todo_.clear();
  for (std::size_t first = 0; first < count; first += std::min(most_, count))
    todo_.push_back({first, std::min(most_, count - first)});
  std::ranges::reverse(todo_);
}

std::optional<Halving::Part> Halving::next() const {
  if (todo_.empty()) return std::nullopt;
  return todo_.back();
}

void Halving::done(End end) {
  todo_.pop_back();
  (end == End::taken ? some_taken_ : end == End::refused ? some_refused_ : some_too_large_) = true;
}

Sent Halving::sent() const {
  Sent out{1, 0, 0};
  if (some_taken_) return out;
  out.refused = some_refused_ || some_too_large_ ? 1 : 0;
  out.too_large = some_refused_ ? 0 : out.refused;
  return out;
}

bool Halving::halve() {
  const auto part = todo_.back();
  if (part.count < 2) return false;
  const auto half = part.count / 2;
  most_ = std::max<std::size_t>(1, std::min(most_, part.count - half));
  todo_.back() = {part.first + half, part.count - half};
  todo_.push_back({part.first, half});
  return true;
}

}  // namespace vitald
