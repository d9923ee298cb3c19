// SPDX-License-Identifier: Apache-2.0
// POST /-/reload: waits until the configuration was read again and is in force, or says why it is not.
#include <fmt/format.h>

#include <atomic>

#include "agent/api/endpoints.h"

namespace vitald {
namespace {

// A reload reads files, and these may lie on a server that does not answer.
constexpr std::int64_t kReloadNs = 30'000'000'000;
constexpr int kMostWaiting = 8;  // they hold their connections for as long as it takes

// Outlives the request, and the server as well.
struct Outcome {
  std::vector<std::string> problems;
  std::atomic<bool> done{false};  // after `problems`
};

class Reload final : public Pending {
 public:
  Reload(const AgentView& agent, std::int64_t deadline_ns, std::shared_ptr<int> waiting)
      : deadline_ns_(deadline_ns), waiting_(std::move(waiting)) {
    ++*waiting_;
    agent.reload([outcome = outcome_, wake = agent.wake](const std::vector<std::string>& problems) {
      outcome->problems = problems;
      outcome->done = true;
      wake->signal();
    });
  }
  ~Reload() override { --*waiting_; }

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    if (outcome_->done) {
      if (outcome_->problems.empty()) return text_response(200, "reloaded\n");
      return text_response(500,
                           fmt::format("the configuration in force stays:\n{}\n", fmt::join(outcome_->problems, "\n")));
    }
    if (now_boot_ns < deadline_ns_) return std::nullopt;
    return text_response(
        504,
        "a file of the configuration cannot be read yet; what was in force stays until it can, and the "
        "log will say so\n");
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return deadline_ns_; }

 private:
  std::int64_t deadline_ns_;
  std::shared_ptr<int> waiting_;  // how many of these there are
  std::shared_ptr<Outcome> outcome_ = std::make_shared<Outcome>();
};

}  // namespace

Handler reload_request(const AgentView& agent) {
  return [agent, waiting = std::make_shared<int>(0)](const Request& request) -> Answer {
    if (*waiting >= kMostWaiting) return text_response(503, "others wait for a reload already\n");
    return std::make_unique<Reload>(agent, request.arrived_boot_ns + kReloadNs, waiting);
  };
}

}  // namespace vitald
