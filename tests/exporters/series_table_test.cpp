// SPDX-License-Identifier: Apache-2.0
// The table of a destination's series while series come and go: however it follows, it is what one made anew is, and it
// tells of every series that went, once. So are all encoders that keep something for each series.
#include "exporters/encode/series_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "exporters/encode/followed_order.h"
#include "exporters/encode/influx_line.h"
#include "exporters/encode/json_lines.h"
#include "exporters/encode/open_metrics2.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/prom_proto.h"
#include "exporters/encode/protobuf.h"
#include "exporters/encode/remote_write.h"

namespace vitald {
namespace {

using Emit = std::function<void(BatchWriter&)>;

constexpr MetricDesc kOwner{"owner_total", MetricType::counter, "Owner.", "owner,kind"};
constexpr MetricDesc kNow{"owner_now", MetricType::gauge, "", "owner"};
constexpr MetricDesc kInside{"inside", MetricType::gauge, "For derivers.", "owner", "", "", Shown::inside};
constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.", "owner", "seconds"};
constexpr MetricDesc kPower{"power_seconds", MetricType::histogram, "Power.", "owner,instance", "seconds"};

class Cycles {
 public:
  void emit(const std::string& collector, std::int64_t wall_ns, const Emit& emit) {
    auto& writer = writers_.try_emplace(collector, collector).first->second;
    writer.begin(++now_, wall_ns);
    emit(writer);
    batches_[collector] = writer.finish({}, 0, 0);
  }
  void drop(const std::string& collector) { batches_.erase(collector); }
  [[nodiscard]] Snapshot snapshot(std::int64_t wall_ns) const {
    Snapshot s{1, 1, wall_ns, {}};
    for (const auto& [name, batch] : batches_) s.batches.push_back(batch);
    return s;
  }

 private:
  std::map<std::string, BatchWriter> writers_;
  std::map<std::string, BatchPtr> batches_;
  std::int64_t now_ = 0;
};

std::string label_text(const SeriesTable& table, const SeriesRow& row) {
  std::string out(row.name);
  for (const auto& label : table.labels(row)) out += fmt::format(" {}={}", label.name, label.value);
  return out;
}

// Every row with its number, its type and what else is sent of it, sorted.
std::multiset<std::string> shown(const SeriesTable& table, const Snapshot& snapshot) {
  std::vector<double> values;
  table.values(snapshot, values);
  std::multiset<std::string> out;
  for (std::size_t i = 0; i < table.rows().size(); ++i) {
    const auto& row = table.rows()[i];
    auto text = fmt::format("{} {} {} {} {}", label_text(table, row), values[i], row.since_wall_ms, row.family->name,
                            static_cast<int>(row.part));
    if (row.histogram != SeriesRow::kNoHistogram) {
      const auto& h = table.histograms()[row.histogram];
      text += fmt::format(" {} {}:", h.scheme.schema, h.scheme.first);
      for (std::uint32_t b = 0; b < h.count; ++b) text += fmt::format(" {}", values[table.buckets_at(h) + b]);
    }
    out.insert(text);
  }
  return out;
}
std::multiset<std::string> names(const SeriesTable& table) {
  std::multiset<std::string> out;
  for (const auto& row : table.rows()) out.insert(label_text(table, row));
  return out;
}

// All that a request says of each series, in their order: where its symbols lie is no matter.
std::vector<std::string> decoded(std::string_view body) {
  std::vector<std::string> out;
  const auto view = WriteRequestView::of(body);
  EXPECT_TRUE(view);
  if (!view) return out;
  for (const auto& s : view->series()) {
    std::string text;
    for (proto::Reader refs(s.refs); !refs.at_end();) text += fmt::format("{} ", view->symbol(refs.varint()));
    text += fmt::format("{} {} {} {} {} {} ", s.bits, s.wall_ms, s.since_wall_ms, s.type, view->symbol(s.help),
                        view->symbol(s.unit));
    text += s.histogram;
    out.push_back(std::move(text));
  }
  return out;
}

// What encoders that follow a table say of it, beside those that see it for the first time.
class Encoders {
 public:
  explicit Encoders(std::size_t most) : most_(most), kept_(most) {}
  void check(const SeriesTable& table, const std::vector<double>& values, std::int64_t wall_ns) {
    One fresh(most_);
    EXPECT_EQ(kept_.influx_text(table, values, wall_ns), fresh.influx_text(table, values, wall_ns));
    EXPECT_EQ(kept_.json_text(table, values, wall_ns), fresh.json_text(table, values, wall_ns));
    EXPECT_EQ(kept_.otlp_requests(table, values, wall_ns), fresh.otlp_requests(table, values, wall_ns));
    EXPECT_EQ(kept_.written(table, values, wall_ns), fresh.written(table, values, wall_ns));
  }

