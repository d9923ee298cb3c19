// SPDX-License-Identifier: Apache-2.0
// The loop of a worker process: answers each request of the agent with one collection.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <new>
#include <string>

#include "agent/worker/client.h"
#include "agent/worker/frame.h"
#include "core/clock.h"
#include "core/log.h"

namespace vitald {
namespace {

bool write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;  // the agent is gone
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

int worker_main(Collector& collector, const std::string& name) {
  // Of a daemon that ends while a library writes to it; the library meets the end of its connection.
  std::signal(SIGPIPE, SIG_IGN);
  BatchWriter writer(name);
  AnswerWriter answers;
  std::string input;
  // The whole process, not this thread: a library's own threads are part of the price.
  std::int64_t cpu_before = 0;
  for (;;) {
    char chunk[256];
    const auto n = ::read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;  // the agent closed it, or is gone
    input.append(chunk, static_cast<std::size_t>(n));
    std::string_view rest = input, payload;
    bool malformed = false;
    while (take_frame(rest, payload, malformed)) {
      const auto sequence = parse_request(payload);
      if (!sequence) {
        log::error("worker: standard input", {{"collector", name}, {"err", sequence.error().text}});
        return 1;
      }
      const auto start = SystemClock::read(CLOCK_BOOTTIME);
      writer.begin(start, SystemClock::read(CLOCK_REALTIME));
      Result<> outcome;
      bool spoiled = false;
      try {
        outcome = collector.collect(writer);
      } catch (const std::bad_alloc&) {
        outcome = fail(Errc::io, "out of memory");
        spoiled = true;
      } catch (const std::exception& e) {
        outcome = fail(Errc::io, std::string("bug, please report: exception: ") + e.what());
        spoiled = true;
      }
      if (spoiled) {  // also in the midst of a series
        writer = BatchWriter(name);
        writer.begin(start, SystemClock::read(CLOCK_REALTIME));
      }
      const auto cpu = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);
      const auto batch = writer.finish(outcome, SystemClock::read(CLOCK_BOOTTIME) - start, cpu - cpu_before);
      cpu_before = cpu;
      if (!write_all(answers.write(*sequence, *batch))) return 0;
      if (spoiled) return 1;  // nobody knows what the collector had taken for done: the agent starts a new one
    }
    if (malformed) {
      log::error("worker: standard input: a request that is none", {{"collector", name}});
      return 1;
    }
    input.erase(0, input.size() - rest.size());
  }
}

}  // namespace vitald
