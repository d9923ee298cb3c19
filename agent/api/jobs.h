// SPDX-License-Identifier: Apache-2.0
// Work for a request that takes too long for the server's loop: it is done on threads of its own, which come when there
// is some and go when there has been none for a while, so that a host whose API nobody asks has none of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "agent/http/pending.h"
#include "core/clock.h"

namespace vitald {

class Jobs {
 public:
  struct Settings {
    const char* thread = "query";  // its name
    std::size_t threads = 1;       // that work at the same time
    std::size_t waiting = 64;      // more are refused
    int nice = 0;                  // of the threads, against whatever else this process does
    std::int64_t idle_ns = 30'000'000'000;
  };
  Jobs(Settings settings, std::shared_ptr<const Wake> wake, const Clock& clock);
  // end(), with two seconds for it.
  ~Jobs();
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  // From any thread.
  void set_threads(std::size_t threads);

  // Lets go of what waits, begins nothing more, and tells what is being worked at to give up. Whether nothing is at
  // work any more, within `most_ns`. From any thread.
  bool end(std::int64_t most_ns);

  // True: whoever asked is gone, the time is over, or vitald ends. For the work, now and then.
  using GivenUp = std::function<bool()>;
  using Work = std::function<Response(const GivenUp& given_up)>;
  // Begun late, it is called all the same and finds itself given up. Nothing when too many wait already.
  // What it needs the work must own: a thread may be at it when this object is gone.
  std::unique_ptr<Pending> run(Work work, std::int64_t deadline_boot_ns);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace vitald
