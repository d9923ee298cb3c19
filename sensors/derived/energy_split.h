// SPDX-License-Identifier: Apache-2.0
// Whose the energy of processors, memory or a GPU was. A pure function of what the meters counted and of what each
// owner has used: every microjoule becomes an owner's, idle or unattributed, so the three always add up to the counter.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sensors/derived/idle_power.h"

namespace vitald {

// Not thread-safe. Owners and packages are numbers from 0 that the caller gives.
class EnergySplit {
 public:
  static constexpr double kNotRead = std::numeric_limits<double>::quiet_NaN();

  // Whether it can be one: not negative, and its microjoules have 63 bits.
  [[nodiscard]] static bool is_counter(double joules) { return joules >= 0 && joules < 9.2e12; }

  struct Package {
    double joules = kNotRead;  // the counter, from wherever it began; what is none counts as not read
    std::uint32_t cpus = 0;    // of it
  };
  struct Use {
    std::uint32_t owner, package;
    double cpu_seconds;  // the owner's total on that package
  };
  // A package that cannot be read now gets its energy when it can be. `uses` without `uses_are_new` are not looked at:
  // then nobody knows who used the energy. The first uses of all only tell where everybody begins; an owner that
  // comes later began at 0.
  void cycle(std::int64_t at_ns, std::span<const Package> packages, std::span<const Use> uses, bool uses_are_new);

  // The owner's number may be another's from now on; what it had stays in gone().
  void drop(std::uint32_t owner);

  // Microjoules.
  [[nodiscard]] std::uint64_t owner(std::uint32_t owner) const { return owner < active_.size() ? active_[owner] : 0; }
  [[nodiscard]] std::uint64_t gone() const { return gone_; }
  [[nodiscard]] std::uint64_t idle() const;
  [[nodiscard]] std::uint64_t unattributed(std::uint32_t package) const { return packages_[package].unattributed; }
  // What the counter has grown by since the first cycle.
  [[nodiscard]] std::uint64_t counted(std::uint32_t package) const { return packages_[package].counted; }
  // Its counter was read once.
  [[nodiscard]] bool known(std::uint32_t package) const { return packages_[package].counter.has_value(); }
  // The counter went back: it counts from there.
  [[nodiscard]] std::uint64_t resets(std::uint32_t package) const { return packages_[package].resets; }
  [[nodiscard]] std::optional<double> idle_watts(std::uint32_t package) const {
    return packages_[package].idle_power.watts();
  }
  [[nodiscard]] std::string_view idle_method(std::uint32_t package) const {
    return packages_[package].idle_power.method();
  }
  [[nodiscard]] std::size_t packages() const { return packages_.size(); }

 private:
  struct PackageState {
    std::optional<std::int64_t> counter;  // microjoules
    std::int64_t at_ns = 0;
    std::uint64_t counted = 0, idle = 0, unattributed = 0, resets = 0;
    IdlePower idle_power;
    double used_s = 0;            // CPU time since at_ns
    double lost_s = 0;            // of it, by owners that were dropped since
    std::vector<double> weights;  // and by each owner
    std::vector<double> cpu;      // each owner's total on it, of the cycle before
    // Of the sample that is being made for idle_power.
    double sample_joules = 0, sample_used_s = 0, sample_s = 0;
    bool sample_whole = true;  // all of it with uses, and counted by the meter of a machine that was awake
    double cycle_s = 0;        // how long the last cycle was
    bool stale = false;        // the last cycle had none
  };
  void split(PackageState& p, const Package& now, std::int64_t at_ns, bool uses_are_new);
  std::uint64_t give(const PackageState& p, std::uint64_t active, double used_s);

  std::vector<std::uint64_t> active_;  // by owner
  std::vector<PackageState> packages_;
  std::uint64_t gone_ = 0;
  bool had_uses_ = false;
};

}  // namespace vitald
