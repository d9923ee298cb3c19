// SPDX-License-Identifier: Apache-2.0
// Evidence of alerts: what is in a bundle, that it is bounded, where it lies, and the last words in the kernel's log.
#include "agent/pipeline/evidence.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/batch.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/machine_id.h"
#include "rules/silences.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

constexpr std::int64_t kNowMs = 1'700'000'000'000;

constexpr MetricDesc kTemperature{.name = "temp_celsius", .type = MetricType::gauge, .help = "", .labels = "chip"};
constexpr MetricDesc kFan{.name = "fan_rpm", .type = MetricType::gauge, .help = ""};
constexpr MetricDesc kCpu{
    .name = "vitald_owner_cpu_seconds_total", .type = MetricType::counter, .help = "", .labels = "owner"};

class EvidenceTest : public testing::Test {
 protected:
  EvidenceTest() {
    char name[] = "/tmp/vitald-evidence-XXXXXX";
    if (!mkdtemp(name)) std::abort();
    top_ = name;
    put("proc/loadavg", "4.25 2.50 1.00 3/400 1234\n");
    put("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\nMemAvailable:    1048576 kB\n");
    put("proc/pressure/memory", "some avg10=12.50 avg60=3.00 avg300=1.00 total=1\nfull avg10=1.00\n");
    task("10", "10", "small", 'S', 100, 10);
    task("20", "20", "big (one)", 'S', 200, 5000);
    task("20", "21", "waiter", 'D', 0, 5000);
    put("proc/20/task/21/stack", "[<0>] io_schedule+0x12/0x40\n[<0>] folio_wait_bit+0x1/0x2\n");
    put("proc/20/task/21/wchan", "folio_wait_bit");
    task("30", "30", "busy", 'R', 9000, 20);
    host_.emplace(Host::Roots{top_ + "/proc", top_ + "/sys", top_, top_ + "/udev"});
    record();
  }
  ~EvidenceTest() override { fs::remove_all(top_); }

  void put(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(top_ + "/" + name).parent_path());
    std::ofstream(top_ + "/" + name) << text;
  }
  void task(const std::string& pid, const std::string& tid, const std::string& comm, char state, int ticks,
            int pages) const {
    const auto stat = fmt::format("{} ({}) {} 1 1 1 0 -1 0 0 0 0 0 {} 0 0 0 20 0 1 0 5 100000 {} 1 1", tid, comm, state,
                                  ticks, pages);
    put(fmt::format("proc/{}/task/{}/stat", pid, tid), stat);
    if (pid == tid) put(fmt::format("proc/{}/stat", pid), stat);
  }
  // Ten minutes, a sample every ten seconds.
  void record() {
    BatchWriter writer("test");
    for (int i = 0; i <= 60; ++i) {
      Snapshot s;
      s.boot_ns = (10'000 + i * 10) * 1'000'000'000LL;
      s.wall_ns = kNowMs * 1'000'000 - (60 - i) * 10'000'000'000LL;
      writer.begin(s.boot_ns);
      for (const auto* chip : {"a", "b", "c"}) writer.set(kTemperature, 50 + i, chip);
      writer.set(kFan, 1000 + i % 3 + (i > 48 ? 100 : 0));  // another one in the last two minutes
      for (int owner = 0; owner < 8; ++owner)
        writer.set(kCpu, static_cast<double>(owner * i), fmt::format("o{}", owner));
      s.batches.push_back(writer.finish({}, 0, 0));
      history_->begin(s);
      history_->end();
      published_ = s;
    }
  }
  static Alert alert(int n, const std::string& severity = "warning") {
    Alert a;
    a.labels = {{"alertname", "Hot"}, {"chip", n == 0 ? "b" : fmt::format("x{}", n)}, {"severity", severity}};
    a.annotations = {{"summary", "it is \"hot\""}};
    a.state = AlertState::firing;
    a.active_at_ms = kNowMs;
    a.value = 110;
    a.fingerprint = 0xf000 + static_cast<std::uint64_t>(n);
    return a;
  }
  [[nodiscard]] Evidence::Round round(std::vector<Alert> fires) const {
    RuleView rule;
    rule.declared = std::make_shared<const DeclaredRule>(
        DeclaredRule{.alerting = true, .name = "Hot", .query = "temp_celsius > 100", .file = ""});
    rule.alerts = fires;
    GroupView group;
    group.rules = {rule};
    Evidence::Round out;
    out.fires = std::move(fires);
    out.rules = std::make_shared<const RulesView>(RulesView{{group}, {}});
    out.history = history_->view();
    out.published = published_;
    return out;
  }
  [[nodiscard]] static std::int64_t soon() { return SystemClock::read(CLOCK_BOOTTIME) + 10'000'000'000; }
  [[nodiscard]] static std::string slurp(const std::string& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  [[nodiscard]] std::shared_ptr<StateDir> state() const {
    auto dir = StateDir::open(top_ + "/state");
    EXPECT_TRUE(dir) << dir.error().text;
    return std::shared_ptr<StateDir>(std::move(*dir));
  }

  std::string top_;
  std::optional<Host> host_;
  std::unique_ptr<History> history_ = std::make_unique<History>(History::Settings{});
  Snapshot published_;
};

TEST_F(EvidenceTest, HasWhatThePersonPagedWouldLookFor) {
  const auto bundle = json::parse(evidence_json(round({alert(0)}), *host_, {}, soon()));
  EXPECT_EQ(bundle["alerts"], json::array({json::array({alert_uuid(alert(0), machine_uuid()), "000000000000f000"})}));
  ASSERT_EQ(bundle["fired"].size(), 1U);
  const auto& fired = bundle["fired"][0];
  EXPECT_EQ(fired["query"], "temp_celsius > 100");
  EXPECT_EQ(fired["annotations"]["summary"], "it is \"hot\"");
  ASSERT_EQ(fired["series"].size(), 1U) << "those of other chips are not of this alert";
  EXPECT_EQ(fired["series"][0]["metric"], (json{{"__name__", "temp_celsius"}, {"chip", "b"}}));
  EXPECT_EQ(fired["series"][0]["values"].size(), 61U);
  EXPECT_EQ(fired["series"][0]["values"].back()[1], "110");

  const auto& owners = bundle["owners"]["rate(vitald_owner_cpu_seconds_total[5m])"];
  ASSERT_EQ(owners.size(), 5U);
  EXPECT_EQ(owners[0][0]["owner"], "o7");

  const auto& machine = bundle["machine"];
  EXPECT_THAT(machine["pressure_memory"].get<std::string>(), HasSubstr("some avg10=12.50"));
  EXPECT_EQ(machine["processes"]["by_memory"][0]["comm"], "big (one)");
  EXPECT_EQ(machine["processes"]["by_cpu_since_start"][0]["comm"], "busy");
  ASSERT_EQ(machine["blocked"].size(), 1U) << "a thread of a process that sleeps";
  EXPECT_EQ(machine["blocked"][0]["comm"], "waiter");
  EXPECT_EQ(machine["blocked"][0]["wchan"], "folio_wait_bit");
  EXPECT_THAT(machine["blocked"][0]["stack"].get<std::string>(), HasSubstr("io_schedule"));
  EXPECT_TRUE(machine.contains("kernel_log") || machine.contains("kernel_log_error"));
}

// As /api/v1/explain has it: a baseline that is shorter than the window is none.
TEST_F(EvidenceTest, AYoungHistoryIsNotComparedWith) {
  auto since = alert(0);
  const auto old = json::parse(evidence_json(round({since}), *host_, {}, soon()));
  ASSERT_FALSE(old["changed"].empty());
  EXPECT_EQ(old["changed"][0]["metric"]["__name__"], "fan_rpm");
  EXPECT_FALSE(old.contains("changed_left_out"));
  since.active_at_ms -= 6 * 60'000;  // seven minutes of ten
  const auto young = json::parse(evidence_json(round({since}), *host_, {}, soon()));
  EXPECT_TRUE(young["changed"].empty());
  EXPECT_EQ(young["changed_left_out"],
            "the history reaches back 180 s before the window of 420 s: too little to compare with");
}

TEST_F(EvidenceTest, AStormIsBounded) {
  for (int i = 100; i < 180; ++i) task(std::to_string(i), std::to_string(i), std::string(15, 'x'), 'D', i, i);
  std::vector<Alert> storm;
  for (int i = 0; i < 1000; ++i) {
    auto a = alert(i);
    a.labels.erase("chip");  // all series are its own
    storm.push_back(std::move(a));
  }
  const auto all = round(storm);
  const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
  const auto text = evidence_json(all, *host_, {}, begin_ns + 1'000'000'000);
  const auto took_ms = (SystemClock::read(CLOCK_BOOTTIME) - begin_ns) / 1'000'000;
  RecordProperty("milliseconds", static_cast<int>(took_ms));
  EXPECT_LT(took_ms, 2000) << "a second, and what was begun then";
  EXPECT_LT(text.size(), Evidence::kMostBytes);
  const auto bundle = json::parse(text);
  EXPECT_EQ(bundle["alerts"].size(), 1000U) << "each is named";
  EXPECT_GE(bundle["fired"].size(), 1U);
  EXPECT_LE(bundle["machine"]["blocked"].size(), 40U);
  // Whatever the series take: what all alerts share is there, and what is not is counted.
  EXPECT_EQ(bundle["machine"]["processes"]["all"], true);
  EXPECT_EQ(bundle["owners"]["rate(vitald_owner_cpu_seconds_total[5m])"].size(), 5U);
  EXPECT_EQ(bundle["owners_left_out"], 0);
  EXPECT_EQ(bundle["fired"].size() + bundle["fired_left_out"].get<std::size_t>(), 1000U);
}

TEST_F(EvidenceTest, WithoutTimeItSaysWhatIsMissing) {
  const auto bundle = json::parse(evidence_json(round({alert(0), alert(1)}), *host_, {}, 1));
  EXPECT_EQ(bundle["alerts"].size(), 2U);
  EXPECT_EQ(bundle["fired_left_out"], 2);
  EXPECT_EQ(bundle["owners_left_out"], 1);
  EXPECT_EQ(bundle["machine"]["processes"]["all"], false);
}

TEST_F(EvidenceTest, ANewFiringHasNoneOfTheOneBefore) {
  const auto dir = state();
  Evidence evidence(dir, *host_);
  auto before = alert(0);
  evidence.gather(round({before}));
  evidence.refer(before);
  ASSERT_TRUE(before.annotations.contains("evidence"));
  auto anew = alert(0);
  anew.active_at_ms += 60'000;
  auto early = anew;
  evidence.refer(early);
  EXPECT_FALSE(early.annotations.contains("evidence"));
  ASSERT_TRUE(evidence.idle(5'000'000'000));
  {  // a later run, as well
    Evidence later(dir, *host_);
    auto restored = anew;
    later.refer(restored);
    EXPECT_FALSE(restored.annotations.contains("evidence")) << "it was over meanwhile";
  }
  // Nothing is written of it.
  EvidenceSettings settings;
  settings.disk_bytes = 0;
  evidence.set(settings);
  evidence.gather(round({alert(0)}));
  auto same = alert(0);
  evidence.refer(same);
  EXPECT_FALSE(same.annotations.contains("evidence"));
}

TEST_F(EvidenceTest, TornAndUnreadableFilesHideNoOthers) {
  const auto dir = state();
  const auto uuid = alert_uuid(alert(0), machine_uuid());
  std::string first, second;
  {
    Evidence evidence(dir, *host_);
    for (auto* path : {&first, &second}) {
      published_.wall_ns += 1'000'000'000;
      evidence.gather(round({alert(0)}));
      auto a = alert(0);
      evidence.refer(a);
      *path = a.annotations.at("evidence");
    }
  }
  ASSERT_NE(first, second);
  fs::resize_file(second, fs::file_size(second) - 10);  // a power cut
  put("state/evidence/1800000000000-0000000000000000.json.new", "half of it");
  fs::create_directory(top_ + "/state/evidence/1900000000000-0000000000000000.json");  // read() says it is no file
  Evidence evidence(dir, *host_);
  EXPECT_FALSE(fs::exists(top_ + "/state/evidence/1800000000000-0000000000000000.json.new"));
  auto a = alert(0);
  evidence.refer(a);
  EXPECT_EQ(a.annotations["evidence"], first);
  for (const auto& id : {uuid, std::string("000000000000f000")}) {
    const auto found = evidence.of(id);
    ASSERT_TRUE(found) << found.error().text;
    EXPECT_EQ(*found, slurp(first));
  }
  fs::remove(first);
  EXPECT_THAT(evidence.of(uuid).error().text, HasSubstr("1900000000000")) << "nothing fits: why one was not looked at";
}

TEST_F(EvidenceTest, IsOnDiskWhenTheJudgeGoesOn) {
  const auto dir = state();
  auto one = alert(0), other = alert(1);
  {
    Evidence evidence(dir, *host_);
    evidence.gather(round({one}));
    evidence.refer(one);
    evidence.refer(other);
    ASSERT_TRUE(one.annotations.contains("evidence"));
    EXPECT_FALSE(other.annotations.contains("evidence"));
    const auto path = one.annotations["evidence"];
    EXPECT_THAT(path, HasSubstr(top_ + "/state/evidence/1700000000000-"));
    FILE* sum = popen(("sha256sum " + path).c_str(), "r");
    char digest[65] = {};
    ASSERT_EQ(fread(digest, 1, 64, sum), 64U);
    pclose(sum);
    EXPECT_EQ(one.annotations["evidence_sha256"], digest);
    const auto uuid = alert_uuid(alert(0), machine_uuid());
    const auto found = evidence.of(uuid);
    ASSERT_TRUE(found) << found.error().text;
    EXPECT_EQ(*found, slurp(path));
    EXPECT_EQ(evidence.of("nobody").error().kind, Errc::absent);
    struct stat st {};
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 077, 0U) << "nobody else reads what runs here";
  }
  // A later run knows where that of an alert is that fires on.
  Evidence again(dir, *host_);
  auto still = alert(0);
  again.refer(still);
  EXPECT_EQ(still.annotations, one.annotations);
  again.forget(still.fingerprint);
  auto over = alert(0);
  again.refer(over);
  EXPECT_FALSE(over.annotations.contains("evidence"));
}

TEST_F(EvidenceTest, TheOldestGo) {
  const auto dir = state();
  Evidence evidence(dir, *host_);
  EvidenceSettings settings;
  settings.disk_bytes = 40'000;
  evidence.set(settings);
  const auto bytes = [this] {
    std::size_t sum = 0, count = 0;
    for (const auto& file : fs::directory_iterator(top_ + "/state/evidence")) sum += file.file_size(), ++count;
    return std::pair(sum, count);
  };
  for (int i = 0; i < 60; ++i) {
    published_.wall_ns += 1'000'000'000;
    evidence.gather(round({alert(0)}));
    ASSERT_TRUE(evidence.idle(10'000'000'000)) << "room is made after receivers were told";
    ASSERT_LE(bytes().first, std::max<std::size_t>(settings.disk_bytes, Evidence::kMostBytes / 4));
  }
  auto gone = alert(1), a = alert(0);
  for (int i = 0; i < 30; ++i) {
    published_.wall_ns += 1'000'000'000;
    evidence.gather(round({i == 0 ? gone : a}));
    // A disk that others are busy with has it later, and sixteen at most may wait.
    if (i % 10 == 9) {
      ASSERT_TRUE(evidence.idle(10'000'000'000));
    }
  }
  ASSERT_TRUE(evidence.idle(10'000'000'000));
  EXPECT_GE(bytes().second, 2U);
  EXPECT_LE(bytes().first, settings.disk_bytes);
  evidence.refer(a);
  EXPECT_TRUE(fs::exists(a.annotations.at("evidence"))) << "the newest is there";
  evidence.refer(gone);
  EXPECT_FALSE(gone.annotations.contains("evidence")) << "nobody is sent to a file that went";
}

TEST_F(EvidenceTest, LastWords) {
  put("kmsg", "");
  Evidence evidence(nullptr, *host_);
  EvidenceSettings settings;
  settings.kernel_log = top_ + "/kmsg";
  evidence.set(settings);
  evidence.gather(round({alert(1)}));
  EXPECT_EQ(slurp(top_ + "/kmsg"), "") << "it is no critical one";
  evidence.gather(round({alert(1), alert(2, "critical"), alert(3, "critical")}));
  EXPECT_EQ(
      slurp(top_ + "/kmsg"),
      "<2>vitald: critical alert Hot{chip=x2} = 110 and 1 more; load 4.25 2.50 1.00, memory available 1024 of 8192 "
      "MiB, pressure memory 12.50\n");
  put("kmsg", "");
  evidence.gather(round({alert(2, "critical")}));
  EXPECT_EQ(slurp(top_ + "/kmsg"), "") << "of one alert a line a minute";
  auto silenced = round({alert(4, "critical")});
  silenced.muted = {alert(4).fingerprint};
  evidence.gather(std::move(silenced));
  EXPECT_EQ(slurp(top_ + "/kmsg"), "") << "nobody is told of it";
  std::size_t lines = 0;
  for (int i = 10; i < 30; ++i) {
    put("kmsg", "");
    evidence.gather(round({alert(i, "critical")}));
    lines += slurp(top_ + "/kmsg").empty() ? 0 : 1;
  }
  EXPECT_EQ(lines, Evidence::kMostWordsPerMinute - 1) << "with the first one";

  Evidence mute(nullptr, *host_);
  settings.last_words = false;
  mute.set(settings);
  put("kmsg", "");
  mute.gather(round({alert(2, "critical")}));
  EXPECT_EQ(slurp(top_ + "/kmsg"), "");
}

TEST_F(EvidenceTest, LeavesASmallDiskToAlerts) {
  const auto folder = top_ + "/state";
  fs::create_directories(folder);
  if (mount("none", folder.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0) GTEST_SKIP() << "no tmpfs can be mounted";
  struct Unmount {
    const std::string& at;
    ~Unmount() { umount2(at.c_str(), MNT_DETACH); }
  } const unmount{folder};
  const auto dir = state();
  Evidence evidence(dir, *host_);
  evidence.set({});  // 64 MiB
  const auto bytes = [&] {
    std::size_t sum = 0;
    for (const auto& file : fs::directory_iterator(folder + "/evidence")) sum += file.file_size();
    return sum;
  };
  const auto gather = [&] {
    auto a = alert(0);
    published_.wall_ns += 1'000'000'000;
    evidence.gather(round({a}));
    EXPECT_TRUE(evidence.idle(10'000'000'000));
    evidence.refer(a);
    return a.annotations.contains("evidence");
  };
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(gather());
  EXPECT_GT(bytes(), 100'000U);
  EXPECT_LE(bytes(), 512U * 1024);
  EXPECT_GE(fs::space(folder).available, 300U * 1024);
  // Somebody else takes the rest of it: evidence gives way, and what there is is not the last of it.
  const auto before = bytes();
  std::ofstream(folder + "/filler") << std::string(fs::space(folder).available, 'x');
  testing::internal::CaptureStderr();
  for (int i = 0; i < 20; ++i) static_cast<void>(gather());
  log::flush(1'000'000'000);
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_LT(bytes(), before);
  EXPECT_GT(bytes(), 0U) << "the newest stays";
  EXPECT_GE(fs::space(folder).available, before / 3) << said;
  fs::remove(folder + "/filler");
  EXPECT_TRUE(gather());
}

TEST_F(EvidenceTest, WithoutADiskItGoesOn) {
  const auto dir = state();
  fs::remove_all(top_ + "/state/evidence");
  std::ofstream(top_ + "/state/evidence") << "a file where the folder should be";
  testing::internal::CaptureStderr();
  auto a = alert(0);
  {
    Evidence evidence(dir, *host_);
    evidence.gather(round({a}));
    evidence.gather(round({a}));
    evidence.refer(a);
  }
  log::flush(1'000'000'000);
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_FALSE(a.annotations.contains("evidence"));
  EXPECT_THAT(said, HasSubstr("evidence of alerts cannot be written"));
  EXPECT_EQ(said.find("cannot be written"), said.rfind("cannot be written")) << "once: " << said;
}

}  // namespace
}  // namespace vitald
