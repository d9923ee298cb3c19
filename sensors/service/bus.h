// SPDX-License-Identifier: Apache-2.0
// The system bus through sd-bus. libsystemd is opened at run time, so that only machines with systemd need it.
#pragma once

#include <systemd/sd-bus.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"

namespace vitald {

#define VITALD_SDBUS_FUNCTIONS(X)   \
  X(sd_bus_call_method)             \
  X(sd_bus_error_free)              \
  X(sd_bus_flush_close_unref)       \
  X(sd_bus_get_property)            \
  X(sd_bus_message_enter_container) \
  X(sd_bus_message_exit_container)  \
  X(sd_bus_message_read)            \
  X(sd_bus_message_unref)           \
  X(sd_bus_new)                     \
  X(sd_bus_open_system)             \
  X(sd_bus_set_address)             \
  X(sd_bus_set_method_call_timeout) \
  X(sd_bus_start)

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

// A connection to one service; opened on first use and again after it was lost.
class Bus {
 public:
  // An address of a peer that is no bus, or empty for the system bus.
  Bus(const char* service, std::string peer) : service_(service), peer_(std::move(peer)) {}

  // Starts the time that all calls until the next begin() share. Errors: absent (no libsystemd), gone, denied, io.
  Result<> begin();

  // A method without arguments that returns an array of structs of the given types.
  Result<BusRows> rows(const char* path, const char* interface, const char* method, const char* types);
  Result<std::string> text(const char* path, const char* interface, const char* property);
  Result<std::uint32_t> u32(const char* path, const char* interface, const char* property);
  Result<std::uint64_t> u64(const char* path, const char* interface, const char* property);
  Result<bool> boolean(const char* path, const char* interface, const char* property);

  // True after a call that was not answered: further ones would not be either.
  [[nodiscard]] bool lost() const { return !bus_; }

 private:
  Result<> ready(const char* what);
  tl::unexpected<Error> failed(const char* what, int r, const sd_bus_error& error);
  template <class Value, class Read>
  Result<Value> property(const char* path, const char* interface, const char* name, const char* type);

  const char* service_;
  std::string peer_;
  const SdBus* lib_ = nullptr;
  std::shared_ptr<sd_bus> bus_;
  std::int64_t deadline_ns_ = 0;
};

}  // namespace vitald
