// SPDX-License-Identifier: Apache-2.0
// The program's entry: privileges and descriptors first, then what the command line asks for.
#include <execinfo.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <new>
#include <string_view>

#include "agent/agent.h"
#include "agent/alerts_command.h"
#include "agent/config/flags.h"
#include "agent/docs.h"
#include "agent/loading.h"
#include "agent/registration_command.h"
#include "agent/rules_command.h"
#include "agent/top_command.h"
#include "agent/verdict_command.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/privileges.h"

namespace vitald {
namespace {

// Whether it is on, or would be where there is what it reads. What a reload changes finds the rights of the start.
bool may_be_on(const Options& options, std::string_view collector) {
  const auto flag = fmt::format("collector.{}", collector);
  return options.given(flag) ? options.flag(flag) : !options.flag("collector.disable-defaults");
}

// A file may be on a server that does not answer; then that is said, and --once ends all the same.
Config load(const std::vector<std::string>& arguments, std::vector<std::string>& problems,
            std::vector<std::string>& warnings) {
  const auto file = std::ranges::find_if(arguments, [](const auto& a) { return a.starts_with("--config.file"); });
  if (file == arguments.end() || arguments.front() == "worker") return load_config(arguments, problems, warnings);
  Config config;
  Loading loading("config", [&](WaitsFor& waits) {
    waits.at("the configuration, " + *file);
    config = load_config(arguments, problems, warnings);
  });
  const bool once = std::ranges::find(arguments, "--once") != arguments.end();
  if (loading.wait(once ? 4 * Loading::kSayNs : std::numeric_limits<std::int64_t>::max())) return config;
  log::flush(kLastWordsNs);
  _exit(1);
}

void mask_hangup(int how) {
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  pthread_sigmask(how, &hangup, nullptr);
}

int run(const std::vector<std::string>& arguments) {
  std::vector<std::string> problems, warnings;
  auto config = load(arguments, problems, warnings);
  const auto& options = config.options;

  // These answer even where the rest is wrong.
  if (options.flag("help") && config.command_line.verb == "alerts") return fmt::print("{}", alerts_help()), 0;
  if (options.flag("help") && config.command_line.verb == "rules") return fmt::print("{}", rules_help()), 0;
  if (options.flag("help") && config.command_line.verb == "registration")
    return fmt::print("{}", registration_help()), 0;
  if (options.flag("help") && config.command_line.verb == "top") return fmt::print("{}", top_help()), 0;
  if (options.flag("help") && config.command_line.verb == "verdict") return fmt::print("{}", verdict_help()), 0;
  if (options.flag("help")) return fmt::print("{}", help_text()), 0;
  if (options.flag("version")) return fmt::print("vitald, version {}\n", VITALD_VERSION), 0;
  const auto& verb = config.command_line.verb;
  // Each thread has capabilities of its own: the one that read the configuration is over.
  for (const auto* collector : {"smart", "drm_gpus"})
    if (verb != "worker" && !may_be_on(options, collector) && !give_up_privileges_of_worker(collector))
      log::say(fmt::format("vitald: warning: capabilities of the collector {}, which is off, could not be given up\n",
                           collector));
  const bool stays = verb == "worker" || (verb.empty() && !options.flag("config.check") && !options.flag("once"));
  if (stays) log::never_wait();
  if (!stays || !verb.empty()) mask_hangup(SIG_UNBLOCK);
  for (const auto& w : warnings) log::say(fmt::format("vitald: warning: {}\n", w));
  if (options.flag("config.check")) return run_check(config, std::move(problems));
  for (const auto& p : problems) log::say(fmt::format("vitald: error: {}\n", p));
  if (!problems.empty()) return 1;
  if (options.flag("dump-flags-docs")) return fmt::print("{}", flags_markdown()), 0;
  if (options.flag("dump-config-docs")) return fmt::print("{}", config_markdown()), 0;
  if (options.flag("dump-metrics-docs")) return fmt::print("{}", metrics_docs()), 0;
  if (options.flag("dump-api-docs")) return fmt::print("{}", api_docs()), 0;

  using enum log::Level;
  const auto level = options.text("log.level");
  log::configure(level == "debug"   ? debug
                 : level == "warn"  ? warn
                 : level == "error" ? error
                                    : info,
                 options.text("log.format") == "json" ? log::Format::json : log::Format::logfmt);
  if (verb == "alerts") return run_alerts(config, std::cout);
  if (verb == "registration") return run_registration(config, std::cout);
  if (verb == "top") return run_top(config, std::cout);
  if (verb == "verdict") return run_verdict(config, std::cout);
  if (verb == "rules") return run_rules(config, std::cout, std::cerr);
  if (verb == "doctor") return run_doctor(config, std::cout);
  if (verb == "worker") return run_worker(config);
  if (options.flag("once")) return run_once(std::move(config), std::cout);
  return run_daemon(std::move(config), arguments);
}

}  // namespace
}  // namespace vitald

int main(int argc, char** argv) {
  // First of all, while there is one thread. Without it everything works as well; it fails only below odd filters.
  // To the daemon a SIGHUP is a reload, also one that comes before it is there to see it: then it waits. What turns out
  // to be no daemon ends with its terminal, as usual, once that is known.
  vitald::mask_hangup(SIG_BLOCK);
  const bool is_worker = argc > 2 && argv[1] == std::string_view("worker");
  if (!vitald::keep_only_used_privileges(is_worker ? argv[2] : std::string_view()))
    vitald::log::say("vitald: warning: capabilities that are not used could not be given up\n");
  // One that is closed would become a socket or a kernel file, and get what is printed.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0) [[maybe_unused]]
      const int same = open("/dev/null", O_RDWR);  // the lowest free
  // glibc opens libgcc_s with the first of these, which an exception that meets one of its own frames needs as well:
  // then there may be no memory for that, and glibc would end the process.
  void* frame;
  backtrace(&frame, 1);
  int status = 1;
  try {
    status = vitald::run({argv + 1, argv + argc});
  } catch (const std::bad_alloc&) {
    vitald::log::say("vitald: error: out of memory\n");
  } catch (const std::exception& e) {
    vitald::log::say(fmt::format("vitald: error: bug, please report: exception '{}'\n", e.what()));
  }
  vitald::log::flush(vitald::kLastWordsNs);
  return status;
}
