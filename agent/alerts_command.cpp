// SPDX-License-Identifier: Apache-2.0
#include "agent/alerts_command.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "agent/asking.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/text/scan.h"
#include "rules/promql/labels.h"
#include "rules/promql/lexer.h"
#include "rules/silences.h"

namespace vitald {

namespace {

using namespace asking;

// Whoever logged in, behind sudo as well.
std::string own_name() {
  if (const char* name = std::getenv("SUDO_USER"); name && *name) return name;
  const auto* user = getpwuid(getuid());
  return user ? user->pw_name : fmt::format("uid {}", getuid());
}

json alerts_of(Server& server, const std::string& query = {}) {
  auto answer = server.ask("GET", "/api/v1/alerts" + query);
  if (!answer.is_object() || !answer.contains("data")) give_up("the answer is none of vitald");
  return answer["data"]["alerts"];
}

// X,severity=critical: without quotes nobody can tell whether the value ends at the comma.
bool has_another_matcher(std::string_view value) {
  for (auto comma = value.find(','); comma != value.npos; comma = value.find(',', comma + 1)) {
    auto rest = trim(value.substr(comma + 1));
    const auto at = rest.find_first_of("=~!");
    if (at == rest.npos || rest[at] == '~') continue;
    if (rest[at] == '!' && (at + 1 == rest.size() || (rest[at + 1] != '=' && rest[at + 1] != '~'))) continue;
    if (promql::valid_label_name(trim(rest.substr(0, at)))) return true;
  }
  return false;
}

// severity=critical, 'device=~sd.*', DiskFull: a word without an operator is a name of alerts, as in amtool.
Matchers matchers_of(const std::string& word) {
  const auto at = word.find_first_of("=~!");
  auto parsed = parse_alert_matchers(at == std::string::npos ? "alertname=" + promql::quoted(word) : word);
  if (!parsed && at != std::string::npos && word.find_first_of("\"'`") == std::string::npos) {  // the shell took them
    const auto end = word.find_first_not_of("=~!", at);
    const auto split = end == std::string::npos ? word.size() : end;
    if (has_another_matcher(std::string_view(word).substr(split)))
      give_up(
          fmt::format("'{}' may be one matcher or several: write several as words of their own (alertname=X "
                      "severity=critical), and a value that has a comma in quotes ('{}{}')",
                      word, word.substr(0, split), promql::quoted(word.substr(split))));
    parsed = parse_alert_matchers(word.substr(0, split) + promql::quoted(word.substr(split)));
  }
  if (!parsed) give_up(parsed.error().text);
  return std::move(*parsed);
}

// All but what has a column of its own.
std::string labels_text(const json& labels) {
  std::string out;
  for (const auto& [name, value] : labels.items()) {
    if (name == "alertname" || name == "severity" || name == "job" || name == "instance" || !value.is_string())
      continue;
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", name, value.get<std::string>());
  }
  return log::one_line(out);
}

void list(Server& server, const Words& words, std::ostream& out) {
  std::string query;
  const auto add = [&query](std::string_view name, std::string_view value) {
    query += fmt::format("{}{}={}", query.empty() ? '?' : '&', name, url_escaped(value));
  };
  for (const auto* name : {"severity", "acknowledged", "silenced", "inhibited", "state"})
    if (const auto value = words.get(name); !value.empty()) add(name, value);
  for (std::size_t i = 1; i < words.plain.size(); ++i) add("filter", matchers_text(matchers_of(words.plain[i])));
  const auto alerts = alerts_of(server, query);
  if (words.given.contains("json")) {
    out << alerts.dump(2) << '\n';
    return;
  }
  if (alerts.empty()) {
    out << "no alerts\n";
    return;
  }
  std::vector<std::vector<std::string>> rows{{"ID", "STATE", "SEVERITY", "ALERT", "SINCE", "VALUE", "WHO", "WHERE"}};
  for (const auto& a : alerts) {
    std::string who;
    if (const auto ack = a.find("acknowledgement"); ack != a.end()) who = "acknowledged by " + text_at(*ack, "by");
    if (!a["silencedBy"].empty()) who += who.empty() ? "silenced" : ", silenced";
    if (!a["inhibitedBy"].empty()) who += who.empty() ? "inhibited" : ", inhibited";
    const auto fired = text_at(a, "firedAt");
    rows.push_back({text_at(a, "fingerprint"), text_at(a, "state"), text_at(a, "severity"),
                    log::one_line(text_at(a["labels"], "alertname")), fired.empty() ? text_at(a, "activeAt") : fired,
                    a["current_value"].is_number() ? a["current_value"].dump() : text_at(a, "value"),
                    log::one_line(who), labels_text(a["labels"])});
  }
  print_table(out, rows);
}

// The one alert that is meant by its fingerprint or uuid, the beginning of one, or its name: its fingerprint, or what
// else is asked for.
std::string find_alert(Server& server, std::string_view wanted, const char* member = "fingerprint") {
  if (wanted.empty()) give_up("an alert without a name, expected its ID as `vitald alerts` lists it");
  std::vector<std::string> found;
  for (const auto& a : alerts_of(server))
    if (text_at(a, "fingerprint").starts_with(wanted) || text_at(a, "uuid").starts_with(wanted) ||
        text_at(a["labels"], "alertname") == wanted)
      found.push_back(text_at(a, member));
  if (found.empty()) give_up(fmt::format("no pending or firing alert is '{}'; `vitald alerts` lists them", wanted));
  if (found.size() > 1)
    give_up(
        fmt::format("{} alerts are '{}', expected one: say its ID as `vitald alerts` lists it", found.size(), wanted));
  return found.front();
}

void acknowledge(Server& server, const Words& words, std::ostream& out) {
  for (std::size_t i = 1; i < words.plain.size(); ++i) {
    const auto id = find_alert(server, words.plain[i]);
    json body{{"by", words.given.contains("by") ? words.get("by") : own_name()}, {"comment", words.get("comment")}};
    for (const auto* name : {"until", "duration"})
      if (words.given.contains(name)) body[name] = words.get(name);
    server.ask("POST", fmt::format("/api/v1/alerts/{}/acknowledgement", id), body);
    out << fmt::format("{} acknowledged\n", id);
  }
}

// What was written down when it fired.
void evidence(Server& server, const Words& words, std::ostream& out) {
  for (std::size_t i = 1; i < words.plain.size(); ++i) {
    // Also of one that is over: by its whole uuid or fingerprint, as messages and events have it.
    const auto& word = words.plain[i];
    const bool whole =
        (word.size() == 16 || word.size() == 36) && word.find_first_not_of("0123456789abcdef-") == word.npos;
    const auto answer =
        server.ask("GET", fmt::format("/api/v1/alerts/{}/evidence", whole ? word : find_alert(server, word, "uuid")));
    out << answer.at("data").dump(2) << '\n';
  }
}

void withdraw(Server& server, const Words& words, std::ostream& out) {
  for (std::size_t i = 1; i < words.plain.size(); ++i) {
    const auto id = find_alert(server, words.plain[i]);
    server.ask("DELETE", fmt::format("/api/v1/alerts/{}/acknowledgement", id));
    out << fmt::format("{} is nobody's any more\n", id);
  }
}

std::string time_text(std::int64_t epoch_s) {
  const std::time_t seconds = epoch_s;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm)};
}

