// SPDX-License-Identifier: Apache-2.0
// Time, as every part asks for it.
#pragma once
#include <cstdint>
#include <ctime>

namespace vitald {

// Injected wherever time matters, so that no test sleeps. All calls are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // CLOCK_BOOTTIME: monotonic, runs during suspend. For ages, deadlines and intervals.
  [[nodiscard]] virtual std::int64_t boot_ns() const = 0;
  // CLOCK_REALTIME, since the epoch. For timestamps that leave the host.
  [[nodiscard]] virtual std::int64_t wall_ns() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t boot_ns() const override { return read(CLOCK_BOOTTIME); }
  [[nodiscard]] std::int64_t wall_ns() const override { return read(CLOCK_REALTIME); }

  static std::int64_t read(clockid_t id) {
    timespec ts{};
    clock_gettime(id, &ts);
    return ts.tv_sec * std::int64_t{1'000'000'000} + ts.tv_nsec;
  }
};

class FakeClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t boot_ns() const override { return boot; }
  [[nodiscard]] std::int64_t wall_ns() const override { return wall; }
  void advance_ns(std::int64_t ns) { boot += ns, wall += ns; }

  std::int64_t boot = 1'000'000'000'000;
  std::int64_t wall = 1'700'000'000'000'000'000;
};

}  // namespace vitald
