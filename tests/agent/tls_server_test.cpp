// SPDX-License-Identifier: Apache-2.0
// The real server with TLS, its times compressed: whatever a client says or does not say, its descriptor comes back.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "agent/http/server.h"
#include "core/clock.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

// A key and a certificate that signs itself, as PEM.
std::string self_signed() {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_privkey_init(&key);
  gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
  gnutls_x509_crt_t crt = nullptr;
  gnutls_x509_crt_init(&crt);
  gnutls_x509_crt_set_version(crt, 3);
  const unsigned char serial = 1;
  gnutls_x509_crt_set_serial(crt, &serial, sizeof serial);
  gnutls_x509_crt_set_dn(crt, "CN=test", nullptr);
  gnutls_x509_crt_set_activation_time(crt, std::time(nullptr) - 60);
  gnutls_x509_crt_set_expiration_time(crt, std::time(nullptr) + 3600);
  gnutls_x509_crt_set_key(crt, key);
  gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
  gnutls_datum_t text{};
  std::string out;
  gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text);
  out.append(reinterpret_cast<const char*>(text.data), text.size);
  gnutls_free(text.data);
  gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);
  out.append(reinterpret_cast<const char*>(text.data), text.size);
  gnutls_free(text.data);
  gnutls_x509_crt_deinit(crt);
  gnutls_x509_privkey_deinit(key);
  return out;
}

std::size_t open_descriptors() {
  const fs::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(fs::begin(all), fs::end(all)));
}

class TlsServerTest : public testing::Test {
 protected:
  static constexpr unsigned kConnections = 16;

