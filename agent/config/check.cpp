// SPDX-License-Identifier: Apache-2.0
#include "agent/config/check.h"

#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "agent/config/flags.h"
#include "agent/http/listen.h"
#include "core/collector.h"
#include "core/os/process.h"
#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "sensors/service/exec_program.h"

namespace vitald {
namespace {

bool matches_nothing(const std::string& pattern) {
  glob_t found{};
  const int rc = glob(pattern.c_str(), 0, nullptr, &found);
  globfree(&found);
  return rc == GLOB_NOMATCH;
}

}  // namespace

void check_surroundings(const Config& config, std::vector<std::string>& problems, std::vector<std::string>& warnings) {
  const auto& options = config.options;
  if (!options.flag("web.systemd-socket")) {
    const auto& addresses = options.list("web.listen-address");
    for (auto it = addresses.begin(); it != addresses.end(); ++it) {
      if (const auto good = check_address(*it); !good) problems.push_back(good.error().text);
      else if (!it->ends_with(":0") && std::find(addresses.begin(), it, *it) != it)
        problems.push_back(fmt::format("--web.listen-address: '{}' is given twice, expected each address once", *it));
    }
  }

  check_receivers(config, problems);
  check_exec(config, problems);
  check_patterns(options, warnings);
  check_libvirt(options, warnings);
}

void check_libvirt(const Options& options, std::vector<std::string>& warnings) {
  static constexpr std::string_view kFlag = "collector.libvirt.uri";
  // https://libvirt.org/uri.html; what is before the `+` of a transport.
  static constexpr std::string_view kDrivers[] = {
      "qemu", "xen",    "lxc",          "ch",       "bhyve",        "vz",        "openvz",    "vbox", "esx",   "gsx",
      "vpx",  "hyperv", "vmwareplayer", "vmwarews", "vmwarefusion", "virtuozzo", "parallels", "test", "remote"};
  static constexpr std::string_view kOfQemu[] = {"system", "session", "embed"};
  const auto uri = options.text(kFlag);
  auto rest = uri;
  const auto scheme = take_until(rest, ':');
  if (!options.given(kFlag) || scheme.size() == uri.size()) return;  // an alias of libvirt.conf
  const auto driver = scheme.substr(0, scheme.find('+'));
  if (std::ranges::find(kDrivers, driver) == std::end(kDrivers)) {
    warnings.push_back(
        fmt::format("--{}: '{}': libvirt has no driver '{}'{}", kFlag, uri, driver, did_you_mean(driver, kDrivers)));
    return;
  }
  if (driver != "qemu") return;
  if (take_prefix(rest, "//")) rest.remove_prefix(std::min(rest.find('/'), rest.size()));
  take_prefix(rest, "/");
  const auto place = rest.substr(0, rest.find_first_of("?#"));
  if (std::ranges::find(kOfQemu, place) == std::end(kOfQemu))
    warnings.push_back(fmt::format("--{}: '{}': qemu's URIs end with /system, /session or /embed, '/{}' found{}", kFlag,
                                   uri, place, did_you_mean(place, kOfQemu)));
}

// What is repeated is so after an evaluation.
void check_repetitions(const Config& config, std::vector<std::string>& warnings) {
  const auto interval_ns = config.options.duration_ns("pipeline.interval");
  for (std::size_t i = 0; i < config.file.receivers.size(); ++i) {
    const auto& receiver = *config.file.receivers[i];
    if (receiver.repeat_ns() == 0 || receiver.repeat_ns() >= interval_ns) continue;
    warnings.push_back(fmt::format(
        "{}: notify: '{}' is to be told every {} s what still fires, but the rules are evaluated every {} s "
        "(--pipeline.interval): it is told that often",
        config.file.receiver_places[i], receiver.name, static_cast<double>(receiver.repeat_ns()) / 1e9,
        static_cast<double>(interval_ns) / 1e9));
  }
}

void check_alerts(const Config& config, const AlertReach& reach, std::vector<std::string>& warnings) {
  LabelMap external;
  for (const auto& label : config.options.list("rules.external-label"))
    if (const auto equals = label.find('='); equals != std::string::npos)
      external[label.substr(0, equals)] = label.substr(equals + 1);
  std::string receivers;
  for (std::size_t i = 0; i < config.file.receivers.size(); ++i) {
    const auto& receiver = *config.file.receivers[i];
    receivers += fmt::format("{}'{}'", receivers.empty() ? "" : ", ", receiver.name);
    Matchers matchers;
    for (const auto& text : receiver.matchers)
      if (const auto some = parse_alert_matchers(text)) matchers.insert(matchers.end(), some->begin(), some->end());
    if (matchers.empty() || reach.empty()) continue;
    if (const auto why = reach.problem(matchers, external); !why.empty())
      warnings.push_back(fmt::format("{}: notify: '{}' is never told of an alert: {}", config.file.receiver_places[i],
                                     receiver.name, why));
  }
  check_repetitions(config, warnings);
  if (reach.empty() && !receivers.empty())
    warnings.push_back(fmt::format("{}: notify: no rule alerts, so nobody is told of anything: {}",
                                   config.file.receiver_places.front(), receivers));
  if (reach.empty()) return;
  for (std::size_t i = 0; i < config.file.inhibit_rules.size(); ++i)
    for (const auto& [what, matchers] : {std::pair("source_matchers", &config.file.inhibit_rules[i].source),
                                         std::pair("target_matchers", &config.file.inhibit_rules[i].target)})
      if (const auto why = reach.problem(*matchers, external); !why.empty())
        warnings.push_back(
            fmt::format("{}: inhibit_rules[{}].{}: it mutes nothing: {}", config.file.inhibit_places[i], i, what, why));
}

void check_receivers(const Config& config, std::vector<std::string>& problems) {
  const auto check_all = [&problems](const auto& all, const std::vector<std::string>& places) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto before = problems.size();
      all[i]->check(problems);
      for (auto p = before; p < problems.size(); ++p) problems[p] = fmt::format("{}: {}", places[i], problems[p]);
    }
  };
  check_all(config.file.receivers, config.file.receiver_places);
  check_all(config.file.pushes, config.file.push_places);
}

