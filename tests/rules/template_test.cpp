// SPDX-License-Identifier: Apache-2.0
#include "rules/template.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace vitald {
namespace {

TEST(Template, Expands) {
  struct Case {
    const char *text, *want;
    double value = 0;
  };
  const Case cases[] = {
      {"plain", "plain"},
      {"", ""},
      {"{{ $labels.device }} is {{ $value }}", "sda is 0.5", 0.5},
      {"{{$labels.device}}{{$value}}", "sda3", 3},
      {"{{ $labels.absent }}|", "|"},
      {"{{ $labels }}", "map[device:sda instance:here]"},
      {"{{ .Labels.device }} {{ .Value }}", "sda 1", 1},
      {"{{ $externalLabels.site }}", "lab"},
      {"{{ printf \"%.2f\" $value }}", "3.14", 3.14159},
      {"{{ printf \"%.0f%%\" $value }}", "50%", 49.6},
      {"{{ $value | printf \"%.1f\" }}", "2.5", 2.5},
      {"{{ printf \"%5.1f|%-6s|%q\" $value $labels.device \"x\" }}", "  2.5|sda   |\"x\"", 2.5},
      {"{{ printf \"%d\" $value }}", "%!d(float64=2)", 2},
      {"{{ printf \"%s %s\" \"a\" }}", "a %!s(MISSING)"},
      {"{{ printf \"%v %g %e\" $value $value $value }}", "1e+06 1e+06 1.000000e+06", 1e6},
      {"{{ $value | humanize }}", "1.235k", 1234.5678},
      {"{{ $value | humanizePercentage }}", "12.34%", 0.1234},
      {"{{ humanizeDuration $value }}", "1h 1m 1s", 3661},
      {"{{ $labels.device | toUpper }} {{ \"ABC\" | toLower }} {{ \"a b-c\" | title }}", "SDA abc A B-C"},
      {"{{ (printf \"%.0f\" $value) | toUpper }}", "7", 7},
      {"a {{- $value -}} b", "a1b", 1},
      {"{{ if gt $value 5.0 }}high{{ else }}low{{ end }}", "high", 6},
      {"{{ if gt $value 5.0 }}high{{ else }}low{{ end }}", "low", 4},
      {"{{ if $labels.device }}{{ if eq $labels.device \"sda\" }}yes{{ end }}{{ end }}", "yes"},
      {"{{ if and $labels.device (not $labels.nothing) }}x{{ end }}", "x"},
      {"{{ index $labels \"device\" }}{{ len $labels }}", "sda2"},
      {"{{/* a comment */}}x", "x"},
      {"{{ print 1 2 \"a\" \"b\" 3 }}", "1 2ab3"},
      {"{{ \"}\" }}", "}"},
  };
  const std::map<std::string, std::string> labels = {{"device", "sda"}, {"instance", "here"}};
  const std::map<std::string, std::string> external = {{"site", "lab"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto t = Template::parse(c.text);
    ASSERT_TRUE(t) << t.error().text;
    EXPECT_EQ(t->expand({&labels, &external, c.value}), c.want);
  }
}

TEST(Template, Errors) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"{{ $value", "template: '{{' without '}}' (at character 1)"},
      {"x {{ }}", "template: empty '{{ }}' (at character 3)"},
      {"{{ $lables.x }}", "template: unknown '$lables.x'; there are $labels, $value, $externalLabels (at character 4)"},
      {"{{ $value | humanise }}",
       "template: unknown function 'humanise'; there are printf, print, humanize, humanize1024, humanizePercentage, "
       "humanizeDuration, humanizeTimestamp, title, toUpper, toLower (at character 13)"},
      {"{{ humanize }}", "template: humanize has 0 arguments; expected 1 (at character 3)"},
      {"{{ $value | \"x\" }}", "template: after '|' comes a function, e.g. humanize (at character 17)"},
      {"{{ printf \"%.2f $value }}", "template: string without closing quote (at character 11)"},
      {"{{ $value $value }}", "template: unexpected '$value'; expected '|' or '}}' (at character 11)"},
      {"{{ if $value }}x", "template: 'if' without 'end' (at character 1)"},
      {"x{{ end }}", "template: 'end' without 'if' (at character 2)"},
      {"{{ range $labels }}{{ end }}",
       "template: 'range' is not supported; expected a value, 'if', 'else' or 'end' (at character 4)"},
      {"{{ $value.x }}", "template: $value is a number and has no fields (at character 4)"},
  };
  for (const auto& c : cases) {
    const auto t = Template::parse(c.text);
    ASSERT_FALSE(t) << c.text;
    EXPECT_EQ(t.error().text, c.want);
  }
}

TEST(Template, DepthIsLimited) {
  std::string ifs;
  for (int i = 0; i < 100'000; ++i) ifs += "{{ if true }}";
  for (const auto& text : {"{{ " + std::string(100'000, '(') + " }}", ifs}) {
    const auto t = Template::parse(text);
    ASSERT_FALSE(t);
    EXPECT_TRUE(t.error().text.starts_with("template: nested deeper than 100 levels (at character ")) << t.error().text;
  }
}

// Values as in template_test.go of Prometheus.
TEST(Template, Humanize) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  struct Case {
    std::string (*function)(double);
    double value;
    const char* want;
  };
  const Case cases[] = {
      {humanize, 0, "0"},
      {humanize, 1, "1"},
      {humanize, 1234567, "1.235M"},
      {humanize, .12, "120m"},
      {humanize, -1500, "-1.5k"},
      {humanize, 1e-9, "1n"},
      {humanize, kInf, "+Inf"},
      {humanize, NAN, "NaN"},
      {humanize1024, 0, "0"},
      {humanize1024, 1024, "1ki"},
      {humanize1024, 1048576, "1Mi"},
      {humanize1024, .12, "0.12"},
      {humanize_percentage, 0.99, "99%"},
      {humanize_percentage, 1.2345, "123.4%"},
      {humanize_duration, 0, "0s"},
      {humanize_duration, -1e300, "-1e+300s"},
      {humanize_duration, 1, "1s"},
      {humanize_duration, 60, "1m 0s"},
      {humanize_duration, 3600, "1h 0m 0s"},
      {humanize_duration, 86400, "1d 0h 0m 0s"},
      {humanize_duration, 86400 + 3600, "1d 1h 0m 0s"},
      {humanize_duration, -(86400 * 2 + 3600 * 3 + 60 * 4 + 5), "-2d 3h 4m 5s"},
      {humanize_duration, .1, "100ms"},
      {humanize_duration, .0001, "100us"},
      {humanize_duration, 12.345, "12.35s"},
      {humanize_duration, 899.99, "14m 59s"},
      {humanize_timestamp, 0, "1970-01-01 00:00:00 +0000 UTC"},
      {humanize_timestamp, 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"},
      {go_float, 1e6, "1e+06"},
      {go_float, 100000, "100000"},
      {go_float, 0.00001, "1e-05"},
      {go_float, 123456789, "1.23456789e+08"},
      {go_float, -2.5, "-2.5"},
  };
  for (const auto& c : cases) EXPECT_EQ(c.function(c.value), c.want) << c.value;
}

}  // namespace
}  // namespace vitald
