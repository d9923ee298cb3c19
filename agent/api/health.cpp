// SPDX-License-Identifier: Apache-2.0
// GET /-/healthy and /-/ready. They try: where the newest numbers are too old (nobody need have asked for any), they
// ask for a collection and fail when none ends.
#include <fmt/format.h>

#include "agent/api/endpoints.h"

namespace vitald {

std::string Freshness::why(const SnapshotPtr& latest, std::int64_t now_boot_ns) const {
  const auto age_s = age_ns(latest, now_boot_ns) / 1'000'000'000;
  const auto what = latest ? fmt::format("the newest numbers are {} s old", age_s)
                           : fmt::format("{} s after the start there are no numbers", age_s);
  return fmt::format(
      "{}, more than {} s: no collection has ended meanwhile; one hangs or is late, the log names what it waits for\n",
      what, limit_ns() / 1'000'000'000);
}

namespace {

// Less than the second that kubelet and others wait by default.
constexpr std::int64_t kTrialNs = 800'000'000;

// Whoever is asked here counts as wanting numbers: without rules and scrapes nothing else collects.
class Trial final : public Pending {
 public:
  Trial(const AgentView& agent, std::int64_t now_boot_ns, std::string good)
      : agent_(agent), deadline_ns_(now_boot_ns + kTrialNs), good_(std::move(good)) {}

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    const auto latest = agent_.latest();
    if (!agent_.freshness->too_old(latest, now_boot_ns)) return text_response(200, good_);
    if (now_boot_ns < deadline_ns_) return std::nullopt;
    return text_response(503, agent_.freshness->why(latest, now_boot_ns));
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return deadline_ns_; }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override {
    return deadline_ns_ - agent_.freshness->limit_ns();
  }

 private:
  const AgentView agent_;
  std::int64_t deadline_ns_;
  std::string good_;
};

}  // namespace

Handler healthy_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    return std::make_unique<Trial>(agent, request.arrived_boot_ns, "vitald is healthy.\n");
  };
}

Handler ready_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    const auto now = request.arrived_boot_ns;
    if (const auto latest = agent.latest(); !latest && !agent.freshness->too_old(latest, now))
      return text_response(503, "the first collection still runs\n");
    return std::make_unique<Trial>(agent, now, "vitald is ready.\n");
  };
}

}  // namespace vitald
