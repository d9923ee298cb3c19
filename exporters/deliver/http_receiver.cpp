// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/http_receiver.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {

Result<std::string> secret_of(std::string_view key, const std::string& file, const std::string& variable) {
  constexpr std::size_t kMost = 64 * 1024;
  if (!file.empty()) {
    auto text = read_text_file(file, kMost);
    if (!text) return fail(text.error().kind, fmt::format("{}_file: {}", key, text.error().text), text.error().err);
    return std::string(trim(*text));
  }
  if (variable.empty()) return std::string();
  const char* value = std::getenv(variable.c_str());
  if (!value) return fail(Errc::absent, fmt::format("{}_env: the variable {} is not set", key, variable));
  return std::string(trim(value));
}

Result<HttpAccess> HttpSettings::access() const {
  HttpAccess out;
  auto password = secret_of("password", password_file, password_env);
  if (!password) return fail(std::move(password.error()));
  auto bearer = secret_of("bearer_token", bearer_token_file, bearer_token_env);
  if (!bearer) return fail(std::move(bearer.error()));
  out.user = username;
  out.password = std::move(*password);
  out.bearer = std::move(*bearer);
  out.ca_file = ca_file;
  out.cert_file = cert_file;
  out.key_file = key_file;
  out.server_name = server_name;
  out.skip_verify = tls_skip_verify;
  out.proxy = proxy_url;
  return out;
}

std::vector<std::string> HttpSettings::problems() const {
  std::vector<std::string> out;
  if (username.empty() && (!password_file.empty() || !password_env.empty()))
    out.emplace_back("a password without 'username', expected both");
  if (!username.empty() && (!bearer_token_file.empty() || !bearer_token_env.empty()))
    out.emplace_back("both 'username' and a bearer token, expected one of them");
  if (cert_file.empty() != key_file.empty()) out.emplace_back("expected both 'cert_file' and 'key_file' or none");
  if (const auto found = access(); !found) out.push_back(found.error().text);
  if (!proxy_url.empty())
    if (const auto problem = origin_problem(proxy_url); !problem.empty()) out.push_back("proxy_url: " + problem);
  for (const auto& origin : standby)
    if (const auto problem = origin_problem(origin); !problem.empty()) out.push_back("standby: " + problem);
  for (const auto& [key, file] : {std::pair{"ca_file", &ca_file}, {"cert_file", &cert_file}, {"key_file", &key_file}})
    if (!file->empty())
      if (const auto text = read_text_file(*file, 1 << 20); !text)
        out.push_back(fmt::format("{}: {}", key, text.error().text));
  return out;
}

namespace {

// What one server says, and whether it is away: silent, or with trouble of its own, so that a standby stands in.
struct Reached {
  Result<std::string> answer;
  bool away = false;
};

Reached reach_one(const HttpRequest& request, const HttpSettings& settings, const Attempt& attempt,
                  const JudgeAnswer& judge, const std::string& shown) {
  const auto access = settings.access();
  if (!access) return {fail(access.error())};
  HttpClient client;
  const auto response = client.send(request, *access, attempt);
  if (!response) return {fail(response.error()), true};
  auto text =
      fmt::format("{} answers {}", shown.empty() ? url_for_display(request.url) : shown, status_text(*response));
  if (response->status == 401 || response->status == 403 || response->status == 407)
    return {fail(Errc::denied, text + ": user, password or token are not those that it wants")};
  if (response->status < 200 || (response->status >= 300 && response->status < 400))
    return {
        fail(Errc::malformed, text + ": it sends us elsewhere, which is not followed; give the URL of where it is")};
  // Many know only POST, and fail at a HEAD by 500 or 501: of what they take that says nothing. What stands before a
  // server that is gone says so to any method.
  const auto status = response->status;
  const bool away = request.method == "HEAD" ? status >= 502 && status <= 504 : status >= 500;
  if (away) return {fail(Errc::io, text + ": it is there, and cannot take anything now"), true};
  return {judge ? judge(*response, std::move(text)) : text};
}

}  // namespace

// As a push goes about it: the first that is not away is the one that gets all, and whether it takes it decides.
Result<std::string> reach_of(const HttpRequest& request, const HttpSettings& settings, const Attempt& attempt,
                             const JudgeAnswer& judge, const std::string& shown) {
  if (settings.standby.empty()) return reach_one(request, settings, attempt, judge, shown).answer;
  const auto servers = settings.standby.size() + 1;
  std::string words;
  std::optional<Error> problem;  // of the one that decides, or of the first, where all are away
  bool decided = false;
  for (std::size_t server = 0; server < servers; ++server) {
    auto there = request;
    if (server != 0) there.url = url_at(request.url, settings.standby[server - 1]);
    // One that is silent leaves the others their time.
    auto share = attempt;
    const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
    share.deadline_boot_ns = now_ns + (attempt.deadline_boot_ns - now_ns) / static_cast<std::int64_t>(servers - server);
    const auto found = reach_one(there, settings, share, judge, server == 0 ? shown : std::string());
    const auto& text = found.answer ? *found.answer : found.answer.error().text;
    const bool bad = !found.answer || found.away;
    words += server == 0 ? text : fmt::format("; {}standby: {}", bad ? "but the " : "", text);
    if (decided) continue;
    if (!found.away) {
      decided = true;
      problem.reset();
      if (!found.answer) problem = found.answer.error();
    } else if (!problem) {
      problem = found.answer ? Error{Errc::io, 0, text} : found.answer.error();
    }
  }
  if (!problem) return words;
  return fail(problem->kind, std::move(words), problem->err);
}

std::string status_text(const HttpResponse& response) {
  auto words = trim(response.body);
  constexpr std::size_t kMost = 200;
  if (words.size() > kMost) words = words.substr(0, kMost);
  return fmt::format("{}{}{}", response.status, words.empty() ? "" : ": ", log::one_line(std::string(words)));
}

}  // namespace vitald
