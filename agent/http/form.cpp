// SPDX-License-Identifier: Apache-2.0
#include "agent/http/form.h"

#include <strings.h>

#include "core/text/scan.h"

namespace vitald {

std::string url_decoded(std::string_view text, bool plus) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus) {
      out += ' ';
    } else if (const auto byte = text[i] == '%' && i + 2 < text.size() ? parse_int<unsigned>(text.substr(i + 1, 2), 16)
                                                                       : std::nullopt) {
      out += static_cast<char>(*byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Parameters parse_form(std::string_view text) {
  Parameters out;
  while (!text.empty()) {
    auto value = take_until(text, '&');
    if (value.empty()) continue;
    const auto name = take_until(value, '=');
    out.emplace_back(url_decoded(name, true), url_decoded(value, true));
  }
  return out;
}

Parameters parameters_of(const Request& request) {
  Parameters out;
  auto type = request.header("Content-Type");
  type = trim(take_until(type, ';'));
  constexpr std::string_view kForm = "application/x-www-form-urlencoded";
  if (type.size() == kForm.size() && strncasecmp(type.data(), kForm.data(), kForm.size()) == 0)
    out = parse_form(request.body);
  out.insert(out.end(), request.query.begin(), request.query.end());
  return out;
}

std::vector<std::string_view> all(const Parameters& parameters, std::string_view name) {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : parameters)
    if (key == name) out.emplace_back(value);
  return out;
}

std::string_view first(const Parameters& parameters, std::string_view name) {
  for (const auto& [key, value] : parameters)
    if (key == name) return value;
  return {};
}

}  // namespace vitald
