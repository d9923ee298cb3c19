// SPDX-License-Identifier: Apache-2.0
// Every collector on trees that real hosts might have: files with lines doubled, dropped, cut, moved, words changed,
// empty, a folder or a pipe in their place. Whatever it is: what is emitted can be parsed by Prometheus' rules and has
// no series twice, success or a problem tells, and the neighbours of the bad item stay. VITALD_SEED=N begins elsewhere,
// VITALD_ROUNDS=N (20) mutates each collector's tree more often.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/os/fd.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/read/exposition.h"
#include "tests/fuzz/trees.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

// What does not come from files, or from more than the tree: its neighbours move by themselves.
const std::set<std::string_view> kLive = {"ethtool", "libvirt", "network_route", "perf", "self", "sensors", "time"};

// Kernel tables with a line for each item, where a bad line costs no more than one that is not there.
const std::set<std::string_view> kLines = {"buddyinfo", "cgroups",  "diskstats", "drbd",      "meminfo", "meminfo_numa",
                                           "schedstat", "slabinfo", "sockstat",  "softnet",   "stat",    "swap",
                                           "vmstat",    "zoneinfo", "mdadm",     "interrupts"};

// Empty is a way they may be: no disk, no bond, nobody's text file, a chip without a name, an array without a level, no
// error yet, a container that has read nothing yet.
const std::set<std::string_view> kMayBeEmpty = {"proc/diskstats",
                                                "sys/fs/bcachefs/52c6e0d1-9b3f/errors",
                                                "sys/fs/cgroup/system.slice/docker-0123456789abcdef0123456789abcdef"
                                                "0123456789abcdef0123456789abcdef.scope/io.stat",
                                                "text/a.prom",
                                                "sys/class/hwmon/hwmon0/temp1_label",
                                                "sys/devices/system/cpu/cpufreq/x",
                                                "sys/block/dm-5/dm/uuid",
                                                "sys/class/hwmon/hwmon0/name",
                                                "udev/b253:0",
                                                "udev/b254:0",
                                                "udev/b8:0",
                                                "sys/class/net/bonding_masters",
                                                "sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors",
                                                "text/b.prom",
                                                "sys/block/md3/md/level",
                                                "sys/class/drm/card0/device/uevent",
                                                "sys/devices/platform/asus/hwmon/hwmon0/name",
                                                "sys/devices/platform/asus/hwmon/hwmon1/name"};

// What names or counts the others, and what stands for an answer of netlink: without it nothing of them would be right.
// Without its state a path of the tree has no disk any more: it has failed, where one that is unreadable is unknown.
const std::set<std::string_view> kNames = {"sys/fs/btrfs/c41e7d60-2f85/metadata_uuid", "sys/block/sdi/device/state",
                                           "sys/block/sdj/device/state", "wifi/wlan0/bss.json"};

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) lines.emplace_back(take_line(text));
  return lines;
}
std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text.append(line).append("\n");
  return text;
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t n) {
    return n == 0 ? 0 : std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }

  // Whether the last mutation put a word that is no number in a number's place, or took all of the text: what is lost
  // by that must be told. A line more, less or elsewhere, or called otherwise, a kernel may have as well.
  [[nodiscard]] bool broke() const { return broke_; }

  std::string mutate(const std::string& text) {
    auto lines = lines_of(text);
    const auto at = below(lines.size());
    broke_ = false;
    switch (below(7)) {
      case 0: return text.substr(0, below(text.size() + 1));
      case 1: broke_ = true; return "";
      case 2:
        if (!lines.empty()) lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), lines[at]);
        return joined(lines);
      case 3:
        if (!lines.empty()) lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
        return joined(lines);
      case 4:
        if (!lines.empty()) std::swap(lines[at], lines[below(lines.size())]);
        return joined(lines);
      default:
        if (!lines.empty()) lines[at] = with_odd_word(lines[at]);
        return joined(lines);
    }
  }

 private:
  std::string with_odd_word(const std::string& line) {
    static const std::string kOdd[] = {
        "un-signed", "a(b)c", "-1", "18446744073709551616", "\xff\xfe", "x{y=\"z\"}", "", "4294967295", "a\\b\"c", "0x",
        "1e999",     "nan",   "#"};
    std::vector<std::string> words;
    std::string_view rest = line;
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) words.emplace_back(word);
    if (words.empty()) return line;
    auto& word = words[below(words.size())];
    const bool number = parse_u64(word).has_value();
    word = kOdd[below(std::size(kOdd))];
    broke_ = number && !word.empty() && !parse_double(word) && !parse_double(word + "0");
    return fmt::format("{}", fmt::join(words, " "));
  }
  std::minstd_rand random_;
  bool broke_ = false;
};

void check(const CollectorRun& run) {
  const auto parsed = parse_exposition(run.text);
  EXPECT_TRUE(parsed.has_value()) << parsed.error().text << "\n" << run.text;
  EXPECT_TRUE(is_valid_utf8(run.text)) << run.text;
  EXPECT_TRUE(is_valid_utf8(run.types)) << run.types;
  std::set<std::string> seen;
  for (const auto& line : lines_of(run.text)) {
    const auto series = line.substr(0, line.rfind(' '));
    EXPECT_TRUE(seen.insert(series).second) << series;
  }
  // "kind: text" and a text that says something.
  for (const auto& said : run.problems) EXPECT_GT(said.size(), 12U) << said;
  EXPECT_TRUE(run.error.empty() || run.error.size() > 12U) << run.error;
  // A collector that finds nothing on this machine is set aside for a minute, with all it has emitted.
  EXPECT_TRUE(run.text.empty() || !run.error.starts_with("absent:")) << run.error << "\n" << run.text;
}

// A file whose reading the kernel answers with EOPNOTSUPP, as it does for an attribute that a driver does not know.
// Empty where there is none.
std::string not_supported_file() {
  std::error_code ignored;
  for (const auto& device : std::filesystem::directory_iterator("/sys/class/net", ignored)) {
    const auto path = device.path().string() + "/phys_port_name";
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char byte;
    if (file && read(file.get(), &byte, 1) < 0 && errno == EOPNOTSUPP) return path;
  }
  return {};
}

std::vector<std::string> files_of(const SeedTree& tree) {
  std::vector<std::string> files;
  for (const auto& [path, content] : tree.files)
    if (!content.starts_with("->")) files.push_back(path);
  return files;
}

class Mutation : public testing::Test {
 protected:
  // Thousands of small files: a disk that discards each one's blocks when it goes takes a minute for them.
  static void SetUpTestSuite() { setenv("TMPDIR", "/dev/shm", 0); }
  static void TearDownTestSuite() { unsetenv("TMPDIR"); }
};

long environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : otherwise;
}

TEST_F(Mutation, AnyFileOfAnyCollector) {
  const auto seed = static_cast<unsigned>(environment("VITALD_SEED", 20260801));
  const auto rounds = environment("VITALD_ROUNDS", 20);
  SCOPED_TRACE(fmt::format("VITALD_SEED={}", seed));
  Mutator mutator(seed);
  for (const auto& tree : read_seed_trees(VITALD_SEED_TREES)) {
    if (kLive.contains(tree.collector)) continue;
    SCOPED_TRACE(tree.collector);
    const auto files = files_of(tree);
    if (files.empty()) continue;
    CollectorFixture f(tree.collector, tree.files, tree.flags);
    const auto whole_run = f.run();
    check(whole_run);
    for (long i = 0; i < rounds; ++i) {
      const auto& file = files[mutator.below(files.size())];
      const auto& whole = tree.files.at(file);
      const auto text = mutator.mutate(whole);
      SCOPED_TRACE(file + ":\n" + text);
      f.write(file, text);
      f.clock.advance_ns(i % 8 == 0 ? 61'000'000'000 : 1'000'000'000);
      auto run = f.run();
      check(run);
      // What is lost is told. Not what was lost by the mutation before, until devices are looked for again (hwmon).
      const auto lost = [&] {
        return run.error.empty() && run.problems.empty() && lines_of(run.text).size() < lines_of(whole_run.text).size();
      };
      if (mutator.broke() && lost() && !(text.empty() && kMayBeEmpty.contains(file))) {
        f.clock.advance_ns(61'000'000'000);
        run = f.run();
        check(run);
        EXPECT_FALSE(lost()) << run.text << "before:\n" << whole_run.text;
      }
      f.write(file, whole);
    }
    check(f.run());
  }
}

// A file that cannot be read costs what it tells, and nothing that comes from the others: what is the same with it and
// without it is there.
TEST_F(Mutation, AnUnreadableFileCostsItself) {
  const auto not_supported = not_supported_file();
  std::vector<std::string> ways = {"a folder", "a pipe"};
  if (!not_supported.empty()) ways.emplace_back("not supported");
  else fmt::print("no file of this machine answers EOPNOTSUPP: that is not tried\n");
  for (const auto& tree : read_seed_trees(VITALD_SEED_TREES)) {
    if (kLive.contains(tree.collector)) continue;
    const auto whole = lines_of(CollectorFixture(tree.collector, tree.files, tree.flags).run().text);
    for (const auto& file : files_of(tree)) {
      if (kNames.contains(file)) continue;
      SCOPED_TRACE(tree.collector + " " + file);
      auto without = tree.files;
      without.erase(file);
      const auto missing = CollectorFixture(tree.collector, without, tree.flags).run();
      check(missing);
      const auto least = lines_of(missing.text);
      const std::set<std::string> of_others(least.begin(), least.end());
      for (const auto& way : ways) {
        CollectorFixture f(tree.collector, without, tree.flags);
        const std::filesystem::path path = f.root() + "/" + file;
        std::filesystem::create_directories(way == "a folder" ? path : path.parent_path());
        if (way == "a pipe") {
          EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
        }
        if (way == "not supported") std::filesystem::create_symlink(not_supported, path);
        const auto run = f.run();
        check(run);
        const auto got = lines_of(run.text);
        const std::set<std::string> there(got.begin(), got.end());
        for (const auto& line : whole)
          EXPECT_TRUE(!of_others.contains(line) || line == "node_textfile_scrape_error 0" || there.contains(line))
              << line << ": " << way << "\n"
              << run.error;
      }
    }
  }
}

// A line with a word that is no number costs no more than if it were not there.
TEST_F(Mutation, ABadLineCostsItself) {
  for (const auto& tree : read_seed_trees(VITALD_SEED_TREES)) {
    if (!kLines.contains(tree.collector)) continue;
    for (const auto& file : files_of(tree)) {
      const auto lines = lines_of(tree.files.at(file));
      for (std::size_t i = 1; i < lines.size(); ++i) {  // the first is a header in some
        SCOPED_TRACE(tree.collector + " " + file + ": " + lines[i]);
        auto bad = lines, missing = lines;
        bad[i] += "x-y";
        missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(i));
        auto files = tree.files;
        files[file] = joined(missing);
        const auto least = lines_of(CollectorFixture(tree.collector, files, tree.flags).run().text).size();
        files[file] = joined(bad);
        const auto run = CollectorFixture(tree.collector, files, tree.flags).run();
        check(run);
        EXPECT_GE(lines_of(run.text).size(), least) << run.text << run.error;
      }
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace vitald
