// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/api/endpoints.h"
#include "agent/api/metrics.h"
#include "agent/http/listen.h"
#include "agent/http/routes.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::Pair;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr MetricDesc kAlpha{"test_alpha", MetricType::gauge, "A."}, kBeta{"test_beta", MetricType::gauge, "B."};

TEST(Message, AcceptsGzip) {
  struct Case {
    std::string_view header;
    bool want;
  };
  for (const auto& c :
       {Case{"", false}, Case{"gzip", true}, Case{"deflate, GZIP;q=1.0, *;q=0.5", true}, Case{"identity", false},
        Case{"gzip;q=0", false}, Case{"gzip; q=0.0, *", false}, Case{"*", true}, Case{"*;q=0", false},
        Case{"br, x-gzip", true}, Case{"gzipped", false}, Case{",,;q", false}})
    EXPECT_EQ(accepts_gzip(c.header), c.want) << c.header;
}

TEST(Listen, Addresses) {
  for (const auto* good : {"127.0.0.1:0", "localhost:0", ":0"}) {
    const auto got = listen_on(good);
    ASSERT_TRUE(got) << good << ": " << got.error().text;
    for (const auto& listener : *got) EXPECT_THAT(listener.address, Not(testing::EndsWith(":0")));
  }
  // All addresses of a name, at one port.
  const auto local = listen_on("localhost:0");
  std::vector<std::string> addresses;
  for (const auto& listener : *local) addresses.push_back(listener.address);
  const auto port = addresses[0].substr(addresses[0].rfind(':'));
  EXPECT_THAT(addresses, testing::Contains("127.0.0.1" + port));
  for (const auto& address : addresses) EXPECT_THAT(address, testing::EndsWith(port));
  struct Case {
    std::string_view address, want;
  };
  for (const auto& c :
       {Case{"9100", "expected host:port"}, Case{"127.0.0.1", "expected host:port"},
        Case{"127.0.0.1:x", "expected host:port"}, Case{"127.0.0.1:65536", "expected host:port"},
        Case{"::1:9100", "expected host:port"}, Case{"no.such.host.invalid:1", "no.such.host.invalid"},
        Case{"192.0.2.1:0", "no interface of this machine"}, Case{"vsock://:x", "expected vsock://:port"},
        Case{"vsock://9100", "expected vsock://:port"}, Case{"vsock://a:1", "expected vsock://:port"}}) {
    const auto got = listen_on(c.address);
    ASSERT_FALSE(got) << c.address;
    EXPECT_THAT(got.error().text, HasSubstr(c.want));
  }
  const auto first = listen_on("127.0.0.1:0");
  ASSERT_TRUE(first);
  EXPECT_THAT(listen_on(first->front().address).error().text, HasSubstr("another program listens there"));
}

// A name of several addresses: one that this machine lacks is passed over, one that another program has is an error of
// all. Who asks for it there would get the other program's numbers.
TEST(Listen, AllOfANameOrNone) {
  const auto found = [](std::string_view host, std::string_view port) {
    addrinfo hints{}, *out = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    EXPECT_EQ(getaddrinfo(std::string(host).c_str(), std::string(port).c_str(), &hints, &out), 0);
    return std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>(out, &freeaddrinfo);
  };
  const auto taken = listen_on("127.0.0.1:0");
  ASSERT_TRUE(taken);
  const auto port = taken->front().address.substr(taken->front().address.rfind(':') + 1);
  for (const auto& [one, other] : {std::pair("127.0.0.1", "127.0.0.2"), std::pair("127.0.0.2", "127.0.0.1")}) {
    auto first = found(one, port), second = found(other, port);
    first->ai_next = second.release();
    const auto got = listen_on_each(first.get(), "name:" + port);
    ASSERT_FALSE(got) << one;
    EXPECT_THAT(got.error().text, testing::AllOf(HasSubstr("127.0.0.1"), HasSubstr("another program listens there")));
  }
  // What no program can have costs nobody anything: no address of this machine, one of a link that names none.
  for (const auto* none : {"192.0.2.1", "fe80::1"}) {
    auto lacking = found(none, port), second = found("127.0.0.2", port);
    lacking->ai_next = second.release();
    const auto got = listen_on_each(lacking.get(), "name:" + port);
    ASSERT_TRUE(got) << got.error().text;
    EXPECT_EQ(got->front().address, "127.0.0.2:" + port);
  }
}

