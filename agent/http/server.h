// SPDX-License-Identifier: Apache-2.0
// libmicrohttpd behind the handlers: one thread, one epoll loop. A scrape that waits for a snapshot is a
// suspended connection, so it keeps nobody else waiting and costs no thread.
#pragma once

#include <memory>
#include <vector>

#include "agent/http/listen.h"
#include "agent/http/metrics.h"
#include "agent/http/site.h"

namespace vitald {

class Server {
 public:
  Server(std::vector<Listener> listeners, SiteSource site, MetricsHandler::Settings settings, MetricsSource source,
         const Clock& clock);
  ~Server();  // ends open connections
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Result<> start();
  void stop();
  // A new snapshot is there: those who wait for one are answered. From any thread.
  void published();
  void set_max_age(std::int64_t ns);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald
