// SPDX-License-Identifier: Apache-2.0
#include "agent/api/scrape_shape.h"

#include <strings.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/text/scan.h"

namespace vitald {
namespace {

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

struct Clause {
  std::string_view type;  // "text/plain", "gzip"
  double q = 1;
  std::string_view version = {}, escaping = {}, proto = {}, encoding = {};
};

std::string_view unquoted(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

// RFC 9110, 12.5.1: "text/plain;version=0.0.4;q=0.5, */*;q=0.1". Best first; those with q=0 are not wanted.
std::vector<Clause> clauses_of(std::string_view list) {
  std::vector<Clause> out;
  while (!list.empty()) {
    auto rest = take_until(list, ',');
    Clause c{trim(take_until(rest, ';'))};
    while (!rest.empty()) {
      auto parameter = take_until(rest, ';');
      const auto key = trim(take_until(parameter, '='));
      const auto value = unquoted(parameter);
      if (same_word(key, "q")) c.q = parse_double(value).value_or(1);
      else if (same_word(key, "version")) c.version = value;
      else if (same_word(key, "escaping")) c.escaping = value;
      else if (same_word(key, "proto")) c.proto = value;
      else if (same_word(key, "encoding")) c.encoding = value;
    }
    if (!c.type.empty() && c.q > 0) out.push_back(c);
  }
  std::ranges::stable_sort(out, [](const Clause& a, const Clause& b) {
    if (a.q != b.q) return a.q > b.q;
    return !a.type.ends_with('*') && b.type.ends_with('*');
  });
  return out;
}

struct Offer {
  ScrapeFormat format;
  std::string_view content_type;
};

std::optional<Offer> offer_for(const Clause& c) {
  static constexpr std::string_view kProtobuf = "application/vnd.google.protobuf";
  static constexpr std::string_view kFamily = "io.prometheus.client.MetricFamily";
  if (same_word(c.type, kProtobuf) && c.proto == kFamily && c.encoding == "delimited")
    return Offer{ScrapeFormat::protobuf,
                 "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"};
  if (same_word(c.type, "application/openmetrics-text")) {
    if (c.version == "2.0.0")
      return Offer{ScrapeFormat::open_metrics2, "application/openmetrics-text; version=2.0.0; charset=utf-8"};
    if (c.version == "1.0.0")
      return Offer{ScrapeFormat::open_metrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"};
    if (c.version == "0.0.1" || c.version.empty())
      return Offer{ScrapeFormat::open_metrics, "application/openmetrics-text; version=0.0.1; charset=utf-8"};
  }
  if (same_word(c.type, "text/plain") && c.version == "1.0.0")
    return Offer{ScrapeFormat::text, "text/plain; version=1.0.0; charset=utf-8"};
  if ((same_word(c.type, "text/plain") && (c.version == "0.0.4" || c.version.empty())) || c.type == "text/*" ||
      c.type == "*/*")
    return Offer{ScrapeFormat::text, kPromTextContentType};
  if (same_word(c.type, "application/json")) return Offer{ScrapeFormat::json, "application/json; charset=utf-8"};
  return std::nullopt;
}

bool is_escaping(std::string_view scheme) {
  return scheme == "allow-utf-8" || scheme == "underscores" || scheme == "dots" || scheme == "values";
}

}  // namespace

// Names here have none of the characters that a scheme would escape, so a scheme changes nothing but what the answer
// says of itself; and that is said to those who know of schemes.
ScrapeShape scrape_shape(std::string_view accept) {
  std::string_view escaping;
  Offer chosen{ScrapeFormat::text, kPromTextContentType};
  for (const auto& c : clauses_of(accept)) {
    const auto offer = offer_for(c);
    if (!offer) continue;
    chosen = *offer;
    if (is_escaping(c.escaping)) escaping = c.escaping;
    break;
  }
  const bool schemes = accept.find("escaping=") != std::string_view::npos;
  ScrapeShape out{chosen.format, std::string(chosen.content_type)};
  if (schemes && chosen.format != ScrapeFormat::json)
    out.content_type.append("; escaping=").append(escaping.empty() ? "underscores" : escaping);
  return out;
}

bool prefers_protobuf(std::string_view accept) {
  for (const auto& c : clauses_of(accept)) {
    if (same_word(c.type, "application/x-protobuf") || same_word(c.type, "application/protobuf")) return true;
    if (same_word(c.type, "application/json") || c.type == "application/*" || c.type == "*/*") return false;
  }
  return false;
}

Packing scrape_packing(std::string_view accept_encoding, bool zstd) {
  double gzip_q = -1, zstd_q = -1, any_q = -1, identity_q = -1;
  while (!accept_encoding.empty()) {
    auto rest = take_until(accept_encoding, ',');
    const auto coding = trim(take_until(rest, ';'));
    double q = 1;
    while (!rest.empty()) {
      auto parameter = take_until(rest, ';');
      if (same_word(trim(take_until(parameter, '=')), "q")) q = parse_double(trim(parameter)).value_or(1);
    }
    if (same_word(coding, "gzip") || same_word(coding, "x-gzip")) gzip_q = q;
    else if (same_word(coding, "zstd")) zstd_q = q;
    else if (same_word(coding, "identity")) identity_q = q;
    else if (coding == "*") any_q = q;
  }
  if (gzip_q < 0) gzip_q = any_q;
  if (!zstd) zstd_q = -1;
  if (gzip_q <= 0 && zstd_q <= 0) return Packing::none;
  if (identity_q > gzip_q && identity_q > zstd_q) return Packing::none;
  return zstd_q > gzip_q ? Packing::zstd : Packing::gzip;
}

std::string_view content_encoding(Packing packing) {
  return packing == Packing::gzip ? "gzip" : packing == Packing::zstd ? "zstd" : "";
}

}  // namespace vitald
