// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/http.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <ctime>

#include "core/clock.h"
#include "core/text/scan.h"
#include "exporters/deliver/name_lookup.h"

namespace vitald {

namespace {

constexpr std::int64_t kMs = 1'000'000, kSecond = 1'000 * kMs;
constexpr std::int64_t kLongestWishSeconds = 1'000'000;

// What is used of libcurl; its headers are for the types.
struct Curl {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_reset) easy_reset = nullptr;
  decltype(&curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_setopt) easy_setopt = nullptr;
  decltype(&::curl_easy_getinfo) easy_getinfo = nullptr;
  decltype(&curl_easy_strerror) easy_strerror = nullptr;
  decltype(&curl_slist_append) slist_append = nullptr;
  decltype(&curl_slist_free_all) slist_free_all = nullptr;
  decltype(&curl_multi_init) multi_init = nullptr;
  decltype(&curl_multi_cleanup) multi_cleanup = nullptr;
  decltype(&curl_multi_add_handle) multi_add_handle = nullptr;
  decltype(&curl_multi_remove_handle) multi_remove_handle = nullptr;
  decltype(&curl_multi_perform) multi_perform = nullptr;
  decltype(&curl_multi_poll) multi_poll = nullptr;
  decltype(&curl_multi_info_read) multi_info_read = nullptr;
  std::string problem;  // it cannot be had
};

Curl open_curl() {
  Curl c;
  void* handle = nullptr;
  // The second one brings another TLS library than the one we have.
  for (const auto* name : {"libcurl-gnutls.so.4", "libcurl.so.4"})
    if (!handle) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    c.problem = "no libcurl on this machine: install libcurl3-gnutls";
    return c;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function && c.problem.empty()) c.problem = fmt::format("libcurl is too old: it has no {}", name);
  };
  find(c.global_init, "curl_global_init");
  find(c.easy_init, "curl_easy_init");
  find(c.easy_reset, "curl_easy_reset");
  find(c.easy_cleanup, "curl_easy_cleanup");
  find(c.easy_setopt, "curl_easy_setopt");
  find(c.easy_getinfo, "curl_easy_getinfo");
  find(c.easy_strerror, "curl_easy_strerror");
  find(c.slist_append, "curl_slist_append");
  find(c.slist_free_all, "curl_slist_free_all");
  find(c.multi_init, "curl_multi_init");
  find(c.multi_cleanup, "curl_multi_cleanup");
  find(c.multi_add_handle, "curl_multi_add_handle");
  find(c.multi_remove_handle, "curl_multi_remove_handle");
  find(c.multi_perform, "curl_multi_perform");
  find(c.multi_poll, "curl_multi_poll");
  find(c.multi_info_read, "curl_multi_info_read");
  if (c.problem.empty() && c.global_init(CURL_GLOBAL_DEFAULT) != 0) c.problem = "libcurl: no memory";
  return c;
}

// Opened once, by whoever needs it first; the others wait.
const Curl& curl() {
  static const Curl library = open_curl();
  return library;
}

// scheme, user:password, host, port, the rest
struct UrlParts {
  std::string_view scheme, user, host, port, rest;
};
UrlParts parts_of_url(std::string_view url) {
  UrlParts p;
  const auto colon = url.find("://");
  if (colon == url.npos) return p;
  p.scheme = url.substr(0, colon);
  url.remove_prefix(colon + 3);
  const auto slash = std::min(url.find_first_of("/?#"), url.size());
  p.rest = url.substr(slash);
  auto authority = url.substr(0, slash);
  if (const auto at = authority.rfind('@'); at != authority.npos) {
    p.user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  const auto bracket = authority.starts_with('[') ? authority.find(']') : 0;
  const auto port = bracket == authority.npos ? authority.npos : authority.find(':', bracket);
  p.host = authority.substr(0, port);
  if (port != authority.npos) p.port = authority.substr(port + 1);
  return p;
}
std::string port_of(const UrlParts& p) {
  return !p.port.empty() ? std::string(p.port) : p.scheme == "https" ? "443" : "80";
}
// "[fe80::1%25eth0]": a percent sign in a URL is %25.
std::string without_brackets(std::string_view host) {
  if (!host.starts_with('[')) return std::string(host);
  std::string out(host.substr(1, host.size() - 2));
  if (const auto at = out.find("%25"); at != out.npos) out.erase(at + 1, 2);
  return out;
}

}  // namespace

std::int64_t retry_after_ns(std::string_view value, std::int64_t now_wall_ns) {
  value = trim(value);
  if (const auto seconds = parse_u64(value))
    return static_cast<std::int64_t>(std::min<std::uint64_t>(*seconds, kLongestWishSeconds)) * kSecond;
  std::tm tm{};
  const std::string text(value);
  if (!strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &tm)) return 0;
  const auto seconds = static_cast<std::int64_t>(timegm(&tm)) - now_wall_ns / kSecond;  // a year has up to four digits
  return std::clamp<std::int64_t>(seconds, 0, kLongestWishSeconds) * kSecond;
}

