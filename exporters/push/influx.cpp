// SPDX-License-Identifier: Apache-2.0
// The destination that writes to InfluxDB, versions 1, 2 and 3, and to what else takes its line protocol. Items that
// wait go together, up to the most lines of a request.
#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "core/text/scan.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/influx_line.h"
#include "exporters/encode/vm_lines.h"
#include "exporters/push/http_push.h"
#include "exporters/push/push_table.h"

namespace vitald {
namespace {

// Of a destination's own `labels`.
std::vector<std::pair<std::string, std::string>> tags_of(const PushSettings& settings) {
  std::vector<std::pair<std::string, std::string>> out;
  for (std::string_view label : settings.labels) {
    const auto name = take_until(label, '=');
    out.emplace_back(name, label);
  }
  return out;
}

struct InfluxPush final : PushOf<InfluxPush>, HttpSettings {
  std::string url, api = "1", path, database, retention_policy, organization, bucket;
  bool create_database = true, gzip = true, metrics = true;
  std::vector<std::string> vm_lines;
  std::size_t max_lines = 2000, queue_lines = 20'000;
  bool operator==(const InfluxPush&) const = default;

  [[nodiscard]] std::string text() const override {
    return fmt::format("influx '{}' ({}, {})", name, url_for_display(url), target());
  }
  [[nodiscard]] std::string target() const { return api == "2" ? "bucket " + bucket : "database " + database; }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = url_problem(url); !found.empty()) return "url: " + found;
    if (api != "1" && api != "2" && api != "3") return fmt::format("api: '{}' found, expected 1, 2 or 3", api);
    if (api == "2" ? bucket.empty() : database.empty())
      return api == "2" ? "no 'bucket', expected the one that is written to"
                        : "no 'database', expected the one that is written to";
    for (const auto& line : vm_lines)
      if (std::ranges::find(VmLines::kMeasurements, line) == std::end(VmLines::kMeasurements))
        return fmt::format("vm_lines: '{}' found, expected some of {}", line, fmt::join(VmLines::kMeasurements, ", "));
    if (!vm_lines.empty())
      for (const auto& [key, value] : tags_of(*this))
        if (std::ranges::find(VmLines::kTags, key) != std::end(VmLines::kTags))
          return fmt::format("labels: '{}' is a tag of 'vm_lines' already, expected another name", key);
    if (!metrics && vm_lines.empty()) return "metrics: false and no 'vm_lines', expected something that is sent";
    if (!path.empty() && !path.starts_with('/')) return fmt::format("path: '{}' found, expected e.g. /write", path);
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    for (const auto& p : HttpSettings::problems()) problems.push_back(fmt::format("push.influx '{}': {}", name, p));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override;
  void adjust(QueueSettings& queue) const override {
    queue.most_memory_records = queue_lines;
    queue.batch_items = 16;
    queue.most_wait_ns = 300'000'000'000;  // a wrong password stays so for a while
  }

