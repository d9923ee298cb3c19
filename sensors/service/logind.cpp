// SPDX-License-Identifier: Apache-2.0
// Login sessions by seat, remote, type and class, asked of systemd-logind over D-Bus.
#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/collector.h"
#include "sensors/service/bus.h"

namespace vitald {
namespace {

constexpr std::string_view kSource = "org.freedesktop.login1";
constexpr MetricDesc kSessions{"node_logind_sessions",
                               MetricType::gauge,
                               "Number of sessions registered in logind.",
                               "seat,remote,type,class",
                               "",
                               kSource};
constexpr const char *kService = "org.freedesktop.login1", *kPath = "/org/freedesktop/login1";
constexpr const char *kManager = "org.freedesktop.login1.Manager", *kSession = "org.freedesktop.login1.Session";

// As systemd 229 had them. The first stands for what is not listed.
constexpr std::string_view kTypes[] = {"other", "unspecified", "tty", "x11", "wayland", "mir", "web"};
constexpr std::string_view kClasses[] = {"other", "user", "greeter", "lock-screen", "background"};

std::string_view known_or_other(std::span<const std::string_view> known, std::string_view value) {
  const auto it = std::find(known.begin(), known.end(), value);
  return it != known.end() ? *it : known.front();
}

class Logind final : public Collector {
 public:
  explicit Logind(const Host& host) : bus_(Bus::system(host, kService)) {}

  Result<> collect(BatchWriter& out) override {
    if (auto open = bus_.begin(); !open) return open;
    std::vector<std::string> seats;
    if (auto listed = list_seats(seats); !listed) return listed;
    using Key = std::array<std::string_view, 3>;  // remote, type, class
    std::map<std::pair<std::string, Key>, double> sessions;

    std::vector<std::string> seat_of;  // by session
    std::vector<BusQuestion> questions;
    auto rows = bus_.rows(kPath, kManager, "ListSessions", "susso");
    if (!rows) return fail(rows.error());
    for (;;) {
      const char *id, *user, *seat, *path;
      std::uint32_t uid;
      const auto more = rows->next("susso", &id, &uid, &user, &seat, &path);
      if (!more) return fail(more.error());
      if (!*more) break;
      seat_of.emplace_back(seat);
      questions.push_back({path, kSession, "Remote", 'b'});
      questions.push_back({path, kSession, "Type", 's'});
      questions.push_back({path, kSession, "Class", 's'});
    }
    if (auto asked = bus_.ask(questions); !asked) return asked;
    for (std::size_t i = 0; i < seat_of.size(); ++i) {
      const auto *q = &questions[3 * i], *remote = q, *type = q + 1, *kind = q + 2;
      if (std::any_of(q, q + 3, [](const auto& a) { return a.state != BusQuestion::State::known; }))
        continue;  // it ended meanwhile
      ++sessions[{seat_of[i],
                  {remote->number != 0 ? "true" : "false", known_or_other(kTypes, type->text),
                   known_or_other(kClasses, kind->text)}}];
    }

    for (const std::string_view remote : {"true", "false"})
      for (const auto type : kTypes)
        for (const auto kind : kClasses)
          for (const auto& seat : seats) {
            const auto it = sessions.find({seat, {remote, type, kind}});
            out.set(kSessions, it == sessions.end() ? 0 : it->second, seat, remote, type, kind);
          }
    return {};
  }

 private:
  // Those of the machine, and the empty one of sessions from elsewhere.
  Result<> list_seats(std::vector<std::string>& seats) {
    auto rows = bus_.rows(kPath, kManager, "ListSeats", "so");
    if (!rows) return fail(rows.error());
    for (;;) {
      const char *id, *path;
      const auto more = rows->next("so", &id, &path);
      if (!more) return fail(more.error());
      if (!*more) break;
      seats.emplace_back(id);
    }
    seats.emplace_back();
    return {};
  }

  Bus bus_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Logind>(host); }

}  // namespace

extern const CollectorInfo collector_logind;
const CollectorInfo collector_logind{std::span(&kSessions, 1), {}, make};

}  // namespace vitald
