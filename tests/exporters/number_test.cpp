// SPDX-License-Identifier: Apache-2.0
#include "core/text/number.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <string>

#include "core/text/scan.h"

namespace vitald {
namespace {

std::string number(double v) {
  char text[kMaxNumberText + 8];
  std::memset(text, '#', sizeof text);
  const char* end = write_number(text, v);
  EXPECT_EQ(std::string(text + kMaxNumberText, 8), "########") << "written past its room";
  return std::string(text, static_cast<std::size_t>(end - text));
}

TEST(Number, Spelling) {
  using Limits = std::numeric_limits<double>;
  const struct {
    double value;
    const char* text;
  } cases[] = {
      {0, "0"},
      {-0.0, "0"},
      {1, "1"},
      {-17, "-17"},
      {1'000'000, "1000000"},
      {1.7e9, "1700000000"},
      {9007199254740991, "9007199254740991"},
      {9007199254740992, "9007199254740992"},
      {-9007199254740992, "-9007199254740992"},
      {18446744073709551616.0, "18446744073709551616"},
      {1e22, "1e+22"},
      {0.5, "0.5"},
      {-0.25, "-0.25"},
      {0.02, "0.02"},
      {0.001, "0.001"},
      {-0.001, "-0.001"},
      {0.0001, "0.0001"},  // as Go has it
      {0.00012, "0.00012"},
      {-0.000456789, "-0.000456789"},
      {0.000099999, "9.9999e-05"},
      {0.00008, "8e-05"},
      {0.0000085, "8.5e-06"},
      {0.000000001, "1e-09"},
      {0.0000000015, "1.5e-09"},
      {-0.00002, "-2e-05"},
      {123456.789012345, "123456.789012345"},
      {999999.999999999, "999999.999999999"},
      {123456.78, "123456.78"},
      {123456.789, "123456.789"},
      {999999999999.999, "999999999999.999"},
      {0.1 + 0.2, "0.30000000000000004"},
      {1.0 / 3, "0.3333333333333333"},
      {0.000003, "3e-06"},
      {Limits::max(), "1.7976931348623157e+308"},
      {-Limits::min(), "-2.2250738585072014e-308"},
      {Limits::denorm_min(), "5e-324"},
      {Limits::infinity(), "+Inf"},
      {-Limits::infinity(), "-Inf"},
      {Limits::quiet_NaN(), "NaN"},
      {-Limits::quiet_NaN(), "NaN"},
  };
  for (const auto& c : cases) EXPECT_EQ(number(c.value), c.text);
}

TEST(Number, ReadsBackAsTheSameValue) {
  std::mt19937_64 random(20260101);
  for (int i = 0; i < 300'000; ++i) {
    const auto bits = random();
    const auto n = static_cast<double>(bits >> (bits % 48 + 11));
    for (const double v : {std::bit_cast<double>(bits), n, n / 100, -n / 1000, n / 1024, n / 1e6, n / 1e9, n / 1e12}) {
      if (!std::isfinite(v)) continue;
      const auto back = parse_double(number(v));
      ASSERT_TRUE(back && *back == v) << number(v);
    }
  }
}

// The fast ways must not give a longer text than the library's shortest one in the same notation.
TEST(Number, IsTheShortest) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const auto n = random() >> (random() % 40 + 14);
    for (const double scale : {100.0, 1000.0, 1e9}) {
      const double v = static_cast<double>(n) / scale;
      char fixed[400];
      const auto end = std::to_chars(fixed, fixed + sizeof fixed, v, std::chars_format::fixed).ptr;
      ASSERT_LE(number(v).size(), static_cast<std::size_t>(end - fixed)) << number(v);
    }
  }
}

}  // namespace
}  // namespace vitald
