// SPDX-License-Identifier: Apache-2.0
// The example of docs/adding-a-destination.md, as it stands there: its row in the list, its settings, and what it
// delivers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/yaml/reader.h"
#include "exporters/deliver/receiver.h"

namespace vitald {

#define DESTINATION(name) extern const ReceiverKind name##_receiver;
#include "walk/destination.list"
#undef DESTINATION

namespace {

class Reader : public YamlReader {
 public:
  using YamlReader::YamlReader;
  std::shared_ptr<ReceiverSettings> one(const std::string& text, std::vector<std::string>& problems) {
    constexpr const ReceiverKind* kKinds[] = {
#define DESTINATION(name) &name##_receiver,
#include "walk/destination.list"
#undef DESTINATION
    };
    std::shared_ptr<ReceiverSettings> out;
    read(text, problems, [&](const YAML::Node& root) { out = kKinds[0]->read(*this, root, "notify.files[0]"); });
    return out;
  }
};

TEST(Walk, Destination) {
  const auto path = testing::TempDir() + "/destination_walk_" + std::to_string(getpid());
  std::filesystem::remove(path);
  std::vector<std::string> problems;
  const auto settings = Reader("v.yaml").one("{name: lines, path: " + path + ", queue_limit: 7}", problems);
  ASSERT_TRUE(settings) << problems.front();
  EXPECT_EQ(settings->text(), "file 'lines' (" + path + ")");
  EXPECT_EQ(settings->queue_limit, 7U);
  EXPECT_TRUE(settings->same(*settings->copy()));
  AlertTransition t;
  t.alert.labels = {{"alertname", "Hot"}};
  {
    Receiver receiver(settings);
    for (const bool firing : {true, false}) t.firing = firing, receiver.notify(t);
    const auto lines = [&path] {
      std::ifstream in(path);
      std::stringstream text;
      text << in.rdbuf();
      const auto all = text.str();
      return std::ranges::count(all, '\n') == 2 ? all : std::string();
    };
    for (int i = 0; i < 10'000 && lines().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_THAT(lines(), testing::MatchesRegex("\\{\"receiver\":\"lines\",.*\"firing\".*\n.*\"resolved\".*\n"));
  }
  std::filesystem::remove(path);
}

TEST(Walk, DestinationSaysWhatIsWrong) {
  struct Case {
    const char *text, *problem;
  };
  for (const auto& c :
       {Case{"{name: lines}", "v.yaml:1:1: notify.files[0]: no 'path', expected the file by its absolute path"},
        Case{"{name: lines, path: a/b}", "v.yaml:1:21: notify.files[0].path: 'a/b' is not an absolute path"},
        Case{"{name: lines, path: /a, colour: red}",
             "v.yaml:1:25: notify.files[0].colour: unknown key, expected one of name, path, queue_limit"}}) {
    std::vector<std::string> problems;
    EXPECT_FALSE(Reader("v.yaml").one(c.text, problems));
    EXPECT_THAT(problems, testing::ElementsAre(c.problem));
  }
}

}  // namespace
}  // namespace vitald
