// SPDX-License-Identifier: Apache-2.0
// How fast each CPU really ran: cycles in which it was not halted, per cycle of the nominal clock in such time. CPU
// time times this is unhalted cycles, which follow power better than time: a CPU at twice the clock takes more than one
// at half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/host.h"
#include "core/os/fd.h"
#include "sensors/power/perf_energy.h"

namespace vitald {

// Two counters for each CPU: the registers APERF and MPERF, which always count. The PMU's cycles would say the same,
// but share its few counters with all who use perf, each then counted for other parts of the time (multiplexing), and
// on processors with two kinds of CPUs perf's general event counts on one kind only. Not thread-safe.
class CpuSpeed {
 public:
  // Of CPUs 0 to count - 1. Null: there are none (virtual machines), they may not be opened, or nothing here counts
  // energy, so nobody would ask.
  static std::unique_ptr<CpuSpeed> make(const Host& host, std::size_t count, OpenPerfEvent open);

  // Looks at the counters. What a CPU did since the last time is of() from here on.
  void read();
  // 1 at the nominal clock, also where nothing is known: a CPU that was halted all the time, is off, or was just found.
  [[nodiscard]] double of(std::size_t cpu) const { return cpu < cpus_.size() ? cpus_[cpu].speed : 1; }
  // By what it is told.
  [[nodiscard]] static std::string_view weight() { return "aperf"; }

 private:
  struct Pair {
    std::uint32_t type;
    std::uint64_t ran, nominal;
  };
  struct Cpu {
    Fd ran, nominal;
    std::uint64_t ran_before = 0, nominal_before = 0;
    bool known = false;  // the counts before
    double speed = 1;
  };
  CpuSpeed(OpenPerfEvent open, Pair pair, std::size_t count) : open_(std::move(open)), pair_(pair), cpus_(count) {}
  bool open(std::size_t cpu);

  OpenPerfEvent open_;
  Pair pair_;
  std::vector<Cpu> cpus_;
};

// What somebody has used of a CPU, each part of it at the speed that the CPU had then. Not thread-safe.
class PacedTime {
 public:
  // `place`: who and where. `ns`: all that he has used there; `speed`: since the last call for that place.
  std::uint64_t of(std::size_t place, std::uint64_t ns, double speed) {
    if (place >= parts_.size()) parts_.resize(place + 1);
    auto& p = parts_[place];
    const auto before = std::exchange(p.ns, ns);
    const auto grown = ns >= before ? ns - before : ns;  // what went down began anew
    p.paced_ns += static_cast<std::uint64_t>(static_cast<double>(grown) * speed);
    return p.paced_ns;
  }

 private:
  struct Part {
    std::uint64_t ns = 0, paced_ns = 0;
  };
  std::vector<Part> parts_;
};

}  // namespace vitald
