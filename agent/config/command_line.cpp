// SPDX-License-Identifier: Apache-2.0
// kingpin's conventions, which node_exporter's users have in their unit files: --flag=value, --flag value,
// --flag and --no-flag for booleans, @FILE for a file with an argument a line, -- where flags end. CLI11 knows no
// --no-x and would want every flag declared twice.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/config/config.h"
#include "agent/config/flags.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/suggest.h"

namespace vitald {
namespace {

constexpr std::string_view kVerbs[] = {"alerts", "doctor", "registration", "rules", "top", "verdict", "worker"};

std::string unexpected(std::string_view argument, bool first) {
  const auto near = first ? did_you_mean(argument, kVerbs) : std::string();
  if (!near.empty()) return fmt::format("unknown command '{}'{}; try --help", argument, near);
  // What the shell makes of --rules.file=rules/*.yaml.
  const bool one_of_many = !first && (argument.ends_with(".yaml") || argument.ends_with(".yml"));
  return fmt::format("unexpected argument '{}', expected a flag; {}", argument,
                     one_of_many ? "a glob wants quotes, as in '--rules.file=rules/*.yaml'" : "try --help");
}

// Flags of commands that ask the vitald that runs: with a value, with yes or no, and alone.
struct OwnFlags {
  std::string_view verb;
  std::vector<std::string_view> valued, yes_or_no, alone;
};
const OwnFlags* own_flags_of(std::string_view verb) {
  static const OwnFlags kAll[] = {
      {"alerts",
       {"by", "ca-file", "comment", "duration", "password-file", "severity", "state", "until", "url", "user"},
       {"acknowledged", "inhibited", "silenced"},
       {"all", "json"}},
      {"registration", {"ca-file", "password-file", "url", "user"}, {}, {}},
      {"top", {"ca-file", "interval", "password-file", "url", "user"}, {}, {"once"}},
      {"verdict",
       {"ca-file", "guest", "owner", "password-file", "scope", "url", "user", "window"},
       {},
       {"all", "json"}},
  };
  const auto* at = std::ranges::find(kAll, verb, &OwnFlags::verb);
  return at == std::end(kAll) ? nullptr : at;
}

// Of such a command: words, and flags of its own. A flag is a word `--NAME=VALUE`, however it was written.
bool take_own_word(const OwnFlags& flags, std::span<const std::string> arguments, std::size_t& i,
                   std::vector<std::string>& words, std::vector<std::string>& problems) {
  const auto &valued = flags.valued, &yes_or_no = flags.yes_or_no, &alone = flags.alone;
  const auto is_among = [](const auto& names, std::string_view name) {
    return std::ranges::find(names, name) != std::end(names);
  };
  std::string_view rest = arguments[i];
  if (!take_prefix(rest, "--")) {
    if (rest == "-h") return false;
    words.emplace_back(rest);
    return true;
  }
  const bool has_value = rest.find('=') != std::string_view::npos;
  auto name = take_until(rest, '=');
  const bool negated = name.starts_with("no-") && is_among(yes_or_no, name.substr(3));
  if (negated) name.remove_prefix(3);
  const std::string_view next = i + 1 < arguments.size() ? std::string_view(arguments[i + 1]) : std::string_view();
  if (is_among(yes_or_no, name)) {
    // Alone it says yes: the word behind it may be an alert's.
    const bool takes_next = !has_value && !negated && (next == "true" || next == "false");
    if (negated && has_value) problems.push_back(fmt::format("--no-{}: takes no value", name));
    if (has_value && rest != "true" && rest != "false")
      problems.push_back(fmt::format("--{}: '{}', expected true or false", name, rest));
    words.push_back(fmt::format("--{}={}", name, has_value ? rest : takes_next ? next : negated ? "false" : "true"));
    if (takes_next) ++i;
    return true;
  }
  if (is_among(alone, name)) {
    if (has_value) problems.push_back(fmt::format("--{}: takes no value", name));
    words.push_back(fmt::format("--{}=", name));
    return true;
  }
  if (!is_among(valued, name)) return false;
  words.push_back(arguments[i]);
  if (has_value) return true;
  if (next.empty() || next.starts_with("--"))
    problems.push_back(fmt::format("--{}: expected a value after it, e.g. --{}=VALUE", name, name));
  else words.back() += "=" + arguments[++i];
  return true;
}

// kingpin: whole lines, and none that begins with #. A file may name others.
constexpr std::size_t kMostFileBytes = 1 << 20, kMostFiles = 16;
void take_argument(std::string_view argument, std::size_t depth, bool& flags_end, std::vector<std::string>& to,
                   std::vector<std::string>& problems) {
  if (!problems.empty()) return;  // a file that names itself several times is read so often
  if (flags_end || argument.size() < 2 || argument.front() != '@') {
    flags_end = flags_end || argument == "--";
    to.emplace_back(argument);
    return;
  }
  if (depth == kMostFiles) {
    problems.push_back(fmt::format("{}: files of arguments that name each other", argument));
    return;
  }
  auto text = read_text_file(std::string(argument.substr(1)), kMostFileBytes);
  if (!text) {
    problems.push_back("@" + text.error().text);
    return;
  }
  for (std::string_view rest = *text; !rest.empty();)
    if (auto line = take_line(rest); !line.starts_with('#')) {
      if (line.ends_with('\r')) line.remove_suffix(1);
      take_argument(line, depth + 1, flags_end, to, problems);
    }
}

}  // namespace

CommandLine parse_command_line(std::span<const std::string> given, std::vector<std::string>& problems,
                               std::vector<std::string>& warnings) {
  CommandLine line;
  std::vector<std::string> arguments;
  bool flags_end = false;
  // A verb has texts of people's own ("@bob looks at it"), and runs with more rights than who wrote them.
  const bool has_verb = !given.empty() && std::ranges::find(kVerbs, given[0]) != std::end(kVerbs);
  if (has_verb) arguments.assign(given.begin(), given.end());
  else
    for (const auto& argument : given) take_argument(argument, 0, flags_end, arguments, problems);
  std::size_t i = 0;
  if (!arguments.empty() && std::ranges::find(kVerbs, arguments[0]) != std::end(kVerbs)) {
    line.verb = arguments[i++];
    if (line.verb == "worker") {
      if (i < arguments.size() && !arguments[i].starts_with('-')) line.worker = arguments[i++];
      else problems.emplace_back("worker: which one? expected a collector's name after it");
    }
  }
  line.arguments.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
  // More is appended to them where they are handed on.
  if (const auto end = std::ranges::find(line.arguments, "--"); end != line.arguments.end()) line.arguments.erase(end);

  const auto* own = own_flags_of(line.verb);
  std::vector<std::pair<const FlagSpec*, std::string_view>> spelled;
  bool said_unexpected = false;  // what follows belongs to it
  flags_end = false;
  for (; i < arguments.size(); ++i) {
    if (!flags_end && arguments[i] == "--") {
      flags_end = true;
      continue;
    }
    if (flags_end) {
      if (own) line.words.push_back(arguments[i]);
      else if (line.verb == "rules") line.operands.push_back(arguments[i]);
      else if (!std::exchange(said_unexpected, true)) problems.push_back(unexpected(arguments[i], false));
      continue;
    }
    if (own && take_own_word(*own, arguments, i, line.words, problems)) continue;
    if (line.verb == "rules" && !arguments[i].starts_with('-')) {
      line.operands.push_back(arguments[i]);
      continue;
    }
    std::string_view rest = arguments[i] == "-h" ? std::string_view("--help") : std::string_view(arguments[i]);
    if (!take_prefix(rest, "--") || rest.empty()) {
      if (!std::exchange(said_unexpected, true)) problems.push_back(unexpected(arguments[i], i == 0));
      continue;
    }
    const bool has_value = rest.find('=') != std::string_view::npos;
    const auto name = take_until(rest, '=');
    bool deprecated = false, negated = false;
    const auto* flag = find_flag(name, &deprecated);
    if (!flag && name.starts_with("no-")) {
      flag = find_flag(name.substr(3), &deprecated);
      negated = flag != nullptr;
    }
    if (!flag) {
      std::vector<std::string_view> names;
      for (const auto& f : all_flags()) names.push_back(f.name);
      const auto plain = name.starts_with("no-") ? name.substr(3) : name;
      problems.push_back(fmt::format("unknown long flag '--{}'{}{}", name, did_you_mean(plain, names), "; try --help"));
      continue;
    }
    const auto written = negated ? name.substr(3) : name;
    if (deprecated && !std::ranges::count(spelled, std::pair(flag, written)))
      warnings.push_back(fmt::format("--{} is the old name of --{}, which will be the only one", written, flag->name));
    if (flag->name == "runtime.gomaxprocs" && !std::ranges::count(spelled, std::pair(flag, written)))
      warnings.emplace_back("--runtime.gomaxprocs has no effect: there is no Go runtime");
    if (const auto other =
            std::ranges::find_if(spelled, [&](const auto& s) { return s.first == flag && s.second != written; });
        other != spelled.end())
      problems.push_back(fmt::format("--{} and --{} are mutually exclusive", other->second, written));
    spelled.emplace_back(flag, written);
    if (flag->type == FlagType::boolean) {
      if (negated && has_value) problems.push_back(fmt::format("--{}: takes no value", name));
      else if (const auto problem = has_value ? value_problem(*flag, rest) : ""; !problem.empty())
        problems.push_back(fmt::format("--{}: {}", name, problem));
      else line.settings.push_back({flag, negated ? "false" : has_value ? std::string(rest) : "true"});
      continue;
    }
    if (negated) {
      problems.push_back(fmt::format("--{}: only switches can be negated, --{} wants a value", name, flag->name));
      continue;
    }
    if (!has_value && i + 1 == arguments.size()) {
      problems.push_back(fmt::format("--{}: expected a value after it", name));
      continue;
    }
    std::string value = has_value ? std::string(rest) : arguments[++i];
    if (const auto problem = value_problem(*flag, value); !problem.empty())
      problems.push_back(fmt::format("--{}: {}", name, problem));
    else line.settings.push_back({flag, std::move(value)});
  }
  return line;
}

Config load_config(std::span<const std::string> arguments, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings) {
  Config config;
  config.command_line = parse_command_line(arguments, problems, warnings);
  config.options.declare(all_flags());
  const auto apply = [&](const Setting& s) {
    if (s.flag->type == FlagType::list) config.options.append(s.flag->name, s.value);
    else config.options.set(s.flag->name, s.value);
  };
  for (const auto& s : config.command_line.settings) apply(s);
  const std::string path(config.options.text("config.file"));
  if (path.empty()) return config;

  config.file = read_config_file(path, problems);
  std::erase_if(config.file.settings, [&](const Setting& s) {
    return std::ranges::find(config.command_line.settings, s.flag, &Setting::flag) !=
           config.command_line.settings.end();
  });
  for (const auto& s : config.file.settings) apply(s);
  return config;
}

}  // namespace vitald
