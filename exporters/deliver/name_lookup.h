// SPDX-License-Identifier: Apache-2.0
// Where a host is, asked for so that a resolver which does not answer holds up nobody beyond his own deadline: the C
// library's getaddrinfo() has a patience of its own and cannot be interrupted, so a thread of its own is in it.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "exporters/deliver/destination.h"

namespace vitald {

struct HostAddress {
  sockaddr_storage address{};  // without a port
  socklen_t size = 0;

  void set_port(std::uint16_t port);
  [[nodiscard]] std::string text() const;  // "192.0.2.1", "2001:db8::1", "fe80::1%eth0"
};

// All of them, the best first. From any thread. What is known is given back at once; when it is older than a minute the
// resolver is asked first, and waited for half of the time there is, two seconds at most: then whoever had it goes on
// while the resolver is dead. One host is looked for once at a time, whoever waits. Errors: absent, there is no such
// host; timeout, nobody says so before the deadline; gone, the attempt was stopped; io, the resolver cannot say now.
Result<std::vector<HostAddress>> look_up(const std::string& host, const Attempt& attempt);

// Nothing to look up: "127.0.0.1", "0:0:0:0:0:0:0:1", "fe80::1%eth0".
bool is_address(const std::string& host);

// "bücher.example" as the DNS has it, "xn--bcher-kva.example"; one in ASCII as it is.
Result<std::string> ascii_host(const std::string& host);

// As if what is known, and what is asked, were older by so much. For tests.
void age(const std::string& host, std::int64_t ns);

// Nobody was there at these addresses, or it was somebody else: the next look_up() waits for new ones, half of the time
// that it has.
void distrust(const std::string& host);

}  // namespace vitald
