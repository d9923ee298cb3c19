// SPDX-License-Identifier: Apache-2.0
// What is a URL of ours: http or https, a host, maybe a port and a path.
#pragma once

#include <algorithm>
#include <string_view>

#include "core/text/scan.h"

namespace vitald {

// A path may be appended to it: no query, no fragment, nothing that a URL has to encode.
inline bool is_base_url(std::string_view url) {
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f ||
           std::string_view("\"<>\\^`{|}?#").find(c) != std::string_view::npos;
  };
  if (std::ranges::any_of(url, odd) || !(take_prefix(url, "http://") || take_prefix(url, "https://"))) return false;
  auto host = url.substr(0, url.find('/'));
  // "[::1]:9100": a colon of the address is none before a port.
  const auto bracket = host.rfind(']');
  const auto colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos) return !host.empty();
  const auto port = parse_u64(host.substr(colon + 1));
  return colon > 0 && port && *port > 0 && *port <= 65535;
}

}  // namespace vitald
