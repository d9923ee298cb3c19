// SPDX-License-Identifier: Apache-2.0
// The destination that speaks OTLP over HTTP, in protobuf: OpenTelemetry's collector and what else takes it.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/otlp_parts.h"
#include "exporters/encode/protobuf.h"
#include "exporters/push/http_push.h"
#include "exporters/push/push_table.h"

namespace vitald {
namespace {

struct OtlpPush final : PushOf<OtlpPush>, HttpSettings {
  std::string url, histograms = "classic";
  std::vector<std::string> resource;
  std::size_t max_points = 5000;
  bool exemplars = true;
  bool operator==(const OtlpPush&) const = default;

  [[nodiscard]] std::string text() const override { return fmt::format("otlp '{}' ({})", name, url_for_display(url)); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = url_problem(url); !found.empty()) return "url: " + found;
    for (const auto& r : resource)
      if (const auto equals = r.find('='); equals == std::string::npos || equals == 0)
        return fmt::format("resource: '{}' is not NAME=VALUE, expected e.g. k8s.cluster.name=west", r);
    if (histograms != "classic" && histograms != "native")
      return fmt::format("histograms: '{}' found, expected classic or native", histograms);
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    for (const auto& p : HttpSettings::problems()) problems.push_back(fmt::format("push.otlp '{}': {}", name, p));
  }
  // A request without metrics.
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    return reach_of({"POST", url, {{"Content-Type", "application/x-protobuf"}}, {}}, *this, attempt,
                    [](const HttpResponse& response, std::string text) -> Result<std::string> {
                      if (response.status / 100 != 2)
                        return fail(Errc::absent, text + ": nothing takes OTLP there; the path is /v1/metrics mostly");
                      return text;
                    });
  }
  [[nodiscard]] OtlpEncoder::Resource attributes() const;
};

// What semantic conventions have for a host. What the configuration says counts before it; an empty text takes one
// away.
OtlpEncoder::Resource OtlpPush::attributes() const {
  LabelMap all;
  const auto target = [this](const char* label) {
    const auto at = target_labels.find(label);
    return at == target_labels.end() ? std::string() : at->second;
  };
  all["service.name"] = target("job").empty() ? "vitald" : target("job");
  all["service.instance.id"] = target("instance");
  all["host.name"] = host_name();
  utsname kernel{};
  if (uname(&kernel) == 0) {
    const std::string_view machine = kernel.machine;
    all["host.arch"] = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : std::string(machine);
    all["os.version"] = kernel.release;
  }
  all["os.type"] = "linux";
  for (const char* file : {"/etc/machine-id", "/var/lib/dbus/machine-id"})
    if (const auto id = read_text_file(file, 256); id && !trim(*id).empty()) {
      all["host.id"] = trim(*id);
      break;
    }
  if (const char* node = std::getenv("NODE_NAME")) all["k8s.node.name"] = node;
  for (const auto& r : resource) all[r.substr(0, r.find('='))] = r.substr(r.find('=') + 1);
  OtlpEncoder::Resource out;
  for (auto& [attribute, value] : all)
    if (!value.empty()) out.attributes.emplace_back(attribute, value);
  out.scope = "vitald";
  out.version = VITALD_VERSION;
  return out;
}

class Encoder final : public PushEncoder {
 public:
  explicit Encoder(const OtlpPush& settings)
      : table_(table_settings(settings), settings.aggregated()),
        requests_(settings.attributes(), settings.max_points),
        exemplars_on_(settings.exemplars) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    const auto add = [&](auto body, auto, auto samples) { this->add(body, samples, snapshot.wall_ns, out); };
    table_.look(snapshot);
    if (!table_.gone().empty()) requests_.ended(table_.gone(), snapshot.wall_ns, add);
    const auto exemplars = exemplars_on_ ? exemplars_.find(table_.series(), snapshot) : std::span<const RowExemplar>();
    requests_.encode(table_.series(), table_.values(), snapshot.wall_ns, add, exemplars);
  }
  [[nodiscard]] SeriesLeftOut left_out() const override { return table_.series().left_out(); }
  void observe(const Snapshot& snapshot) override { table_.observe(snapshot); }

 private:
  static SeriesTable::Settings table_settings(const OtlpPush& settings) {
    auto out = settings.table();
    out.target.clear();  // they are the resource's
    out.any_name = true;
    out.native = settings.histograms == "native";
    return out;
  }
  void add(std::string_view body, std::uint32_t samples, std::int64_t wall_ns, std::vector<Item>& out) {
    Item item;
    item.key = fmt::format("{} samples", samples);
    item.wall_ms = wall_ns / 1'000'000;
    item.records = samples;
    if (const auto packed = gzip_.compress(body, item.body); !packed) throw std::runtime_error(packed.error().text);
    out.push_back(std::move(item));
  }

  PushTable table_;
  OtlpEncoder requests_;
  NewExemplars exemplars_;
  bool exemplars_on_;
  Gzip gzip_;
};

