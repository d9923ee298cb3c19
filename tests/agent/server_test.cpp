// SPDX-License-Identifier: Apache-2.0
// The real server and pipeline with a collector that can be made to hang.
#include "agent/http/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "agent/api/endpoints.h"
#include "agent/config/flags.h"
#include "agent/pipeline/pipeline.h"
#include "agent/reloader.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr MetricDesc kRuns[] = {{"test_runs", MetricType::counter, "R."}};

// A gate that collect() passes; shut, it hangs there.
std::mutex g_gate;
std::condition_variable g_moved;
bool g_shut = false;
int g_inside = 0;
std::atomic<bool> g_given_up = false;  // the next collection ends in an exception, and nobody else is at it
std::atomic<int> g_runs = 0;           // a scrape may be answered while one goes on

struct Gated final : Collector {
  Result<> collect(BatchWriter& out) override {
    std::unique_lock lock(g_gate);
    ++g_inside;
    g_moved.notify_all();
    g_moved.wait(lock, [] { return !g_shut; });
    --g_inside;
    out.set(kRuns[0], ++g_runs);
    return {};
  }
};
constexpr CollectorInfo kGated{kRuns, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> {
                                 return std::make_unique<Gated>();
                               }};
constexpr CollectorEntry kEntries[] = {{"gated", "proc", DefaultState::on, Runs::here, &kGated}};

// The answer of a scrape that no socket's buffer holds.
std::atomic<int> g_scrapes = 0;
constexpr int kMostScrapes = 8;
class LargeScrape final : public Pending {
 public:
  LargeScrape() : refused_(g_scrapes++ >= kMostScrapes) {}
  ~LargeScrape() override { --g_scrapes; }
  std::optional<Response> poll(std::int64_t) override {
    static const auto kBody = std::make_shared<const std::string>(20 << 20, 'x');
    if (refused_) return text_response(503, "too many\n");
    return Response{200, "text/plain", kBody, {}, false};
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return 0; }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override { return 1; }

