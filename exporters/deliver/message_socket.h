// SPDX-License-Identifier: Apache-2.0
// Destinations that take one message at a time: a socket of this machine (journald, /dev/log), UDP, and TCP with a
// length before each message (RFC 6587, 3.4.1).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "exporters/deliver/destination.h"

namespace vitald {

struct MessageAddress {
  enum class Kind : std::uint8_t { local, udp, tcp };
  Kind kind = Kind::local;
  std::string path = {};             // of a socket of this machine
  std::string host = {}, port = {};  // of the others
};
// `/dev/log`, `udp://log.example:514`, `tcp://[::1]:601`; without a port it is 514 and 601.
Result<MessageAddress> message_address(std::string_view text);

// An item's body is the message. One that does not begin with `begins` is of another kind that had this name, and is
// refused. What a TCP connection has taken is delivered as far as one can know.
std::unique_ptr<Destination> message_destination(MessageAddress address, std::string begins);

// Whether somebody listens: in words, or why not. Nothing is sent.
Result<std::string> message_reach(const MessageAddress& address, const Attempt& attempt);

// A field of journald's native protocol; empty ones are left out, long ones cut.
void append_journal_field(std::string& out, std::string_view name, std::string_view value);

}  // namespace vitald
