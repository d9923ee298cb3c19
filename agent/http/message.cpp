// SPDX-License-Identifier: Apache-2.0
#include "agent/http/message.h"

#include <strings.h>

#include <algorithm>

#include "core/text/scan.h"

namespace vitald {
namespace {
bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}
}  // namespace

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (same_word(key, name)) return value;
  return {};
}

std::string Request::list(std::string_view name) const {
  std::string all;
  for (const auto& [key, value] : headers)
    if (same_word(key, name)) all += (all.empty() ? "" : ", ") + value;
  return all;
}

std::vector<std::string_view> Request::all(std::string_view query_name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : query)
    if (key == query_name) values.emplace_back(value);
  return values;
}

Response text_response(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::make_shared<const std::string>(std::move(text)), {}, false};
}

bool came_by_proxy(const Request& request, std::string_view version) {
  if (version == "HTTP/1.0") return true;
  return std::ranges::any_of(request.headers, [](const auto& header) {
    const std::string_view name = header.first;
    return same_word(name, "Forwarded") || same_word(name, "Via") || same_word(name, "X-Real-IP") ||
           same_word(name.substr(0, 12), "X-Forwarded-");
  });
}

// RFC 9110, 12.5.3: "gzip;q=1.0, identity; q=0.5, *;q=0"
bool accepts_gzip(std::string_view accept_encoding) {
  bool any = false;
  while (!accept_encoding.empty()) {
    auto rest = take_until(accept_encoding, ',');
    const auto coding = trim(take_until(rest, ';'));
    bool refused = false;
    while (!rest.empty()) {
      auto parameter = take_until(rest, ';');
      const auto key = trim(take_until(parameter, '='));
      if (same_word(key, "q")) refused = parse_double(trim(parameter)).value_or(1) <= 0;
    }
    if (same_word(coding, "gzip") || same_word(coding, "x-gzip")) return !refused;
    if (coding == "*") any = !refused;
  }
  return any;
}

}  // namespace vitald
