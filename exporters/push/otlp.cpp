// SPDX-License-Identifier: Apache-2.0
// The destination that speaks OTLP over HTTP, in protobuf: OpenTelemetry's collector and what else takes it.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>

#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/protobuf.h"
#include "exporters/push/http_push.h"
#include "exporters/push/push_table.h"

namespace vitald {
namespace {

struct OtlpPush final : PushOf<OtlpPush>, HttpSettings {
  std::string url;
  std::vector<std::string> resource;
  std::size_t max_points = 5000;
  bool operator==(const OtlpPush&) const = default;

  [[nodiscard]] std::string text() const override { return fmt::format("otlp '{}' ({})", name, url_for_display(url)); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (const auto found = url_problem(url); !found.empty()) return "url: " + found;
    for (const auto& r : resource)
      if (const auto equals = r.find('='); equals == std::string::npos || equals == 0)
        return fmt::format("resource: '{}' is not NAME=VALUE, expected e.g. k8s.cluster.name=west", r);
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    for (const auto& p : HttpSettings::problems()) problems.push_back(fmt::format("push.otlp '{}': {}", name, p));
  }
  // A request without metrics.
  [[nodiscard]] Result<std::string> reach(const Attempt& attempt) const override {
    auto answer = reach_of({"POST", url, {{"Content-Type", "application/x-protobuf"}}, {}}, *this, attempt);
    if (answer && answer->find(" answers 2") == std::string::npos)
      return fail(Errc::absent, *answer + ": nothing takes OTLP there; the path is /v1/metrics mostly");
    return answer;
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
      : table_(without_target(settings.table()), settings.aggregated()),
        requests_(settings.attributes(), settings.max_points) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    const auto add = [&](auto body, auto, auto samples) { this->add(body, samples, snapshot.wall_ns, out); };
    table_.look(snapshot);
    if (!table_.gone().empty()) requests_.ended(table_.gone(), snapshot.wall_ns, add);
    requests_.encode(table_.series(), table_.values(), snapshot.wall_ns, add);
  }
  [[nodiscard]] std::size_t left_out() const override { return table_.series().left_out() + requests_.left_out(); }
  void observe(const Snapshot& snapshot) override { table_.observe(snapshot); }

 private:
  // They are the resource's.
  static SeriesTable::Settings without_target(SeriesTable::Settings settings) {
    settings.target.clear();
    return settings;
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
  Gzip gzip_;
};

class OtlpDestination final : public Destination {
 public:
  explicit OtlpDestination(const OtlpPush& settings) : settings_(settings), client_(settings.name, settings) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto& item = items.front();
    const auto response = client_.send(
        {"POST", settings_.url, {{"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "gzip"}}, item.body},
        attempt);
    if (!response) return response.error().kind == Errc::gone ? Result<Sent>(Sent{}) : fail(response.error());
    const auto status = response->status;
    if (status >= 200 && status < 300) {
      const auto rejected = std::min<std::uint64_t>(rejected_points(response->body), item.records);
      client_.counters().sent.Increment(static_cast<double>(item.records - rejected));
      client_.counters().dropped("refused", rejected);
      if (rejected == 0) client_.taken();
      else client_.say_refused(*response, settings_.url);
      return Sent{1, 0, 0};
    }
    // The protocol names these; all others are for good. Who is sent elsewhere waits until the URL is mended.
    if (status == 429 || status == 502 || status == 503 || status == 504 || (status >= 300 && status < 400)) {
      if (response->retry_after_ns > 0) return Sent{0, 0, response->retry_after_ns};
      return fail(Errc::io, fmt::format("{} answers {}", url_for_display(settings_.url), status_text(*response)));
    }
    client_.say_refused(*response, settings_.url);
    client_.counters().dropped("refused", item.records);
    return Sent{1, 1, 0};
  }

 private:
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

  const OtlpPush settings_;
  PushClient client_;
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
    {.key = "max_points",
     .at = &OtlpPush::max_points,
     .help = "Most data points in one request.",
     .least = 1,
     .most = 100'000},
});
constexpr auto kFields =
    joined(joined(push_fields<OtlpPush>(), kOwnFields), joined(push_queue_fields<OtlpPush>(), http_fields<OtlpPush>()));

}  // namespace

extern const PushKind otlp_push;
constinit const PushKind otlp_push =
    push_kind<OtlpPush, kFields>("otlp", "a server that takes OpenTelemetry's protocol over HTTP");

}  // namespace vitald
