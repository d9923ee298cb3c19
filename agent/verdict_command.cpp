// SPDX-License-Identifier: Apache-2.0
#include "agent/verdict_command.h"

#include <fmt/format.h>

#include <cmath>
#include <ostream>

#include "core/log.h"
#include "core/log_output.h"
#include "core/text/utf8.h"

namespace vitald {

namespace {

using namespace asking;

// 0.93, 1520, 6.4e+10: as much as a person reads.
std::string number_text(const json& value) {
  if (!value.is_number()) return "?";
  const auto v = value.get<double>();
  return std::fabs(v) >= 1000 && std::fabs(v) < 1e7 ? fmt::format("{:.0f}", v) : fmt::format("{:.3g}", v);
}

// web.service, sda, coretemp temp1; the host itself has no name here.
std::string object_text(const json& object) {
  for (const auto* name : {"guest", "domain", "owner"})
    if (const auto text = text_at(object, name); !text.empty()) return text;
  std::string out;
  for (const auto& [name, value] : object.items())
    if (value.is_string() && name != "fstype") out += (out.empty() ? "" : " ") + value.get<std::string>();
  return out.empty() ? "host" : out;
}

std::string culprit_text(const json& labels) {
  const auto culprit = text_at(labels, "culprit");
  return culprit.empty() ? object_text(labels) : culprit;
}

std::string numbers_text(const json& numbers) {
  std::string out;
  for (const auto& n : numbers)
    if (n.contains("value"))
      out += fmt::format("{}{} {} {} {}", out.empty() ? "" : ", ", text_at(n, "what"), number_text(n["value"]),
                         text_at(n, "op"), number_text(n["threshold"]));
  return out;
}

std::string cut(std::string line, std::size_t width) {
  line = log::one_line(line);
  if (width == 0 || line.size() <= width) return line;
  line.resize(width);
  while (!line.empty() && !is_valid_utf8(line)) line.pop_back();  // half a character
  return line;
}

}  // namespace

std::vector<std::string> verdict_lines(const json& data, bool with_all, std::size_t width) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& line) { out.push_back(cut(line, width)); };
  for (const auto& b : data.at("bad")) {
    add(fmt::format("{} {}: {}; since {}{}", text_at(b, "verdict"), object_text(b.at("object")), text_at(b, "says"),
                    b.value("since_at_least", false) ? "before " : "", text_at(b, "since")));
    add("  " + numbers_text(b.at("numbers")));
    std::string who;
    if (b.contains("who"))
      for (const auto& w : b["who"])
        who += fmt::format("{}{} ({})", who.empty() ? "  who: " : ", ", culprit_text(w.at("labels")),
                           number_text(w["value"]));
    if (!who.empty()) add(who);
  }
  for (const auto& c : data.at("checked")) {
    const auto state = text_at(c, "state");
    if (!with_all || state == "bad") continue;
    auto line = fmt::format("{} {}", state, text_at(c, "rule"));
    if (c.contains("numbers")) line += fmt::format(": {} {}", object_text(c.at("object")), numbers_text(c["numbers"]));
    if (const auto why = text_at(c, "why"); !why.empty()) line += ": " + why;
    add(line);
  }
  return out;
}

std::string_view verdict_help() {
  return "usage: vitald verdict [--all] [--json] [--scope=host|owner|guest] [--owner=NAME] [--guest=NAME]\n"
         "                      [--window=1m]\n"
         "What is wrong with this host, since when, by which numbers, and who may cause it. --all: what is well and "
         "what\n"
         "nobody knows as well. Exit status: 0 all is well, 2 something is wrong, 3 nobody knows, 1 no answer.\n"
         "Which vitald is asked: --url=http://HOST:PORT, else the first --web.listen-address; --user, --password-file\n"
         "and --ca-file where it wants them.\n";
}

int run_verdict(const Config& config, std::ostream& out) {
  const auto words = words_of(config.command_line.words);
  if (!words.plain.empty()) {
    log::say(fmt::format("vitald: error: verdict: unexpected '{}'\n{}", words.plain.front(), verdict_help()));
    return 1;
  }
  return run([&] {
    Server server(words, config.options);
    std::string query;
    for (const auto* name : {"scope", "owner", "guest", "window"})
      if (const auto value = words.get(name); !value.empty())
        query += fmt::format("{}{}={}", query.empty() ? '?' : '&', name, url_escaped(value));
    const auto data = server.ask("GET", "/api/v1/verdict" + query).at("data");
    const auto state = text_at(data, "state");
    if (words.given.contains("json")) {
      out << data.dump(2) << '\n';
    } else {
      out << state << '\n';
      for (const auto& line : verdict_lines(data, words.given.contains("all"))) out << line << '\n';
    }
    out << std::flush;
    if (!out) return 1;
    return state == "bad" ? 2 : state == "ok" ? 0 : 3;
  });
}

}  // namespace vitald
