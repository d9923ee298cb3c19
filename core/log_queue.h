// SPDX-License-Identifier: Apache-2.0
// Lines for a descriptor that may not take them: a bounded queue and a thread that writes. Whoever pushes never waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "core/mutex.h"

namespace vitald {

class LogQueue {
 public:
  // Some thousand lines: what a reload storm says while a reader is away for a moment.
  static constexpr std::size_t kMostBytes = 256 * 1024;
  // A write of so many bytes to a pipe is done whole or not at all (PIPE_BUF), so that lines of several processes
  // do not mix and one that meets a full pipe is not torn. A longer line is cut.
  static constexpr std::size_t kMostLineBytes = 4096;

  // `dropped` is the line that tells how many are missing; `count` is called for each loss.
  LogQueue(int fd, std::string (*dropped)(std::uint64_t lines), std::function<void(std::uint64_t lines)> count);
  ~LogQueue();  // waits for the thread, and so for a write that hangs
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;

  // Whole lines. Before start() they are written here, however long it takes; afterwards by the thread, which the
  // first push makes. Where there is no thread to be had, here if that does not wait.
  void push(std::string_view lines);
  void start();
  // True when nothing is left to write.
  bool flush(std::int64_t patience_ns);

 private:
  void accept_all(std::string_view lines) REQUIRES(mutex_);
  void accept(std::string_view line) REQUIRES(mutex_);
  void write_here() REQUIRES(mutex_);
  bool write_front(std::string_view line) REQUIRES(mutex_);
  void took(std::size_t bytes) REQUIRES(mutex_);
  bool spawn() REQUIRES(mutex_);
  void tell_of_lost() REQUIRES(mutex_);
  void run();

  const int fd_;
  std::string (*const dropped_)(std::uint64_t);
  const std::function<void(std::uint64_t)> count_;

  Mutex mutex_;
  CondVar came_, went_;
  std::deque<std::string> lines_ GUARDED_BY(mutex_);  // the first one is being written
  std::size_t bytes_ GUARDED_BY(mutex_) = 0;          // of them
  std::uint64_t lost_ GUARDED_BY(mutex_) = 0;         // since the last line that told of it
  bool threaded_ GUARDED_BY(mutex_) = false;
  bool running_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  bool refused_ GUARDED_BY(mutex_) = false;  // the last write did not work
};

}  // namespace vitald
