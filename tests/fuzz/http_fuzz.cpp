// SPDX-License-Identifier: Apache-2.0
// What we parse ourselves of requests and of addresses. No name is looked up and no port is taken.
#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>

#include "agent/http/listen.h"
#include "agent/http/message.h"
#include "agent/http/routes.h"
#include "agent/http/strict.h"
#include "core/options.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "tests/fuzz/input.h"

extern "C" {
int __real_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found);
int __wrap_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  auto numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  return __real_getaddrinfo(host, service, &numeric, found);
}
int __wrap_bind(int, const sockaddr*, socklen_t) {
  errno = EADDRINUSE;
  return -1;
}
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const auto text = Input(data, size).rest();
  (void)accepts_gzip(text);
  (void)parse_duration_ns(text);
  (void)listen_on(text);
  if (const auto path = path_of(text); path.find("//") != std::string::npos) __builtin_trap();
  RawHead head{{}, "HTTP/1.1", text, text.size(), {}, text.data() + text.size()};
  for (std::string_view rest = text; !rest.empty();) {
    const auto name = take_until(rest, ':');
    head.fields.push_back({name, take_line(rest)});
  }
  (void)malformed_head(head);
  (void)parse_double(text);
  (void)parse_i64(text);
  if (!is_valid_utf8(valid_utf8(text))) __builtin_trap();
  return 0;
}
