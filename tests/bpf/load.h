// SPDX-License-Identifier: Apache-2.0
// Loads whose numbers are known, each in a child process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.h"
#include "sensors/owner/hierarchy.h"

namespace vitald {

// What a child's own kernel counters say about the time between its start and its end.
struct Truth {
  std::uint64_t voluntary = 0, involuntary = 0;  // /proc/self/status
  std::uint64_t cpu_ns = 0, delay_ns = 0;        // /proc/self/schedstat
  Truth& operator+=(const Truth& o);
};

// A cgroup in the given v1 hierarchy, or on v2 where that is none; removed at the end.
class TestCgroup {
 public:
  TestCgroup(const V1Hierarchy& v1, const std::string& name);
  ~TestCgroup() { remove(); }
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;
  void enter() const;          // the calling process
  void take(pid_t pid) const;  // another one, or the calling one, on this hierarchy alone
  void set(const std::string& file, const std::string& value) const;
  void remove();
  [[nodiscard]] const std::string& path() const { return path_; }  // "/name"

 private:
  std::string path_, directory_, v2_;
};

// Runs `body` in a child inside the cgroup, pinned to a CPU; the truth is of the body alone.
class Child {
 public:
  Child(const TestCgroup& cgroup, int cpu, const std::function<void()>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Truth finish();  // waits for the end of the body and of the process
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] std::uint64_t cpu_ns() const;   // so far, as of the last tick
  [[nodiscard]] std::int64_t clock_ns() const;  // so far, all threads, exactly
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int report_ = -1;
  int status_ = 0;
};

// Two children in one cgroup on one CPU: `round_trips` of a byte, then both spin for spin_ms of CPU time.
Truth ping_pong(const TestCgroup& cgroup, int round_trips, int spin_ms);

}  // namespace vitald
