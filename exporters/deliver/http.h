// SPDX-License-Identifier: Apache-2.0
// The one HTTP client of this program: requests to receivers, with TLS and passwords. libcurl does it, and is opened
// with the first request: a host that tells nobody over HTTP has none of its megabytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "exporters/deliver/destination.h"

namespace vitald {

struct HttpRequest {
  std::string method = "POST";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
};

struct HttpResponse {
  int status = 0;
  std::string body;                 // the first part of it, for messages and small answers
  bool cut = false;                 // the connection broke, or the time was over, before the body's end
  std::int64_t retry_after_ns = 0;  // 0: the server has no wish
  std::vector<std::pair<std::string, std::string>> headers = {};  // the first hundred, names in small letters

  // Null: it is not there.
  [[nodiscard]] const std::string* header(std::string_view name) const {
    const auto at = std::ranges::find(headers, name, &std::pair<std::string, std::string>::first);
    return at == headers.end() ? nullptr : &at->second;
  }
};

// How a server is to be trusted, and what it wants to know.
struct HttpAccess {
  std::string user, password;       // basic
  std::string bearer;               // Authorization: Bearer
  std::string ca_file;              // in place of the system's
  std::string cert_file, key_file;  // of ours, for servers that ask
  std::string server_name;          // the one that its certificate is for, where the URL has another
  bool skip_verify = false;         // any certificate will do
  std::string proxy;                // http(s)://HOST:PORT; empty: none, whatever the environment says
  bool operator==(const HttpAccess&) const = default;
};

// By one thread at a time. Keeps its connection for the next request.
class HttpClient {
 public:
  // Of the body of an answer so much is kept; the rest is read and let go of.
  static constexpr std::size_t kMostBody = 1 << 20;

  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status is an answer, whatever becomes of its body: who was told 200 must not be told the same again. An error:
  // there was none. `timeout` until the attempt's deadline; Errc::gone: the attempt was told to stop; Errc::absent:
  // there is no libcurl, the text names the package.
  Result<HttpResponse> send(const HttpRequest& request, const HttpAccess& access, const Attempt& attempt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "120", or a date: how long from now. 0: it is none.
std::int64_t retry_after_ns(std::string_view value, std::int64_t now_wall_ns);
// The URL without user and password, for logs and pages.
std::string url_for_display(std::string_view url);
// The same with its path, where that says which of several it is and is no secret.
std::string url_with_path(std::string_view url);
// `url` at another server: `origin` is http(s)://HOST[:PORT].
std::string url_at(std::string_view url, std::string_view origin);
// Empty when that is what it is; otherwise what is wrong with it.
std::string origin_problem(std::string_view origin);
// Empty when it is http:// or https:// with a host; otherwise what is wrong with it.
std::string url_problem(std::string_view url);

}  // namespace vitald