void check_exec(const Config& config, std::vector<std::string>& problems) {
  for (const auto& line : config.options.list("collector.exec.program")) {
    const auto program = parse_exec(line);
    if (!program) continue;  // the collector says so
    const auto& settings = config.file.settings;
    const auto at = std::ranges::find(settings, line, &Setting::value);
    for (const auto& problem : exec_problems(*program))
      problems.push_back(fmt::format("{}{}exec '{}': {}", at == settings.end() ? "" : at->place,
                                     at == settings.end() ? "" : ": ", program->name, problem));
  }
}

void check_patterns(const Options& options, std::vector<std::string>& warnings) {
  // What has no wildcard and is not there is a problem already, or is looked for again and told by a metric.
  for (const std::string_view flag : {"rules.file", "checks.file", "collector.textfile.directory"})
    for (const auto& pattern : options.list(flag))
      if (pattern.find_first_of("*?[") != std::string::npos && matches_nothing(pattern))
        warnings.push_back(fmt::format("--{}: '{}': nothing is there, so nothing comes of it", flag, pattern));
}

void check_collectors(const Options& options, const Host& host, std::vector<std::string>& problems) {
  for (const auto& entry : collector_list()) {
    if (entry.folder == "bpf" || entry.info->make == nullptr || !is_wanted(entry, options)) continue;
    const auto made = entry.info->make(host, options);
    // What else may be wrong is this machine's, and doctor's to tell.
    if (!made && made.error().kind == Errc::malformed)
      problems.push_back(fmt::format("{}: {}", entry.name, made.error().text));
  }
}

}  // namespace vitald