void silence(Server& server, const Words& words, std::ostream& out) {
  json matchers = json::array();
  for (std::size_t i = 1; i < words.plain.size(); ++i)
    for (const auto& m : matchers_of(words.plain[i])) {
      using enum promql::MatchOp;
      matchers.push_back({{"name", m.name},
                          {"value", m.value},
                          {"isRegex", m.op == regex || m.op == not_regex},
                          {"isEqual", m.op == equal || m.op == regex}});
    }
  const auto duration = words.given.contains("duration") ? words.get("duration") : "1h";
  const auto ns = parse_duration_ns(duration);
  if (promql::parse_duration_ms(duration) == promql::kTooLong)
    give_up(fmt::format("--duration: '{}' is longer than 292 years, which is the longest", duration));
  if (!ns || *ns <= 0) give_up(fmt::format("--duration: '{}' is not a duration; write e.g. 30m, 2h, 1d", duration));
  const auto now_s = SystemClock::read(CLOCK_REALTIME) / 1'000'000'000;
  json body{{"matchers", matchers},
            {"endsAt", words.given.contains("until") ? words.get("until") : time_text(now_s + *ns / 1'000'000'000)},
            {"createdBy", words.given.contains("by") ? words.get("by") : own_name()},
            {"comment", words.get("comment")}};
  const auto answer = server.ask("POST", "/api/v2/silences", body);
  out << text_at(answer, "silenceID") << '\n';
  if (answer.contains("warnings") && answer["warnings"].is_array())
    for (const auto& warning : answer["warnings"])
      if (warning.is_string()) log::say(fmt::format("warning: {}\n", warning.get<std::string>()));
}

void silences(Server& server, const Words& words, std::ostream& out) {
  const auto all = server.ask("GET", "/api/v2/silences");
  if (words.given.contains("json")) {
    out << all.dump(2) << '\n';
    return;
  }
  std::vector<std::vector<std::string>> rows{{"ID", "STATE", "UNTIL", "BY", "MATCHERS", "COMMENT"}};
  for (const auto& s : all) {
    const auto state = text_at(s["status"], "state");
    if (state == "expired" && !words.given.contains("all")) continue;
    std::string matchers;
    for (const auto& m : s["matchers"]) {
      const bool equal = m.value("isEqual", true), regex = m.value("isRegex", false);
      matchers += fmt::format("{}{}{}\"{}\"", matchers.empty() ? "" : ",", text_at(m, "name"),
                              equal ? (regex ? "=~" : "=") : (regex ? "!~" : "!="), text_at(m, "value"));
    }
    rows.push_back({text_at(s, "id"), state, text_at(s, "endsAt"), log::one_line(text_at(s, "createdBy")),
                    log::one_line(matchers), log::one_line(text_at(s, "comment"))});
  }
  if (rows.size() == 1) out << "no silences\n";
  else print_table(out, rows);
}

// The one silence that has not ended and whose ID begins so.
std::string find_silence(const json& all, std::string_view wanted) {
  if (wanted.empty()) give_up("a silence without an ID, expected one as `vitald alerts silences` lists it");
  std::vector<std::string> found;
  for (const auto& s : all)
    if (text_at(s, "id").starts_with(wanted) && text_at(s["status"], "state") != "expired")
      found.push_back(text_at(s, "id"));
  if (found.empty()) give_up(fmt::format("no silence is '{}'; `vitald alerts silences` lists them", wanted));
  if (found.size() > 1)
    give_up(fmt::format("{} silences begin with '{}', expected one: say more of its ID", found.size(), wanted));
  return found.front();
}

void unsilence(Server& server, const Words& words, std::ostream& out) {
  const auto all = server.ask("GET", "/api/v2/silences");
  for (std::size_t i = 1; i < words.plain.size(); ++i) {
    const auto id = find_silence(all, words.plain[i]);
    server.ask("DELETE", "/api/v2/silence/" + url_escaped(id));
    out << fmt::format("{} has ended\n", id);
  }
}

// How telling goes, and below each command what it said.
void receivers(Server& server, const Words& words, std::ostream& out) {
  const auto answer = server.ask("GET", "/api/v1/receivers");
  if (!answer.is_object() || !answer.contains("data")) give_up("the answer is none of vitald");
  const auto& all = answer["data"];
  if (words.given.contains("json")) {
    out << all.dump(2) << '\n';
    return;
  }
  if (all.empty()) {
    out << "no receivers\n";
    return;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "WAITING", "DELIVERED", "DROPPED", "WHAT"}};
  for (const auto& r : all)
    rows.push_back({text_at(r, "name"),
                    r.value("failing", false)       ? "failing"
                    : text_at(r, "problem").empty() ? "ok"
                    : r.at("runs").empty()          ? "refused"  // a part of it
                                                    : "failed",           // the command
                    r.at("waiting").dump(), r.at("delivered").dump(), r.at("dropped").dump(),
                    log::one_line(text_at(r, "text"))});
  print_table(out, rows);
  for (const auto& r : all) {
    if (const auto problem = text_at(r, "problem"); !problem.empty())
      out << fmt::format("{}: {}\n", text_at(r, "name"), log::one_line(problem));
    for (const auto& run : r.at("runs")) {
      const auto end = text_at(run, "end");
      out << fmt::format("{}: {} {} {}: {}{}{} after {:.3g} s\n", text_at(r, "name"), text_at(run, "at"),
                         text_at(run, "status"), log::one_line(text_at(run, "alert")), text_at(run, "result"),
                         end.empty() ? "" : ", ", end, run.at("seconds").get<double>());
      const auto said = text_at(run, "output");
      for (std::string_view rest = said; !rest.empty();) out << fmt::format("  | {}\n", log::one_line(take_line(rest)));
    }
  }
}

struct Verb {
  std::string_view name;
  std::size_t least = 0;                // words behind it
  std::vector<std::string_view> flags;  // beside those of the server
  void (*run)(Server&, const Words&, std::ostream&) = nullptr;
};

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kVerbs = {
      {"list", 0, {"severity", "acknowledged", "silenced", "inhibited", "state", "json"}, list},
      {"ack", 1, {"comment", "duration", "until", "by"}, acknowledge},
      {"unack", 1, {}, withdraw},
      {"evidence", 1, {}, evidence},
      {"receivers", 0, {"json"}, receivers},
      {"silence", 1, {"comment", "duration", "until", "by"}, silence},
      {"silences", 0, {"all", "json"}, silences},
      {"unsilence", 1, {}, unsilence},
  };
  return kVerbs;
}

