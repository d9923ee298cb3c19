// SPDX-License-Identifier: Apache-2.0
// An answer that is not there yet: a scrape that needs a newer snapshot, a password that is being compared, a reload.
// The server has this one kind of waiting; it knows nothing of what is waited for.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <variant>

#include "agent/http/message.h"
#include "core/os/fd.h"

namespace vitald {

// Lets the server's loop look again at all that wait. From any thread; may outlive the server.
class Wake {
 public:
  Wake() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void signal() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = write(event_.get(), &one, sizeof one);  // full only when already signalled
  }
  void clear() const {
    std::uint64_t n;
    [[maybe_unused]] const auto got = read(event_.get(), &n, sizeof n);
  }
  [[nodiscard]] int fd() const { return event_.get(); }  // -1: none was left for it

 private:
  Fd event_;
};

// Belongs to the loop's thread. It lives until the last byte of its answer was sent, and so long only the request does.
class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  virtual ~Pending() = default;

  // Asked at once, whenever the loop was woken, and at the deadline; not again after an answer.
  virtual std::optional<Response> poll(std::int64_t now_boot_ns) = 0;
  // When it answers whatever happened.
  [[nodiscard]] virtual std::int64_t deadline_boot_ns() const = 0;
  // A snapshot whose collection began at this time or later would answer it. 0: it waits for something else.
  [[nodiscard]] virtual std::int64_t wants_snapshot_boot_ns() const { return 0; }
};

using Answer = std::variant<Response, std::unique_ptr<Pending>>;
using Handler = std::function<Answer(const Request&)>;

}  // namespace vitald
