// SPDX-License-Identifier: Apache-2.0
#include "agent/config/check.h"

#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "agent/config/flags.h"
#include "agent/http/listen.h"
#include "core/collector.h"
#include "core/os/process.h"
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
  std::map<std::string, std::string> writers;  // by file
  for (std::size_t i = 0; i < config.file.pushes.size(); ++i) {
    const auto file = config.file.pushes[i]->file();
    if (file.empty()) continue;
    const auto text = config.file.pushes[i]->text();
    const auto [other, is_first] = writers.emplace(std::filesystem::path(file).lexically_normal().string(), text);
    if (!is_first)
      problems.push_back(fmt::format("{}: push: {} writes what {} writes, expected a file for each",
                                     config.file.push_places[i], text, other->second));
  }
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
    if (entry.folder == "bpf" || entry.info->make == nullptr) continue;
    const auto name = switch_name(entry);
    const bool by_default = entry.state != DefaultState::off && !options.flag("collector.disable-defaults");
    if (!(options.given(name) ? options.flag(name) : by_default)) continue;
    const auto made = entry.info->make(host, options);
    // What else may be wrong is this machine's, and doctor's to tell.
    if (!made && made.error().kind == Errc::malformed)
      problems.push_back(fmt::format("{}: {}", entry.name, made.error().text));
  }
}

}  // namespace vitald
