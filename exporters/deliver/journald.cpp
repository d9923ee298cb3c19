// SPDX-License-Identifier: Apache-2.0
// The destination that writes alerts to systemd's journal with fields of their own (journald's native protocol), so
// that `journalctl VITALD_ALERT_NAME=DiskFull` finds them, and whoever forwards the journal forwards alerts.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/os/fd.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/receiver.h"

namespace vitald {
namespace {

// A datagram is at most about 200 KiB; labels and annotations of people's rules are far below.
constexpr std::size_t kMostValue = 16 * 1024, kMostMessage = 128 * 1024;

void append_field(std::string& out, std::string_view name, std::string_view value) {
  value = value.substr(0, kMostValue);
  if (value.empty() || out.size() + name.size() + value.size() > kMostMessage) return;
  out += name;
  if (value.find('\n') == value.npos) {
    out += '=';
  } else {  // text of several lines stands behind its length, 64 bits little endian
    out += '\n';
    for (int shift = 0; shift < 64; shift += 8)
      out += static_cast<char>(static_cast<std::uint64_t>(value.size()) >> shift & 0xff);
  }
  out += value;
  out += '\n';
}

// syslog's: 2 critical, 4 warning, 6 info; the end of an alert is news and no trouble.
const char* priority_of(const AlertTransition& t) {
  if (!t.firing) return "6";
  const auto severity = label_of(t.alert.labels, "severity");
  return severity == "critical" ? "2" : severity == "info" || severity == "none" ? "6" : "4";
}

struct JournaldReceiver final : ReceiverOf<JournaldReceiver> {
  std::string socket = "/run/systemd/journal/socket";
  bool operator==(const JournaldReceiver&) const = default;

  [[nodiscard]] std::string text() const override { return fmt::format("journald '{}' ({})", name, socket); }
  [[nodiscard]] std::string body(const AlertTransition& t) const override {
    const auto labels = labels_of(t, *this);
    const auto alert = label_of(labels, "alertname"), summary = label_of(t.alert.annotations, "summary");
    std::string out;
    append_field(out, "MESSAGE",
                 fmt::format("{} {}{}{}", alert, t.firing ? "fires" : "is over", summary.empty() ? "" : ": ", summary));
    append_field(out, "PRIORITY", priority_of(t));
    append_field(out, "SYSLOG_IDENTIFIER", "vitald");
    append_field(out, "VITALD_ALERT_NAME", alert);
    append_field(out, "VITALD_ALERT_STATUS", status_of(t));
    append_field(out, "VITALD_ALERT_SEVERITY", label_of(labels, "severity"));
    append_field(out, "VITALD_ALERT_FINGERPRINT", fmt::format("{:016x}", t.alert.fingerprint));
    append_field(out, "VITALD_ALERT_TRANSITION", fmt::format("{}", t.number));
    append_field(out, "VITALD_ALERT_STARTS_AT", rfc3339(starts_at_ms(t.alert)));
    append_field(out, "VITALD_ALERT_ENDS_AT", t.firing ? "" : rfc3339(t.alert.resolved_at_ms));
    append_field(out, "VITALD_ALERT_VALUE", value_text(t.alert.value));
    append_field(out, "VITALD_ALERT_LABELS", map_json(labels));
    append_field(out, "VITALD_ALERT_DESCRIPTION", label_of(t.alert.annotations, "description"));
    return out;
  }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  void check(std::vector<std::string>& problems) const override {
    if (socket.size() >= sizeof(sockaddr_un::sun_path))
      problems.push_back(
          fmt::format("notify.journald '{}': socket: more than {} bytes", name, sizeof(sockaddr_un::sun_path) - 1));
    else if (access(socket.c_str(), W_OK) != 0)
      problems.push_back(fmt::format("notify.journald '{}': {}", name, from_errno(socket, errno).text));
  }
};

class JournaldDestination final : public Destination {
 public:
  explicit JournaldDestination(std::string path) : path_(std::move(path)) {}

  Result<Sent> send(std::span<const Item> items, const Attempt&) override {
    const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail(from_errno("socket", errno));
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (path_.size() >= sizeof to.sun_path) return fail(Errc::malformed, path_ + ": too long for a socket's path");
    std::memcpy(to.sun_path, path_.c_str(), path_.size() + 1);
    Sent sent;
    for (const auto& item : items) {
      if (!item.body.starts_with("MESSAGE")) {  // of another kind of receiver that had this name
        ++sent.taken, ++sent.refused;
        continue;
      }
      if (sendto(fd.get(), item.body.data(), item.body.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                 sizeof to) < 0) {
        if (sent.taken > 0) return sent;
        return fail(from_errno(path_, errno));
      }
      ++sent.taken;
    }
    return sent;
  }

 private:
  const std::string path_;
};

std::unique_ptr<Destination> JournaldReceiver::destination() const {
  return std::make_unique<JournaldDestination>(socket);
}

constexpr Field<JournaldReceiver> kFields[] = {
    kNameField<JournaldReceiver>,
    kMatchersField<JournaldReceiver>,
    {.key = "socket",
     .at = &JournaldReceiver::socket,
     .help = "Where journald listens. In a container it has to be mounted.",
     .absolute = true},
    kQueueLimitField<JournaldReceiver>,
};

}  // namespace

extern const ReceiverKind journald_receiver;
constinit const ReceiverKind journald_receiver =
    receiver_kind<JournaldReceiver, kFields>("journald", "systemd's journal, which alerts are written to with fields");

}  // namespace vitald
