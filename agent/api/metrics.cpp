// SPDX-License-Identifier: Apache-2.0
#include "agent/api/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/api/endpoints.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// The server says when it gives up. Leave it a tenth, at least half a second but never more than half, to
// get the answer over.
std::int64_t deadline_of(const Request& request, std::int64_t limit_ns) {
  const auto timeout_s = parse_double(request.header("X-Prometheus-Scrape-Timeout-Seconds"));
  if (!timeout_s || !(*timeout_s > 0) || *timeout_s > 3600) return limit_ns;
  const double ours_s = std::max(*timeout_s / 2, *timeout_s - std::max(*timeout_s / 10, 0.5));
  return std::min(limit_ns, static_cast<std::int64_t>(ours_s * 1e9));
}

std::vector<std::string> copy(const std::vector<std::string_view>& views) { return {views.begin(), views.end()}; }

// The library is opened for those who say that they take it.
Packing packing_of(const std::string& accept_encoding) {
  const bool asked = accept_encoding.find("zstd") != std::string::npos;
  return scrape_packing(accept_encoding, asked && zstd_usable());
}

// A buffer that nobody is being sent any more is written again, over what it has; otherwise a new one.
std::string& writable(std::shared_ptr<std::string>& text) {
  if (!text || text.use_count() > 1) {
    const auto size = text ? text->capacity() : 0;
    text = std::make_shared<std::string>();
    text->reserve(size);
  }
  return *text;
}

}  // namespace

// client_golang's names, as node_exporter has them.
struct MetricsHandler::Instruments {
  static prometheus::Counter& requests(const char* code) {
    return instruments().counter("promhttp_metric_handler_requests_total",
                                 "Total number of scrapes by HTTP status code.", {{"code", code}});
  }
  static prometheus::Counter& errors(const char* cause) {
    return instruments().counter("promhttp_metric_handler_errors_total",
                                 "Total number of internal errors encountered by the promhttp metric handler.",
                                 {{"cause", cause}});
  }
  prometheus::Counter &ok = requests("200"), &internal = requests("500"), &unavailable = requests("503");
  prometheus::Gauge& in_flight =
      instruments().gauge("promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served.");
  prometheus::Counter &encoding = errors("encoding"), &gathering = errors("gathering");
  // How many of each, so that one sees what a server asks for.
  static prometheus::Counter& format(const char* name) {
    return instruments().counter("vitald_scrapes_total", "Scrapes that were answered, by the format of the answer.",
                                 {{"format", name}});
  }
  prometheus::Counter* formats[kScrapeFormats] = {&format("text"), &format("openmetrics"), &format("openmetrics2"),
                                                  &format("protobuf"),
                                                  &format("json")};  // in the order of ScrapeFormat
  prometheus::Counter& late =
      instruments().counter("vitald_scrapes_late_total", "Scrapes whose deadline came before a new snapshot did.");
};

MetricsHandler::MetricsHandler(Settings settings, MetricsSource source, std::shared_ptr<const Freshness> freshness)
    : settings_(settings),
      max_age_ns_(settings.max_age_ns),
      source_(std::move(source)),
      freshness_(std::move(freshness)),
      all_(settings.created),
      filtered_(settings.created),
      instruments_(std::make_unique<Instruments>()) {}
MetricsHandler::~MetricsHandler() = default;

MetricsHandler::Scrape::Scrape(MetricsHandler& owner, const Request& request)
    : owner_(owner),
      fresh_ns_(request.arrived_boot_ns - owner.max_age_ns_.load()),
      deadline_ns_(request.arrived_boot_ns + deadline_of(request, owner.settings_.deadline_ns)),
      shape_(scrape_shape(request.list("Accept"))),
      packing_(packing_of(request.list("Accept-Encoding"))),
      collect_(copy(request.all("collect[]"))),
      exclude_(copy(request.all("exclude[]"))) {
  if (owner.full()) {
    refused_ = text_response(503, fmt::format("Limit of concurrent requests reached ({}), try again later.\n",
                                              owner.settings_.max_requests));
    refused_->counted = true;
    owner.instruments_->unavailable.Increment();
  } else {
    refused_ = owner.check_filter(collect_, exclude_);
    if (refused_) refused_->counted = true;
  }
  ++owner.in_flight_;
  owner.instruments_->in_flight.Increment();
}

MetricsHandler::Scrape::~Scrape() {
  --owner_.in_flight_;
  owner_.instruments_->in_flight.Decrement();
}

std::optional<Response> MetricsHandler::Scrape::poll(std::int64_t now_boot_ns) {
  if (refused_) return refused_;
  const auto snapshot = owner_.source_.latest();
  if (snapshot && snapshot->boot_ns >= fresh_ns_) return respond(snapshot, now_boot_ns);
  if (now_boot_ns < deadline_ns_) return std::nullopt;
  owner_.instruments_->late.Increment();
  if (!snapshot) return unavailable("the first collection still runs; try again in a moment\n");
  // Numbers of long ago under today's time are worse than none: an alert on them never fires, one on their absence
  // does.
  if (owner_.freshness_ && owner_.freshness_->too_old(snapshot, now_boot_ns))
    return unavailable(owner_.freshness_->why(snapshot, now_boot_ns));
  return respond(snapshot, now_boot_ns);
}

