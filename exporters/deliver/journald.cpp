// SPDX-License-Identifier: Apache-2.0
// The destination that writes alerts to systemd's journal with fields of their own (journald's native protocol), so
// that `journalctl VITALD_ALERT_NAME=DiskFull` finds them, and whoever forwards the journal forwards alerts.
#include <fmt/format.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/message_socket.h"
#include "exporters/deliver/receiver.h"

namespace vitald {
namespace {

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
    append_journal_field(
        out, "MESSAGE",
        fmt::format("{} {}{}{}", alert, t.firing ? "fires" : "is over", summary.empty() ? "" : ": ", summary));
    append_journal_field(out, "PRIORITY", priority_of(t));
    append_journal_field(out, "SYSLOG_IDENTIFIER", "vitald");
    append_journal_field(out, "VITALD_ALERT_NAME", alert);
    append_journal_field(out, "VITALD_ALERT_STATUS", status_of(t));
    append_journal_field(out, "VITALD_ALERT_SEVERITY", label_of(labels, "severity"));
    append_journal_field(out, "VITALD_ALERT_FINGERPRINT", fmt::format("{:016x}", t.alert.fingerprint));
    append_journal_field(out, "VITALD_ALERT_TRANSITION", fmt::format("{}", t.number));
    append_journal_field(out, "VITALD_ALERT_STARTS_AT", rfc3339(starts_at_ms(t.alert)));
    append_journal_field(out, "VITALD_ALERT_ENDS_AT", t.firing ? "" : rfc3339(t.alert.resolved_at_ms));
    append_journal_field(out, "VITALD_ALERT_VALUE", value_text(t.alert.value));
    append_journal_field(out, "VITALD_ALERT_LABELS", map_json(labels));
    append_journal_field(out, "VITALD_ALERT_DESCRIPTION", label_of(t.alert.annotations, "description"));
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

std::unique_ptr<Destination> JournaldReceiver::destination() const {
  return message_destination({.path = socket}, "MESSAGE");
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
