// SPDX-License-Identifier: Apache-2.0
// What every file is read with: merge keys and what they cost. The texts of problems are tests/config and
// tests/rules/bad.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/yaml/reader.h"
#include "core/yaml/text.h"

namespace vitald {
namespace {

// The document as flow YAML, maps in the order in which they are visited.
std::string shown(YamlReader& reader, const YAML::Node& node) {
  std::string out;
  if (node.IsMap()) {
    reader.each(node, "", {}, [&](const std::string&, const std::string& key, const YAML::Node& value) {
      out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", key, shown(reader, value));
    });
    return "{" + out + "}";
  }
  if (node.IsSequence()) {
    for (const auto& item : reader.items(node)) out += (out.empty() ? "" : ", ") + shown(reader, item);
    return "[" + out + "]";
  }
  return node.Scalar();
}

std::string many(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Yaml, MergeKeys) {
  struct Case {
    const char *name, *text, *want;
  };
  const Case cases[] = {
      {"an alias", "a: &a {x: 1, y: 2}\nb: {<<: *a, z: 3}", "{a: {x: 1, y: 2}, b: {z: 3, x: 1, y: 2}}"},
      {"the map's own keys win", "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "{a: {x: 1, y: 2}, b: {y: 3, x: 1}}"},
      {"also behind the own key", "a: &a {x: 1}\nb: {x: 3, <<: *a}", "{a: {x: 1}, b: {x: 3}}"},
      {"a map", "b: {<<: {x: 1}, y: 2}", "{b: {y: 2, x: 1}}"},
      {"the earlier of a list wins", "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}",
       "{a: {x: 1}, b: {x: 2, y: 2}, c: {x: 1, y: 2}}"},
      {"what is merged has merged", "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}",
       "{a: {x: 1}, b: {y: 2, x: 1}, c: {y: 2, x: 1}}"},
      {"block style", "a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n", "{a: {x: 1}, b: {y: 2, x: 1}}"},
      {"an item of a list", "- &a {x: 1}\n- <<: *a\n  y: 2\n- <<: [*a]", "[{x: 1}, {y: 2, x: 1}, {x: 1}]"},
      {"on top", "<<: {x: 1}", "{x: 1}"},
      {"with the tag", "!!merge <<: {x: 1}", "{x: 1}"},
      {"in what is merged", "a: {<<: {<<: {x: 1}, y: 2}}", "{a: {y: 2, x: 1}}"},
      {"an empty list", "a: {<<: [], x: 1}", "{a: {x: 1}}"},
      {"quoted it is a key", "a: {'<<': 1}", "{a: {<<: 1}}"},
      {"as a value", "a: <<", "{a: <<}"},
      {"no map", "a: {<<: 1, x: 2}", "f:1:9: '<<' with '1', expected a map or a list of maps"},
      {"nothing", "a: {<<: , x: 2}", "f:1:9: '<<' with nothing, expected a map or a list of maps"},
      {"no map in the list", "a: &a {x: 1}\nb: {<<: [*a, 1]}",
       "f:2:14: '<<' with '1', expected a map or a list of maps"},
      {"a list of lists", "b: {<<: [[{x: 1}]]}", "f:1:10: '<<' with a list, expected a map or a list of maps"},
      {"twice", "a: &a {x: 1}\nb: {<<: *a, <<: *a}",
       "f:2:13: '<<' is given twice, expected one, with a list: <<: [*a, *b]"},
      {"itself", "a: &a {x: 1, <<: *a}", "f:1:4: a map is merged into itself by '<<', expected another one"},
      {"what it lies in", "a: &a {x: {<<: *a}}", "f:1:4: a map is merged into itself by '<<', expected another one"},
      {"a key that is there twice already", "a: &a {x: 1}\nb: {x: 1, x: 2, <<: *a}",
       "f:2:11: x: given twice, first in line 2"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> problems;
    YamlReader reader("f");
    std::string got;
    reader.read(c.text, problems, [&](const YAML::Node& root) { got = shown(reader, root); });
    EXPECT_EQ(problems.empty() ? got : fmt::format("{}", fmt::join(problems, "\n")), c.want);
  }
}

// What is short and says much: one line that says so, soon.
// YAML::Load() takes the end of the file for the end of a quote.
TEST(Yaml, UnclosedQuotes) {
  struct Case {
    const char *name, *text;
    int line, column;  // where it begins, from 1; 0: nothing is wrong
  };
  const Case cases[] = {
      {"closed", "a: \"x\"\n", 0, 0},
      {"closed, escaped", "a: \"x\\\"y\"\nb: 'it''s'\n", 0, 0},
      {"of several lines", "a: \"x\n  y\"\n", 0, 0},
      {"plain, with quotes in it", "a: it's\n", 0, 0},
      {"a comment with one", "a: x  # it's\n", 0, 0},
      {"in a block", "a: |\n  it's \"\n", 0, 0},
      {"nothing", "", 0, 0},
      {"double", "a: 1\nb: \"x\nc: 2\n", 2, 4},
      {"single", "a: 'x\nb: 2\n", 1, 4},
      {"single, doubled", "a: 'it''s\n", 1, 4},
      {"in a list", "- 1\n- \"x\n", 2, 3},
      {"deep", "a:\n  - b: 1\n    c: \"x\nd: 1\n", 3, 8},
      {"behind characters of several bytes", "\u00e4\u20ac: \"x\n", 1, 8},
      {"behind an alias", "a: &a 1\nb: *a\nc: \"x\n", 3, 4},
      {"an alias is the last one", "a: &a \"x\"\nb: *a\n", 0, 0},
      {"a key is the last one", "? \"x\"\n", 0, 0},
      {"a list that contains itself", "a: &a [1, *a]\n", 0, 0},
      {"a map that contains itself", "a: &a {b: *a}\n", 0, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto found = unclosed_quote(YAML::Load(c.text), c.text);
    EXPECT_EQ(found ? found->line + 1 : 0, c.line);
    EXPECT_EQ(found ? found->column + 1 : 0, c.column);
  }
}

TEST(Yaml, Characters) {
  struct Case {
    const char* name;
    std::string text;
    const char* want;  // the problem; empty: none
  };
  const Case cases[] = {
      {"UTF-8", "a: \xc3\xa9 # \xe6\x97\xa5\xe6\x9c\xac\n", ""},
      {"a byte order mark",
       "\xef\xbb\xbf"
       "a: b\n",
       ""},
      {"escaped ones", "a: \"\\x01\\xe9\"\n", ""},
      {"Latin-1", "a: 1\nb: caf\xe9\n", "test:2:7: byte 0xe9 is no UTF-8"},
      {"after others", "a: \xc3\xa9\xff\n", "test:1:5: byte 0xff is no UTF-8"},
      {"in a comment", "a: 1 # \x80\n", "test:1:8: byte 0x80 is no UTF-8"},
      {"a surrogate", "a: \xed\xa0\x80\n", "test:1:4: byte 0xed is no UTF-8"},
      {"a control character", "a: x\x1b[2J\n", "test:1:5: control character 0x1b, expected \"\\x1b\" in its place"},
      {"deleted", "a: \x7f\n", "test:1:4: control character 0x7f"},
      {"line ends of Windows", "a: b\r\nc: d\r\n", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    YamlReader reader("test");
    std::vector<std::string> problems;
    reader.read(c.text, problems, [&](const YAML::Node& node) { static_cast<void>(shown(reader, node)); });
    if (*c.want == '\0') EXPECT_TRUE(problems.empty()) << problems.front();
    else if (problems.empty()) ADD_FAILURE() << "no problem";
    else EXPECT_EQ(problems.front().substr(0, std::string_view(c.want).size()), c.want);
  }
}

TEST(Yaml, Bombs) {
  std::string base, chain = "x0: &x0 {k0: 1}\n", lists = "x0: &x0 [1]\n";
  for (int i = 0; i < 2000; ++i) base += fmt::format("k{}: 1, ", i);
  for (int i = 1; i < 2000; ++i) chain += fmt::format("x{}: &x{} {{<<: *x{}, k{}: 1}}\n", i, i, i - 1, i);
  for (int i = 1; i < 40; ++i) lists += fmt::format("x{}: &x{} [*x{}, *x{}]\n", i, i, i - 1, i - 1);
  const std::tuple<const char*, std::string, const char*> cases[] = {
      {"many maps with a large base", "a: &a {" + base + "}\nb: [" + many("{<<: *a},", 2000) + "]",
       "more than 100000 keys by '<<', expected less in one file"},
      {"the same one a thousand times", "a: &a {" + base + "}\nb: {<<: [" + many("*a,", 2000) + "]}",
       "more than 100000 keys by '<<', expected less in one file"},
      {"each merges the one before", chain, "more than 100000 keys by '<<', expected less in one file"},
      {"lists of lists", lists, "more than 8 MiB with all aliases, expected less in one file"},
      {"deep", "a: {<<: " + many("[", 10'000), "nested too deep"},
      {"problems", "[" + many("{a: 1, a: 2}, ", 2000) + "]", "1000 problems up to here, the rest is not looked at"},
  };
  for (const auto& [name, text, want] : cases) {
    SCOPED_TRACE(name);
    std::vector<std::string> problems;
    YamlReader reader("f");
    reader.read(text, problems, [&](const YAML::Node& root) { shown(reader, root); });
    ASSERT_FALSE(problems.empty());
    EXPECT_LE(problems.size(), 1001U);
    EXPECT_NE(problems.back().find(want), std::string::npos) << problems.back();
  }
}

}  // namespace
}  // namespace vitald
