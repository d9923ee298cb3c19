// SPDX-License-Identifier: Apache-2.0
#include "sensors/service/bus.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/os/root_path.h"

namespace vitald {
namespace {

// Of one collection: less than the worker's deadline, so that a manager that hangs costs an error, not a process.
constexpr std::int64_t kPatienceNs = 4'000'000'000;
// dbus-daemon refuses a connection's 129th call that waits for its answer.
constexpr std::size_t kWindow = 64;

Result<const SdBus*> load() {
  static SdBus table;
  void* handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fail(Errc::absent, fmt::format("{}; install libsystemd (Debian: libsystemd0)", dlerror()));
#define X(name)                                                           \
  table.name = reinterpret_cast<decltype(&::name)>(dlsym(handle, #name)); \
  if (!table.name) return fail(Errc::absent, fmt::format("libsystemd.so.0 has no {}; 241 or newer is needed", #name));
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

// As the D-Bus specification wants it ("Server Addresses"): anything else as %XX.
std::string address_of(const std::string& path) {
  std::string out = "unix:path=";
  for (const char c : path) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       std::string_view("-_/.*").find(c) != std::string_view::npos;
    if (plain) out += c;
    else out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

Bus Bus::system(const Host& host, const char* service) {
  const auto& root = host.roots().root;
  if (root == "/") return {service, "", true};
  return {service, address_of(path_below_root(root, "/run/dbus/system_bus_socket")), true};
}

Bus Bus::peer(const Host& host, const char* service, std::string_view socket) {
  return {service, address_of(path_below_root(host.roots().root, socket)), false};
}

Result<> Bus::begin() {
  deadline_ns_ = SystemClock::read(CLOCK_BOOTTIME) + kPatienceNs;
  if (bus_) return {};
  static const auto loaded = load();
  if (!loaded) return fail(loaded.error());
  lib_ = *loaded;
  sd_bus* opened = nullptr;
  const bool told = address_.empty() || (is_bus_ && std::getenv("DBUS_SYSTEM_BUS_ADDRESS"));
  int r = told ? lib_->sd_bus_open_system(&opened) : lib_->sd_bus_new(&opened);
  const std::shared_ptr<sd_bus> bus(opened, [lib = lib_](sd_bus* b) { lib->sd_bus_close_unref(b); });
  if (!told) {
    if (r >= 0) r = lib_->sd_bus_set_address(opened, address_.c_str());
    if (r >= 0 && is_bus_) r = lib_->sd_bus_set_bus_client(opened, 1);
    if (r >= 0) r = lib_->sd_bus_start(opened);
  }
  if (r < 0) return fail(from_errno(told ? "the system bus" : address_, -r));
  bus_ = bus;
  return {};
}

std::uint64_t Bus::left_us() const {
  const auto left = deadline_ns_ - SystemClock::read(CLOCK_BOOTTIME);
  return left > 0 ? static_cast<std::uint64_t>(left / 1000) : 0;
}

tl::unexpected<Error> Bus::lost(const char* what, int err) {
  bus_.reset();
  return fail(from_errno(fmt::format("{}: {}", service_, what), err));
}

Result<BusRows> Bus::rows(const char* path, const char* interface, const char* method, const char* types) {
  if (!bus_ || left_us() == 0) return lost(method, bus_ ? ETIMEDOUT : ENOTCONN);
  lib_->sd_bus_set_method_call_timeout(bus_.get(), left_us());
  BusError error(*lib_);
  sd_bus_message* reply = nullptr;
  const int r = lib_->sd_bus_call_method(bus_.get(), service_, path, interface, method, &error.value, &reply, nullptr);
  if (r < 0) {
    const std::string said = error.value.message ? error.value.message : "";
    return lost(said.empty() ? method : fmt::format("{}: {}", method, said).c_str(), -r);
  }
  BusRows rows;
  rows.lib_ = lib_;
  rows.what_ = fmt::format("{}: {}", service_, method);
  rows.message_.reset(reply, [lib = lib_](sd_bus_message* m) { lib->sd_bus_message_unref(m); });
  if (lib_->sd_bus_message_enter_container(reply, SD_BUS_TYPE_ARRAY, fmt::format("({})", types).c_str()) < 0)
    return fail(Errc::malformed, rows.what_ + ": a reply of other types");
  return rows;
}

// What the callbacks of one ask() share; each has a pointer to its own Slot.
struct Bus::Round {
  struct Slot {
    Round* round;
    BusQuestion* question;
  };
  const SdBus* lib;
  std::size_t answered = 0;
  bool gave_up = false;  // the bus or sd-bus, on one or all of them
};

int Bus::on_answer(sd_bus_message* m, void* userdata, sd_bus_error*) {
  auto& [round, question] = *static_cast<Round::Slot*>(userdata);
  const auto& lib = *round->lib;
  ++round->answered;
  if (const auto* error = lib.sd_bus_message_get_error(m)) {
    const std::string_view name = error->name ? error->name : "";
    if (name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_TIMEOUT || name == SD_BUS_ERROR_DISCONNECTED) {
      round->gave_up = true;
      return 0;
    }
    question->state = BusQuestion::State::refused;
    question->text = fmt::format("{} ({})", error->message ? error->message : "", name);
    return 0;
  }
  const char type[] = {question->type, 0};
  int r = lib.sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, type);
  if (r >= 0 && question->type == SD_BUS_TYPE_STRING) {
    const char* text = "";
    r = lib.sd_bus_message_read(m, type, &text);
    if (r >= 0) question->text = text;
  } else if (r >= 0 && question->type == SD_BUS_TYPE_UINT64) {
    r = lib.sd_bus_message_read(m, type, &question->number);
  } else if (r >= 0) {
    std::uint32_t n = 0;  // an int of sd-bus for b
    r = lib.sd_bus_message_read(m, type, &n);
    question->number = n;
  }
  question->state = r >= 0 ? BusQuestion::State::known : BusQuestion::State::refused;
  if (r < 0) question->text = "a value of another type";
  return 0;
}

Result<> Bus::ask(std::span<BusQuestion> questions) {
  Round round{lib_};
  std::vector<Round::Slot> slots;
  slots.reserve(questions.size());
  for (auto& question : questions) slots.push_back({&round, &question});
  std::size_t sent = 0;
  while (round.answered < questions.size()) {
    const char* next = questions[sent < questions.size() ? sent : questions.size() - 1].property;
    if (!bus_) return lost(next, ENOTCONN);
    if (left_us() == 0) return lost(next, ETIMEDOUT);
    lib_->sd_bus_set_method_call_timeout(bus_.get(), left_us());
    for (; sent < questions.size() && sent - round.answered < kWindow; ++sent) {
      const auto& q = questions[sent];
      const int r = lib_->sd_bus_call_method_async(bus_.get(), nullptr, service_, q.path.c_str(),
                                                   "org.freedesktop.DBus.Properties", "Get", on_answer, &slots[sent],
                                                   "ss", q.interface, q.property);
      if (r < 0) return lost(q.property, -r);
    }
    int r = lib_->sd_bus_process(bus_.get(), nullptr);
    if (r == 0) r = lib_->sd_bus_wait(bus_.get(), left_us());
    if (r < 0 && r != -EINTR) return lost(next, -r);
    if (round.gave_up) {
      const auto open = [](const BusQuestion& q) { return q.state == BusQuestion::State::open; };
      return lost(std::find_if(questions.begin(), questions.end(), open)->property, ETIMEDOUT);
    }
  }
  return {};
}

Result<std::string> Bus::text(const char* path, const char* interface, const char* property) {
  BusQuestion question{path, interface, property, SD_BUS_TYPE_STRING};
  if (auto asked = ask({&question, 1}); !asked) return fail(asked.error());
  if (question.state != BusQuestion::State::known)
    return fail(Errc::io, fmt::format("{}: {}: {}", service_, property, question.text));
  return question.text;
}

}  // namespace vitald
