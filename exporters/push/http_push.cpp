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
  const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
  auto response = client_.send(request, *access, attempt);
  counters_.request_seconds.Observe(static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - begin_ns) / 1e9);
  counters_.answered(response ? fmt::format("{}", response->status) : std::string("none"));
  if (response && response->status >= 200 && response->status < 300)
    counters_.sent_bytes.Increment(static_cast<double>(request.body.size()));
  return response;
}

void PushClient::say_refused(const HttpResponse& response, const std::string& where) {
  if (std::exchange(refusal_said_, true)) return;
  log::warn("push: what is refused is not sent again",
            {{"destination", destination_}, {"url", url_for_display(where)}, {"answer", status_text(response)}});
}

void Halving::begin(std::uint64_t item, std::size_t count) {
  if (item == item_ && !todo_.empty()) return;
  item_ = item;
  todo_.clear();
  for (std::size_t first = 0; first < count; first += std::min(most_, count))
    todo_.push_back({first, std::min(most_, count - first)});
  std::ranges::reverse(todo_);
}

std::optional<Halving::Part> Halving::next() const {
  if (todo_.empty()) return std::nullopt;
  return todo_.back();
}

void Halving::done() { todo_.pop_back(); }

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
