// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <thread>

#include "core/os/fd.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

// Answers one request on a UNIX socket with the given text and keeps the request.
class Server {
 public:
  Server(const std::string& path, std::string reply) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)), reply_(std::move(reply)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd_.get(), 1) != 0)
      throw std::runtime_error(path);
    thread_ = std::thread([this] {
      const Fd peer(accept(fd_.get(), nullptr, nullptr));
      char part[4096];
      while (request.find("</methodCall>") == std::string::npos) {
        const auto n = recv(peer.get(), part, sizeof part, 0);
        if (n <= 0) return;
        request.append(part, static_cast<std::size_t>(n));
      }
      send(peer.get(), reply_.data(), reply_.size(), MSG_NOSIGNAL);
    });
  }
  ~Server() { join(); }
  void join() {
    shutdown(fd_.get(), SHUT_RDWR);  // ends accept() when nobody came
    if (thread_.joinable()) thread_.join();
  }
  std::string request;

 private:
  Fd fd_;
  std::string reply_;
  std::thread thread_;
};

std::string member(const char* name, const std::string& value) {
  return fmt::format("<member>\n<name>{}</name>\n<value>{}</value>\n</member>\n", name, value);
}
std::string process(const std::string& name, int state, int start, int exit_status) {
  const auto number = [](int n) { return fmt::format("<int>{}</int>", n); };
  return "<value><struct>\n" + member("description", "<string>pid 7, uptime 0:00:03</string>") +
         member("exitstatus", number(exit_status)) + member("group", "<string>web</string>") +
         member("name", "<string>" + name + "</string>") + member("start", number(start)) +
         member("state", number(state)) + "</struct></value>\n";
}
std::string reply(const std::string& values) {
  return "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n"
         "<value><array><data>\n" +
         values + "</data></array></value>\n</param>\n</params>\n</methodResponse>\n";
}

TEST(Supervisord, Cases) {
  struct Case {
    const char* name;
    std::string answer, text, error;
  };
  const std::string up =
      "node_supervisord_state{group=\"web\",name=\"a&b\"} 20\n"
      "node_supervisord_exit_status{group=\"web\",name=\"a&b\"} 0\n"
      "node_supervisord_up{group=\"web\",name=\"a&b\"} 1\n"
      "node_supervisord_start_time_seconds{group=\"web\",name=\"a&b\"} 1700000000\n";
  const std::string down =
      "node_supervisord_state{group=\"web\",name=\"c\"} 100\n"
      "node_supervisord_exit_status{group=\"web\",name=\"c\"} 3\n"
      "node_supervisord_up{group=\"web\",name=\"c\"} 0\n";
  const Case cases[] = {
      {"one up, one ended", reply(process("a&amp;b", 20, 1700000000, 0) + process("c", 100, 1600000000, 3)), up + down,
       ""},
      {"none", reply(""), "", ""},
      {"comments, CDATA and references by number", reply(process("a<!-- b -->&#38;<![CDATA[b]]>", 20, 1700000000, 0)),
       up, ""},
      {"crossed tags", reply("<value><struct></value></struct>"), "", "malformed"},
      {"cut in the second", reply(process("a&amp;b", 20, 1700000000, 0) + process("c", 100, 0, 3)).substr(0, 800), up,
       "malformed"},
      {"a fault",
       "HTTP/1.0 200 OK\r\n\r\n<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>6</int>"
       "</value></member></struct></value></fault></methodResponse>",
       "", "malformed"},
      {"password wanted", "HTTP/1.0 401 Unauthorized\r\n\r\n", "", "io: unix:{}: 'HTTP/1.0 401 Unauthorized'"},
      {"no HTTP", "hello", "", "io: unix:{}: 'hello'"},
      {"nothing", "", "", "io: unix:{}: ''"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const CollectorFixture tree("entropy");
    const auto path = tree.root() + "/s";
    Server server(path, c.answer);
    CollectorFixture fixture("supervisord", {}, {{"collector.supervisord.url", "unix:" + path}});
    const auto got = fixture.run();
    EXPECT_EQ(got.text, c.text);
    if (c.error == "malformed")
      EXPECT_TRUE(got.error.starts_with("malformed: unix:" + path + ": no list of processes")) << got.error;
    else EXPECT_EQ(got.error, fmt::format(fmt::runtime(c.error), path));
    server.join();
    EXPECT_TRUE(server.request.starts_with("POST /RPC2 HTTP/1.0\r\n")) << server.request;
  }
}

TEST(Supervisord, Errors) {
  const auto with = [](const char* url) {
    return run_collector("supervisord", {}, {{"collector.supervisord.url", url}}).error;
  };
  EXPECT_EQ(with("unix:///nowhere/s"), "gone: unix:///nowhere/s: No such file or directory (ENOENT)");
  EXPECT_EQ(with("http://me:secret@127.0.0.1:1/RPC2"),
            "io: http://127.0.0.1:1/RPC2: Connection refused (ECONNREFUSED)");
  EXPECT_EQ(
      with("https://localhost/RPC2"),
      "malformed: --collector.supervisord.url: 'https://localhost/RPC2': http:// or unix:// expected (supervisord has "
      "no TLS)");
}

}  // namespace
}  // namespace vitald
