// SPDX-License-Identifier: Apache-2.0
#include "agent/http/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/log.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kAdmissionNs = 30 * kSecond;
constexpr std::int64_t kStuckNs = 30 * kSecond;  // so long to look at a few files means that their server is away

}  // namespace

// A password that is being compared, and then what the routes say.
class Gate::Admission final : public Pending {
 public:
  Admission(Gate& gate, Request& request, const Routes& routes, std::int64_t ask_again_boot_ns)
      : gate_(gate),
        request_(request),
        routes_(routes),
        until_ns_(request.arrived_boot_ns + kAdmissionNs),
        again_ns_(ask_again_boot_ns) {}

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    if (next_) return next_->poll(now_boot_ns);
    auto decision = gate_.admit(gate_.state()->config, request_, now_boot_ns);
    if (decision.refusal) return std::move(decision.refusal);
    if (decision.ask_again_boot_ns) {
      again_ns_ = *decision.ask_again_boot_ns;
      if (now_boot_ns < until_ns_) return std::nullopt;
      return text_response(503, "the password could not be compared in time; try again in a moment\n");
    }
    auto answer = routes_.answer(request_);
    if (auto* response = std::get_if<Response>(&answer)) return std::move(*response);
    next_ = std::move(std::get<1>(answer));
    return next_->poll(now_boot_ns);
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override {
    return next_ ? next_->deadline_boot_ns() : std::min(until_ns_, again_ns_);
  }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override {
    return next_ ? next_->wants_snapshot_boot_ns() : 0;
  }

 private:
  Gate& gate_;
  Request& request_;
  const Routes& routes_;
  std::int64_t until_ns_, again_ns_;
  std::unique_ptr<Pending> next_;
};

Gate::Gate(std::unique_ptr<GateFile> file)
    : file_(std::move(file)),
      tls_(file_->state()->credentials != nullptr),
      in_force_(instruments().gauge("vitald_web_config_in_force",
                                    "1: what --web.config.file and its certificates say is in force. 0: they cannot be "
                                    "read or are wrong, and what was in force stays.")) {}

std::unique_ptr<Gate> Gate::load(const std::string& path, std::vector<std::string>& problems) {
  if (path.empty()) return nullptr;
  auto file = GateFile::load(path, problems);
  return file ? std::unique_ptr<Gate>(new Gate(std::move(file))) : nullptr;
}

void Gate::start(std::shared_ptr<const Wake> wake, std::int64_t look_every_ns) {
  auth_ = std::make_unique<BasicAuth>(std::move(wake));
  file_->watch(look_every_ns);
}

Answer Gate::answer(Request& request, const Routes& routes) {
  const auto now = request.arrived_boot_ns;
  watch_files(now);
  const auto state = file_->state();
  // Nor are those held to the rate: who floods the rest must not get the agent restarted.
  if (const auto* route = routes.find(request.path); route && route->access == Access::anyone)
    return routes.answer(request);
  if (auto response = limit(state->config, now)) return std::move(*response);
  auto decision = admit(state->config, request, now);
  if (decision.refusal) return std::move(*decision.refusal);
  if (decision.ask_again_boot_ns)
    return std::make_unique<Admission>(*this, request, routes, *decision.ask_again_boot_ns);
  return routes.answer(request);
}

void Gate::watch_files(std::int64_t now_boot_ns) {
  const bool stuck = now_boot_ns - file_->looked_boot_ns() > kStuckNs;
  in_force_.Set(file_->good() && !stuck ? 1 : 0);
  if (stuck == stuck_) return;
  stuck_ = stuck;
  if (stuck) log::error("the web configuration cannot be looked at; what is in force stays until its files answer");
  else log::info("the web configuration can be looked at again");
}

// A token bucket: full at the start, one more each interval.
std::optional<Response> Gate::limit(const WebConfig& config, std::int64_t boot_ns) {
  if (config.rate_interval_ns <= 0) return std::nullopt;
  const auto burst = static_cast<double>(config.rate_burst);
  if (tokens_ < 0) tokens_ = burst;
  else tokens_ += static_cast<double>(boot_ns - refilled_boot_ns_) / static_cast<double>(config.rate_interval_ns);
  tokens_ = std::min(tokens_, burst);
  refilled_boot_ns_ = boot_ns;
  if (tokens_ < 1) return text_response(429, "Too Many Requests\n");
  tokens_ -= 1;
  return std::nullopt;
}

Gate::Decision Gate::admit(const WebConfig& config, Request& request, std::int64_t now_boot_ns) {
  request.has_users = !config.users.empty();
  if (config.users.empty()) return {};
  using enum BasicAuth::Verdict::Kind;
  auto verdict =
      auth_->check(config.users, request.header("Authorization"), request.peer, request.arrived_boot_ns, now_boot_ns);
  switch (verdict.kind) {
    case admitted: request.user = std::move(verdict.user); return {};
    case pending:
      return {verdict.until_boot_ns > 0 ? verdict.until_boot_ns : std::numeric_limits<std::int64_t>::max(), {}};
    case busy: {
      auto response = text_response(503, "too many unknown passwords at once; try again in a moment\n");
      response.headers.emplace_back("Retry-After", "1");
      return {{}, std::move(response)};
    }
    case refused: break;
  }
  auto response = text_response(401, "Unauthorized\n");
  response.headers.emplace_back("WWW-Authenticate", "Basic");
  return {{}, std::move(response)};
}

}  // namespace vitald
