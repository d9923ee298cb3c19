// SPDX-License-Identifier: Apache-2.0
#include "agent/asking.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <ostream>

#include "agent/http/web_config.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "exporters/deliver/http_receiver.h"

namespace vitald::asking {

namespace {

constexpr std::int64_t kTimeoutNs = 10'000'000'000;

// What others wrote is no deeper than the stack of whoever prints it; ours has five levels.
json parsed(const std::string& text) {
  constexpr int kDeepest = 100;
  bool deep = false;
  auto out = json::parse(
      text,
      [&deep](int depth, json::parse_event_t, json&) {
        deep = deep || depth > kDeepest;
        return !deep;
      },
      false);
  return deep ? json(json::value_t::discarded) : out;
}

// As the web configuration says, where we may read it.
bool speaks_tls(const Options& options) {
  const std::string path(options.text("web.config.file"));
  if (path.empty()) return false;
  constexpr std::size_t kMostBytes = 1 << 20;
  const auto text = read_text_file(path, kMostBytes);
  std::vector<std::string> problems;
  return text && parse_web_config(*text, path, problems).tls.has_value();
}

}  // namespace

void give_up(std::string text) { throw Failed{.text = std::move(text)}; }

Words words_of(const std::vector<std::string>& all) {
  Words out;
  for (std::string_view word : all) {
    if (!take_prefix(word, "--")) {
      out.plain.emplace_back(word);
      continue;
    }
    const auto name = take_until(word, '=');
    out.given[std::string(name)] = word;
  }
  return out;
}

struct Server::Impl {
  std::string url;
  HttpAccess access;
  HttpClient client;
  std::optional<Attempt> limit;
};

Server::Server(const Words& words, const Options& options) : impl_(std::make_unique<Impl>()) {
  auto& url = impl_->url;
  url = words.get("url");
  if (url.empty()) {
    const auto& addresses = options.list("web.listen-address");
    std::string address = addresses.empty() ? ":9100" : addresses.front();
    for (const std::string_view any : {"0.0.0.0:", "[::]:"})
      if (address.starts_with(any)) address.erase(0, any.size() - 1);
    url = fmt::format("{}://{}{}", speaks_tls(options) ? "https" : "http", address.starts_with(':') ? "127.0.0.1" : "",
                      address);
  }
  while (url.ends_with('/')) url.pop_back();
  if (const auto problem = url_problem(url); !problem.empty()) give_up("--url: " + problem);
  HttpSettings settings;
  settings.username = words.get("user");
  settings.password_file = words.get("password-file");
  settings.ca_file = words.get("ca-file");
  auto access = settings.access();
  if (!access) give_up(access.error().text);
  impl_->access = std::move(*access);
}

Server::~Server() = default;

const std::string& Server::url() const { return impl_->url; }

void Server::limit(const Attempt& attempt) { impl_->limit = attempt; }

json Server::ask(const char* method, std::string_view path, const json& body) {
  HttpRequest request{method, impl_->url + std::string(path), {}, {}};
  if (!body.is_null()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = body.dump();
  }
  const auto response = impl_->client.send(
      request, impl_->access, impl_->limit.value_or(Attempt{SystemClock::read(CLOCK_BOOTTIME) + kTimeoutNs, -1}));
  if (!response)
    give_up(fmt::format("{}; is vitald running there? --url=http://HOST:PORT says where{}", response.error().text,
                        impl_->url.starts_with("https:") ? ", --ca-file=FILE who signed its certificate"
                                                         : ", https://HOST:PORT where it speaks TLS"));
  if (response->cut) throw Failed{.text = fmt::format("{}: its answer broke off", impl_->url)};
  auto answer = parsed(response->body);
  if (response->status == 200) return answer.is_discarded() ? json() : answer;
  auto why = response->body;
  if (answer.is_object() && answer.contains("error") && answer["error"].is_string()) why = answer["error"];
  else if (answer.is_string()) why = answer;
  why = trim(why);
  throw Failed{
      .text = fmt::format("{}: {} {}", impl_->url, response->status, why), .status = response->status, .why = why};
}

std::string text_at(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

void print_table(std::ostream& out, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i + 1 < row.size() ? fmt::format("{:<{}}  ", row[i], widths[i]) : row[i];
    while (line.ends_with(' ')) line.pop_back();
    out << line << '\n';
  }
}

std::string url_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

int run(const std::function<int()>& work) {
  try {
    return work();
  } catch (const Failed& failed) {
    log::say(fmt::format("vitald: error: {}\n", failed.text));
  } catch (const json::exception& e) {
    log::say(fmt::format("vitald: error: the answer is none of vitald: {}\n", e.what()));
  }
  return 1;
}

}  // namespace vitald::asking
