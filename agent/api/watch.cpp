// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/events/watch: events as they come, as server-sent events. An answer ends with the events that it has, and
// the client asks again at once with the last id it saw, as the protocol wants it: no connection is held for longer
// than half a minute, and nothing is missed between two.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "core/event.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::int64_t kLongestNs = 25'000'000'000, kLookNs = 200'000'000;
constexpr std::size_t kMostEvents = 256;
// Of one address, so that one who watches too often keeps nobody else from it.
constexpr std::size_t kMostWatching = 64, kMostOfPeer = 16;

// Who watches at the moment. The server's loop is the only one that looks.
struct Watching {
  std::size_t all = 0;
  std::map<std::string, std::size_t, std::less<>> by_peer;
};

std::string stream_of(const std::vector<EventLog::Entry>& entries, const EventNumbers& numbers,
                      std::int64_t wall_at_boot) {
  std::string out = "retry: 100\n";
  for (const auto& entry : entries) {
    const auto& event = *entry.event;
    const auto sequence = numbers.shown(entry.sequence);
    std::string data;
    Json j(data);
    j.open('{');
    j.whole("sequence", static_cast<std::int64_t>(sequence));
    j.text("type", event.type);
    j.text("collector", entry.collector);
    j.text("time", go_time((event.boot_ns + wall_at_boot + 500'000) / 1'000'000));
    j.text("text", event.text);
    j.key("fields");
    j.open('{');
    for (const auto& [name, value] : event.fields) j.text(name, value);
    j.close('}');
    j.close('}');
    // A type is a word of ours; a line feed in it would be another field of the protocol.
    auto name = event.type;
    std::erase_if(name, [](char c) { return c == '\n' || c == '\r'; });
    out += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", sequence, name, data);
  }
  return out;
}

class Watch final : public Pending {
 public:
  Watch(const AgentView& agent, const Request& request, std::uint64_t after, std::string type,
        std::shared_ptr<Watching> watching)
      : agent_(agent),
        after_(after),
        type_(std::move(type)),
        end_ns_(request.arrived_boot_ns + kLongestNs),
        look_ns_(request.arrived_boot_ns),
        peer_(request.peer),
        watching_(std::move(watching)) {
    ++watching_->all;
    ++watching_->by_peer[peer_];
  }
  ~Watch() override {
    --watching_->all;
    if (const auto at = watching_->by_peer.find(peer_); --at->second == 0) watching_->by_peer.erase(at);
  }

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    look_ns_ = std::min(end_ns_, now_boot_ns + kLookNs);
    std::vector<EventLog::Entry> wanted;
    for (auto& entry : agent_.events->since(after_, SIZE_MAX)) {
      if (wanted.size() == kMostEvents) break;
      after_ = entry.sequence;  // of those that are not wanted none is looked at again
      if (type_.empty() || entry.event->type == type_) wanted.push_back(std::move(entry));
    }
    if (wanted.empty() && now_boot_ns < end_ns_) return std::nullopt;
    auto text = stream_of(wanted, agent_.event_numbers, agent_.clock->wall_ns() - agent_.clock->boot_ns());
    // An id without data moves the client's place on.
    if (wanted.empty()) text += fmt::format(": nothing happened\nid: {}\n\n", agent_.event_numbers.shown(after_));
    Response response{200, "text/event-stream", std::make_shared<const std::string>(std::move(text)), {}, false};
    response.headers.emplace_back("Cache-Control", "no-store");
    return response;
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return look_ns_; }

 private:
  const AgentView agent_;
  std::uint64_t after_;
  const std::string type_;
  const std::int64_t end_ns_;
  std::int64_t look_ns_;
  const std::string peer_;
  const std::shared_ptr<Watching> watching_;
};

}  // namespace

Handler watch_request(const AgentView& agent) {
  return [agent, watching = std::make_shared<Watching>()](const Request& request) -> Answer {
    const auto own = watching->by_peer.find(request.peer);
    if (own != watching->by_peer.end() && own->second >= kMostOfPeer)
      return api_error(ApiError::unavailable, fmt::format("{} watch from {} already, expected {} at most", own->second,
                                                          request.peer, kMostOfPeer));
    if (watching->all >= kMostWatching) return api_error(ApiError::unavailable, "too many watch already");
    const auto newest = agent.events->newest();
    auto after = newest;
    auto given = request.header("Last-Event-ID");
    if (const auto in_url = request.all("after"); given.empty() && !in_url.empty()) given = in_url[0];
    if (!given.empty()) {
      const auto number = parse_u64(given);
      if (!number)
        return api_error(ApiError::bad_data, fmt::format("after: '{}', expected the sequence of an event", given));
      after = agent.event_numbers.after(*number, newest);
    }
    const auto type = request.all("type");
    return std::make_unique<Watch>(agent, request, after, type.empty() ? std::string() : std::string(type[0]),
                                   watching);
  };
}

}  // namespace vitald
