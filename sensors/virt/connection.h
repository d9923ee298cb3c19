// SPDX-License-Identifier: Apache-2.0
// One lasting read-only connection. A thread of its own opens it (which can hang for as long as libvirtd
// does), runs libvirt's event loop (keepalive lives there) and opens it again when it is lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/result.h"
#include "sensors/virt/library.h"

namespace vitald::virt {

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> make(const Library& lib, std::string uri);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  using Handle = std::shared_ptr<virConnect>;
  // The open connection. Waits at most this long for one that is being opened.
  Result<Handle> get(std::chrono::milliseconds patience);
  // After a call that failed: opens a new one when this one is dead. True when it was.
  bool check(const Handle& handle);

  // UUIDs of guests that were defined, started, changed or removed since the last call.
  std::set<std::string> take_changed();
  // Whether a device was plugged into a guest, or out, since the last call.
  bool take_plugged();
  // How often it was opened.
  [[nodiscard]] std::uint64_t opened() const;

 private:
  Connection(const Library& lib, std::string uri, Fd wake);
  void loop();
  void serve(const Handle& handle);
  void lost(std::string why);
  void changed(virDomainPtr domain);
  bool pause(std::chrono::milliseconds duration);  // false: stop

  static void on_close(virConnectPtr, int reason, void* self);
  static int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* self);
  static void on_device(virConnectPtr, virDomainPtr domain, const char* alias, void* self);
  static void on_metadata(virConnectPtr, virDomainPtr domain, int type, const char* ns, void* self);
  static void on_block_job(virConnectPtr, virDomainPtr domain, const char* disk, int type, int status, void* self);

  const Library& lib_;
  const std::string uri_;
  const Fd wake_;  // an eventfd that ends a round of the event loop

  mutable Mutex mutex_;
  CondVar state_changed_;
  Handle handle_ GUARDED_BY(mutex_);  // null: being opened, or waiting to be
  bool stop_ GUARDED_BY(mutex_) = false, opening_ GUARDED_BY(mutex_) = true;
  std::string error_ GUARDED_BY(mutex_);  // why there is none
  std::chrono::steady_clock::time_point since_ GUARDED_BY(mutex_);
  std::set<std::string> changed_ GUARDED_BY(mutex_);
  bool plugged_ GUARDED_BY(mutex_) = false;
  std::uint64_t opened_ GUARDED_BY(mutex_) = 0;

  std::thread thread_;  // last: it uses the rest
};

}  // namespace vitald::virt
