// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/config/check.h"
#include "agent/config/config.h"
#include "agent/config/flags.h"
#include "agent/config/places.h"
#include "exporters/deliver/command.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(CommandLine, Table) {
  struct Case {
    const char* name;
    std::vector<std::string> arguments;
    std::string want;  // "flag=value ..." as they come, or the problems
  };
  const Case cases[] = {
      {"value after =", {"--web.max-age=3s"}, "web.max-age=3s"},
      {"value after a blank", {"--web.max-age", "3s"}, "web.max-age=3s"},
      {"switch on", {"--collector.loadavg"}, "collector.loadavg=true"},
      {"switch off", {"--no-collector.loadavg"}, "collector.loadavg=false"},
      {"switch with a value", {"--collector.loadavg=false"}, "collector.loadavg=false"},
      {"repeated",
       {"--web.listen-address=a:1", "--web.listen-address=b:2"},
       "web.listen-address=a:1 web.listen-address=b:2"},
      {"empty value", {"--path.rootfs="}, "path.rootfs="},
      {"-h", {"-h"}, "help=true"},
      {"unknown",
       {"--colector.loadavg"},
       "unknown long flag '--colector.loadavg'; did you mean 'collector.loadavg'?; try --help"},
      {"unknown, far from all", {"--xyzzy"}, "unknown long flag '--xyzzy'; try --help"},
      {"unknown, negated",
       {"--no-colector.loadavg"},
       "unknown long flag '--no-colector.loadavg'; did you mean 'collector.loadavg'?; try --help"},
      {"no value", {"--web.max-age"}, "--web.max-age: expected a value after it"},
      {"no flag", {"loadavg"}, "unexpected argument 'loadavg', expected a flag; try --help"},
      {"a command misspelt", {"doctr"}, "unknown command 'doctr'; did you mean 'doctor'?; try --help"},
      {"and what follows it",
       {"woker", "libvirt", "--xyzzy"},
       "unknown command 'woker'; did you mean 'worker'?; try --help\nunknown long flag '--xyzzy'; try --help"},
      {"a glob that the shell spread",
       {"--rules.file=a.yaml", "b.yaml"},
       "unexpected argument 'b.yaml', expected a flag; a glob wants quotes, as in '--rules.file=rules/*.yaml'"},
      {"a command behind a flag", {"--once", "doctor"}, "unexpected argument 'doctor', expected a flag; try --help"},
      {"single dash", {"-once"}, "unexpected argument '-once', expected a flag; try --help"},
      {"negated value",
       {"--no-web.max-age"},
       "--no-web.max-age: only switches can be negated, --web.max-age wants a value"},
      {"negated with value", {"--no-once=true"}, "--no-once: takes no value"},
      {"bad switch", {"--once=perhaps"}, "--once: 'perhaps' is neither true nor false"},
      {"bad duration", {"--web.max-age=5"}, "--web.max-age: '5' is not a duration; write e.g. 500ms, 15s, 5m"},
      {"bad number", {"--web.max-requests=x"}, "--web.max-requests: 'x' is not a whole number"},
      {"number out of bounds", {"--web.max-requests=-1"}, "--web.max-requests: -1 is outside 0..1000000"},
      {"number beyond its bounds",
       {"--collector.ntp.protocol-version=5"},
       "--collector.ntp.protocol-version: 5 is outside 2..4"},
      {"number at its bound", {"--owner.limit=65535"}, "owner.limit=65535"},
      {"duration too short",
       {"--history.retention=59s"},
       "--history.retention: 59s is too short, expected 60s or more"},
      {"bad word", {"--log.level=loud"}, "--log.level: 'loud' is not known, expected debug, info, warn or error"},
      {"bad word of several",
       {"--collector.libvirt.compat=tinkoff, foo"},
       "--collector.libvirt.compat: 'foo' is not known, expected tinkoff, inovex, kumina or kubevirt"},
      {"words",
       {"--collector.ipvs.backend-labels=proto,,local_port"},
       "collector.ipvs.backend-labels=proto,,local_port"},
      {"a word with a comma in it", {"--collector.libvirt.labels=domain,uuid"}, "collector.libvirt.labels=domain,uuid"},
      {"bad pattern",
       {"--collector.filesystem.mount-points-exclude=("},
       "--collector.filesystem.mount-points-exclude: '(' is not a regular expression (RE2): missing ): ("},
      {"all problems at once",
       {"--xyzzy", "--web.max-age=5"},
       "unknown long flag '--xyzzy'; try --help\n--web.max-age: '5' is not a duration; write e.g. 500ms, 15s, 5m"},
      {"worker without name", {"worker", "--once"}, "worker: which one? expected a collector's name after it"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> problems, warnings;
    const auto line = parse_command_line(c.arguments, problems, warnings);
    std::vector<std::string> got;
    for (const auto& s : line.settings) got.push_back(fmt::format("{}={}", s.flag->name, s.value));
    EXPECT_EQ(problems.empty() ? fmt::format("{}", fmt::join(got, " ")) : fmt::format("{}", fmt::join(problems, "\n")),
              c.want);
  }
}

