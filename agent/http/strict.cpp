// SPDX-License-Identifier: Apache-2.0
#include "agent/http/strict.h"

#include <strings.h>

#include <algorithm>

#include "core/text/scan.h"

namespace vitald {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// RFC 9110, 5.6.2
bool is_token(std::string_view name) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

// RFC 9110, 7.2: uri-host [ ":" port ]; empty where the target has none. What a name may be made of, not whether it is
// one.
bool is_authority(std::string_view host) {
  constexpr std::string_view kOthers = "-._~%!$&'()*+;=:[]";
  return std::ranges::all_of(host, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

// The library ends each line with a NUL for LF and for CR. Between the end of a value and the next name there is
// nothing else, unless there was a NUL in the line or a line that goes on with the next one.
bool follows(std::string_view value, std::string_view name) {
  const char* end = value.data() + value.size();
  return name.data() == end + 1 || (name.data() == end + 2 && end[1] == '\0');
}

}  // namespace

bool has_bad_length(const RawHead::Field& field) {
  return same(field.name, "Content-Length") &&
         (!std::ranges::all_of(field.value, [](char c) { return c >= '0' && c <= '9'; }) || !parse_u64(field.value));
}

std::optional<std::string_view> malformed_head(const RawHead& head) {
  if (!head.after_method.empty()) return "a NUL in the method, or more than one blank behind it";
  // Written as %00 as well: the library gives what is before it for the whole.
  if (head.target.size() != head.target_bytes || head.target.find("%00") != std::string_view::npos)
    return "a NUL in the target";
  if (std::ranges::any_of(head.target, [](char c) { return is_control(c) || c == ' '; }))
    return "a blank or control character in the target";
  const RawHead::Field* length = nullptr;
  std::size_t hosts = 0, encodings = 0;
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    const auto& field = head.fields[i];
    if (!is_token(field.name)) return "the name of a field is no token; no blank may stand before the colon";
    if (std::ranges::any_of(field.value, [](char c) { return is_control(c) && c != '\t'; }))
      return "a control character in a field; CR without LF is one";
    if (i > 0 && !follows(head.fields[i - 1].value, field.name)) return "a NUL in a field, or a field of several lines";
    if (same(field.name, "Host")) {
      ++hosts;
      if (!is_authority(trim(field.value)))
        return "a Host that is neither a name nor an address, with or without a port";
    }
    if (same(field.name, "Content-Length")) {
      if (length) return "two Content-Length";  // equal ones may be refused as well (RFC 9110, 8.6)
      length = &field;
    }
    if (same(field.name, "Transfer-Encoding")) {
      if (++encodings > 1 || !same(trim(field.value), "chunked")) return "a Transfer-Encoding other than chunked";
    }
  }
  // After the last one comes its line's end and an empty line.
  if (!head.fields.empty()) {
    const auto& last = head.fields.back().value;
    if (head.end - (last.data() + last.size()) > 4) return "a NUL in a field, or a field of several lines";
  }
  if (hosts > 1) return "more than one Host";
  if (hosts == 0 && head.version != "HTTP/1.0") return "no Host";
  if (encodings > 0 && length) return "Content-Length and Transfer-Encoding";
  if (encodings > 0 && head.version == "HTTP/1.0") return "Transfer-Encoding in HTTP/1.0";
  return std::nullopt;
}

}  // namespace vitald
