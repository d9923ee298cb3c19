// SPDX-License-Identifier: Apache-2.0
#include "core/text/scan.h"
#include "core/text/names.h"

#include <gtest/gtest.h>

namespace vitald {
namespace {

TEST(Scan, TakeU64) {
  struct Case {
    const char* text;
    std::optional<std::uint64_t> want;
    const char* rest;
  };
  const Case cases[] = {
      {"42 x", 42, " x"},
      {"  7", 7, ""},
      {"", {}, ""},
      {"x", {}, "x"},
      {"-1", {}, "-1"},
      {"18446744073709551615", UINT64_MAX, ""},
      {"18446744073709551616", {}, "18446744073709551616"},
      {"99999999999999999999999", {}, "99999999999999999999999"},
      {"0000000000000000000000005", 5, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::string_view rest = c.text;
    EXPECT_EQ(take_u64(rest), c.want);
    EXPECT_EQ(rest, c.rest);
  }
}

TEST(Scan, Words) {
  std::string_view rest = "  a bc\nd ";
  EXPECT_EQ(take_word(rest), "a");
  EXPECT_EQ(take_line(rest), " bc");
  EXPECT_EQ(take_word(rest), "d");
  EXPECT_EQ(take_word(rest), "");
  EXPECT_EQ(take_until(rest, ':'), "");
}

TEST(Scan, ParseDouble) {
  EXPECT_EQ(parse_double("1.5e3"), 1500.0);
  EXPECT_EQ(parse_double("+1"), 1.0);
  EXPECT_FALSE(parse_double("+-1"));
  EXPECT_FALSE(parse_double(""));
  EXPECT_FALSE(parse_double("1x"));
}

TEST(Scan, Decimal) { EXPECT_EQ(std::string_view(Decimal(INT64_MIN)), "-9223372036854775808"); }

// Runs of characters that no metric name may have, of any length.
TEST(MetricName, Cases) {
  struct Case {
    const char *text, *name;
  };
  for (const auto& c : {Case{"pgfault-huge", "pgfault_huge"},
                        {"a  b", "a_b"},
                        {"a_ -b", "a_b"},
                        {"a__b", "a__b"},
                        {"\xff\xfe", "_"},
                        {"", ""},
                        {"rx (bytes)", "rx_bytes_"}})
    EXPECT_EQ(metric_name(c.text), c.name);
}

}  // namespace
}  // namespace vitald