struct World {
  FakeClock clock;
  SnapshotHub hub;
  std::vector<CollectorStatus> rows{{"alpha", "proc", false, CollectorStatus::State::on, ""},
                                    {"beta", "proc", false, CollectorStatus::State::on, ""},
                                    {"gamma", "proc", false, CollectorStatus::State::off, "off by default"}};
  BatchWriter alpha{"alpha"}, beta{"beta"}, self{"self"};
  std::uint64_t sequence = 0;

  void publish() {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->sequence = ++sequence;
    snapshot->boot_ns = clock.boot;
    snapshot->wall_ns = clock.wall;
    const auto add = [&](BatchWriter& writer, const MetricDesc& desc) {
      writer.begin(clock.boot);
      writer.set(desc, static_cast<double>(sequence));
      snapshot->batches.push_back(writer.finish({}, 0, 0));
    };
    add(alpha, kAlpha), add(beta, kBeta);
    hub.publish(std::move(snapshot));
  }
  MetricsSource source() {
    return {[this] { return hub.latest(); },
            [this] { return std::make_shared<const std::vector<CollectorStatus>>(rows); }};
  }
  Request request(std::vector<std::pair<std::string, std::string>> query = {},
                  std::vector<std::pair<std::string, std::string>> headers = {}) {
    return {"GET", "/metrics", std::move(query), std::move(headers), clock.boot, {}, {}, false, false, false, {}};
  }
};

TEST(Metrics, AnswersFromASnapshotThatIsNewEnough) {
  World w;
  MetricsHandler handler({.max_age_ns = kSecond}, w.source());
  w.publish();
  w.clock.advance_ns(kSecond);
  MetricsHandler::Scrape scrape(handler, w.request());
  const auto got = scrape.poll(w.clock.boot);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(*got->body,
            "# HELP test_alpha A.\n# TYPE test_alpha gauge\ntest_alpha 1\n"
            "# HELP test_beta B.\n# TYPE test_beta gauge\ntest_beta 1\n");
}

TEST(Metrics, WaitsForANewOne) {
  World w;
  MetricsHandler handler({.max_age_ns = kSecond}, w.source());
  w.publish();
  w.clock.advance_ns(kSecond + 1);
  MetricsHandler::Scrape scrape(handler, w.request());
  EXPECT_FALSE(scrape.poll(w.clock.boot));
  EXPECT_EQ(scrape.wants_snapshot_boot_ns(), w.clock.boot - kSecond);
  w.publish();
  EXPECT_THAT(*scrape.poll(w.clock.boot)->body, HasSubstr("test_alpha 2\n"));
}

TEST(Metrics, MaxAgeZeroTakesNoneThatBeganBefore) {
  World w;
  MetricsHandler handler({.max_age_ns = 0}, w.source());
  w.publish();
  w.clock.advance_ns(1);
  MetricsHandler::Scrape scrape(handler, w.request());
  EXPECT_FALSE(scrape.poll(w.clock.boot));
  w.publish();
  EXPECT_TRUE(scrape.poll(w.clock.boot));
}

TEST(Metrics, ConcurrentScrapesShareOneBody) {
  World w;
  MetricsHandler handler({}, w.source());
  w.publish();
  const std::vector<std::pair<std::string, std::string>> gzip{{"Accept-Encoding", "gzip"}};
  MetricsHandler::Scrape a(handler, w.request()), b(handler, w.request()), c(handler, w.request({}, gzip)),
      d(handler, w.request({}, gzip));
  const auto first = a.poll(w.clock.boot), packed = c.poll(w.clock.boot);
  EXPECT_EQ(first->body, b.poll(w.clock.boot)->body);
  EXPECT_EQ(packed->body, d.poll(w.clock.boot)->body);
  EXPECT_NE(first->body, packed->body);
  EXPECT_THAT(packed->headers, testing::Contains(Pair("Content-Encoding", "gzip")));

  w.publish();  // what is still being sent is not written over
  EXPECT_THAT(*a.poll(w.clock.boot)->body, HasSubstr("test_alpha 2\n"));
  EXPECT_THAT(*first->body, HasSubstr("test_alpha 1\n"));
}

TEST(Metrics, AtTheDeadlineTheOldOneOrNothing) {
  struct Case {
    const char* header;
    std::int64_t deadline_ns;
  };
  for (const auto& c :
       {Case{"", 5 * kSecond}, Case{"10", 5 * kSecond}, Case{"2", kSecond * 3 / 2}, Case{"0.4", kSecond / 5},
        Case{"soon", 5 * kSecond}, Case{"-1", 5 * kSecond}, Case{"nan", 5 * kSecond}, Case{"1e30", 5 * kSecond}}) {
    SCOPED_TRACE(c.header);
    World w;
    MetricsHandler handler({.max_age_ns = 0}, w.source());
    MetricsHandler::Scrape first(handler, w.request({}, {{"x-prometheus-scrape-timeout-seconds", c.header}}));
    EXPECT_EQ(first.deadline_boot_ns() - w.clock.boot, c.deadline_ns);
    w.clock.advance_ns(c.deadline_ns - 1);
    EXPECT_FALSE(first.poll(w.clock.boot));
    w.clock.advance_ns(1);
    EXPECT_EQ(first.poll(w.clock.boot)->status, 503);

    w.publish();
    w.clock.advance_ns(3 * kSecond);
    MetricsHandler::Scrape second(handler, w.request());
    w.clock.advance_ns(5 * kSecond);
    const auto got = second.poll(w.clock.boot);
    EXPECT_EQ(got->status, 200);
    EXPECT_THAT(got->headers, testing::Contains(Pair("Age", "8")));
  }
}

TEST(Metrics, NumbersThatAreTooOldAreNone) {
  struct Case {
    const char* name;
    std::int64_t interval_ns, age_ns;
    int want;
  };
  for (const auto& c : {Case{"30 s", 5 * kSecond, 30 * kSecond, 200}, Case{"more", 5 * kSecond, 31 * kSecond, 503},
                        Case{"five long intervals", 60 * kSecond, 300 * kSecond, 200},
                        Case{"more than five", 60 * kSecond, 301 * kSecond, 503}}) {
    SCOPED_TRACE(c.name);
    World w;
    const auto freshness = std::make_shared<Freshness>(w.clock.boot);
    freshness->set_interval(c.interval_ns);
    MetricsHandler handler({.max_age_ns = 0, .deadline_ns = 2 * kSecond}, w.source(), freshness);
    w.publish();
    w.clock.advance_ns(c.age_ns - 2 * kSecond);
    MetricsHandler::Scrape scrape(handler, w.request());
    EXPECT_FALSE(scrape.poll(w.clock.boot));  // until its deadline there is hope
    w.clock.advance_ns(2 * kSecond);
    const auto got = scrape.poll(w.clock.boot);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status, c.want);
    if (c.want == 503) {
      EXPECT_THAT(*got->body, HasSubstr(fmt::format("numbers are {} s old", c.age_ns / kSecond)));
    }
  }
}

