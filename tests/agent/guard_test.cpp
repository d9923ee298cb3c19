// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "exporters/encode/prom_text.h"
#include "tests/exposition_reader.h"

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr MetricDesc kSuccess{"node_scrape_collector_success", MetricType::gauge, "Success.", "collector"};
constexpr MetricDesc kLeftOut{"vitald_collector_left_out", MetricType::gauge, "Left out.", "collector"};
constexpr MetricDesc kScrapeError{"node_textfile_scrape_error", MetricType::gauge, "Error."};
constexpr MetricDesc kUname{"node_uname_info", MetricType::gauge, "Uname.", "release"};
constexpr MetricDesc kUnameFile{"node_uname_info", MetricType::gauge, "From a file.", "release"};
constexpr MetricDesc kLoad{"node_load1", MetricType::gauge, "Load."};
constexpr MetricDesc kLoadCounter{"node_load1", MetricType::counter, "Load."};
constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.", "device"};
constexpr MetricDesc kWaitRule{"wait_seconds", MetricType::gauge, "p99.", "device"};
constexpr MetricDesc kWaitSum{"wait_seconds_sum", MetricType::gauge, "Sum."};
constexpr MetricDesc kPause{"pause_seconds", MetricType::summary, "Pause."};
constexpr MetricDesc kPauseBucket{"pause_seconds_bucket", MetricType::gauge, "No part of it."};
constexpr MetricDesc kOther{"other", MetricType::gauge, "Other.", "a"};

using Emit = std::function<void(BatchWriter&)>;

class Cycles {
 public:
  void emit(const std::string& collector, const Emit& emit) {
    auto& writer = writers_.try_emplace(collector, collector).first->second;
    ++now_;
    writer.begin(now_, now_);
    emit(writer);
    batches_[collector] = writer.finish({}, 0, 0);
  }
  void drop(const std::string& collector) { batches_.erase(collector); }
  // What leaves, without HELP and TYPE and what says success.
  std::string text() {
    std::string out, rest;
    for (std::string_view all = encoded(); !all.empty();) {
      const auto line = take_line(all);
      if (!line.starts_with("#") && !line.ends_with("\"} 1")) out.append(line).append("\n");
    }
    return out;
  }
  std::string& encoded() {
    Snapshot s;
    health_.begin(now_, now_);
    for (const auto& [name, batch] : batches_)
      if (name != "rules" && name != "health") health_.set(kSuccess, 1, name);
    batches_["health"] = health_.finish({}, 0, 0);
    for (const auto& [name, batch] : batches_) s.batches.push_back(batch);
    guard_.check(s.batches, of_rules);
    problems.clear();
    for (const auto& batch : s.batches)
      for (const auto& p : batch->health.problems) problems.push_back(batch->collector + ": " + p.text);
    last = s.batches;
    encoder_.encode(s, text_);
    EXPECT_THAT(encoder_.conflicts(), IsEmpty());
    return text_;
  }
  std::shared_ptr<const FamilyNames> of_rules;
  std::vector<std::string> problems;
  std::vector<BatchPtr> last;

 private:
  std::map<std::string, BatchWriter> writers_;
  std::map<std::string, BatchPtr> batches_;
  BatchWriter health_{"health"};  // what the agent says of all of them
  Guard guard_;
  PromText encoder_;
  std::string text_;
  std::int64_t now_ = 0;
};

void histogram(BatchWriter& o, const char* device) {
  const double bounds[] = {1};
  const std::uint64_t counts[] = {2, 2};
  o.histogram(kWait, {bounds, counts, 3}, device);
}
constexpr std::string_view kWaitText =
    "wait_seconds_bucket{device=\"a\",le=\"1\"} 2\nwait_seconds_bucket{device=\"a\",le=\"+Inf\"} 4\n"
    "wait_seconds_sum{device=\"a\"} 3\nwait_seconds_count{device=\"a\"} 4\n";

