// SPDX-License-Identifier: Apache-2.0
// Who is connected, since when and in which state, and who is closed: whoever took longer than his time, and the least
// useful ones when it becomes crowded. Knows sockets, and nothing of the library that reads them.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "agent/http/tls.h"
#include "core/clock.h"

struct MHD_Connection;

namespace vitald {

struct Exchange;  // the request that is being answered; see server.cpp

struct Peer {
  // Whom to close first: who never said a whole request; who waits to say another one; whose answer is under way.
  enum class Rank : std::uint8_t { stranger, idle, busy };
  int fd = -1;
  const void* listener = nullptr;
  MHD_Connection* connection = nullptr;  // the library's, for the server
  std::int64_t since_boot_ns = 0;        // it was accepted, began its last request or ended it
  Rank rank = Rank::stranger;
  bool suspended = false;  // it waits for us
  bool closing = false;    // its socket was shut down
  std::string address;     // without the port
  bool loopback = false;
  bool known = false;    // somebody from there said a whole request lately
  std::string target;    // of the last request, as it came
  bool in_head = false;  // its request line was read, and its head is not at an end
  bool in_body = false;  // the head was read, and what follows it is not at an end
  Exchange* exchange = nullptr;
  std::shared_ptr<const TlsCredentials> credentials;  // as long as the session
  std::list<Peer>::iterator self;
};

class Peers {
 public:
  // A client has this long to say something first, or for its next request: a few round trips.
  static constexpr std::int64_t kGraceNs = 250'000'000;
  struct Times {
    std::int64_t request_ns;  // from the connection to the end of the first request
    std::int64_t idle_ns;     // between requests, and to take an answer
  };
  Peers(Times times, const Clock& clock) : times_(times), clock_(clock) {}

  Peer& accept(int fd, const void* listener);
  void gone(Peer& peer) { list_.erase(peer.self); }
  void moved(Peer& peer, Peer::Rank rank);
  // The socket's owner sees its end in his next round, and ends the connection in all the ways that this needs.
  static void close(Peer& peer);

  // Closes whoever took longer than his time. Nothing that a client says or does not say keeps a connection beyond it.
  void close_overdue(std::int64_t now_boot_ns);
  struct Room {
    unsigned open, most_with_strangers, most_without;  // connections at that listener
    unsigned young;                                    // strangers that have kGraceNs
  };
  // Whoever holds connections and says nothing does not keep others out. Strangers go as soon as it becomes crowded,
  // the oldest first, and from where nobody said anything yet before others; beyond `young` of them at once: whoever
  // comes is among the youngest, and is heard before it is its turn. A client that keeps its connection for the next
  // scrape, or reads slowly, goes only for another one. How many were closed.
  unsigned make_room(const void* listener, Room room, std::int64_t now_boot_ns);
  // Whether somebody can be closed by make_room() when his time is over; nothing else would wake the loop for that.
  [[nodiscard]] bool may_close_soon(const void* listener, bool full, std::int64_t now_boot_ns) const;

  // Oldest first: who was last heard of longest ago.
  [[nodiscard]] std::list<Peer>& all() { return list_; }
  [[nodiscard]] const std::list<Peer>& all() const { return list_; }

 private:
  Times times_;
  const Clock& clock_;
  std::list<Peer> list_;
  static constexpr std::size_t kMostKnown = 256;
  std::map<std::string, std::int64_t, std::less<>> known_;  // addresses, and when they last said a request
  std::int64_t looked_boot_ns_ = 0;
};

}  // namespace vitald
