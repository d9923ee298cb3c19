// SPDX-License-Identifier: Apache-2.0
// Request and response as values: every handler is a function of these, and no test needs a socket.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vitald {

struct Request {
  std::string method = "GET";
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;    // decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;  // names as the client wrote them
  std::int64_t arrived_boot_ns = 0;
  std::string body;        // up to what the route takes
  std::string peer;        // the client's address without its port
  bool loopback = false;   // the connection comes from this machine
  bool proxied = false;    // came_by_proxy()
  bool has_users = false;  // there are users; without one no request gets here
  std::string user;        // who it is; empty where there are none

  // Of the first line of that name; empty when there is none. Names of headers are compared without case.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  // Of all lines of that name: they are one list (RFC 9110, 5.3).
  [[nodiscard]] std::string list(std::string_view name) const;
  [[nodiscard]] std::vector<std::string_view> all(std::string_view query_name) const;
};

// Whether a proxy passed the request on, as far as it tells: by a header of those that proxies add, or by HTTP/1.0,
// which nginx speaks where nobody has set it otherwise. Its connection comes from this machine, whoever has asked.
bool came_by_proxy(const Request& request, std::string_view version);

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::shared_ptr<const std::string> body;  // shared by all who are sent the same
  std::vector<std::pair<std::string, std::string>> headers;
  bool counted = false;  // in an instrument of the handler's own
};

Response text_response(int status, std::string text);

// Whether a client that sends this Accept-Encoding takes gzip: listed or *, and not with q=0.
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace vitald