TEST(Metrics, Filters) {
  World w;
  MetricsHandler handler({}, w.source());
  w.publish();
  const auto ask = [&](std::vector<std::pair<std::string, std::string>> query) {
    return *MetricsHandler::Scrape(handler, w.request(std::move(query))).poll(w.clock.boot);
  };
  EXPECT_THAT(*ask({{"collect[]", "alpha"}}).body,
              testing::AllOf(HasSubstr("test_alpha"), Not(HasSubstr("test_beta"))));
  EXPECT_THAT(*ask({{"collect[]", "alpha"}, {"collect[]", "beta"}}).body, HasSubstr("test_beta"));
  EXPECT_THAT(*ask({{"exclude[]", "alpha"}}).body,
              testing::AllOf(HasSubstr("test_beta"), Not(HasSubstr("test_alpha"))));
  EXPECT_THAT(*ask({{"other", "x"}}).body, HasSubstr("test_alpha"));

  EXPECT_EQ(ask({{"collect[]", "delta"}}).status, 400);
  EXPECT_THAT(*ask({{"collect[]", "delta"}}).body, HasSubstr("missing collector: delta"));
  EXPECT_THAT(*ask({{"collect[]", "gamma"}}).body, HasSubstr("disabled collector: gamma"));
  for (const auto* off_or_unknown : {"gamma", "delta"})
    EXPECT_THAT(*ask({{"exclude[]", off_or_unknown}, {"exclude[]", "alpha"}}).body,
                testing::AllOf(HasSubstr("test_beta"), Not(HasSubstr("test_alpha"))));
  EXPECT_EQ(ask({{"collect[]", "alpha"}, {"exclude[]", "beta"}}).status, 400);
}

TEST(Metrics, LimitOfConcurrentRequests) {
  World w;
  MetricsHandler handler({.max_requests = 2}, w.source());
  w.publish();
  {
    MetricsHandler::Scrape a(handler, w.request()), b(handler, w.request()), c(handler, w.request());
    EXPECT_EQ(b.poll(w.clock.boot)->status, 200);
    EXPECT_EQ(c.poll(w.clock.boot)->status, 503);
    EXPECT_THAT(*c.poll(w.clock.boot)->body, HasSubstr("Limit of concurrent requests reached (2)"));
  }
  EXPECT_EQ(MetricsHandler::Scrape(handler, w.request()).poll(w.clock.boot)->status, 200);
}

TEST(Routes, Paths) {
  struct Case {
    std::string_view target, want;
  };
  for (const auto& c : {Case{"/", "/"}, Case{"/metrics", "/metrics"}, Case{"//metrics", "/metrics"},
                        Case{"/-//ready", "/-/ready"}, Case{"http://web1:9100/metrics", "/metrics"},
                        Case{"https://web1", "/"}, Case{"http://web1//metrics", "/metrics"}, Case{"*", "*"}})
    EXPECT_EQ(path_of(c.target), c.want);
}

Request ask(std::string method, std::string path) {
  Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  return request;
}

Response now(const Answer& answer, std::int64_t boot_ns = 0) {
  if (const auto* response = std::get_if<Response>(&answer)) return *response;
  return std::get<1>(answer)->poll(boot_ns).value_or(text_response(0, "not yet"));
}

TEST(Routes, MethodsFollowFromTheTable) {
  const Handler ok = [](const Request& r) { return text_response(200, "body: " + r.body); };
  const Routes routes({{"/read", "GET", Access::read, 0, "", ok}, {"/write", "POST, PUT", Access::read, 9, "", ok}});
  struct Case {
    std::string method, path;
    int want;
    std::string allow;
  };
  for (const auto& c :
       {Case{"GET", "/read", 200, ""}, Case{"HEAD", "/read", 200, ""}, Case{"POST", "/read", 405, "GET, HEAD, OPTIONS"},
        Case{"get", "/read", 405, "GET, HEAD, OPTIONS"}, Case{"OPTIONS", "/read", 204, "GET, HEAD, OPTIONS"},
        Case{"POST", "/write", 200, ""}, Case{"PUT", "/write", 200, ""},
        Case{"GET", "/write", 405, "POST, PUT, OPTIONS"}, Case{"HEAD", "/write", 405, "POST, PUT, OPTIONS"},
        Case{"DELETE", "/nothing", 404, ""}, Case{"OPTIONS", "/nothing", 404, ""}}) {
    SCOPED_TRACE(c.method + " " + c.path);
    const auto got = now(routes.answer(ask(c.method, c.path)));
    EXPECT_EQ(got.status, c.want);
    if (c.allow.empty()) EXPECT_TRUE(got.headers.empty());
    else EXPECT_THAT(got.headers, testing::ElementsAre(Pair("Allow", c.allow)));
  }
}