// kingpin's: a file with an argument a line, and the end of the flags.
TEST(CommandLine, ArgumentsOfAFile) {
  const auto path = testing::TempDir() + fmt::format("/arguments-{}", getpid());
  std::ofstream(path) << "# of the unit\n--web.max-age=3s\n--path.rootfs\n/a host\n";
  const auto nested = path + ".nested";
  std::ofstream(nested) << "@" << path << "\n--once\n";
  const auto itself = path + ".itself";
  std::ofstream(itself) << "@" << itself << "\n@" << itself << "\n@" << itself << "\n";
  const auto windows = path + ".windows";
  std::ofstream(windows) << "--web.max-age=3s\r\n# none\r\n--path.rootfs\r\n/host\r\n";
  struct Case {
    std::vector<std::string> arguments;
    std::string want;
  };
  for (const auto& c :
       {Case{{"--collector.loadavg", "@" + path, "--once"},
             "collector.loadavg=true web.max-age=3s path.rootfs=/a host once=true"},
        Case{{"@" + nested}, "web.max-age=3s path.rootfs=/a host once=true"},
        Case{{"@" + itself}, fmt::format("@{}: files of arguments that name each other", itself)},
        Case{{"@" + windows}, "web.max-age=3s path.rootfs=/host"},
        Case{{"@/no/such"}, "@/no/such: No such file or directory (ENOENT)"}, Case{{"--once", "--"}, "once=true"},
        Case{{"--", "--once"}, "unexpected argument '--once', expected a flag; try --help"},
        Case{{"--", "@" + path}, fmt::format("unexpected argument '@{}', expected a flag; try --help", path)}}) {
    std::vector<std::string> problems, warnings;
    const auto line = parse_command_line(c.arguments, problems, warnings);
    std::vector<std::string> got;
    for (const auto& s : line.settings) got.push_back(fmt::format("{}={}", s.flag->name, s.value));
    EXPECT_EQ(problems.empty() ? fmt::format("{}", fmt::join(got, " ")) : fmt::format("{}", fmt::join(problems, "\n")),
              c.want);
  }
  // A command's words are people's own: "@bob looks at it" is no file, and one of root's is not shown to all.
  std::vector<std::string> problems, warnings;
  const std::vector<std::string> words{"alerts", "silence", "--comment", "@" + path};
  EXPECT_EQ(parse_command_line(words, problems, warnings).arguments,
            (std::vector<std::string>{"silence", "--comment", "@" + path}));
  EXPECT_THAT(problems, testing::IsEmpty());
  for (const auto& file : {path, nested, itself, windows}) fs::remove(file);
}

TEST(CommandLine, Verbs) {
  std::vector<std::string> problems, warnings;
  const std::vector<std::string> arguments{"worker", "libvirt", "--log.level=debug"};
  const auto line = parse_command_line(arguments, problems, warnings);
  EXPECT_EQ(line.verb, "worker");
  EXPECT_EQ(line.worker, "libvirt");
  EXPECT_EQ(line.arguments, std::vector<std::string>{"--log.level=debug"});
  EXPECT_THAT(problems, testing::IsEmpty());
}

