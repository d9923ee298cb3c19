// SPDX-License-Identifier: Apache-2.0
#include "sensors/service/bus.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "core/clock.h"

namespace vitald {
namespace {

// Of one collection: less than the worker's deadline, so that a manager that hangs costs an error, not a process.
constexpr std::int64_t kPatienceNs = 4'000'000'000;

Result<const SdBus*> load() {
  static SdBus table;
  void* handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fail(Errc::absent, fmt::format("{}; install libsystemd (Debian: libsystemd0)", dlerror()));
#define X(name)                                                           \
  table.name = reinterpret_cast<decltype(&::name)>(dlsym(handle, #name)); \
  if (!table.name) return fail(Errc::absent, fmt::format("libsystemd.so.0 has no {}; 240 or newer is needed", #name));
  VITALD_SDBUS_FUNCTIONS(X)
#undef X
  return &table;
}

// An sd_bus_error that frees itself.
struct BusError {
  explicit BusError(const SdBus& lib) : lib_(lib) {}
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  ~BusError() { lib_.sd_bus_error_free(&value); }
  sd_bus_error value = {nullptr, nullptr, 0};

 private:
  const SdBus& lib_;
};

}  // namespace

Result<> Bus::begin() {
  deadline_ns_ = SystemClock::read(CLOCK_BOOTTIME) + kPatienceNs;
  if (bus_) return {};
  static const auto loaded = load();
  if (!loaded) return fail(loaded.error());
  lib_ = *loaded;
  sd_bus* opened = nullptr;
  int r = peer_.empty() ? lib_->sd_bus_open_system(&opened) : lib_->sd_bus_new(&opened);
  const std::shared_ptr<sd_bus> bus(opened, [lib = lib_](sd_bus* b) { lib->sd_bus_flush_close_unref(b); });
  if (r >= 0 && !peer_.empty()) r = lib_->sd_bus_set_address(opened, peer_.c_str());
  if (r >= 0 && !peer_.empty()) r = lib_->sd_bus_start(opened);
  if (r < 0) return fail(from_errno(peer_.empty() ? "the system bus" : peer_, -r));
  bus_ = bus;
  return {};
}

Result<> Bus::ready(const char* what) {
  const auto left = deadline_ns_ - SystemClock::read(CLOCK_BOOTTIME);
  if (!bus_) return fail(Errc::io, fmt::format("{}: {}: the connection was lost", service_, what));
  if (left <= 0) {
    bus_.reset();
    return fail(Errc::timeout, fmt::format("{}: {}: not all answers came within 4 s", service_, what));
  }
  lib_->sd_bus_set_method_call_timeout(bus_.get(), static_cast<std::uint64_t>(left / 1000));
  return {};
}

tl::unexpected<Error> Bus::failed(const char* what, int r, const sd_bus_error& error) {
  // What a service answers by an error keeps the connection.
  const bool answered = error.name && r != -ETIMEDOUT && r != -ENOTCONN && r != -ECONNRESET;
  if (!answered) bus_.reset();
  auto said = from_errno(fmt::format("{}: {}", service_, what), -r);
  if (answered) said.text = fmt::format("{}: {}: {} ({})", service_, what, error.message, error.name);
  return fail(std::move(said));
}

Result<BusRows> Bus::rows(const char* path, const char* interface, const char* method, const char* types) {
  if (auto open = ready(method); !open) return fail(open.error());
  BusError error(*lib_);
  sd_bus_message* reply = nullptr;
  const int r = lib_->sd_bus_call_method(bus_.get(), service_, path, interface, method, &error.value, &reply, nullptr);
  if (r < 0) return failed(method, r, error.value);
  BusRows rows;
  rows.lib_ = lib_;
  rows.what_ = fmt::format("{}: {}", service_, method);
  rows.message_.reset(reply, [lib = lib_](sd_bus_message* m) { lib->sd_bus_message_unref(m); });
  if (lib_->sd_bus_message_enter_container(reply, SD_BUS_TYPE_ARRAY, fmt::format("({})", types).c_str()) < 0)
    return fail(Errc::malformed, rows.what_ + ": a reply of other types");
  return rows;
}

template <class Value, class Read>
Result<Value> Bus::property(const char* path, const char* interface, const char* name, const char* type) {
  if (auto open = ready(name); !open) return fail(open.error());
  BusError error(*lib_);
  sd_bus_message* reply = nullptr;
  int r = lib_->sd_bus_get_property(bus_.get(), service_, path, interface, name, &error.value, &reply, type);
  if (r < 0) return failed(name, r, error.value);
  const std::shared_ptr<sd_bus_message> owner(reply, [lib = lib_](sd_bus_message* m) { lib->sd_bus_message_unref(m); });
  Read value{};
  r = lib_->sd_bus_message_read(reply, type, &value);
  if (r < 0) return fail(Errc::malformed, fmt::format("{}: {}: a value of another type", service_, name));
  return Value(value);
}

Result<std::string> Bus::text(const char* path, const char* interface, const char* name) {
  return property<std::string, const char*>(path, interface, name, "s");
}
Result<std::uint32_t> Bus::u32(const char* path, const char* interface, const char* name) {
  return property<std::uint32_t, std::uint32_t>(path, interface, name, "u");
}
Result<std::uint64_t> Bus::u64(const char* path, const char* interface, const char* name) {
  return property<std::uint64_t, std::uint64_t>(path, interface, name, "t");
}
Result<bool> Bus::boolean(const char* path, const char* interface, const char* name) {
  return property<bool, int>(path, interface, name, "b");
}

}  // namespace vitald
