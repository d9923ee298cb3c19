// SPDX-License-Identifier: Apache-2.0
// The destination that speaks Prometheus' remote write: version 2.0, and 1.0 to servers that do not know it. What waits
// is a request of version 2, compressed; for a server of version 1 it is written anew when it is sent.
// https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
#include "exporters/encode/remote_write.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "core/text/scan.h"
#include "exporters/encode/snappy.h"
#include "exporters/push/http_push.h"
#include "exporters/push/push_table.h"

namespace vitald {
namespace {

constexpr std::size_t kMostRequest = 64 << 20;  // not compressed
constexpr std::int64_t kMetadataEveryMs = 60'000;

struct RemoteWritePush final : PushOf<RemoteWritePush>, HttpSettings {
  std::string url, protocol = "auto", histograms = "classic";
  std::size_t max_samples = 5000;
  bool stale_markers = true, exemplars = true;
  bool operator==(const RemoteWritePush&) const = default;

  [[nodiscard]] std::string text() const override {
    return fmt::format("remote_write '{}' ({})", name, url_for_display(url));
  }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = url_problem(url); !found.empty()) return "url: " + found;
    if (protocol != "auto" && protocol != "1" && protocol != "2")
      return fmt::format("protocol: '{}' found, expected auto, 1 or 2", protocol);
    if (histograms != "classic" && histograms != "native")
      return fmt::format("histograms: '{}' found, expected classic or native", histograms);
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    const auto say = [&](std::string_view text) {
      problems.push_back(fmt::format("push.remote_write '{}': {}", name, text));
    };
    for (const auto& p : HttpSettings::problems()) say(p);
    if (const auto usable = snappy_usable(); !usable) say(usable.error().text);
  }
  // A request without series: nothing is written.
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override;
};

HttpRequest request_of(const std::string& url, bool two, std::string body) {
  return {
      "POST",
      url,
      {{"Content-Type", two ? "application/x-protobuf;proto=io.prometheus.write.v2.Request" : "application/x-protobuf"},
       {"Content-Encoding", "snappy"},
       {"X-Prometheus-Remote-Write-Version", two ? "2.0.0" : "0.1.0"}},
      std::move(body)};
}

Result<std::string> RemoteWritePush::reach(const Attempt& attempt) const {
  std::string empty;
  if (const auto packed = snappy_compress({}, empty); !packed) return fail(packed.error());
  return reach_of(request_of(url, false, empty), *this, attempt,
                  [](const HttpResponse& response, std::string text) -> Result<std::string> {
                    if (response.status == 404 || response.status == 405)
                      return fail(Errc::absent,
                                  text +
                                      ": nothing takes remote write there; of a Prometheus it is /api/v1/write with "
                                      "--web.enable-remote-write-receiver");
                    return text;
                  });
}

class Encoder final : public PushEncoder {
 public:
  explicit Encoder(const RemoteWritePush& settings)
      : table_(table_settings(settings), settings.aggregated()),
        requests_(settings.max_samples),
        stale_markers_(settings.stale_markers),
        exemplars_on_(settings.exemplars) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    // A server refuses what is older than what it has. After the clock was set back the markers would be.
    const auto wall_ms = snapshot.wall_ns / 1'000'000;
    table_.look(snapshot);
    if (stale_markers_ && !table_.gone().empty())
      requests_.stale(table_.gone(), wall_ms, [&](auto body, auto samples) { add(body, samples, wall_ms, out); });
    const auto exemplars = exemplars_on_ ? exemplars_.find(table_.series(), snapshot) : std::span<const RowExemplar>();
    requests_.encode(
        table_.series(), table_.values(), wall_ms, [&](auto body, auto samples) { add(body, samples, wall_ms, out); },
        exemplars);
    last_ms_ = wall_ms;
  }
  void end(std::int64_t wall_ms, std::vector<Item>& out) override {
    if (!stale_markers_) return;
    const auto at_ms = std::max(wall_ms, last_ms_ + 1);  // one time has one value
    requests_.stale(table_.series().all(), at_ms, [&](auto body, auto samples) { add(body, samples, at_ms, out); });
  }
  [[nodiscard]] SeriesLeftOut left_out() const override { return table_.series().left_out(); }
  void observe(const Snapshot& snapshot) override { table_.observe(snapshot); }

 private:
  // Rules and dashboards ask for it, and here no server makes it.
  static SeriesTable::Settings table_settings(const RemoteWritePush& settings) {
    auto out = settings.table();
    out.up = true;
    out.native = settings.histograms == "native";
    return out;
  }
  static void add(std::string_view body, std::uint32_t samples, std::int64_t wall_ms, std::vector<Item>& out) {
    Item item;
    item.key = fmt::format("{} samples", samples);
    item.wall_ms = wall_ms;
    item.records = samples;
    if (const auto packed = snappy_compress(body, item.body); !packed) throw std::runtime_error(packed.error().text);
    out.push_back(std::move(item));
  }

  PushTable table_;
  RemoteWriteEncoder requests_;
  NewExemplars exemplars_;
  bool stale_markers_, exemplars_on_;
  std::int64_t last_ms_ = 0;
};