 private:
  const bool refused_;
};

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    g_shut = false;
    g_runs = 0;
    auto listeners = listen_on("127.0.0.1:0");
    EXPECT_TRUE(listeners);
    const auto& address = listeners->front().address;
    port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    const auto wake = std::make_shared<const Wake>();
    metrics_ = std::make_shared<MetricsHandler>(
        MetricsHandler::Settings{.max_age_ns = 0},
        MetricsSource{[this] { return hub_.latest(); }, [this] { return pipeline_.status(); }});
    AgentView agent;
    agent.latest = [this] { return hub_.latest(); };
    agent.collectors = [this] { return pipeline_.status(); };
    agent.rules = [] { return nullptr; };
    agent.reload = [this](auto done) { reloader_.ask(std::move(done)); };
    agent.metrics = metrics_;
    agent.freshness = std::make_shared<Freshness>(host_.clock().boot_ns());
    agent.clock = &host_.clock();
    agent.events = &pipeline_.events();
    agent.wake = wake;
    agent.silences = std::make_shared<Silences>();
    auto rows = endpoints(agent);
    rows.push_back({"/echo", "GET, POST", Access::read, 100, "What it was sent.",
                    [](const Request& r) { return text_response(200, r.body); }});
    rows.push_back({"/throws", "GET", Access::read, 0, "A bug.",
                    [](const Request&) -> Answer { throw std::runtime_error("a bug"); }});
    rows.push_back({"/large", "GET", Access::read, 0, "More than a socket's buffer.",
                    [](const Request&) { return text_response(200, std::string(20 << 20, 'x')); }});
    rows.push_back({"/scrape", "GET", Access::read, 0, "A scrape with a large answer.",
                    [](const Request&) -> Answer { return std::make_unique<LargeScrape>(); }});
    server_ = std::make_unique<Server>(
        std::move(*listeners), Routes(std::move(rows)),
        Collecting{[this](std::int64_t t) { return !g_given_up.exchange(false) && pipeline_.collect(t); },
                   [this](std::int64_t t) { return metrics_->has_since(t); },
                   [this] { return metrics_->full() || g_scrapes >= kMostScrapes; }},
        host_.clock(), wake);
    EXPECT_TRUE(server_->start());
    EXPECT_TRUE(pipeline_.start(config()));
  }
  ~ServerTest() override {
    open_gate();
    EXPECT_TRUE(server_->stop(5'000'000'000));
    EXPECT_TRUE(pipeline_.stop(5'000'000'000));
    EXPECT_TRUE(reloader_.idle(5'000'000'000));
  }

  static PipelineConfig config() {
    auto options = std::make_shared<Options>();
    options->declare(all_flags());
    options->declare(std::vector<FlagSpec>{{"collector.gated", FlagType::boolean, "true"}});
    PipelineConfig config;
    config.options = std::move(options);
    return config;
  }

  [[nodiscard]] Fd connected() const {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{10, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
    return fd;
  }
  // The whole answer; the server closes.
  std::string get(std::string_view path, std::string_view headers = {}, std::string_view method = "GET") const {
    return say(fmt::format("{} {} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{}\r\n", method, path, headers));
  }
  // What comes until the server closes.
  [[nodiscard]] std::string say(const std::string& request) const {
    const auto fd = connected();
    if (!fd) return "no connection";
    if (write(fd.get(), request.data(), request.size()) < 0) return "no request";
    std::string answer;
    char chunk[4096];
    for (ssize_t n; (n = read(fd.get(), chunk, sizeof chunk)) > 0;) answer.append(chunk, static_cast<std::size_t>(n));
    return answer;
  }
  // A request whose answer has begun to come, and nobody reads it.
  [[nodiscard]] Fd unread(std::string_view path) const {
    auto fd = connected();
    const auto request = fmt::format("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", path);
    char first = 0;
    if (write(fd.get(), request.data(), request.size()) < 0 || recv(fd.get(), &first, 1, MSG_PEEK) != 1) fd.reset();
    return fd;
  }
  static void shut_gate() {
    const std::lock_guard lock(g_gate);
    g_shut = true;
  }
  static void open_gate() {
    const std::lock_guard lock(g_gate);
    g_shut = false;
    g_moved.notify_all();
  }
  static void wait_inside() {
    std::unique_lock lock(g_gate);
    g_moved.wait(lock, [] { return g_inside > 0; });
  }

  Host host_;
  SnapshotHub hub_;
  std::shared_ptr<MetricsHandler> metrics_;
  std::unique_ptr<Server> server_;
  Pipeline pipeline_{host_, kEntries, {}, hub_, [this] {
                       server_->published();
                       const std::lock_guard lock(g_gate);
                       g_moved.notify_all();
                     }};
  Reloader reloader_{[] {
    std::unique_lock lock(g_gate);
    g_moved.wait(lock, [] { return !g_shut; });
    return std::vector<std::string>{};
  }};
  std::uint16_t port_ = 0;
};

TEST_F(ServerTest, EveryScrapeIsFresh) {
  const auto first = get("/metrics");
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(first, HasSubstr("\ntest_runs "));
  const int before = g_runs;
  get("/metrics");
  EXPECT_EQ(g_runs, before + 1);
}

TEST_F(ServerTest, AHangingCollectionDelaysNobodyBeyondTheDeadline) {
  get("/metrics");
  for (int round = 0; round < 3; ++round) {  // the lead changes hands each time
    SCOPED_TRACE(round);
    const int good = g_runs;
    shut_gate();
    // Prometheus gives 0.6 s; the collection never ends.
    std::string late;
    std::thread scrape([&] { late = get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.6\r\n"); });
    wait_inside();
    EXPECT_THAT(get("/-/healthy"), StartsWith("HTTP/1.1 200 OK"));  // answered while the other one hangs
    scrape.join();
    EXPECT_THAT(late, StartsWith("HTTP/1.1 200 OK"));
    EXPECT_THAT(late, HasSubstr(fmt::format("\ntest_runs {}\n", good)));  // the last good numbers
    EXPECT_THAT(get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n"),
                HasSubstr(fmt::format("\ntest_runs {}\n", good)));
    open_gate();
    // The one that hung may still be on its way out, and whoever comes meanwhile gets the last good numbers.
    for (int i = 0; i < 500 && g_runs <= good; ++i) {
      EXPECT_THAT(get("/metrics"), StartsWith("HTTP/1.1 200 OK"));
      usleep(10'000);
    }
    EXPECT_GT(g_runs, good);
  }
}

// No other request comes that would wake the server by accident.
TEST_F(ServerTest, ALonelyScrapeOfAHangingCollectionIsAnsweredAtItsDeadline) {
  get("/metrics");
  shut_gate();
  const int good = g_runs;
  auto late =
      std::async(std::launch::async, [&] { return get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.6\r\n"); });
  EXPECT_EQ(late.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  open_gate();
  get("/-/ready");  // a server that forgot it remembers now, so that this test fails and does not hang
  EXPECT_THAT(late.get(), HasSubstr(fmt::format("\ntest_runs {}\n", good)));
}

TEST_F(ServerTest, AScrapeThatMeetsAHangingOneIsAnsweredWithoutIt) {
  get("/metrics");
  shut_gate();
  const int good = g_runs;
  std::string answer;
  std::thread scrape([&] { answer = get("/metrics"); });
  wait_inside();
  EXPECT_THAT(get("/-/ready"), StartsWith("HTTP/1.1 200 OK"));  // by then the other thread leads
  scrape.join();                                                // long before its deadline
  open_gate();
  EXPECT_THAT(answer, HasSubstr(fmt::format("\ntest_runs {}\n", good)));
  EXPECT_THAT(answer, HasSubstr("\nnode_scrape_collector_success{collector=\"gated\"} 0\n"));
}

TEST_F(ServerTest, AScrapeDuringAnEarlierCollectionGetsItsOwn) {
  get("/metrics");
  shut_gate();
  EXPECT_TRUE(pipeline_.reload(config(), 10'000'000'000));
  wait_inside();  // the cycle of the reload, begun before the scrape
  const auto now = host_.clock().boot_ns();
  EXPECT_FALSE(pipeline_.collect(now));
  open_gate();
  std::unique_lock lock(g_gate);
  EXPECT_TRUE(g_moved.wait_for(lock, std::chrono::seconds(10), [&] { return hub_.latest()->boot_ns >= now; }));
}

TEST_F(ServerTest, ListensAgainWhenOneOfTheMostConnectionsEnds) {
  constexpr std::string_view kRequest = "GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n";
  char answer[4096];
  std::vector<Fd> all;
  for (int i = 0; i < 256; ++i) {
    all.push_back(connected());
    ASSERT_EQ(write(all.back().get(), kRequest.data(), kRequest.size()), static_cast<ssize_t>(kRequest.size()));
    ASSERT_GT(read(all.back().get(), answer, sizeof answer), 0) << i;
  }
  const auto waits = connected();  // for the kernel; the server does not listen
  ASSERT_EQ(write(waits.get(), kRequest.data(), kRequest.size()), static_cast<ssize_t>(kRequest.size()));
  all.pop_back();
  EXPECT_GT(read(waits.get(), answer, sizeof answer), 0);
}

TEST_F(ServerTest, ACollectionThatWasGivenUpIsTriedAgain) {
  g_given_up = true;
  EXPECT_THAT(get("/metrics"), HasSubstr("test_runs "));
  EXPECT_FALSE(g_given_up);
}

TEST_F(ServerTest, AReloadThatHangsDelaysNobody) {
  get("/metrics");
  shut_gate();
  const auto post = [this] { return get("/-/reload", "", "POST"); };
  auto first = std::async(std::launch::async, post), second = std::async(std::launch::async, post);
  EXPECT_THAT(get("/-/healthy"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_EQ(first.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_THAT(get("/-/ready"), StartsWith("HTTP/1.1 200 OK"));
  open_gate();
  EXPECT_THAT(first.get(), HasSubstr("reloaded\n"));
  EXPECT_THAT(second.get(), HasSubstr("reloaded\n"));
}

TEST_F(ServerTest, ReloadsThatWaitDoNotTakeAllConnections) {
  get("/metrics");
  shut_gate();
  constexpr std::string_view kRequest = "POST /-/reload HTTP/1.1\r\nHost: t\r\n\r\n";
  std::vector<Fd> all;
  for (int i = 0; i < 300; ++i) {
    all.push_back(connected());
    ASSERT_EQ(write(all.back().get(), kRequest.data(), kRequest.size()), static_cast<ssize_t>(kRequest.size()));
  }
  auto answer = std::async(std::launch::async, [this] { return get("/-/healthy"); });
  EXPECT_EQ(answer.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  open_gate();
  EXPECT_THAT(answer.get(), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, EndsWhileAReloadHangs) {
  get("/metrics");
  shut_gate();
  auto reload = std::async(std::launch::async, [this] { return get("/-/reload", "", "POST"); });
  get("/-/healthy");
  EXPECT_FALSE(reloader_.idle(0) && reload.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  EXPECT_TRUE(server_->stop(5'000'000'000));
  EXPECT_FALSE(reload.get().starts_with("HTTP/1.1 200"));
}

// Whoever takes all connections there are and says nothing, half a request or one request an hour does not keep
// a scrape out.
TEST_F(ServerTest, AScrapeGetsThroughACrowd) {
  for (const std::string_view said : {"", "GET /metrics HT", "GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n"}) {
    SCOPED_TRACE(said);
    std::vector<Fd> crowd;
    for (int i = 0; i < 400; ++i) {
      crowd.push_back(connected());
      ASSERT_EQ(write(crowd.back().get(), said.data(), said.size()), static_cast<ssize_t>(said.size()));
    }
    auto scrape = std::async(std::launch::async, [&] { return get("/metrics"); });
    EXPECT_EQ(scrape.wait_for(std::chrono::seconds(5)), std::future_status::ready);  // without: 10 s and more
    crowd.clear();
    EXPECT_THAT(scrape.get(), StartsWith("HTTP/1.1 200 OK"));
  }
}

// Finished answers are in memory until somebody takes them.
TEST_F(ServerTest, LargeAnswersThatNobodyReadsAreBounded) {
  auto slow = unread("/large");
  ASSERT_TRUE(slow);
  const auto refused = get("/large");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(refused, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_THAT(get("/metrics"), StartsWith("HTTP/1.1 200 OK"));
  slow.reset();
  auto answer = get("/large");  // until the server sees the end of the other one
  for (int i = 0; i < 1000 && answer.starts_with("HTTP/1.1 503"); ++i) answer = get("/large");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
}

// Whoever takes all places of scrapes at once and reads none does not have others refused.
TEST_F(ServerTest, ScrapesThatNobodyReadsKeepNoOtherOut) {
  std::vector<Fd> unread_ones;
  for (int i = 0; i < 3 * kMostScrapes; ++i) {
    unread_ones.push_back(unread("/scrape"));
    ASSERT_TRUE(unread_ones.back());
    EXPECT_LE(g_scrapes, kMostScrapes);
  }
  EXPECT_THAT(get("/scrape"), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, ACrowdDoesNotCloseAConnectionInUse) {
  constexpr std::string_view kRequest = "GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n";
  const auto kept = connected();
  std::vector<Fd> crowd;
  char answer[4096];
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(write(kept.get(), kRequest.data(), kRequest.size()), static_cast<ssize_t>(kRequest.size()));
    ASSERT_GT(read(kept.get(), answer, sizeof answer), 0) << i;
    crowd.push_back(connected());
  }
}

TEST_F(ServerTest, Bodies) {
  const auto post = [this](std::string_view path, std::string_view headers, std::string_view body) {
    return say(fmt::format("POST {} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{}\r\n{}", path, headers, body));
  };
  const auto chunk = [](std::size_t bytes) { return fmt::format("{:x}\r\n{}\r\n", bytes, std::string(bytes, 'x')); };
  EXPECT_THAT(post("/echo", "Content-Length: 5\r\n", "hello"), testing::EndsWith("\r\n\r\nhello"));
  EXPECT_THAT(post("/echo", "Transfer-Encoding: chunked\r\n", chunk(60) + chunk(40) + "0\r\n\r\n"),
              testing::EndsWith("\r\n\r\n" + std::string(100, 'x')));
  const auto too_long = testing::AllOf(StartsWith("HTTP/1.1 413 "), HasSubstr("more than 100 bytes"));
  EXPECT_THAT(post("/echo", "Content-Length: 101\r\n", ""), too_long);
  EXPECT_THAT(post("/echo", "Transfer-Encoding: chunked\r\n", chunk(60) + chunk(41) + "0\r\n\r\n"), too_long);
  for (const int chunks : {100, 800}) {  // 5 MB, and more than is read before it is answered
    std::string many;
    for (int i = 0; i < chunks; ++i) many += chunk(50'000);
    EXPECT_THAT(post("/echo", "Transfer-Encoding: chunked\r\n", many + "0\r\n\r\n"), too_long) << chunks;
  }
  // Where nobody reads a body a small one does no harm.
  EXPECT_THAT(post("/-/healthy", "Content-Length: 5\r\n", "hello"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(post("/-/healthy", "Content-Length: 65537\r\n", ""), StartsWith("HTTP/1.1 413 "));
}

// The library's own answer to these has two heads, and none of what goes with ours.
TEST_F(ServerTest, LengthsThatAreNoNumber) {
  for (const std::string_view length : {"+5", "0x5", "5, 5", "", "-1", "5x", "99999999999999999999999"}) {
    SCOPED_TRACE(length);
    for (const std::string_view body : {"", "hello"}) {
      const auto got = say(fmt::format("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{}", length, body));
      EXPECT_THAT(got, testing::AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("X-Content-Type-Options: nosniff\r\n"),
                                      HasSubstr("Connection: close\r\n"), HasSubstr("a Content-Length that is no")));
      EXPECT_EQ(got.find("HTTP/1.1", 1), std::string::npos) << got;
    }
  }
  // One who is still at his head is not taken for another one.
  const auto slow = connected();
  const std::string_view begin = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n",
                         rest = "Connection: close\r\n\r\nhi";
  ASSERT_GT(write(slow.get(), begin.data(), begin.size()), 0);
  EXPECT_THAT(say("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  ASSERT_GT(write(slow.get(), rest.data(), rest.size()), 0);
  char answer[4096];
  const auto n = read(slow.get(), answer, sizeof answer);
  ASSERT_GT(n, 0);
  EXPECT_THAT(std::string(answer, static_cast<std::size_t>(n)), StartsWith("HTTP/1.1 200 "));
}

// The library tells of each one that left, and whoever left before him is still there, without his memory.
TEST_F(ServerTest, ManyLeaveAtOnce) {
  const std::string_view ask = "GET /metrics HTTP/1.1\r\nHost: t\r\nX-Field: x\r\n\r\n",
                         half = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n",
                         bad = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n";
  for (int round = 0; round < 60; ++round) {
    shut_gate();
    std::vector<Fd> clients;
    for (int i = 0; i < 40; ++i) {
      clients.push_back(connected());
      const auto& what = i % 4 == 3 ? half : ask;
      ASSERT_GT(write(clients.back().get(), what.data(), what.size()), 0);
    }
    wait_inside();
    for (const auto& client : clients) {
      const linger reset{1, 0};
      setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    clients.clear();
    open_gate();
    EXPECT_THAT(say(std::string(bad)), StartsWith("HTTP/1.1 400 "));
  }
  EXPECT_THAT(get("/metrics"), HasSubstr("\ntest_runs "));
}

// The library takes chunks that a proxy may see another end of.
TEST_F(ServerTest, NothingBehindChunksIsRead) {
  for (const std::string_view body : {"2\r\nhi\r\n0\r\n\r\n", "2\nhi\n0\n\n"}) {
    SCOPED_TRACE(body);
    const auto got =
        say(fmt::format("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{}"
                        "GET /-/healthy HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
                        body));
    EXPECT_THAT(got, testing::AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Connection: close\r\n"),
                                    testing::EndsWith("\r\n\r\nhi")));
  }
}

TEST_F(ServerTest, MethodsAndPaths) {
  EXPECT_THAT(get("//metrics"), HasSubstr("\ntest_runs "));
  EXPECT_THAT(get("http://t:1/metrics"), HasSubstr("\ntest_runs "));
  const auto head = get("/-/healthy", "", "HEAD");
  EXPECT_THAT(head, testing::AllOf(StartsWith("HTTP/1.1 200 OK"), testing::EndsWith("\r\n\r\n")));
  EXPECT_THAT(get("/metrics", "", "OPTIONS"),
              testing::AllOf(StartsWith("HTTP/1.1 204 "), HasSubstr("Allow: GET, HEAD, OPTIONS\r\n")));
  EXPECT_THAT(get("/metrics", "", "POST"),
              testing::AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD, OPTIONS\r\n")));
}

// What two readers may take for different requests (RFC 9112) is refused, whoever sent it.
TEST_F(ServerTest, MalformedRequests) {
  struct Case {
    const char* name;
    std::string request, want;
  };
  const std::string get = "GET /-/healthy HTTP/1.1\r\n", post = "POST /echo HTTP/1.1\r\n", host = "Host: t\r\n";
  const std::string close = "Connection: close\r\n\r\n", nul(1, '\0');
  std::string many = get + host;
  for (int i = 0; i < 80; ++i) many += fmt::format("X-Field-{}: {}\r\n", i, std::string(40, 'v'));
  for (const auto& c : {
           Case{"plain", get + host + close, "200"},
           Case{"many fields", many + close, "200"},
           Case{"HTTP/1.0 without a host", "GET /-/healthy HTTP/1.0\r\n\r\n", "200"},
           Case{"LF alone", "GET /-/healthy HTTP/1.1\nHost: t\nConnection: close\n\n", "200"},
           Case{"empty value", get + host + "X:\r\n" + close, "200"},
           Case{"tab and blanks", get + "Host:\t t \r\nX: a\tb\r\n" + close, "200"},
           Case{"arguments", "GET /-/healthy?a=b%20c&d HTTP/1.1\r\n" + host + close, "200"},
           Case{"decoded path", "GET /-/he%61lthy HTTP/1.1\r\n" + host + close, "200"},
           Case{"one length twice", post + host + "Content-Length: 2\r\nContent-Length: 2\r\n" + close + "ab", "400"},
           Case{"two lengths", post + host + "Content-Length: 2\r\nContent-Length: 3\r\n" + close + "abc", "400"},
           Case{"length and chunks",
                post + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + close + "0\r\n\r\n", "400"},
           Case{"chunks and length",
                post + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + close + "0\r\n\r\n", "400"},
           Case{"another encoding", post + host + "Transfer-Encoding: gzip, chunked\r\n" + close + "0\r\n\r\n", "400"},
           Case{"two encodings",
                post + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + close + "0\r\n\r\n",
                "400"},
           Case{"no host", get + close, "400"},
           Case{"two hosts", get + host + host + close, "400"},
           Case{"blank before the colon", get + host + "X : a\r\n" + close, "400"},
           Case{"tab before the colon", get + "Host\t: t\r\n" + close, "400"},
           Case{"bare CR", get + host + "X: a\rY: b\r\n" + close, "400"},
           Case{"bare CR in a name", get + host + "X\rY: b\r\n" + close, "400"},
           Case{"NUL in a value", get + host + "X: a" + nul + "b\r\n" + close, "400"},
           Case{"NUL at the end of a value", get + host + "X: a" + nul + "\r\n" + close, "400"},
           Case{"NUL in the last value", get + "Connection: close\r\n" + host + "X: a" + nul + "b\r\n\r\n", "400"},
           Case{"NUL in the method", "GE" + nul + "T /-/healthy HTTP/1.1\r\n" + host + close, "400"},
           Case{"NUL behind the method", "GET" + nul + " /-/healthy HTTP/1.1\r\n" + host + close, "400"},
           Case{"two blanks behind the method", "GET  /-/healthy HTTP/1.1\r\n" + host + close, "400"},
           Case{"two hosts in one", get + "Host: a,b\r\n" + close, "400"},
           Case{"a host with a path", get + "Host: a/b\r\n" + close, "400"},
           Case{"an empty host", get + "Host:\r\n" + close, "200"},
           Case{"a host with all that it may have", get + "Host: a-1.b_c~%20:9100\r\n" + close, "200"},
           Case{"an IPv6 host", get + "Host: [::1]:9100\r\n" + close, "200"},
           Case{"NUL in a name", get + host + "X" + nul + "Y: b\r\n" + close, "400"},
           Case{"NUL in the target", "GET /-/healthy" + nul + "x HTTP/1.1\r\n" + host + close, "400"},
           Case{"folded", get + host + "X: a\r\n b\r\n" + close, "400"},
           Case{"no colon", get + host + "X\r\n" + close, "400"},
           Case{"blank in the target", "GET /-/healthy x HTTP/1.1\r\n" + host + close, "400"},
       }) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(say(c.request), StartsWith("HTTP/1.1 " + c.want));
  }
  // In small pieces, and the next one on the same connection.
  const auto fd = connected();
  for (int round = 0; round < 2; ++round) {
    const auto request = many + "\r\n";
    for (std::size_t at = 0; at < request.size(); at += 1000) {
      ASSERT_GT(write(fd.get(), request.data() + at, std::min<std::size_t>(1000, request.size() - at)), 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    char answer[4096];
    const auto n = read(fd.get(), answer, sizeof answer);
    ASSERT_GT(n, 0);
    EXPECT_THAT(std::string(answer, static_cast<std::size_t>(n)), StartsWith("HTTP/1.1 200"));
  }
}

TEST_F(ServerTest, WhatBrowsersAreTold) {
  for (const auto* path : {"/", "/metrics", "/api/v1/alerts", "/nothing"})
    EXPECT_THAT(get(path), testing::AllOf(HasSubstr("X-Content-Type-Options: nosniff\r\n"),
                                          HasSubstr("X-Frame-Options: DENY\r\n")));
  EXPECT_THAT(get("/"), HasSubstr("Content-Security-Policy: default-src 'none';"));
}

// What the library answers by itself, before anybody is asked.
TEST_F(ServerTest, WhatBrowsersAreToldByTheLibrary) {
  struct Case {
    const char* name;
    std::string request, status;
  };
  const std::string head = "GET /metrics HTTP/1.1\r\nHost: t\r\n", post = "POST /echo HTTP/1.1\r\nHost: t\r\n";
  const Case cases[] = {
      {"a header that is too large", head + "X: " + std::string(20'000, 'x') + "\r\n\r\n", "HTTP/1.1 431 "},
      {"a target that is too long", "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\nHost: t\r\n\r\n",
       "HTTP/1.1 414 "},
      {"a chunk without a size", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 400 "},
      {"a chunk that is too large", post + "Transfer-Encoding: chunked\r\n\r\n" + std::string(30, 'f') + "\r\n",
       "HTTP/1.1 4"},
      {"another version", "GET /metrics HTTP/2.0\r\nHost: t\r\n\r\n", "HTTP/1.1 505 "},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = say(c.request);
    EXPECT_THAT(got, testing::AllOf(StartsWith(c.status), HasSubstr("X-Content-Type-Options: nosniff\r\n"),
                                    HasSubstr("X-Frame-Options: DENY\r\n")));
    EXPECT_EQ(got.find("X-Content-Type-Options", got.find("X-Content-Type-Options") + 1), std::string::npos) << got;
  }
}

TEST_F(ServerTest, AnExceptionEndsOneRequest) {
  EXPECT_THAT(get("/throws"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(get("/-/healthy"), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, StopGivesUpOnAThreadThatHangs) {
  get("/metrics");
  shut_gate();
  std::thread scrape([&] { get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.6\r\n"); });
  wait_inside();
  EXPECT_FALSE(server_->stop(10'000'000));
  open_gate();
  EXPECT_TRUE(server_->stop(5'000'000'000));
  scrape.join();
}

}  // namespace
}  // namespace vitald
