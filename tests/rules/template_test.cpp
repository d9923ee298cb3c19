// SPDX-License-Identifier: Apache-2.0
#include "rules/template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "core/text/scan.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "rules/template/humanize.h"
#include "rules/template/printf.h"
#include "rules/template/value.h"
#include "tests/rules/memory_source.h"

namespace vitald {
namespace {

using namespace text_template;

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
      // Of later versions than the one that template_cases.txt is from.
      {"{{ range 3 }}{{ . }}{{ end }}{{ range $i, $x := 2 }}{{ $i }}{{ end }}", "01201"},
      {"{{ with $labels.none }}a{{ else with $labels.device }}{{ . }}{{ end }}", "sda"},
      {"{{ urlQueryEscape \"a b/c\" }} {{ now | humanizeTimestamp }}", "a+b%2Fc 1970-01-01 00:00:00 +0000 UTC"},
      {"{{ toDuration 3723.5 }} {{ (toDuration 90).Minutes }} {{ humanizeDuration (toDuration 90) }}",
       "1h2m3.5s 1.5 1m 30s"},
      {"{{ define \"t\" }}<{{ . }}>{{ end }}{{ tmpl \"t\" 5 | toUpper }}", "<5>"},
  };
  const std::map<std::string, std::string> labels = {{"device", "sda"}, {"instance", "here"}};
  const std::map<std::string, std::string> external = {{"site", "lab"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto t = Template::parse(c.text);
    ASSERT_EQ(t.problem(), "");
    EXPECT_EQ(*t.expand({.labels = &labels, .external_labels = &external, .value = c.value}), c.want);
  }
}

// Some hundred templates and what Prometheus itself makes of them: errors with their places as well.
TEST(Template, AsPrometheus) {
  const LabelMap labels = {{"instance", "db7.example.net:9100"}, {"path", "/mnt/backup"}, {"text", "b c&d"}};
  const LabelMap external = {{"site", "lab"}};
  const auto query = [](const std::string& text) -> Result<Samples> {
    promql::MemorySource source;
    std::vector<promql::Problem> problems;
    const auto e = promql::compile(text, problems);
    if (!e) return fail(Errc::malformed, problems[0].what);
    promql::Evaluator evaluator(*e, source);
    const auto value = evaluator.eval(1'000'000);
    Samples out;
    for (const auto& s : value->vector->samples) {
      auto sample = std::make_shared<text_template::Sample>();
      for (const auto& l : value->vector->labels(s)) sample->labels.emplace(l.name, l.value);
      sample->value = s.value;
      out.push_back(std::move(sample));
    }
    return out;
  };
  std::ifstream in(std::string(VITALD_SOURCE_DIR) + "/tests/rules/template_cases.txt");
  const auto newlines = [](std::string text) {
    for (std::size_t at = 0; (at = text.find("\u2424", at)) != text.npos;) text.replace(at, 3, "\n");
    return text;
  };
  std::size_t cases = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    std::string_view rest = line;
    const std::string value(take_until(rest, '\t')), text = newlines(std::string(take_until(rest, '\t'))),
                                                     want = newlines(std::string(rest));
    SCOPED_TRACE(text);
    const auto t = Template::parse(text);
    const TemplateData data{.labels = &labels,
                            .external_labels = &external,
                            .value = *parse_double(value),
                            .name = "A",
                            .external_url = "http://prom.example.net/pre",
                            .query = query};
    const auto got = t.expand(data);
    std::string shown = got ? *got : "<error expanding template: " + got.error().text + ">";
    constexpr std::string_view kRefused =
        "<error expanding template: error parsing template __alert_A: template: __alert_A:";
    if (shown.starts_with(kRefused)) shown = "BAD " + shown.substr(kRefused.size(), shown.size() - kRefused.size() - 1);
    EXPECT_EQ(shown, want);
    ++cases;
  }
  EXPECT_GT(cases, 600u);
}

// What is wrong is told at load with its place, and expands to what Prometheus shows.
TEST(Template, Problems) {
  struct Case {
    const char *text, *problem, *shows;
  };
  const Case cases[] = {
      {"{{ $value", "unclosed action (at character 10)", "unclosed action"},
      {"x {{ }}", "missing value for command (at character 6)", "missing value for command"},
      {"{{ $lables.x }}", "undefined variable \"$lables\", did you mean '$labels'? (at character 4)",
       "undefined variable \"$lables\""},
      {"{{ $x }}",
       "undefined variable \"$x\", expected $labels, $value, $externalLabels, $externalURL (at character 4)",
       "undefined variable \"$x\""},
      {"{{ $value | humanise }}", "function \"humanise\" not defined, did you mean 'humanize'? (at character 13)",
       "function \"humanise\" not defined"},
      {"{{ nothing_like_it }}",
       "function \"nothing_like_it\" not defined, expected a function of Go's text/template or of Prometheus (at "
       "character 4)",
       "function \"nothing_like_it\" not defined"},
      {"{{ $value | \"x\" }}", "non executable command in pipeline stage 2 (at character 17)",
       "non executable command in pipeline stage 2"},
      {"{{ printf \"%.2f $value }}", "unterminated quoted string (at character 26)", "unterminated quoted string"},
      {"{{ if $value }}x", "unexpected EOF (at character 17)", "unexpected EOF"},
      {"x{{ end }}", "unexpected {{end}} (at character 9)", "unexpected {{end}}"},
      {"{{ break }}", "{{break}} outside {{range}} (at character 10)", "{{break}} outside {{range}}"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto t = Template::parse(c.text);
    EXPECT_EQ(t.problem(), std::string("template: ") + c.problem);
    EXPECT_FALSE(t.plain());
    const auto shown = t.expand({.name = "A"});
    ASSERT_FALSE(shown);
    EXPECT_EQ(shown.error().text, std::string("error parsing template __alert_A: template: __alert_A:1: ") + c.shows);
  }
}

TEST(Template, Bounds) {
  std::string ifs;
  for (int i = 0; i < 100'000; ++i) ifs += "{{ if true }}";
  for (const auto& text : {"{{ " + std::string(100'000, '(') + " }}", ifs}) {
    const auto t = Template::parse(text);
    EXPECT_TRUE(t.problem().starts_with("template: nested deeper than 100 levels (at character ")) << t.problem();
  }
  const std::pair<const char*, const char*> cases[] = {
      {"{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}", "exceeded maximum template depth (100)"},
      {"{{range 1000000000}}{{end}}", "the template takes more than 200000 steps"},
      {"{{range 100000}}xx{{end}}", "the text becomes longer than 65536 bytes"},
      {"{{printf \"%999999d\" 1}}", "the text becomes longer than 65536 bytes"},
      {"{{printf \"%.999999f\" 1.0}}", "the text becomes longer than 65536 bytes"},
      {"{{$x := \"aaaaaaaa\"}}{{range 40}}{{$x = print $x $x}}{{end}}", "the text becomes longer than 65536 bytes"},
      {"{{$x := args 1}}{{range 1000}}{{$x = args $x $x}}{{end}}", "nested deeper than 100 levels"},
      {"{{$x := args 1}}{{range 50}}{{$x = args $x $x}}{{end}}{{$x}}", "the text becomes longer than 65536 bytes"},
  };
  for (const auto& [text, want] : cases) {
    const auto t = Template::parse(text);
    ASSERT_EQ(t.problem(), "");
    const auto shown = t.expand({.name = "A"});
    ASSERT_FALSE(shown) << text;
    EXPECT_NE(shown.error().text.find(want), std::string::npos) << shown.error().text;
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