TEST(Routes, WhoMayChangeSomething) {
  const Routes routes(
      {{"/change", "POST", Access::change, 0, "", [](const Request&) { return text_response(200, ""); }}});
  using Headers = std::vector<std::pair<std::string, std::string>>;
  struct Case {
    const char* name;
    bool loopback, has_users;
    const char* user;
    Headers headers;
    int want;
    const char* says;
    const char* version = "HTTP/1.1";
  };
  const Headers page{{"Host", "web1:9100"}, {"Origin", "https://web1:9100"}};
  for (const auto& c : {
           Case{"this machine", true, false, "", {}, 200, ""},
           Case{"another machine", false, false, "", {}, 403, "only this machine itself"},
           Case{"a user from anywhere", false, true, "alice", {}, 200, ""},
           Case{"this machine without a user", true, true, "", {}, 403, "log in"},
           Case{"a page here", true, false, "", page, 403, "a page in a browser"},
           Case{"a page here, by its fetch", true, false, "", {{"Sec-Fetch-Site", "same-origin"}}, 403, "a page"},
           Case{"a user's own page", false, true, "alice", page, 200, ""},
           Case{"a user, another site",
                false,
                true,
                "alice",
                {{"Host", "web1"}, {"Origin", "http://evil"}},
                403,
                "page"},
           Case{"a user, a file", false, true, "alice", {{"Host", "web1"}, {"Origin", "null"}}, 403, "page"},
           Case{"a user, cross-site", false, true, "alice", {{"Sec-Fetch-Site", "cross-site"}}, 403, "page"},
           Case{"a user, same-site", false, true, "alice", {{"Sec-Fetch-Site", "same-site"}}, 403, "page"},
           Case{"a user, typed", false, true, "alice", {{"Sec-Fetch-Site", "none"}}, 200, ""},
           Case{"a proxy here", true, false, "", {{"x-forwarded-for", "192.0.2.7"}}, 403, "a proxy"},
           Case{
               "a proxy that says of what it hides", true, false, "", {{"X-Forwarded-Proto", "https"}}, 403, "a proxy"},
           Case{"a proxy by RFC 7239", true, false, "", {{"Forwarded", "for=192.0.2.7"}}, 403, "a proxy"},
           Case{"a proxy by RFC 9110", true, false, "", {{"Via", "1.1 web1"}}, 403, "a proxy"},
           Case{"nginx' word", true, false, "", {{"X-Real-IP", "192.0.2.7"}}, 403, "a proxy"},
           Case{"nginx as it comes", true, false, "", {{"Host", "127.0.0.1:9100"}}, 403, "a proxy", "HTTP/1.0"},
           Case{"a user by a proxy", true, true, "alice", {{"Via", "1.1 web1"}}, 200, ""},
           Case{"what only sounds like it", true, false, "", {{"X-Forward", "1"}, {"X", "1"}}, 200, ""},
       }) {
    SCOPED_TRACE(c.name);
    auto request = ask("POST", "/change");
    request.loopback = c.loopback;
    request.has_users = c.has_users;
    request.user = c.user;
    request.headers = c.headers;
    request.proxied = came_by_proxy(request, c.version);
    const auto got = now(routes.answer(request));
    EXPECT_EQ(got.status, c.want);
    EXPECT_THAT(*got.body, HasSubstr(c.says));
  }
}

TEST(Message, LinesOfOneNameAreOneList) {
  Request request;
  request.headers = {{"Accept-Encoding", "deflate"}, {"Host", "a"}, {"accept-encoding", "gzip;q=0.5, br"}};
  EXPECT_EQ(request.list("Accept-Encoding"), "deflate, gzip;q=0.5, br");
  EXPECT_EQ(request.list("Accept"), "");
}