std::string url_for_display(std::string_view url) {
  const auto p = parts_of_url(url);
  // A token may stand in the path or behind it: only where it goes to is shown.
  return fmt::format("{}://{}{}{}", p.scheme, p.host, p.port.empty() ? "" : ":", p.port);
}

std::string url_with_path(std::string_view url) {
  auto out = url_for_display(url);
  url.remove_prefix(std::min(url.size(), url.find("://") == url.npos ? 0 : url.find("://") + 3));
  const auto path = url.find('/');
  if (path == url.npos) return out;
  url = url.substr(path, url.find_first_of("?#") - path);
  while (url.ends_with('/')) url.remove_suffix(1);
  return out += url;
}

std::string url_at(std::string_view url, std::string_view origin) {
  while (origin.ends_with('/')) origin.remove_suffix(1);
  return std::string(origin).append(parts_of_url(url).rest);
}

std::string origin_problem(std::string_view origin) {
  if (auto problem = url_problem(origin); !problem.empty()) return problem;
  if (const auto rest = parts_of_url(origin).rest; !rest.empty() && rest != "/")
    return fmt::format("'{}' has a path, expected http(s)://HOST:PORT only: the path is that of 'url'",
                       url_for_display(origin));
  return {};
}

std::string url_problem(std::string_view url) {
  const auto p = parts_of_url(url);
  if (p.scheme != "http" && p.scheme != "https")
    return fmt::format("'{}' found, expected http://HOST or https://HOST",
                       p.scheme.empty() ? url : url_for_display(url));
  if (p.host.empty()) return "a URL without a host found, expected http://HOST or https://HOST";
  if (!p.user.empty()) return "a password in a URL ends in logs, expected it below basic_auth";
  if (!p.port.empty() && parse_u64(p.port).value_or(65536) > 65535)
    return fmt::format("port '{}' found, expected a number up to 65535", p.port);
  return {};
}

struct HttpClient::Impl {
  CURL* easy = nullptr;
  CURLM* multi = nullptr;

  ~Impl() {
    if (multi) curl().multi_cleanup(multi);
    if (easy) curl().easy_cleanup(easy);
  }
};

namespace {

struct Answer {
  HttpResponse response;
  bool whole_head = false;  // of the last answer that came: 100 and the like come before it
  bool out_of_memory = false;
};

std::size_t take_body(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& answer = *static_cast<Answer*>(to);
  const auto n = size * count;
  try {
    answer.response.body.append(bytes, std::min(n, HttpClient::kMostBody - answer.response.body.size()));
  } catch (const std::bad_alloc&) {
    answer.out_of_memory = true;
    return 0;
  }
  return n;
}

constexpr std::size_t kMostHeaders = 100;

std::size_t take_header(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& answer = *static_cast<Answer*>(to);
  std::string_view line(bytes, size * count);
  if (line.starts_with("HTTP/")) answer.whole_head = false;
  else if (trim(line).empty()) answer.whole_head = true;  // what comes behind a body is a trailer
  const auto name = take_until(line, ':');
  constexpr std::string_view kRetry = "Retry-After";
  if (name.size() == kRetry.size() && strncasecmp(name.data(), kRetry.data(), kRetry.size()) == 0)
    answer.response.retry_after_ns = retry_after_ns(line, SystemClock::read(CLOCK_REALTIME));
  auto& headers = answer.response.headers;
  if (name.empty() || name.starts_with("HTTP/") || headers.size() >= kMostHeaders) return size * count;
  try {
    std::string small(name);
    for (char& c : small) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    headers.emplace_back(std::move(small), trim(line));
  } catch (const std::bad_alloc&) {
    answer.out_of_memory = true;
    return 0;
  }
  return size * count;
}

struct List {
  ~List() {
    if (all) curl().slist_free_all(all);
  }
  void add(const std::string& line) {
    if (auto* longer = curl().slist_append(all, line.c_str())) all = longer;
  }
  curl_slist* all = nullptr;
};

HttpResponse cut(HttpResponse response) {
  response.cut = true;
  return response;
}

}  // namespace