  TlsServerTest() {
    std::string name = fs::temp_directory_path() / "tls_server_test.XXXXXX";
    folder_ = mkdtemp(name.data());
    std::ofstream(folder_ / "both.pem") << self_signed();
    std::ofstream(folder_ / "web.yaml") << "tls_server_config: {cert_file: both.pem, key_file: both.pem}\n";
    std::vector<std::string> problems;
    auto gate = Gate::load(folder_ / "web.yaml", problems);
    EXPECT_TRUE(gate) << fmt::format("{}", fmt::join(problems, "\n"));
    auto listeners = listen_on("127.0.0.1:0");
    const auto& address = listeners->front().address;
    port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    server_ =
        std::make_unique<Server>(std::move(*listeners),
                                 Routes({{"/", "GET, POST", Access::read, 60'000, "",
                                          [](const Request&) { return text_response(200, "here\n"); }}}),
                                 Collecting{[](std::int64_t) { return true; }, [](std::int64_t) { return true; }, {}},
                                 clock_, std::make_shared<const Wake>(), std::move(gate));
    EXPECT_TRUE(server_->start({.connections = kConnections, .request_seconds = 1, .idle_seconds = 30}));
  }
  ~TlsServerTest() override {
    EXPECT_TRUE(server_->stop(5'000'000'000));
    fs::remove_all(folder_);
  }

  [[nodiscard]] Fd connected() const {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{20, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  // An honest client on a connection.
  struct Client {
    explicit Client(int fd) {
      gnutls_certificate_allocate_credentials(&credentials);
      gnutls_init(&session, GNUTLS_CLIENT);
      gnutls_set_default_priority(session);
      gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
      gnutls_transport_set_int(session, fd);
      greeted = gnutls_handshake(session) == GNUTLS_E_SUCCESS;
    }
    ~Client() {
      gnutls_deinit(session);
      gnutls_certificate_free_credentials(credentials);
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    bool say(std::string_view words) const { return gnutls_record_send(session, words.data(), words.size()) > 0; }

    gnutls_certificate_credentials_t credentials = nullptr;
    gnutls_session_t session = nullptr;
    bool greeted = false;
  };
  // What one is answered.
  [[nodiscard]] std::string get() const {
    const auto fd = connected();
    const Client client(fd.get());
    std::string answer;
    if (!client.greeted || !client.say("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")) return answer;
    char chunk[4096];
    for (ssize_t n; (n = gnutls_record_recv(client.session, chunk, sizeof chunk)) > 0;)
      answer.append(chunk, static_cast<std::size_t>(n));
    return answer;
  }
  // The first flight of such a client, and nothing after it.
  static void say_hello(int fd) {
    gnutls_session_t session = nullptr;
    gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
    gnutls_set_default_priority(session);
    gnutls_transport_set_int(session, fd);
    const timeval none{0, 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    gnutls_handshake(session);
    gnutls_deinit(session);
  }
  static bool within(double seconds, const std::function<bool()>& is_so) {
    for (int i = 0; i < seconds * 100; ++i) {
      if (is_so()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  SystemClock clock_;
  fs::path folder_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsServerTest, NoClientKeepsADescriptor) {
  EXPECT_THAT(get(), testing::HasSubstr("here\n"));
  ASSERT_TRUE(within(5, [n = open_descriptors()] { return open_descriptors() <= n; }));
  const auto before = open_descriptors();
  struct Case {
    const char* name;
    std::function<void(int)> say;
  };
  const Case cases[] = {
      {"nothing", [](int) {}},
      {"the beginning of a record", [](int fd) { EXPECT_EQ(write(fd, "\x16\x03\x01\x02", 4), 4); }},
      {"plain HTTP", [](int fd) { EXPECT_GT(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 0); }},
      {"a hello and no more", [](int fd) { say_hello(fd); }},
      {"a hello, and its half is closed", [](int fd) { say_hello(fd), shutdown(fd, SHUT_WR); }},
      {"a hello, then a reset",
       [](int fd) {
         say_hello(fd);
         const linger at_once{1, 0};
         setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
         close(dup(fd));
       }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    // Twice as many as there may be: those that wait for the listener get their turn.
    std::vector<Fd> silent;
    for (unsigned i = 0; i < 2 * kConnections; ++i) {
      silent.push_back(connected());
      c.say(silent.back().get());
    }
    EXPECT_TRUE(within(10, [&] { return open_descriptors() <= before + silent.size(); })) << open_descriptors();
    EXPECT_THAT(get(), testing::HasSubstr("here\n"));
    silent.clear();
    EXPECT_TRUE(within(5, [&] { return open_descriptors() <= before; })) << open_descriptors();
  }
}

// One byte now and then does not buy more time.
TEST_F(TlsServerTest, ASlowHandshakeEnds) {
  const auto fd = connected();
  const auto began = clock_.boot_ns();
  bool ended = false;
  constexpr char kHello[] = "\x16\x03\x01\x02";
  for (int i = 0; i < 40 && !ended; ++i) {
    if (i < 4) {
      EXPECT_EQ(send(fd.get(), kHello + i, 1, MSG_NOSIGNAL), 1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    char c;
    const auto n = recv(fd.get(), &c, 1, MSG_DONTWAIT);
    ended = n == 0 || (n < 0 && errno != EAGAIN) || n > 0;
  }
  EXPECT_TRUE(ended);
  EXPECT_LT(clock_.boot_ns() - began, 6'000'000'000);
}

// Who says his body a byte at a time has the time of a request for it, and buys no spinning loop for one who is silent
// in his handshake.
TEST_F(TlsServerTest, ASlowBodyEndsAndTheLoopRests) {
  const auto fd = connected();
  const Client client(fd.get());
  ASSERT_TRUE(client.greeted);
  ASSERT_TRUE(client.say("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n"));
  const auto silent = connected();
  ASSERT_EQ(write(silent.get(), "\x16\x03\x01\x02\x00\x01\x00", 7), 7);
  const auto cpu_ns = [] { return SystemClock::read(CLOCK_PROCESS_CPUTIME_ID); };
  const auto began = clock_.boot_ns(), used = cpu_ns();
  bool ended = false;
  for (int i = 0; i < 60 && !ended; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (i == 7) {
      EXPECT_LT(cpu_ns() - used, 300'000'000);  // of 0.8 s; both are still there
    }
    char c;
    const auto n = recv(fd.get(), &c, 1, MSG_DONTWAIT);
    ended = n == 0 || (n < 0 && errno != EAGAIN) || !client.say("a");
  }
  EXPECT_TRUE(ended);
  EXPECT_LT(clock_.boot_ns() - began, 5'000'000'000);
}

}  // namespace
}  // namespace vitald