TEST(CommandLine, OldSpelling) {
  for (const auto& flag : all_flags()) {
    if (flag.replaces.empty() || flag.type == FlagType::boolean) continue;
    std::vector<std::string> problems, warnings;
    const std::vector<std::string> arguments{fmt::format("--{}=1", flag.replaces)};
    const auto line = parse_command_line(arguments, problems, warnings);
    ASSERT_EQ(line.settings.size(), 1U) << flag.replaces;
    EXPECT_EQ(line.settings[0].flag->name, flag.name);
    EXPECT_THAT(warnings, testing::ElementsAre(testing::HasSubstr(flag.name)));
  }
}

TEST(Flags, EveryOneHasHelpAndAPlace) {
  std::set<std::vector<std::string>> places;
  for (const auto& flag : all_flags()) {
    EXPECT_NE(flag.help, "") << flag.name;
    const bool has_value = !flag.fallback.empty() && flag.type != FlagType::list;
    EXPECT_EQ(has_value ? value_problem(flag, flag.fallback) : "", "") << flag.name;
    const auto path = yaml_path(flag);
    EXPECT_TRUE(path.empty() || places.insert(path).second) << flag.name << " shares its place in the file";
  }
  EXPECT_THAT(help_text(), testing::HasSubstr("--[no-]collector.loadavg"));
}

TEST(Flags, YamlPath) {
  using testing::ElementsAre;
  EXPECT_THAT(yaml_path({"collector.netdev.device-exclude"}), ElementsAre("collectors", "netdev", "device_exclude"));
  EXPECT_THAT(yaml_path({"collector.cpu"}), ElementsAre("collectors", "cpu", "enabled"));
  EXPECT_THAT(yaml_path({"collector.cpu.info.flags-include"}), ElementsAre("collectors", "cpu", "info_flags_include"));
  EXPECT_THAT(yaml_path({"collector.disable-defaults"}), ElementsAre("collectors", "disable_defaults"));
  EXPECT_THAT(yaml_path({"path.udev.data"}), ElementsAre("path", "udev_data"));
  EXPECT_THAT(yaml_path({"config.file"}), ElementsAre());
}

