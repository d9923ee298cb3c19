// SPDX-License-Identifier: Apache-2.0
// The sockets that --web.listen-address names, or that the service manager has opened.
#pragma once

#include <netdb.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

struct Listener {
  Fd fd;
  std::string address;  // as bound: the port that the kernel chose for ":0" is in it
};

// "127.0.0.1:9100", "[::1]:9100"; ":9100" is every address, IPv6 and IPv4; "localhost:9100" is every address of that
// name, of which one that this machine does not have is a warning as long as there is another. "vsock://:9100" is what
// the host of this guest (or, with a number before the colon, one context) reaches without a network.
Result<std::vector<Listener>> listen_on(std::string_view address);
// Those of a name, as getaddrinfo(3) lists them; with port 0 all get the one that the first gets.
Result<std::vector<Listener>> listen_on_each(addrinfo* found, std::string_view address);

// The same as far as one can know without opening it: its form, and that the name has an address.
Result<> check_address(std::string_view address);

// Those that the service manager opened for this process (sd_listen_fds(3)); takes the variables out of the
// environment, so that no child believes they are its own. An error when there are none.
Result<std::vector<Listener>> systemd_listeners();

}  // namespace vitald
