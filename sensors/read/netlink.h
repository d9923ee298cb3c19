// SPDX-License-Identifier: Apache-2.0
// Dumps over netlink: one request, all answers, no files. The socket is kept; the buffer is this thread's.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/host.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

// Copies a struct out of a message: netlink payloads are only 4-byte aligned. nullopt when it is cut short.
template <class T>
std::optional<T> take_struct(std::string_view& rest) {
  static_assert(std::is_trivially_copyable_v<T>);
  constexpr std::size_t kAligned = NLMSG_ALIGN(sizeof(T));
  if (rest.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, rest.data(), sizeof value);
  rest.remove_prefix(rest.size() < kAligned ? rest.size() : kAligned);
  return value;
}

// One type-length-value of a message or a nested attribute.
struct NetlinkAttribute {
  std::uint16_t type = 0;
  std::string_view payload;

  // Of unsigned integers whose size the kernel changed over time (u32, later u64).
  [[nodiscard]] std::uint64_t number() const;
  [[nodiscard]] std::string_view text() const { return payload.substr(0, payload.find('\0')); }
};
// The next attribute; nullopt at the end or where the rest is no attribute.
std::optional<NetlinkAttribute> take_attribute(std::string_view& rest);

// For those whose numbers only netlink or ioctl has. Errors: absent where these would answer of other interfaces than
// the host's.
Result<> same_network(const Host& host);

class Netlink {
 public:
  explicit Netlink(int protocol) : protocol_(protocol) {}

  // Sends `body` (the family's own header and attributes) as `type` with `flags` and gives every answer's
  // type and payload to `each`, until the last one.
  using Each = std::function<void(std::uint16_t type, std::string_view payload)>;
  Result<> request(std::uint16_t type, std::uint16_t flags, std::string_view body, const Each& each);
  Result<> dump(std::uint16_t type, std::string_view body, const Each& each) {
    return request(type, NLM_F_DUMP, body, each);
  }

  // The last dump was interrupted (NLM_F_DUMP_INTR: the table changed meanwhile): it may lack an entry or
  // have one twice. Asking again is up to the caller.
  [[nodiscard]] bool interrupted() const { return interrupted_; }

  // The interface's name now; empty when it is gone. Writes into `buf` (IFNAMSIZ).
  std::string_view interface_name(int index, std::span<char, 16> buf) const;

 private:
  Result<> open();
  Result<> receive(std::uint32_t sequence, const Each& each);
  int protocol_;
  Fd fd_;
  std::string message_;
  std::uint32_t sequence_ = 0;
  bool interrupted_ = false;
};

// Whether the kernel has announced a change of any network interface: what it is called, how it is set, its
// carrier. What it announced does not matter, so nothing of it is read.
class LinkWatch {
 public:
  // True on first use, and when it cannot be known. Costs one recv() while nothing changes.
  bool changed();

 private:
  Fd fd_;  // joined to RTMGRP_LINK
};

}  // namespace vitald