// All endpoints over one world.
struct Site {
  Site() {
    AgentView agent;
    agent.latest = [this] { return w.hub.latest(); };
    agent.collectors = [this] { return std::make_shared<const std::vector<CollectorStatus>>(w.rows); };
    agent.rules = [] { return std::shared_ptr<const RulesView>(); };
    agent.reload = [this](auto done) { reloads.push_back(std::move(done)); };
    agent.metrics = std::make_shared<MetricsHandler>(MetricsHandler::Settings{}, w.source());
    agent.freshness = std::make_shared<Freshness>(w.clock.boot);
    agent.clock = &w.clock;
    agent.events = &events;
    agent.wake = std::make_shared<Wake>();
    agent.silences = std::make_shared<Silences>();
    agent.changes = std::make_shared<Jobs>(Jobs::Settings{}, agent.wake, w.clock);
    agent.queries = queries = std::make_shared<Queries>(
        Queries::Settings{}, [] { return std::shared_ptr<const History>(); }, agent.wake, w.clock);
    agent.interval_ns = [] { return std::int64_t{5'000'000'000}; };
    routes = Routes(endpoints(agent));
  }
  Response get(std::string path) {
    auto request = ask("GET", std::move(path));
    request.arrived_boot_ns = w.clock.boot;
    return now(routes.answer(request), w.clock.boot);
  }
  World w;
  EventLog events;
  std::vector<std::function<void(const std::vector<std::string>&)>> reloads;
  std::shared_ptr<Queries> queries;
  Routes routes;
};

TEST(Endpoints, EachIsDescribed) {
  Site site;
  for (const auto& row : site.routes.rows()) {
    SCOPED_TRACE(row.path);
    EXPECT_TRUE(row.path.starts_with("/"));
    EXPECT_GT(row.help.size(), 20U);
    EXPECT_EQ(std::ranges::count(site.routes.rows(), row.path, &Route::path), 1);
  }
}

TEST(Endpoints, Pages) {
  Site site;
  EXPECT_EQ(site.get("/-/ready").status, 503);
  site.w.publish();
  EXPECT_EQ(site.get("/-/ready").status, 200);
  EXPECT_EQ(site.get("/metrics").status, 200);

  EXPECT_THAT(*site.get("/api/v1/alerts").body, HasSubstr("\"status\":\"success\""));
  EXPECT_THAT(*site.get("/api/v1/rules").body, HasSubstr("\"groups\":[]"));
  auto odd = ask("GET", "/api/v1/rules");
  odd.query = {{"type", "record"}};
  EXPECT_EQ(now(site.routes.answer(odd)).status, 200);
  odd.query = {{"type", "\"odd"}};
  const auto refused = now(site.routes.answer(odd));
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.content_type, "application/json");

  site.w.rows[0].text = "<script>";
  const auto page = site.get("/");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(*page.body, testing::AllOf(HasSubstr("href=\"metrics\""), HasSubstr("&lt;script&gt;"),
                                         Not(HasSubstr("<script>")), HasSubstr("off by default")));
}

// There are no rounds: what was kept would be the answer for good.
// Of a query, which a thread answers when it comes to it.
Response in_time(const Answer& answer, std::int64_t boot_ns) {
  if (const auto* response = std::get_if<Response>(&answer)) return *response;
  std::optional<Response> response;
  while (!response) response = std::get<1>(answer)->poll(boot_ns);
  return *response;
}

TEST(Endpoints, NoAnswerIsKeptWithoutAHistory) {
  Site site;
  site.w.publish();
  for (const auto* path : {"/api/v1/query_exemplars", "/api/v1/query"})
    for (int i = 0; i < 2; ++i) {
      auto request = ask("GET", path);
      request.query = {{"query", "up"}, {"time", "1700000000"}};
      request.arrived_boot_ns = site.w.clock.boot;
      EXPECT_EQ(in_time(site.routes.answer(request), site.w.clock.boot).status, 200) << path;
    }
  EXPECT_EQ(site.queries->stats().queries, 4U);
  EXPECT_EQ(site.queries->stats().cache_hits, 0U);
}

TEST(Endpoints, LivePage) {
  Site site;
  site.w.publish();
  constexpr auto kHtml = "text/html,application/xhtml+xml;q=0.9";
  struct Case {
    const char* name;
    std::vector<std::pair<std::string, std::string>> query, headers;
    int status;
    const char* encoding;
    bool live;
  };
  for (const auto& c :
       {Case{"a browser", {}, {{"Accept", kHtml}, {"Accept-Encoding", "gzip, br"}}, 200, "gzip", true},
        Case{"without gzip", {}, {{"Accept", kHtml}}, 200, "", true},
        Case{"plain", {{"plain", ""}}, {{"Accept", kHtml}}, 200, "", false},
        Case{"curl", {}, {{"Accept", "*/*"}}, 200, "", false}, Case{"a program", {}, {}, 200, "", false},
        Case{"it has another", {}, {{"Accept", kHtml}, {"If-None-Match", "\"x\""}}, 200, "", true}}) {
    SCOPED_TRACE(c.name);
    auto request = ask("GET", "/");
    request.query = c.query;
    request.headers = c.headers;
    const auto answer = now(site.routes.answer(request));
    EXPECT_EQ(answer.status, c.status);
    EXPECT_EQ(answer.content_type, "text/html; charset=utf-8");
    std::map<std::string, std::string> headers(answer.headers.begin(), answer.headers.end());
    EXPECT_EQ(headers["Content-Encoding"], c.encoding);
    EXPECT_EQ(headers["Vary"], "Accept, Accept-Encoding");
    EXPECT_EQ(headers.contains("ETag"), c.live);
    if (*c.encoding) {
      EXPECT_TRUE(answer.body->starts_with("\x1f\x8b"));
      EXPECT_LE(answer.body->size(), 150'000U);
    } else {
      EXPECT_EQ(answer.body->find("<script>") != std::string::npos, c.live);
      EXPECT_TRUE(answer.body->ends_with("</html>\n"));
    }
    if (!c.live) continue;
    request.headers.emplace_back("If-None-Match", "\"other\", " + headers["ETag"]);
    const auto again = now(site.routes.answer(request));
    EXPECT_EQ(again.status, 304);
    EXPECT_TRUE(again.body->empty());
  }
}

TEST(Endpoints, Inventory) {
  Site site;
  site.w.publish();
  site.w.rows[0].text = "it said \"no\"";
  EXPECT_THAT(
      *site.get("/api/v1/agent").body,
      testing::AllOf(HasSubstr(R"("metrics_path":"/metrics")"), HasSubstr(R"("interval_seconds":5)"),
                     HasSubstr(R"("text":"it said \"no\"")"), HasSubstr(R"("state":")"), HasSubstr(R"("probe":false)"),
                     HasSubstr(R"("/api/v1/agent")"), HasSubstr(R"("/api/v1/alerts/{id}/evidence")")));
}

TEST(Endpoints, Events) {
  Site site;
  EXPECT_EQ(*site.get("/api/v1/events").body, "{\"status\":\"success\",\"data\":{\"newest\":0,\"events\":[]}}\n");
  site.w.clock.boot = 5 * kSecond;
  site.w.clock.wall = 1000 * kSecond;
  for (int i = 1; i <= 3; ++i) {
    auto batch = std::make_shared<Batch>();
    batch->collector = "c";
    batch->collected_boot_ns = i;
    batch->events = {std::make_shared<const Event>(
        Event{"odd", 3 * kSecond, i == 3 ? "it said \"no\"" : "it went", {{"pid", std::to_string(i)}}})};
    Snapshot snapshot;
    snapshot.batches = {batch};
    site.events.append(snapshot);
  }
  const auto get = [&](std::vector<std::pair<std::string, std::string>> query) {
    auto request = ask("GET", "/api/v1/events");
    request.query = {query.begin(), query.end()};
    return now(site.routes.answer(request));
  };
  const std::string last =
      R"({"sequence":3,"time":998.000,"type":"odd","collector":"c","text":"it said \"no\"","fields":{"pid":"3"}}]}})"
      "\n";
  EXPECT_EQ(*get({{"limit", "1"}}).body, R"({"status":"success","data":{"newest":3,"events":[)" + last);
  EXPECT_EQ(*get({{"after", "2"}}).body, *get({{"limit", "1"}}).body);
  EXPECT_THAT(
      *get({{"after", "0"}, {"limit", "2"}}).body,
      testing::AllOf(HasSubstr("\"sequence\":1"), HasSubstr("\"sequence\":2"), Not(HasSubstr("\"sequence\":3"))));
  EXPECT_THAT(*get({{"after", "3"}}).body, HasSubstr("\"events\":[]"));
  for (const auto& [name, odd] : std::vector<std::pair<std::string, std::string>>{
           {"after", "yesterday"}, {"limit", "0"}, {"limit", "1025"}, {"limit", ""}}) {
    const auto answer = get({{name, odd}});
    EXPECT_EQ(answer.status, 400) << name << odd;
    EXPECT_THAT(*answer.body, HasSubstr(name + ": '" + odd + "', expected"));
  }
}