  [[nodiscard]] std::string base() const {
    auto out = url;
    while (out.ends_with('/')) out.pop_back();
    return out;
  }
  [[nodiscard]] std::string write_url() const;
  [[nodiscard]] std::string_view scheme() const { return api == "2" ? "Token" : ""; }
};

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')
      out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// The times are nanoseconds in all of them. Version 1 knows them as `n` only.
std::string InfluxPush::write_url() const {
  if (api == "2")
    return fmt::format("{}{}?org={}&bucket={}&precision=ns", base(), path.empty() ? "/api/v2/write" : path,
                       url_encoded(organization), url_encoded(bucket));
  if (api == "3")
    return fmt::format("{}{}?db={}&precision=nanosecond&accept_partial=true", base(),
                       path.empty() ? "/api/v3/write_lp" : path, url_encoded(database));
  return fmt::format("{}{}?db={}{}{}&precision=n", base(), path.empty() ? "/write" : path, url_encoded(database),
                     retention_policy.empty() ? "" : "&rp=", url_encoded(retention_policy));
}

// A request without lines: who lets us in and has the database answers so.
Result<std::string> InfluxPush::reach(const Attempt& attempt) const {
  auto settings = static_cast<const HttpSettings&>(*this);
  HttpRequest request{"POST", write_url(), {{"Content-Type", "text/plain; charset=utf-8"}}, "\n"};
  if (!scheme().empty()) {
    const auto token = secret_of("bearer_token", bearer_token_file, bearer_token_env);
    if (!token) return fail(token.error());
    if (!token->empty()) request.headers.emplace_back("Authorization", fmt::format("{} {}", scheme(), *token));
    settings.bearer_token_file.clear();
    settings.bearer_token_env.clear();
  }
  return reach_of(request, settings, attempt,
                  [this](const HttpResponse& response, std::string text) -> Result<std::string> {
                    if (response.status != 404) return text;
                    if (api == "1" && create_database && text.find("database not found") != std::string::npos)
                      return text + ": it is made with the first numbers";
                    return fail(Errc::absent, text + ": there is no such database, bucket or path");
                  });
}

// The lines [first, first + count).
std::string_view lines_of(std::string_view text, std::size_t first, std::size_t count) {
  std::size_t begin = 0;
  const auto skip = [text](std::size_t at, std::size_t lines) {
    for (; lines > 0 && at < text.size(); --lines) {
      const auto end = text.find('\n', at);
      at = end == text.npos ? text.size() : end + 1;
    }
    return at;
  };
  begin = skip(0, first);
  return text.substr(begin, skip(begin, count) - begin);
}

class Encoder final : public PushEncoder {
 public:
  explicit Encoder(const InfluxPush& settings)
      : metrics_(settings.metrics),
        max_lines_(settings.max_lines),
        table_(table_settings(settings), settings.aggregated()),
        lines_(settings.max_lines),
        guests_({settings.vm_lines, tags_of(settings)}) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    if (metrics_) {
      table_.look(snapshot);
      lines_.encode(
          table_.series(), table_.values(), snapshot.wall_ns,
          [&](std::string_view lines, std::uint32_t count) { out.push_back(item_of_lines(snapshot, lines, count)); });
    }
    text_.clear();
    std::size_t count = guests_.encode(snapshot, text_);
    for (std::string_view rest = text_; count > 0;) {
      const auto some = std::min(count, max_lines_);
      const auto lines = lines_of(rest, 0, some);
      out.push_back(item_of_lines(snapshot, lines, static_cast<std::uint32_t>(some)));
      rest.remove_prefix(lines.size());
      count -= some;
    }
  }
  [[nodiscard]] SeriesLeftOut left_out() const override { return table_.series().left_out(); }
  void observe(const Snapshot& snapshot) override {
    if (metrics_) table_.observe(snapshot);
  }

 private:
  static SeriesTable::Settings table_settings(const InfluxPush& settings) {
    auto out = settings.table();
    out.any_name = true;
    return out;
  }

  const bool metrics_;
  const std::size_t max_lines_;
  PushTable table_;
  InfluxEncoder lines_;
  VmLines guests_;
  std::string text_;  // of guests
};

// Of a partial write: how many lines were not taken; never none, since it was no success. "partial write: ...
// dropped=3" has the number of those that did not fit, and 0 where they could not be read; version 1 names each of
// these, one below the other; version 3 has a list. Version 2 writes nothing of what it answers 400 to. Of an answer
// that was cut off (`whole` is false) only what is left of it can be counted.
std::size_t refused_lines(std::string_view api, int status, std::string_view body, bool whole, std::size_t all) {
  if (api == "2" && status == 400) return all;
  const auto count = [body](std::string_view word) {
    std::size_t n = 0;
    for (auto at = body.find(word); at != body.npos; at = body.find(word, at + word.size())) ++n;
    return n;
  };
  std::size_t refused = count("unable to parse '");
  bool said = refused > 0;
  // A line that cannot be read is quoted, and may have any word in it; the number stands behind.
  const auto partial = body.find("partial write"), dropped = body.rfind("dropped=");
  if (partial != body.npos && dropped != body.npos && dropped > partial) {
    auto rest = body.substr(dropped + 8);
    if (const auto n = take_u64(rest)) refused = std::max<std::size_t>(refused, *n), said = true;
  }
  if (body.find("partial write of line protocol") != body.npos)
    if (const auto n = count("\"line_number\""); n > 0) refused = std::max(refused, n), said = true;
  if (!said) return whole || partial == body.npos ? all : std::min<std::size_t>(1, all);
  return std::min(std::max<std::size_t>(refused, 1), all);
}

