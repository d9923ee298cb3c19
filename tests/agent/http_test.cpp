// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/metrics.h"
#include "agent/http/listen.h"
#include "agent/http/site.h"

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
    EXPECT_THAT(got->address, Not(testing::EndsWith(":0")));
  }
  struct Case {
    std::string_view address, want;
  };
  for (const auto& c : {Case{"9100", "expected host:port"}, Case{"127.0.0.1", "expected host:port"},
                        Case{"127.0.0.1:x", "expected host:port"}, Case{"127.0.0.1:65536", "expected host:port"},
                        Case{"::1:9100", "expected host:port"}, Case{"no.such.host.invalid:1", "no.such.host.invalid"},
                        Case{"192.0.2.1:0", "no interface of this machine"}}) {
    const auto got = listen_on(c.address);
    ASSERT_FALSE(got) << c.address;
    EXPECT_THAT(got.error().text, HasSubstr(c.want));
  }
  const auto first = listen_on("127.0.0.1:0");
  ASSERT_TRUE(first);
  EXPECT_THAT(listen_on(first->address).error().text, HasSubstr("another program listens there"));
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
    return {[this] { return hub.latest(); }, [](std::int64_t) { return false; },
            [this] { return std::make_shared<const std::vector<CollectorStatus>>(rows); }};
  }
  Request request(std::vector<std::pair<std::string, std::string>> query = {},
                  std::vector<std::pair<std::string, std::string>> headers = {}) {
    return {"GET", "/metrics", std::move(query), std::move(headers), clock.boot};
  }
};

TEST(Metrics, AnswersFromASnapshotThatIsNewEnough) {
  World w;
  MetricsHandler handler({.max_age_ns = kSecond}, w.source(), w.clock);
  w.publish();
  w.clock.advance_ns(kSecond);
  MetricsHandler::Scrape scrape(handler, w.request());
  const auto got = scrape.answer();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(*got->body,
            "# HELP test_alpha A.\n# TYPE test_alpha gauge\ntest_alpha 1\n"
            "# HELP test_beta B.\n# TYPE test_beta gauge\ntest_beta 1\n");
}

TEST(Metrics, WaitsForANewOne) {
  World w;
  MetricsHandler handler({.max_age_ns = kSecond}, w.source(), w.clock);
  w.publish();
  w.clock.advance_ns(kSecond + 1);
  MetricsHandler::Scrape scrape(handler, w.request());
  EXPECT_FALSE(scrape.answer());
  EXPECT_EQ(scrape.fresh_boot_ns(), w.clock.boot - kSecond);
  w.publish();
  EXPECT_THAT(*scrape.answer()->body, HasSubstr("test_alpha 2\n"));
}

TEST(Metrics, MaxAgeZeroTakesNoneThatBeganBefore) {
  World w;
  MetricsHandler handler({.max_age_ns = 0}, w.source(), w.clock);
  w.publish();
  w.clock.advance_ns(1);
  MetricsHandler::Scrape scrape(handler, w.request());
  EXPECT_FALSE(scrape.answer());
  w.publish();
  EXPECT_TRUE(scrape.answer());
}

TEST(Metrics, ConcurrentScrapesShareOneBody) {
  World w;
  MetricsHandler handler({}, w.source(), w.clock);
  w.publish();
  const std::vector<std::pair<std::string, std::string>> gzip{{"Accept-Encoding", "gzip"}};
  MetricsHandler::Scrape a(handler, w.request()), b(handler, w.request()), c(handler, w.request({}, gzip)),
      d(handler, w.request({}, gzip));
  const auto first = a.answer(), packed = c.answer();
  EXPECT_EQ(first->body, b.answer()->body);
  EXPECT_EQ(packed->body, d.answer()->body);
  EXPECT_NE(first->body, packed->body);
  EXPECT_THAT(packed->headers, testing::Contains(Pair("Content-Encoding", "gzip")));

  w.publish();  // what is still being sent is not written over
  EXPECT_THAT(*a.answer()->body, HasSubstr("test_alpha 2\n"));
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
    MetricsHandler handler({.max_age_ns = 0}, w.source(), w.clock);
    MetricsHandler::Scrape first(handler, w.request({}, {{"x-prometheus-scrape-timeout-seconds", c.header}}));
    EXPECT_EQ(first.deadline_boot_ns() - w.clock.boot, c.deadline_ns);
    w.clock.advance_ns(c.deadline_ns - 1);
    EXPECT_FALSE(first.answer());
    w.clock.advance_ns(1);
    EXPECT_EQ(first.answer()->status, 503);

    w.publish();
    w.clock.advance_ns(3 * kSecond);
    MetricsHandler::Scrape second(handler, w.request());
    w.clock.advance_ns(5 * kSecond);
    const auto got = second.answer();
    EXPECT_EQ(got->status, 200);
    EXPECT_THAT(got->headers, testing::Contains(Pair("Age", "8")));
  }
}

