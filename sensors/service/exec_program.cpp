// SPDX-License-Identifier: Apache-2.0
#include "sensors/service/exec_program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "core/options.h"
#include "core/os/program.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 100 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

// Words with blanks between; one in double quotes may have blanks, and \" and \\ in it. A quote elsewhere is refused: a
// shell would join `--a="b c"`, and whoever writes that means so.
Result<std::vector<std::string>> words_of(std::string_view text) {
  const auto wrong = [](std::string what) { return fail(Errc::malformed, std::move(what)); };
  std::vector<std::string> out;
  for (;;) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    if (text.empty()) return out;
    auto& word = out.emplace_back();
    if (text.front() != '"') {
      const auto end = std::min(text.find_first_of(" \t"), text.size());
      word = text.substr(0, end);
      if (word.find('"') != word.npos)
        return wrong(fmt::format("'{}' found, a quote within a word: quote the whole word, \"--a=b c\"", word));
      text.remove_prefix(end);
      continue;
    }
    text.remove_prefix(1);
    for (;;) {
      if (text.empty()) return wrong("a quote that has no end");
      const char c = text.front();
      text.remove_prefix(1);
      if (c == '"') break;
      if (c == '\\' && !text.empty()) {
        word += text.front();
        text.remove_prefix(1);
      } else {
        word += c;
      }
    }
    if (!text.empty() && !is_blank(text.front()))
      return wrong(fmt::format("'{}' found right after a quote's end: quote the whole word, \"--a=b c\"", text));
  }
}

bool needs_quotes(std::string_view word) { return word.empty() || word.find_first_of(" \t\"") != word.npos; }

}  // namespace

Result<ExecProgram> parse_exec(std::string_view line) {
  const auto wrong = [](std::string text) { return fail(Errc::malformed, std::move(text)); };
  const auto colon = line.find(": ");
  if (colon == line.npos)
    return wrong(fmt::format("'{}' found, expected NAME every 1m timeout 10s user USER: /PROGRAM ARGUMENTS", line));
  ExecProgram out;
  auto head = line.substr(0, colon);
  out.name = take_word(head);
  if (!is_name(out.name))
    return wrong(fmt::format("name '{}' found, expected letters, digits, '_', '-' or '.'", out.name));
  for (auto key = take_word(head); !key.empty(); key = take_word(head)) {
    const auto value = take_word(head);
    const auto duration = [&](std::int64_t& into, std::int64_t least, std::int64_t most) -> std::string {
      const auto ns = parse_duration_ns(value);
      if (!ns || *ns < least || *ns > most)
        return fmt::format("{}: {} '{}' found, expected a duration from {} to {}", out.name, key, value,
                           duration_text(least), duration_text(most));
      into = *ns;
      return {};
    };
    std::string problem;
    if (key == "every") problem = duration(out.every_ns, 1'000 * kMs, 86'400'000 * kMs);
    else if (key == "timeout") problem = duration(out.timeout_ns, 10 * kMs, 3'600'000 * kMs);
    else if (key == "user" && !value.empty()) out.user = value;
    else if (key == "series" && parse_u64(value).value_or(0) > 0) out.max_series = *parse_u64(value);
    else
      problem = fmt::format("{}: '{} {}' found, expected every, timeout, user or series with its value", out.name, key,
                            value);
    if (!problem.empty()) return wrong(std::move(problem));
  }
  auto command = words_of(line.substr(colon + 2));
  if (!command) return wrong(fmt::format("{}: {}", out.name, command.error().text));
  if (command->empty() || !command->front().starts_with('/'))
    return wrong(fmt::format("{}: '{}' found, expected a program by its absolute path", out.name,
                             command->empty() ? std::string() : command->front()));
  out.command = std::move(*command);
  return out;
}

std::string exec_line(const ExecProgram& p) {
  auto out = fmt::format("{} every {} timeout {}", p.name, duration_text(p.every_ns), duration_text(p.timeout_ns));
  if (!p.user.empty()) out += " user " + p.user;
  out += fmt::format(" series {}:", p.max_series);
  for (const auto& word : p.command) {
    out += ' ';
    if (!needs_quotes(word)) {
      out += word;
      continue;
    }
    out += '"';
    for (const char c : word) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out;
}

std::vector<std::string> exec_problems(const ExecProgram& program) {
  std::vector<std::string> out;
  const auto as = program_user(program.user);
  // Who names root has what root may.
  const bool with_all = !as || (!program.user.empty() && as->id.uid == geteuid());
  auto problem = with_all ? program_problem(program.command.at(0)) : program_problem(program.command.at(0), *as);
  if (!problem.empty()) out.push_back(std::move(problem));
  if (!as) out.push_back(as.error().text);
  return out;
}

}  // namespace vitald