class InfluxDestination final : public Destination {
 public:
  explicit InfluxDestination(const InfluxPush& settings)
      : settings_(settings), client_(settings.name, settings), most_lines_(settings.max_lines) {
    client_.set_scheme(std::string(settings.scheme()));
  }

  // What is given up halfway comes again from there.
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    return client_.with_lost(send_items(items, attempt));
  }

 private:
  Result<Sent> send_items(std::span<const Item> items, const Attempt& attempt) {
    Sent all;
    while (all.taken < items.size()) {
      const auto some = send_some(items.subspan(all.taken), attempt);
      if (!some && all.taken == 0) return some;
      if (!some || some->taken == 0) {
        all.retry_after_ns = some ? some->retry_after_ns : 0;
        return all;
      }
      all.taken += some->taken;
      all.refused += some->refused;
      all.too_large += some->too_large;
    }
    return all;
  }

  struct Outcome {
    std::size_t refused = 0;
    bool too_large = false;
    std::int64_t retry_after_ns = 0;
  };

  Result<Sent> send_some(std::span<const Item> items, const Attempt& attempt) {
    const auto& first = items.front();
    parts_.begin(first.id, first.records);
    auto part = parts_.next();
    if (part && part->count == first.records) return send_together(items, attempt);
    while ((part = parts_.next())) {
      auto outcome = send_lines(std::string(lines_of(first.body, part->first, part->count)), part->count, attempt);
      if (!outcome) return not_now(outcome.error());
      if (outcome->too_large && parts_.halve()) continue;
      if (outcome->retry_after_ns > 0) return Sent{0, 0, outcome->retry_after_ns};
      if (outcome->too_large) outcome->refused = part->count;
      count(*outcome, part->count);
      using enum Halving::End;
      parts_.done(outcome->too_large ? too_large : outcome->refused < part->count ? taken : refused);
    }
    return parts_.sent();
  }

  Result<Sent> send_together(std::span<const Item> items, const Attempt& attempt) {
    for (;;) {
      std::string body;
      std::size_t taken = 0, lines = 0;
      for (const auto& item : items) {
        if (taken > 0 && lines + item.records > most_lines_) break;
        body += item.body;
        lines += item.records;
        ++taken;
      }
      auto outcome = send_lines(std::move(body), lines, attempt);
      if (!outcome) return not_now(outcome.error());
      if (outcome->too_large) {
        most_lines_ = std::max<std::size_t>(1, lines / 2);
        if (taken > 1) continue;
        if (parts_.halve()) return send_some(items, attempt);
      }
      if (outcome->retry_after_ns > 0) return Sent{0, 0, outcome->retry_after_ns};
      if (outcome->too_large) outcome->refused = lines;
      count(*outcome, lines);
      // Which item a line that is refused was of, the answer does not say.
      Sent sent{taken, lines > 0 && outcome->refused == lines ? taken : 0, 0};
      if (outcome->too_large) sent.too_large = sent.refused;
      return sent;
    }
  }

  static Result<Sent> not_now(const Error& error) {
    return error.kind == Errc::gone ? Result<Sent>(Sent{}) : fail(error);
  }
  void count(const Outcome& outcome, std::size_t lines) {
    client_.counters().sent(lines - outcome.refused);
    client_.lost(outcome.too_large ? "too_large" : "refused", outcome.refused);
  }

  Result<Outcome> send_lines(std::string body, std::size_t lines, const Attempt& attempt) {
    HttpRequest request{"POST", settings_.write_url(), {{"Content-Type", "text/plain; charset=utf-8"}}, {}};
    if (settings_.gzip) {
      if (const auto packed = gzip_.compress(body, request.body); !packed) return fail(packed.error());
      request.headers.emplace_back("Content-Encoding", "gzip");
    } else {
      request.body = std::move(body);
    }
    for (bool made = false;;) {
      const auto response = client_.send(request, attempt);
      if (!response) return fail(response.error());
      const auto status = response->status;
      const auto text = fmt::format("{} answers {}", url_for_display(settings_.url), status_text(*response));
      if (verdict_of(status) == Verdict::taken) {
        client_.taken();
        return Outcome{};
      }
      if (status == 404 && settings_.api == "1" && settings_.create_database && !std::exchange(made, true) &&
          response->body.find("database not found") != std::string::npos) {
        if (const auto done = make_database(attempt); !done) return fail(done.error());
        continue;
      }
      // A wrong password or database is mended by a person; the numbers wait until then.
      if (status == 401 || status == 403 || status == 404) return fail(Errc::denied, text);
      if (status == 413) {
        if (lines == 1) client_.say_refused(*response, settings_.url);
        return Outcome{0, true, 0};
      }
      if (verdict_of(status) == Verdict::again) {
        if (response->retry_after_ns > 0) return Outcome{0, false, response->retry_after_ns};
        return fail(Errc::io, text);
      }
      client_.say_refused(*response, settings_.url);
      return Outcome{refused_lines(settings_.api, status, response->body,
                                   !response->cut && response->body.size() < HttpClient::kMostBody, lines),
                     false, 0};
    }
  }

  Result<> make_database(const Attempt& attempt) {
    std::string quoted;
    for (const char c : settings_.database) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    const HttpRequest request{"POST",
                              settings_.base() + "/query",
                              {{"Content-Type", "application/x-www-form-urlencoded"}},
                              "q=" + url_encoded(fmt::format("CREATE DATABASE \"{}\"", quoted))};
    const auto response = client_.send(request, attempt);
    if (!response) return fail(response.error());
    if (verdict_of(response->status) != Verdict::taken)
      return fail(Errc::denied,
                  fmt::format("{}: the database '{}' is not there and cannot be made: {}",
                              url_for_display(settings_.url), settings_.database, status_text(*response)));
    log::info("push: the database is made", {{"destination", settings_.name}, {"database", settings_.database}});
    return {};
  }

  const InfluxPush settings_;
  PushClient client_;
  Gzip gzip_;
  Halving parts_;
  std::size_t most_lines_;
};