HttpClient::HttpClient() : impl_(std::make_unique<Impl>()) {}
HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::send(const HttpRequest& request, const HttpAccess& access, const Attempt& attempt) {
  const auto& c = curl();
  if (!c.problem.empty()) return fail(Errc::absent, c.problem);
  auto& easy = impl_->easy;
  if (!easy) easy = c.easy_init();
  if (!impl_->multi) impl_->multi = c.multi_init();
  if (!easy || !impl_->multi) return fail(Errc::io, "libcurl: no memory");
  c.easy_reset(easy);  // the connection stays

  const auto where = url_for_display(request.url);
  auto url = request.url;
  List headers, connect_to, resolved;
  // libcurl's own look-up cannot be left while the resolver is silent.
  const auto p = parts_of_url(request.url);
  const auto port = port_of(p);
  // A proxy looks up the others by himself.
  const auto first_hop = access.proxy.empty() ? p : parts_of_url(access.proxy);
  const auto host = ascii_host(std::string(p.host)), hop_host = ascii_host(std::string(first_hop.host));
  for (const auto* name : {&host, &hop_host})
    if (!*name) return fail(name->error().kind, fmt::format("{}: {}", where, name->error().text));
  if (*host != p.host) url = fmt::format("{}://{}:{}{}", p.scheme, *host, port, p.rest);
  const auto hop = without_brackets(*hop_host);
  if (!is_address(hop)) {
    const auto found = look_up(hop, attempt);
    if (!found) return fail(found.error().kind, fmt::format("{}: {}", where, found.error().text));
    std::string all;
    for (const auto& address : *found)
      if (const auto text = address.text(); text.find('%') == text.npos)  // one with a scope and it takes none of them
        all += fmt::format("{}{}", all.empty() ? "" : ",", text);
    if (!all.empty()) resolved.add(fmt::format("{}:{}:{}", hop, port_of(first_hop), all));
  }
  for (const auto& [name, value] : request.headers) headers.add(name + ": " + value);
  headers.add("Expect:");  // receivers that do not know 100-continue cost a second
  if (!access.bearer.empty()) headers.add("Authorization: Bearer " + access.bearer);
  if (!access.server_name.empty()) {
    connect_to.add(fmt::format("{}:{}:{}:{}", access.server_name, port, *host, port));
    url = fmt::format("{}://{}:{}{}", p.scheme, access.server_name, port, p.rest);
  }
  Answer answer;
  char words[CURL_ERROR_SIZE] = "";
  const auto set = [&](CURLoption option, auto value) { c.easy_setopt(easy, option, value); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  // That of the settings or none: what the environment says is meant for others.
  const auto proxy =
      access.proxy.empty() ? std::string() : fmt::format("{}://{}:{}", first_hop.scheme, *hop_host, port_of(first_hop));
  set(CURLOPT_PROXY, proxy.c_str());
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // what the proxy says is not the answer
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, words);
  set(CURLOPT_USERAGENT, "vitald/" VITALD_VERSION);
  set(CURLOPT_HTTPHEADER, headers.all);
  if (connect_to.all) set(CURLOPT_CONNECT_TO, connect_to.all);
  if (resolved.all) set(CURLOPT_RESOLVE, resolved.all);
  if (request.method == "HEAD") set(CURLOPT_NOBODY, 1L);
  else set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (!request.body.empty() || request.method == "POST") {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  set(CURLOPT_WRITEFUNCTION, &take_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&answer));
  set(CURLOPT_HEADERFUNCTION, &take_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&answer));
  if (!access.user.empty()) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    set(CURLOPT_USERNAME, access.user.c_str());
    set(CURLOPT_PASSWORD, access.password.c_str());
  }
  if (!access.ca_file.empty()) set(CURLOPT_CAINFO, access.ca_file.c_str());
  if (!access.cert_file.empty()) set(CURLOPT_SSLCERT, access.cert_file.c_str());
  if (!access.key_file.empty()) set(CURLOPT_SSLKEY, access.key_file.c_str());
  if (access.skip_verify) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }

  if (c.multi_add_handle(impl_->multi, easy) != CURLM_OK) return fail(Errc::io, "libcurl: no memory");
  struct Remove {
    const Curl& c;
    Impl& impl;
    ~Remove() { c.multi_remove_handle(impl.multi, impl.easy); }
  } const remove{c, *impl_};
  // The final status and all headers came.
  const auto answered = [&] {
    long status = 0;
    c.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    answer.response.status = static_cast<int>(status);
    return answer.whole_head && status >= 200;
  };
  for (;;) {
    int running = 0;
    if (c.multi_perform(impl_->multi, &running) != CURLM_OK) return fail(Errc::io, "libcurl: no memory");
    if (running == 0) break;
    const auto left_ns = attempt.deadline_boot_ns - SystemClock::read(CLOCK_BOOTTIME);
    if (left_ns <= 0) {
      if (answered()) return cut(std::move(answer.response));
      distrust(hop);
      return fail(Errc::timeout, fmt::format("{}: no answer in time", where));
    }
    curl_waitfd stop{attempt.stop_fd, CURL_WAIT_POLLIN, 0};
    const auto wait_ms = static_cast<int>(std::min<std::int64_t>(left_ns / kMs + 1, 1000));
    c.multi_poll(impl_->multi, attempt.stop_fd >= 0 ? &stop : nullptr, attempt.stop_fd >= 0 ? 1 : 0, wait_ms, nullptr);
    if (stop.revents == 0) continue;
    if (answered()) return cut(std::move(answer.response));
    return fail(Errc::gone, "stopped");
  }
  int left = 0;
  auto result = CURLE_OK;
  while (const auto* message = c.multi_info_read(impl_->multi, &left))
    if (message->msg == CURLMSG_DONE) result = message->data.result;
  if (answer.out_of_memory) return fail(Errc::io, "no memory for the answer");
  const bool has_answer = answered();
  if (result == CURLE_OK && answer.whole_head) return std::move(answer.response);
  if (result == CURLE_OK || has_answer) return cut(std::move(answer.response));
  distrust(hop);
  return fail(Errc::io, fmt::format("{}: {}", where, *words != '\0' ? words : c.easy_strerror(result)));
}

}  // namespace vitald
