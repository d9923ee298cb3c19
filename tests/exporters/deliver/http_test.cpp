// SPDX-License-Identifier: Apache-2.0
// The one HTTP client against servers that end their answers in all the wrong places.
#include "exporters/deliver/http.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "core/clock.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

// Reads a request and says `answer`; then it closes the connection, resets it, or stays silent until the client goes.
class OneAnswer {
 public:
  enum class Then { close, reset, wait };
  OneAnswer(std::string answer, Then then) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this, answer = std::move(answer), then] {
      const Fd client(accept(listener_.get(), nullptr, nullptr));
      std::string request;
      for (char c; !request.ends_with("\r\n\r\nhello") && read(client.get(), &c, 1) == 1;) request += c;
      EXPECT_EQ(send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
      if (then == Then::reset) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // what was said before arrives first
        const linger at_once{1, 0};
        setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      }
      char c;
      if (then == Then::wait) {
        EXPECT_LE(read(client.get(), &c, 1), 0);
      }
    });
  }
  ~OneAnswer() { thread_.join(); }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}/", port_); }

 private:
  Fd listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// Who said 200 has what he was sent, whatever becomes of the rest: the same again would be a second alert.
TEST(HttpClient, AStatusIsAnAnswer) {
  using enum OneAnswer::Then;
  struct Case {
    const char* name;
    std::string answer;
    OneAnswer::Then then;
    int status;  // 0: no answer
    bool cut;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  for (const auto& c : {
           Case{"whole", ok + "Content-Length: 2\r\n\r\nhi", close, 200, false},
           Case{"trailers", chunked + "2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", close, 200, false},
           Case{"until the end of the connection", ok + "\r\nhi", close, 200, false},
           Case{"less than was promised", ok + "Content-Length: 10\r\n\r\nhi", close, 200, true},
           Case{"a reset", ok + "Content-Length: 10\r\n\r\nhi", reset, 200, true},
           Case{"no chunk", chunked + "nonsense\r\n", close, 200, true},
           Case{"no last chunk", chunked + "2\r\nhi\r\n", close, 200, true},
           Case{"a body that does not come", ok + "Content-Length: 10\r\n\r\nhi", wait, 200, true},
           Case{"a refusal that is cut", "HTTP/1.1 503 Later\r\nRetry-After: 7\r\nContent-Length: 10\r\n\r\nhi", close,
                503, true},
           Case{"a head that is cut", ok + "Content-Le", close, 200, true},
           Case{"no end of the head", ok + "Content-Length: 2\r\n", wait, 0, false},
           Case{"not the final one", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", close, 0, false},
           Case{"the next one is cut", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nConte", close, 200, true},
       }) {
    SCOPED_TRACE(c.name);
    const OneAnswer server(c.answer, c.then);
    HttpClient client;
    const auto deadline_ns = SystemClock::read(CLOCK_BOOTTIME) + (c.then == wait ? 500'000'000 : 10'000'000'000);
    const auto got = client.send({"POST", server.url(), {}, "hello"}, {}, {deadline_ns, -1});
    EXPECT_EQ(got ? got->status : 0, c.status) << (got ? "" : got.error().text);
    EXPECT_EQ(got && got->cut, c.cut);
    EXPECT_EQ(got && got->retry_after_ns == 7'000'000'000, c.status == 503);
  }
}

TEST(HttpClient, RetryAfterIsBounded) {
  constexpr std::int64_t kNow = 1'800'000'000'000'000'000, kMost = 1'000'000'000'000'000;
  EXPECT_EQ(retry_after_ns(" 120 ", kNow), 120'000'000'000);
  EXPECT_EQ(retry_after_ns("99999999999999", kNow), kMost);
  EXPECT_EQ(retry_after_ns("Fri, 15 Jan 2027 08:01:00 GMT", kNow), 60'000'000'000);
  EXPECT_EQ(retry_after_ns("Fri, 31 Dec 9999 23:59:59 GMT", kNow), kMost);
  EXPECT_EQ(retry_after_ns("Thu, 01 Jan 1970 00:00:00 GMT", kNow), 0);
  EXPECT_EQ(retry_after_ns("soon", kNow), 0);
}

}  // namespace
}  // namespace vitald