std::unique_ptr<PushEncoder> InfluxPush::encoder() const { return std::make_unique<Encoder>(*this); }
std::unique_ptr<Destination> InfluxPush::destination() const { return std::make_unique<InfluxDestination>(*this); }

constexpr auto kOwnFields = std::to_array<Field<InfluxPush>>({
    {.key = "url",
     .at = &InfluxPush::url,
     .help = "The server: `http://influx.example:8086`.",
     .required = "the URL of the server"},
    {.key = "api",
     .at = &InfluxPush::api,
     .help = "Which of InfluxDB's write APIs: `1` (also VictoriaMetrics), `2` or `3`."},
    {.key = "path",
     .at = &InfluxPush::path,
     .help = "The path in place of the API's own: `/write`, `/api/v2/write`, `/api/v3/write_lp`."},
    {.key = "database", .at = &InfluxPush::database, .help = "Of APIs 1 and 3."},
    {.key = "retention_policy",
     .at = &InfluxPush::retention_policy,
     .help = "Of API 1; empty: the database's default."},
    {.key = "create_database",
     .at = &InfluxPush::create_database,
     .help = "With API 1: whether the database is made where it is missing."},
    {.key = "organization", .at = &InfluxPush::organization, .help = "Of API 2."},
    {.key = "bucket", .at = &InfluxPush::bucket, .help = "Of API 2."},
    {.key = "metrics",
     .at = &InfluxPush::metrics,
     .help = "Whether the metrics are sent; `false` with `vm_lines`: only those."},
    {.key = "vm_lines",
     .at = &InfluxPush::vm_lines,
     .help = "Measurements of libvirt's guests with all their numbers as fields: some of `vm_metrics`, `vm_features`, "
             "`vm_devices`, `vm_totals`.",
     .expected = "a list of measurements"},
    {.key = "gzip", .at = &InfluxPush::gzip, .help = "Whether requests are compressed."},
    {.key = "max_lines", .at = &InfluxPush::max_lines, .help = "Most lines in a request.", .least = 1, .most = 100'000},
    {.key = "queue_lines",
     .at = &InfluxPush::queue_lines,
     .help = "Lines that wait in memory at most, beside `queue_memory`.",
     .least = 1,
     .most = 10'000'000},
});
constexpr auto kFields =
    joined(joined(push_fields<InfluxPush>(), kOwnFields),
           joined(push_queue_fields<InfluxPush>(), joined(standby_fields<InfluxPush>(), http_fields<InfluxPush>())));

}  // namespace

extern const PushKind influx_push;
constinit const PushKind influx_push =
    push_kind<InfluxPush, kFields>("influx", "a server that takes InfluxDB's line protocol");

}  // namespace vitald
