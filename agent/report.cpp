// SPDX-License-Identifier: Apache-2.0
#include "agent/report.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace vitald {
namespace {

using State = CollectorStatus::State;

void line(std::string& out, std::string_view head, std::string_view text) {
  out += fmt::format("  {:<11} {}\n", head, text);
}

}  // namespace

std::string report(const ReportInput& in) {
  utsname kernel{};
  uname(&kernel);
  std::string out = fmt::format("vitald {} on {}, Linux {}, {} CPUs{}\n", VITALD_VERSION, kernel.nodename,
                                kernel.release, sysconf(_SC_NPROCESSORS_ONLN), geteuid() == 0 ? "" : ", not root");
  for (std::size_t i = 0; i < in.urls.size(); ++i) line(out, i ? "" : "listening", in.urls[i]);

  std::vector<std::string> on, off;
  std::size_t attached = 0, probes = 0;
  for (const auto& c : in.collectors) {
    if (c.probe) {
      ++probes;
      attached += c.state == State::on;
      continue;
    }
    (c.state == State::on ? on : off).push_back(c.name);
  }
  line(out, "collectors", fmt::format("{} on: {}", on.size(), fmt::join(on, " ")));
  for (const auto& c : in.collectors)
    if (!c.probe && c.state != State::on)
      line(out, "",
           fmt::format("{} {}: {}", c.name,
                       c.state == State::off      ? "off"
                       : c.state == State::failed ? "FAILED"
                                                  : "not here",
                       c.text));
  for (const auto& c : in.collectors)
    if (!c.probe && c.state == State::on && !c.text.empty()) line(out, "", fmt::format("{}: {}", c.name, c.text));

  line(out, "probes", probes == 0 ? "none built in" : fmt::format("{} of {} attached", attached, probes));
  for (const auto& c : in.collectors)
    if (c.probe) line(out, "", fmt::format("{} {}{}", c.name, c.state == State::on ? "" : "NOT attached: ", c.text));

  std::size_t rules = 0;
  if (in.rules)
    for (const auto& group : in.rules->groups) rules += group.rules.size();
  line(out, "rules",
       rules == 0
           ? std::string("none; give --rules.file")
           : fmt::format("{} in {} groups from {}", rules, in.rules->groups.size(), fmt::join(in.rule_files, " ")));
  std::string alerts = "log, /api/v1/alerts, ALERTS in /metrics";
  for (const auto& hook : in.hooks)
    alerts += fmt::format(", command '{}' ({})", hook.name, fmt::join(hook.command, " "));
  line(out, "alerts", alerts);
  line(out, "series", fmt::format("{}", in.series));
  return out;
}

}  // namespace vitald
