// SPDX-License-Identifier: Apache-2.0
// libmicrohttpd behind the handlers: one epoll loop. A scrape that needs a newer snapshot is a suspended
// connection; the loop's thread then runs the collection itself, which is cheaper than asking another thread
// by a third of the whole scrape. Should the collection hang, a second thread takes the loop over: nobody
// waits for a stuck thread, and the scrape is answered at its deadline from the last snapshot.
#pragma once

#include <memory>
#include <vector>

#include "agent/api/metrics.h"
#include "agent/http/gate.h"
#include "agent/http/listen.h"
#include "agent/http/site.h"

namespace vitald {

class Server {
 public:
  Server(std::vector<Listener> listeners, SiteSource site, MetricsHandler::Settings settings, MetricsSource source,
         const Clock& clock, std::unique_ptr<Gate> gate = nullptr);
  ~Server();  // ends open connections
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // `connections`: the most there may be at each listener.
  Result<> start(unsigned connections = 256);
  // False when a thread hangs in a collection and cannot be joined: then only _exit() is left.
  bool stop(std::int64_t patience_ns);
  // A new snapshot is there: those who wait for one are answered. From any thread.
  void published();
  void set_max_age(std::int64_t ns);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald
