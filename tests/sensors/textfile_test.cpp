// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sensors/read/exposition.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

// A collector over files that the test writes below DIR.
using Files = std::vector<std::pair<std::string, std::string>>;

struct Directory {
  explicit Directory(const Files& files) {
    make();
    for (const auto& [file, text] : files) write(file, text);
  }
  Directory(const Directory&) = delete;
  void make() {
    char name[] = "/tmp/vitald-textfile-XXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path); }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories(fs::path(path + "/" + file).parent_path());
    std::ofstream(path + "/" + file + ".tmp") << text;
    fs::rename(path + "/" + file + ".tmp", path + "/" + file);
  }
  [[nodiscard]] std::string plain(std::string text) const {
    for (std::size_t at; (at = text.find(path)) != std::string::npos;) text.replace(at, path.size(), "DIR");
    // Modification times are those of the test's files.
    std::string out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
      out += (line.starts_with("node_textfile_mtime") ? line.substr(0, line.rfind(' ')) + " T" : line) + "\n";
    return out;
  }
  std::string path;
};

constexpr const char* kOk = "node_textfile_scrape_error 0\n";
constexpr const char* kBad = "node_textfile_scrape_error 1\n";
std::string mtime(const std::string& file) { return "node_textfile_mtime_seconds{file=\"DIR/" + file + "\"} T\n"; }

// a{l0="",l1="",...} 1
std::string labelled(int labels) {
  std::string line = "a{";
  for (int i = 0; i < labels; ++i) line += fmt::format("l{}=\"\",", i);
  line.back() = '}';
  return line + " 1\n";
}

TEST(Textfile, Cases) {
  struct Case {
    const char* name;
    std::vector<std::pair<std::string, std::string>> files;
    std::string text;
    std::string help;     // of the first family; empty: not compared
    std::string problem;  // empty: none
  };
  const Case cases[] = {
      {"no file that counts", {{"readme.txt", "x"}}, kOk, "", ""},
      {"untyped without help",
       {{"a.prom", "m{foo=\"bar\"} 10\n"}},
       "m{foo=\"bar\"} 10\n" + mtime("a.prom") + kOk,
       "m untyped Metric read from DIR/a.prom",
       ""},
      {"types and blanks",
       {{"a.prom",
         "  # HELP c Some\\\\thing\\nmore\n# TYPE c COUNTER\n\n\t c { a = \"1\" , b=\"x\\\"y\" } 1e3\n# a "
         "comment\n#\n"}},
       "c{a=\"1\",b=\"x\\\"y\"} 1000\n" + mtime("a.prom") + kOk,
       "c counter Some\\thing\nmore",
       ""},
      {"labels that some series lack",
       {{"a.prom", "g{foo=\"bar\"} 229\ng 20\n"}},
       "g{foo=\"bar\"} 229\ng{foo=\"\"} 20\n" + mtime("a.prom") + kOk,
       "",
       ""},
      {"nearer to zero than any number",
       {{"a.prom", "a 1e-400\nb -1e-400\nc 1e-310\nd +1e-400\n"}},
       "a 0\nb -0\nc 1e-310\nd 0\n" + mtime("a.prom") + kOk,
       "",
       ""},
      {"summary",
       {{"a.prom",
         "# TYPE s summary\ns{h=\"x\",quantile=\"0.99\"} 2\ns{quantile=\"0.5\",h=\"x\"} 1e-07\ns_sum{h=\"x\"} 3.5\n"
         "s_count{h=\"x\"} 4\ns{quantile=\"0.5\"} 9\n"}},
       "s{h=\"x\",quantile=\"0.5\"} 1e-07\ns{h=\"x\",quantile=\"0.99\"} 2\ns_sum{h=\"x\"} 3.5\ns_count{h=\"x\"} 4\n"
       "s{h=\"\",quantile=\"0.5\"} 9\n" +
           mtime("a.prom") + kOk,
       "",
       ""},
      {"histogram, also without its last bucket",
       {{"a.prom", "# TYPE h histogram\nh_bucket{le=\"1638400\"} 3\nh_bucket{le=\"0.5\"} 1\nh_sum 7\nh_count 4\n"}},
       "h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1.6384e+06\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 7\nh_count 4\n" +
           mtime("a.prom") + kOk,
       "",
       ""},
      {"a histogram and a summary of which not all came: what did not has no number",
       {{"a.prom",
         "# TYPE a histogram\na_bucket{le=\"1\"} 5\na_bucket{le=\"+Inf\"} 7\n# TYPE b summary\nb{quantile=\"0.5\"} "
         "2\n# TYPE c histogram\nc_sum 3\n"}},
       "a_bucket{le=\"1\"} 5\na_bucket{le=\"+Inf\"} 7\nb{quantile=\"0.5\"} 2\nc_sum 3\n" + mtime("a.prom") + kOk,
       "",
       ""},
      {"a histogram without its last bucket and its count: no observation is above the last that is there, as far as "
       "is "
       "known",
       {{"a.prom", "# TYPE h histogram\nh_bucket{x=\"y\",le=\"1\"} 5\nh_sum{x=\"y\"} 12\n"}},
       "h_bucket{le=\"1\",x=\"y\"} 5\nh_bucket{le=\"+Inf\",x=\"y\"} 5\nh_sum{x=\"y\"} 12\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: h{x=\"y\"} has neither a bucket le=\"+Inf\" nor a count; its last bucket is taken for "
       "both"},
      {"the collector's own families are nobody else's",
       {{"a.prom",
         "# TYPE node_textfile_scrape_error gauge\nnode_textfile_scrape_error 0\n"
         "node_textfile_mtime_seconds{file=\"x\"} 4102444800\ng 1\n"},
        {"b.prom", "broken\n"}},
       "g 1\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: node_textfile_scrape_error: a family of the collector's own; left out\n"
       "malformed: DIR/a.prom: node_textfile_mtime_seconds: a family of the collector's own; left out\n"
       "malformed: DIR/b.prom: line 1: expected float as value"},
      {"nor are the names of their lines",
       {{"a.prom",
         "# TYPE node_textfile summary\nnode_textfile_sum 4\n# TYPE node_textfile_mtime_seconds "
         "counter\nnode_textfile_mtime_seconds{x=\"y\"} 7\n"}},
       "node_textfile_sum 4\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: node_textfile_mtime_seconds: a family of the collector's own; left out"},
      {"a gauge with the name of another file's histogram's count, which comes later",
       {{"a.prom", "# TYPE h_count gauge\nh_count 5\ng 1\n"},
        {"b.prom", "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n"}},
       "g 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n" + mtime("a.prom") + mtime("b.prom") +
           kBad,
       "",
       "malformed: DIR/a.prom: h_count is a name of the lines of h, a histogram in DIR/b.prom"},
      {"the histogram first",
       {{"a.prom", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n"},
        {"b.prom", "# TYPE h_count gauge\nh_count 5\ng 1\n"}},
       "h_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\ng 1\n" + mtime("a.prom") + mtime("b.prom") + kBad,
       "",
       "malformed: DIR/b.prom: h_count is a name of the lines of h, a histogram in DIR/a.prom"},
      {"a summary's sum, and what is no name of a summary's",
       {{"a.prom", "s_sum 5\ns_bucket 6\n"},
        {"b.prom", "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 2\n"}},
       "s_bucket 6\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 2\n" + mtime("a.prom") + mtime("b.prom") + kBad,
       "",
       "malformed: DIR/a.prom: s_sum is a name of the lines of s, a summary in DIR/b.prom"},
      {"both in one file: the histogram's own count went to the gauge",
       {{"a.prom",
         "# TYPE h_count gauge\nh_count 5\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\ng 1\n"}},
       "g 1\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: h_count is a name of the lines of h, a histogram in DIR/a.prom\n"
       "malformed: DIR/a.prom: h: which lines h_count are its own cannot be told"},
      {"a histogram written and appended again: the first is kept",
       {{"a.prom",
         "# TYPE h histogram\nh_bucket{x=\"y\",le=\"1\"} 2\nh_bucket{x=\"y\",le=\"+Inf\"} 3\nh_sum{x=\"y\"} 4\n"
         "h_count{x=\"y\"} 3\nh_bucket{x=\"y\",le=\"1.0\"} 7\nh_bucket{x=\"y\",le=\"+Inf\"} 9\nh_sum{x=\"y\"} 8\n"
         "h_count{x=\"y\"} 9\n"}},
       "h_bucket{le=\"1\",x=\"y\"} 2\nh_bucket{le=\"+Inf\",x=\"y\"} 3\nh_sum{x=\"y\"} 4\nh_count{x=\"y\"} 3\n" +
           mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: line 6: h_bucket{x=\"y\",le=\"1\"} is there twice, the first one is kept\n"
       "malformed: DIR/a.prom: line 7: h_bucket{x=\"y\",le=\"+Inf\"} is there twice, the first one is kept\n"
       "malformed: DIR/a.prom: line 8: h_sum{x=\"y\"} is there twice, the first one is kept\n"
       "malformed: DIR/a.prom: line 9: h_count{x=\"y\"} is there twice, the first one is kept"},
      {"a quantile twice, in two ways to write it",
       {{"a.prom", "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns{quantile=\"0.50\"} 2\ns_sum 0\ns_count 0\ns_sum 1\n"}},
       "s{quantile=\"0.5\"} 1\ns_sum 0\ns_count 0\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: line 3: s{quantile=\"0.5\"} is there twice, the first one is kept\n"
       "malformed: DIR/a.prom: line 6: s_sum is there twice, the first one is kept"},
      {"lines that are no number of a histogram or summary",
       {{"a.prom", "# TYPE h histogram\nh 5\nh_bucket{le=\"1\"} 2\nh_count 2\n# TYPE s summary\ns 5\ns_count 2\n"}},
       "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 2\nh_count 2\ns_count 2\n" + mtime("a.prom") + kBad,
       "",
       "malformed: DIR/a.prom: line 2: h has no bound 'le'\n"
       "malformed: DIR/a.prom: line 6: s has no 'quantile'"},
      {"a _sum that is nobody's", {{"a.prom", "x_sum 1\n"}}, "x_sum 1\n" + mtime("a.prom") + kOk, "", ""},
      {"timestamps: the whole file is out",
       {{"a.prom", "a 1 1700000000123\nb 2\n"}, {"b.prom", "c 3\n"}},
       "c 3\n" + mtime("b.prom") + kBad,
       "",
       "malformed: DIR/a.prom: contains unsupported client-side timestamps, skipping entire file"},
      {"same family, same help",
       {{"a.prom", "# HELP e Same.\ne{f=\"a\"} 1\n"}, {"b.prom", "# HELP e Same.\ne{f=\"b\"} 2\n"}},
       "e{f=\"a\"} 1\ne{f=\"b\"} 2\n" + mtime("a.prom") + mtime("b.prom") + kOk,
       "e untyped Same.",
       ""},
      {"same family, no help",
       {{"a.prom", "# HELP e\ne{f=\"a\"} 1\n"}, {"b.prom", "# HELP e \ne{f=\"b\"} 2\n"}},
       "e{f=\"a\"} 1\ne{f=\"b\"} 2\n" + mtime("a.prom") + mtime("b.prom") + kOk,
       "e untyped Metric read from DIR/a.prom, DIR/b.prom",
       ""},
      {"same family, other help: the first wins",
       {{"a.prom", "# HELP e One.\ne{f=\"a\"} 1\n"}, {"b.prom", "# HELP e Two.\ne{f=\"b\"} 2\n"}},
       "e{f=\"a\"} 1\n" + mtime("a.prom") + mtime("b.prom") + kBad,
       "e untyped One.",
       "malformed: DIR/b.prom: e: help text 'Two.' differs from 'One.' in DIR/a.prom"},
      {"same family, other type",
       {{"a.prom", "# TYPE e counter\ne 1\n"}, {"b.prom", "# TYPE e gauge\ne{f=\"b\"} 2\n"}},
       "e 1\n" + mtime("a.prom") + mtime("b.prom") + kBad,
       "",
       "malformed: DIR/b.prom: e is a gauge but was a counter in DIR/a.prom"},
      {"a name inside the braces",
       {{"a.prom", "{\"m\",a=\"1\"} 2\n"}},
       "m{a=\"1\"} 2\n" + mtime("a.prom") + kOk,
       "",
       ""},
      {"numbers",
       {{"a.prom", "a +Inf\nb -inf\nc NaN\nd 0x1\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 4: expected float as value"},
      {"two signs",
       {{"a.prom", "a +1e-400\nb +-1e-400\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 2: expected float as value"},
      {"an exponent of 2, as for node_exporter",
       {{"a.prom", "a 0x1p-2000\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: expected float as value"},
      {"no newline at the end",
       {{"a.prom", "a 1"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: unexpected end of input stream: the last line has no newline"},
      {"blank after the value",
       {{"a.prom", "a 1 \n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: expected integer as timestamp"},
      {"second type",
       {{"a.prom", "a 1\n# TYPE a counter\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 2: a second TYPE line for the metric, or one after its samples"},
      {"unknown type",
       {{"a.prom", "# TYPE a info\na 1\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: unknown metric type"},
      {"duplicate label",
       {{"a.prom", "a{x=\"1\",x=\"2\"} 1\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: duplicate label names"},
      {"too many labels",
       {{"a.prom", "b 1\n" + labelled(257)}, {"b.prom", "c 2\n"}},
       "c 2\n" + mtime("b.prom") + kBad,
       "",
       "malformed: DIR/a.prom: line 2: more than 256 labels"},
      {"open quote",
       {{"a.prom", "a{x=\"1} 1\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: label value contains unescaped new-line"},
      {"not text",
       {{"a.prom", "a{x=\"\xff\"} 1\n"}},
       kBad,
       "",
       "malformed: DIR/a.prom: line 1: invalid label value: no UTF-8"},
      {"empty file", {{"a.prom", ""}}, mtime("a.prom") + kOk, "", ""},
      {"a directory with that name", {{"a.prom/x", ""}}, kBad, "", "io: DIR/a.prom: not a regular file"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Directory dir(c.files);
    const auto got = run_collector("textfile", {}, {{"collector.textfile.directory", dir.path + "/"}});
    EXPECT_EQ(dir.plain(got.text), c.text);
    EXPECT_EQ(got.error, "");
    if (!c.help.empty()) {
      EXPECT_THAT(dir.plain(got.types), testing::StartsWith(c.help + "\n"));
    }
    std::string problems;
    for (const auto& p : got.problems) problems += p + "\n";
    auto plain = dir.plain(problems);
    if (!plain.empty()) plain.pop_back();
    EXPECT_EQ(plain, c.problem);
  }
}

// Somebody who may write to the directory has the agent read what he may not.
TEST(Textfile, LinksAndOwners) {
  const Directory dir({{"in/a.prom", "a 1\n"},
                       {"in/data/b", "b 2\n"},
                       {"out/secret.prom", "secret 3\n"},
                       {"out/shadow", "root:$y$j9T$:19000:0\n"}});
  const auto get = [&] { return run_collector("textfile", {}, {{"collector.textfile.directory", dir.path + "/in"}}); };
  const auto link = [&](const std::string& to, const std::string& name) {
    ASSERT_EQ(symlink(to.c_str(), (dir.path + "/in/" + name).c_str()), 0);
  };
  link("data/b", "b.prom");  // as a ConfigMap's files are
  EXPECT_EQ(dir.plain(get().text), "a 1\nb 2\n" + mtime("in/a.prom") + mtime("in/b.prom") + kOk);
  link("../out/secret.prom", "c.prom");
  link(dir.path + "/out/shadow", "d.prom");
  auto got = get();
  EXPECT_EQ(dir.plain(got.text), "a 1\nb 2\n" + mtime("in/a.prom") + mtime("in/b.prom") + kBad);
  ASSERT_EQ(got.problems.size(), 2u);
  EXPECT_EQ(dir.plain(got.problems[0]),
            "denied: DIR/in/c.prom: a link out of its directory is not read: copy the file there\n");
  unlink((dir.path + "/in/c.prom").c_str());
  unlink((dir.path + "/in/d.prom").c_str());
  // A hard link is a file like any other: nothing of it is told.
  ASSERT_EQ(::link((dir.path + "/out/shadow").c_str(), (dir.path + "/in/d.prom").c_str()), 0);
  got = get();
  ASSERT_EQ(got.problems.size(), 1u);
  EXPECT_EQ(dir.plain(got.problems[0]), "malformed: DIR/in/d.prom: line 1: expected float as value\n");
  unlink((dir.path + "/in/d.prom").c_str());

  if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  ASSERT_EQ(chown((dir.path + "/in/a.prom").c_str(), 65534, 65534), 0);
  EXPECT_EQ(dir.plain(get().text), "a 1\nb 2\n" + mtime("in/a.prom") + mtime("in/b.prom") + kOk);
  ASSERT_EQ(chmod((dir.path + "/in").c_str(), 01777), 0);
  got = get();
  EXPECT_EQ(dir.plain(got.text), "b 2\n" + mtime("in/b.prom") + kBad);
  ASSERT_EQ(got.problems.size(), 1u);
  EXPECT_THAT(got.problems[0], testing::HasSubstr("everybody may write to its directory"));
}

TEST(Textfile, DirectoriesAndGlobs) {
  EXPECT_EQ(run_collector("textfile", {}).text, kOk);
  const auto missing = run_collector("textfile", {}, {{"collector.textfile.directory", "/nonexistent/*"}});
  EXPECT_EQ(missing.text, kBad);
  EXPECT_THAT(missing.problems, testing::ElementsAre("gone: /nonexistent/*: No such file or directory (ENOENT)"));
  const Directory dir({{"one/a.prom", "a 1\n"}, {"two/b.prom", "b 2\n"}, {"other/c.prom", "c 3\n"}});
  const auto got = run_collector("textfile", {},
                                 {{"collector.textfile.directory", dir.path + "/[ot][nw]*"},
                                  {"collector.textfile.directory", dir.path + "/other"}});
  EXPECT_EQ(dir.plain(got.text),
            "a 1\nb 2\nc 3\n" + mtime("one/a.prom") + mtime("two/b.prom") + mtime("other/c.prom") + kOk);
}

TEST(Textfile, FollowsChanges) {
  const Directory dir(Files{{"a.prom", "# HELP a A.\na 1\n"}});
  CollectorFixture f("textfile", {}, {{"collector.textfile.directory", dir.path}});
  EXPECT_EQ(dir.plain(f.run().text), "a 1\n" + mtime("a.prom") + kOk);
  dir.write("a.prom", "# HELP a A.\na 2\n");
  EXPECT_EQ(dir.plain(f.run().text), "a 2\n" + mtime("a.prom") + kOk);
  dir.write("a.prom", "# HELP a Another.\n# TYPE a gauge\na 3\n");
  const auto got = f.run();
  EXPECT_EQ(dir.plain(got.text), "a 3\n" + mtime("a.prom") + kOk);
  EXPECT_THAT(got.types, testing::StartsWith("a gauge Another.\n"));
  fs::remove(dir.path + "/a.prom");
  EXPECT_EQ(f.run().text, kOk);
}

TEST(Textfile, RewrittenInPlaceWithItsOldSizeAndTime) {
  const Directory dir(Files{{"a.prom", "a 1\n"}});
  CollectorFixture f("textfile", {}, {{"collector.textfile.directory", dir.path}});
  f.run();
  struct stat before {};
  ASSERT_EQ(stat((dir.path + "/a.prom").c_str(), &before), 0);
  // As rsync -t --inplace and curl -R do: only the time of the last change tells.
  std::ofstream(dir.path + "/a.prom") << "a 7\n";
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, (dir.path + "/a.prom").c_str(), times, 0), 0);
  EXPECT_EQ(dir.plain(f.run().text), "a 7\n" + mtime("a.prom") + kOk);
}

TEST(Textfile, OneSeriesTwice) {
  const Directory dir(
      Files{{"a.prom", "a{x=\"1\",y=\"\"} 1\na{x=\"2\"} 2\na{x=\"1\"} 3\n"}, {"b.prom", "a{x=\"2\"} 4\nb 5\n"}});
  const auto got = run_collector("textfile", {}, {{"collector.textfile.directory", dir.path}});
  EXPECT_EQ(dir.plain(got.text),
            "a{x=\"1\",y=\"\"} 1\na{x=\"2\",y=\"\"} 2\nb 5\n" + mtime("a.prom") + mtime("b.prom") + kBad);
  ASSERT_EQ(got.problems.size(), 2U);
  EXPECT_EQ(dir.plain(got.problems[0]), "malformed: DIR/a.prom: a{x=\"1\"} is there twice, the first one is kept\n");
  EXPECT_EQ(dir.plain(got.problems[1]), "malformed: DIR/b.prom: a{x=\"2\"} is there twice, the first one is kept\n");
}

std::string many(int n, const std::string& before, const std::string& after) {
  std::string out;
  for (int i = 0; i < n; ++i) out += before + std::to_string(i) + after;
  return out;
}

// The most that `key` was, or is, in kB; of /proc/self/status.
long memory_kb(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::stol(line.substr(key.size() + 1));
  return 0;
}
unsigned long long bytes_read() {
  std::ifstream in("/proc/self/io");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("rchar: ")) return std::stoull(line.substr(7));
  return 0;
}

// Only what does not fit is lost, and that is the largest.
TEST(Textfile, TooMuch) {
  struct Case {
    const char* name;
    Files files;
    std::string text, problem;
  };
  const std::string fits = many(9, "s{i=\"", "\"} 1\n"),
                    together =
                        "are taken of all text files together, the smallest first: --collector.textfile.max-series";
  std::string shown;
  for (int i = 0; i < 9; ++i) shown += "s{i=\"" + std::to_string(i) + "\"} 1\n";
  const Case cases[] = {
      {"as many as may be", {{"a.prom", fits + "b 1\n"}}, shown + "b 1\n" + mtime("a.prom") + kOk, ""},
      {"one series more",
       {{"a.prom", fits + "b 1\nc 1\n"}, {"b.prom", "d 1\n"}},
       "d 1\n" + mtime("b.prom") + kBad,
       "malformed: DIR/a.prom: 11 samples, at most 10 " + together},
      {"two that have too many together",
       {{"a.prom", fits}, {"b.prom", "b 1\nc 1\n"}},
       "b 1\nc 1\n" + mtime("b.prom") + kBad,
       "malformed: DIR/a.prom: 9 samples, at most 10 " + together},
      {"too many bytes",
       {{"a.prom", "a{x=\"" + std::string(4000, 'x') + "\"} 1\n"}, {"b.prom", "b 1\n"}},
       "b 1\n" + mtime("b.prom") + kBad,
       "malformed: DIR/a.prom: 4010 bytes, at most 2000 " + together},
      {"too many comments",
       {{"a.prom", many(41, "# HELP a", " A.\n") + "a 1\n"}, {"b.prom", "b 1\n"}},
       "b 1\n" + mtime("b.prom") + kBad,
       "malformed: DIR/a.prom: 41 comments, at most 40 " + together},
      {"bad lines do not count",
       {{"a.prom", "a b\na b\n"}, {"b.prom", fits + "b 1\n"}},
       shown + "b 1\n" + mtime("b.prom") + kBad,
       "malformed: DIR/a.prom: line 1: expected float as value"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Directory dir(c.files);
    const auto got = run_collector(
        "textfile", {}, {{"collector.textfile.directory", dir.path}, {"collector.textfile.max-series", "10"}});
    EXPECT_EQ(dir.plain(got.text), c.text);
    std::string problems;
    for (const auto& p : got.problems) problems += p;
    EXPECT_EQ(dir.plain(problems), c.problem.empty() ? "" : c.problem + "\n");
  }
}

TEST(Textfile, RoomThatIsFreeAgain) {
  const Directory dir(Files{{"a.prom", many(9, "s{i=\"", "\"} 1\n")}, {"b.prom", "b 1\nc 1\n"}});
  CollectorFixture f("textfile", {},
                     {{"collector.textfile.directory", dir.path}, {"collector.textfile.max-series", "10"}});
  EXPECT_EQ(dir.plain(f.run().text), "b 1\nc 1\n" + mtime("b.prom") + kBad);
  dir.write("b.prom", "b 1\n");
  EXPECT_THAT(f.run().text, testing::HasSubstr("s{i=\"8\"} 1\nb 1\n"));
  dir.write("c.prom", "c 1\n");
  const auto got = f.run();
  EXPECT_EQ(dir.plain(got.text), "b 1\nc 1\n" + mtime("b.prom") + mtime("c.prom") + kBad);
  EXPECT_EQ(got.problems.size(), 1u);
}

// It would be read again at every scrape.
TEST(Textfile, TooLargeIsNotReadTwice) {
  const Directory dir(Files{{"b.prom", "b 1\n"}, {"a.prom", ""}});
  if (truncate((dir.path + "/a.prom").c_str(), 20LL << 30) != 0) GTEST_SKIP() << "no file system for a sparse 20 GiB";
  CollectorFixture f("textfile", {}, {{"collector.textfile.directory", dir.path}});
  const auto before = bytes_read();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(dir.plain(f.run().text), "b 1\n" + mtime("b.prom") + kBad);
  EXPECT_LT(bytes_read() - before, 1u << 20);
  ASSERT_EQ(truncate((dir.path + "/a.prom").c_str(), 0), 0);
  EXPECT_EQ(dir.plain(f.run().text), "b 1\n" + mtime("a.prom") + mtime("b.prom") + kOk);
}

// What there is besides has its place in the container's 128 MiB.
TEST(Textfile, MemoryIsBounded) {
  const std::pair<const char*, std::string> cases[] = {
      {"24 MB of series", many(400'000, "some_metric_of_mine{instance=\"host\",queue=\"number-", "\"} 1.5\n")},
      {"one series, again and again", many(1, "a ", "\n") +
                                          [] {
                                            std::string out;
                                            for (int i = 0; i < 4'000'000; ++i) out += "a 1\n";
                                            return out;
                                          }()},
      {"families without series", many(1'000'000, "# HELP a", " A.\n")},
      {"each series has a label of its own", many(6'000, "a{l", "=\"x\"} 1\n")},
      {"long ones", many(19'000, "a{t=\"" + std::string(190, 'x'), "\"} 1\n")},
      {"as many as may be", many(20'000, "some_metric_of_mine{instance=\"host\",queue=\"number-", "\"} 1.5\n")},
  };
  for (const auto& [name, text] : cases) {
    SCOPED_TRACE(name);
    const Directory dir(Files{{"a.prom", text}});
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << 5;
    const auto before_kb = memory_kb("VmRSS");
    if (memory_kb("VmHWM") > before_kb + 8192) GTEST_SKIP() << "no CONFIG_PROC_PAGE_MONITOR, or no right to use it";
    CollectorFixture f("textfile", {}, {{"collector.textfile.directory", dir.path}});
    f.run();
    dir.write("a.prom", text);  // and while there is an old one
    f.run();
    const auto most_kb = memory_kb("VmHWM") - before_kb;
    std::printf("%s: %ld MiB\n", name, most_kb / 1024);
    EXPECT_LT(most_kb, 80 * 1024);
  }
}

TEST(Textfile, ALabelForEachSeries) {
  const Directory dir(Files{{"a.prom", many(1'000, "a{l", "=\"x\"} 1\n") + "b 1\n"}});
  const auto got = run_collector("textfile", {}, {{"collector.textfile.directory", dir.path}});
  EXPECT_EQ(dir.plain(got.text), "b 1\n" + mtime("a.prom") + kBad);
  ASSERT_EQ(got.problems.size(), 1u);
  EXPECT_EQ(dir.plain(got.problems[0]),
            "malformed: DIR/a.prom: a: 1000 series have 1000 label names between them, and each gets all of them: "
            "at most 32 more for each than it has\n");
}

// Each series of the operator's power has the date of the file that it came from; the first one's where two have it.
TEST(Textfile, WhenPowerWasWritten) {
  const Directory dir(Files{{"a.prom", "rack_watts{feed=\"a\"} 200\nrack_watts{feed=\"c\",room=\"1\"} 1\n"},
                            {"b.prom", "other 1\nrack_watts{feed=\"b\"} 150\nrack_watts{feed=\"a\"} 7\n"}});
  const auto write = [&](const char* file, timespec at) {
    const timespec times[] = {at, at};
    ASSERT_EQ(utimensat(AT_FDCWD, (dir.path + "/" + file).c_str(), times, 0), 0);
  };
  const auto dates = [](const std::string& text) { return lines_with(text, "vitald_textfile_power_mtime_seconds"); };
  const auto line = [](const char* labels, const char* at) {
    return fmt::format("vitald_textfile_power_mtime_seconds{{{}}} {}\n", labels, at);
  };
  write("a.prom", {1'000'000, 500'000'000});
  write("b.prom", {2'000'000, 0});
  CollectorFixture f("textfile", {},
                     {{"collector.textfile.directory", dir.path}, {"collector.host_power.external", "rack_watts"}});
  // As the series are emitted: each with all label names of its file.
  const auto want = [&](const char* a, const char* b) {
    return line("feed=\"a\",room=\"\"", a) + line("feed=\"c\",room=\"1\"", a) + line("feed=\"b\"", b);
  };
  EXPECT_EQ(dates(f.run().text), want("1000000.5", "2000000"));
  write("a.prom", {3'000'000, 0});
  EXPECT_EQ(dates(f.run().text), want("3000000", "2000000"));
  EXPECT_EQ(dates(run_collector("textfile", {}, {{"collector.textfile.directory", dir.path}}).text), "");
}

TEST(Textfile, ManyTwice) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "a 1\n";
  const Directory dir(Files{{"a.prom", text}});
  const auto got = run_collector("textfile", {}, {{"collector.textfile.directory", dir.path}});
  EXPECT_EQ(dir.plain(got.text), "a 1\n" + mtime("a.prom") + kBad);
  ASSERT_EQ(got.problems.size(), 101u);
  EXPECT_EQ(got.problems.back(), "malformed: 899 more that are left out");
}

TEST(Textfile, NumbersAsGoPrintsThem) {
  struct Case {
    double value;
    const char* text;
  };
  const Case cases[] = {
      {0, "0"},           {1, "1"},        {0.99, "0.99"},    {409600, "409600"}, {1638400, "1.6384e+06"},
      {1e-4, "0.0001"},   {1e-5, "1e-05"}, {-2.5, "-2.5"},    {1e21, "1e+21"},    {1e100, "1e+100"},
      {999999, "999999"}, {1e6, "1e+06"},  {HUGE_VAL, "+Inf"}};
  for (const auto& c : cases) EXPECT_EQ(go_number(c.value), c.text);
}

}  // namespace
}  // namespace vitald
