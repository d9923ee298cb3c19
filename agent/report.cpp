// SPDX-License-Identifier: Apache-2.0
#include "agent/report.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "core/os/descriptors.h"

namespace vitald {
namespace {

using State = CollectorStatus::State;

void line(std::string& out, std::string_view head, std::string_view text) {
  out += fmt::format("  {:<11} {}\n", head, text);
}

enum class Section : std::uint8_t { collectors, sensors, guests, probes };

Section section_of(const CollectorStatus& c) {
  static constexpr std::string_view kHeatAndPower[] = {"hwmon", "powersupplyclass", "rapl", "sensors", "thermal_zone"};
  if (c.folder == "virt") return Section::guests;
  if (c.probe()) return Section::probes;
  return std::ranges::find(kHeatAndPower, c.name) != std::end(kHeatAndPower) ? Section::sensors : Section::collectors;
}

// "runq_latency: attached, tp_btf", "arp off: --no-collector.arp"
std::string row(const CollectorStatus& c) {
  const std::string_view state = c.state == State::starting      ? " starting"
                                 : c.state == State::on          ? c.probe() || !c.text.empty() ? "" : " on"
                                 : c.probe()                     ? " NOT attached"
                                 : c.state == State::off         ? " off"
                                 : c.state == State::unavailable ? " not here"
                                                                 : " FAILED";
  return fmt::format("{}{}{}{}", c.name, state, c.text.empty() ? "" : ": ", c.text);
}

}  // namespace

std::string report(const ReportInput& in) {
  utsname kernel{};
  uname(&kernel);
  std::string out = fmt::format("vitald {} on {}, Linux {}, {} CPUs{}\n", VITALD_VERSION, kernel.nodename,
                                kernel.release, sysconf(_SC_NPROCESSORS_ONLN), geteuid() == 0 ? "" : ", not root");
  for (std::size_t i = 0; i < in.urls.size(); ++i) line(out, i ? "" : "listening", in.urls[i]);
  std::string_view head_of_view = "not seen";
  for (const auto& row : in.view) {
    if (row.seen) continue;
    line(out, head_of_view, fmt::format("{}: {}", row.of, row.text));
    head_of_view = "";
  }

  std::vector<std::string> on, absent;
  for (const auto& c : in.collectors) {
    if (section_of(c) != Section::collectors) continue;
    if (c.state == State::on) on.push_back(c.name);
    if (c.state == State::unavailable) absent.push_back(c.name);
  }
  line(out, "collectors", fmt::format("{} on: {}", on.size(), fmt::join(on, " ")));
  if (!absent.empty())
    line(out, "",
         fmt::format("{} not on this machine (vitald doctor says why): {}", absent.size(), fmt::join(absent, " ")));
  // Dozens are off for one reason: a line for each reason, not for each collector.
  std::map<std::string_view, std::vector<std::string_view>> off;
  for (const auto& c : in.collectors)
    if (section_of(c) == Section::collectors && c.state == State::off) off[c.text].push_back(c.name);
  for (const auto& [why, names] : off) {
    if (names.size() == 1) line(out, "", fmt::format("{} off: {}", names[0], why));
    else line(out, "", fmt::format("{} {}: {}", names.size(), why, fmt::join(names, " ")));
  }
  for (const auto& c : in.collectors)
    if (section_of(c) == Section::collectors && (c.state == State::failed || (c.state == State::on && !c.text.empty())))
      line(out, "", row(c));

  static constexpr std::pair<Section, std::string_view> kSections[] = {
      {Section::sensors, "sensors"}, {Section::guests, "guests"}, {Section::probes, "probes"}};
  for (auto [section, head] : kSections)
    for (const auto& c : in.collectors)
      if (section_of(c) == section) {
        line(out, head, row(c));
        head = "";
      }

  std::size_t rules = 0;
  if (in.rules)
    for (const auto& group : in.rules->groups) rules += group.rules.size();
  line(out, "rules",
       rules == 0
           ? std::string("none; give --rules.file")
           : fmt::format("{} in {} groups from {}", rules, in.rules->groups.size(), fmt::join(in.rule_files, " ")));
  std::string alerts = "log, /api/v1/alerts, ALERTS in /metrics";
  for (const auto& receiver : in.receivers) alerts += ", " + receiver->text();
  line(out, "alerts", alerts);
  if (!in.state.empty()) line(out, "state", in.state);
  line(out, "series", fmt::format("{}", in.series));
  if (in.descriptors_are_short) line(out, "open files", kDescriptorsAreShort);
  return out;
}

}  // namespace vitald
