// SPDX-License-Identifier: Apache-2.0
// A resolver that does not answer, for resolver_test.py: loaded in front of the C library (LD_PRELOAD), it never comes
// back from a look-up of a name below silent.example.
#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

#include <string_view>

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const bool numeric = hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0;
  while (host != nullptr && !numeric && std::string_view(host).ends_with("silent.example")) pause();
  return real(host, service, hints, found);
}
