// SPDX-License-Identifier: Apache-2.0
// Which format and packing a scraper gets for what it asks.
#include "agent/api/scrape_shape.h"

#include <gtest/gtest.h>

namespace vitald {
namespace {

constexpr std::string_view kText = "text/plain; version=0.0.4; charset=utf-8",
                           kOpen = "application/openmetrics-text; version=1.0.0; charset=utf-8",
                           kOldOpen = "application/openmetrics-text; version=0.0.1; charset=utf-8",
                           kProto =
                               "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                               "encoding=delimited";

TEST(ScrapeShape, Formats) {
  struct Case {
    const char* name;
    std::string accept;
    ScrapeFormat format;
    std::string content_type;
  };
  const std::string proto =
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
  const auto text = std::string(kText), open = std::string(kOpen), old_open = std::string(kOldOpen),
             protobuf = std::string(kProto);
  constexpr auto open_metrics = ScrapeFormat::open_metrics, json = ScrapeFormat::json;
  const Case cases[] = {
      {"nothing", "", ScrapeFormat::text, text},
      {"anything", "*/*", ScrapeFormat::text, text},
      {"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ScrapeFormat::text, text},
      {"Prometheus 2.42",
       "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       open_metrics, open},
      {"Prometheus 2.42 with native histograms",
       proto + ",application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
               "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       ScrapeFormat::protobuf, protobuf},
      {"Prometheus 3.14",
       "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
       "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,"
       "*/*;q=0.2",
       open_metrics, open + "; escaping=allow-utf-8"},
      {"Prometheus 3.14 with native histograms",
       proto + ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1",
       ScrapeFormat::protobuf, protobuf + "; escaping=underscores"},
      {"the highest q, wherever it stands", "text/plain;q=0.2, application/openmetrics-text;q=0.9", open_metrics,
       old_open},
      {"equal q: the first", "text/plain,application/openmetrics-text", ScrapeFormat::text, text},
      {"what names a format before what names none", "*/*,application/openmetrics-text;version=1.0.0", open_metrics,
       open},
      {"q=0 is not wanted", "application/openmetrics-text;q=0,text/plain", ScrapeFormat::text, text},
      {"an unknown version", "application/openmetrics-text;version=3.0.0,text/plain;q=0.1", ScrapeFormat::text, text},
      {"OpenMetrics 2", "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.5",
       ScrapeFormat::open_metrics2, "application/openmetrics-text; version=2.0.0; charset=utf-8"},
      {"OpenMetrics 2 beside what is wanted more",
       "application/openmetrics-text;version=2.0.0;q=0.5,application/openmetrics-text;version=1.0.0", open_metrics,
       open},
      {"text without a version", "text/plain", ScrapeFormat::text, text},
      {"text 1.0.0", "text/plain;version=1.0.0;escaping=allow-utf-8", ScrapeFormat::text,
       "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"},
      {"text/*", "text/*", ScrapeFormat::text, text},
      {"protobuf of something else", "application/vnd.google.protobuf;proto=Other;encoding=delimited",
       ScrapeFormat::text, text},
      {"protobuf as text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
       ScrapeFormat::text, text},
      {"JSON", "application/json", json, "application/json; charset=utf-8"},
      {"upper case, spaces, quotes", " Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.5 ", open_metrics, open},
      {"an unknown scheme", "text/plain;escaping=rot13", ScrapeFormat::text, text + "; escaping=underscores"},
      {"dots", "application/openmetrics-text;version=1.0.0;escaping=dots", open_metrics, open + "; escaping=dots"},
      {"the scheme of a clause that is not chosen",
       "application/openmetrics-text;version=3.0.0;escaping=values,text/plain;version=1.0.0;q=0.5", ScrapeFormat::text,
       "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"},
      {"a torn header", ";;q=,,;=,text/plain;version", ScrapeFormat::text, text},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = scrape_shape(c.accept);
    EXPECT_EQ(got.format, c.format);
    EXPECT_EQ(got.content_type, c.content_type);
  }
}

TEST(ScrapeShape, Packings) {
  struct Case {
    std::string_view header;
    bool zstd;
    Packing want;
  };
  for (const auto& c :
       {Case{"", true, Packing::none}, Case{"gzip", true, Packing::gzip}, Case{"zstd", true, Packing::zstd},
        Case{"zstd", false, Packing::none}, Case{"gzip, zstd", true, Packing::gzip},
        Case{"gzip;q=0.5, zstd", true, Packing::zstd}, Case{"gzip;q=0.5, zstd", false, Packing::gzip},
        Case{"*", true, Packing::gzip}, Case{"*;q=0", true, Packing::none}, Case{"gzip;q=0, *", true, Packing::none},
        Case{"identity, gzip;q=0.5", true, Packing::none}, Case{"identity;q=0.5, gzip", true, Packing::gzip},
        Case{"deflate, GZIP;q=1.0", true, Packing::gzip}, Case{"zstd;q=0", true, Packing::none},
        Case{",,;q", true, Packing::none}}) {
    SCOPED_TRACE(c.header);
    EXPECT_EQ(scrape_packing(c.header, c.zstd), c.want);
  }
}

TEST(ScrapeShape, ProtobufOrJson) {
  const struct {
    const char *name, *accept;
    bool protobuf;
  } cases[] = {
      {"nothing", "", false},
      {"anything", "*/*", false},
      {"protobuf", "application/x-protobuf", true},
      {"its other name, in capitals", "Application/Protobuf", true},
      {"equal: the first", "application/x-protobuf, application/json", true},
      {"equal: the first, JSON", "application/json, application/x-protobuf", false},
      {"the highest q", "application/json;q=0.5, application/x-protobuf", true},
      {"the highest q, JSON", "application/x-protobuf;q=0.4, application/json;q=0.5", false},
      {"q=0 is not wanted", "application/x-protobuf;q=0, application/json", false},
      {"q=0 alone", "application/x-protobuf; q=0", false},
      {"a name before a wildcard", "*/*, application/x-protobuf", true},
      {"something else", "text/html, application/x-protobuf;q=0.1", true},
  };
  for (const auto& c : cases) EXPECT_EQ(prefers_protobuf(c.accept), c.protobuf) << c.name;
}

}  // namespace
}  // namespace vitald