// What of the flags is another verb's; empty: nothing.
std::string flag_problem(const Verb& verb, const Words& words) {
  for (const auto& [name, value] : words.given) {
    if (std::ranges::find(kServerFlags, name) != std::end(kServerFlags) ||
        std::ranges::find(verb.flags, name) != verb.flags.end())
      continue;
    std::vector<std::string_view> of;
    for (const auto& v : verbs())
      if (std::ranges::find(v.flags, name) != v.flags.end()) of.push_back(v.name);
    return of.empty() ? fmt::format("--{} is no flag of it", name)
                      : fmt::format("--{} is for {}, not for '{}'", name, fmt::join(of, " and "), verb.name);
  }
  if (words.given.contains("until") && words.given.contains("duration"))
    return "--until and --duration: expected one of them";
  return {};
}

}  // namespace

std::string_view alerts_help() {
  return "usage: vitald alerts [--severity=S] [--state=pending|firing] [--[no-]acknowledged] [--[no-]silenced]\n"
         "                     [--[no-]inhibited] [--json]\n"
         "       vitald alerts list [MATCHER...], with the same flags\n"
         "       vitald alerts ack ID... [--comment=WHY] [--duration=2h | --until=TIME] [--by=WHO]\n"
         "       vitald alerts unack ID...\n"
         "       vitald alerts evidence ID...\n"
         "       vitald alerts receivers [--json]\n"
         "       vitald alerts silence MATCHER... [--duration=1h | --until=TIME] [--comment=WHY] [--by=WHO]\n"
         "       vitald alerts silences [--all] [--json]\n"
         "       vitald alerts unsilence ID...\n"
         "An ID is that of the list, the beginning of it, or the alert's name where there is one of it. A MATCHER is\n"
         "severity=critical, device=~sd.*, or the alert's name; all of them must fit. Which vitald is asked:\n"
         "--url=http://HOST:PORT, else the first --web.listen-address, which --config.file=FILE may hold; --user,\n"
         "--password-file and --ca-file where it wants them.\n";
}

int run_alerts(const Config& config, std::ostream& out) {
  const auto words = words_of(config.command_line.words);
  const auto name = words.plain.empty() ? std::string("list") : words.plain.front();
  const auto verb = std::ranges::find(verbs(), name, &Verb::name);
  std::string problem;
  if (verb == verbs().end()) problem = fmt::format("'{}' is not known", name);
  else if (words.plain.size() < verb->least + (words.plain.empty() ? 0 : 1)) problem = name + ": of which one?";
  else problem = flag_problem(*verb, words);
  if (!problem.empty()) {
    log::say(fmt::format("vitald: error: alerts: {}\n{}", problem, alerts_help()));
    return 1;
  }
  if (const int failed = run([&] {
        Server server(words, config.options);
        verb->run(server, words, out);
        return 0;
      });
      failed != 0)
    return failed;
  out << std::flush;
  return out ? 0 : 1;
}

}  // namespace vitald
