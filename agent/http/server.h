// SPDX-License-Identifier: Apache-2.0
// libmicrohttpd, and nothing else: what it reads becomes a Request, what routes answer is sent, and whoever has to wait
// is a suspended connection. One epoll loop. For a scrape that needs a newer snapshot the loop's thread runs the
// collection itself, which is cheaper than asking another thread by a third of the whole scrape; see lead.h for what
// happens when it hangs, peers.h for who is closed, waiting.h for who waits.
#pragma once

#include <memory>
#include <vector>

#include "agent/http/gate.h"
#include "agent/http/listen.h"
#include "agent/http/routes.h"
#include "core/clock.h"

namespace vitald {

// What the loop needs of those who collect.
struct Collecting {
  std::function<bool(std::int64_t boot_ns)> collect;    // see Pipeline::collect
  std::function<bool(std::int64_t boot_ns)> has_since;  // there is a snapshot whose collection began at it or later
  std::function<bool()> full;  // as many as may be are being answered; null: there is no such limit
  // In place of an answer for which there is no room, in the words of that path; null: in plain ones.
  std::function<Response(const Request&)> no_room = {};
};

class Server {
 public:
  struct Limits {
    unsigned connections = 256;     // at each listener
    unsigned request_seconds = 10;  // for a request, from the connection or its first byte to its last
    // Between requests longer than the usual scrape interval, so that a server's connection stays; also to take an
    // answer.
    unsigned idle_seconds = 120;
  };

  Server(std::vector<Listener> listeners, Routes routes, Collecting collecting, const Clock& clock,
         std::shared_ptr<const Wake> wake, std::unique_ptr<Gate> gate = nullptr);
  ~Server();  // ends open connections
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Result<> start(Limits limits);
  Result<> start() { return start(Limits{}); }
  // False when a thread hangs in a collection and cannot be joined: then only _exit() is left.
  bool stop(std::int64_t patience_ns);
  // A new snapshot is there: those who wait for one are answered. From any thread.
  void published();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald
