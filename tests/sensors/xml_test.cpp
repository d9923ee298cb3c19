// SPDX-License-Identifier: Apache-2.0
// How documents of XML are walked: what is told of which element, and what ends a walk.
#include <gtest/gtest.h>

#include <new>
#include <string>

#include "sensors/read/xml.h"

namespace vitald {
namespace {

// "open(name) a=1; close(name) 'text'; ..."
std::string told(std::string_view document) {
  std::string all;
  const auto read = walk_xml(document, {.open =
                                            [&](std::string_view name, const XmlAttributes& a) {
                                              all += "<" + std::string(name);
                                              a.each([&](std::string_view key, std::string_view value) {
                                                all += " " + std::string(key) + "=" + std::string(value);
                                              });
                                              all += ">";
                                            },
                                        .close =
                                            [&](std::string_view name, std::string_view text) {
                                              all += "'" + std::string(text) + "'/" + std::string(name) + ";";
                                            }});
  return read ? all : "malformed: " + read.error().text;
}

TEST(Xml, Cases) {
  struct Case {
    const char *name, *document, *want;
  };
  const Case cases[] = {
      {"nested", "<a><b>1</b><c/></a>", "<a><b>'1'/b;<c>''/c;''/a;"},
      {"text around an element is one text", "<a> x <b>1</b> y </a>", "<a><b>'1'/b;'x  y'/a;"},
      {"a comment within a text", "<a>one <!-- <b> -->two</a>", "<a>'one two'/a;"},
      {"CDATA beside text", "<a>x<![CDATA[<&]]>y</a>", "<a>'x<&y'/a;"},
      {"references", "<a b='&lt;&quot;&#x41;'>&amp;&#228;</a>", "<a b=<\"A>'&\xc3\xa4'/a;"},
      {"'>' and the other quote in a value", "<a b=\"'>\"/>", "<a b='>>''/a;"},
      {"processing instructions and a declaration", "<?xml version='1.0'?><?x y?><a/>", "<a>''/a;"},
      {"prefixes stay", "<n:a xmlns:n='u' n:b='1'/>", "<n:a xmlns:n=u n:b=1>''/n:a;"},
      {"a prefix nobody declared", "<n:a/>", "<n:a>''/n:a;"},
      {"an entity of its own", "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "<a>'x'/a;"},
      {"crossed tags", "<a><b></a></b>", "malformed: line 1: mismatched tag"},
      {"cut", "<a>\n<b>", "malformed: line 2: no element found"},
      {"two roots", "<a/><b/>", "malformed: line 1: junk after document element"},
      {"an attribute twice", "<a b='1' b='2'/>", "malformed: line 1: duplicate attribute"},
      {"an unknown entity", "<a>&x;</a>", "malformed: line 1: undefined entity"},
      {"no UTF-8", "<a>\xff</a>", "malformed: line 1: not well-formed (invalid token)"},
      {"nothing", "", "malformed: line 1: no element found"},
  };
  for (const auto& c : cases) EXPECT_EQ(told(c.document), c.want) << c.name;
}

// Nothing outside the document is read, and what little text blows up to much ends.
TEST(Xml, Hostile) {
  EXPECT_EQ(told("<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><a>&e;</a>"), "<a>''/a;");
  std::string bomb = "<!DOCTYPE a [<!ENTITY e0 'xxxxxxxxxx'>";
  for (int i = 1; i < 12; ++i) {
    const auto before = "&e" + std::to_string(i - 1) + ";";
    bomb += "<!ENTITY e" + std::to_string(i) + " '";
    for (int k = 0; k < 10; ++k) bomb += before;
    bomb += "'>";
  }
  EXPECT_EQ(told(bomb + "]><a>&e11;</a>").substr(0, 10), "malformed:");
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "<a>";
  EXPECT_EQ(told(deep), "malformed: XML of more than 256 levels");
}

// libexpat is C: an exception of ours goes around it.
TEST(Xml, Exceptions) {
  const auto thrower = [](std::string_view, const XmlAttributes&) { throw std::bad_alloc(); };
  EXPECT_THROW((void)walk_xml("<a><b/></a>", {.open = thrower, .close = {}}), std::bad_alloc);
}

}  // namespace
}  // namespace vitald