class OtlpDestination final : public Destination {
 public:
  explicit OtlpDestination(const OtlpPush& settings) : settings_(settings), client_(settings.name, settings) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    return client_.with_lost(send_items(items, attempt));
  }

 private:
  Result<Sent> send_items(std::span<const Item> items, const Attempt& attempt) {
    const auto& item = items.front();
    if (!halved_) {
      const auto outcome = send_body(item, item.body, nullptr, attempt);
      if (!outcome) return outcome.error().kind == Errc::gone ? Result<Sent>(Sent{}) : fail(outcome.error());
      if (!outcome->too_large) return outcome->sent;
    }
    // What is sent as it waited need not be looked at; once one was too large, all are.
    if (const auto opened = open(item); !opened) {
      log::warn("push: what waited cannot be read, it is left out",
                {{"destination", settings_.name}, {"err", opened.error().text}});
      client_.lost("refused", item.records);
      return Sent{1, 1, 0};
    }
    parts_.begin(item.id, points_->size());
    if (!std::exchange(halved_, true)) static_cast<void>(parts_.halve());
    while (const auto part = parts_.next()) {
      std::string packed;
      if (const auto done = gzip_.compress(points_->part(part->first, part->count), packed); !done)
        return fail(done.error());
      const auto outcome = send_body(item, packed, &*part, attempt);
      if (!outcome) return outcome.error().kind == Errc::gone ? Result<Sent>(Sent{}) : fail(outcome.error());
      if (outcome->too_large && parts_.halve()) continue;
      const auto& sent = outcome->sent;
      if (sent.taken == 0) return sent;
      using enum Halving::End;
      parts_.done(sent.refused == 0 ? taken : sent.too_large > 0 ? too_large : refused);
    }
    return parts_.sent();
  }

  struct Outcome {
    Sent sent;
    bool too_large = false;
  };

  // `part`: what of the item is in the body; nullptr: all of it.
  Result<Outcome> send_body(const Item& item, const std::string& body, const Halving::Part* part,
                            const Attempt& attempt) {
    const auto samples = part ? points_->samples(part->first, part->count) : item.records;
    const bool can_halve = !part || part->count > 1;
    const auto response = client_.send(
        {"POST", settings_.url, {{"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "gzip"}}, body},
        attempt);
    if (!response) return fail(response.error());
    const auto status = response->status;
    if (status >= 200 && status < 300) {
      const auto rejected = rejected_samples(rejected_points(response->body), item, part, samples);
      client_.counters().sent(samples - rejected);
      client_.lost("refused", rejected);
      if (rejected == 0) client_.taken();
      else client_.say_refused(*response, settings_.url);
      return Outcome{Sent{1, samples > 0 && rejected == samples ? 1U : 0U, 0}};
    }
    if (status == 413 && can_halve) return Outcome{Sent{}, true};
    // The protocol names these; all others are for good. Who is sent elsewhere waits until the URL is mended.
    if (status == 429 || status == 502 || status == 503 || status == 504 || (status >= 300 && status < 400)) {
      if (response->retry_after_ns > 0) return Outcome{Sent{0, 0, response->retry_after_ns}};
      return fail(Errc::io, fmt::format("{} answers {}", url_for_display(settings_.url), status_text(*response)));
    }
    client_.say_refused(*response, settings_.url);
    client_.lost(status == 413 ? "too_large" : "refused", samples);
    Sent sent{1, 1, 0};
    sent.too_large = status == 413 ? 1 : 0;
    return Outcome{sent};
  }

  // A server counts points, of which a histogram is one and many samples. Which ones it rejected it does not say: they
  // are taken for such as all are.
  std::uint64_t rejected_samples(std::uint64_t rejected, const Item& item, const Halving::Part* part,
                                 std::uint64_t samples) {
    if (rejected == 0) return 0;
    auto points = part ? part->count : std::size_t{0};
    if (!part) {
      const auto opened = open(item);
      if (!opened)
        log::warn("push: how much of it the server rejected cannot be told, all of it is taken for rejected",
                  {{"destination", settings_.name}, {"err", opened.error().text}});
      else points = points_->size();
    }
    if (rejected >= points) return samples;
    return static_cast<std::uint64_t>(static_cast<double>(samples) * static_cast<double>(rejected) /
                                      static_cast<double>(points));
  }

  Result<> open(const Item& item) {
    if (points_ && item_ == item.id) return {};
    points_.reset();
    if (auto unpacked = gunzip(item.body, bytes_, kMostRequest); !unpacked) return unpacked;
    auto points = OtlpParts::of(bytes_);
    if (!points) return fail(points.error());
    points_ = std::move(*points);
    item_ = item.id;
    return {};
  }

  // ExportMetricsServiceResponse: partial_success=1 {rejected_data_points=1 error_message=2}
  static std::uint64_t rejected_points(std::string_view body) {
    proto::Reader response(body);
    proto::Field field, inner;
    while (response.next(field)) {
      if (field.number != 1 || field.wire != proto::Wire::bytes) continue;
      proto::Reader partial(field.bytes);
      while (partial.next(inner))
        if (inner.number == 1 && inner.wire == proto::Wire::varint) return inner.value;
    }
    return 0;
  }

  static constexpr std::size_t kMostRequest = 64 << 20;  // not compressed

  const OtlpPush settings_;
  PushClient client_;
  Gzip gzip_;
  bool halved_ = false;  // one was too large
  Halving parts_;
  std::uint64_t item_ = 0;
  std::string bytes_;
  std::optional<OtlpParts> points_;  // of bytes_
};

std::unique_ptr<PushEncoder> OtlpPush::encoder() const { return std::make_unique<Encoder>(*this); }
std::unique_ptr<Destination> OtlpPush::destination() const { return std::make_unique<OtlpDestination>(*this); }

constexpr auto kOwnFields = std::to_array<Field<OtlpPush>>({
    {.key = "url",
     .at = &OtlpPush::url,
     .help = "Where it is posted to, with the path: `http://collector.example:4318/v1/metrics`.",
     .required = "the URL that takes OTLP metrics"},
    {.key = "resource",
     .at = &OtlpPush::resource,
     .help = "Attributes of the resource beside or in place of those that vitald finds; `host.id=` takes one away.",
     .expected = "a list of NAME=VALUE"},
    {.key = "histograms",
     .at = &OtlpPush::histograms,
     .help = "`native`: histograms whose bounds are powers of two, as those of the kernel are, are sent as exponential "
             "ones; `classic`: with their bounds."},
    {.key = "exemplars",
     .at = &OtlpPush::exemplars,
     .help = "Whether exemplars are sent with the histograms they are of, each once."},
    {.key = "max_points",
     .at = &OtlpPush::max_points,
     .help = "Most data points in one request.",
     .least = 1,
     .most = 100'000},
});
constexpr auto kFields =
    joined(joined(push_fields<OtlpPush>(), kOwnFields),
           joined(push_queue_fields<OtlpPush>(), joined(standby_fields<OtlpPush>(), http_fields<OtlpPush>())));

}  // namespace

extern const PushKind otlp_push;
constinit const PushKind otlp_push =
    push_kind<OtlpPush, kFields>("otlp", "a server that takes OpenTelemetry's protocol over HTTP");

}  // namespace vitald
