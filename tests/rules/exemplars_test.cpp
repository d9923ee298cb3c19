// SPDX-License-Identifier: Apache-2.0
// Which exemplars are kept, and who finds them.
#include "rules/history/exemplars.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/promql/parser.h"

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr MetricDesc kLatency{"latency_seconds", MetricType::histogram, "help", "disk", "", "test"};
const std::map<std::string, std::string> kTarget = {{"instance", "h:9100"}, {"job", "node"}};

class Machine {
 public:
  // One of `disk` that took `seconds`, at that time.
  void saw(const std::string& disk, double seconds, std::int64_t wall_ms, const std::string& who) {
    now_ns_ += 1'000'000'000;
    writer_.begin(now_ns_);
    const std::vector<double> bounds{0.1, 1, 10};
    const std::vector<std::uint64_t> counts{1, 1, 1, 1};
    std::uint32_t bucket = 0;
    while (bucket < bounds.size() && seconds > bounds[bucket]) ++bucket;
    std::vector<Exemplar> exemplars;
    if (wall_ms != 0) exemplars.push_back({bucket, seconds, wall_ms, {{"owner", who}}});
    writer_.histogram(kLatency, {bounds, counts, 1, exemplars}, disk);
    snapshot_ = {};
    if (wall_ms != 0) wall_ns_ = wall_ms * 1'000'000;
    snapshot_.wall_ns = wall_ns_;
    snapshot_.batches.push_back(writer_.finish({}, 0, 0));
    log.append(snapshot_);
  }
  void again() { log.append(snapshot_); }

  std::vector<std::string> found(const std::string& query, std::int64_t start_ms = 0,
                                 std::int64_t end_ms = INT64_MAX) const {
    std::vector<promql::Problem> problems;
    const auto e = promql::compile(query, problems);
    EXPECT_TRUE(e) << query;
    std::vector<std::string> out;
    for (const auto& series : log.find(*e, kTarget, start_ms, end_ms)) {
      auto text =
          fmt::format("{}/{}/{}:", series.labels.get("disk"), series.labels.get("le"), series.labels.get("job"));
      for (const auto& x : series.exemplars) text += fmt::format(" {}@{} {}", x.value, x.wall_ms, x.labels[0].second);
      out.push_back(text);
    }
    return out;
  }

  ExemplarLog log;

 private:
  BatchWriter writer_{"test"};
  Snapshot snapshot_;
  std::int64_t now_ns_ = 0, wall_ns_ = 0;
};

TEST(Exemplars, TheNewestOfEachBucket) {
  Machine m;
  EXPECT_THAT(m.found("latency_seconds_bucket"), IsEmpty());
  m.saw("sda", 0.5, 1000, "a");
  m.again();
  m.saw("sda", 0.5, 1000, "a");  // the collector shows it again
  m.saw("sdb", 5, 2000, "b");
  m.saw("sda", 0, 0, "");
  EXPECT_THAT(m.found("latency_seconds_bucket"), ElementsAre("sda/1/node: 0.5@1000 a", "sdb/10/node: 5@2000 b"));
  for (int i = 1; i <= 6; ++i) m.saw("sda", 0.5 + i * 0.01, 2000 + i, fmt::format("c{}", i));
  EXPECT_THAT(m.found("latency_seconds_bucket{disk=\"sda\"}"),
              ElementsAre("sda/1/node: 0.53@2003 c3 0.54@2004 c4 0.55@2005 c5 0.56@2006 c6"));
  EXPECT_EQ(m.log.size(), 5U);
}

TEST(Exemplars, AClockThatIsSetBackLosesOnlyTheFuture) {
  Machine m;
  m.saw("sda", 0.5, 1000, "a");
  m.saw("sda", 0.6, 9000, "b");
  m.saw("sda", 0.7, 2000, "c");
  m.saw("sda", 0.8, 3000, "d");
  EXPECT_THAT(m.found("latency_seconds_bucket"), ElementsAre("sda/1/node: 0.5@1000 a 0.7@2000 c 0.8@3000 d"));
}

TEST(Exemplars, WhoFindsThem) {
  Machine m;
  m.saw("sda", 0.5, 1000, "a");
  m.saw("sdb", 99, 2000, "b");
  const std::string sda = "sda/1/node: 0.5@1000 a", sdb = "sdb/+Inf/node: 99@2000 b";
  struct Case {
    const char* query;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"latency_seconds_bucket", {sda, sdb}},
      {"histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m])))", {sda, sdb}},
      {"latency_seconds_bucket{le=\"+Inf\"}", {sdb}},
      {"latency_seconds_bucket{job=\"node\", instance=~\"h.*\", disk!=\"sdb\"}", {sda}},
      {"latency_seconds_bucket{disk=\"sdb\"} or latency_seconds_bucket{disk=\"sda\"}", {sda, sdb}},
      {"latency_seconds_bucket{job=\"other\"}", {}},
      {"latency_seconds_count", {}},
      {"1", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.query);
    auto want = c.want;
    EXPECT_THAT(m.found(c.query), testing::UnorderedElementsAreArray(want));
  }
  EXPECT_THAT(m.found("latency_seconds_bucket", 1001, 2000), ElementsAre(sdb));
  EXPECT_THAT(m.found("latency_seconds_bucket", 1000, 1999), ElementsAre(sda));
  EXPECT_THAT(m.found("latency_seconds_bucket", 1001, 1999), IsEmpty());
}

TEST(Exemplars, SeriesAreBounded) {
  Machine m;
  for (std::size_t i = 0; i < ExemplarLog::kMostSeries + 10; ++i)
    m.saw(fmt::format("sd{}", i), 0.5, static_cast<std::int64_t>(1000 + i), "a");
  EXPECT_EQ(m.log.size(), ExemplarLog::kMostSeries);
  EXPECT_THAT(m.found("latency_seconds_bucket{disk=\"sd9\"}"), IsEmpty()) << "the oldest went";
  EXPECT_EQ(m.found("latency_seconds_bucket{disk=\"sd10\"}").size(), 1U);
}

// As the history calls them: exported_disk is taken.
TEST(Exemplars, ALabelOfTheTargetAndItsOtherNameInOneSeries) {
  static constexpr MetricDesc kDesc{"two_seconds", MetricType::histogram, "help", "disk,exported_disk", "", "test"};
  BatchWriter writer("test");
  writer.begin(1);
  const std::vector<double> bounds{1};
  const std::vector<std::uint64_t> counts{1, 0};
  const std::vector<Exemplar> exemplars{{0, 0.5, 1000, {{"owner", "a"}}}};
  writer.histogram(kDesc, {bounds, counts, 1, exemplars}, "sda", "sdb");
  Snapshot snapshot{0, 1, 1'000'000'000, {writer.finish({}, 0, 0)}};
  ExemplarLog log;
  log.append(snapshot);
  std::vector<promql::Problem> problems;
  const auto found = log.find(*promql::compile("two_seconds_bucket", problems), {{"disk", "all"}}, 0, INT64_MAX);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].labels.text(),
            "two_seconds_bucket{disk=\"all\", exported_disk=\"sdb\", exported_exported_disk=\"sda\", le=\"1\"}");
}

}  // namespace
}  // namespace vitald