TEST(Metrics, Filters) {
  World w;
  MetricsHandler handler({}, w.source(), w.clock);
  w.publish();
  const auto ask = [&](std::vector<std::pair<std::string, std::string>> query) {
    return *MetricsHandler::Scrape(handler, w.request(std::move(query))).answer();
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
  MetricsHandler handler({.max_requests = 2}, w.source(), w.clock);
  w.publish();
  {
    MetricsHandler::Scrape a(handler, w.request()), b(handler, w.request()), c(handler, w.request());
    EXPECT_EQ(b.answer()->status, 200);
    EXPECT_EQ(c.answer()->status, 503);
    EXPECT_THAT(*c.answer()->body, HasSubstr("Limit of concurrent requests reached (2)"));
  }
  EXPECT_EQ(MetricsHandler::Scrape(handler, w.request()).answer()->status, 200);
}

TEST(Site, Routes) {
  World w;
  const SiteSource source{[&] { return w.hub.latest(); },
                          [&] { return std::make_shared<const std::vector<CollectorStatus>>(w.rows); },
                          [] { return std::shared_ptr<const RulesView>(); },
                          {},
                          "/metrics"};
  const auto ask = [&](std::string method, std::string path) { return handle({method, path, {}, {}, 0}, source); };

  EXPECT_EQ(ask("GET", "/-/ready").status, 503);
  w.publish();
  EXPECT_EQ(ask("GET", "/-/ready").status, 200);
  EXPECT_EQ(ask("HEAD", "/-/healthy").status, 200);
  EXPECT_EQ(ask("GET", "/nothing").status, 404);
  EXPECT_EQ(ask("DELETE", "/").status, 405);
  EXPECT_THAT(ask("GET", "/-/reload").headers, testing::ElementsAre(Pair("Allow", "POST, PUT")));
  EXPECT_FALSE(is_reload({"GET", "/-/reload", {}, {}, 0}));
  EXPECT_TRUE(is_reload({"POST", "/-/reload", {}, {}, 0}));
  EXPECT_EQ(reloaded({}).status, 200);
  const auto refused = reloaded({"vitald.yaml:1:1: x"});
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(*refused.body, HasSubstr("vitald.yaml:1:1: x"));

  EXPECT_THAT(*ask("GET", "/api/v1/alerts").body, HasSubstr("\"status\":\"success\""));
  EXPECT_THAT(*ask("GET", "/api/v1/rules").body, HasSubstr("\"groups\":[]"));
  EXPECT_EQ(handle({"GET", "/api/v1/rules", {{"type", "record"}}, {}, 0}, source).status, 200);
  const auto odd = handle({"GET", "/api/v1/rules", {{"type", "\"odd"}}, {}, 0}, source);
  EXPECT_EQ(odd.status, 400);
  EXPECT_EQ(odd.content_type, "application/json");

  w.rows[0].text = "<script>";
  const auto page = ask("GET", "/");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(*page.body, testing::AllOf(HasSubstr("href=\"/metrics\""), HasSubstr("&lt;script&gt;"),
                                         Not(HasSubstr("<script>")), HasSubstr("off by default")));
}

}  // namespace
}  // namespace vitald
