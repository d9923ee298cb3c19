// SPDX-License-Identifier: Apache-2.0
#include "core/log_queue.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <new>
#include <utility>

namespace vitald {
namespace {

// After an error (a full disk) a try each second.
constexpr std::int64_t kRetryNs = 1'000'000'000;
// It calls write(2) and little else.
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::string_view kCut = "...\n";

bool takes(int fd, std::int64_t patience_ns) {
  pollfd p{fd, POLLOUT, 0};
  int ready;
  do ready = poll(&p, 1, static_cast<int>(patience_ns / 1'000'000));
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace

LogQueue::LogQueue(int fd, std::string (*dropped)(std::uint64_t), std::function<void(std::uint64_t)> count)
    : fd_(fd), dropped_(dropped), count_(std::move(count)) {}

LogQueue::~LogQueue() {
  MutexLock lock(mutex_);
  stop_ = true;
  came_.notify_all();
  went_.wait(lock, [this]() REQUIRES(mutex_) { return !running_; });
}

void LogQueue::start() {
  const MutexLock lock(mutex_);
  threaded_ = true;
}

void LogQueue::push(std::string_view lines) {
  const MutexLock lock(mutex_);
  try {
    accept_all(lines);
  } catch (const std::bad_alloc&) {
    ++lost_;
    count_(1);
  }
  if (threaded_ && (running_ || spawn())) came_.notify_one();
  else write_here();
}

void LogQueue::accept_all(std::string_view lines) {
  while (!lines.empty()) {
    const auto end = lines.find('\n');
    accept(lines.substr(0, end == std::string_view::npos ? end : end + 1));
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
  }
}

void LogQueue::accept(std::string_view line) {
  std::string kept(line.substr(0, kMostLineBytes));
  if (line.size() > kMostLineBytes) kept.replace(kMostLineBytes - kCut.size(), kCut.size(), kCut);
  // Where some are missing, that comes first.
  std::string gap = lost_ != 0 ? dropped_(lost_) : std::string();
  if (bytes_ + gap.size() + kept.size() > kMostBytes) {
    ++lost_;
    count_(1);
    return;
  }
  lost_ = 0;
  for (auto* text : {&gap, &kept}) {
    if (text->empty()) continue;
    bytes_ += text->size();
    lines_.push_back(std::move(*text));
  }
}

// Without a thread. Where none was asked for, whoever reads slowly gets all of it; otherwise what is taken at once.
void LogQueue::write_here() {
  while (!lines_.empty()) {
    if (threaded_ && !takes(fd_, 0)) return;
    refused_ = !write_front(lines_.front());
    if (refused_) return;
  }
}

// Writes of the first line what it can. False on an error.
bool LogQueue::write_front(std::string_view line) {
  const auto n = ::write(fd_, line.data(), line.size());
  if (n < 0) return errno == EINTR || (errno == EAGAIN && takes(fd_, kRetryNs));
  took(static_cast<std::size_t>(n));
  return true;
}

void LogQueue::took(std::size_t n) {
  bytes_ -= n;
  if (n == lines_.front().size()) lines_.pop_front();
  else lines_.front().erase(0, n);  // a disk that became full: the rest follows, so that no line stays torn
}

bool LogQueue::spawn() {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);  // it may hang in a write for good
  pthread_attr_setstacksize(&attributes,
                            std::max<std::size_t>(kStackBytes, static_cast<std::size_t>(PTHREAD_STACK_MIN)));
  pthread_t thread;
  const auto body = [](void* self) -> void* {
    pthread_setname_np(pthread_self(), "log");
    static_cast<LogQueue*>(self)->run();
    return nullptr;
  };
  running_ = pthread_create(&thread, &attributes, body, this) == 0;
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return running_;
}

void LogQueue::tell_of_lost() {
  try {
    lines_.push_back(dropped_(lost_));
    bytes_ += lines_.back().size();
    lost_ = 0;
  } catch (const std::bad_alloc&) {  // then with the next line
  }
}

void LogQueue::run() {
  MutexLock lock(mutex_);
  for (;;) {
    if (lines_.empty() && lost_ != 0) tell_of_lost();
    if (lines_.empty()) {
      went_.notify_all();
      if (stop_) break;
      came_.wait(lock);
      continue;
    }
    const std::string& line = lines_.front();  // stays where it is: others only append
    lock.unlock();
    const auto n = ::write(fd_, line.data(), line.size());
    const int err = n < 0 ? errno : 0;
    if (err == EAGAIN) takes(fd_, kRetryNs);  // whoever shares it made it so
    lock.lock();
    refused_ = n < 0 && err != EINTR && err != EAGAIN;
    if (n >= 0) took(static_cast<std::size_t>(n));
    if (!refused_) continue;
    went_.notify_all();
    if (stop_) break;
    came_.wait_for_ns(lock, kRetryNs, [this]() REQUIRES(mutex_) { return stop_; });
  }
  running_ = false;
  went_.notify_all();
}

bool LogQueue::flush(std::int64_t patience_ns) {
  MutexLock lock(mutex_);
  if (!running_) write_here();
  else
    went_.wait_for_ns(lock, patience_ns,
                      [this]() REQUIRES(mutex_) { return (lines_.empty() && lost_ == 0) || refused_ || !running_; });
  return lines_.empty() && lost_ == 0;
}

}  // namespace vitald
