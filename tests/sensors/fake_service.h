// SPDX-License-Identifier: Apache-2.0
// A private message bus (dbus-daemon) with one service on it that answers from a table.
#pragma once

#include <systemd/sd-bus.h>

#include <map>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "core/os/fd.h"

namespace vitald {

struct FakeAnswers {
  using Value = std::variant<std::string, std::uint32_t, std::uint64_t, bool>;
  struct Rows {
    std::string types;  // of one struct
    std::vector<std::vector<std::string>> rows;
  };
  std::map<std::string, Rows> methods;
  std::map<std::string, Value> properties;  // by "path Property"
  std::string dies_at;                      // a property: the service leaves the bus instead of answering
};

// While it lives, it is the system bus of this process.
class FakeService {
 public:
  FakeService(const std::string& name, FakeAnswers answers);
  ~FakeService();
  FakeService(const FakeService&) = delete;
  FakeService& operator=(const FakeService&) = delete;

 private:
  void start_daemon();
  void serve();
  static int on_message(sd_bus_message* m, void* self, sd_bus_error* error);
  int answer_rows(sd_bus_message* m, const FakeAnswers::Rows& rows);
  int answer_property(sd_bus_message* m, const FakeAnswers::Value& value);

  FakeAnswers answers_;
  std::string folder_;
  pid_t daemon_ = -1;
  Fd stop_;
  sd_bus* bus_ = nullptr;
  bool dead_ = false;
  std::thread thread_;
};

}  // namespace vitald