 private:
  struct One {
    explicit One(std::size_t at_most)
        : influx(at_most), remote(at_most), otlp({{{"service.name", "node"}}, "vitald", "1"}, at_most), most(at_most) {}
    std::string influx_text(const SeriesTable& table, const std::vector<double>& values, std::int64_t wall_ns) {
      std::string out;
      influx.encode(table, values, wall_ns, [&](auto text, auto) { out += text; });
      return out;
    }
    std::string json_text(const SeriesTable& table, const std::vector<double>& values, std::int64_t wall_ns) {
      std::string out;
      json.encode(table, values, wall_ns, most, [&](auto text, auto) { out += text; });
      return out;
    }
    std::vector<std::string> otlp_requests(const SeriesTable& table, const std::vector<double>& values,
                                           std::int64_t wall_ns) {
      std::vector<std::string> out;
      std::size_t samples = 0;
      otlp.encode(table, values, wall_ns, [&](auto body, auto points, auto count) {
        out.push_back(fmt::format("{} {} {}", points, count, body));
        samples += count;
      });
      EXPECT_EQ(samples, table.rows().size());
      return out;
    }
    std::vector<std::string> written(const SeriesTable& table, const std::vector<double>& values,
                                     std::int64_t wall_ns) {
      std::vector<std::string> out;
      remote.encode(table, values, wall_ns / 1'000'000, [&](auto body, auto count) {
        const auto series = decoded(body);
        EXPECT_EQ(series.size(), count);
        EXPECT_GT(count, 0U);
        EXPECT_LE(count, most);
        out.insert(out.end(), series.begin(), series.end());
      });
      return out;
    }
    InfluxEncoder influx;
    JsonLines json;
    RemoteWriteEncoder remote;
    OtlpEncoder otlp;
    std::size_t most;
  };
  std::size_t most_;
  One kept_;
};

TEST(SeriesTableChanges, AsOneThatIsMadeAnew) {
  for (const bool native : {false, true}) {
    SCOPED_TRACE(native);
    std::mt19937 random(native ? 3 : 4);
    const auto next = [&](std::size_t below) { return static_cast<int>(random() % below); };
    SeriesTable::Settings settings;
    settings.target = {{"job", "node"}, {"instance", "here"}};
    settings.external = {{"rack", "7"}};
    settings.native = native;
    settings.up = true;
    SeriesTable table(settings);
    Encoders encoders(native ? 37 : 1000);  // in many requests, or in one
    PromProto proto;
    OpenMetrics2 open_metrics2;
    FollowedOrder order;
    std::size_t tables_followed = 0, orders_followed = 0;
    Cycles c;
    std::map<std::string, std::vector<int>> owners{{"a", {1, 2, 3}}, {"b", {}}, {"c", {}}};
    for (int i = 0; i < 40; ++i) owners["b"].push_back(2 * i + 1000), owners["c"].push_back(2 * i + 2201);
    int fell = 0;
    std::size_t told = 0;
    for (int cycle = 0; cycle < 90; ++cycle) {
      const auto wall_ns = (1'700'000'000 + std::int64_t{cycle}) * 1'000'000'000;
      for (auto& entry : owners) {
        const auto& name = entry.first;
        auto& list = entry.second;
        for (auto changes = next(3); changes > 0; --changes) {
          const auto at = list.begin() + next(list.size() + 1);
          if (next(2) == 0 && at != list.end()) list.erase(at);
          else list.insert(at, (name[0] - 'a') * 1000 + next(900));
        }
        std::set<int> once;
        std::erase_if(list, [&](int n) { return !once.insert(n).second; });
        fell += next(20) == 0 ? 1 : 0;
        const double value = cycle - 50 * fell;
        c.emit(name, wall_ns, [&](BatchWriter& o) {
          const double few[] = {1, 10}, powers[] = {0.25, 0.5, 1, 2, 4, 8, 16, 32};
          const auto n_now = static_cast<std::uint64_t>(cycle);
          const std::uint64_t few_counts[] = {1, 1, n_now}, power_counts[] = {n_now, 0, 1, 2, 0, n_now, 0, 0, 3};
          for (const int n : list) {
            const auto owner = std::to_string(n);
            for (const auto* kind : {"x", "y"}) o.set(kOwner, value + n, owner, kind);
            o.set(kInside, n, owner);
            if (n % 3 == 0) o.histogram(kWait, {few, few_counts, value}, owner);
            if (n % 4 == 0) o.histogram(kPower, {powers, power_counts, value}, owner, "there");
          }
          for (const int n : list) o.set(kNow, n, std::to_string(n));
          // Of a file: one that has a bucket more now and then.
          if (name == "b")
            for (int le = 0; le < 2 + cycle / 7 % 3; ++le) {
              const auto bound = std::to_string(le);
              const Label labels[] = {{"le", bound}, {"owner", "file"}};
              o.set_labels(kWait, le, labels, Part::bucket);
            }
          const Label last[] = {{"le", "+Inf"}, {"owner", "file"}}, own[] = {{"owner", "file"}};
          if (name == "b") {
            o.set_labels(kWait, 9, last, Part::bucket);
            o.set_labels(kWait, 1, own, Part::sum);
            o.set_labels(kWait, 9, own, Part::count);
          }
        });
      }
      if (cycle % 60 == 59) c.drop("a");
      const auto snapshot = c.snapshot(wall_ns);
      const auto before = names(table);
      table.update(snapshot);
      SeriesTable fresh(settings);
      fresh.update(snapshot);
      ASSERT_EQ(shown(table, snapshot), shown(fresh, snapshot)) << cycle;
      // Those that went are told of, and no other.
      std::multiset<std::string> went;
      const auto now = names(table);
      std::ranges::set_difference(before, now, std::inserter(went, went.end()));
      std::multiset<std::string> said;
      for (const auto& series : table.gone()) {
        auto text = series.name;
        for (const auto& [name, value] : series.labels) text += fmt::format(" {}={}", name, value);
        said.insert(text);
      }
      ASSERT_EQ(said, went) << cycle;
      told += said.size();
      // Encoders find what they look for in it.
      std::vector<double> values;
      table.values(snapshot, values);
      tables_followed += table.change() ? 1 : 0;
      order.update(snapshot, false);
      orders_followed += order.families().front().was != FollowedOrder::kNew ? 1 : 0;
      encoders.check(table, values, wall_ns);
      std::string kept, anew;
      proto.encode(snapshot, kept);
      PromProto().encode(snapshot, anew);
      EXPECT_EQ(kept, anew);
      open_metrics2.encode(snapshot, kept);
      OpenMetrics2().encode(snapshot, anew);
      EXPECT_EQ(kept, anew);
      ASSERT_FALSE(HasFailure()) << cycle;
    }
    EXPECT_GT(told, 100U);
    EXPECT_GT(tables_followed, 60U);
    EXPECT_GT(orders_followed, 60U);
  }
}

// What stood among the parts of a histogram goes, or comes there.
TEST(SeriesTableChanges, PartsThatBecomeWhole) {
  SeriesTable::Settings settings;
  settings.native = true;
  SeriesTable table(settings);
  Cycles c;
  for (const bool apart : {true, false, true}) {
    const auto wall_ns = 1'700'000'000'000'000'000;
    c.emit("a", wall_ns, [&](BatchWriter& o) {
      const auto bucket = [&](std::string_view le, double value) {
        const Label labels[] = {{"le", le}, {"owner", "file"}};
        o.set_labels(kWait, value, labels, Part::bucket);
      };
      const Label own[] = {{"owner", "file"}};
      for (int i = 0; i < 9; ++i) o.set(kOwner, i, std::to_string(i), "x");
      for (int n = 0; n < 10; ++n) bucket(std::to_string(1 << n), n);
      if (apart) o.set(kNow, 1, "between");
      bucket("+Inf", 10);
      o.set_labels(kWait, 4, own, Part::sum);
      o.set_labels(kWait, 10, own, Part::count);
    });
    const auto snapshot = c.snapshot(wall_ns);
    table.update(snapshot);
    SeriesTable fresh(settings);
    fresh.update(snapshot);
    EXPECT_EQ(fresh.histograms().size(), apart ? 0U : 1U);
    EXPECT_EQ(shown(table, snapshot), shown(fresh, snapshot)) << apart;
  }
}

TEST(SeriesTableChanges, AtTheBoundAndRelabelled) {
  Cycles c;
  SeriesTable::Settings settings;
  settings.most_series = 3;
  SeriesTable table(settings);
  const auto update = [&](std::vector<int> owners) {
    c.emit("a", 1'700'000'000'000'000'000, [&](BatchWriter& o) {
      for (const int n : owners) o.set(kNow, n, std::to_string(n));
    });
    const auto snapshot = c.snapshot(1);
    table.update(snapshot);
    return names(table);
  };
  EXPECT_EQ(update({1, 2}), (std::multiset<std::string>{"owner_now owner=1", "owner_now owner=2"}));
  EXPECT_EQ(update({1, 2, 3}).size(), 3U);
  EXPECT_EQ(table.left_out().all(), 0U);
  EXPECT_EQ(update({0, 1, 2, 3}),
            (std::multiset<std::string>{"owner_now owner=0", "owner_now owner=1", "owner_now owner=2"}));
  EXPECT_EQ(table.left_out().beyond, 1U);
  EXPECT_EQ(table.gone().size(), 1U);
  EXPECT_EQ(update({1, 3}), (std::multiset<std::string>{"owner_now owner=1", "owner_now owner=3"}));
  EXPECT_EQ(table.left_out().all(), 0U);
}

// Prometheus refuses a whole request that has a series twice.
TEST(SeriesTable, ASeriesOnce) {
  constexpr MetricDesc kAny{"any", MetricType::gauge, "", "job,exported_job,n"};
  SeriesTable::Settings settings;
  settings.target = {{"job", "node"}};
  SeriesTable table(std::move(settings));
  Cycles c;
  const auto update = [&](const std::vector<std::pair<const char*, const char*>>& all) {
    c.emit("a", 1, [&](BatchWriter& o) {
      o.set(kAny, 0, "", "", "other");
      for (const auto& [job, exported] : all) o.set(kAny, 1, job, exported);
    });
    table.update(c.snapshot(1));
    return names(table);
  };
  const std::multiset<std::string> one{"any exported_job=a job=node", "any job=node n=other"};
  EXPECT_EQ(update({{"a", ""}, {"", "a"}}), one);
  EXPECT_EQ(table.left_out().same, 1U);
  EXPECT_EQ(update({{"a", ""}}), one);
  EXPECT_EQ(table.left_out().same, 0U);
  EXPECT_EQ(update({{"a", ""}, {"", "a"}}), one) << "also where the second one comes later";
  EXPECT_EQ(update({{"", "a"}}), one);
  EXPECT_TRUE(table.gone().empty()) << "it is the same one to the server";
  EXPECT_EQ(update({}), (std::multiset<std::string>{"any job=node n=other"}));
  EXPECT_EQ(table.gone().size(), 1U);
  EXPECT_EQ(update({{"", "a"}, {"a", ""}}), one) << "or both";
}

// No set of labels has a name twice, none of its values is lost, and the target's are as they are, whatever a series,
// its target and the configuration call theirs.
TEST(SeriesTable, NoNameTwice) {
  const std::vector<std::string> all{"exported_exported_job", "exported_job", "instance", "job",
                                     "exported_instance",     "other"};
  constexpr MetricDesc kAny{"any", MetricType::gauge, "",
                            "exported_exported_job,exported_job,instance,job,exported_instance,other"};
  std::mt19937 random(7);
  const auto some = [&](const char* value) {
    LabelMap out;
    for (const auto& name : all)
      if (random() % 2 == 0) out[name] = value;
    return out;
  };
  for (int round = 0; round < 500; ++round) {
    SeriesTable::Settings settings;
    settings.target = some("target");
    settings.external = some("external");
    const auto own = some("own");
    const auto value = [&](const char* name) {
      return own.contains(name) ? std::string("own ") + name : std::string();
    };
    Cycles c;
    c.emit("a", 1, [&](BatchWriter& o) {
      o.set(kAny, 1, value("exported_exported_job"), value("exported_job"), value("instance"), value("job"),
            value("exported_instance"), value("other"));
    });
    const auto target = settings.target, external = settings.external;
    SeriesTable table(std::move(settings));
    table.update(c.snapshot(1));
    ASSERT_EQ(table.rows().size(), 1U);
    const auto labels = table.labels(table.rows()[0]);
    SCOPED_TRACE(label_text(table, table.rows()[0]));
    std::vector<std::string> values, want;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (i > 0) {
        ASSERT_LT(labels[i - 1].name, labels[i].name);
      }
      if (labels[i].value.starts_with("own")) values.emplace_back(labels[i].value);
      ASSERT_EQ(target.contains(std::string(labels[i].name)), labels[i].value == "target");
      if (labels[i].value == "external") {
        ASSERT_TRUE(external.contains(std::string(labels[i].name)));
      }
    }
    for (const auto& [name, any] : own) want.push_back("own " + name);
    std::ranges::sort(values), std::ranges::sort(want);
    ASSERT_EQ(values, want);
    for (const auto& [name, any] : external)
      ASSERT_NE(std::ranges::find(labels, name, &Label::name), labels.end()) << "some value there";
  }
}

}  // namespace
}  // namespace vitald
