// SPDX-License-Identifier: Apache-2.0
#include "agent/http/peers.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
// after sys/socket.h
#include <linux/vm_sockets.h>

#include <algorithm>
#include <iterator>

namespace vitald {
namespace {

void say_address(int fd, Peer& peer) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return;
  char text[INET6_ADDRSTRLEN] = "";
  if (at.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(at).sin_addr;
    inet_ntop(AF_INET, &v4, text, sizeof text);
    peer.loopback = ntohl(v4.s_addr) >> 24 == 127;
  } else if (at.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(at).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {  // IPv4 at a socket for both
      inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof text);
      peer.loopback = v6.s6_addr[12] == 127;
    } else {
      inet_ntop(AF_INET6, &v6, text, sizeof text);
      peer.loopback = IN6_IS_ADDR_LOOPBACK(&v6);
    }
  } else if (at.ss_family == AF_UNIX) {
    peer.loopback = true;
  } else if (at.ss_family == AF_VSOCK) {
    const auto cid = reinterpret_cast<const sockaddr_vm&>(at).svm_cid;
    peer.address = "vsock:" + std::to_string(cid);
    peer.loopback = cid == VMADDR_CID_LOCAL;
    return;
  }
  peer.address = text;
}

}  // namespace

Peer& Peers::accept(int fd, const void* listener) {
  auto& peer = list_.emplace_back();
  peer.self = std::prev(list_.end());
  peer.fd = fd;
  peer.listener = listener;
  peer.since_boot_ns = clock_.boot_ns();
  say_address(fd, peer);
  peer.known = known_.contains(peer.address);
  return peer;
}

void Peers::moved(Peer& peer, Peer::Rank rank) {
  peer.rank = rank;
  peer.since_boot_ns = clock_.boot_ns();
  list_.splice(list_.end(), list_, peer.self);
  if (rank != Peer::Rank::busy) return;
  if (const auto there = known_.find(peer.address); there != known_.end()) {
    there->second = peer.since_boot_ns;
  } else if (!peer.known) {
    if (known_.size() >= kMostKnown)
      known_.erase(std::ranges::min_element(known_, {}, [](const auto& k) { return k.second; }));
    known_[peer.address] = peer.since_boot_ns;
  }
  peer.known = true;
}

void Peers::close(Peer& peer) {
  shutdown(peer.fd, SHUT_RDWR);
  peer.closing = true;
}

void Peers::close_overdue(std::int64_t now) {
  const auto grain_ns = times_.request_ns / 16;  // to look at each of them in each round costs more than it brings
  if (now - looked_boot_ns_ < grain_ns) return;
  looked_boot_ns_ = now;
  for (auto& peer : list_) {
    const auto age_ns = now - peer.since_boot_ns;
    if (age_ns < times_.request_ns && age_ns < times_.idle_ns) return;  // those behind it are younger
    const bool asks = peer.rank == Peer::Rank::stranger || peer.in_body;
    const auto limit_ns = asks ? times_.request_ns : times_.idle_ns;
    if (age_ns > limit_ns + grain_ns && !peer.suspended && !peer.closing) close(peer);
  }
}

unsigned Peers::make_room(const void* listener, Room room, std::int64_t now) {
  using enum Peer::Rank;
  unsigned closed = 0, strangers = 0;
  for (const auto& peer : list_) {
    if (peer.listener != listener) continue;
    if (peer.closing) --room.open;
    else if (peer.rank == stranger) ++strangers;
  }
  struct Step {
    Peer::Rank rank;
    bool known;
  };
  for (const auto step : {Step{stranger, false}, Step{stranger, true}, Step{idle, true}, Step{busy, true}})
    for (auto& peer : list_) {
      if (room.open <= (step.rank == stranger ? room.most_with_strangers : room.most_without)) break;
      if (peer.listener != listener || peer.rank != step.rank || peer.suspended || peer.closing) continue;
      if (step.rank == stranger && peer.known != step.known) continue;
      const bool at_once = step.rank == stranger && strangers > room.young;
      if (!at_once && now - peer.since_boot_ns < kGraceNs) continue;
      close(peer);
      --room.open;
      ++closed;
      strangers -= step.rank == stranger ? 1 : 0;
    }
  return closed;
}

bool Peers::may_close_soon(const void* listener, bool full, std::int64_t now) const {
  for (const auto& peer : list_) {
    if (peer.listener != listener || peer.suspended || peer.closing) continue;
    if (peer.rank == Peer::Rank::stranger || (full && now - peer.since_boot_ns < kGraceNs)) return true;
  }
  return false;
}

}  // namespace vitald