Response MetricsHandler::Scrape::unavailable(std::string why) const {
  owner_.instruments_->unavailable.Increment();
  owner_.instruments_->gathering.Increment();
  auto response = text_response(503, std::move(why));
  response.headers.emplace_back("Retry-After", "1");
  response.counted = true;
  return response;
}

bool MetricsHandler::has_since(std::int64_t boot_ns) const {
  const auto snapshot = source_.latest();
  return snapshot && snapshot->boot_ns >= boot_ns;
}

// node_exporter's rules and texts. Whoever leaves a collector out need not know whether it is there.
std::optional<Response> MetricsHandler::check_filter(std::span<const std::string> collect,
                                                     std::span<const std::string> exclude) const {
  if (collect.empty() && exclude.empty()) return std::nullopt;
  if (!collect.empty() && !exclude.empty())
    return text_response(400, "Combined collect and exclude queries are not allowed.\n");
  const auto rows = source_.collectors();
  for (const auto& name : collect) {
    const auto row = rows ? std::ranges::find(*rows, name, &CollectorStatus::name) : decltype(rows->begin()){};
    const bool found = rows && row != rows->end();
    if (!found || row->state == CollectorStatus::State::off)
      return text_response(400, fmt::format("Couldn't create filtered metrics handler: couldn't create collector: {} "
                                            "collector: {}\n",
                                            found ? "disabled" : "missing", name));
  }
  return std::nullopt;
}

Response MetricsHandler::Scrape::respond(const SnapshotPtr& snapshot, std::int64_t now_boot_ns) const {
  Response response{200, shape_.content_type, {}, {{"Vary", "Accept, Accept-Encoding"}}, true};
  // Whole seconds (RFC 9111, 5.1): more than 0 or 1 says that the collection hangs.
  if (const auto age_s = (now_boot_ns - snapshot->boot_ns) / 1'000'000'000; age_s > 0)
    response.headers.emplace_back("Age", fmt::format("{}", age_s));
  if (packing_ != Packing::none) response.headers.emplace_back("Content-Encoding", content_encoding(packing_));
  if (collect_.empty() && exclude_.empty()) {
    response.body = owner_.encoded(*snapshot, shape_.format, packing_);
  } else {
    auto text = std::make_shared<std::string>();
    owner_.filtered_.encode(owner_.select(*snapshot,
                                          [&](std::string_view name) {
                                            // As in node_exporter, the exporter's own numbers come with every
                                            // selection.
                                            if (!collect_.empty())
                                              return name == "pipeline" || name == "self" ||
                                                     std::ranges::find(collect_, name) != collect_.end();
                                            return std::ranges::find(exclude_, name) == exclude_.end();
                                          }),
                            shape_.format, *text);
    if (packing_ != Packing::none) {
      auto packed = std::make_shared<std::string>();
      if (const auto done = owner_.pack(*text, packing_, *packed); !done) response.body = nullptr;
      else response.body = std::move(packed);
    } else {
      response.body = std::move(text);
    }
  }
  if (response.body) {
    owner_.instruments_->ok.Increment();
    owner_.instruments_->formats[static_cast<std::size_t>(shape_.format)]->Increment();
    return response;
  }
  owner_.instruments_->internal.Increment();
  owner_.instruments_->encoding.Increment();
  response = text_response(500, "compression did not work, see the log; ask without Accept-Encoding\n");
  response.counted = true;
  return response;
}

// The batches of some collectors, and of what the agent says of all of them the rows that are about those.
Snapshot MetricsHandler::select(const Snapshot& all, const std::function<bool(std::string_view)>& keep) {
  Snapshot some{all.sequence, all.boot_ns, all.wall_ns, {}};
  for (const auto& batch : all.batches) {
    if (batch->collector == HealthWriter::kName) some.batches.push_back(health_of(*batch, keep, some_health_));
    else if (keep(batch->collector)) some.batches.push_back(batch);
  }
  return some;
}

// Encoded once per snapshot and format, however many ask.
std::shared_ptr<const std::string> MetricsHandler::encoded(const Snapshot& snapshot, ScrapeFormat format,
                                                           Packing packing) {
  auto& bodies = bodies_[static_cast<std::size_t>(format)];
  auto& wanted = bodies[static_cast<std::size_t>(packing)];
  if (wanted.sequence == snapshot.sequence) return wanted.text;
  auto& plain = bodies[static_cast<std::size_t>(Packing::none)];
  if (plain.sequence != snapshot.sequence) {
    plain.sequence = 0;
    all_.encode(snapshot, format, writable(plain.text));
    plain.sequence = snapshot.sequence;
  }
  if (packing == Packing::none) return plain.text;
  wanted.sequence = 0;
  if (const auto done = pack(*plain.text, packing, writable(wanted.text)); !done) {
    log::error("compression", {{"err", done.error().text}});
    return nullptr;
  }
  wanted.sequence = snapshot.sequence;
  return wanted.text;
}

Result<> MetricsHandler::pack(std::string_view text, Packing packing, std::string& out) {
  return packing == Packing::zstd ? zstd_.compress(text, out) : gzip_.compress(text, out);
}

Handler metrics_page(const AgentView& agent) {
  return [metrics = agent.metrics](const Request& request) -> Answer {
    return std::make_unique<MetricsHandler::Scrape>(*metrics, request);
  };
}

}  // namespace vitald
