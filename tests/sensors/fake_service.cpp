// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/fake_service.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace vitald {
namespace {

int must(int r, const char* what) {
  if (r < 0) throw std::runtime_error(fmt::format("{}: errno {}", what, -r));
  return r;
}

}  // namespace

FakeService::FakeService(const std::string& name, FakeAnswers answers)
    : answers_(std::move(answers)), stop_(eventfd(0, EFD_CLOEXEC)) {
  start_daemon();
  must(sd_bus_open_system(&bus_), "open");
  must(sd_bus_add_filter(bus_, nullptr, on_message, this), "filter");
  must(sd_bus_request_name(bus_, name.c_str(), 0), "name");
  thread_ = std::thread([this] { serve(); });
}

FakeService::~FakeService() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
  sd_bus_flush_close_unref(bus_);
  kill(daemon_, SIGTERM);
  waitpid(daemon_, nullptr, 0);
  unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
  std::filesystem::remove_all(folder_);
}

void FakeService::start_daemon() {
  char name[] = "/tmp/vitald-bus-XXXXXX";
  if (!mkdtemp(name)) throw std::runtime_error("mkdtemp");
  folder_ = name;
  const auto address = "unix:path=" + folder_ + "/bus", option = "--address=" + address;
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const auto print = fmt::format("--print-address={}", write_end.get());
  daemon_ = fork();
  if (daemon_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", option.c_str(), print.c_str(),
           nullptr);
    _exit(127);
  }
  write_end.reset();
  char byte;  // it prints its address when it listens
  if (read(read_end.get(), &byte, 1) != 1) throw std::runtime_error("dbus-daemon does not start");
  setenv("DBUS_SYSTEM_BUS_ADDRESS", address.c_str(), 1);
}

void FakeService::serve() {
  for (;;) {
    while (!dead_ && sd_bus_process(bus_, nullptr) > 0) {
    }
    if (dead_) sd_bus_close(bus_);
    pollfd ready[] = {{stop_.get(), POLLIN, 0}, {dead_ ? -1 : sd_bus_get_fd(bus_), POLLIN, 0}};
    poll(ready, 2, -1);
    if (ready[0].revents != 0) return;
  }
}

int FakeService::on_message(sd_bus_message* m, void* userdata, sd_bus_error*) {
  auto& self = *static_cast<FakeService*>(userdata);
  if (sd_bus_message_is_method_call(m, nullptr, nullptr) <= 0) return 0;
  const std::string member = sd_bus_message_get_member(m);
  if (const auto it = self.answers_.methods.find(member); it != self.answers_.methods.end())
    return self.answer_rows(m, it->second);
  if (member == "Get") {
    const char *interface, *name;
    must(sd_bus_message_read(m, "ss", &interface, &name), "read");
    const auto key = fmt::format("{} {}", sd_bus_message_get_path(m), name);
    if (key == self.answers_.dies_at) return self.dead_ = true;
    if (const auto it = self.answers_.properties.find(key); it != self.answers_.properties.end())
      return self.answer_property(m, it->second);
  }
  sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_OBJECT, "no %s here", member.c_str());
  return 1;
}

int FakeService::answer_rows(sd_bus_message* m, const FakeAnswers::Rows& rows) {
  sd_bus_message* reply = nullptr;
  must(sd_bus_message_new_method_return(m, &reply), "reply");
  must(sd_bus_message_open_container(reply, 'a', fmt::format("({})", rows.types).c_str()), "array");
  for (const auto& row : rows.rows) {
    must(sd_bus_message_open_container(reply, 'r', rows.types.c_str()), "struct");
    for (std::size_t i = 0; i < rows.types.size(); ++i) {
      if (rows.types[i] == 'u') {
        const auto n = static_cast<std::uint32_t>(std::stoul(row.at(i)));
        must(sd_bus_message_append_basic(reply, 'u', &n), "u");
      } else {
        must(sd_bus_message_append_basic(reply, rows.types[i], row.at(i).c_str()), "text");
      }
    }
    must(sd_bus_message_close_container(reply), "struct");
  }
  must(sd_bus_message_close_container(reply), "array");
  must(sd_bus_send(bus_, reply, nullptr), "send");
  sd_bus_message_unref(reply);
  return 1;
}

int FakeService::answer_property(sd_bus_message* m, const FakeAnswers::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value))
    return sd_bus_reply_method_return(m, "v", "s", text->c_str());
  if (const auto* n = std::get_if<std::uint32_t>(&value)) return sd_bus_reply_method_return(m, "v", "u", *n);
  if (const auto* n = std::get_if<std::uint64_t>(&value)) return sd_bus_reply_method_return(m, "v", "t", *n);
  return sd_bus_reply_method_return(m, "v", "b", static_cast<int>(std::get<bool>(value)));
}

}  // namespace vitald
