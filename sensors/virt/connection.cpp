// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/connection.h"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <new>
#include <random>
#include <utility>
#include <vector>

namespace vitald::virt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
constexpr milliseconds kMinPause{500}, kMaxPause{15'000};
// A peer that is silent for 5 s is asked; after 3 questions without an answer the connection is closed.
constexpr int kKeepaliveSeconds = 5;
constexpr unsigned kKeepaliveCount = 3;

// Ends a round of virEventRunDefaultImpl(). The counter stays set only until the next round reads it.
void drain(int, int fd, int, void*) {
  std::uint64_t count;
  static_cast<void>(::read(fd, &count, sizeof count));
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::make(const Library& lib, std::string uri) {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(from_errno("libvirt: eventfd", errno));  // its thread could not be ended without
  return std::unique_ptr<Connection>(new Connection(lib, std::move(uri), std::move(wake)));
}

Connection::Connection(const Library& lib, std::string uri, Fd wake)
    : lib_(lib), uri_(std::move(uri)), wake_(std::move(wake)), since_(steady_clock::now()), thread_([this] {
        loop();
      }) {}

Connection::~Connection() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  lost("ending");
  thread_.join();
}

Result<Connection::Handle> Connection::get(milliseconds patience) {
  MutexLock lock(mutex_);
  state_changed_.wait_for_ns(lock, std::chrono::nanoseconds(patience).count(),
                             [&]() REQUIRES(mutex_) { return handle_ || !opening_; });
  if (handle_) return handle_;
  if (!opening_) return fail(Errc::io, fmt::format("libvirt: {}: {}", uri_, error_));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - since_).count();
  return fail(Errc::timeout, fmt::format("libvirt: {}: no answer to opening a connection for {} s", uri_, seconds));
}

bool Connection::check(const Handle& handle) {
  if (lib_.virConnectIsAlive(handle.get()) == 1) return false;
  lost("connection lost");
  return true;
}

std::set<std::string> Connection::take_changed() {
  const MutexLock lock(mutex_);
  return std::exchange(changed_, {});
}

bool Connection::take_plugged() {
  const MutexLock lock(mutex_);
  return std::exchange(plugged_, false);
}

std::uint64_t Connection::opened() const {
  const MutexLock lock(mutex_);
  return opened_;
}

void Connection::loop() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::minstd_rand random{std::random_device{}()};
  auto pause_ms = kMinPause;
  const int watch = lib_.virEventAddHandle(wake_.get(), VIR_EVENT_HANDLE_READABLE, drain, nullptr, nullptr);
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (stop_) break;
      opening_ = true;
      since_ = steady_clock::now();
    }
    // Somebody may hold it for longer than this object lives; the library stays.
    const Handle handle(lib_.virConnectOpenReadOnly(uri_.c_str()), [&lib = lib_](virConnectPtr c) {
      if (c) lib.virConnectClose(c);
    });
    if (handle) try {
        pause_ms = kMinPause;
        serve(handle);
      } catch (const std::exception& e) {
        lost(e.what());
      }
    else {
      auto why = last_error(lib_);
      const MutexLock lock(mutex_);
      opening_ = false;
      error_ = std::move(why);
      state_changed_.notify_all();
    }
    const auto jitter = std::uniform_int_distribution<int>(50, 100)(random);
    if (!pause(pause_ms * jitter / 100)) break;
    pause_ms = std::min(pause_ms * 2, kMaxPause);
  }
  lib_.virEventRemoveHandle(watch);
}

// Until the connection is lost or the end.
void Connection::serve(const Handle& handle) {
  auto* conn = handle.get();
  lib_.virConnectSetKeepAlive(conn, kKeepaliveSeconds, kKeepaliveCount);  // -1 where the driver knows none
  lib_.virConnectRegisterCloseCallback(conn, on_close, this, nullptr);
  std::vector<int> callbacks;
  const auto listen = [&](int id, auto* callback) {  // -1 where a driver has no such event: the slow sweep finds it
    callbacks.push_back(
        lib_.virConnectDomainEventRegisterAny(conn, nullptr, id, VIR_DOMAIN_EVENT_CALLBACK(callback), this, nullptr));
  };
  listen(VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle);
  listen(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, on_device);
  listen(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, on_device);
  listen(VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, on_metadata);
  listen(VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, on_block_job);
  {
    const MutexLock lock(mutex_);
    if (!stop_) handle_ = handle;
    opening_ = false;
    changed_.clear();
    ++opened_;
    state_changed_.notify_all();
  }
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (!handle_) break;
    }
    if (lib_.virEventRunDefaultImpl() != 0) lost("libvirt's event loop: " + last_error(lib_));
  }
  // Each callback holds a reference: without this the dead connection and its socket would stay.
  for (const int id : callbacks)
    if (id >= 0) lib_.virConnectDomainEventDeregisterAny(conn, id);
  lib_.virConnectUnregisterCloseCallback(conn, on_close);
}

void Connection::lost(std::string why) {
  {
    const MutexLock lock(mutex_);
    if (handle_) error_ = std::move(why);
    handle_.reset();
    state_changed_.notify_all();
  }
  const std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

bool Connection::pause(milliseconds duration) {
  MutexLock lock(mutex_);
  return !state_changed_.wait_for_ns(lock, std::chrono::nanoseconds(duration).count(),
                                     [&]() REQUIRES(mutex_) { return stop_; });
}

void Connection::changed(virDomainPtr domain) {
  char uuid[VIR_UUID_STRING_BUFLEN];
  if (lib_.virDomainGetUUIDString(domain, uuid) != 0) return;
  const MutexLock lock(mutex_);
  try {
    changed_.emplace(uuid);
  } catch (const std::bad_alloc&) {  // libvirt's frames are above: the slow sweep finds it
  }
}

void Connection::on_close(virConnectPtr, int reason, void* self) {
  static constexpr const char* kReasons[] = {"input or output error", "closed by libvirtd",
                                             "no answer to keepalive questions", "closed by us"};
  const auto i = static_cast<std::size_t>(reason);
  static_cast<Connection*>(self)->lost(i < std::size(kReasons) ? kReasons[i] : "closed");
}
int Connection::on_lifecycle(virConnectPtr, virDomainPtr domain, int, int, void* self) {
  static_cast<Connection*>(self)->changed(domain);
  return 0;
}
void Connection::on_device(virConnectPtr, virDomainPtr domain, const char*, void* self) {
  auto& connection = *static_cast<Connection*>(self);
  connection.changed(domain);
  const MutexLock lock(connection.mutex_);
  connection.plugged_ = true;
}
void Connection::on_metadata(virConnectPtr, virDomainPtr domain, int, const char*, void* self) {
  static_cast<Connection*>(self)->changed(domain);
}
void Connection::on_block_job(virConnectPtr, virDomainPtr domain, const char*, int, int, void* self) {
  static_cast<Connection*>(self)->changed(domain);
}

}  // namespace vitald::virt