TEST(Guard, WhoStays) {
  struct Case {
    const char* name;
    std::map<std::string, Emit> batches;
    std::string want;
    std::vector<std::string> problems;
  };
  const auto load = [](auto& o) { o.set(kLoad, 5); };
  const Case cases[] = {
      {"nothing in common",
       {{"a", load}, {"b", [](auto& o) { o.set(kOther, 2, "x"); }}},
       "node_load1 5\nother{a=\"x\"} 2\n",
       {}},
      {"a collector's family beats a file's, whatever the alphabet says",
       {{"uname", [](auto& o) { o.set(kUname, 7, "6.1"); }},
        {"textfile", [](auto& o) { o.set(kUnameFile, 8, "made up"), o.set(kOther, 2, "x"), o.set(kScrapeError, 0); }}},
       "node_scrape_collector_success{collector=\"textfile\"} 0\nnode_textfile_scrape_error 1\n"
       "node_uname_info{release=\"6.1\"} 7\nother{a=\"x\"} 2\n",
       {"textfile: node_uname_info: a family of the collector uname; what textfile gives under this name is left out"}},
      {"a rule with the name of a histogram",
       {{"sched", [](auto& o) { histogram(o, "a"); }},
        {"rules", [](auto& o) { o.set(kWaitRule, 9, "a"), o.set(kOther, 2, "x"); }}},
       "other{a=\"x\"} 2\n" + std::string(kWaitText),
       {"rules: wait_seconds: a family of the collector sched; what rules gives under this name is left out"}},
      {"a rule with the name of a histogram's lines",
       {{"sched", [](auto& o) { histogram(o, "a"); }}, {"rules", [](auto& o) { o.set(kWaitSum, 9); }}},
       std::string(kWaitText),
       {"rules: wait_seconds_sum: the name of lines of wait_seconds, a histogram of sched; what rules gives under it "
        "is left out"}},
      {"a file's histogram over a collector's gauge",
       {{"z", [](auto& o) { o.set(kWaitSum, 9); }},
        {"textfile", [](auto& o) { histogram(o, "a"), o.set(kScrapeError, 0); }}},
       "node_scrape_collector_success{collector=\"textfile\"} 0\nnode_textfile_scrape_error 1\nwait_seconds_sum 9\n",
       {"textfile: wait_seconds: its lines would have the name of wait_seconds_sum, a family of the collector z; left "
        "out"}},
      {"a gauge with the name that a bucket of a summary would have, which has none",
       {{"a", [](auto& o) { o.set(kPauseBucket, 9); }},
        {"b",
         [](auto& o) {
           o.set_labels(kPause, 3, {}, Part::sum);
           o.set_labels(kPause, 4, {}, Part::count);
         }}},
       "pause_seconds_sum 3\npause_seconds_count 4\npause_seconds_bucket 9\n",
       {}},
      {"in one batch",
       {{"a", [](auto& o) { histogram(o, "a"), o.set(kWaitSum, 9); }}},
       "node_scrape_collector_success{collector=\"a\"} 0\n" + std::string(kWaitText),
       {"a: wait_seconds_sum: the name of lines of wait_seconds, a histogram of a; what a gives under it is left out"}},
      {"two types among equals: the first by name",
       {{"a", load}, {"b", [](auto& o) { o.set(kLoadCounter, 6); }}},
       "node_load1 5\nnode_scrape_collector_success{collector=\"b\"} 0\n",
       {"b: node_load1: b calls it a counter, a already a gauge; left out"}},
      {"one series twice",
       {{"a", load}, {"b", [](auto& o) { o.set(kLoad, 6), o.set(kOther, 2, "x"); }}},
       "node_load1 5\nnode_scrape_collector_success{collector=\"b\"} 0\nother{a=\"x\"} 2\n",
       {"b: node_load1: a gives it too; left out"}},
      {"one family, other series: both stay",
       {{"a", [](auto& o) { o.set(kOther, 2, "x"); }}, {"b", [](auto& o) { o.set(kOther, 3, "y"); }}},
       "other{a=\"x\"} 2\nother{a=\"y\"} 3\n",
       {}},
      {"a rule's family beats a file's: who may write the file does not say which alerts there are",
       {{"textfile", [](auto& o) { o.set(kUnameFile, 2, "x"), o.set(kScrapeError, 0); }},
        {"rules", [](auto& o) { o.set(kUname, 3, "y"), o.set(kUname, 4, "x"); }}},
       "node_scrape_collector_success{collector=\"textfile\"} 0\nnode_textfile_scrape_error 1\n"
       "node_uname_info{release=\"x\"} 4\nnode_uname_info{release=\"y\"} 3\n",
       {"textfile: node_uname_info: a family of the rules; what textfile gives under this name is left out"}},
      {"the same series, once with a label that is empty",
       {{"a", [](auto& o) { o.set(kOther, 2, ""), o.set(kOther, 3, "x"); }},
        {"b", [](auto& o) { o.set_labels(kOther, 6, {}), o.set(kOther, 7, "y"); }}},
       "node_scrape_collector_success{collector=\"b\"} 0\nother{a=\"\"} 2\nother{a=\"x\"} 3\nother{a=\"y\"} 7\n",
       {"b: other: a gives it too; left out"}},
      {"what a layout itself left out fails its collector",
       {{"a", [](auto& o) { o.set(kLoad, 5), o.set(kLoad, 6); }}},
       "node_load1 5\nnode_scrape_collector_success{collector=\"a\"} 0\n",
       {"a: emitted twice, first one kept: node_load1"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Cycles cycles;
    for (int cycle = 0; cycle < 3; ++cycle) {  // decided, kept, and beside a layout that changes
      for (const auto& [name, emit] : c.batches)
        cycles.emit(name, [&, &e = emit](auto& o) {
          e(o);
          if (cycle == 2 && name != "rules") o.set(kOther, 1, name);  // success's lines are left out of the text
        });
      EXPECT_EQ(cycles.text(), c.want) << cycle;
      EXPECT_EQ(cycles.problems, c.problems) << cycle;
    }
  }
}

TEST(Guard, WhatFitsIsNotTouched) {
  Cycles c;
  std::vector<BatchPtr> before;
  for (int cycle = 0; cycle < 3; ++cycle) {
    c.emit("a", [](auto& o) { o.set(kLoad, 1); });
    c.emit("b", [&](auto& o) { o.set(kOther, 1, "x"), o.set(kOther, 1, std::to_string(cycle)); });
    c.text();
    for (const auto& b : c.last) EXPECT_EQ(b->layout->samples().size(), b->layout->value_count());
    EXPECT_THAT(c.problems, IsEmpty());
  }
}

// Nothing fires, so the rules give no series: ALERTS of a file would be all there are, on every page and in the
// history.
TEST(Guard, AFileSaysNothingUnderTheRulesNames) {
  static constexpr MetricDesc kAlerts{"ALERTS", MetricType::gauge, "", "alertname"};
  static constexpr MetricDesc kOwn{"ALERTS", MetricType::gauge, "The rules'.", "alertname,alertstate"};
  static constexpr MetricDesc kSince{"ALERTS_FOR", MetricType::summary, "Its sum would be a recorded name."};
  Cycles c;
  const auto file = [](auto& o) {
    o.set(kAlerts, 1, "DiskFull"), o.set(kOther, 2, "x"), o.set(kScrapeError, 0);
    o.set_labels(kSince, 3, {}, Part::sum);
  };
  c.emit("textfile", file);
  EXPECT_EQ(c.text(), "ALERTS_FOR_sum 3\nnode_textfile_scrape_error 0\nother{a=\"x\"} 2\n")
      << "no rules, nobody's name";
  c.of_rules = std::make_shared<const FamilyNames>(FamilyNames{"ALERTS", "ALERTS_FOR_sum", "job:load"});
  for (int cycle = 0; cycle < 2; ++cycle) {
    c.emit("textfile", file);
    EXPECT_EQ(
        c.text(),
        "node_scrape_collector_success{collector=\"textfile\"} 0\nnode_textfile_scrape_error 1\nother{a=\"x\"} 2\n");
    EXPECT_THAT(c.problems,
                ElementsAre("textfile: ALERTS: ALERTS is a family of the rules; what textfile gives under this "
                            "name is left out",
                            "textfile: ALERTS_FOR: ALERTS_FOR_sum is a family of the rules; what textfile gives "
                            "under this name is left out"));
  }
  // 2 in place of 1: lines that end as those which say success are not shown by text().
  c.emit("rules", [](auto& o) { o.set(kOwn, 2, "HostLoad", "pending"); });
  EXPECT_THAT(c.text(), HasSubstr("ALERTS{alertname=\"HostLoad\",alertstate=\"pending\"} 2\n"));
  EXPECT_THAT(c.text(), testing::Not(HasSubstr("DiskFull")));
}

TEST(Guard, WhatIsLeftOutCounts) {
  Cycles c;
  const auto uname = [](auto& o) { o.set(kUname, 7, "6.1"); };
  const auto counts = [](auto& o) { o.set(kLeftOut, 3, "textfile"), o.set(kLeftOut, 0, "uname"); };
  for (int cycle = 0; cycle < 2; ++cycle) {
    c.emit("counts", counts);
    c.emit("uname", uname);
    c.emit("textfile", [](auto& o) { o.set(kUnameFile, 8, "a"), o.set(kUnameFile, 8, "b"), o.set(kOther, 2, "x"); });
    EXPECT_THAT(c.text(), HasSubstr("vitald_collector_left_out{collector=\"textfile\"} 5\n"
                                    "vitald_collector_left_out{collector=\"uname\"} 0\n"));
  }
  c.drop("uname");
  c.emit("counts", counts);
  EXPECT_THAT(c.text(), HasSubstr("vitald_collector_left_out{collector=\"textfile\"} 3\n"));
}

TEST(Guard, AConflictThatEndsIsForgotten) {
  Cycles c;
  c.emit("a", [](auto& o) { o.set(kLoad, 1); });
  c.emit("b", [](auto& o) { o.set(kLoad, 2); });
  EXPECT_EQ(c.text(), "node_load1 1\nnode_scrape_collector_success{collector=\"b\"} 0\n");
  c.drop("a");
  EXPECT_EQ(c.text(), "node_load1 2\n");
  EXPECT_THAT(c.problems, IsEmpty());
  c.emit("a", [](auto& o) { o.set(kLoad, 1); });
  EXPECT_THAT(c.text(), HasSubstr("node_load1 1\n"));
}

// Whatever is emitted, by whom and how often, what leaves can be read.
TEST(Guard, WhateverComesWhatLeavesIsRead) {
  const auto* given = std::getenv("VITALD_GUARD_SEED");
  for (unsigned seed = given ? static_cast<unsigned>(std::atoi(given)) : 1, end = given ? seed + 1 : 61; seed < end;
       ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    static const std::string kWords[] = {
        "a",          "b",        "a_sum", "a_count", "a_bucket", "b_sum", "c",   "c:d",  "le",
        "quantile",   "__name__", "",      "9",       "x-y",      "x.y",   "x y", "\xff", std::string("n\0l", 3),
        "\xc3\xa4",   "{",        "}",     "\"",      "\\",       "\n",    "=",   "#",    "alertstate",
        "node_load1", "instance"};
    static const std::string kValues[] = {"",
                                          "1",
                                          "0.5",
                                          "+Inf",
                                          "NaN",
                                          "x",
                                          "\"",
                                          "\\",
                                          "\n",
                                          "\xff\xfe",
                                          std::string("\0", 1),
                                          "\xe2\x82\xac",
                                          "} 1",
                                          "a\",b=\"c",
                                          "1e3",
                                          "\r"};
    const auto word = [&] { return kWords[below(std::size(kWords))]; };
    const auto value = [&] { return kValues[below(std::size(kValues))]; };
    const auto type = [&] { return static_cast<MetricType>(below(5)); };
    Cycles c;
    for (int cycle = 0; cycle < 6; ++cycle) {
      for (const char* collector : {"cpu", "rules", "sched", "textfile", "zfs"}) {
        if (below(3) == 0) continue;  // its batch of before stays
        const auto pool = std::make_shared<DescPool>();
        c.emit(collector, [&](BatchWriter& o) {
          o.use(pool);
          for (auto n = below(30); n > 0; --n) {
            const auto label_names = fmt::format("{},{}", word(), word());
            const auto& desc = pool->get(word() + (below(3) == 0 ? word() : ""), type(), value() + word(), label_names);
            const double number = below(4) == 0 ? NAN : static_cast<double>(below(1000)) / 7;
            std::vector<Label> labels;
            std::vector<std::string> texts;
            for (auto l = below(5); l > 0; --l) texts.push_back(word()), texts.push_back(value());
            for (std::size_t l = 0; l + 1 < texts.size(); l += 2) labels.push_back({texts[l], texts[l + 1]});
            std::vector<double> bounds;
            for (auto l = below(4); l > 0; --l) bounds.push_back(static_cast<double>(below(5)));
            std::vector<std::uint64_t> counts(bounds.size() + (below(9) == 0 ? 2 : 1), 3);
            switch (below(6)) {
              case 0: o.set(desc, number); break;
              case 1: o.set(desc, number, value()); break;
              case 2: o.set(desc, number, value(), value(), value()); break;
              case 3: o.histogram(desc, {bounds, counts, number}, value()); break;
              case 4: o.histogram_labels(desc, {bounds, counts, number}, labels); break;
              default: o.set_labels(desc, number, labels, static_cast<Part>(below(4)));
            }
          }
          if (std::string_view(collector) == "textfile") o.set(kScrapeError, 0);
        });
      }
      const auto& text = c.encoded();
      ExpositionReader reader;
      ASSERT_EQ(reader.read(text), "") << "VITALD_GUARD_SEED=" << seed << " cycle " << cycle << "\n" << text;
    }
  }
}

}  // namespace
}  // namespace vitald
