// SPDX-License-Identifier: Apache-2.0
// What is pushed: the series as a destination is sent them, relabelling, and remote write's messages.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "exporters/encode/influx_line.h"
#include "exporters/encode/new_exemplars.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/otlp_parts.h"
#include "exporters/encode/protobuf.h"
#include "exporters/encode/relabel.h"
#include "exporters/encode/remote_write.h"
#include "exporters/encode/series_table.h"
#include "exporters/encode/snappy.h"
#include "exporters/encode/table_text.h"
#include "exporters/encode/vm_lines.h"

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Emit = std::function<void(BatchWriter&)>;

class Cycles {
 public:
  void emit(const std::string& collector, const Emit& emit) {
    auto& writer = writers_.try_emplace(collector, collector).first->second;
    writer.begin(1'000'000'000, 1'700'000'000'000'000'000);
    emit(writer);
    batches_[collector] = writer.finish({}, 0, 0);
  }
  Snapshot snapshot() {
    Snapshot s{++sequence_,
               1'000'000'000,
               1'700'000'000'000'000'000 + static_cast<std::int64_t>(sequence_) * 1'000'000'000,
               {}};
    for (const auto& [name, batch] : batches_) s.batches.push_back(batch);
    return s;
  }

 private:
  std::map<std::string, BatchWriter> writers_;
  std::map<std::string, BatchPtr> batches_;
  std::uint64_t sequence_ = 0;
};

constexpr MetricDesc kCpu{"cpu_seconds_total", MetricType::counter, "Seconds.", "cpu,mode", "seconds"};
constexpr MetricDesc kJob{"job_runs", MetricType::gauge, "Runs.", "job,zone"};
constexpr MetricDesc kLoad{"load1", MetricType::gauge, "Load."};
constexpr MetricDesc kInside{"inside", MetricType::gauge, "Of derivers.", "", "", "", Shown::inside};
constexpr MetricDesc kUpper{"upper", MetricType::untyped, "", "Node"};

std::vector<std::string> texts(const SeriesTable& table) {
  std::vector<std::string> out;
  for (const auto& row : table.rows()) {
    auto& text = out.emplace_back(row.name);
    for (const auto& l : table.labels(row)) text.append(" ").append(l.name).append("=").append(l.value);
  }
  return out;
}

TEST(SeriesTable, LabelsAsAServerAddsThem) {
  Cycles c;
  c.emit("a", [](auto& o) {
    o.set(kCpu, 1, "0", "idle");
    o.set(kJob, 2, "backup", "z");
    o.set(kJob, 3, "", "");  // the same as none
    o.set(kInside, 3);
  });
  SeriesTable table({{{"job", "node"}, {"instance", "h:1"}}, {{"mode", "x"}, {"dc", "west"}}, {}, SIZE_MAX, true});
  EXPECT_TRUE(table.update(c.snapshot()));
  EXPECT_THAT(texts(table), ElementsAre("up dc=west instance=h:1 job=node mode=x",
                                        "cpu_seconds_total cpu=0 dc=west instance=h:1 job=node mode=idle",
                                        "job_runs dc=west exported_job=backup instance=h:1 job=node mode=x zone=z",
                                        "job_runs dc=west instance=h:1 job=node mode=x"));
  std::vector<double> values;
  table.values(c.snapshot(), values);
  EXPECT_THAT(values, ElementsAre(1, 1, 2, 3));
}

constexpr MetricDesc kWaits{"wait_seconds", MetricType::histogram, "Waits.", "cause", "seconds"};

// Two exemplars: of the second bucket and of the last one; a third without a time, which no server takes.
void emit_waits(BatchWriter& o, std::int64_t wall_ms) {
  static constexpr double kFew[] = {0.1, 1, 10};
  const std::uint64_t counts[] = {1, 2, 0, 1};
  const Exemplar exemplars[] = {{0, 0.05, 0, {{"comm", "none"}}},
                                {1, 0.5, wall_ms, {{"comm", "nginx"}, {"pid", "7"}}},
                                {3, 12, wall_ms + 1, {{"comm", "wait"}, {"cause", "cpu"}}}};
  o.histogram(kWaits, {kFew, counts, 13.5, exemplars}, "cpu");
  o.set(kLoad, 1);
}

TEST(RemoteWrite, ExemplarsAreSentOnce) {
  Cycles c;
  SeriesTable::Settings settings;
  settings.up = true;  // a row that is of no batch
  SeriesTable table(std::move(settings));
  NewExemplars fresh;
  RemoteWriteEncoder encoder(4);  // two requests, with an exemplar each
  const auto texts_of = [&](std::int64_t wall_ms) {
    c.emit("a", [&](auto& o) { emit_waits(o, wall_ms); });
    const auto snapshot = c.snapshot();
    table.update(snapshot);
    std::vector<double> values;
    table.values(snapshot, values);
    std::vector<std::string> out;
    encoder.encode(
        table, values, 2'000,
        [&](std::string_view body, std::uint32_t samples) {
          const auto view = WriteRequestView::of(body);
          ASSERT_TRUE(view);
          EXPECT_EQ(view->size(), samples);
          const auto list = [&](const WriteRequestView& v) {
            std::vector<std::string> all;
            for (const auto& s : v.series()) {
              std::string labels;
              for (proto::Reader refs(s.refs); !refs.at_end();) labels += std::string(v.symbol(refs.varint())) + ' ';
              v.each_exemplar(s, [&](std::uint64_t bits, std::int64_t ms, std::span<const std::string_view> own) {
                auto text = labels + fmt::format("# {} at {}:", std::bit_cast<double>(bits), ms);
                for (const auto l : own) text.append(" ").append(l);
                all.push_back(text);
              });
            }
            return all;
          };
          const auto mine = list(*view);
          out.insert(out.end(), mine.begin(), mine.end());
          // In part it says the same.
          const auto part = view->part(0, view->size());
          const auto again = WriteRequestView::of(part);
          ASSERT_TRUE(again);
          EXPECT_EQ(list(*again), mine);
          EXPECT_EQ(view->version1(0, view->size(), false).find("nginx") != std::string::npos,
                    body.find("nginx") != std::string_view::npos);
        },
        fresh.find(table, snapshot));
    return out;
  };
  EXPECT_THAT(texts_of(1'000),
              ElementsAre("__name__ wait_seconds_bucket cause cpu le 1 # 0.5 at 1000: comm nginx pid 7",
                          "__name__ wait_seconds_bucket cause cpu le +Inf # 12 at 1001: comm wait cause cpu"));
  EXPECT_THAT(texts_of(1'000), IsEmpty());
  EXPECT_THAT(texts_of(1'001),
              ElementsAre("__name__ wait_seconds_bucket cause cpu le 1 # 0.5 at 1001: comm nginx pid 7",
                          "__name__ wait_seconds_bucket cause cpu le +Inf # 12 at 1002: comm wait cause cpu"));
}

// The messages below `path` of field numbers.
std::vector<std::string_view> messages(std::string_view whole, std::span<const std::uint32_t> path) {
  if (path.empty()) return {whole};
  std::vector<std::string_view> out;
  proto::Reader reader(whole);
  for (proto::Field field; reader.next(field);)
    if (field.number == path[0] && field.wire == proto::Wire::bytes)
      for (const auto m : messages(field.bytes, path.subspan(1))) out.push_back(m);
  EXPECT_FALSE(reader.broken());
  return out;
}

TEST(Otlp, ExemplarsAreSentOnce) {
  constexpr MetricDesc kPowers{"power_seconds", MetricType::histogram, "Waits.", "cause", "seconds"};
  for (const bool native : {false, true}) {
    SCOPED_TRACE(native);
    Cycles c;
    c.emit("a", [&](auto& o) {
      static constexpr double kBounds[] = {0.25, 0.5, 1, 2, 4, 8, 16, 32};
      const std::uint64_t counts[] = {1, 0, 2, 0, 0, 0, 0, 0, 1};
      const Exemplar exemplars[] = {{2, 0.75, 1'000, {{"comm", "nginx"}}}, {8, 40, 1'001, {{"comm", ""}}}};
      o.set(kLoad, 1);
      o.histogram(kPowers, {kBounds, counts, 42, exemplars}, "cpu");
      o.histogram(kPowers, {kBounds, counts, 42, {}}, "io");
    });
    const auto snapshot = c.snapshot();
    SeriesTable::Settings settings;
    settings.native = native;
    SeriesTable table(settings);
    table.update(snapshot);
    std::vector<double> values;
    table.values(snapshot, values);
    NewExemplars fresh;
    OtlpEncoder encoder({{{"service.name", "node"}}, "vitald", "1"}, 100);
    std::string plain, with;
    encoder.encode(table, values, 2'000'000'000, [&](auto body, auto, auto) { plain = body; });
    encoder.encode(
        table, values, 2'000'000'000, [&](auto body, auto, auto) { with = body; }, fresh.find(table, snapshot));
    const std::uint32_t kind = native ? 10 : 9, field = native ? 11 : 8;
    const std::uint32_t points[] = {1, 2, 2, kind, 1}, exemplars[] = {1, 2, 2, kind, 1, field};
    EXPECT_EQ(messages(plain, exemplars).size(), 0U);
    const auto found = messages(with, exemplars);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(messages(with, points).size(), 2U);
    EXPECT_EQ(messages(messages(with, points)[0], std::array{field}).size(), 2U);  // all of the first point
    proto::Reader one(found[0]);
    std::map<std::uint32_t, std::uint64_t> numbers;
    for (proto::Field f; one.next(f);) numbers[f.number] = f.value;
    EXPECT_EQ(numbers[2], 1'000'000'000U);
    EXPECT_EQ(std::bit_cast<double>(numbers[3]), 0.75);
    EXPECT_NE(found[0].find("nginx"), std::string_view::npos);
    // What waits is read as before, and the rest of it is what it was.
    const auto parts = OtlpParts::of(with);
    ASSERT_TRUE(parts);
    EXPECT_EQ(parts->size(), OtlpParts::of(plain)->size());
    EXPECT_EQ(parts->samples(0, parts->size()), OtlpParts::of(plain)->samples(0, parts->size()));
    std::string again;
    encoder.encode(
        table, values, 2'000'000'000, [&](auto body, auto, auto) { again = body; }, fresh.find(table, snapshot));
    EXPECT_EQ(again, plain);
  }
}

TEST(SeriesTable, SaysWhatIsGone) {
  Cycles c;
  const auto both = [](BatchWriter& o) { o.set(kCpu, 1, "0", "idle"), o.set(kCpu, 1, "1", "idle"); };
  c.emit("a", both);
  SeriesTable table({});
  EXPECT_TRUE(table.update(c.snapshot()));
  EXPECT_THAT(table.gone(), IsEmpty());
  c.emit("a", both);
  EXPECT_FALSE(table.update(c.snapshot()));
  c.emit("a", [](auto& o) { o.set(kCpu, 1, "1", "idle"); });
  EXPECT_TRUE(table.update(c.snapshot()));
  ASSERT_EQ(table.gone().size(), 1U);
  EXPECT_EQ(table.gone()[0].name, "cpu_seconds_total");
  EXPECT_THAT(table.gone()[0].labels, ElementsAre(std::pair<std::string, std::string>("cpu", "0"),
                                                  std::pair<std::string, std::string>("mode", "idle")));
  EXPECT_FALSE(table.update(c.snapshot()));
  EXPECT_THAT(table.gone(), IsEmpty());
}

RelabelRule rule(std::vector<std::string> sources, std::string regex, std::string action, std::string target = "",
                 std::string replacement = "$1", std::uint64_t modulus = 0) {
  RelabelRule r;
  r.source_labels = std::move(sources);
  r.regex = std::move(regex);
  r.action = *relabel_action(action);
  r.target_label = std::move(target);
  r.replacement = std::move(replacement);
  r.modulus = modulus;
  return r;
}

TEST(SeriesTable, Relabelled) {
  Cycles c;
  c.emit("a", [](auto& o) {
    for (const char* cpu : {"0", "1"})
      for (const char* mode : {"idle", "user"}) o.set(kCpu, 1, cpu, mode);
    o.set(kLoad, 1);
  });
  SeriesTable table(
      {{{"job", "node"}}, {}, {rule({"__name__"}, "cpu_.*", "keep"), rule({}, "cpu", "labeldrop")}, SIZE_MAX, false});
  table.update(c.snapshot());
  EXPECT_THAT(texts(table),
              ElementsAre("cpu_seconds_total job=node mode=idle", "cpu_seconds_total job=node mode=user"));
  EXPECT_EQ(table.left_out().same, 2U);  // of the second CPU
  EXPECT_EQ(table.left_out().all(), 2U);
  SeriesTable two({{}, {}, {}, 2, false});
  two.update(c.snapshot());
  EXPECT_EQ(two.rows().size(), 2U);
  EXPECT_EQ(two.left_out().beyond, 3U);
  EXPECT_EQ(two.left_out().all(), 3U);
}

// One that gets no name costs itself and none beside it.
TEST(SeriesTable, RelabelledToWhatIsNoName) {
  Cycles c;
  c.emit("a", [](auto& o) {
    for (const char* job : {"mail", "e-mail", "two\nother 99", "#3", "\xc3\xa9t\xc3\xa9"}) o.set(kJob, 1, job, "");
    o.set(kLoad, 1);
  });
  const auto named = rule({"job"}, "(.+)", "replace", "__name__");
  for (const bool any : {false, true}) {
    SCOPED_TRACE(any);
    SeriesTable::Settings settings;
    settings.relabel = {named};
    settings.any_name = any;
    SeriesTable table(settings);
    for (int round = 0; round < 2; ++round) {
      const auto snapshot = c.snapshot();
      table.update(snapshot);
      std::vector<std::string> names;
      for (const auto& row : table.rows()) names.emplace_back(row.name);
      if (any) EXPECT_THAT(names, UnorderedElementsAre("mail", "e-mail", "\xc3\xa9t\xc3\xa9", "load1"));
      else EXPECT_THAT(names, UnorderedElementsAre("mail", "load1"));
      EXPECT_EQ(table.left_out().unnamed, any ? 2U : 4U);
      EXPECT_EQ(table.left_out().all(), table.left_out().unnamed);
      EXPECT_THAT(table.left_out().name, testing::AnyOf("e-mail", "two\nother 99", "#3", "\xc3\xa9t\xc3\xa9"));
    }
  }
}

// As Prometheus' own tests of its relabelling have them, where they are about what both have.
TEST(Relabel, Actions) {
  using Labels = RelabelLabels;
  struct Case {
    const char* name;
    Labels in;
    std::vector<RelabelRule> rules;
    bool kept;
    Labels want;
  };
  auto joined = rule({"a", "b"}, "f(.*);b(.*)r", "replace", "c", "$1|$2");
  auto separator = rule({"a", "b"}, "(.*)", "replace", "c");
  separator.separator = "--";
  const Labels abc{{"__name__", "m"}, {"a", "foo"}, {"b", "bar"}};
  const auto with = [&](std::vector<std::pair<std::string, std::string>> more) {
    auto out = abc;
    out.insert(out.end(), more.begin(), more.end());
    std::ranges::sort(out);
    return out;
  };
  const Case cases[] = {
      {"two sources", abc, {joined}, true, with({{"c", "oo|a"}})},
      {"separator", abc, {separator}, true, with({{"c", "foo--bar"}})},
      {"the regex is anchored", abc, {rule({"a"}, "fo", "replace", "a", "x")}, true, abc},
      {"an empty value removes",
       abc,
       {rule({"a"}, "foo", "replace", "a", "")},
       true,
       {{"__name__", "m"}, {"b", "bar"}}},
      {"the target from the regex",
       abc,
       {rule({"a", "b"}, "(foo);(bar)", "replace", "t_$1", "$2")},
       true,
       with({{"t_foo", "bar"}})},
      {"a target that is no name", abc, {rule({"a", "b"}, "(.*)", "replace", "x$1", "y")}, true, abc},
      {"named groups and a dollar",
       abc,
       {rule({"a"}, "(?P<x>f)oo", "replace", "c", "${x}y$$z$x")},
       true,
       with({{"c", "fy$zf"}})},
      {"a number with a 0 in front is no group",
       abc,
       {rule({"a"}, "(f)oo", "replace", "c", "<$01${01}$0>")},
       true,
       with({{"c", "<foo>"}})},
      {"keep", abc, {rule({"a"}, "foo|x", "keep")}, true, abc},
      {"the action in capitals", abc, {rule({"a"}, "f.*", "DROP")}, false, {}},
      {"keep that looks at nothing", abc, {rule({}, "x", "keep")}, false, {}},
      {"keepequal that looks at nothing", abc, {rule({}, "(.*)", "keepequal", "z")}, true, abc},
      {"keep, not", abc, {rule({"a"}, "no", "keep")}, false, {}},
      {"keep of a label that is not there", abc, {rule({"z"}, "", "keep")}, true, abc},
      {"drop", abc, {rule({"a"}, "f.*", "drop")}, false, {}},
      {"drop, not", abc, {rule({"a"}, "f", "drop")}, true, abc},
      {"keepequal", abc, {rule({"a"}, "(.*)", "keepequal", "b")}, false, {}},
      {"dropequal", abc, {rule({"a"}, "(.*)", "dropequal", "b")}, true, abc},
      {"labeldrop", abc, {rule({}, "a|x", "labeldrop")}, true, {{"__name__", "m"}, {"b", "bar"}}},
      {"labelkeep", abc, {rule({}, "a|__name__", "labelkeep")}, true, {{"__name__", "m"}, {"a", "foo"}}},
      {"without a name it is nothing", abc, {rule({}, "a", "labelkeep")}, false, {}},
      {"labelmap", abc, {rule({}, "(a|b)", "labelmap", "", "my_$1")}, true, with({{"my_a", "foo"}, {"my_b", "bar"}})},
      {"upper and lower",
       abc,
       {rule({"a"}, "(.*)", "uppercase", "c"), rule({"c"}, "(.*)", "lowercase", "d")},
       true,
       with({{"c", "FOO"}, {"d", "foo"}})},
      {"upper and lower, not ASCII",
       {{"__name__", "m"}, {"a", "\xc3\x89t\xc3\xa9"}},
       {rule({"a"}, "(.*)", "uppercase", "c"), rule({"a"}, "(.*)", "lowercase", "d")},
       true,
       {{"__name__", "m"}, {"a", "\xc3\x89t\xc3\xa9"}, {"c", "\xc3\x89T\xc3\x89"}, {"d", "\xc3\xa9t\xc3\xa9"}}},
      {"hashmod", abc, {rule({"a"}, "(.*)", "hashmod", "d", "$1", 1000)}, true, with({{"d", "696"}})},
      {"what begins with __ goes", abc, {rule({"a"}, "(.*)", "replace", "__tmp")}, true, abc},
      {"in their order",
       abc,
       {rule({"a"}, "(.*)", "replace", "__tmp"), rule({"__tmp"}, "(.*)", "replace", "c")},
       true,
       with({{"c", "foo"}})},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    for (const auto& r : c.rules) EXPECT_EQ(relabel_problem(r), "");
    auto labels = c.in;
    EXPECT_EQ(Relabel(c.rules).apply(labels), c.kept);
    if (c.kept) {
      EXPECT_EQ(labels, c.want);
    }
  }
}

TEST(Relabel, Problems) {
  EXPECT_THAT(relabel_problem(rule({"a"}, "(", "keep")), HasSubstr("missing )"));
  EXPECT_THAT(relabel_problem(rule({"a"}, "(.*)", "replace")), HasSubstr("no 'target_label'"));
  EXPECT_THAT(relabel_problem(rule({"a"}, "(.*)", "hashmod", "x")), HasSubstr("no 'modulus'"));
  EXPECT_THAT(relabel_problem(rule({"a"}, "(.*)", "hashmod", "9x", "$1", 3)), HasSubstr("'9x' is no name"));
  EXPECT_EQ(relabel_problem(rule({}, "x", "keep")), "");  // as Prometheus takes it
  EXPECT_THAT(relabel_problem(rule({"a"}, "(.*)", "replace", "$2.x")), HasSubstr("'$2.x' is no name"));
  EXPECT_THAT(relabel_problem(rule({}, "(.*)", "labelmap", "", "a b")), HasSubstr("'a b' is no name"));
  EXPECT_EQ(relabel_problem(rule({}, "(.*)", "labelmap", "", "x_${1}y")), "");
  EXPECT_THAT(relabel_problem(rule({"a"}, "\\C+", "keep")), HasSubstr("invalid escape sequence"));
  EXPECT_EQ(relabel_problem(rule({"a"}, "\\\\C|\\Q\\C\\E", "keep")), "");
  EXPECT_THAT(relabel_action("keepp").error().text, HasSubstr("'keepp' is no action, expected one of replace, keep"));
}

// RFC 1321's own, the last half of each.
TEST(Relabel, Md5) {
  EXPECT_EQ(md5_tail(""), 0xe9800998ecf8427eU);
  EXPECT_EQ(md5_tail("abc"), 0xd6963f7d28e17f72U);
  EXPECT_EQ(md5_tail("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            0xac49da2e2107b67aU);
}

// ---- remote write

struct Sent {
  std::map<std::string, std::string> labels;
  std::uint64_t bits;
  std::int64_t wall_ms, since_ms;
  std::uint32_t type;
  std::string help, unit;
};
std::vector<Sent> read(std::string_view bytes) {
  const auto view = WriteRequestView::of(bytes);
  EXPECT_TRUE(view.has_value());
  std::vector<Sent> out;
  if (!view) return out;
  for (const auto& s : view->series()) {
    Sent one{{},
             s.bits,
             s.wall_ms,
             s.since_wall_ms,
             s.type,
             std::string(view->symbol(s.help)),
             std::string(view->symbol(s.unit))};
    std::string before;
    for (proto::Reader refs(s.refs); !refs.at_end();) {
      const auto name = std::string(view->symbol(refs.varint()));
      EXPECT_LT(before, name);
      before = name;
      one.labels[name] = view->symbol(refs.varint());
    }
    out.push_back(std::move(one));
  }
  return out;
}

TEST(RemoteWrite, ASnapshot) {
  Cycles c;
  double load = 0.5;
  const auto emit = [&](auto& o) {
    o.since(1'600'000'000'000);
    o.set(kCpu, 12.25, "0", "");
    o.set(kLoad, load);
    o.set(kUpper, std::numeric_limits<double>::quiet_NaN(), "N");
  };
  c.emit("a", emit);
  SeriesTable table({});
  RemoteWriteEncoder encoder(2);
  std::vector<double> values;
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    const auto snapshot = c.snapshot();
    table.update(snapshot);
    table.values(snapshot, values);
    std::vector<std::string> bodies;
    encoder.encode(table, values, snapshot.wall_ns / 1'000'000, [&](auto body, auto samples) {
      bodies.emplace_back(body);
      EXPECT_EQ(samples, bodies.size() == 1 ? 2U : 1U);
    });
    ASSERT_EQ(bodies.size(), 2U);
    const auto first = read(bodies[0]), second = read(bodies[1]);
    ASSERT_EQ(first.size(), 2U);
    EXPECT_EQ(first[0].labels.at("__name__"), "cpu_seconds_total");
    EXPECT_EQ(first[0].labels.at("cpu"), "0");
    EXPECT_EQ(first[0].type, 1U);
    EXPECT_EQ(first[0].help, "Seconds.");
    EXPECT_EQ(first[0].unit, "seconds");
    EXPECT_EQ(first[0].since_ms, 1'600'000'000'000);
    EXPECT_EQ(first[0].wall_ms, 1'700'000'000'000 + (round + 1) * 1000);
    EXPECT_EQ(std::bit_cast<double>(first[0].bits), 12.25);
    EXPECT_EQ(std::bit_cast<double>(first[1].bits), load);
    EXPECT_EQ(first[1].since_ms, 0);
    EXPECT_EQ(first[1].type, 2U);
    ASSERT_EQ(second.size(), 1U);
    EXPECT_EQ(second[0].bits, kNanBits);
    EXPECT_EQ(second[0].labels.at("Node"), "N");  // stands before __name__
    load += 1;
    c.emit("a", emit);
  }
  table.update(c.snapshot());
  std::string body;
  encoder.stale(table.all(), 7, [&](auto b, auto) { body += b; });
  for (const auto& s : read(body)) EXPECT_EQ(s.bits, kStaleBits);
}

TEST(RemoteWrite, PartsAndVersion1) {
  Cycles c;
  c.emit("a", [](auto& o) {
    for (int i = 0; i < 10; ++i) o.set(kCpu, i, std::to_string(i), "idle");
  });
  SeriesTable table({});
  table.update(c.snapshot());
  std::vector<double> values;
  table.values(c.snapshot(), values);
  std::string whole;
  RemoteWriteEncoder(100).encode(table, values, 1'700'000'000'000, [&](auto body, auto) { whole = body; });
  const auto view = WriteRequestView::of(whole);
  ASSERT_TRUE(view.has_value());
  ASSERT_EQ(view->size(), 10U);
  const auto part = read(view->part(3, 4)), all = read(whole);
  ASSERT_EQ(part.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(part[i].labels, all[i + 3].labels);
    EXPECT_EQ(part[i].bits, all[i + 3].bits);
    EXPECT_EQ(part[i].help, all[i + 3].help);
  }
  EXPECT_EQ(view->part(0, 10), whole);
  for (const bool metadata : {false, true}) {
    const auto bytes = view->version1(9, 1, metadata);
    std::string want =
        "\x0a\x4e\x0a\x1d\x0a\x08__name__\x12\x11"
        "cpu_seconds_total\x0a\x08\x0a\x03"
        "cpu\x12\x01"
        "9\x0a\x0c\x0a\x04mode\x12\x04idle\x12\x10\x09";
    want.append("\0\0\0\0\0\0\x22\x40\x10\x80\xd0\x95\xff\xbc\x31", 15);
    want[1] = static_cast<char>(want.size() - 2);
    if (metadata)
      want +=
          "\x1a\x28\x08\x01\x12\x11"
          "cpu_seconds_total\x22\x08Seconds.\x2a\x07seconds";
    EXPECT_EQ(bytes, want);
  }
}

// Bounds 2^-3 .. 2^4: a native one of schema 0.
std::vector<double> eight_bounds() {
  std::vector<double> out;
  for (int i = -3; i <= 4; ++i) out.push_back(std::ldexp(1.0, i));
  return out;
}

TEST(RemoteWrite, NativeHistograms) {
  static constexpr MetricDesc kNative{"wait_seconds", MetricType::histogram, "Wait.", "device"};
  static constexpr MetricDesc kFew{"few", MetricType::histogram, "Few."};
  Cycles c;
  const auto bounds = eight_bounds();
  const double few[] = {1, 2};
  const std::uint64_t few_counts[] = {1, 1, 1};
  std::vector<std::uint64_t> counts(9, 0);
  const auto emit = [&](auto& o) {
    o.set(kLoad, 1);
    o.histogram(kNative, {bounds, counts, 7.5}, "sda");
    o.histogram(kFew, {few, few_counts, 2});
  };
  SeriesTable::Settings settings;
  settings.native = true;
  settings.target = {{"job", "node"}};
  SeriesTable table(settings);
  RemoteWriteEncoder encoder(100);
  std::vector<double> values;
  std::string body;
  for (const bool empty : {true, false}) {
    SCOPED_TRACE(empty);
    if (!empty) counts = {1, 0, 3, 0, 0, 0, 0, 0, 300};
    c.emit("a", emit);
    const auto snapshot = c.snapshot();
    EXPECT_EQ(table.update(snapshot), empty);
    table.values(snapshot, values);
    EXPECT_THAT(texts(table), ElementsAre("load1 job=node", "wait_seconds device=sda job=node",
                                          "few_bucket job=node le=1", "few_bucket job=node le=2",
                                          "few_bucket job=node le=+Inf", "few_sum job=node", "few_count job=node"));
    encoder.encode(table, values, 1'700'000'000'000, [&](auto b, auto samples) {
      body = b;
      EXPECT_EQ(samples, 7U);
    });
    const auto view = WriteRequestView::of(body);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->part(0, 7), body);
    const auto& h = view->series()[1];
    EXPECT_EQ(std::bit_cast<double>(h.bits), 7.5);
    EXPECT_EQ(h.wall_ms, 1'700'000'000'000);
    std::map<std::uint32_t, proto::Field> fields;
    proto::Reader reader(h.histogram);
    for (proto::Field field; reader.next(field);) fields[field.number] = field;
    ASSERT_FALSE(reader.broken());
    EXPECT_EQ(fields.at(1).value, empty ? 0U : 304U);
    EXPECT_EQ(fields.at(4).value, 0U);
    EXPECT_EQ(fields.at(5).real(), 0x1p-128);
    EXPECT_EQ(fields.at(11).bytes, std::string_view("\x08\x05\x10\x09"));  // from -3 on, nine
    std::vector<std::int64_t> deltas;
    for (proto::Reader packed(fields.at(12).bytes); !packed.at_end();) {
      const auto v = packed.varint();
      deltas.push_back(static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1));
    }
    EXPECT_EQ(deltas,
              empty ? std::vector<std::int64_t>(9, 0) : (std::vector<std::int64_t>{1, -1, 3, -3, 0, 0, 0, 0, 300}));
    // Version 1 has everything but the start.
    const auto start = view->series()[1].since_wall_ms;
    EXPECT_GT(start, 0);
    const auto one = view->version1(1, 1, false);
    EXPECT_NE(one.find(h.histogram.substr(0, h.histogram.size() - 8)), one.npos);
    EXPECT_EQ(one.find(h.histogram), one.npos);
  }
  // Its end is one marker, not one for each bucket.
  c.emit("a", [](auto& o) { o.set(kLoad, 1); });
  table.update(c.snapshot());
  ASSERT_EQ(table.gone().size(), 6U);
  encoder.stale(table.gone(), 7, [&](auto b, auto) { body = b; });
  const auto view = WriteRequestView::of(body);
  ASSERT_TRUE(view.has_value());
  int histograms = 0;
  for (const auto& s : view->series()) {
    EXPECT_EQ(s.bits, kStaleBits);
    histograms += s.histogram.empty() ? 0 : 1;
  }
  EXPECT_EQ(histograms, 1);
}

TEST(RemoteWrite, WhatIsNoRequest) {
  for (const std::string_view bytes :
       {std::string_view("\x2a\x05\x0a"), std::string_view("\x2a\x03\x0a\x01\x01"), std::string_view("\x0f"),
        std::string_view("\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")})
    EXPECT_FALSE(WriteRequestView::of(bytes).has_value());
  EXPECT_TRUE(WriteRequestView::of("").has_value());
}

TEST(Snappy, BackAndForth) {
  if (!snappy_usable()) GTEST_SKIP() << snappy_usable().error().text;
  std::string packed, again;
  for (const auto& text : {std::string(), std::string("a"), std::string(100'000, 'x'), std::string("\0\1\2", 3)}) {
    ASSERT_TRUE(snappy_compress(text, packed).has_value());
    ASSERT_TRUE(snappy_uncompress(packed, again, 1 << 20).has_value());
    EXPECT_EQ(again, text);
  }
  ASSERT_TRUE(snappy_compress(std::string(100'000, 'x'), packed).has_value());
  EXPECT_EQ(snappy_uncompress(packed, again, 99'999).error().text, "a snappy block of 100000 bytes");
  packed.pop_back();
  EXPECT_EQ(snappy_uncompress(packed, again, 1 << 20).error().text, "a damaged snappy block");
}

// ---- line protocol

std::string influx_name(std::string_view text, bool measurement) {
  std::string out;
  append_influx_name(out, text, measurement);
  return out;
}

TEST(Influx, Escaping) {
  struct Case {
    const char *name, *text, *tag, *measurement;
  };
  const Case cases[] = {
      {"plain", "cpu0", "cpu0", "cpu0"},
      {"comma, equals, space", "a,b=c d", "a\\,b\\=c\\ d", "a\\,b=c\\ d"},
      {"quotes mean nothing", "\"a\"", "\"a\"", "\"a\""},
      {"a line's end", "a\nb\rc", "a\\ b\\ c", "a\\ b\\ c"},
      {"a backslash within", "a\\b", "a\\b", "a\\b"},
      {"a backslash at the end", "a\\", "a", "a"},
      {"several at the end", "a\\\\\\", "a", "a"},
      {"a backslash before what is escaped", "a\\,b", "a\\,b", "a\\,b"},
      {"a backslash before a line's end", "a\\\nb", "a\\ b", "a\\ b"},
      {"not ASCII", "d\xc3\xa9", "d\xc3\xa9", "d\xc3\xa9"},
      {"empty", "", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(influx_name(c.text, false), c.tag);
    EXPECT_EQ(influx_name(c.text, true), c.measurement);
  }
  std::string text;
  append_influx_string(text, "a\"b\\c\nd");
  EXPECT_EQ(text, "\"a\\\"b\\\\c d\"");
}

TEST(Influx, Lines) {
  Cycles c;
  c.emit("a", [](auto& o) {
    o.set(kCpu, 1.5, "0", "idle mode");
    o.set(kCpu, std::numeric_limits<double>::quiet_NaN(), "1", "idle");
    o.set(kCpu, std::numeric_limits<double>::infinity(), "2", "idle");
    o.set(kLoad, 1e21);
    o.set(kJob, 3, "x", "\\");
  });
  SeriesTable table({{{"job", "node"}}, {{"time", "t"}}, {}, SIZE_MAX, false});
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  for (const std::size_t most : {10U, 2U}) {
    InfluxEncoder encoder(most);
    for (int round = 0; round < 2; ++round) {
      std::string all;
      std::vector<std::uint32_t> counts;
      encoder.encode(table, values, 1'700'000'000'000'000'001, [&](auto lines, auto count) {
        all += lines;
        counts.push_back(count);
      });
      EXPECT_EQ(all,
                "cpu_seconds_total,cpu=0,job=node,mode=idle\\ mode,label_time=t value=1.5 1700000000000000001\n"
                "load1,job=node,label_time=t value=1e+21 1700000000000000001\n"
                "job_runs,exported_job=x,job=node,label_time=t value=3 1700000000000000001\n");
      EXPECT_EQ(counts, most == 2 ? (std::vector<std::uint32_t>{2, 1}) : std::vector<std::uint32_t>{3});
    }
  }
}

// ---- text and JSON

constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.\nLong \\ short.", "device"};

TEST(TableText, AsAnExposition) {
  Cycles c;
  const double bounds[] = {0.1, 1};
  const std::uint64_t counts[] = {1, 2, 3};
  c.emit("b", [&](auto& o) {
    o.histogram(kWait, {bounds, counts, 7.5}, "sda");
    o.set(kCpu, 1, "0", "a\"b\\c\nd");
  });
  c.emit("c", [](auto& o) { o.set(kLoad, 0.5); });
  SeriesTable table(
      {{}, {{"rack", "7"}}, {rule({"__name__"}, "load1", "replace", "__name__", "load")}, SIZE_MAX, false});
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  TableText text;
  std::string out;
  for (int round = 0; round < 2; ++round) {
    text.encode(table, values, out);
    EXPECT_EQ(out,
              "# HELP cpu_seconds_total Seconds.\n# TYPE cpu_seconds_total counter\n"
              "cpu_seconds_total{cpu=\"0\",mode=\"a\\\"b\\\\c\\nd\",rack=\"7\"} 1\n"
              "# HELP load Load.\n# TYPE load gauge\nload{rack=\"7\"} 0.5\n"
              "# HELP wait_seconds Wait.\\nLong \\\\ short.\n# TYPE wait_seconds histogram\n"
              "wait_seconds_bucket{device=\"sda\",le=\"0.1\",rack=\"7\"} 1\n"
              "wait_seconds_bucket{device=\"sda\",le=\"1\",rack=\"7\"} 3\n"
              "wait_seconds_bucket{device=\"sda\",le=\"+Inf\",rack=\"7\"} 6\n"
              "wait_seconds_sum{device=\"sda\",rack=\"7\"} 7.5\nwait_seconds_count{device=\"sda\",rack=\"7\"} 6\n");
  }
}

// What a reader would misread costs its type, not the text.
TEST(TableText, OneNameForSeveralTypes) {
  Cycles c;
  const double bounds[] = {0.1};
  const std::uint64_t counts[] = {1, 2};
  c.emit("b", [&](auto& o) {
    o.histogram(kWait, {bounds, counts, 7.5}, "sda");
    o.set(kCpu, 1, "0", "i");
    o.set(kLoad, 0.5);
  });
  SeriesTable table({{},
                     {},
                     {rule({"__name__"}, "load1|cpu_seconds_total", "replace", "__name__", "both"),
                      rule({"__name__"}, "wait_seconds_bucket", "replace", "__name__", "odd"),
                      rule({"__name__"}, "wait_seconds_sum", "drop")},
                     SIZE_MAX,
                     false});
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  std::string out;
  TableText().encode(table, values, out);
  EXPECT_THAT(out, HasSubstr("# TYPE both untyped\nboth{cpu=\"0\",mode=\"i\"} 1\nboth 0.5\n"));
  EXPECT_THAT(out, HasSubstr("# TYPE odd untyped\nodd{device=\"sda\",le=\"0.1\"} 1\n"));
  EXPECT_THAT(out, HasSubstr("# TYPE wait_seconds histogram\nwait_seconds_count{device=\"sda\"} 3\n"));
}

TEST(TableText, AsJson) {
  Cycles c;
  c.emit("b", [&](auto& o) {
    o.set(kCpu, 1, "0", "i");
    o.set(kCpu, std::numeric_limits<double>::quiet_NaN(), "1", "i");
    o.set(kLoad, 0.5);
  });
  SeriesTable table({});
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  std::string out;
  append_table_json(table, values, 1'700'000'000'250'000'000, out);
  EXPECT_EQ(out, R"({"timestamp":1700000000.250,"metrics":{"cpu_seconds_total":[)"
                 R"({"value":1,"labels":{"cpu":"0","mode":"i"},"timestamp":1700000000.250},)"
                 R"({"value":null,"labels":{"cpu":"1","mode":"i"},"timestamp":1700000000.250}],)"
                 R"("load1":{"value":0.5,"labels":{},"timestamp":1700000000.250}},"events_count":0,"running":true})"
                 "\n");
}

// ---- OTLP

// The fields of a message: "number=value" for numbers, "number{...}" for messages named in `deep`, else the bytes.
std::string shown(std::string_view bytes, int depth) {
  std::string out;
  proto::Reader reader(bytes);
  proto::Field field;
  while (reader.next(field)) {
    if (!out.empty()) out += ' ';
    out += std::to_string(field.number);
    if (field.wire == proto::Wire::bytes)
      out += depth > 0 ? "{" + shown(field.bytes, depth - 1) + "}" : ":" + std::string(field.bytes);
    else out += "=" + std::to_string(field.value);
  }
  EXPECT_FALSE(reader.broken());
  return out;
}

TEST(Otlp, PointsOfEachKind) {
  Cycles c;
  const double bounds[] = {0.1, 1};
  const std::uint64_t counts[] = {1, 2, 3};
  const auto emit = [&](auto& o) {
    o.since(1'600'000'000'000);
    o.histogram(kWait, {bounds, counts, 7.5}, "sda");
    o.set(kLoad, 0.5);
    o.set(kCpu, 2, "0", "i");
  };
  c.emit("b", emit);
  SeriesTable table({});
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  OtlpEncoder encoder({{{"service.name", "node"}}, "vitald", "1"}, 100);
  std::string body;
  for (int round = 0; round < 2; ++round) {
    body.clear();
    encoder.encode(table, values, 1'700'000'000'000'000'000, [&](auto bytes, auto points, auto samples) {
      body += bytes;
      EXPECT_EQ(points, 3U);
      EXPECT_EQ(samples, 7U);
    });
  }
  proto::Reader request(body);
  proto::Field resource_metrics, field;
  ASSERT_TRUE(request.next(resource_metrics));
  std::vector<std::string> metrics;
  proto::Reader parts(resource_metrics.bytes);
  while (parts.next(field)) {
    if (field.number == 1) {
      EXPECT_EQ(shown(field.bytes, 1), "1{1:service.name 2:\x0a\x04node}");
    }
    if (field.number != 2) continue;
    proto::Reader scope(field.bytes);
    proto::Field metric;
    while (scope.next(metric)) {
      if (metric.number == 1) {
        EXPECT_EQ(shown(metric.bytes, 0), "1:vitald 2:1");
        continue;
      }
      proto::Reader inside(metric.bytes);
      proto::Field at;
      std::string text;
      while (inside.next(at)) {
        if (at.number <= 3) text += std::string(at.bytes) + "|";
        else {
          text += std::to_string(at.number) + "|";
          proto::Reader data(at.bytes);
          proto::Field point;
          while (data.next(point)) {
            if (point.number != 1) {
              text += " " + std::to_string(point.number) + "=" + std::to_string(point.value);
              continue;
            }
            proto::Reader values_of(point.bytes);
            proto::Field v;
            while (values_of.next(v)) {
              text += " " + std::to_string(v.number) + ":";
              if (v.wire == proto::Wire::fixed64 && (v.number == 2 || v.number == 3))
                text += std::to_string(v.value / 1'000'000'000);
              else if (v.wire == proto::Wire::fixed64 && at.number == 9 && v.number == 4)
                text += std::to_string(v.value);
              else if (v.wire == proto::Wire::fixed64) text += std::to_string(v.real()).substr(0, 3);
              else if (v.number == 6 || v.number == 7) text += std::to_string(v.bytes.size());
            }
          }
        }
      }
      metrics.push_back(text);
    }
  }
  EXPECT_THAT(
      metrics,
      ElementsAre(testing::StartsWith("cpu_seconds_total|Seconds.|s|7| 2:1600000000 3:1700000000 4:2.0"),
                  testing::StartsWith("load1|Load.|5| 3:1700000000 4:0.5"),
                  testing::StartsWith(
                      "wait_seconds|Wait.\nLong \\ short.|9| 2:1600000000 3:1700000000 4:6 5:7.5 6:24 7:16 9:")));
  EXPECT_THAT(metrics[0], HasSubstr(" 2=2 3=1"));
  EXPECT_THAT(metrics[2], testing::EndsWith(" 2=2"));
  std::string ended;
  encoder.ended(table.all(), 5, [&](auto bytes, auto points, auto) {
    ended += bytes;
    EXPECT_EQ(points, 7U);
  });
  EXPECT_THAT(ended, HasSubstr("wait_seconds_bucket"));
}

TEST(Otlp, ExponentialHistogramsAndParts) {
  Cycles c;
  const auto bounds = eight_bounds();
  const std::uint64_t counts[] = {1, 0, 3, 0, 0, 0, 0, 0, 300};
  const double few[] = {0.1, 1};
  const std::uint64_t few_counts[] = {1, 2, 3};
  c.emit("b", [&](auto& o) {
    o.histogram(kWait, {bounds, counts, 7.5}, "sda");
    o.histogram(kWait, {bounds, counts, 7.5}, "sdb");
    static constexpr MetricDesc kFew{"few", MetricType::histogram, "Few."};
    o.histogram(kFew, {few, few_counts, 2});
    o.set(kLoad, 0.5);
    for (int i = 0; i < 5; ++i) o.set(kCpu, i, std::to_string(i), "i");
  });
  SeriesTable::Settings settings;
  settings.native = true;
  SeriesTable table(settings);
  const auto snapshot = c.snapshot();
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  OtlpEncoder encoder({{{"service.name", "node"}}, "vitald", "1"}, 100);
  std::string body;
  encoder.encode(table, values, 1'700'000'000'000'000'000, [&](auto bytes, auto points, auto samples) {
    body = bytes;
    EXPECT_EQ(points, 9U);
    EXPECT_EQ(samples, 13U);
  });
  const auto parts = OtlpParts::of(body);
  ASSERT_TRUE(parts) << parts.error().text;
  ASSERT_EQ(parts->size(), 9U);
  EXPECT_EQ(parts->samples(0, 9), 13U);
  EXPECT_EQ(parts->part(0, 9), body);
  std::size_t together = 0;
  for (std::size_t i = 0; i < 9; i += 2) {
    const auto part = parts->part(i, std::min<std::size_t>(2, 9 - i));
    const auto again = OtlpParts::of(part);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->part(0, again->size()), part);
    together += again->size();
  }
  EXPECT_EQ(together, 9U);
  for (std::size_t size = 1; size < body.size(); ++size)
    EXPECT_FALSE(OtlpParts::of(std::string_view(body).substr(0, size))) << size;

  // Its bucket counts from one less than Prometheus' index, -3 here.
  const auto at = body.find(std::string("\x08\x07\x12\x51", 4));  // offset -4; nine counts of nine bytes
  ASSERT_NE(at, body.npos);
  std::vector<std::uint64_t> got;
  for (proto::Reader packed(std::string_view(body).substr(at + 4, 81)); !packed.at_end();)
    got.push_back(packed.varint());
  EXPECT_THAT(got, ElementsAre(1, 0, 3, 0, 0, 0, 0, 0, 300));
}

// Of each point: kind of the metric, name, labels, and its numbers; of a histogram buckets, bounds, sum and count.
std::vector<std::string> otlp_points(std::string_view body) {
  std::vector<std::string> out;
  const auto parts_of_field = [](std::string_view bytes, std::uint32_t number) {
    std::vector<std::string_view> found;
    proto::Reader reader(bytes);
    for (proto::Field field; reader.next(field);)
      if (field.number == number && field.wire == proto::Wire::bytes) found.push_back(field.bytes);
    return found;
  };
  const auto doubles = [](std::string_view packed, bool whole) {
    std::string text;
    for (std::size_t at = 0; at + 8 <= packed.size(); at += 8) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, packed.data() + at, 8);
      text +=
          fmt::format("{}{}", text.empty() ? "" : " ", whole ? static_cast<double>(bits) : std::bit_cast<double>(bits));
    }
    return text;
  };
  for (const auto resource : parts_of_field(body, 1))
    for (const auto scope : parts_of_field(resource, 2))
      for (const auto metric : parts_of_field(scope, 2)) {
        const std::string name(parts_of_field(metric, 1).at(0));
        for (const auto& [kind, label_field] : {std::pair(5U, 7U), std::pair(7U, 7U), std::pair(9U, 9U)})
          for (const auto data : parts_of_field(metric, kind)) {
            std::string tail;
            proto::Reader of_data(data);
            for (proto::Field field; of_data.next(field);)
              if (field.number == 3) tail = " monotonic";
            for (const auto point : parts_of_field(data, 1)) {
              std::string text = fmt::format("{} {}", kind == 5 ? "gauge" : kind == 7 ? "sum" : "histogram", name);
              for (const auto label : parts_of_field(point, label_field))
                text += fmt::format(" {}={}", parts_of_field(label, 1).at(0),
                                    parts_of_field(parts_of_field(label, 2).at(0), 1).at(0));
              proto::Reader numbers(point);
              for (proto::Field field; numbers.next(field);) {
                if (kind == 9 && field.number == 4) text += fmt::format(" count {}", field.value);
                else if (field.number == 4) text += fmt::format(" {}", field.real());
                else if (kind == 9 && field.number == 5) text += fmt::format(" sum {}", field.real());
                else if (kind == 9 && field.number == 6) text += fmt::format(" [{}]", doubles(field.bytes, true));
                else if (kind == 9 && field.number == 7)
                  text += fmt::format(" up to [{}]", doubles(field.bytes, false));
              }
              out.push_back(text + tail);
            }
          }
      }
  return out;
}

// What relabelling leaves of histograms: whole ones are points, of the others each sample is one, and none has numbers
// of another.
TEST(Otlp, HistogramsThatWereRelabelled) {
  Cycles c;
  const double bounds[] = {0.5, 1};
  const std::uint64_t few[] = {1, 2, 3}, many[] = {100, 200, 300};
  c.emit("b", [&](auto& o) {
    o.histogram(kWait, {bounds, few, 7.5}, "a");
    o.histogram(kWait, {bounds, many, 75}, "b");
  });
  const std::string whole_a = "histogram wait_seconds device=a count 6 sum 7.5 [1 2 3] up to [0.5 1]",
                    whole_b = "histogram wait_seconds device=b count 600 sum 75 [100 200 300] up to [0.5 1]";
  const auto buckets = [](const char* device, int a, int b, int inf, const char* name = "wait_seconds_bucket") {
    std::vector<std::string> out;
    for (const auto& [le, n] : {std::pair("0.5", a), std::pair("1", b), std::pair("+Inf", inf)})
      out.push_back(fmt::format("sum {} device={} le={} {} monotonic", name, device, le, n));
    return out;
  };
  const auto together = [](std::vector<std::string> all, const std::vector<std::string>& more) {
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  auto of_a = rule({"__name__", "device"}, "wait_seconds_(sum|count);a", "drop");
  struct Case {
    const char* name;
    std::vector<RelabelRule> rules;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"nothing", {}, {whole_a, whole_b}},
      {"a label set loses its sum and count", {of_a}, together(buckets("a", 1, 3, 6), {whole_b})},
      {"all buckets go",
       {rule({"__name__"}, "wait_seconds_bucket", "drop")},
       {"sum wait_seconds_sum device=a 7.5", "sum wait_seconds_count device=a 6 monotonic",
        "sum wait_seconds_sum device=b 75", "sum wait_seconds_count device=b 600 monotonic"}},
      {"a bucket goes with +Inf",
       {rule({"le", "device"}, "\\+Inf;a", "drop")},
       {"sum wait_seconds_bucket device=a le=0.5 1 monotonic", "sum wait_seconds_bucket device=a le=1 3 monotonic",
        "sum wait_seconds_sum device=a 7.5", "sum wait_seconds_count device=a 6 monotonic", whole_b}},
      {"the sum goes",
       {rule({"__name__", "device"}, "wait_seconds_sum;a", "drop")},
       together(buckets("a", 1, 3, 6), {"sum wait_seconds_count device=a 6 monotonic", whole_b})},
      {"buckets by another name",
       {rule({"__name__", "device"}, "wait_seconds_bucket;a", "replace", "__name__", "odd")},
       together(buckets("a", 1, 3, 6, "odd"),
                {"sum wait_seconds_sum device=a 7.5", "sum wait_seconds_count device=a 6 monotonic", whole_b})},
      {"the whole by another name",
       {rule({"__name__"}, "wait_(.*)", "replace", "__name__", "slow_$1"), rule({"device"}, "b", "drop")},
       {"histogram slow_seconds device=a count 6 sum 7.5 [1 2 3] up to [0.5 1]"}},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.name);
    SeriesTable table({{}, {}, each.rules, SIZE_MAX, false});
    const auto snapshot = c.snapshot();
    table.update(snapshot);
    std::vector<double> values;
    table.values(snapshot, values);
    OtlpEncoder encoder({{}, "vitald", "1"}, 100);
    std::string body;
    std::size_t sent = 0;
    encoder.encode(table, values, 1, [&](auto bytes, auto, auto samples) {
      body += bytes;
      sent += samples;
    });
    EXPECT_THAT(otlp_points(body), testing::UnorderedElementsAreArray(each.want));
    EXPECT_EQ(sent, table.rows().size());
  }
}

constexpr MetricDesc kLibvirtUp{"libvirt_up", MetricType::gauge, ""};
constexpr MetricDesc kGuestsReadAt{"vitald_libvirt_read_boot_seconds", MetricType::gauge, ""};
constexpr MetricDesc kGuestId{"vitald_guest_id", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestState{"libvirt_domain_info_vstate", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestCpus{"libvirt_domain_info_virtual_cpus", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestMax{"libvirt_domain_info_maximum_memory_bytes", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestUsed{"libvirt_domain_info_memory_usage_bytes", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestCpu{"libvirt_domain_info_cpu_time_seconds_total", MetricType::counter, "", "domain,uuid"};
constexpr MetricDesc kGuestRate{"vitald_guest_memory_change_bytes_per_second", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestAngle{"vitald_guest_memory_trend_degrees", MetricType::gauge, "", "domain,uuid"};
constexpr MetricDesc kGuestRead{"libvirt_domain_block_stats_read_bytes_total", MetricType::counter, "",
                                "domain,uuid,target_device"};
constexpr MetricDesc kGuestReceived{"libvirt_domain_interface_stats_receive_bytes_total", MetricType::counter, "",
                                    "domain,uuid,target_device"};
constexpr MetricDesc kGuestReads{"vitald_guest_disk_read_bytes_total", MetricType::counter, "", "domain,uuid"};

// The lines of the KVM telemetry's own sheet, byte for byte; but for the angle, which there contradicts its formula.
TEST(VmLines, AsTheSheetHasThem) {
  constexpr const char* kUuid = "550e8400-e29b-41d4-a716-446655440000";
  Snapshot s{1, 7'000'000'000, 1'699'868'402'000'000'000, {}};
  BatchWriter libvirt("libvirt"), derived("guests");
  const auto read = [&](std::int64_t at_ns, bool second, double up = 1) {
    libvirt.begin(at_ns);
    libvirt.set(kLibvirtUp, up);
    libvirt.set(kGuestId, 1, "ubuntu-vm", kUuid);
    libvirt.set(kGuestState, 1, "ubuntu-vm", kUuid);
    libvirt.set(kGuestCpus, 2, "ubuntu-vm", kUuid);
    libvirt.set(kGuestMax, 2147483648, "ubuntu-vm", kUuid);
    libvirt.set(kGuestUsed, 1073741824, "ubuntu-vm", kUuid);
    libvirt.set(kGuestCpu, 5, "ubuntu-vm", kUuid);
    libvirt.set(kGuestRead, 512, "ubuntu-vm", kUuid, "vda");
    libvirt.set(kGuestReceived, 9, "ubuntu-vm", kUuid, "vnet 0");
    libvirt.set(kGuestState, 5, "off", "u-off");
    derived.begin(at_ns);
    if (second) {
      derived.set(kGuestRate, 1049088, "ubuntu-vm", kUuid);
      derived.set(kGuestAngle, 89.94407441550315, "ubuntu-vm", kUuid);
    }
    derived.set(kGuestReads, 512, "ubuntu-vm", kUuid);
    s.batches = {derived.finish({}, 0, 0), libvirt.finish({}, 0, 0)};
  };
  const std::string tags = std::string(",VMID=1,name=ubuntu-vm,uuid=") + kUuid;
  const std::string metrics = "vm_metrics" + tags +
                              " state=\"running\",cpu_count=2i,memory_max_kb=2097152i,memory_used_kb=1048576i,"
                              "cputime_ns=5000000000i 1699868400000000000\n";
  VmLines two({{"vm_features", "vm_metrics"}});
  std::string out;
  read(5'000'000'000, false);  // two seconds before the snapshot: that is the line's time
  EXPECT_EQ(two.encode(s, out), 1U);
  EXPECT_EQ(out, metrics);
  out.clear();
  EXPECT_EQ(two.encode(s, out), 0U);  // the same reading
  read(6'000'000'000, true);
  EXPECT_EQ(two.encode(s, out), 2U);
  EXPECT_THAT(out,
              HasSubstr("vm_features" + tags +
                        " memory_rate_kb_per_sec=1024.5,memory_angle_deg=89.94407441550315 1699868401000000000\n"));
  out.clear();
  read(7'000'000'000, true, 0);  // libvirt did not answer
  EXPECT_EQ(two.encode(s, out), 0U);
  read(7'000'000'000, true);
  VmLines rest({{"vm_devices", "vm_totals"}, {{"dc", "a b"}}});
  EXPECT_EQ(rest.encode(s, out), 3U);
  EXPECT_EQ(out, "vm_devices" + tags + ",device=vda,kind=disk,dc=a\\ b read_bytes=512i 1699868402000000000\n" +
                     "vm_devices" + tags +
                     ",device=vnet\\ 0,kind=interface,dc=a\\ b receive_bytes=9i 1699868402000000000\n" + "vm_totals" +
                     tags + ",dc=a\\ b disk_read_bytes=512i 1699868402000000000\n");
  out.clear();
  EXPECT_EQ(VmLines({}).encode(s, out), 0U);
}

// CPU time and disks are read every third time: what is not new has no line, and a line has the time of its numbers.
TEST(VmLines, OldNumbersHaveNoNewTime) {
  BatchWriter libvirt("libvirt");
  VmLines lines({{"vm_metrics", "vm_features", "vm_devices", "vm_totals"}});
  const auto encode = [&](int now_s, int read_s, double cpu_s) {
    libvirt.begin(now_s * 1'000'000'000LL);
    libvirt.set(kLibvirtUp, 1);
    libvirt.set(kGuestsReadAt, read_s);
    libvirt.set(kGuestId, 1, "web", "u");
    libvirt.set(kGuestState, 1, "web", "u");
    libvirt.set(kGuestCpu, cpu_s, "web", "u");
    libvirt.set(kGuestRate, 1024, "web", "u");
    libvirt.set(kGuestReads, 5, "web", "u");
    libvirt.set(kGuestRead, 7, "web", "u", "vda");
    libvirt.set(kGuestReceived, now_s, "web", "u", "vnet0");
    std::string out;
    lines.encode({1, now_s * 1'000'000'000LL, 1000 + now_s * 1'000'000'000LL, {libvirt.finish({}, 0, 0)}}, out);
    std::string short_out;  // without the tags
    for (std::string_view rest = out; !rest.empty();) {
      const auto line = take_line(rest);
      short_out.append(line.substr(0, line.find(','))).append(line.substr(line.find(' '))).append("\n");
    }
    return short_out;
  };
  const auto all = [](const char* cpu, const char* net, const char* read, const char* now) {
    return fmt::format(
        "vm_metrics state=\"running\",cputime_ns={}i {}\nvm_features memory_rate_kb_per_sec=1 {}\nvm_devices "
        "read_bytes=7i {}\nvm_devices receive_bytes={}i {}\nvm_totals disk_read_bytes=5i {}\n",
        cpu, read, read, read, net, now, read);
  };
  EXPECT_EQ(encode(5, 5, 1), all("1000000000", "5", "5000001000", "5000001000"));
  EXPECT_EQ(encode(10, 5, 1), "vm_devices receive_bytes=10i 10000001000\n");
  EXPECT_EQ(encode(15, 5, 1), "vm_devices receive_bytes=15i 15000001000\n");
  EXPECT_EQ(encode(25, 20, 4), all("4000000000", "25", "20000001000", "25000001000"));
}

}  // namespace
}  // namespace vitald