TEST(Endpoints, HealthFailsWhenNoCollectionEnds) {
  Site site;
  auto& w = site.w;
  for (const auto* path : {"/-/healthy", "/-/ready"}) {
    SCOPED_TRACE(path);
    w.publish();
    w.clock.advance_ns(30 * kSecond);
    EXPECT_EQ(site.get(path).status, 200);
    w.clock.advance_ns(1);
    auto request = ask("GET", path);
    request.arrived_boot_ns = w.clock.boot;
    for (const bool ends : {true, false}) {
      SCOPED_TRACE(ends);
      const auto answer = site.routes.answer(request);
      auto& pending = *std::get<1>(answer);
      EXPECT_FALSE(pending.poll(w.clock.boot));
      // It asks for numbers that would not be too old when it has to answer.
      EXPECT_EQ(pending.wants_snapshot_boot_ns(), pending.deadline_boot_ns() - 30 * kSecond);
      if (ends) {
        const auto before = w.clock.boot;
        w.publish();
        EXPECT_EQ(pending.poll(w.clock.boot)->status, 200);
        w.clock.boot = before + 31 * kSecond;
        request.arrived_boot_ns = w.clock.boot;
      } else {
        w.clock.boot = pending.deadline_boot_ns();
        const auto got = pending.poll(w.clock.boot);
        EXPECT_EQ(got->status, 503);
        EXPECT_THAT(*got->body, HasSubstr("the newest numbers are 31 s old, more than 30 s: no collection has ended"));
      }
    }
  }
  Site fresh;
  EXPECT_EQ(fresh.get("/-/healthy").status, 200);  // just started
  fresh.w.clock.advance_ns(40 * kSecond);
  EXPECT_EQ(fresh.get("/-/healthy").status, 0);
}

TEST(Endpoints, Reload) {
  Site site;
  auto request = ask("POST", "/-/reload");
  request.loopback = true;
  std::vector<Answer> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(site.routes.answer(request));
  EXPECT_EQ(now(site.routes.answer(request)).status, 503);  // too many wait
  ASSERT_EQ(site.reloads.size(), 8U);
  EXPECT_EQ(now(waiting[0]).status, 0);
  site.reloads[0]({});
  EXPECT_EQ(now(waiting[0]).status, 200);
  site.reloads[1]({"vitald.yaml:1:1: x"});
  const auto refused = now(waiting[1]);
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(*refused.body, HasSubstr("vitald.yaml:1:1: x"));
  auto& late = *std::get<1>(waiting[2]);
  EXPECT_EQ(late.poll(late.deadline_boot_ns())->status, 504);
  waiting.pop_back();
  EXPECT_EQ(std::get<1>(site.routes.answer(request))->deadline_boot_ns(), 30 * kSecond);  // room again
}

}  // namespace
}  // namespace vitald
