// SPDX-License-Identifier: Apache-2.0
// Kinds of destinations by themselves: events however snapshots come, standard output where an item is dropped within a
// line, and folders of guests.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/event.h"
#include "core/instruments.h"
#include "core/os/fd.h"
#include "core/snapshot.h"
#include "core/yaml/reader.h"
#include "exporters/push/push.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::shared_ptr<PushSettings> settings_of(std::string_view key, const std::string& yaml) {
  const auto kinds = push_kinds();
  const auto kind = std::ranges::find(kinds, key, &PushKind::key);
  if (kind == kinds.end()) throw std::runtime_error("no such kind");
  std::shared_ptr<PushSettings> out;
  std::vector<std::string> problems;
  YamlReader reader("test");
  reader.read(yaml, problems, [&](const YAML::Node& node) { out = (*kind)->read(reader, node, "push"); });
  if (!out) throw std::runtime_error(problems.empty() ? "nothing" : problems.front());
  return out;
}

// One event of a collector, in a snapshot of its own.
Snapshot happens(EventLog& log, std::int64_t second, const std::string& type, const std::string& collector = "posted") {
  BatchWriter writer(collector);
  writer.begin(second * kSecond, (1'700'000'000 + second) * kSecond);
  writer.event({type, second * kSecond, fmt::format("{} {}", type, second), {}});
  Snapshot snapshot{static_cast<std::uint64_t>(second),
                    second * kSecond,
                    (1'700'000'000 + second) * kSecond,
                    {writer.finish({}, 0, 0)}};
  log.append(snapshot);
  return snapshot;
}

std::vector<std::string> texts(const std::vector<Item>& items) {
  std::vector<std::string> out;
  for (const auto& item : items) out.push_back(item.body.substr(item.body.find("]: ") + 3));
  return out;
}

TEST(PushRelabel, SourceLabelsAsPrometheusTakesThem) {
  const std::pair<const char*, const char*> cases[] = {
      // the problem; empty: none
      {"{source_labels: [], target_label: a, replacement: b}", ""},
      {"{source_labels: [__name__, a], action: DROP}", ""},
      {"{action: keepequal, target_label: a}", ""},
      {"{source_labels: [a], action: hashmod, target_label: b, modulus: 18446744073709551615}", ""},
      {"{source_labels: [a], action: hashmod, target_label: b, modulus: 0}", "modulus: 0 found, expected a whole"},
      {"{source_labels: [a], action: hashmod, target_label: b, modulus: -1}", "modulus: -1 found, expected a whole"},
      {"{source_labels: a, action: drop}", "source_labels: 'a' found, expected a list of labels"},
      {"{source_labels: [[a]], action: drop}", "source_labels: a list found, expected a label"},
      {"{action: dropp}", "'dropp' is no action"},
  };
  for (const auto& [rule, want] : cases) {
    SCOPED_TRACE(rule);
    std::string problem;
    try {
      static_cast<void>(settings_of("textfile", fmt::format("{{name: t, path: /tmp/x, relabel: [{}]}}", rule)));
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (*want == '\0') EXPECT_EQ(problem, "");
    else EXPECT_NE(problem.find(want), problem.npos) << problem;
  }
}

TEST(PushEvents, EachOnceHoweverSnapshotsCome) {
  EventLog log(10);
  happens(log, 1, "before");
  const auto settings = settings_of("events", "{name: e1, to: /dev/log, types: [a, b]}");
  settings->events = &log;
  const auto encoder = settings->encoder();
  const auto lost = [] {
    return instruments()
        .counter("vitald_delivery_dropped_total", "",
                 {{"data_type", "events"}, {"destination", "e1"}, {"reason", "lost"}})
        .Value();
  };
  std::vector<Item> items;
  happens(log, 2, "a");
  happens(log, 3, "c");
  happens(log, 4, "a", "alerts");  // `notify` is for those
  const auto snapshot = happens(log, 5, "b");
  encoder->encode(snapshot, items);
  EXPECT_THAT(texts(items), testing::ElementsAre("a 2", "b 5"));
  EXPECT_EQ(items[0].wall_ms, 1'700'000'002'000);
  items.clear();
  encoder->encode(snapshot, items);
  EXPECT_TRUE(items.empty());
  EXPECT_EQ(lost(), 0);
  // More than the log keeps.
  for (int i = 6; i < 6 + 25; ++i) happens(log, i, "a");
  encoder->end(1'700'000'031'000, items);
  ASSERT_EQ(items.size(), 10U);
  EXPECT_EQ(texts(items).front(), "a 21");
  EXPECT_EQ(lost(), 15);
}

// Standard output is a pipe of two pages.
class Output {
 public:
  Output() : kept_(dup(STDOUT_FILENO)) {
    int ends[2];
    if (fflush(stdout) != 0 || pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    from_.reset(ends[0]);
    const Fd to(ends[1]);
    if (fcntl(to.get(), F_SETPIPE_SZ, 8192) < 0 || dup2(to.get(), STDOUT_FILENO) < 0) throw std::runtime_error("dup2");
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { dup2(kept_.get(), STDOUT_FILENO); }
  [[nodiscard]] std::string taken() const {
    std::string text(65536, '\0');
    const auto n = read(from_.get(), text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

 private:
  const Fd kept_;
  Fd from_;
};

TEST(PushJsonLines, ADroppedItemLeavesNoHalfLine) {
  const auto destination = settings_of("json_lines", "{name: o, path: '-'}")->destination();
  const auto send = [&](std::uint64_t id, std::string body) {
    const Item item{id, "key", std::move(body)};
    const Attempt attempt{SystemClock::read(CLOCK_BOOTTIME) + kSecond / 20, -1};
    return destination->send({&item, 1}, attempt).has_value();
  };
  std::vector<std::string> got;
  std::vector<bool> sent;
  {
    const Output output;
    sent.push_back(send(1, std::string(10000, 'a') + "\n"));  // nobody reads
    got.push_back(output.taken());
    sent.push_back(send(2, "b\n"));  // the one before was dropped
    sent.push_back(send(3, "c\n"));
    got.push_back(output.taken());
    sent.push_back(send(4, std::string(10000, 'd') + "\n"));
    got.push_back(output.taken());
    sent.push_back(send(4, std::string(10000, 'd') + "\n"));  // it goes on where it was
    got.push_back(output.taken());
  }
  EXPECT_THAT(sent, testing::ElementsAre(false, true, true, false, true));
  const std::vector<std::string> want{std::string(8192, 'a'), "\nb\nc\n", std::string(8192, 'd'),
                                      std::string(10000 - 8192, 'd') + "\n"};
  EXPECT_TRUE(got == want) << "of " << got[0].size() << ", '" << got[1].substr(0, 20) << "', " << got[2].size() << ", "
                           << got[3].size();
}

// Killed at any byte of a line of ours: the next one begins anew. What is not ours stays as it is.
TEST(PushJsonLines, ATornLineOfOursIsCut) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("json-lines-{}", getpid());
  std::filesystem::create_directory(folder);
  const auto path = (folder / "lines").string();
  const std::string whole = R"({"name":"a\"b","labels":{"x":"y"},"value":1})", first = "{\"name\":\"first\"}\n",
                    next = "next\n";
  const auto after = [&](const std::string& end) {
    std::ofstream(path) << first << end;
    const Item item{1, "key", next};
    const auto sent = settings_of("json_lines", "{name: o, path: " + path + "}")->destination()->send({&item, 1}, {});
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {}) + (sent ? "" : "refused");
  };
  for (std::size_t n = 0; n <= whole.size(); ++n) EXPECT_EQ(after(whole.substr(0, n)), first + next) << n;
  for (const auto* theirs : {"x", "{\"name\":1", "[", "{\"name\":\"a\",\"value\":1"})
    EXPECT_EQ(after(theirs), first + theirs + "refused") << theirs;
  std::filesystem::remove_all(folder);
}

// What is no file is not written to, and said before.
TEST(PushFiles, ReachIsOfARegularFile) {
  struct Case {
    const char *path, *want;
  };
  for (const auto* kind : {"json_lines", "json_file", "textfile"})
    for (const auto& c : {Case{"/dev/null", "/dev/null is no regular file"}, Case{"/etc", "/etc is no regular file"},
                          Case{"/nowhere/x", "/nowhere: No such file or directory (ENOENT)"},
                          Case{"/tmp/vitald-no-such", "/tmp can be written"}}) {
      const auto got = settings_of(kind, fmt::format("{{name: o, path: {}}}", c.path))->reach({});
      EXPECT_EQ(got ? *got : got.error().text, c.want) << kind;
    }
}

// A guest's joules in a snapshot, as the energy deriver shows them.
Snapshot guests_used(std::initializer_list<std::pair<const char*, double>> package, double dram_of_web = -1) {
  static constexpr MetricDesc kPackage{"vitald_owner_energy_joules_total", MetricType::counter, ""};
  static constexpr MetricDesc kDram{"vitald_owner_dram_energy_joules_total", MetricType::counter, ""};
  BatchWriter writer("energy");
  writer.begin(kSecond, kSecond);
  const auto labels = [](const char* mode, const char* guest) {
    return std::vector<Label>{{"mode", mode}, {"owner_kind", "guest"}, {"owner", guest}, {"guest", guest}};
  };
  for (const auto& [guest, joules] : package) writer.set_labels(kPackage, joules, labels("active", guest));
  if (dram_of_web >= 0) writer.set_labels(kDram, dram_of_web, labels("active", "web"));
  writer.set_labels(kPackage, 1000, {{{"mode", "idle"}, {"owner_kind", "host"}, {"owner", "host"}}});
  writer.set_labels(kPackage, 7, {{{"mode", "active"}, {"owner_kind", "unit"}, {"owner", "a.service"}}});
  return {1, kSecond, kSecond, {writer.finish({}, 0, 0)}};
}

class PushGuestEnergy : public testing::Test {
 protected:
  PushGuestEnergy() {
    char name[] = "/tmp/vitald-guests-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~PushGuestEnergy() override { std::filesystem::remove_all(root_); }
  void ask(const std::string& guest, mode_t mode = 02750) const {
    const auto folder = root_ + "/" + guest;
    ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
    ASSERT_EQ(chmod(folder.c_str(), mode), 0);
  }
  [[nodiscard]] std::shared_ptr<PushSettings> settings() const {
    return settings_of("guest_energy", fmt::format("{{name: g, path: {}}}", root_));
  }
  Result<Sent> push(const Snapshot& snapshot) {
    if (!destination_) destination_ = settings()->destination(), encoder_ = settings()->encoder();
    std::vector<Item> items;
    encoder_->encode(snapshot, items);
    if (items.empty()) return Sent{};
    return destination_->send(items, {});
  }
  void restart() { destination_.reset(), encoder_.reset(); }
  [[nodiscard]] std::string read(const std::string& path) const {
    const std::ifstream file(root_ + "/" + path);
    std::ostringstream text;
    text << file.rdbuf();
    return file ? text.str() : "none";
  }
  [[nodiscard]] mode_t mode(const std::string& path) const {
    struct stat status {};
    EXPECT_EQ(lstat((root_ + "/" + path).c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }
  std::string root_;

 private:
  std::unique_ptr<Destination> destination_;
  std::unique_ptr<PushEncoder> encoder_;
};

TEST_F(PushGuestEnergy, ThoseThatAskHaveTheirOwnAsPowercapShowsIt) {
  ask("web");
  ask("odd name \xc3\xa4 & co");
  ASSERT_TRUE(push(guests_used({{"web", 100.5}, {"db", 50}, {"odd name \xc3\xa4 & co", 3}}, 20)));
  EXPECT_EQ(read("web/intel-rapl:0/name"), "package-0\n");
  EXPECT_EQ(read("web/intel-rapl:0/max_energy_range_uj"), "9007199254740991\n");
  EXPECT_EQ(read("web/intel-rapl:0/energy_uj"), "0\n") << "it begins when it asks";
  EXPECT_EQ(read("web/intel-rapl:0:0/name"), "dram\n");
  EXPECT_FALSE(std::filesystem::exists(root_ + "/db")) << "it has not asked";
  const auto sent = push(guests_used({{"web", 103}, {"db", 60}, {"odd name \xc3\xa4 & co", 4}}, 21));
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->problem, "");
  EXPECT_EQ(read("web/intel-rapl:0/energy_uj"), "2500000\n");
  EXPECT_EQ(read("web/intel-rapl:0:0/energy_uj"), "1000000\n");
  EXPECT_EQ(read("odd name \xc3\xa4 & co/intel-rapl:0/energy_uj"), "1000000\n");
  EXPECT_FALSE(std::filesystem::exists(root_ + "/odd name \xc3\xa4 & co/intel-rapl:0:0"))
      << "no meter of memory, no zone";
  EXPECT_EQ(read("web/class/powercap/intel-rapl:0/energy_uj"), "2500000\n") << "the folder stands for /sys";
  // Whoever is not of the group sees nothing; nothing half-written stays.
  EXPECT_EQ(mode("web/intel-rapl:0/energy_uj"), 0640U);
  EXPECT_EQ(mode("web/intel-rapl:0") & 07U, 0U);
  EXPECT_FALSE(std::filesystem::exists(root_ + "/web/intel-rapl:0/.energy_uj.new"));
}

TEST_F(PushGuestEnergy, NeverGoesBack) {
  struct Step {
    const char* name;
    bool restart;
    double joules;
    const char* shown;
  };
  ask("web");
  for (const auto& step : std::initializer_list<Step>{
           {"begins", false, 5, "0\n"},
           {"grows", false, 7, "2000000\n"},
           {"stands", false, 7, "2000000\n"},
           {"the guest was started anew", false, 1, "3000000\n"},
           {"we were started anew, and count from 0", true, 0.25, "3000000\n"},
           {"and go on", false, 1.25, "4000000\n"},
       }) {
    SCOPED_TRACE(step.name);
    if (step.restart) restart();
    ASSERT_TRUE(push(guests_used({{"web", step.joules}})));
    EXPECT_EQ(read("web/intel-rapl:0/energy_uj"), step.shown);
  }
  restart();
  std::ofstream(root_ + "/web/intel-rapl:0/energy_uj") << "no number";  // a guest that may write
  ASSERT_TRUE(push(guests_used({{"web", 1}})));
  EXPECT_EQ(read("web/intel-rapl:0/energy_uj"), "0\n");
}

// A guest that may write to its folder reaches nothing outside of it, and costs only itself.
TEST_F(PushGuestEnergy, LinksAreNotFollowed) {
  ask("evil");
  ask("web");
  std::filesystem::create_directory(root_ + "/outside");
  std::filesystem::create_symlink(root_ + "/outside", root_ + "/evil/intel-rapl:0");
  std::filesystem::create_directory(root_ + "/web/intel-rapl:0");
  std::ofstream(root_ + "/secret") << "secret";
  std::filesystem::create_symlink(root_ + "/secret", root_ + "/web/intel-rapl:0/energy_uj");
  std::filesystem::create_symlink(root_ + "/web", root_ + "/linked");
  const auto sent = push(guests_used({{"evil", 1}, {"linked", 1}, {"web", 1}, {"..", 1}, {"a/b", 1}}));
  ASSERT_TRUE(sent);
  EXPECT_THAT(sent->problem, testing::HasSubstr(root_ + "/linked"));
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/outside"));
  EXPECT_EQ(read("secret"), "secret");
  EXPECT_EQ(read("web/intel-rapl:0/energy_uj"), "0\n") << "a file of its own took the link's place";
  EXPECT_FALSE(std::filesystem::exists(root_ + "/a"));
}

TEST_F(PushGuestEnergy, WhatIsSaidOfIt) {
  EXPECT_EQ(settings()->reach({}).value(),
            root_ + " has no folder of a guest; one that is to have its energy needs one by its name");
  ask("web");
  EXPECT_EQ(settings()->reach({}).value(), root_ + " has the folders of 1 that ask");
  ask("open", 0755);
  EXPECT_EQ(settings()->reach({}).error().text, root_ + "/open: everybody may look into it; chmod o-rwx");
  const auto none = settings_of("guest_energy", "{name: g, path: /nowhere/at/all}");
  EXPECT_THAT(none->reach({}).error().text, testing::HasSubstr("/nowhere/at/all"));
  std::vector<std::string> problems;
  none->check(problems);
  EXPECT_THAT(problems, testing::ElementsAre(testing::HasSubstr("push.guest_energy 'g': ")));
  Item item;
  item.body = "1 - web\n";
  EXPECT_FALSE(none->destination()->send({&item, 1}, {}));
  EXPECT_THROW(settings_of("guest_energy", "{name: g, path: relative}"), std::runtime_error);
  EXPECT_THROW(settings_of("guest_energy", "{name: g}"), std::runtime_error);
}

}  // namespace
}  // namespace vitald