TEST(ConfigFile, Good) {
  std::vector<std::string> problems;
  const auto file = parse_config(R"(
web:
  listen_address: ["127.0.0.1:9100", "[::1]:9100"]
  max_age: 2s
collectors:
  disable_defaults: true
  loadavg: true
  filesystem: {enabled: yes_is_not_yaml_1_2_here, mount_points_exclude: "^/x"}
rules:
  files: [/etc/vitald/rules/*.yaml, rules/*.yaml]
notify:
  commands:
    - &pager {name: pager, command: [/usr/bin/page, --now], timeout: 3s, user: nobody, queue_limit: 7, matchers: [severity="critical"]}
    - {<<: *pager, name: mail}
log:
)",
                                 "a/vitald.yaml", problems);
  EXPECT_THAT(problems, testing::ElementsAre("a/vitald.yaml:8:25: collectors.filesystem.enabled: "
                                             "'yes_is_not_yaml_1_2_here' is neither true nor false"));
  std::vector<std::string> got;
  for (const auto& s : file.settings) got.push_back(fmt::format("{}={}", s.flag->name, s.value));
  EXPECT_THAT(got, testing::ElementsAre("web.listen-address=127.0.0.1:9100", "web.listen-address=[::1]:9100",
                                        "web.max-age=2s", "collector.disable-defaults=true", "collector.loadavg=true",
                                        "collector.filesystem.mount-points-exclude=^/x",
                                        "rules.file=/etc/vitald/rules/*.yaml", "rules.file=a/rules/*.yaml"));
  ASSERT_EQ(file.receivers.size(), 2U);
  const auto& pager = dynamic_cast<const CommandReceiver&>(*file.receivers[0]);
  const auto& mail = dynamic_cast<const CommandReceiver&>(*file.receivers[1]);
  EXPECT_EQ(mail.name, "mail");
  EXPECT_EQ(mail.command, pager.command);
  EXPECT_EQ(pager.name, "pager");
  EXPECT_EQ(pager.command, (std::vector<std::string>{"/usr/bin/page", "--now"}));
  EXPECT_EQ(pager.timeout_ns, 3'000'000'000);
  EXPECT_EQ(pager.user, "nobody");
  EXPECT_EQ(pager.queue_limit, 7U);
  EXPECT_THAT(pager.matchers, testing::ElementsAre("severity=\"critical\""));
}

TEST(ConfigFile, MatchersThatAreNone) {
  std::vector<std::string> problems;
  const auto file = parse_config(
      "notify: {commands: [{name: pager, command: [/bin/sh], matchers: [a=\"b\", 'severity ! x']}]}", "x", problems);
  EXPECT_THAT(problems, testing::ElementsAre(
                            "x:1:21: notify.commands[0].matchers: 'severity ! x' is no matcher ('!' alone; expected != "
                            "or !~), expected e.g. severity=\"critical\""));
  EXPECT_THAT(file.receivers, testing::IsEmpty());
}

TEST(ConfigFile, EmptyIsGood) {
  std::vector<std::string> problems;
  EXPECT_TRUE(parse_config("", "x", problems).settings.empty());
  EXPECT_TRUE(parse_config("# nothing\n", "x", problems).settings.empty());
  EXPECT_THAT(problems, testing::IsEmpty());
}

TEST(ConfigFile, Unreadable) {
  std::vector<std::string> problems;
  read_config_file("/nonexistent/vitald.yaml", problems);
  read_config_file("/etc", problems);
  EXPECT_THAT(problems, testing::ElementsAre(
                            "/nonexistent/vitald.yaml: No such file or directory (ENOENT), expected a readable file",
                            "/etc: Is a directory (EISDIR), expected a readable file"));
}

TEST(Config, FlagsWinOverTheFile) {
  const auto path = fs::path(testing::TempDir()) / fmt::format("vitald-{}.yaml", getpid());
  std::ofstream(path) << "web: {max_age: 7s, max_requests: 9, listen_address: [a:1]}\n";
  std::vector<std::string> problems, warnings;
  const std::vector<std::string> arguments{"--config.file=" + path.string(), "--web.max-age=2s",
                                           "--web.listen-address=b:2"};
  const auto config = load_config(arguments, problems, warnings);
  fs::remove(path);
  EXPECT_THAT(problems, testing::IsEmpty());
  EXPECT_EQ(config.options.text("web.max-age"), "2s");
  EXPECT_EQ(config.options.number("web.max-requests"), 9);
  EXPECT_THAT(config.options.list("web.listen-address"), testing::ElementsAre("b:2"));
  EXPECT_TRUE(config.options.given("web.max-requests"));
  EXPECT_FALSE(config.options.given("pipeline.interval"));
}

TEST(Places, ProblemsAreToldWhereTheValueIs) {
  const auto setting = [](const char* flag, const char* value, const char* place) {
    return Setting{find_flag(flag), value, place};
  };
  const Setting file[] = {setting("web.listen-address", "a:1", "v.yaml:1:1"),
                          setting("web.listen-address", "b", "v.yaml:2:2"),
                          setting("collector.netdev.device-include", "x", "v.yaml:3:3")};
  struct Case {
    const char* name;
    std::string problem, want;
  };
  const Case cases[] = {
      {"a list: the item that is quoted", "--web.listen-address: 'b', expected a port",
       "v.yaml:2:2: web.listen_address: 'b', expected a port"},
      {"a list: the first where none is", "--web.listen-address: no", "v.yaml:1:1: web.listen_address: no"},
      {"two flags, one of them in the file, at the end of a sentence",
       "netdev: --collector.netdev.device-exclude and --collector.netdev.device-include.",
       "v.yaml:3:3: netdev: collectors.netdev.device_exclude and collectors.netdev.device_include."},
      {"on the command line", "--web.external-url: 'x' is no URL", "--web.external-url: 'x' is no URL"},
      {"no flag", "rules.yaml:1:2: no groups", "rules.yaml:1:2: no groups"},
      {"nearly one", "--web.listen-addresses and x--web.listen-address",
       "--web.listen-addresses and x--web.listen-address"},
      {"dashes", "-- --- --", "-- --- --"},
      {"nothing", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(at_its_place(c.problem, file), c.want);
  }
}

// What is named has to be there.
TEST(Check, Surroundings) {
  const auto folder = fs::path(testing::TempDir()) / fmt::format("vitald-check-{}", getpid());
  fs::create_directories(folder / "rules");
  std::ofstream(folder / "text") << "no program";
  fs::permissions(folder / "text", fs::perms(0644));
  std::ofstream(folder / "windows") << "#!/bin/sh\r\nexit 0\r\n";
  fs::permissions(folder / "windows", fs::perms(0755));
  std::ofstream(folder / "rules/a.yaml") << "";
  const auto top = folder.string();
  struct Case {
    const char* name;
    std::string yaml;
    std::vector<std::string> problems, warnings;
  };
  const auto hook = [](const std::string& program, const std::string& more = "") {
    return fmt::format("notify: {{commands: [{{name: pager, command: [{}]{}}}]}}", program, more);
  };
  const Case cases[] = {
      {"nothing", "", {}, {}},
      {"a good hook", hook("/bin/sh", ", user: root"), {}, {}},
      {"no program",
       hook("/nonexistent/page"),
       {"FILE:1:21: notify.commands 'pager': /nonexistent/page: No such file or directory (ENOENT), expected a "
        "program"},
       {}},
      {"a folder", hook("/etc"), {"FILE:1:21: notify.commands 'pager': /etc is no file, expected a program"}, {}},
      {"not executable",
       hook(top + "/text"),
       {fmt::format(
           "FILE:1:21: notify.commands 'pager': {0}/text is not executable (mode 0644), expected a program: chmod +x "
           "{0}/text",
           top)},
       {}},
      {"a script of Windows",
       hook(top + "/windows"),
       {fmt::format(
           "FILE:1:21: notify.commands 'pager': {}/windows is a script for /bin/sh\\r, which cannot be run: "
           "/bin/sh\\r: No such file or directory (ENOENT); its lines end with CR LF, as on Windows: remove the "
           "CR",
           top)},
       {}},
      {"no user",
       hook("/bin/sh", ", user: no-such-user"),
       {"FILE:1:21: notify.commands 'pager': user 'no-such-user': no such user, expected one of this machine"},
       {}},
      {"addresses",
       "web: {listen_address: ['127.0.0.1:9100', '[::1]:0', ':9100', '9100', '1:2:3', 'host:99999']}",
       {"--web.listen-address: '9100', expected host:port, [IPv6]:port, :port or vsock://:port",
        "--web.listen-address: '1:2:3', expected host:port, [IPv6]:port, :port or vsock://:port",
        "--web.listen-address: 'host:99999', expected host:port, [IPv6]:port, :port or vsock://:port"},
       {}},
      {"Kubernetes is told nothing",
       "notify: {kubernetes: [{name: k, url: 'http://127.0.0.1:1', node: n, bearer_token_file: '', ca_file: '', "
       "conditions: false, events: false}]}",
       {"FILE:1:23: notify.kubernetes 'k': conditions: false and events: false, expected something that it is told"},
       {}},
      {"an address twice",
       "web: {listen_address: ['127.0.0.1:9100', '127.0.0.1:0', '127.0.0.1:9100', '127.0.0.1:0']}",
       {"--web.listen-address: '127.0.0.1:9100' is given twice, expected each address once"},
       {}},
      {"addresses that are not opened", "web: {systemd_socket: true, listen_address: ['9100']}", {}, {}},
      {"globs",
       fmt::format("rules: {{files: ['{0}/rules/*.yaml', '{0}/rules/*.yml']}}\n"
                   "collectors: {{textfile: {{directory: ['{0}/rules', '{0}/no*']}}}}",
                   top),
       {},
       {fmt::format("--rules.file: '{}/rules/*.yml': nothing is there, so nothing comes of it", top),
        fmt::format("--collector.textfile.directory: '{}/no*': nothing is there, so nothing comes of it", top)}},
      {"a libvirt that is somewhere", "collectors: {libvirt: {uri: 'qemu+ssh://root@host/system?socket=/x'}}", {}, {}},
      {"a libvirt of Xen", "collectors: {libvirt: {uri: 'xen:///'}}", {}, {}},
      {"an alias of libvirt's configuration", "collectors: {libvirt: {uri: hail}}", {}, {}},
      {"no driver of libvirt",
       "collectors: {libvirt: {uri: 'qmeu:///system'}}",
       {},
       {"--collector.libvirt.uri: 'qmeu:///system': libvirt has no driver 'qmeu'; did you mean 'qemu'?"}},
      {"no place of qemu",
       "collectors: {libvirt: {uri: 'qemu+unix:///sytem?socket=/x'}}",
       {},
       {"--collector.libvirt.uri: 'qemu+unix:///sytem?socket=/x': qemu's URIs end with /system, /session or /embed, "
        "'/sytem' found; did you mean 'system'?"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto path = folder / "vitald.yaml";
    std::ofstream(path) << c.yaml;
    std::vector<std::string> problems, warnings;
    const std::vector<std::string> arguments{"--config.file=" + path.string()};
    const auto config = load_config(arguments, problems, warnings);
    ASSERT_THAT(problems, testing::IsEmpty());
    check_surroundings(config, problems, warnings);
    for (auto& p : problems)
      if (p.starts_with(path.string())) p.replace(0, path.string().size(), "FILE");
    EXPECT_EQ(problems, c.problems);
    EXPECT_EQ(warnings, c.warnings);
  }
  fs::remove_all(folder);
}

TEST(Check, WhatCollectorsRefuse) {
  struct Case {
    std::string yaml;
    std::vector<std::string> problems;
  };
  const Case cases[] = {
      {"{}", {}},
      {"{diskstats: {device_include: sda, device_exclude: sdb}}",
       {"diskstats: --collector.diskstats.device-exclude and --collector.diskstats.device-include are mutually "
        "exclusive: give one of them"}},
      {"{diskstats: {enabled: false, device_include: sda, device_exclude: sdb}}", {}},
      {"{ntp: {server: 8.8.8.8}}", {}},  // off
      {"{ntp: {enabled: true, server: 8.8.8.8}}",
       {"ntp: --collector.ntp.server: '8.8.8.8' is no loopback address; if the server is yours, say "
        "--collector.ntp.server-is-local"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.yaml);
    const auto path = fs::temp_directory_path() / fmt::format("vitald-refused-{}.yaml", getpid());
    std::ofstream(path) << "collectors: " << c.yaml << "\n";
    std::vector<std::string> problems, warnings;
    const std::vector<std::string> arguments{"--config.file=" + path.string()};
    const auto config = load_config(arguments, problems, warnings);
    fs::remove(path);
    ASSERT_THAT(problems, testing::IsEmpty());
    check_collectors(config.options, Host(), problems);
    EXPECT_THAT(problems, testing::UnorderedElementsAreArray(c.problems));
  }
}

// The file's name is the mistake; beside it stands everything that vitald says about it.
TEST(ConfigFile, Museum) {
  std::size_t pieces = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(VITALD_SOURCE) / "tests/config")) {
    const auto& path = entry.path();
    if (!path.string().ends_with(".bad.yaml")) continue;
    SCOPED_TRACE(path.filename());
    ++pieces;
    std::vector<std::string> problems;
    parse_config(slurp(path), path.filename(), problems);
    // VITALD_REWRITE=1 writes what is said now; the difference is reviewed like code.
    const auto want = fs::path(path).replace_extension(".txt");
    if (std::getenv("VITALD_REWRITE")) std::ofstream(want) << fmt::format("{}\n", fmt::join(problems, "\n"));
    EXPECT_EQ(fmt::format("{}\n", fmt::join(problems, "\n")), slurp(want));
  }
  EXPECT_GE(pieces, 8U);
}

// Matchers that fit no alert of the rules: somebody waits for what never comes.
TEST(Config, WhoIsNeverTold) {
  std::vector<std::string> problems;
  const auto rules =
      load_rules("groups: [{name: g, rules: [{alert: DiskFull, expr: node_load1 > 1, labels: {severity: critical}}]}]",
                 "r.yaml", problems);
  ASSERT_THAT(problems, testing::IsEmpty());
  const KnownFamily families[] = {{"node_load1"}};
  const std::string hook =
      "notify: {commands: [{name: one, command: [/bin/true]MATCHERS}, {name: two, command: [/bin/true]}]}";
  struct Case {
    const char* name;
    std::string yaml;
    bool with_rules;
    std::vector<std::string> want;
  };
  const auto with = [&](const std::string& matchers) {
    auto out = hook;
    return out.replace(out.find("MATCHERS"), 8, matchers.empty() ? "" : ", matchers: ['" + matchers + "']");
  };
  const std::string external = "rules: {external_label: [site=west]}\n";
  const Case cases[] = {
      {"all", with(""), true, {}},
      {"one that fits", with("severity=\"critical\""), true, {}},
      {"a label that leaves", external + with("site=\"west\""), true, {}},
      {"no such severity",
       with("severity=\"critcal\""),
       true,
       {"FILE:1:21: notify: 'one' is never told of an alert: no alert of any rule has severity=\"critcal\", did you "
        "mean "
        "'critical'?"}},
      {"another site",
       external + with("site=\"north\""),
       true,
       {"FILE:2:21: notify: 'one' is never told of an alert: no alert of any rule has site=\"north\": there it is "
        "west"}},
      {"no rules", with(""), false, {"FILE:1:21: notify: no rule alerts, so nobody is told of anything: 'one', 'two'"}},
      {"no rules and no receivers", "{}", false, {}},
      {"external labels count for inhibitions",
       external + "inhibit_rules: [{source_matchers: ['site=\"west\"'], target_matchers: ['site=\"north\"']}]",
       true,
       {"FILE:2:17: inhibit_rules[0].target_matchers: it mutes nothing: no alert of any rule has site=\"north\": there "
        "it is west"}},
      {"repeated more often than evaluated",
       "pipeline: {interval: 5m}\nnotify: {alertmanagers: [{name: am, urls: ['http://a:9093']}, {name: slow, urls: "
       "['http://a:9093'], resend_every: 10m}]}",
       true,
       {"FILE:2:26: notify: 'am' is to be told every 60 s what still fires, but the rules are evaluated every 300 s "
        "(--pipeline.interval): it is told that often"}},
      {"inhibitions",
       "inhibit_rules: [{source_matchers: ['alertname=\"Diskfull\"'], target_matchers: ['severity=\"critical\"']}]",
       true,
       {"FILE:1:17: inhibit_rules[0].source_matchers: it mutes nothing: no alert of any rule has "
        "alertname=\"Diskfull\", "
        "did you mean 'DiskFull'?"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Config config;
    config.file = parse_config(c.yaml, "FILE", problems);
    ASSERT_THAT(problems, testing::IsEmpty());
    static constexpr FlagSpec kFlags[] = {{"rules.external-label", FlagType::list, ""},
                                          {"pipeline.interval", FlagType::duration, "5s"}};
    config.options.declare(kFlags);
    for (const auto& s : config.file.settings)
      if (s.flag->name == std::string_view("pipeline.interval")) config.options.set(s.flag->name, s.value);
      else config.options.append("rules.external-label", s.value);
    std::vector<std::string> warnings;
    const std::span<const RuleGroup> groups = rules;
    check_alerts(config, AlertReach(c.with_rules ? groups : groups.first(0), families, {}), warnings);
    EXPECT_EQ(warnings, c.want);
  }
}

}  // namespace
}  // namespace vitald
