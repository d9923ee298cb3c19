// SPDX-License-Identifier: Apache-2.0
// The web configuration as the gate's own thread reads it, and what the gate lets in.
#include "agent/http/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/clock.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// bcrypt of "secret" at the least cost there is.
constexpr const char* kHash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

struct Folder {
  Folder() {
    std::string name = fs::temp_directory_path() / "gate_test.XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  // As configuration management does: a new file in its place.
  void write(const std::string& text) const {
    std::ofstream(path / "new") << text;
    fs::rename(path / "new", file());
  }
  [[nodiscard]] std::string file() const { return path / "web.yaml"; }
  fs::path path;
};

bool eventually(const std::function<bool()>& is_so) {
  for (int i = 0; i < 500; ++i) {
    if (is_so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(GateFile, WhatIsWrongIsSaidAndTheLastGoodOneStays) {
  const Folder folder;
  std::vector<std::string> problems;
  EXPECT_EQ(GateFile::load(folder.file(), problems), nullptr);
  EXPECT_THAT(problems, testing::ElementsAre(HasSubstr("--web.config.file: ")));

  folder.write("http_server_config: {headers: {X-Frame-Options: deny}}\n");
  problems.clear();
  const auto file = GateFile::load(folder.file(), problems);
  ASSERT_NE(file, nullptr) << problems[0];
  file->watch(2'000'000);
  const auto headers = [&] { return file->state()->config.headers; };
  const auto first = file->state();

  testing::internal::CaptureStderr();
  for (const auto* bad : {"", "http_server_config: [\n", "nonsense: 1\n"}) {
    SCOPED_TRACE(bad);
    const auto before = file->looked_boot_ns();
    folder.write(bad);
    EXPECT_TRUE(eventually([&] { return file->looked_boot_ns() > before + 20'000'000; }));
    EXPECT_EQ(file->state(), first);
  }
  folder.write("http_server_config: {headers: {X-Frame-Options: sameorigin}}\n");
  EXPECT_TRUE(eventually([&] { return headers()[0].second == "sameorigin"; }));
  const auto second = file->state();
  folder.write("http_server_config: {headers: {X-Frame-Options: sameorigin}}\n");  // touched, not changed
  const auto before = file->looked_boot_ns();
  EXPECT_TRUE(eventually([&] { return file->looked_boot_ns() > before + 20'000'000; }));
  EXPECT_EQ(file->state(), second);
  fs::remove(folder.file());
  EXPECT_TRUE(eventually([&] { return file->looked_boot_ns() > before + 60'000'000; }));
  EXPECT_EQ(file->state(), second);
  const auto log = testing::internal::GetCapturedStderr();
  const auto times = [&](std::string_view words) {
    int n = 0;
    for (auto at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(times("to let everybody in"), 1) << log;  // once, however often it is looked at
  EXPECT_EQ(times("unknown key"), 1) << log;
  EXPECT_EQ(times("read again"), 1) << log;
}

// All of these are well-formed; somebody may be writing them just now.
TEST(GateFile, UsersAreLetGoOnlyByAWord) {
  const Folder folder;
  folder.write(std::string("basic_auth_users: {alice: ") + kHash + "}\n");
  std::vector<std::string> problems;
  const auto file = GateFile::load(folder.file(), problems);
  ASSERT_NE(file, nullptr) << problems[0];
  file->watch(2'000'000);
  testing::internal::CaptureStderr();
  for (const auto* torn : {"basic_auth_users:\n", "# who may come in\n", "{}\n", "http_server_config: {}\n", "---\n",
                           "basic_auth_users: ~\n", "rate_limit: {interval: 1s, burst: 5}\n"}) {
    SCOPED_TRACE(torn);
    const auto before = file->looked_boot_ns();
    folder.write(torn);
    EXPECT_TRUE(eventually([&] { return file->looked_boot_ns() > before + 20'000'000; }));
    EXPECT_EQ(file->state()->config.users.size(), 1U);
    EXPECT_FALSE(file->good());
  }
  folder.write("basic_auth_users: {}\n");
  EXPECT_TRUE(eventually([&] { return file->state()->config.users.empty() && file->good(); }));
  // Nobody is kept out any more: nothing to guard.
  folder.write("http_server_config: {headers: {X-Frame-Options: deny}}\n");
  EXPECT_TRUE(eventually([&] { return !file->state()->config.headers.empty(); }));
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("no basic_auth_users, which are in force: to let everybody in, write"));
}

TEST(Gate, WhoComesIn) {
  const Folder folder;
  folder.write(std::string("basic_auth_users: {alice: ") + kHash + "}\n");
  std::vector<std::string> problems;
  const auto gate = Gate::load(folder.file(), problems);
  ASSERT_NE(gate, nullptr) << problems[0];
  const auto wake = std::make_shared<Wake>();
  gate->start(wake);
  const Routes routes({{"/", "GET", Access::read, 0, "", [](const Request& r) { return text_response(200, r.user); }},
                       {"/c", "POST", Access::change, 0, "", [](const Request&) { return text_response(200, ""); }},
                       {"/h", "GET", Access::anyone, 0, "", [](const Request&) { return text_response(200, "h"); }}});
  struct Case {
    const char *name, *method, *path, *authorization;
    int want;
    const char* body;
  };
  for (const auto& c :
       {Case{"nobody", "GET", "/", "", 401, "Unauthorized\n"}, Case{"no base64", "GET", "/", "Basic !!", 401, "U"},
        Case{"right", "GET", "/", "Basic YWxpY2U6c2VjcmV0", 200, "alice"},
        Case{"right again", "GET", "/", "basic YWxpY2U6c2VjcmV0", 200, "alice"},
        Case{"wrong", "GET", "/", "Basic YWxpY2U6U2VjcmV0", 401, "U"},
        Case{"unknown user", "GET", "/", "Basic Ym9iOnNlY3JldA==", 401, "U"},
        Case{"a user may change", "POST", "/c", "Basic YWxpY2U6c2VjcmV0", 200, ""},
        Case{"nobody may", "POST", "/c", "", 401, "U"}, Case{"not there", "GET", "/x", "", 401, "U"},
        Case{"a kubelet has no password", "GET", "/h", "", 200, "h"},
        Case{"nor one with a wrong one", "GET", "/h", "Basic YWxpY2U6U2VjcmV0", 200, "h"},
        Case{"it may only look", "POST", "/h", "", 405, "only"}}) {
    SCOPED_TRACE(c.name);
    Request request;
    request.method = c.method;
    request.path = c.path;
    request.loopback = true;
    request.peer = "127.0.0.1";
    request.arrived_boot_ns = SystemClock().boot_ns();
    request.headers = {{"Authorization", c.authorization}};
    const auto answer = gate->answer(request, routes);
    std::optional<Response> got;
    if (const auto* response = std::get_if<Response>(&answer)) got = *response;
    else
      EXPECT_TRUE(eventually([&] { return (got = std::get<1>(answer)->poll(SystemClock().boot_ns())).has_value(); }));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status, c.want);
    EXPECT_TRUE(got->body->starts_with(c.body)) << *got->body;
  }
}

}  // namespace
}  // namespace vitald