class RemoteWriteDestination final : public Destination {
 public:
  explicit RemoteWriteDestination(const RemoteWritePush& settings)
      : settings_(settings),
        client_(settings.name, settings),
        auto_(settings.protocol == "auto"),
        two_(settings.protocol != "1") {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    return client_.with_lost(send_items(items, attempt));
  }

 private:
  Result<Sent> send_items(std::span<const Item> items, const Attempt& attempt) {
    const auto& item = items.front();
    parts_.begin(item.id, item.records);
    while (const auto part = parts_.next()) {
      auto outcome = send_part(item, *part, attempt);
      if (!outcome) {
        if (auto_) two_ = true, known_ = false;  // who comes back may be another one
        return outcome.error().kind == Errc::gone ? Result<Sent>(Sent{}) : fail(outcome.error());
      }
      if (outcome->too_large && parts_.halve()) continue;
      if (outcome->retry_after_ns > 0) return Sent{0, 0, outcome->retry_after_ns};
      const auto written = std::min(outcome->written, part->count);
      client_.counters().sent(written);
      client_.lost(outcome->too_large ? "too_large" : "refused", part->count - written);
      using enum Halving::End;
      parts_.done(outcome->too_large ? too_large : written > 0 ? taken : refused);
    }
    return parts_.sent();
  }

  struct Outcome {
    std::size_t written = 0;
    bool too_large = false;
    std::int64_t retry_after_ns = 0;
  };

  // What is sent as it waited need not be looked at.
  Result<> open(const Item& item) {
    if (view_ && item_ == item.id) return {};
    view_.reset();
    if (auto unpacked = snappy_uncompress(item.body, bytes_, kMostRequest); !unpacked) return unpacked;
    auto view = WriteRequestView::of(bytes_);
    if (!view) return fail(view.error());
    if (view->size() != item.records) return fail(Errc::malformed, "another number of series than was written");
    view_ = std::move(*view);
    item_ = item.id;
    return {};
  }

  Result<std::string> body_of(const Item& item, const Halving::Part& part) {
    if (two_ && part.count == item.records) return item.body;
    if (const auto opened = open(item); !opened) return fail(opened.error());
    const bool metadata = item.wall_ms == metadata_ms_ || item.wall_ms - metadata_ms_ >= kMetadataEveryMs;
    if (!two_ && metadata) metadata_ms_ = item.wall_ms;
    std::string packed;
    const auto plain = two_ ? view_->part(part.first, part.count) : view_->version1(part.first, part.count, metadata);
    if (const auto done = snappy_compress(plain, packed); !done) return fail(done.error());
    return packed;
  }

