// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "core/clock.h"
#include "core/os/fd.h"
#include "core/yaml/reader.h"
#include "exporters/deliver/receiver.h"

namespace vitald {
namespace {

using testing::HasSubstr;

std::shared_ptr<ReceiverSettings> read(const std::string& yaml, std::vector<std::string>& problems) {
  for (const auto* kind : receiver_kinds()) {
    if (kind->key != "journald") continue;
    std::shared_ptr<ReceiverSettings> out;
    YamlReader reader("test");
    reader.read(yaml, problems, [&](const YAML::Node& node) { out = kind->read(reader, node, "journald[0]"); });
    return out;
  }
  return nullptr;
}

TEST(Journald, FieldsAndLines) {
  const auto path = fmt::format("/tmp/vitald-journald-{}", getpid());
  unlink(path.c_str());
  const Fd journal(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);

  std::vector<std::string> problems;
  const auto settings = read(fmt::format("{{name: j, socket: {}}}", path), problems);
  ASSERT_TRUE(settings) << problems.front();
  settings->check(problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], HasSubstr("No such file"));

  AlertTransition t;
  t.firing = true;
  t.number = 9;
  t.alert.labels = {{"alertname", "Disk"}, {"severity", "critical"}};
  t.alert.annotations = {{"summary", "two\nlines"}, {"description", ""}};
  t.alert.fingerprint = 0xabc;
  t.alert.value = 0.5;
  Item item;
  item.body = settings->body(t);
  Item odd;
  odd.body = "{}";
  const auto destination = settings->destination();
  const Attempt attempt{SystemClock::read(CLOCK_BOOTTIME) + 1'000'000'000, -1};
  EXPECT_FALSE(destination->send({&item, 1}, attempt)) << "nobody listens: it comes again";

  ASSERT_EQ(bind(journal.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  const Item both[] = {odd, item};
  const auto sent = destination->send(both, attempt);
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->taken, 2u);
  EXPECT_EQ(sent->refused, 1u);
  char bytes[4096];
  const auto n = recv(journal.get(), bytes, sizeof bytes, 0);
  ASSERT_GT(n, 0);
  const std::string got(bytes, static_cast<std::size_t>(n));
  const std::string message = "Disk fires: two\nlines";
  EXPECT_THAT(got, HasSubstr(std::string("MESSAGE\n") + static_cast<char>(message.size()) + std::string(7, '\0') +
                             message + "\n"));
  for (const auto* line : {"PRIORITY=2\n", "SYSLOG_IDENTIFIER=vitald\n", "VITALD_ALERT_NAME=Disk\n",
                           "VITALD_ALERT_FINGERPRINT=0000000000000abc\n", "VITALD_ALERT_TRANSITION=9\n",
                           "VITALD_ALERT_STATUS=firing\n", "VITALD_ALERT_VALUE=0.5\n"})
    EXPECT_THAT(got, HasSubstr(line));
  EXPECT_EQ(got.find("DESCRIPTION"), got.npos) << "what is empty is left out";
  unlink(path.c_str());
}

}  // namespace
}  // namespace vitald
