// SPDX-License-Identifier: Apache-2.0
// The system bus through sd-bus. libsystemd is opened at run time, so that only machines with systemd need it.
#pragma once

#include <systemd/sd-bus.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/host.h"
#include "core/result.h"

namespace vitald {

#define VITALD_SDBUS_FUNCTIONS(X)   \
  X(sd_bus_call_method)             \
  X(sd_bus_call_method_async)       \
  X(sd_bus_close_unref)             \
  X(sd_bus_error_free)              \
  X(sd_bus_message_enter_container) \
  X(sd_bus_message_exit_container)  \
  X(sd_bus_message_get_error)       \
  X(sd_bus_message_read)            \
  X(sd_bus_message_unref)           \
  X(sd_bus_new)                     \
  X(sd_bus_open_system)             \
  X(sd_bus_process)                 \
  X(sd_bus_set_address)             \
  X(sd_bus_set_bus_client)          \
  X(sd_bus_set_method_call_timeout) \
  X(sd_bus_start)                   \
  X(sd_bus_wait)

struct SdBus {
#define X(name) decltype(&::name) name = nullptr;
  VITALD_SDBUS_FUNCTIONS(X)
#undef X
};

class Bus;

// A reply whose body is one array of structs.
class BusRows {
 public:
  // Reads the next struct's fields (sd_bus_message_read's types and pointers); false at the end. The text
  // they point to lives as long as this. Errors: malformed.
  template <class... Field>
  Result<bool> next(const char* types, Field... fields) {
    const int r = lib_->sd_bus_message_enter_container(message_.get(), SD_BUS_TYPE_STRUCT, types);
    if (r == 0) return false;
    if (r < 0 || lib_->sd_bus_message_read(message_.get(), types, fields...) < 0 ||
        lib_->sd_bus_message_exit_container(message_.get()) < 0)
      return fail(Errc::malformed, what_ + ": a reply of other types");
    return true;
  }

 private:
  friend class Bus;
  const SdBus* lib_ = nullptr;
  std::shared_ptr<sd_bus_message> message_;
  std::string what_;
};

// One property of one object, and what was answered.
struct BusQuestion {
  std::string path;
  const char* interface;
  const char* property;
  char type;  // s, b (numbers 0 and 1), u or t

  enum class State : std::uint8_t { open, known, refused } state = State::open;
  std::string text = {};  // of s; why, when it was refused
  std::uint64_t number = 0;
};

// A connection to one service; opened by begin() and again after it was lost.
class Bus {
 public:
  // On the host's system bus: below --path.rootfs, unless DBUS_SYSTEM_BUS_ADDRESS says another.
  static Bus system(const Host& host, const char* service);
  // On a socket of the service's own, a path on the host.
  static Bus peer(const Host& host, const char* service, std::string_view socket);

  // Starts the time that all calls until the next begin() share. Errors: absent (no libsystemd), gone, denied, io.
  Result<> begin();

  // A method without arguments that returns an array of structs of the given types.
  Result<BusRows> rows(const char* path, const char* interface, const char* method, const char* types);

  // Asks many at once instead of waiting for each. An error (the connection is lost then, and some stay open)
  // is not that a service refuses one.
  Result<> ask(std::span<BusQuestion> questions);

  // One text. Errors: also io when it was refused.
  Result<std::string> text(const char* path, const char* interface, const char* property);

 private:
  Bus(const char* service, std::string address, bool is_bus)
      : service_(service), address_(std::move(address)), is_bus_(is_bus) {}
  struct Round;
  static int on_answer(sd_bus_message* m, void* question_of_round, sd_bus_error*);
  [[nodiscard]] std::uint64_t left_us() const;
  tl::unexpected<Error> lost(const char* what, int err);

  const char* service_;
  std::string address_;  // empty: libsystemd knows
  bool is_bus_;
  const SdBus* lib_ = nullptr;
  std::shared_ptr<sd_bus> bus_;
  std::int64_t deadline_ns_ = 0;
};

}  // namespace vitald