  Result<Outcome> send_part(const Item& item, const Halving::Part& part, const Attempt& attempt) {
    for (;;) {
      auto body = body_of(item, part);
      if (!body && body.error().kind == Errc::malformed) {
        log::warn("push: what waited cannot be read, it is left out",
                  {{"destination", settings_.name}, {"err", body.error().text}});
        return Outcome{};
      }
      if (!body) return fail(body.error());
      const auto response = client_.send(request_of(settings_.url, two_, std::move(*body)), attempt);
      if (!response) return fail(response.error());
      // Another server than the one that knew version 1 only may know version 2 only.
      if (client_.switches() != switches_) {
        switches_ = client_.switches();
        known_ = false;
        if (auto_ && !two_ && response->status == 415) {
          two_ = true;
          continue;
        }
      }
      std::optional<std::uint64_t> written;
      for (const auto* name :
           {"x-prometheus-remote-write-samples-written", "x-prometheus-remote-write-histograms-written"})
        if (const auto* header = response->header(name))
          if (const auto n = parse_u64(*header)) written = written.value_or(0) + *n;
      const auto verdict = verdict_of(response->status);
      if (verdict == Verdict::taken && (!two_ || written)) {
        known_ = true;
        client_.taken();
        return Outcome{two_ ? static_cast<std::size_t>(*written) : part.count, false, 0};
      }
      // It says that it took what it does not know, or that it does not know it, or something else and was never seen
      // to know it.
      if (two_ && auto_ &&
          (verdict == Verdict::taken || response->status == 415 || (response->status == 400 && !known_))) {
        two_ = false;
        log::info("push: the server knows remote write 1.0 only",
                  {{"destination", settings_.name}, {"answer", status_text(*response)}});
        continue;
      }
      if (response->status == 413) {
        if (part.count == 1) client_.say_refused(*response, settings_.url);
        return Outcome{0, true, 0};
      }
      if (verdict == Verdict::again) {
        if (response->retry_after_ns > 0) return Outcome{0, false, response->retry_after_ns};
        return fail(Errc::io, fmt::format("{} answers {}", url_for_display(settings_.url), status_text(*response)));
      }
      client_.say_refused(*response, settings_.url);
      return Outcome{two_ && written ? static_cast<std::size_t>(*written) : 0, false, 0};
    }
  }

  const RemoteWritePush settings_;
  PushClient client_;
  const bool auto_;
  bool two_;
  bool known_ = false;  // this version was taken since the connection is as it is
  std::uint64_t switches_ = 0;
  std::uint64_t item_ = 0;
  std::string bytes_;
  std::optional<WriteRequestView> view_;  // of bytes_
  Halving parts_;
  std::int64_t metadata_ms_ = 0;
};

std::unique_ptr<PushEncoder> RemoteWritePush::encoder() const { return std::make_unique<Encoder>(*this); }
std::unique_ptr<Destination> RemoteWritePush::destination() const {
  return std::make_unique<RemoteWriteDestination>(*this);
}

constexpr auto kOwnFields = std::to_array<Field<RemoteWritePush>>({
    {.key = "url",
     .at = &RemoteWritePush::url,
     .help = "Where it is posted to, with the path: `https://prometheus.example:9090/api/v1/write`. It is in logs and "
             "pages as far as its host.",
     .required = "the URL that takes remote write"},
    {.key = "protocol",
     .at = &RemoteWritePush::protocol,
     .help = "The version: `2`, `1`, or `auto`, which is 2.0 to those that know it and 1.0 to the others."},
    {.key = "histograms",
     .at = &RemoteWritePush::histograms,
     .help =
         "`native`: histograms whose bounds are powers of two, as those of the kernel are, are sent as native ones, "
         "a sample each. A Prometheus 2 takes them with `--enable-feature=native-histograms` and answers 500 "
         "otherwise. `classic`: as buckets, to everybody."},
    {.key = "max_samples",
     .at = &RemoteWritePush::max_samples,
     .help = "Most samples in one request.",
     .least = 1,
     .most = 20'000},
    {.key = "stale_markers",
     .at = &RemoteWritePush::stale_markers,
     .help = "Whether the server is told that a series has ended, and at the end of vitald that all have."},
    {.key = "exemplars",
     .at = &RemoteWritePush::exemplars,
     .help = "Whether exemplars are sent with the buckets they are of, each once. A Prometheus keeps them with "
             "`--enable-feature=exemplar-storage`, others leave them out."},
});
constexpr auto kFields = joined(joined(push_fields<RemoteWritePush>(), kOwnFields),
                                joined(push_queue_fields<RemoteWritePush>(),
                                       joined(standby_fields<RemoteWritePush>(), http_fields<RemoteWritePush>())));

}  // namespace

extern const PushKind remote_write_push;
constinit const PushKind remote_write_push = push_kind<RemoteWritePush, kFields>(
    "remote_write", "a server that takes Prometheus' remote write: Prometheus, Mimir, Thanos, VictoriaMetrics");

}  // namespace vitald
